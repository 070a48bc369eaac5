/*
 * header.h - header sections without their volatile fields (design section 7).
 */
#ifndef POP_HEADER_H
#define POP_HEADER_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/* Is this the name of a volatile field (len octets before the colon, no regard to case)? */
int header_is_volatile(const char *name, size_t len);

#define HEADER_HELD 64 /* longer than any volatile name; see struct header_filter */

/*
 * A filter that takes a header section as stored, in pieces of any size, and
 * gives it in wire form (CRLF) without volatile fields and without the empty
 * line that ends it.  Needs no memory but this.
 */
struct header_filter {
	void (*out)(void *ctx, const void *data, size_t n); /* what is kept */
	void *ctx;
	uint64_t dropped;	   /* octets, as sent, of the volatile fields so far */
	uint8_t held[HEADER_HELD]; /* the begin of a line whose field is not known yet */
	size_t n_held;
	uint8_t state;
	bool last_cr; /* a CR is held back: maybe half a line end */
	bool drop;    /* the field that this line belongs to is volatile */
	bool ended;   /* the empty line was met */
};
void header_filter_init(struct header_filter *f, void (*out)(void *ctx, const void *data, size_t n),
			void *ctx);
void header_filter_add(struct header_filter *f, const void *data, size_t n);
/* Complete a last line that has no line end. */
void header_filter_end(struct header_filter *f);

#endif
