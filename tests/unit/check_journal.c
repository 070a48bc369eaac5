/*
 * check_journal.c - bytes are taken out of a file, and nothing kept is lost:
 * a crash or an error at any system call, a torn or hostile journal, mail that
 * is appended at any moment.
 *
 * The system calls that change files are this program's own: they count down
 * and then die or fail.
 */
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "journal_file.h"
#include "scratch.h"

/* --- system calls that die or fail at the right moment -------------------- */

static long calls_left = LONG_MAX; /* until the one that is not done */
static int fail_errno;		  /* how it fails, and all like it behind it; 0: the process dies */
static long append_at = LONG_MAX; /* a deliverer appends before the call of that number */
static long calls_made;

#define MAIL	  "MAIL THAT CAME MEANWHILE....\n"
#define DIED	  77
#define MAILBOX	  "mbox"
#define BIG_BLOCK 3000 /* bytes of a message in the small mailbox */

static void deliver(void)
{
	int fd = open(MAILBOX, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0)
		return;
	if (syscall(SYS_write, fd, MAIL, strlen(MAIL)) < 0)
		_exit(1);
	close(fd);
}

/* Before a call that changes something.  False: it fails. */
static bool may(bool deliverable)
{
	calls_made++;
	if (calls_made >= append_at && deliverable) {
		deliver();
		append_at = LONG_MAX;
	}
	if (calls_left > 0) {
		calls_left--;
		return true;
	}
	if (!fail_errno)
		_exit(DIED);
	errno = fail_errno;
	return false;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	/* Half of it is done when the machine goes down in the middle. */
	if (calls_left == 0 && !fail_errno && n > 1)
		(void)!syscall(SYS_pwrite64, fd, data, n / 2, at);
	return may(true) ? syscall(SYS_pwrite64, fd, data, n, at) : -1;
}

/* A process that dies takes nothing back that it has written, so nothing need reach the disk. */
int fdatasync(int fd)
{
	(void)fd;
	return may(true) ? 0 : -1;
}

int fsync(int fd)
{
	(void)fd;
	return may(true) ? 0 : -1;
}

/* Who ignores the locks and appends just here is lost: the one moment that is left. */
int ftruncate(int fd, off_t size)
{
	return may(false) ? (int)syscall(SYS_ftruncate, fd, size) : -1;
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	return may(true) ? (int)syscall(SYS_fallocate, fd, mode, at, n) : -1;
}

/* --- mailboxes ------------------------------------------------------------- */

#define N_MSG 9

struct box {
	uint8_t *data; /* what it held */
	size_t size;
	struct range msg[N_MSG];
	size_t n;
};

static void box_make(struct box *b, size_t each)
{
	b->n = N_MSG;
	b->size = 100 + N_MSG * each;
	b->data = malloc(b->size);
	ck_assert_ptr_nonnull(b->data);
	for (size_t i = 0; i < b->size; i++)
		b->data[i] = (uint8_t)(i * 2654435761u >> 13);
	for (size_t i = 0; i < N_MSG; i++)
		b->msg[i] = (struct range){ 100 + i * each, 100 + (i + 1) * each };
	scratch_write(MAILBOX, b->data, b->size, 0600);
}

/* Bit i: message i is deleted. */
static const struct pattern {
	const char *name;
	unsigned deleted;
} patterns[] = {
	{ "first", 0x001 },
	{ "middle", 0x010 },
	{ "every second", 0x155 },
	{ "other second", 0xaa },
	{ "all but last", 0xff },
	{ "last", 0x100 },
	{ "all", 0x1ff },
	{ "all but first", 0x1fe },
	{ "first and last", 0x101 },
	{ "all but middle", 0x1ef },
};

static int expunge(const struct box *b, unsigned deleted)
{
	struct range keep[N_MSG];
	size_t n = 0, first = 0;
	int dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC),
	    fd = open(MAILBOX, O_RDWR | O_CLOEXEC), err;

	while (!(deleted >> first & 1))
		first++;
	for (size_t i = first; i < b->n; i++)
		if (!(deleted >> i & 1))
			keep[n++] = b->msg[i];
	err = journal_expunge(dir, fd, b->msg[first].start, keep, n, b->size, NULL, NULL);
	close(fd);
	close(dir);
	return err;
}

