/*
 * downgrade_word.c - encoded words (RFC 2047) and extended parameters (RFC 2231).
 *
 * Runs in:  maildrop.
 * Trusts:   nothing; the text is mail.
 */
#include <string.h>

#include "base64.h"
#include "downgrade_impl.h"

#define WORD_OCTETS	 45 /* make 60 characters, and a word is 75 at most */
#define PARAMETER_LENGTH 60 /* characters of one part of a long value */

static const char no_character[] = "\xEF\xBF\xBD"; /* U+FFFD */

struct piece piece_trim(struct piece p)
{
	while (p.n > 0 && is_blank(p.s[0])) {
		p.s++;
		p.n--;
	}
	while (p.n > 0 && is_blank(p.s[p.n - 1]))
		p.n--;
	return p;
}

/* The next character of *p, which is moved behind it, as UTF-8; "" at the end. */
static struct piece next_character(struct piece *p)
{
	struct piece c = { p->s, 0 };
	uint32_t unused;

	if (p->n == 0)
		return c;
	c.n = utf8_next(p->s, p->n, &unused);
	p->s += c.n ? c.n : 1;
	p->n -= c.n ? c.n : 1;
	if (c.n == 0)
		c = (struct piece){ (const uint8_t *)no_character, 3 };
	return c;
}

static int put_word(struct buf *out, const uint8_t *text, size_t n, bool first)
{
	char line[2 + 10 + BASE64_LEN(WORD_OCTETS) + 2 + 1];
	size_t len = 0;

	if (!first) {
		memcpy(line, "\n ", 2);
		len = 2;
	}
	memcpy(line + len, "=?UTF-8?B?", 10);
	len += 10;
	len += base64_encode(text, n, line + len);
	memcpy(line + len, "?=", 2);
	return buf_put(out, line, len + 2);
}

int encode_words(struct buf *out, struct piece text)
{
	uint8_t word[WORD_OCTETS];
	bool first = true;
	size_t used = 0;
	struct piece c;
	int err = 0;

	while (err == 0 && (c = next_character(&text)).n > 0) {
		if (c.s[0] == '\r' || c.s[0] == '\n')
			continue;
		if (used + c.n > sizeof(word)) {
			err = put_word(out, word, used, first);
			first = false;
			used = 0;
		}
		memcpy(word + used, c.s, c.n);
		used += c.n;
	}
	return err < 0 || used == 0 ? err : put_word(out, word, used, first);
}

int encode_text(struct buf *out, struct piece text)
{
	size_t from = 0, to = text.n;
	int err;

	while (from < text.n && text.s[from] < 0x80)
		from++;
	if (from == text.n)
		return buf_put(out, text.s, text.n);
	while (text.s[to - 1] < 0x80)
		to--;
	while (from > 0 && !is_blank(text.s[from - 1]))
		from--;
	while (to < text.n && !is_blank(text.s[to]))
		to++;
	err = buf_put(out, text.s, from);
	if (err == 0)
		err = encode_words(out, (struct piece){ text.s + from, to - from });
	return err < 0 ? err : buf_put(out, text.s + to, text.n - to);
}

/* A character of a value: as it is where it is an attribute-char of RFC 2231, else %XX. */
static size_t percent(uint8_t c, char out[4])
{
	static const char hex[] = "0123456789ABCDEF";

	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c && strchr("!#$&+-.^_`{|}~", c))) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '%';
	out[1] = hex[c >> 4];
	out[2] = hex[c & 15];
	return 3;
}

/* Percent-encoded characters of *value, until the part is long enough. */
static int put_part(struct buf *out, struct piece *value)
{
	char text[4];
	size_t used = 0;
	int err = 0;

	while (err == 0 && value->n > 0 && used < PARAMETER_LENGTH) {
		struct piece c = next_character(value);

		for (size_t i = 0; i < c.n && err == 0; i++) {
			size_t len = percent(c.s[i], text);

			err = buf_put(out, text, len);
			used += len;
		}
	}
	return err;
}

/* The value without quotes, backslashes and line ends. */
static int unquote(struct buf *out, struct piece v)
{
	bool quoted = v.n > 0 && v.s[0] == '"';
	int err = 0;

	for (size_t i = quoted; i < v.n && err == 0; i++) {
		if (quoted && v.s[i] == '"')
			break;
		if (quoted && v.s[i] == '\\' && i + 1 < v.n)
			i++;
		if (v.s[i] != '\r' && v.s[i] != '\n')
			err = buf_put(out, &v.s[i], 1);
	}
	return err;
}

int encode_parameter(struct buf *out, struct piece parameter)
{
	const uint8_t *equals = memchr(parameter.s, '=', parameter.n);
	struct piece name, value;
	struct buf bare;
	unsigned part = 0;
	bool whole;
	int err;

	if (!equals)
		return POP_E_SYNTAX;
	name = piece_trim((struct piece){ parameter.s, (size_t)(equals - parameter.s) });
	value = piece_trim(
		(struct piece){ equals + 1, parameter.n - (size_t)(equals + 1 - parameter.s) });
	if (name.n == 0 || name.n > 60 || piece_8bit(name) || memchr(name.s, '*', name.n))
		return POP_E_SYNTAX;
	buf_init(&bare, DOWNGRADE_HEAD_MAX);
	err = unquote(&bare, value);
	value = (struct piece){ buf_data(&bare), buf_len(&bare) };
	whole = 3 * value.n <= PARAMETER_LENGTH;
	do {
		if (err == 0 && part > 0)
			err = buf_puts(out, ";\n ");
		if (err == 0)
			err = whole ? buf_printf(out, "%.*s*=", (int)name.n, (const char *)name.s)
				    : buf_printf(out, "%.*s*%u*=", (int)name.n,
						 (const char *)name.s, part);
		if (err == 0 && part == 0)
			err = buf_puts(out, "UTF-8''");
		if (err == 0)
			err = put_part(out, &value);
		part++;
	} while (err == 0 && value.n > 0);
	buf_release(&bare);
	return err;
}
