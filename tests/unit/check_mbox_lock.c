/*
 * check_mbox_lock.c - all locks of a mailbox or none, and only on what is a mailbox.
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include "conf.h"
#include "fsutil.h"
#include "mbox_lock.h"
#include "scratch.h"

static char path[5000];

static void setup(void)
{
	scratch_setup();
	snprintf(path, sizeof(path), "%s/box", scratch_dir);
}

static int take(struct mbox_lock *l, unsigned kinds, int wait_ms)
{
	return mbox_lock(l, path, geteuid(), kinds, wait_ms, NULL, NULL);
}

#define ALL (LOCK_DOTLOCK | LOCK_FCNTL | LOCK_FLOCK)

/* What another program holds while we try. */
enum hold { HOLD_NONE, HOLD_DOTLOCK, HOLD_OFD, HOLD_CLASSIC, HOLD_FLOCK };

static void hold(enum hold what)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open("box", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	switch (what) {
	case HOLD_NONE:
		close(fd);
		break;
	case HOLD_DOTLOCK:
		close(fd);
		scratch_text("box.lock", "");
		break;
	case HOLD_OFD:
		ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &fl), 0);
		break;
	case HOLD_CLASSIC:
		if (fork() == 0) {
			if (fcntl(fd, F_SETLK, &fl) == 0)
				scratch_text("ready", "");
			pause();
			_exit(0);
		}
		while (access("ready", F_OK) < 0)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		break;
	case HOLD_FLOCK:
		ck_assert_int_eq(flock(fd, LOCK_EX), 0);
		break;
	}
}

static const struct row {
	const char *name;
	enum hold what;
	unsigned kinds;
	int result;
} rows[] = {
	{ "nothing held", HOLD_NONE, ALL, 0 },
	{ "dotlock", HOLD_DOTLOCK, ALL, POP_E_BUSY },
	{ "dotlock, not looked at", HOLD_DOTLOCK, LOCK_FCNTL | LOCK_FLOCK, 0 },
	{ "ofd lock", HOLD_OFD, LOCK_DOTLOCK | LOCK_FCNTL, POP_E_BUSY },
	{ "ofd lock, not looked at", HOLD_OFD, LOCK_DOTLOCK | LOCK_FLOCK, 0 },
	{ "classic lock", HOLD_CLASSIC, LOCK_DOTLOCK | LOCK_FCNTL, POP_E_BUSY },
	{ "flock", HOLD_FLOCK, ALL, POP_E_BUSY },
	{ "flock, not looked at", HOLD_FLOCK, LOCK_DOTLOCK | LOCK_FCNTL, 0 },
	{ "flock alone", HOLD_FLOCK, LOCK_FLOCK, POP_E_BUSY },
};

START_TEST(held)
{
	const struct row *r = &rows[_i];
	struct mbox_lock l;
	int64_t begin;

	scratch_text("box", "x");
	hold(r->what);
	begin = fs_now_ms();
	ck_assert_msg(take(&l, r->kinds, 60) == r->result, "%s", r->name);
	if (r->result == POP_E_BUSY) {
		ck_assert_int_ge(fs_now_ms() - begin, 60);
		ck_assert_int_lt(l.fd, 0);
		ck_assert(!l.dotlock);
		/* Nothing of ours is left behind. */
		if (r->what != HOLD_DOTLOCK)
			ck_assert_int_lt(access("box.lock", F_OK), 0);
	} else {
		ck_assert_int_ge(l.fd, 0);
		ck_assert_int_eq(l.dotlock, (r->kinds & LOCK_DOTLOCK) != 0);
		mbox_unlock(&l, path, NULL);
		if (r->what != HOLD_DOTLOCK)
			ck_assert_int_lt(access("box.lock", F_OK), 0);
		ck_assert_int_lt(l.fd, 0);
	}
}
END_TEST

