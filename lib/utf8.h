/*
 * utf8.h - UTF-8 in its shortest form (RFC 3629).
 */
#ifndef POP_UTF8_H
#define POP_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at p, of which left (at least 1) octets are there: its octets, 0 where it is none.
 */
size_t utf8_next(const uint8_t *p, size_t left, uint32_t *c);

/* Is there an octet above 0x7F among n? */
bool utf8_any_8bit(const void *data, size_t n);

#endif
