/*
 * fuzz_tls.c - the tls role, between a client, a keeper, a monitor and a session: the
 * client sends anything, or shakes hands and then disturbs it; keeper and monitor were
 * taken over, or are as they should be.
 *
 * Input: octets 0 and 1: how (enum below); octet 2: a length, and so many octets of
 * the client's: with RAW all that it sends, else where its ciphertext is changed (3
 * octets each: place, mask) and what it says; then packets (fed_ipc.h) of the
 * monitor and, with KEEPER, of the keeper.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include "fed_ipc.h"
#include "../../pop3d/algorithms.h"

static int tls_poll(struct pollfd *fds, nfds_t n, int timeout);
static BIO_METHOD *one_method(int type, const char *name);
#define poll	     tls_poll
#define BIO_meth_new one_method
#include "../../pop3d/tls_conn.c"
#include "../../pop3d/tls_provider.c"
#include "../../pop3d/tls_relay.c"
#include "../../pop3d/tls_run.c"
#undef poll
#undef BIO_meth_new

enum { /* of octet 0 */
       RAW = 1,
       KEEPER = 2, /* what it answers is the input */
       OLD = 4,	   /* the client wants TLS 1.2 */
       RESUME = 8, /* it has a ticket */
       NAMED = 16, /* it names a server, and there are certificates of names */
       CHANGED = 32,
       IDLE = 64,	/* there is a time when nobody says anything */
       TIME_OVER = 128, /* the monitor ends it */
};
enum { /* of octet 1 */
       NO_TICKETS = 1,
       LEAVES = 2, /* the session ends after its first answer */
       CUT = 4,	   /* the client goes without close_notify */
       ALPN = 8,
       WRONG_ALPN = 16,
       CHECK = 32,   /* no client: only the certificates */
       GARBAGE = 64, /* after the handshake octets that are no TLS */
};
#define TURNS_MAX 200
#define SAID_MAX  256

/* made for this test */
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBGvyXC7adrJroraX\n"
			      "6lqCJl8UDNnUDNo0Yf+LJFeMcgShRANCAATQdk9xRmIBA6cUaxD3FmrrN6MD0yfm\n"
			      "nZ8q4jmuqQs1WJjYC638FJJ5ZySKOCwsYG4UiRXehGy/bW3rAcOul4mC\n"
			      "-----END PRIVATE KEY-----\n";

/* What all inputs share. */
static struct {
	OSSL_LIB_CTX *library; /* the client's: the server limits its own */
	EVP_PKEY *key;
	SSL_CTX *ctx;
	char cert[2048];
	size_t cert_len;
	SSL_SESSION *tickets[2]; /* of TLS 1.3 and 1.2 */
	BIO_METHOD *method;
} peer;

static struct {
	uint8_t how, more;
	const uint8_t *octets;
	size_t n_octets, sent; /* the client's, and what of it was given to TLS or the socket */
	SSL *ssl;
	int fd, session; /* the far ends of both connections, -1: closed */
	bool idled;
	size_t cipher_sent; /* octets of ciphertext so far */
	uint8_t heard[SAID_MAX], back[SAID_MAX];
	size_t n_heard, n_back;
	uint8_t asked[IPC_PAYLOAD_MAX]; /* the last question to the keeper */
	size_t n_asked;
	enum ipc_type question;
	unsigned done, broken;
} now;

/* It is done once in the life of a process, and there are many lives here. */
void algorithms_limit(bool all_keys)
{
	(void)all_keys;
}

/* The same of what is made for such a life. */
static BIO_METHOD *one_method(int type, const char *name)
{
	if (!peer.method)
		peer.method = BIO_meth_new(type, name);
	return peer.method;
}

/* --- keeper and monitor -------------------------------------------------------------- */

