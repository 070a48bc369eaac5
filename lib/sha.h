/*
 * sha.h - SHA-1, SHA-256 and SHA-512 (FIPS 180-4), each in one go.
 *
 * Only for the passwords of directories that came from elsewhere (salted.h): of
 * our own, so that a login by USER and PASS loads no OpenSSL.  For more than that
 * use libcrypto, which is faster.
 */
#ifndef POP_SHA_H
#define POP_SHA_H

#include <stddef.h>
#include <stdint.h>

enum sha_kind { SHA_1, SHA_256, SHA_512 };
#define SHA_MAX 64

/* The digest of n octets, and its length: 20, 32 or 64.  Nothing of them stays behind. */
size_t sha(enum sha_kind kind, const void *data, size_t n, uint8_t out[SHA_MAX]);

#endif
