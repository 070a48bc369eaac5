/*
 * check_maildir.c - Maildirs of every shape, and what other programs do to
 * them during a session.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "maildrop.h"
#include "fsutil.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static char root[80];
static struct maildrop_env env;
static struct maildrop *md;
static struct pop_why why;
static char notes[2048];

static int digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		  size_t n, uint8_t (*out)[16])
{
	(void)ctx;
	return digest_items(kind, fd, items, n, out);
}

static void note(void *ctx, int level, const char *text)
{
	(void)ctx, (void)level;
	snprintf(notes + strlen(notes), sizeof(notes) - strlen(notes), "%s\n", text);
}

static void path_of(char out[512], const char *name)
{
	snprintf(out, 512, "%s/%s", root, name);
}

static void deliver_bytes(const char *name, const void *text, size_t n)
{
	char path[512];
	int fd;

	path_of(path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(fs_write_all(fd, text, n), 0);
	close(fd);
}

static void deliver(const char *name, const char *text)
{
	deliver_bytes(name, text, strlen(text));
}

static void move(const char *from, const char *to)
{
	char a[512], b[512];

	path_of(a, from);
	path_of(b, to);
	ck_assert_int_eq(rename(a, b), 0);
}

static bool there(const char *name)
{
	char path[512];
	struct stat st;

	path_of(path, name);
	return lstat(path, &st) == 0;
}

static void setup(void)
{
	const char *base = getenv("TMPDIR");
	char path[512];

	snprintf(root, sizeof(root), "%.40s/maildirXXXXXX",
		 base && strlen(base) < 40 ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	for (size_t i = 0; i < 3; i++) {
		static const char *const subs[] = { "new", "cur", "tmp" };

		path_of(path, subs[i]);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	env = (struct maildrop_env){
		.spec.kind = MAILDROP_MAILDIR,
		.state_fd = -1,
		.uid = geteuid(),
		.digest = digest,
		.note = note,
	};
	snprintf(env.spec.path, sizeof(env.spec.path), "%s", root);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void teardown(void)
{
	maildrop_close(md);
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_md(void)
{
	maildrop_close(md);
	md = NULL;
	ck_assert_msg(maildrop_open(&md, &env, &why) == 0, "%s", why.text);
}

static const char *uidl(size_t idx)
{
	static char id[UIDL_MAX + 1];

	ck_assert_int_eq(maildrop_uidl(md, idx, id), 0);
	return id;
}

static void expect_uidls(const char *const *ids, size_t n)
{
	ck_assert_uint_eq(maildrop_count(md), n);
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(uidl(i), ids[i]);
}

/* What RETR would be given, as stored. */
static void expect_text(size_t idx, const char *text)
{
	struct maildrop_message m;
	char got[256];

	ck_assert_int_eq(maildrop_message(md, idx, &m), 0);
	ck_assert(m.own_fd);
	ck_assert_uint_eq(m.length, strlen(text));
	ck_assert_int_eq(fs_pread_full(m.fd, got, sizeof(got), (off_t)m.offset), (int)m.length);
	ck_assert_int_eq(memcmp(got, text, m.length), 0);
	close(m.fd);
}

#define T(s) s, sizeof(s) - 1
static const struct {
	const char *name, *text;
	size_t n;
	uint64_t octets;
	uint32_t flags;
} shapes[] = {
	{ "empty", T(""), 0, MESSAGE_WIRE_FORM | MESSAGE_NO_DOT },
	{ "lf", T("A: b\n\nc\n"), 11, MESSAGE_NO_DOT },
	{ "crlf", T("A: b\r\n\r\nc\r\n"), 11, MESSAGE_WIRE_FORM | MESSAGE_NO_DOT },
	{ "mixed", T("A: b\r\n\nc\r\n"), 11, MESSAGE_NO_DOT },
	{ "bare cr", T("a\rb\r\n"), 5, MESSAGE_WIRE_FORM | MESSAGE_NO_DOT },
	{ "cr at the end", T("a\r"), 4, MESSAGE_NO_DOT },
	{ "nul", T("a\0b\n"), 5, MESSAGE_NO_DOT },
	{ "8-bit", T("\xff\xc3\xb6\n"), 5, MESSAGE_NO_DOT },
	{ "no final line end", T("a\nb"), 6, MESSAGE_NO_DOT },
	{ "dot lines", T(".\r\n..\r\n"), 7, MESSAGE_WIRE_FORM },
	{ "From inside", T("From a b\r\n"), 10, MESSAGE_WIRE_FORM | MESSAGE_NO_DOT },
};

