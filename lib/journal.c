/*
 * journal.c - move the kept bytes of a mailbox to the front, so that a crash at
 * any moment loses nothing of them.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock and the mailbox locks.
 * Trusts:   the plan that it was given or loaded and checked; not that nobody
 *           else writes: a deliverer may append at any moment.
 *
 * Each step moves some bytes from `at` to `w`.  Where source and destination do
 * not meet, the step can simply be repeated.  Where they do, its bytes go to a
 * slot first.  A record is written only when all before it is on disk, so the
 * last record always describes a state that can be gone on from.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "fsutil.h"
#include "journal_file.h"

#define COPY_PIECE (256u << 10) /* stays in the processor's cache */
#define STEP_FIRST (2u << 20)
#define HUGE_PAGE  (2u << 20)
#define SLOW_NS	   INT64_C(2000000)
#define SAMPLE	   4096u	/* bytes of the mailbox around a place */
#define SAMPLES	   16u		/* ranges that are sampled */
#define TAIL_PIECE (512u << 10) /* of what is to be cut off, from both ends */

struct work {
	struct journal j;
	int fd;	       /* the mailbox, borrowed */
	uint8_t *buf;  /* a slot's data and at least COPY_PIECE; owned */
	uint64_t step; /* bytes that go through a slot at once */
	bool committed;
};

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

/* --- does the journal fit this mailbox? ---------------------------------- */

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

/*
 * A sum of pieces of the mailbox that stay as they are from this record to the
 * next: before w, the kept bytes still to be moved, and what lies behind this
 * step.  So a journal is not applied to a mailbox that came in the place of its own.
 */
static int fit_of(const struct work *w, const struct journal_record *r, struct journal_sum *fit)
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

/* The first bytes that a step writes to: as long as they are the old ones, none was made. */
static int begin_of(const struct work *w, struct journal_sum *begin)
{
	const struct journal_plan *p = &w->j.plan;
	struct sampler s = { .fd = w->fd };

	sample(&s, p->off, p->end);
	*begin = s.sum;
	return s.err;
}

/* When all is moved: a sum of what is to be cut off; it is gone once it was. */
static int tail_of(const struct work *w, const struct journal_record *r, struct journal_sum *fit)
{
	uint64_t len = r->end - r->w, piece = len < TAIL_PIECE ? len : TAIL_PIECE;
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

/* Write moved bytes and let the disk begin with them. */
static int put(const struct work *w, const void *data, size_t n, uint64_t at)
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
	int err = r->done ? tail_of(w, r, &r->fit) : fit_of(w, r, &r->fit);
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
			err = put(w, w->buf, (size_t)n, r->w);
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
		err = put(w, w->buf, (size_t)len, r->w);
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

/* Take in what was appended behind r->end.  1 there was something, 0 not. */
static int take_appended(struct work *w)
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

static int cut(const struct work *w)
{
	if (ftruncate(w->fd, (off_t)w->j.rec.w) < 0 || fsync(w->fd) < 0)
		return POP_E_SYS;
	return 0;
}

/* From any state to the end of the work, the journal itself excepted. */
static int finish(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	int err;

	for (;;) {
		err = move_all(w);
		if (err < 0)
			return err;
		err = take_appended(w);
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
		err = take_appended(w);
		if (err <= 0)
			return err < 0 ? err : cut(w);
	}
}

static int remove_journal(int dir_fd)
{
	int fd, err = 0;

	if (unlinkat(dir_fd, JOURNAL_NAME, 0) < 0 && errno != ENOENT)
		return POP_E_SYS;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		err = POP_E_SYS;
	if (fd >= 0)
		close(fd);
	return err;
}

static void work_release(struct work *w, bool ranges)
{
	int saved = errno;

	if (w->j.fd >= 0)
		close(w->j.fd);
	if (ranges)
		free(w->j.ranges);
	free(w->buf);
	errno = saved;
}

static int work_buffer(struct work *w)
{
	uint64_t size = w->j.plan.slot_size;

	w->step = size < STEP_FIRST ? size : STEP_FIRST;
	if (size < COPY_PIECE)
		size = COPY_PIECE;
	if (size < 2 * (uint64_t)TAIL_PIECE)
		size = 2 * (uint64_t)TAIL_PIECE;
	if (posix_memalign((void **)&w->buf, HUGE_PAGE, (size_t)size) != 0) {
		w->buf = NULL;
		return POP_E_MEMORY;
	}
	(void)madvise(w->buf, (size_t)size, MADV_HUGEPAGE); /* fewer faults, where it can be had */
	return 0;
}

/* --- expunge -------------------------------------------------------------- */

static size_t merge(struct range *r, size_t n)
{
	size_t kept = 0;

	for (size_t i = 1; i < n; i++) {
		if (r[i].start == r[kept].end)
			r[kept].end = r[i].end;
		else
			r[++kept] = r[i];
	}
	return n ? kept + 1 : 0;
}

/* A sparse mailbox would need new blocks in the middle of the work. */
static int fill_holes(int fd, uint64_t off, uint64_t end)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size)
		return 0;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)(end - off)) == 0 ||
	    errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return POP_E_SYS;
}

