/*
 * tls.c - TLS under a connection of the measuring client.
 *
 * Runs in:  the benchmark's client, on loopback.
 * Trusts:   nothing the server says; certificates are not verified, since what is measured is the
 *           server's part of the handshake.
 *
 * TLS 1.3 with OpenSSL's defaults, so that each server chooses key exchange and cipher as it does
 * for ordinary clients.  What they chose is part of the results.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "tls.h"

#define READ_AHEAD (256 * 1024) /* octets taken from the socket at once */

/* Shared by all workers. */
struct shared {
	atomic_uint handshakes, resumed;
	char cipher[64];
};

static SSL_CTX *ctx;
static SSL_SESSION *ticket;
static struct shared *shared;

__attribute__((noreturn)) static void die_tls(const char *what)
{
	die("TLS %s: %s", what, ERR_reason_error_string(ERR_peek_last_error()));
}

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(ticket);
	ticket = session;
	return 1;
}

void tls_init(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	ctx = SSL_CTX_new(TLS_client_method());
	if (shared == MAP_FAILED || !ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
		die("TLS cannot be set up");
	if (opt.cipher && !SSL_CTX_set_ciphersuites(ctx, opt.cipher))
		die_tls("cipher");
	signal(SIGPIPE, SIG_IGN);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
	if (opt.resume) {
		SSL_CTX_set_session_cache_mode(ctx,
					       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
	}
}

/* Wait for what the failed call wants.  False where there is nothing to wait for: the stream's end.
 */
static bool wait_for(struct conn *c, int ret, const char *what)
{
	struct pollfd p = { .fd = c->fd };

	switch (SSL_get_error(c->tls, ret)) {
	case SSL_ERROR_WANT_READ:
		p.events = POLLIN;
		break;
	case SSL_ERROR_WANT_WRITE:
		p.events = POLLOUT;
		break;
	case SSL_ERROR_ZERO_RETURN:
		return false;
	case SSL_ERROR_SYSCALL:
		die("TLS %s: %s", what, strerror(errno));
	default:
		die_tls(what);
	}
	if (poll(&p, 1, WAIT_S * 1000) <= 0)
		die("TLS %s: the server is silent", what);
	return true;
}

void tls_open(struct conn *c)
{
	int ret;

	c->tls = SSL_new(ctx);
	if (!c->tls || fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0 || !SSL_set_fd(c->tls, c->fd))
		die("TLS cannot be started");
	/* A ticket is offered once (RFC 8446, appendix C.4); the server gives another. */
	if (ticket) {
		SSL_set_session(c->tls, ticket);
		SSL_SESSION_free(ticket);
		ticket = NULL;
	}
	while ((ret = SSL_connect(c->tls)) <= 0) {
		if (!wait_for(c, ret, "handshake"))
			die("TLS handshake: connection closed");
	}
	atomic_fetch_add(&shared->handshakes, 1);
	if (SSL_session_reused(c->tls))
		atomic_fetch_add(&shared->resumed, 1);
	snprintf(shared->cipher, sizeof(shared->cipher), "%s %s", SSL_get_version(c->tls),
		 SSL_get_cipher_name(c->tls));
}

ssize_t tls_recv(struct conn *c, char *to, size_t len)
{
	size_t n;
	int ret;

	while ((ret = SSL_read_ex(c->tls, to, len, &n)) <= 0) {
		if (!wait_for(c, ret, "read"))
			return 0;
	}
	return (ssize_t)n;
}

ssize_t tls_send(struct conn *c, const char *data, size_t len, bool now)
{
	size_t n;
	int ret;

	while ((ret = SSL_write_ex(c->tls, data, len, &n)) <= 0) {
		if (now && SSL_get_error(c->tls, ret) == SSL_ERROR_WANT_WRITE)
			return 0;
		if (!wait_for(c, ret, "write"))
			die("TLS write: connection closed");
	}
	return (ssize_t)n;
}

bool tls_pending(const struct conn *c)
{
	return SSL_has_pending(c->tls);
}

void tls_close(struct conn *c)
{
	/* The server may be gone already: that is no failure. */
	SSL_shutdown(c->tls);
	ERR_clear_error();
	SSL_free(c->tls);
	c->tls = NULL;
}

void tls_counts(unsigned *handshakes, unsigned *resumed)
{
	*handshakes = shared ? atomic_load(&shared->handshakes) : 0;
	*resumed = shared ? atomic_load(&shared->resumed) : 0;
}

const char *tls_cipher(void)
{
	return shared ? shared->cipher : "";
}
