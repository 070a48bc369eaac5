/*
 * header.c - header sections without their volatile fields.
 *
 * Runs in:  the digest helper, the maildrop role, pop3admin.
 * Trusts:   nothing: a header section is whatever somebody mailed.
 */
#include <string.h>
#include <strings.h>
#include "header.h"

/* Fields that mail readers and servers add and change (design section 7). */
static const char *const volatile_fields[] = {
	"Status",  "X-Status",	       "X-Keywords",	    "X-UID",	      "X-UIDL",
	"X-IMAP",  "X-IMAPbase",       "Content-Length",    "Lines",	      "X-Expire-Timestamp",
	"X-Label", "X-Mozilla-Status", "X-Mozilla-Status2", "X-Mozilla-Keys", "X-Evolution",
};

int header_is_volatile(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(volatile_fields) / sizeof(volatile_fields[0]); i++)
		if (strlen(volatile_fields[i]) == len &&
		    strncasecmp(volatile_fields[i], name, len) == 0)
			return 1;
	return 0;
}

enum {
	LINE_START,
	LINE_NAME, /* in front of the colon, held back */
	LINE_REST, /* known to be kept or dropped */
};

void header_filter_init(struct header_filter *f, void (*out)(void *ctx, const void *data, size_t n),
			void *ctx)
{
	*f = (struct header_filter){ .out = out, .ctx = ctx, .state = LINE_START };
}

static void emit(struct header_filter *f, const void *data, size_t n)
{
	if (n == 0)
		return;
	if (f->drop)
		f->dropped += n;
	else
		f->out(f->ctx, data, n);
}

/* The field of this line is known: what was held goes its way. */
static void decide(struct header_filter *f, bool drop)
{
	f->drop = drop;
	f->state = LINE_REST;
	emit(f, f->held, f->n_held);
	f->n_held = 0;
}

static void line_end(struct header_filter *f)
{
	if (f->state == LINE_START) {
		f->ended = true;
		return;
	}
	if (f->state == LINE_NAME)
		decide(f, false);
	emit(f, "\r\n", 2);
	f->state = LINE_START;
}

/* One octet that is part of no line end, where the field is not known yet. */
static void begin_of_line(struct header_filter *f, uint8_t c)
{
	if (f->state == LINE_START) {
		if (c == ' ' || c == '\t') { /* goes on with the field of the line before */
			f->state = LINE_REST;
			emit(f, &c, 1);
			return;
		}
		f->state = LINE_NAME;
	}
	f->held[f->n_held++] = c;
	if (c == ':')
		decide(f, header_is_volatile((const char *)f->held, f->n_held - 1));
	else if (f->n_held == sizeof(f->held))
		decide(f, false);
}

static void take(struct header_filter *f, uint8_t c)
{
	if (f->state == LINE_REST)
		emit(f, &c, 1);
	else
		begin_of_line(f, c);
}

void header_filter_add(struct header_filter *f, const void *data, size_t n)
{
	const uint8_t *p = data, *end = p + n, *stop;

	while (p < end && !f->ended) {
		if (f->last_cr) {
			f->last_cr = false;
			if (*p != '\n')
				take(f, '\r');
		}
		if (f->state == LINE_REST) { /* the common case in large steps */
			for (stop = p; stop < end && *stop != '\n' && *stop != '\r'; stop++)
				;
			emit(f, p, (size_t)(stop - p));
			p = stop;
			if (p == end)
				break;
		}
		if (*p == '\n')
			line_end(f);
		else if (*p == '\r')
			f->last_cr = true;
		else
			take(f, *p);
		p++;
	}
}

void header_filter_end(struct header_filter *f)
{
	if (f->ended)
		return;
	if (f->last_cr)
		take(f, '\r');
	f->last_cr = false;
	if (f->state != LINE_START)
		line_end(f);
}
