/*
 * drop.h - the maildrop role: what its files share.
 */
#ifndef POP3D_DROP_H
#define POP3D_DROP_H

#include "ipc.h"
#include "maildrop.h"
#include "role.h"

struct drop {
	const struct drop_start *start;
	struct maildrop_env env;
	struct dotlock_ops dotlock;
	struct maildrop *md;
	struct ipc monitor, session, digester;
	int lock_fd;	 /* holds the session lock */
	int login_fd;	 /* the time of the last login, or -1 */
	bool keeps_seen; /* the days of first retrievals */
	bool delayed;	 /* it was too short ago */
	bool left;	 /* a dotlock could not be removed: tried again */
	unsigned notes;	 /* sent so far */
	unsigned digester_asks;
};

/* drop_serve.c: answer the session until it ends.  0 or a negative code. */
int drop_serve(struct drop *d);

/*
 * drop_seen.c: keep the days of first retrievals, where this site needs them.  begin
 * comes before an expunge (deleted NULL: there is none), end after the last answer.
 */
struct seen_lines;
void drop_seen_begin(struct drop *d, struct seen_lines *l, const uint8_t *retrieved,
		     const uint8_t *deleted);
void drop_seen_end(struct drop *d, struct seen_lines *l);

/* drop_ask.c: what this role asks of others; all are callbacks of the maildrop. */
void drop_note(void *ctx, int level, const char *text);
int drop_dotlock_make(void *ctx, const char *path);
int drop_dotlock_remove(void *ctx, const char *path);
int drop_dotlock_take_over(void *ctx, const char *path);
/* Deliverers wait for it: where it could not be removed, say for want of a descriptor, try again.
 */
void drop_retry_dotlock(struct drop *d);
int drop_digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items, size_t n,
		uint8_t (*out)[16]);

#endif
