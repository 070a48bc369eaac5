/*
 * check_users_edit.c - edits of the user database: sorted, atomic, nothing lost.
 */
#include <string.h>
#include <sys/stat.h>

#include "fsutil.h"
#include "scratch.h"
#include "users.h"

static void parse(struct user *u, const char *line)
{
	ck_assert_int_eq(users_parse_line(line, strlen(line), u, NULL), 0);
}

static int lock_it(void *ctx, struct user *u)
{
	if (ctx)
		return *(int *)ctx;
	u->locked = true;
	return 0;
}

static const struct row {
	const char *name;
	char what; /* a(dd LINE), d(el NAME), c(hange NAME: lock) */
	const char *arg, *before;
	int want;
	const char *after; /* NULL: as before */
} rows[] = {
	{ "add to nothing", 'a', "a:x:1:2::::", "", 0, "a:x:1:2::::\n" },
	{ "add in order", 'a', "b:x", "a:x\nc:x\n", 0, "a:x\nb:x::::::\nc:x\n" },
	{ "add at the end", 'a', "z:x", "a:x\nc:x", 0, "a:x\nc:x\nz:x::::::\n" },
	{ "add sorts", 'a', "b:x", "c:x\n\na:x\n", 0, "\na:x\nb:x::::::\nc:x\n" },
	{ "a prefix comes first", 'a', "ab:x", "abc:x\na:x\n", 0, "a:x\nab:x::::::\nabc:x\n" },
	{ "8-bit comes last", 'a', "\377:x", "z:x\n", 0, "z:x\n\377:x::::::\n" },
	{ "comments go in front", 'a', "b:x", "c:x\n# note\nbad line\na:{X}y\n", 0,
	  "# note\nbad line\na:{X}y\nb:x::::::\nc:x\n" },
	{ "other lines as they were", 'a', "b:x", "c:{CRYPT}x:root::::: a  b \r\n", 0,
	  "b:x::::::\nc:{CRYPT}x:root::::: a  b \n" },
	{ "add what is there", 'a', "a:y", "b:x\na:x\n", POP_E_EXISTS, NULL },
	{ "add what is there malformed", 'a', "a:y", "a:{X}y\n", POP_E_EXISTS, NULL },
	{ "del", 'd', "b", "c:x\nb:x\na:x\n", 0, "a:x\nc:x\n" },
	{ "del the last one", 'd', "a", "a:x", 0, "" },
	{ "del all of a name", 'd', "a", "a:x\nb:x\na:y\n", 0, "b:x\n" },
	{ "del none", 'd', "ab", "a:x\nabc:y\n", POP_E_MISSING, NULL },
	{ "del a malformed one", 'd', "a", "a:{X}y\n", POP_E_MISSING, NULL },
	{ "change", 'c', "b", "a:x\nb:$6$x:1:2:G:/h:/s:o\n", 0, "a:x\nb:!$6$x:1:2:G:/h:/s:o\n" },
	{ "change the first of two", 'c', "b", "b:1\na:x\nb:2\n", 0, "a:x\nb:!1::::::\nb:2\n" },
	{ "change nobody", 'c', "c", "a:x\n", POP_E_MISSING, NULL },
};

START_TEST(edit)
{
	const struct row *r = &rows[_i];
	struct pop_why why = { "" };
	struct user u;
	int err;

	scratch_text("users", r->before);
	if (r->what == 'a') {
		parse(&u, r->arg);
		err = users_add("users", &u, &why);
	} else if (r->what == 'd') {
		err = users_del("users", r->arg, &why);
	} else {
		err = users_change("users", r->arg, lock_it, NULL, &why);
	}
	ck_assert_msg(err == r->want, "%s: %d %s", r->name, err, why.text);
	ck_assert_str_eq(scratch_read("users"), r->after ? r->after : r->before);
	ck_assert_int_ne(access("users.lock", F_OK), 0);
	ck_assert_int_ne(access("users.new", F_OK), 0);
}
END_TEST

