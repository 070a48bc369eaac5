/*
 * fuzz_import.c - what other servers remember of their ids, and our own file of
 * imported ones.
 *
 * Input: octet 0: which format; up to a NUL Dovecot's pop3_uidl_format; then
 * the file.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuzz.h"
#include "imported.h"
#include "uidl.h"
#include "uidl_import.h"

struct seen {
	const char *text, *end;
	unsigned long line;
	unsigned n;
};

static int each(void *ctx, const struct import_entry *e)
{
	struct seen *s = ctx;

	MUST(e->line >= s->line && strlen(e->id) <= IMPORT_ID_MAX);
	MUST(!e->base || (e->base >= s->text && e->base + e->base_len <= s->end));
	MUST(e->digest_len == 0 || e->digest_len == 20 || e->digest_len == 32);
	s->line = e->line;
	return ++s->n == 1000 ? 1000 : 0;
}

static unsigned pieces;

static void piece(void *ctx, const void *data, size_t n)
{
	uint8_t *sum = ctx;

	for (size_t i = 0; i < n; i++)
		*sum ^= ((const uint8_t *)data)[i];
	pieces++;
}

static void headers(const char *text, size_t len)
{
	static const char *const names[] = { "X-UIDL", "Message-ID", "From", "X" };
	char value[100];
	uint8_t sum = 0;

	for (size_t i = 0; i < 4; i++) {
		int n = import_header_value(text, len, names[i], value, sizeof(value));

		MUST(n == POP_E_MISSING || n == POP_E_LONG ||
		     (n >= 0 && (size_t)n < sizeof(value) && value[n] == '\0'));
	}
	import_popa3d(text, len, piece, &sum);
	import_dovecot_md5(text, len, piece, &sum);
}

static int try_set(struct imported *im, const char *base, size_t len)
{
	int err = imported_set_base(im, base, len, "an-id");
	const char *id;

	if (err < 0)
		return err;
	id = imported_by_base(im, base, len);
	MUST(id && strcmp(id, "an-id") == 0);
	return 0;
}

/* The file of our own: what it says it says again after it was written. */
static void own(const char *text, size_t len)
{
	struct imported im, again;
	struct pop_why why = { "" };
	int err;

	fuzz_dir_put(IMPORTED_FILE, text, len);
	err = imported_load(&im, fuzz_dir(), geteuid(), &why);
	MUST(err == 0 ? im.count <= len : why.text[0] != '\0');
	if (err == 0) {
		try_set(&im, text, len < 60 ? len : 60);
		for (size_t i = 0; i < im.count; i++)
			MUST(uidl_valid(im.text + im.entries[i].id,
					strlen(im.text + im.entries[i].id)));
		MUST(imported_save(&im, fuzz_dir()) == 0);
		MUST(imported_load(&again, fuzz_dir(), geteuid(), &why) == 0);
		MUST(again.count <= im.count);
		for (size_t i = 0; i < again.count; i++) {
			const char *key = again.text + again.entries[i].key;

			if (strncmp(key, "base ", 5) != 0)
				continue;
			/* of two lines for one message the first counts, in both */
			MUST(i == 0 || strcmp(again.text + again.entries[i - 1].key, key) <= 0);
		}
		imported_release(&again);
	}
	imported_release(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint8_t which = fuzz_u8(&in) % 6;
	struct pop_why why = { "" };
	struct seen s = { .n = 0 };
	char *format = NULL;
	int err = 0;
	size_t len;

	if (which == 0) {
		const char *f;
		size_t n = fuzz_text(&in, &f);

		format = fuzz_string(f, n);
	}
	s.text = (const char *)in.p;
	s.end = (const char *)in.end;
	len = (size_t)(in.end - in.p);
	if (which == 0)
		err = import_dovecot(s.text, len, format, each, &s, &why);
	else if (which == 1)
		err = import_courier(s.text, len, each, &s, &why);
	else if (which == 2)
		err = import_cyrus(s.text, len, each, &s, &why);
	else if (which == 3)
		err = import_transcript(s.text, len, each, &s, &why);
	else if (which == 4)
		headers(s.text, len);
	else
		own(s.text, len);
	MUST(err >= 0 || why.text[0]);
	free(format);
	return 0;
}
