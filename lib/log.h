/*
 * log.h - one event, one line: a fixed word and key=value pairs (design
 * section 9).  Values are escaped here and nowhere else: control characters,
 * blanks, quotes and octets that are no UTF-8 never reach the log raw.
 */
#ifndef POP_LOG_H
#define POP_LOG_H

#include <stdint.h>
#include <stdbool.h>
#include <syslog.h>

enum log_sink {
	LOG_TO_NOWHERE,
	LOG_TO_SYSLOG,	/* connects at the first line, not before */
	LOG_TO_STDERR,	/* plain lines on descriptor 2 */
	LOG_TO_JOURNAL, /* descriptor 2 with a <N> level prefix */
};

/* Choose where lines go.  facility is a syslog(3) facility such as LOG_MAIL. */
void log_open(enum log_sink sink, int facility);
/* LOG_TO_JOURNAL where $JOURNAL_STREAM names descriptor 2, else LOG_TO_STDERR. */
enum log_sink log_stderr_sink(void);
/* The syslog facility of that name ("mail", "local0" ...; no regard to case), or -1. */
int log_facility(const char *name);

#define LOG_LINE_MAX  1024
#define LOG_VALUE_MAX 430 /* as logged: two such values leave room for what else there is */
#define LOG_ID_MAX    40
struct log_line {
	char text[LOG_LINE_MAX];
	unsigned len;
};
/*
 * Begin a session's lines: from now on each has session=ID, made of this process
 * and the time, so that no two of one host are the same.
 */
void log_session(void);
/* Build a line: the event word first, then the session, then pairs; too long values are cut with
 * "...". */
void log_begin(struct log_line *l, const char *event);
void log_str(struct log_line *l, const char *key, const char *value);
void log_bytes(struct log_line *l, const char *key, const void *value, unsigned len);
void log_u64(struct log_line *l, const char *key, uint64_t value);
/* Send it with a syslog level (LOG_INFO ...). */
void log_end(struct log_line *l, int level);

/* An `error` line whose only pair is text="...". */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
