/*
 * buf.h - the one bounded buffer type.
 *
 * A buffer grows as needed up to a maximum fixed at init and never beyond;
 * what does not fit is refused whole, so a buffer never holds half a thing.
 */
#ifndef POP_BUF_H
#define POP_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

struct buf {
	uint8_t *data; /* owned; NULL until the first put */
	size_t start;  /* first byte not yet consumed */
	size_t end;    /* one past the last byte */
	size_t size;   /* allocated bytes */
	size_t max;    /* never more bytes than this at once */
};

/* An empty buffer of at most max bytes; nothing is allocated yet. */
void buf_init(struct buf *b, size_t max);

/* Wipe and free what it holds; the buffer is empty and usable again. */
void buf_release(struct buf *b);

/* Bytes held, and where they begin (borrowed until the next put or consume). */
size_t buf_len(const struct buf *b);
const uint8_t *buf_data(const struct buf *b);

/* Forget everything, keep the memory.  Contents are not wiped. */
void buf_clear(struct buf *b);

/* Drop the first n bytes; n is at most buf_len(). */
void buf_consume(struct buf *b, size_t n);

/*
 * Make room for n more bytes and return where they go (NULL: POP_E_LONG or no
 * memory); buf_commit() then says how many were really written (<= n).
 */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Append.  0, POP_E_LONG (would pass max; nothing appended) or POP_E_MEMORY. */
int buf_put(struct buf *b, const void *data, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
