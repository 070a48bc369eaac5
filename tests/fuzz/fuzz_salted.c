/*
 * fuzz_salted.c - {SSHA} and its kin: what salted_verify() says is what OpenSSL's
 * digests and base64 say.
 *
 * Input: octet 0: HASH: the hash is what is left; else bits 0 to 2 are a scheme, and
 * a right hash is made of the salt that is left.  Then the password, a NUL, and that.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <openssl/evp.h>
#include "fuzz.h"
#include "salted.h"
#include "sha.h"
#include "users.h"

#define HASH	 128
#define SALT_MAX 64 /* octets that are taken of a salt */

static const struct {
	const char *name, *digest;
	bool salted;
} schemes[] = {
	{ "{SHA}", "SHA1", false },	 { "{SHA1}", "SHA1", false },
	{ "{SHA256}", "SHA256", false }, { "{SHA512}", "SHA512", false },
	{ "{SSHA}", "SHA1", true },	 { "{SSHA256}", "SHA256", true },
	{ "{SSHA512}", "SHA512", true },
};
#define N_SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

static size_t digest(size_t scheme, const char *password, const uint8_t *salt, size_t salt_len,
		     uint8_t out[EVP_MAX_MD_SIZE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned len = 0;

	MUST(ctx &&
	     EVP_DigestInit_ex(ctx, EVP_get_digestbyname(schemes[scheme].digest), NULL) == 1);
	MUST(EVP_DigestUpdate(ctx, password, strlen(password)) == 1);
	MUST(EVP_DigestUpdate(ctx, salt, salt_len) == 1);
	MUST(EVP_DigestFinal_ex(ctx, out, &len) == 1);
	EVP_MD_CTX_free(ctx);
	return len;
}

/* base64 as it must be: whole groups, padded. How many octets, or -1. */
static long decode(const char *text, uint8_t *out, size_t room)
{
	size_t len = strlen(text), pad = 0;
	uint8_t *back = malloc(len + 1);
	int n;

	while (pad < len && text[len - 1 - pad] == '=')
		pad++;
	/* EVP_DecodeBlock passes blanks over at both ends, and '=' anywhere */
	if (len % 4 != 0 || len / 4 * 3 > room || pad > 2 ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") !=
		    len - pad) {
		free(back);
		return -1;
	}
	n = EVP_DecodeBlock(out, (const uint8_t *)text, (int)len);
	MUST(n >= 0 && back);
	/* bits that mean nothing must be zero: it is the one text of these octets */
	EVP_EncodeBlock(back, out, n - (int)pad);
	if (memcmp(back, text, len) != 0)
		n = -1;
	free(back);
	return n < 0 ? -1 : n - (long)pad;
}

/* The same judgement by other means. */
static int expected(const char *password, const char *hash)
{
	uint8_t stored[65536], made[EVP_MAX_MD_SIZE];
	size_t scheme = 0, len;
	long n;

	while (scheme < N_SCHEMES &&
	       strncasecmp(hash, schemes[scheme].name, strlen(schemes[scheme].name)) != 0)
		scheme++;
	MUST(salted_is(hash) == (scheme < N_SCHEMES));
	if (scheme == N_SCHEMES || strlen(password) > USER_PASSWORD_MAX)
		return 0;
	n = decode(hash + strlen(schemes[scheme].name), stored, sizeof(stored));
	len = digest(scheme, password, NULL, 0, made);
	if (n < (long)len || schemes[scheme].salted != (n > (long)len) || n - (long)len > SALT_MAX)
		return 0;
	digest(scheme, password, stored + len, (size_t)n - len, made);
	return memcmp(made, stored, len) == 0;
}

static void check_right(size_t scheme, const char *password, const uint8_t *salt, size_t salt_len)
{
	uint8_t octets[EVP_MAX_MD_SIZE + SALT_MAX];
	char hash[16 + (EVP_MAX_MD_SIZE + SALT_MAX) * 2];
	size_t len, at = strlen(schemes[scheme].name);

	if (!schemes[scheme].salted)
		salt_len = 0;
	else if (salt_len == 0 || salt_len > SALT_MAX)
		return;
	len = digest(scheme, password, salt, salt_len, octets);
	if (salt_len > 0)
		memcpy(octets + len, salt, salt_len);
	memcpy(hash, schemes[scheme].name, at);
	EVP_EncodeBlock((uint8_t *)hash + at, octets, (int)(len + salt_len));
	MUST(salted_verify(password, hash) == (strlen(password) <= USER_PASSWORD_MAX));
	/* one bit of the digest, of the password or of the salt, and it is another */
	octets[octets[0] % (len + salt_len)] ^= 1;
	EVP_EncodeBlock((uint8_t *)hash + at, octets, (int)(len + salt_len));
	MUST(salted_verify(password, hash) == 0);
}

static void check_digests(const void *data, size_t size)
{
	static const char *const names[] = { "SHA1", "SHA256", "SHA512" };
	uint8_t ours[SHA_MAX], theirs[EVP_MAX_MD_SIZE];

	for (enum sha_kind kind = SHA_1; kind <= SHA_512; kind++) {
		unsigned len = 0;

		MUST(EVP_Digest(data, size, theirs, &len, EVP_get_digestbyname(names[kind]),
				NULL) == 1);
		MUST(sha(kind, data, size, ours) == len && memcmp(ours, theirs, len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in);
	const char *text;
	size_t len = fuzz_text(&in, &text);
	char *password = fuzz_string(text, len), *hash = fuzz_string(in.p, (size_t)(in.end - in.p));

	if (how & HASH)
		MUST(salted_verify(password, hash) == expected(password, hash));
	else
		check_right(how % N_SCHEMES, password, in.p, (size_t)(in.end - in.p));
	check_digests(data, size);
	free(password);
	free(hash);
	return 0;
}
