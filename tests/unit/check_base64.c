/*
 * check_base64.c - base64: the vectors of RFC 4648, and what is none.
 */
#include <string.h>

#include "base64.h"
#include "scratch.h"

static const struct good_row {
	const char *octets, *text;
} good_rows[] = {
	{ "", "" },
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
	{ "\xfb\xff\xbf", "+/+/" },
	{ "user\x7f\xc3\xa4", "dXNlcn/DpA==" },
};

START_TEST(test_both_ways)
{
	const struct good_row *row = &good_rows[_i];
	char text[64], octets[64];
	size_t len = strlen(row->octets);

	ck_assert_uint_eq(base64_encode(row->octets, len, text), strlen(row->text));
	ck_assert_str_eq(text, row->text);
	ck_assert_uint_eq(BASE64_LEN(len), strlen(row->text));
	ck_assert_int_eq(base64_decode(row->text, strlen(row->text), octets, sizeof(octets)),
			 (long)len);
	ck_assert_mem_eq(octets, row->octets, len);
}
END_TEST

START_TEST(test_every_length)
{
	uint8_t data[256], back[256];
	char text[BASE64_LEN(256) + 1];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (size_t n = 0; n <= sizeof(data); n++) {
		size_t len = base64_encode(data, n, text);

		ck_assert_int_eq(base64_decode(text, len, back, n), (long)n);
		ck_assert_mem_eq(back, data, n);
		if (n > 0)
			ck_assert_int_eq(base64_decode(text, len, back, n - 1), POP_E_LONG);
	}
}
END_TEST

static const char *const bad_rows[] = {
	"Z",	    "Zg",     "Zg=",	  "Zg===", "=",	   "====",     "Z===",	     "Zh==", "Zm9=",
	"Zm 9v",    "Zm9v\n", "Zm9v\r\n", "Zm-v",  "Zm_v", "Zg==Zg==", "Zg==Zm9v",   "=Zg=", "Z=g=",
	"Zm9v====", "Zm9v=",  " Zm9v",	  "Zm9v ", "*",	   "Zm9v\x80", "\xc3\xa4==",
};

START_TEST(test_bad)
{
	char octets[64];

	ck_assert_msg(base64_decode(bad_rows[_i], strlen(bad_rows[_i]), octets, sizeof(octets)) ==
			      POP_E_SYNTAX,
		      "%s", bad_rows[_i]);
}
END_TEST

START_TEST(test_nul)
{
	char octets[8];

	ck_assert_int_eq(base64_decode("Zm9\0", 4, octets, sizeof(octets)), POP_E_SYNTAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base64");
	TCase *tc = tcase_create("base64");

	tcase_add_loop_test(tc, test_both_ways, 0, N_ELEMS(good_rows));
	tcase_add_test(tc, test_every_length);
	tcase_add_loop_test(tc, test_bad, 0, N_ELEMS(bad_rows));
	tcase_add_test(tc, test_nul);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
