/*
 * check_saslprep.c - what is mapped, what is refused, what is no UTF-8.
 */
#include <string.h>

#include "saslprep.h"
#include "scratch.h"

static const struct row {
	const char *in, *out; /* out NULL: refused */
} rows[] = {
	/* RFC 4013 section 3 */
	{ "I\xC2\xADX", "IX" },
	{ "user", "user" },
	{ "USER", "USER" },
	{ "\x07", NULL },
	{ "\xD8\xA7"
	  "1",
	  NULL },
	/* both directions of writing, RFC 3454 section 6 */
	{ "\xD8\xA7"
	  "1\xD8\xA8",
	  "\xD8\xA7"
	  "1\xD8\xA8" },
	{ "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D", "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D" },
	{ "\xD7\xA9 !\xF0\x9F\x94\x91 \xD7\x9D", "\xD7\xA9 !\xF0\x9F\x94\x91 \xD7\x9D" },
	{ "1\xD8\xA7", NULL },
	{ "\xD8\xA7 ", NULL },
	{ "\xD8\xA7\xC2\xAD", "\xD8\xA7" }, /* the last one that is left */
	{ "\xD8\xA7"
	  "a\xD8\xA8",
	  NULL },
	{ "\xD8\xA7\xE4\xB8\xAD\xD8\xA8", NULL },
	{ "a\xD8\xA7", NULL },
	/* mapped */
	{ "", "" },
	{ "a\xC2\xA0z", "a z" },
	{ "a\xE3\x80\x80z", "a z" },
	{ "a\xE2\x80\x8Bz", "az" },
	{ "\xEF\xBB\xBFpass", "pass" },
	{ "\xEF\xB8\x8F", "" },
	/* kept */
	{ "p\xC3\xA4ss", "p\xC3\xA4ss" },
	{ "\xE2\x82\xAC", "\xE2\x82\xAC" },
	{ "\xF0\x9F\x94\x91", "\xF0\x9F\x94\x91" },
	{ " two  blanks ", " two  blanks " },
	/* prohibited */
	{ "a\x7F", NULL },
	{ "a\tb", NULL },
	{ "\xC2\x85", NULL },
	{ "\xE2\x80\xAE", NULL },
	{ "\xEE\x80\x80", NULL },
	{ "\xEF\xBF\xBE", NULL },
	{ "\xEF\xBF\xBD", NULL },
	{ "\xF3\xA0\x80\x81", NULL },
	{ "\xF4\x8F\xBF\xBF", NULL },
	/* no UTF-8 */
	{ "p\xE4ss", NULL },
	{ "\x80", NULL },
	{ "\xC0\x80", NULL },
	{ "\xC1\xBF", NULL },
	{ "\xE0\x80\xAF", NULL },
	{ "\xED\xA0\x80", NULL },
	{ "\xF0\x80\x80\x80", NULL },
	{ "\xF4\x90\x80\x80", NULL },
	{ "\xF5\x80\x80\x80", NULL },
	{ "\xE2\x82", NULL },
	{ "\xE2", NULL },
	{ "\xE2\x82x", NULL },
};

START_TEST(test_row)
{
	const struct row *row = &rows[_i];
	char out[64] = "untouched";
	int n = saslprep(row->in, strlen(row->in), out, sizeof(out));

	ck_assert_msg(n == (row->out ? (int)strlen(row->out) : POP_E_SYNTAX), "row %d: %d", _i, n);
	if (row->out)
		ck_assert_str_eq(out, row->out);
}
END_TEST

START_TEST(test_size)
{
	char out[5];

	ck_assert_int_eq(saslprep("abcd", 4, out, sizeof(out)), 4);
	ck_assert_int_eq(saslprep("abcde", 5, out, sizeof(out)), POP_E_LONG);
	ck_assert_int_eq(saslprep("abc\xC3\xA4", 5, out, sizeof(out)), POP_E_LONG);
	ck_assert_int_eq(saslprep("a\0b", 3, out, sizeof(out)), POP_E_SYNTAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("saslprep");
	TCase *tc = tcase_create("saslprep");

	tcase_add_loop_test(tc, test_row, 0, N_ELEMS(rows));
	tcase_add_test(tc, test_size);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
