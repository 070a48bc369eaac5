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
};

/* Take the mailbox's locks as the environment says. */
int mbox_lock_of(struct maildrop *md, struct mbox_lock *l, struct pop_why *why);
void mbox_unlock_of(struct maildrop *md, struct mbox_lock *l);

/* Forget all messages (not their names). */
void mbox_forget(struct maildrop *md);

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
