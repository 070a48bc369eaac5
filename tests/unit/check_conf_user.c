/*
 * check_conf_user.c - accounts by name and by number, from a passwd file with
 * whatever may stand in one.
 */
#include "scratch.h"

#define open(path, flags) (open)("passwd", flags) /* of the working directory */
#include "../../lib/conf_user.c"
#undef open

static char long_line[100000]; /* longer than any line that is read */

static void put_passwd(void)
{
	static const char head[] = "root:x:0:0:root:/root:/bin/sh\n"
				   "short:x:7\n"
				   "letters:x:a:7::/:\n"
				   "nobody:x:65534:65535::/:\n"
				   "huge:x:4294967295:1::/:\n"
				   "group:x:8:9999999999::/:\n"
				   "\n";
	static const char tail[] = "\nlast:x:1001:1002:Last User:/home/last:/bin/sh";
	int fd = (open)("passwd", O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	memset(long_line, 'l', sizeof(long_line));
	ck_assert_int_eq(write(fd, head, sizeof(head) - 1), sizeof(head) - 1);
	ck_assert_int_eq(write(fd, long_line, sizeof(long_line)), sizeof(long_line));
	ck_assert_int_eq(write(fd, tail, sizeof(tail) - 1), sizeof(tail) - 1);
	close(fd);
}

static const struct row {
	const char *word;
	int err;
	uint32_t uid, gid;
} rows[] = {
	{ "root", 0, 0, 0 },
	{ "0", 0, 0, 0 },
	{ "nobody", 0, 65534, 65535 },
	{ "65534", 0, 65534, 65535 },
	{ "last", 0, 1001, 1002 }, /* behind a line that is too long, without a line end */
	{ "1001", 0, 1001, 1002 },
	{ "4711", 0, 4711, 4711 }, /* no account: its group has the same number */
	{ "short", POP_E_MISSING, 0, 0 },
	{ "letters", POP_E_MISSING, 0, 0 },
	{ "huge", POP_E_MISSING, 0, 0 },
	{ "group", POP_E_MISSING, 0, 0 },
	{ "las", POP_E_MISSING, 0, 0 },
	{ "last:x", POP_E_MISSING, 0, 0 },
	{ "4294967295", POP_E_MISSING, 0, 0 },
};

START_TEST(test_row)
{
	const struct row *r = &rows[_i];
	uint32_t uid = 1, gid = 1;

	put_passwd();
	ck_assert_int_eq(conf_user_ids(r->word, &uid, &gid), r->err);
	if (r->err == 0) {
		ck_assert_uint_eq(uid, r->uid);
		ck_assert_uint_eq(gid, r->gid);
	}
}
END_TEST

START_TEST(test_no_file)
{
	uint32_t uid = 1, gid = 1;

	ck_assert_int_eq(conf_user_ids("root", &uid, &gid), POP_E_MISSING);
	ck_assert_int_eq(conf_user_ids("8", &uid, &gid), 0);
	ck_assert_uint_eq(uid, 8);
	ck_assert_uint_eq(gid, 8);
	ck_assert_int_eq(mkdir("passwd", 0700), 0); /* opened, but not read */
	ck_assert_int_eq(conf_user_ids("root", &uid, &gid), POP_E_MISSING);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("conf_user");
	TCase *tc = tcase_create("conf_user");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_loop_test(tc, test_row, 0, N_ELEMS(rows));
	tcase_add_test(tc, test_no_file);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
