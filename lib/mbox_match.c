/*
 * mbox_match.c - find messages again in a mailbox that another program rewrote.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner.
 * Trusts:   nothing in the file.
 *
 * Messages are the same where separator, header section and size are; what is
 * left over, where its digest is (which does not see what readers add).  Equal
 * ones are taken in order.  Where there are fewer now than before, those that
 * are kept come first: rather is one too many left than one too many removed.
 */
#include <stdlib.h>
#include <string.h>
#include "mbox.h"

/* A message under a key: of the session (before), or of the file as it is (now). */
struct entry {
	uint8_t key[16];
	size_t idx;
	bool deleted; /* before: it is to be deleted */
};

struct side {
	struct entry *e; /* owned */
	size_t n;
};

struct match {
	struct maildrop *md;
	const uint8_t *deleted;
	struct msg *before, *now;
	bool *found; /* before[i] has its place */
	bool *taken; /* now[i] is one of before */
	bool *marked;
	size_t n_before, n_now;
};

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = memcmp(x->key, y->key, sizeof(x->key));

	return c ? c : (x->idx > y->idx) - (x->idx < y->idx);
}

static int kept_first(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->deleted != y->deleted)
		return x->deleted ? 1 : -1;
	return (x->idx > y->idx) - (x->idx < y->idx);
}

static void keep_id(const struct msg *before, struct msg *now)
{
	now->flags |= before->flags & (MSG_DIGEST | MSG_UIDL | MSG_SETTLED);
	now->suffix = before->suffix;
	now->uidl = before->uidl;
	if (before->flags & MSG_DIGEST)
		memcpy(now->digest, before->digest, sizeof(now->digest));
}

/* Pair the messages of one key. */
static void pair(struct match *m, struct entry *before, size_t nb, const struct entry *now,
		 size_t nn)
{
	size_t n = nb < nn ? nb : nn;

	if (nn < nb)
		qsort(before, nb, sizeof(*before), kept_first);
	for (size_t i = 0; i < n; i++) {
		m->found[before[i].idx] = true;
		m->taken[now[i].idx] = true;
		m->marked[now[i].idx] = before[i].deleted;
		keep_id(&m->before[before[i].idx], &m->now[now[i].idx]);
	}
}

static size_t run_of(const struct side *s, size_t from)
{
	size_t to = from + 1;

	while (to < s->n && memcmp(s->e[to].key, s->e[from].key, sizeof(s->e[from].key)) == 0)
		to++;
	return to;
}

static void pair_all(struct match *m, struct side *before, struct side *now)
{
	size_t b = 0, n = 0;

	qsort(before->e, before->n, sizeof(*before->e), by_key);
	qsort(now->e, now->n, sizeof(*now->e), by_key);
	while (b < before->n && n < now->n) {
		int c = memcmp(before->e[b].key, now->e[n].key, sizeof(before->e[b].key));
		size_t b_end = run_of(before, b), n_end = run_of(now, n);

		if (c == 0)
			pair(m, before->e + b, b_end - b, now->e + n, n_end - n);
		if (c <= 0)
			b = b_end;
		if (c >= 0)
			n = n_end;
	}
}

static void key_of(const struct msg *m, bool digest, uint8_t key[16])
{
	const uint64_t exact[2] = { m->header_sum, m->octets };

	memcpy(key, digest ? (const void *)m->digest : exact, 16);
}

/* One round: all that are left, under their digests or exact keys. */
static int match_round(struct match *m, bool digest)
{
	struct side before = { calloc(m->n_before + 1, sizeof(struct entry)), 0 };
	struct side now = { calloc(m->n_now + 1, sizeof(struct entry)), 0 };
	int err = before.e && now.e ? 0 : POP_E_MEMORY;

	for (size_t i = 0; i < m->n_before && err == 0; i++) {
		if (m->found[i] || (digest && !(m->before[i].flags & MSG_DIGEST)))
			continue;
		before.e[before.n].idx = i;
		before.e[before.n].deleted = (m->deleted[i / 8] >> i % 8) & 1;
		key_of(&m->before[i], digest, before.e[before.n++].key);
	}
	for (size_t i = 0; i < m->n_now && err == 0; i++) {
		if (m->taken[i] || (digest && !(m->now[i].flags & MSG_DIGEST)))
			continue;
		now.e[now.n].idx = i;
		key_of(&m->now[i], digest, now.e[now.n++].key);
	}
	if (err == 0)
		pair_all(m, &before, &now);
	free(before.e);
	free(now.e);
	return err;
}

/* Digests of the messages that have no place yet: flags MSG_UIDL keeps the others out. */
static int digests_of_rest(struct maildrop *md, int fd, struct msg *m, const bool *done, size_t n)
{
	struct msg *rest = calloc(n + 1, sizeof(*rest));
	size_t n_rest = 0;
	int err = rest ? 0 : POP_E_MEMORY;

	for (size_t i = 0; i < n && err == 0; i++) {
		if (done[i])
			continue;
		rest[n_rest] = m[i];
		rest[n_rest++].flags &= ~(uint32_t)MSG_UIDL;
	}
	if (err == 0 && n_rest)
		err = mbox_digests(md, fd, rest, n_rest);
	if (err == POP_E_CHANGED) /* cut: what could not be read has no digest */
		err = 0;
	for (size_t i = 0, k = 0; i < n && err == 0; i++)
		if (!done[i])
			m[i] = rest[k++];
	free(rest);
	return err;
}

static int any_wanted(const struct match *m)
{
	for (size_t i = 0; i < m->n_before; i++)
		if (!m->found[i] && (m->deleted[i / 8] >> i % 8) & 1)
			return 1;
	return 0;
}

static int match_all(struct match *m, int fd_now, size_t *gone)
{
	struct mbox *mb = m->md->priv;
	int err = match_round(m, false);
	bool unknown = false;

	if (err == 0 && any_wanted(m)) {
		/* Where the file was replaced, the old one can still be read. */
		err = digests_of_rest(m->md, mb->fd, m->before, m->found, m->n_before);
		if (err == 0)
			err = digests_of_rest(m->md, fd_now, m->now, m->taken, m->n_now);
		if (err == 0)
			err = match_round(m, true);
	}
	for (size_t i = 0; i < m->n_before && err == 0; i++) {
		if (m->found[i] || !((m->deleted[i / 8] >> i % 8) & 1))
			continue;
		if (m->before[i].flags & MSG_DIGEST)
			++*gone;
		else
			unknown = true;
	}
	return err == 0 && unknown ? POP_E_CHANGED : err;
}

int mbox_match(struct maildrop *md, const uint8_t *deleted, int fd_now, struct msg *now,
	       size_t n_now, bool *marked, size_t *gone)
{
	struct match m = {
		.md = md,
		.deleted = deleted,
		.before = calloc(md->count + 1, sizeof(struct msg)),
		.now = now,
		.found = calloc(md->count + 1, sizeof(bool)),
		.taken = calloc(n_now + 1, sizeof(bool)),
		.marked = marked,
		.n_before = md->count,
		.n_now = n_now,
	};
	int err = m.before && m.found && m.taken ? 0 : POP_E_MEMORY;

	*gone = 0;
	memset(marked, 0, n_now * sizeof(*marked));
	for (size_t i = 0; i < md->count && err == 0; i++)
		err = msg_get(md, i, &m.before[i]);
	if (err == 0)
		err = match_all(&m, fd_now, gone);
	free(m.before);
	free(m.found);
	free(m.taken);
	return err;
}
