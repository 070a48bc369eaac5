/*
 * uidl_import.c - what the parsers of foreign unique ids share.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing it reads.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "uidl_import.h"

void import_lines_init(struct import_lines *l, const char *text, size_t len)
{
	l->text = text;
	l->end = text + len;
	l->line = NULL;
	l->len = 0;
	l->number = 0;
}

bool import_lines_next(struct import_lines *l)
{
	const char *nl;

	if (l->text == l->end)
		return false;
	nl = memchr(l->text, '\n', (size_t)(l->end - l->text));
	l->line = l->text;
	l->len = (size_t)((nl ? nl : l->end) - l->text);
	l->text = nl ? nl + 1 : l->end;
	if (l->len && l->line[l->len - 1] == '\r')
		l->len--;
	l->number++;
	return true;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

size_t import_word(const struct import_lines *l, size_t *at, const char **word)
{
	size_t from;

	while (*at < l->len && blank(l->line[*at]))
		(*at)++;
	from = *at;
	while (*at < l->len && !blank(l->line[*at]))
		(*at)++;
	*word = l->line + from;
	return *at - from;
}

struct id_out {
	char *out;
	size_t len;
};

static int put(struct id_out *o, const char *s, size_t n)
{
	if (n > IMPORT_ID_MAX - o->len)
		return POP_E_LONG;
	memcpy(o->out + o->len, s, n);
	o->len += n;
	return 0;
}

static int put_number(struct id_out *o, uint32_t value, unsigned width, bool zero, bool hex)
{
	char text[32];
	int n = snprintf(text, sizeof(text), hex ? "%lx" : "%lu", (unsigned long)value);

	for (; (unsigned)n < width; width--)
		if (put(o, zero ? "0" : " ", 1) < 0)
			return POP_E_LONG;
	return put(o, text, (size_t)n);
}

static int put_value(struct id_out *o, char key, unsigned width, bool zero, bool hex,
		     const struct import_values *v, struct pop_why *why)
{
	switch (key) {
	case 'v':
		return put_number(o, v->uidvalidity, width, zero, hex);
	case 'u':
		return put_number(o, v->uid, width, zero, hex);
	case 'f':
		if (v->file && !hex)
			return put(o, v->file, width && width < v->file_len ? width : v->file_len);
		break;
	case 'g':
		if (v->guid && !hex)
			return put(o, v->guid, width && width < v->guid_len ? width : v->guid_len);
		break;
	case 'm':
		if (v->md5 && !hex)
			return put(o, v->md5, strlen(v->md5));
		break;
	case '%':
		return put(o, "%", 1);
	default:
		break;
	}
	return pop_why(why, POP_E_SYNTAX,
		       "the id format has %%%c, which this file does not tell; allowed are %%v, "
		       "%%u, %%f and %%g (Maildir), %%m (mbox), with 0, a width and X",
		       key ? key : ' ');
}

int import_format(const char *format, const struct import_values *v, char out[IMPORT_ID_MAX + 1],
		  struct pop_why *why)
{
	struct id_out o = { out, 0 };
	int err = 0;

	for (; *format && !err; format++) {
		unsigned width = 0;
		bool zero, hex;

		if (*format != '%') {
			err = put(&o, format, 1);
			continue;
		}
		format++;
		zero = *format == '0';
		for (; *format >= '0' && *format <= '9' && width < 100; format++)
			width = width * 10 + (unsigned)(*format - '0');
		hex = *format == 'X';
		if (hex)
			format++;
		err = put_value(&o, *format, width, zero, hex, v, why);
		if (!*format)
			break;
	}
	if (err == POP_E_LONG)
		return pop_why(why, err, "an id would be longer than %d octets", IMPORT_ID_MAX);
	out[o.len] = '\0';
	return err ? err : (int)o.len;
}
