/*
 * check_wire.c - octet counts and wire form of every shape of message, in
 * pieces of every size, against a byte-by-byte model.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "wire.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	const char *name;
	const char *in;
	size_t n;
	const char *out;
	size_t out_n;
	uint64_t octets, lines;
	bool dot, bare_lf;
};
#define IO(i, o) i, sizeof(i) - 1, o, sizeof(o) - 1
static const struct row rows[] = {
	{ "empty", IO("", ""), 0, 0, false, false },
	{ "lf", IO("a\nb\n", "a\r\nb\r\n"), 6, 2, false, true },
	{ "crlf", IO("a\r\nb\r\n", "a\r\nb\r\n"), 6, 2, false, false },
	{ "mixed", IO("a\nb\r\nc\n", "a\r\nb\r\nc\r\n"), 9, 3, false, true },
	{ "bare cr", IO("a\rb\n", "a\rb\r\n"), 5, 1, false, true },
	{ "cr at the end", IO("a\r", "a\r\r\n"), 4, 0, false, false },
	{ "cr cr lf", IO("\r\r\n", "\r\r\n"), 3, 1, false, false },
	{ "lf cr", IO("\n\r", "\r\n\r\r\n"), 5, 1, false, true },
	{ "nul", IO("a\0b\n", "a\0b\r\n"), 5, 1, false, true },
	{ "8-bit", IO("\xff\xfe\x8a\n", "\xff\xfe\x8a\r\n"), 5, 1, false, true },
	{ "no final line end", IO("a\nb", "a\r\nb\r\n"), 6, 1, false, true },
	{ "one line end", IO("\n", "\r\n"), 2, 1, false, true },
	{ "empty lines", IO("\n\n\r\n", "\r\n\r\n\r\n"), 6, 3, false, true },
	{ "dot alone", IO(".", "..\r\n"), 3, 0, true, false },
	{ "dot lines", IO(".\n..\n.a\n", "..\r\n...\r\n..a\r\n"), 11, 3, true, true },
	{ "dot after crlf", IO("a\r\n.\r\n", "a\r\n..\r\n"), 6, 2, true, false },
	{ "dot inside", IO("a.\r\nb\r\n", "a.\r\nb\r\n"), 7, 2, false, false },
	{ "dot after bare cr", IO("a\r.\r\n", "a\r.\r\n"), 5, 1, false, false },
	{ "dot behind the sixteenth", IO("0123456789abcde\n.x\n", "0123456789abcde\r\n..x\r\n"), 21,
	  2, true, true },
};

/* The model: one byte at a time, straight from the RFC. */
static size_t model(const uint8_t *in, size_t n, uint8_t *out)
{
	size_t o = 0;
	bool start = true;

	for (size_t i = 0; i < n; i++) {
		if (start && in[i] == '.')
			out[o++] = '.';
		if (in[i] == '\n' && (i == 0 || in[i - 1] != '\r'))
			out[o++] = '\r';
		out[o++] = in[i];
		start = in[i] == '\n';
	}
	if (!start) {
		out[o++] = '\r';
		out[o++] = '\n';
	}
	return o;
}

static size_t encode_pieces(const uint8_t *in, size_t n, size_t piece, uint8_t *out,
			    uint64_t *octets)
{
	struct wire_encoder e;
	size_t o = 0;

	wire_encode_init(&e);
	for (size_t i = 0; i < n; i += piece) {
		size_t len = n - i < piece ? n - i : piece;
		uint8_t *src = malloc(len + 1), *dst = malloc(2 * len + 2);
		size_t got;

		/* exact sizes, so that a sanitizer sees a byte too many */
		memcpy(src, in + i, len);
		got = wire_encode(&e, src, len, dst);
		ck_assert_uint_le(got, 2 * len + 2);
		memcpy(out + o, dst, got);
		o += got;
		free(src);
		free(dst);
	}
	o += wire_encode_end(&e, out + o);
	*octets = e.octets;
	return o;
}

static void count_pieces(struct wire_count *c, const uint8_t *in, size_t n, size_t piece)
{
	wire_count_init(c);
	for (size_t i = 0; i < n; i += piece)
		wire_count_add(c, in + i, n - i < piece ? n - i : piece);
}

