/*
 * tls_conn.c - the client's connection below TLS, as a BIO over two buffers: a
 * burst of records goes out in one write.
 *
 * Runs in:  tls.
 * Trusts:   nothing that it reads.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fsutil.h"
#include "tls.h"

#define DRAIN_MS     2000
#define DRAIN_OCTETS 65536
#define PIPE_CHUNK   4096 /* what a pipe that polls writable takes without blocking */

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

int tls_conn_init(struct tls_conn *c, int in, int out)
{
	int one = 1;

	c->in = in;
	c->out = out;
	c->in_socket = is_socket(in);
	c->out_socket = is_socket(out);
	c->in_buf = malloc(TLS_IN_SIZE);
	c->out_buf = malloc(TLS_OUT_SIZE);
	if (!c->in_buf || !c->out_buf)
		return POP_E_MEMORY;
	/* answers are whole writes: nothing is won by holding one back */
	if (c->out_socket)
		setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

static bool is_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

static ssize_t get_some(struct tls_conn *c, void *data, size_t n)
{
	if (c->in_socket)
		return recv(c->in, data, n, MSG_DONTWAIT);
	if (!is_ready(c->in, POLLIN)) {
		errno = EAGAIN;
		return -1;
	}
	return read(c->in, data, n);
}

static ssize_t put_some(struct tls_conn *c, const void *data, size_t n)
{
	if (c->out_socket)
		return send(c->out, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (!is_ready(c->out, POLLOUT)) {
		errno = EAGAIN;
		return -1;
	}
	return write(c->out, data, n < PIPE_CHUNK ? n : PIPE_CHUNK);
}

static bool try_later(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

int tls_conn_fill(struct tls_conn *c)
{
	ssize_t n;

	if (c->eof)
		return POP_E_EOF;
	if (c->in_start == c->in_end)
		c->in_start = c->in_end = 0;
	if (c->in_end == TLS_IN_SIZE)
		return 1;
	n = get_some(c, c->in_buf + c->in_end, TLS_IN_SIZE - c->in_end);
	if (n < 0 && try_later())
		return 0;
	if (n <= 0) {
		c->eof = true;
		return POP_E_EOF;
	}
	c->in_end += (size_t)n;
	return 1;
}

int tls_conn_flush(struct tls_conn *c)
{
	while (c->out_start < c->out_end && !c->broken) {
		ssize_t n = put_some(c, c->out_buf + c->out_start, c->out_end - c->out_start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && try_later())
			return 0;
		if (n < 0)
			c->broken = true;
		else
			c->out_start += (size_t)n;
	}
	c->out_start = c->out_end = 0;
	return c->broken ? POP_E_EOF : 0;
}

static int bio_read(BIO *bio, char *data, size_t n, size_t *done)
{
	struct tls_conn *c = BIO_get_data(bio);
	size_t have;

	BIO_clear_retry_flags(bio);
	if (c->in_start == c->in_end) {
		int got = tls_conn_fill(c);

		if (got == 0)
			BIO_set_retry_read(bio);
		if (got <= 0)
			return 0;
	}
	have = c->in_end - c->in_start;
	*done = n < have ? n : have;
	memcpy(data, c->in_buf + c->in_start, *done);
	c->in_start += *done;
	return 1;
}

static int bio_write(BIO *bio, const char *data, size_t n, size_t *done)
{
	struct tls_conn *c = BIO_get_data(bio);
	size_t room = TLS_OUT_SIZE - c->out_end;

	BIO_clear_retry_flags(bio);
	if (c->broken)
		return 0;
	if (room == 0) {
		BIO_set_retry_write(bio);
		return 0;
	}
	*done = n < room ? n : room;
	memcpy(c->out_buf + c->out_end, data, *done);
	c->out_end += *done;
	return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)num;
	(void)ptr;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return ((struct tls_conn *)BIO_get_data(bio))->eof;
	default:
		return 0;
	}
}

BIO *tls_conn_bio(struct tls_conn *c)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 100, "client");
	BIO *bio = NULL;

	if (method && BIO_meth_set_read_ex(method, bio_read) == 1 &&
	    BIO_meth_set_write_ex(method, bio_write) == 1 &&
	    BIO_meth_set_ctrl(method, bio_ctrl) == 1)
		bio = BIO_new(method);
	if (bio) {
		BIO_set_data(bio, c);
		BIO_set_init(bio, 1);
	}
	return bio; /* the method lives as long as the process */
}

void tls_conn_drain(struct tls_conn *c)
{
	int64_t until_ms = fs_now_ms() + DRAIN_MS, left;
	size_t dropped = 0;

	if (!c->out_socket || c->eof || shutdown(c->out, SHUT_WR) < 0)
		return;
	while (dropped < DRAIN_OCTETS && (left = until_ms - fs_now_ms()) > 0) {
		struct pollfd p = { .fd = c->in, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = get_some(c, c->in_buf, TLS_IN_SIZE);
		if (n == 0 || (n < 0 && !try_later()))
			return;
		dropped += n > 0 ? (size_t)n : 0;
	}
}
