/*
 * downgrade.c - header sections in ASCII: the fields, and what each kind becomes.
 *
 * Runs in:  maildrop.
 * Trusts:   nothing; a header section may be of any form.
 */
#include <string.h>
#include <strings.h>

#include "downgrade_impl.h"

/* Fields by what may stand in them; all others are text. */
static const char *const address_fields[] = {
	"From",
	"Sender",
	"To",
	"Cc",
	"Bcc",
	"Reply-To",
	"Resent-From",
	"Resent-Sender",
	"Resent-To",
	"Resent-Cc",
	"Resent-Bcc",
	"Resent-Reply-To",
	"Disposition-Notification-To",
};
static const char *const parameter_fields[] = { "Content-Type", "Content-Disposition" };
static const char *const token_fields[] = {
	"Message-ID",
	"In-Reply-To",
	"References",
	"Resent-Message-ID",
	"Content-ID",
	"Return-Path",
	"Received",
	"Date",
	"Resent-Date",
	"Delivered-To",
	"MIME-Version",
	"Content-Transfer-Encoding",
	"Original-Recipient",
	"Final-Recipient",
	"Disposition-Notification-Options",
};

static bool is_among(const char *const *names, size_t n, struct piece name)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == name.n &&
		    strncasecmp(names[i], (const char *)name.s, name.n) == 0)
			return true;
	return false;
}
#define IS_AMONG(names, name) is_among(names, sizeof(names) / sizeof((names)[0]), name)

size_t downgrade_head_length(const uint8_t *data, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const uint8_t *lf = memchr(data + at, '\n', n - at);
		size_t len = lf ? (size_t)(lf - data) - at : 0;

		if (!lf)
			return 0;
		if (len == 0 || (len == 1 && data[at] == '\r'))
			return at + len + 1;
		at += len + 1;
	}
	return 0;
}

/* Bytes of the field at p with its continuation lines and line end. */
static size_t field_length(struct piece p)
{
	size_t at = 0;

	do {
		const uint8_t *lf = memchr(p.s + at, '\n', p.n - at);

		at = lf ? (size_t)(lf - p.s) + 1 : p.n;
	} while (at < p.n && (p.s[at] == ' ' || p.s[at] == '\t'));
	return at;
}

/* "Downgraded-NAME: text" (RFC 6857 section 3.1.10); nothing is left that means anything. */
static int put_downgraded(struct buf *out, struct piece name, struct piece value)
{
	int err = buf_printf(out, "Downgraded-%.*s: ", (int)name.n, (const char *)name.s);

	return err < 0 ? err : encode_words(out, piece_trim(value));
}

/* A value with parameters behind it. */
static int put_parameters(struct buf *out, struct piece v)
{
	size_t from = 0;
	bool first = true;
	int err = 0;

	for (size_t i = 0; i <= v.n && err == 0; i++) {
		struct piece part;

		if (i < v.n && (v.s[i] == '"' || v.s[i] == '(')) {
			i += quoted_length((struct piece){ v.s + i, v.n - i }) - 1;
			continue;
		}
		if (i < v.n && v.s[i] != ';')
			continue;
		part = (struct piece){ v.s + from, i - from };
		if (!piece_8bit(part))
			err = buf_put(out, part.s, part.n);
		else if (first)
			err = POP_E_SYNTAX;
		else if ((err = buf_puts(out, "\n ")) == 0)
			err = encode_parameter(out, part);
		if (err == 0 && i < v.n)
			err = buf_puts(out, ";");
		first = false;
		from = i + 1;
	}
	return err;
}

static int put_field(struct buf *out, struct piece name, struct piece value)
{
	size_t before = buf_len(out);
	int err;

	if (name.n == 0 || name.n > 200 || piece_8bit(name) || IS_AMONG(token_fields, name)) {
		bool bad = name.n == 0 || name.n > 200 || piece_8bit(name);

		return put_downgraded(out,
				      bad ? (struct piece){ (const uint8_t *)"Line", 4 } : name,
				      bad ? (struct piece){ name.s,
							    (size_t)(value.s - name.s) + value.n }
					  : value);
	}
	err = buf_printf(out, "%.*s:", (int)name.n, (const char *)name.s);
	if (err < 0)
		return err;
	if (IS_AMONG(address_fields, name))
		return encode_addresses(out, value);
	if (!IS_AMONG(parameter_fields, name))
		return encode_text(out, value);
	err = put_parameters(out, value);
	if (err != POP_E_SYNTAX)
		return err;
	out->end = out->start + before; /* not of that form after all */
	return put_downgraded(out, name, value);
}

int downgrade_head(const uint8_t *head, size_t n, struct buf *out)
{
	struct piece left = { head, n };
	int err = 0;

	while (left.n > 0 && err == 0) {
		struct piece field = { left.s, field_length(left) }, body, name = { left.s, 0 };
		const uint8_t *colon;
		size_t text = field.n;

		left.s += field.n;
		left.n -= field.n;
		if (!piece_8bit(field)) {
			err = buf_put(out, field.s, field.n);
			continue;
		}
		if (field.s[text - 1] == '\n')
			text--;
		if (text > 0 && field.s[text - 1] == '\r')
			text--;
		colon = memchr(field.s, ':', text);
		body = (struct piece){ field.s, text };
		if (colon) {
			name.n = (size_t)(colon - field.s);
			body = (struct piece){ colon + 1, text - name.n - 1 };
			/* blanks before the colon are an old form */
			while (name.n > 0 && is_blank(name.s[name.n - 1]))
				name.n--;
		}
		err = put_field(out, name, body);
		if (err == 0) /* its own line end, or that there is none */
			err = buf_put(out, field.s + text, field.n - text);
	}
	return err;
}
