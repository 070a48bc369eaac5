/*
 * uidl_import_header.c - unique ids that other servers keep in, or make from,
 * the header sections of an mbox.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing it reads.
 */
#include <string.h>
#include <strings.h>
#include "uidl_import.h"

/* A field: its name, and its value up to the last line end, folds included. */
struct field {
	const char *name, *value;
	size_t name_len, value_len;
};

static size_t line_length(const char *s, size_t len)
{
	const char *nl = memchr(s, '\n', len);

	return nl ? (size_t)(nl - s) + 1 : len;
}

/* The field at *at, which is moved behind it.  False at the end of the header section. */
static bool next_field(const char *header, size_t len, size_t *at, struct field *f)
{
	while (*at < len && header[*at] != '\n' && header[*at] != '\r') {
		const char *line = header + *at, *colon;
		size_t n = line_length(line, len - *at);

		while (*at + n < len && (line[n] == ' ' || line[n] == '\t'))
			n += line_length(line + n, len - *at - n);
		*at += n;
		colon = memchr(line, ':', n);
		if (!colon)
			continue; /* no field: such lines are met in old mail */
		f->name = line;
		f->name_len = (size_t)(colon - line);
		while (f->name_len &&
		       (line[f->name_len - 1] == ' ' || line[f->name_len - 1] == '\t'))
			f->name_len--;
		f->value = colon + 1;
		f->value_len = n - (size_t)(f->value - line);
		return true;
	}
	return false;
}

static bool is_named(const struct field *f, const char *name)
{
	return f->name_len == strlen(name) && strncasecmp(f->name, name, f->name_len) == 0;
}

int import_header_value(const char *header, size_t len, const char *name, char *out, size_t size)
{
	size_t at = 0, n = 0;
	struct field f;

	while (next_field(header, len, &at, &f)) {
		if (!is_named(&f, name))
			continue;
		for (size_t i = 0; i < f.value_len; i++) {
			char c = f.value[i];

			if (c == '\r' || c == '\n')
				continue;
			if (n == 0 && (c == ' ' || c == '\t'))
				continue;
			if (c == '\0' || n + 1 >= size)
				return POP_E_LONG;
			out[n++] = c;
		}
		while (n && (out[n - 1] == ' ' || out[n - 1] == '\t'))
			n--;
		out[n] = '\0';
		return (int)n;
	}
	return POP_E_MISSING;
}

/* A field whose name is followed by its colon at once, as popa3d wants it. */
static bool is_exactly(const struct field *f, const char *name)
{
	return is_named(f, name) && f->value == f->name + f->name_len + 1;
}

/*
 * Received counts once, and after it Date and Message-ID count no more: it holds
 * both, and is more to be trusted.
 */
static bool counts(const struct field *f, bool exactly, bool *received)
{
	bool (*is)(const struct field *, const char *) = exactly ? is_exactly : is_named;

	if (is(f, "Delivered-To") || is(f, "X-Delivery-ID"))
		return true;
	if (is(f, "Received")) {
		bool first = !*received;

		*received = true;
		return first;
	}
	return !*received && (is(f, "Date") || is(f, "Message-ID"));
}

void import_popa3d(const char *header, size_t len, import_piece *out, void *ctx)
{
	bool received = false;
	struct field f;
	size_t at = 0;

	while (next_field(header, len, &at, &f))
		if (counts(&f, true, &received))
			out(ctx, f.name, (size_t)(f.value - f.name) + f.value_len);
}

void import_dovecot_md5(const char *header, size_t len, import_piece *out, void *ctx)
{
	bool received = false;
	struct field f;
	size_t at = 0;

	while (next_field(header, len, &at, &f)) {
		const char *line = f.value, *end = f.value + f.value_len;

		if (!counts(&f, false, &received))
			continue;
		if (line < end && (*line == ' ' || *line == '\t'))
			line++;
		while (line < end) {
			size_t n = line_length(line, (size_t)(end - line)), text = n;

			if (text && line[text - 1] == '\n')
				text--;
			if (text && text < n && line[text - 1] == '\r')
				text--;
			out(ctx, line, text);
			line += n;
		}
	}
}
