/*
 * check_index.c - what an index keeps, what damage does to it (nothing but work),
 * and that ids outlive all that happens to a mailbox.
 */
#include <signal.h>
#include <sys/resource.h>
#include "index_site.h"
#include "imported.h"
#include "index.h"

static char before[SITE_MAX][UIDL_MAX + 1], after[SITE_MAX][UIDL_MAX + 1];
static const enum maildrop_kind kinds[] = { MAILDROP_MBOX, MAILDROP_MAILDIR };

static void fill(int kind, int count)
{
	site_setup(kinds[kind]);
	for (int n = 0; n < count; n++)
		deliver(n);
	ck_assert_uint_eq(session(before), (size_t)count);
}

static size_t read_index(uint8_t **bytes)
{
	char path[512], *data;
	size_t len;
	int fd;

	path_of(path, "state/index");
	fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_read_file(fd, 1 << 20, &data, &len), 0);
	close(fd);
	*bytes = (uint8_t *)data;
	return len;
}

static void write_index(const uint8_t *bytes, size_t n)
{
	char path[512];
	int fd;

	path_of(path, "state/index");
	fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_all(fd, bytes, n), 0);
	close(fd);
}

/* The maildrop is as it should be, whatever the index is. */
static void expect_all(size_t count)
{
	ck_assert_uint_eq(maildrop_count(md), count);
	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(number_of(i), (int)i);
}

/* Every byte damaged, and every length. */
START_TEST(test_damaged)
{
	uint8_t *good, *bad;
	size_t n;

	fill(_i, 3);
	in_a_hurry = true;
	n = read_index(&good);
	bad = malloc(n);
	for (size_t at = 0; at < n; at++) {
		memcpy(bad, good, n);
		bad[at] ^= (uint8_t)(1u << at % 8);
		write_index(bad, n);
		ck_assert_msg(!open_md(), "byte %zu", at);
		expect_all(3);
		write_index(good, at);
		ck_assert_msg(!open_md(), "length %zu", at);
		expect_all(3);
	}
	write_index(good, n);
	ck_assert(open_md());
	ck_assert_uint_eq(session(after), 3);
	same_ids(before, after, 3);
	free(good);
	free(bad);
	site_teardown();
}
END_TEST

/* One that is whole, but of something else. */
START_TEST(test_foreign)
{
	char path[512], to[512];

	fill(_i, 3);
	path_of(path, kinds[_i] == MAILDROP_MBOX ? "mbox" : "md");
	snprintf(to, sizeof(to), "%.200s.moved", path);
	ck_assert_int_eq(rename(path, to), 0);
	snprintf(env.spec.path, sizeof(env.spec.path), "%s", to);
	ck_assert(!open_md());
	expect_all(3);
	ck_assert_uint_eq(session(after), 3);
	same_ids(before, after, 3);
	site_teardown();
}
END_TEST

static void no_index(const char *path)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void link_index(const char *path)
{
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
}

static void fifo_index(const char *path)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

/* Where an index cannot be read or saved, a session does not notice. */
START_TEST(test_no_place)
{
	void (*const make[])(const char *path) = { no_index, link_index, fifo_index };
	char path[512];

	fill(_i % 2, 3);
	path_of(path, "state/index");
	ck_assert_int_eq(unlink(path), 0);
	make[_i / 2](path);
	for (int n = 0; n < 2; n++) {
		open_md();
		expect_all(3);
		ck_assert_uint_eq(session(after), 3);
		same_ids(before, after, 3);
	}
	site_teardown();
}
END_TEST

START_TEST(test_leftovers)
{
	char path[512];

	site_setup(MAILDROP_MBOX);
	put_file("state/index.12345", "killed", false);
	put_file("state/index.note", "not ours", false);
	deliver(0);
	session(before);
	path_of(path, "state/index.12345");
	ck_assert_int_lt(access(path, F_OK), 0);
	path_of(path, "state/index.note");
	ck_assert_int_eq(access(path, F_OK), 0);
	site_teardown();
}
END_TEST

/* Lost indexes, new mail, deletions: no id changes. */
START_TEST(test_ids_stay)
{
	char path[512];

	fill(_i, 6);
	path_of(path, "state/index");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_uint_eq(session(after), 6);
	same_ids(before, after, 6);
	/* new mail, known by the index */
	deliver(6);
	deliver(7);
	ck_assert_uint_eq(session(after), 8);
	same_ids(before, after, 6);
	ck_assert(open_md());
	ck_assert_uint_eq(session(before), 8);
	same_ids(before, after, 8);
	/* every second message goes */
	open_md();
	expunge(0x55);
	ck_assert_uint_eq(session(after), 4);
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(before[2 * i + 1], after[i]);
	open_md();
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(number_of(i), (int)(2 * i + 1));
	site_teardown();
}
END_TEST

