/*
 * fs_replace.c - a file replaced as a whole: new, fsync, rename, fsync.
 *
 * Runs in:  pop3admin as the file's owner or root; the roles that own a state directory.
 * Trusts:   the directory the file stands in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fsutil.h"

#define LOCK_SUFFIX  ".lock"
#define TEMP_SUFFIX  ".new"
#define RETRY_MIN_MS 5
#define RETRY_MAX_MS 50

static void close_keep_errno(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

/* Open the directory of path and keep the last part; a link at path is resolved first. */
static int open_directory(struct fs_replace *r, const char *path, struct pop_why *why)
{
	char *real = realpath(path, NULL);
	const char *full = real ? real : path;
	const char *slash = strrchr(full, '/');
	const char *base = slash ? slash + 1 : full;
	size_t len = strlen(base);
	char *dir = NULL;
	int err = 0, fd;

	if (len == 0 || len + sizeof(LOCK_SUFFIX) > sizeof(r->name)) {
		err = pop_why(why, POP_E_UNSAFE, "%s: no usable file name", path);
		goto out;
	}
	memcpy(r->name, base, len + 1);
	snprintf(r->temp, sizeof(r->temp), "%s" TEMP_SUFFIX, r->name);
	if (!slash)
		dir = strdup(".");
	else
		dir = strndup(full, slash == full ? 1 : (size_t)(slash - full));
	if (!dir) {
		err = pop_why(why, POP_E_SYS, "%s: out of memory", path);
		goto out;
	}
	fd = fs_open_trusted_dir(dir, true, why);
	if (fd < 0) {
		err = fd;
		goto out;
	}
	r->dir_fd = fs_reopen_dir(fd); /* one that can be synced */
	if (r->dir_fd < 0)
		err = pop_why_errno(why, "%s", dir);
	close_keep_errno(&fd);
out:
	free(dir);
	free(real);
	return err;
}

/* 1 locked and still the file at its path, 0 somebody else has it, POP_E_SYS. */
static int try_lock(struct fs_replace *r, const char *lock_name)
{
	struct stat mine, there;
	int got = POP_E_SYS;

	r->lock_fd = fs_open_at(r->dir_fd, lock_name, FS_LINKS_NONE, O_RDWR | O_CREAT, 0600);
	if (r->lock_fd < 0)
		return POP_E_SYS;
	if (flock(r->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK || errno == EINTR)
			got = 0;
	} else if (fstat(r->lock_fd, &mine) == 0) {
		/* Its last holder may have removed it between our open and our lock. */
		got = fstatat(r->dir_fd, lock_name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		      mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
	}
	if (got <= 0) /* release() removes only a lock file that is locked */
		close_keep_errno(&r->lock_fd);
	return got;
}

static int take_lock(struct fs_replace *r, int wait_ms, struct pop_why *why)
{
	int64_t end = fs_now_ms() + wait_ms;
	int sleep_ms = RETRY_MIN_MS;
	char lock_name[sizeof(r->temp)];
	int got;

	snprintf(lock_name, sizeof(lock_name), "%s" LOCK_SUFFIX, r->name);
	for (;;) {
		got = try_lock(r, lock_name);
		if (got < 0)
			return pop_why_errno(why, "%s", lock_name);
		if (got > 0)
			return 0;
		if (fs_now_ms() >= end)
			return pop_why(why, POP_E_BUSY, "%s: another program is changing %s",
				       lock_name, r->name);
		struct timespec pause = { .tv_nsec = sleep_ms * 1000000L };

		nanosleep(&pause, NULL);
		sleep_ms = sleep_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : sleep_ms * 2;
	}
}

static int open_files(struct fs_replace *r, const char *path, mode_t mode, struct pop_why *why)
{
	struct stat st;

	r->old_fd = fs_open_at(r->dir_fd, r->name, FS_LINKS_NONE, O_RDONLY, 0);
	if (r->old_fd < 0 && errno == ELOOP)
		return pop_why(why, POP_E_UNSAFE, "%s: a symbolic link to nothing", path);
	if (r->old_fd < 0 && errno != ENOENT)
		return pop_why_errno(why, "%s", path);
	if (r->old_fd >= 0) {
		if (fstat(r->old_fd, &st) < 0)
			return pop_why_errno(why, "%s", path);
		if (!S_ISREG(st.st_mode))
			return pop_why(why, POP_E_UNSAFE, "%s: not a regular file", path);
		mode = st.st_mode & 07777;
	}
	/* We hold the lock: what stands there was left by a writer that died. */
	if (unlinkat(r->dir_fd, r->temp, 0) < 0 && errno != ENOENT)
		return pop_why_errno(why, "%s", r->temp);
	r->fd = fs_open_at(r->dir_fd, r->temp, FS_LINKS_NONE, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (r->fd < 0)
		return pop_why_errno(why, "%s", r->temp);
	if (r->old_fd >= 0 && fchown(r->fd, st.st_uid, st.st_gid) < 0)
		return pop_why_errno(why, "%s: cannot keep the owner of %s", r->temp, path);
	if (fchmod(r->fd, mode) < 0)
		return pop_why_errno(why, "%s", r->temp);
	return 0;
}

/* The lock file goes while it is locked: whoever waits for it sees that and begins anew. */
static void release(struct fs_replace *r)
{
	char lock_name[sizeof(r->temp)];
	int saved = errno;

	if (r->fd >= 0)
		unlinkat(r->dir_fd, r->temp, 0);
	if (r->lock_fd >= 0) {
		snprintf(lock_name, sizeof(lock_name), "%s" LOCK_SUFFIX, r->name);
		unlinkat(r->dir_fd, lock_name, 0);
	}
	close_keep_errno(&r->fd);
	close_keep_errno(&r->old_fd);
	close_keep_errno(&r->lock_fd);
	close_keep_errno(&r->dir_fd);
	errno = saved;
}

int fs_replace_begin(struct fs_replace *r, const char *path, mode_t mode, int wait_ms,
		     struct pop_why *why)
{
	int err;

	*r = (struct fs_replace){ .dir_fd = -1, .fd = -1, .old_fd = -1, .lock_fd = -1 };
	err = open_directory(r, path, why);
	if (err == 0)
		err = take_lock(r, wait_ms, why);
	if (err == 0)
		err = open_files(r, path, mode, why);
	if (err < 0)
		release(r);
	return err;
}

int fs_replace_commit(struct fs_replace *r, struct pop_why *why)
{
	int err = 0;
	int fd = r->fd;

	/* Closing is left until after the rename: only its fsync can still tell of an error. */
	if (fsync(fd) < 0) {
		err = pop_why_errno(why, "%s: fsync", r->temp);
		goto out;
	}
	if (renameat(r->dir_fd, r->temp, r->dir_fd, r->name) < 0) {
		err = pop_why_errno(why, "%s: rename", r->temp);
		goto out;
	}
	r->fd = -1; /* nothing temporary is left to remove */
	if (close(fd) < 0)
		err = pop_why_errno(why, "%s: close", r->name);
	if (fsync(r->dir_fd) < 0)
		err = pop_why_errno(why, "%s: fsync of its directory", r->name);
out:
	release(r);
	return err;
}

void fs_replace_abort(struct fs_replace *r)
{
	release(r);
}
