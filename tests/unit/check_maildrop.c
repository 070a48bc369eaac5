/*
 * check_maildrop.c - the table of messages, the strings beside it, the forms of
 * ids, and the lists for a session, whatever the backend.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fsutil.h"
#include "maildrop_impl.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static struct maildrop md;

static void setup(void)
{
	memset(&md, 0, sizeof(md));
	md.env.state_fd = -1;
	md.env.spec.kind = MAILDROP_MAILDIR;
}

static void teardown(void)
{
	msg_table_release(&md);
}

static void append(uint64_t octets)
{
	struct msg m = { .octets = octets, .length = octets };

	ck_assert_int_eq(msg_append(&md, &m), 0);
}

START_TEST(test_table)
{
	struct msg m;

	for (uint64_t i = 0; i < 1000; i++)
		append(i);
	ck_assert_uint_eq(maildrop_count(&md), 1000);
	ck_assert_uint_eq(maildrop_octets(&md), 499500);
	for (size_t i = 0; i < 1000; i++) {
		ck_assert_int_eq(msg_get(&md, i, &m), 0);
		ck_assert_uint_eq(m.octets, i);
	}
	m.flags = MSG_SETTLED;
	ck_assert_int_eq(msg_put(&md, 7, &m), 0);
	ck_assert_int_eq(msg_get(&md, 7, &m), 0);
	ck_assert_uint_eq(m.flags, MSG_SETTLED);
	ck_assert_int_eq(msg_drop_last(&md), 0);
	ck_assert_uint_eq(maildrop_octets(&md), 498501);
	ck_assert_int_eq(msg_get(&md, 999, &m), POP_E_RANGE);
	ck_assert_int_eq(msg_put(&md, 999, &m), POP_E_RANGE);
	msg_clear(&md);
	ck_assert_uint_eq(maildrop_count(&md), 0);
	ck_assert_int_eq(msg_drop_last(&md), POP_E_RANGE);
	ck_assert_int_eq(msg_get(&md, 0, &m), POP_E_RANGE);
}
END_TEST

START_TEST(test_octets_overflow)
{
	struct msg m = { .octets = UINT64_MAX };

	append(1);
	ck_assert_int_eq(msg_append(&md, &m), POP_E_MEMORY);
	ck_assert_uint_eq(maildrop_count(&md), 1);
	ck_assert_uint_eq(maildrop_octets(&md), 1);
}
END_TEST

START_TEST(test_names)
{
	uint32_t at[500];
	char name[32];

	for (size_t i = 0; i < N_ELEMS(at); i++) {
		int n = snprintf(name, sizeof(name), "name %zu", i);

		ck_assert_int_eq(names_append(&md, name, (size_t)n, &at[i]), 0);
	}
	for (size_t i = 0; i < N_ELEMS(at); i++) {
		snprintf(name, sizeof(name), "name %zu", i);
		ck_assert_str_eq(names_get(&md, at[i]), name);
	}
	ck_assert_str_eq(names_get(&md, UINT32_MAX), "");
	ck_assert_str_eq(names_get(&md, (uint32_t)md.names_len), "");
}
END_TEST

#define SEVENTY "1234567890123456789012345678901234567890123456789012345678901234567890"
static const struct {
	const char *what;
	enum maildrop_kind kind;
	uint32_t flags, suffix;
	const char *name, *own;
	const char *uidl; /* NULL: POP_E_CORRUPT */
} forms[] = {
	{ "base", MAILDROP_MAILDIR, 0, 0, "1.a:2,S", "", "1.a" },
	{ "base without flags", MAILDROP_MAILDIR, 0, 0, "1.a", "", "1.a" },
	{ "suffix", MAILDROP_MAILDIR, 0, 2, "1.a:2,S", "", "1.a-2" },
	{ "longest", MAILDROP_MAILDIR, 0, 0, SEVENTY ":2,", "", SEVENTY },
	{ "no room for a suffix", MAILDROP_MAILDIR, 0, 2, SEVENTY, "", NULL },
	{ "too long", MAILDROP_MAILDIR, 0, 0, SEVENTY "1", "", NULL },
	{ "empty", MAILDROP_MAILDIR, 0, 0, ":2,S", "", NULL },
	{ "own", MAILDROP_MAILDIR, MSG_UIDL, 0, "1.a", "imported", "imported" },
	{ "own before digest", MAILDROP_MBOX, MSG_UIDL | MSG_DIGEST, 0, "", "x", "x" },
	{ "own, too long", MAILDROP_MBOX, MSG_UIDL, 0, "", SEVENTY "1", NULL },
	{ "own, empty", MAILDROP_MBOX, MSG_UIDL, 0, "", "", NULL },
	{ "digest", MAILDROP_MBOX, MSG_DIGEST, 0, "", "", "00ff0000000000000000000000000010" },
	{ "digest and suffix", MAILDROP_MBOX, MSG_DIGEST, UINT32_MAX, "", "",
	  "00ff0000000000000000000000000010-4294967295" },
	{ "digest of a base", MAILDROP_MAILDIR, MSG_DIGEST, 3, "a b", "",
	  "h00ff0000000000000000000000000010-3" },
};

