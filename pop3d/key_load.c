/*
 * key_load.c - private keys from their files.
 *
 * OpenSSL's decoders cost a millisecond in a fresh process, more than the
 * signature.  A P-256 key in the two forms in which everybody writes it is
 * therefore taken out of its place; whatever looks different goes the long way.
 *
 * Runs in:  keeper.
 * Trusts:   the key file, which is root's.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include "fsutil.h"
#include "key.h"

#define KEY_FILE_MAX 65536
#define SCALAR_LEN   32
#define POINT_LEN    65

#define OID_EC	 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01
#define OID_P256 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07

/* DER of a P-256 key: what stands before the scalar, and between it and the point. */
static const struct form {
	const char *pem;
	uint8_t before[36], between[17];
	uint8_t n_before, n_between;
} forms[] = {
	/* RFC 5208 around RFC 5915 */
	{ "PRIVATE KEY",
	  { 0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, OID_EC, OID_P256, 0x04, 0x6D, 0x30,
	    0x6B, 0x02, 0x01, 0x01, 0x04, 0x20 },
	  { 0xA1, 0x44, 0x03, 0x42, 0x00 },
	  36,
	  5 },
	/* RFC 5915 */
	{ "EC PRIVATE KEY",
	  { 0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20 },
	  { 0xA0, 0x0A, OID_P256, 0xA1, 0x44, 0x03, 0x42, 0x00 },
	  7,
	  17 },
};

/* SubjectPublicKeyInfo of a P-256 key, up to the point. */
static const uint8_t spki_p256[26] = { 0x30, 0x59, 0x30, 0x13, OID_EC, OID_P256, 0x03, 0x42, 0x00 };

static EVP_PKEY *make_p256(const uint8_t *scalar, const uint8_t *point)
{
	char group[] = "P-256";
	uint8_t native[SCALAR_LEN], copy[POINT_LEN];
	OSSL_PARAM params[4];
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	BIGNUM *n = BN_bin2bn(scalar, SCALAR_LEN, NULL);
	EVP_PKEY *key = NULL;

	memcpy(copy, point, sizeof(copy));
	if (ctx && n && BN_bn2nativepad(n, native, sizeof(native)) == SCALAR_LEN) {
		params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
		params[1] =
			OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof(native));
		params[2] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy,
							      sizeof(copy));
		params[3] = OSSL_PARAM_construct_end();
		if (EVP_PKEY_fromdata_init(ctx) == 1)
			EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params);
	}
	explicit_bzero(native, sizeof(native));
	BN_clear_free(n);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* NULL: not in one of the two forms. */
static EVP_PKEY *take_p256(const char *pem, const uint8_t *der, size_t len)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const struct form *f = &forms[i];
		const uint8_t *scalar = der + f->n_before;
		const uint8_t *point = scalar + SCALAR_LEN + f->n_between;

		if (strcmp(pem, f->pem) == 0 &&
		    len == f->n_before + SCALAR_LEN + f->n_between + (size_t)POINT_LEN &&
		    memcmp(der, f->before, f->n_before) == 0 &&
		    memcmp(scalar + SCALAR_LEN, f->between, f->n_between) == 0 && point[0] == 4)
			return make_p256(scalar, point);
	}
	return NULL;
}

static EVP_PKEY *short_way(BIO *bio)
{
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	EVP_PKEY *key = NULL;
	long len = 0;

	if (PEM_read_bio(bio, &name, &header, &der, &len) == 1 && header[0] == '\0')
		key = take_p256(name, der, (size_t)len);
	OPENSSL_clear_free(der, (size_t)len);
	OPENSSL_free(header);
	OPENSSL_free(name);
	return key;
}

/* Never ask anybody for a password. */
static int no_password(char *buf, int size, int rwflag, void *asked)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	*(bool *)asked = true;
	return -1;
}

EVP_PKEY *key_load(int fd, struct pop_why *why)
{
	EVP_PKEY *key = NULL;
	bool encrypted = false;
	BIO *bio = NULL;
	char *text;
	size_t len;
	int err = fs_read_file(fd, KEY_FILE_MAX, &text, &len);

	if (err < 0) {
		pop_why(why, err, "cannot be read: %s", pop_strerror(err));
		return NULL;
	}
	bio = BIO_new_mem_buf(text, (int)len);
	if (bio)
		key = short_way(bio);
	if (bio && !key && BIO_reset(bio) == 1)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &encrypted);
	BIO_free(bio);
	explicit_bzero(text, len);
	free(text);
	if (!key)
		pop_why(why, POP_E_SYNTAX, "%s",
			encrypted ? "is encrypted; it must be readable without a password"
				  : "holds no private key in PEM that can be used");
	ERR_clear_error();
	return key;
}

bool key_is_private_half(EVP_PKEY *key, const uint8_t *pub, size_t len)
{
	uint8_t point[POINT_LEN], *der = NULL;
	size_t n = 0;
	bool same;
	int der_len;

	if (len == sizeof(spki_p256) + POINT_LEN &&
	    memcmp(pub, spki_p256, sizeof(spki_p256)) == 0 &&
	    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
					    &n) == 1 &&
	    n == POINT_LEN)
		return memcmp(pub + sizeof(spki_p256), point, POINT_LEN) == 0;
	ERR_clear_error();
	der_len = i2d_PUBKEY(key, &der);
	same = der_len > 0 && (size_t)der_len == len && memcmp(der, pub, len) == 0;
	OPENSSL_free(der);
	return same;
}
