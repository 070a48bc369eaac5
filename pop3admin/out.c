/*
 * out.c - tables, lines and JSON on standard output.
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   nothing about the strings: names, addresses and ids may hold any
 *           octet, and must neither break the JSON nor drive the terminal.
 */
#include "out.h"
#include "date.h"
#include "err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS_MEASURED 512 /* rows that decide the widths; later ones are printed at once */

/*
 * Octets of the UTF-8 sequence at s, 1..4, or 0 where there is none (overlong
 * forms, surrogates and above U+10FFFF are none; RFC 3629 section 4).
 */
static size_t utf8_len(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xBF;
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		n = 2;
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
		n = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xE0)
		low = 0xA0;
	else if (s[0] == 0xED)
		high = 0x9F;
	else if (s[0] == 0xF0)
		low = 0x90;
	else if (s[0] == 0xF4)
		high = 0x8F;
	if (s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xBF)
			return 0;
	return n;
}

void out_visible(FILE *file, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	while (*p) {
		size_t n = utf8_len(p);
		bool control = *p < 0x20 || *p == 0x7F || (n == 2 && p[0] == 0xC2 && p[1] < 0xA0);

		if (!n || control)
			putc('?', file);
		else
			fwrite(p, 1, n, file);
		p += n ? n : 1;
	}
}

static size_t visible_width(const char *s)
{
	size_t n = 0;

	while (*s) {
		size_t len = utf8_len((const unsigned char *)s);

		n++;
		s += len ? len : 1;
	}
	return n;
}

static void json_string(FILE *file, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	putc('"', file);
	while (*p) {
		size_t n = utf8_len(p);

		if (!n)
			fputs("\xEF\xBF\xBD", file);
		else if (*p == '"' || *p == '\\')
			fprintf(file, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7F)
			fprintf(file, "\\u%04x", *p);
		else
			fwrite(p, 1, n, file);
		p += n ? n : 1;
	}
	putc('"', file);
}

void out_init(struct out *o, FILE *file, bool json)
{
	memset(o, 0, sizeof(*o));
	o->file = file;
	o->json = json;
}

/* Between two things of the same JSON list, object or array, and before a field's value. */
static void json_before(struct out *o, const char *key)
{
	if (!o->first)
		fputs(o->in_object ? ", " : ",\n", o->file);
	o->first = false;
	if (key) {
		json_string(o->file, key);
		fputs(": ", o->file);
	}
}

static void cell_add(struct out *o, const char *value)
{
	size_t n = strlen(value) + 1, size = o->size ? o->size : 4096;
	char *grown;

	if (n > SIZE_MAX / 4 - o->len) {
		o->failed = true;
		return;
	}
	while (size < o->len + n)
		size *= 2;
	if (size != o->size) {
		grown = realloc(o->cells, size);
		if (!grown) {
			o->failed = true;
			return;
		}
		o->cells = grown;
		o->size = size;
	}
	memcpy(o->cells + o->len, value, n);
	o->len += n;
	o->n_cells++;
}

static void table_header(struct out *o)
{
	size_t i;

	for (i = 0; i < o->n_columns; i++) {
		const char *p = o->columns[i];
		size_t n = strlen(p);

		for (; *p; p++)
			putc(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p, o->file);
		if (i + 1 < o->n_columns)
			fprintf(o->file, "%*s", (int)(o->width[i] - n + 2), "");
	}
	putc('\n', o->file);
}

/* Measure the rows that waited, once, then print them. */
static void table_flush(struct out *o)
{
	const char *p = o->cells;
	size_t row, i, w;

	if (!o->n_rows || o->failed)
		return;
	if (!o->widths_fixed) {
		for (i = 0; i < o->n_columns; i++)
			o->width[i] = strlen(o->columns[i]);
		for (row = 0; row < o->n_rows; row++) {
			for (i = 0; i < o->n_columns; i++, p += strlen(p) + 1) {
				w = visible_width(p);
				if (w > o->width[i] && w < 1000)
					o->width[i] = w;
			}
		}
		table_header(o);
		o->widths_fixed = true;
		p = o->cells;
	}
	for (row = 0; row < o->n_rows; row++) {
		for (i = 0; i < o->n_columns; i++, p += strlen(p) + 1) {
			out_visible(o->file, p);
			w = visible_width(p);
			if (i + 1 < o->n_columns)
				fprintf(o->file, "%*s",
					(int)(w < o->width[i] ? o->width[i] - w + 2 : 2), "");
		}
		putc('\n', o->file);
	}
	o->len = 0;
	o->n_rows = 0;
}

void out_list_begin(struct out *o)
{
	o->in_list = true;
	o->first_item = true;
	if (o->json) {
		fputs("[", o->file);
		o->first = true;
	}
}