START_TEST(test_shapes)
{
	struct maildrop_message m;
	uint64_t octets;

	deliver_bytes("new/1.a", shapes[_i].text, shapes[_i].n);
	open_md();
	ck_assert_uint_eq(maildrop_count(md), 1);
	ck_assert_int_eq(maildrop_message_octets(md, 0, &octets), 0);
	ck_assert_msg(octets == shapes[_i].octets, "%s", shapes[_i].name);
	ck_assert_uint_eq(maildrop_octets(md), octets);
	ck_assert_int_eq(maildrop_message(md, 0, &m), 0);
	ck_assert_msg(m.flags == shapes[_i].flags, "%s: flags %x", shapes[_i].name, m.flags);
	ck_assert_uint_eq(m.length, shapes[_i].n);
	close(m.fd);
}
END_TEST

/* Lines longer than any buffer, and a message longer than one reading. */
START_TEST(test_long)
{
	size_t n = 1 << 20;
	char *text = malloc(n);
	uint64_t octets;

	memset(text, 'x', n);
	text[n / 2] = '\n';
	deliver_bytes("new/1.a", text, n);
	free(text);
	open_md();
	ck_assert_int_eq(maildrop_message_octets(md, 0, &octets), 0);
	ck_assert_uint_eq(octets, n + 1 + 2);
}
END_TEST

/* new and cur together, in the order of the leading number (none: 0), then of the bytes. */
START_TEST(test_order)
{
	static const char *const ids[] = { "a.1", "2.b", "10.a", "10.b", "100.a" };

	deliver("cur/100.a:2,S", "4");
	deliver("new/10.b", "3");
	deliver("cur/10.a:2,", "22");
	deliver("new/2.b", "1");
	deliver("new/a.1", "5");
	deliver("new/.hidden", "x");
	deliver("tmp/1.t", "x");
	open_md();
	expect_uidls(ids, N_ELEMS(ids));
}
END_TEST

static const struct {
	const char *name; /* of the file, in new */
	const char *uidl; /* NULL: "h" and the digest of its base */
} ids[] = {
	{ "1.a", "1.a" },
	{ "1.a,S=12", "1.a,S=12" },
	{ "x", "x" },
	{ "1234567890123456789012345678901234567890123456789012345678901234567890",
	  "1234567890123456789012345678901234567890123456789012345678901234567890" },
	{ "12345678901234567890123456789012345678901234567890123456789012345678901", NULL },
	{ "1.a b", NULL },
	{ "1.\xc3\xb6", NULL },
	{ "1.\x7f", NULL },
	{ "1.~", "1.~" },
};

START_TEST(test_ids)
{
	char name[300];

	snprintf(name, sizeof(name), "new/%s", ids[_i].name);
	deliver(name, "x");
	snprintf(name, sizeof(name), "cur/2%s:2,S", ids[_i].name);
	open_md();
	if (ids[_i].uidl) {
		ck_assert_str_eq(uidl(0), ids[_i].uidl);
	} else {
		ck_assert_uint_eq(strlen(uidl(0)), 33);
		ck_assert_int_eq(uidl(0)[0], 'h');
	}
}
END_TEST

/* SHA-256("1.a b") */
START_TEST(test_id_digest)
{
	deliver("cur/1.a b:2,S", "x");
	open_md();
	ck_assert_str_eq(uidl(0), "hf203e38d93c4b6f6414cec8889fbd6a6");
}
END_TEST

