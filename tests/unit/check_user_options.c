/*
 * check_user_options.c - options of users entries: read, set, written, and what
 * of them counts; the dates they are made of.
 */
#include <string.h>
#include <time.h>

#include "date.h"
#include "mbox_from.h"
#include "scratch.h"
#include "user_options.h"

static const struct parse_row {
	const char *options;
	int want;
	const char *written; /* or what the error says */
} parse_rows[] = {
	{ "", 0, "" },
	{ "x=y  z", 0, "x=y z" },
	{ "nologin maildrop=mbox:/m", 0, "maildrop=mbox:/m nologin" },
	{ "require_tls readonly=yes a", 0, "a require_tls=yes readonly=yes" },
	{ "require_tls=no readonly=NO", 0, "" },
	{ "login_delay=0 expire=never", 0, "login_delay=0 expire=never" },
	{ "expire=36500\tlogin_delay=604800", 0, "login_delay=604800 expire=36500" },
	{ "show_after=2024-02-29", 0, "show_after=2024-02-29" },
	{ "require_tlsx expires=7 show_after_all=1", 0, "require_tlsx expires=7 show_after_all=1" },
	{ "show_after=2026-02-29", POP_E_SYNTAX, "show_after: allowed: a day such as" },
	{ "show_after=26-02-01", POP_E_SYNTAX, "a day" },
	{ "show_after=1969-12-31", POP_E_SYNTAX, "a day" },
	{ "show_after", POP_E_SYNTAX, "a day" },
	{ "require_tls=1", POP_E_SYNTAX, "require_tls: allowed: yes or no" },
	{ "readonly=", POP_E_SYNTAX, "yes or no" },
	{ "readonly readonly=yes", POP_E_SYNTAX, "two readonly options" },
	{ "login_delay=604801", POP_E_SYNTAX, "seconds from 0 to 604800" },
	{ "login_delay=never", POP_E_SYNTAX, "seconds from 0 to 604800" },
	{ "login_delay=+1", POP_E_SYNTAX, "seconds" },
	{ "expire", POP_E_SYNTAX, "days from 0 to 36500, or never" },
	{ "expire=-1", POP_E_SYNTAX, "days" },
	{ "maildrop", POP_E_SYNTAX, "mbox:PATH or maildir:PATH" },
	{ "maildrop=x", POP_E_SYNTAX, "mbox:PATH" },
};

START_TEST(parse)
{
	const struct parse_row *r = &parse_rows[_i];
	struct pop_why why = { "" };
	struct user u = { .name = "a" };
	char text[2048];

	snprintf(u.options, sizeof(u.options), "%s", r->options);
	ck_assert_msg(user_options_parse(&u, &why) == r->want, "%s: %s", r->options, why.text);
	if (r->want < 0) {
		ck_assert_msg(strstr(why.text, r->written) != NULL, "%s: %s", r->options, why.text);
		return;
	}
	ck_assert_int_eq(user_options_format(&u, text, sizeof(text)), 0);
	ck_assert_str_eq(text, r->written);
}
END_TEST

static const struct set_row {
	const char *before, *assignment;
	int want;
	const char *after; /* or what the error says */
} set_rows[] = {
	{ "", "readonly=yes", 0, "readonly=yes" },
	{ "x=1 readonly=yes", "readonly=no", 0, "x=1" },
	{ "readonly=yes x=1", "readonly=", 0, "x=1" },
	{ "nologin=y", "nologin=yes", 0, "nologin" },
	{ "nologin=y", "nologin=no", 0, "" },
	{ "", "nologin=maybe", POP_E_SYNTAX, "yes or no" },
	{ "", "expire=7", 0, "expire=7" },
	{ "expire=7", "expire=never", 0, "expire=never" },
	{ "show_after=2026-01-01", "show_after=2026-06-30", 0, "show_after=2026-06-30" },
	{ "x", "maildrop=maildir:~/M", 0, "x maildrop=maildir:~/M" },
	{ "", "maildrop=maildir:/a b", POP_E_SYNTAX, "no blank" },
	{ "", "maildrop=~/M", POP_E_SYNTAX, "mbox:PATH" },
	{ "", "readonly", POP_E_SYNTAX, "KEY=VALUE" },
	{ "", "quota=1", POP_E_SYNTAX, "there are maildrop login_delay expire show_after" },
	{ "", "=1", POP_E_SYNTAX, "no such option" },
	{ "", "login_delay=x", POP_E_SYNTAX, "seconds from 0 to 604800" },
};

