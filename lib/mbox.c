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
#include "imported.h"
#include "uidl.h"

#define OPEN_TRIES   3
#define DIGEST_BATCH 8192 /* messages a call */

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
	md->count = 0;
	md->octets = 0;
}

/* Finish what a crash left half done. */
static int recover(struct maildrop *md, const struct mbox_lock *l, struct pop_why *why)
{
	struct pop_why text = { "" };
	int err;

	if (md->env.state_fd < 0)
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

/* Find the messages of the locked mailbox of `size` bytes; *size may grow by a line end. */
static int scan(struct maildrop *md, const struct mbox_lock *l, uint64_t *size)
{
	struct mbox_scan s = { .fd = l->fd, .end = *size, .each = add, .ctx = md };
	struct mbox *mb = md->priv;
	struct msg last;
	uint64_t grown;
	int err;

	mbox_forget(md);
	err = mbox_scan(&s);
	if (err < 0)
		return err;
	mb->hidden = s.hidden;
	mb->last = s.last;
	grown = complete(l, &s);
	*size += grown;
	if (grown && md->count) {
		/* Its lengths have changed with it. */
		err = msg_get(md, md->count - 1, &last);
		if (err < 0)
			return err;
		md->count--;
		md->octets -= last.octets;
		s.start = s.last;
		s.end = *size;
		err = mbox_scan(&s);
	}
	mb->scanned = *size;
	return err;
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

	mb->fd = open(md->env.spec.path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
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
	if (fstat(l->fd, &st) < 0)
		return pop_why_errno(why, "%s", md->env.spec.path);
	file_stamp_of(&st, &before);
	size = (uint64_t)st.st_size;
	err = open_for_reading(md, &st);
	if (err == 0)
		err = scan(md, l, &size);
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
	if (md->priv)
		close_fd(md->priv);
	free(md->priv);
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

/* --- unique ids ------------------------------------------------------------ */

static bool has_id(const struct msg *m)
{
	return (m->flags & (MSG_DIGEST | MSG_UIDL)) != 0;
}

static int digest_batch(struct maildrop *md, int fd, struct msg *const *m, size_t n,
			struct digest_item *items, uint8_t (*out)[16])
{
	int err;

	for (size_t i = 0; i < n; i++)
		items[i] = (struct digest_item){
			.offset = m[i]->offset,
			.length = m[i]->header_length,
			.octets = m[i]->octets,
			.trailing_octets = m[i]->trailing_octets,
		};
	err = md->env.digest(md->env.ctx, DIGEST_MESSAGE, fd, items, n, out);
	for (size_t i = 0; i < n && err == 0; i++) {
		/* Verified behind the digest: what it was made from is what was scanned. */
		err = mbox_verify(fd, m[i]);
		if (err == POP_E_CHANGED) {
			err = 0;
			continue;
		}
		memcpy(m[i]->digest, out[i], sizeof(m[i]->digest));
		m[i]->flags |= MSG_DIGEST;
	}
	return err;
}

int mbox_digests(struct maildrop *md, int fd, struct msg *m, size_t n)
{
	size_t batch = n < DIGEST_BATCH ? n : DIGEST_BATCH, filled = 0;
	struct digest_item *items = calloc(batch + 1, sizeof(*items));
	struct msg **todo = calloc(batch + 1, sizeof(struct msg *));
	uint8_t(*out)[16] = calloc(batch + 1, sizeof(*out));
	int err = items && todo && out ? 0 : POP_E_MEMORY;

	for (size_t i = 0; i < n && err == 0; i++) {
		if (!has_id(&m[i]))
			todo[filled++] = &m[i];
		if (filled && (filled == batch || i == n - 1)) {
			err = digest_batch(md, fd, todo, filled, items, out);
			filled = 0;
		}
	}
	free(items);
	free(todo);
	free(out);
	return err;
}

/* Which messages had no id when ids were asked for: bit idx % 8 of byte idx / 8. */
static bool is_fresh(const uint8_t *fresh, size_t idx)
{
	return fresh[idx / 8] >> idx % 8 & 1;
}

/* Digests for those of m[0..n) that have no id; they are messages base, base + 1, ... */
static int make_digests(struct maildrop *md, uint8_t *fresh, size_t base, struct msg *m, size_t n)
{
	struct mbox *mb = md->priv;
	int err;

	for (size_t i = 0; i < n; i++)
		if (!has_id(&m[i]))
			fresh[(base + i) / 8] |= (uint8_t)(1u << (base + i) % 8);
	err = mbox_digests(md, mb->fd, m, n);
	for (size_t i = 0; i < n && err == 0; i++) {
		if (!is_fresh(fresh, base + i))
			continue;
		err = has_id(&m[i]) ? msg_put(md, base + i, &m[i]) : POP_E_CHANGED;
	}
	return err;
}

/* Enter the ids that are there already, imported ones with them. */
static int known_ids(struct maildrop *md, struct uidl_set *set, const uint8_t *fresh)
{
	char id[UIDL_MAX + 1];
	int err = 0, len;

	for (size_t i = 0; i < md->count && err >= 0; i++) {
		struct msg m;

		err = msg_get(md, i, &m);
		if (err < 0 || (is_fresh(fresh, i) && !(m.flags & MSG_UIDL)))
			continue;
		len = msg_uidl(md, &m, id);
		err = len < 0 ? len : uidl_set_add(set, id, (size_t)len);
	}
	return err < 0 ? err : 0;
}

/* Suffixes for the ids made from digests that others have too. */
static int claim_ids(struct maildrop *md, struct uidl_set *set, const uint8_t *fresh)
{
	int err = 0;

	for (size_t i = 0; i < md->count && err == 0; i++) {
		struct msg m;

		err = is_fresh(fresh, i) ? msg_get(md, i, &m) : 0;
		if (err < 0 || !is_fresh(fresh, i) || m.flags & MSG_UIDL)
			continue;
		err = uidl_set_claim_digest(set, m.digest, &m.suffix);
		if (err == 0)
			err = msg_put(md, i, &m);
	}
	return err;
}

static int get_batch(struct maildrop *md, size_t base, struct msg *m, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++)
		err = msg_get(md, base + i, &m[i]);
	return err;
}

static int mbox_uidls(struct maildrop *md)
{
	struct msg *batch = calloc(DIGEST_BATCH, sizeof(*batch));
	uint8_t *fresh = calloc(md->count / 8 + 1, 1);
	struct uidl_set set = { 0 };
	size_t n;
	int err = batch && fresh ? uidl_set_init(&set, md->count) : POP_E_MEMORY;

	for (size_t i = 0; i < md->count && err == 0; i += n) {
		n = md->count - i < DIGEST_BATCH ? md->count - i : DIGEST_BATCH;
		err = get_batch(md, i, batch, n);
		if (err == 0)
			err = make_digests(md, fresh, i, batch, n);
	}
	if (err == 0)
		err = imported_apply(md);
	if (err == 0)
		err = known_ids(md, &set, fresh);
	if (err == 0)
		err = claim_ids(md, &set, fresh);
	uidl_set_release(&set);
	free(fresh);
	free(batch);
	return err;
}

static void mbox_save(struct maildrop *md)
{
	(void)md;
}

const struct maildrop_backend mbox_backend = {
	.open = mbox_open,
	.message = mbox_message,
	.uidls = mbox_uidls,
	.expunge = mbox_expunge,
	.save = mbox_save,
	.close = mbox_close,
};
