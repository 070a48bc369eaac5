/*
 * tls_ctx.c - what this server offers: versions, ciphers, groups, ALPN.
 *
 * Set up as fast as OpenSSL lets us: no openssl.cnf, no strings, no store of
 * authorities, no certificate (tls_cert.c has them when they are needed).
 *
 * Runs in:  tls.
 * Trusts:   its start values.  Not the client's lists.
 */
#include <string.h>
#include "algorithms.h"
#include "tls.h"

/* RFC 9325: forward secrecy and AEAD only. */
static const char ciphers_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				 "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
				 "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
static const char ciphers_13[] =
	"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
static const char groups[] = "X25519:P-256";
static const char signatures[] =
	"ECDSA+SHA256:ed25519:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:"
	"RSA-PSS+SHA512:RSA+SHA512";
static const unsigned char session_context[] = "pop3d";

#define TICKET_LIFE_S 43200

/* A client that names protocols must name ours: this keeps other protocols' clients out (ALPACA).
 */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			   const unsigned char *in, unsigned int in_len, void *arg)
{
	static const unsigned char ours[] = "pop3";

	(void)ssl;
	(void)arg;
	for (unsigned int at = 0; at < in_len && in[at] < in_len - at; at += in[at] + 1U) {
		if (in[at] != sizeof(ours) - 1 || memcmp(in + at + 1, ours, in[at]) != 0)
			continue;
		*out = ours;
		*out_len = sizeof(ours) - 1;
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void init_library(void)
{
	const uint64_t least = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
			       OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
			       OPENSSL_INIT_NO_ATEXIT;

	OPENSSL_init_crypto(least, NULL);
	OPENSSL_init_ssl(least | OPENSSL_INIT_NO_LOAD_SSL_STRINGS, NULL);
	algorithms_limit(false);
	/* by name, of those that sign certificates: else every chain is too weak for OpenSSL */
	EVP_add_digest(EVP_sha256());
	EVP_add_digest(EVP_sha384());
	EVP_add_digest(EVP_sha512());
}

static int set_all(SSL_CTX *ctx, const struct tls_start *start)
{
	uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
			   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;

	if (!start->tickets)
		options |= SSL_OP_NO_TICKET;
	SSL_CTX_set_options(ctx, options);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(ctx, TICKET_LIFE_S);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (SSL_CTX_set_min_proto_version(ctx, start->min_version) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, ciphers_12) != 1 ||
	    SSL_CTX_set_ciphersuites(ctx, ciphers_13) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, groups) != 1 ||
	    SSL_CTX_set1_sigalgs_list(ctx, signatures) != 1 ||
	    SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1) !=
		    1 ||
	    SSL_CTX_set_num_tickets(ctx, start->tickets ? 1 : 0) != 1)
		return POP_E_SYS;
	return 0;
}

int tls_ctx_new(struct tls *t)
{
	OSSL_LIB_CTX *library;

	init_library();
	t->ctx = SSL_CTX_new(TLS_server_method());
	library = tls_provider_open(&t->keeper);
	if (!t->ctx || !library)
		return POP_E_MEMORY;
	if (set_all(t->ctx, t->start) < 0 ||
	    (t->start->tickets && tls_ticket_use(t->ctx, library, &t->keeper) < 0) ||
	    (t->start->ca_fd >= 0 && tls_client_ask(t) < 0))
		return POP_E_SYS;
	SSL_CTX_set_cert_cb(t->ctx, tls_cert_choose, t);
	t->ssl = SSL_new(t->ctx);
	return t->ssl ? 0 : POP_E_MEMORY;
}
