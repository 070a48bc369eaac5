/*
 * mbox_expunge.c - delete messages from an mbox that others may have changed.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock; takes the mailbox locks.
 * Trusts:   the set of messages; nothing of the file, which is opened anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "fsutil.h"
#include "mbox.h"
#include "stamp.h"
#include "trash.h"

/* The mailbox as it is now, and what of it goes. */
struct expunge {
	struct maildrop *md;
	struct mbox_lock lock;
	const uint8_t *deleted; /* of the maildrop's messages */
	struct msg *msgs;	/* the file's messages now, owned */
	bool *marked;		/* of them, owned */
	size_t n, size;
	uint64_t scanned; /* they lie in [0, scanned) */
	uint64_t end;	  /* size of the file */
	size_t gone;	  /* marked, but not there any more */
};

static bool is_deleted(const struct expunge *x, size_t idx)
{
	return (x->deleted[idx / 8] >> idx % 8) & 1;
}

static int add(void *ctx, const struct msg *m)
{
	struct expunge *x = ctx;
	struct msg *more;

	if (x->n == x->size) {
		size_t size = x->size ? x->size * 2 : 256;

		more = reallocarray(x->msgs, size, sizeof(*more));
		if (!more)
			return POP_E_MEMORY;
		x->msgs = more;
		x->size = size;
	}
	x->msgs[x->n++] = *m;
	return 0;
}

/* Take over the maildrop's own messages and marks. */
static int as_opened(struct expunge *x)
{
	struct mbox *mb = x->md->priv;
	struct msg m;
	int err = 0;

	for (size_t i = 0; i < x->md->count && err == 0; i++) {
		err = msg_get(x->md, i, &m);
		if (err == 0)
			err = add(x, &m);
	}
	x->scanned = mb->scanned;
	x->marked = err == 0 ? calloc(x->n + 1, sizeof(bool)) : NULL;
	if (!x->marked)
		return POP_E_MEMORY;
	for (size_t i = 0; i < x->n; i++)
		x->marked[i] = is_deleted(x, i);
	return 0;
}

/* Does its stamp prove that nobody wrote to the file since its messages were found? */
static bool is_proven(const struct mbox *mb, const struct stat *st)
{
	const struct file_stamp *then = &mb->stamp;
	struct file_stamp now;
	int64_t newest = then->mtime_ns > then->ctime_ns ? then->mtime_ns : then->ctime_ns;

	file_stamp_of(st, &now);
	return !mb->doubt && now.size == then->size && now.mtime_ns == then->mtime_ns &&
	       now.ctime_ns == then->ctime_ns &&
	       stamp_is_clean(newest, mb->read_at_ns, stamp_margin_ns(mb->fd));
}

/* Is the file, as far as it matters, what was scanned?  1, 0 or an error. */
static int unchanged(const struct expunge *x, const struct stat *st)
{
	struct mbox *mb = x->md->priv;
	bool behind = false;
	int err;

	if (mb->fd < 0 || st->st_ino != mb->stamp.ino || st->st_dev != mb->dev ||
	    (uint64_t)st->st_size < mb->scanned)
		return 0;
	if (is_proven(mb, st))
		return 1;
	for (size_t i = 0; i < x->n; i++) {
		behind |= x->marked[i];
		if (!behind)
			continue;
		err = mbox_verify(x->lock.fd, &x->msgs[i]);
		if (err < 0)
			return err == POP_E_CHANGED ? 0 : err;
	}
	return 1;
}

/* Another program rewrote it: find the messages again. */
static int find_again(struct expunge *x)
{
	struct mbox_scan s = { .fd = x->lock.fd, .end = x->end, .each = add, .ctx = x };
	int err;

	x->n = 0;
	err = mbox_scan(&s);
	if (err < 0)
		return err;
	x->scanned = x->end;
	free(x->marked);
	x->marked = calloc(x->n + 1, sizeof(bool));
	if (!x->marked)
		return POP_E_MEMORY;
	return mbox_match(x->md, x->deleted, x->lock.fd, x->msgs, x->n, x->marked, &x->gone);
}