/* How large a slot is worth it: no step moves more than this. */
static uint64_t slot_wanted(const struct range *keep, size_t n, uint64_t off)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += keep[i].end - keep[i].start;
	return keep[0].start - off >= total ? 0 : total;
}

int journal_expunge(int dir_fd, int fd, uint64_t off, struct range *keep, size_t n, uint64_t end,
		    struct pop_why *why)
{
	struct work w = { .fd = fd, .j = { .dir_fd = dir_fd, .fd = -1 } };
	struct range late;
	struct stat st;
	int err;

	n = merge(keep, n);
	if (n == 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size > end) {
		keep = &late; /* came from somebody who ignores the locks */
		late = (struct range){ end, (uint64_t)st.st_size };
		end = late.end;
		n = 1;
	}
	if (n == 0) {
		if (ftruncate(fd, (off_t)off) < 0 || fsync(fd) < 0)
			return pop_why_errno(why, "cannot cut the mailbox");
		return 0;
	}
	if (n > JOURNAL_RANGES_MAX)
		return pop_why(why, POP_E_LONG, "too many pieces of the mailbox to keep");
	w.j.ranges = keep;
	w.j.plan.n_ranges = n;
	w.j.plan.off = off;
	w.j.plan.end = end;
	w.j.rec = (struct journal_record){ .end = end, .w = off, .at = keep[0].start };
	err = fill_holes(fd, off, end);
	if (err == 0)
		err = begin_of(&w, &w.j.plan.begin);
	if (err == 0)
		err = journal_create(&w.j, slot_wanted(keep, n, off));
	if (err == POP_E_EXISTS)
		return pop_why(why, err, "an unfinished journal is in the way");
	if (err == 0)
		err = work_buffer(&w);
	if (err == 0)
		err = finish(&w);
	if (err < 0 && w.j.fd >= 0 && !w.committed) {
		int saved = errno;

		remove_journal(dir_fd);
		errno = saved;
	}
	if (err == 0)
		err = remove_journal(dir_fd);
	work_release(&w, false);
	if (err == POP_E_SYS)
		return pop_why_errno(why, w.committed ? "cannot finish the removal of messages now"
						      : "cannot write a journal");
	return err < 0 ? pop_why(why, err, "cannot remove messages: out of memory") : 0;
}

/* --- recovery ------------------------------------------------------------- */

int journal_exists(int dir_fd)
{
	struct stat st;

	if (fstatat(dir_fd, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : POP_E_SYS;
}

static int set_aside(int dir_fd, struct pop_why *why, const char *reason)
{
	char name[64];
	struct stat st;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), i ? "%s.%lld-%u" : "%s.%lld", JOURNAL_NAME,
			 (long long)time(NULL), i);
		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	if (renameat(dir_fd, JOURNAL_NAME, dir_fd, name) < 0)
		return pop_why_errno(why, "cannot set the journal aside");
	pop_why(why, 0, "the journal of an unfinished removal was kept as %s: %s", name, reason);
	return JOURNAL_ASIDE;
}

/* The journal as a file: ours, and nobody else's. */
static const char *unsafe_file(const struct work *w, uid_t owner)
{
	struct stat st;

	if (w->j.fd < 0 || fstat(w->j.fd, &st) < 0)
		return "it cannot be opened";
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return "it is no file, or has more than one name";
	if (st.st_uid != owner || (st.st_mode & 077) != 0)
		return "its owner or mode is wrong";
	return NULL;
}

