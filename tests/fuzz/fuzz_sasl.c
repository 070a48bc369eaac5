/*
 * fuzz_sasl.c - the notations of SASL: base64, prepared strings, and a whole
 * exchange of SCRAM as the server has it.
 *
 * Input: octet 0: which; for SCRAM bit 4 and 5: -PLUS chosen, offered; then
 * texts with a NUL behind each.
 */
#include <stdlib.h>
#include <string.h>
#include "base64.h"
#include "fuzz.h"
#include "saslprep.h"
#include "scram.h"

static void try_base64(const char *text, size_t len)
{
	uint8_t *out = malloc(len + 1);
	char *again = malloc(BASE64_LEN(len) + 1);
	long n;

	MUST(out && again);
	/* text as it is: every octet string has one form only */
	n = base64_decode(text, len, out, len);
	if (n >= 0) {
		MUST((size_t)n <= len && base64_encode(out, (size_t)n, again) == len);
		MUST(memcmp(again, text, len) == 0);
		if (n > 0)
			MUST(base64_decode(text, len, out, (size_t)n - 1) == POP_E_LONG);
	}
	/* and back */
	n = (long)base64_encode(text, len, again);
	MUST((size_t)n == BASE64_LEN(len) && again[n] == '\0');
	MUST(base64_decode(again, (size_t)n, out, len) == (long)len);
	MUST(len == 0 || memcmp(out, text, len) == 0);
	free(out);
	free(again);
}

static void try_prep(const char *text, size_t len)
{
	char out[256], again[256];
	int n = saslprep(text, len, out, sizeof(out)), m;

	if (n < 0)
		return;
	MUST((size_t)n == strlen(out) && (size_t)n < sizeof(out));
	m = saslprep(out, (size_t)n, again, sizeof(again));
	MUST(m == n && strcmp(out, again) == 0); /* prepared once is prepared */
	for (int i = 0; i < n; i++)
		MUST((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
	MUST(n == 0 || saslprep(text, len, again, (size_t)n) == POP_E_LONG);
}

static void try_record(const char *text, size_t len, enum scram_hash hash)
{
	struct scram_record r, again;
	char out[512];
	int n;

	if (scram_parse(&r, hash, text, len) < 0)
		return;
	n = scram_format(&r, out, sizeof(out));
	MUST(n > 0 && scram_parse(&again, hash, out, (size_t)n) == 0);
	MUST(again.iterations == r.iterations && again.salt_len == r.salt_len &&
	     memcmp(again.salt, r.salt, r.salt_len) == 0);
}

/* Nobody gets in: the record's keys are no password's. */
static void try_exchange(const char *first, size_t first_len, const char *last, size_t last_len,
			 uint8_t how)
{
	static const uint8_t bound[32] = "0123456789abcdef0123456789abcde";
	struct scram s = { .plus = how & 16,
			   .plus_offered = how & 32,
			   .bindings = { { "tls-exporter", bound, 32 }, { NULL, NULL, 0 } } };
	struct scram_record r;
	char out[4096];
	int n;

	if (scram_client_first(&s, first, first_len) < 0)
		goto out;
	MUST(s.user[0] && strlen(s.user) < sizeof(s.user));
	MUST(scram_fake(&r, how & 64 ? SCRAM_SHA_1 : SCRAM_SHA_256, "secret", 6, s.user) == 0);
	n = scram_server_first(&s, &r, "nonce", out, sizeof(out));
	MUST(n > 0 && (size_t)n == strlen(out));
	n = scram_client_final(&s, last, last_len, out, sizeof(out));
	MUST(n == POP_E_SYNTAX || n == POP_E_DENIED);
out:
	scram_wipe(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in);
	const char *text, *last;
	size_t len, last_len;

	if (how % 4 < 2) { /* NULs inside are the question, too */
		len = (size_t)(in.end - in.p);
		if (how % 4 == 0)
			try_base64((const char *)in.p, len);
		else
			try_prep((const char *)in.p, len);
		return 0;
	}
	len = fuzz_text(&in, &text);
	last_len = fuzz_text(&in, &last);
	if (how % 4 == 2)
		try_record(text, len, how & 4 ? SCRAM_SHA_1 : SCRAM_SHA_256);
	else
		try_exchange(text, len, last, last_len, how);
	return 0;
}
