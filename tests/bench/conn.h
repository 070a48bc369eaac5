/*
 * conn.h - one POP3 connection of the measuring client.  Failures end the process.
 */
#ifndef BENCH_CONN_H
#define BENCH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUF_SIZE (1 << 20)
#define WAIT_S	 60 /* the longest silence of a server, seconds */

struct options {
	uint16_t port;
	const char *user, *pass;
	unsigned n;	    /* sessions, messages or commands */
	unsigned conc;	    /* workers */
	bool tls;	    /* from the first octet */
	const char *cipher; /* the only TLS cipher suite offered, or NULL */
	bool resume;	    /* offer the ticket of the session before */
};

extern struct options opt;

struct conn {
	int fd;
	size_t len;	 /* octets in buf */
	char *buf;	 /* BUF_SIZE, made by the first conn_open */
	uint64_t octets; /* received on this connection */
	struct ssl_st *tls;
};

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

/* Zeroed memory; caller frees. */
void *alloc(size_t size);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/* Connect to opt.port on loopback.  c is zeroed, or was used for a connection that has ended. */
void conn_open(struct conn *c);
void conn_send(struct conn *c, const char *data, size_t len);

/* Send what is taken now; data and left go on by it.  True when all is gone. */
bool conn_send_some(struct conn *c, const char **data, size_t *left);

/* Wait until the connection can be read or, with writing, written; POLLIN, POLLOUT, POLLHUP. */
int conn_poll(struct conn *c, bool writing);
void conn_close(struct conn *c);
__attribute__((format(printf, 2, 3))) void command(struct conn *c, const char *fmt, ...);

/* Receive more octets behind those in the buffer; their number, or 0 at the end of the stream. */
size_t more(struct conn *c);

/* Read one line of answer, which must be +OK; what was wanted is only named in the complaint. */
void expect_ok(struct conn *c, const char *what);

/* Read a multi-line answer after which nothing was asked; its octets, status line included. */
uint64_t expect_multi(struct conn *c, const char *what);

/* Read to the end of the stream and close. */
void expect_eof(struct conn *c);

/* How many ends of multi-line answers lie wholly in p[0..len). */
uint64_t count_ends(const char *p, size_t len);

/* Connect and log in as opt.user. */
void login(struct conn *c);

/* QUIT, its answer, and the end of the stream. */
void quit(struct conn *c);

#endif
