/*
 * check_log.c - log lines: whatever a value holds, a line stays one line.
 */
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "scratch.h"

static const struct row {
	const char *name;
	const char *value;
	unsigned len;
	const char *want;
} rows[] = {
#define V(v) v, sizeof(v) - 1
	{ "word", V("alice"), "k=alice" },
	{ "address", V("2001:db8::1"), "k=2001:db8::1" },
	{ "mail address", V("a.b-c_d+e@example.org"), "k=a.b-c_d+e@example.org" },
	{ "empty", V(""), "k=\"\"" },
	{ "blank", V("a b"), "k=\"a b\"" },
	{ "equals sign", V("a=b"), "k=\"a=b\"" },
	{ "quote", V("a\"b"), "k=\"a\\\"b\"" },
	{ "backslash", V("a\\b"), "k=\"a\\\\b\"" },
	{ "forged pair", V("x\" user=\"root"), "k=\"x\\\" user=\\\"root\"" },
	{ "line end", V("a\r\nlogin user=x"), "k=\"a\\x0d\\x0alogin user=x\"" },
	{ "nul", V("a\0b"), "k=\"a\\x00b\"" },
	{ "tab", V("\t"), "k=\"\\x09\"" },
	{ "escape", V("\033[31m"), "k=\"\\x1b[31m\"" },
	{ "delete", V("\177"), "k=\"\\x7f\"" },
	{ "percent", V("%s%n"), "k=%s%n" },
	{ "UTF-8", V("Zo\303\253"), "k=\"Zo\303\253\"" },
	{ "UTF-8, three and four", V("\342\202\254\360\237\230\200"),
	  "k=\"\342\202\254\360\237\230\200\"" },
	{ "Latin-1", V("Zo\353"), "k=\"Zo\\xeb\"" },
	{ "cut UTF-8", V("\342\202"), "k=\"\\xe2\\x82\"" },
	{ "overlong slash", V("\300\257"), "k=\"\\xc0\\xaf\"" },
	{ "overlong in three", V("\340\200\257"), "k=\"\\xe0\\x80\\xaf\"" },
	{ "overlong in four", V("\360\200\200\257"), "k=\"\\xf0\\x80\\x80\\xaf\"" },
	{ "C1 control", V("\302\233"), "k=\"\\xc2\\x9b\"" },
	{ "surrogate", V("\355\240\200"), "k=\"\\xed\\xa0\\x80\"" },
	{ "above U+10FFFF", V("\364\220\200\200"), "k=\"\\xf4\\x90\\x80\\x80\"" },
	{ "direction override", V("\342\200\256"), "k=\"\\xe2\\x80\\xae\"" },
	{ "line separator", V("\342\200\250"), "k=\"\\xe2\\x80\\xa8\"" },
	{ "ff fe", V("\377\376"), "k=\"\\xff\\xfe\"" },
#undef V
};

START_TEST(escaping)
{
	const struct row *r = &rows[_i];
	struct log_line l;
	char want[256];

	log_begin(&l, "event");
	log_bytes(&l, "k", r->value, r->len);
	snprintf(want, sizeof(want), "event %s", r->want);
	ck_assert_msg(strcmp(l.text, want) == 0, "%s: %s", r->name, l.text);
	ck_assert_uint_eq(l.len, strlen(l.text));
}
END_TEST

/* Values of every length around the bound: terminated, quotes closed, marked where cut. */
START_TEST(long_values)
{
	static const char fill[] = { 'a', ' ', '\001', '"' };
	char value[LOG_LINE_MAX + 100];
	struct log_line l;

	memset(value, fill[_i], sizeof(value));
	for (unsigned n = 200; n < sizeof(value); n++) {
		log_begin(&l, "event");
		log_bytes(&l, "key", value, n);
		ck_assert_uint_lt(l.len, LOG_LINE_MAX);
		ck_assert_uint_eq(l.len, strlen(l.text));
		if (_i > 0)
			ck_assert_int_eq(l.text[l.len - 1], '"');
		if (n >= LOG_LINE_MAX)
			ck_assert_ptr_nonnull(strstr(l.text, "..."));
		log_u64(&l, "n", UINT64_MAX);
		log_bytes(&l, "more", value, n);
		log_str(&l, "reason", "what follows long values");
		ck_assert_ptr_nonnull(strstr(l.text, " reason=\"what follows long values\""));
		ck_assert_uint_eq(l.len, strlen(l.text));
		ck_assert_uint_lt(l.len, LOG_LINE_MAX);
	}
}
END_TEST

