/*
 * net_text.h - the texts of the session role, and the languages they are in.
 */
#ifndef POP3D_NET_TEXT_H
#define POP3D_NET_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define LANGUAGE_DEFAULT    0 /* i-default, which is English */
#define LANGUAGE_TRANSLATED 2 /* the first that has texts in the table */
#define LANGUAGE_TEXTS	    5 /* how many have */

struct language {
	const char *tag;  /* RFC 5646 */
	const char *name; /* in itself, for LANG */
};
extern const struct language languages[];
extern const size_t n_languages;

struct text_row {
	const char *english;
	const char *in[LANGUAGE_TEXTS]; /* by place in languages, from LANGUAGE_TRANSLATED on */
};
extern const struct text_row text_rows[];
extern const size_t n_text_rows;

/* A text, which may be a format, in a language; as it is where there is no row for it. */
const char *text_in(size_t language, const char *text) __attribute__((format_arg(2)));

/* The place of the language that a language range of len octets asks for; -1: there is none. */
long text_language(const char *range, size_t len);

#endif
