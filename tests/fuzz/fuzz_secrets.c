/*
 * fuzz_secrets.c - a secrets file: one search finds what reading all finds,
 * where the file is sorted; and the values of its records.
 *
 * Input: the file.
 */
#include <stdlib.h>
#include <string.h>
#include "base64.h"
#include "fuzz.h"
#include "scram.h"
#include "secrets.h"

#define KEPT 64

struct seen {
	size_t n;
	char names[KEPT][USER_NAME_MAX + 1];
};

static void check_scram(const struct secret *s)
{
	enum scram_hash hash = s->scheme == SECRET_SCRAM_SHA_1 ? SCRAM_SHA_1 : SCRAM_SHA_256;
	struct scram_record r;
	char text[SECRET_VALUE_MAX + 1];
	int len;

	if (scram_parse(&r, hash, s->value, strlen(s->value)) < 0)
		return;
	MUST(r.iterations > 0 && r.salt_len <= SCRAM_SALT_MAX);
	len = scram_format(&r, text, sizeof(text));
	MUST(len > 0);
	MUST(scram_parse(&r, hash, text, (size_t)len) == 0);
}

static void check_app(const struct secret *s)
{
	struct secret_app app;
	char value[SECRET_VALUE_MAX + 1];

	memcpy(value, s->value, sizeof(value));
	if (secret_app_parse(value, &app) == 0)
		MUST(secret_label_ok(app.label) && app.expires >= 0 && app.hash);
}

static int each(void *ctx, const struct secret *s)
{
	struct seen *seen = ctx;
	uint8_t octets[SECRET_VALUE_MAX];

	MUST(s->scheme < SECRET_N_SCHEMES && s->name[0]);
	MUST(s->tag[0] == '\0' || strlen(s->tag) == SECRET_TAG_LEN);
	if (s->scheme == SECRET_SCRAM_SHA_1 || s->scheme == SECRET_SCRAM_SHA_256)
		check_scram(s);
	else if (s->scheme == SECRET_APP)
		check_app(s);
	else
		base64_decode(s->value, strlen(s->value), octets, sizeof(octets));
	if (seen->n < KEPT)
		memcpy(seen->names[seen->n++], s->name, sizeof(s->name));
	return 0;
}

struct count {
	const char *name;
	size_t n;
};

static int count(void *ctx, const struct secret *s)
{
	struct count *c = ctx;

	c->n += strcmp(c->name, s->name) == 0;
	return 0;
}

/* Are the lines in the order of the names before their first ':'? */
static bool is_sorted(const uint8_t *d, size_t n)
{
	const uint8_t *last = NULL;
	size_t last_len = 0;

	for (size_t i = 0, end; i < n; i = end + 1) {
		const uint8_t *lf = memchr(d + i, '\n', n - i), *colon;
		size_t len, least;
		int order;

		end = lf ? (size_t)(lf - d) : n;
		colon = memchr(d + i, ':', end - i);
		if (!colon)
			return false;
		len = (size_t)(colon - (d + i));
		least = len < last_len ? len : last_len;
		order = last ? memcmp(last, d + i, least) : -1;
		if (order > 0 || (order == 0 && last_len > len))
			return false;
		last = d + i;
		last_len = len;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen seen;
	int fd = fuzz_file(0, data, size), err;
	uint8_t key[SECRETS_KEY_LEN];
	char tag[SECRET_TAG_LEN + 1];

	seen.n = 0;
	MUST(secrets_each(fd, each, &seen) == 0);
	for (size_t i = 0; i < seen.n; i++) {
		struct count all = { seen.names[i], 0 }, found = { seen.names[i], 0 };

		MUST(secrets_each(fd, count, &all) == 0);
		MUST(secrets_of(fd, seen.names[i], count, &found) == 0);
		MUST(found.n <= all.n && (!is_sorted(data, size) || found.n == all.n));
	}
	err = secrets_key(fd, key);
	MUST(err == 0 || err == POP_E_MISSING);
	if (err == 0) {
		secrets_tag(key, "$y$x", tag);
		MUST(strlen(tag) == SECRET_TAG_LEN);
	}
	return 0;
}
