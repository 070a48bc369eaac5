/*
 * mbox_old.c - give messages that were scanned anew the ids that an old index
 * has for them.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock.
 * Trusts:   the old index for its ids, as far as their form goes.
 *
 * First by separator, header section and size, which needs no digest; what is
 * left over, once its digests are made, by them.  Equal ones are taken in order.
 */
#include <stdlib.h>
#include <string.h>
#include "index.h"
#include "mbox.h"

/* A message under a key. */
struct entry {
	uint8_t key[16];
	size_t i;
};

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = memcmp(x->key, y->key, sizeof(x->key));

	return c ? c : (x->i > y->i) - (x->i < y->i);
}

static void exact_key(const struct msg *m, struct entry *e)
{
	memcpy(e->key, &m->header_sum, 8);
	memcpy(e->key + 8, &m->octets, 8);
}

static int take_id(struct maildrop *md, size_t idx, const struct msg *old)
{
	struct msg m;
	int err = msg_get(md, idx, &m);

	if (err < 0)
		return err;
	if (old->flags & MSG_DIGEST)
		memcpy(m.digest, old->digest, sizeof(m.digest));
	m.flags |= old->flags & (MSG_DIGEST | MSG_UIDL | MSG_SETTLED);
	m.suffix = old->suffix;
	m.uidl = old->uidl;
	return msg_put(md, idx, &m);
}

/* Pair equal keys of old (places in mb->old) and now (places in md), in order. */
static int pair(struct maildrop *md, struct entry *old, size_t n_old, struct entry *now,
		size_t n_now)
{
	struct mbox *mb = md->priv;
	size_t o = 0, n = 0;
	int err = 0;

	qsort(old, n_old, sizeof(*old), by_key);
	qsort(now, n_now, sizeof(*now), by_key);
	while (o < n_old && n < n_now && err == 0) {
		int c = memcmp(old[o].key, now[n].key, sizeof(old[o].key));

		if (c == 0) {
			err = take_id(md, now[n].i, &mb->old[old[o].i]);
			mb->old[old[o].i].flags = 0; /* given away */
		}
		o += c <= 0;
		n += c >= 0;
	}
	return err;
}

/* Drop the old ones whose ids were given away. */
static void compact(struct mbox *mb)
{
	size_t n = 0;

	for (size_t i = 0; i < mb->n_old; i++)
		if (mb->old[i].flags & MSG_SETTLED)
			mb->old[n++] = mb->old[i];
	mb->n_old = n;
}

/* The messages of the old index that have ids. */
static int load_old(struct maildrop *md, struct msg *old, size_t *n_old)
{
	size_t count = (size_t)index_head(md->index)->count, n = 0;
	int err = 0;

	for (size_t i = 0; i < count && err == 0; i++) {
		err = index_get(md->index, i, &old[n]);
		n += err == 0 && old[n].flags & MSG_SETTLED;
	}
	*n_old = err == 0 ? n : 0;
	if (err == POP_E_CORRUPT) {
		index_remove(md->env.state_fd);
		err = 0;
	}
	return err;
}

/* One round: the messages that lack what is looked for, under their exact keys or digests. */
static int match_round(struct maildrop *md, bool digest)
{
	struct mbox *mb = md->priv;
	struct entry *old = calloc(mb->n_old + 1, sizeof(*old));
	struct entry *now = calloc(md->count + 1, sizeof(*now));
	size_t n_old = 0, n_now = 0;
	int err = old && now ? 0 : POP_E_MEMORY;

	for (size_t i = 0; i < mb->n_old && err == 0; i++) {
		if (digest && !(mb->old[i].flags & MSG_DIGEST))
			continue;
		old[n_old].i = i;
		if (digest)
			memcpy(old[n_old].key, mb->old[i].digest, 16);
		else
			exact_key(&mb->old[i], &old[n_old]);
		n_old++;
	}
	for (size_t i = 0; i < md->count && err == 0; i++) {
		struct msg m;

		err = msg_get(md, i, &m);
		if (err < 0 || m.flags & MSG_SETTLED || (digest && !(m.flags & MSG_DIGEST)))
			continue;
		now[n_now].i = i;
		if (digest)
			memcpy(now[n_now].key, m.digest, 16);
		else
			exact_key(&m, &now[n_now]);
		n_now++;
	}
	if (err == 0)
		err = pair(md, old, n_old, now, n_now);
	free(old);
	free(now);
	compact(mb);
	return err;
}

int mbox_old_ids(struct maildrop *md)
{
	struct mbox *mb = md->priv;
	bool all = true;
	int err;

	if (!md->index)
		return 0;
	mb->n_old = 0;
	free(mb->old);
	mb->old = calloc((size_t)index_head(md->index)->count + 1, sizeof(*mb->old));
	err = mb->old ? load_old(md, mb->old, &mb->n_old) : POP_E_MEMORY;
	if (err == 0)
		err = match_round(md, false);
	maildrop_trust_ids(md);
	for (size_t i = 0; i < md->count && err == 0 && all; i++) {
		struct msg m;

		err = msg_get(md, i, &m);
		all = err == 0 && m.flags & MSG_SETTLED;
	}
	md->uidls_known = all && !md->imports_new && err == 0;
	return err;
}

int mbox_old_ids_by_digest(struct maildrop *md)
{
	struct mbox *mb = md->priv;

	return mb->n_old ? match_round(md, true) : 0;
}

bool mbox_old_ids_matter(const struct maildrop *md)
{
	const struct mbox *mb = md->priv;

	for (size_t i = 0; i < mb->n_old; i++)
		if (mb->old[i].suffix || mb->old[i].flags & MSG_UIDL)
			return true;
	return false;
}
