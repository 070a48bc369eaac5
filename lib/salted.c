/*
 * salted.c - {SSHA} and its kin.
 *
 * Runs in:  auth, one credential at a time; pop3admin.
 * Trusts:   nothing.  The hash is a field of a file.
 */
#include <string.h>
#include <strings.h>

#include "base64.h"
#include "salted.h"
#include "sha.h"
#include "users.h"

#define SALT_MAX 64

static const struct scheme {
	const char *name;
	enum sha_kind kind;
	size_t digest_len;
	bool salted;
} schemes[] = {
	{ "{SHA}", SHA_1, 20, false },	    { "{SHA1}", SHA_1, 20, false },
	{ "{SHA256}", SHA_256, 32, false }, { "{SHA512}", SHA_512, 64, false },
	{ "{SSHA}", SHA_1, 20, true },	    { "{SSHA256}", SHA_256, 32, true },
	{ "{SSHA512}", SHA_512, 64, true },
};

static const struct scheme *find(const char *hash)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncasecmp(hash, schemes[i].name, strlen(schemes[i].name)) == 0)
			return &schemes[i];
	return NULL;
}

bool salted_is(const char *hash)
{
	return find(hash) != NULL;
}

/* As long whatever the first difference is. */
static bool equal(const uint8_t *a, const uint8_t *b, size_t n)
{
	volatile uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff |= a[i] ^ b[i];
	return diff == 0;
}

int salted_verify(const char *password, const char *hash)
{
	const struct scheme *s = find(hash);
	uint8_t stored[SHA_MAX + SALT_MAX], made[SHA_MAX], text[USER_PASSWORD_MAX + SALT_MAX];
	size_t len = strlen(password), salt_len;
	long n = -1;
	int yes;

	if (s)
		n = base64_decode(hash + strlen(s->name), strlen(hash) - strlen(s->name), stored,
				  sizeof(stored));
	if (n < 0 || (size_t)n < s->digest_len || len > USER_PASSWORD_MAX)
		return 0;
	salt_len = (size_t)n - s->digest_len;
	if (s->salted != (salt_len > 0) || salt_len > SALT_MAX)
		return 0;
	memcpy(text, password, len);
	memcpy(text + len, stored + s->digest_len, salt_len);
	sha(s->kind, text, len + salt_len, made);
	yes = equal(made, stored, s->digest_len);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(made, sizeof(made));
	explicit_bzero(stored, sizeof(stored));
	return yes;
}
