/*
 * sorted.h - binary search in a text file of `name:...` lines sorted by name;
 * for users_find.c and secrets.c.
 */
#ifndef POP_SORTED_H
#define POP_SORTED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "err.h"

#define SORTED_LINE_MAX 4096		      /* bytes of a line */
#define SORTED_PROBE	(2 * SORTED_LINE_MAX) /* read at each step of the search */

/* Empty lines and comments are none. */
bool sorted_is_entry(const char *line, size_t len);

/* Bytes before the first ':'. */
size_t sorted_name_length(const char *line, size_t len);

/* As memcmp on names: the shorter of two that agree comes first. */
int sorted_compare(const char *line, size_t len, const char *name, size_t name_len);

/* The line at p, of `left` bytes; without CR.  *next is behind its LF, NULL without one. */
size_t sorted_line(const char *p, size_t left, const char **next);

/*
 * Narrow *lo and *hi until SORTED_PROBE bytes are between them.  In a sorted
 * file every entry that begins before *lo is smaller than the name, and none
 * that begins behind *hi is; *lo is where a line begins.  block: SORTED_PROBE
 * bytes to read into.  0, 1 (cannot go on: only a scan can tell), or POP_E_SYS.
 */
int sorted_narrow(int fd, const char *name, size_t name_len, off_t *lo, off_t *hi, char *block);

#endif