/* Taken as soon as the other lets go. */
START_TEST(let_go)
{
	struct mbox_lock l;

	scratch_text("box", "x");
	scratch_text("box.lock", "");
	if (fork() == 0) {
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
		_exit(unlink("box.lock") != 0);
	}
	ck_assert_int_eq(take(&l, LOCK_DOTLOCK | LOCK_FCNTL, 20000), 0);
	mbox_unlock(&l, path, NULL);
}
END_TEST

/* Two of us exclude each other; closing another descriptor of the file frees nothing. */
START_TEST(excludes)
{
	struct mbox_lock l;
	int fd, status;

	scratch_text("box", "x");
	ck_assert_int_eq(take(&l, LOCK_FCNTL, 0), 0);
	fd = open("box", O_RDWR | O_CLOEXEC);
	close(fd);
	if (fork() == 0) {
		struct mbox_lock other;

		_exit(take(&other, LOCK_FCNTL, 0) == POP_E_BUSY ? 0 : 1);
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(status, 0);
	mbox_unlock(&l, path, NULL);
}
END_TEST

START_TEST(missing)
{
	struct mbox_lock l;

	ck_assert_int_eq(take(&l, LOCK_DOTLOCK | LOCK_FCNTL, 0), 0);
	ck_assert_int_lt(l.fd, 0);
	ck_assert(l.dotlock);
	ck_assert_int_eq(access("box.lock", F_OK), 0);
	mbox_unlock(&l, path, NULL);
	ck_assert_int_lt(access("box.lock", F_OK), 0);
	/* Not even a directory. */
	snprintf(path, sizeof(path), "%s/no/such/box", scratch_dir);
	ck_assert_int_eq(take(&l, LOCK_DOTLOCK | LOCK_FCNTL, 0), 0);
	ck_assert_int_lt(l.fd, 0);
	mbox_unlock(&l, path, NULL);
}
END_TEST

static const struct {
	const char *make;
	int result;
} kinds_of_file[] = {
	{ "touch x; ln -s x box", POP_E_UNSAFE },
	{ "ln -s nowhere box", POP_E_UNSAFE },
	{ "mkfifo box", POP_E_UNSAFE },
	{ "mkdir box", POP_E_UNSAFE },
	{ "touch box; ln box second", POP_E_UNSAFE },
	{ "ln -s /dev/null box", POP_E_UNSAFE },
};

START_TEST(unsafe)
{
	struct mbox_lock l;
	struct pop_why why = { "" };

	ck_assert_int_eq(system(kinds_of_file[_i].make), 0);
	ck_assert_msg(mbox_lock(&l, path, geteuid(), ALL, 0, NULL, &why) ==
			      kinds_of_file[_i].result,
		      "%s", kinds_of_file[_i].make);
	ck_assert_ptr_nonnull(strstr(why.text, path));
	ck_assert_int_lt(access("box.lock", F_OK), 0);
}
END_TEST

START_TEST(foreign)
{
	struct mbox_lock l;

	scratch_text("box", "x");
	ck_assert_int_eq(mbox_lock(&l, path, geteuid() + 1, ALL, 0, NULL, NULL), POP_E_UNSAFE);
}
END_TEST

/* Read-only and unreadable mailboxes; root may do everything, so as somebody else. */
START_TEST(permissions)
{
	struct mbox_lock l;
	int status;

	ck_assert_int_eq(chmod(scratch_dir, 0777), 0);
	if (fork() == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(10);
		scratch_write("box", "x", 1, 0400);
		if (take(&l, ALL, 0) != 0 || !l.read_only)
			_exit(1);
		mbox_unlock(&l, path, NULL);
		if (chmod("box", 0) < 0 || take(&l, ALL, 0) != POP_E_DENIED)
			_exit(2);
		/* A directory where no dotlock can be made is no obstacle. */
		if (mkdir("d", 0700) < 0)
			_exit(3);
		scratch_write("d/box", "x", 1, 0600);
		snprintf(path, sizeof(path), "%s/d/box", scratch_dir);
		if (chmod("d", 0500) < 0 || take(&l, ALL, 0) != 0 || l.dotlock || l.read_only)
			_exit(4);
		mbox_unlock(&l, path, NULL);
		_exit(chmod("d", 0700) < 0);
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* --- dotlocks made by somebody else ---------------------------------------- */

struct calls {
	int make, remove, take_over;
	int result, over_result;
};

static int ops_make(void *ctx, const char *mailbox)
{
	struct calls *c = ctx;

	ck_assert_str_eq(mailbox, path);
	c->make++;
	return c->result;
}

static int ops_remove(void *ctx, const char *mailbox)
{
	struct calls *c = ctx;

	ck_assert_str_eq(mailbox, path);
	c->remove++;
	return 0;
}

static int ops_take_over(void *ctx, const char *mailbox)
{
	struct calls *c = ctx;

	(void)mailbox;
	c->take_over++;
	return c->over_result;
}

static const struct {
	int make, over; /* what they answer; 1: no such function */
	bool locked;	/* the mailbox is locked meanwhile */
	int result, removed, asked_over;
} asked[] = {
	{ 0, 1, false, 0, 1, 0 },
	{ POP_E_DENIED, 1, false, 0, 0, 0 },
	{ POP_E_BUSY, 1, false, POP_E_BUSY, 0, 0 },
	{ POP_E_BUSY, 0, false, 0, 1, 1 },
	{ POP_E_BUSY, POP_E_BUSY, false, POP_E_BUSY, 0, 1 },
	{ POP_E_BUSY, 0, true, POP_E_BUSY, 0, 0 },
	{ POP_E_SYS, 1, false, POP_E_SYS, 0, 0 },
	{ 0, 1, true, POP_E_BUSY, 1, 0 },
};

START_TEST(by_another)
{
	struct calls c = { .result = asked[_i].make, .over_result = asked[_i].over };
	struct dotlock_ops ops = { .make = ops_make, .remove = ops_remove, .ctx = &c };
	struct mbox_lock l;

	if (asked[_i].over != 1)
		ops.take_over = ops_take_over;
	scratch_text("box", "x");
	if (asked[_i].locked)
		hold(HOLD_OFD);
	ck_assert_int_eq(mbox_lock(&l, path, geteuid(), LOCK_DOTLOCK | LOCK_FCNTL, 0, &ops, NULL),
			 asked[_i].result);
	mbox_unlock(&l, path, &ops);
	ck_assert_int_eq(c.make, 1);
	ck_assert_int_eq(c.remove, asked[_i].removed);
	ck_assert_int_eq(c.take_over, asked[_i].asked_over);
	ck_assert_int_lt(access("box.lock", F_OK), 0);
}
END_TEST

/* A file that is replaced between opening and locking is never taken for the mailbox. */
START_TEST(replaced)
{
	pid_t pid;

	scratch_text("box", "x");
	pid = fork();
	if (pid == 0)
		for (;;) {
			scratch_text("new", "y");
			rename("new", "box");
		}
	for (int i = 0; i < 300; i++) {
		struct stat a;
		struct mbox_lock l;

		ck_assert_int_eq(take(&l, LOCK_FCNTL, 5000), 0);
		ck_assert_int_eq(fstat(l.fd, &a), 0);
		mbox_unlock(&l, path, NULL);
	}
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mbox_lock");
	TCase *tc = tcase_create("mbox_lock");

	tcase_add_checked_fixture(tc, setup, scratch_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, held, 0, N_ELEMS(rows));
	tcase_add_test(tc, let_go);
	tcase_add_test(tc, excludes);
	tcase_add_test(tc, missing);
	tcase_add_loop_test(tc, unsafe, 0, N_ELEMS(kinds_of_file));
	tcase_add_test(tc, foreign);
	tcase_add_test(tc, permissions);
	tcase_add_loop_test(tc, by_another, 0, N_ELEMS(asked));
	tcase_add_test(tc, replaced);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
