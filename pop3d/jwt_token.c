/*
 * jwt_token.c - take a JWT apart (RFC 7515, 7519, 8725), and look at what it says.
 *
 * Runs in:  pop3d-jwt.
 * Trusts:   the key file.  Of the token nothing before its signature was verified,
 *           and of its header only the algorithm and the key's name.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "base64.h"
#include "fsutil.h"
#include "jwt.h"

#define TIME_MOST 253402300799.0 /* the end of the year 9999 */

long jwt_decode(const char *text, size_t len, uint8_t *out, size_t size)
{
	static char plain[BASE64_LEN(JWT_TOKEN_MAX) + 4];
	size_t n = 0;

	if (len > sizeof(plain) - 4)
		return POP_E_LONG;
	for (; n < len; n++) {
		char c = text[n];

		if (c == '+' || c == '/' || c == '=')
			return POP_E_SYNTAX;
		plain[n] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (n % 4)
		plain[n++] = '=';
	return base64_decode(plain, n, out, size);
}

json_t *jwt_object(const char *text, size_t len, const char *what, struct pop_why *why)
{
	json_error_t error;
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

	if (json_is_object(o))
		return o;
	pop_why(why, 0, "%s: %.100s", what, o ? "no object" : error.text);
	json_decref(o);
	return NULL;
}

const char *jwt_string(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return NULL;
	return json_string_value(v);
}

/* A part of the token as an object; NULL with *why. */
static json_t *decode_part(const char *text, size_t len, const char *what, struct pop_why *why)
{
	static uint8_t octets[JWT_TOKEN_MAX];
	long n = jwt_decode(text, len, octets, sizeof(octets));

	if (n <= 0) {
		pop_why(why, 0, "the %s of the token is not base64url", what);
		return NULL;
	}
	return jwt_object((const char *)octets, (size_t)n, what, why);
}

/* "JWT", "at+jwt" (RFC 9068), or the same as a whole media type. */
static bool type_ok(const json_t *header)
{
	const char *typ = jwt_string(header, "typ");

	if (!json_object_get(header, "typ"))
		return true;
	if (typ && strncasecmp(typ, "application/", 12) == 0)
		typ += 12;
	return typ && (strcasecmp(typ, "JWT") == 0 || strcasecmp(typ, "at+jwt") == 0);
}

static int read_header(const json_t *header, struct jwt_signed *s, struct pop_why *why)
{
	static const char *const algs[JWT_ALG_N] = { "RS256", "ES256", "EdDSA" };
	const char *alg = jwt_string(header, "alg");
	int i;

	for (i = 0; i < JWT_ALG_N && (!alg || strcmp(alg, algs[i]) != 0); i++)
		;
	if (i == JWT_ALG_N)
		return pop_why(why, POP_E_DENIED, "alg %.20s is not accepted",
			       alg ? alg : "(none given)");
	s->alg = (enum jwt_alg)i;
	s->kid = jwt_string(header, "kid");
	if (json_object_get(header, "kid") && !s->kid)
		return pop_why(why, POP_E_DENIED, "kid is no string");
	if (json_object_get(header, "crit"))
		return pop_why(why, POP_E_DENIED, "crit: extensions are not known here");
	if (!type_ok(header))
		return pop_why(why, POP_E_DENIED, "typ is neither JWT nor at+jwt");
	return 0;
}

static json_t *load_keys(const char *path, struct pop_why *why)
{
	json_t *set = NULL;
	char *text = NULL;
	size_t len = 0;
	int fd = fs_open_trusted(path, true, false, why), err;

	if (fd < 0)
		return NULL;
	err = fs_read_file(fd, JWT_KEYS_MAX, &text, &len);
	if (err < 0)
		pop_why(why, err, "%s: %s", path, pop_strerror(err));
	else
		set = jwt_object(text, len, path, why);
	free(text);
	close(fd);
	return set;
}

/* A NumericDate, RFC 7519 section 2.  1 there, 0 not there, -1 none that can be. */
static int get_time(const json_t *claims, const char *key, double *out)
{
	const json_t *v = json_object_get(claims, key);

	if (!v)
		return 0;
	*out = json_is_number(v) ? json_number_value(v) : -1;
	return isfinite(*out) && *out >= 0 && *out <= TIME_MOST ? 1 : -1;
}

static int check_times(const struct jwt_rules *r, const json_t *claims, struct pop_why *why)
{
	double now = (double)r->now, leeway = (double)r->leeway_s, exp = 0, nbf = 0, iat = 0;
	int has_exp = get_time(claims, "exp", &exp), has_nbf = get_time(claims, "nbf", &nbf),
	    has_iat = get_time(claims, "iat", &iat);

	if (has_exp < 0 || has_nbf < 0 || has_iat < 0)
		return pop_why(why, POP_E_DENIED, "exp, nbf or iat is no time");
	if (!has_exp)
		return pop_why(why, POP_E_DENIED, "it has no exp");
	if (now >= exp + leeway)
		return pop_why(why, POP_E_DENIED, "it has expired");
	if ((has_nbf && now < nbf - leeway) || (has_iat && now < iat - leeway))
		return pop_why(why, POP_E_DENIED, "it is not valid yet");
	return 0;
}

static bool is_audience(const json_t *claims, const char *want)
{
	const json_t *aud = json_object_get(claims, "aud"), *one;
	const char *text = jwt_string(claims, "aud");
	size_t i;

	if (text)
		return strcmp(text, want) == 0;
	json_array_foreach(aud, i, one) if (json_is_string(one) &&
					    json_string_length(one) == strlen(want) &&
					    strcmp(json_string_value(one), want) == 0) return true;
	return false;
}

static int check_claims(const struct jwt_rules *r, const json_t *claims, char *name, size_t size,
			struct pop_why *why)
{
	const char *issuer = jwt_string(claims, "iss"), *user = jwt_string(claims, r->claim);
	int err = check_times(r, claims, why);

	if (err < 0)
		return err;
	if (!issuer || strcmp(issuer, r->issuer) != 0)
		return pop_why(why, POP_E_DENIED, "another issuer: %.100s",
			       issuer ? issuer : "none");
	if (!is_audience(claims, r->audience))
		return pop_why(why, POP_E_DENIED, "it is for another audience");
	if (strcmp(r->claim, "email") == 0 && json_object_get(claims, "email_verified") &&
	    !json_is_true(json_object_get(claims, "email_verified")))
		return pop_why(why, POP_E_DENIED, "its email is not verified");
	if (!user || !user[0] || strlen(user) >= size || strpbrk(user, ":\r\n"))
		return pop_why(why, POP_E_DENIED, "its %s is no name of a user", r->claim);
	snprintf(name, size, "%s", user);
	return 0;
}

/* Where its three parts are. */
static int split(char *token, char *part[3], size_t len[3])
{
	for (int i = 0; i < 3; i++) {
		part[i] = token;
		len[i] = strcspn(token, ".");
		if ((token[len[i]] == '.') != (i < 2) || len[i] == 0)
			return POP_E_SYNTAX;
		token += len[i] + 1;
	}
	return 0;
}

int jwt_check(const struct jwt_rules *rules, char *token, char *name, size_t size,
	      struct pop_why *why)
{
	static uint8_t signature[JWT_TOKEN_MAX];
	struct jwt_signed s = { .signature = signature };
	json_t *header = NULL, *claims = NULL, *set = NULL;
	char *part[3];
	size_t len[3];
	long n;
	int err = POP_E_DENIED;

	if (strlen(token) > JWT_TOKEN_MAX || split(token, part, len) < 0)
		return pop_why(why, POP_E_DENIED, "it is no signed JWT");
	header = decode_part(part[0], len[0], "header", why);
	n = jwt_decode(part[2], len[2], signature, sizeof(signature));
	if (!header || read_header(header, &s, why) < 0)
		goto out;
	if (n <= 0) {
		pop_why(why, 0, "the signature is not base64url");
		goto out;
	}
	s.content = (const uint8_t *)token;
	s.content_len = len[0] + 1 + len[1];
	s.signature_len = (size_t)n;
	set = load_keys(rules->keys, why);
	if (!set) {
		err = POP_E_SYS;
		goto out;
	}
	err = jwt_check_signature(set, &s, why);
	if (err < 0)
		goto out;
	claims = decode_part(part[1], len[1], "payload", why);
	err = claims ? check_claims(rules, claims, name, size, why) : POP_E_DENIED;
out:
	json_decref(header);
	json_decref(claims);
	json_decref(set);
	return err;
}
