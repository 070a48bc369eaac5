/*
 * session_lock.h - one session a maildrop: the lock on state_dir/USER/lock.
 *
 * A classic POSIX record lock, so that the kernel names its holder and frees it
 * with its process.  The process that holds it must not open `lock` again.
 */
#ifndef POP_SESSION_LOCK_H
#define POP_SESSION_LOCK_H

#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include "err.h"

struct lock_record {
	pid_t pid;
	uint64_t start_time; /* of that process: clock ticks since boot, /proc/PID/stat field 22 */
	char boot_id[40];    /* /proc/sys/kernel/random/boot_id */
	char host[256];
	char address[64]; /* the client's, "" where there is none */
	int64_t since;	  /* seconds since the epoch */
};

#define LOCK_RECORD_MAX 2048 /* bytes of a record as text, the longest host name escaped */

/* Fill a record for the calling process. */
void lock_record_self(struct lock_record *r, const char *address);

/*
 * Take the lock, retrying every 5 to 50 ms until wait_ms is over, check that
 * the file is still the one at its path, and write the record into it.
 *   dir_fd   the state directory (O_PATH is enough)
 * Returns the descriptor that holds the lock (close frees it), POP_E_BUSY,
 * POP_E_UNSAFE (no regular file, foreign owner, more than one link), POP_E_SYS.
 */
int session_lock_take(int dir_fd, int wait_ms, const struct lock_record *self, struct pop_why *why);

/*
 * Who holds it?  1 held (*pid from the kernel, 0 where it is in another pid
 * namespace; *r from the file, as far as it can be read), 0 free,
 * POP_E_MISSING (no lock file yet: free), POP_E_SYS.
 */
int session_lock_query(int dir_fd, struct lock_record *r, pid_t *pid);

/*
 * Is the process of this record (same host, boot and start time) alive?  1, also where its
 * start time is hidden from us; 0;
 * POP_E_MISSING where host or boot differ, so that nobody here can know.
 */
int lock_record_alive(const struct lock_record *r);
/* One text line, and back.  format: length or POP_E_LONG; parse: 0 or POP_E_SYNTAX. */
int lock_record_format(const struct lock_record *r, char *out, size_t size);
int lock_record_parse(const char *text, size_t len, struct lock_record *r);

#endif