static int recover(void)
{
	int dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC),
	    fd = open(MAILBOX, O_RDWR | O_CLOEXEC);
	struct pop_why why;
	int err = journal_recover(dir, fd, geteuid(), &why);

	if (fd >= 0)
		close(fd);
	close(dir);
	return err;
}

/* Is the mailbox what is left without these, and `mails` deliveries (-1: any number)? */
static bool is_left(const struct box *b, unsigned deleted, int mails)
{
	int fd = open(MAILBOX, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *now, *p;
	bool same = true;
	size_t left;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	now = p = calloc(1, (size_t)st.st_size + 1);
	ck_assert_int_eq(read(fd, now, (size_t)st.st_size), st.st_size);
	close(fd);
	left = (size_t)st.st_size;
	same = left >= 100 && memcmp(p, b->data, 100) == 0;
	p += 100;
	left -= 100;
	for (size_t i = 0; i < b->n && same; i++) {
		size_t len = b->msg[i].end - b->msg[i].start;

		if (deleted >> i & 1)
			continue;
		same = left >= len && memcmp(p, b->data + b->msg[i].start, len) == 0;
		p += len;
		left -= len;
	}
	while (same && left && mails) {
		same = left >= strlen(MAIL) && memcmp(p, MAIL, strlen(MAIL)) == 0;
		p += strlen(MAIL);
		left -= strlen(MAIL);
		mails--;
	}
	free(now);
	return same && left == 0 && mails <= 0;
}

/* Run in a child that dies at call k; true: it came to its end. */
static bool run_until(long k, int (*work)(const struct box *b, unsigned deleted),
		      const struct box *b, unsigned deleted)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		calls_left = k;
		_exit(work(b, deleted) < 0 ? 2 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
	return WEXITSTATUS(status) == 0;
}

static int recover_work(const struct box *b, unsigned deleted)
{
	(void)b;
	(void)deleted;
	return recover();
}

static bool journal_is_there(void)
{
	return access(JOURNAL_NAME, F_OK) == 0;
}

START_TEST(plain)
{
	const struct pattern *p = &patterns[_i];
	struct box b;

	box_make(&b, BIG_BLOCK);
	ck_assert_int_eq(expunge(&b, p->deleted), 0);
	ck_assert_msg(is_left(&b, p->deleted, 0), "%s", p->name);
	ck_assert(!journal_is_there());
	ck_assert_int_eq(recover(), JOURNAL_NONE);
	free(b.data);
}
END_TEST

/* Messages larger than a slot, and moves over wide and narrow gaps. */
START_TEST(large)
{
	const struct pattern *p = &patterns[_i];
	struct box b;

	box_make(&b, (7 << 20) + 12345);
	ck_assert_int_eq(expunge(&b, p->deleted), 0);
	ck_assert_msg(is_left(&b, p->deleted, 0), "%s", p->name);
	ck_assert(!journal_is_there());
	free(b.data);
}
END_TEST

/*
 * Die at call k, for every k; then recover, dying at every call of that too.
 * With mail that comes: after the crash, and before the second recovery.
 */
static void crash_everywhere(const struct pattern *p, bool mail)
{
	struct box b;
	bool done = false;

	for (long k = 0; !done; k++) {
		bool recovered = false;

		for (long r = 0; !recovered; r++) {
			int mails = 0;
			bool before;

			box_make(&b, BIG_BLOCK);
			done = run_until(k, expunge, &b, p->deleted);
			if (mail && !done) {
				deliver();
				mails++;
			}
			recovered = run_until(r, recover_work, &b, p->deleted);
			if (mail && !recovered) {
				deliver();
				mails++;
			}
			ck_assert_int_ge(recover(), 0);
			ck_assert_msg(!journal_is_there(), "%s, %ld, %ld", p->name, k, r);
			before = is_left(&b, 0, mails);
			/* Never committed: all is there still.  Else all of it went. */
			ck_assert_msg((before && !done) || is_left(&b, p->deleted, mails),
				      "%s, %ld, %ld, %d mails", p->name, k, r, mails);
			free(b.data);
		}
	}
}

START_TEST(crash)
{
	crash_everywhere(&patterns[_i], false);
}
END_TEST

START_TEST(crash_and_mail)
{
	crash_everywhere(&patterns[_i], true);
}
END_TEST

/* Every call fails once, and from then on: nothing lost, and the next recovery finishes. */
START_TEST(errors)
{
	static const int numbers[] = { ENOSPC, EIO, EDQUOT };
	const struct pattern *p = &patterns[_i];
	struct box b;

	for (unsigned e = 0; e < N_ELEMS(numbers); e++) {
		int err = -1;

		for (long k = 0; err < 0; k++) {
			box_make(&b, BIG_BLOCK);
			calls_left = k;
			fail_errno = numbers[e];
			err = expunge(&b, p->deleted);
			calls_left = LONG_MAX;
			fail_errno = 0;
			ck_assert_int_ge(recover(), 0);
			ck_assert(!journal_is_there());
			ck_assert_msg((err < 0 && is_left(&b, 0, 0)) || is_left(&b, p->deleted, 0),
				      "%s, %ld, %d", p->name, k, numbers[e]);
			free(b.data);
			ck_assert_int_lt(k, 200);
		}
	}
}
END_TEST

/* A deliverer that respects no lock appends before the n-th call. */
START_TEST(mail_meanwhile)
{
	const struct pattern *p = &patterns[_i];
	bool early = true;

	for (long k = 1; early; k++) {
		struct box b;

		box_make(&b, BIG_BLOCK);
		calls_made = 0;
		append_at = k;
		ck_assert_int_eq(expunge(&b, p->deleted), 0);
		early = append_at == LONG_MAX;
		ck_assert_msg(is_left(&b, p->deleted, early ? 1 : 0), "%s, %ld", p->name, k);
		free(b.data);
	}
}
END_TEST

/* --- damaged and hostile journals ------------------------------------------ */

/* What was written when the process died. */
enum stage {
	COMMITTED, /* the first record, and something of the mailbox */
	SECOND,	   /* the second record */
};

static bool has_come(enum stage stage, const struct box *b)
{
	struct journal_record r = { .seq = 0 };
	int fd;

	if (stage == COMMITTED)
		return !is_left(b, 0, 0);
	fd = open(JOURNAL_NAME, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && pread(fd, &r, sizeof(r), 2 * JOURNAL_BLOCK) < 0)
		r.seq = 0;
	close(fd);
	return r.seq == 2;
}

/* A mailbox half moved, its journal left. */
static void half_done(struct box *b, unsigned deleted, enum stage stage)
{
	for (long k = 1;; k++) {
		box_make(b, BIG_BLOCK);
		ck_assert(!run_until(k, expunge, b, deleted));
		if (has_come(stage, b))
			break;
		free(b->data);
		unlink(JOURNAL_NAME);
	}
	ck_assert(journal_is_there());
}

static void copy_file(const char *from, const char *to)
{
	char command[256];

	snprintf(command, sizeof(command), "cp --sparse=always %s %s", from, to);
	ck_assert_int_eq(system(command), 0);
}

/* Each octet of the plan and of both heads is wrong once: never a wrong mailbox. */
START_TEST(damaged)
{
	struct box b;
	unsigned finished = 0, aside = 0;

	half_done(&b, 0x155, _i ? SECOND : COMMITTED);
	copy_file(JOURNAL_NAME, "journal.sane");
	copy_file(MAILBOX, "mbox.half");
	for (unsigned at = 0; at < JOURNAL_RANGES_AT + 200; at++) {
		int fd, found;
		uint8_t byte;

		if (at % JOURNAL_BLOCK >= 200)
			continue;
		copy_file("journal.sane", JOURNAL_NAME);
		copy_file("mbox.half", MAILBOX);
		fd = open(JOURNAL_NAME, O_RDWR | O_CLOEXEC);
		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 0x41;
		ck_assert_int_eq(syscall(SYS_pwrite64, fd, &byte, 1, (off_t)at), 1);
		close(fd);
		found = recover();
		ck_assert(!journal_is_there());
		if (found == JOURNAL_FINISHED) {
			ck_assert_msg(is_left(&b, 0x155, 0), "octet %u", at);
			finished++;
		} else {
			ck_assert_int_eq(found, JOURNAL_ASIDE);
			ck_assert_int_eq(
				system("cmp -s mbox mbox.half && ls journal.1* >/dev/null && "
				       "rm journal.1*"),
				0);
			aside++;
		}
	}
	ck_assert_uint_gt(finished, 200);
	ck_assert_uint_gt(aside, 200);
	free(b.data);
}
END_TEST

/* Every number of a record is sealed again with a bad value: set aside, nothing is written. */
static const struct hostile {
	const char *name;
	size_t offset; /* in the record */
	uint64_t add;
} hostiles[] = {
	{ "end below the plan", offsetof(struct journal_record, end), (uint64_t)-1 },
	{ "end beyond the file", offsetof(struct journal_record, end), 1 },
	{ "end beyond all", offsetof(struct journal_record, end), INT64_MAX },
	{ "w before the first", offsetof(struct journal_record, w), (uint64_t)-1000000 },
	{ "w behind the source", offsetof(struct journal_record, w), 1000000 },
	{ "w elsewhere", offsetof(struct journal_record, w), 1 },
	{ "range too high", offsetof(struct journal_record, range), 1000 },
	{ "place outside its range", offsetof(struct journal_record, at), 100000 },
	{ "place before its range", offsetof(struct journal_record, at), (uint64_t)-100000 },
	{ "length above the slot", offsetof(struct journal_record, length), 1 << 30 },
	{ "length over the source", offsetof(struct journal_record, length), 1 << 15 },
	{ "done too early", offsetof(struct journal_record, done), 1 },
	{ "done is 2", offsetof(struct journal_record, done), 2 },
	{ "another fit", offsetof(struct journal_record, fit), 1 },
};

START_TEST(hostile_record)
{
	const struct hostile *h = &hostiles[_i];
	struct journal_record r;
	struct box b;
	uint64_t value;
	int fd;

	half_done(&b, 0x155, SECOND);
	copy_file(MAILBOX, "mbox.half");
	fd = open(JOURNAL_NAME, O_RDWR | O_CLOEXEC);
	for (unsigned slot = 0; slot < 2; slot++) {
		off_t at = (off_t)((slot + 1) * JOURNAL_BLOCK);

		ck_assert_int_eq(pread(fd, &r, sizeof(r), at), sizeof(r));
		memcpy(&value, (uint8_t *)&r + h->offset, sizeof(value));
		value += h->add;
		memcpy((uint8_t *)&r + h->offset, &value, sizeof(value));
		journal_sum_of(&r, offsetof(struct journal_record, sum), &r.sum);
		ck_assert_int_eq(syscall(SYS_pwrite64, fd, &r, sizeof(r), at), sizeof(r));
	}
	close(fd);
	ck_assert_msg(recover() == JOURNAL_ASIDE, "%s", h->name);
	ck_assert_int_eq(system("cmp mbox mbox.half"), 0);
	ck_assert(!journal_is_there());
	free(b.data);
}
END_TEST

/* Plans whose ranges overlap, run backwards, or leave the file. */
static const struct hostile_plan {
	const char *name;
	uint64_t n, slot, off;
	struct range r[2];
} plans[] = {
	{ "overlap", 2, JOURNAL_SLOT_MIN, 100, { { 200, 400 }, { 300, 500 } } },
	{ "backwards", 2, JOURNAL_SLOT_MIN, 100, { { 300, 400 }, { 150, 200 } } },
	{ "empty", 2, JOURNAL_SLOT_MIN, 100, { { 200, 200 }, { 300, 500 } } },
	{ "negative", 2, JOURNAL_SLOT_MIN, 100, { { 400, 200 }, { 500, 600 } } },
	{ "before off", 2, JOURNAL_SLOT_MIN, 100, { { 50, 200 }, { 300, 500 } } },
	{ "beyond end", 2, JOURNAL_SLOT_MIN, 100, { { 200, 300 }, { 400, 100000000 } } },
	{ "no range", 0, JOURNAL_SLOT_MIN, 100, { { 200, 300 }, { 400, 500 } } },
	{ "too many", (1u << 24) + 1, JOURNAL_SLOT_MIN, 100, { { 200, 300 }, { 400, 500 } } },
	{ "far too many",
	  UINT64_MAX / 16 + 2,
	  JOURNAL_SLOT_MIN,
	  100,
	  { { 200, 300 }, { 400, 500 } } },
	{ "slot small", 2, 512, 100, { { 200, 300 }, { 400, 500 } } },
	{ "slot crooked", 2, JOURNAL_SLOT_MIN + 1, 100, { { 200, 300 }, { 400, 500 } } },
	{ "slot beyond the file", 2, JOURNAL_SLOT_MAX, 100, { { 200, 300 }, { 400, 500 } } },
	{ "off beyond end", 2, JOURNAL_SLOT_MIN, 1 << 30, { { 200, 300 }, { 400, 500 } } },
};

START_TEST(hostile_plan)
{
	const struct hostile_plan *h = &plans[_i];
	struct journal_plan p;
	struct journal_record r;
	struct box b;
	int fd;

	half_done(&b, 0x155, SECOND);
	copy_file(MAILBOX, "mbox.half");
	fd = open(JOURNAL_NAME, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &p, sizeof(p), 0), sizeof(p));
	p.n_ranges = h->n;
	p.slot_size = h->slot;
	p.off = h->off;
	journal_sum_of(h->r, sizeof(h->r), &p.ranges_sum);
	journal_sum_of(&p, offsetof(struct journal_plan, sum), &p.sum);
	ck_assert_int_eq(syscall(SYS_pwrite64, fd, &p, sizeof(p), (off_t)0), sizeof(p));
	ck_assert_int_eq(syscall(SYS_pwrite64, fd, h->r, sizeof(h->r), (off_t)JOURNAL_RANGES_AT),
			 sizeof(h->r));
	for (unsigned slot = 0; slot < 2; slot++) {
		r = (struct journal_record){ .seq = slot + 1,
					     .plan_sum = p.sum,
					     .end = p.end,
					     .w = h->off,
					     .at = h->r[0].start };
		memcpy(r.magic, "pop3drec", 8);
		journal_sum_of(NULL, 0, &r.data_sum);
		journal_sum_of(&r, offsetof(struct journal_record, sum), &r.sum);
		ck_assert_int_eq(syscall(SYS_pwrite64, fd, &r, sizeof(r),
					 (off_t)((slot + 1) * JOURNAL_BLOCK)),
				 sizeof(r));
	}
	close(fd);
	ck_assert_msg(recover() == JOURNAL_ASIDE, "%s", h->name);
	ck_assert_int_eq(system("cmp mbox mbox.half"), 0);
	free(b.data);
}
END_TEST

