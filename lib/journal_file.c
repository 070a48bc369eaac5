/*
 * journal_file.c - the file behind the journal: layout, checksums, checks.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner.
 * Trusts:   nothing in the file: a crash may have torn it, its owner may have
 *           written it.  Every number is checked against every other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fsutil.h"
#include "hash.h"
#include "journal_file.h"

#define BYTE_ORDER_MARK 0x01020304u
#define JOURNAL_VERSION 1u
static const char plan_magic[8] = "pop3djrn", record_magic[8] = "pop3drec";

void journal_sum_end(const struct sum64 *s, struct journal_sum *out)
{
	struct sum64 second = *s;

	/* The state behind it is wider than one result: two views of it. */
	out->a = sum64_final(s);
	sum64_update(&second, "pop3d journal: the second sum...", 32);
	out->b = sum64_final(&second);
}

void journal_sum_of(const void *data, size_t n, struct journal_sum *out)
{
	struct sum64 s;

	sum64_init(&s);
	sum64_update(&s, data, n);
	journal_sum_end(&s, out);
}

bool journal_sum_equal(const struct journal_sum *x, const struct journal_sum *y)
{
	return x->a == y->a && x->b == y->b;
}

static uint64_t blocks(uint64_t bytes)
{
	return (bytes + JOURNAL_BLOCK - 1) / JOURNAL_BLOCK * JOURNAL_BLOCK;
}

static uint64_t data_at(const struct journal_plan *p, uint64_t seq)
{
	return JOURNAL_RANGES_AT + blocks(p->n_ranges * sizeof(struct range)) +
	       (seq - 1) % 2 * p->slot_size;
}

static uint64_t file_size(const struct journal_plan *p)
{
	return data_at(p, 2) + p->slot_size;
}

static off_t head_at(uint64_t seq)
{
	return (off_t)(JOURNAL_BLOCK + (seq - 1) % 2 * JOURNAL_BLOCK);
}

/* Zeros where the file system cannot allocate otherwise. */
static int write_zeros(int fd, uint64_t size)
{
	static uint8_t zeros[65536]; /* not const: so it takes no room in the program */

	for (uint64_t at = 0; at < size; at += sizeof(zeros)) {
		uint64_t n = size - at < sizeof(zeros) ? size - at : sizeof(zeros);

		if (fs_pwrite_all(fd, zeros, (size_t)n, (off_t)at) < 0)
			return POP_E_SYS;
	}
	return 0;
}

static int allocate(int fd, uint64_t size)
{
	if (fallocate(fd, 0, 0, (off_t)size) == 0)
		return 0;
	if (errno == EOPNOTSUPP || errno == ENOSYS)
		return write_zeros(fd, size);
	return POP_E_SYS;
}

static int allocate_slots(struct journal *j, uint64_t want)
{
	int err;

	for (j->plan.slot_size = want;; j->plan.slot_size = blocks(j->plan.slot_size / 2)) {
		err = allocate(j->fd, file_size(&j->plan));
		if (err == 0 || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG))
			return err;
		if (ftruncate(j->fd, 0) < 0)
			return POP_E_SYS;
		if (j->plan.slot_size <= JOURNAL_SLOT_MIN) {
			errno = ENOSPC;
			return POP_E_SYS;
		}
	}
}

