/*
 * mbox_find.c - the inner loop of an mbox scan, for AVX2, SSE2 and anything.
 *
 * Runs in:  the maildrop role, pop3admin.
 * Trusts:   its caller, who keeps the margins readable.
 */
#include <string.h>
#include "mbox_find.h"

static size_t find_portable(const uint8_t *d, size_t from, size_t to, bool header,
			    struct mbox_tally *t)
{
	while (from < to) {
		const uint8_t *lf = memchr(d + from, '\n', to - from);
		size_t end = lf ? (size_t)(lf - d) : to;
		const uint8_t *nul = d + from;

		while ((nul = memchr(nul, 0, (size_t)(d + end - nul)))) {
			if (nul[1] == 'F')
				return (size_t)(nul - d);
			nul++;
		}
		if (!lf)
			break;
		if (lf[1] == 'F' || (header && (lf[1] == '\n' || lf[1] == '\r')))
			return end;
		t->bare += lf[-1] != '\r';
		t->dots |= lf[1] == '.';
		from = end + 1;
	}
	return to;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* Below this SSE2 has done its work before CPUID answers in a virtual machine. */
#define ASK_FROM (1U << 20)

/* What 32 bytes hold, a bit a byte. */
struct masks {
	uint32_t hit, bare, dot;
};

/*
 * The loop around a function that makes the masks.  A macro, since a function
 * for one instruction set is not inlined into one for another.
 */
#define DEFINE_FIND(name, isa, masks_of)                                                          \
	__attribute__((target(isa))) static size_t name(const uint8_t *d, size_t from, size_t to, \
							bool header, struct mbox_tally *t)        \
	{                                                                                         \
		uint64_t bare = 0, dots = 0;                                                      \
		size_t i = from;                                                                  \
                                                                                                  \
		for (; i < to; i += 32) {                                                         \
			struct masks m = masks_of(d + i, header);                                 \
			uint32_t valid = ~0u;                                                     \
                                                                                                  \
			if (to - i < 32)                                                          \
				valid = (1u << (to - i)) - 1;                                     \
			m.hit &= valid;                                                           \
			if (m.hit)                                                                \
				valid = (m.hit & -m.hit) - 1;                                     \
			bare += (uint32_t)__builtin_popcount(m.bare & valid);                     \
			dots |= m.dot & valid;                                                    \
			if (m.hit) {                                                              \
				i += (uint32_t)__builtin_ctz(m.hit);                              \
				break;                                                            \
			}                                                                         \
		}                                                                                 \
		t->bare += bare;                                                                  \
		t->dots |= dots;                                                                  \
		return i < to ? i : to;                                                           \
	}

__attribute__((target("avx2"))) static inline __m256i load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i_u *)(const void *)p);
}

__attribute__((target("avx2"))) static inline struct masks masks_avx2(const uint8_t *p, bool header)
{
	__m256i here = load32(p), next = load32(p + 1), before = load32(p - 1);
	__m256i lf = _mm256_cmpeq_epi8(here, _mm256_set1_epi8('\n'));
	__m256i nul = _mm256_cmpeq_epi8(here, _mm256_setzero_si256());
	__m256i cr = _mm256_cmpeq_epi8(before, _mm256_set1_epi8('\r'));
	__m256i dot = _mm256_cmpeq_epi8(next, _mm256_set1_epi8('.'));
	__m256i f = _mm256_cmpeq_epi8(next, _mm256_set1_epi8('F'));
	__m256i hit = _mm256_and_si256(_mm256_or_si256(lf, nul), f);

	if (header) {
		__m256i end = _mm256_or_si256(_mm256_cmpeq_epi8(next, _mm256_set1_epi8('\n')),
					      _mm256_cmpeq_epi8(next, _mm256_set1_epi8('\r')));

		hit = _mm256_or_si256(hit, _mm256_and_si256(lf, end));
	}
	return (struct masks){
		.hit = (uint32_t)_mm256_movemask_epi8(hit),
		.bare = (uint32_t)_mm256_movemask_epi8(_mm256_andnot_si256(cr, lf)),
		.dot = (uint32_t)_mm256_movemask_epi8(_mm256_and_si256(lf, dot)),
	};
}

static inline __m128i load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i_u *)(const void *)p);
}

static inline struct masks masks_of_16(const uint8_t *p, bool header)
{
	__m128i here = load16(p), next = load16(p + 1), before = load16(p - 1);
	__m128i lf = _mm_cmpeq_epi8(here, _mm_set1_epi8('\n'));
	__m128i nul = _mm_cmpeq_epi8(here, _mm_setzero_si128());
	__m128i cr = _mm_cmpeq_epi8(before, _mm_set1_epi8('\r'));
	__m128i dot = _mm_cmpeq_epi8(next, _mm_set1_epi8('.'));
	__m128i f = _mm_cmpeq_epi8(next, _mm_set1_epi8('F'));
	__m128i hit = _mm_and_si128(_mm_or_si128(lf, nul), f);

	if (header) {
		__m128i end = _mm_or_si128(_mm_cmpeq_epi8(next, _mm_set1_epi8('\n')),
					   _mm_cmpeq_epi8(next, _mm_set1_epi8('\r')));

		hit = _mm_or_si128(hit, _mm_and_si128(lf, end));
	}
	return (struct masks){
		.hit = (uint32_t)_mm_movemask_epi8(hit),
		.bare = (uint32_t)_mm_movemask_epi8(_mm_andnot_si128(cr, lf)),
		.dot = (uint32_t)_mm_movemask_epi8(_mm_and_si128(lf, dot)),
	};
}

static inline struct masks masks_sse2(const uint8_t *p, bool header)
{
	struct masks a = masks_of_16(p, header), b = masks_of_16(p + 16, header);

	return (struct masks){
		.hit = a.hit | b.hit << 16,
		.bare = a.bare | b.bare << 16,
		.dot = a.dot | b.dot << 16,
	};
}

DEFINE_FIND(find_avx2, "avx2,popcnt", masks_avx2)
DEFINE_FIND(find_sse2, "sse2", masks_sse2)

/*
 * AVX2, POPCNT, and a kernel that keeps the wide registers.  Not
 * __builtin_cpu_supports(): it asks in a constructor, at every start.
 */
static bool has_avx2(void)
{
	unsigned a, b, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_POPCNT))
		return false;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & 6) != 6)
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

mbox_find_fn *mbox_find_nth(unsigned n)
{
	switch (n) {
	case 0:
		return find_portable;
	case 1:
		return find_sse2;
	case 2:
		return has_avx2() ? find_avx2 : NULL;
	default:
		return NULL;
	}
}

mbox_find_fn *mbox_find_best(uint64_t bytes)
{
	return bytes >= ASK_FROM && has_avx2() ? find_avx2 : find_sse2;
}
#else
mbox_find_fn *mbox_find_nth(unsigned n)
{
	return n == 0 ? find_portable : NULL;
}

mbox_find_fn *mbox_find_best(uint64_t bytes)
{
	(void)bytes;
	return find_portable;
}
#endif