/* A mailbox that is another one, shorter, gone, or changed where it counts. */
START_TEST(other_mailbox)
{
	static const char *const changes[] = {
		"rm mbox",
		": > mbox",
		"truncate -s 5000 mbox",
		"truncate -s -1 mbox",
		"head -c 30000 /dev/zero > mbox",
		"printf x | dd of=mbox conv=notrunc bs=1 seek=50 2>/dev/null",
		"printf x | dd of=mbox conv=notrunc bs=1 seek=27099 2>/dev/null",
	};
	struct box b;

	half_done(&b, 0x001, COMMITTED);
	ck_assert_int_eq(system(changes[_i]), 0);
	(void)!system("cp mbox mbox.before 2>/dev/null");
	ck_assert_msg(recover() == JOURNAL_ASIDE, "%s", changes[_i]);
	(void)!system("cp mbox mbox.after 2>/dev/null");
	if (_i > 0)
		ck_assert_int_eq(system("cmp mbox.before mbox.after"), 0);
	free(b.data);
}
END_TEST

/* What is no journal of ours is not even read. */
START_TEST(wrong_file)
{
	static const char *const changes[] = {
		"chmod 0640 journal",	       "chmod 0604 journal",
		"ln journal second",	       "mv journal x && ln -s x journal",
		"rm journal && mkdir journal", "rm journal && mkfifo journal",
	};
	struct box b;

	half_done(&b, 0x155, SECOND);
	copy_file(MAILBOX, "mbox.half");
	ck_assert_int_eq(system(changes[_i]), 0);
	ck_assert_msg(recover() == JOURNAL_ASIDE, "%s", changes[_i]);
	ck_assert_int_eq(system("cmp mbox mbox.half"), 0);
	free(b.data);
}
END_TEST

