/*
 * check_users.c - lines of the user database, and one user out of files of
 * every shape.
 */
#include <string.h>
#include <time.h>

#include "scratch.h"
#include "users.h"

#define REP10(s)  s s s s s s s s s s
#define REP100(s) REP10(REP10(s))

static const struct line_row {
	const char *name;
	const char *line;
	int want;
	const char *user, *hash;
	uint32_t uid, gid;
	const char *uid_name, *home, *maildrop;
	bool locked, nologin;
} line_rows[] = {
#define NO_ID USER_NO_ID
#define BAD(n, l, e)                                            \
	{                                                       \
		n, l, e, "", "", 0, 0, "", "", "", false, false \
	}
	{ "whole", "alice:$6$a$b:1000:1001:Alice A.:/home/alice:/bin/sh:maildrop=mbox:/m/a", 0,
	  "alice", "$6$a$b", 1000, 1001, "", "/home/alice", "mbox:/m/a", false, false },
	{ "two fields", "alice:$6$a$b", 0, "alice", "$6$a$b", NO_ID, NO_ID, "", "", "", false,
	  false },
	{ "empty fields", "alice:::::::", 0, "alice", "", NO_ID, NO_ID, "", "", "", false, false },
	{ "no options", "a@b.c:x:1:2::/h:", 0, "a@b.c", "x", 1, 2, "", "/h", "", false, false },
	{ "locked", "a:!$6$a$b:1:2::::", 0, "a", "$6$a$b", 1, 2, "", "", "", true, false },
	{ "locked, nothing", "a:!:1:2::::", 0, "a", "", 1, 2, "", "", "", true, false },
	{ "scheme", "a:{SHA512-CRYPT}$6$a$b:1:2::::", 0, "a", "$6$a$b", 1, 2, "", "", "", false,
	  false },
	{ "locked scheme", "a:!{CRYPT}$6$a$b:1:2::::", 0, "a", "$6$a$b", 1, 2, "", "", "", true,
	  false },
	{ "nologin", "a:x:1:2::::nologin", 0, "a", "x", 1, 2, "", "", "", false, true },
	{ "nologin=y", "a:x:1:2::::nologin=y", 0, "a", "x", 1, 2, "", "", "", false, true },
	{ "nologinx", "a:x:1:2::::nologinx", 0, "a", "x", 1, 2, "", "", "", false, false },
	{ "options of others", "a:x:1:2::::userdb_quota=1G  nologin\tmaildrop=maildir:~/M x=y", 0,
	  "a", "x", 1, 2, "", "", "maildir:~/M", false, true },
	{ "uid 0", "a:x:0:0::::", 0, "a", "x", 0, 0, "", "", "", false, false },
	{ "largest ids", "a:x:4294967294:4294967294::::", 0, "a", "x", 4294967294, 4294967294, "",
	  "", "", false, false },
	{ "named uid", "a:x:vmail:2::::", 0, "a", "x", NO_ID, 2, "vmail", "", "", false, false },
	{ "8-bit", "\303\244\377:x:1:2::::", 0, "\303\244\377", "x", 1, 2, "", "", "", false,
	  false },
	{ "slash inside", "a/b:x:1:2::::", 0, "a/b", "x", 1, 2, "", "", "", false, false },
	BAD("no colon", "alice", POP_E_SYNTAX),
	BAD("empty", "", POP_E_SYNTAX),
	BAD("no name", ":x:1:2::::", POP_E_SYNTAX),
	BAD("name with a blank", "a b:x:1:2::::", POP_E_SYNTAX),
	BAD("blank in front", " a:x:1:2::::", POP_E_SYNTAX),
	BAD("name with a tab", "a\tb:x:1:2::::", POP_E_SYNTAX),
	BAD("dot", ".:x:1:2::::", POP_E_SYNTAX),
	BAD("dot dot", "..:x:1:2::::", POP_E_SYNTAX),
	BAD("slash in front", "/a:x:1:2::::", POP_E_SYNTAX),
	BAD("bare CR", "a:x:1:2:\r:::", POP_E_SYNTAX),
	BAD("escape", "a:x:1:2:\033[m:::", POP_E_SYNTAX),
	BAD("delete", "a\177:x:1:2::::", POP_E_SYNTAX),
	BAD("plain password", "a:{PLAIN}secret:1:2::::", POP_E_SYNTAX),
	BAD("scheme without end", "a:{CRYPT$6$x:1:2::::", POP_E_SYNTAX),
	BAD("uid 1x", "a:x:1x:2::::", POP_E_SYNTAX),
	BAD("uid -1", "a:x:-1:2::::", POP_E_SYNTAX),
	BAD("uid +1", "a:x:+1:2::::", POP_E_SYNTAX),
	BAD("gid 1x", "a:x:1:1x::::", POP_E_SYNTAX),
	BAD("uid 2^32-1", "a:x:4294967295:2::::", POP_E_RANGE),
	BAD("uid 2^32", "a:x:4294967296:2::::", POP_E_RANGE),
	BAD("uid 2^64", "a:x:18446744073709551616:2::::", POP_E_RANGE),
	BAD("uid with a blank", "a:x:a b:2::::", POP_E_SYNTAX),
	BAD("long named uid", "a:x:" REP10("xxxxxxx") ":2::::", POP_E_LONG),
	BAD("bad maildrop", "a:x:1:2::::maildrop=/var/mail/a", POP_E_SYNTAX),
	BAD("empty maildrop", "a:x:1:2::::maildrop=", POP_E_SYNTAX),
	BAD("two maildrops", "a:x:1:2::::maildrop=mbox:/a maildrop=mbox:/b", POP_E_SYNTAX),
	BAD("long name", REP100("xxx") ":x:1:2::::", POP_E_LONG),
	BAD("long hash", "a:" REP100("xxxxxx") ":1:2::::", POP_E_LONG),
	BAD("long gecos", "a:x:1:2:" REP100("xxx") ":::", POP_E_LONG),
	BAD("long options", "a:x:1:2::::" REP100("xxxxxxxxxxxx"), POP_E_LONG),
	BAD("long line", "a:x:1:2::/" REP100(REP10("xxxxx")) "::", POP_E_LONG),
};