/* After an expunge the next session need not read the mailbox again. */
START_TEST(test_after_expunge)
{
	site_setup(MAILDROP_MBOX);
	clock_shift_ns = 0;
	for (int n = 0; n < 6; n++)
		deliver(n);
	session(before);
	open_md();
	expunge(0x3);
	ck_assert(open_md());
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(number_of(i), (int)i + 2);
	ck_assert_uint_eq(session(after), 4);
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(before[i + 2], after[i]);
	site_teardown();
}
END_TEST

/* Equal messages: of two twins one goes, the other keeps its own id. */
START_TEST(test_twins)
{
	fill(_i, 2);
	if (kinds[_i] == MAILDROP_MBOX) {
		deliver(1);
		deliver(1);
	} else {
		put_file("md/cur/1001.M1P2.host:2,S", "Subject: number 1\n\nbody 1\n", false);
		put_file("md/cur/1001.M1P2.host:2,F", "Subject: number 1\n\nbody 1\n", false);
	}
	ck_assert_uint_eq(session(before), 4);
	ck_assert_str_ne(before[1], before[2]);
	ck_assert_str_ne(before[2], before[3]);
	ck_assert_str_ne(before[1], before[3]);
	open_md();
	expunge(0x2);
	for (int n = 0; n < 2; n++) {
		ck_assert_uint_eq(session(after), 3);
		ck_assert_str_eq(after[0], before[0]);
		ck_assert_str_eq(after[1], before[2]);
		ck_assert_str_eq(after[2], before[3]);
	}
	/* another one gets the id that came free */
	if (kinds[_i] == MAILDROP_MBOX) {
		deliver(1);
		ck_assert_uint_eq(session(after), 4);
		ck_assert_str_eq(after[3], before[1]);
	}
	site_teardown();
}
END_TEST

/* Ids are imported after an index was made: they come first, and stay when the file goes. */
START_TEST(test_imported)
{
	char path[512], text[1024];

	fill(_i, 3);
	if (kinds[_i] == MAILDROP_MBOX)
		snprintf(text, sizeof(text), "pop3d-uidl 1\ndigest old-1 %s 1\n", before[1]);
	else
		snprintf(text, sizeof(text), "pop3d-uidl 1\nbase old-1 %s\n", before[1]);
	put_file("state/" IMPORTED_FILE, text, false);
	ck_assert(!open_md() || !md->uidls_known);
	for (int n = 0; n < 2; n++) {
		ck_assert_uint_eq(session(after), 3);
		ck_assert_str_eq(after[0], before[0]);
		ck_assert_str_eq(after[1], "old-1");
		ck_assert_str_eq(after[2], before[2]);
	}
	ck_assert(open_md());
	deliver(3);
	ck_assert_uint_eq(session(after), 4);
	ck_assert_str_eq(after[1], "old-1");
	open_md();
	expunge(0x1);
	ck_assert_uint_eq(session(after), 3);
	ck_assert_str_eq(after[0], "old-1");
	/* without an index they are read again */
	path_of(path, "state/index");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_uint_eq(session(after), 3);
	ck_assert_str_eq(after[0], "old-1");
	site_teardown();
}
END_TEST

static size_t list_octets(uint64_t *out, size_t most)
{
	int fd = maildrop_list_fd(md);
	ssize_t n = fs_pread_full(fd, out, most * 8, 0);

	ck_assert_int_ge(n, 0);
	ck_assert_int_eq(fs_check_sealed(fd, (uint64_t)n), 0);
	close(fd);
	return (size_t)n / 8;
}

