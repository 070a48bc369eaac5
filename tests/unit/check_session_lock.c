/*
 * check_session_lock.c - the lock between processes, and its record.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "session_lock.h"
#include "fsutil.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64];
static int dir_fd;

static void setup(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.40s/lockXXXXXX", base && strlen(base) < 40 ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(dir_fd, 0);
}

static void teardown(void)
{
	static const char *const names[] = { "lock", "moved", "target", "second" };

	for (size_t i = 0; i < N_ELEMS(names); i++)
		if (unlinkat(dir_fd, names[i], 0) < 0)
			unlinkat(dir_fd, names[i], AT_REMOVEDIR);
	close(dir_fd);
	rmdir(dir);
}

/* A child that takes the lock, says so, and holds it until it is told or killed. */
struct holder {
	pid_t pid;
	int tell, told;
};

static struct holder hold(void)
{
	int up[2], down[2];
	struct holder h;
	char c = 0;

	ck_assert_int_eq(pipe(up), 0);
	ck_assert_int_eq(pipe(down), 0);
	h.pid = fork();
	ck_assert_int_ge(h.pid, 0);
	if (!h.pid) {
		struct lock_record self;

		close(up[0]);
		close(down[1]);
		lock_record_self(&self, "192.0.2.7");
		c = session_lock_take(dir_fd, 0, &self, NULL) >= 0 ? 'y' : 'n';
		if (write(up[1], &c, 1) == 1)
			(void)!read(down[0], &c, 1);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	ck_assert_int_eq(read(up[0], &c, 1), 1);
	ck_assert_int_eq(c, 'y');
	h.tell = down[1];
	h.told = up[0];
	return h;
}

static void let_go(struct holder *h, int sig)
{
	if (sig)
		kill(h->pid, sig);
	close(h->tell);
	close(h->told);
	waitpid(h->pid, NULL, 0);
}

START_TEST(test_busy_and_query)
{
	static const int signals[] = { 0, SIGKILL };
	struct holder h = hold();
	struct lock_record r, self;
	struct pop_why why;
	pid_t pid;
	int64_t before = fs_now_ms();
	int fd;

	lock_record_self(&self, "");
	ck_assert_int_eq(session_lock_take(dir_fd, 60, &self, &why), POP_E_BUSY);
	ck_assert_int_ge(fs_now_ms() - before, 60);
	ck_assert_int_eq(session_lock_query(dir_fd, &r, &pid), 1);
	ck_assert_int_eq(pid, h.pid);
	ck_assert_int_eq(r.pid, h.pid);
	ck_assert_str_eq(r.address, "192.0.2.7");
	ck_assert_int_eq(lock_record_alive(&r), 1);

	let_go(&h, signals[_i]);
	ck_assert_int_eq(lock_record_alive(&r), 0);
	ck_assert_int_eq(session_lock_query(dir_fd, &r, &pid), 0);
	fd = session_lock_take(dir_fd, 0, &self, &why);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

/* The lock comes free while another waits for it. */
START_TEST(test_wait)
{
	struct holder h = hold();
	struct lock_record self;
	pid_t helper = fork();
	int fd;

	if (!helper) {
		usleep(30000);
		kill(h.pid, SIGKILL);
		_exit(0);
	}
	lock_record_self(&self, "");
	fd = session_lock_take(dir_fd, 5000, &self, NULL);
	ck_assert_int_ge(fd, 0);
	close(fd);
	waitpid(helper, NULL, 0);
	let_go(&h, 0);
}
END_TEST

START_TEST(test_no_file)
{
	struct lock_record r;
	pid_t pid;

	ck_assert_int_eq(session_lock_query(dir_fd, &r, &pid), POP_E_MISSING);
}
END_TEST

/* A lock file that was replaced under its holder locks nobody out for good. */
START_TEST(test_replaced)
{
	struct holder h = hold();
	struct lock_record self, r;
	pid_t pid;
	int fd;

	ck_assert_int_eq(renameat(dir_fd, "lock", dir_fd, "moved"), 0);
	lock_record_self(&self, "");
	fd = session_lock_take(dir_fd, 0, &self, NULL);
	ck_assert_int_ge(fd, 0);
	close(fd);
	let_go(&h, SIGKILL);
	ck_assert_int_eq(session_lock_query(dir_fd, &r, &pid), 0);
}
END_TEST

static void make_link(void)
{
	ck_assert_int_eq(symlinkat("target", dir_fd, "lock"), 0);
}

static void make_dir(void)
{
	ck_assert_int_eq(mkdirat(dir_fd, "lock", 0700), 0);
}

static void make_fifo(void)
{
	ck_assert_int_eq(mkfifoat(dir_fd, "lock", 0600), 0);
}

static void make_two_links(void)
{
	close(openat(dir_fd, "lock", O_CREAT | O_WRONLY, 0600));
	ck_assert_int_eq(linkat(dir_fd, "lock", dir_fd, "second", 0), 0);
}

static void make_foreign(void)
{
	close(openat(dir_fd, "lock", O_CREAT | O_WRONLY, 0600));
	if (geteuid() == 0)
		ck_assert_int_eq(fchownat(dir_fd, "lock", 12345, 12345, 0), 0);
	else
		ck_assert_int_eq(linkat(dir_fd, "lock", dir_fd, "second", 0), 0);
}

static const struct {
	const char *name;
	void (*make)(void);
} unsafe[] = {
	{ "link", make_link },		 { "directory", make_dir },	    { "fifo", make_fifo },
	{ "two links", make_two_links }, { "foreign owner", make_foreign },
};

START_TEST(test_unsafe)
{
	struct lock_record self;
	struct pop_why why;

	unsafe[_i].make();
	lock_record_self(&self, "");
	ck_assert_msg(session_lock_take(dir_fd, 0, &self, &why) == POP_E_UNSAFE, "%s",
		      unsafe[_i].name);
}
END_TEST

/* What an earlier holder left, and what anybody may have written, is not shown as the holder's. */
START_TEST(test_foreign_record)
{
	static const char *const texts[] = {
		"",
		"garbage",
		"pid=1 start=2 since=3 host=h boot=b peer=p\n",
		"pid=1 pid=1 start=2 since=3 host=h boot=b peer=\n",
	};
	struct holder h = hold();
	struct lock_record r;
	char path[96];
	pid_t pid;
	FILE *f;

	/* another process writes it: closing the file here would be no matter, the lock is not ours
	 */
	snprintf(path, sizeof(path), "%s/lock", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(texts[_i], f);
	fclose(f);
	ck_assert_int_eq(session_lock_query(dir_fd, &r, &pid), 1);
	ck_assert_int_eq(pid, h.pid);
	ck_assert_int_eq(r.pid, 0);
	ck_assert_str_eq(r.host, "");
	let_go(&h, SIGKILL);
}
END_TEST

static const struct {
	const char *text;
	int err;
	const char *host;
} records[] = {
	{ "pid=1 start=2 since=3 host=a boot=b peer=::1\n", 0, "a" },
	{ "pid=1 start=2 since=3 host=a%20%0Ab boot= peer=\n", 0, "a \nb" },
	{ "pid=1 start=2 since=3 host= boot= peer= later=x\n", 0, "" },
	{ "pid=1 start=2 since=3 host=a boot=b peer=::1", POP_E_SYNTAX, "" },
	{ "pid=1 start=2 since=3 host=a boot=b\n", POP_E_SYNTAX, "" },
	{ "pid=-1 start=2 since=3 host=a boot=b peer=\n", POP_E_SYNTAX, "" },
	{ "pid=4294967297 start=2 since=3 host=a boot=b peer=\n", POP_E_SYNTAX, "" },
	{ "pid=1 start=2 since=3 host=%0 boot=b peer=\n", POP_E_SYNTAX, "" },
	{ "pid=1 start=2 since=3 host=%00 boot=b peer=\n", POP_E_SYNTAX, "" },
	{ "pid=1 start=2 since=3 host=a\tb boot=b peer=\n", POP_E_SYNTAX, "" },
	{ "\n", POP_E_SYNTAX, "" },
	{ "", POP_E_SYNTAX, "" },
};

START_TEST(test_parse)
{
	struct lock_record r;

	ck_assert_msg(lock_record_parse(records[_i].text, strlen(records[_i].text), &r) ==
			      records[_i].err,
		      "%s", records[_i].text);
	ck_assert_str_eq(r.host, records[_i].host);
}
END_TEST

START_TEST(test_round_trip)
{
	struct lock_record r, back;
	char text[LOCK_RECORD_MAX];
	int n;

	lock_record_self(&r, "2001:db8::1");
	memset(r.host, '\x01', sizeof(r.host) - 1); /* the longest when escaped */
	n = lock_record_format(&r, text, sizeof(text));
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(lock_record_parse(text, (size_t)n, &back), 0);
	ck_assert_mem_eq(&r, &back, sizeof(r));
	for (size_t size = 0; size <= (size_t)n; size++) {
		char *small = malloc(size + 1);

		ck_assert_int_eq(lock_record_format(&r, small, size), POP_E_LONG);
		free(small);
	}
}
END_TEST

START_TEST(test_alive)
{
	struct lock_record r, other;

	lock_record_self(&r, NULL);
	ck_assert_int_eq(lock_record_alive(&r), 1);
	other = r;
	other.start_time++;
	ck_assert_int_eq(lock_record_alive(&other), 0);
	other.start_time = 0; /* not known, where /proc is hidden */
	ck_assert_int_eq(lock_record_alive(&other), 1);
	other = r;
	other.boot_id[0] ^= 1;
	ck_assert_int_eq(lock_record_alive(&other), POP_E_MISSING);
	other = r;
	snprintf(other.host, sizeof(other.host), "elsewhere.example");
	ck_assert_int_eq(lock_record_alive(&other), POP_E_MISSING);
	other = r;
	other.pid = 0;
	ck_assert_int_eq(lock_record_alive(&other), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("session_lock");
	TCase *tc = tcase_create("session_lock");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_busy_and_query, 0, 2);
	tcase_add_test(tc, test_wait);
	tcase_add_test(tc, test_no_file);
	tcase_add_test(tc, test_replaced);
	tcase_add_loop_test(tc, test_unsafe, 0, N_ELEMS(unsafe));
	tcase_add_loop_test(tc, test_foreign_record, 0, 4);
	tcase_add_loop_test(tc, test_parse, 0, N_ELEMS(records));
	tcase_add_test(tc, test_round_trip);
	tcase_add_test(tc, test_alive);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
