/*
 * out.h - what pop3admin prints: a table or lines for people, one JSON document
 * for programs, from the same calls.
 *
 * A command opens a list, an object, or a list of objects, names its fields and
 * closes what it opened.  As text a list is a table (columns are the fields of
 * its first object) and a single object is one line a field.  As JSON, strings
 * are UTF-8: an octet that is none becomes U+FFFD; numbers are exact.
 */
#ifndef OUT_H
#define OUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>

#define OUT_COLUMNS_MAX 12

struct out {
	FILE *file;
	bool json;
	bool in_list;
	bool in_object;
	const char *array; /* the key of the open array */
	bool first;	   /* nothing yet in the innermost open JSON list, object or array */
	bool first_item;   /* no object yet in the list */
	/* the table: the first rows wait until widths are known */
	char *cells; /* NUL-terminated cells, one after the other; owned */
	size_t len, size;
	size_t n_rows;
	size_t n_cells; /* in the row being built */
	size_t n_columns;
	const char *columns[OUT_COLUMNS_MAX];
	size_t width[OUT_COLUMNS_MAX];
	bool widths_fixed;
	bool failed; /* out of memory, or file cannot take more */
};

/* Write to file; nothing is printed yet. */
void out_init(struct out *o, FILE *file, bool json);

void out_list_begin(struct out *o);
void out_list_end(struct out *o);
void out_object_begin(struct out *o);
void out_object_end(struct out *o);

/* The fields of an object.  Keys are constant strings in lower case. */
void out_str(struct out *o, const char *key, const char *value);
void out_u64(struct out *o, const char *key, uint64_t value);
void out_bool(struct out *o, const char *key, bool value);
void out_null(struct out *o, const char *key);
/* A number that is already in decimal notation ("0.25"). */
void out_decimal(struct out *o, const char *key, const char *digits);
/* Blank-separated words: an array of strings in JSON. */
void out_words(struct out *o, const char *key, const char *words);
/* Seconds since the epoch as RFC 3339 in UTC. */
void out_time(struct out *o, const char *key, int64_t seconds);

/* An array of strings as a field; as text a line each under its key, only outside a list. */
void out_array_begin(struct out *o, const char *key);
void out_array_item(struct out *o, const char *value);
void out_array_end(struct out *o);

/* Write what is left, free.  0, or POP_E_SYS where anything could not be written. */
int out_finish(struct out *o);

/* s on a terminal: control characters and octets that are no UTF-8 become '?'. */
void out_visible(FILE *file, const char *s);

/*
 * Progress of long work on a terminal (standard error); nothing in a pipe.
 * clear takes the line away before something else is printed.
 */
void progress_show(size_t done, size_t total, const char *name);
void progress_clear(void);
void progress_end(size_t done, size_t failed);

#endif
