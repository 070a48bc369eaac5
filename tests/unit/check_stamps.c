/*
 * check_stamps.c - every way in which the stamps of files lie, and that no index
 * is believed because of it.
 */
#include "index_site.h"

static char before[SITE_MAX][UIDL_MAX + 1], after[SITE_MAX][UIDL_MAX + 1];

static const enum maildrop_kind kinds[] = { MAILDROP_MBOX, MAILDROP_MAILDIR };

static void mbox_setup(void)
{
	site_setup(MAILDROP_MBOX);
}

/* Five messages, their ids known to an index. */
static void fill(void)
{
	for (int n = 0; n < 5; n++)
		deliver(n);
	ck_assert_uint_eq(session(before), 5);
}

static void start(int kind)
{
	site_setup(kinds[kind]);
	fill();
}

static void stat_of(const char *name, struct stat *st)
{
	char path[512];

	path_of(path, name);
	ck_assert_int_eq(stat(path, st), 0);
}

static void restore_mtime(const char *name, const struct stat *st)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	char path[512];

	path_of(path, name);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Write over a part of the mbox in place. */
static void overwrite(const char *old, const char *with)
{
	char path[512], *text;
	size_t len;
	int fd;

	path_of(path, "mbox");
	fd = open(path, O_RDWR);
	ck_assert_int_eq(fs_read_file(fd, 65536, &text, &len), 0);
	ck_assert_ptr_nonnull(strstr(text, old));
	ck_assert_int_eq(fs_pwrite_all(fd, with, strlen(with), strstr(text, old) - text), 0);
	free(text);
	close(fd);
}

/* Nothing lies: the index is used in place, and nothing is read. */
START_TEST(test_unchanged)
{
	start(_i);
	ck_assert(open_md());
	ck_assert(md->uidls_known);
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(number_of(i), (int)i);
	ck_assert_uint_eq(session(after), 5);
	same_ids(before, after, 5);
	site_teardown();
}
END_TEST

/*
 * Inode, size and mtime are the same, only ctime moved: a mail reader moved a
 * Status line from one message to another, with or without mail behind it.
 */
START_TEST(test_status_moved)
{
	struct stat st;

	fill();
	stat_of("mbox", &st);
	overwrite("number 1\nStatus: RO\n\nbody 1", "number 1\n\nbody 1\n\nFrom x");
	overwrite("number 1\n\nbody 1\n\nFrom x", "number 1\nStatus: OR\n\nbody 1");
	if (_i)
		deliver(5);
	else
		restore_mtime("mbox", &st);
	ck_assert(!open_md());
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(number_of(i), (int)i);
	ck_assert_uint_eq(session(after), _i ? 6 : 5);
	same_ids(before, after, 5);
}
END_TEST

/* A line goes from one message to the other: every offset between them changes. */
START_TEST(test_line_moved)
{
	char path[512], *text, *a, *b;
	struct stat st;
	size_t len;
	int fd;

	fill();
	stat_of("mbox", &st);
	path_of(path, "mbox");
	fd = open(path, O_RDWR);
	ck_assert_int_eq(fs_read_file(fd, 65536, &text, &len), 0);
	a = strstr(strstr(text, "number 1"), "Status: RO\n");
	b = strstr(strstr(text, "number 3"), "Status: RO\n");
	memmove(a, a + 11, (size_t)(b - a));
	for (size_t i = 0; i < 11; i++)
		b[i] = "Status: RO\n"[i];
	ck_assert_int_eq(fs_pwrite_all(fd, text, len, 0), 0);
	free(text);
	close(fd);
	if (_i)
		deliver(5);
	else
		restore_mtime("mbox", &st);
	ck_assert(!open_md());
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(number_of(i), (int)i);
	ck_assert_uint_eq(session(after), _i ? 6 : 5);
	same_ids(before, after, 5);
}
END_TEST

/* A backup came back with the times it had, as tar and rsync -t do. */
START_TEST(test_restored_mtime)
{
	struct stat st;
	char path[512];

	fill();
	stat_of("mbox", &st);
	path_of(path, "mbox");
	ck_assert_int_eq(truncate(path, 0), 0);
	for (int n = 5; n < 10; n++)
		deliver(n);
	restore_mtime("mbox", &st);
	ck_assert(!open_md());
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(number_of(i), (int)i + 5);
	ck_assert_uint_eq(session(after), 5);
	for (size_t i = 0; i < 5; i++)
		ck_assert_str_ne(before[i], after[i]);
}
END_TEST

