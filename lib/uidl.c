/*
 * uidl.c - unique ids: their text, and that no two messages of a maildrop share one.
 *
 * Runs in:  the maildrop role, pop3admin.
 * Trusts:   nothing: base names and digests may be chosen by a sender.  Hence the
 *           hashes of the set are keyed with a random key.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "hash.h"
#include "uidl.h"

/* An id that is taken; all zero: a free place. */
struct uidl_place {
	uint64_t hash[2];
	uint32_t next; /* the suffix to try first when the id is claimed again; 0: none yet */
};

bool uidl_valid(const char *id, size_t len)
{
	if (len < 1 || len > UIDL_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (id[i] < 0x21 || id[i] > 0x7e)
			return false;
	return true;
}

int uidl_format(const char *base, size_t len, uint32_t suffix, char out[UIDL_MAX + 1])
{
	char tail[16] = "";
	int n = 0;

	if (suffix)
		n = snprintf(tail, sizeof(tail), "-%u", suffix);
	if (len > UIDL_MAX || len + (size_t)n > UIDL_MAX)
		return POP_E_LONG;
	memcpy(out, base, len);
	memcpy(out + len, tail, (size_t)n + 1);
	return (int)len + n;
}

int uidl_format_digest(const uint8_t digest[16], uint32_t suffix, char out[UIDL_MAX + 1])
{
	static const char hex[] = "0123456789abcdef";
	char base[32];

	for (size_t i = 0; i < 16; i++) {
		base[2 * i] = hex[digest[i] >> 4];
		base[2 * i + 1] = hex[digest[i] & 15];
	}
	return uidl_format(base, sizeof(base), suffix, out);
}

static int set_alloc(struct uidl_set *s, size_t places)
{
	s->places = calloc(places, sizeof(*s->places));
	if (!s->places)
		return POP_E_MEMORY;
	s->mask = places - 1;
	return 0;
}

int uidl_set_init(struct uidl_set *s, size_t expected)
{
	size_t places = 64;

	*s = (struct uidl_set){ 0 };
	if (expected > SIZE_MAX / 4)
		return POP_E_MEMORY;
	while (places < expected * 2)
		places *= 2;
	if (getrandom(s->key, sizeof(s->key), 0) != (ssize_t)sizeof(s->key))
		return POP_E_SYS;
	return set_alloc(s, places);
}

void uidl_set_release(struct uidl_set *s)
{
	free(s->places);
	*s = (struct uidl_set){ 0 };
}

static void hash_id(const struct uidl_set *s, const char *id, size_t len, uint64_t hash[2])
{
	uint8_t bytes[16];

	siphash128(s->key, id, len, bytes);
	memcpy(hash, bytes, sizeof(bytes));
	hash[0] |= 1; /* never a free place */
}

/* Where an id is, or the free place where it would go. */
static struct uidl_place *find(const struct uidl_set *s, const uint64_t hash[2])
{
	size_t i = (size_t)hash[1] & s->mask;

	while (s->places[i].hash[0] &&
	       (s->places[i].hash[0] != hash[0] || s->places[i].hash[1] != hash[1]))
		i = (i + 1) & s->mask;
	return &s->places[i];
}

static int grow(struct uidl_set *s)
{
	struct uidl_set old = *s;
	int err;

	err = set_alloc(s, (old.mask + 1) * 2);
	if (err < 0) {
		*s = old;
		return err;
	}
	for (size_t i = 0; i <= old.mask; i++)
		if (old.places[i].hash[0])
			*find(s, old.places[i].hash) = old.places[i];
	free(old.places);
	return 0;
}

int uidl_set_add(struct uidl_set *s, const char *id, size_t len)
{
	struct uidl_place *p;
	uint64_t hash[2];
	int err;

	hash_id(s, id, len, hash);
	p = find(s, hash);
	if (p->hash[0])
		return 0;
	if ((s->used + 1) * 2 > s->mask) {
		err = grow(s);
		if (err < 0)
			return err;
		p = find(s, hash);
	}
	*p = (struct uidl_place){ .hash = { hash[0], hash[1] } };
	s->used++;
	return 1;
}

int uidl_set_has(const struct uidl_set *s, const char *id, size_t len)
{
	uint64_t hash[2];

	hash_id(s, id, len, hash);
	return find(s, hash)->hash[0] != 0;
}

int uidl_set_claim(struct uidl_set *s, const char *base, size_t len, uint32_t *suffix)
{
	char id[UIDL_MAX + 1];
	uint64_t hash[2];
	uint32_t n;
	int err;

	if (len > UIDL_MAX)
		return POP_E_LONG;
	*suffix = 0;
	err = uidl_set_add(s, base, len);
	if (err != 0)
		return err < 0 ? err : 0;
	hash_id(s, base, len, hash);
	n = find(s, hash)->next;
	if (n < 2)
		n = 2;
	for (;; n++) {
		int idlen = uidl_format(base, len, n, id);

		if (idlen < 0)
			return idlen;
		err = uidl_set_add(s, id, (size_t)idlen);
		if (err)
			break;
	}
	if (err < 0)
		return err;
	find(s, hash)->next = n + 1;
	*suffix = n;
	return 0;
}

int uidl_set_claim_digest(struct uidl_set *s, const uint8_t digest[16], uint32_t *suffix)
{
	char base[UIDL_MAX + 1];
	int len = uidl_format_digest(digest, 0, base);

	return uidl_set_claim(s, base, (size_t)len, suffix);
}
