/*
 * fuzz_wire.c - messages in wire form, whole and in pieces; header sections
 * without their volatile fields.
 *
 * Input: octet 0: how it is cut into pieces; the rest is the message.
 */
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "fuzz.h"
#include "header.h"
#include "wire.h"

/* The length of the next piece. */
static size_t piece(uint32_t *dice, size_t left)
{
	size_t n = 1 + (*dice >> 24) % 9;

	*dice = *dice * 1664525u + 1013904223u;
	return n < left ? n : left;
}

/* What the client gets, said once more: line by line. */
static void plain_encode(const uint8_t *d, size_t n, struct buf *out, uint64_t *octets,
			 uint64_t *lines)
{
	*octets = *lines = 0;
	for (size_t i = 0, end; i < n; i = end + 1) {
		const uint8_t *lf = memchr(d + i, '\n', n - i);
		size_t text;

		end = lf ? (size_t)(lf - d) : n;
		text = lf && end > i && d[end - 1] == '\r' ? end - 1 : end;
		MUST(d[i] != '.' || buf_put(out, ".", 1) == 0);
		MUST(buf_put(out, d + i, text - i) == 0 && buf_put(out, "\r\n", 2) == 0);
		*octets += text - i + 2;
		*lines += lf != NULL;
	}
}

static void encode(const uint8_t *d, size_t n, uint32_t dice)
{
	struct wire_count whole, pieces;
	struct wire_encoder e;
	struct buf want;
	uint64_t octets, lines;
	uint8_t *out = malloc(2 * n + 4 + 2);
	size_t len = 0;

	MUST(out != NULL);
	buf_init(&want, 2 * n + 16);
	plain_encode(d, n, &want, &octets, &lines);
	wire_count_init(&whole);
	wire_count_add(&whole, d, n);
	MUST(wire_count_total(&whole) == octets && whole.lines == lines);
	wire_count_init(&pieces);
	wire_encode_init(&e);
	for (size_t at = 0, now; at < n; at += now) {
		now = piece(&dice, n - at);
		wire_count_add(&pieces, d + at, now);
		len += wire_encode(&e, d + at, now, out + len);
	}
	len += wire_encode_end(&e, out + len);
	MUST(pieces.octets == whole.octets && pieces.lines == whole.lines &&
	     pieces.any_dot == whole.any_dot && pieces.any_bare_lf == whole.any_bare_lf &&
	     pieces.last_cr == whole.last_cr && pieces.at_line_start == whole.at_line_start);
	MUST(e.octets == octets && len == buf_len(&want));
	MUST(len == 0 || memcmp(out, buf_data(&want), len) == 0);
	buf_release(&want);
	free(out);
}

static void keep(void *ctx, const void *data, size_t n)
{
	MUST(buf_put(ctx, data, n) == 0);
}

static void filter(const uint8_t *d, size_t n, uint32_t dice)
{
	struct header_filter whole, pieces, again;
	struct buf a, b, c;

	buf_init(&a, 2 * n + 16);
	buf_init(&b, 2 * n + 16);
	buf_init(&c, 2 * n + 16);
	header_filter_init(&whole, keep, &a);
	header_filter_add(&whole, d, n);
	header_filter_end(&whole);
	header_filter_init(&pieces, keep, &b);
	for (size_t at = 0, now; at < n; at += now) {
		now = piece(&dice, n - at);
		header_filter_add(&pieces, d + at, now);
	}
	header_filter_end(&pieces);
	MUST(buf_len(&a) == buf_len(&b) && whole.dropped == pieces.dropped);
	MUST(buf_len(&a) == 0 || memcmp(buf_data(&a), buf_data(&b), buf_len(&a)) == 0);
	/* what is left has nothing more to lose */
	header_filter_init(&again, keep, &c);
	if (buf_len(&a) > 0)
		header_filter_add(&again, buf_data(&a), buf_len(&a));
	header_filter_end(&again);
	MUST(again.dropped == 0 && buf_len(&c) == buf_len(&a));
	buf_release(&a);
	buf_release(&b);
	buf_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	encode(data + 1, size - 1, data[0] * 0x01010101u);
	filter(data + 1, size - 1, data[0] * 0x01010101u);
	return 0;
}
