/*
 * mbox.h - what the parts of the mbox backend share.  Only for lib/mbox*.c and
 * the index.
 */
#ifndef POP_MBOX_H
#define POP_MBOX_H

#include "maildrop_impl.h"
#include "journal.h"
#include "mbox_scan.h"

/* priv of a maildrop over an mbox. */
struct mbox {
	int fd;			 /* read-only, holds no lock; -1: there was no mailbox */
	dev_t dev;		 /* of it */
	struct file_stamp stamp; /* of it when the messages were found, under the locks */
	uint64_t scanned;	 /* the messages lie in [0, scanned) */
	uint64_t last;		 /* where the separator line of the last one begins */
	bool hidden;		 /* the first one is IMAP servers' internal data */
	int64_t read_at_ns;	 /* the clock before stamp was taken */
	bool doubt;		 /* a message was found changed: the index proves nothing */
	struct msg *old;	 /* owned: messages of an old index whose ids nobody has yet */
	size_t n_old;
	struct mbox_lock lock; /* kept after an expunge until the index is saved, where held */
	bool held;
};

/* Take the mailbox's locks as the environment says. */
int mbox_lock_of(struct maildrop *md, struct mbox_lock *l, struct pop_why *why);
void mbox_unlock_of(struct maildrop *md, struct mbox_lock *l);

/* Forget all messages (not their names). */
void mbox_forget(struct maildrop *md);
/* Release locks that were kept. */
void mbox_let_go(struct maildrop *md);

/*
 * What does the index know of the mailbox, which has this stamp now and is open as mb->fd?
 * MBOX_SAME: all, and the table is made of it; MBOX_GREW: all up to mb->scanned;
 * MBOX_SCAN: nothing but ids; or an error.
 */
enum { MBOX_SCAN, MBOX_GREW, MBOX_SAME };
int mbox_use_index(struct maildrop *md, const struct file_stamp *now);
/* maildrop_backend.save: write the index; kept locks are released. */
void mbox_save(struct maildrop *md);

/* After a scan: the ids of the old index for messages with the same header and size. */
int mbox_old_ids(struct maildrop *md);
/* What is left of them, for messages with the same digest; all digests are known. */
int mbox_old_ids_by_digest(struct maildrop *md);
/* Is among what is left an id that could not be made again? */
bool mbox_old_ids_matter(const struct maildrop *md);
/* maildrop_backend.uidls (mbox_uidl.c). */
int mbox_uidls(struct maildrop *md);

/* maildrop_backend.expunge of an mbox (mbox_expunge.c). */
int mbox_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		 size_t *removed, struct pop_why *why);

/*
 * Make the digests of those of n messages in fd that have no id yet.  One that
 * is not any more what was scanned stays without MSG_DIGEST.  0, POP_E_SYS,
 * POP_E_MEMORY, POP_E_CHANGED (the file is shorter now).
 */
int mbox_digests(struct maildrop *md, int fd, struct msg *m, size_t n);

/*
 * After other places were found for messages: which of `now` are the deleted
 * ones of the maildrop (mbox_match.c)?
 *   now      the mailbox as it is, in fd_now; digests are made where needed
 *            and those that are found again get the id they had
 *   marked   out, set for each of `now` that is to be deleted (n_now bools)
 *   gone     out, how many deleted ones are not there any more
 * 0; POP_E_CHANGED: for some it cannot be told (not counted in gone, not marked);
 * or another error.
 */
int mbox_match(struct maildrop *md, const uint8_t *deleted, int fd_now, struct msg *now,
	       size_t n_now, bool *marked, size_t *gone);

#endif
