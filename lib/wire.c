/*
 * wire.c - count and encode messages as the client gets them.
 *
 * Runs in:  maildrop (counting), session (encoding).
 * Trusts:   nothing of the bytes; every piece may end anywhere.
 *
 * Both walk a block once.  With SSE2 sixteen bytes are looked at together;
 * elsewhere memchr() finds the line ends.
 */
#include <string.h>
#include "wire.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

void wire_count_init(struct wire_count *c)
{
	memset(c, 0, sizeof(*c));
	c->at_line_start = true;
}

static inline void count_byte(struct wire_count *c, uint8_t b)
{
	if (c->at_line_start && b == '.')
		c->any_dot = true;
	c->octets++;
	if (b == '\n') {
		c->lines++;
		if (!c->last_cr) {
			c->octets++;
			c->any_bare_lf = true;
		}
	}
	c->at_line_start = b == '\n';
	c->last_cr = b == '\r';
}

#ifdef __SSE2__
static inline uint64_t sum_bytes(__m128i v)
{
	__m128i s = _mm_sad_epu8(v, _mm_setzero_si128());

	return (uint64_t)_mm_cvtsi128_si64(s) +
	       (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(s, s));
}

static inline __m128i load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/*
 * Count whole groups of sixteen bytes at p, where p[-1] may be read, and
 * return how many bytes they were.  c's state of the last byte is left alone.
 */
static size_t count_wide(struct wire_count *c, const uint8_t *p, size_t n)
{
	const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r'), dot = _mm_set1_epi8('.');
	__m128i dots = _mm_setzero_si128();
	uint64_t bare = 0, lines = 0;
	size_t i = 0;

	while (n - i >= 16) {
		/* 255 rounds at most: the counters are bytes */
		size_t rounds = (n - i) / 16 < 255 ? (n - i) / 16 : 255;
		__m128i n_lf = _mm_setzero_si128(), n_bare = n_lf;

		for (; rounds; rounds--, i += 16) {
			__m128i here = load(p + i), before = load(p + i - 1);
			__m128i is_lf = _mm_cmpeq_epi8(here, lf);

			n_lf = _mm_sub_epi8(n_lf, is_lf);
			n_bare = _mm_sub_epi8(n_bare,
					      _mm_andnot_si128(_mm_cmpeq_epi8(before, cr), is_lf));
			dots = _mm_or_si128(dots, _mm_and_si128(_mm_cmpeq_epi8(here, dot),
								_mm_cmpeq_epi8(before, lf)));
		}
		lines += sum_bytes(n_lf);
		bare += sum_bytes(n_bare);
	}
	c->lines += lines;
	c->octets += i + bare;
	c->any_bare_lf |= bare != 0;
	c->any_dot |= _mm_movemask_epi8(dots) != 0;
	return i;
}
#else
static size_t count_wide(struct wire_count *c, const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		const uint8_t *lf = memchr(p + i, '\n', n - i);

		if (p[(ptrdiff_t)i - 1] == '\n' && p[i] == '.')
			c->any_dot = true;
		if (!lf)
			break;
		c->lines++;
		if (lf[-1] != '\r') {
			c->octets++;
			c->any_bare_lf = true;
		}
		i = (size_t)(lf - p) + 1;
	}
	c->octets += n;
	return n;
}
#endif

void wire_count_add(struct wire_count *c, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t done;

	if (!n)
		return;
	count_byte(c, p[0]);
	done = 1 + count_wide(c, p + 1, n - 1);
	c->last_cr = p[done - 1] == '\r';
	c->at_line_start = p[done - 1] == '\n';
	for (; done < n; done++)
		count_byte(c, p[done]);
}

void wire_count_zeros(struct wire_count *c, uint64_t n)
{
	if (!n)
		return;
	c->octets += n;
	c->last_cr = c->at_line_start = false;
}

uint64_t wire_count_total(const struct wire_count *c)
{
	return c->octets + (c->at_line_start ? 0 : 2);
}

void wire_encode_init(struct wire_encoder *e)
{
	memset(e, 0, sizeof(*e));
	e->at_line_start = true;
}

/*
 * Copy the rest of the line at p (its LF not included) to out; return the
 * bytes copied, n where no LF is among them.
 */
static inline size_t copy_line(const uint8_t *p, size_t n, uint8_t *out)
{
	size_t i = 0;
#ifdef __SSE2__
	const __m128i lf = _mm_set1_epi8('\n');

	/*
	 * Sixteen bytes are stored before it is known how many belong to the
	 * line; out has room for twice the bytes that are left.
	 */
	for (; n - i >= 16; i += 16) {
		__m128i v = load(p + i);
		int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(v, lf));

		_mm_storeu_si128((__m128i *)(void *)(out + i), v);
		if (mask)
			return i + (size_t)__builtin_ctz((unsigned)mask);
	}
	for (; i < n && p[i] != '\n'; i++)
		out[i] = p[i];
#else
	const uint8_t *end = memchr(p, '\n', n);

	i = end ? (size_t)(end - p) : n;
	memcpy(out, p, i);
#endif
	return i;
}

size_t wire_encode(struct wire_encoder *e, const void *data, size_t n, uint8_t *out)
{
	const uint8_t *p = data, *end = p + n;
	uint8_t *o = out;
	size_t stuffed = 0;
	bool start = e->at_line_start, cr = e->last_cr;

	while (p < end) {
		size_t len;

		if (start && *p == '.') {
			*o++ = '.';
			stuffed++;
		}
		len = copy_line(p, (size_t)(end - p), o);
		if (len) {
			cr = p[len - 1] == '\r';
			start = false;
		}
		p += len;
		o += len;
		if (p == end)
			break;
		if (!cr)
			*o++ = '\r';
		*o++ = '\n';
		p++;
		start = true;
		cr = false;
	}
	e->at_line_start = start;
	e->last_cr = cr;
	e->octets += (size_t)(o - out) - stuffed;
	return (size_t)(o - out);
}

size_t wire_encode_end(struct wire_encoder *e, uint8_t *out)
{
	if (e->at_line_start)
		return 0;
	out[0] = '\r';
	out[1] = '\n';
	e->at_line_start = true;
	e->last_cr = false;
	e->octets += 2;
	return 2;
}
