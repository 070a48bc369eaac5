/*
 * tls_run.c - the tls role: one handshake, what came of it to the monitor, then
 * the relay.
 *
 * Runs in:  tls, as unprivileged_user in the empty root, without a key.
 * Trusts:   nothing of the client's.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <openssl/err.h>
#include "fsutil.h"
#include "tls.h"

#define LAST_WORD_MS 2000 /* for an alert that the client does not take */

/* OpenSSL's words are not loaded; these are the failures that come up. */
static const struct {
	int reason;
	const char *text;
} reasons[] = {
	{ SSL_R_HTTP_REQUEST, "the client speaks HTTP" },
	{ SSL_R_WRONG_VERSION_NUMBER, "what came is not TLS" },
	{ SSL_R_UNEXPECTED_MESSAGE, "a message out of order" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "the client's TLS is older than tls_min_version" },
	{ SSL_R_VERSION_TOO_LOW, "the client's TLS is older than tls_min_version" },
	{ SSL_R_NO_SHARED_CIPHER, "no cipher that both sides know" },
	{ SSL_R_NO_SUITABLE_KEY_SHARE, "no key exchange group that both sides know" },
	{ SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no signature algorithm that both sides know" },
	{ SSL_R_NO_APPLICATION_PROTOCOL, "the client asks for another protocol (ALPN)" },
	{ SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the client does not know the certificate's authority" },
	{ SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the client takes the certificate for bad" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the client does not accept the certificate" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the client takes the certificate for expired" },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the client finds nothing in common" },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the client wants another version of TLS" },
	{ SSL_R_CERTIFICATE_VERIFY_FAILED, "the client's certificate is not accepted" },
	{ SSL_R_UNEXPECTED_EOF_WHILE_READING, "the client went away" },
};

static void describe(struct tls *t, struct pop_why *why)
{
	unsigned long e = ERR_peek_error();
	int reason = ERR_GET_REASON(e);

	if (e == 0 || ERR_GET_LIB(e) != ERR_LIB_SSL) {
		pop_why(why, 0,
			t->conn.eof || t->conn.broken ? "the client went away"
						      : "cryptographic failure");
		return;
	}
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].reason == reason) {
			pop_why(why, 0, "%s", reasons[i].text);
			return;
		}
	if (reason > SSL_AD_REASON_OFFSET)
		pop_why(why, 0, "the client sent alert %d", reason - SSL_AD_REASON_OFFSET);
	else
		pop_why(why, 0, "OpenSSL's reason %d", reason);
}

static void tell_broken(struct tls *t)
{
	struct pop_why why;
	struct ipc_msg m;

	describe(t, &why);
	ipc_start(&m, IPC_TLS_BROKEN);
	ipc_put_str(&m, why.text, strlen(why.text));
	ipc_send(&t->monitor, &m);
}

/* What the connection is, and what SCRAM can be bound to (RFC 9266, RFC 5929). */
static int tell_done(struct tls *t)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	const char *cipher = SSL_get_cipher_name(t->ssl);
	bool resumed = SSL_session_reused(t->ssl) == 1;
	uint8_t secret[IPC_BINDING_LEN] = { 0 };
	uint8_t unique[IPC_UNIQUE_LEN] = { 0 };
	unsigned kinds = BINDING_NONE;
	struct ipc_msg m;
	int err;

	const char *server = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
	char identity[256];

	if (!server || strlen(server) > 255)
		server = "";
	tls_client_identity(t, identity, sizeof(identity));
	if ((SSL_version(t->ssl) >= TLS1_3_VERSION || SSL_get_extms_support(t->ssl) == 1) &&
	    SSL_export_keying_material(t->ssl, secret, sizeof(secret), label, sizeof(label) - 1,
				       NULL, 0, 0) == 1)
		kinds = BINDING_EXPORTER;
	/* the first Finished of the handshake, RFC 5929; unique with RFC 7627 only */
	if (SSL_version(t->ssl) < TLS1_3_VERSION && SSL_get_extms_support(t->ssl) == 1 &&
	    (resumed ? SSL_get_finished(t->ssl, unique, sizeof(unique))
		     : SSL_get_peer_finished(t->ssl, unique, sizeof(unique))) == sizeof(unique))
		kinds |= BINDING_UNIQUE;
	ipc_start(&m, IPC_TLS_DONE);
	ipc_put_u32(&m, (uint32_t)SSL_version(t->ssl));
	ipc_put_u8(&m, resumed);
	ipc_put_u8(&m, (uint8_t)kinds);
	ipc_put_raw(&m, secret, sizeof(secret));
	ipc_put_raw(&m, unique, sizeof(unique));
	ipc_put_str(&m, cipher, strlen(cipher));
	ipc_put_str(&m, identity, strlen(identity));
	ipc_put_str(&m, server, strlen(server));
	err = ipc_send(&t->monitor, &m);
	explicit_bzero(secret, sizeof(secret));
	ipc_wipe(&m);
	return err;
}

