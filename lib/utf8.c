/*
 * utf8.c - UTF-8 in its shortest form.
 *
 * Runs in:  session, auth, maildrop, pop3admin.
 * Trusts:   nothing.
 */
#include <string.h>

#include "utf8.h"

size_t utf8_next(const uint8_t *p, size_t left, uint32_t *c)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

	if (len == 0 || p[0] > 0xF4 || len > left)
		return 0;
	*c = len == 1 ? p[0] : p[0] & (0xFFU >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3FU);
	}
	/* RFC 3629 section 3: halves of UTF-16's pairs are no characters */
	return *c < least[len] || *c > 0x10FFFF || (*c >= 0xD800 && *c <= 0xDFFF) ? 0 : len;
}

bool utf8_any_8bit(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t word, any = 0;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		any |= word;
	}
	while (n > 0)
		any |= p[--n];
	/* of the last octets only the low bits are there */
	return any & UINT64_C(0x8080808080808080);
}
