/*
 * jwt.h - pop3d-jwt: what its files share.
 *
 * A verifier of OAuth tokens that are signed JWTs (RFC 7519), a program of its own
 * that pop3d starts as oauth_user.  OpenSSL does the cryptography, jansson the JSON.
 */
#ifndef POP3D_JWT_H
#define POP3D_JWT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define JWT_TOKEN_MAX 9216 /* octets; what fits a response of AUTH */
#define JWT_KEYS_MAX  (1 << 20)

/* What is asked of a token. */
struct jwt_rules {
	const char *keys; /* a file, JWKS */
	const char *issuer, *audience;
	const char *claim; /* that names the user */
	int64_t leeway_s;
	int64_t now; /* seconds since the epoch */
};

/* What a part of the token is signed by. */
enum jwt_alg { JWT_RS256, JWT_ES256, JWT_EDDSA, JWT_ALG_N };

struct jwt_signed {
	enum jwt_alg alg;
	const char *kid; /* NULL: the token names no key */
	const uint8_t *content;
	size_t content_len;
	const uint8_t *signature;
	size_t signature_len;
};

/* base64url without padding, RFC 7515 section 2, strictly.  The octets, or POP_E_SYNTAX,
 * POP_E_LONG. */
long jwt_decode(const char *text, size_t len, uint8_t *out, size_t size);
/* An object without a key that stands twice; NULL (why is set) for anything else. */
json_t *jwt_object(const char *text, size_t len, const char *what, struct pop_why *why);
/* A string of an object without a NUL in it, or NULL. */
const char *jwt_string(const json_t *object, const char *key);

/*
 * jwt_keys.c: is the signature by a key of this set (RFC 7517) that is for it?
 * 0, POP_E_DENIED (*why says why), POP_E_CORRUPT (the set is none).
 */
int jwt_check_signature(const json_t *set, const struct jwt_signed *s, struct pop_why *why);

/*
 * jwt_token.c: is the token good, and whose is it?
 *   name  out, name[size]
 * 0, POP_E_DENIED (*why), or another code where that cannot be told now (*why).
 */
int jwt_check(const struct jwt_rules *rules, char *token, char *name, size_t size,
	      struct pop_why *why);

#endif
