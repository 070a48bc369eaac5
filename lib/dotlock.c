/*
 * dotlock.c - NAME.lock beside a mailbox: made complete, taken over when stale.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner; the monitor,
 *           where only root may write the mailbox's directory.
 * Trusts:   the directory that it is given.  Not what lies in it: others may write there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fsutil.h"
#include "mbox_lock.h"
#include "proc.h"
#include "session_lock.h"

#define FOREIGN_STALE_S 600
#define NAME_SIZE	(NAME_MAX + 1)

/* A number that no other call of this process used. */
static unsigned next_number(void)
{
	static unsigned n;

	return n++;
}

/* The dotlock's name; POP_E_DENIED where the file system has no room for it. */
static int lock_name(const char *base, char name[NAME_SIZE])
{
	int n = snprintf(name, NAME_SIZE, "%s.lock", base);

	return n > 0 && n < NAME_SIZE ? 0 : POP_E_DENIED;
}

/*
 * The pid alone in the first line is what other programs look for; ours read
 * the record in the second.
 */
static int write_record(int fd)
{
	struct lock_record self;
	char text[1200];
	int head, n;

	lock_record_self(&self, "");
	head = snprintf(text, sizeof(text), "%ld\n", (long)self.pid);
	n = lock_record_format(&self, text + head, sizeof(text) - (size_t)head);
	if (n < 0)
		return n;
	return fs_write_all(fd, text, (size_t)(head + n));
}

static int make_temp(int dir_fd, char temp[NAME_SIZE], struct pop_why *why)
{
	int fd, err;

	snprintf(temp, NAME_SIZE, ".pop3d-lock-%ld-%u", (long)getpid(), next_number());
	fd = fs_open_at(dir_fd, temp, FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 && errno == EEXIST && unlinkat(dir_fd, temp, 0) == 0) /* of a dead namesake */
		fd = fs_open_at(dir_fd, temp, FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0) {
		/* On a full disk deliverers can make none either; who is over quota must get in. */
		if (errno == EACCES || errno == EPERM || errno == EROFS || errno == ENOSPC ||
		    errno == EDQUOT)
			return POP_E_DENIED;
		return pop_why_errno(why, "cannot make a dotlock");
	}
	err = write_record(fd);
	if (err < 0 && errno != ENOSPC && errno != EDQUOT) { /* else an empty one must do */
		pop_why_errno(why, "cannot write a dotlock");
		unlinkat(dir_fd, temp, 0);
		close(fd);
		return POP_E_SYS;
	}
	close(fd);
	return 0;
}

/* Read the record of a dotlock.  0, or an error for one that is not ours. */
static int read_record(int fd, struct lock_record *r)
{
	char text[1200], *line;
	ssize_t n = fs_pread_full(fd, text, sizeof(text), 0);

	if (n <= 0)
		return POP_E_SYNTAX;
	line = memchr(text, '\n', (size_t)n);
	if (!line)
		return POP_E_SYNTAX;
	line++;
	return lock_record_parse(line, (size_t)(text + n - line), r);
}

/* Is nobody holding a record lock on the mailbox itself? */
static bool mailbox_is_free(int dir_fd, const char *base)
{
	int fd = fs_open_at(dir_fd, base, FS_LINKS_NONE, O_RDONLY, 0);
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	bool is_free;

	if (fd < 0)
		return errno == ENOENT;
	is_free = fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type == F_UNLCK;
	close(fd);
	return is_free;
}

/* Is the process behind this record gone?  1, 0, or POP_E_MISSING: on another host. */
static int is_dead(const struct lock_record *r)
{
	struct lock_record self;
	int alive = lock_record_alive(r);

	if (alive >= 0)
		return !alive;
	lock_record_self(&self, "");
	if (strcmp(r->host, self.host) != 0)
		return POP_E_MISSING;
	if (r->pid <= 0 || proc_is_gone(r->pid))
		return 1;
	/* before a reboot?  Without a descriptor for /proc, then or now, nothing is known */
	return self.boot_id[0] && r->boot_id[0] && strcmp(r->boot_id, self.boot_id) != 0
		       ? 1
		       : POP_E_MISSING;
}

