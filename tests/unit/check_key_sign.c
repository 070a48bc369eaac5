/*
 * check_key_sign.c - what the keeper signs, and what it never does.
 */
#include "../../pop3d/key_sign.c"

#include <check.h>
#include <openssl/ec.h>
#include <stdlib.h>

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static const char context[] = "TLS 1.3, server CertificateVerify";

/* 64 blanks, the context with its NUL, a hash of n octets. */
static size_t verify_content(uint8_t *out, size_t n)
{
	memset(out, ' ', 64);
	memcpy(out + 64, context, sizeof(context));
	memset(out + 64 + sizeof(context), 0xA5, n);
	return 64 + sizeof(context) + n;
}

/* Two randoms and an ECDHE parameter block. */
static size_t ecdhe_content(uint8_t *out, unsigned curve, size_t point)
{
	memset(out, 0x5A, 64);
	out[64] = 3;
	out[65] = (uint8_t)(curve >> 8);
	out[66] = (uint8_t)curve;
	out[67] = (uint8_t)point;
	memset(out + 68, 4, point);
	return 68 + point;
}

enum what { VERIFY, ECDHE };
static const struct {
	const char *name;
	uint32_t scheme;
	enum what what;
	unsigned curve; /* or the length of the hash */
	size_t point;
	size_t change; /* this octet is changed; 0: none */
	int longer;    /* octets more, or less */
	bool good;
} rows[] = {
	{ "1.3 P-256", 0x0403, VERIFY, 32, 0, 0, 0, true },
	{ "1.3 P-256, SHA-384 transcript", 0x0403, VERIFY, 48, 0, 0, 0, true },
	{ "1.3 PSS", 0x0804, VERIFY, 32, 0, 0, 0, true },
	{ "1.3 Ed25519", 0x0807, VERIFY, 32, 0, 0, 0, true },
	{ "1.3 content under PKCS#1", 0x0401, VERIFY, 32, 0, 0, 0, false },
	{ "1.3 hash of 31 octets", 0x0403, VERIFY, 31, 0, 0, 0, false },
	{ "1.3 hash of 64 octets", 0x0403, VERIFY, 64, 0, 0, 0, false },
	{ "1.3 one blank is none", 0x0403, VERIFY, 32, 0, 1, 0, false },
	{ "1.3 last blank is none", 0x0403, VERIFY, 32, 0, 63, 0, false },
	{ "1.3 the client's context", 0x0403, VERIFY, 32, 0, 73, 0, false },
	{ "1.3 no NUL behind the context", 0x0403, VERIFY, 32, 0, 97, 0, false },
	{ "1.3 other hash", 0x0403, VERIFY, 32, 0, 98, 0, true },
	{ "1.3 one octet more", 0x0403, VERIFY, 32, 0, 0, 1, false },
	{ "1.2 X25519, P-256 key", 0x0403, ECDHE, 0x001D, 32, 0, 0, true },
	{ "1.2 P-256", 0x0403, ECDHE, 0x0017, 65, 0, 0, true },
	{ "1.2 PKCS#1", 0x0401, ECDHE, 0x001D, 32, 0, 0, true },
	{ "1.2 PSS", 0x0804, ECDHE, 0x001D, 32, 0, 0, true },
	{ "1.2 P-256 point compressed", 0x0403, ECDHE, 0x0017, 33, 0, 0, false },
	{ "1.2 P-256 point of another form", 0x0403, ECDHE, 0x0017, 65, 68, 0, false },
	{ "1.2 P-384", 0x0403, ECDHE, 0x0018, 97, 0, 0, false },
	{ "1.2 X25519 with 31 octets", 0x0403, ECDHE, 0x001D, 31, 0, 0, false },
	{ "1.2 explicit curve", 0x0403, ECDHE, 0x001D, 32, 64, 0, false },
	{ "1.2 one octet more", 0x0403, ECDHE, 0x001D, 32, 0, 1, false },
	{ "1.2 one octet less", 0x0403, ECDHE, 0x001D, 32, 0, -1, false },
	{ "1.2 nothing behind the randoms", 0x0403, ECDHE, 0x001D, 32, 0, -36, false },
	{ "scheme 0", 0, VERIFY, 32, 0, 0, 0, false },
	{ "SHA-1 with RSA", 0x0201, ECDHE, 0x001D, 32, 0, 0, false },
	{ "SHA-1 with ECDSA", 0x0203, ECDHE, 0x001D, 32, 0, 0, false },
	{ "Ed448", 0x0808, VERIFY, 32, 0, 0, 0, false },
};

