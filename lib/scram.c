/*
 * scram.c - the messages of SCRAM, as the server reads and writes them.
 *
 * Runs in:  pop3d-auth.
 * Trusts:   the record.  Not the client's messages.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base64.h"
#include "saslprep.h"
#include "scram_impl.h"

void scram_wipe(struct scram *s)
{
	OPENSSL_cleanse(s, sizeof(*s));
}

/* What is left of a message. */
struct text {
	const char *p, *end;
};

/* "X=value" up to the next comma or the end, which is taken too.  NULL: not there. */
static const char *attribute(struct text *t, char name, size_t *len)
{
	const char *value = t->p + 2, *comma;

	if (t->end - t->p < 2 || t->p[0] != name || t->p[1] != '=')
		return NULL;
	comma = memchr(value, ',', (size_t)(t->end - value));
	*len = (size_t)((comma ? comma : t->end) - value);
	t->p = comma ? comma + 1 : t->end;
	return value;
}

/* saslname, RFC 5802 section 5.1: =2C and =3D stand for ',' and '='; then prepared. */
static int take_name(const char *from, size_t len, char *out, size_t size)
{
	char raw[SCRAM_MESSAGE_MAX + 1];
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		char c = from[i];

		if (c == '=') {
			if (len - i < 3)
				return POP_E_SYNTAX;
			if (memcmp(from + i, "=2C", 3) == 0)
				c = ',';
			else if (memcmp(from + i, "=3D", 3) != 0)
				return POP_E_SYNTAX;
			i += 2;
		}
		raw[used++] = c;
	}
	return saslprep(raw, used, out, size) > 0 ? 0 : POP_E_SYNTAX;
}

/* The channel binding flag: is it the one that fits? */
static int check_flag(struct scram *s, struct text *t)
{
	const char *name;
	size_t len;

	if (t->end - t->p >= 2 && (t->p[0] == 'n' || t->p[0] == 'y') && t->p[1] == ',') {
		/* y: "you do not offer -PLUS": somebody in between took it off the list */
		bool lied_to = t->p[0] == 'y' && s->plus_offered;

		t->p += 2;
		return s->plus || lied_to ? POP_E_DENIED : 0;
	}
	name = attribute(t, 'p', &len);
	if (!name || len == 0 || t->p == t->end)
		return POP_E_SYNTAX;
	for (size_t i = 0; i < sizeof(s->bindings) / sizeof(s->bindings[0]) && s->plus; i++) {
		const struct scram_binding *b = &s->bindings[i];

		if (b->name && strlen(b->name) == len && memcmp(name, b->name, len) == 0)
			s->binding = b;
	}
	return s->binding ? 0 : POP_E_DENIED;
}

/* Printable ASCII without a comma, RFC 5802 section 7. */
static bool printable(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] < 0x21 || p[i] > 0x7e || p[i] == ',')
			return false;
	return len > 0;
}

int scram_client_first(struct scram *s, const char *message, size_t len)
{
	struct text t = { message, message + len };
	const char *value;
	size_t n;
	int err;

	s->user[0] = s->authzid[0] = '\0';
	s->binding = NULL;
	if (len > SCRAM_MESSAGE_MAX || memchr(message, '\0', len))
		return POP_E_SYNTAX;
	err = check_flag(s, &t);
	if (err == POP_E_SYNTAX)
		return err;
	value = attribute(&t, 'a', &n);
	if (value && take_name(value, n, s->authzid, sizeof(s->authzid)) < 0)
		return POP_E_SYNTAX;
	if (!value && (t.p == t.end || *t.p++ != ','))
		return POP_E_SYNTAX;
	n = (size_t)(t.p - message);
	if (n >= sizeof(s->gs2))
		return POP_E_SYNTAX;
	memcpy(s->gs2, message, n);
	s->gs2[n] = '\0';
	n = (size_t)(t.end - t.p);
	memcpy(s->bare, t.p, n);
	s->bare[n] = '\0';
	value = attribute(&t, 'n', &n); /* an m= here would be an extension that we must know */
	if (!value || take_name(value, n, s->user, sizeof(s->user)) < 0)
		return POP_E_SYNTAX;
	value = attribute(&t, 'r', &n);
	if (!value || !printable(value, n))
		return POP_E_SYNTAX;
	memcpy(s->nonce, value, n);
	s->nonce[n] = '\0';
	return err;
}

