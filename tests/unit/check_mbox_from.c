/*
 * check_mbox_from.c - which lines separate the messages of an mbox.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "mbox_from.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static const struct row {
	const char *line;
	bool from;
} rows[] = {
	{ "From joe Thu Nov 12 10:32:04 2026", true },
	{ "From joe@example.org Thu Nov 12 10:32:04 2026", true },
	{ "From joe@example.org  Thu Nov 12 10:32:04 2026", true },
	{ "From MAILER-DAEMON Thu Jan  1 00:00:00 1970", true },
	{ "From joe Thu Jan 1 00:00:00 1970", true },
	{ "From joe Thu Jan 01 00:00:00 1970", true },
	{ "From joe Thu Nov 12 10:32 2026", true },
	{ "From joe Thu Nov 12 10:32:04 2026 ", true },
	{ "From joe Thu Nov 12 10:32:04 2026 \t", true },
	{ "From joe Thu Nov 12 10:32:60 2026", true },
	{ "From joe Thu Nov 12 10:32:04 EST 2026", true },
	{ "From joe Thu Nov 12 10:32 MET 2026", true },
	{ "From joe Thu Nov 12 10:32:04 MET DST 2026", true },
	{ "From joe Thu Nov 12 10:32:04 +0100 2026", true },
	{ "From joe Thu Nov 12 10:32:04 2026 +0100", true },
	{ "From joe Thu Nov 12 10:32:04 2026 -1130", true },
	{ "From joe Thu Nov 12 10:32:04 2026 EST", true },
	{ "From joe Thu Nov 12 10:32:04 2026 MET DST", true },
	{ "From joe Thu Nov 12 10:32:04 2026 remote from host", true },
	{ "From joe Thu Nov 12 10:32:04 2026 EST remote from a host", true },
	{ "From \"john doe\"@example.org Thu Nov 12 10:32:04 2026", true },
	{ "From Thu Nov 12 10:32:04 2026 Thu Nov 12 10:32:04 2026", true },
	{ "From joe Mon Feb 29 00:00:00 2024", true },
	{ "From joe Mon Feb 29 00:00:00 2000", true },
	{ "From joe\tThu Nov 12 10:32:04 2026", true },
	{ "From \xc3\xa9l\xff Thu Nov 12 10:32:04 2026", true },
	{ "From joe Thu Nov 12 23:59:59 9999", true },

	{ "", false },
	{ "From ", false },
	{ "From", false },
	{ "From joe", false },
	{ "From: joe Thu Nov 12 10:32:04 2026", false },
	{ ">From joe Thu Nov 12 10:32:04 2026", false },
	{ "from joe Thu Nov 12 10:32:04 2026", false },
	{ " From joe Thu Nov 12 10:32:04 2026", false },
	{ "From now on Thursday it is", false },
	{ "From Thu Nov 12 10:32:04 2026", false },
	{ "From  Thu Nov 12 10:32:04 2026", false },
	{ "From joeThu Nov 12 10:32:04 2026", false },
	{ "From joe Thx Nov 12 10:32:04 2026", false },
	{ "From joe thu Nov 12 10:32:04 2026", false },
	{ "From joe Thu Nov 12 10:32:04 26", false },
	{ "From joe Thu Nov 12 10:32:04 20266", false },
	{ "From joe Thu Nov 12 10:32:04", false },
	{ "From joe Thu Nov 12 24:00:00 2026", false },
	{ "From joe Thu Nov 12 10:60:04 2026", false },
	{ "From joe Thu Nov 12 10:32:61 2026", false },
	{ "From joe Thu Nov 12 1:32:04 2026", false },
	{ "From joe Thu Nov 12 10:32: 2026", false },
	{ "From joe Thu Nov 12 10:32:4 2026", false },
	{ "From joe Thu Nov 12 10-32-04 2026", false },
	{ "From joe Thu Nov 31 10:32:04 2026", false },
	{ "From joe Thu Nov 0 10:32:04 2026", false },
	{ "From joe Thu Nov 123 10:32:04 2026", false },
	{ "From joe Mon Feb 29 00:00:00 2023", false },
	{ "From joe Mon Feb 29 00:00:00 1900", false },
	{ "From joe Mon Feb 30 00:00:00 2024", false },
	{ "From joe Thu Nvo 12 10:32:04 2026", false },
	{ "From joe Thu November 12 10:32:04 2026", false },
	{ "From joe Nov 12 10:32:04 2026", false },
	{ "From joe Thu 12 Nov 10:32:04 2026", false },
	{ "From joe Thu Nov 12 10:32:04 2026 and then", false },
	{ "From joe Thu Nov 12 10:32:04 2026 +01", false },
	{ "From joe Thu Nov 12 10:32:04 2026 +2460", false },
	{ "From joe Thu Nov 12 10:32:04 2026 ABCDEF", false },
	{ "From joe Thu Nov 12 10:32:04 2026 remote from ", false },
	{ "From joe Thu Nov 12 10:32:04 2026 remote", false },
	{ "From joe Thu Nov 12 10:32:04 2026\r", false },
	{ "From joe Thu Nov 12 10:32:04 2026.", false },
	{ "From joe, Thu, 12 Nov 2026 10:32:04 +0100", false },
};

START_TEST(judged)
{
	const struct row *r = &rows[_i];

	ck_assert_msg(mbox_is_from(r->line, strlen(r->line)) == r->from, "%s", r->line);
}
END_TEST

/* Every prefix of a good line is judged without a look behind its end. */
START_TEST(prefixes)
{
	static const char good[] = "From joe Thu Nov 12 10:32:04 MET DST 2026 +0100 remote from h";

	for (size_t n = 0; n < sizeof(good); n++) {
		char *copy = malloc(n + 1);
		bool want = n == strlen("From joe Thu Nov 12 10:32:04 MET DST 2026") ||
			    n == strlen("From joe Thu Nov 12 10:32:04 MET DST 2026 ") ||
			    n == strlen("From joe Thu Nov 12 10:32:04 MET DST 2026 +0100") ||
			    n == strlen("From joe Thu Nov 12 10:32:04 MET DST 2026 +0100 ") ||
			    n == strlen(good);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, good, n);
		ck_assert_msg(mbox_is_from(copy, n) == want, "%.*s", (int)n, good);
		free(copy);
	}
}
END_TEST

START_TEST(too_long)
{
	static const char date[] = " Thu Nov 12 10:32:04 2026";
	char line[MBOX_FROM_MAX + 1];

	for (size_t n = MBOX_FROM_MAX - 2; n <= MBOX_FROM_MAX; n++) {
		memset(line, 'x', sizeof(line));
		memcpy(line, "From ", 5);
		memcpy(line + n - strlen(date), date, strlen(date));
		ck_assert_int_eq(mbox_is_from(line, n), n < MBOX_FROM_MAX);
	}
}
END_TEST

START_TEST(nul_inside)
{
	static const char text[] = "From joe\0 Thu Nov 12 10:32:04 2026";

	ck_assert(!mbox_is_from(text, sizeof(text) - 1));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mbox_from");
	TCase *tc = tcase_create("lines");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, judged, 0, N_ELEMS(rows));
	tcase_add_test(tc, prefixes);
	tcase_add_test(tc, too_long);
	tcase_add_test(tc, nul_inside);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
