/*
 * mbox.c - a maildrop over an mbox file: open, verify, unique ids.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock.
 * Trusts:   nothing in the file; other programs change it whenever they hold its
 *           locks, and some without.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "fsutil.h"
#include "mbox.h"
#include "mbox_from.h"
#include "imported.h"
#include "stamp.h"

#define OPEN_TRIES 3

int mbox_lock_of(struct maildrop *md, struct mbox_lock *l, struct pop_why *why)
{
	const struct maildrop_env *env = &md->env;

	return mbox_lock(l, env->spec.path, env->uid, env->mbox_locks, env->lock_timeout_ms,
			 env->dotlock, why);
}

void mbox_unlock_of(struct maildrop *md, struct mbox_lock *l)
{
	mbox_unlock(l, md->env.spec.path, md->env.dotlock);
}

void mbox_forget(struct maildrop *md)
{
	msg_clear(md);
}

void mbox_let_go(struct maildrop *md)
{
	struct mbox *mb = md->priv;

	if (mb->held)
		mbox_unlock_of(md, &mb->lock);
	mb->held = false;
}

/* Finish what a crash left half done. */
static int recover(struct maildrop *md, const struct mbox_lock *l, struct pop_why *why)
{
	struct pop_why text = { "" };
	int err;

	/* No mailbox at this moment: the journal stays for the one it belongs to. */
	if (md->env.state_fd < 0 || l->fd < 0)
		return 0;
	err = journal_exists(md->env.state_fd);
	if (err == 0)
		return 0;
	if (err < 0)
		return pop_why_errno(why, "cannot look for a journal");
	if (l->read_only) {
		errno = EROFS;
		return pop_why_errno(why, "%s: cannot finish an interrupted removal of messages",
				     md->env.spec.path);
	}
	err = journal_recover(md->env.state_fd, l->fd, md->env.uid, &text);
	if (err < 0)
		return pop_why(why, err, "%s: %s", md->env.spec.path, text.text);
	if (err > 0)
		maildrop_note(md, err == JOURNAL_ASIDE ? LOG_WARNING : LOG_NOTICE, "%s: %s",
			      md->env.spec.path, text.text);
	return 0;
}

static int add(void *ctx, const struct msg *m)
{
	return msg_append(ctx, m);
}

/*
 * Write what the last message lacks, since deliverers append without looking.
 * On any error nothing is lost by leaving it.  Returns the bytes written.
 */
static uint64_t complete(const struct mbox_lock *l, const struct mbox_scan *s)
{
	ssize_t n;

	if (!s->missing_len || l->read_only)
		return 0;
	do
		n = pwrite(l->fd, s->missing, s->missing_len, (off_t)s->end);
	while (n < 0 && errno == EINTR);
	return n > 0 ? (uint64_t)n : 0;
}

/*
 * Where to begin: at the start, or, behind messages that the index knows, at the
 * new ones; the last known one is found again where the new end begins within it.
 */
static int start_of_scan(struct maildrop *md, const struct mbox_lock *l, bool grew, uint64_t end,
			 uint64_t *start)
{
	struct mbox *mb = md->priv;
	int err;

	*start = 0;
	if (!grew) {
		msg_clear(md);
		return 0;
	}
	err = mbox_separator_at(l->fd, mb->scanned, end);
	if (err < 0)
		return err;
	*start = err ? mb->scanned : mb->last;
	return err ? 0 : msg_drop_last(md);
}

/* Find the messages of the locked mailbox of `size` bytes; *size may grow by a line end. */
static int scan(struct maildrop *md, const struct mbox_lock *l, bool grew, uint64_t *size)
{
	struct mbox_scan s = { .fd = l->fd, .end = *size, .each = add, .ctx = md };
	struct mbox *mb = md->priv;
	uint64_t added;
	int err;

	err = start_of_scan(md, l, grew, *size, &s.start);
	if (err == 0)
		err = mbox_scan(&s);
	if (err < 0)
		return err;
	if (!grew)
		mb->hidden = s.hidden;
	mb->last = s.last;
	added = complete(l, &s);
	*size += added;
	if (added && md->count) {
		/* Its lengths have changed with it. */
		err = msg_drop_last(md);
		if (err < 0)
			return err;
		s.start = s.last;
		s.end = *size;
		err = mbox_scan(&s);
	}
	mb->scanned = *size;
	return err;
}

