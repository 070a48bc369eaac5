/*
 * check_digest.c - what a digest of a message is made of, and the filter for
 * volatile fields before it.
 */
#include <openssl/evp.h>
#include "digest.h"
#include "header.h"
#include "scratch.h"

#define T(s) s, sizeof(s) - 1

static const struct row {
	const char *name, *stored;
	size_t len;
	const char *kept; /* in wire form */
	uint64_t dropped;
} rows[] = {
	{ "nothing", T(""), "", 0 },
	{ "empty line alone", T("\n"), "", 0 },
	{ "one field", T("A: b\n\n"), "A: b\r\n", 0 },
	{ "crlf", T("A: b\r\n\r\n"), "A: b\r\n", 0 },
	{ "no empty line", T("A: b\n"), "A: b\r\n", 0 },
	{ "no line end", T("A: b"), "A: b\r\n", 0 },
	{ "cr at the end", T("A: b\r"), "A: b\r\r\n", 0 },
	{ "bare cr", T("A: b\rc\r\r\n\n"), "A: b\rc\r\r\n", 0 },
	{ "volatile", T("Status: RO\n\n"), "", 12 },
	{ "volatile crlf", T("Status: RO\r\n\r\n"), "", 12 },
	{ "between", T("A: b\nStatus: RO\nC: d\n\n"), "A: b\r\nC: d\r\n", 12 },
	{ "case", T("sTATUS: RO\nx-uid: 1\n\n"), "", 22 },
	{ "continued", T("X-Keywords: a\n b\n\tc\nC: d\n\n"), "C: d\r\n", 23 },
	{ "kept continued", T("A: b\n c\nStatus: R\n\n"), "A: b\r\n c\r\n", 11 },
	{ "not at the start", T("XStatus: a\nStatus2: b\n Status: c\n\n"),
	  "XStatus: a\r\nStatus2: b\r\n Status: c\r\n", 0 },
	{ "blank before the colon", T("Status : R\n\n"), "Status : R\r\n", 0 },
	{ "no colon", T("Status\n\n"), "Status\r\n", 0 },
	{ "empty value", T("Status:\nLines:\n\n"), "", 17 },
	{ "after the end", T("A: b\n\nStatus: R\n"), "A: b\r\n", 0 },
	{ "all of them",
	  T("Status: 1\nX-Status: 1\nX-Keywords: 1\nX-UID: 1\nX-UIDL: 1\nX-IMAP: 1\nX-IMAPbase: 1\n"
	    "Content-Length: 1\nLines: 1\nX-Expire-Timestamp: 1\nX-Label: 1\nX-Mozilla-Status: 1\n"
	    "X-Mozilla-Status2: 1\nX-Mozilla-Keys: 1\nX-Evolution: 1\nX-UIDLX: 1\n\n"),
	  "X-UIDLX: 1\r\n", 228 },
	{ "long name",
	  T("X-0123456789012345678901234567890123456789012345678901234567890123456789: 1\n\n"),
	  "X-0123456789012345678901234567890123456789012345678901234567890123456789: 1\r\n", 0 },
	{ "long without colon",
	  T("0123456789012345678901234567890123456789012345678901234567890123456789\nStatus: "
	    "R\n\n"),
	  "0123456789012345678901234567890123456789012345678901234567890123456789\r\n", 11 },
};

struct text {
	char s[1024];
	size_t n;
};

static void collect(void *ctx, const void *data, size_t n)
{
	struct text *t = ctx;

	ck_assert_uint_le(t->n + n, sizeof(t->s));
	memcpy(t->s + t->n, data, n);
	t->n += n;
}

START_TEST(filter)
{
	const struct row *r = &rows[_i];

	for (size_t piece = 1; piece <= r->len + 1; piece++) {
		struct header_filter f;
		struct text t = { .n = 0 };

		header_filter_init(&f, collect, &t);
		for (size_t at = 0; at < r->len; at += piece)
			header_filter_add(&f, r->stored + at,
					  r->len - at < piece ? r->len - at : piece);
		header_filter_end(&f);
		ck_assert_msg(t.n == strlen(r->kept) && memcmp(t.s, r->kept, t.n) == 0,
			      "%s by %zu: %.*s", r->name, piece, (int)t.n, t.s);
		ck_assert_msg(f.dropped == r->dropped, "%s: %llu dropped", r->name,
			      (unsigned long long)f.dropped);
	}
}
END_TEST

