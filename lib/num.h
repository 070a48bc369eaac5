/*
 * num.h - the one number parser and what is built on it.
 */
#ifndef POP_NUM_H
#define POP_NUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Parse len octets as a decimal number 0..max: digits only; no sign, blank,
 * prefix or suffix; leading zeros allowed.
 * Returns 0 and *out, POP_E_SYNTAX (empty, or something not a digit) or
 * POP_E_RANGE (above max, also where it would not fit 64 bits).
 */
int num_parse(const char *s, size_t len, uint64_t max, uint64_t *out);

/*
 * Parse len octets as seconds with at most three decimals ("2", "0.25") into
 * milliseconds 0..max_ms.  Errors as num_parse().
 */
int num_parse_ms(const char *s, size_t len, uint64_t max_ms, uint64_t *out_ms);

#endif