static void said(int fd, enum ipc_type type, const uint8_t *payload, size_t len, unsigned n_fds)
{
	uint8_t finished[12];

	(void)fd;
	MUST(n_fds == 0);
	switch (type) {
	case IPC_SIGN_ASK:
	case IPC_SEAL_ASK:
	case IPC_OPEN_ASK:
	case IPC_KEY_ASK:
		now.question = type;
		memcpy(now.asked, payload, len);
		now.n_asked = len;
		return;
	case IPC_PAIR_ASK:
		MUST(now.how & NAMED);
		return;
	case IPC_TLS_DONE:
		/* nobody gets there by a signature or a ticket that is not the keeper's */
		MUST(++now.done == 1 && now.broken == 0);
		MUST(now.ssl && SSL_get_finished(now.ssl, finished, sizeof(finished)) > 0);
		return;
	case IPC_TLS_BROKEN:
		MUST(++now.broken == 1 && now.done == 0);
		return;
	case IPC_TLS_NOTE:
	case IPC_TLS_CHECKED:
	case IPC_KEY_LOAD:
		return;
	default:
		MUST(!"a message of the tls role's");
	}
}

static void sign_honestly(struct ipc_msg *m)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[256];
	size_t len = sizeof(sig);
	uint32_t scheme, pub_len;

	memcpy(&scheme, now.asked, 4);
	memcpy(&pub_len, now.asked + 4, 4);
	MUST(now.n_asked > 8 + (size_t)pub_len);
	MUST(EVP_DigestSignInit_ex(ctx, NULL,
				   scheme == 0x0403   ? "SHA256"
				   : scheme == 0x0503 ? "SHA384"
						      : "SHA512",
				   peer.library, NULL, peer.key, NULL) == 1);
	MUST(EVP_DigestSign(ctx, sig, &len, now.asked + 8 + pub_len, now.n_asked - 8 - pub_len) ==
	     1);
	EVP_MD_CTX_free(ctx);
	ipc_start(m, IPC_SIGN_ANSWER);
	ipc_put_u8(m, VERDICT_OK);
	ipc_put_raw(m, sig, len);
}

/* What a keeper answers; a ticket is the state and some octets more. */
static bool answer_honestly(int fd, struct ipc_msg *m)
{
	static const uint8_t seal[IPC_SEAL_EXTRA] = "sealed";
	size_t n = now.n_asked;

	(void)fd;
	if (now.how & KEEPER || now.question == IPC_NONE)
		return false;
	switch (now.question) {
	case IPC_SIGN_ASK:
		sign_honestly(m);
		break;
	case IPC_SEAL_ASK:
		ipc_start(m, IPC_SEAL_ANSWER);
		ipc_put_u8(m, VERDICT_OK);
		ipc_put_raw(m, now.asked, n);
		ipc_put_raw(m, seal, sizeof(seal));
		break;
	case IPC_OPEN_ASK:
		ipc_start(m, IPC_OPEN_ANSWER);
		if (n > sizeof(seal) &&
		    memcmp(now.asked + n - sizeof(seal), seal, sizeof(seal)) == 0) {
			ipc_put_u8(m, VERDICT_OK);
			ipc_put_raw(m, now.asked, n - sizeof(seal));
		} else {
			ipc_put_u8(m, VERDICT_AUTH);
		}
		break;
	default:
		ipc_start(m, IPC_KEY_ANSWER);
		ipc_put_u8(m, VERDICT_OK);
		ipc_put_str(m, "", 0);
	}
	MUST(!m->bad);
	now.question = IPC_NONE;
	return true;
}