static void sha256(const void *data, size_t n, uint8_t out[32])
{
	ck_assert_int_eq(EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL), 1);
}

static void want_digest(const char *kept, size_t n, uint64_t number, uint8_t out[32])
{
	char *text = malloc(n + 64);
	size_t at = 13;

	ck_assert_ptr_nonnull(text);
	memcpy(text, "pop3d-uidl-1", 13);
	memcpy(text + at, kept, n);
	at += n;
	text[at++] = 0;
	at += (size_t)snprintf(text + at, 32, "%llu", (unsigned long long)number);
	sha256(text, at, out);
	free(text);
}

START_TEST(message)
{
	const struct row *r = &rows[_i];
	struct digest_item item = {
		.offset = 3, .length = r->len, .octets = 100000 + r->dropped, .trailing_octets = 4
	};
	uint8_t want[32], have[1][16];
	int fd;

	scratch_write("f", "xyz", 3, 0600);
	fd = open("f", O_RDWR | O_APPEND | O_CLOEXEC);
	ck_assert_int_eq(write(fd, r->stored, r->len), (ssize_t)r->len);
	ck_assert_int_eq(digest_items(DIGEST_MESSAGE, fd, &item, 1, have), 0);
	want_digest(r->kept, strlen(r->kept), 99996, want);
	ck_assert_msg(memcmp(have[0], want, 16) == 0, "%s", r->name);
	close(fd);
}
END_TEST

/* Only the first MiB counts, but all volatile octets are taken off. */
START_TEST(long_header)
{
	size_t n = 0, size = 3 << 20;
	char *stored = malloc(size), *kept = malloc(size);
	struct digest_item item = { .octets = 5000000 };
	uint8_t want[32], have[1][16];
	size_t k = 0;
	int fd;

	ck_assert(stored && kept);
	while (n < (size_t)2 << 20) {
		memcpy(stored + n, "X-Status: RO\nReceived: again\n", 29);
		n += 29;
		memcpy(kept + k, "Received: again\r\n", 17);
		k += 17;
	}
	ck_assert_uint_gt(k, 1 << 20);
	item.length = n;
	item.octets = 10000000 + n / 29 * 14;
	scratch_write("f", stored, n, 0600);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(digest_items(DIGEST_MESSAGE, fd, &item, 1, have), 0);
	want_digest(kept, 1 << 20, 10000000, want);
	ck_assert_mem_eq(have[0], want, 16);
	close(fd);
	free(stored);
	free(kept);
}
END_TEST

START_TEST(bytes)
{
	struct digest_item items[3] = { { .offset = 0, .length = 3 },
					{ .offset = 3 },
					{ .offset = 1, .length = 2 } };
	uint8_t want[32], have[3][16];
	int fd;

	scratch_write("f", "abc", 3, 0600);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(digest_items(DIGEST_BYTES, fd, items, 3, have), 0);
	sha256("abc", 3, want);
	ck_assert_mem_eq(have[0], want, 16);
	sha256("", 0, want);
	ck_assert_mem_eq(have[1], want, 16);
	sha256("bc", 2, want);
	ck_assert_mem_eq(have[2], want, 16);
	items[1].length = 1;
	ck_assert_int_eq(digest_items(DIGEST_BYTES, fd, items, 3, have), POP_E_CHANGED);
	ck_assert_int_eq(digest_items(DIGEST_MESSAGE, fd, items, 3, have), POP_E_CHANGED);
	close(fd);
	ck_assert_int_eq(digest_items(DIGEST_BYTES, fd, items, 1, have), POP_E_SYS);
	ck_assert_int_eq(digest_items(DIGEST_BYTES, fd, items, 0, have), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("digest");
	TCase *tc = tcase_create("digest");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_loop_test(tc, filter, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, message, 0, N_ELEMS(rows));
	tcase_add_test(tc, long_header);
	tcase_add_test(tc, bytes);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
