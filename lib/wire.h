/*
 * wire.h - messages as the client gets them: CRLF line ends, dots doubled.
 *
 * Stored line ends are LF or CRLF, mixed at will; a CR that no LF follows is
 * an octet like any other, as is NUL.  Octets are counted with CRLF line ends,
 * without byte-stuffing and without the final dot; the CRLF that an unfinished
 * last line gets is counted (RFC 1939 sections 3 and 11).
 */
#ifndef POP_WIRE_H
#define POP_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/* Counts octets of a message that comes in pieces. */
struct wire_count {
	uint64_t octets; /* so far, without a CRLF for an unfinished last line */
	uint64_t lines;
	bool last_cr; /* the last byte was CR */
	bool at_line_start;
	bool any_dot;	  /* a line begins with a dot */
	bool any_bare_lf; /* an LF without CR: not in wire form as stored */
};
void wire_count_init(struct wire_count *c);
void wire_count_add(struct wire_count *c, const void *data, size_t n);
/* The same for n bytes of NUL. */
void wire_count_zeros(struct wire_count *c, uint64_t n);
/* The total, an unfinished last line completed. */
uint64_t wire_count_total(const struct wire_count *c);

/* Writes a message in wire form, in pieces. */
struct wire_encoder {
	bool last_cr;
	bool at_line_start;
	uint64_t octets; /* written, without stuffing: to compare with what was announced */
};
void wire_encode_init(struct wire_encoder *e);
/*
 * Encode n bytes into out, which has room for at least 2 * n + 2 bytes; every
 * line that begins with a dot gets another.  Returns the bytes written.
 */
size_t wire_encode(struct wire_encoder *e, const void *data, size_t n, uint8_t *out);
/* Complete an unfinished last line: 0 or 2 bytes into out. */
size_t wire_encode_end(struct wire_encoder *e, uint8_t *out);

#endif
