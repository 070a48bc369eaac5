/*
 * journal.c - take bytes out of a mailbox in place, and finish what a crash interrupted.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock and the mailbox locks.
 * Trusts:   the ranges that an expunge is given; nothing in a journal that is found.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "journal_work.h"
#include "fsutil.h"

static int remove_journal(int dir_fd)
{
	int fd, err = 0;

	if (unlinkat(dir_fd, JOURNAL_NAME, 0) < 0 && errno != ENOENT)
		return POP_E_SYS;
	fd = fs_reopen_dir(dir_fd);
	if (fd < 0 || fsync(fd) < 0)
		err = POP_E_SYS;
	if (fd >= 0)
		close(fd);
	return err;
}

/* --- expunge -------------------------------------------------------------- */

static size_t merge(struct range *r, size_t n)
{
	size_t kept = 0;

	for (size_t i = 1; i < n; i++) {
		if (r[i].start == r[kept].end)
			r[kept].end = r[i].end;
		else
			r[++kept] = r[i];
	}
	return n ? kept + 1 : 0;
}

/* A sparse mailbox would need new blocks in the middle of the work. */
static int fill_holes(int fd, uint64_t off, uint64_t end)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size)
		return 0;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)(end - off)) == 0 ||
	    errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return POP_E_SYS;
}

/* How large a slot is worth it: no step moves more than this. */
static uint64_t slot_wanted(const struct range *keep, size_t n, uint64_t off)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += keep[i].end - keep[i].start;
	return keep[0].start - off >= total ? 0 : total;
}

int journal_expunge(int dir_fd, int fd, uint64_t off, struct range *keep, size_t n, uint64_t end,
		    bool *committed, struct pop_why *why)
{
	bool decided = false, *done = committed ? committed : &decided;
	struct work w = { .fd = fd, .j = { .dir_fd = dir_fd, .fd = -1 } };
	struct range late;
	struct stat st;
	int err;

	*done = false;
	n = merge(keep, n);
	if (n == 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size > end) {
		keep = &late; /* came from somebody who ignores the locks */
		late = (struct range){ end, (uint64_t)st.st_size };
		end = late.end;
		n = 1;
	}
	if (n == 0) {
		*done = ftruncate(fd, (off_t)off) == 0;
		if (!*done || fsync(fd) < 0)
			return pop_why_errno(why, "cannot cut the mailbox");
		return 0;
	}
	if (n > JOURNAL_RANGES_MAX)
		return pop_why(why, POP_E_LONG, "too many pieces of the mailbox to keep");
	w.j.ranges = keep;
	w.j.plan.n_ranges = n;
	w.j.plan.off = off;
	w.j.plan.end = end;
	w.j.rec = (struct journal_record){ .end = end, .w = off, .at = keep[0].start };
	err = fill_holes(fd, off, end);
	if (err == 0)
		err = work_begin(&w, &w.j.plan.begin);
	if (err == 0)
		err = journal_create(&w.j, slot_wanted(keep, n, off));
	if (err == POP_E_EXISTS)
		return pop_why(why, err, "an unfinished journal is in the way");
	if (err == 0)
		err = work_buffer(&w);
	if (err == 0)
		err = work_finish(&w);
	if (err < 0 && w.j.fd >= 0 && !w.committed) {
		int saved = errno;

		remove_journal(dir_fd);
		errno = saved;
	}
	*done = w.committed;
	if (err == 0)
		err = remove_journal(dir_fd);
	work_release(&w, false);
	if (err == POP_E_SYS)
		return pop_why_errno(why, w.committed ? "cannot finish the removal of messages now"
						      : "cannot write a journal");
	return err < 0 ? pop_why(why, err, "cannot remove messages: out of memory") : 0;
}

/* --- recovery ------------------------------------------------------------- */

int journal_exists(int dir_fd)
{
	struct stat st;

	if (fstatat(dir_fd, JOURNAL_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == ENOENT ? 0 : POP_E_SYS;
}

static int set_aside(int dir_fd, struct pop_why *why, const char *reason)
{
	char name[64];
	struct stat st;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), i ? "%s.%lld-%u" : "%s.%lld", JOURNAL_NAME,
			 (long long)time(NULL), i);
		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	if (renameat(dir_fd, JOURNAL_NAME, dir_fd, name) < 0)
		return pop_why_errno(why, "cannot set the journal aside");
	pop_why(why, 0, "the journal of an unfinished removal was kept as %s: %s", name, reason);
	return JOURNAL_ASIDE;
}