/* Did this process make it?  Without a descriptor to be had a start time is not known. */
static bool is_mine(const struct lock_record *r)
{
	struct lock_record self;

	lock_record_self(&self, "");
	return r->pid == self.pid && strcmp(r->host, self.host) == 0 &&
	       (r->start_time == self.start_time || r->start_time == 0 || self.start_time == 0);
}

/*
 * 1: stale, and *st is its status; 0: not; POP_E_MISSING: it is gone.
 *   trust_old  the mailbox's own locks were found free already
 */
static int judge(int dir_fd, const char *name, const char *base, bool trust_old, struct stat *st)
{
	int fd = fs_open_at(dir_fd, name, FS_LINKS_NONE, O_RDONLY, 0);
	struct lock_record r;
	int dead = POP_E_MISSING;

	if (fd >= 0) {
		if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) && read_record(fd, &r) == 0)
			dead = is_dead(&r);
		close(fd);
		if (dead >= 0)
			return dead;
	}
	if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? POP_E_MISSING : 0;
	if (!S_ISREG(st->st_mode) || time(NULL) - st->st_mtime < FOREIGN_STALE_S)
		return 0;
	return trust_old || mailbox_is_free(dir_fd, base);
}

/* Take a stale dotlock away; one that came in its place meanwhile is put back. */
static void take_away(int dir_fd, const char *name, const struct stat *judged)
{
	char aside[NAME_SIZE];
	struct stat st;

	snprintf(aside, sizeof(aside), ".pop3d-stale-%ld-%u", (long)getpid(), next_number());
	if (renameat(dir_fd, name, dir_fd, aside) < 0)
		return;
	if (fstatat(dir_fd, aside, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (st.st_ino != judged->st_ino || st.st_dev != judged->st_dev ||
	     st.st_mtim.tv_sec != judged->st_mtim.tv_sec ||
	     st.st_mtim.tv_nsec != judged->st_mtim.tv_nsec))
		(void)!linkat(dir_fd, aside, dir_fd, name, 0);
	unlinkat(dir_fd, aside, 0);
}

static int make(int dir_fd, const char *base, bool trust_old, struct pop_why *why)
{
	char name[NAME_SIZE], temp[NAME_SIZE];
	struct stat st;
	int err, saved;

	err = lock_name(base, name);
	if (err < 0)
		return err;
	err = make_temp(dir_fd, temp, why);
	if (err < 0)
		return err;
	for (int tries = 0;; tries++) {
		int stale;

		err = 0;
		if (linkat(dir_fd, temp, dir_fd, name, 0) == 0)
			break;
		err = errno == ENAMETOOLONG ? POP_E_DENIED : POP_E_BUSY;
		if (errno != EEXIST) {
			if (err == POP_E_BUSY)
				err = pop_why_errno(why, "cannot make the dotlock %s", name);
			break;
		}
		stale = judge(dir_fd, name, base, trust_old, &st);
		if (tries == 2 || stale == 0) {
			pop_why(why, err, "the dotlock %s is held by another program", name);
			break;
		}
		if (stale > 0)
			take_away(dir_fd, name, &st);
	}
	saved = errno;
	unlinkat(dir_fd, temp, 0);
	errno = saved;
	return err;
}

int dotlock_make_at(int dir_fd, const char *base, struct pop_why *why)
{
	return make(dir_fd, base, false, why);
}

int dotlock_take_over_at(int dir_fd, const char *base, struct pop_why *why)
{
	return make(dir_fd, base, true, why);
}

int dotlock_remove_at(int dir_fd, const char *base)
{
	char name[NAME_SIZE];
	struct lock_record r;
	struct stat st;
	bool mine = false;
	int fd;

	if (lock_name(base, name) < 0)
		return POP_E_MISSING;
	fd = fs_open_at(dir_fd, name, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd < 0)
		return errno == ENOENT ? POP_E_MISSING : POP_E_SYS;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (st.st_size == 0) /* made on a full disk */
			mine = st.st_uid == geteuid();
		else
			mine = read_record(fd, &r) == 0 && is_mine(&r);
	}
	close(fd);
	if (!mine)
		return POP_E_MISSING;
	return unlinkat(dir_fd, name, 0) == 0 ? 0 : POP_E_SYS;
}
