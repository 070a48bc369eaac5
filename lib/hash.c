/*
 * hash.c - SipHash-2-4 and a fast checksum; no cryptographic library.
 *
 * Runs in:  every program.  Trusts:  nothing; any bytes, any alignment.
 * Source:   Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
#include <string.h>

#include "hash.h"

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static void store64(uint8_t *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	memcpy(p, &v, sizeof(v));
}

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return (x << n) | (x >> (64 - n));
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_rounds(struct sip *s, int n)
{
	while (n-- > 0) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rotl(s->v1, 13) ^ s->v0;
		s->v3 = rotl(s->v3, 16) ^ s->v2;
		s->v0 = rotl(s->v0, 32);
		s->v2 += s->v1;
		s->v0 += s->v3;
		s->v1 = rotl(s->v1, 17) ^ s->v2;
		s->v3 = rotl(s->v3, 21) ^ s->v0;
		s->v2 = rotl(s->v2, 32);
	}
}

/* Everything up to the finalization; wide tells the 128-bit variant. */
static void sip_absorb(struct sip *s, const uint8_t key[16], const uint8_t *p, size_t n, int wide)
{
	uint64_t k0 = load64(key), k1 = load64(key + 8);
	uint64_t last = (uint64_t)n << 56;
	size_t i;

	s->v0 = k0 ^ 0x736f6d6570736575;
	s->v1 = k1 ^ 0x646f72616e646f6d;
	s->v2 = k0 ^ 0x6c7967656e657261;
	s->v3 = k1 ^ 0x7465646279746573;
	if (wide)
		s->v1 ^= 0xee;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t m = load64(p);

		s->v3 ^= m;
		sip_rounds(s, 2);
		s->v0 ^= m;
	}
	for (i = 0; i < n; i++)
		last |= (uint64_t)p[i] << (8 * i);
	s->v3 ^= last;
	sip_rounds(s, 2);
	s->v0 ^= last;
}

uint64_t siphash64(const uint8_t key[16], const void *data, size_t n)
{
	struct sip s;

	sip_absorb(&s, key, data, n, 0);
	s.v2 ^= 0xff;
	sip_rounds(&s, 4);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void siphash128(const uint8_t key[16], const void *data, size_t n, uint8_t out[16])
{
	struct sip s;

	sip_absorb(&s, key, data, n, 1);
	s.v2 ^= 0xee;
	sip_rounds(&s, 4);
	store64(out, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
	s.v1 ^= 0xdd;
	sip_rounds(&s, 4);
	store64(out + 8, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

/*
 * The checksum.  Each 32-byte block goes through two chains of 64 x 64 -> 128 bit
 * products, folded by xor.  A product with a zero factor would forget its other
 * factor, so a second, plain accumulator beside each chain sees every word too.
 */
#define SUM_K0 0x9e3779b97f4a7c15
#define SUM_K1 0xd1b54a32d192ed03
#define SUM_K2 0x8bb84b93962eacc9
#define SUM_K3 0x2d358dccaa6c78a5

static inline uint64_t mul_fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline void sum64_block(uint64_t acc[4], const uint8_t *p)
{
	uint64_t a = load64(p), b = load64(p + 8), c = load64(p + 16), d = load64(p + 24);

	acc[0] = mul_fold(a ^ SUM_K0, b ^ acc[0]);
	acc[1] = rotl(acc[1], 29) + (a ^ rotl(b, 32));
	acc[2] = mul_fold(c ^ SUM_K2, d ^ acc[2]);
	acc[3] = rotl(acc[3], 37) + (c ^ rotl(d, 32));
}

void sum64_init(struct sum64 *s)
{
	*s = (struct sum64){ .acc = { SUM_K0, SUM_K1, SUM_K2, SUM_K3 } };
}

void sum64_update(struct sum64 *s, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t acc[4];
	size_t take;

	if (n == 0)
		return;
	s->total += n;
	if (s->fill) {
		take = sizeof(s->block) - s->fill;
		if (take > n)
			take = n;
		memcpy(s->block + s->fill, p, take);
		s->fill += take;
		p += take;
		n -= take;
		if (s->fill < sizeof(s->block))
			return;
		sum64_block(s->acc, s->block);
		s->fill = 0;
	}
	memcpy(acc, s->acc, sizeof(acc)); /* a copy stays in registers */
	for (; n >= sizeof(s->block); n -= sizeof(s->block), p += sizeof(s->block))
		sum64_block(acc, p);
	memcpy(s->acc, acc, sizeof(acc));
	if (n)
		memcpy(s->block, p, n);
	s->fill = n;
}

uint64_t sum64_final(const struct sum64 *s)
{
	uint8_t last[sizeof(s->block)] = { 0 };
	uint64_t acc[4], h;

	memcpy(acc, s->acc, sizeof(acc));
	if (s->fill) {
		memcpy(last, s->block, s->fill);
		sum64_block(acc, last);
	}
	h = s->total ^ SUM_K1;
	for (int i = 0; i < 4; i++) {
		h = (h ^ acc[i]) * SUM_K0;
		h ^= h >> 29;
		h = (h ^ (h >> 32)) * SUM_K2;
		h ^= h >> 31;
	}
	return h;
}

uint64_t sum64_of(const void *data, size_t n)
{
	struct sum64 s;

	sum64_init(&s);
	sum64_update(&s, data, n);
	return sum64_final(&s);
}