/* Wait for the client; the monitor's end closes when the time for the handshake is over. */
static int wait_client(struct tls *t)
{
	struct tls_conn *c = &t->conn;
	struct pollfd fds[3] = { { .fd = c->in, .events = POLLIN },
				 { .fd = -1, .events = POLLOUT },
				 { .fd = t->monitor.fd, .events = POLLIN } };

	if (tls_conn_flush(c) < 0)
		return POP_E_EOF;
	if (tls_conn_waiting(c) > 0) {
		fds[0].fd = -1;
		fds[1].fd = c->out;
	}
	if (poll(fds, 3, -1) > 0 && fds[2].revents)
		return POP_E_TIME;
	return 0;
}

/* 0, POP_E_EOF, POP_E_TIME (the monitor has ended it), POP_E_CORRUPT (it failed). */
static int shake_hands(struct tls *t)
{
	int err = 0;

	while (err == 0) {
		int r, what;

		ERR_clear_error();
		r = SSL_do_handshake(t->ssl);
		if (r == 1)
			return 0;
		what = SSL_get_error(t->ssl, r);
		if (t->silent || tls_provider_refused() ||
		    (what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE))
			return POP_E_CORRUPT;
		err = wait_client(t);
	}
	return err;
}

/* The alert that says why goes out before the end. */
static void say_alert(struct tls *t)
{
	struct tls_conn *c = &t->conn;
	int64_t until_ms = fs_now_ms() + LAST_WORD_MS, left;

	while (tls_conn_flush(c) == 0 && tls_conn_waiting(c) > 0 &&
	       (left = until_ms - fs_now_ms()) > 0) {
		struct pollfd p = { .fd = c->out, .events = POLLOUT };

		poll(&p, 1, (int)left);
	}
	tls_conn_drain(c);
}

static int set_up(struct tls *t, const struct tls_start *start)
{
	memset(t, 0, sizeof(*t));
	t->start = start;
	ipc_init(&t->monitor, start->monitor_fd, ROLE_TLS, ROLE_MONITOR, PH_AUTH);
	ipc_init(&t->keeper, start->keeper_fd, ROLE_TLS, ROLE_KEEPER, PH_AUTH);
	return tls_ctx_new(t);
}

/* Static: its pages cost nothing until they are used. */
static struct tls tls;

int tls_run(const struct tls_start *start)
{
	struct tls *t = &tls;
	BIO *bio = NULL;
	int err = set_up(t, start);

	if (err == 0)
		err = tls_conn_init(&t->conn, start->fd_in, start->fd_out);
	if (err == 0)
		bio = tls_conn_bio(&t->conn);
	if (!bio) {
		tls_note(t, LOG_ERR, "OpenSSL cannot be set up");
		return EX_OSERR;
	}
	SSL_set0_rbio(t->ssl, bio);
	BIO_up_ref(bio);
	SSL_set0_wbio(t->ssl, bio);
	SSL_set_accept_state(t->ssl);
	err = shake_hands(t);
	if (t->keeper.broken)
		tls_note(t, LOG_ERR, "what the keeper said breaks the protocol");
	ipc_close(&t->keeper); /* its work is done */
	if (err == 0 && tell_done(t) == 0) {
		tls_relay(t);
	} else if (err < 0 && err != POP_E_TIME && !t->silent && !tls_provider_refused()) {
		tell_broken(t);
		say_alert(t);
	}
	return EX_OK;
}

static int check_keys(struct tls *t, struct pop_why *why)
{
	for (unsigned i = 0; i < t->n_chains; i++) {
		uint8_t *der;
		size_t len = cert_public_key(t->chains[i].certs[0], &der);
		struct ipc_msg m;
		int err;

		ipc_start(&m, IPC_KEY_ASK);
		ipc_put_raw(&m, der, len);
		OPENSSL_free(der);
		err = ipc_call(&t->keeper, &m);
		if (err < 0)
			return pop_why(why, err, "the keeper has ended");
		if (ipc_get_u8(&m) != VERDICT_OK) {
			ipc_get_str(&m, why->text, sizeof(why->text));
			return POP_E_DENIED;
		}
	}
	return 0;
}

int tls_check(const struct tls_start *start)
{
	struct tls *t = &tls;
	int64_t from = 0, until = INT64_MAX, one_from, one_until;
	struct pop_why why = { "" };
	struct ipc_msg m;
	int err = set_up(t, start);

	if (err < 0)
		pop_why(&why, err, "OpenSSL cannot be set up");
	else
		err = tls_cert_use(t, &why);
	if (err == 0)
		err = check_keys(t, &why);
	for (unsigned i = 0; i < t->n_chains && err == 0; i++) {
		err = cert_dates(t->chains[i].certs[0], &one_from, &one_until);
		from = one_from > from ? one_from : from;
		until = one_until < until ? one_until : until;
	}
	ipc_start(&m, IPC_TLS_CHECKED);
	ipc_put_u8(&m, err == 0);
	ipc_put_u64(&m, (uint64_t)from);
	ipc_put_u64(&m, (uint64_t)until);
	ipc_put_str(&m, why.text, strlen(why.text));
	return ipc_send(&t->monitor, &m) < 0 ? EX_PROTOCOL : EX_OK;
}
