/*
 * owner_dotlock.c - may, and must, root make the dotlock of this mailbox?
 *
 * Runs in:  pop3admin's parent, as root, before it forks.
 * Trusts:   only directories that are root's all the way.
 */
#include "owner.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Can the owner, without supplementary groups, make files here? */
static bool may_write(const struct stat *st, uid_t uid, gid_t gid)
{
	if (st->st_uid == uid)
		return st->st_mode & S_IWUSR;
	if (st->st_gid == gid)
		return st->st_mode & S_IWGRP;
	return st->st_mode & S_IWOTH;
}

/* Open the next part of a path; no link, root's, and nobody else may change it. */
static int step(int at, const char *name)
{
	int fd = fs_open_at(at, name, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != 0)) {
		close(fd);
		fd = -1;
	}
	if (at >= 0)
		close(at);
	return fd;
}

int owner_dotlock_dir(const char *mailbox_path, uid_t uid, gid_t gid)
{
	char path[PATH_MAX], *part, *slash;
	size_t n = strlen(mailbox_path);
	struct stat st;
	int fd;

	if (geteuid() != 0 || n >= sizeof(path) || mailbox_path[0] != '/')
		return -1;
	memcpy(path, mailbox_path, n + 1);
	fd = step(AT_FDCWD, "/");
	part = path + 1;
	while (fd >= 0 && (slash = strchr(part, '/')) != NULL) {
		*slash = '\0';
		fd = step(fd, part);
		part = slash + 1;
	}
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || may_write(&st, uid, gid)) {
		close(fd);
		return -1;
	}
	return fd;
}