/* Know the messages: by the index, by a scan of what is new, or by a scan of all. */
static int find_messages(struct maildrop *md, const struct mbox_lock *l,
			 const struct file_stamp *now, uint64_t *size)
{
	int how = mbox_use_index(md, now), err;

	if (how < 0 || how == MBOX_SAME)
		return how < 0 ? how : 0;
	md->changed = true;
	err = scan(md, l, how == MBOX_GREW, size);
	if (err == POP_E_CORRUPT && md->index) {
		/* of a damaged index nothing is used */
		msg_table_release(md);
		err = scan(md, l, false, size);
	}
	if (err < 0)
		return err;
	if (how == MBOX_GREW && md->index)
		maildrop_trust_ids(md);
	return how == MBOX_SCAN ? mbox_old_ids(md) : 0;
}

static bool same_stamp(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

/* A descriptor for the session to read from: an opening of its own, without locks. */
static int open_for_reading(struct maildrop *md, const struct stat *locked)
{
	struct mbox *mb = md->priv;
	struct stat st;

	mb->fd = fs_open_at(AT_FDCWD, md->env.spec.path, FS_LINKS_DIRS, O_RDONLY, 0);
	if (mb->fd < 0 || fstat(mb->fd, &st) < 0)
		return errno == ENOENT ? POP_E_CHANGED : POP_E_SYS;
	if (st.st_ino != locked->st_ino || st.st_dev != locked->st_dev)
		return POP_E_CHANGED;
	mb->dev = st.st_dev;
	return 0;
}

/* Everything that is done under the locks.  POP_E_CHANGED: once more. */
static int open_locked(struct maildrop *md, const struct mbox_lock *l, struct pop_why *why)
{
	struct mbox *mb = md->priv;
	struct file_stamp before, after;
	struct stat st;
	uint64_t size;
	int err;

	err = recover(md, l, why);
	if (err < 0 || l->fd < 0)
		return err;
	md->read_only = l->read_only;
	mb->read_at_ns = stamp_now_ns();
	if (fstat(l->fd, &st) < 0)
		return pop_why_errno(why, "%s", md->env.spec.path);
	file_stamp_of(&st, &before);
	size = (uint64_t)st.st_size;
	err = open_for_reading(md, &st);
	if (err == 0)
		err = find_messages(md, l, &before, &size);
	if (err == 0 && fstat(l->fd, &st) < 0)
		err = POP_E_SYS;
	if (err == POP_E_SYS)
		return pop_why_errno(why, "%s", md->env.spec.path);
	if (err < 0)
		return err == POP_E_CHANGED ? err : pop_why(why, err, "%s", md->env.spec.path);
	file_stamp_of(&st, &after);
	if (size != after.size || (size == before.size && !same_stamp(&before, &after)))
		return POP_E_CHANGED;
	mb->stamp = after;
	return 0;
}

/* Fit to be a mailbox of this owner, as mbox_lock() would have it? */
static bool is_mailbox(const struct stat *st, uid_t owner)
{
	return S_ISREG(st->st_mode) && st->st_uid == owner && st->st_nlink == 1;
}

/*
 * Where the index proves that the file is what it was, nothing is scanned and
 * nothing written, so no lock is needed: what a program writes from now on is
 * met where each message is verified.  1: open; 0: not proven; or an error.
 */
static int open_proven(struct maildrop *md)
{
	struct mbox *mb = md->priv;
	const char *path = md->env.spec.path;
	struct file_stamp now;
	struct stat st;
	int how;

	if (md->env.state_fd < 0 || md->env.fresh || journal_exists(md->env.state_fd) != 0)
		return 0;
	mb->fd = fs_open_at(AT_FDCWD, path, FS_LINKS_DIRS, O_RDONLY, 0);
	mb->read_at_ns = stamp_now_ns();
	if (mb->fd < 0 || fstat(mb->fd, &st) < 0 || !is_mailbox(&st, md->env.uid))
		return 0; /* what is wrong is said where the locks are taken */
	file_stamp_of(&st, &now);
	how = mbox_use_index(md, &now);
	if (how != MBOX_SAME)
		return how < 0 ? how : 0;
	mb->dev = st.st_dev;
	mb->stamp = now;
	md->read_only = faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0;
	return 1;
}

static void close_fd(struct mbox *mb)
{
	if (mb->fd >= 0)
		close(mb->fd);
	mb->fd = -1;
}

static int mbox_open(struct maildrop *md, struct pop_why *why)
{
	struct mbox *mb = calloc(1, sizeof(*mb));
	struct mbox_lock l;
	int err;

	if (!mb)
		return pop_why(why, POP_E_MEMORY, "out of memory");
	mb->fd = -1;
	md->priv = mb;
	err = open_proven(md);
	if (err != 0)
		return err < 0 ? pop_why(why, err, "%s", md->env.spec.path) : 0;
	md->changed = false;
	for (int i = 0; i < OPEN_TRIES; i++) {
		err = mbox_lock_of(md, &l, why);
		if (err < 0)
			return err;
		close_fd(mb);
		err = open_locked(md, &l, why);
		mbox_unlock_of(md, &l);
		if (err != POP_E_CHANGED)
			return err;
	}
	return pop_why(why, POP_E_BUSY, "%s: another program writes to it without its locks",
		       md->env.spec.path);
}

static void mbox_close(struct maildrop *md)
{
	struct mbox *mb = md->priv;

	if (!mb)
		return;
	mbox_let_go(md);
	close_fd(mb);
	free(mb->old);
	free(mb);
	md->priv = NULL;
}

/*
 * A message is verified whenever it is asked for, not only the first time: it
 * costs a microsecond and needs no memory of when.
 */
static int mbox_message(struct maildrop *md, size_t idx, struct maildrop_message *out)
{
	struct mbox *mb = md->priv;
	struct stat st;
	struct msg m;
	int err = msg_get(md, idx, &m);

	if (err < 0)
		return err;
	if (fstat(mb->fd, &st) < 0)
		return POP_E_SYS;
	if ((uint64_t)st.st_size < m.offset + m.length)
		return POP_E_CHANGED;
	err = mbox_verify(mb->fd, &m);
	if (err == POP_E_CHANGED)
		mb->doubt = md->changed = true; /* the index is not used again as it is */
	if (err < 0)
		return err;
	*out = (struct maildrop_message){
		.fd = mb->fd,
		.offset = m.offset,
		.length = m.length,
		.octets = m.octets,
		.flags = m.flags & (MESSAGE_WIRE_FORM | MESSAGE_NO_DOT),
	};
	file_stamp_of(&st, &out->stamp);
	return 0;
}

/* The date of its From_ line; a file that another program changes meanwhile has none. */
static int mbox_came(struct maildrop *md, const struct msg *m, int64_t *seconds)
{
	struct mbox *mb = md->priv;
	char line[MBOX_FROM_MAX];
	size_t len = m->from_length;

	if (len > sizeof(line) || len > m->offset ||
	    fs_pread_full(mb->fd, line, len, (off_t)(m->offset - len)) != (ssize_t)len)
		return POP_E_CHANGED;
	if (len && line[len - 1] == '\n')
		len--;
	if (len && line[len - 1] == '\r')
		len--;
	return mbox_from_date(line, len, seconds);
}

const struct maildrop_backend mbox_backend = {
	.open = mbox_open,
	.message = mbox_message,
	.uidls = mbox_uidls,
	.came = mbox_came,
	.expunge = mbox_expunge,
	.save = mbox_save,
	.close = mbox_close,
};
