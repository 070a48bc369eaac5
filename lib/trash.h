/*
 * trash.h - messages that were removed, and are kept for a while (trash_days).
 *
 * Of a Maildir: MAILDIR/pop3d-trash/DAY/NAME, DAY counted from 1970-01-01 (UTC),
 * renamed there from new or cur; `.ids` beside them has "ID NAME" lines for the
 * few whose unique id is not the one that their name gives.
 * Of an mbox: state_dir/USER/trash/DAY.N, a file for each removal:
 *
 *   pop3d-trash 1
 *   STATE START BYTES OCTETS ID    a line for each message
 *                                  an empty line
 *   the messages as they stood in the mailbox
 *
 * STATE is k (kept) or r (restored), START counts from behind the empty line, ID is
 * `-` where it is not known.  All of it belongs to the maildrop's owner, who may
 * write it: nothing is believed unchecked.  Under the session lock.
 */
#ifndef POP_TRASH_H
#define POP_TRASH_H

#include "maildrop_impl.h"

#define TRASH_OF_MAILDIR "pop3d-trash" /* in the Maildir */
#define TRASH_OF_MBOX	 "trash"       /* in the state directory */
#define TRASH_IDS	 ".ids"
#define TRASH_TEMP	 "new" /* of an mbox, being written */
#define TRASH_HEAD	 "pop3d-trash 1\n"
#define TRASH_LINE_SPACE 176 /* bytes of a line of the head, and more */

/* --- keeping, for the backends' expunge --------------------------------------- */

/* Bytes of an mbox that go. */
struct trash_range {
	uint64_t start, end;
	const struct msg *m; /* the message they are */
};

/*
 * Copy them from fd, and sync the copy.  name: out, of the file, for _drop().
 * 0, or an error with the reason, and nothing is left.
 */
#define TRASH_NAME_SPACE 40
int trash_keep_mbox(struct maildrop *md, int fd, const struct trash_range *ranges, size_t n,
		    char name[TRASH_NAME_SPACE], struct pop_why *why);
/* The messages stay in the mailbox after all: remove the copy. */
void trash_drop_mbox(const struct maildrop *md, const char *name);

/* Where the messages of one expunge of a Maildir go; opened when the first does. */
struct trash_dir {
	int root_fd, day_fd;	/* owned; -1: not yet */
	bool new_root, new_day; /* directories made now */
	bool moved;		/* something was */
	uint64_t lost;		/* messages of which no copy was kept */
	int lost_errno;		/* why, of the first */
};
#define TRASH_DIR_NONE                      \
	{                                   \
		.root_fd = -1, .day_fd = -1 \
	}

/*
 * Move the file `name` of from_fd, message m, there.  1: moved; 0: it cannot be, so it
 * stays (counted in lost); POP_E_MISSING: it is not there any more.
 */
int trash_move(struct maildrop *md, struct trash_dir *t, int from_fd, const char *name,
	       const struct msg *m);
/*
 * Sync what was moved, which has to come before the sync of where it was, say of how many
 * no copy was kept, and close.
 */
void trash_dir_end(struct maildrop *md, struct trash_dir *t);

/* --- looking, restoring, purging: pop3admin ------------------------------------ */

struct trash_item {
	char uidl[UIDL_MAX + 1];
	uint32_t day;	   /* of the removal */
	uint32_t turn;	   /* N of DAY.N, 0 where there is none */
	uint64_t octets;   /* as sent */
	uint64_t start;	   /* mbox: where its separator line begins in the file */
	uint64_t bytes;	   /* mbox: with the separator line and the empty line */
	uint64_t state_at; /* mbox: where its STATE is */
	uint32_t box;  /* offset in names: the file of an mbox's, the directory of a Maildir's */
	uint32_t name; /* offset in names: the file of a Maildir's */
};
struct trash {
	struct trash_item *items; /* owned, by day and place */
	size_t n, size;
	char *names; /* owned, NUL-terminated */
	size_t names_len, names_size;
};

/*
 * What is kept of md's maildrop and not in it.  Of several copies of one message the
 * last.  Release it either way.  0, POP_E_SYS, POP_E_MEMORY, or an error of
 * maildrop_uidl().
 */
int trash_load(struct trash *t, struct maildrop *md, struct pop_why *why);
void trash_release(struct trash *t);

/* Open a message: out->fd is the caller's, with offset and length.  0 or an error. */
int trash_open(const struct trash *t, struct maildrop *md, size_t i, struct maildrop_message *out,
	       struct pop_why *why);

/*
 * Bring a message back into the maildrop: synced there, then gone from the trash.  md
 * is as it was opened and does not show it.  Where the id is to be kept by an import,
 * fresh must be a maildrop opened with env.fresh, else NULL will do: ask
 * trash_needs_import() first, and have the ids of what was restored before settled
 * and saved.
 * 0, POP_E_MISSING (the mailbox is not there), POP_E_EXISTS (a message of that
 * name is), or another error with the reason.
 */
int trash_restore(struct trash *t, struct maildrop *md, struct maildrop *fresh, size_t i,
		  struct pop_why *why);
/* 1: the id would not come back by itself; 0; or an error. */
int trash_needs_import(const struct trash *t, struct maildrop *md, size_t i);

/*
 * Remove what has been kept for more than so many days (0: all).  *n counts messages.
 * dry_run: only count them.  0 or an error; the rest is gone all the same.
 */
int trash_purge(const struct maildrop_env *env, uint32_t days, bool dry_run, uint64_t *n,
		struct pop_why *why);

#endif