START_TEST(set)
{
	const struct set_row *r = &set_rows[_i];
	struct pop_why why = { "" };
	struct user u = { .name = "a" };

	snprintf(u.options, sizeof(u.options), "%s", r->before);
	ck_assert_int_eq(user_options_parse(&u, NULL), 0);
	ck_assert_msg(user_option_set(&u, r->assignment, &why) == r->want, "%s: %s", r->assignment,
		      why.text);
	if (r->want < 0)
		ck_assert_msg(strstr(why.text, r->after) != NULL, "%s: %s", r->assignment,
			      why.text);
	else
		ck_assert_str_eq(u.options, r->after);
}
END_TEST

#define NEVER CONF_EXPIRE_NEVER
static const struct count_row {
	uint32_t delay, delay_max, expire, expire_min; /* of the configuration */
	const char *options;
	uint32_t want_delay, want_expire;
	bool idle_delay, idle_expire;
} count_rows[] = {
	{ 0, 0, NEVER, NEVER, "", 0, NEVER, false, false },
	{ 60, 0, 30, NEVER, "login_delay=10 expire=7", 60, 30, true, true },
	{ 60, 100, 30, 7, "login_delay=10 expire=7", 10, 7, false, false },
	{ 60, 100, 30, 7, "login_delay=100 expire=never", 100, NEVER, false, false },
	{ 60, 100, 30, 7, "login_delay=101 expire=6", 100, 7, true, true },
	{ 60, 1, 30, 365, "login_delay=60 expire=30", 60, 30, false, false },
	{ 60, 1, 30, 365, "login_delay=61 expire=29", 60, 30, true, true },
	{ 0, 60, NEVER, 0, "login_delay=0 expire=0", 0, 0, false, false },
	{ 60, 60, NEVER, NEVER, "expire=never login_delay=0", 0, NEVER, false, false },
	{ 60, 0, 30, NEVER, "login_delay=60 expire=30", 60, 30, false, false },
};

START_TEST(counts)
{
	const struct count_row *r = &count_rows[_i];
	struct conf conf = { .login_delay = r->delay,
			     .login_delay_max = r->delay_max,
			     .expire = r->expire,
			     .expire_min = r->expire_min };
	struct pop_why why = { "" };
	struct user u = { .name = "a" };

	snprintf(u.options, sizeof(u.options), "%s", r->options);
	ck_assert_int_eq(user_options_parse(&u, NULL), 0);
	ck_assert_uint_eq(user_login_delay(&conf, &u), r->want_delay);
	ck_assert_uint_eq(user_expire(&conf, &u), r->want_expire);
	ck_assert_uint_eq(user_login_delay(&conf, NULL), r->delay);
	ck_assert_uint_eq(user_expire(&conf, NULL), r->expire);
	ck_assert_int_eq(user_option_idle(&conf, &u, "login_delay", &why), r->idle_delay);
	ck_assert_int_eq(user_option_idle(&conf, &u, "expire", &why), r->idle_expire);
	ck_assert_int_eq(user_option_idle(&conf, &u, "readonly", &why), false);
}
END_TEST

static const struct from_row {
	const char *line;
	int64_t want; /* -1: no such line */
} from_rows[] = {
	{ "From a@b Thu Jan  1 00:00:00 1970", 0 },
	{ "From a@b Fri Jan 30 12:00:00 2026", 1769774400 },
	{ "From a@b Fri Jan 30 12:00 2026", 1769774400 },
	{ "From a@b Fri Jan 30 13:00:00 2026 +0100", 1769774400 },
	{ "From a@b Fri Jan 30 11:30:00 -0030 2026", 1769774400 },
	{ "From a@b Fri Jan 30 12:00:00 CET 2026", 1769774400 },
	{ "From a@b Fri Jan 30 12:00:00 2026 remote from x", 1769774400 },
	{ "From a@b yesterday", -1 },
};

