/*
 * tls_ticket.c - tickets, sealed and opened by the keeper.
 *
 * OpenSSL wants a cipher for its tickets: this one sends the whole state to the
 * keeper.  OpenSSL's HMAC around it gets a key that is no secret; what the
 * keeper puts around the state is what counts.
 *
 * Runs in:  tls.
 * Trusts:   the keeper.  Not a ticket: it is the client's.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include "tls.h"

/* One block of output is room enough for what sealing adds. */
_Static_assert(IPC_SEAL_EXTRA == EVP_MAX_BLOCK_LENGTH, "what OpenSSL leaves room for");

static const unsigned char ticket_name[16] = "pop3d ticket 1";
static unsigned char no_secret[32] = "the keeper's seal is what counts";
static struct ipc *keeper;
static EVP_CIPHER *cipher;

struct sealing {
	bool seal;
	bool failed;		      /* to be said by the last call */
	uint8_t last[IPC_SEAL_EXTRA]; /* the end of the sealed form, kept for the last call */
	size_t n_last;
};

static void *sealing_new(void *provider)
{
	(void)provider;
	return calloc(1, sizeof(struct sealing));
}

static void sealing_free(void *ctx)
{
	free(ctx);
}

static int start(void *ctx, bool seal)
{
	struct sealing *s = ctx;

	memset(s, 0, sizeof(*s));
	s->seal = seal;
	return 1;
}

static int start_seal(void *ctx, const unsigned char *key, size_t key_len, const unsigned char *iv,
		      size_t iv_len, const OSSL_PARAM params[])
{
	(void)key, (void)key_len, (void)iv, (void)iv_len, (void)params;
	return start(ctx, true);
}

static int start_open(void *ctx, const unsigned char *key, size_t key_len, const unsigned char *iv,
		      size_t iv_len, const OSSL_PARAM params[])
{
	(void)key, (void)key_len, (void)iv, (void)iv_len, (void)params;
	return start(ctx, false);
}

/* The whole state comes in one piece.  The end is kept back: OpenSSL wants some from each call. */
static int take(struct sealing *s, struct ipc_msg *m, unsigned char *out, size_t *out_len,
		size_t room)
{
	size_t n = ipc_left(m);

	s->n_last = s->seal ? sizeof(s->last) : 0;
	keeper->broken = n <= s->n_last || n - s->n_last > room;
	if (keeper->broken)
		return POP_E_CORRUPT;
	*out_len = n - s->n_last;
	memcpy(out, ipc_get_raw(m, *out_len), *out_len);
	if (s->n_last > 0)
		memcpy(s->last, ipc_get_raw(m, s->n_last), s->n_last);
	return 0;
}

/* A refusal here would end the handshake; said by the last call it makes it a full one. */
static int update(void *ctx, unsigned char *out, size_t *out_len, size_t room,
		  const unsigned char *in, size_t in_len)
{
	struct sealing *s = ctx;
	struct ipc_msg m;
	int err = POP_E_CORRUPT;

	*out_len = 0;
	if (s->n_last > 0 || s->failed)
		return 0;
	ipc_start(&m, s->seal ? IPC_SEAL_ASK : IPC_OPEN_ASK);
	ipc_put_raw(&m, in, in_len);
	err = ipc_call(keeper, &m);
	if (err == 0)
		err = ipc_get_u8(&m) == VERDICT_OK ? take(s, &m, out, out_len, room) : POP_E_DENIED;
	ipc_wipe(&m);
	s->failed = err < 0;
	return s->seal ? err == 0 : 1;
}

static int final(void *ctx, unsigned char *out, size_t *out_len, size_t room)
{
	struct sealing *s = ctx;

	*out_len = 0;
	if (s->failed || s->n_last > room)
		return 0;
	memcpy(out, s->last, s->n_last);
	*out_len = s->n_last;
	return 1;
}

static int get_params(OSSL_PARAM params[])
{
	OSSL_PARAM *block = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_BLOCK_SIZE);
	OSSL_PARAM *key = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_KEYLEN);
	OSSL_PARAM *iv = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_IVLEN);

	return (!block || OSSL_PARAM_set_size_t(block, IPC_SEAL_EXTRA)) &&
	       (!key || OSSL_PARAM_set_size_t(key, 0)) && (!iv || OSSL_PARAM_set_size_t(iv, 0));
}

static int get_ctx_params(void *ctx, OSSL_PARAM params[])
{
	(void)ctx;
	return get_params(params);
}

typedef void (*fn)(void);
const OSSL_DISPATCH tls_ticket_cipher[] = {
	{ OSSL_FUNC_CIPHER_NEWCTX, (fn)sealing_new },
	{ OSSL_FUNC_CIPHER_FREECTX, (fn)sealing_free },
	{ OSSL_FUNC_CIPHER_ENCRYPT_INIT, (fn)start_seal },
	{ OSSL_FUNC_CIPHER_DECRYPT_INIT, (fn)start_open },
	{ OSSL_FUNC_CIPHER_UPDATE, (fn)update },
	{ OSSL_FUNC_CIPHER_FINAL, (fn) final },
	{ OSSL_FUNC_CIPHER_GET_PARAMS, (fn)get_params },
	{ OSSL_FUNC_CIPHER_GET_CTX_PARAMS, (fn)get_ctx_params },
	{ 0, NULL },
};

static int set_mac(EVP_MAC_CTX *mac)
{
	static char digest[] = "SHA256";
	OSSL_PARAM params[3] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, no_secret, sizeof(no_secret)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params);
}

/*
 * OpenSSL's callback.  2 when opening: send a new ticket too, or a client that
 * uses a ticket once has a full handshake every other time.
 */
static int choose_key(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *ctx,
		      EVP_MAC_CTX *mac, int seal)
{
	(void)ssl;
	(void)iv;
	if (seal) {
		memcpy(name, ticket_name, sizeof(ticket_name));
		return EVP_EncryptInit_ex2(ctx, cipher, NULL, NULL, NULL) == 1 && set_mac(mac) ? 1
											       : -1;
	}
	if (memcmp(name, ticket_name, sizeof(ticket_name)) != 0)
		return 0;
	return EVP_DecryptInit_ex2(ctx, cipher, NULL, NULL, NULL) == 1 && set_mac(mac) ? 2 : -1;
}

void tls_ticket_forget(void)
{
	EVP_CIPHER_free(cipher);
	cipher = NULL;
}

int tls_ticket_use(SSL_CTX *ctx, OSSL_LIB_CTX *library, struct ipc *to)
{
	keeper = to;
	cipher = EVP_CIPHER_fetch(library, TLS_TICKET_CIPHER, NULL);
	if (!cipher || SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, choose_key) != 1)
		return POP_E_SYS;
	return 0;
}
