/*
 * base64.c - base64, strictly.
 *
 * Runs in:  session, on what the client sent; auth and pop3admin, on secrets.
 * Trusts:   nothing.
 */
#include "base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encode(const void *data, size_t n, char *out)
{
	const uint8_t *p = data;
	char *to = out;

	for (; n > 0; p += 3) {
		size_t have = n < 3 ? n : 3;
		uint32_t v = (uint32_t)p[0] << 16;

		if (have > 1)
			v |= (uint32_t)p[1] << 8;
		if (have > 2)
			v |= p[2];
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = have > 1 ? digits[v >> 6 & 63] : '=';
		*to++ = have > 2 ? digits[v & 63] : '=';
		n -= have;
	}
	*to = '\0';
	return (size_t)(to - out);
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* How many '=' end the text: they stand for octets that are not there. */
static size_t padding(const char *text, size_t len)
{
	if (len == 0 || text[len - 1] != '=')
		return 0;
	return text[len - 2] == '=' ? 2 : 1;
}

long base64_decode(const char *text, size_t len, void *out, size_t size)
{
	size_t pad, n, at = 0;
	uint8_t *to = out;

	if (len % 4 != 0)
		return POP_E_SYNTAX;
	pad = padding(text, len);
	n = len / 4 * 3 - pad;
	if (n > size)
		return POP_E_LONG;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t v = 0;

		for (size_t k = i; k < i + 4; k++) {
			int digit = k < len - pad ? value_of(text[k]) : 0;

			if (digit < 0)
				return POP_E_SYNTAX;
			v = v << 6 | (uint32_t)digit;
		}
		for (unsigned shift = 24; shift > 0 && at < n; at++) {
			shift -= 8;
			to[at] = (uint8_t)(v >> shift);
			v &= (1U << shift) - 1;
		}
		if (at == n && v != 0)
			return POP_E_SYNTAX; /* bits behind the last octet */
	}
	return (long)n;
}
