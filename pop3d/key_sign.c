/*
 * key_sign.c - what the keeper signs, and how.
 *
 * Runs in:  keeper.
 * Trusts:   nothing of what it is asked to sign: a signature over anything but
 *           a TLS handshake of a server would let its asker speak in our name
 *           elsewhere.
 */
#include <string.h>
#include <openssl/rsa.h>
#include "err.h"
#include "key.h"

struct scheme {
	uint32_t code; /* RFC 8446 section 4.2.3 */
	const char *key_type;
	const char *digest; /* NULL: the algorithm has its own */
	bool pss;
	bool old; /* TLS 1.2 only */
};

static const struct scheme schemes[] = {
	{ 0x0403, "EC", "SHA256", false, false }, { 0x0503, "EC", "SHA384", false, false },
	{ 0x0603, "EC", "SHA512", false, false }, { 0x0804, "RSA", "SHA256", true, false },
	{ 0x0805, "RSA", "SHA384", true, false }, { 0x0806, "RSA", "SHA512", true, false },
	{ 0x0401, "RSA", "SHA256", false, true }, { 0x0501, "RSA", "SHA384", false, true },
	{ 0x0601, "RSA", "SHA512", false, true }, { 0x0807, "ED25519", NULL, false, false },
};

#define RANDOMS_LEN	 64
#define NAMED_CURVE	 3
#define CURVE_P256	 0x0017
#define CURVE_X25519	 0x001D
#define POINT_P256_LEN	 65
#define POINT_X25519_LEN 32
#define UNCOMPRESSED	 4

static const struct scheme *find_scheme(uint32_t code)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (schemes[i].code == code)
			return &schemes[i];
	return NULL;
}

static bool is_certificate_verify(const uint8_t *data, size_t len)
{
	static const char context[] =
		"TLS 1.3, server CertificateVerify"; /* its NUL belongs to it */
	size_t head = 64 + sizeof(context);

	if (len != head + 32 && len != head + 48)
		return false;
	for (size_t i = 0; i < 64; i++)
		if (data[i] != ' ')
			return false;
	return memcmp(data + 64, context, sizeof(context)) == 0;
}

static bool is_ecdhe_params(const uint8_t *data, size_t len)
{
	const uint8_t *p = data + RANDOMS_LEN;
	unsigned curve;

	if (len < RANDOMS_LEN + 4 || p[0] != NAMED_CURVE)
		return false;
	curve = (unsigned)p[1] << 8 | p[2];
	if (len != RANDOMS_LEN + 4U + p[3])
		return false;
	if (curve == CURVE_X25519)
		return p[3] == POINT_X25519_LEN;
	return curve == CURVE_P256 && p[3] == POINT_P256_LEN && p[4] == UNCOMPRESSED;
}

int key_check_content(uint32_t code, const uint8_t *data, size_t len)
{
	const struct scheme *s = find_scheme(code);

	if (!s)
		return POP_E_DENIED;
	if (!s->old && is_certificate_verify(data, len))
		return 0;
	return is_ecdhe_params(data, len) ? 0 : POP_E_DENIED;
}

/* RFC 8446 section 4.2.3: the salt is as long as the digest. */
static int set_padding(EVP_PKEY_CTX *ctx, const struct scheme *s)
{
	if (strcmp(s->key_type, "RSA") != 0)
		return 0;
	if (!s->pss)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 ? 0 : POP_E_SYS;
	if (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) != 1)
		return POP_E_SYS;
	return 0;
}

int key_sign(EVP_PKEY *key, uint32_t code, const uint8_t *data, size_t len, uint8_t *sig,
	     size_t *sig_len)
{
	const struct scheme *s = find_scheme(code);
	EVP_PKEY_CTX *pctx;
	EVP_MD_CTX *ctx;
	int err = POP_E_SYS;

	if (key_check_content(code, data, len) < 0 || !EVP_PKEY_is_a(key, s->key_type))
		return POP_E_DENIED;
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return POP_E_MEMORY;
	*sig_len = KEY_SIGNATURE_MAX;
	if (EVP_PKEY_get_size(key) > KEY_SIGNATURE_MAX ||
	    EVP_DigestSignInit_ex(ctx, &pctx, s->digest, NULL, NULL, key, NULL) != 1 ||
	    set_padding(pctx, s) < 0)
		goto out;
	if (EVP_DigestSign(ctx, sig, sig_len, data, len) == 1)
		err = 0;
out:
	EVP_MD_CTX_free(ctx);
	return err;
}
