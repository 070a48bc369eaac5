/*
 * keep.c - in builds for coverage alone: let every process leave its counts.
 *
 * Linked into every program there.  A role ends by _exit(), in an empty root
 * directory, as a user who may write nowhere.  So the directory for counts is
 * opened before anything is given up, kept through fds_close_all_but(), and gone
 * back to for the last act: relative paths begin where the process stands, not at
 * its root.  Counts lie apart by uid, since no uid may merge into another's files.
 *
 * COVERAGE_DIR comes from the Makefile.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "fds.h"

#define FD_ABOVE 400 /* out of the way of what tests count */
#define KEEP_MAX 64

void __gcov_dump(void); /* of libgcov; it has no header */
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));
void __real_fds_close_all_but(int *keep, size_t n);
void __wrap_fds_close_all_but(int *keep, size_t n);

int __real_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit);
int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit);

static int directory = -1;

/* Where gcov's own functions are to write: looked up there when they do. */
static void choose_place(void)
{
	char prefix[sizeof(COVERAGE_DIR) + 16];
	const char *base = COVERAGE_DIR;

	if (access(COVERAGE_DIR, W_OK) < 0) { /* another root */
		if (directory < 0 || fchdir(directory) < 0)
			return;
		base = ".";
	}
	snprintf(prefix, sizeof(prefix), "%s/%u", base, (unsigned)geteuid());
	setenv("GCOV_PREFIX", prefix, 1);
}

__attribute__((constructor)) static void begin(void)
{
	int fd = open(COVERAGE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		directory = fcntl(fd, F_DUPFD_CLOEXEC, FD_ABOVE);
		close(fd);
	}
	choose_place();
	atexit(choose_place); /* gcov writes behind these */
}

/* weak: the test builds with hooks wrap it themselves */
__attribute__((weak)) void __wrap_fds_close_all_but(int *keep, size_t n)
{
	int more[KEEP_MAX + 1];

	if (directory < 0 || n > KEEP_MAX) {
		__real_fds_close_all_but(keep, n);
		return;
	}
	if (n > 0)
		memcpy(more, keep, n * sizeof(*keep));
	more[n] = directory;
	__real_fds_close_all_but(more, n + 1);
}

/* A role that may write no file could not leave its counts. */
int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return resource == RLIMIT_FSIZE ? 0 : __real_setrlimit(resource, limit);
}

void __wrap__exit(int status)
{
	choose_place();
	__gcov_dump();
	__real__exit(status);
}
