/*
 * index_format.c - where what lies in an index file.
 *
 * Runs in:  maildrop, pop3admin.
 * Trusts:   its callers: sizes are checked against the size of the file before.
 */
#include <string.h>
#include "index_impl.h"
#include "hash.h"

void index_path_digest(const struct spec *spec, uint8_t out[16])
{
	static const uint8_t key[16] = "pop3d-index-path";

	siphash128(key, spec->path, strlen(spec->path), out);
}

uint64_t index_hash(const uint8_t key[16], const char *name, uint64_t ino, bool in_new)
{
	uint64_t hash = siphash64(key, name, strlen(name)) + ino * UINT64_C(0x9E3779B97F4A7C15);

	hash &= ~UINT64_C(1);

	return (hash ? hash : 2) | in_new;
}

size_t index_element(enum maildrop_kind kind, enum index_part part)
{
	switch (part) {
	case PART_RECORDS:
		return sizeof(struct index_record);
	case PART_OCTETS:
		return sizeof(uint64_t);
	case PART_IDS:
		return kind == MAILDROP_MBOX ? sizeof(struct uidl_digest_ref)
					     : sizeof(struct uidl_string_ref);
	case PART_HASHES:
		return kind == MAILDROP_MAILDIR ? sizeof(uint64_t) : 0;
	default:
		return 1;
	}
}

uint64_t index_layout(const struct index_header *h, struct index_extent extents[PARTS],
		      uint64_t *end)
{
	uint64_t at = sizeof(*h), blocks = 0;

	for (int part = 0; part < PARTS; part++) {
		struct index_extent *e = &extents[part];
		size_t element = index_element((enum maildrop_kind)h->kind, (enum index_part)part);

		e->start = at;
		e->size = part == PART_ID_TEXT ? h->id_text_size
			  : part == PART_NAMES ? h->names_size
					       : h->count * element;
		e->each = element ? INDEX_BLOCK / element * element : INDEX_BLOCK;
		e->first = blocks;
		at += e->size;
		blocks += e->size / e->each + (e->size % e->each != 0);
	}
	*end = at;
	return blocks;
}
