/*
 * date.h - days as administrators write them: 2026-01-31, in UTC.
 */
#ifndef POP_DATE_H
#define POP_DATE_H

#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define DATE_LEN 10 /* octets */

/* YYYY-MM-DD of a year from 1970 on: its first second since the epoch.  0 or POP_E_SYNTAX. */
int date_parse(const char *s, size_t len, int64_t *seconds);

#endif
