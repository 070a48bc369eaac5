/*
 * mbox_index.c - what an index knows of an mbox: all of it, all but its new
 * end, or only the ids of its messages.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock and the mailbox's locks.
 * Trusts:   the index where the file's stamp is the one that it was made from and
 *           was clean then; its lengths where the file has grown and what is
 *           looked at of the old part is as it was; else its ids alone, by header.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "fsutil.h"
#include "hash.h"
#include "index.h"
#include "mbox.h"
#include "stamp.h"

#define SAMPLE	 32 /* messages looked at where the file has grown, spread over all */
#define TAIL_MAX 64 /* bytes before the old end */
#define HOLD_MAX INT64_C(50000000) /* ns for which the locks are held to prove a stamp */

/* sum64 of the last bytes before `end`; *whole: they end with a line end. */
static int sum_tail(int fd, uint64_t end, uint64_t *sum, bool *whole)
{
	size_t n = end < TAIL_MAX ? (size_t)end : TAIL_MAX;
	uint8_t bytes[TAIL_MAX];
	ssize_t got = fs_pread_full(fd, bytes, n, (off_t)(end - n));

	if (got < 0)
		return POP_E_SYS;
	*sum = sum64_of(bytes, n);
	*whole = n > 0 && bytes[n - 1] == '\n';
	return (size_t)got == n ? 0 : POP_E_CHANGED;
}

/* Is message i of the index where it was?  1, 0 or an error. */
static int still_there(struct maildrop *md, size_t i)
{
	struct mbox *mb = md->priv;
	struct msg m;
	int err = index_get(md->index, i, &m);

	if (!err)
		err = mbox_verify(mb->fd, &m);
	return err == POP_E_CHANGED || err == POP_E_CORRUPT ? 0 : err < 0 ? err : 1;
}

/* The file is longer than it was: did it only grow, as far as a sample tells? */
static int only_grew(struct maildrop *md)
{
	const struct index_head *head = index_head(md->index);
	struct mbox *mb = md->priv;
	size_t count = (size_t)head->count, step = count / SAMPLE + 1;
	/* another sample each time */
	size_t i = (size_t)((uint64_t)stamp_now_ns() / 1000) % step;
	uint64_t sum;
	bool whole;
	int err = sum_tail(mb->fd, head->made_from[0].size, &sum, &whole);

	if (err < 0)
		return err == POP_E_CHANGED ? 0 : err;
	/* what was appended to an unfinished line has changed that line, a separator maybe */
	if (!count || !whole || sum != head->tail_sum)
		return 0;
	err = still_there(md, count - 1);
	for (; i < count && err == 1; i += step)
		err = still_there(md, i);
	return err;
}

static bool stamps_equal(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

int mbox_use_index(struct maildrop *md, const struct file_stamp *now)
{
	struct mbox *mb = md->priv;
	const struct index_head *head;
	const struct file_stamp *then;
	struct index *ix;
	bool trusted;
	int err;

	msg_table_release(md);
	if (md->env.fresh || index_open(&ix, md->env.state_fd, &md->env.spec) < 0)
		return MBOX_SCAN;
	msg_use_index(md, ix);
	head = index_head(ix);
	then = &head->made_from[0];
	trusted = stamp_margin_ns(mb->fd) != STAMP_NEVER;
	mb->hidden = head->bits & INDEX_HIDDEN;
	mb->last = head->last;
	mb->scanned = then->size;
	if (trusted && head->bits & INDEX_CLEAN(0) && stamps_equal(then, now)) {
		maildrop_trust_ids(md);
		return MBOX_SAME;
	}
	md->changed = true;
	if (trusted && then->ino == now->ino && then->size && then->size < now->size) {
		err = only_grew(md);
		if (err < 0)
			return err;
		if (err > 0)
			return MBOX_GREW;
	}
	msg_clear(md); /* its strings stay, for the ids */
	return MBOX_SCAN;
}

/* --- saving ------------------------------------------------------------------ */

static int write_all(struct maildrop *md, struct index_writer *w)
{
	char uidl[UIDL_MAX + 1];
	int err = 0;

	for (size_t idx = 0; idx < md->count && !err; idx++) {
		struct msg m;
		bool own;

		err = msg_get(md, idx, &m);
		if (err < 0)
			break;
		own = m.flags & MSG_UIDL;
		if (own && msg_uidl(md, &m, uidl) < 0)
			return POP_E_CORRUPT;
		err = index_write(w, &m, NULL, own ? uidl : NULL);
	}
	return err;
}

/*
 * After our own change of the file its stamp proves nothing for a moment.  The
 * locks are still held, so a stamp that is the same when that moment is over
 * does.
 */
static bool stamp_proven(struct maildrop *md)
{
	struct mbox *mb = md->priv;
	const struct file_stamp *s = &mb->stamp;
	int64_t newest = s->mtime_ns > s->ctime_ns ? s->mtime_ns : s->ctime_ns;
	int64_t margin = stamp_margin_ns(mb->fd), wait;
	struct file_stamp after;
	struct stat st;

	if (!mb->held)
		return stamp_is_clean(newest, mb->read_at_ns, margin);
	wait = newest + margin - stamp_now_ns();
	if (margin == STAMP_NEVER || wait > HOLD_MAX)
		return false;
	if (wait > 0)
		nanosleep(&(struct timespec){ .tv_nsec = (long)wait }, NULL);
	if (fstat(mb->lock.fd, &st) < 0)
		return false;
	file_stamp_of(&st, &after);
	return stamps_equal(s, &after) && stamp_is_clean(newest, stamp_now_ns(), margin);
}

static int save(struct maildrop *md)
{
	struct mbox *mb = md->priv;
	struct index_head head = {
		.count = md->count,
		.octets = md->octets,
		.made_from = { mb->stamp },
		.imported = maildrop_imports(md),
		.last = mb->last,
		.bits = (md->uidls_known ? INDEX_UIDLS : 0) | (mb->hidden ? INDEX_HIDDEN : 0),
	};
	struct index_writer *w = NULL;
	bool whole;
	int err = sum_tail(mb->fd, mb->scanned, &head.tail_sum, &whole);

	if (err < 0)
		return err;
	if (mb->stamp.size > mb->scanned)
		head.made_from[0].size = mb->scanned; /* mail came meanwhile: it has grown */
	else if (!mb->doubt && stamp_proven(md))
		head.bits |= INDEX_CLEAN(0);
	err = index_write_begin(&w, md->env.state_fd, &md->env.spec, head.count);
	if (!err)
		err = write_all(md, w);
	if (!err)
		return index_write_commit(w, &head);
	if (w)
		index_write_abort(w);
	return err;
}

void mbox_save(struct maildrop *md)
{
	struct mbox *mb = md->priv;
	int err = 0;

	/* no mailbox, or one whose messages are not known after an expunge */
	if (mb->fd < 0 || !mb->stamp.ino || mb->stamp.size < mb->scanned)
		goto out;
	/* ids that only the old index knows, of messages not found again yet */
	if (!md->uidls_known && mbox_old_ids_matter(md)) {
		err = mbox_uidls(md);
		md->uidls_known = !err;
	}
	if (!err)
		err = save(md);
	if (!err)
		md->changed = false;
	else
		maildrop_note(md, LOG_INFO, "%s: cannot save the index: %s", md->env.spec.path,
			      err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
out:
	mbox_let_go(md);
}
