/*
 * mbox_scan.h - find and measure the messages of an mbox in one pass.
 *
 * Reads with pread through one window, never a mapping (a file that another
 * program cuts must not be SIGBUS).  Memory does not depend on the messages.
 */
#ifndef POP_MBOX_SCAN_H
#define POP_MBOX_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include "maildrop_impl.h"

/* A header section counts up to here; what is behind belongs to no header_sum. */
#define MBOX_HEADER_MAX (16u << 20)

struct mbox_scan {
	int fd;
	uint64_t start; /* first byte to look at: 0, or where a separator line begins */
	uint64_t end;	/* bytes from here on are not read (the size of the file under the lock) */
	/* called for each message in order, non-zero ends the scan and is returned */
	int (*each)(void *ctx, const struct msg *m);
	void *ctx;

	/* results */
	uint64_t messages;   /* met, a hidden one included */
	uint64_t last;	     /* where the separator line of the last one begins */
	bool hidden;	     /* the first one is IMAP servers' internal data: `each` never saw it */
	char missing[4];     /* what must follow the last message before another may be appended */
	uint8_t missing_len; /* 0 where it is complete, or where there is no message */
};

/*
 * Scan [start, end).  To go on after an earlier scan that ended behind a line
 * end (the file has grown): start at `last` of that scan, and replace its last
 * message by the first of this one; or, where mbox_separator_at(old end), start
 * there.
 * 0, POP_E_SYS, POP_E_MEMORY, POP_E_CHANGED (the file is shorter than end), or
 * what each() returned.
 */
int mbox_scan(struct mbox_scan *s);

/* Does a separator line begin at offset (within end)?  1, 0, POP_E_SYS. */
int mbox_separator_at(int fd, uint64_t offset, uint64_t end);

/* Is the message still what was scanned: separator and header section?  0, POP_E_CHANGED,
 * POP_E_SYS.
 */
int mbox_verify(int fd, const struct msg *m);

#endif
