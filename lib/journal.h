/*
 * journal.h - take bytes out of a file in place, so that a crash at any moment
 * loses nothing of what is kept (design section 7, Expunge).
 *
 * The journal is the file `journal` of the state directory.  While it is there
 * the mailbox is half moved and only journal_recover() may touch it.  Both
 * functions run under the session lock and the mailbox locks.
 */
#ifndef POP_JOURNAL_H
#define POP_JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include "err.h"

struct range {
	uint64_t start, end; /* [start, end) */
};

/*
 * Keep of fd's content [0, off) and the n ranges, nothing else; sizes are then
 * synced, and only then it returns.
 *
 *   dir_fd  the state directory (O_PATH is enough)
 *   fd      the mailbox, read-write
 *   keep    ascending, not overlapping, not empty, from off on, within end; may be merged in place
 *   end     the size of the mailbox now; what is appended behind it meanwhile is kept too
 *
 *   committed  out, may be NULL: the removal is decided.  It is done, or the next recovery
 *              will do it, whatever is returned; the places of messages are others by now
 *
 * n == 0: one ftruncate, no journal.  On error before the plan was synced
 * nothing has changed and no journal is left; after it the journal stays, and
 * the next journal_recover() finishes the work.
 * 0, POP_E_SYS, POP_E_MEMORY, POP_E_EXISTS (an unfinished journal: recover
 * first), POP_E_LONG (above 16 million ranges).
 */
int journal_expunge(int dir_fd, int fd, uint64_t off, struct range *keep, size_t n, uint64_t end,
		    bool *committed, struct pop_why *why);

/* What journal_recover() found. */
enum journal_found {
	JOURNAL_NONE = 0,     /* no journal */
	JOURNAL_UNUSED = 1,   /* it was never committed: removed, the mailbox is as it was */
	JOURNAL_FINISHED = 2, /* the expunge is done now */
	JOURNAL_ASIDE = 3,    /* it fits no mailbox: renamed to journal.TIME */
};

/*
 * Is there an unfinished journal?  1 or 0, POP_E_SYS.  (Where this is 0 no lock
 * for writing is needed.)
 */
int journal_exists(int dir_fd);

/*
 * Finish what an earlier journal_expunge() began.
 *
 *   fd     the mailbox, read-write, or -1 where there is none now
 *   owner  who must own the journal
 *   why    a sentence for the log where the result is above JOURNAL_NONE
 *
 * Returns enum journal_found or POP_E_SYS, POP_E_MEMORY (the journal stays; try
 * again, and do not use the mailbox before).
 */
int journal_recover(int dir_fd, int fd, uid_t owner, struct pop_why *why);

#endif
