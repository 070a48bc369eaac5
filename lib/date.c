/*
 * date.c - days as administrators write them.
 *
 * Runs in:  auth, pop3admin.
 * Trusts:   nothing.
 */
#include <stdbool.h>
#include <stdio.h>

#include "date.h"
#include "num.h"

/*
 * Not by timegm() and gmtime_r(): those of glibc read /etc/localtime, which a
 * role without file system may not even try.
 */
static const uint16_t days_before[13] = {
	0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365
};

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970-01-01 to the first day of a year from 0 on. */
static int64_t days_to_year(int year)
{
	int64_t y = year - 1; /* the years before are whole */

	if (year == 0)
		return -719528;
	return 365 * y + y / 4 - y / 100 + y / 400 - 719162;
}

int64_t date_days(int year, int month, int day)
{
	return days_to_year(year) + days_before[month - 1] + (month > 2 && is_leap(year)) + day - 1;
}

bool date_exists(int year, int month, int day)
{
	int days;

	if (month < 1 || month > 12 || day < 1)
		return false;
	days = days_before[month] - days_before[month - 1] + (month == 2 && is_leap(year));
	return day <= days;
}

int date_parse(const char *s, size_t len, int64_t *seconds)
{
	uint64_t year, month, day;

	if (len != DATE_LEN || s[4] != '-' || s[7] != '-')
		return POP_E_SYNTAX;
	if (num_parse(s, 4, 9999, &year) < 0 || num_parse(s + 5, 2, 12, &month) < 0 ||
	    num_parse(s + 8, 2, 31, &day) < 0 || year < 1970 ||
	    !date_exists((int)year, (int)month, (int)day))
		return POP_E_SYNTAX;
	*seconds = date_days((int)year, (int)month, (int)day) * 86400;
	return 0;
}

void date_format(int64_t seconds, char out[DATE_LEN + 1])
{
	int64_t days = seconds / 86400;
	int year = 1970 + (int)(days / 366), month = 1;

	while (year < 9999 && days_to_year(year + 1) <= days)
		year++;
	while (month < 12 && date_days(year, month + 1, 1) <= days)
		month++;
	snprintf(out, DATE_LEN + 1, "%04u-%02u-%02u", (unsigned)year % 10000, (unsigned)month % 100,
		 (unsigned)(days - date_days(year, month, 1) + 1) % 100);
}
