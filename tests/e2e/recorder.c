/*
 * recorder.c - a library to preload: tells what a program does to the files below
 * $RECORD_ROOT, so that a test can replay it with a power cut anywhere.
 *
 * Each change goes to descriptor $RECORD_FD, which must be open, after it was made:
 *
 *     struct { uint32_t op, length, path, extra; uint64_t a, b; } and the path, extra, data
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum op {
	OP_CREATE = 1,
	OP_WRITE,
	OP_TRUNCATE,
	OP_ALLOCATE,
	OP_SYNC,
	OP_RENAME,
	OP_LINK,
	OP_UNLINK
};

struct record {
	uint32_t op, length, path, extra;
	uint64_t a, b;
};

static int out = -1;
static const char *root;

__attribute__((constructor)) static void begin(void)
{
	const char *fd = getenv("RECORD_FD");

	root = getenv("RECORD_ROOT");
	if (fd && root)
		out = (int)strtol(fd, NULL, 10);
}

#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* The path of a descriptor relative to the root.  False: elsewhere. */
static bool path_of(int fd, char path[PATH_MAX])
{
	char link[64];
	size_t len = root ? strlen(root) : 0;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0 || out < 0)
		return false;
	path[n] = 0;
	if (strncmp(path, root, len) != 0 || (path[len] && path[len] != '/'))
		return false;
	memmove(path, path + len, (size_t)n - len + 1);
	return true;
}

static bool path_at(int dir, const char *name, char path[PATH_MAX])
{
	char full[PATH_MAX];
	size_t len = root ? strlen(root) : 0;

	if (name[0] == '/') {
		if (out < 0 || strncmp(name, root, len) != 0)
			return false;
		snprintf(path, PATH_MAX, "%s", name + len);
		return true;
	}
	if (!path_of(dir, full))
		return false;
	return snprintf(path, PATH_MAX, "%s/%s", full, name) < PATH_MAX;
}

static void tell(enum op op, const char *path, const char *extra, uint64_t a, uint64_t b,
		 const void *data, size_t length)
{
	struct record r = { .op = op,
			    .length = (uint32_t)length,
			    .path = (uint32_t)strlen(path),
			    .extra = (uint32_t)strlen(extra),
			    .a = a,
			    .b = b };
	int saved = errno;
	struct iovec iov[4] = { { &r, sizeof(r) },
				{ (void *)(uintptr_t)path, r.path },
				{ (void *)(uintptr_t)extra, r.extra },
				{ (void *)(uintptr_t)data, length } };
	size_t i = 0;

	while (i < 4) {
		ssize_t n = REAL(writev)(out, iov + i, (int)(4 - i));

		if (n < 0)
			abort();
		for (; i < 4 && (size_t)n >= iov[i].iov_len; i++)
			n -= (ssize_t)iov[i].iov_len;
		if (i < 4) {
			iov[i].iov_base = (char *)iov[i].iov_base + n;
			iov[i].iov_len -= (size_t)n;
		}
	}
	errno = saved;
}

int openat(int dir, const char *name, int flags, ...)
{
	struct stat st;
	char path[PATH_MAX];
	mode_t mode = 0;
	bool existed;
	va_list ap;
	int fd;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	existed = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	fd = REAL(openat)(dir, name, flags, mode);
	if (fd >= 0 && flags & O_CREAT && !existed && path_of(fd, path))
		tell(OP_CREATE, path, "", mode, 0, NULL, 0);
	return fd;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	char path[PATH_MAX];
	ssize_t done = REAL(pwrite)(fd, data, n, at);

	if (done > 0 && path_of(fd, path))
		tell(OP_WRITE, path, "", (uint64_t)at, 0, data, (size_t)done);
	return done;
}

ssize_t write(int fd, const void *data, size_t n)
{
	char path[PATH_MAX];
	ssize_t done = REAL(write)(fd, data, n);
	off_t at;

	if (done > 0 && path_of(fd, path)) {
		at = lseek(fd, 0, SEEK_CUR);
		tell(OP_WRITE, path, "", (uint64_t)(at - done), 0, data, (size_t)done);
	}
	return done;
}

int ftruncate(int fd, off_t size)
{
	char path[PATH_MAX];
	int err = REAL(ftruncate)(fd, size);

	if (err == 0 && path_of(fd, path))
		tell(OP_TRUNCATE, path, "", (uint64_t)size, 0, NULL, 0);
	return err;
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	char path[PATH_MAX];
	int err = REAL(fallocate)(fd, mode, at, n);

	if (err == 0 && mode == 0 && path_of(fd, path))
		tell(OP_ALLOCATE, path, "", (uint64_t)at, (uint64_t)n, NULL, 0);
	return err;
}

int fsync(int fd)
{
	char path[PATH_MAX];
	int err = REAL(fsync)(fd);

	if (err == 0 && path_of(fd, path))
		tell(OP_SYNC, path, "", 0, 0, NULL, 0);
	return err;
}

int fdatasync(int fd)
{
	char path[PATH_MAX];
	int err = REAL(fdatasync)(fd);

	if (err == 0 && path_of(fd, path))
		tell(OP_SYNC, path, "", 0, 0, NULL, 0);
	return err;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];
	int err = REAL(renameat)(from_dir, from, to_dir, to);

	if (err == 0 && path_at(from_dir, from, a) && path_at(to_dir, to, b))
		tell(OP_RENAME, a, b, 0, 0, NULL, 0);
	return err;
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	char a[PATH_MAX], b[PATH_MAX];
	int err = REAL(linkat)(from_dir, from, to_dir, to, flags);

	if (err == 0 && path_at(from_dir, from, a) && path_at(to_dir, to, b))
		tell(OP_LINK, a, b, 0, 0, NULL, 0);
	return err;
}

int unlinkat(int dir, const char *name, int flags)
{
	char path[PATH_MAX];
	int err = REAL(unlinkat)(dir, name, flags);

	if (err == 0 && path_at(dir, name, path))
		tell(OP_UNLINK, path, "", 0, 0, NULL, 0);
	return err;
}