START_TEST(parse_line)
{
	const struct line_row *r = &line_rows[_i];
	size_t len = strlen(r->line);
	char *exact = malloc(len ? len : 1);
	struct pop_why why = { "" };
	struct user u;
	int err;

	memcpy(exact, r->line, len);
	memset(&u, 'Z', sizeof(u));
	err = users_parse_line(exact, len, &u, &why);
	free(exact);
	ck_assert_msg(err == r->want, "%s: %d %s", r->name, err, why.text);
	if (err < 0) {
		ck_assert_uint_gt(strlen(why.text), 0);
		ck_assert_msg(!strstr(why.text, "secret"), "%s", why.text);
		return;
	}
	ck_assert_str_eq(u.name, r->user);
	ck_assert_str_eq(u.hash, r->hash);
	ck_assert_uint_eq(u.uid, r->uid);
	ck_assert_uint_eq(u.gid, r->gid);
	ck_assert_str_eq(u.uid_name, r->uid_name);
	ck_assert_str_eq(u.gid_name, "");
	ck_assert_str_eq(u.home, r->home);
	ck_assert_str_eq(u.maildrop, r->maildrop);
	ck_assert_msg(u.locked == r->locked && u.nologin == r->nologin, "%s", r->name);
}
END_TEST

START_TEST(parse_nul)
{
	struct user u;

	ck_assert_int_eq(users_parse_line("a\0b:x:1:2", 9, &u, NULL), POP_E_SYNTAX);
	ck_assert_int_eq(users_parse_line("a:x:1\0:2", 8, &u, NULL), POP_E_SYNTAX);
}
END_TEST

static const struct {
	const char *in, *out; /* out NULL: the same */
} format_rows[] = {
	{ "alice:$6$a$b:1000:1001:Alice A.:/home/alice:/bin/sh:maildrop=mbox:/m/a", NULL },
	{ "a:!{SHA512-CRYPT}$6$a$b:1:2::::", NULL },
	{ "a:{CRYPT}!$6$a$b:1:2::::", "a:!{CRYPT}$6$a$b:1:2::::" },
	{ "a:{SHA512-CRYPT}$y$a$b:1:2::::", "a:{CRYPT}$y$a$b:1:2::::" },
	{ "a:x", "a:x::::::" },
	{ "a:x:vmail:mail::::nologin", NULL },
	{ "a:x:1:2::::x=y maildrop=mbox:/m nologin", NULL },
	{ "a:x:1:2::::nologin=y \t maildrop=mbox:/m  x=y z",
	  "a:x:1:2::::x=y z maildrop=mbox:/m nologin" },
};

