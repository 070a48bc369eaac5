/*
 * check_text.c - the languages of LANG: every row is complete, says the same to
 * printf in every language and keeps its response code; what the session role
 * says has a row, and a row is something that it says; language ranges.
 */
#include <dirent.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "scratch.h"

#include "../../pop3d/net_text.c"

/* What printf takes, "%s %d " and so on, without flags and precisions. */
static void conversions(const char *s, char *out, size_t size)
{
	size_t used = 0;

	for (; (s = strchr(s, '%')); s++) {
		s++;
		if (*s == '%')
			continue;
		s += strspn(s, "-+ #0123456789.");
		while (*s && !strchr("diouxXscp", *s) && used + 2 < size)
			out[used++] = *s++; /* a length */
		ck_assert_msg(*s && *s != 'n', "no conversion");
		out[used++] = *s;
		out[used++] = ' ';
		ck_assert_uint_lt(used, size);
	}
	out[used] = '\0';
}

static size_t code_length(const char *s)
{
	const char *end = s[0] == '[' ? strchr(s, ']') : NULL;

	return end ? (size_t)(end - s) + 1 : 0;
}

static bool is_utf8(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		size_t len = *s < 0x80 ? 1 : *s < 0xC2 ? 0 : *s < 0xE0 ? 2 : *s < 0xF0 ? 3 : 0;

		if (len == 0 || *s < 0x20 || *s == 0x7f)
			return false;
		for (size_t i = 1; i < len; i++)
			if ((s[i] & 0xC0) != 0x80)
				return false;
		s += len;
	}
	return true;
}

START_TEST(row)
{
	const struct text_row *r = &text_rows[_i];
	char want[64], got[64];
	size_t code = code_length(r->english);

	conversions(r->english, want, sizeof(want));
	for (size_t i = 0; i < LANGUAGE_TEXTS; i++) {
		const char *tag = languages[LANGUAGE_TRANSLATED + i].tag, *text = r->in[i];

		ck_assert_msg(text && text[0], "%s: no text for \"%s\"", tag, r->english);
		conversions(text, got, sizeof(got));
		ck_assert_msg(strcmp(got, want) == 0, "%s: \"%s\" takes %s, not %s", tag, text, got,
			      want);
		ck_assert_msg(strncmp(text, r->english, code) == 0 && code_length(text) == code,
			      "%s: \"%s\" has another response code", tag, text);
		ck_assert_msg(is_utf8(text), "%s: \"%s\" is no UTF-8", tag, text);
		ck_assert_msg(strcmp(text, r->english) != 0 || strcmp(tag, "fr") == 0,
			      "%s: \"%s\" is not translated", tag, text);
		ck_assert_uint_lt(strlen(text), 300);
		ck_assert_ptr_eq(text_in(LANGUAGE_TRANSLATED + i, r->english), text);
	}
	ck_assert_ptr_eq(text_in(0, r->english), r->english);
	ck_assert_ptr_eq(text_in(1, r->english), r->english);
	for (size_t i = 0; i < n_text_rows; i++)
		ck_assert_msg(i == (size_t)_i || strcmp(text_rows[i].english, r->english) != 0,
			      "\"%s\" is there twice", r->english);
}
END_TEST

START_TEST(columns)
{
	ck_assert_uint_eq(n_languages, LANGUAGE_TRANSLATED + LANGUAGE_TEXTS);
	ck_assert_str_eq(languages[LANGUAGE_DEFAULT].tag, "i-default");
	ck_assert_ptr_nonnull(text_in(2, "not in the table"));
	ck_assert_str_eq(text_in(2, "not in the table"), "not in the table");
}
END_TEST

/* The string at *p, adjacent literals joined; *p moves behind it. */
static void literal(const char **p, char *out, size_t size)
{
	size_t used = 0;

	while (**p == '"') {
		for (++*p; **p != '"'; ++*p) {
			ck_assert_uint_lt(used + 1, size);
			out[used++] = **p;
		}
		++*p;
		*p += strspn(*p, " \t\n");
	}
	out[used] = '\0';
}