int scram_server_first(struct scram *s, const struct scram_record *r, const char *nonce, char *out,
		       size_t size)
{
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	size_t len = strlen(s->nonce);
	int n;

	s->record = *r;
	if (strlen(nonce) >= sizeof(s->nonce) - len)
		return POP_E_LONG;
	memcpy(s->nonce + len, nonce, strlen(nonce) + 1);
	base64_encode(r->salt, r->salt_len, salt);
	n = snprintf(s->first, sizeof(s->first), "r=%s,s=%s,i=%u", s->nonce, salt, r->iterations);
	if (n < 0 || (size_t)n >= sizeof(s->first) || (size_t)n >= size)
		return POP_E_LONG;
	memcpy(out, s->first, (size_t)n + 1);
	return n;
}

/* Does c= repeat the header of the first message and the channel that we see? */
static int check_channel(const struct scram *s, const char *text, size_t len)
{
	uint8_t want[sizeof(s->gs2) + 64], got[sizeof(want)];
	size_t n = strlen(s->gs2);
	long got_len;

	memcpy(want, s->gs2, n);
	if (s->binding) {
		if (s->binding->len > sizeof(want) - n)
			return POP_E_DENIED;
		memcpy(want + n, s->binding->data, s->binding->len);
		n += s->binding->len;
	}
	got_len = base64_decode(text, len, got, sizeof(got));
	if (got_len < 0)
		return got_len == POP_E_SYNTAX ? POP_E_SYNTAX : POP_E_DENIED;
	return (size_t)got_len == n && CRYPTO_memcmp(want, got, n) == 0 ? 0 : POP_E_DENIED;
}

/* RFC 5802 section 3: ClientSignature over AuthMessage; H(proof ^ signature) is StoredKey. */
static int check_proof(const struct scram *s, const char *message, size_t without_proof,
		       const uint8_t *proof, uint8_t *server_signature)
{
	const struct scram_record *r = &s->record;
	uint8_t key[SCRAM_KEY_MAX], hashed[SCRAM_KEY_MAX];
	char auth[sizeof(s->bare) + sizeof(s->first) + SCRAM_MESSAGE_MAX + 4];
	size_t len = scram_key_len(r->hash);
	int n = snprintf(auth, sizeof(auth), "%s,%s,%.*s", s->bare, s->first, (int)without_proof,
			 message);
	int err = POP_E_SYS;

	if (scram_hmac(r->hash, r->stored_key, len, auth, (size_t)n, key) < 0)
		goto out;
	for (size_t i = 0; i < len; i++)
		key[i] ^= proof[i];
	if (scram_digest(r->hash, key, len, hashed) < 0 ||
	    scram_hmac(r->hash, r->server_key, len, auth, (size_t)n, server_signature) < 0)
		goto out;
	err = CRYPTO_memcmp(hashed, r->stored_key, len) == 0 ? 0 : POP_E_DENIED;
out:
	OPENSSL_cleanse(key, sizeof(key));
	return err;
}

int scram_client_final(struct scram *s, const char *message, size_t len, char *out, size_t size)
{
	uint8_t proof[SCRAM_KEY_MAX], signature[SCRAM_KEY_MAX];
	size_t key_len = scram_key_len(s->record.hash), n, nonce_len, without_proof;
	struct text t = { message, message + len };
	const char *channel, *value, *last = message;
	int err, proven;

	if (len > SCRAM_MESSAGE_MAX || memchr(message, '\0', len))
		return POP_E_SYNTAX;
	channel = attribute(&t, 'c', &n);
	value = attribute(&t, 'r', &nonce_len);
	if (!channel || !value)
		return POP_E_SYNTAX;
	err = check_channel(s, channel, n);
	if (err == 0 && (nonce_len != strlen(s->nonce) || memcmp(value, s->nonce, nonce_len) != 0))
		err = POP_E_DENIED;
	/* extensions may stand here; the proof is the last */
	for (const char *p = t.p; p && p < t.end; p = memchr(p, ',', (size_t)(t.end - p))) {
		p += *p == ',';
		last = p;
	}
	without_proof = (size_t)(last - message) - 1;
	t.p = last;
	value = last > message ? attribute(&t, 'p', &n) : NULL;
	if (!value || t.p != t.end || err == POP_E_SYNTAX ||
	    base64_decode(value, n, proof, key_len) != (long)key_len)
		return POP_E_SYNTAX;
	/* the same work whatever was wrong before */
	proven = check_proof(s, message, without_proof, proof, signature);
	if (err == 0)
		err = proven;
	if (err < 0)
		return err;
	if (size < 2 + BASE64_LEN(key_len) + 1)
		return POP_E_LONG;
	memcpy(out, "v=", 2);
	return (int)(2 + base64_encode(signature, key_len, out + 2));
}
