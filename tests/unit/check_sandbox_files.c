/*
 * check_sandbox_files.c - what a role with places can still do, and what it cannot.
 *
 * Each row is tried in a child of its own, which has entered the sandbox; before
 * that it could do all of it.
 */
#include "../../pop3d/sandbox_files.c"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "scratch.h"

#ifdef NR_CREATE_RULESET

static pid_t sibling;

static long look(const char *path)
{
	return open(path, O_RDONLY);
}
static long change(const char *path)
{
	return open(path, O_RDWR | O_TRUNC);
}
static long make(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
}
static long enumerate(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY);
}
static long drop_file(const char *path)
{
	return unlink(path);
}
static long make_directory(const char *path)
{
	return mkdir(path, 0700);
}
static long make_link(const char *path)
{
	return symlink("anything", path);
}
static long make_fifo(const char *path)
{
	return mkfifo(path, 0600);
}
static long by_link(const char *path)
{
	return open(path, O_RDONLY);
}
static long to_cur(const char *path)
{
	return rename(path, "mail/cur/moved");
}
static long to_here(const char *path)
{
	return rename(path, "mail/new/moved");
}
static long link_dotlock(const char *path)
{
	return link(path, "mail/new/linked");
}
static long tcp(const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* nobody listens: what counts is who refuses */
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ECONNREFUSED ? 0
											    : -1;
}
static long signal_sibling(const char *path)
{
	(void)path;
	return kill(sibling, SIGURG);
}

/* The least ABI that refuses; 0: allowed. */
static const struct attempt {
	const char *name;
	long (*make)(const char *path);
	const char *path;
	int refused_since;
} attempts[] = {
	{ "read a message", look, "mail/new/one", 0 },
	{ "write one", change, "mail/new/one", 0 },
	{ "make a file", make, "mail/new/two", 0 },
	{ "list", enumerate, "mail/new", 0 },
	{ "remove", drop_file, "mail/new/one", 0 },
	{ "rename into another directory", to_cur, "mail/new/one", 0 },
	{ "link", link_dotlock, "mail/new/one", 0 },
	{ "make a file where a directory was missing", make, "late/box", 0 },
	{ "read what may be read", look, "proc/stat", 0 },
	{ "write what may be read", change, "proc/stat", 2 },
	{ "make a file beside it", make, "proc/new", 2 },
	{ "list what may be read", enumerate, "proc", 2 },
	{ "read elsewhere", look, "other/secret", 2 },
	{ "write elsewhere", change, "other/secret", 2 },
	{ "make a file elsewhere", make, "other/new", 2 },
	{ "list elsewhere", enumerate, "other", 2 },
	{ "remove elsewhere", drop_file, "other/secret", 2 },
	{ "take a file from elsewhere", to_here, "other/secret", 2 },
	{ "link a file from elsewhere", link_dotlock, "other/secret", 2 },
	{ "read by a link that leads away", by_link, "mail/new/away", 2 },
	{ "read a file of the system", look, "/etc/passwd", 2 },
	{ "make a directory", make_directory, "mail/new/dir", 2 },
	{ "make a symbolic link", make_link, "mail/new/symlink", 2 },
	{ "make a FIFO", make_fifo, "mail/new/fifo", 2 },
	{ "connect to the network", tcp, "9", 4 },
	{ "signal a sibling", signal_sibling, "", 6 },
};

static void make_site(void)
{
	static const char *const dirs[] = { "mail", "mail/new", "mail/cur", "other", "proc" };

	scratch_setup();
	for (size_t i = 0; i < N_ELEMS(dirs); i++)
		ck_assert_int_eq(mkdir(dirs[i], 0700), 0);
	scratch_write("mail/new/one", "text\n", 5, 0600);
	scratch_write("other/secret", "text\n", 5, 0600);
	scratch_write("proc/stat", "text\n", 5, 0600);
	ck_assert_int_eq(symlink("../../other/secret", "mail/new/away"), 0);
}

/* 0, errno, or 1000: not entered. */
static int outcome_of(const struct attempt *a, bool enter, bool bare)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		bool late = a->path[0] == 'l';
		struct sandbox_place places[] = { { .path = "mail", .work = true },
						  { .fd = open("proc", O_PATH) },
						  { .path = "late/much/later", .work = true } };

		if (late && mkdir("late", 0700) < 0)
			_exit(254);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (enter && sandbox_enter_files(places, bare ? 0 : late ? 3 : 2) < 0)
			_exit(253);
		errno = 0;
		_exit(a->make(a->path) < 0 ? errno : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int attempt(const struct attempt *a, bool enter, bool bare)
{
	int got;

	make_site();
	got = outcome_of(a, enter, bare);
	scratch_teardown();
	return got;
}

static void start_sibling(void)
{
	sibling = fork();
	if (sibling == 0)
		for (;;)
			pause();
	ck_assert_int_gt(sibling, 0);
}

static void end_sibling(void)
{
	kill(sibling, SIGKILL);
	waitpid(sibling, NULL, 0);
}

START_TEST(places)
{
	const struct attempt *a = &attempts[_i];
	int got;

	start_sibling();
	got = attempt(a, false, false);
	ck_assert_msg(got == 0, "%s, outside: %s", a->name, strerror(got));
	got = attempt(a, true, false);
	if (a->refused_since == 0 || sandbox_files_abi() < a->refused_since)
		ck_assert_msg(got == 0, "%s: %s", a->name, strerror(got));
	else
		ck_assert_msg(got == EACCES || got == EPERM || got == EXDEV, "%s: %s", a->name,
			      strerror(got));
	end_sibling();
}
END_TEST

/* A role without a place. */
START_TEST(nowhere)
{
	const struct attempt *a = &attempts[_i];
	int since = a->refused_since > 2 ? a->refused_since : 1, got;

	start_sibling();
	got = attempt(a, true, true);
	if (sandbox_files_abi() < since)
		ck_assert_msg(got == 0, "%s: %s", a->name, strerror(got));
	else
		ck_assert_msg(got == EACCES || got == EPERM || got == EXDEV, "%s: %s", a->name,
			      strerror(got));
	end_sibling();
}
END_TEST

static void add_tests(TCase *tc)
{
	const int n = N_ELEMS(attempts);

	tcase_add_loop_test(tc, places, 0, n);
	if (sandbox_files_abi() > 0)
		tcase_add_loop_test(tc, nowhere, 0, n);
	else
		puts("nowhere: skipped: this kernel has no Landlock");
}

#else

START_TEST(left_out)
{
	ck_assert_int_eq(sandbox_enter_files(NULL, 0), 0);
	ck_assert_int_eq(sandbox_files_abi(), 0);
	ck_assert(!sandbox_has_files());
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, left_out);
}

#endif

int main(void)
{
	Suite *s = suite_create("sandbox_files");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	add_tests(tc);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
