/*
 * mbox_uidl.c - the unique ids of an mbox: those it had, those that were
 * imported, and those made from digests of the headers.
 *
 * Runs in:  the maildrop role and pop3admin, as the mailbox's owner, under the
 *           session lock.
 * Trusts:   nothing in the file: what a digest was made from is verified behind it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "imported.h"
#include "index.h"
#include "mbox.h"
#include "uidl.h"

#define DIGEST_BATCH 8192 /* messages a call */

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
		if (!(m[i].flags & (MSG_DIGEST | MSG_UIDL)))
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

/* The next messages that have no id, from *idx on: at most DIGEST_BATCH, their places in at. */
static int next_unsettled(struct maildrop *md, size_t *idx, struct msg *m, size_t *at, size_t *n)
{
	int err = 0;

	*n = 0;
	for (; *idx < md->count && *n < DIGEST_BATCH && err == 0; ++*idx) {
		at[*n] = *idx;
		err = msg_get(md, *idx, &m[*n]);
		*n += err == 0 && !(m[*n].flags & (MSG_SETTLED | MSG_DIGEST));
	}
	return err;
}

/* Digests for all that have neither id nor digest. */
static int digest_all(struct maildrop *md)
{
	struct msg *m = calloc(DIGEST_BATCH, sizeof(*m));
	size_t *at = calloc(DIGEST_BATCH, sizeof(*at));
	struct mbox *mb = md->priv;
	size_t idx = md->index_ids ? md->indexed : 0, n;
	int err = m && at ? 0 : POP_E_MEMORY;

	while (err == 0 && idx < md->count) {
		err = next_unsettled(md, &idx, m, at, &n);
		if (err == 0 && n)
			err = mbox_digests(md, mb->fd, m, n);
		for (size_t i = 0; i < n && err == 0; i++)
			err = m[i].flags & (MSG_DIGEST | MSG_UIDL) ? msg_put(md, at[i], &m[i])
								   : POP_E_CHANGED;
	}
	free(m);
	free(at);
	return err;
}

/* The ids that messages have already.  One that another has too is made anew. */
static int enter_settled(struct maildrop *md, struct uidl_set *set)
{
	char id[UIDL_MAX + 1];
	int err = 0;

	for (size_t idx = 0; idx < md->count && err >= 0; idx++) {
		struct msg m;
		int len;

		err = msg_get(md, idx, &m);
		if (err < 0 || !(m.flags & MSG_SETTLED))
			continue;
		len = msg_uidl(md, &m, id);
		err = len < 0 ? 0 : uidl_set_add(set, id, (size_t)len);
		if (err == 0) {
			m.flags &= ~(uint32_t)(MSG_SETTLED | MSG_UIDL);
			m.suffix = 0;
			md->index_ids = false;
			err = msg_put(md, idx, &m);
		}
	}
	return err < 0 ? err : 0;
}

static int claim_rest(struct maildrop *md, struct uidl_set *set)
{
	size_t idx = md->index_ids ? md->indexed : 0;
	int err = 0;

	for (; idx < md->count && err == 0; idx++) {
		struct msg m;

		err = msg_get(md, idx, &m);
		if (err < 0 || m.flags & MSG_SETTLED)
			continue;
		if (!(m.flags & MSG_DIGEST))
			return POP_E_CHANGED;
		err = uidl_set_claim_digest(set, m.digest, &m.suffix);
		m.flags |= MSG_SETTLED;
		if (err == 0)
			err = msg_put(md, idx, &m);
	}
	return err;
}

#define FEW_NEW	   64 /* new messages whose ids are compared with all of an index */
#define MANY_TWINS 256

/* New messages behind an index whose ids are all digests, and who of it has the same. */
struct few {
	struct msg m[FEW_NEW];
	size_t n;
	uint64_t first_bytes; /* bit b: some digest begins with a byte of b modulo 64 */
	struct {
		size_t new; /* place in m */
		uint32_t suffix;
	} taken[MANY_TWINS];
	size_t n_taken;
};

static bool suffix_taken(const struct few *f, size_t new, uint32_t suffix)
{
	for (size_t i = 0; i < f->n_taken; i++)
		if (f->taken[i].new == new && f->taken[i].suffix == suffix)
			return true;
	return false;
}

/* A digest with its suffix is taken.  false: too many are alike. */
static bool take(struct few *f, const uint8_t digest[16], uint32_t suffix)
{
	if (!(f->first_bytes >> digest[0] % 64 & 1))
		return true;
	for (size_t i = 0; i < f->n; i++) {
		if (memcmp(f->m[i].digest, digest, 16) != 0)
			continue;
		if (f->n_taken == MANY_TWINS)
			return false;
		f->taken[f->n_taken].new = i;
		f->taken[f->n_taken++].suffix = suffix;
	}
	return true;
}

/*
 * Ids for a few new messages without a set of all ids: only an equal digest can
 * have the same id.  1 done, 0 not for this maildrop, or an error.
 */
static int claim_few(struct maildrop *md, struct few *f)
{
	int err = 0;

	if (!md->index_ids || index_head(md->index)->bits & INDEX_OWN_IDS ||
	    md->count - md->indexed > FEW_NEW)
		return 0;
	for (size_t idx = md->indexed; idx < md->count && err == 0; idx++) {
		struct msg *m = &f->m[f->n++];

		err = msg_get(md, idx, m);
		if (err < 0 || m->flags & MSG_SETTLED || !(m->flags & MSG_DIGEST))
			return err;
		f->first_bytes |= UINT64_C(1) << m->digest[0] % 64;
	}
	for (size_t idx = 0; idx < md->indexed && err == 0; idx++) {
		struct msg m;

		err = msg_get(md, idx, &m);
		if (err == 0 && !take(f, m.digest, m.suffix))
			return 0;
	}
	for (size_t i = 0; i < f->n && err == 0; i++) {
		struct msg *m = &f->m[i];

		for (m->suffix = 0; suffix_taken(f, i, m->suffix);)
			m->suffix = m->suffix ? m->suffix + 1 : 2;
		m->flags |= MSG_SETTLED;
		if (!take(f, m->digest, m->suffix))
			return 0;
		err = msg_put(md, md->indexed + i, m);
	}
	return err < 0 ? err : 1;
}

/* Ids for all that have none, whatever they are. */
static int claim_all(struct maildrop *md)
{
	struct uidl_set set = { 0 };
	int err = uidl_set_init(&set, md->count);

	if (err == 0)
		err = enter_settled(md, &set);
	/* one that lost its id may have none to be made from */
	if (err == 0 && !md->index_ids)
		err = digest_all(md);
	if (err == 0)
		err = claim_rest(md, &set);
	uidl_set_release(&set);
	return err;
}

int mbox_uidls(struct maildrop *md)
{
	struct few few = { .n = 0 };
	int err;

	if (md->imports_new)
		md->index_ids = false;
	err = digest_all(md);
	if (err == 0)
		err = mbox_old_ids_by_digest(md);
	if (err == 0)
		err = imported_apply(md);
	if (err == 0)
		err = claim_few(md, &few);
	if (err == 0)
		err = claim_all(md);
	return err < 0 ? err : 0;
}
