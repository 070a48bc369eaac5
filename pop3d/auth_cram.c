/*
 * auth_cram.c - CRAM-MD5, RFC 2195.
 *
 * Runs in:  pop3d-auth.
 * Trusts:   nothing that came from the client.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "auth_digest.h"
#include "md5.h"
#include "saslprep.h"

/* <random.seconds@host>, which no other exchange has had. */
static enum ipc_sasl_kind ask(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	uint8_t random[16];
	char hex[2 * sizeof(random) + 1];
	int n;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		j->verdict = VERDICT_TEMP;
		return SASL_VERDICT;
	}
	hex_format(random, sizeof(random), hex);
	n = snprintf((char *)x->out, sizeof(x->out), "<%s.%lld@%s>", hex, (long long)time(NULL),
		     a->conf->hostname);
	x->out_len = (size_t)n;
	return SASL_CHALLENGE;
}

/* The digest of a name without a record: one that never matches, at the same price. */
static bool matches(const struct auth_exchange *x, const struct secret *s, bool found,
		    const char *digest)
{
	struct hmac_md5_key key;
	uint8_t made[MD5_LEN];
	char hex[2 * MD5_LEN + 1];
	bool yes;

	if (!found || hmac_md5_key_parse(&key, s->value, strlen(s->value)) < 0) {
		hmac_md5_key(&key, x->out, x->out_len);
		found = false;
	}
	hmac_md5(&key, x->out, x->out_len, made);
	hex_format(made, sizeof(made), hex);
	yes = CRYPTO_memcmp(hex, digest, 2 * MD5_LEN) == 0 && found;
	explicit_bzero(&key, sizeof(key));
	explicit_bzero(hex, sizeof(hex));
	return yes;
}

/* "name SP 32 lower-case hex digits"; the name may have blanks. */
static int split(struct auth_exchange *x, const char **digest)
{
	size_t name_len = x->in_len - 2 * MD5_LEN - 1;

	if (x->in_len < 2 * MD5_LEN + 2)
		return POP_E_SYNTAX;
	*digest = (char *)x->in + name_len + 1;
	if (x->in[name_len] != ' ' || strspn(*digest, "0123456789abcdef") != 2 * MD5_LEN)
		return POP_E_SYNTAX;
	return saslprep((char *)x->in, name_len, x->login, sizeof(x->login)) > 0 ? 0 : POP_E_SYNTAX;
}

enum ipc_sasl_kind auth_step_cram(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	const char *digest;
	struct secret s;
	int found;

	if (x->step == 0 && x->no_response)
		return ask(a, x, j);
	/* the server speaks first: an initial response is an answer to nothing */
	if (x->step == 0 || split(x, &digest) < 0) {
		j->verdict = VERDICT_SYNTAX;
		return SASL_VERDICT;
	}
	if (!auth_brake(a, x->login, j))
		return SASL_VERDICT;
	found = auth_secret(a, x->login, SECRET_CRAM_MD5, &s, j);
	if (found >= 0) {
		j->verdict = VERDICT_AUTH;
		if (matches(x, &s, found > 0, digest))
			auth_accept(a, j);
	}
	explicit_bzero(&s, sizeof(s));
	return SASL_VERDICT;
}