/* Stamps that lie in the future prove nothing. */
START_TEST(test_clock_set_back)
{
	site_setup(kinds[_i]);
	clock_shift_ns = INT64_C(-3600000000000);
	fill();
	ck_assert(!open_md());
	maildrop_save(md);
	ck_assert(!open_md());
	/* when the clock has passed them, one session reads again, the next does not */
	clock_shift_ns = INT64_C(3600000000000);
	ck_assert(!open_md());
	ck_assert_uint_eq(session(after), 5);
	same_ids(before, after, 5);
	ck_assert(open_md());
	site_teardown();
}
END_TEST

/* The clock of the stamps stands still for two seconds at a time. */
START_TEST(test_coarse_clock)
{
	site_setup(kinds[_i]);
	margin_ns = INT64_C(2000000000);
	clock_shift_ns = INT64_C(1000000000);
	fill();
	ck_assert(!open_md());
	/* a change in the same tick leaves the same stamp: nothing shows but the content */
	clock_shift_ns = INT64_C(10000000000);
	ck_assert_uint_eq(session(after), 5);
	ck_assert(open_md());
	same_ids(before, after, 5);
	site_teardown();
}
END_TEST

/* A file system whose stamps are made elsewhere. */
START_TEST(test_never_trusted)
{
	site_setup(kinds[_i]);
	margin_ns = STAMP_NEVER;
	fill();
	for (int n = 0; n < 3; n++) {
		ck_assert(!open_md());
		ck_assert_uint_eq(session(after), 5);
		same_ids(before, after, 5);
	}
	/* and when it is one that can be trusted, what was written there is not */
	margin_ns = 20000000;
	ck_assert(!open_md());
	site_teardown();
}
END_TEST

/* Another file that got the inode of the old one. */
START_TEST(test_reused_inode)
{
	struct stat st, now;
	char path[512];

	fill();
	stat_of("mbox", &st);
	path_of(path, "mbox");
	for (int tries = 0; tries < 20; tries++) {
		ck_assert_int_eq(unlink(path), 0);
		for (int n = 5; n < 10; n++)
			deliver(n);
		stat_of("mbox", &now);
		if (now.st_ino == st.st_ino)
			break;
	}
	restore_mtime("mbox", &st);
	ck_assert(!open_md());
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(number_of(i), (int)i + 5);
}
END_TEST

/* A message edited in its place, which no stamp of its directory shows: seen at its first use. */
START_TEST(test_maildir_edited)
{
	char path[512];

	site_setup(MAILDROP_MAILDIR);
	fill();
	path_of(path, "md/new/1002.M1P2.host");
	ck_assert_int_eq(truncate(path, 0), 0);
	put_file("md/new/1002.M1P2.host", "Subject: other\n\nbody 77 and more\n", true);
	ck_assert(open_md());
	ck_assert_int_eq(number_of(1), 1);
	ck_assert_int_eq(number_of(2), -1);
	maildrop_save(md);
	/* the next session measures it anew, and its id stays */
	ck_assert(!open_md());
	ck_assert_int_eq(number_of(2), 77);
	ck_assert_uint_eq(session(after), 5);
	same_ids(before, after, 5);
	ck_assert(open_md());
	site_teardown();
}
END_TEST

/* A message changed behind the back of a session: seen at its first use, and the index is doubted.
 */
START_TEST(test_mbox_doubted)
{
	fill();
	ck_assert(open_md());
	/* behind the back of the open session */
	overwrite("number 2\nStatus: RO\n\nbody 2", "number 2\nStatus: XX\n\nbody 2");
	ck_assert_int_eq(number_of(1), 1);
	ck_assert_int_eq(number_of(2), -1);
	maildrop_save(md);
	ck_assert(!open_md());
	ck_assert_int_eq(number_of(2), 2);
	ck_assert_uint_eq(session(after), 5);
	same_ids(before, after, 5);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("stamps");
	TCase *mbox = tcase_create("mbox"), *both = tcase_create("both");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(mbox, mbox_setup, site_teardown);
	tcase_add_loop_test(mbox, test_status_moved, 0, 2);
	tcase_add_loop_test(mbox, test_line_moved, 0, 2);
	tcase_add_test(mbox, test_restored_mtime);
	tcase_add_test(mbox, test_reused_inode);
	tcase_add_test(mbox, test_mbox_doubted);
	tcase_add_loop_test(both, test_unchanged, 0, 2);
	tcase_add_loop_test(both, test_clock_set_back, 0, 2);
	tcase_add_loop_test(both, test_coarse_clock, 0, 2);
	tcase_add_loop_test(both, test_never_trusted, 0, 2);
	tcase_add_test(both, test_maildir_edited);
	suite_add_tcase(s, mbox);
	suite_add_tcase(s, both);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
