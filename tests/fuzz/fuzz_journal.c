/*
 * fuzz_journal.c - an expunge that is cut short at any write, once or twice, and
 * finished by recovery; and a journal that its owner has changed.
 *
 * Input: octet 0: how; 1 and 2: at which write it is cut short, first and in
 * recovery; 3 and 4: size of the mailbox; 5 and 6: what is kept as it is; then
 * ranges as pairs of gap and length (octets); where bit 3 says so, behind a
 * gap of 255 changes of the journal: offset (2 octets, in units of 8) and value.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fsutil.h"
#include "fuzz.h"

static int fs_pwrite_cut(int fd, const void *data, size_t n, off_t offset);
static int ftruncate_cut(int fd, off_t size);
static int fdatasync_cut(int fd);
static int unlinkat_cut(int fd, const char *name, int flags);
#define fs_pwrite_all fs_pwrite_cut
#define ftruncate     ftruncate_cut
#define fdatasync     fdatasync_cut
#define unlinkat      unlinkat_cut
/* a huge page is large to make empty, for so little */
#undef MADV_HUGEPAGE
#define MADV_HUGEPAGE MADV_NORMAL
#include "../../lib/journal_file.c"
#include "../../lib/journal_fit.c"
#include "../../lib/journal_move.c"
#include "../../lib/journal.c"
#undef fs_pwrite_all
#undef ftruncate
#undef fdatasync
#undef unlinkat

enum { SCALE = 3, APPEND = 4, CHANGE = 8, SEAL = 16, CHANGE_MAIL = 32 };
#define RANGES_MAX 64
#define MAIL_MAX   (640u << 10)

/* --- writes that end -------------------------------------------------------------- */

static unsigned writes_left; /* 0: as many as it takes */
static bool dead;

/* May this one be done?  The last one before the end is done by half. */
static bool may(size_t *n)
{
	if (dead) {
		errno = EIO;
		return false;
	}
	if (writes_left > 0 && --writes_left == 0) {
		dead = true;
		*n /= 2;
	}
	return true;
}

static int fs_pwrite_cut(int fd, const void *data, size_t n, off_t offset)
{
	size_t whole = n;

	if (!may(&n))
		return POP_E_SYS;
	MUST(fs_pwrite_all(fd, data, n, offset) == 0);
	errno = EIO;
	return n == whole ? 0 : POP_E_SYS;
}

static int ftruncate_cut(int fd, off_t size)
{
	size_t all = 2;

	if (!may(&all) || all < 2)
		return -1;
	return ftruncate(fd, size);
}

static int fdatasync_cut(int fd)
{
	size_t all = 2;

	(void)fd;
	errno = EIO;
	return may(&all) && all == 2 ? 0 : -1;
}

static int unlinkat_cut(int fd, const char *name, int flags)
{
	size_t all = 2;

	if (!may(&all) || all < 2)
		return -1;
	return unlinkat(fd, name, flags);
}

static void cut_after(unsigned n)
{
	writes_left = n;
	dead = false;
}

/* --- a mailbox and what is to be left of it ------------------------------------------- */

struct job {
	uint8_t mail[MAIL_MAX], want[MAIL_MAX + 64];
	size_t size, want_size;
	uint64_t off;
	struct range keep[RANGES_MAX];
	size_t n;
};

static uint8_t pristine[MAIL_MAX];

static void fill(uint8_t *out, size_t n)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		out[i] = (uint8_t)(x >> 24);
	}
}

static void take_job(struct fuzz_in *in, struct job *job, size_t scale)
{
	uint64_t at;

	job->size = fuzz_u16(in) % 4096 * scale;
	job->off = fuzz_u16(in) % 4096 * scale;
	if (job->off > job->size)
		job->off = job->size;
	at = job->off;
	for (job->n = 0; job->n < RANGES_MAX && in->p < in->end;) {
		uint8_t gap = fuzz_u8(in), len;

		if (gap == 255)
			break;
		len = fuzz_u8(in);
		at += gap * scale;
		if (at >= job->size)
			break;
		job->keep[job->n].start = at;
		at += (len ? len : 1u) * scale;
		if (at > job->size)
			at = job->size;
		job->keep[job->n++].end = at;
	}
	memcpy(job->mail, pristine, job->size);
	memcpy(job->want, job->mail, job->off);
	job->want_size = job->off;
	for (size_t i = 0; i < job->n; i++) {
		size_t len = job->keep[i].end - job->keep[i].start;

		memcpy(job->want + job->want_size, job->mail + job->keep[i].start, len);
		job->want_size += len;
	}
}

static bool holds(int fd, const uint8_t *data, size_t size)
{
	static uint8_t now[MAIL_MAX + 128];
	ssize_t n = fs_pread_full(fd, now, sizeof(now), 0);

	return n == (ssize_t)size && memcmp(now, data, size) == 0;
}

static int recover_uncut(int fd)
{
	struct pop_why why = { "" };
	int found;

	cut_after(0);
	found = journal_recover(fuzz_dir(), fd, geteuid(), &why);
	MUST(found >= 0 && (found == JOURNAL_NONE || why.text[0]));
	MUST(journal_exists(fuzz_dir()) == 0);
	return found;
}

