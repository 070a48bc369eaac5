/*
 * saslprep_impl.h - what the parts of saslprep share: tables of characters.
 */
#ifndef POP_SASLPREP_IMPL_H
#define POP_SASLPREP_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
	uint32_t first, last;
};

bool saslprep_within(const struct range *r, size_t n, uint32_t c);
#define WITHIN(table, c) saslprep_within(table, sizeof(table) / sizeof((table)[0]), c)

/* RFC 3454 section 6, for what is UTF-8: with a character from right to left there is none
 * from left to right, and such ones are the first and the last. */
bool saslprep_bidi_ok(const char *text, size_t len);

#endif