START_TEST(foreign_owner)
{
	struct box b;
	int dir, fd;
	struct pop_why why;

	half_done(&b, 0x155, SECOND);
	dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = open(MAILBOX, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(journal_recover(dir, fd, geteuid() + 1, &why), JOURNAL_ASIDE);
	close(fd);
	close(dir);
	free(b.data);
}
END_TEST

/* An empty, short or zero journal was never committed. */
START_TEST(unused)
{
	static const char *const changes[] = { ": > journal", "truncate -s 5000 journal",
					       "head -c 1000000 /dev/zero > journal" };
	struct box b;

	box_make(&b, BIG_BLOCK);
	ck_assert_int_eq(system("umask 077; touch journal"), 0);
	ck_assert_int_eq(system(changes[_i]), 0);
	ck_assert_int_eq(recover(), JOURNAL_UNUSED);
	ck_assert(is_left(&b, 0, 0));
	ck_assert(!journal_is_there());
	free(b.data);
}
END_TEST

START_TEST(in_the_way)
{
	struct box b;

	half_done(&b, 0x155, SECOND);
	copy_file(MAILBOX, "mbox.half");
	ck_assert_int_eq(expunge(&b, 0x155), POP_E_EXISTS);
	ck_assert(journal_is_there());
	ck_assert_int_eq(system("cmp mbox mbox.half"), 0);
	free(b.data);
}
END_TEST

/* A mailbox with holes gets its blocks before anything is moved. */
START_TEST(sparse)
{
	struct box b;
	int fd;

	box_make(&b, BIG_BLOCK);
	memset(b.data + 4096, 0, 12288);
	fd = open(MAILBOX, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(syscall(SYS_ftruncate, fd, (off_t)0), 0);
	ck_assert_int_eq(syscall(SYS_pwrite64, fd, b.data, (size_t)4096, (off_t)0), 4096);
	ck_assert_int_eq(syscall(SYS_pwrite64, fd, b.data + 16384, b.size - 16384, (off_t)16384),
			 (long)b.size - 16384);
	close(fd);
	ck_assert_int_eq(expunge(&b, 0x001), 0);
	ck_assert(is_left(&b, 0x001, 0));
	free(b.data);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("journal");
	TCase *tc = tcase_create("journal");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, plain, 0, N_ELEMS(patterns));
	tcase_add_loop_test(tc, large, 0, 3);
	tcase_add_loop_test(tc, crash, 0, N_ELEMS(patterns));
	tcase_add_loop_test(tc, crash_and_mail, 0, N_ELEMS(patterns));
	tcase_add_loop_test(tc, errors, 0, N_ELEMS(patterns));
	tcase_add_loop_test(tc, mail_meanwhile, 0, N_ELEMS(patterns));
	tcase_add_loop_test(tc, damaged, 0, 2);
	tcase_add_loop_test(tc, hostile_record, 0, N_ELEMS(hostiles));
	tcase_add_loop_test(tc, hostile_plan, 0, N_ELEMS(plans));
	tcase_add_loop_test(tc, other_mailbox, 0, 7);
	tcase_add_loop_test(tc, wrong_file, 0, 6);
	tcase_add_test(tc, foreign_owner);
	tcase_add_loop_test(tc, unused, 0, 3);
	tcase_add_test(tc, in_the_way);
	tcase_add_test(tc, sparse);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