/* Cut short, perhaps twice, and finished: all of it or nothing; what was appended stays. */
static void cut_and_recover(struct job *job, int fd, unsigned second, bool append, int err)
{
	static const char late[] = "mail that came meanwhile\n";
	struct pop_why why;
	int found;

	if (append && err < 0) {
		off_t end = lseek(fd, 0, SEEK_END);

		MUST(pwrite(fd, late, sizeof(late), end) == sizeof(late));
		memcpy(job->want + job->want_size, late, sizeof(late));
		job->want_size += sizeof(late);
		memcpy(job->mail + job->size, late, sizeof(late));
		job->size += sizeof(late);
	}
	if (second > 0) {
		cut_after(second);
		journal_recover(fuzz_dir(), fd, geteuid(), &why);
	}
	found = recover_uncut(fd);
	MUST(found != JOURNAL_ASIDE);
	if (err == 0 || found == JOURNAL_FINISHED)
		MUST(holds(fd, job->want, job->want_size));
	else if (found == JOURNAL_UNUSED)
		MUST(holds(fd, job->mail, job->size));
	else
		MUST(holds(fd, job->mail, job->size) || holds(fd, job->want, job->want_size));
}

/* --- a journal that was changed -------------------------------------------------------- */

static void seal_record(struct journal *j, int mail, unsigned slot)
{
	struct work w = { .fd = mail, .j = *j };
	struct journal_record r;

	if (fs_pread_full(j->fd, &r, sizeof(r), head_at(slot + 1)) != sizeof(r))
		return;
	r.plan_sum = j->plan.sum;
	if (place_is_sound(j, &r) && r.length <= JOURNAL_SLOT_MAX) {
		uint8_t *data = malloc((size_t)r.length + 1);
		ssize_t got;

		MUST(data != NULL);
		got = fs_pread_full(j->fd, data, (size_t)r.length, (off_t)data_at(&j->plan, r.seq));
		journal_sum_of(data, got > 0 ? (size_t)got : 0, &r.data_sum);
		free(data);
		if (work_buffer(&w) == 0) {
			if (r.done)
				work_tail(&w, &r, &r.fit);
			else
				work_fit(&w, &r, &r.fit);
		}
		free(w.buf);
	}
	journal_sum_of(&r, offsetof(struct journal_record, sum), &r.sum);
	MUST(fs_pwrite_all(j->fd, &r, sizeof(r), head_at(slot + 1)) == 0);
}

/* All sums right again, as far as one can be made. */
static void seal(int fd, int mail)
{
	struct journal j = { .fd = fd };
	struct range ranges[RANGES_MAX];
	size_t bytes;

	if (fs_pread_full(fd, &j.plan, sizeof(j.plan), 0) != sizeof(j.plan))
		return;
	if (j.plan.n_ranges > RANGES_MAX)
		return;
	bytes = j.plan.n_ranges * sizeof(ranges[0]);
	if (fs_pread_full(fd, ranges, bytes, (off_t)JOURNAL_RANGES_AT) != (ssize_t)bytes)
		return;
	journal_sum_of(ranges, bytes, &j.plan.ranges_sum);
	journal_sum_of(&j.plan, offsetof(struct journal_plan, sum), &j.plan.sum);
	MUST(fs_pwrite_all(fd, &j.plan, sizeof(j.plan), 0) == 0);
	j.ranges = ranges;
	if (j.plan.n_ranges == 0 || !ranges_are_sound(&j.plan, ranges))
		return;
	seal_record(&j, mail, 0);
	seal_record(&j, mail, 1);
}

static void change_and_recover(struct fuzz_in *in, struct job *job, int mail, uint8_t how)
{
	int fd = openat(fuzz_dir(), JOURNAL_NAME, O_RDWR | O_CLOEXEC), found;
	size_t before;

	while (fd >= 0 && in->p < in->end) {
		off_t at = fuzz_u16(in) * 8;
		uint64_t value = fuzz_u8(in);

		value = value > 250 ? ~(value - 251) : value; /* near both ends of the range */
		MUST(pwrite(fd, &value, sizeof(value), at) == sizeof(value));
	}
	if (how & CHANGE_MAIL)
		MUST(pwrite(mail, "changed", 7, (off_t)(job->size / 2)) == 7);
	if (fd >= 0 && (how & SEAL))
		seal(fd, mail);
	if (fd >= 0)
		close(fd);
	before = (size_t)fs_pread_full(mail, job->mail, sizeof(job->mail), 0);
	found = recover_uncut(mail);
	if (found != JOURNAL_FINISHED)
		MUST(holds(mail, job->mail, before));
	else
		MUST((size_t)lseek(mail, 0, SEEK_END) <= before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t scales[] = { 1, 3, 40, 150 };
	static struct job job;
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in), first = fuzz_u8(&in), second = fuzz_u8(&in);
	struct pop_why why;
	int fd, err;

	if (!pristine[1])
		fill(pristine, MAIL_MAX);
	take_job(&in, &job, scales[how & SCALE]);
	fd = fuzz_file(0, job.mail, job.size);
	cut_after(first);
	err = journal_expunge(fuzz_dir(), fd, job.off, job.keep, job.n, job.size, NULL, &why);
	if (how & CHANGE)
		change_and_recover(&in, &job, fd, how);
	else
		cut_and_recover(&job, fd, second, how & APPEND, err);
	fuzz_dir_clear();
	return 0;
}
