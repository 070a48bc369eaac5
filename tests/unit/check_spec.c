/*
 * check_spec.c - maildrop specifications and login names, friendly and not.
 */
#include <string.h>

#include "scratch.h"
#include "spec.h"

static const struct row {
	const char *spec, *name, *home;
	int want;
	enum maildrop_kind kind;
	const char *path;
} rows[] = {
	{ "mbox:/var/mail/%u", "alice", "", 0, MAILDROP_MBOX, "/var/mail/alice" },
	{ "maildir:~/Maildir", "alice", "/home/alice", 0, MAILDROP_MAILDIR, "/home/alice/Maildir" },
	{ "maildir:%h/Maildir", "a", "/home/a/", 0, MAILDROP_MAILDIR, "/home/a/Maildir" },
	{ "mbox:~", "a", "/m/a", 0, MAILDROP_MBOX, "/m/a" },
	{ "mbox:/srv/%h/mbox", "a", "/h/a", 0, MAILDROP_MBOX, "/srv/h/a/mbox" },
	{ "mbox:/m/%d/%n", "bob@example.org", "", 0, MAILDROP_MBOX, "/m/example.org/bob" },
	{ "mbox:/m/%d/%n", "a@b@c", "", 0, MAILDROP_MBOX, "/m/c/a@b" },
	{ "mbox:/m/%d/%n", "bob", "", 0, MAILDROP_MBOX, "/m/bob" },
	{ "mbox:/m/%d/%n", "bob@", "", 0, MAILDROP_MBOX, "/m/bob" },
	{ "mbox:/m/%u", "bob@example.org", "", 0, MAILDROP_MBOX, "/m/bob@example.org" },
	{ "mbox:/m/100%%/%u", "a", "", 0, MAILDROP_MBOX, "/m/100%/a" },
	{ "mbox:/m/%%h/%u", "a", "", 0, MAILDROP_MBOX, "/m/%h/a" },
	{ "mbox:/m/%u", "%h~", "", 0, MAILDROP_MBOX, "/m/%h~" },
	{ "mbox:/m//a/./b///%u/", "x", "", 0, MAILDROP_MBOX, "/m/a/b/x" },
	{ "mbox:/./a/.", "x", "", 0, MAILDROP_MBOX, "/a" },
	{ "mbox:/m/.%u", "x", "", 0, MAILDROP_MBOX, "/m/.x" },
	{ "mbox:/m/..a/...", "x", "", 0, MAILDROP_MBOX, "/m/..a/..." },
	{ "mbox:/m/a~b/~", "x", "", 0, MAILDROP_MBOX, "/m/a~b/~" },
	{ "mbox:~/m", "x", "/h/./a//", 0, MAILDROP_MBOX, "/h/a/m" },
	{ "mbox:/m/%u", "\303\244", "", 0, MAILDROP_MBOX, "/m/\303\244" },
	{ "", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:/", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox://.//", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "MBOX:/m", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mh:/m", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "/var/mail/a", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:m/%u", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:%u/m", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:%", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:/m/%", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:/m/%s", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:~bob/m", "a", "/h", POP_E_SYNTAX, 0, NULL },
	{ "mbox:/m/../%u", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:/..", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:/m/\n", "a", "", POP_E_SYNTAX, 0, NULL },
	{ "mbox:~/m", "a", "", POP_E_MISSING, 0, NULL },
	{ "mbox:%h/m", "a", "", POP_E_MISSING, 0, NULL },
	{ "mbox:~/m", "a", "home/a", POP_E_SYNTAX, 0, NULL },
	{ "mbox:~/m", "a", "/home/../etc", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%u", "a/b", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%u", "../a", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%u", "", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%u", "..", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%u", ".", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%u/x", ".", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%n/x", "..@d", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%d/x", "a@..", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%d/x", "a@.", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/.%u/x", ".", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%n.%d", "@", "", POP_E_UNSAFE, 0, NULL },
	{ "mbox:/m/%n%d", ".@.", "", POP_E_UNSAFE, 0, NULL },
};

START_TEST(expand)
{
	const struct row *r = &rows[_i];
	struct pop_why why = { "" };
	struct spec out = { 0 };
	int err = spec_expand(r->spec, r->name, r->home, &out, &why);

	ck_assert_msg(err == r->want, "%s %s: %d %s", r->spec, r->name, err, why.text);
	if (err == 0) {
		ck_assert_int_eq(out.kind, r->kind);
		ck_assert_str_eq(out.path, r->path);
	} else {
		ck_assert_uint_gt(strlen(why.text), 0);
	}
	ck_assert_int_eq(spec_expand(r->spec, r->name, r->home, &out, NULL), r->want);
}
END_TEST

/* A path of every length around the bound. */
START_TEST(long_paths)
{
	char home[PATH_MAX + 32], text[PATH_MAX + 64];
	struct pop_why why;
	struct spec out;

	memset(home, 'x', sizeof(home));
	home[0] = '/';
	for (size_t len = PATH_MAX - 20; len < PATH_MAX + 10; len++) {
		home[len] = '\0';
		ck_assert_int_eq(spec_expand("mbox:~/ab", "u", home, &out, &why),
				 len + 3 < PATH_MAX ? 0 : POP_E_LONG);
		snprintf(text, sizeof(text), "mbox:%s", home);
		ck_assert_int_eq(spec_expand(text, "u", "", &out, &why),
				 len < PATH_MAX ? 0 : POP_E_SYNTAX);
		home[len] = 'x';
	}
}
END_TEST

static const struct login_row {
	const char *login, *separators, *domain;
	int want;
	const char *first, *second;
	const char *tls_domain;
} login_rows[] = {
	{ "alice", "@", "", 1, "alice", "", "" },
	{ "alice", "@", "example.org", 2, "alice", "alice@example.org", "" },
	{ "alice@a.org", "@", "example.org", 1, "alice@a.org", "", "" },
	{ "alice%a.org", "@", "example.org", 2, "alice%a.org", "alice%a.org@example.org", "" },
	{ "alice%a.org", "@+%", "example.org", 1, "alice@a.org", "", "" },
	{ "alice+a.org", "@+%", "", 1, "alice@a.org", "", "" },
	{ "a+b%c", "@+%", "x", 1, "a@b@c", "", "" },
	{ "a@b", "%", "x", 1, "a@b", "", "" },
	{ "Alice", "@", "", 1, "Alice", "", "" },
	{ "a/b", "@", "", 1, "a/b", "", "" },
	{ "%", "@%", "x", 1, "@", "", "" },
	{ "", "@", "x", 0, NULL, NULL, "" },
	{ ".", "@", "x", 0, NULL, NULL, "" },
	{ "..", "@", "x", 0, NULL, NULL, "" },
	{ "...", "@", "", 1, "...", "", "" },
	{ "/a", "@", "", 0, NULL, NULL, "" },
	{ "#a", "@", "", 0, NULL, NULL, "" },
	{ "a b", "@", "", 0, NULL, NULL, "" },
	{ "a:b", "@", "", 0, NULL, NULL, "" },
	{ "a\tb", "@", "", 0, NULL, NULL, "" },
	{ "a\r", "@", "", 0, NULL, NULL, "" },
	{ "a\nb", "@", "", 0, NULL, NULL, "" },
	{ "a\177", "@", "", 0, NULL, NULL, "" },
	{ "\303\244\377", "@", "", 1, "\303\244\377", "", "" },
	{ "a", "@", "", 1, "a@t", "", "t" },
	{ "a", "@", "x", 1, "a@t", "", "t" },
	{ "a+b", "@+", "x", 1, "a@b", "", "t" },
	{ "a b", "@", "x", 0, NULL, NULL, "t" },
};

START_TEST(logins)
{
	const struct login_row *r = &login_rows[_i];
	char names[2][256] = { "", "" };
	int n = login_candidates(r->login, r->separators, r->domain, r->tls_domain, names);

	ck_assert_msg(n == r->want, "%s: %d", r->login, n);
	if (n > 0)
		ck_assert_str_eq(names[0], r->first);
	if (n > 1)
		ck_assert_str_eq(names[1], r->second);
}
END_TEST

START_TEST(long_logins)
{
	char login[300], names[2][256];

	memset(login, 'x', sizeof(login));
	for (size_t len = 250; len < sizeof(login) - 1; len++) {
		login[len] = '\0';
		ck_assert_int_eq(login_candidates(login, "@", "d", "", names), len <= 253   ? 2
									       : len <= 255 ? 1
											    : 0);
		login[len] = 'x';
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("spec");
	TCase *tc = tcase_create("spec");

	tcase_add_loop_test(tc, expand, 0, N_ELEMS(rows));
	tcase_add_test(tc, long_paths);
	tcase_add_loop_test(tc, logins, 0, N_ELEMS(login_rows));
	tcase_add_test(tc, long_logins);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
