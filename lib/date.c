/*
 * date.c - days as administrators write them, and moments.
 *
 * Runs in:  auth, tls, pop3admin.
 * Trusts:   nothing.
 */
#include <stdbool.h>
#include <stdio.h>

#include "date.h"
#include "num.h"

#define A_DAY	 86400
#define EARLIEST (-62167219200) /* the first second of the year 0 */
#define LATEST	 253402300799	/* the last one of 9999 */

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
	*seconds = date_days((int)year, (int)month, (int)day) * A_DAY;
	return 0;
}

/* Of the epoch; rounded down before it, too. */
static int64_t days_of(int64_t seconds)
{
	return (seconds - (seconds < 0 ? A_DAY - 1 : 0)) / A_DAY;
}

void date_format(int64_t seconds, char out[DATE_LEN + 1])
{
	int64_t days = days_of(seconds);
	int year = days < 0 ? (int)(days / 365) + 1969 : (int)(days / 366) + 1970, month = 1;

	while (year < 9999 && days_to_year(year + 1) <= days)
		year++;
	while (month < 12 && date_days(year, month + 1, 1) <= days)
		month++;
	snprintf(out, DATE_LEN + 1, "%04u-%02u-%02u", (unsigned)year % 10000, (unsigned)month % 100,
		 (unsigned)(days - date_days(year, month, 1) + 1) % 100);
}

int date_time_format(int64_t seconds, char out[DATE_TIME_LEN + 1])
{
	unsigned second;

	if (seconds < EARLIEST || seconds > LATEST)
		return POP_E_RANGE;
	date_format(seconds, out);
	second = (unsigned)(seconds - days_of(seconds) * A_DAY);
	snprintf(out + DATE_LEN, DATE_TIME_LEN + 1 - DATE_LEN, "T%02u:%02u:%02uZ",
		 second / 3600 % 24, second / 60 % 60, second % 60);
	return 0;
}