/* Are there letters to translate, beside conversions? */
static bool has_words(const char *s)
{
	for (; *s; s++) {
		if (*s == '%')
			s += strspn(s + 1, "-.0123456789l") + 1;
		else if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'))
			return true;
	}
	return false;
}

static bool said[256];

static void find_text(const char *file, const char *text)
{
	/* said before anybody can have asked for a language */
	if (!has_words(text) || strcmp(text, "%s POP3 server ready%s%s") == 0)
		return;
	for (size_t i = 0; i < n_text_rows; i++) {
		if (strcmp(text_rows[i].english, text) == 0) {
			said[i] = true;
			return;
		}
	}
	ck_abort_msg("%s: \"%s\" has no row in net_text.c", file, text);
}

/* All texts of the calls of net_ok() and net_err() in a source. */
static void read_source(const char *file)
{
	static char source[1 << 18];
	char text[512];
	const char *p = source;
	FILE *f = fopen(file, "re");
	size_t n;

	ck_assert_msg(f != NULL, "%s", file);
	n = fread(source, 1, sizeof(source) - 1, f);
	fclose(f);
	source[n] = '\0';
	while ((p = strstr(p, "net_"))) {
		const char *call = strncmp(p, "net_ok(", 7) == 0    ? p + 7
				   : strncmp(p, "net_err(", 8) == 0 ? p + 8
								    : "";

		p++;
		call += strspn(call, " \t\n");
		if (strncmp(call, "n,", 2) != 0)
			continue;
		p = call;
		/* the format is one string, or `condition ? one : another` */
		for (p = strchr(p, ',') + 1; *p && *p != ','; p++) {
			if (*p == ';')
				break;
			if (*p != '"')
				continue;
			literal(&p, text, sizeof(text));
			find_text(file, text);
			p--;
		}
	}
}

START_TEST(sources)
{
	char dir[] = __FILE__, path[4096];
	struct dirent *e;
	DIR *d;

	ck_assert_uint_le(n_text_rows, N_ELEMS(said));
	snprintf(path, sizeof(path), "%s/../../pop3d", dirname(dir));
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d))) {
		char file[8192];
		size_t len = strlen(e->d_name);

		if (strncmp(e->d_name, "net_", 4) != 0 || len < 6 ||
		    strcmp(e->d_name + len - 2, ".c") != 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		read_source(file);
	}
	closedir(d);
	for (size_t i = 0; i < n_text_rows; i++)
		ck_assert_msg(said[i], "\"%s\" is said nowhere", text_rows[i].english);
}
END_TEST

static const struct range_row {
	const char *range, *want; /* NULL: none */
} range_rows[] = {
	{ "*", "i-default" },
	{ "i-default", "i-default" },
	{ "I-Default", "i-default" },
	{ "en", "en" },
	{ "en-GB", "en" },
	{ "de", "de" },
	{ "DE-at-1996", "de" },
	{ "zh-Hans-CN", "zh" },
	{ "ru-*", "ru" },
	{ "fr-*-x-y", "fr" },
	{ "sv", NULL },
	{ "d", NULL },
	{ "deu", NULL },
	{ "", NULL },
	{ "-", NULL },
	{ "de-", NULL },
	{ "de--AT", NULL },
	{ "de_AT", NULL },
	{ "abcdefghi", NULL },
	{ "i", NULL },
	{ "*-x", "i-default" },
};

START_TEST(ranges)
{
	const struct range_row *r = &range_rows[_i];
	long got = text_language(r->range, strlen(r->range));

	if (r->want)
		ck_assert_msg(got >= 0 && strcmp(languages[got].tag, r->want) == 0, "%s: %ld",
			      r->range, got);
	else
		ck_assert_msg(got == -1, "%s: %ld", r->range, got);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");
	TCase *tc = tcase_create("text");

	tcase_add_loop_test(tc, row, 0, (int)n_text_rows);
	tcase_add_test(tc, columns);
	tcase_add_test(tc, sources);
	tcase_add_loop_test(tc, ranges, 0, N_ELEMS(range_rows));
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
