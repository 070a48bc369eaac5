/*
 * maildir_join_index.c - join the names of a large Maildir with an index that
 * knows nearly all of them.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   a keyed 64-bit hash of a name and inode to be that file; a message
 *           that was taken for another would not verify when it is opened.
 *
 * Names are found by hash, so that a hundred thousand are neither sorted nor
 * compared.  What is left on either side (new, renamed, removed) is joined by
 * base and then takes its place among the records.
 */
#include <stdlib.h>
#include <string.h>
#include "index.h"
#include "maildir_impl.h"

struct work {
	struct maildrop *md;
	size_t count;	  /* records of the index */
	uint64_t *hashes; /* owned, of their names */
	uint32_t *table;  /* owned: record + 1 by hash */
	size_t mask;
	uint8_t *found;	       /* owned: bits of the records whose name is there */
	struct name_list left; /* names that no record has */
	struct known known;    /* records without a name */
	struct msg *fresh;     /* owned: the messages of the names left, and ... */
	size_t *place;	       /* owned: ... before which record they come */
	size_t n_fresh;
};

static bool is_found(const struct work *w, size_t i)
{
	return w->found[i / 8] >> i % 8 & 1;
}

static int load_hashes(struct work *w)
{
	size_t size = 16;
	int err;

	while (size < w->count * 2)
		size *= 2;
	w->mask = size - 1;
	w->hashes = reallocarray(NULL, w->count + 1, sizeof(*w->hashes));
	w->table = calloc(size, sizeof(*w->table));
	w->found = calloc(w->count / 8 + 1, 1);
	if (!w->hashes || !w->table || !w->found)
		return POP_E_MEMORY;
	err = index_hashes(w->md->index, w->hashes);
	for (size_t i = 0; !err && i < w->count; i++) {
		size_t at = (size_t)(w->hashes[i] >> 1);

		if (!w->hashes[i])
			continue;
		while (w->table[at & w->mask])
			at++;
		w->table[at & w->mask] = (uint32_t)i + 1;
	}
	return err;
}

/* Mark the record of a name.  false: there is none, or it has a name already. */
static bool find_record(struct work *w, const char *name, uint64_t ino, bool in_new)
{
	uint64_t hash = index_hash_of(w->md->index, name, ino, in_new);
	size_t at = (size_t)(hash >> 1), i;

	for (; (i = w->table[at & w->mask]) != 0; at++) {
		i--;
		if (w->hashes[i] == hash && !is_found(w, i)) {
			w->found[i / 8] |= (uint8_t)(1u << i % 8);
			return true;
		}
	}
	return false;
}

static int sift_names(struct work *w, const struct name_list *l, size_t most)
{
	int err = 0;

	for (size_t n = 0; n < l->count && !err && w->left.count <= most; n++) {
		const struct dir_name *item = &l->items[n];
		const char *name = l->names + item->at;

		if (!find_record(w, name, item->ino, item->sub == SUB_NEW))
			err = name_list_add(&w->left, name, item->ino, (enum maildir_sub)item->sub,
					    item->turn);
	}
	return err;
}

/* The records that have no name now, those of a directory that did not change excepted. */
static int sift_records(struct work *w, int kept_sub)
{
	size_t n = 0;

	for (size_t i = 0; i < w->count; i++) {
		if (w->hashes[i] && (w->hashes[i] & 1 ? SUB_NEW : SUB_CUR) == kept_sub)
			w->found[i / 8] |= (uint8_t)(1u << i % 8);
		n += !is_found(w, i);
	}
	w->known = (struct known){ .md = w->md, .count = n };
	w->known.only = reallocarray(NULL, n + 1, sizeof(*w->known.only));
	if (!w->known.only)
		return POP_E_MEMORY;
	n = 0;
	for (size_t i = 0; i < w->count; i++)
		if (!is_found(w, i))
			w->known.only[n++] = i;
	return 0;
}

/*
 * The record before which a message comes: the first whose base is not less.
 * *twin: one that was found has its base and its inode: it is the same message,
 * under two names while it moves.
 */
static int find_place(struct work *w, const struct msg *m, size_t *place, bool *twin)
{
	char name[NAME_MAX + 1];
	const char *s = names_get(w->md, m->name);
	struct known k = { .md = w->md, .count = w->count };
	size_t low = 0, high = w->count;
	uint64_t number;
	int err = 0;

	*twin = false;
	if (strlen(s) > NAME_MAX)
		return POP_E_CORRUPT;
	memcpy(name, s, strlen(s) + 1);
	number = base_number(name);
	while (low < high && !err) {
		size_t mid = low + (high - low) / 2;

		err = known_get(&k, mid);
		if (!err && base_compare(k.number, k.name, number, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*place = low;
	for (; low < w->count && !err; low++) {
		err = known_get(&k, low);
		if (err < 0 || base_compare(k.number, k.name, number, name) != 0)
			break;
		*twin = *twin || (is_found(w, low) && k.m.ino == m->ino);
	}
	return err;
}

/* Make messages of the names left, and find their places. */
static int make_fresh(struct work *w)
{
	struct maildrop *md = w->md;
	size_t n = 0;
	int err = name_list_sort(&w->left);

	msg_clear(md);
	if (!err)
		err = maildir_join(md, &w->left, &w->known);
	w->fresh = md->msgs;
	w->n_fresh = md->count;
	md->msgs = NULL;
	msg_clear(md);
	w->place = reallocarray(NULL, w->n_fresh + 1, sizeof(*w->place));
	if (!w->place && !err)
		err = POP_E_MEMORY;
	for (size_t i = 0; i < w->n_fresh && !err; i++) {
		bool twin;

		err = find_place(w, &w->fresh[i], &w->place[n], &twin);
		if (!twin)
			w->fresh[n++] = w->fresh[i];
	}
	w->n_fresh = n;
	return err;
}

/* Put records and new messages together. */
static int merge(struct work *w)
{
	struct maildrop *md = w->md;
	size_t f = 0;
	int err = 0;

	for (size_t i = 0; i <= w->count && !err; i++) {
		while (f < w->n_fresh && w->place[f] == i && !err)
			err = msg_append(md, &w->fresh[f++]);
		if (!err && i < w->count && is_found(w, i)) {
			struct msg m;

			err = index_get(md->index, i, &m);
			if (!err)
				err = msg_append(md, &m);
		}
	}
	return err < 0 ? err : maildir_order_twins(md);
}

/* Nothing went and all that came comes behind: the records stay in the index. */
static int append_fresh(struct work *w)
{
	int err = 0;

	msg_reuse_index(w->md);
	for (size_t f = 0; f < w->n_fresh && !err; f++)
		err = msg_append(w->md, &w->fresh[f]);
	return err;
}

int maildir_join_index(struct maildrop *md, const struct name_list *l, int kept_sub)
{
	struct work w = { .md = md, .count = md->indexed };
	size_t most = w.count / 8;
	int err = load_hashes(&w);

	if (!err)
		err = sift_names(&w, l, most);
	if (err || w.left.count > most)
		goto out;
	err = sift_records(&w, kept_sub);
	if (!err)
		err = make_fresh(&w);
	if (!err && !w.known.count && (!w.n_fresh || w.place[0] == w.count))
		err = append_fresh(&w);
	else if (!err)
		err = merge(&w);
	if (!err)
		err = 1;
out:
	free(w.hashes);
	free(w.table);
	free(w.found);
	name_list_release(&w.left);
	free(w.known.only);
	free(w.fresh);
	free(w.place);
	return err;
}
