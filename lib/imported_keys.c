/*
 * imported_keys.c - the keys under which messages stand in the file of imported ids.
 *
 * Runs in:  pop3admin's child; as the mailbox's owner, under the session lock.
 * Trusts:   nothing in the maildrop.
 */
#include <stdlib.h>
#include <string.h>
#include "imported.h"
#include "maildrop_impl.h"

struct ordered {
	uint8_t digest[16];
	size_t idx;
	uint32_t ordinal;
};

static int by_digest(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	int order = memcmp(x->digest, y->digest, sizeof(x->digest));

	return order ? order : (x->idx > y->idx) - (x->idx < y->idx);
}

static int by_idx(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;

	return (x->idx > y->idx) - (x->idx < y->idx);
}

static int add_key(struct imported_keys *k, size_t idx, const char *key)
{
	size_t n = strlen(key) + 1, size = k->size ? k->size : 4096;
	char *grown;

	if (n > UINT32_MAX - k->len)
		return POP_E_LONG;
	while (size < k->len + n)
		size *= 2;
	if (size != k->size) {
		grown = realloc(k->text, size);
		if (!grown)
			return POP_E_MEMORY;
		k->text = grown;
		k->size = size;
	}
	memcpy(k->text + k->len, key, n);
	k->at[idx] = (uint32_t)k->len;
	k->len += n;
	return 0;
}

static int base_keys(struct imported_keys *k, struct maildrop *md)
{
	char key[IMPORTED_KEY_MAX];
	int err = 0;

	for (size_t idx = 0; !err && idx < md->count; idx++) {
		const char *name;
		struct msg m;

		err = msg_get(md, idx, &m);
		if (err < 0)
			break;
		name = names_get(md, m.name);
		if (imported_base_key(name, strcspn(name, ":"), key) < 0)
			key[0] = '\0';
		err = add_key(k, idx, key);
	}
	return err;
}

/* Equal digests are told apart by their order in the mailbox. */
static int digest_keys(struct imported_keys *k, struct maildrop *md)
{
	struct ordered *o = calloc(md->count + 1, sizeof(*o));
	char key[IMPORTED_KEY_MAX];
	int err = o ? 0 : POP_E_MEMORY;

	for (size_t idx = 0; !err && idx < md->count; idx++) {
		struct msg m;

		err = msg_get(md, idx, &m);
		if (!err && !(m.flags & MSG_DIGEST))
			err = POP_E_MISSING;
		if (err < 0)
			break;
		memcpy(o[idx].digest, m.digest, sizeof(m.digest));
		o[idx].idx = idx;
	}
	if (!err && md->count) {
		qsort(o, md->count, sizeof(*o), by_digest);
		for (size_t i = 0; i < md->count; i++)
			o[i].ordinal = i && memcmp(o[i - 1].digest, o[i].digest, 16) == 0
					       ? o[i - 1].ordinal + 1
					       : 1;
		qsort(o, md->count, sizeof(*o), by_idx);
	}
	for (size_t idx = 0; !err && idx < md->count; idx++) {
		imported_digest_key(o[idx].digest, o[idx].ordinal, key);
		err = add_key(k, idx, key);
	}
	free(o);
	return err;
}

int imported_keys_make(struct imported_keys *k, struct maildrop *md)
{
	memset(k, 0, sizeof(*k));
	k->count = md->count;
	k->at = calloc(md->count + 1, sizeof(*k->at));
	if (!k->at)
		return POP_E_MEMORY;
	return md->env.spec.kind == MAILDROP_MAILDIR ? base_keys(k, md) : digest_keys(k, md);
}

const char *imported_key(const struct imported_keys *k, size_t idx)
{
	return idx < k->count ? k->text + k->at[idx] : "";
}

void imported_keys_release(struct imported_keys *k)
{
	free(k->text);
	free(k->at);
	memset(k, 0, sizeof(*k));
}