void out_list_end(struct out *o)
{
	if (o->json)
		fputs(o->first_item ? "]\n" : "\n]\n", o->file);
	else
		table_flush(o);
	o->in_list = false;
}

void out_object_begin(struct out *o)
{
	if (o->json) {
		if (o->in_list)
			fputs(o->first_item ? "\n" : ",\n", o->file);
		fputs("{", o->file);
	}
	o->in_object = true;
	o->first = true;
	o->n_cells = 0;
}

void out_object_end(struct out *o)
{
	if (o->json) {
		fputs(o->in_list ? "}" : "}\n", o->file);
	} else if (o->in_list) {
		if (o->first_item)
			o->n_columns = o->n_cells;
		/* a row of another shape would shift every cell behind it */
		if (o->n_cells != o->n_columns)
			o->failed = true;
		o->n_rows++;
		if (o->widths_fixed || o->n_rows == ROWS_MEASURED)
			table_flush(o);
	}
	o->in_object = false;
	o->first_item = false;
}

static void text_field(struct out *o, const char *key, const char *value)
{
	if (o->in_list) {
		if (o->first_item && o->n_cells < OUT_COLUMNS_MAX)
			o->columns[o->n_cells] = key;
		cell_add(o, value);
		return;
	}
	fprintf(o->file, "%s:%*s", key, (int)(strlen(key) < 12 ? 12 - strlen(key) : 1), "");
	out_visible(o->file, value);
	putc('\n', o->file);
}

void out_str(struct out *o, const char *key, const char *value)
{
	if (!o->json) {
		text_field(o, key, *value || !o->in_list ? value : "-");
		return;
	}
	json_before(o, key);
	json_string(o->file, value);
}

/* What needs no quotes in JSON. */
static void bare(struct out *o, const char *key, const char *value)
{
	if (!o->json) {
		text_field(o, key, value);
		return;
	}
	json_before(o, key);
	fputs(value, o->file);
}

void out_u64(struct out *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	bare(o, key, text);
}

void out_bool(struct out *o, const char *key, bool value)
{
	if (o->json)
		bare(o, key, value ? "true" : "false");
	else
		bare(o, key, value ? "yes" : "no");
}

void out_null(struct out *o, const char *key)
{
	bare(o, key, o->json ? "null" : "-");
}

void out_decimal(struct out *o, const char *key, const char *digits)
{
	bare(o, key, digits);
}

void out_words(struct out *o, const char *key, const char *words)
{
	char word[128];
	size_t n;

	if (!o->json) {
		text_field(o, key, *words ? words : "-");
		return;
	}
	json_before(o, key);
	putc('[', o->file);
	for (bool first = true;; first = false) {
		words += strspn(words, " ");
		n = strcspn(words, " ");
		if (!n)
			break;
		if (!first)
			fputs(", ", o->file);
		snprintf(word, sizeof(word), "%.*s", n < sizeof(word) ? (int)n : 127, words);
		json_string(o->file, word);
		words += n;
	}
	putc(']', o->file);
}

void out_time(struct out *o, const char *key, int64_t seconds)
{
	char text[DATE_TIME_LEN + 1];

	if (date_time_format(seconds, text) < 0)
		out_null(o, key);
	else
		out_str(o, key, text);
}

void out_array_begin(struct out *o, const char *key)
{
	o->array = key;
	if (!o->json)
		return;
	json_before(o, key);
	putc('[', o->file);
	o->first = true;
}

void out_array_item(struct out *o, const char *value)
{
	if (o->json) {
		json_before(o, NULL);
		json_string(o->file, value);
	} else if (!o->in_list) {
		text_field(o, o->array, value);
	}
}

void out_array_end(struct out *o)
{
	o->array = NULL;
	if (!o->json)
		return;
	putc(']', o->file);
	o->first = false;
}

int out_finish(struct out *o)
{
	bool bad = o->failed;

	free(o->cells);
	o->cells = NULL;
	o->len = o->size = 0;
	if (fflush(o->file) || ferror(o->file))
		bad = true;
	return bad ? POP_E_SYS : 0;
}

static bool progress_on_screen;

void progress_show(size_t done, size_t total, const char *name)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%zu/%zu ", done, total);
	out_visible(stderr, name);
	fflush(stderr);
	progress_on_screen = true;
}

void progress_clear(void)
{
	if (progress_on_screen)
		fputs("\r\033[K", stderr);
	progress_on_screen = false;
}

void progress_end(size_t done, size_t failed)
{
	if (!isatty(STDERR_FILENO))
		return;
	progress_clear();
	fprintf(stderr, "%zu users done, %zu with errors\n", done, failed);
}
