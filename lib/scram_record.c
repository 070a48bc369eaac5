/*
 * scram_record.c - what a server keeps of a password for SCRAM.
 *
 * Runs in:  pop3d-auth and pop3admin.
 * Trusts:   libcrypto.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "num.h"
#include "scram.h"
#include "scram_impl.h"

size_t scram_key_len(enum scram_hash hash)
{
	return hash == SCRAM_SHA_1 ? 20 : 32;
}

static const EVP_MD *md_of(enum scram_hash hash)
{
	return hash == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

int scram_hmac(enum scram_hash hash, const void *key, size_t key_len, const void *data, size_t n,
	       uint8_t *out)
{
	return HMAC(md_of(hash), key, (int)key_len, data, n, out, NULL) ? 0 : POP_E_SYS;
}

int scram_digest(enum scram_hash hash, const void *data, size_t n, uint8_t *out)
{
	return EVP_Digest(data, n, out, NULL, md_of(hash), NULL) == 1 ? 0 : POP_E_SYS;
}

/* RFC 5802 section 3: SaltedPassword, and from it both keys. */
int scram_make(struct scram_record *r, enum scram_hash hash, const char *password,
	       const uint8_t *salt, size_t salt_len, uint32_t iterations)
{
	uint8_t salted[SCRAM_KEY_MAX], client_key[SCRAM_KEY_MAX];
	size_t len = scram_key_len(hash);
	int err = POP_E_SYS;

	if (salt_len > SCRAM_SALT_MAX)
		return POP_E_LONG;
	*r = (struct scram_record){ .hash = hash, .iterations = iterations, .salt_len = salt_len };
	memcpy(r->salt, salt, salt_len);
	if (PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_len, (int)iterations,
			      md_of(hash), (int)len, salted) == 1 &&
	    scram_hmac(hash, salted, len, "Client Key", 10, client_key) == 0 &&
	    scram_digest(hash, client_key, len, r->stored_key) == 0)
		err = scram_hmac(hash, salted, len, "Server Key", 10, r->server_key);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client_key, sizeof(client_key));
	return err;
}

int scram_fake(struct scram_record *r, enum scram_hash hash, const void *secret, size_t secret_len,
	       const char *name)
{
	uint8_t made[SCRAM_KEY_MAX];
	char text[320];
	int n = snprintf(text, sizeof(text), "%s salt of %.255s",
			 hash == SCRAM_SHA_1 ? "SHA-1" : "SHA-256", name);

	*r = (struct scram_record){ .hash = hash, .iterations = SCRAM_ITERATIONS };
	if (scram_hmac(SCRAM_SHA_256, secret, secret_len, text, (size_t)n, made) < 0)
		return POP_E_SYS;
	r->salt_len = SCRAM_SALT_LEN;
	memcpy(r->salt, made, SCRAM_SALT_LEN);
	/* the first half is told to everybody; these keys have no preimage that is known */
	text[0] ^= 1;
	return scram_hmac(hash, secret, secret_len, text, (size_t)n, r->stored_key) == 0
		       ? scram_hmac(hash, made, SCRAM_KEY_MAX, text, (size_t)n, r->server_key)
		       : POP_E_SYS;
}

int scram_format(const struct scram_record *r, char *out, size_t size)
{
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	char stored[BASE64_LEN(SCRAM_KEY_MAX) + 1], server[BASE64_LEN(SCRAM_KEY_MAX) + 1];
	size_t len = scram_key_len(r->hash);
	int n;

	base64_encode(r->salt, r->salt_len, salt);
	base64_encode(r->stored_key, len, stored);
	base64_encode(r->server_key, len, server);
	n = snprintf(out, size, "%u,%s,%s,%s", r->iterations, salt, stored, server);
	OPENSSL_cleanse(stored, sizeof(stored));
	OPENSSL_cleanse(server, sizeof(server));
	return n < 0 || (size_t)n >= size ? POP_E_LONG : n;
}

int scram_parse(struct scram_record *r, enum scram_hash hash, const char *text, size_t len)
{
	const char *part[4], *end = text + len, *comma;
	size_t lens[4], key_len = scram_key_len(hash);
	uint64_t iterations;
	long salt;

	for (int i = 0; i < 4; i++) {
		comma = memchr(text, ',', (size_t)(end - text));
		if (!comma != (i == 3))
			return POP_E_SYNTAX;
		part[i] = text;
		lens[i] = (size_t)((comma ? comma : end) - text);
		text = comma ? comma + 1 : end;
	}
	*r = (struct scram_record){ .hash = hash };
	if (num_parse(part[0], lens[0], 100000000, &iterations) < 0 || iterations == 0)
		return POP_E_SYNTAX;
	r->iterations = (uint32_t)iterations;
	salt = base64_decode(part[1], lens[1], r->salt, sizeof(r->salt));
	if (salt <= 0)
		return POP_E_SYNTAX;
	r->salt_len = (size_t)salt;
	if (base64_decode(part[2], lens[2], r->stored_key, key_len) != (long)key_len ||
	    base64_decode(part[3], lens[3], r->server_key, key_len) != (long)key_len)
		return POP_E_SYNTAX;
	return 0;
}
