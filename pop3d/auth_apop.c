/*
 * auth_apop.c - APOP, RFC 1939 section 7.
 *
 * Runs in:  pop3d-auth.
 * Trusts:   nothing that came from the client.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "auth_digest.h"
#include "base64.h"
#include "md5.h"

/* The MD5 of timestamp and secret; the same work where there is no secret. */
static bool matches(const struct auth *a, const struct secret *s, bool found, const char *digest)
{
	uint8_t secret[USER_PASSWORD_MAX], made[MD5_LEN];
	char hex[2 * MD5_LEN + 1];
	struct md5 m;
	long len = 0;
	bool yes;

	if (found)
		len = base64_decode(s->value, strlen(s->value), secret, sizeof(secret));
	found = len > 0;
	md5_init(&m);
	md5_update(&m, a->start->apop, strlen(a->start->apop));
	md5_update(&m, secret, found ? (size_t)len : 0);
	md5_final(&m, made);
	hex_format(made, sizeof(made), hex);
	yes = CRYPTO_memcmp(hex, digest, 2 * MD5_LEN) == 0 && found;
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(hex, sizeof(hex));
	return yes;
}

void auth_apop(struct auth *a, const char *login, const char *digest, struct judgement *j)
{
	struct secret s;
	int found;

	if (strlen(digest) != 2 * MD5_LEN || strspn(digest, "0123456789abcdef") != 2 * MD5_LEN) {
		j->verdict = VERDICT_SYNTAX;
	} else if (auth_brake(a, login, j)) {
		found = auth_secret(a, login, SECRET_APOP, &s, j);
		if (found >= 0)
			j->verdict = VERDICT_AUTH;
		if (found >= 0 && matches(a, &s, found > 0, digest))
			auth_accept(a, j);
		explicit_bzero(&s, sizeof(s));
	}
	if (j->verdict != VERDICT_OK)
		snprintf(j->user.name, sizeof(j->user.name), "%s", login);
}
