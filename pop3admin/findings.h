/*
 * findings.h - what config check finds: one line each, with how to mend it.
 */
#ifndef FINDINGS_H
#define FINDINGS_H

#include <stdarg.h>
#include "admin.h"

struct findings {
	struct admin *a;
	size_t count;
};

/* Print a finding: where it is, what is not well, what to do. */
void finding(struct findings *f, const char *where, const char *mend, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Values that are allowed but unwise. */
void check_values(struct findings *f);
/* Directories, helpers and accounts that the configuration names. */
void check_places(struct findings *f);
/* The users file: the file itself, each line, and maildrops that are shared. */
void check_users(struct findings *f);

#endif