int journal_create(struct journal *j, uint64_t want)
{
	struct journal_plan *p = &j->plan;
	size_t bytes = p->n_ranges * sizeof(struct range);
	int err;

	j->fd = fs_open_at(j->dir_fd, JOURNAL_NAME, FS_LINKS_NONE, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (j->fd < 0)
		return errno == EEXIST ? POP_E_EXISTS : POP_E_SYS;
	if (want > JOURNAL_SLOT_MAX)
		want = JOURNAL_SLOT_MAX;
	if (want < JOURNAL_SLOT_MIN)
		want = JOURNAL_SLOT_MIN;
	err = allocate_slots(j, blocks(want));
	if (err < 0)
		return err;
	memcpy(p->magic, plan_magic, sizeof(p->magic));
	p->byte_order = BYTE_ORDER_MARK;
	p->version = JOURNAL_VERSION;
	journal_sum_of(j->ranges, bytes, &p->ranges_sum);
	journal_sum_of(p, offsetof(struct journal_plan, sum), &p->sum);
	if (fs_pwrite_all(j->fd, p, sizeof(*p), 0) < 0)
		return POP_E_SYS;
	return fs_pwrite_all(j->fd, j->ranges, bytes, (off_t)JOURNAL_RANGES_AT);
}

int journal_put_data(const struct journal *j, const void *data, size_t length, uint64_t offset)
{
	return fs_pwrite_all(j->fd, data, length,
			     (off_t)(data_at(&j->plan, j->rec.seq + 1) + offset));
}

void journal_hint(const struct journal *j, size_t length)
{
	(void)sync_file_range(j->fd, (off_t)data_at(&j->plan, j->rec.seq + 1), (off_t)length,
			      SYNC_FILE_RANGE_WRITE);
}

static int sync_dir(int dir_fd)
{
	int fd = fs_reopen_dir(dir_fd), err, saved;

	if (fd < 0)
		return POP_E_SYS;
	err = fsync(fd) == 0 ? 0 : POP_E_SYS;
	saved = errno;
	close(fd);
	errno = saved;
	return err;
}

int journal_commit(struct journal *j)
{
	struct journal_record *r = &j->rec;

	memcpy(r->magic, record_magic, sizeof(r->magic));
	r->seq++;
	r->plan_sum = j->plan.sum;
	journal_sum_of(r, offsetof(struct journal_record, sum), &r->sum);
	if (fs_pwrite_all(j->fd, r, sizeof(*r), head_at(r->seq)) < 0)
		return POP_E_SYS;
	if (r->seq > 1)
		return fdatasync(j->fd) == 0 ? 0 : POP_E_SYS;
	return fsync(j->fd) == 0 ? sync_dir(j->dir_fd) : POP_E_SYS;
}

/* --- reading ------------------------------------------------------------ */

static bool plan_is_sound(const struct journal_plan *p, uint64_t size)
{
	struct journal_sum sum;

	journal_sum_of(p, offsetof(struct journal_plan, sum), &sum);
	return memcmp(p->magic, plan_magic, sizeof(p->magic)) == 0 &&
	       p->byte_order == BYTE_ORDER_MARK && p->version == JOURNAL_VERSION &&
	       journal_sum_equal(&sum, &p->sum) && p->slot_size >= JOURNAL_SLOT_MIN &&
	       p->slot_size <= JOURNAL_SLOT_MAX && p->slot_size % JOURNAL_BLOCK == 0 &&
	       p->n_ranges >= 1 && p->n_ranges <= JOURNAL_RANGES_MAX && p->off <= p->end &&
	       p->end <= INT64_MAX && size >= file_size(p);
}

/* Ascending, apart, not empty, between off and end. */
static bool ranges_are_sound(const struct journal_plan *p, const struct range *r)
{
	uint64_t before = p->off;

	for (uint64_t i = 0; i < p->n_ranges; i++) {
		if (r[i].start < before || r[i].end <= r[i].start || r[i].end > p->end)
			return false;
		before = r[i].end;
	}
	return true;
}

/* Read and check the plan.  1 sound, 0 not, or an error. */
static int load_plan(struct journal *j, uint64_t size)
{
	struct journal_sum sum;
	size_t bytes;
	ssize_t got = fs_pread_full(j->fd, &j->plan, sizeof(j->plan), 0);

	if (got < 0)
		return POP_E_SYS;
	if ((size_t)got < sizeof(j->plan) || !plan_is_sound(&j->plan, size))
		return 0;
	bytes = (size_t)j->plan.n_ranges * sizeof(struct range);
	j->ranges = malloc(bytes);
	if (!j->ranges)
		return POP_E_MEMORY;
	got = fs_pread_full(j->fd, j->ranges, bytes, (off_t)JOURNAL_RANGES_AT);
	if (got < 0)
		return POP_E_SYS;
	if ((size_t)got < bytes)
		return 0;
	journal_sum_of(j->ranges, bytes, &sum);
	return journal_sum_equal(&sum, &j->plan.ranges_sum) &&
	       ranges_are_sound(&j->plan, j->ranges);
}

static bool place_is_sound(const struct journal *j, const struct journal_record *r)
{
	const struct journal_plan *p = &j->plan;

	if (r->end < p->end || r->end > INT64_MAX || r->range > p->n_ranges || r->done > 1)
		return false;
	if (r->range < p->n_ranges) {
		if (r->at < j->ranges[r->range].start || r->at >= j->ranges[r->range].end)
			return false;
	} else if (r->at < p->end || r->at > r->end) {
		return false;
	}
	if (r->done && (r->range < p->n_ranges || r->at != r->end || r->length != 0))
		return false;
	return r->w >= p->off && r->w <= r->at && r->length <= p->slot_size &&
	       r->length <= r->at - r->w;
}

static int data_is_sound(const struct journal *j, const struct journal_record *r)
{
	struct journal_sum sum;
	void *data = malloc((size_t)r->length + 1);
	ssize_t got;
	int sound = POP_E_MEMORY;

	if (!data)
		return POP_E_MEMORY;
	got = fs_pread_full(j->fd, data, (size_t)r->length, (off_t)data_at(&j->plan, r->seq));
	if (got < 0) {
		sound = POP_E_SYS;
	} else {
		journal_sum_of(data, (size_t)got, &sum);
		sound = (uint64_t)got == r->length && journal_sum_equal(&sum, &r->data_sum);
	}
	free(data);
	return sound;
}

/* Read the record of a slot.  1 sound, 0 not, or an error; *blank: nothing was ever written. */
static int load_record(const struct journal *j, unsigned slot, struct journal_record *r,
		       bool *blank)
{
	static const struct journal_record none;
	struct journal_sum sum;
	ssize_t got;

	memset(r, 0, sizeof(*r));
	got = fs_pread_full(j->fd, r, sizeof(*r), head_at(slot + 1));
	if (got < 0)
		return POP_E_SYS;
	*blank = memcmp(r, &none, sizeof(none)) == 0;
	if ((size_t)got < sizeof(*r) || memcmp(r->magic, record_magic, sizeof(r->magic)) != 0)
		return 0;
	journal_sum_of(r, offsetof(struct journal_record, sum), &sum);
	if (!journal_sum_equal(&sum, &r->sum) || r->seq == 0 || (r->seq - 1) % 2 != slot ||
	    !journal_sum_equal(&r->plan_sum, &j->plan.sum) || !place_is_sound(j, r))
		return 0;
	return data_is_sound(j, r);
}

int journal_load(struct journal *j)
{
	struct journal_record r[2];
	bool blank[2] = { false, false };
	int sound[2] = { 0, 0 }, plan;
	struct stat st;

	if (fstat(j->fd, &st) < 0)
		return POP_E_SYS;
	plan = load_plan(j, (uint64_t)st.st_size);
	if (plan < 0)
		return plan;
	if (!plan)
		j->plan = (struct journal_plan){ 0 }; /* fits no record */
	for (unsigned i = 0; i < 2; i++) {
		sound[i] = load_record(j, i, &r[i], &blank[i]);
		if (sound[i] < 0)
			return sound[i];
	}
	if (!plan || (!sound[0] && !sound[1])) {
		if (blank[0] && blank[1])
			return JOURNAL_LOAD_BLANK;
		/* The second slot is written only after the first one was whole. */
		return plan && blank[1] ? JOURNAL_LOAD_TORN : JOURNAL_LOAD_BAD;
	}
	j->rec = sound[0] && (!sound[1] || r[0].seq > r[1].seq) ? r[0] : r[1];
	return JOURNAL_LOAD_VALID;
}

int journal_get_data(const struct journal *j, void *data)
{
	ssize_t got = fs_pread_full(j->fd, data, (size_t)j->rec.length,
				    (off_t)data_at(&j->plan, j->rec.seq));

	if (got < 0)
		return POP_E_SYS;
	if ((uint64_t)got == j->rec.length)
		return 0;
	errno = EIO;
	return POP_E_SYS;
}
