/*
 * check_password.c - hashes of every method that libcrypt knows, and of none.
 */
#include <crypt.h>
#include <errno.h>
#include <string.h>

#include "password.h"
#include "scratch.h"
#include "users.h"

static const char *const prefixes[] = { "$y$", "$gy$", "$7$", "$2b$", "$6$", "$5$", "$1$", "" };

/* A hash of this method at its lowest cost, by libcrypt; NULL: not built into it. */
static const char *make(const char *prefix, const char *password)
{
	static struct crypt_data data;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	unsigned long low = strcmp(prefix, "$2b$") == 0		   ? 4
			    : prefix[0] && strchr("56", prefix[1]) ? 1000
			    : prefix[0] && strchr("yg", prefix[1]) ? 1
			    : prefix[0] == '$' && prefix[1] == '7' ? 6
								   : 0;

	if (!crypt_gensalt_rn(prefix, low, NULL, 0, setting, sizeof(setting)))
		return NULL;
	memset(&data, 0, sizeof(data));
	return crypt_r(password, setting, &data);
}

START_TEST(methods)
{
	const char *made = make(prefixes[_i], "s3cret");
	char hash[USER_HASH_MAX + 1];

	if (!made || made[0] == '*')
		return;
	snprintf(hash, sizeof(hash), "%s", made);
	ck_assert_int_eq(password_verify("s3cret", hash), 1);
	ck_assert_int_eq(password_verify("s3creT", hash), 0);
	ck_assert_int_eq(password_verify("", hash), 0);
	hash[strlen(hash) - 1] ^= 1;
	ck_assert_int_eq(password_verify("s3cret", hash), 0);
	ck_assert_int_eq(errno, 0);
}
END_TEST

static const char *const odd_hash_rows[] = {
	"",
	"*",
	"*0",
	"*1",
	"!",
	"x",
	"xx",
	"s3cret",
	"$",
	"$y$",
	"$6$",
	"$6$$",
	"$99$abc$def",
	"$y$j9T$$",
	"$5$rounds=1$x$",
	"$2b$99$xxxx",
	"{PLAIN}s3cret",
};

START_TEST(odd_hashes)
{
	const char *hash = odd_hash_rows[_i];

	ck_assert_int_eq(password_verify("s3cret", hash), 0);
	ck_assert_int_eq(password_verify(hash, hash), 0);
}
END_TEST

START_TEST(hash_and_verify)
{
	char hash[USER_HASH_MAX + 1], second[USER_HASH_MAX + 1];

	ck_assert_int_eq(password_hash("p\303\244ss wort", hash, sizeof(hash)), 0);
	ck_assert_int_eq(password_hash("p\303\244ss wort", second, sizeof(second)), 0);
	ck_assert_str_ne(hash, second);
	ck_assert_int_eq(password_verify("p\303\244ss wort", hash), 1);
	ck_assert_int_eq(password_verify("p\303\244ss worT", hash), 0);
	ck_assert(!password_is_weak(hash));
	ck_assert_int_eq(password_verify_dummy("anything"), 0);
	ck_assert_int_eq(password_verify_dummy(""), 0);
}
END_TEST

START_TEST(refused_passwords)
{
	char hash[USER_HASH_MAX + 1], longest[600];

	ck_assert_int_eq(password_hash("", hash, sizeof(hash)), POP_E_SYNTAX);
	ck_assert_int_eq(password_hash("a\nb", hash, sizeof(hash)), POP_E_SYNTAX);
	ck_assert_int_eq(password_hash("a\r", hash, sizeof(hash)), POP_E_SYNTAX);
	ck_assert_int_eq(password_hash("good", hash, 10), POP_E_LONG);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_int_eq(password_hash(longest, hash, sizeof(hash)), POP_E_LONG);
	longest[USER_PASSWORD_MAX] = '\0';
	ck_assert_int_eq(password_hash(longest, hash, sizeof(hash)), 0);
	ck_assert_int_eq(password_verify(longest, hash), 1);
	longest[USER_PASSWORD_MAX - 1] = 'y';
	ck_assert_int_eq(password_verify(longest, hash), 0);
}
END_TEST

