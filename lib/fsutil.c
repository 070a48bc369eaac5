/*
 * fsutil.c - files opened with care, read and written whole.
 *
 * Runs in:  every program.
 * Trusts:   the directories above the one that a trusted file stands in; neither that
 *           one nor the file before it was looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fsutil.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define LINKS_MAX 8 /* on the way to a trusted file */

static void close_keep_errno(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
}

int fs_write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return POP_E_SYS;
		}
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

int fs_pwrite_all(int fd, const void *data, size_t n, off_t offset)
{
	const char *p = data;

	while (n > 0) {
		ssize_t done = pwrite(fd, p, n, offset);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return POP_E_SYS;
		}
		p += done;
		n -= (size_t)done;
		offset += done;
	}
	return 0;
}

ssize_t fs_pread_full(int fd, void *data, size_t n, off_t offset)
{
	char *p = data;
	size_t got = 0;

	while (got < n) {
		ssize_t done = pread(fd, p + got, n - got, offset + (off_t)got);

		if (done < 0) {
			if (errno == EINTR)
				continue;
			return POP_E_SYS;
		}
		if (done == 0)
			break;
		got += (size_t)done;
	}
	return (ssize_t)got;
}

static int check_trusted(const char *path, const struct stat *st, bool secret, struct pop_why *why)
{
	if (!S_ISREG(st->st_mode))
		return pop_why(why, POP_E_UNSAFE, "%s: not a regular file", path);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return pop_why(why, POP_E_UNSAFE, "%s: owned by uid %ju; root must own it", path,
			       (uintmax_t)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return pop_why(why, POP_E_UNSAFE,
			       "%s: group or others may write it (mode %04o); try: chmod go-w %s",
			       path, st->st_mode & 07777U, path);
	if (secret && (st->st_mode & S_IROTH))
		return pop_why(why, POP_E_UNSAFE,
			       "%s: others may read it (mode %04o); try: chmod o= %s", path,
			       st->st_mode & 07777U, path);
	return 0;
}

/* May nobody but root and the caller change what the names in this directory mean? */
static int check_directory(const char *path, const struct stat *st, bool sticky,
			   struct pop_why *why)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return pop_why(why, POP_E_UNSAFE, "%s: owned by uid %ju; root must own it", path,
			       (uintmax_t)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH) && !(sticky && st->st_mode & S_ISVTX))
		return pop_why(why, POP_E_UNSAFE,
			       "%s: group or others may write in this directory (mode %04o); "
			       "try: chmod go-w %s",
			       path, st->st_mode & 07777U, path);
	return 0;
}

static int open_directory(int at, const char *path, bool sticky, struct pop_why *why)
{
	int fd = fs_open_at(at, path, FS_LINKS_ALL, O_PATH | O_DIRECTORY, 0), err;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? pop_why(why, POP_E_MISSING, "%s: no such directory", path)
				       : pop_why_errno(why, "%s", path);
	err = fstat(fd, &st) < 0 ? pop_why_errno(why, "%s", path)
				 : check_directory(path, &st, sticky, why);
	if (err == 0)
		return fd;
	close_keep_errno(fd);
	return err;
}

int fs_open_trusted_dir(const char *path, bool sticky, struct pop_why *why)
{
	int fd = open_directory(AT_FDCWD, path, sticky, why);

	return fd == POP_E_MISSING ? POP_E_SYS : fd;
}

/* The directory that path stands in, checked; *base is the last part. */
static int open_parent(int at, const char *path, const char **base, struct pop_why *why)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".";
	size_t n = 1;

	*base = slash ? slash + 1 : path;
	if (slash) {
		n = slash == path ? 1 : (size_t)(slash - path);
		if (n >= sizeof(dir))
			return pop_why(why, POP_E_UNSAFE, "%s: too long", path);
		memcpy(dir, path, n);
	}
	dir[n] = '\0';
	return open_directory(at, dir, true, why);
}

