/*
 * msg_table.c - the messages of an open maildrop: records in an index on disk,
 * changes beside it, and records in memory.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   the index as far as index_get() checks it.
 *
 * An index of a million messages is not read to open it, nor when a few of its
 * records change.  When many do, all records come into memory.
 */
#include <stdlib.h>
#include <string.h>
#include "index.h"
#include "maildrop_impl.h"

#define MOST_CHANGES 4096 /* beside an index */

struct msg_change {
	size_t key; /* idx + 1; 0: free */
	struct msg m;
};

/* Where the change of a record is or would be.  There are places, and one is free. */
static struct msg_change *change_place(const struct maildrop *md, size_t idx)
{
	struct msg_change *c;
	size_t at = idx * 0x9E3779B1u;

	do
		c = &md->changes[at++ & (md->changes_size - 1)];
	while (c->key && c->key != idx + 1);
	return c;
}

/* The change of a record, NULL where it is as in the index. */
static const struct msg_change *find_change(const struct maildrop *md, size_t idx)
{
	const struct msg_change *c = md->n_changes ? change_place(md, idx) : NULL;

	return c && c->key ? c : NULL;
}

bool msg_changed(const struct maildrop *md, size_t *i, size_t *idx)
{
	while (*i < md->changes_size) {
		const struct msg_change *c = &md->changes[(*i)++];

		if (c->key && c->key <= md->indexed) {
			*idx = c->key - 1;
			return true;
		}
	}
	return false;
}

int msg_get(struct maildrop *md, size_t idx, struct msg *out)
{
	const struct msg_change *c;
	int err;

	if (idx >= md->count)
		return POP_E_RANGE;
	if (idx >= md->indexed) {
		*out = md->msgs[idx - md->indexed];
		return 0;
	}
	c = find_change(md, idx);
	if (c) {
		*out = c->m;
		return 0;
	}
	err = index_get(md->index, idx, out);
	if (err == POP_E_CORRUPT)
		index_remove(md->env.state_fd);
	return err;
}

/* Room for one more of `each` bytes in an array of *size.  The new array, or NULL. */
static void *grow(void *array, size_t *size, size_t need, size_t each, size_t first)
{
	size_t want = *size ? *size : first;
	void *p;

	if (need <= *size)
		return array;
	while (want < need)
		if (__builtin_mul_overflow(want, (size_t)2, &want))
			return NULL;
	p = reallocarray(array, want, each);
	if (p)
		*size = want;
	return p;
}

int msg_load_all(struct maildrop *md)
{
	size_t tail = md->count - md->indexed, size = md->count + tail / 2 + 1;
	struct msg *msgs;

	if (!md->indexed)
		return 0;
	msgs = reallocarray(NULL, size, sizeof(*msgs));
	if (!msgs)
		return POP_E_MEMORY;
	for (size_t idx = 0; idx < md->count; idx++) {
		int err = msg_get(md, idx, &msgs[idx]);

		if (err < 0) {
			free(msgs);
			return err;
		}
	}
	free(md->msgs);
	free(md->changes);
	md->changes = NULL;
	md->n_changes = md->changes_size = md->indexed = 0;
	md->msgs = msgs;
	md->size = size;
	return 0;
}

/* Twice the places for changes, and all entered again. */
static int grow_changes(struct maildrop *md)
{
	struct msg_change *old = md->changes;
	size_t size = md->changes_size, bigger = size ? size * 2 : 64;
	struct msg_change *changes = calloc(bigger, sizeof(*changes));

	if (!changes)
		return POP_E_MEMORY;
	md->changes = changes;
	md->changes_size = bigger;
	for (size_t i = 0; i < size; i++)
		if (old[i].key)
			*change_place(md, old[i].key - 1) = old[i];
	free(old);
	return 0;
}

static int put_change(struct maildrop *md, size_t idx, const struct msg *in)
{
	struct msg_change *c;

	if (md->n_changes >= md->changes_size / 2) {
		int err = md->n_changes < MOST_CHANGES ? grow_changes(md) : msg_load_all(md);

		if (err < 0)
			return err;
		if (!md->indexed) {
			md->msgs[idx] = *in;
			return 0;
		}
	}
	c = change_place(md, idx);
	md->n_changes += c->key == 0;
	*c = (struct msg_change){ .key = idx + 1, .m = *in };
	return 0;
}

int msg_put(struct maildrop *md, size_t idx, const struct msg *in)
{
	if (idx >= md->count)
		return POP_E_RANGE;
	if (idx >= md->indexed) {
		md->msgs[idx - md->indexed] = *in;
		return 0;
	}
	return put_change(md, idx, in);
}

int msg_append(struct maildrop *md, const struct msg *in)
{
	size_t at = md->count - md->indexed;
	struct msg *msgs;
	uint64_t octets;

	if (__builtin_add_overflow(md->octets, in->octets, &octets))
		return POP_E_MEMORY;
	msgs = grow(md->msgs, &md->size, at + 1, sizeof(*msgs), 64);
	if (!msgs)
		return POP_E_MEMORY;
	md->msgs = msgs;
	md->msgs[at] = *in;
	md->count++;
	md->octets = octets;
	return 0;
}

int msg_drop_last(struct maildrop *md)
{
	struct msg m;
	int err = md->count ? msg_get(md, md->count - 1, &m) : POP_E_RANGE;

	if (err < 0)
		return err;
	md->octets -= m.octets;
	md->count--;
	if (md->indexed > md->count)
		md->indexed = md->count;
	return 0;
}

void msg_use_index(struct maildrop *md, struct index *ix)
{
	msg_table_release(md);
	md->index = ix;
	msg_reuse_index(md);
}

void msg_reuse_index(struct maildrop *md)
{
	const struct index_head *head = index_head(md->index);

	md->indexed = md->count = (size_t)head->count;
	md->octets = head->octets;
}

void msg_clear(struct maildrop *md)
{
	free(md->msgs);
	free(md->changes);
	md->msgs = NULL;
	md->changes = NULL;
	md->count = md->size = md->indexed = md->n_changes = md->changes_size = 0;
	md->octets = 0;
}

void msg_table_release(struct maildrop *md)
{
	msg_clear(md);
	free(md->names);
	md->names = NULL;
	md->names_len = md->names_size = 0;
	index_close(md->index);
	md->index = NULL;
}

/* The strings in memory have offsets behind the handles of the index. */
static size_t names_base(const struct maildrop *md)
{
	return md->index ? index_handles(md->index) : 0;
}

int names_append(struct maildrop *md, const char *s, size_t len, uint32_t *at)
{
	size_t base = names_base(md);
	char *names;

	if (len >= UINT32_MAX || base + md->names_len > UINT32_MAX - len - 1)
		return POP_E_LONG;
	names = grow(md->names, &md->names_size, md->names_len + len + 1, 1, 4096);
	if (!names)
		return POP_E_MEMORY;
	md->names = names;
	*at = (uint32_t)(base + md->names_len);
	memcpy(names + md->names_len, s, len);
	names[md->names_len + len] = '\0';
	md->names_len += len + 1;
	return 0;
}

const char *names_get(struct maildrop *md, uint32_t at)
{
	size_t base = names_base(md);
	const char *s;

	if (at >= base)
		return at - base < md->names_len ? md->names + (at - base) : "";
	s = index_string(md->index, at);
	return s ? s : "";
}
