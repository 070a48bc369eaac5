/*
 * tls.h - TLS under a connection of the measuring client.  Failures end the process.
 */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <stdbool.h>
#include <sys/types.h>
#include "conn.h"

/* Once, before any connection and before workers are forked, where opt.tls. */
void tls_init(void);

/* Handshake on the connected c->fd, which is non-blocking from then on.  Where opt.resume, with the
 * newest ticket that this process was given. */
void tls_open(struct conn *c);

/* As recv() and send() with a wait of WAIT_S; with now, tls_send may return 0 instead of waiting.
 */
ssize_t tls_recv(struct conn *c, char *to, size_t len);
ssize_t tls_send(struct conn *c, const char *data, size_t len, bool now);

/* Whether octets that came already wait inside, which poll() does not see. */
bool tls_pending(const struct conn *c);

/* Say close_notify, free; c->fd is left to the caller. */
void tls_close(struct conn *c);

/* Handshakes of all workers so far: how many, and how many of them by a ticket. */
void tls_counts(unsigned *handshakes, unsigned *resumed);

/* Version and cipher of the latest handshake, "" before any. */
const char *tls_cipher(void);

#endif