/* --- the client ------------------------------------------------------------------------ */

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool put(const void *data, size_t n)
{
	return now.fd >= 0 && send(now.fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n;
}

/* Its ciphertext, changed where the input says so. */
static bool flush_client(void)
{
	uint8_t buf[4096];
	bool moved = false;
	int n;

	while ((n = BIO_read(SSL_get_wbio(now.ssl), buf, sizeof(buf))) > 0) {
		for (size_t i = 0; now.how & CHANGED && i + 2 < now.n_octets && i < 12; i += 3) {
			size_t at = now.octets[i] + 256u * now.octets[i + 1];

			if (at >= now.cipher_sent && at < now.cipher_sent + (size_t)n)
				buf[at - now.cipher_sent] ^= now.octets[i + 2];
		}
		now.cipher_sent += (size_t)n;
		moved = put(buf, (size_t)n);
	}
	return moved;
}

static bool fill_client(void)
{
	uint8_t buf[4096];
	bool moved = false;
	ssize_t n;

	while (now.fd >= 0 && (n = recv(now.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		if (now.ssl)
			BIO_write(SSL_get_rbio(now.ssl), buf, (int)n);
		moved = true;
	}
	return moved;
}

static bool talk(void)
{
	size_t n = now.n_octets < SAID_MAX ? now.n_octets : SAID_MAX, got = 0;
	bool moved = false;

	if (now.sent < n && SSL_write(now.ssl, now.octets + now.sent, (int)(n - now.sent)) > 0) {
		now.sent = n;
		moved = true;
		if (now.more & GARBAGE)
			put("garbage that is no record of TLS", 32);
	}
	while (now.n_back < SAID_MAX &&
	       SSL_read_ex(now.ssl, now.back + now.n_back, SAID_MAX - now.n_back, &got) == 1) {
		now.n_back += got;
		moved = true;
	}
	return moved;
}

/* Whatever the client can do; false where it can do nothing more. */
static bool client_turn(void)
{
	bool moved = fill_client();

	if (now.fd < 0)
		return false;
	if (!now.ssl) {
		if (now.sent == now.n_octets)
			return moved;
		put(now.octets, now.n_octets);
		now.sent = now.n_octets;
		return true;
	}
	ERR_clear_error();
	if (SSL_is_init_finished(now.ssl) || SSL_do_handshake(now.ssl) == 1)
		moved |= talk();
	return flush_client() || moved;
}

static void end_client(void)
{
	if (now.ssl && SSL_is_init_finished(now.ssl) && !(now.more & CUT)) {
		SSL_shutdown(now.ssl);
		flush_client();
	}
	hang_up(&now.fd);
}

/* --- the session: it says what it hears -------------------------------------------------- */

static bool session_turn(void)
{
	uint8_t buf[SAID_MAX];
	ssize_t n = now.session >= 0 ? recv(now.session, buf, sizeof(buf), MSG_DONTWAIT) : -1;

	if (n == 0)
		hang_up(&now.session);
	if (n <= 0)
		return n == 0;
	MUST(now.done == 1 && now.n_heard + (size_t)n <= SAID_MAX);
	memcpy(now.heard + now.n_heard, buf, (size_t)n);
	now.n_heard += (size_t)n;
	MUST(send(now.session, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n);
	if (now.more & LEAVES)
		hang_up(&now.session);
	return true;
}

static int tls_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	for (int turn = 0; turn < TURNS_MAX; turn++) {
		bool moved = client_turn();

		moved |= session_turn();
		if (poll(fds, n, 0) > 0)
			return poll(fds, n, 0);
		if (timeout == 0)
			return 0;
		if (timeout == IDLE_MS && now.how & IDLE && !now.idled) {
			now.idled = true;
			return 0;
		}
		if (!moved)
			end_client();
	}
	MUST(!"an end");
	return 0;
}

/* --- one connection ----------------------------------------------------------------------- */

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **kept = &peer.tickets[SSL_version(ssl) == TLS1_2_VERSION];

	if (*kept || now.how & ~OLD || now.more)
		return 0;
	*kept = session;
	return 1;
}

static void make_certificate(void)
{
	BIO *text = BIO_new_mem_buf(key_pem, -1), *out = BIO_new(BIO_s_mem());
	X509 *cert = X509_new_ex(peer.library, NULL);
	X509_NAME *name = X509_get_subject_name(cert);
	EVP_MD *sha256 = EVP_MD_fetch(peer.library, "SHA256", NULL);

	peer.key = PEM_read_bio_PrivateKey_ex(text, NULL, NULL, NULL, peer.library, NULL);
	MUST(peer.key && X509_set_version(cert, 2) == 1);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(cert), 864000);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1, -1,
				   0);
	MUST(X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, peer.key) == 1);
	MUST(X509_sign(cert, peer.key, sha256) > 0);
	MUST(PEM_write_bio_X509(out, cert) == 1);
	peer.cert_len = (size_t)BIO_read(out, peer.cert, sizeof(peer.cert));
	EVP_MD_free(sha256);
	X509_free(cert);
	BIO_free(text);
	BIO_free(out);
}