START_TEST(test_rows)
{
	const struct row *r = &rows[_i];

	for (size_t piece = 1; piece <= r->n + 1; piece++) {
		uint8_t out[64];
		uint64_t octets;
		struct wire_count c;
		size_t n = encode_pieces((const uint8_t *)r->in, r->n, piece, out, &octets);

		ck_assert_msg(n == r->out_n && !memcmp(out, r->out, n), "%s, pieces of %zu: text",
			      r->name, piece);
		ck_assert_msg(octets == r->octets, "%s: octets sent", r->name);
		count_pieces(&c, (const uint8_t *)r->in, r->n, piece);
		ck_assert_msg(wire_count_total(&c) == r->octets, "%s: octets counted", r->name);
		ck_assert_msg(c.lines == r->lines, "%s: lines", r->name);
		ck_assert_msg(c.any_dot == r->dot, "%s: dot", r->name);
		ck_assert_msg(c.any_bare_lf == r->bare_lf, "%s: bare line end", r->name);
	}
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 16;
}

/* Random texts of the bytes that matter, lines short to very long. */
START_TEST(test_random)
{
	static const char special[] = { '\n', '\r', '.', '\0' };
	static const size_t pieces[] = { 1, 2, 15, 16, 17, 31, 33, 255, 4096, 65536 };
	uint32_t seed = (uint32_t)_i * 7919u + 1;
	size_t n = next_random(&seed) % 20000;
	unsigned dense = 2u << (_i % 10);
	uint8_t *in = malloc(n + 1), *want = malloc(2 * n + 4), *out = malloc(2 * n + 4);
	size_t want_n;

	for (size_t i = 0; i < n; i++)
		in[i] = next_random(&seed) % dense == 0 ? (uint8_t)special[next_random(&seed) % 4]
							: (uint8_t)('a' + next_random(&seed) % 26);
	want_n = model(in, n, want);
	for (size_t i = 0; i < N_ELEMS(pieces); i++) {
		struct wire_count c;
		uint64_t octets;
		size_t got = encode_pieces(in, n, pieces[i], out, &octets);

		ck_assert_uint_eq(got, want_n);
		ck_assert_int_eq(memcmp(out, want, got), 0);
		count_pieces(&c, in, n, pieces[i]);
		ck_assert_uint_eq(wire_count_total(&c), octets);
		ck_assert_int_eq(c.any_dot, want_n != octets);
	}
	free(in);
	free(want);
	free(out);
}
END_TEST

/* More line ends than a byte can count, in one call. */
START_TEST(test_zeros)
{
	static const char *const before[] = { "", "a\r", "a\n", "a" };
	static const char zeros[1000];
	struct wire_count a, b;

	for (size_t n = 0; n < 3; n++)
		for (size_t i = 0; i < N_ELEMS(before); i++) {
			wire_count_init(&a);
			wire_count_init(&b);
			wire_count_add(&a, before[i], strlen(before[i]));
			wire_count_add(&b, before[i], strlen(before[i]));
			wire_count_add(&a, zeros, n * 500);
			wire_count_zeros(&b, n * 500);
			wire_count_add(&a, "\n.", 2);
			wire_count_add(&b, "\n.", 2);
			ck_assert_uint_eq(wire_count_total(&a), wire_count_total(&b));
			ck_assert_int_eq(a.any_bare_lf, b.any_bare_lf);
			ck_assert_int_eq(a.any_dot, b.any_dot);
		}
}
END_TEST

START_TEST(test_many_lines)
{
	size_t n = 1 << 20;
	uint8_t *in = malloc(n);
	struct wire_count c;

	memset(in, '\n', n);
	count_pieces(&c, in, n, n);
	ck_assert_uint_eq(c.lines, n);
	ck_assert_uint_eq(wire_count_total(&c), 2 * n);
	free(in);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *tc = tcase_create("wire");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, test_rows, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, test_random, 0, 60);
	tcase_add_test(tc, test_zeros);
	tcase_add_test(tc, test_many_lines);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
