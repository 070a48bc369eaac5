/*
 * uidl.h - unique ids: their text, and that no two messages of a maildrop share one
 * (design section 7, UIDL).  Used by both backends.
 */
#ifndef POP_UIDL_H
#define POP_UIDL_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include "maildrop.h"

/* Is this a unique-id (RFC 1939 section 7): 1 to 70 octets of 0x21 to 0x7E? */
bool uidl_valid(const char *id, size_t len);

/*
 * Write the id made of a text and a suffix (0: none, else "-N") into out,
 * NUL-terminated.  Returns its length, or POP_E_LONG where it passes UIDL_MAX.
 */
int uidl_format(const char *base, size_t len, uint32_t suffix, char out[UIDL_MAX + 1]);

/* The same for the 32 hex digits of a digest; always fits.  Returns the length. */
int uidl_format_digest(const uint8_t digest[16], uint32_t suffix, char out[UIDL_MAX + 1]);

/*
 * The ids that are taken in one maildrop.  Only keyed 128-bit hashes are kept
 * (32 bytes an id, half of the places free), under a random key.
 */
struct uidl_set {
	struct uidl_place *places; /* owned */
	size_t mask, used;
	uint8_t key[16];
};

/* An empty set with room for `expected` ids; it grows by itself.  0, POP_E_MEMORY, POP_E_SYS. */
int uidl_set_init(struct uidl_set *s, size_t expected);
void uidl_set_release(struct uidl_set *s);

/* Take one id.  1: it was free; 0: taken already; POP_E_MEMORY. */
int uidl_set_add(struct uidl_set *s, const char *id, size_t len);
/* Is it taken?  1 or 0. */
int uidl_set_has(const struct uidl_set *s, const char *id, size_t len);

/*
 * Take the id itself where it is free (*suffix 0), else the first free one of
 * "-2", "-3", ...  0; POP_E_LONG where base and suffix would pass UIDL_MAX (the
 * caller then claims the digest form); POP_E_MEMORY.
 * A thousand messages with one id cost a thousand steps, not a million.
 */
int uidl_set_claim(struct uidl_set *s, const char *base, size_t len, uint32_t *suffix);
int uidl_set_claim_digest(struct uidl_set *s, const uint8_t digest[16], uint32_t *suffix);

#endif
