/*
 * lines.c - the lines of a file, one after the other, through one fixed block.
 *
 * Runs in:  auth and monitor, on files that may be of any size; pop3admin.
 * Trusts:   nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fsutil.h"
#include "lines.h"

int lines_init(struct lines *l, int fd)
{
	*l = (struct lines){ .fd = fd, .block = malloc(LINES_BLOCK) };
	return l->block ? 0 : POP_E_MEMORY;
}

void lines_release(struct lines *l)
{
	if (l->block)
		explicit_bzero(l->block, l->high);
	free(l->block);
	l->block = NULL;
}

static int refill(struct lines *l)
{
	ssize_t n;

	memmove(l->block, l->block + l->pos, l->end - l->pos);
	l->end -= l->pos;
	l->pos = 0;
	n = fs_pread_full(l->fd, l->block + l->end, LINES_BLOCK - l->end, l->offset);
	if (n < 0)
		return POP_E_SYS;
	l->eof = (size_t)n < LINES_BLOCK - l->end;
	l->offset += n;
	l->end += (size_t)n;
	if (l->high < l->end)
		l->high = l->end;
	return 0;
}

/* The rest of a line whose beginning fills the block; that beginning stays in place. */
static int skip_rest(struct lines *l)
{
	char piece[4096], *lf;
	ssize_t n;

	do {
		n = fs_pread_full(l->fd, piece, sizeof(piece), l->offset);
		if (n < 0)
			return POP_E_SYS;
		lf = memchr(piece, '\n', (size_t)n);
		l->offset += lf ? lf - piece + 1 : n;
	} while (!lf && n == (ssize_t)sizeof(piece));
	l->pos = l->end;
	return POP_E_LONG;
}

int lines_next(struct lines *l, const char **line, size_t *len)
{
	char *lf = memchr(l->block + l->pos, '\n', l->end - l->pos);

	if (!lf && !l->eof) {
		if (refill(l) < 0)
			return POP_E_SYS;
		lf = memchr(l->block, '\n', l->end);
	}
	if (!lf && l->pos == l->end)
		return 0;
	l->number++;
	*line = l->block + l->pos;
	*len = lf ? (size_t)(lf - *line) : l->end - l->pos;
	if (!lf && !l->eof)
		return skip_rest(l);
	l->pos += *len + (lf ? 1 : 0);
	if (lf && *len > 0 && (*line)[*len - 1] == '\r')
		(*len)--;
	return 1;
}
