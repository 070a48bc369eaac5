/*
 * check_fds.c - which descriptors stay open.
 */
#include "fds.h"

#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define HIGH 40 /* descriptors 10 .. HIGH are opened */

static const struct {
	const char *name;
	int keep[4];
	size_t n;
} rows[] = {
	{ "none", { 0 }, 0 },
	{ "the first", { 10 }, 1 },
	{ "the last", { HIGH }, 1 },
	{ "in no order", { 30, 12, 20 }, 3 },
	{ "side by side", { 14, 13, 15 }, 3 },
	{ "twice the same", { 17, 17 }, 2 },
	{ "below 3 and none", { -1, 0, 2, 11 }, 4 },
	{ "one that is not open", { 500, 16 }, 2 },
};

START_TEST(test_close_all_but)
{
	int keep[4] = { 0 };

	for (int fd = 10; fd <= HIGH; fd++)
		ck_assert_int_eq(dup2(0, fd), fd);
	for (size_t i = 0; i < 4; i++)
		keep[i] = rows[_i].keep[i];
	fds_close_all_but(keep, rows[_i].n);
	for (int fd = 0; fd <= HIGH; fd++) {
		bool kept = fd < 3;

		for (size_t i = 0; i < rows[_i].n; i++)
			kept |= fd >= 10 && rows[_i].keep[i] == fd;
		ck_assert_msg((fcntl(fd, F_GETFD) >= 0) == kept, "%s: %d", rows[_i].name, fd);
	}
	/* what the test's own report needs was closed as well */
	_exit(0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fds");
	TCase *tc = tcase_create("close");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_loop_exit_test(tc, test_close_all_but, 0, 0, sizeof(rows) / sizeof(rows[0]));
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
