/*
 * downgrade_impl.h - what the parts of downgrade share.  Only for lib/downgrade*.c.
 */
#ifndef POP_DOWNGRADE_IMPL_H
#define POP_DOWNGRADE_IMPL_H

#include "downgrade.h"
#include "utf8.h"

struct piece {
	const uint8_t *s;
	size_t n;
};
static inline bool piece_8bit(struct piece p)
{
	return utf8_any_8bit(p.s, p.n);
}
static inline bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
struct piece piece_trim(struct piece p);

/* All append to out; 0, POP_E_MEMORY or POP_E_LONG. */

/* Encoded words for all of a text, line ends in it left out; each but the first on a line of its
 * own. */
int encode_words(struct buf *out, struct piece text);
/* A text: from its first to its last word that is not ASCII. */
int encode_text(struct buf *out, struct piece text);
/* One parameter, "name=value"; POP_E_SYNTAX: it is none. */
int encode_parameter(struct buf *out, struct piece parameter);
/* A list of addresses and groups. */
int encode_addresses(struct buf *out, struct piece list);

/* Bytes of the quoted string, comment or bracket that begins at p, to its end or the end of all. */
size_t quoted_length(struct piece p);

#endif