START_TEST(format_line)
{
	const char *in = format_rows[_i].in;
	const char *want = format_rows[_i].out ? format_rows[_i].out : in;
	char out[USER_LINE_MAX + 1];
	struct user u;

	ck_assert_int_eq(users_parse_line(in, strlen(in), &u, NULL), 0);
	ck_assert_int_eq(users_format_line(&u, out, sizeof(out)), (int)strlen(want));
	ck_assert_str_eq(out, want);
	ck_assert_int_eq(users_format_line(&u, out, strlen(want)), POP_E_LONG);
}
END_TEST

struct bad {
	unsigned n;
	uint64_t first, last;
};

static void count_bad(void *ctx, uint64_t line, const char *why)
{
	struct bad *b = ctx;

	ck_assert_uint_gt(strlen(why), 0);
	if (b->n++ == 0)
		b->first = line;
	b->last = line;
}

#define T(t) t, sizeof(t) - 1
static const struct find_row {
	const char *name;
	const char *text;
	size_t len;
	const char *user;
	int want;
	uint32_t uid;
	unsigned bad;
	uint64_t first_bad;
} find_rows[] = {
	{ "empty file", T(""), "a", POP_E_MISSING, 0, 0, 0 },
	{ "first", T("a:x:1:1\nb:x:2:2\nc:x:3:3\n"), "a", 0, 1, 0, 0 },
	{ "middle", T("a:x:1:1\nb:x:2:2\nc:x:3:3\n"), "b", 0, 2, 0, 0 },
	{ "last", T("a:x:1:1\nb:x:2:2\nc:x:3:3\n"), "c", 0, 3, 0, 0 },
	{ "no final line end", T("a:x:1:1\nb:x:2:2"), "b", 0, 2, 0, 0 },
	{ "CRLF", T("a:x:1:1\r\nb:x:2:2\r\n"), "b", 0, 2, 0, 0 },
	{ "unsorted", T("c:x:3:3\na:x:1:1\nb:x:2:2\n"), "a", 0, 1, 0, 0 },
	{ "prefix", T("ab:x:1:1\na:x:2:2\n"), "a", 0, 2, 0, 0 },
	{ "longer", T("a:x:1:1\n"), "ab", POP_E_MISSING, 0, 0, 0 },
	{ "other case", T("a:x:1:1\n"), "A", POP_E_MISSING, 0, 0, 0 },
	{ "comments and empty lines", T("# a:x:9:9\n\n#\n\na:x:1:1\n"), "a", 0, 1, 0, 0 },
	{ "comment", T("#a:x:1:1\n"), "#a", POP_E_MISSING, 0, 0, 0 },
	{ "repeated: the first", T("a:x:1:1\na:x:2:2\n"), "a", 0, 1, 0, 0 },
	{ "malformed, then good", T("a:{X}y:1:1\na:x:2:2\n"), "a", 0, 2, 1, 1 },
	{ "only malformed", T("b:x:2:2\na:x:1x:1\n"), "a", POP_E_SYNTAX, 0, 1, 2 },
	{ "name without colon", T("b:x:2:2\na\n"), "a", POP_E_SYNTAX, 0, 1, 2 },
	{ "others malformed", T("nonsense\nx:y:1x:\nb:x:2:2\n\0\n"), "a", POP_E_MISSING, 0, 3, 1 },
	{ "NUL in another line", T("a\0:x:1:1\nb:x:2:2\n"), "b", 0, 2, 0, 0 },
	{ "NUL behind the name", T("a:x\0:1:1\n"), "a", POP_E_SYNTAX, 0, 1, 1 },
	{ "8-bit", T("z:x:1:1\n\377:x:2:2\n"), "\377", 0, 2, 0, 0 },
	{ "no possible name", T("a:x:1:1\n"), "", POP_E_MISSING, 0, 0, 0 },
	{ "colon in the name", T("a:x:1:1\n"), "a:x", POP_E_MISSING, 0, 0, 0 },
	{ "locked", T("a:!x:1:1\n"), "a", 0, 1, 0, 0 },
};

