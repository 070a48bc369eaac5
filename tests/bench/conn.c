/*
 * conn.c - one POP3 connection of the measuring client.
 *
 * Runs in:  the benchmark's client.
 * Trusts:   nothing the server says; every wait is bounded (60 s).  What cannot go on ends the
 *           process with one line of complaint.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "conn.h"
#include "tls.h"

struct options opt = { .user = "bench", .pass = "bench", .n = 1, .conc = 1 };

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "client: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	_exit(1);
}

void *alloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		die("out of memory");
	return p;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void conn_open(struct conn *c)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(opt.port) };
	struct timeval wait = { .tv_sec = WAIT_S };

	if (!c->buf)
		c->buf = alloc(BUF_SIZE);
	c->len = 0;
	c->octets = 0;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(c->fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("connect: %s", strerror(errno));
	if (opt.tls)
		tls_open(c);
}

void conn_send(struct conn *c, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = c->tls ? tls_send(c, data, len, false)
				   : send(c->fd, data, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send: %s", strerror(errno));
		data += n;
		len -= (size_t)n;
	}
}

bool conn_send_some(struct conn *c, const char **data, size_t *left)
{
	ssize_t n = c->tls ? tls_send(c, *data, *left, true)
			   : send(c->fd, *data, *left, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		die("send: %s", strerror(errno));
	if (n > 0) {
		*data += n;
		*left -= (size_t)n;
	}
	return *left == 0;
}

int conn_poll(struct conn *c, bool writing)
{
	struct pollfd p = { .fd = c->fd, .events = (short)(POLLIN | (writing ? POLLOUT : 0)) };
	bool pending = c->tls && tls_pending(c);

	if (poll(&p, 1, pending ? 0 : WAIT_S * 1000) <= 0 && !pending)
		die("the server neither reads nor writes");
	return p.revents | (pending ? POLLIN : 0);
}

void conn_close(struct conn *c)
{
	if (c->tls)
		tls_close(c);
	close(c->fd);
}

void command(struct conn *c, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	conn_send(c, line, (size_t)n);
}

size_t more(struct conn *c)
{
	ssize_t n;

	if (c->len == BUF_SIZE)
		die("an answer over %d octets", BUF_SIZE);
	n = c->tls ? tls_recv(c, c->buf + c->len, BUF_SIZE - c->len)
		   : recv(c->fd, c->buf + c->len, BUF_SIZE - c->len, 0);
	if (n < 0)
		die("recv: %s", strerror(errno));
	c->len += (size_t)n;
	c->octets += (uint64_t)n;
	return (size_t)n;
}

void expect_ok(struct conn *c, const char *what)
{
	char *end;

	while (!(end = memchr(c->buf, '\n', c->len))) {
		if (!more(c))
			die("%s: connection closed", what);
	}
	if (c->buf[0] != '+')
		die("%s: %.*s", what, (int)(end - c->buf), c->buf);
	end++;
	c->len -= (size_t)(end - c->buf);
	memmove(c->buf, end, c->len);
}

/* Nothing was asked after it, so it ends where the stream pauses on a dot. */
uint64_t expect_multi(struct conn *c, const char *what)
{
	uint64_t before = c->octets;
	char tail[5] = "";

	while (memcmp(tail, "\r\n.\r\n", 5) != 0) {
		size_t keep;

		if (!more(c))
			die("%s: connection closed", what);
		if (c->octets - before == c->len && c->buf[0] != '+')
			die("%s: %.*s", what, (int)(c->len < 80 ? c->len : 80), c->buf);
		keep = c->len < 5 ? c->len : 5;
		if (c->octets - before >= 5 && keep == 5)
			memcpy(tail, c->buf + c->len - 5, 5);
		/* Only the end is of interest: the buffer is used again from its start. */
		if (c->len > BUF_SIZE / 2) {
			memmove(c->buf, c->buf + c->len - keep, keep);
			c->len = keep;
		}
	}
	c->len = 0;
	return c->octets - before;
}

void expect_eof(struct conn *c)
{
	while (more(c))
		c->len = 0;
	conn_close(c);
}

/* Plain enough for the compiler to do 16 octets at once. */
uint64_t count_ends(const char *p, size_t len)
{
	uint64_t sum = 0;

	for (size_t at = 0; at + 4 <= len;) {
		size_t step = len - 3 - at < 240 ? len - 3 - at : 240;
		uint8_t found = 0;

		for (size_t i = at; i < at + step; i++)
			found += (uint8_t)((p[i] == '\n') & (p[i + 1] == '.') & (p[i + 2] == '\r') &
					   (p[i + 3] == '\n'));
		sum += found;
		at += step;
	}
	return sum;
}

void quit(struct conn *c)
{
	command(c, "QUIT\r\n");
	expect_ok(c, "QUIT");
	expect_eof(c);
}

void login(struct conn *c)
{
	conn_open(c);
	expect_ok(c, "greeting");
	command(c, "USER %s\r\n", opt.user);
	expect_ok(c, "USER");
	command(c, "PASS %s\r\n", opt.pass);
	expect_ok(c, "PASS");
}
