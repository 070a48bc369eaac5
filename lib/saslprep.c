/*
 * saslprep.c - the mapping and the prohibitions of RFC 4013.
 *
 * Runs in:  session and auth, on what the client sent; pop3admin, on new passwords.
 * Trusts:   nothing.
 */
#include <string.h>

#include "saslprep.h"
#include "saslprep_impl.h"
#include "utf8.h"

/* RFC 3454, table B.1 */
static const struct range to_nothing[] = {
	{ 0x00AD, 0x00AD }, { 0x034F, 0x034F }, { 0x1806, 0x1806 }, { 0x180B, 0x180D },
	{ 0x200B, 0x200D }, { 0x2060, 0x2060 }, { 0xFE00, 0xFE0F }, { 0xFEFF, 0xFEFF },
};
/* Table C.1.2, without what B.1 removes */
static const struct range to_space[] = {
	{ 0x00A0, 0x00A0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200A },
	{ 0x202F, 0x202F }, { 0x205F, 0x205F }, { 0x3000, 0x3000 },
};
/* Tables C.2.1, C.2.2, C.3 to C.9; U+nFFFE and U+nFFFF are in the code */
static const struct range prohibited[] = {
	{ 0x0000, 0x001F },   { 0x007F, 0x009F },   { 0x0340, 0x0341 },	    { 0x06DD, 0x06DD },
	{ 0x070F, 0x070F },   { 0x180E, 0x180E },   { 0x200E, 0x200F },	    { 0x2028, 0x202E },
	{ 0x2061, 0x2063 },   { 0x206A, 0x206F },   { 0x2FF0, 0x2FFB },	    { 0xD800, 0xF8FF },
	{ 0xFDD0, 0xFDEF },   { 0xFFF9, 0xFFFD },   { 0x1D173, 0x1D17A },   { 0xE0001, 0xE0001 },
	{ 0xE0020, 0xE007F }, { 0xF0000, 0xFFFFD }, { 0x100000, 0x10FFFD },
};

bool saslprep_within(const struct range *r, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n; i++)
		if (c >= r[i].first && c <= r[i].last)
			return true;
	return false;
}

int saslprep(const char *text, size_t len, char *out, size_t size)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t used = 0;

	while (len > 0) {
		const char *put = (const char *)p;
		size_t n, n_put;
		uint32_t c;

		n = n_put = utf8_next(p, len, &c);
		if (n == 0)
			return POP_E_SYNTAX;
		if (WITHIN(to_nothing, c)) {
			n_put = 0;
		} else if (WITHIN(to_space, c)) {
			put = " ";
			n_put = 1;
		} else if (WITHIN(prohibited, c) || (c & 0xFFFE) == 0xFFFE) {
			return POP_E_SYNTAX;
		}
		if (n_put >= size - used)
			return POP_E_LONG;
		memcpy(out + used, put, n_put);
		used += n_put;
		p += n;
		len -= n;
	}
	out[used] = '\0';
	return saslprep_bidi_ok(out, used) ? (int)used : POP_E_SYNTAX;
}
