/*
 * log.c - one event, one line, to syslog or descriptor 2.
 *
 * Runs in:  every program.
 * Trusts:   keys and event words (literals of the caller), never a value: values
 *           are what clients sent and what files held.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fsutil.h"
#include "log.h"

#define MARK_LEN 4 /* ..." : what a cut value ends with */

static enum log_sink log_sink = LOG_TO_NOWHERE;
static char session_id[LOG_ID_MAX];

void log_session(void)
{
	snprintf(session_id, sizeof(session_id), "%ld.%jx", (long)getpid(), (uintmax_t)time(NULL));
}

void log_open(enum log_sink sink, int facility)
{
	log_sink = sink;
	/* Without LOG_NDELAY libc connects at the first line. */
	if (sink == LOG_TO_SYSLOG)
		openlog("pop3d", LOG_PID, facility);
}

enum log_sink log_stderr_sink(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char mine[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return LOG_TO_STDERR;
	snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(mine, stream) == 0 ? LOG_TO_JOURNAL : LOG_TO_STDERR;
}

int log_facility(const char *name)
{
	static const struct {
		const char *name;
		int facility;
	} facilities[] = {
		{ "mail", LOG_MAIL },	      { "daemon", LOG_DAEMON }, { "auth", LOG_AUTH },
		{ "authpriv", LOG_AUTHPRIV }, { "user", LOG_USER },	{ "local0", LOG_LOCAL0 },
		{ "local1", LOG_LOCAL1 },     { "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },
		{ "local4", LOG_LOCAL4 },     { "local5", LOG_LOCAL5 }, { "local6", LOG_LOCAL6 },
		{ "local7", LOG_LOCAL7 },
	};

	for (size_t i = 0; i < sizeof(facilities) / sizeof(facilities[0]); i++) {
		if (strcasecmp(facilities[i].name, name) == 0)
			return facilities[i].facility;
	}
	return -1;
}

static void put(struct log_line *l, const char *s, size_t n)
{
	size_t room = sizeof(l->text) - 1 - l->len;

	if (n > room)
		n = room;
	memcpy(l->text + l->len, s, n);
	l->len += (unsigned)n;
	l->text[l->len] = '\0';
}

void log_begin(struct log_line *l, const char *event)
{
	l->len = 0;
	l->text[0] = '\0';
	put(l, event, strlen(event));
	if (session_id[0])
		log_str(l, "session", session_id);
}

/*
 * Octets of the well-formed UTF-8 character at s (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF, no C1 control); 0 where there is none.
 */
static unsigned utf8_length(const unsigned char *s, unsigned n)
{
	uint32_t c;
	unsigned len, i;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2, c = s[0] & 0x1fU;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3, c = s[0] & 0x0fU;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4, c = s[0] & 0x07U;
	else
		return 0;
	if (len > n)
		return 0;
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fU);
	}
	if (c < 0xa0 || (len == 3 && c < 0x800) || (len == 4 && c < 0x10000) || c > 0x10ffff)
		return 0;
	/* Surrogates, line and paragraph separator, and what turns the direction of text. */
	if ((c >= 0xd800 && c <= 0xdfff) || (c >= 0x2028 && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0xfeff)
		return 0;
	return len;
}

/* One character of a value in its escaped form; the octets of the value it took. */
static unsigned escape(const unsigned char *s, unsigned n, char out[8], unsigned *out_len)
{
	static const char hex[] = "0123456789abcdef";
	unsigned len;

	if (s[0] == '"' || s[0] == '\\') {
		out[0] = '\\';
		out[1] = (char)s[0];
		*out_len = 2;
		return 1;
	}
	len = s[0] >= 0x20 && s[0] < 0x7f ? 1 : utf8_length(s, n);
	if (len) {
		memcpy(out, s, len);
		*out_len = len;
		return len;
	}
	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[s[0] >> 4];
	out[3] = hex[s[0] & 15];
	*out_len = 4;
	return 1;
}

static bool is_bare(const unsigned char *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (s[i] <= 0x20 || s[i] >= 0x7f || s[i] == '"' || s[i] == '\\' || s[i] == '=')
			return false;
	}
	return n > 0;
}

void log_bytes(struct log_line *l, const char *key, const void *value, unsigned len)
{
	const unsigned char *s = value;
	size_t key_len = strlen(key), end;
	bool quoted = !is_bare(s, len);
	unsigned i, cut, n = 0;
	char esc[8];

	/* A pair that could not even hold its cut mark is left out whole. */
	if (l->len + key_len + 3 + MARK_LEN >= sizeof(l->text))
		return;
	put(l, " ", 1);
	put(l, key, key_len);
	put(l, quoted ? "=\"" : "=", quoted ? 2 : 1);
	cut = l->len;
	end = l->len + LOG_VALUE_MAX < sizeof(l->text) ? l->len + LOG_VALUE_MAX : sizeof(l->text);
	for (i = 0; i < len;) {
		i += escape(s + i, len - i, esc, &n);
		if (l->len + n + 1 >= end) {
			l->len = cut;
			put(l, "...", 3);
			break;
		}
		put(l, esc, n);
		if (l->len + MARK_LEN < end)
			cut = l->len;
	}
	if (quoted)
		put(l, "\"", 1);
}

void log_str(struct log_line *l, const char *key, const char *value)
{
	size_t len = strlen(value);

	log_bytes(l, key, value, len > LOG_LINE_MAX ? LOG_LINE_MAX : (unsigned)len);
}

void log_u64(struct log_line *l, const char *key, uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%ju", (uintmax_t)value);

	log_bytes(l, key, digits, (unsigned)n);
}

/* One write: lines of the roles that share descriptor 2 must not mix. */
static void write_line(const struct log_line *l, int level, bool prefix)
{
	char out[LOG_LINE_MAX + 8];
	int n = 0;

	if (prefix)
		n = snprintf(out, sizeof(out), "<%d>", level);
	memcpy(out + n, l->text, l->len);
	out[(size_t)n + l->len] = '\n';
	/*
	 * A socket whose reader went away must not cost the session a SIGPIPE; and where the
	 * log cannot be written there is nobody left to tell.
	 */
	if (send(STDERR_FILENO, out, (size_t)n + l->len + 1, MSG_NOSIGNAL) < 0 && errno == ENOTSOCK)
		(void)fs_write_all(STDERR_FILENO, out, (size_t)n + l->len + 1);
}

void log_end(struct log_line *l, int level)
{
	int saved = errno;

	level = LOG_PRI(level);
	switch (log_sink) {
	case LOG_TO_NOWHERE:
		break;
	case LOG_TO_SYSLOG:
		syslog(level, "%s", l->text);
		break;
	case LOG_TO_STDERR:
	case LOG_TO_JOURNAL:
		write_line(l, level, log_sink == LOG_TO_JOURNAL);
		break;
	}
	errno = saved;
}

void log_error(const char *fmt, ...)
{
	int saved = errno;
	char text[LOG_LINE_MAX];
	struct log_line l;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	log_begin(&l, "error");
	log_str(&l, "text", text);
	log_end(&l, LOG_ERR);
	errno = saved;
}
