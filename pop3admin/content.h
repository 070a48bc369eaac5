/*
 * content.h - digests of whole messages, to know one again that comes from
 * another server.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include <stddef.h>
#include <stdint.h>

struct content {
	uint8_t sent[32];  /* SHA-256 of the message as RETR sends it, dots undone */
	uint8_t plain[32]; /* the same without volatile header fields */
	uint8_t sha1[20];  /* SHA-1 of the message as sent */
};

/*
 * Read the message of `length` stored bytes at `offset` of fd.  0, POP_E_SYS,
 * POP_E_CHANGED (the file ends before), POP_E_MEMORY (also: a digest is not to be had).
 */
int content_of(int fd, uint64_t offset, uint64_t length, struct content *out);

/* MD5 in pieces: what other servers make their ids from. */
struct md5;
struct md5 *md5_new(void); /* NULL: MD5 is not to be had here */
void md5_piece(void *md5, const void *data, size_t n);
/* Ends and frees it. */
void md5_end(struct md5 *md5, uint8_t out[16]);

#endif
