/*
 * date.h - days as administrators write them, 2026-01-31, and moments; in UTC.
 */
#ifndef POP_DATE_H
#define POP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define DATE_LEN      10 /* octets */
#define DATE_TIME_LEN 20

/* Days since 1970-01-01 of a day that exists, of a year from 0 on. */
int64_t date_days(int year, int month, int day);
bool date_exists(int year, int month, int day);

/* YYYY-MM-DD of a year from 1970 on: its first second since the epoch.  0 or POP_E_SYNTAX. */
int date_parse(const char *s, size_t len, int64_t *seconds);
/* The day of a moment of the years 0 to 9999. */
void date_format(int64_t seconds, char out[DATE_LEN + 1]);
/* The moment, 2026-01-31T23:59:59Z.  0, or POP_E_RANGE: of another year. */
int date_time_format(int64_t seconds, char out[DATE_TIME_LEN + 1]);

#endif