/* The ids of the list, as a session takes it apart. */
static size_t list_ids(char ids[SITE_MAX][UIDL_MAX + 1])
{
	static uint8_t bytes[1 << 16];
	int fd = maildrop_uidl_fd(md);
	ssize_t n = fs_pread_full(fd, bytes, sizeof(bytes), 0);
	struct uidl_list_head head;

	ck_assert_int_ge(n, (ssize_t)sizeof(head));
	ck_assert_int_eq(fs_check_sealed(fd, (uint64_t)n), 0);
	close(fd);
	memcpy(&head, bytes, sizeof(head));
	for (size_t i = 0; i < head.count; i++) {
		struct uidl_digest_ref ref;
		uint32_t from, to = (uint32_t)head.string_bytes;
		const uint8_t *strings = bytes + sizeof(head) + head.count * 4;
		int len = 0;

		if (!head.digests) {
			memcpy(&from, bytes + sizeof(head) + i * 4, 4);
			if (i + 1 < head.count)
				memcpy(&to, bytes + sizeof(head) + i * 4 + 4, 4);
			ck_assert_uint_le(from, to);
			snprintf(ids[i], UIDL_MAX + 1, "%.*s", (int)(to - from), strings + from);
			continue;
		}
		memcpy(&ref, bytes + sizeof(head) + i * sizeof(ref), sizeof(ref));
		for (int b = 0; b < 16; b++)
			len += snprintf(ids[i] + len, 3, "%02x", ref.digest[b]);
		if (ref.suffix)
			snprintf(ids[i] + len, 12, "-%u", ref.suffix);
	}
	return (size_t)head.count;
}

static void expect_lists(void)
{
	uint64_t octets[SITE_MAX], one, total = 0;
	size_t n = maildrop_count(md);
	char id[UIDL_MAX + 1];

	ck_assert_uint_eq(list_octets(octets, SITE_MAX), n);
	ck_assert_uint_eq(list_ids(after), n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(maildrop_message_octets(md, i, &one), 0);
		ck_assert_uint_eq(octets[i], one);
		total += one;
		ck_assert_int_eq(maildrop_uidl(md, i, id), 0);
		ck_assert_str_eq(after[i], id);
	}
	ck_assert_uint_eq(maildrop_octets(md), total);
}

/* The lists are the same from memory, from an index, and from an index and new mail. */
START_TEST(test_lists)
{
	fill(_i, 5);
	open_md();
	expect_lists();
	deliver(5);
	open_md();
	expect_lists();
	maildrop_save(md);
	ck_assert(open_md());
	expect_lists();
	if (kinds[_i] == MAILDROP_MAILDIR) {
		char a[512], b[512];

		/* a rename seen in the session, and one before it */
		path_of(a, "md/new/1002.M1P2.host");
		path_of(b, "md/cur/1002.M1P2.host:2,FS");
		ck_assert_int_eq(rename(a, b), 0);
		ck_assert_int_eq(number_of(2), 2);
		expect_lists();
		ck_assert(!open_md());
		expect_lists();
		maildrop_save(md);
		/* one in the middle */
		put_file("md/new/1002.N1P2.host", "Subject: number 9\n\nbody 9\n", false);
		ck_assert(!open_md());
		expect_lists();
		ck_assert_int_eq(number_of(3), 9);
		maildrop_save(md);
		ck_assert(open_md());
		expect_lists();
		ck_assert_int_eq(number_of(2), 2);
	}
	site_teardown();
}
END_TEST

/* Mail that came in pieces: the last message known was not whole. */
START_TEST(test_grown_last)
{
	site_setup(MAILDROP_MBOX);
	deliver(0);
	put_file("mbox", "From a@b Mon Jan  1 00:00:00 2024\nSubject: number 1\n\nbody 1\n\n",
		 true);
	session(before);
	put_file("mbox", "more of it\n\n", true);
	deliver(2);
	ck_assert_uint_eq(session(after), 3);
	ck_assert_str_eq(before[0], after[0]);
	open_md();
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(number_of(i), (int)i);
	expect_lists();
	site_teardown();
}
END_TEST

/*
 * A file that could not be completed (there is no room, or it is read-only) grew
 * behind an unfinished line: the index is no help then.
 */
static const struct {
	const char *name, *end, *more;
} unfinished[] = {
	{ "a separator becomes text", "From a@b Mon Jan  1 00:00:00 2024",
	  " and so on\n\nbody\n\n" },
	{ "text that is no separator", "From a@b Mon Jan  1 00:00:00 2024\n\nbody 1",
	  "From a@b Mon Jan  1 00:00:00 2024\n\nbody 2\n\n" },
	{ "a separator grows", "From a@b Mon Jan  1 00:00:00 2024", " +0100\n\nbody 1\n\n" },
};