START_TEST(test_twins)
{
	static const char *const want[] = { "1.a", "1.a-3", "1.a-2" };
	char a[512], b[512];
	struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };

	/* the older one keeps the id; the name of the third is taken as a base */
	deliver("new/1.a", "older");
	deliver("cur/1.a:2,S", "younger");
	deliver("new/1.a-2", "other");
	path_of(a, "new/1.a");
	ck_assert_int_eq(utimensat(AT_FDCWD, a, times, 0), 0);
	/* a message moving from new to cur is one message */
	deliver("new/2.b", "moving");
	path_of(a, "new/2.b");
	path_of(b, "cur/2.b:2,");
	ck_assert_int_eq(link(a, b), 0);
	open_md();
	ck_assert_uint_eq(maildrop_count(md), 4);
	for (size_t i = 0; i < 3; i++)
		ck_assert_msg(!strcmp(uidl(i), want[i]) || i, "%zu: %s", i, uidl(i));
	expect_text(0, "older");
	expect_text(1, "younger");
	expect_text(3, "moving");
	ck_assert_str_ne(uidl(1), "1.a");
	ck_assert_str_ne(uidl(2), "1.a");
	ck_assert_str_eq(uidl(3), "2.b");
}
END_TEST

/* A base of 70 octets has no room for a suffix: its twin goes by the digest. */
START_TEST(test_long_twins)
{
	char base[71], name[100], first[UIDL_MAX + 1];

	memset(base, '7', 70);
	base[70] = '\0';
	snprintf(name, sizeof(name), "new/%s", base);
	deliver(name, "1");
	snprintf(name, sizeof(name), "cur/%s:2,S", base);
	deliver(name, "22");
	snprintf(name, sizeof(name), "cur/%s:2,RS", base);
	deliver(name, "333");
	open_md();
	ck_assert_uint_eq(maildrop_count(md), 3);
	snprintf(first, sizeof(first), "%s", uidl(0));
	ck_assert_str_eq(first, base);
	snprintf(first, sizeof(first), "%s", uidl(1));
	ck_assert_uint_eq(strlen(first), 33);
	ck_assert_uint_eq(strlen(uidl(2)), 35);
	ck_assert_int_eq(strncmp(uidl(2), first, 33), 0);
	ck_assert_str_eq(uidl(2) + 33, "-2");
}
END_TEST

START_TEST(test_non_files)
{
	char path[512];

	deliver("new/1.a", "x");
	path_of(path, "new/2.link");
	ck_assert_int_eq(symlink("1.a", path), 0);
	path_of(path, "cur/3.fifo");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	path_of(path, "cur/4.dir");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	open_md();
	ck_assert_uint_eq(maildrop_count(md), 1);
	ck_assert_ptr_nonnull(strstr(notes, "2 entries"));
}
END_TEST

/* Directories that are missing: an empty maildrop, or half of one. */
START_TEST(test_missing)
{
	static const char *const gone[] = { "", "new", "cur", "tmp" };
	char path[512];

	if (_i == 0) {
		snprintf(env.spec.path, sizeof(env.spec.path), "%s/none", root);
	} else {
		path_of(path, gone[_i]);
		ck_assert_int_eq(rmdir(path), 0);
		deliver(_i == 2 ? "new/1.a" : "cur/1.a:2,S", "x");
	}
	open_md();
	ck_assert_uint_eq(maildrop_count(md), _i ? 1 : 0);
	ck_assert_uint_eq(maildrop_octets(md), _i ? 3 : 0);
}
END_TEST

static const struct {
	const char *what;
	const char *path; /* that is made into a link to where it was */
	int err;
} links[] = {
	{ "root is a link", "", POP_E_UNSAFE },
	{ "new is a link", "/new", POP_E_UNSAFE },
	{ "cur is a link", "/cur", POP_E_UNSAFE },
};

START_TEST(test_links)
{
	char from[512], to[512];

	snprintf(from, sizeof(from), "%s%s", root, links[_i].path);
	snprintf(to, sizeof(to), "%s%s.real", root, links[_i].path);
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert_int_eq(symlink(to, from), 0);
	ck_assert_int_eq(maildrop_open(&md, &env, &why), links[_i].err);
	ck_assert_ptr_null(md);
	ck_assert_ptr_nonnull(strstr(why.text, root));
	ck_assert_int_eq(unlink(from), 0);
	ck_assert_int_eq(rename(to, from), 0);
}
END_TEST

