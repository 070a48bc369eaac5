/*
 * fs_open.c - the one way by which files and directories are opened.
 *
 * Runs in:  every program.
 * Trusts:   nothing on the way to a file but what the caller says it trusts.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fsutil.h"

/* By their numbers, since not every libc and kernel header names them (Linux 5.6). */
#define NR_OPENAT2    437 /* on every architecture */
#define NO_MAGICLINKS 0x02
#define NO_SYMLINKS   0x04
#define BENEATH	      0x08

struct how {
	uint64_t flags, mode, resolve;
};

static bool is_dot_dot(const char *part, size_t n)
{
	return n == 2 && part[0] == '.' && part[1] == '.';
}

/* One name of a directory: a link is met in the last part or nowhere. */
static int open_name(int at, const char *name, int flags, mode_t mode)
{
	if (!*name || is_dot_dot(name, strlen(name))) {
		errno = EINVAL;
		return -1;
	}
	return openat(at, name, flags | O_NOFOLLOW, mode);
}

static int open_by_kernel(int at, const char *path, enum fs_links links, int flags, mode_t mode)
{
	static const uint8_t resolve[] = { [FS_LINKS_NONE] = NO_SYMLINKS | NO_MAGICLINKS,
					   [FS_LINKS_DIRS] = NO_MAGICLINKS,
					   [FS_LINKS_ALL] = NO_MAGICLINKS };
	struct how how = { .flags = (unsigned)flags, .resolve = resolve[links] };

	if (flags & O_CREAT)
		how.mode = mode & 07777U;
	if (links == FS_LINKS_NONE && at != AT_FDCWD)
		how.resolve |= BENEATH;
	return (int)syscall(NR_OPENAT2, at, path, &how, sizeof(how));
}

/* Where openat2() is missing: part by part, each opened without following. */
static int open_by_parts(int at, const char *path, int flags, mode_t mode)
{
	const int look = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	bool beneath = at != AT_FDCWD;
	int dir, next = -1, saved;

	if (!*path) {
		errno = ENOENT;
		return -1;
	}
	dir = openat(at, *path == '/' && !beneath ? "/" : ".", look);
	while (dir >= 0) {
		char part[NAME_MAX + 1];
		size_t n = strcspn(path, "/"), slashes = strspn(path + n, "/");
		bool last = !path[n + slashes];

		next = -1;
		errno = 0;
		if (n > NAME_MAX)
			errno = ENAMETOOLONG;
		else if (beneath && (is_dot_dot(path, n) || n == 0))
			errno = EXDEV;
		if (errno)
			break;
		memcpy(part, n ? path : ".", n ? n : 1);
		part[n ? n : 1] = '\0';
		if (last && slashes && n)
			flags |= O_DIRECTORY;
		next = openat(dir, part, last ? flags | O_NOFOLLOW : look, mode);
		if (last || next < 0)
			break;
		close(dir);
		dir = next;
		path += n + slashes;
	}
	saved = errno;
	if (dir >= 0)
		close(dir);
	errno = saved;
	return next;
}

int fs_open_at(int at, const char *path, enum fs_links links, int flags, mode_t mode)
{
	int fd;

	flags |= O_CLOEXEC;
	if (!(flags & O_PATH)) /* with which openat2() takes no others */
		flags |= O_NOCTTY | O_NONBLOCK | O_LARGEFILE;
	if (links <= FS_LINKS_DIRS)
		flags |= O_NOFOLLOW;
	if (links == FS_LINKS_MAGIC)
		return openat(at, path, flags, mode);
	if (links == FS_LINKS_NONE && at != AT_FDCWD && !strchr(path, '/'))
		return open_name(at, path, flags, mode);
	fd = open_by_kernel(at, path, links, flags, mode);
	/* A filter that does not know the call answers EPERM; where it was the file, so it is
	 * again. */
	if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
		return fd;
	return links == FS_LINKS_NONE ? open_by_parts(at, path, flags, mode)
				      : openat(at, path, flags, mode);
}

int fs_reopen_dir(int dir_fd)
{
	return openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}
