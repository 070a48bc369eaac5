/*
 * check_failures.c - what is made under a directory of others, with each system
 * call failing in turn: an error comes back, no descriptor is left open, and the
 * next try does the whole work.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fsutil.h"
#include "scratch.h"

static unsigned fail_at; /* 0: none fails any more */
static int fail_errno;

static bool fails(void)
{
	if (fail_at == 0 || --fail_at > 0)
		return false;
	errno = fail_errno;
	return true;
}

#define fs_open_at(...) (fails() ? -1 : fs_open_at(__VA_ARGS__))
#define fstat(...)	(fails() ? -1 : fstat(__VA_ARGS__))
#define fstatat(...)	(fails() ? -1 : fstatat(__VA_ARGS__))
#define mkdirat(...)	(fails() ? -1 : mkdirat(__VA_ARGS__))
#define renameat(...)	(fails() ? -1 : renameat(__VA_ARGS__))
#define unlinkat(...)	(fails() ? -1 : unlinkat(__VA_ARGS__))
#define linkat(...)	(fails() ? -1 : linkat(__VA_ARGS__))
#define symlinkat(...)	(fails() ? -1 : symlinkat(__VA_ARGS__))
#define readlinkat(...) (fails() ? -1 : readlinkat(__VA_ARGS__))
#define fchmod(...)	(fails() ? -1 : fchmod(__VA_ARGS__))
#define fchown(...)	(fails() ? -1 : fchown(__VA_ARGS__))
#define fsync(...)	(fails() ? -1 : fsync(__VA_ARGS__))
#define flock(...)	(fails() ? -1 : flock(__VA_ARGS__))
#define ftruncate(...)	(fails() ? -1 : ftruncate(__VA_ARGS__))
#define pwrite(...)	(fails() ? -1 : pwrite(__VA_ARGS__))
#define mmap(...)	(fails() ? MAP_FAILED : mmap(__VA_ARGS__))
#define fdopendir(...)	(fails() ? NULL : fdopendir(__VA_ARGS__))
#define syscall(...)	(fails() ? -1 : syscall(__VA_ARGS__))
#include "../../lib/fs_replace.c"
#include "../../lib/run_table.c"
#include "../../lib/state.c"
#undef fstat
#undef fdopendir
#undef flock

static char place[96];

static void setup(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(place, sizeof(place), "%.60s/failuresXXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(place));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void teardown(void)
{
	fail_at = 0;
	nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The file is the old one, or the new one as a whole. */
static int replace_file(void)
{
	struct fs_replace r;
	struct pop_why why;
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/file", place);
	err = fs_replace_begin(&r, path, 0640, 0, &why);
	if (err < 0)
		return err;
	if (fs_write_all(r.fd, "new", 3) < 0) {
		fs_replace_abort(&r);
		return POP_E_SYS;
	}
	return fs_replace_commit(&r, &why);
}

static int head(void *at)
{
	memset(at, 7, 8);
	return fails() ? POP_E_SYS : 0;
}

static int open_table(void)
{
	static const struct run_table table = { "table", "\7\7\7\7\7\7\7\7", 4096, 8, head };
	struct pop_why why;
	struct run_map map;
	int err = run_table_open(&table, place, true, &map, &why);

	if (err == 0)
		run_table_close(&table, &map);
	return err;
}

/* Two users of one maildrop; the second finds the first's directory. */
static int open_state_of(const char *user)
{
	char name[STATE_NAME_MAX + 1];
	struct pop_why note, why;
	int base = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	ck_assert_int_ge(base, 0);
	fd = state_open(base, user, "/var/mail/x", geteuid(), getegid(), true, name, &note, &why);
	close(base);
	if (fd < 0)
		return fd;
	close(fd);
	ck_assert_str_eq(name, "joe");
	return 0;
}

static int open_state(void)
{
	int err = open_state_of("joe");

	return err < 0 ? err : open_state_of("jim");
}

static int retire_state(void)
{
	struct pop_why why;
	int base, err = open_state_of("joe");

	if (err < 0)
		return err;
	base = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = state_retire(base, "joe", &why);
	close(base);
	return err;
}

static const struct {
	const char *name;
	int (*work)(void);
	const char *leaves; /* what must be there when it is done */
} works[] = {
	{ "replace a file", replace_file, "file" },
	{ "a table of run_dir", open_table, "table" },
	{ "a state directory", open_state, "joe" },
	{ "a state directory retired", retire_state, ".maildrops" },
};
static const int numbers[] = { EIO, ENOSPC, ENOSYS, EACCES };
#define N_WORKS	  (int)(sizeof(works) / sizeof(works[0]))
#define N_NUMBERS (int)(sizeof(numbers) / sizeof(numbers[0]))

START_TEST(test_each)
{
	int (*work)(void) = works[_i / N_NUMBERS].work;
	int failed = 0, before = scratch_descriptors();
	bool hit = true;
	char path[160];
	struct stat st;

	for (unsigned nth = 1; hit; nth++) {
		ck_assert_uint_lt(nth, 500);
		fail_at = nth;
		fail_errno = numbers[_i % N_NUMBERS];
		failed += work() < 0;
		hit = fail_at == 0;
		fail_at = 0;
		ck_assert_int_eq(scratch_descriptors(), before);
		ck_assert_int_eq(work(), 0);
		snprintf(path, sizeof(path), "%s/%s", place, works[_i / N_NUMBERS].leaves);
		ck_assert_msg(lstat(path, &st) == 0, "%s, call %u", works[_i / N_NUMBERS].name,
			      nth);
		teardown();
		setup();
	}
	ck_assert_int_gt(failed, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("failures");
	TCase *tc = tcase_create("failures");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_each, 0, N_WORKS * N_NUMBERS);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
