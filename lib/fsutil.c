/*
 * fsutil.c - files opened with care, read and written whole.
 *
 * Runs in:  every program.
 * Trusts:   the directories above a trusted file; not the file before it was looked at.
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

int fs_open_trusted(const char *path, bool follow, bool secret, struct pop_why *why)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW);
	struct stat st;
	int fd, err;

	fd = open(path, flags);
	if (fd < 0) {
		if (errno == ENOENT)
			return pop_why(why, POP_E_MISSING, "%s: no such file", path);
		if (errno == ELOOP && !follow)
			return pop_why(why, POP_E_UNSAFE, "%s: a symbolic link", path);
		if (errno == ENXIO || errno == ENODEV)
			return pop_why(why, POP_E_UNSAFE, "%s: not a regular file", path);
		return pop_why_errno(why, "%s", path);
	}
	if (fstat(fd, &st) < 0)
		err = pop_why_errno(why, "%s", path);
	else
		err = check_trusted(path, &st, secret, why);
	if (err < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
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
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