static const struct weak_row {
	const char *hash;
	bool weak;
} weak_rows[] = {
	{ "$y$j9T$ruLZmKZ83VXJUh9/5HoBo0$x", false },
	{ "$y$jAT$ruLZmKZ83VXJUh9/5HoBo0$x", false },
	{ "$gy$j9T$ruLZmKZ83VXJUh9/5HoBo0$x", false },
	{ "$y$j8T$ruLZmKZ83VXJUh9/5HoBo0$x", true },
	{ "$y$j75$ruLZmKZ83VXJUh9/5HoBo0$x", true },
	{ "$y$", true },
	{ "$y$j", true },
	{ "$gy", true },
	{ "$2b$12$abcdefghijklmnopqrstuu", true },
	{ "$2b$", true },
	{ "$2", true },
	{ "$6$abc$x", true },
	{ "$6$rounds=999999$abc$x", true },
	{ "$5$rounds=1000$abc$x", true },
	{ "$1$abc$x", true },
	{ "abJnggxhB/yWI", true },
	{ "", true },
	{ "*", true },
};

START_TEST(weak)
{
	const struct weak_row *r = &weak_rows[_i];

	ck_assert_msg(password_is_weak(r->hash) == r->weak, "%s", r->hash);
}
END_TEST

static const struct field_row {
	const char *field;
	const char *bare; /* NULL: another scheme */
	bool locked;
} field_rows[] = {
	{ "$6$a$b", "$6$a$b", false },
	{ "", "", false },
	{ "!", "", true },
	{ "!!", "!", true },
	{ "!$6$a$b", "$6$a$b", true },
	{ "{CRYPT}$6$a$b", "$6$a$b", false },
	{ "{crypt}$6$a$b", "$6$a$b", false },
	{ "{SHA512-CRYPT}$6$a", "$6$a", false },
	{ "{SHA256-CRYPT}$5$a", "$5$a", false },
	{ "{BLF-CRYPT}$2y$05$a", "$2y$05$a", false },
	{ "{MD5-CRYPT}$1$a", "$1$a", false },
	{ "!{CRYPT}$6$a", "$6$a", true },
	{ "{CRYPT}!$6$a", "$6$a", true },
	{ "!{CRYPT}!$6$a", "!$6$a", true },
	{ "{CRYPT}", "", false },
	{ "{PLAIN}secret", NULL, false },
	{ "!{PLAIN}secret", NULL, true },
	{ "{SSHA}abc", "{SSHA}abc", false },
	{ "!{ssha256}abc", "{ssha256}abc", true },
	{ "{SSHA", NULL, false },
	{ "{CRYPT", NULL, false },
	{ "{", NULL, false },
	{ "{}x", NULL, false },
};

START_TEST(fields)
{
	const struct field_row *r = &field_rows[_i];
	bool locked = !r->locked;
	const char *bare = password_bare_hash(r->field, &locked);

	if (r->bare)
		ck_assert_msg(bare && strcmp(bare, r->bare) == 0, "%s", r->field);
	else
		ck_assert_msg(!bare, "%s", r->field);
	ck_assert_msg(locked == r->locked, "%s", r->field);
}
END_TEST

START_TEST(schemes)
{
	ck_assert(password_scheme_fits("", "$y$x"));
	ck_assert(password_scheme_fits("{CRYPT}", "$y$x"));
	ck_assert(password_scheme_fits("{sha512-crypt}", "$6$x"));
	ck_assert(!password_scheme_fits("{SHA512-CRYPT}", "$y$x"));
	ck_assert(!password_scheme_fits("{BLF-CRYPT}", "$6$x"));
	ck_assert(!password_scheme_fits("{PLAIN}", "x"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("password");
	TCase *tc = tcase_create("password");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, methods, 0, N_ELEMS(prefixes));
	tcase_add_loop_test(tc, odd_hashes, 0, N_ELEMS(odd_hash_rows));
	tcase_add_test(tc, hash_and_verify);
	tcase_add_test(tc, refused_passwords);
	tcase_add_loop_test(tc, weak, 0, N_ELEMS(weak_rows));
	tcase_add_loop_test(tc, fields, 0, N_ELEMS(field_rows));
	tcase_add_test(tc, schemes);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
