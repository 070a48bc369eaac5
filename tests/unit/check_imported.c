/*
 * check_imported.c - the file of imported ids: what is taken, what is refused,
 * and that it comes back as it was written.
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "imported.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define HEAD	   "pop3d-uidl 1\n"
#define DIGEST	   "00112233445566778899aabbccddeeff"

static char dir[512];
static int dir_fd;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.400s/imported.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	dir_fd = open(dir, O_PATH | O_DIRECTORY);
	ck_assert_int_ge(dir_fd, 0);
}

static void teardown(void)
{
	unlinkat(dir_fd, "uidl", 0);
	unlinkat(dir_fd, "uidl.new", 0);
	unlinkat(dir_fd, "other", 0);
	close(dir_fd);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void put(const char *name, const char *text, size_t len)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static const struct {
	const char *name, *text;
	int err;
} files[] = {
	{ "head alone", HEAD, 0 },
	{ "no line end", "pop3d-uidl 1", 0 },
	{ "a base", HEAD "base ID 123.host\n", 0 },
	{ "a digest", HEAD "digest ID " DIGEST " 1\n", 0 },
	{ "comment and empty line", HEAD "# x\n\nbase ID a", 0 },
	{ "escaped octets", HEAD "base ID a%20%FF\n", 0 },
	{ "empty", "", POP_E_CORRUPT },
	{ "other head", "pop3d-uidl 2\n", POP_E_CORRUPT },
	{ "no head", "base ID a\n", POP_E_CORRUPT },
	{ "other key", HEAD "uid ID a\n", POP_E_CORRUPT },
	{ "no id", HEAD "base  a\n", POP_E_CORRUPT },
	{ "no name", HEAD "base ID\n", POP_E_CORRUPT },
	{ "empty name", HEAD "base ID \n", POP_E_CORRUPT },
	{ "blank in the name", HEAD "base ID a b\n", POP_E_CORRUPT },
	{ "octet above 0x7E in the id", HEAD "base I\xC3 a\n", POP_E_CORRUPT },
	{ "CR", HEAD "base ID a\r\n", POP_E_CORRUPT },
	{ "id of 71 octets",
	  HEAD "base 12345678901234567890123456789012345678901234567890123456789012345678901 a\n",
	  POP_E_CORRUPT },
	{ "half an escape", HEAD "base ID a%2\n", POP_E_CORRUPT },
	{ "lower escape", HEAD "base ID a%ff\n", POP_E_CORRUPT },
	{ "short digest", HEAD "digest ID 0011 1\n", POP_E_CORRUPT },
	{ "upper digest", HEAD "digest ID 00112233445566778899AABBCCDDEEFF 1\n", POP_E_CORRUPT },
	{ "ordinal 0", HEAD "digest ID " DIGEST " 0\n", POP_E_CORRUPT },
	{ "ordinal +1", HEAD "digest ID " DIGEST " +1\n", POP_E_CORRUPT },
	{ "ordinal of 33 bits", HEAD "digest ID " DIGEST " 4294967296\n", POP_E_CORRUPT },
	{ "no ordinal", HEAD "digest ID " DIGEST "\n", POP_E_CORRUPT },
};

START_TEST(test_files)
{
	struct imported im;
	struct pop_why why = { "" };
	int err;

	put("uidl", files[_i].text, strlen(files[_i].text));
	err = imported_load(&im, dir_fd, geteuid(), &why);
	ck_assert_msg(err == files[_i].err, "%s: %d (%s)", files[_i].name, err, why.text);
	ck_assert_msg(!err || strstr(why.text, "uidl"), "%s: %s", files[_i].name, why.text);
	imported_release(&im);
}
END_TEST

START_TEST(test_nul_inside)
{
	static const char text[] = HEAD "base ID a\0b\n";
	struct imported im;
	struct pop_why why;

	put("uidl", text, sizeof(text) - 1);
	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), POP_E_CORRUPT);
	imported_release(&im);
}
END_TEST

START_TEST(test_what_is_no_file)
{
	struct imported im;
	struct pop_why why = { "" };

	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), 0);
	ck_assert_uint_eq(im.count, 0);
	imported_release(&im);
	ck_assert_int_eq(imported_load(&im, -1, geteuid(), &why), 0);
	imported_release(&im);
	put("other", HEAD, sizeof(HEAD) - 1);
	ck_assert_int_eq(symlinkat("other", dir_fd, "uidl"), 0);
	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), POP_E_UNSAFE);
	imported_release(&im);
	unlinkat(dir_fd, "uidl", 0);
	ck_assert_int_eq(mkfifoat(dir_fd, "uidl", 0600), 0);
	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), POP_E_UNSAFE);
	imported_release(&im);
	unlinkat(dir_fd, "uidl", 0);
	ck_assert_int_eq(linkat(dir_fd, "other", dir_fd, "uidl", 0), 0);
	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), POP_E_UNSAFE);
	imported_release(&im);
	unlinkat(dir_fd, "other", 0);
	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid() + 1, &why), POP_E_UNSAFE);
	imported_release(&im);
}
END_TEST

START_TEST(test_there_and_back)
{
	const uint8_t digest[16] = { 0, 0x11, 0xff };
	char base[16], id[24];
	struct imported im;
	struct pop_why why;
	unsigned i;

	imported_init(&im);
	ck_assert_int_eq(imported_set_base(&im, "a b%\xff", 5, "ODD"), 1);
	for (i = 500; i-- > 0;) {
		snprintf(base, sizeof(base), "m%u", i * 7919 % 500);
		snprintf(id, sizeof(id), "ID-%u", i * 7919 % 500);
		ck_assert_int_eq(imported_set_base(&im, base, strlen(base), id), 1);
	}
	for (i = 1; i <= 12; i++) {
		snprintf(id, sizeof(id), "D-%u", i);
		ck_assert_int_eq(imported_set_digest(&im, digest, i, id), 1);
	}
	ck_assert_int_eq(imported_set_base(&im, "m7", 2, "ID-7"), 0);
	ck_assert_int_eq(imported_set_base(&im, "m7", 2, "new"), 1);
	ck_assert_int_eq(imported_set_base(&im, "m7", 2, "two words"), POP_E_SYNTAX);
	ck_assert_int_eq(imported_set_base(&im, "", 0, "x"), POP_E_LONG);
	ck_assert(im.changed);
	ck_assert_int_eq(imported_save(&im, dir_fd), 0);
	imported_release(&im);

	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), 0);
	ck_assert_uint_eq(im.count, 513);
	ck_assert(im.sorted);
	ck_assert_str_eq(imported_by_base(&im, "a b%\xff", 5), "ODD");
	ck_assert_str_eq(imported_by_base(&im, "m7", 2), "new");
	ck_assert_str_eq(imported_by_base(&im, "m499", 4), "ID-499");
	ck_assert_ptr_null(imported_by_base(&im, "m", 1));
	ck_assert_str_eq(imported_by_digest(&im, digest, 11), "D-11");
	ck_assert_ptr_null(imported_by_digest(&im, digest, 13));
	ck_assert_uint_ne(imported_digest_place(&im, digest), SIZE_MAX);
	ck_assert_uint_eq(imported_digest_place(&im, (const uint8_t[16]){ 9 }), SIZE_MAX);
	imported_release(&im);
}
END_TEST

/* Of two lines for one message the first counts. */
START_TEST(test_twice)
{
	static const char text[] = HEAD "base B z\nbase ONE a\nbase TWO a\n";
	struct imported im;
	struct pop_why why;

	put("uidl", text, sizeof(text) - 1);
	ck_assert_int_eq(imported_load(&im, dir_fd, geteuid(), &why), 0);
	ck_assert_str_eq(imported_by_base(&im, "a", 1), "ONE");
	imported_release(&im);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("imported");
	TCase *tc = tcase_create("file");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_files, 0, N_ELEMS(files));
	tcase_add_test(tc, test_nul_inside);
	tcase_add_test(tc, test_what_is_no_file);
	tcase_add_test(tc, test_there_and_back);
	tcase_add_test(tc, test_twice);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
