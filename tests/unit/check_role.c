/*
 * check_role.c - each step by which a role gives something up: one that fails ends
 * the process at once, with a status that the monitor's log has words for.
 */
#include <check.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fds.h"
#include "scratch.h"

static const char *failing; /* the call that fails; nothing is done in earnest */

static int fake(const char *name)
{
	return failing && strcmp(failing, name) == 0 ? -1 : 0;
}

static int fake_call(const char *name, ...)
{
	return fake(name);
}

static int fake_getrlimit(struct rlimit *limit)
{
	*limit = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	return fake("getrlimit");
}

#define chroot(...)		   fake_call("chroot", __VA_ARGS__)
#define chdir(path)		   fake("chdir")
#define setgroups(n, list)	   fake("setgroups")
#define setresgid(r, e, s)	   fake("setresgid")
#define setresuid(r, e, s)	   fake("setresuid")
#define setuid(uid)		   (fake("still root") < 0 ? 0 : -1)
#define prctl(...)		   fake_call("prctl", __VA_ARGS__)
#define getrlimit(what, limit)	   ((void)(what), fake_getrlimit(limit))
#define setrlimit(...)		   fake_call("setrlimit", __VA_ARGS__)
#define syscall(number, ...)	   fake_call(#number, __VA_ARGS__)
#define fds_close_all_but(keep, n) ((void)(keep), (void)(n))
#include "../../pop3d/role.c"
#undef chroot
#undef chdir
#undef getrlimit
#undef setrlimit

int sandbox_enter(enum sandbox who)
{
	(void)who;
	return fake("filter");
}

int sandbox_enter_files(const struct sandbox_place *places, size_t n)
{
	(void)places, (void)n;
	return fake("files");
}

bool sandbox_has_files(void)
{
	return true;
}

static const struct row {
	const char *call;
	int status; /* 0: it comes to its end */
	const char *says;
	bool writer;
} rows[] = {
	{ NULL, 0, NULL, false },
	{ NULL, 0, NULL, true },
	{ "chroot", STEP_CHROOT, "chroot", false },
	{ "chdir", STEP_CHROOT, "chroot", false },
	{ "setgroups", STEP_GROUPS, "setgroups", false },
	{ "setresgid", STEP_GID, "setresgid", false },
	{ "setresuid", STEP_UID, "setresuid", false },
	{ "still root", STEP_STILL_ROOT, "not given up", false },
	{ "prctl", STEP_PRCTL, "prctl", false },
	{ "getrlimit", STEP_LIMITS, "setrlimit", false },
	{ "setrlimit", STEP_LIMITS, "setrlimit", false },
	{ "files", STEP_FILES, "files", false },
	{ "filter", STEP_SANDBOX, "filter", false },
	{ "chroot", STEP_CHROOT, "chroot", true },
	{ "SYS_capget", STEP_PRCTL, "prctl", true },
	{ "SYS_capset", STEP_PRCTL, "prctl", true },
};

static int enter(const struct row *row, pid_t parent)
{
	struct role_rights r = {
		.sandbox = row->writer ? SANDBOX_WRITER : SANDBOX_AUTH,
		.drop_ids = !row->writer,
		.uid = 65534,
		.gid = 65534,
		.root = "/nowhere",
		.root_writer = row->writer ? "/nowhere" : NULL,
		.parent = parent,
		.files = 32,
		.cpu_s = 10,
	};
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		failing = row->call;
		role_enter(&r, NULL, 0);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(test_step)
{
	const struct row *row = &rows[_i];
	int status = enter(row, getpid());

	ck_assert_int_eq(status, row->status);
	if (status == 0)
		ck_assert_ptr_null(role_failed_step(status));
	else
		ck_assert_msg(strstr(role_failed_step(status), row->says) != NULL, "%s",
			      role_failed_step(status));
}
END_TEST

/* Where the monitor is gone the process is nobody's. */
START_TEST(test_parent)
{
	ck_assert_int_eq(enter(&rows[0], getpid() + 1), STEP_PARENT);
	ck_assert_ptr_null(role_failed_step(STEP_SANDBOX + 1));
	ck_assert_ptr_null(role_failed_step(STEP_FIRST - 1));
}
END_TEST

START_TEST(test_helper_rights)
{
	static char words[5][8] = { "helper", "1", "2", "3", "/empty" };
	static const struct {
		int at;
		char word[12];
	} bad[] = { { 1, "x" },	 { 1, "4294967296" }, { 2, "" },
		    { 2, "-1" }, { 3, "0x1" },	      { 3, "2147483648" } };
	char *argv[6] = { words[0], words[1], words[2], words[3], words[4], NULL }, none[] = "-";
	char word[12];
	struct role_rights r;

	ck_assert_int_eq(role_helper_rights(5, argv, ROLE_DIGEST, SANDBOX_DIGEST, &r), 0);
	ck_assert(r.uid == 1 && r.gid == 2 && r.parent == 3 && r.drop_ids);
	argv[4] = none;
	ck_assert_int_eq(role_helper_rights(5, argv, ROLE_DIGEST, SANDBOX_DIGEST, &r), 0);
	ck_assert(!r.drop_ids);
	ck_assert_int_eq(role_helper_rights(4, argv, ROLE_DIGEST, SANDBOX_DIGEST, &r),
			 POP_E_SYNTAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(word, bad[i].word, sizeof(word));
		argv[bad[i].at] = word;
		ck_assert_int_eq(role_helper_rights(5, argv, ROLE_DIGEST, SANDBOX_DIGEST, &r),
				 POP_E_SYNTAX);
		argv[bad[i].at] = words[bad[i].at];
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("role");
	TCase *tc = tcase_create("role");

	tcase_add_loop_test(tc, test_step, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, test_parent);
	tcase_add_test(tc, test_helper_rights);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
