/*
 * err.c - error codes in words, and the sentence that goes with them.
 *
 * Runs in:  every program.  Trusts:  its callers.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

const char *pop_strerror(int err)
{
	static const char *const texts[] = {
		[-POP_OK] = "success",
		[-POP_E_SYS] = "system error",
		[-POP_E_MEMORY] = "out of memory",
		[-POP_E_LONG] = "too long",
		[-POP_E_SYNTAX] = "malformed",
		[-POP_E_RANGE] = "out of range",
		[-POP_E_MISSING] = "not found",
		[-POP_E_EXISTS] = "exists already",
		[-POP_E_BUSY] = "in use",
		[-POP_E_UNSAFE] = "unsafe owner, mode or type",
		[-POP_E_CHANGED] = "changed by another program",
		[-POP_E_CORRUPT] = "damaged",
		[-POP_E_DENIED] = "denied",
		[-POP_E_TIME] = "timed out",
		[-POP_E_EOF] = "unexpected end",
		[-POP_E_VERSION] = "made by another version",
	};
	const int n = sizeof(texts) / sizeof(texts[0]);

	if (err > 0 || err <= -n)
		return "unknown error";
	return texts[-err];
}

int pop_why(struct pop_why *why, int err, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (why) {
		va_start(ap, fmt);
		if (vsnprintf(why->text, sizeof(why->text), fmt, ap) < 0)
			why->text[0] = '\0';
		va_end(ap);
	}
	errno = saved;
	return err;
}

int pop_why_errno(struct pop_why *why, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	size_t used;

	if (why) {
		va_start(ap, fmt);
		if (vsnprintf(why->text, sizeof(why->text), fmt, ap) < 0)
			why->text[0] = '\0';
		va_end(ap);
		used = strlen(why->text);
		errno = saved;
		snprintf(why->text + used, sizeof(why->text) - used, ": %m");
	}
	errno = saved;
	return POP_E_SYS;
}