START_TEST(test_foreign)
{
	char path[512];

	env.uid = geteuid() + 1;
	ck_assert_int_eq(maildrop_open(&md, &env, &why), POP_E_UNSAFE);
	env.uid = geteuid();
	path_of(path, "file");
	deliver("file", "x");
	snprintf(env.spec.path, sizeof(env.spec.path), "%.200s", path);
	ck_assert_int_eq(maildrop_open(&md, &env, &why), POP_E_UNSAFE);
}
END_TEST

/* Another program renames messages during the session. */
START_TEST(test_renamed)
{
	deliver("new/1.a", "one");
	deliver("new/2.b", "two");
	deliver("cur/3.c:2,", "three");
	open_md();
	move("new/1.a", "cur/1.a:2,");
	expect_text(0, "one");
	move("cur/1.a:2,", "cur/1.a:2,S");
	move("cur/3.c:2,", "cur/3.c:2,FRS");
	move("new/2.b", "cur/2.b:2,S");
	expect_text(0, "one");
	expect_text(1, "two");
	expect_text(2, "three");
	move("cur/2.b:2,S", "cur/2.b:2,ST");
	expect_text(1, "two");
}
END_TEST

/* Another program changes or removes messages: an error, never other bytes. */
START_TEST(test_changed)
{
	struct maildrop_message m;
	char path[512];

	deliver("new/1.a", "one");
	deliver("new/2.b", "two");
	deliver("new/3.c", "three");
	deliver("new/4.d", "four");
	open_md();
	path_of(path, "new/1.a");
	ck_assert_int_eq(unlink(path), 0);
	path_of(path, "new/2.b");
	ck_assert_int_eq(truncate(path, 1), 0);
	path_of(path, "new/3.c");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink("4.d", path), 0);
	path_of(path, "new/4.d");
	ck_assert_int_eq(unlink(path), 0);
	deliver("new/4.d", "FOUR"); /* as long, another time */
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(maildrop_message(md, i, &m), POP_E_CHANGED);
	ck_assert_int_eq(maildrop_message(md, 4, &m), POP_E_RANGE);
}
END_TEST

/* The messages of a session are fixed when it opens. */
START_TEST(test_delivered_meanwhile)
{
	deliver("new/1.a", "one");
	open_md();
	deliver("new/0.b", "zero");
	ck_assert_uint_eq(maildrop_count(md), 1);
	expect_text(0, "one");
}
END_TEST

static size_t expunge(unsigned deleted, unsigned retrieved, int want)
{
	uint8_t d = (uint8_t)deleted, r = (uint8_t)retrieved;
	size_t removed = 99;
	int err = maildrop_expunge(md, &d, &r, &removed, &why);

	ck_assert_msg(err == want, "%d: %s", err, why.text);
	return removed;
}

START_TEST(test_expunge)
{
	char path[512], text[200] = "";
	int fd;

	deliver("maildirsize", "1000S\n100 5\n");
	deliver("new/1.a", "one");
	deliver("cur/2.b:2,S", "twotwo");
	deliver("new/3.c", "three");
	deliver("cur/4.d:2,", "four");
	open_md();
	move("new/3.c", "cur/3.c:2,S");
	ck_assert_uint_eq(expunge(0x7, 0, 0), 3);
	ck_assert(!there("new/1.a"));
	ck_assert(!there("cur/2.b:2,S"));
	ck_assert(!there("cur/3.c:2,S"));
	ck_assert(there("cur/4.d:2,"));
	path_of(path, "maildirsize");
	fd = open(path, O_RDONLY);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	ck_assert_str_eq(text, "1000S\n100 5\n-14 -3\n");
}
END_TEST

/* Messages that are gone are gone; one in two places loses both names; a changed one stays. */
START_TEST(test_expunge_changed)
{
	char a[512], b[512];

	deliver("new/1.a", "one");
	deliver("new/2.b", "two");
	deliver("new/3.c", "three");
	open_md();
	path_of(a, "new/1.a");
	ck_assert_int_eq(unlink(a), 0);
	path_of(a, "new/2.b");
	path_of(b, "cur/2.b:2,S");
	ck_assert_int_eq(link(a, b), 0);
	path_of(a, "new/3.c");
	ck_assert_int_eq(unlink(a), 0);
	deliver("new/3.c", "another message");
	ck_assert_uint_eq(expunge(0x7, 0, POP_E_CHANGED), 2);
	ck_assert(!there("new/2.b"));
	ck_assert(!there("cur/2.b:2,S"));
	ck_assert(there("new/3.c"));
}
END_TEST

