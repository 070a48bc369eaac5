/*
 * mbox_lock.c - all the locks that deliverers respect on an mbox, or none.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner.
 * Trusts:   nothing: what lies at the path may be a link, a pipe, somebody else's.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "conf.h"
#include "fsutil.h"
#include "mbox_lock.h"

/* Everything that one call works on. */
struct request {
	const char *path;
	uid_t owner;
	unsigned kinds;
	const struct dotlock_ops *dotlock;
	struct pop_why *why;
};

/* Open the directory of a path; *base is its last part. */
static int open_dir(const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	size_t len;

	*base = slash ? slash + 1 : path;
	if (!slash)
		return fs_open_at(AT_FDCWD, ".", FS_LINKS_ALL, O_PATH | O_DIRECTORY, 0);
	len = slash == path ? 1 : (size_t)(slash - path);
	if (len >= sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(dir, path, len);
	dir[len] = '\0';
	return fs_open_at(AT_FDCWD, dir, FS_LINKS_ALL, O_PATH | O_DIRECTORY, 0);
}

static int own_dotlock(const struct request *r)
{
	const char *base;
	int dir_fd = open_dir(r->path, &base), err;

	if (dir_fd < 0)
		/* No directory: no mailbox, and none can be delivered. */
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR
			       ? POP_E_DENIED
			       : pop_why_errno(r->why, "%s", r->path);
	err = dotlock_make_at(dir_fd, base, r->why);
	close(dir_fd);
	return err;
}

/* Are the mailbox's own locks free, as far as can be seen? */
static bool looks_free(const struct request *r)
{
	int fd = fs_open_at(AT_FDCWD, r->path, FS_LINKS_DIRS, O_RDONLY, 0);
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	bool is_free;

	if (fd < 0)
		return errno == ENOENT;
	is_free = fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type == F_UNLCK;
	close(fd);
	return is_free;
}

static int make_dotlock(const struct request *r, bool take_over)
{
	const struct dotlock_ops *ops = r->dotlock;
	int err;

	if (!ops)
		return own_dotlock(r);
	err = ops->make(ops->ctx, r->path);
	if (err == POP_E_BUSY && take_over && ops->take_over && looks_free(r))
		err = ops->take_over(ops->ctx, r->path);
	if (err == POP_E_BUSY)
		pop_why(r->why, err, "%s: the dotlock is held by another program", r->path);
	else if (err == POP_E_SYS)
		pop_why_errno(r->why, "%s: cannot make the dotlock", r->path);
	return err;
}

static int remove_dotlock(const char *path, const struct dotlock_ops *ops)
{
	const char *base;
	int dir_fd, err;

	if (ops)
		return ops->remove(ops->ctx, path);
	dir_fd = open_dir(path, &base);
	if (dir_fd < 0)
		return POP_E_SYS;
	err = dotlock_remove_at(dir_fd, base);
	close(dir_fd);
	return err;
}

static int open_mailbox(struct mbox_lock *l, const struct request *r)
{
	l->read_only = false;
	l->fd = fs_open_at(AT_FDCWD, r->path, FS_LINKS_DIRS, O_RDWR, 0);
	if (l->fd < 0 &&
	    (errno == EACCES || errno == EROFS || errno == EPERM || errno == ETXTBSY)) {
		l->read_only = true;
		l->fd = fs_open_at(AT_FDCWD, r->path, FS_LINKS_DIRS, O_RDONLY, 0);
	}
	if (l->fd >= 0 || errno == ENOENT)
		return 0;
	switch (errno) {
	case EACCES:
	case EPERM:
		return pop_why(r->why, POP_E_DENIED, "%s: may not be read", r->path);
	case ELOOP:
		return pop_why(r->why, POP_E_UNSAFE, "%s: is a symbolic link", r->path);
	case EISDIR:
	case ENOTDIR:
	case ENXIO:
		return pop_why(r->why, POP_E_UNSAFE, "%s: is no regular file", r->path);
	default:
		return pop_why_errno(r->why, "%s", r->path);
	}
}

static int check_mailbox(const struct mbox_lock *l, const struct request *r)
{
	struct stat st;

	if (fstat(l->fd, &st) < 0)
		return pop_why_errno(r->why, "%s", r->path);
	if (!S_ISREG(st.st_mode))
		return pop_why(r->why, POP_E_UNSAFE, "%s: is no regular file", r->path);
	if (st.st_uid != r->owner)
		return pop_why(r->why, POP_E_UNSAFE, "%s: belongs to uid %lu, not %lu", r->path,
			       (unsigned long)st.st_uid, (unsigned long)r->owner);
	if (st.st_nlink > 1)
		return pop_why(r->why, POP_E_UNSAFE, "%s: has more than one link", r->path);
	return 0;
}

static int lock_fd(const struct mbox_lock *l, const struct request *r)
{
	struct flock fl = { .l_type = l->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (r->kinds & LOCK_FCNTL && fcntl(l->fd, F_OFD_SETLK, &fl) < 0)
		goto missed;
	if (r->kinds & LOCK_FLOCK && flock(l->fd, (l->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		goto missed;
	return 0;
missed:
	if (errno == EAGAIN || errno == EACCES)
		return pop_why(r->why, POP_E_BUSY, "%s: is locked by another program", r->path);
	return pop_why_errno(r->why, "%s: cannot be locked", r->path);
}

/* Is the locked file the one at the path?  Some programs replace it. */
static int still_there(const struct mbox_lock *l, const struct request *r)
{
	struct stat ours, now;

	if (fstat(l->fd, &ours) < 0)
		return pop_why_errno(r->why, "%s", r->path);
	if (lstat(r->path, &now) == 0 && now.st_ino == ours.st_ino && now.st_dev == ours.st_dev)
		return 0;
	return pop_why(r->why, POP_E_BUSY, "%s: is being replaced by another program", r->path);
}

static int try_once(struct mbox_lock *l, const struct request *r, bool take_over)
{
	int err;

	if (r->kinds & LOCK_DOTLOCK) {
		err = make_dotlock(r, take_over);
		l->dotlock = err == 0;
		if (err < 0 && err != POP_E_DENIED)
			return err;
	}
	err = open_mailbox(l, r);
	if (err < 0 || l->fd < 0)
		return err;
	err = check_mailbox(l, r);
	if (err == 0)
		err = lock_fd(l, r);
	if (err == 0)
		err = still_there(l, r);
	return err;
}

int mbox_lock(struct mbox_lock *l, const char *path, uid_t owner, unsigned kinds, int wait_ms,
	      const struct dotlock_ops *dotlock, struct pop_why *why)
{
	const struct request r = { path, owner, kinds, dotlock, why };
	int64_t until = fs_now_ms() + wait_ms;
	unsigned pause_ms;
	int err;

	for (unsigned tries = 0;; tries++) {
		*l = (struct mbox_lock){ .fd = -1 };
		err = try_once(l, &r, tries == 0);
		if (err == 0)
			return 0;
		mbox_unlock(l, path, dotlock);
		if (err != POP_E_BUSY || fs_now_ms() >= until)
			return err;
		/* Out of step with whoever else tries. */
		pause_ms = 5 + ((unsigned)getpid() * 7 + tries * 13) % 46;
		nanosleep(&(struct timespec){ .tv_nsec = pause_ms * 1000000L }, NULL);
	}
}

void mbox_unlock(struct mbox_lock *l, const char *path, const struct dotlock_ops *dotlock)
{
	int saved = errno;

	if (l->fd >= 0)
		close(l->fd); /* frees the OFD lock and the flock */
	l->fd = -1;
	if (l->dotlock)
		remove_dotlock(path, dotlock);
	l->dotlock = false;
	errno = saved;
}
