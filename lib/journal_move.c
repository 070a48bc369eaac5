/*
 * journal_move.c - move the kept bytes of a mailbox to the front, so that a crash
 * at any moment loses nothing of them.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock and the mailbox locks.
 * Trusts:   the plan that it was given, or that was loaded and checked; not that
 *           nobody else writes: a deliverer may append at any moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "fsutil.h"
#include "journal_work.h"

#define COPY_PIECE (256u << 10) /* stays in the processor's cache */
#define STEP_FIRST (2u << 20)
#define HUGE_PAGE  (2u << 20)
#define SLOW_NS	   INT64_C(2000000)

/* --- the next kept byte -------------------------------------------------- */

/* Where the run of kept bytes at r->at ends. */
static uint64_t run_end(const struct work *w, const struct journal_record *r)
{
	return r->range < w->j.plan.n_ranges ? w->j.ranges[r->range].end : r->end;
}

static bool anything_left(const struct work *w, const struct journal_record *r)
{
	return r->range < w->j.plan.n_ranges || r->at < r->end;
}

/* Pass n kept bytes, which are in one run. */
static void advance(const struct work *w, struct journal_record *r, uint64_t n)
{
	r->at += n;
	if (r->range < w->j.plan.n_ranges && r->at == w->j.ranges[r->range].end) {
		r->range++;
		r->at = r->range < w->j.plan.n_ranges ? w->j.ranges[r->range].start : w->j.plan.end;
	}
}

/* --- moving --------------------------------------------------------------- */

static int read_exactly(int fd, void *buf, size_t n, uint64_t at)
{
	ssize_t got = fs_pread_full(fd, buf, n, (off_t)at);

	if (got < 0)
		return POP_E_SYS;
	if ((size_t)got < n) { /* somebody cut the mailbox */
		errno = EIO;
		return POP_E_SYS;
	}
	return 0;
}

int work_put(const struct work *w, const void *data, size_t n, uint64_t at)
{
	if (fs_pwrite_all(w->fd, data, n, (off_t)at) < 0)
		return POP_E_SYS;
	(void)sync_file_range(w->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
	return 0;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int commit(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	int err = r->done ? work_tail(w, r, &r->fit) : work_fit(w, r, &r->fit);
	int64_t begin = now_ns();

	if (err < 0)
		return err;
	err = journal_commit(&w->j);
	if (err < 0)
		return err;
	w->committed = true;
	/* Small steps stay in caches; where a sync is slow there had better be few. */
	if (now_ns() - begin > SLOW_NS)
		w->step = w->step * 2 < w->j.plan.slot_size ? w->step * 2 : w->j.plan.slot_size;
	return 0;
}

/* The gap is wide: bytes move over it without a slot, and may do so twice. */
static int step_over_gap(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	uint64_t left = r->at - r->w;
	int err;

	r->length = 0;
	r->data_sum = (struct journal_sum){ 0 };
	journal_sum_of(NULL, 0, &r->data_sum);
	if (fdatasync(w->fd) < 0)
		return POP_E_SYS;
	err = commit(w);
	while (err == 0 && left && anything_left(w, r)) {
		uint64_t n = run_end(w, r) - r->at;

		n = n < left ? n : left;
		n = n < COPY_PIECE ? n : COPY_PIECE;
		err = read_exactly(w->fd, w->buf, (size_t)n, r->at);
		if (err == 0)
			err = work_put(w, w->buf, (size_t)n, r->w);
		r->w += n;
		left -= n;
		advance(w, r, n);
	}
	return err;
}

/*
 * Copy the next kept bytes, a slot of them at most, to buf and to the slot.  In
 * pieces, so that each is in the processor's cache while it is used.
 */
static int fill_slot(struct work *w, uint64_t *len)
{
	struct journal_record *r = &w->j.rec;
	struct sum64 sum;
	int err = 0;

	sum64_init(&sum);
	for (*len = 0; err == 0 && *len < w->step && anything_left(w, r);) {
		uint64_t n = run_end(w, r) - r->at, room = w->step - *len;
		uint8_t *to = w->buf + *len;

		n = n < room ? n : room;
		n = n < COPY_PIECE ? n : COPY_PIECE;
		err = read_exactly(w->fd, to, (size_t)n, r->at);
		if (err < 0)
			return err;
		sum64_update(&sum, to, (size_t)n);
		err = journal_put_data(&w->j, to, (size_t)n, *len);
		*len += n;
		advance(w, r, n);
	}
	journal_sum_end(&sum, &r->data_sum);
	return err;
}

/* The bytes of this step go through a slot. */
static int step_by_slot(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	uint64_t len;
	/* The slot's old record is not needed any more: the newer one is on disk. */
	int err = fill_slot(w, &len);

	if (err < 0)
		return err;
	journal_hint(&w->j, (size_t)len);
	r->length = len;
	if (fdatasync(w->fd) < 0)
		return POP_E_SYS;
	err = commit(w);
	if (err == 0)
		err = work_put(w, w->buf, (size_t)len, r->w);
	r->w += len;
	return err;
}

static int move_all(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	int err = 0;

	while (err == 0 && anything_left(w, r))
		err = r->at - r->w >= w->step / 2 ? step_over_gap(w) : step_by_slot(w);
	return err;
}

int work_take_appended(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	struct stat st;

	if (fstat(w->fd, &st) < 0)
		return POP_E_SYS;
	if ((uint64_t)st.st_size <= r->end)
		return 0;
	r->end = (uint64_t)st.st_size;
	r->done = 0;
	return 1;
}

int work_cut(const struct work *w)
{
	if (ftruncate(w->fd, (off_t)w->j.rec.w) < 0 || fsync(w->fd) < 0)
		return POP_E_SYS;
	return 0;
}

int work_finish(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	int err;

	for (;;) {
		err = move_all(w);
		if (err < 0)
			return err;
		err = work_take_appended(w);
		if (err < 0)
			return err;
		if (err)
			continue;
		if (fdatasync(w->fd) < 0)
			return POP_E_SYS;
		r->done = 1;
		r->length = 0;
		journal_sum_of(NULL, 0, &r->data_sum);
		err = commit(w);
		if (err < 0)
			return err;
		/* The locks keep deliverers away; who ignores them loses no mail here either. */
		err = work_take_appended(w);
		if (err <= 0)
			return err < 0 ? err : work_cut(w);
	}
}

void work_release(struct work *w, bool ranges)
{
	int saved = errno;

	if (w->j.fd >= 0)
		close(w->j.fd);
	if (ranges)
		free(w->j.ranges);
	free(w->buf);
	errno = saved;
}

int work_buffer(struct work *w)
{
	uint64_t size = w->j.plan.slot_size;

	w->step = size < STEP_FIRST ? size : STEP_FIRST;
	if (size < COPY_PIECE)
		size = COPY_PIECE;
	if (size < 2 * (uint64_t)WORK_TAIL)
		size = 2 * (uint64_t)WORK_TAIL;
	if (posix_memalign((void **)&w->buf, HUGE_PAGE, (size_t)size) != 0) {
		w->buf = NULL;
		return POP_E_MEMORY;
	}
	(void)madvise(w->buf, (size_t)size, MADV_HUGEPAGE); /* fewer faults, where it can be had */
	return 0;
}
