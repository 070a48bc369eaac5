/*
 * hash.h - keyed and unkeyed checksums that need no cryptographic library.
 */
#ifndef POP_HASH_H
#define POP_HASH_H

#include <stddef.h>
#include <stdint.h>

/*
 * SipHash-2-4 of n bytes under a 16-byte key (Aumasson, Bernstein 2012).
 * The 128-bit form writes 16 bytes to out.
 */
uint64_t siphash64(const uint8_t key[16], const void *data, size_t n);
void siphash128(const uint8_t key[16], const void *data, size_t n, uint8_t out[16]);

/*
 * A fast checksum against accident (torn writes, files changed by other
 * programs), not against an attacker: several GB/s.  The value for the same
 * bytes is part of our file formats and never changes.  It may be fed in
 * pieces of any size.
 */
struct sum64 {
	uint64_t acc[4];
	uint64_t total;
	uint8_t block[32];
	size_t fill;
};
void sum64_init(struct sum64 *s);
void sum64_update(struct sum64 *s, const void *data, size_t n);
uint64_t sum64_final(const struct sum64 *s);
uint64_t sum64_of(const void *data, size_t n);

#endif
