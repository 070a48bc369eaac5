/*
 * tls_relay.c - plaintext to the session, ciphertext to the client, each as
 * fast as the other side takes it.
 *
 * The session's answers are read in large pieces and leave in one write; while
 * that write is unfinished nothing more is read (back-pressure).  One record of
 * the client's at a time goes the other way.
 *
 * Runs in:  tls.
 * Trusts:   nothing.  The client's end without close_notify is told to the
 *           session as an end; without QUIT that deletes nothing.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/err.h>
#include "fsutil.h"
#include "tls.h"

#define IDLE_MS 1000

struct relay {
	struct tls *t;
	int plain;	    /* the session's end, -1 when it has ended */
	bool lean;	    /* what only a handshake needs was freed */
	bool in_over;	    /* nothing more comes from the client */
	bool told_session;  /* and the session knows */
	uint8_t *answers;   /* [TLS_PLAIN], from the session */
	size_t from, until; /* not yet encrypted */
	uint8_t clear[TLS_CLEAR];
	size_t clear_from, clear_until; /* not yet taken by the session */
};

/* What the session said becomes ciphertext, as far as there is room.  0 or POP_E_EOF. */
static int encrypt_plain(struct relay *r)
{
	while (r->from < r->until) {
		size_t done = 0;

		ERR_clear_error();
		if (SSL_write_ex(r->t->ssl, r->answers + r->from, r->until - r->from, &done) != 1)
			return SSL_get_error(r->t->ssl, 0) == SSL_ERROR_WANT_WRITE ? 0 : POP_E_EOF;
		r->from += done;
	}
	return 0;
}

/* Everything said so far is with the kernel. */
static bool all_sent(const struct relay *r)
{
	return r->from == r->until && tls_conn_waiting(&r->t->conn) == 0;
}

static int push_answers(struct relay *r)
{
	int err = encrypt_plain(r);

	if (err == 0)
		err = tls_conn_flush(&r->t->conn);
	return err;
}

static int read_session(struct relay *r)
{
	ssize_t n = recv(r->plain, r->answers, TLS_PLAIN, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		close(r->plain); /* it need not wait for the client: we do */
		r->plain = -1;
		return 0;
	}
	r->from = 0;
	r->until = (size_t)n;
	return push_answers(r);
}

/* Give the session what the client sent.  A session that is gone takes nothing more. */
static void push_clear(struct relay *r)
{
	while (r->clear_from < r->clear_until) {
		ssize_t n = send(r->plain, r->clear + r->clear_from, r->clear_until - r->clear_from,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0)
			n = (ssize_t)(r->clear_until - r->clear_from);
		r->clear_from += (size_t)n;
	}
	explicit_bzero(r->clear, r->clear_until); /* a password may have been in it */
	r->clear_from = r->clear_until = 0;
	if (r->in_over && !r->told_session) {
		shutdown(r->plain, SHUT_WR);
		r->told_session = true;
	}
}

/* Decrypt one record after the other while the session takes them. */
static int read_client(struct relay *r)
{
	while (!r->in_over && r->clear_until == 0) {
		size_t n = 0;

		ERR_clear_error();
		if (SSL_read_ex(r->t->ssl, r->clear, sizeof(r->clear), &n) == 1) {
			r->clear_until = n;
		} else if (SSL_get_error(r->t->ssl, 0) == SSL_ERROR_WANT_READ) {
			return tls_conn_flush(&r->t->conn); /* an answer to a key update */
		} else {
			r->in_over = true; /* close_notify, a cut connection, or garbage */
		}
		if (r->plain >= 0)
			push_clear(r);
		else
			r->clear_from = r->clear_until = 0;
	}
	return 0;
}

/* Wait until one side can go on.  0, POP_E_TIME (the client took nothing for too long). */
static int wait_any(struct relay *r, int64_t stalled_ms)
{
	struct tls_conn *c = &r->t->conn;
	bool full = !all_sent(r);
	bool in_wanted = !r->in_over && r->clear_until == 0;
	struct pollfd fds[3] = {
		{ .fd = in_wanted ? c->in : -1, .events = POLLIN },
		{ .fd = full ? c->out : -1, .events = POLLOUT },
		{ .fd = r->plain },
	};
	int wait_ms = r->lean ? -1 : IDLE_MS;

	fds[2].events = (short)((full ? 0 : POLLIN) | (r->clear_until > 0 ? POLLOUT : 0));
	if (full) {
		int64_t left = stalled_ms + r->t->start->stall_ms - fs_now_ms();

		if (left <= 0)
			return POP_E_TIME;
		wait_ms = (int)left;
	}
	if (fds[2].events == 0)
		fds[2].fd = -1; /* its end is seen when we read again */
	/* a session that stays for a while is worth some work; a short one never pays for it */
	if (poll(fds, 3, wait_ms) == 0 && !full) {
		tls_forget(r->t);
		r->lean = true;
	}
	return 0;
}

/* One round: whatever can move, moves. */
static int move(struct relay *r)
{
	int err = push_answers(r);

	if (r->plain >= 0 && r->clear_until > 0)
		push_clear(r);
	if (err == 0)
		err = read_client(r);
	if (err == 0 && r->plain >= 0 && all_sent(r))
		err = read_session(r);
	return err;
}

void tls_relay(struct tls *t)
{
	struct relay *r = calloc(1, sizeof(*r));
	int64_t moved_ms = fs_now_ms();
	size_t waiting = 0;
	int err = POP_E_MEMORY;

	if (!r)
		return;
	r->t = t;
	r->plain = t->start->plain_fd;
	r->answers = malloc(TLS_PLAIN);
	if (r->answers)
		err = tls_conn_flush(&t->conn);
	while (err == 0 && (r->plain >= 0 || !all_sent(r))) {
		size_t now;

		err = move(r);
		now = r->until - r->from + tls_conn_waiting(&t->conn);
		if (now != waiting || now == 0)
			moved_ms = fs_now_ms();
		waiting = now;
		if (err == 0 && (r->plain >= 0 || now > 0))
			err = wait_any(r, moved_ms);
	}
	if (err == 0) {
		SSL_shutdown(t->ssl);
		tls_conn_flush(&t->conn);
		tls_conn_drain(&t->conn);
	}
	if (r->plain >= 0)
		close(r->plain);
	explicit_bzero(r->clear, sizeof(r->clear));
	free(r->answers);
	free(r);
}
