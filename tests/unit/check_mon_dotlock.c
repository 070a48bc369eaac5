/*
 * check_mon_dotlock.c - where the monitor makes a dotlock, and what it answers: only
 * for an mbox in a directory that only root may write, and never twice.
 */
#include <stdarg.h>
#include <sys/stat.h>
#include "scratch.h"
#include "../../pop3d/ipc.c"
#include "../../pop3d/mon_dotlock.c"

static struct monitor mon;
static struct ipc drop;
static char logged[512];

void mon_log_error(const struct monitor *m, const char *fmt, ...)
{
	va_list ap;

	(void)m;
	va_start(ap, fmt);
	vsnprintf(logged, sizeof(logged), fmt, ap);
	va_end(ap);
}

static void setup(void)
{
	int ends[2];

	scratch_setup();
	ck_assert_int_eq(chmod(scratch_dir, 0755), 0);
	memset(&mon, 0, sizeof(mon));
	mon.root = true;
	mon.login.gid = 1234;
	mon.login.spec.kind = MAILDROP_MBOX;
	snprintf(mon.login.spec.path, sizeof(mon.login.spec.path), "%.4000s/alice", scratch_dir);
	snprintf(mon.login.home, sizeof(mon.login.home), "/home/alice");
	ck_assert_int_eq(ipc_pair(ends), 0);
	ipc_init(&mon.drop, ends[0], ROLE_MONITOR, ROLE_MAILDROP, PH_TRANS);
	ipc_init(&drop, ends[1], ROLE_MAILDROP, ROLE_MONITOR, PH_TRANS);
	logged[0] = '\0';
}

static void teardown(void)
{
	ipc_close(&mon.drop);
	ipc_close(&drop);
	scratch_teardown();
}

/* Ask as the maildrop role does. */
static int ask(unsigned op, char why[512])
{
	struct ipc_msg m;
	int result, err;

	ipc_start(&m, IPC_DOTLOCK_ASK);
	ipc_put_u8(&m, (uint8_t)op);
	ck_assert_int_eq(ipc_send(&drop, &m), 0);
	ck_assert_int_eq(ipc_recv(&mon.drop, &m), 0);
	err = mon_answer_dotlock(&mon, &m);
	if (err < 0)
		return err;
	ck_assert_int_eq(ipc_recv(&drop, &m), 0);
	result = ipc_get_u8(&m);
	ipc_get_str(&m, why, 512);
	ck_assert_int_eq(ipc_end(&m), 0);
	return result;
}

static void expect_denied(const char *word)
{
	char why[512];

	ck_assert_int_eq(ask(DOTLOCK_MAKE, why), DOTLOCK_DENIED);
	ck_assert_msg(strstr(why, word) != NULL, "%s: not in: %s", word, why);
	ck_assert(!mon.dotlocked);
	ck_assert_int_lt(access("alice.lock", F_OK), 0);
}

START_TEST(test_make_and_remove)
{
	char why[512];

	ck_assert_int_eq(ask(DOTLOCK_MAKE, why), DOTLOCK_DONE);
	ck_assert_int_eq(access("alice.lock", F_OK), 0);
	ck_assert_int_eq(ask(DOTLOCK_MAKE, why), DOTLOCK_FAILED); /* it has one */
	ck_assert_int_eq(access("alice.lock", F_OK), 0);
	ck_assert_int_eq(ask(DOTLOCK_REMOVE, why), DOTLOCK_DONE);
	ck_assert_int_lt(access("alice.lock", F_OK), 0);
	ck_assert_int_eq(ask(DOTLOCK_REMOVE, why), DOTLOCK_DONE); /* there is none */
	ck_assert_int_eq(mon_remove_dotlock(&mon), 0);
}
END_TEST