static size_t make_row(size_t i, uint8_t *out)
{
	size_t len;

	memset(out, 0, 512);
	len = rows[i].what == VERIFY ? verify_content(out, rows[i].curve)
				     : ecdhe_content(out, rows[i].curve, rows[i].point);
	if (rows[i].change)
		out[rows[i].change] ^= 1;
	return (size_t)((long)len + rows[i].longer);
}

START_TEST(test_content)
{
	uint8_t data[512];
	size_t len = make_row((size_t)_i, data);

	ck_assert_msg(key_check_content(rows[_i].scheme, data, len) ==
			      (rows[_i].good ? 0 : POP_E_DENIED),
		      "%s", rows[_i].name);
}
END_TEST

START_TEST(test_other_things)
{
	static const uint8_t digest[32] = { 1 };
	uint8_t data[512];

	memset(data, ' ', sizeof(data));
	for (size_t i = 0; i < N_ELEMS(schemes); i++)
		for (size_t n = 0; n <= sizeof(data); n++)
			ck_assert_int_eq(key_check_content(schemes[i].code, data, n), POP_E_DENIED);
	ck_assert_int_eq(key_check_content(0x0403, digest, sizeof(digest)), POP_E_DENIED);
	ck_assert_int_eq(key_check_content(0x0403, NULL, 0), POP_E_DENIED);
}
END_TEST

static EVP_PKEY *make_key(const char *type)
{
	if (strcmp(type, "EC") == 0)
		return EVP_EC_gen("P-256");
	if (strcmp(type, "RSA") == 0)
		return EVP_RSA_gen(2048);
	return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static int verify(EVP_PKEY *key, const struct scheme *s, const uint8_t *data, size_t len,
		  const uint8_t *sig, size_t sig_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	int r;

	ck_assert_int_eq(EVP_DigestVerifyInit_ex(ctx, &pctx, s->digest, NULL, NULL, key, NULL), 1);
	ck_assert_int_eq(set_padding(pctx, s), 0);
	r = EVP_DigestVerify(ctx, sig, sig_len, data, len);
	EVP_MD_CTX_free(ctx);
	return r;
}

/* Every scheme with every kind of key: its own signs, the others do not. */
START_TEST(test_sign)
{
	const struct scheme *s = &schemes[_i];
	static const char *const types[] = { "EC", "RSA", "ED25519" };
	uint8_t data[512], sig[KEY_SIGNATURE_MAX];
	size_t len = s->old ? ecdhe_content(data, CURVE_X25519, 32) : verify_content(data, 32);

	for (size_t i = 0; i < N_ELEMS(types); i++) {
		EVP_PKEY *key = make_key(types[i]);
		bool own = strcmp(types[i], s->key_type) == 0;
		size_t sig_len = 0;
		int err = key_sign(key, s->code, data, len, sig, &sig_len);

		ck_assert_msg(err == (own ? 0 : POP_E_DENIED), "%04x %s", s->code, types[i]);
		if (own)
			ck_assert_int_eq(verify(key, s, data, len, sig, sig_len), 1);
		EVP_PKEY_free(key);
	}
}
END_TEST

START_TEST(test_sign_refuses)
{
	EVP_PKEY *key = make_key("EC");
	uint8_t data[512], sig[KEY_SIGNATURE_MAX];
	size_t sig_len;

	for (size_t i = 0; i < N_ELEMS(rows); i++) {
		size_t len = make_row(i, data);

		if (!rows[i].good)
			ck_assert_msg(key_sign(key, rows[i].scheme, data, len, sig, &sig_len) ==
					      POP_E_DENIED,
				      "%s", rows[i].name);
	}
	EVP_PKEY_free(key);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("key_sign");
	TCase *tc = tcase_create("key_sign");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, test_content, 0, N_ELEMS(rows));
	tcase_add_test(tc, test_other_things);
	tcase_add_loop_test(tc, test_sign, 0, N_ELEMS(schemes));
	tcase_add_test(tc, test_sign_refuses);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