START_TEST(find)
{
	const struct find_row *r = &find_rows[_i];
	struct bad bad = { 0, 0, 0 };
	struct user u;
	int fd, err;

	scratch_write("users", r->text, r->len, 0600);
	fd = open("users", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(lseek(fd, 3, SEEK_SET), 3);
	err = users_find(fd, r->user, &u, count_bad, &bad);
	ck_assert_msg(err == r->want, "%s: %d", r->name, err);
	if (err == 0) {
		ck_assert_uint_eq(u.uid, r->uid);
		ck_assert_str_eq(u.name, r->user);
	}
	ck_assert_msg(bad.n == r->bad && bad.first == r->first_bad, "%s: %u bad, first %ju",
		      r->name, bad.n, (uintmax_t)bad.first);
	ck_assert_int_eq(users_find(fd, r->user, &u, NULL, NULL), r->want);
	close(fd);
}
END_TEST

enum shape { SORTED, REVERSED, SHUFFLED, CRLF, LONG_LINES, COMMENTED, SHAPES };

/* n users named u000000 up, uid 1000 up, in a file of this shape. */
static void write_users(const char *path, unsigned n, enum shape shape)
{
	FILE *f = fopen(path, "we");
	unsigned step = 1;

	ck_assert_ptr_nonnull(f);
	if (shape == COMMENTED) {
		for (int i = 0; i < 400; i++)
			fputs("# a long comment that the administrator wrote over the users\n", f);
	}
	if (shape == SHUFFLED) {
		for (step = 7919; n % step == 0; step++)
			;
	}
	for (unsigned i = 0, at = 0; i < n; i++, at = (at + step) % n) {
		unsigned who = shape == REVERSED ? n - 1 - i : at;

		fprintf(f, "u%06u:$6$salt$hash:%u:100::/home/u%06u::%.*s%s\n", who, 1000 + who, who,
			shape == LONG_LINES ? (int)(who * 37 % 1000) : 0, REP100("abcdefghij"),
			shape == CRLF ? "\r" : "");
	}
	fclose(f);
}

/* Every user of files that the binary search does and does not understand. */
START_TEST(find_everybody)
{
	static const unsigned counts[] = { 1, 2, 3, 200, 3000 };
	char name[16];
	struct user u;

	for (size_t c = 0; c < N_ELEMS(counts); c++) {
		unsigned n = counts[c], step = n > 1000 && _i != SORTED ? 61 : 1;
		int fd;

		write_users("users", n, (enum shape)_i);
		fd = open("users", O_RDONLY | O_CLOEXEC);
		for (unsigned i = 0; i < n; i += step) {
			snprintf(name, sizeof(name), "u%06u", i);
			ck_assert_msg(users_find(fd, name, &u, NULL, NULL) == 0, "%s of %u", name,
				      n);
			ck_assert_uint_eq(u.uid, 1000 + i);
		}
		ck_assert_int_eq(users_find(fd, "a", &u, NULL, NULL), POP_E_MISSING);
		ck_assert_int_eq(users_find(fd, "u000000x", &u, NULL, NULL), POP_E_MISSING);
		ck_assert_int_eq(users_find(fd, "z", &u, NULL, NULL), POP_E_MISSING);
		close(fd);
	}
}
END_TEST

/* What was read of the file so far, by this process. */
static long long bytes_read(void)
{
	FILE *f = fopen("/proc/self/io", "re");
	long long n = -1;

	if (f) {
		if (fscanf(f, "rchar: %lld", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

/* A sorted file is never read whole, a name near its end not either. */
START_TEST(find_reads_little)
{
	static const char *const names[] = { "u000000", "u000001", "u010000", "u049998",
					     "u049999" };
	long long before;
	struct user u;
	int fd;

	write_users("users", 50000, SORTED);
	fd = open("users", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < N_ELEMS(names); i++) {
		before = bytes_read();
		ck_assert_int_eq(users_find(fd, names[i], &u, NULL, NULL), 0);
		if (before >= 0)
			ck_assert_msg(bytes_read() - before < 200000, "%s: %lld bytes", names[i],
				      bytes_read() - before);
	}
	close(fd);
}
END_TEST

/* A line of any length, anywhere, costs nobody else the login. */
static const size_t long_lines[] = { 4097, 8191, 8192, 8193, 12289, 65535, 65536, 65537, 300000 };

START_TEST(find_beside_long_lines)
{
	size_t len = long_lines[_i];
	char *line = malloc(len);
	struct bad bad = { 0, 0, 0 };
	struct user u;
	FILE *f = fopen("users", "we");
	int fd;

	memset(line, 'm', len);
	line[1] = ':';
	fputs("a:x:1:1\nb:x:2:2\n", f);
	fwrite(line, 1, len, f);
	fputs("\ny:x:3:3\nz:x:4:4\nm:x:5:5", f);
	fclose(f);
	free(line);
	fd = open("users", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(users_find(fd, "a", &u, NULL, NULL), 0);
	ck_assert_int_eq(users_find(fd, "z", &u, NULL, NULL), 0);
	ck_assert_uint_eq(u.uid, 4);
	ck_assert_int_eq(users_find(fd, "m", &u, NULL, NULL), 0);
	ck_assert_uint_eq(u.uid, 5);
	ck_assert_int_eq(users_find(fd, "q", &u, count_bad, &bad), POP_E_MISSING);
	ck_assert_uint_eq(bad.n, 1);
	ck_assert_uint_eq(bad.first, 3);
	close(fd);
}
END_TEST

START_TEST(find_system)
{
	static const struct {
		const char *name;
		int want;
		const char *hash;
		bool locked;
	} rows[] = {
		{ "root", 0, "", false },
		{ "alice", 0, "$6$a$b", false },
		{ "locked", 0, "$6$c$d", true },
		{ "star", 0, "*", false },
		{ "expired", 0, "$6$e$f", true },
		{ "later", 0, "$6$g$h", false },
		{ "nosh", 0, "", false },
		{ "old", 0, "abJnggxhB/yWI", false },
		{ "nobody", POP_E_MISSING, "", false },
		{ "ali", POP_E_MISSING, "", false },
	};
	int passwd, shadow;
	struct user u;

	scratch_text("passwd", "root::0:0:root:/root:/bin/sh\n"
			       "alice:x:1000:1001:Alice,,,:/home/alice:/bin/bash\n"
			       "locked:x:1:1::/:/bin/sh\nstar:x:1:1::/:/bin/sh\n"
			       "expired:x:1:1::/:/bin/sh\nlater:x:1:1::/:/bin/sh\n"
			       "nosh:x:1:1::/:/bin/sh\nold:abJnggxhB/yWI:1:1::/:/bin/sh\n"
			       "+::::::\n");
	scratch_text("shadow", "alic:$6$x$y:1::::::\nalice:$6$a$b:19000:0:99999:7:::\n"
			       "locked:!$6$c$d:1::::::\nstar:*:1::::::\n"
			       "expired:$6$e$f:1:0:9:7::100:\nlater:$6$g$h:1:0:9:7::100000:\n");
	passwd = open("passwd", O_RDONLY | O_CLOEXEC);
	shadow = open("shadow", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < N_ELEMS(rows); i++) {
		ck_assert_msg(users_find_system(passwd, shadow, rows[i].name, &u) == rows[i].want,
			      "%s", rows[i].name);
		if (rows[i].want < 0)
			continue;
		ck_assert_str_eq(u.hash, rows[i].hash);
		ck_assert_msg(u.locked == rows[i].locked, "%s", rows[i].name);
	}
	ck_assert_int_eq(users_find_system(passwd, shadow, "alice", &u), 0);
	ck_assert_uint_eq(u.uid, 1000);
	ck_assert_uint_eq(u.gid, 1001);
	ck_assert_str_eq(u.home, "/home/alice");
	close(passwd);
	close(shadow);
}
END_TEST

struct seen {
	struct bad bad; /* first, so that count_bad() may have the same ctx */
	char names[100];
};

static int collect(void *ctx, const struct user *u)
{
	struct seen *seen = ctx;
	size_t used = strlen(seen->names);

	snprintf(seen->names + used, sizeof(seen->names) - used, "%.9s", u->name);
	return strcmp(u->name, "stop") == 0 ? 42 : 0;
}

START_TEST(each)
{
	struct seen seen = { { 0, 0, 0 }, "" };
	int fd;

	scratch_text("users", "# c\nb:x\nbad\n\na:x\nb:y\nstop:x\nd:x");
	fd = open("users", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(users_each(fd, collect, count_bad, &seen), 42);
	ck_assert_str_eq(seen.names, "babstop");
	ck_assert_uint_eq(seen.bad.n, 1);
	ck_assert_uint_eq(seen.bad.first, 3);
	close(fd);
	scratch_text("users", "a:x\nb:x\r\nc:x");
	fd = open("users", O_RDONLY | O_CLOEXEC);
	seen.names[0] = '\0';
	ck_assert_int_eq(users_each(fd, collect, NULL, &seen), 0);
	ck_assert_str_eq(seen.names, "abc");
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("users");
	TCase *tc = tcase_create("users");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, parse_line, 0, N_ELEMS(line_rows));
	tcase_add_test(tc, parse_nul);
	tcase_add_loop_test(tc, format_line, 0, N_ELEMS(format_rows));
	tcase_add_loop_test(tc, find, 0, N_ELEMS(find_rows));
	tcase_add_loop_test(tc, find_everybody, 0, SHAPES);
	tcase_add_test(tc, find_reads_little);
	tcase_add_loop_test(tc, find_beside_long_lines, 0, N_ELEMS(long_lines));
	tcase_add_test(tc, find_system);
	tcase_add_test(tc, each);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
