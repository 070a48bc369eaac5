/*
 * check_certs.c - certificate chains from PEM files, good and broken ones.
 */
#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "certs.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define DAY	   86400

static char pem[4096]; /* of a certificate that is valid for a day from a moment on */
static X509 *made;

static void make(int64_t from_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	int n;

	made = X509_new();
	ck_assert(key && bio && made);
	ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
	ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notBefore(made), from_s));
	ck_assert_ptr_nonnull(ASN1_TIME_set(X509_getm_notAfter(made), from_s + DAY));
	ck_assert_int_eq(X509_set_pubkey(made, key), 1);
	ck_assert_int_gt(X509_sign(made, key, EVP_sha256()), 0);
	ck_assert_int_eq(PEM_write_bio_X509(bio, made), 1);
	n = BIO_read(bio, pem, sizeof(pem) - 1);
	ck_assert_int_gt(n, 0);
	pem[n] = '\0';
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static void begin(void)
{
	make(1700000000);
}

static void end(void)
{
	X509_free(made);
	made = NULL;
}

/* A file of `times` certificates between two texts. */
static int file_of(const char *before, unsigned times, const char *behind)
{
	int fd = memfd_create("certs", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	dprintf(fd, "%s", before);
	for (unsigned i = 0; i < times; i++)
		dprintf(fd, "%s", pem);
	dprintf(fd, "%s", behind);
	return fd;
}

static const struct {
	const char *name, *before, *behind;
	unsigned times;
	int err;
} rows[] = {
	{ "one", "", "", 1, 0 },
	{ "a chain", "", "", 3, 0 },
	{ "as many as there may be", "", "", CERT_CHAIN_MAX, 0 },
	{ "one too many", "", "", CERT_CHAIN_MAX + 1, POP_E_LONG },
	{ "text around it", "subject: x\n", "that was it\n", 1, 0 },
	{ "empty", "", "", 0, POP_E_SYNTAX },
	{ "no PEM", "hello\n", "", 0, POP_E_SYNTAX },
	{ "another kind of PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "",
	  0, POP_E_SYNTAX },
	{ "no base64", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "", 1,
	  POP_E_SYNTAX },
	{ "no certificate in it", "",
	  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1, POP_E_SYNTAX },
	{ "cut", "", "-----BEGIN CERTIFICATE-----\nMIIB\n", 1, POP_E_SYNTAX },
};

START_TEST(test_load)
{
	struct cert_chain chain;
	struct pop_why why = { "" };
	int fd = file_of(rows[_i].before, rows[_i].times, rows[_i].behind);
	int err = cert_chain_load(&chain, fd, &why);

	ck_assert_msg(err == rows[_i].err, "%s: %d %s", rows[_i].name, err, why.text);
	ck_assert_uint_eq(chain.n, err == 0 ? rows[_i].times : 0);
	ck_assert((err == 0) == (why.text[0] == '\0'));
	cert_chain_release(&chain);
	close(fd);
}
END_TEST

START_TEST(test_too_large)
{
	struct cert_chain chain;
	struct pop_why why = { "" };
	int fd = file_of("", 1, "");

	ck_assert_int_eq(ftruncate(fd, CERT_FILE_MAX + 1), 0);
	ck_assert_int_eq(cert_chain_load(&chain, fd, &why), POP_E_LONG);
	ck_assert(why.text[0]);
	close(fd);
	ck_assert_int_lt(cert_chain_load(&chain, fd, &why), 0);
}
END_TEST

static const struct {
	int64_t now_s; /* from its beginning on */
	int err;
	const char *says;
} dates[] = {
	{ 0, 0, "" },
	{ DAY, 0, "" },
	{ -1, POP_E_TIME, "is not valid before 2023-11-14T22:13:20Z" },
	{ DAY + 1, POP_E_TIME, "expired on 2023-11-15T22:13:20Z" },
};

START_TEST(test_dates)
{
	struct pop_why why = { "" };
	int64_t from, until;

	ck_assert_int_eq(cert_dates(made, &from, &until), 0);
	ck_assert_int_eq(from, 1700000000);
	ck_assert_int_eq(until, 1700000000 + DAY);
	ck_assert_int_eq(cert_check_dates(made, from + dates[_i].now_s, &why), dates[_i].err);
	ck_assert_str_eq(why.text, dates[_i].says);
}
END_TEST

/* Dates that are none are no dates that have passed. */
START_TEST(test_no_dates)
{
	struct pop_why why = { "" };
	int64_t from, until;

	ck_assert_int_eq(ASN1_STRING_set(X509_getm_notAfter(made), "soon", 4), 1);
	ck_assert_int_eq(cert_dates(made, &from, &until), POP_E_CORRUPT);
	ck_assert_int_eq(cert_check_dates(made, 1700000000, &why), POP_E_TIME);
	ck_assert_str_eq(why.text, "has dates that cannot be read");
}
END_TEST

START_TEST(test_public_key)
{
	uint8_t *der = NULL;
	size_t n = cert_public_key(made, &der);

	ck_assert_uint_gt(n, 32);
	OPENSSL_free(der);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("certs");
	TCase *tc = tcase_create("certs");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, begin, end);
	tcase_add_loop_test(tc, test_load, 0, N_ELEMS(rows));
	tcase_add_test(tc, test_too_large);
	tcase_add_loop_test(tc, test_dates, 0, N_ELEMS(dates));
	tcase_add_test(tc, test_no_dates);
	tcase_add_test(tc, test_public_key);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
