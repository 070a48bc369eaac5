/*
 * lines.h - the lines of a file, one after the other, through one fixed block.
 */
#ifndef POP_LINES_H
#define POP_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>

#define LINES_BLOCK 65536 /* also the longest line that can be seen whole */

struct lines {
	int fd;		 /* borrowed; its position does not matter */
	off_t offset;	 /* of the next read */
	char *block;	 /* owned */
	size_t pos, end; /* what of the block is not yet handed out */
	size_t high;	 /* bytes of the block that were ever written */
	uint64_t number; /* of the line handed out last, from 1 */
	bool eof;
};

/* Begin at the first byte of fd.  0 or POP_E_MEMORY. */
int lines_init(struct lines *l, int fd);

/* Wipe and free the block. */
void lines_release(struct lines *l);

/*
 * The next line, without its LF or CRLF, borrowed until the next call; a last
 * line needs no LF.  1, 0 (no more), POP_E_SYS, or POP_E_LONG: the line is
 * longer than the block, *line and *len are its beginning, its rest is skipped.
 */
int lines_next(struct lines *l, const char **line, size_t *len);

#endif
