/*
 * scratch.h - a fresh directory for one test, the working directory meanwhile.
 */
#ifndef POP_SCRATCH_H
#define POP_SCRATCH_H

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static char scratch_dir[4096];
static int scratch_back = -1;

static inline void scratch_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch_dir, sizeof(scratch_dir), "%s/pop3d-unit-XXXXXX",
		 tmp && *tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(scratch_dir));
	scratch_back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(scratch_back, 0);
	ck_assert_int_eq(chdir(scratch_dir), 0);
	umask(022);
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type,
				     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void scratch_teardown(void)
{
	ck_assert_int_eq(fchdir(scratch_back), 0);
	close(scratch_back);
	nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A file of n bytes with this mode. */
static inline void scratch_write(const char *path, const void *data, size_t n, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, n), (ssize_t)n);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static inline void scratch_text(const char *path, const char *text)
{
	scratch_write(path, text, strlen(text), 0600);
}

/* The whole of a file as a string, borrowed until the next call. */
static inline const char *scratch_read(const char *path)
{
	static char text[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(fd);
	return text;
}

/* How many descriptors this process has, to see that none stays open. */
static inline int scratch_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* A test that only root can run; for others it is skipped, and tests/run says so. */
#define SCRATCH_ROOT_TEST(tc, test)                             \
	do {                                                    \
		if (geteuid() == 0)                             \
			tcase_add_test(tc, test);               \
		else                                            \
			printf("skip %s: needs root\n", #test); \
	} while (0)

/* Run a suite as a program does. */
static inline int scratch_run(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
