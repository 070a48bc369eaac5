/*
 * owner.h - do a piece of work as the maildrop's owner, never as root.
 *
 * A child gives up root for the owner's uid and gid, with no supplementary
 * group, and works there; what it finds comes back as records over a socket.
 * The parent meanwhile only reads them, and makes the dotlock where the
 * mailbox's directory is root's and the owner may not write it.
 */
#ifndef OWNER_H
#define OWNER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "err.h"
#include "mbox_lock.h"
#include "record.h"

/* The child's end. */
struct owner {
	int fd;
	bool root_dotlock;  /* the parent makes the dotlock */
	uint8_t buf[16384]; /* records not yet sent */
	size_t len;
	struct record rec; /* to build records in */
};

/* Queue o->rec.  0, POP_E_EOF where the parent is gone. */
int owner_send(struct owner *o);
/* A REC_FINDING or REC_NOTE in one call. */
int owner_say(struct owner *o, enum record_type type, int level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

struct owner_job {
	uid_t uid;
	gid_t gid;
	int keep_fds[2]; /* beside 0 to 2, what the child keeps open; -1: nothing */
	/* the mailbox whose dotlock the parent makes, NULL: the child makes its own */
	const char *dotlock_path;
	/* in the child: 0 or enum pop_err, with the reason in why */
	int (*work)(struct owner *o, void *ctx, struct pop_why *why);
	/* in the parent, for every record but the last (NULL: none is expected); 0 goes on */
	int (*record)(void *ctx, struct record *r);
	void *ctx; /* for both; each process has its own copy */
};

/*
 * Run the job to its end.  Refuses uid 0 and gid 0 (POP_E_DENIED), and, where
 * the caller is not root, every uid but its own (POP_E_DENIED).  Returns what
 * work returned, with its errno and reason, or what record returned, or
 * POP_E_EOF (the child died) or POP_E_CORRUPT (it sent what is no record).
 */
int owner_run(const struct owner_job *job, struct pop_why *why);

/* The dotlock as the parent makes it, for maildrop_env; ctx is the struct owner. */
extern const struct dotlock_ops owner_dotlock_ops;

/*
 * Must the parent make the dotlock of this mailbox?  Its directory is root's,
 * no part of the path is a symbolic link, and the owner may not write there.
 * Returns the directory (caller closes), or -1: the owner makes its own.
 */
int owner_dotlock_dir(const char *mailbox_path, uid_t uid, gid_t gid);

#endif
