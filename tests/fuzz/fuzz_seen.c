/*
 * fuzz_seen.c - the file of first retrievals, which its owner may write: what is
 * read of it is what a reading line by line says, what is saved is read again, and
 * what is appended counts whatever stood before.
 *
 * Input: octet 0: how many messages there are (bits 0 to 3), and bit 7: the first
 * line stands before the rest; octets 1 and 2: which are retrieved and which are
 * deleted; then the file.  The messages are a, b, c...
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define maildrop_count model_count
#define maildrop_uidl  model_uidl
#include "../../lib/seen.c"
#undef maildrop_count
#undef maildrop_uidl
#include "fuzz.h"

#define MESSAGES_MAX 15

static size_t count;

size_t model_count(const struct maildrop *md)
{
	(void)md;
	return count;
}

int model_uidl(struct maildrop *md, size_t idx, char uidl[UIDL_MAX + 1])
{
	(void)md;
	MUST(idx < count);
	uidl[0] = (char)('a' + idx);
	uidl[1] = '\0';
	return 0;
}

/* --- the same, the simple way ---------------------------------------------------- */

static bool number(const char *s, size_t len, uint32_t *out)
{
	uint64_t v = 0;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
		if (v > DAY_MAX)
			return false;
	}
	*out = (uint32_t)v;
	return true;
}

static void line(struct seen *known, const char *s, size_t len)
{
	bool met = len >= 4 && memcmp(s, "met ", 4) == 0;
	uint32_t day = 0, today = seen_today();
	struct seen *k;

	if (met) {
		s += 4;
		len -= 4;
	}
	/* DAY or "-", a blank, and an id of one letter */
	if (len < 3 || s[len - 2] != ' ' || s[len - 1] < 'a' || (size_t)(s[len - 1] - 'a') >= count)
		return;
	k = &known[s[len - 1] - 'a'];
	if (len == 3 && s[0] == '-') {
		*k = (struct seen){ .kind = SEEN_UNKNOWN };
		return;
	}
	if (!number(s, len - 2, &day) ||
	    (met ? k->kind != SEEN_UNKNOWN : k->kind == SEEN_RETRIEVED))
		return;
	*k = (struct seen){ .day = day < today ? day : today,
			    .kind = met ? SEEN_MET : SEEN_RETRIEVED };
}

static bool expected(struct seen *known, const char *text, size_t size)
{
	const char *nl;
	bool first = true;

	memset(known, 0, MESSAGES_MAX * sizeof(*known));
	while (size > 0 && (nl = memchr(text, '\n', size)) != NULL) {
		size_t len = (size_t)(nl - text);

		if (first && (len + 1 != HEAD_LEN || memcmp(text, HEAD, HEAD_LEN) != 0))
			return false;
		if (!first)
			line(known, text, len);
		first = false;
		text = nl + 1;
		size -= len + 1;
	}
	return true;
}

/* --- and whether it is the same ---------------------------------------------------- */

static void must_be_same(const struct seen *a, const struct seen *b)
{
	for (size_t i = 0; i < count; i++)
		MUST(a[i].kind == b[i].kind && (a[i].kind == SEEN_UNKNOWN || a[i].day == b[i].day));
}

static bool marked(uint8_t bits, size_t idx)
{
	return idx < 8 && (bits >> idx & 1);
}

static void check_append(struct maildrop *md, struct seen *before, bool anew, uint8_t retrieved,
			 uint8_t deleted)
{
	struct seen after[MESSAGES_MAX + 1];
	uint8_t r[2] = { retrieved, 0 }, d[2] = { deleted, 0 };
	struct seen_lines l;
	struct pop_why why;
	int err;

	MUST(seen_lines_make(&l, md, r, d) == 0);
	if (l.len > 0 && anew)
		memset(before, 0, count * sizeof(*before));
	err = seen_append(&l, md, &why);
	MUST(err == 0 || err == 1);
	seen_lines_release(&l);
	err = seen_load(md, after, &why);
	for (size_t i = 0; i < count && err == 0; i++) {
		if (marked(deleted, i))
			MUST(after[i].kind == SEEN_UNKNOWN);
		else if (!marked(retrieved, i) || before[i].kind == SEEN_RETRIEVED)
			MUST(after[i].kind == before[i].kind && after[i].day == before[i].day);
		else
			MUST(after[i].kind == SEEN_RETRIEVED && after[i].day == seen_today());
	}
	MUST(err == 0);
}

/* A file without a line near its end is none of ours: what is appended begins it anew. */
static bool is_begun_anew(const char *text, size_t size)
{
	size_t tail = size < LINE_SPACE ? size : LINE_SPACE;

	return !memchr(text + size - tail, '\n', tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maildrop md = { .env = { .state_fd = fuzz_dir(), .uid = geteuid() } };
	struct seen known[MESSAGES_MAX + 1], want[MESSAGES_MAX + 1], again[MESSAGES_MAX + 1];
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in), retrieved = fuzz_u8(&in), deleted = fuzz_u8(&in);
	size_t head = how & 128 ? HEAD_LEN : 0, len = (size_t)(in.end - in.p);
	char *text = malloc(head + len + 1);
	struct pop_why why;
	bool good;

	MUST(text != NULL);
	memcpy(text, HEAD, head);
	if (len > 0)
		memcpy(text + head, in.p, len);
	count = how & MESSAGES_MAX;
	fuzz_dir_put(SEEN_FILE, text, head + len);
	good = expected(want, text, head + len);
	MUST(seen_load(&md, known, &why) == (good ? 0 : POP_E_CORRUPT));
	if (good) {
		must_be_same(known, want);
		check_append(&md, want, is_begun_anew(text, head + len), retrieved, deleted);
		MUST(seen_save(&md, known) == 0 && seen_load(&md, again, &why) == 0);
		must_be_same(known, again);
	} else {
		for (size_t i = 0; i < count; i++)
			MUST(known[i].kind == SEEN_UNKNOWN);
	}
	fuzz_dir_clear();
	free(text);
	return 0;
}
