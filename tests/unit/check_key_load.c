/*
 * check_key_load.c - private keys in every form that is written, and which
 * public key is theirs.
 */
#include "../../pop3d/key_load.c"

#include "scratch.h"

static EVP_PKEY *make_key(const char *kind)
{
	if (strcmp(kind, "RSA") == 0)
		return EVP_RSA_gen(2048);
	if (strcmp(kind, "ED25519") == 0)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	return EVP_EC_gen(kind);
}

static void write_key(EVP_PKEY *key, bool traditional, bool encrypted)
{
	unsigned char password[] = "secret";
	BIO *bio = BIO_new_file("key", "w");

	ck_assert_ptr_nonnull(bio);
	if (traditional)
		ck_assert_int_eq(PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL,
								      NULL),
				 1);
	else
		ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(bio, key,
							       encrypted ? EVP_aes_128_cbc() : NULL,
							       encrypted ? (char *)password : NULL,
							       encrypted ? 6 : 0, NULL, NULL),
				 1);
	ck_assert_int_eq(BIO_free(bio), 1);
}

static EVP_PKEY *load_key(struct pop_why *why)
{
	int fd = open("key", O_RDONLY);
	EVP_PKEY *key;

	ck_assert_int_ge(fd, 0);
	key = key_load(fd, why);
	close(fd);
	return key;
}

static const struct {
	const char *kind;
	bool traditional; /* EC PRIVATE KEY, RSA PRIVATE KEY */
	bool is_short;	  /* taken without a decoder */
} rows[] = {
	{ "P-256", false, true },    { "P-256", true, true }, { "P-384", false, false },
	{ "P-384", true, false },    { "RSA", false, false }, { "RSA", true, false },
	{ "ED25519", false, false },
};

START_TEST(test_forms)
{
	EVP_PKEY *made = make_key(rows[_i].kind), *other = make_key(rows[_i].kind), *key, *one;
	struct pop_why why = { "" };
	uint8_t *pub = NULL;
	int len = i2d_PUBKEY(made, &pub);
	BIO *bio;

	ck_assert_int_gt(len, 0);
	write_key(made, rows[_i].traditional, false);
	bio = BIO_new_file("key", "r");
	one = short_way(bio);
	ck_assert_msg((one != NULL) == rows[_i].is_short, "%s", rows[_i].kind);
	BIO_free(bio);
	EVP_PKEY_free(one);
	key = load_key(&why);
	ck_assert_msg(key != NULL, "%s: %s", rows[_i].kind, why.text);
	ck_assert_int_eq(EVP_PKEY_eq(key, made), 1);
	ck_assert(key_is_private_half(key, pub, (size_t)len));
	ck_assert(!key_is_private_half(other, pub, (size_t)len));
	ck_assert(!key_is_private_half(key, pub, (size_t)len - 1));
	pub[len - 1] ^= 1;
	ck_assert(!key_is_private_half(key, pub, (size_t)len));
	OPENSSL_free(pub);
	EVP_PKEY_free(key);
	EVP_PKEY_free(made);
	EVP_PKEY_free(other);
}
END_TEST

/* The short way and the long one give the same key. */
START_TEST(test_scalar)
{
	for (int i = 0; i < 50; i++) {
		EVP_PKEY *made = make_key("P-256"), *key;
		BIGNUM *a = NULL, *b = NULL;

		write_key(made, i % 2 == 1, false);
		key = load_key(NULL);
		ck_assert_ptr_nonnull(key);
		ck_assert_int_eq(EVP_PKEY_get_bn_param(made, OSSL_PKEY_PARAM_PRIV_KEY, &a), 1);
		ck_assert_int_eq(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &b), 1);
		ck_assert_int_eq(BN_cmp(a, b), 0);
		BN_free(a);
		BN_free(b);
		EVP_PKEY_free(key);
		EVP_PKEY_free(made);
	}
}
END_TEST

static const struct {
	const char *name, *text, *wanted;
} bad[] = {
	{ "empty", "", "no private key" },
	{ "no PEM", "hello\n", "no private key" },
	{ "a certificate's frame", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
	  "no private key" },
	{ "broken base64", "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n",
	  "no private key" },
	{ "no DER", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	  "no private key" },
	{ "no end", "-----BEGIN PRIVATE KEY-----\nMIGH\n", "no private key" },
};

START_TEST(test_bad)
{
	struct pop_why why = { "" };

	scratch_write("key", bad[_i].text, strlen(bad[_i].text), 0600);
	ck_assert_ptr_null(load_key(&why));
	ck_assert_msg(strstr(why.text, bad[_i].wanted), "%s: %s", bad[_i].name, why.text);
}
END_TEST

START_TEST(test_encrypted)
{
	EVP_PKEY *made = make_key("P-256");
	struct pop_why why = { "" };

	write_key(made, false, true);
	ck_assert_ptr_null(load_key(&why));
	ck_assert_msg(strstr(why.text, "is encrypted"), "%s", why.text);
	EVP_PKEY_free(made);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("key_load");
	TCase *tc = tcase_create("key_load");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_loop_test(tc, test_forms, 0, N_ELEMS(rows));
	tcase_add_test(tc, test_scalar);
	tcase_add_loop_test(tc, test_bad, 0, N_ELEMS(bad));
	tcase_add_test(tc, test_encrypted);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
