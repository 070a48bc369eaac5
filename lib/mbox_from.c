/*
 * mbox_from.c - is this line the separator before a message of an mbox?
 *
 * Runs in:  the maildrop role, pop3admin.
 * Trusts:   nothing; the line is whatever somebody mailed.
 */
#include <string.h>
#include <strings.h>
#include <time.h>
#include "date.h"
#include "mbox_from.h"

/* What is left of the line. */
struct rest {
	const char *p, *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool blanks(struct rest *r)
{
	const char *from = r->p;

	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
		r->p++;
	return r->p > from;
}

static bool literal(struct rest *r, const char *s)
{
	size_t n = strlen(s);

	if ((size_t)(r->end - r->p) < n || memcmp(r->p, s, n) != 0)
		return false;
	r->p += n;
	return true;
}

/* One of n names of three letters each, written one after the other. */
static int name_of(struct rest *r, const char *names, int n)
{
	if (r->end - r->p < 3)
		return -1;
	for (int i = 0; i < n; i++) {
		if (memcmp(r->p, names + (ptrdiff_t)3 * i, 3) == 0) {
			r->p += 3;
			return i;
		}
	}
	return -1;
}

/* least to most digits, and no digit behind them. */
static int number(struct rest *r, int least, int most)
{
	int value = 0, n = 0;

	while (n < most && r->p < r->end && is_digit(*r->p)) {
		value = value * 10 + (*r->p++ - '0');
		n++;
	}
	if (n < least || (r->p < r->end && is_digit(*r->p)))
		return -1;
	return value;
}

static bool time_of_day(struct rest *r, struct tm *tm)
{
	int hour = number(r, 2, 2), minute, second = 0;

	if (hour < 0 || hour > 23 || !literal(r, ":"))
		return false;
	minute = number(r, 2, 2);
	if (minute < 0 || minute > 59)
		return false;
	if (literal(r, ":"))
		second = number(r, 2, 2);
	tm->tm_hour = hour;
	tm->tm_min = minute;
	tm->tm_sec = second;
	return second >= 0 && second <= 60; /* a leap second */
}

static bool zone_word(struct rest *r)
{
	struct rest save = *r;
	int n = 0;

	while (r->p < r->end && is_letter(*r->p) && n < 6) {
		r->p++;
		n++;
	}
	if (n >= 1 && n <= 5 && (r->p == r->end || *r->p == ' ' || *r->p == '\t'))
		return true;
	*r = save;
	return false;
}

static bool zone_offset(struct rest *r, int *east_s)
{
	bool west = literal(r, "-");
	int hhmm;

	if (!west && !literal(r, "+"))
		return false;
	hhmm = number(r, 4, 4);
	*east_s = (hhmm / 100 * 3600 + hhmm % 100 * 60) * (west ? -1 : 1);
	return hhmm >= 0 && hhmm / 100 <= 23 && hhmm % 100 <= 59;
}

/* A zone with the blanks before it; stands still where there is none. */
static void zone(struct rest *r, int *east_s)
{
	struct rest save = *r, second;
	int offset_s;

	if (!blanks(r) ||
	    (r->p < r->end && literal(&(struct rest){ r->p, r->end }, "remote from "))) {
		*r = save;
		return;
	}
	if (r->p < r->end && (*r->p == '+' || *r->p == '-')) {
		if (zone_offset(r, &offset_s))
			*east_s = offset_s;
		else
			*r = save;
		return;
	}
	if (!zone_word(r)) {
		*r = save;
		return;
	}
	/* "MET DST" */
	second = *r;
	if (blanks(&second) && literal(&second, "DST") &&
	    (second.p == second.end || *second.p == ' ' || *second.p == '\t'))
		*r = second;
}

/* The date and all that may stand behind it, to the end of the line. */
static bool date_to_end(struct rest r, struct tm *tm, int *east_s)
{
	int month, day, year;

	*tm = (struct tm){ 0 };
	*east_s = 0;

	if (name_of(&r, "SunMonTueWedThuFriSat", 7) < 0 || !blanks(&r))
		return false;
	month = name_of(&r, "JanFebMarAprMayJunJulAugSepOctNovDec", 12);
	if (month < 0 || !blanks(&r))
		return false;
	day = number(&r, 1, 2);
	if (day < 0 || !blanks(&r) || !time_of_day(&r, tm))
		return false;
	zone(&r, east_s);
	if (!blanks(&r))
		return false;
	year = number(&r, 4, 4);
	if (year < 0 || !date_exists(year, month + 1, day))
		return false;
	tm->tm_year = year - 1900;
	tm->tm_mon = month;
	tm->tm_mday = day;
	zone(&r, east_s);
	if (blanks(&r) && literal(&r, "remote from ")) {
		blanks(&r);
		return r.p < r.end;
	}
	return r.p == r.end;
}

static bool parse(const char *line, size_t len, struct tm *tm, int *east_s)
{
	struct rest r = { line, line + len };
	const char *sender;

	/* A NUL is what a crash left of a line; a whole one may follow it. */
	if (len >= MBOX_FROM_MAX || !literal(&r, "From ") || memchr(line, 0, len))
		return false;
	blanks(&r);
	sender = r.p;
	/* The sender may hold blanks, so every word may begin the date. */
	while (r.p < r.end) {
		if (r.p > sender && date_to_end(r, tm, east_s))
			return true;
		while (r.p < r.end && *r.p != ' ' && *r.p != '\t')
			r.p++;
		blanks(&r);
	}
	return false;
}

bool mbox_is_from(const char *line, size_t len)
{
	struct tm tm;
	int east_s;

	return parse(line, len, &tm, &east_s);
}

int mbox_from_date(const char *line, size_t len, int64_t *seconds)
{
	struct tm tm;
	int east_s;

	if (!parse(line, len, &tm, &east_s))
		return POP_E_SYNTAX;
	*seconds = date_days(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday) * 86400 +
		   tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec - east_s;
	return 0;
}