START_TEST(no_file)
{
	struct pop_why why;
	struct stat st;
	struct user u;

	umask(0);
	ck_assert_int_eq(users_del("users", "a", &why), POP_E_MISSING);
	ck_assert_int_ne(access("users", F_OK), 0);
	parse(&u, "a:x");
	ck_assert_int_eq(users_add("users", &u, &why), 0);
	ck_assert_int_eq(stat("users", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(users_add("missing/users", &u, &why), POP_E_SYS);
	ck_assert_int_eq(mkdir("dir", 0700), 0);
	ck_assert_int_eq(users_add("dir", &u, &why), POP_E_UNSAFE);
}
END_TEST

START_TEST(mode_kept)
{
	struct stat st;
	struct user u;

	scratch_write("users", "a:x\n", 4, 0644);
	parse(&u, "b:x");
	ck_assert_int_eq(users_add("users", &u, NULL), 0);
	ck_assert_int_eq(stat("users", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644);
}
END_TEST

START_TEST(add_all)
{
	struct pop_why why;
	struct user u[3];

	scratch_text("users", "m:x\n");
	parse(&u[0], "z:x");
	parse(&u[1], "a:x");
	parse(&u[2], "m:y");
	ck_assert_int_eq(users_add_all("users", u, 3, &why), POP_E_EXISTS);
	ck_assert_ptr_nonnull(strstr(why.text, "user m "));
	ck_assert_str_eq(scratch_read("users"), "m:x\n");
	parse(&u[2], "z:y");
	ck_assert_int_eq(users_add_all("users", u, 3, &why), POP_E_EXISTS);
	ck_assert_str_eq(scratch_read("users"), "m:x\n");
	parse(&u[2], "b:y");
	ck_assert_int_eq(users_add_all("users", u, 3, &why), 0);
	ck_assert_str_eq(scratch_read("users"), "a:x::::::\nb:y::::::\nm:x\nz:x::::::\n");
	ck_assert_int_eq(users_add_all("users", u, 0, &why), 0);
}
END_TEST

/* What the file could not hold, or would read back as something else. */
START_TEST(refused)
{
	struct pop_why why;
	struct user good, u;
	int abort_with = -77;

	scratch_text("users", "a:x\n");
	parse(&good, "b:$6$x:1:2::/home/b::");
	for (int i = 0; i < 9; i++) {
		u = good;
		switch (i) {
		case 0:
			snprintf(u.name, sizeof(u.name), "b:c");
			break;
		case 1:
			snprintf(u.name, sizeof(u.name), "#b");
			break;
		case 2:
			snprintf(u.name, sizeof(u.name), "b\nroot");
			break;
		case 3:
			u.name[0] = '\0';
			break;
		case 4:
			snprintf(u.home, sizeof(u.home), "/home:0:0");
			break;
		case 5:
			snprintf(u.hash, sizeof(u.hash), "x:0:0");
			break;
		case 6:
			snprintf(u.maildrop, sizeof(u.maildrop), "mbox:/m nologin");
			break;
		case 7:
			snprintf(u.maildrop, sizeof(u.maildrop), "/var/mail/b");
			break;
		default:
			memset(u.home, 'x', sizeof(u.home) - 1);
			u.home[sizeof(u.home) - 1] = '\0';
			break;
		}
		ck_assert_msg(users_add("users", &u, &why) < 0, "case %d", i);
		ck_assert_str_eq(scratch_read("users"), "a:x\n");
	}
	ck_assert_int_eq(users_change("users", "a", lock_it, &abort_with, &why), -77);
	ck_assert_str_eq(scratch_read("users"), "a:x\n");
}
END_TEST

START_TEST(busy)
{
	struct fs_replace r;
	struct pop_why why;

	scratch_text("users", "a:x\n");
	ck_assert_int_eq(fs_replace_begin(&r, "users", 0600, 0, &why), 0);
	ck_assert_int_eq(users_del("users", "a", &why), POP_E_BUSY);
	fs_replace_abort(&r);
	ck_assert_int_eq(users_del("users", "a", &why), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("users_edit");
	TCase *tc = tcase_create("users_edit");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, edit, 0, N_ELEMS(rows));
	tcase_add_test(tc, no_file);
	tcase_add_test(tc, mode_kept);
	tcase_add_test(tc, add_all);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, busy);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