/* A session's lines have its id, and another's another. */
START_TEST(session)
{
	char wanted[64];
	struct log_line l;

	log_session();
	log_begin(&l, "login");
	log_str(&l, "user", "alice");
	snprintf(wanted, sizeof(wanted), "login session=%ld.", (long)getpid());
	ck_assert_msg(strncmp(l.text, wanted, strlen(wanted)) == 0, "%s", l.text);
	ck_assert_msg(strstr(l.text, " user=alice"), "%s", l.text);
}
END_TEST

START_TEST(pairs)
{
	struct log_line l;

	log_begin(&l, "login");
	log_str(&l, "user", "alice");
	log_str(&l, "addr", "192.0.2.1");
	log_u64(&l, "messages", 0);
	log_u64(&l, "octets", UINT64_MAX);
	ck_assert_str_eq(l.text, "login user=alice addr=192.0.2.1 messages=0 "
				 "octets=18446744073709551615");
}
END_TEST

/* What log_end() writes to descriptor 2, which is a file meanwhile. */
static const char *logged(enum log_sink sink, int level)
{
	int back = fcntl(2, F_DUPFD_CLOEXEC, 10);
	int fd = open("log", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct log_line l;

	ck_assert_int_eq(dup2(fd, 2), 2);
	log_open(sink, LOG_MAIL);
	log_begin(&l, "connect");
	log_str(&l, "addr", "::1");
	log_end(&l, level);
	dup2(back, 2);
	close(back);
	close(fd);
	return scratch_read("log");
}

START_TEST(sinks)
{
	ck_assert_str_eq(logged(LOG_TO_STDERR, LOG_INFO), "connect addr=::1\n");
	ck_assert_str_eq(logged(LOG_TO_JOURNAL, LOG_INFO), "<6>connect addr=::1\n");
	ck_assert_str_eq(logged(LOG_TO_JOURNAL, LOG_MAIL | LOG_ERR), "<3>connect addr=::1\n");
	ck_assert_str_eq(logged(LOG_TO_NOWHERE, LOG_INFO), "");
}
END_TEST

/* A log whose reader is gone must not kill the process. */
START_TEST(closed_socket)
{
	int back = fcntl(2, F_DUPFD_CLOEXEC, 10), pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	dup2(pair[0], 2);
	log_open(LOG_TO_STDERR, LOG_MAIL);
	log_error("%s", "nobody reads this");
	log_error("%s", "nor this");
	dup2(back, 2);
	close(back);
	close(pair[0]);
}
END_TEST

START_TEST(journal_stream)
{
	char name[64];
	struct stat st;

	ck_assert_int_eq(fstat(2, &st), 0);
	unsetenv("JOURNAL_STREAM");
	ck_assert_int_eq(log_stderr_sink(), LOG_TO_STDERR);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", name, 1);
	ck_assert_int_eq(log_stderr_sink(), LOG_TO_JOURNAL);
	snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
	setenv("JOURNAL_STREAM", name, 1);
	ck_assert_int_eq(log_stderr_sink(), LOG_TO_STDERR);
}
END_TEST

START_TEST(facilities)
{
	ck_assert_int_eq(log_facility("mail"), LOG_MAIL);
	ck_assert_int_eq(log_facility("Daemon"), LOG_DAEMON);
	ck_assert_int_eq(log_facility("local7"), LOG_LOCAL7);
	ck_assert_int_eq(log_facility("local8"), -1);
	ck_assert_int_eq(log_facility(""), -1);
	ck_assert_int_eq(log_facility("MAIL "), -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_loop_test(tc, escaping, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, long_values, 0, 4);
	tcase_add_test(tc, session);
	tcase_add_test(tc, pairs);
	tcase_add_test(tc, sinks);
	tcase_add_test(tc, closed_socket);
	tcase_add_test(tc, journal_stream);
	tcase_add_test(tc, facilities);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
