/*
 * journal_work.h - an expunge in progress: what the parts of the journal share.
 * Only for lib/journal*.c.
 *
 * Each step moves some bytes from `at` to `w`.  Where source and destination do
 * not meet, the step can simply be repeated.  Where they do, its bytes go to a
 * slot first.  A record is written only when all before it is on disk, so the
 * last record always describes a state that can be gone on from.
 */
#ifndef POP_JOURNAL_WORK_H
#define POP_JOURNAL_WORK_H

#include "journal_file.h"

#define WORK_TAIL (512u << 10) /* bytes that are summed at both ends of what is to be cut off */

struct work {
	struct journal j;
	int fd;	       /* the mailbox, borrowed */
	uint8_t *buf;  /* a slot's data, and at least 2 * WORK_TAIL; owned */
	uint64_t step; /* bytes that go through a slot at once */
	bool committed;
};

/* Make the buffer, when the size of a slot is known.  0 or POP_E_MEMORY. */
int work_buffer(struct work *w);
/* Close the journal, free the buffer and, if they are its own, the ranges; keeps errno. */
void work_release(struct work *w, bool ranges);

/*
 * A sum of pieces of the mailbox that stay as they are from this record to the
 * next: before w, the kept bytes still to be moved, and what lies behind this
 * step.  So a journal is not applied to a mailbox that came in the place of its own.
 */
int work_fit(const struct work *w, const struct journal_record *r, struct journal_sum *fit);
/* Of the first bytes that a step writes to: as long as they are the old ones, none was made. */
int work_begin(const struct work *w, struct journal_sum *begin);
/* When all is moved: of what is to be cut off; it is gone once it was. */
int work_tail(const struct work *w, const struct journal_record *r, struct journal_sum *fit);

/* Write moved bytes and let the disk begin with them. */
int work_put(const struct work *w, const void *data, size_t n, uint64_t at);
/* Take in what was appended behind the record's end.  1 there was something, 0 not, or an error. */
int work_take_appended(struct work *w);
/* Cut off what is behind w, and sync. */
int work_cut(const struct work *w);
/* From any state to the end of the work, the journal itself excepted. */
int work_finish(struct work *w);

#endif
