/*
 * fuzz_find.c - every form of the inner loop of an mbox scan gives what the
 * plain one gives.
 *
 * Input: octet 0, bit 0: within a header section; the rest is searched.
 */
#include <stdlib.h>
#include <string.h>
#include "fuzz.h"
#include "mbox_find.h"

static size_t plain_find(const uint8_t *d, size_t from, size_t to, bool header,
			 struct mbox_tally *t)
{
	for (size_t i = from; i < to; i++) {
		const uint8_t *p = d + i;
		bool lf = p[0] == '\n';

		if ((lf || p[0] == '\0') && p[1] == 'F')
			return i;
		if (header && lf && (p[1] == '\n' || p[1] == '\r'))
			return i;
		t->bare += lf && p[-1] != '\r';
		t->dots |= lf && p[1] == '.';
	}
	return to;
}

static void compare(mbox_find_fn *find, const uint8_t *d, size_t n, bool header)
{
	for (size_t at = 0; at < n;) {
		struct mbox_tally a = { 0, 0 }, b = { 0, 0 };
		size_t found = find(d, at, n, header, &a);

		MUST(found == plain_find(d, at, n, header, &b));
		MUST(a.bare == b.bare && (a.dots != 0) == (b.dots != 0));
		at = found + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;
	mbox_find_fn *find;

	if (size < 1)
		return 0;
	copy = malloc(size + MBOX_FIND_AHEAD);
	MUST(copy != NULL);
	memcpy(copy, data, size); /* octet 0 is the one before */
	memset(copy + size, 0xff, MBOX_FIND_AHEAD);
	for (unsigned n = 0; (find = mbox_find_nth(n)) != NULL; n++)
		compare(find, copy + 1, size - 1, data[0] & 1);
	compare(mbox_find_best(size), copy + 1, size - 1, data[0] & 1);
	free(copy);
	return 0;
}