START_TEST(test_forms)
{
	struct msg m = { .flags = forms[_i].flags, .suffix = forms[_i].suffix };
	char uidl[UIDL_MAX + 1];
	int n;

	md.env.spec.kind = forms[_i].kind;
	m.digest[1] = 0xff;
	m.digest[15] = 0x10;
	ck_assert_int_eq(names_append(&md, forms[_i].name, strlen(forms[_i].name), &m.name), 0);
	ck_assert_int_eq(names_append(&md, forms[_i].own, strlen(forms[_i].own), &m.uidl), 0);
	n = msg_uidl(&md, &m, uidl);
	if (!forms[_i].uidl) {
		ck_assert_msg(n == POP_E_CORRUPT, "%s", forms[_i].what);
		return;
	}
	ck_assert_msg(n == (int)strlen(forms[_i].uidl), "%s: %d", forms[_i].what, n);
	ck_assert_str_eq(uidl, forms[_i].uidl);
}
END_TEST

/* More records than one gathered write holds. */
START_TEST(test_lists)
{
	enum { COUNT = 20000 };
	struct uidl_string_ref *refs;
	struct uidl_list_head *head;
	const char *strings;
	const uint64_t *octets = NULL;
	size_t len;
	char *text, name[32];
	int fd;

	for (uint32_t i = 0; i < COUNT; i++) {
		struct msg m = { .octets = i };
		int n = snprintf(name, sizeof(name), "%u.a:2,S", i);

		ck_assert_int_eq(names_append(&md, name, (size_t)n, &m.name), 0);
		ck_assert_int_eq(msg_append(&md, &m), 0);
	}
	md.uidls_known = true;
	fd = maildrop_list_fd(&md);
	ck_assert_int_eq(fs_check_sealed(fd, COUNT * sizeof(uint64_t)), 0);
	ck_assert_int_eq(fs_read_file(fd, 1 << 20, &text, &len), 0);
	octets = (const uint64_t *)(void *)text;
	for (uint32_t i = 0; i < COUNT; i++)
		ck_assert_uint_eq(octets[i], i);
	free(text);
	close(fd);

	fd = maildrop_uidl_fd(&md);
	ck_assert_int_eq(fs_read_file(fd, 1 << 20, &text, &len), 0);
	ck_assert_int_eq(fs_check_sealed(fd, len), 0);
	head = (struct uidl_list_head *)(void *)text;
	refs = (struct uidl_string_ref *)(void *)(head + 1);
	strings = (const char *)(refs + COUNT);
	ck_assert_uint_eq(head->count, COUNT);
	ck_assert_uint_eq(head->digests, 0);
	ck_assert_uint_eq(sizeof(*head) + COUNT * sizeof(*refs) + head->string_bytes, len);
	for (uint32_t i = 0; i < COUNT; i++) {
		uint64_t to = i + 1 < COUNT ? refs[i + 1].offset : head->string_bytes;
		int n = snprintf(name, sizeof(name), "%u.a", i);

		ck_assert_uint_eq(to - refs[i].offset, (unsigned)n);
		ck_assert_int_eq(memcmp(strings + refs[i].offset, name, (size_t)n), 0);
	}
	free(text);
	close(fd);
}
END_TEST

static size_t expunged;

static int count_expunge(struct maildrop *m, const uint8_t *deleted, const uint8_t *retrieved,
			 size_t *removed, struct pop_why *why)
{
	(void)m, (void)deleted, (void)retrieved, (void)why;
	expunged++;
	*removed = 1;
	return 0;
}

static const struct {
	const char *what;
	uint8_t deleted, retrieved;
	bool read_only;
	int err;
	size_t called;
} expunges[] = {
	{ "nothing", 0, 0, false, 0, 0 },
	{ "nothing, read-only", 0, 0, true, 0, 0 },
	{ "deleted", 1, 0, false, 0, 1 },
	{ "retrieved", 0, 1, false, 0, 1 },
	{ "deleted, read-only", 1, 0, true, POP_E_DENIED, 0 },
};

START_TEST(test_expunge)
{
	static const struct maildrop_backend backend = { .expunge = count_expunge };
	struct pop_why why;
	size_t removed = 9;

	md.backend = &backend;
	append(1);
	md.read_only = expunges[_i].read_only;
	ck_assert_msg(maildrop_expunge(&md, &expunges[_i].deleted, &expunges[_i].retrieved,
				       &removed, &why) == expunges[_i].err,
		      "%s", expunges[_i].what);
	ck_assert_uint_eq(expunged, expunges[_i].called);
	ck_assert_uint_eq(removed, expunges[_i].called);
}
END_TEST

START_TEST(test_stamp)
{
	struct stat st = {
		.st_ino = 7,
		.st_size = 8,
		.st_mtim = { 1, 999999999 },
		.st_ctim = { -1, 5 },
	};
	struct file_stamp stamp;

	file_stamp_of(&st, &stamp);
	ck_assert_uint_eq(stamp.ino, 7);
	ck_assert_uint_eq(stamp.size, 8);
	ck_assert_int_eq(stamp.mtime_ns, 1999999999);
	ck_assert_int_eq(stamp.ctime_ns, -999999995);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("maildrop");
	TCase *tc = tcase_create("maildrop");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_table);
	tcase_add_test(tc, test_octets_overflow);
	tcase_add_test(tc, test_names);
	tcase_add_loop_test(tc, test_forms, 0, N_ELEMS(forms));
	tcase_add_test(tc, test_lists);
	tcase_add_loop_test(tc, test_expunge, 0, N_ELEMS(expunges));
	tcase_add_test(tc, test_stamp);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
