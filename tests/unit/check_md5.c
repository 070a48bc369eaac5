/*
 * check_md5.c - MD5 and HMAC-MD5: the vectors of RFC 1321, 2202 and 2195.
 */
#include <string.h>

#include "err.h"
#include "md5.h"
#include "scratch.h"

static const struct row {
	const char *text, *digest;
} rows[] = {
	{ "", "d41d8cd98f00b204e9800998ecf8427e" },
	{ "a", "0cc175b9c0f1b6a831c399e269772661" },
	{ "abc", "900150983cd24fb0d6963f7d28e17f72" },
	{ "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
	{ "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
	{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	  "d174ab98d277d9f5a5611c2c9f419d9f" },
	{ "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
	  "57edf4a22be3c955ac49da2e2107b67a" },
	/* RFC 1939 section 7: timestamp and shared secret */
	{ "<1896.697170952@dbc.mtview.ca.us>tanstaaf", "c4c9334bac560ecc979e58001b3e22fb" },
};

START_TEST(test_md5)
{
	const struct row *row = &rows[_i];
	uint8_t out[MD5_LEN];
	char hex[2 * MD5_LEN + 1];
	struct md5 m;

	for (size_t cut = 0; cut <= strlen(row->text); cut++) {
		md5_init(&m);
		md5_update(&m, row->text, cut);
		md5_update(&m, row->text + cut, strlen(row->text) - cut);
		md5_final(&m, out);
		hex_format(out, sizeof(out), hex);
		ck_assert_str_eq(hex, row->digest);
	}
}
END_TEST

/* Lengths around the padding, against a running digest of digests. */
START_TEST(test_lengths)
{
	uint8_t data[200], out[MD5_LEN];
	char hex[2 * MD5_LEN + 1];
	struct md5 all, m;

	memset(data, 'x', sizeof(data));
	md5_init(&all);
	for (size_t n = 0; n < sizeof(data); n++) {
		md5_init(&m);
		md5_update(&m, data, n);
		md5_final(&m, out);
		md5_update(&all, out, sizeof(out));
	}
	md5_final(&all, out);
	hex_format(out, sizeof(out), hex);
	ck_assert_str_eq(hex, "236291006a2f1dc7b00bd978802ff8c6");
}
END_TEST

static const struct hmac_row {
	const char *key, *text, *digest;
} hmac_rows[] = {
	{ "tanstaaftanstaaf", "<1896.697170952@postoffice.reston.mci.net>",
	  "b913a602c7eda7a495b4e6e7334d3890" },
	{ "Jefe", "what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738" },
	{ "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b", "Hi There",
	  "9294727a3638bb1c13f48ef8158bfc9d" },
	{ "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	  "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	  "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa"
	  "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa",
	  "Test Using Larger Than Block-Size Key - Hash Key First",
	  "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd" },
};

START_TEST(test_hmac)
{
	const struct hmac_row *row = &hmac_rows[_i];
	struct hmac_md5_key key, back;
	char hex[2 * MD5_LEN + 1], state[HMAC_MD5_HEX + 1];
	uint8_t out[MD5_LEN];

	hmac_md5_key(&key, row->key, strlen(row->key));
	hmac_md5_key_format(&key, state);
	ck_assert_int_eq(hmac_md5_key_parse(&back, state, strlen(state)), 0);
	hmac_md5(&back, row->text, strlen(row->text), out);
	hex_format(out, sizeof(out), hex);
	ck_assert_str_eq(hex, row->digest);
}
END_TEST

/* What `doveadm pw -s CRAM-MD5 -p test` prints. */
START_TEST(test_state_of_dovecot)
{
	struct hmac_md5_key key;
	char state[HMAC_MD5_HEX + 1];

	hmac_md5_key(&key, "test", 4);
	hmac_md5_key_format(&key, state);
	ck_assert_str_eq(state, "e02d374fde0dc75a17a557039a3a5338c7743304777dccd376f332bee68d2cf6");
}
END_TEST

START_TEST(test_bad_state)
{
	struct hmac_md5_key key;
	char state[HMAC_MD5_HEX + 1];

	memset(state, 'a', HMAC_MD5_HEX);
	ck_assert_int_eq(hmac_md5_key_parse(&key, state, HMAC_MD5_HEX), 0);
	ck_assert_int_eq(hmac_md5_key_parse(&key, state, HMAC_MD5_HEX - 1), POP_E_SYNTAX);
	state[63] = 'g';
	ck_assert_int_eq(hmac_md5_key_parse(&key, state, HMAC_MD5_HEX), POP_E_SYNTAX);
	state[63] = 'A';
	ck_assert_int_eq(hmac_md5_key_parse(&key, state, HMAC_MD5_HEX), POP_E_SYNTAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("md5");
	TCase *tc = tcase_create("md5");

	tcase_add_loop_test(tc, test_md5, 0, N_ELEMS(rows));
	tcase_add_test(tc, test_lengths);
	tcase_add_loop_test(tc, test_hmac, 0, N_ELEMS(hmac_rows));
	tcase_add_test(tc, test_state_of_dovecot);
	tcase_add_test(tc, test_bad_state);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