static void begin_peer(void)
{
	peer.library = OSSL_LIB_CTX_new();
	make_certificate();
	peer.ctx = SSL_CTX_new_ex(peer.library, NULL, TLS_client_method());
	MUST(peer.ctx != NULL);
	SSL_CTX_set_session_cache_mode(peer.ctx,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(peer.ctx, keep_ticket);
}

static void begin_client(void)
{
	static const uint8_t right[] = "\4imap\4pop3", wrong[] = "\2h2";
	bool old = now.how & OLD;

	if (now.how & RAW || now.more & CHECK)
		return;
	now.ssl = SSL_new(peer.ctx);
	MUST(now.ssl != NULL);
	SSL_set_connect_state(now.ssl);
	SSL_set_bio(now.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(now.ssl), -1);
	if (old)
		SSL_set_max_proto_version(now.ssl, TLS1_2_VERSION);
	if (now.how & RESUME && peer.tickets[old])
		SSL_set_session(now.ssl, peer.tickets[old]);
	if (now.how & NAMED)
		SSL_set_tlsext_host_name(now.ssl, "mail.example");
	if (now.more & ALPN)
		SSL_set_alpn_protos(now.ssl, right, sizeof(right) - 1);
	else if (now.more & WRONG_ALPN)
		SSL_set_alpn_protos(now.ssl, wrong, sizeof(wrong) - 1);
}

static void pair(int *near, int *far)
{
	int ends[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	*near = ends[0];
	*far = ends[1];
}

static void check_heard(void)
{
	/* what was changed on its way has no effect but an end */
	MUST(now.n_heard <= now.sent && memcmp(now.heard, now.octets, now.n_heard) == 0);
	MUST(now.n_back <= now.n_heard && memcmp(now.back, now.heard, now.n_back) == 0);
	if (now.done == 1 && !(now.how & (CHANGED | RAW)) && !(now.more & (LEAVES | CUT | GARBAGE)))
		MUST(now.n_heard == now.sent);
}

static void one_connection(const struct tls_start *start)
{
	refused = false;
	if (now.more & CHECK)
		tls_check(start);
	else
		tls_run(start);
	tls_forget(&tls);
	SSL_free(tls.ssl);
	SSL_CTX_free(tls.ctx);
	free(tls.conn.in_buf);
	free(tls.conn.out_buf);
	ipc_close(&tls.monitor);
	ipc_close(&tls.keeper);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	struct tls_start start = {
		.n_certs = 1, .ca_fd = -1, .min_version = TLS1_2_VERSION, .stall_ms = 1000
	};

	if (!peer.library)
		begin_peer();
	memset(&now, 0, sizeof(now));
	now.how = fuzz_u8(&in);
	now.more = fuzz_u8(&in);
	now.n_octets = fuzz_bytes(&in, fuzz_u8(&in), &now.octets);
	fed_begin(in.p, (size_t)(in.end - in.p));
	fed.said = said;
	fed.answer = answer_honestly;
	pair(&start.fd_in, &now.fd);
	pair(&start.plain_fd, &now.session);
	start.fd_out = start.fd_in;
	start.monitor_fd = eventfd(now.how & TIME_OVER ? 1 : 0, EFD_CLOEXEC);
	start.keeper_fd = eventfd(0, EFD_CLOEXEC);
	start.cert_fds[0] = fuzz_file(0, peer.cert, peer.cert_len);
	start.tickets = !(now.more & NO_TICKETS);
	start.names = now.how & NAMED;
	begin_client();
	one_connection(&start);
	check_heard();
	SSL_free(now.ssl);
	hang_up(&now.fd);
	hang_up(&now.session);
	close(start.fd_in);
	if (now.done == 0)
		close(start.plain_fd);
	return 0;
}
