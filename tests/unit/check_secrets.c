/*
 * check_secrets.c - the secrets file: lines, lookups, tags, and edits.
 */
#include <stdarg.h>
#include <string.h>

#include "secrets.h"
#include "scratch.h"

static const struct line_row {
	const char *line;
	int scheme; /* -1: malformed */
	const char *name, *value, *tag;
} line_rows[] = {
	{ "alice:APOP:c2VjcmV0", SECRET_APOP, "alice", "c2VjcmV0", "" },
	{ "a@b:SCRAM-SHA-256:1,a,b,c:0123456789abcdef0123456789abcdef", SECRET_SCRAM_SHA_256, "a@b",
	  "1,a,b,c", "0123456789abcdef0123456789abcdef" },
	{ "a:cram-md5:x:", SECRET_CRAM_MD5, "a", "x", "" },
	{ "a:APP:phone,0,$5$x$y", SECRET_APP, "a", "phone,0,$5$x$y", "" },
	{ "", -1, NULL, NULL, NULL },
	{ "a", -1, NULL, NULL, NULL },
	{ "a:APOP", -1, NULL, NULL, NULL },
	{ "a:APOP:", -1, NULL, NULL, NULL },
	{ "a:NONE:x", -1, NULL, NULL, NULL },
	{ ":APOP:x", -1, NULL, NULL, NULL },
	{ "/:KEY:x", -1, NULL, NULL, NULL },
	{ "#a:APOP:x", -1, NULL, NULL, NULL },
	{ "a:APOP:x:12", -1, NULL, NULL, NULL },
	{ "a:APOP:x:0123456789ABCDEF0123456789abcdef", -1, NULL, NULL, NULL },
	{ "a:APOP:x:0123456789abcdef0123456789abcdef:", -1, NULL, NULL, NULL },
};

START_TEST(test_line)
{
	const struct line_row *row = &line_rows[_i];
	struct secret s;
	int err = secrets_parse_line(row->line, strlen(row->line), &s);

	ck_assert_msg(err == (row->scheme < 0 ? POP_E_SYNTAX : 0), "%s: %d", row->line, err);
	if (err < 0)
		return;
	ck_assert_int_eq((int)s.scheme, row->scheme);
	ck_assert_str_eq(s.name, row->name);
	ck_assert_str_eq(s.value, row->value);
	ck_assert_str_eq(s.tag, row->tag);
}
END_TEST

static int apply(const struct secrets_edit *e)
{
	struct pop_why why = { "" };
	int err = secrets_apply("secrets", e, &why);

	ck_assert_msg(err == 0 || why.text[0], "no reason for %d", err);
	return err;
}

/* Add a record of a scheme, bound to hash_new. */
static int add(const char *name, enum secret_scheme scheme, const char *value, const char *hash_now,
	       const char *hash_new)
{
	struct secret s = { .scheme = scheme };
	struct secrets_edit e = {
		.name = name, .hash_now = hash_now, .hash_new = hash_new, .add = &s, .n_add = 1
	};

	snprintf(s.value, sizeof(s.value), "%s", value);
	return apply(&e);
}

struct seen {
	char text[2048];
	const char *tag; /* only records of this tag, or without one */
};

static int collect(void *ctx, const struct secret *s)
{
	struct seen *seen = ctx;
	size_t n = strlen(seen->text);

	if (!seen->tag || !s->tag[0] || strcmp(s->tag, seen->tag) == 0)
		snprintf(seen->text + n, sizeof(seen->text) - n, "%s=%s ",
			 secret_scheme_names[s->scheme], s->value);
	return 0;
}

/* What counts for a name whose users entry has this hash; NULL: whatever is there. */
static const char *records(const char *name, const char *hash)
{
	static struct seen seen;
	uint8_t key[SECRETS_KEY_LEN];
	char tag[SECRET_TAG_LEN + 1];
	int fd = open("secrets", O_RDONLY | O_CLOEXEC);

	seen = (struct seen){ .tag = hash ? tag : NULL };
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(secrets_key(fd, key), 0);
	if (hash)
		secrets_tag(key, hash, tag);
	ck_assert_int_eq(secrets_of(fd, name, collect, &seen), 0);
	close(fd);
	return seen.text;
}

/* A new password: at every step what counts belongs to the users file's hash. */
START_TEST(test_new_password)
{
	struct secrets_edit end = { .name = "alice", .hash_now = "new" };

	ck_assert_int_eq(add("alice", SECRET_APOP, "one", NULL, "old"), 0);
	ck_assert_str_eq(records("alice", "old"), "APOP=one ");
	ck_assert_int_eq(add("alice", SECRET_APOP, "two", "old", "new"), 0);
	ck_assert_str_eq(records("alice", "old"), "APOP=one ");
	ck_assert_str_eq(records("alice", "new"), "APOP=two ");
	ck_assert_int_eq(apply(&end), 0);
	ck_assert_str_eq(records("alice", NULL), "APOP=two ");
}
END_TEST

/* A writer died before the rename: what it had added goes at the next edit. */
START_TEST(test_given_up)
{
	ck_assert_int_eq(add("alice", SECRET_APOP, "one", NULL, "old"), 0);
	ck_assert_int_eq(add("alice", SECRET_APOP, "two", "old", "never"), 0);
	ck_assert_int_eq(add("alice", SECRET_APOP, "three", "old", "new"), 0);
	ck_assert_str_eq(records("alice", NULL), "APOP=one APOP=three ");
}
END_TEST