START_TEST(from_date)
{
	const struct from_row *r = &from_rows[_i];
	int64_t got = -1;
	int err = mbox_from_date(r->line, strlen(r->line), &got);

	ck_assert_int_eq(err, r->want < 0 ? POP_E_SYNTAX : 0);
	ck_assert_int_eq(got, r->want);
}
END_TEST

START_TEST(dates)
{
	static const char *const bad[] = { "",		 "2026-1-31",  "2026-01-32",
					   "2026-13-01", "2026-00-1",  "2026-01-00",
					   "2026/01/31", "+026-01-31", "2026-01-311" };
	char text[DATE_LEN + 1];
	int64_t s;

	ck_assert_int_eq(date_parse("1970-01-01", 10, &s), 0);
	ck_assert_int_eq(s, 0);
	ck_assert_int_eq(date_parse("2026-01-31", 10, &s), 0);
	ck_assert_int_eq(s, 1769817600);
	ck_assert_int_eq(date_parse("9999-12-31", 10, &s), 0);
	/* each day up to 2400 is the one behind the day before, and is written as it is read */
	for (int64_t day = 0; day < 157000; day += day < 12000 ? 1 : 7) {
		date_format(day * 86400 + 86399, text);
		if (date_parse(text, DATE_LEN, &s) < 0 || s != day * 86400)
			ck_abort_msg("%s", text);
	}
	date_format(253402300799, text);
	ck_assert_str_eq(text, "9999-12-31");
	for (size_t i = 0; i < N_ELEMS(bad); i++)
		ck_assert_msg(date_parse(bad[i], strlen(bad[i]), &s) == POP_E_SYNTAX, "%s", bad[i]);
}
END_TEST

/* Moments, as the C library writes them; before the epoch, too. */
START_TEST(moments)
{
	const int64_t first = -62167219200, last = 253402300799;
	char text[DATE_TIME_LEN + 1], wanted[64];
	struct tm tm;
	time_t t;

	for (int64_t s = first; s <= last; s += 100000000 - 12345) {
		t = (time_t)s;
		ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
		snprintf(wanted, sizeof(wanted), "%04d-%02d-%02dT%02d:%02d:%02dZ",
			 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			 tm.tm_sec);
		ck_assert_int_eq(date_time_format(s, text), 0);
		ck_assert_str_eq(text, wanted);
	}
	ck_assert_int_eq(date_time_format(-1, text), 0);
	ck_assert_str_eq(text, "1969-12-31T23:59:59Z");
	ck_assert_int_eq(date_time_format(first, text), 0);
	ck_assert_str_eq(text, "0000-01-01T00:00:00Z");
	ck_assert_int_eq(date_time_format(last, text), 0);
	ck_assert_str_eq(text, "9999-12-31T23:59:59Z");
	ck_assert_int_eq(date_time_format(first - 1, text), POP_E_RANGE);
	ck_assert_int_eq(date_time_format(last + 1, text), POP_E_RANGE);
	ck_assert_int_eq(date_time_format(INT64_MIN, text), POP_E_RANGE);
	ck_assert_int_eq(date_time_format(INT64_MAX, text), POP_E_RANGE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("user_options");
	TCase *tc = tcase_create("user_options");

	tcase_add_loop_test(tc, parse, 0, N_ELEMS(parse_rows));
	tcase_add_loop_test(tc, set, 0, N_ELEMS(set_rows));
	tcase_add_loop_test(tc, counts, 0, N_ELEMS(count_rows));
	tcase_add_loop_test(tc, from_date, 0, N_ELEMS(from_rows));
	tcase_add_test(tc, dates);
	tcase_add_test(tc, moments);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
