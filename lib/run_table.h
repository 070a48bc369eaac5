/*
 * run_table.h - a file of fixed size in run_dir that processes map and share.
 *
 * It may be missing, damaged or removed at any time: it is then made anew, under
 * a name of its own, and put into place.  Children made by fork do not have the
 * mapping: they are other roles.
 */
#ifndef POP_RUN_TABLE_H
#define POP_RUN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include "err.h"

struct run_table {
	const char *file;
	char magic[8]; /* the first octets of a good file */
	size_t size;
	size_t head_size;	 /* what fill() writes; behind it a new file is zero */
	int (*fill)(void *head); /* the head of a new file; 0 or POP_E_SYS */
};

struct run_map {
	void *at;	/* NULL: not mapped */
	bool in_memory; /* no reboot survives it, so all in it is of this boot */
};

/*
 * Map it, for reading and writing.  Without create POP_E_MISSING where there is
 * none; with it, one that is damaged or missing is made.  0, POP_E_SYS, POP_E_UNSAFE
 * (not the caller's alone), POP_E_CORRUPT, POP_E_LONG.
 */
int run_table_open(const struct run_table *t, const char *run_dir, bool create, struct run_map *map,
		   struct pop_why *why);
void run_table_close(const struct run_table *t, struct run_map *map);

#endif
