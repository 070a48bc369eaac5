/*
 * fuzz_downgrade.c - header sections made ASCII: nothing above 0x7F is left, what
 * was ASCII is as it was, and once is enough.
 *
 * Input: a header section.
 */
#include <string.h>
#include "buf.h"
#include "downgrade.h"
#include "fuzz.h"
#include "utf8.h"

#define OUT_MAX (1u << 20)

/* The lengths of characters add up, and each is the shortest form there is. */
static void walk(const uint8_t *data, size_t size)
{
	for (size_t i = 0, n; i < size; i += n) {
		uint32_t c = 0;

		n = utf8_next(data + i, size - i, &c);
		MUST(n <= size - i && n <= 4);
		if (n == 0) {
			MUST(data[i] > 0x7f);
			n = 1;
			continue;
		}
		MUST(c <= 0x10ffff && (c < 0xd800 || c > 0xdfff));
		MUST(n == (c < 0x80 ? 1u : c < 0x800 ? 2u : c < 0x10000 ? 3u : 4u));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out, again;
	size_t head;
	int err;

	walk(data, size);
	head = size ? downgrade_head_length(data, size) : 0;
	MUST(head <= size);
	buf_init(&out, OUT_MAX);
	buf_init(&again, OUT_MAX);
	err = size ? downgrade_head(data, size, &out) : 0;
	MUST(err == 0 || err == POP_E_LONG);
	if (err == 0 && size > 0) {
		MUST(buf_len(&out) > 0 && !utf8_any_8bit(buf_data(&out), buf_len(&out)));
		if (!utf8_any_8bit(data, size))
			MUST(buf_len(&out) == size && memcmp(buf_data(&out), data, size) == 0);
		MUST(downgrade_head(buf_data(&out), buf_len(&out), &again) == 0);
		MUST(buf_len(&again) == buf_len(&out) &&
		     memcmp(buf_data(&again), buf_data(&out), buf_len(&out)) == 0);
	}
	buf_release(&out);
	buf_release(&again);
	return 0;
}