START_TEST(test_rebind)
{
	struct secrets_edit e = {
		.name = "alice", .hash_now = "old", .hash_new = "new", .rebind = true
	};

	ck_assert_int_eq(add("alice", SECRET_APOP, "one", NULL, "old"), 0);
	ck_assert_int_eq(add("alice", SECRET_APP, "phone,0,h", NULL, NULL), 0);
	ck_assert_int_eq(apply(&e), 0);
	ck_assert_str_eq(records("alice", "old"), "APOP=one APP=phone,0,h ");
	ck_assert_str_eq(records("alice", "new"), "APOP=one APP=phone,0,h ");
}
END_TEST

/* A record that was written by hand has no tag, until the next new password. */
START_TEST(test_untagged)
{
	struct secrets_edit end = { .name = "alice", .hash_now = "new" };

	scratch_text("secrets", "alice:APOP:hand\n");
	ck_assert_int_eq(add("alice", SECRET_APOP, "two", "old", "new"), 0);
	ck_assert_str_eq(records("alice", "old"), "APOP=hand ");
	ck_assert_int_eq(apply(&end), 0);
	ck_assert_str_eq(records("alice", NULL), "APOP=two ");
}
END_TEST

START_TEST(test_apps)
{
	struct secrets_edit drop = { .name = "alice", .drop_app = "phone" };
	struct secret_app app;
	char value[] = "tablet,1700000000,$5$a,b";

	ck_assert_int_eq(apply(&drop), POP_E_MISSING);
	ck_assert_int_ne(access("secrets", F_OK), 0);
	ck_assert_int_eq(add("alice", SECRET_APP, "phone,0,h1", NULL, NULL), 0);
	ck_assert_int_eq(add("alice", SECRET_APP, "phone2,0,h2", NULL, NULL), 0);
	ck_assert_int_eq(add("alice", SECRET_APP, "phone,0,h3", NULL, NULL), POP_E_EXISTS);
	ck_assert_int_eq(apply(&drop), 0);
	ck_assert_str_eq(records("alice", NULL), "APP=phone2,0,h2 ");
	ck_assert_int_eq(apply(&drop), POP_E_MISSING);
	ck_assert_int_eq(secret_app_parse(value, &app), 0);
	ck_assert_str_eq(app.label, "tablet");
	ck_assert_int_eq(app.expires, 1700000000);
	ck_assert_str_eq(app.hash, "$5$a,b");
}
END_TEST

START_TEST(test_drop_all)
{
	struct secrets_edit e = { .name = "alice", .drop = ~0U };

	ck_assert_int_eq(add("alice", SECRET_APOP, "one", NULL, "h"), 0);
	ck_assert_int_eq(add("bob", SECRET_APOP, "bobs", NULL, "h"), 0);
	ck_assert_int_eq(add("alice", SECRET_APP, "phone,0,h1", NULL, NULL), 0);
	ck_assert_int_eq(apply(&e), 0);
	ck_assert_str_eq(records("alice", NULL), "");
	ck_assert_str_eq(records("bob", NULL), "APOP=bobs ");
}
END_TEST

/* Names on both sides of the file's key, in any order, in a file of many blocks. */
START_TEST(test_many)
{
	char name[32], value[SECRET_VALUE_MAX], want[64];
	FILE *f = fopen("secrets", "w");

	ck_assert_ptr_nonnull(f);
	fputs("# a comment\n", f);
	for (int i = 3000; i > 0; i--)
		fprintf(f, "user%04d:APOP:%d\n", i, i);
	fclose(f);
	ck_assert_int_eq(chmod("secrets", 0600), 0);
	ck_assert_int_eq(add("-early", SECRET_APOP, "x", NULL, "h"), 0);
	ck_assert_int_eq(add("zz", SECRET_APOP, "y", NULL, "h"), 0);
	ck_assert_str_eq(records("-early", NULL), "APOP=x ");
	ck_assert_str_eq(records("zz", NULL), "APOP=y ");
	for (int i = 1; i <= 3000; i += 7) {
		snprintf(name, sizeof(name), "user%04d", i);
		snprintf(want, sizeof(want), "APOP=%d ", i);
		ck_assert_str_eq(records(name, NULL), want);
	}
	ck_assert_str_eq(records("user0000", NULL), "");
	ck_assert_str_eq(records("user1500x", NULL), "");
	/* one user with more than a block of records */
	memset(value, 'h', sizeof(value));
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "label%02d,0,", i);
		memcpy(value, name, strlen(name));
		value[SECRET_VALUE_MAX - 400] = '\0';
		ck_assert_int_eq(add("user1500", SECRET_APP, value, NULL, NULL), 0);
	}
	ck_assert_int_eq(strncmp(records("user1500", NULL), "APOP=1500 APP=label00", 21), 0);
	ck_assert_str_eq(records("user1501", NULL), "APOP=1501 ");
	ck_assert_str_eq(records("user1499", NULL), "APOP=1499 ");
}
END_TEST

START_TEST(test_mode)
{
	struct stat st;

	ck_assert_int_eq(add("alice", SECRET_APOP, "one", NULL, "h"), 0);
	ck_assert_int_eq(stat("secrets", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(add("alice", SECRET_APOP, "a:b", NULL, "h"), POP_E_LONG);
	ck_assert_int_eq(add("alice", SECRET_APOP, "a\nb", NULL, "h"), POP_E_LONG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("secrets");
	TCase *tc = tcase_create("secrets");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_loop_test(tc, test_line, 0, N_ELEMS(line_rows));
	tcase_add_test(tc, test_new_password);
	tcase_add_test(tc, test_given_up);
	tcase_add_test(tc, test_rebind);
	tcase_add_test(tc, test_untagged);
	tcase_add_test(tc, test_apps);
	tcase_add_test(tc, test_drop_all);
	tcase_add_test(tc, test_many);
	tcase_add_test(tc, test_mode);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
