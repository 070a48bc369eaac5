/*
 * buf.c - the one bounded buffer type.
 *
 * Runs in:  every program.  Trusts:  its callers, not what they put in.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "err.h"

#define BUF_FIRST_SIZE 256

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_release(struct buf *b)
{
	if (b->data) {
		explicit_bzero(b->data, b->size);
		free(b->data);
	}
	buf_init(b, b->max);
}

size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

const uint8_t *buf_data(const struct buf *b)
{
	return b->data ? b->data + b->start : NULL;
}

void buf_clear(struct buf *b)
{
	b->start = b->end = 0;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		buf_clear(b);
}

/* A new block instead of realloc: the old one may hold a secret, and is wiped. */
static int grow(struct buf *b, size_t need)
{
	size_t size = b->size ? b->size : BUF_FIRST_SIZE;
	size_t len = buf_len(b);
	uint8_t *data;

	while (size < need && size <= SIZE_MAX / 2)
		size *= 2;
	if (size > b->max)
		size = b->max;
	if (size < need)
		size = need;
	data = malloc(size);
	if (!data)
		return POP_E_MEMORY;
	if (b->data) {
		memcpy(data, b->data + b->start, len);
		explicit_bzero(b->data, b->size);
		free(b->data);
	}
	b->data = data;
	b->size = size;
	b->start = 0;
	b->end = len;
	return 0;
}

static int make_room(struct buf *b, size_t n)
{
	size_t len = buf_len(b);

	if (n > b->max || len > b->max - n)
		return POP_E_LONG;
	if (b->data && b->size - b->end >= n)
		return 0;
	if (b->data && b->size - len >= n) {
		memmove(b->data, b->data + b->start, len);
		b->start = 0;
		b->end = len;
		return 0;
	}
	return grow(b, len + n);
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	/* A pointer is promised even for no bytes in an empty buffer. */
	if (n == 0 && !b->data && b->max == 0)
		return NULL;
	if (make_room(b, n) < 0)
		return NULL;
	return b->data + b->end;
}

void buf_commit(struct buf *b, size_t n)
{
	assert(n <= b->size - b->end);
	b->end += n;
}

int buf_put(struct buf *b, const void *data, size_t n)
{
	int err;

	if (n == 0)
		return 0;
	err = make_room(b, n);
	if (err < 0)
		return err;
	memcpy(b->data + b->end, data, n);
	b->end += n;
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[512];
	char *big = NULL;
	va_list ap;
	int n, err;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return POP_E_SYNTAX;
	if ((size_t)n < sizeof(small)) {
		err = buf_put(b, small, (size_t)n);
		goto out;
	}
	if ((size_t)n > b->max) {
		err = POP_E_LONG;
		goto out;
	}
	big = malloc((size_t)n + 1);
	if (!big) {
		err = POP_E_MEMORY;
		goto out;
	}
	va_start(ap, fmt);
	vsnprintf(big, (size_t)n + 1, fmt, ap);
	va_end(ap);
	err = buf_put(b, big, (size_t)n);
	explicit_bzero(big, (size_t)n + 1);
	free(big);
out:
	explicit_bzero(small, sizeof(small));
	return err;
}
