/*
 * maildir_uidl.c - the unique ids of a Maildir: the base of the file name, or
 * its digest where the base has not the form of an id.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   ids that are settled already, as far as their form goes.
 */
#include <errno.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "maildir_impl.h"
#include "fsutil.h"
#include "imported.h"
#include "index.h"
#include "uidl.h"

#define BATCH 256 /* digests asked for at once */

/* Bases to be digested: their bytes in a memfd, their places in the table beside. */
struct batch {
	struct digest_item items[BATCH];
	size_t idx[BATCH];
	uint8_t out[BATCH][16];
	size_t count;
	char *bytes;
	size_t len;
};
#define BATCH_BYTES (BATCH * 256)

static int batch_flush(struct maildrop *md, struct batch *b)
{
	int fd, err = 0, saved;

	if (!b->count)
		return 0;
	fd = fs_sealed_memfd("pop3d-names", b->bytes, b->len);
	if (fd < 0)
		return fd;
	err = md->env.digest
		      ? md->env.digest(md->env.ctx, DIGEST_BYTES, fd, b->items, b->count, b->out)
		      : POP_E_MISSING;
	saved = errno;
	close(fd);
	errno = saved;
	for (size_t i = 0; err >= 0 && i < b->count; i++) {
		struct msg m;

		err = msg_get(md, b->idx[i], &m);
		if (err < 0)
			break;
		memcpy(m.digest, b->out[i], sizeof(m.digest));
		m.flags |= MSG_DIGEST;
		err = msg_put(md, b->idx[i], &m);
	}
	b->count = b->len = 0;
	return err < 0 ? err : 0;
}

static int batch_add(struct maildrop *md, struct batch *b, size_t idx, const char *base, size_t len)
{
	if (b->count == BATCH || BATCH_BYTES - b->len < len) {
		int err = batch_flush(md, b);

		if (err < 0)
			return err;
	}
	b->items[b->count] = (struct digest_item){ .offset = b->len, .length = len };
	b->idx[b->count++] = idx;
	memcpy(b->bytes + b->len, base, len);
	b->len += len;
	return 0;
}

/* Digest bases of messages that are not settled: those that are no ids, or those marked. */
static int digest_bases(struct maildrop *md, const uint8_t *which)
{
	struct batch *b = calloc(1, sizeof(*b));
	int err = 0;

	if (b)
		b->bytes = malloc(BATCH_BYTES);
	if (!b || !b->bytes) {
		free(b);
		return POP_E_MEMORY;
	}
	for (size_t idx = 0; !err && idx < md->count; idx++) {
		struct msg m;
		const char *base;
		size_t len;

		err = msg_get(md, idx, &m);
		if (err < 0 || m.flags & (MSG_SETTLED | MSG_DIGEST))
			continue;
		base = names_get(md, m.name);
		len = base_length(base);
		if (which ? which[idx / 8] >> idx % 8 & 1 : !uidl_valid(base, len))
			err = batch_add(md, b, idx, base, len);
	}
	if (!err)
		err = batch_flush(md, b);
	free(b->bytes);
	free(b);
	return err;
}

/* Settle one message's id in the set.  POP_E_LONG: its base leaves no room for a suffix. */
static int settle(struct maildrop *md, struct uidl_set *set, size_t idx)
{
	char id[UIDL_MAX + 1];
	struct msg m;
	int err = msg_get(md, idx, &m), len;

	if (err < 0 || m.flags & MSG_SETTLED)
		return err;
	len = msg_uidl(md, &m, id);
	if (len < 0)
		return len;
	err = uidl_set_claim(set, id, (size_t)len, &m.suffix);
	if (err < 0)
		return err;
	m.flags |= MSG_SETTLED;
	return msg_put(md, idx, &m);
}

/*
 * Give every message that has none an id that no other has.  Those that are
 * settled come first, whatever their place.  *again: bits of messages whose
 * base leaves no room for a suffix, to be settled by its digest.
 */
static int settle_all(struct maildrop *md, struct uidl_set *set, uint8_t *again, bool *any)
{
	int err = 0;

	*any = false;
	for (size_t idx = 0; !err && idx < md->count; idx++) {
		err = settle(md, set, idx);
		if (err == POP_E_LONG) {
			again[idx / 8] |= (uint8_t)(1u << idx % 8);
			*any = true;
			err = 0;
		}
	}
	return err;
}

/* Enter the ids that are settled.  One that another has too is settled anew. */
static int enter_settled(struct maildrop *md, struct uidl_set *set)
{
	char id[UIDL_MAX + 1];
	int err = 0;

	for (size_t idx = 0; err >= 0 && idx < md->count; idx++) {
		struct msg m;
		int len;

		err = msg_get(md, idx, &m);
		if (err < 0 || !(m.flags & MSG_SETTLED))
			continue;
		len = msg_uidl(md, &m, id);
		err = len < 0 ? 0 : uidl_set_add(set, id, (size_t)len);
		if (err == 0) {
			m.flags &= ~(uint32_t)(MSG_SETTLED | MSG_UIDL | MSG_DIGEST);
			m.suffix = 0;
			md->index_ids = false;
			err = msg_put(md, idx, &m);
		}
	}
	return err < 0 ? err : 0;
}

/*
 * Is every base an id, and in ascending order, so that none is there twice?
 * Then the bases are the ids, and no set of a million is needed to know it.
 */
static int all_plain(struct maildrop *md, bool *plain)
{
	char before[UIDL_MAX + 1] = "";
	size_t idx = 0;

	*plain = true;
	/* what the index tells so of need not be looked at, but for the last one */
	if (md->index_ids && index_head(md->index)->bits & INDEX_PLAIN)
		idx = md->indexed - 1;
	for (; *plain && idx < md->count; idx++) {
		const char *name;
		struct msg m;
		size_t len;
		int err = msg_get(md, idx, &m);

		if (err < 0)
			return err;
		name = names_get(md, m.name);
		len = base_length(name);
		*plain = !(m.flags & (MSG_DIGEST | MSG_UIDL)) && !m.suffix &&
			 uidl_valid(name, len) &&
			 base_compare(base_number(before), before, base_number(name), name) < 0;
		if (*plain) {
			memcpy(before, name, len);
			before[len] = '\0';
		}
	}
	return 0;
}

int maildir_uidls(struct maildrop *md)
{
	struct uidl_set set = { 0 };
	uint8_t *again;
	bool plain = false, any = false;
	int err;

	if (md->imports_new)
		md->index_ids = false;
	err = imported_apply(md);
	if (!err)
		err = all_plain(md, &plain);
	if (err < 0 || plain)
		return err;
	again = calloc(md->count / 8 + 1, 1);
	err = again ? uidl_set_init(&set, md->count) : POP_E_MEMORY;
	if (!err)
		err = enter_settled(md, &set);
	if (!err)
		err = digest_bases(md, NULL);
	if (!err)
		err = settle_all(md, &set, again, &any);
	if (!err && any)
		err = digest_bases(md, again);
	if (!err && any)
		err = settle_all(md, &set, again, &any);
	uidl_set_release(&set);
	free(again);
	return err;
}
