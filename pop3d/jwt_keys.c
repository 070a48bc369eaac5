/*
 * jwt_keys.c - the keys of a JWK set (RFC 7517, 7518, 8037), and signatures by them.
 *
 * Runs in:  pop3d-jwt.
 * Trusts:   the set, which is the administrator's.  Not the token: neither its
 *           algorithm, which must be the key's own, nor keys that it brings.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>
#include "jwt.h"

#define RSA_BITS_LEAST	2048
#define RSA_OCTETS_MOST 1024
#define P256_OCTETS	32
#define ED25519_OCTETS	32

static const struct kind {
	const char *alg, *kty, *crv;
} kinds[JWT_ALG_N] = {
	[JWT_RS256] = { "RS256", "RSA", NULL },
	[JWT_ES256] = { "ES256", "EC", "P-256" },
	[JWT_EDDSA] = { "EdDSA", "OKP", "Ed25519" },
};

/* The octets of a member, base64url; their number, or -1. */
static long get_octets(const json_t *key, const char *member, uint8_t *out, size_t size)
{
	const char *text = jwt_string(key, member);
	long n = text ? jwt_decode(text, strlen(text), out, size) : -1;

	return n > 0 ? n : -1;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = bld ? OSSL_PARAM_BLD_to_param(bld) : NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return pkey;
}

static EVP_PKEY *load_rsa(const json_t *key)
{
	uint8_t n[RSA_OCTETS_MOST], e[8];
	long n_len = get_octets(key, "n", n, sizeof(n)), e_len = get_octets(key, "e", e, sizeof(e));
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *bn_n = NULL, *bn_e = NULL;
	EVP_PKEY *pkey = NULL;

	if (n_len > 0 && e_len > 0) {
		bn_n = BN_bin2bn(n, (int)n_len, NULL);
		bn_e = BN_bin2bn(e, (int)e_len, NULL);
	}
	if (bld && bn_n && bn_e && BN_num_bits(bn_n) >= RSA_BITS_LEAST && BN_is_odd(bn_e) &&
	    !BN_is_one(bn_e) && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn_n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, bn_e) == 1)
		pkey = from_params("RSA", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(bn_n);
	BN_free(bn_e);
	return pkey;
}

/* fromdata refuses a point that is not on the curve. */
static EVP_PKEY *load_p256(const json_t *key)
{
	uint8_t point[1 + 2 * P256_OCTETS] = { 4 }; /* uncompressed */
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	if (bld && get_octets(key, "x", point + 1, P256_OCTETS) == P256_OCTETS &&
	    get_octets(key, "y", point + 1 + P256_OCTETS, P256_OCTETS) == P256_OCTETS &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
		    1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) ==
		    1)
		pkey = from_params("EC", bld);
	OSSL_PARAM_BLD_free(bld);
	return pkey;
}

static EVP_PKEY *load_ed25519(const json_t *key)
{
	uint8_t x[ED25519_OCTETS];

	if (get_octets(key, "x", x, sizeof(x)) != ED25519_OCTETS)
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, sizeof(x));
}

/* A member that must be this where it is there at all. */
static bool may_be(const json_t *key, const char *member, const char *want)
{
	const char *value;

	if (!json_object_get(key, member))
		return true;
	value = jwt_string(key, member);
	return value && strcmp(value, want) == 0;
}

static bool may_verify(const json_t *key)
{
	const json_t *ops = json_object_get(key, "key_ops"), *op;
	size_t i;

	if (!ops)
		return true;
	json_array_foreach(ops, i, op) if (json_is_string(op) && strcmp(json_string_value(op),
									"verify") == 0) return true;
	return false;
}

/* Is this key meant for such a signature, and the one that the token names? */
static bool fits(const json_t *key, const struct jwt_signed *s)
{
	const struct kind *kind = &kinds[s->alg];
	const char *kty = jwt_string(key, "kty"), *crv = jwt_string(key, "crv");
	const char *kid = jwt_string(key, "kid");

	if (!kty || strcmp(kty, kind->kty) != 0 || !may_be(key, "use", "sig") ||
	    !may_be(key, "alg", kind->alg) || !may_verify(key))
		return false;
	if (kind->crv && (!crv || strcmp(crv, kind->crv) != 0))
		return false;
	return !s->kid || (kid && strcmp(kid, s->kid) == 0);
}

/* R and S of 32 octets each (RFC 7518 section 3.4) as the DER that OpenSSL takes. */
static int ecdsa_der(const struct jwt_signed *s, uint8_t *out, size_t size)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = NULL, *t = NULL;
	int n = -1;

	if (s->signature_len == (size_t)2 * P256_OCTETS) {
		r = BN_bin2bn(s->signature, P256_OCTETS, NULL);
		t = BN_bin2bn(s->signature + P256_OCTETS, P256_OCTETS, NULL);
	}
	if (sig && r && t && ECDSA_SIG_set0(sig, r, t) == 1) {
		r = t = NULL; /* the signature's now */
		n = i2d_ECDSA_SIG(sig, NULL);
		n = n > 0 && (size_t)n <= size ? i2d_ECDSA_SIG(sig, &out) : -1;
	}
	BN_free(r);
	BN_free(t);
	ECDSA_SIG_free(sig);
	return n;
}

static bool verify(EVP_PKEY *pkey, const struct jwt_signed *s)
{
	const EVP_MD *md = s->alg == JWT_EDDSA ? NULL : EVP_sha256();
	const uint8_t *signature = s->signature;
	size_t len = s->signature_len;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[80];
	bool good;

	if (s->alg == JWT_ES256) {
		int n = ecdsa_der(s, der, sizeof(der));

		signature = der;
		len = n > 0 ? (size_t)n : 0;
	}
	good = ctx && len > 0 && EVP_DigestVerifyInit(ctx, NULL, md, NULL, pkey) == 1 &&
	       EVP_DigestVerify(ctx, signature, len, s->content, s->content_len) == 1;
	EVP_MD_CTX_free(ctx);
	return good;
}

static EVP_PKEY *load(const json_t *key, enum jwt_alg alg)
{
	return alg == JWT_RS256	  ? load_rsa(key)
	       : alg == JWT_ES256 ? load_p256(key)
				  : load_ed25519(key);
}

int jwt_check_signature(const json_t *set, const struct jwt_signed *s, struct pop_why *why)
{
	const json_t *keys = json_object_get(set, "keys"), *key;
	unsigned n = 0;
	size_t i;

	if (!json_is_array(keys))
		return pop_why(why, POP_E_CORRUPT, "the key file is no JWK set");
	json_array_foreach(keys, i, key)
	{
		EVP_PKEY *pkey = json_is_object(key) && fits(key, s) ? load(key, s->alg) : NULL;
		bool good = pkey && verify(pkey, s);

		n += pkey != NULL;
		EVP_PKEY_free(pkey);
		if (good)
			return 0;
	}
	if (n == 0)
		return pop_why(why, POP_E_DENIED,
			       "no key of the key file is for this %s token%s%.64s",
			       kinds[s->alg].alg, s->kid ? ", kid " : "", s->kid ? s->kid : "");
	return pop_why(why, POP_E_DENIED, "the signature is not right");
}