START_TEST(test_unfinished)
{
	struct rlimit all, none;
	struct stat st;
	char path[512];
	uint64_t octets;
	size_t count;

	site_setup(MAILDROP_MBOX);
	deliver(0);
	put_file("mbox", unfinished[_i].end, true);
	path_of(path, "mbox");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &all), 0);
	none = (struct rlimit){ (rlim_t)st.st_size, all.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	open_md();
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	ck_assert_uint_eq(maildrop_count(md), 2);
	maildrop_save(md);
	close_md();
	put_file("mbox", unfinished[_i].more, true);
	open_md();
	count = maildrop_count(md);
	octets = maildrop_octets(md);
	close_md();
	env.fresh = true;
	open_md();
	ck_assert_msg(maildrop_count(md) == count && maildrop_octets(md) == octets, "%s",
		      unfinished[_i].name);
	site_teardown();
}
END_TEST

/* More changes beside an index than are kept there. */
START_TEST(test_many)
{
	enum { MANY = 6000 };
	char first[UIDL_MAX + 1], id[UIDL_MAX + 1];

	site_setup(MAILDROP_MBOX);
	for (int n = 0; n < MANY; n++)
		deliver(n);
	open_md();
	maildrop_save(md);
	ck_assert(open_md());
	/* no ids yet: each record gets one */
	ck_assert_int_eq(maildrop_uidl(md, 0, first), 0);
	for (size_t i = 0; i < MANY; i += 500)
		ck_assert_int_eq(number_of(i), (int)i);
	maildrop_save(md);
	digests_made = 0;
	ck_assert(open_md());
	ck_assert_int_eq(maildrop_uidl(md, 0, id), 0);
	ck_assert_str_eq(first, id);
	for (size_t i = 0; i < MANY; i++)
		ck_assert_int_eq(number_of(i), (int)i);
	ck_assert_uint_eq(digests_made, 0);
	site_teardown();
}
END_TEST

/* A mailbox that is rewritten: digests are made of what is new in it alone. */
START_TEST(test_rewritten)
{
	char path[512];

	fill(0, 8);
	path_of(path, "mbox");
	ck_assert_int_eq(unlink(path), 0);
	for (int n = 2; n < 10; n++)
		deliver(n);
	digests_made = 0;
	ck_assert_uint_eq(session(after), 8);
	ck_assert_uint_eq(digests_made, 2);
	for (size_t i = 0; i < 6; i++)
		ck_assert_str_eq(before[i + 2], after[i]);
	site_teardown();
}
END_TEST

/*
 * A file that a copy of its takes the place of, with its times (a restored backup), is
 * the same message; one of another size was changed, and is measured anew.  _i: which.
 */
START_TEST(test_copied)
{
	static const char *const texts[] = { "Subject: number 1\n\nbody 1\n",
					     "Subject: number 1\n\nbody 1\nand more\n" };
	static const char name[] = "md/new/1001.M1P2.host";
	struct timespec times[2];
	uint64_t octets;
	char path[512], copy[512];
	struct stat st;

	fill(1, 3);
	path_of(path, name);
	path_of(copy, "md/tmp/copy");
	ck_assert_int_eq(stat(path, &st), 0);
	put_file("md/tmp/copy", texts[_i], false);
	times[0] = times[1] = st.st_mtim;
	ck_assert_int_eq(utimensat(AT_FDCWD, copy, times, 0), 0);
	ck_assert_int_eq(rename(copy, path), 0);
	ck_assert_uint_eq(session(after), 3);
	same_ids(before, after, 3);
	open_md();
	expect_all(3);
	ck_assert_int_eq(maildrop_message_octets(md, 1, &octets), 0);
	ck_assert_uint_eq(octets, strlen(texts[_i]) + (_i ? 4 : 3));
	site_teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("index");
	TCase *tc = tcase_create("index");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_damaged, 0, 2);
	tcase_add_loop_test(tc, test_foreign, 0, 2);
	tcase_add_loop_test(tc, test_no_place, 0, 6);
	tcase_add_test(tc, test_leftovers);
	tcase_add_loop_test(tc, test_ids_stay, 0, 2);
	tcase_add_test(tc, test_after_expunge);
	tcase_add_loop_test(tc, test_twins, 0, 2);
	tcase_add_loop_test(tc, test_imported, 0, 2);
	tcase_add_loop_test(tc, test_lists, 0, 2);
	tcase_add_test(tc, test_grown_last);
	tcase_add_loop_test(tc, test_unfinished, 0, N_ELEMS(unfinished));
	tcase_add_test(tc, test_many);
	tcase_add_test(tc, test_rewritten);
	tcase_add_loop_test(tc, test_copied, 0, 2);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
