/*
 * sha.c - SHA-1, SHA-256 and SHA-512 (FIPS 180-4).
 *
 * Runs in:  auth; pop3admin.
 */
#include <string.h>

#include "sha.h"

/* The first 64 bits of the fractions of the cube roots of the first 80 primes; SHA-256 has 32. */
static const uint64_t fractions[80] = {
	0x428A2F98D728AE22, 0x7137449123EF65CD, 0xB5C0FBCFEC4D3B2F, 0xE9B5DBA58189DBBC,
	0x3956C25BF348B538, 0x59F111F1B605D019, 0x923F82A4AF194F9B, 0xAB1C5ED5DA6D8118,
	0xD807AA98A3030242, 0x12835B0145706FBE, 0x243185BE4EE4B28C, 0x550C7DC3D5FFB4E2,
	0x72BE5D74F27B896F, 0x80DEB1FE3B1696B1, 0x9BDC06A725C71235, 0xC19BF174CF692694,
	0xE49B69C19EF14AD2, 0xEFBE4786384F25E3, 0x0FC19DC68B8CD5B5, 0x240CA1CC77AC9C65,
	0x2DE92C6F592B0275, 0x4A7484AA6EA6E483, 0x5CB0A9DCBD41FBD4, 0x76F988DA831153B5,
	0x983E5152EE66DFAB, 0xA831C66D2DB43210, 0xB00327C898FB213F, 0xBF597FC7BEEF0EE4,
	0xC6E00BF33DA88FC2, 0xD5A79147930AA725, 0x06CA6351E003826F, 0x142929670A0E6E70,
	0x27B70A8546D22FFC, 0x2E1B21385C26C926, 0x4D2C6DFC5AC42AED, 0x53380D139D95B3DF,
	0x650A73548BAF63DE, 0x766A0ABB3C77B2A8, 0x81C2C92E47EDAEE6, 0x92722C851482353B,
	0xA2BFE8A14CF10364, 0xA81A664BBC423001, 0xC24B8B70D0F89791, 0xC76C51A30654BE30,
	0xD192E819D6EF5218, 0xD69906245565A910, 0xF40E35855771202A, 0x106AA07032BBD1B8,
	0x19A4C116B8D2D0C8, 0x1E376C085141AB53, 0x2748774CDF8EEB99, 0x34B0BCB5E19B48A8,
	0x391C0CB3C5C95A63, 0x4ED8AA4AE3418ACB, 0x5B9CCA4F7763E373, 0x682E6FF3D6B2B8A3,
	0x748F82EE5DEFB2FC, 0x78A5636F43172F60, 0x84C87814A1F0AB72, 0x8CC702081A6439EC,
	0x90BEFFFA23631E28, 0xA4506CEBDE82BDE9, 0xBEF9A3F7B2C67915, 0xC67178F2E372532B,
	0xCA273ECEEA26619C, 0xD186B8C721C0C207, 0xEADA7DD6CDE0EB1E, 0xF57D4F7FEE6ED178,
	0x06F067AA72176FBA, 0x0A637DC5A2C898A6, 0x113F9804BEF90DAE, 0x1B710B35131C471B,
	0x28DB77F523047D84, 0x32CAAB7B40C72493, 0x3C9EBE0A15C9BEBC, 0x431D67C49C100D4C,
	0x4CC5D4BECB3E42B6, 0x597F299CFC657E2A, 0x5FCB6FAB3AD6FAEC, 0x6C44198C4A475817,
};

static uint64_t get_be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	while (n-- > 0) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