START_TEST(test_held_by_another)
{
	struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	char why[512];

	scratch_text("alice.lock", "4711\n");
	scratch_text("alice", "");
	ck_assert_int_eq(ask(DOTLOCK_MAKE, why), DOTLOCK_BUSY);
	ck_assert_int_eq(ask(DOTLOCK_TAKE_OVER, why), DOTLOCK_BUSY); /* it is new */
	ck_assert_int_eq(utimensat(AT_FDCWD, "alice.lock", old, 0), 0);
	ck_assert_int_eq(ask(DOTLOCK_TAKE_OVER, why), DOTLOCK_DONE);
	/* taken over by another meanwhile: not ours to remove */
	scratch_text("alice.lock", "4711\n");
	ck_assert_int_eq(ask(DOTLOCK_REMOVE, why), DOTLOCK_DONE);
	ck_assert_int_eq(access("alice.lock", F_OK), 0);
	ck_assert(!mon.dotlocked && !logged[0]);
}
END_TEST

START_TEST(test_no_place)
{
	mon.root = false;
	expect_denied("no place for a dotlock");
	mon.root = true;
	mon.login.spec.kind = MAILDROP_MAILDIR;
	expect_denied("no place for a dotlock");
	mon.login.spec.kind = MAILDROP_MBOX;
	snprintf(mon.login.home, sizeof(mon.login.home), "%.4000s//", scratch_dir);
	expect_denied("no place for a dotlock"); /* in the user's home */
	snprintf(mon.login.home, sizeof(mon.login.home), "/");
	ck_assert_int_eq(chmod(".", 0757), 0);
	expect_denied("only root may write");
	ck_assert_int_eq(chmod(".", 0775), 0);
	mon.login.gid = getegid();
	expect_denied("only root may write");
	ck_assert_int_eq(chmod(".", 0755), 0);
	ck_assert_int_eq(chown(".", 4711, (gid_t)-1), 0);
	expect_denied("only root may write");
}
END_TEST

START_TEST(test_no_directory)
{
	static const char *const paths[] = { "no-slash", "", "/no/such/directory/alice" };
	struct spec *spec = &mon.login.spec;

	for (size_t i = 0; i < N_ELEMS(paths); i++) {
		snprintf(spec->path, sizeof(spec->path), "%s", paths[i]);
		expect_denied("its directory");
	}
	ck_assert_int_eq(symlink(".", "link"), 0);
	snprintf(spec->path, sizeof(spec->path), "%.4000s/link/alice", scratch_dir);
	expect_denied("its directory");
}
END_TEST

/* The directory is another's when the session ends: that is told, and not forgotten. */
START_TEST(test_not_removed)
{
	char why[512];

	ck_assert_int_eq(ask(DOTLOCK_MAKE, why), DOTLOCK_DONE);
	ck_assert_int_eq(chmod(".", 0777), 0);
	ck_assert_int_eq(ask(DOTLOCK_REMOVE, why), DOTLOCK_FAILED);
	ck_assert_msg(strstr(logged, "cannot remove the dotlock") != NULL, "%s", logged);
	ck_assert(mon.dotlocked);
	ck_assert_int_eq(chmod(".", 0755), 0);
	ck_assert_int_eq(ask(DOTLOCK_REMOVE, why), DOTLOCK_DONE);
	ck_assert_int_lt(access("alice.lock", F_OK), 0);
}
END_TEST

START_TEST(test_no_operation)
{
	char why[512];

	ck_assert_int_eq(ask(0, why), POP_E_CORRUPT);
	mon.drop.owed = IPC_NONE;
	drop.awaited = IPC_NONE;
	ck_assert_int_eq(ask(DOTLOCK_TAKE_OVER + 1, why), POP_E_CORRUPT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mon_dotlock");
	TCase *tc = tcase_create("mon_dotlock"), *root = tcase_create("root");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_no_directory);
	tcase_add_test(tc, test_no_operation);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, root);
	tcase_add_checked_fixture(root, setup, teardown);
	SCRATCH_ROOT_TEST(root, test_make_and_remove);
	SCRATCH_ROOT_TEST(root, test_held_by_another);
	SCRATCH_ROOT_TEST(root, test_no_place);
	SCRATCH_ROOT_TEST(root, test_not_removed);
	return scratch_run(s);
}