/* The last record says that all is moved. */
static int recover_done(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	struct journal_sum now;
	struct stat st;
	int err;

	if (fstat(w->fd, &st) < 0)
		return POP_E_SYS;
	if ((uint64_t)st.st_size < r->end)
		return 0; /* it was cut */
	err = tail_of(w, r, &now);
	if (err < 0 || !journal_sum_equal(&now, &r->fit))
		return err; /* it was cut, and has grown since */
	err = take_appended(w);
	if (err < 0)
		return err;
	return err ? finish(w) : cut(w);
}

/* Put the record's bytes into their place, then go on. */
static int recover_moving(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	int err = journal_get_data(&w->j, w->buf);

	if (err == 0)
		err = put(w, w->buf, (size_t)r->length, r->w);
	if (err < 0)
		return err;
	r->w += r->length;
	err = take_appended(w);
	return err < 0 ? err : finish(w);
}

/* Does it fit the mailbox?  NULL, or why not; *err on error. */
static const char *misfit(const struct work *w, int *err)
{
	const struct journal_record *r = &w->j.rec;
	struct journal_sum now;
	struct stat st;

	if (w->fd < 0)
		return "there is no mailbox";
	if (fstat(w->fd, &st) < 0) {
		*err = POP_E_SYS;
		return NULL;
	}
	if (r->done) /* whatever the mailbox is now, only an equal end is cut off */
		return NULL;
	if ((uint64_t)st.st_size < r->end)
		return "the mailbox is shorter than it was";
	*err = fit_of(w, r, &now);
	if (*err == 0 && !journal_sum_equal(&now, &r->fit))
		return "the mailbox was changed by another program";
	return NULL;
}

/* No record is whole.  Was it never committed?  1, 0 or an error. */
static int never_used(const struct work *w, int found)
{
	struct journal_sum now;
	int err;

	if (found == JOURNAL_LOAD_BLANK)
		return 1;
	if (found != JOURNAL_LOAD_TORN || w->fd < 0)
		return 0;
	err = begin_of(w, &now);
	return err < 0 ? err : journal_sum_equal(&now, &w->j.plan.begin);
}

static int recover(struct work *w, struct pop_why *why)
{
	const char *reason;
	int err = 0, found = journal_load(&w->j);

	if (found < 0)
		return found;
	if (found != JOURNAL_LOAD_VALID) {
		err = never_used(w, found);
		if (err == 0)
			return set_aside(w->j.dir_fd, why, "it is damaged");
		if (err > 0)
			err = remove_journal(w->j.dir_fd);
		if (err < 0)
			return err;
		pop_why(why, 0, "removed a journal that was never used");
		return JOURNAL_UNUSED;
	}
	reason = misfit(w, &err);
	if (reason)
		return set_aside(w->j.dir_fd, why, reason);
	if (err == 0)
		err = work_buffer(w);
	w->committed = true;
	if (err == 0)
		err = w->j.rec.done ? recover_done(w) : recover_moving(w);
	if (err == 0)
		err = remove_journal(w->j.dir_fd);
	if (err < 0)
		return err;
	pop_why(why, 0, "finished an interrupted removal of messages");
	return JOURNAL_FINISHED;
}

int journal_recover(int dir_fd, int fd, uid_t owner, struct pop_why *why)
{
	struct work w = { .fd = fd, .j = { .dir_fd = dir_fd, .fd = -1 } };
	const char *unsafe;
	int err = journal_exists(dir_fd);

	if (err <= 0)
		return err;
	w.j.fd = openat(dir_fd, JOURNAL_NAME,
			O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (w.j.fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO ||
			   errno == EROFS))
		return pop_why_errno(why, "cannot open the journal");
	unsafe = unsafe_file(&w, owner);
	err = unsafe ? set_aside(dir_fd, why, unsafe) : recover(&w, why);
	if (err == POP_E_SYS && !unsafe)
		pop_why_errno(why, "cannot finish an interrupted removal of messages");
	work_release(&w, true);
	return err;
}
