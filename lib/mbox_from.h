/*
 * mbox_from.h - is this line the separator before a message of an mbox?
 */
#ifndef POP_MBOX_FROM_H
#define POP_MBOX_FROM_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"

/* A separator is at most so long, with its line end; a longer line is text. */
#define MBOX_FROM_MAX 1024

/*
 * Is the line of len bytes, without its line end (LF or CRLF), of the form
 * "From SENDER DATE"?  SENDER is not empty and may hold blanks, but no NUL; DATE is an
 * asctime(3) date whose every part is in its range: weekday, month, day (of
 * that month and year), hour:minute with or without seconds, a year of four
 * digits; a zone (letters, two words such as "MET DST", or +hhmm) before or
 * after the year, "remote from X" behind it, and blanks at the end are allowed.
 * Source: design section 7.
 */
bool mbox_is_from(const char *line, size_t len);

/*
 * The date of such a line in seconds since the epoch.  A zone of digits counts; without
 * one, or with letters, the date is taken as UTC.  0, or POP_E_SYNTAX: no such line.
 */
int mbox_from_date(const char *line, size_t len, int64_t *seconds);

#endif
