/*
 * date.c - days as administrators write them.
 *
 * Runs in:  auth, pop3admin.
 * Trusts:   nothing.
 */
#include <time.h>

#include "date.h"
#include "num.h"

int date_parse(const char *s, size_t len, int64_t *seconds)
{
	struct tm tm = { 0 }, back;
	uint64_t year, month, day;
	time_t when;

	if (len != DATE_LEN || s[4] != '-' || s[7] != '-')
		return POP_E_SYNTAX;
	if (num_parse(s, 4, 9999, &year) < 0 || num_parse(s + 5, 2, 12, &month) < 0 ||
	    num_parse(s + 8, 2, 31, &day) < 0 || year < 1970 || month < 1 || day < 1)
		return POP_E_SYNTAX;
	tm.tm_year = (int)year - 1900;
	tm.tm_mon = (int)month - 1;
	tm.tm_mday = (int)day;
	when = timegm(&tm);
	/* the 31st of a month that has 30 days became another day */
	if (!gmtime_r(&when, &back) || back.tm_mday != (int)day || back.tm_mon != (int)month - 1)
		return POP_E_SYNTAX;
	*seconds = (int64_t)when;
	return 0;
}
