/*
 * mbox_find.h - the inner loop of an mbox scan: the next place that needs a
 * closer look, and counts of what was passed on the way.
 */
#ifndef POP_MBOX_FIND_H
#define POP_MBOX_FIND_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/* Bytes that must be readable before `from` (1) and behind `to`. */
#define MBOX_FIND_AHEAD 64

struct mbox_tally {
	uint64_t bare; /* LFs that no CR precedes */
	uint64_t dots; /* not 0: an LF is followed by '.' */
};

/*
 * The first i in [from, to) where d[i] is LF or NUL and d[i + 1] is 'F'; with
 * header also where d[i] is LF and d[i + 1] is LF or CR; else `to`.  What lies
 * before it is added to t; the place itself is not.
 */
typedef size_t mbox_find_fn(const uint8_t *d, size_t from, size_t to, bool header,
			    struct mbox_tally *t);

/*
 * The fastest one for so many bytes: what this processor can do is looked up
 * only where that pays, since the question alone may cost microseconds.
 */
mbox_find_fn *mbox_find_best(uint64_t bytes);

/* Each that this processor can run, for tests: n = 0, 1, ... until NULL. */
mbox_find_fn *mbox_find_nth(unsigned n);

#endif