/* The file without any check of it; a last part that is a link is walked by hand. */
static int open_last(const char *path, bool follow, struct pop_why *why)
{
	char text[2][PATH_MAX];
	const char *base, *rest = path;
	int at = AT_FDCWD, dir, fd = -1;
	ssize_t n;

	for (int links = 0; links <= LINKS_MAX; links++) {
		dir = open_parent(at, rest, &base, why);
		if (at != AT_FDCWD)
			close_keep_errno(at);
		if (dir < 0)
			return dir == POP_E_MISSING
				       ? pop_why(why, POP_E_MISSING, "%s: no such file", path)
				       : dir;
		at = dir;
		fd = fs_open_at(dir, base, FS_LINKS_NONE, O_RDONLY, 0);
		if (fd >= 0 || errno != ELOOP || !follow)
			break;
		n = readlinkat(dir, base, text[links & 1], PATH_MAX - 1);
		if (n < 0)
			break;
		text[links & 1][n] = '\0';
		rest = text[links & 1];
		errno = ELOOP;
	}
	close_keep_errno(at);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return pop_why(why, POP_E_MISSING, "%s: no such file", path);
	if (errno == ELOOP && !follow)
		return pop_why(why, POP_E_UNSAFE, "%s: a symbolic link", path);
	if (errno == ENXIO || errno == ENODEV)
		return pop_why(why, POP_E_UNSAFE, "%s: not a regular file", path);
	return pop_why_errno(why, "%s", path);
}

int fs_open_trusted(const char *path, bool follow, bool secret, struct pop_why *why)
{
	int fd = open_last(path, follow, why), err;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		err = pop_why_errno(why, "%s", path);
	else
		err = check_trusted(path, &st, secret, why);
	if (err < 0) {
		close_keep_errno(fd);
		return err;
	}
	return fd;
}

int fs_read_file(int fd, size_t max, char **data, size_t *len)
{
	size_t size, got = 0;
	struct stat st;
	char *text = NULL, *bigger;
	ssize_t n;
	int err;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	if (!S_ISREG(st.st_mode))
		return POP_E_UNSAFE;
	if (max >= SSIZE_MAX || (uintmax_t)st.st_size > max)
		return POP_E_LONG;
	/* One byte more than there should be shows a file that grows; one is for the NUL. */
	size = (size_t)st.st_size + 2;
	for (;;) {
		bigger = realloc(text, size);
		if (!bigger) {
			err = POP_E_MEMORY;
			goto fail;
		}
		text = bigger;
		n = fs_pread_full(fd, text + got, size - 1 - got, (off_t)got);
		if (n < 0) {
			err = POP_E_SYS;
			goto fail;
		}
		got += (size_t)n;
		if (got > max) {
			err = POP_E_LONG;
			goto fail;
		}
		if (got < size - 1)
			break;
		size = size < max / 2 ? size * 2 : max + 2;
	}
	text[got] = '\0';
	*data = text;
	*len = got;
	return 0;
fail:
	free(text);
	return err;
}

uint64_t fs_hole_end(int fd, uint64_t at, uint64_t end)
{
	off_t next = lseek(fd, (off_t)at, SEEK_DATA);

	if (next < 0) /* ENXIO: nothing is stored behind it */
		return errno == ENXIO ? end : at;
	return (uint64_t)next < end ? (uint64_t)next : end;
}

bool fs_all_zero(const void *data, size_t n)
{
	const uint8_t *p = data;

	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

int fs_sealed_memfd(const char *name, const void *data, size_t n)
{
	const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int fd, saved;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return POP_E_SYS;
	if (fs_write_all(fd, data, n) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return POP_E_SYS;
	}
	return fd;
}

int fs_check_sealed(int fd, uint64_t size)
{
	const int want = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int saved = errno, seals;
	struct stat st;
	int err = 0;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & want) != want || fstat(fd, &st) < 0 || st.st_size < 0 ||
	    (uint64_t)st.st_size != size)
		err = POP_E_CORRUPT;
	errno = saved;
	return err;
}

int64_t fs_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int fs_open_private_dir(const char *path, struct pop_why *why)
{
	struct stat st;
	int fd;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return pop_why_errno(why, "%s", path);
	fd = fs_open_at(AT_FDCWD, path, FS_LINKS_ALL, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return pop_why_errno(why, "%s", path);
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077)) {
		close(fd);
		return pop_why(why, POP_E_UNSAFE,
			       "%s: must be root's alone; try: chown root %s; chmod 0700 %s", path,
			       path, path);
	}
	return fd;
}