/* A new message of the base of a deleted one is not deleted with it, or in its place. */
START_TEST(test_expunge_twin)
{
	deliver("new/1.a", "one");
	open_md();
	move("new/1.a", "cur/1.a:2,S");
	deliver("new/1.a", "the second");
	ck_assert_uint_eq(expunge(1, 0, 0), 1);
	ck_assert(there("new/1.a"));
	ck_assert(!there("cur/1.a:2,S"));
}
END_TEST

static const struct {
	const char *before, *after;
} seen[] = {
	{ "new/1.a", "cur/1.a:2,S" },	     { "cur/1.a:2,", "cur/1.a:2,S" },
	{ "cur/1.a:2,FT", "cur/1.a:2,FST" }, { "cur/1.a:2,S", "cur/1.a:2,S" },
	{ "cur/1.a:1,x", "cur/1.a:1,x" },    { "cur/1.a", "cur/1.a:2,S" },
};

START_TEST(test_seen)
{
	env.mark_seen = true;
	deliver(seen[_i].before, "one");
	deliver("new/2.b", "two");
	open_md();
	ck_assert_uint_eq(expunge(0, 1, 0), 0);
	ck_assert_msg(there(seen[_i].after), "%s", seen[_i].before);
	ck_assert(there("new/2.b"));
	expect_text(0, "one");
}
END_TEST

START_TEST(test_seen_off)
{
	deliver("new/1.a", "one");
	open_md();
	ck_assert_uint_eq(expunge(0, 1, 0), 0);
	ck_assert(there("new/1.a"));
}
END_TEST

/* Two messages would get one name: both stay what they are. */
START_TEST(test_seen_taken)
{
	env.mark_seen = true;
	deliver("new/1.a", "one");
	deliver("cur/1.a:2,S", "twin");
	open_md();
	ck_assert_uint_eq(expunge(0, 3, 0), 0);
	ck_assert(there("new/1.a"));
	ck_assert(there("cur/1.a:2,S"));
}
END_TEST

START_TEST(test_read_only)
{
	char path[512];

	if (geteuid() == 0)
		return; /* root writes everywhere */
	deliver("cur/1.a:2,S", "one");
	path_of(path, "cur");
	ck_assert_int_eq(chmod(path, 0500), 0);
	open_md();
	ck_assert(maildrop_read_only(md));
	ck_assert_uint_eq(expunge(1, 0, POP_E_DENIED), 0);
	ck_assert(there("cur/1.a:2,S"));
	ck_assert_int_eq(chmod(path, 0), 0);
	maildrop_close(md);
	ck_assert_int_eq(maildrop_open(&md, &env, &why), POP_E_DENIED);
	ck_assert_int_eq(chmod(path, 0700), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("maildir");
	TCase *tc = tcase_create("maildir");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_shapes, 0, N_ELEMS(shapes));
	tcase_add_test(tc, test_long);
	tcase_add_test(tc, test_order);
	tcase_add_loop_test(tc, test_ids, 0, N_ELEMS(ids));
	tcase_add_test(tc, test_id_digest);
	tcase_add_test(tc, test_twins);
	tcase_add_test(tc, test_long_twins);
	tcase_add_test(tc, test_non_files);
	tcase_add_loop_test(tc, test_missing, 0, 4);
	tcase_add_loop_test(tc, test_links, 0, N_ELEMS(links));
	tcase_add_test(tc, test_foreign);
	tcase_add_test(tc, test_renamed);
	tcase_add_test(tc, test_changed);
	tcase_add_test(tc, test_delivered_meanwhile);
	tcase_add_test(tc, test_expunge);
	tcase_add_test(tc, test_expunge_changed);
	tcase_add_test(tc, test_expunge_twin);
	tcase_add_loop_test(tc, test_seen, 0, N_ELEMS(seen));
	tcase_add_test(tc, test_seen_off);
	tcase_add_test(tc, test_seen_taken);
	tcase_add_test(tc, test_read_only);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
