/*
 * mbox_lock.h - the locks that deliverers respect on an mbox (design section 7).
 *
 * dotlock, an OFD lock on the whole file, flock: all that are configured are
 * tried, and on a miss all are released before the next try; none is ever
 * waited for while another is held.
 */
#ifndef POP_MBOX_LOCK_H
#define POP_MBOX_LOCK_H

#include <stdbool.h>
#include <sys/types.h>
#include "err.h"

/*
 * How a dotlock is made: by ourselves in the mailbox's directory, or, where
 * only root may write there, by whoever stands behind these functions (the
 * monitor).  make: 0, POP_E_BUSY (held by a live other), POP_E_DENIED (this
 * place can have none: the caller goes on without), POP_E_SYS.
 */
struct dotlock_ops {
	int (*make)(void *ctx, const char *mailbox_path);
	int (*remove)(void *ctx, const char *mailbox_path);
	void *ctx;
	/*
	 * make, where a foreign dotlock is in the way and the caller found the
	 * mailbox's own locks free: taken when it is ten minutes old.  May be NULL.
	 */
	int (*take_over)(void *ctx, const char *mailbox_path);
};

/*
 * The plain implementation over a directory descriptor: a complete temporary
 * file (pid, start time, boot id, host), then link(2).  A stale one (ours and
 * its process gone; foreign, 10 minutes old and its fcntl lock free) is taken
 * by rename, checked by inode, unlinked.
 *   dir_fd  the mailbox's directory;  base  the mailbox's file name
 */
int dotlock_make_at(int dir_fd, const char *base, struct pop_why *why);
/*
 * The same for a process that may not open the mailbox: a foreign one that is
 * ten minutes old is taken at the word of the caller, who looked at its locks.
 */
int dotlock_take_over_at(int dir_fd, const char *base, struct pop_why *why);
/* Remove the dotlock that this process made; another one's is left alone.  0, POP_E_MISSING,
 * POP_E_SYS. */
int dotlock_remove_at(int dir_fd, const char *base);

struct mbox_lock {
	int fd;	      /* the mailbox, O_RDWR (O_RDONLY: read_only), holding the lock; -1: no file */
	bool dotlock; /* a dotlock is held */
	bool read_only; /* EROFS or EACCES for writing */
};
/*
 * Lock and open the mailbox at path.
 *   kinds    bits of enum conf_lock;  wait_ms  until which misses are retried
 *   owner    who must own the file
 *   dotlock  NULL: made by ourselves
 * Returns 0 (fd -1 where there is no file: an empty maildrop, the dotlock is
 * held), POP_E_BUSY, POP_E_UNSAFE (a link, FIFO, directory, foreign owner, hard
 * links), POP_E_DENIED (unreadable), POP_E_SYS.
 */
int mbox_lock(struct mbox_lock *l, const char *path, uid_t owner, unsigned kinds, int wait_ms,
	      const struct dotlock_ops *dotlock, struct pop_why *why);
/* Release OFD lock, then dotlock, and close; keeps errno. */
void mbox_unlock(struct mbox_lock *l, const char *path, const struct dotlock_ops *dotlock);

#endif