/* The journal as a file: ours, and nobody else's. */
static const char *unsafe_file(const struct work *w, uid_t owner)
{
	struct stat st;

	if (w->j.fd < 0 || fstat(w->j.fd, &st) < 0)
		return "it cannot be opened";
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return "it is no file, or has more than one name";
	if (st.st_uid != owner || (st.st_mode & 077) != 0)
		return "its owner or mode is wrong";
	return NULL;
}

/* The last record says that all is moved. */
static int recover_done(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	struct journal_sum now;
	struct stat st;
	int err;

	if (fstat(w->fd, &st) < 0)
		return POP_E_SYS;
	if ((uint64_t)st.st_size < r->end)
		return 0; /* it was cut */
	err = work_tail(w, r, &now);
	if (err < 0 || !journal_sum_equal(&now, &r->fit))
		return err; /* it was cut, and has grown since */
	err = work_take_appended(w);
	if (err < 0)
		return err;
	return err ? work_finish(w) : work_cut(w);
}

/* Put the record's bytes into their place, then go on. */
static int recover_moving(struct work *w)
{
	struct journal_record *r = &w->j.rec;
	int err = journal_get_data(&w->j, w->buf);

	if (err == 0)
		err = work_put(w, w->buf, (size_t)r->length, r->w);
	if (err < 0)
		return err;
	r->w += r->length;
	err = work_take_appended(w);
	return err < 0 ? err : work_finish(w);
}

/* Does it fit the mailbox?  NULL, or why not; *err on error. */
static const char *misfit(const struct work *w, int *err)
{
	const struct journal_record *r = &w->j.rec;
	struct journal_sum now;
	struct stat st;

	if (w->fd < 0)
		return "there is no mailbox";
	if (fstat(w->fd, &st) < 0) {
		*err = POP_E_SYS;
		return NULL;
	}
	if (r->done) /* whatever the mailbox is now, only an equal end is cut off */
		return NULL;
	if ((uint64_t)st.st_size < r->end)
		return "the mailbox is shorter than it was";
	*err = work_fit(w, r, &now);
	if (*err == 0 && !journal_sum_equal(&now, &r->fit))
		return "the mailbox was changed by another program";
	return NULL;
}

/* No record is whole.  Was it never committed?  1, 0 or an error. */
static int never_used(const struct work *w, int found)
{
	struct journal_sum now;
	int err;

	if (found == JOURNAL_LOAD_BLANK)
		return 1;
	if (found != JOURNAL_LOAD_TORN || w->fd < 0)
		return 0;
	err = work_begin(w, &now);
	return err < 0 ? err : journal_sum_equal(&now, &w->j.plan.begin);
}

static int recover(struct work *w, struct pop_why *why)
{
	const char *reason;
	int err = 0, found = journal_load(&w->j);

	if (found < 0)
		return found;
	if (found != JOURNAL_LOAD_VALID) {
		err = never_used(w, found);
		if (err == 0)
			return set_aside(w->j.dir_fd, why, "it is damaged");
		if (err > 0)
			err = remove_journal(w->j.dir_fd);
		if (err < 0)
			return err;
		pop_why(why, 0, "removed a journal that was never used");
		return JOURNAL_UNUSED;
	}
	reason = misfit(w, &err);
	if (reason)
		return set_aside(w->j.dir_fd, why, reason);
	if (err == 0)
		err = work_buffer(w);
	w->committed = true;
	if (err == 0)
		err = w->j.rec.done ? recover_done(w) : recover_moving(w);
	if (err == 0)
		err = remove_journal(w->j.dir_fd);
	if (err < 0)
		return err;
	pop_why(why, 0, "finished an interrupted removal of messages");
	return JOURNAL_FINISHED;
}

int journal_recover(int dir_fd, int fd, uid_t owner, struct pop_why *why)
{
	struct work w = { .fd = fd, .j = { .dir_fd = dir_fd, .fd = -1 } };
	const char *unsafe;
	int err = journal_exists(dir_fd);

	if (err <= 0)
		return err;
	w.j.fd = fs_open_at(dir_fd, JOURNAL_NAME, FS_LINKS_NONE, O_RDWR, 0);
	if (w.j.fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO ||
			   errno == EROFS))
		return pop_why_errno(why, "cannot open the journal");
	unsafe = unsafe_file(&w, owner);
	err = unsafe ? set_aside(dir_fd, why, unsafe) : recover(&w, why);
	if (err == POP_E_SYS && !unsafe)
		pop_why_errno(why, "cannot finish an interrupted removal of messages");
	work_release(&w, true);
	return err;
}