static uint64_t start_of(const struct expunge *x, size_t i)
{
	return i < x->n ? x->msgs[i].offset - x->msgs[i].from_length : x->scanned;
}

/*
 * Keep copies of the marked ones, where that is wanted and possible.  name: of the
 * file, "" where there is none.
 */
static void keep_copies(struct expunge *x, size_t marked, char name[TRASH_NAME_SPACE])
{
	struct trash_range *ranges = NULL;
	struct pop_why why = { "" };
	size_t n = 0;
	int err;

	name[0] = '\0';
	if (!x->md->env.trash || !marked || x->md->env.state_fd < 0)
		return;
	ranges = calloc(marked, sizeof(*ranges));
	for (size_t i = 0; ranges && i < x->n; i++)
		if (x->marked[i])
			ranges[n++] = (struct trash_range){ start_of(x, i), start_of(x, i + 1),
							    &x->msgs[i] };
	err = ranges ? trash_keep_mbox(x->md, x->lock.fd, ranges, n, name, &why)
		     : pop_why(&why, POP_E_MEMORY, "out of memory");
	free(ranges);
	if (err == 0)
		return;
	name[0] = '\0';
	maildrop_note(x->md, LOG_WARNING, "%s: %zu messages are removed, but no copy was kept: %s",
		      x->md->env.spec.path, marked, why.text);
}

/* Which bytes stay, from the first marked message (*first) on; how many messages go. */
static size_t find_kept(const struct expunge *x, struct range *keep, size_t *first, size_t *kept)
{
	size_t n = 0, marked = 0;

	*first = 0;
	while (*first < x->n && !x->marked[*first])
		++*first;
	for (size_t i = *first; i < x->n; i++) {
		if (x->marked[i])
			marked++;
		else
			keep[n++] = (struct range){ start_of(x, i), start_of(x, i + 1) };
	}
	if (x->end > x->scanned)
		keep[n++] = (struct range){ x->scanned, x->end };
	*kept = n;
	return marked;
}

/* Is there a journal that could not be removed, and whose plan would be carried out?  Keeps errno.
 */
static bool left_journal(const struct expunge *x)
{
	int saved = errno;
	bool yes = journal_exists(x->md->env.state_fd) != 0;

	errno = saved;
	return yes;
}

/*
 * The removal failed before it was decided, with copies made.  These go, since the
 * messages are still there; where they took the room that a journal needs, it is
 * tried again without.
 */
static int remove_without(struct expunge *x, const char *copies, struct range *keep, int err,
			  struct pop_why *why)
{
	bool room = err == POP_E_SYS && (errno == ENOSPC || errno == EDQUOT);
	size_t first, n, marked;

	trash_drop_mbox(x->md, copies);
	if (!room)
		return err;
	marked = find_kept(x, keep, &first, &n); /* it was merged in place */
	maildrop_note(x->md, LOG_WARNING,
		      "%s: %zu messages are removed, but no copy was kept: no room for both",
		      x->md->env.spec.path, marked);
	return journal_expunge(x->md->env.state_fd, x->lock.fd, start_of(x, first), keep, n, x->end,
			       NULL, why);
}

/* Remove the marked ones from the locked file.  *removed counts them. */
static int remove_marked(struct expunge *x, size_t *removed, struct pop_why *why)
{
	struct range *keep = calloc(x->n + 2, sizeof(*keep));
	char copies[TRASH_NAME_SPACE];
	size_t first, n, marked;
	bool committed;
	int err = 0;

	if (!keep)
		return pop_why(why, POP_E_MEMORY, "out of memory");
	marked = find_kept(x, keep, &first, &n);
	if (marked && n && x->md->env.state_fd < 0)
		err = pop_why(why, POP_E_DENIED, "no state directory: no place for a journal");
	if (marked && err == 0) {
		keep_copies(x, marked, copies);
		err = journal_expunge(x->md->env.state_fd, x->lock.fd, start_of(x, first), keep, n,
				      x->end, &committed, why);
		if (err < 0 && copies[0] && !committed && !left_journal(x))
			err = remove_without(x, copies, keep, err, why);
	}
	if (err == 0)
		*removed += marked;
	free(keep);
	return err;
}
/*
 * Let the maildrop describe what is left, so that an index can be made of it.
 * Where that fails it describes nothing; the messages are removed all the same.
 */
