/*
 * base64.h - base64 as SASL and the secrets file use it: RFC 4648 section 4,
 * strictly.
 */
#ifndef POP_BASE64_H
#define POP_BASE64_H

#include <stddef.h>
#include <stdint.h>
#include "err.h"

/* Characters that n octets become, without a NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Encode n octets into out (BASE64_LEN(n) + 1 bytes); the length without its NUL. */
size_t base64_encode(const void *data, size_t n, char *out);

/*
 * Decode len characters into at most size octets.  Whole groups of four with
 * their padding, and no bit set that the padding hides: every octet string has
 * one form only.  Nothing is one form of nothing.
 * Returns the octets, POP_E_SYNTAX, or POP_E_LONG (more than size).
 */
long base64_decode(const char *text, size_t len, void *out, size_t size);

#endif