static uint32_t rol32(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static uint32_t ror32(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static uint64_t ror64(uint64_t v, unsigned n)
{
	return v >> n | v << (64 - n);
}

/* One step's function and constant. */
static uint32_t step_1(unsigned i, uint32_t b, uint32_t c, uint32_t d)
{
	switch (i / 20) {
	case 0:
		return ((b & c) | (~b & d)) + 0x5A827999;
	case 1:
		return (b ^ c ^ d) + 0x6ED9EBA1;
	case 2:
		return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
	default:
		return (b ^ c ^ d) + 0xCA62C1D6;
	}
}

static void compress_1(uint64_t h[8], const uint8_t *block)
{
	uint32_t w[80], s[5], t;

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)get_be(block + (size_t)4 * i, 4);
	for (unsigned i = 16; i < 80; i++)
		w[i] = rol32(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (unsigned i = 0; i < 5; i++)
		s[i] = (uint32_t)h[i];
	for (unsigned i = 0; i < 80; i++) {
		t = rol32(s[0], 5) + step_1(i, s[1], s[2], s[3]) + s[4] + w[i];
		s[4] = s[3];
		s[3] = s[2];
		s[2] = rol32(s[1], 30);
		s[1] = s[0];
		s[0] = t;
	}
	for (unsigned i = 0; i < 5; i++)
		h[i] = (uint32_t)h[i] + s[i];
	explicit_bzero(w, sizeof(w));
	explicit_bzero(s, sizeof(s));
}

static void compress_256(uint64_t h[8], const uint8_t *block)
{
	uint32_t w[64], s[8], t, u;

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)get_be(block + 4 * i, 4);
	for (unsigned i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (ror32(w[i - 15], 7) ^ ror32(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ror32(w[i - 2], 17) ^ ror32(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (unsigned i = 0; i < 8; i++)
		s[i] = (uint32_t)h[i];
	for (unsigned i = 0; i < 64; i++) {
		t = s[7] + (ror32(s[4], 6) ^ ror32(s[4], 11) ^ ror32(s[4], 25)) +
		    ((s[4] & s[5]) ^ (~s[4] & s[6])) + (uint32_t)(fractions[i] >> 32) + w[i];
		u = (ror32(s[0], 2) ^ ror32(s[0], 13) ^ ror32(s[0], 22)) +
		    ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t;
		s[0] = t + u;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] = (uint32_t)h[i] + s[i];
	explicit_bzero(w, sizeof(w));
	explicit_bzero(s, sizeof(s));
}

static void compress_512(uint64_t h[8], const uint8_t *block)
{
	uint64_t w[80], s[8], t, u;

	for (unsigned i = 0; i < 16; i++)
		w[i] = get_be(block + 8 * i, 8);
	for (unsigned i = 16; i < 80; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (ror64(w[i - 15], 1) ^ ror64(w[i - 15], 8) ^ w[i - 15] >> 7) +
		       (ror64(w[i - 2], 19) ^ ror64(w[i - 2], 61) ^ w[i - 2] >> 6);
	memcpy(s, h, sizeof(s));
	for (unsigned i = 0; i < 80; i++) {
		t = s[7] + (ror64(s[4], 14) ^ ror64(s[4], 18) ^ ror64(s[4], 41)) +
		    ((s[4] & s[5]) ^ (~s[4] & s[6])) + fractions[i] + w[i];
		u = (ror64(s[0], 28) ^ ror64(s[0], 34) ^ ror64(s[0], 39)) +
		    ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t;
		s[0] = t + u;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += s[i];
	explicit_bzero(w, sizeof(w));
	explicit_bzero(s, sizeof(s));
}

static const struct kind {
	void (*compress)(uint64_t h[8], const uint8_t *block);
	unsigned block, word, len; /* octets of a block, of a word of the digest, of the digest */
	uint64_t start[8];
} kinds[] = {
	[SHA_1] = { compress_1,
		    64,
		    4,
		    20,
		    { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 } },
	[SHA_256] = { compress_256,
		      64,
		      4,
		      32,
		      { 0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C,
			0x1F83D9AB, 0x5BE0CD19 } },
	[SHA_512] = { compress_512,
		      128,
		      8,
		      64,
		      { 0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B,
			0xA54FF53A5F1D36F1, 0x510E527FADE682D1, 0x9B05688C2B3E6C1F,
			0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179 } },
};

size_t sha(enum sha_kind kind, const void *data, size_t n, uint8_t out[SHA_MAX])
{
	const struct kind *k = &kinds[kind];
	size_t whole = n - n % k->block, rest = n - whole;
	uint8_t tail[2 * 128] = { 0 };
	size_t padded = rest + 1 + 2 * k->word <= k->block ? k->block : 2 * k->block;
	uint64_t h[8];

	memcpy(h, k->start, sizeof(h));
	for (size_t at = 0; at < whole; at += k->block)
		k->compress(h, (const uint8_t *)data + at);
	if (rest > 0)
		memcpy(tail, (const uint8_t *)data + whole, rest);
	tail[rest] = 0x80;
	put_be(tail + padded - 8, (uint64_t)n * 8, 8);
	for (size_t at = 0; at < padded; at += k->block)
		k->compress(h, tail + at);
	for (unsigned i = 0; i < k->len / k->word; i++)
		put_be(out + (size_t)i * k->word, h[i], k->word);
	explicit_bzero(tail, sizeof(tail));
	explicit_bzero(h, sizeof(h));
	return k->len;
}
