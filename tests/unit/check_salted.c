/*
 * check_salted.c - {SSHA} and its kin, and the digests below them, against libcrypto.
 */
#include <string.h>
#include <openssl/evp.h>

#include "password.h"
#include "salted.h"
#include "scratch.h"
#include "sha.h"

static const struct digest_row {
	enum sha_kind kind;
	const char *name;
} digest_rows[] = { { SHA_1, "SHA1" }, { SHA_256, "SHA256" }, { SHA_512, "SHA512" } };

/* Every length around the blocks and the padding. */
START_TEST(test_digest)
{
	const struct digest_row *row = &digest_rows[_i];
	uint8_t data[400], ours[SHA_MAX], theirs[EVP_MAX_MD_SIZE];
	size_t want = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (size_t n = 0; n <= sizeof(data); n++) {
		ck_assert_int_eq(EVP_Q_digest(NULL, row->name, NULL, data, n, theirs, &want), 1);
		ck_assert_uint_eq(sha(row->kind, data, n, ours), want);
		ck_assert_msg(memcmp(ours, theirs, want) == 0, "%s of %zu octets", row->name, n);
	}
}
END_TEST

static const struct good_row {
	const char *hash, *password;
} good_rows[] = {
	{ "{SSHA}nZg57CDERIfQSEAAe0nWU0MNFaQB/gBzYWx0", "correct horse" },
	{ "{ssha}VQysdTiIXUBoDr2TzYj0h8JUBdQxMjM0NTY3OA==", "correct horse" },
	{ "{SSHA256}4NRtSt27UGxF/Hhps1YnbF7ni4NIn2ESxbs7jVWqnOgAAAAAAAAAAA==", "correct horse" },
	{ "{SSHA512}"
	  "RxX5hhIRRRK2fhVkXkwzRVPVrymNjBPeOec5l5Z7HoA1jxGKFYfpQLhcljmxJcIS20C9nDeAN3dRZ7qrc68T8wAB"
	  "AgMEBQYHCAkKCwwNDg8=",
	  "correct horse" },
	{ "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "correct horse" },
	{ "{SHA1}L55TUjtiq8FBorTWAZ0jy6g129A=", "correct horse" },
	{ "{SHA256}QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE=", "correct horse" },
	{ "{SHA512}VraY3v7bWkNbY0r+MyC7rz/"
	  "c2SC2xQOkRvx7endrKY1HnRumqLYXgI6wv1ec6aldZoNHvKtxSQhayTyyeZUZew==",
	  "correct horse" },
	{ "{SSHA512}apWkjalu9NY/q9IpRns/PTvi5uOW8l/"
	  "m8IAjXCeeJ1rvMQlqMVyZ7+"
	  "RaNqO7dfbiFRFZ9y4GNUZAaIvPYFnLLXNzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3"
	  "Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M=",
	  "correct horse" },
	{ "{SSHA}gf6L/odXbD7LIkJvjleEc4KRes9hYmNk", "" },
	{ "{SSHA256}iW6TcK10f4Dn1O3xPfEv/A0PYUsuL2CsfKR9VWlj7RJhYmNk", "p\xC3\xA4ss" },
};

START_TEST(test_good)
{
	const struct good_row *row = &good_rows[_i];
	bool locked;

	ck_assert(salted_is(row->hash));
	ck_assert_int_eq(salted_verify(row->password, row->hash), 1);
	ck_assert_int_eq(salted_verify("correct horsf", row->hash), 0);
	ck_assert_int_eq(password_verify(row->password, row->hash), 1);
	ck_assert_int_eq(password_verify("wrong", row->hash), 0);
	ck_assert(password_is_weak(row->hash));
	ck_assert_ptr_eq(password_bare_hash(row->hash, &locked), row->hash);
	ck_assert(!locked);
}
END_TEST

static const struct bad_row {
	const char *hash, *why;
} bad_rows[] = {
	{ "{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "no salt" },
	{ "{SHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0", "a salt where none belongs" },
	{ "{SSHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx", "cut base64" },
	{ "{SSHA}", "nothing" },
	{ "{SSHA256}YyEzs6ImsU1YCat3itUMEOXBxBJzYWx0c2FsdHNhbHQ=", "another digest" },
	{ "{SSHA}!LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0", "locked behind" },
	{ "{SSHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0 ", "a blank" },
	{ "{SSHA512}RK61sattODrG5mTVLiQ+"
	  "S8IJnFu84U2oOxKKfZiNGufWQmiuIKtDtnq5E6DeCF0yPHzix7HOWPkHM8FNOBkGD3Nzc3Nzc3Nzc3Nzc3Nzc3Nz"
	  "c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nz",
	  "too long a salt" },
	{ "{SSHALhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0", "no brace" },
	{ "{SSHA224}tVhQASE0YvB6O8zNNhBBGDYTgxgCb6FkdMH0HXNhbHQ=", "unknown scheme" },
};

START_TEST(test_bad)
{
	const struct bad_row *row = &bad_rows[_i];
	char longest[257];

	ck_assert_msg(salted_verify("correct horse", row->hash) == 0, "%s", row->why);
	ck_assert_msg(password_verify("correct horse", row->hash) == 0, "%s", row->why);
	memset(longest, 'x', 256);
	longest[256] = '\0';
	ck_assert_int_eq(salted_verify(longest, row->hash), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("salted");
	TCase *tc = tcase_create("salted");

	tcase_add_loop_test(tc, test_digest, 0, N_ELEMS(digest_rows));
	tcase_add_loop_test(tc, test_good, 0, N_ELEMS(good_rows));
	tcase_add_loop_test(tc, test_bad, 0, N_ELEMS(bad_rows));
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