static void settle(struct expunge *x)
{
	struct mbox *mb = x->md->priv;
	uint64_t shift = 0;
	struct stat st;
	int err = fstat(x->lock.fd, &st) < 0 ? POP_E_SYS : 0;

	mbox_forget(x->md);
	for (size_t i = 0; i < x->n && err == 0; i++) {
		uint64_t start = start_of(x, i), next = start_of(x, i + 1);

		if (x->marked[i]) {
			shift += next - start;
			continue;
		}
		mb->last = start - shift;
		x->msgs[i].offset -= shift;
		if (!(x->msgs[i].flags & MSG_SETTLED))
			x->md->uidls_known = false;
		err = msg_append(x->md, &x->msgs[i]);
	}
	x->md->index_ids = false;
	mb->scanned = x->scanned - shift;
	if (err == 0)
		file_stamp_of(&st, &mb->stamp);
	else
		mb->stamp = (struct file_stamp){ 0 };
}

static int expunge_locked(struct expunge *x, size_t *removed, struct pop_why *why)
{
	struct mbox *mb = x->md->priv;
	int err, same, match = 0;
	struct stat st;

	if (fstat(x->lock.fd, &st) < 0)
		return pop_why_errno(why, "%s", x->md->env.spec.path);
	x->end = (uint64_t)st.st_size;
	err = as_opened(x);
	same = err < 0 ? err : unchanged(x, &st);
	if (same == 0)
		match = find_again(x);
	err = same < 0 ? same : match;
	if (match == POP_E_CHANGED) /* for some messages only: the others go */
		err = 0;
	mb->stamp = (struct file_stamp){ 0 };
	if (err == POP_E_SYS)
		return pop_why_errno(why, "%s", x->md->env.spec.path);
	if (err < 0)
		return pop_why(why, err, "%s: cannot find the messages again",
			       x->md->env.spec.path);
	err = remove_marked(x, removed, why);
	if (err < 0)
		return err;
	*removed += x->gone;
	if (match == POP_E_CHANGED)
		return pop_why(why, POP_E_CHANGED, "%s: another program changed some messages",
			       x->md->env.spec.path);
	settle(x);
	return 0;
}

int mbox_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		 size_t *removed, struct pop_why *why)
{
	struct expunge x = { .md = md, .deleted = deleted };
	struct mbox *mb = md->priv;
	size_t wanted = 0;
	int err;

	(void)retrieved; /* an mbox has no place for that which is ours */
	*removed = 0;
	for (size_t i = 0; i < md->count; i++)
		wanted += is_deleted(&x, i);
	if (!wanted)
		return 0;
	err = mbox_lock_of(md, &x.lock, why);
	if (err < 0)
		return err;
	md->changed = true;
	if (x.lock.fd < 0) {
		*removed = wanted; /* the whole mailbox is gone */
	} else if (x.lock.read_only) {
		err = pop_why(why, POP_E_DENIED, "%s: may not be written", md->env.spec.path);
	} else {
		err = expunge_locked(&x, removed, why);
	}
	if (err == 0 && mb->stamp.ino) {
		/* until the index is saved, so that its stamp can be proven */
		mb->lock = x.lock;
		mb->held = true;
	} else {
		mbox_unlock_of(md, &x.lock);
	}
	free(x.msgs);
	free(x.marked);
	return err;
}
