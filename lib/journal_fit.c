/*
 * journal_fit.c - does a journal belong to this mailbox, as it is now?
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock and the mailbox locks.
 * Trusts:   the plan that it was given, or that was loaded and checked.
 */
#include <string.h>
#include "fsutil.h"
#include "journal_work.h"

#define SAMPLE	4096u /* bytes of the mailbox around a place */
#define SAMPLES 16u   /* ranges that are sampled */

struct sampler {
	int fd;
	struct journal_sum sum;
	int err;
};

/* Add [start, end) of the mailbox to the samples, at most SAMPLE bytes of it. */
static void sample(struct sampler *s, uint64_t start, uint64_t end)
{
	struct {
		struct journal_sum before;
		uint64_t start, len;
		uint8_t bytes[SAMPLE];
	} block = { .before = s->sum, .start = start };
	uint64_t want = end - start < SAMPLE ? end - start : SAMPLE;
	ssize_t got;

	if (s->err < 0)
		return;
	got = fs_pread_full(s->fd, block.bytes, (size_t)want, (off_t)start);
	if (got < 0) {
		s->err = POP_E_SYS;
		return;
	}
	block.len = (uint64_t)got;
	journal_sum_of(&block, sizeof(block), &s->sum);
}

int work_fit(const struct work *w, const struct journal_record *r, struct journal_sum *fit)
{
	uint64_t left = w->j.plan.n_ranges - r->range, step = left / SAMPLES + 1;
	struct sampler s = { .fd = w->fd };
	uint64_t stays;

	sample(&s, r->w > SAMPLE ? r->w - SAMPLE : 0, r->w);
	for (uint64_t i = r->range; i < w->j.plan.n_ranges; i += step) {
		const struct range *k = &w->j.ranges[i];
		uint64_t start = i == r->range ? r->at : k->start;

		sample(&s, start, k->end);
		sample(&s, k->end - start > SAMPLE ? k->end - SAMPLE : start, k->end);
	}
	/* Behind what this step writes, down to the end; at least what goes is there. */
	stays = r->length ? r->w + r->length : r->at;
	sample(&s, stays, r->end);
	sample(&s, r->end - stays > SAMPLE ? r->end - SAMPLE : stays, r->end);
	*fit = s.sum;
	return s.err;
}

int work_begin(const struct work *w, struct journal_sum *begin)
{
	const struct journal_plan *p = &w->j.plan;
	struct sampler s = { .fd = w->fd };

	sample(&s, p->off, p->end);
	*begin = s.sum;
	return s.err;
}

int work_tail(const struct work *w, const struct journal_record *r, struct journal_sum *fit)
{
	uint64_t len = r->end - r->w, piece = len < WORK_TAIL ? len : WORK_TAIL;
	ssize_t got;

	got = fs_pread_full(w->fd, w->buf, (size_t)piece, (off_t)r->w);
	if (got < 0)
		return POP_E_SYS;
	memset(w->buf + got, 0, (size_t)(piece - (uint64_t)got));
	got = fs_pread_full(w->fd, w->buf + piece, (size_t)piece, (off_t)(r->end - piece));
	if (got < 0)
		return POP_E_SYS;
	journal_sum_of(w->buf, (size_t)piece + (size_t)got, fit);
	return 0;
}
