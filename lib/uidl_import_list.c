/*
 * uidl_import_list.c - listings: the transcript form, and what Cyrus' mbexamine
 * prints.
 *
 * transcript, as `pop3admin uidl export` writes it:
 *
 *   N ID OCTETS SHA256 [PLAIN]
 *
 * SHA256 is of the message as RETR sends it, dots undone, without the final one;
 * PLAIN of the same without volatile fields; both 64 hex digits.
 *
 * '#' comments; an answer of UIDL may stand there as it came (+OK, the dot, CRLF),
 * but a line without octets and digest tells of no message.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing it reads.
 */
#include <stdio.h>
#include <string.h>
#include "num.h"
#include "uidl_import.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_hex(const char *s, size_t len, uint8_t *out, size_t size)
{
	if (len != 2 * size)
		return POP_E_SYNTAX;
	for (size_t i = 0; i < size; i++) {
		int high = hex_digit(s[2 * i]), low = hex_digit(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return POP_E_SYNTAX;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int transcript_line(struct import_lines *l, struct import_entry *e,
			   char id[IMPORT_ID_MAX + 1], struct pop_why *why)
{
	const char *word, *what = NULL;
	size_t at = 0, n;
	uint64_t msgno;

	n = import_word(l, &at, &word);
	if (num_parse(word, n, UINT64_MAX, &msgno) < 0 || !msgno)
		what = "does not begin with the number of a message";
	n = import_word(l, &at, &word);
	if (!what && (!n || n > IMPORT_ID_MAX))
		what = "has no unique id";
	if (!what) {
		memcpy(id, word, n);
		id[n] = '\0';
	}
	n = import_word(l, &at, &word);
	if (!what && num_parse(word, n, UINT64_MAX - 1, &e->octets) < 0)
		what = "has no octets behind the id";
	n = import_word(l, &at, &word);
	if (!what && parse_hex(word, n, e->digest, 32) < 0)
		what = "has no SHA-256 of the message (64 hex digits) behind the octets";
	n = import_word(l, &at, &word);
	if (!what && n && parse_hex(word, n, e->plain, 32) < 0)
		what = "has no second SHA-256 (64 hex digits) in its last field";
	e->has_plain = n > 0;
	if (what)
		return pop_why(why, POP_E_SYNTAX,
			       "line %lu: %s; a line is: N ID OCTETS SHA256 [PLAIN]", l->number,
			       what);
	e->digest_len = 32;
	e->id = id;
	return 0;
}

int import_transcript(const char *text, size_t len, import_each *each, void *ctx,
		      struct pop_why *why)
{
	char id[IMPORT_ID_MAX + 1];
	struct import_lines l;
	int err = 0;

	import_lines_init(&l, text, len);
	while (!err && import_lines_next(&l)) {
		struct import_entry e = { .line = l.number };

		if (!l.len || l.line[0] == '#' || l.line[0] == '+' ||
		    (l.len == 1 && l.line[0] == '.'))
			continue;
		err = transcript_line(&l, &e, id, why);
		if (!err)
			err = each(ctx, &e);
	}
	return err;
}

/* The number behind a word such as "UID:" in the line.  0, or POP_E_MISSING. */
static int labelled(const struct import_lines *l, const char *label, uint64_t *out)
{
	size_t n = strlen(label), digits = 0;

	for (size_t i = 0; i + n <= l->len; i++) {
		if (memcmp(l->line + i, label, n) != 0 || (i && l->line[i - 1] != ' '))
			continue;
		i += n;
		while (i < l->len && l->line[i] == ' ')
			i++;
		while (i + digits < l->len && l->line[i + digits] >= '0' &&
		       l->line[i + digits] <= '9')
			digits++;
		return num_parse(l->line + i, digits, UINT64_MAX - 1, out) < 0 ? POP_E_MISSING : 0;
	}
	return POP_E_MISSING;
}

struct cyrus {
	struct import_lines l;
	uint64_t uidvalidity;
	bool new_form; /* the mailbox has POP3_NEW_UIDL: uidvalidity.uid, else the uid alone */
	bool open;     /* e is a message whose GUID has not been met yet */
	struct import_entry e;
	char id[IMPORT_ID_MAX + 1];
};

static bool has_word(const struct import_lines *l, const char *word)
{
	return l->len >= strlen(word) && memmem(l->line, l->len, word, strlen(word)) != NULL;
}

static int cyrus_begin(struct cyrus *c, uint64_t uid, struct pop_why *why)
{
	if (!c->uidvalidity)
		return pop_why(why, POP_E_SYNTAX,
			       "line %lu: a message before the UIDValidity of the mailbox; is this "
			       "the whole output of mbexamine?",
			       c->l.number);
	memset(&c->e, 0, sizeof(c->e));
	c->e.line = c->l.number;
	c->e.id = c->id;
	if (labelled(&c->l, "SIZE:", &c->e.octets) < 0)
		c->e.octets = UINT64_MAX;
	if (c->new_form)
		snprintf(c->id, sizeof(c->id), "%llu.%llu", (unsigned long long)c->uidvalidity,
			 (unsigned long long)uid);
	else
		snprintf(c->id, sizeof(c->id), "%llu", (unsigned long long)uid);
	c->open = true;
	return 0;
}

/* " GUID:" and 40 hex digits: SHA-1 of the message as sent. */
static int cyrus_guid(struct cyrus *c, import_each *each, void *ctx)
{
	const char *guid = memmem(c->l.line, c->l.len, "GUID:", 5);
	size_t left;

	if (!guid)
		return 0;
	guid += 5;
	left = (size_t)(c->l.line + c->l.len - guid);
	if (left < 40 || parse_hex(guid, 40, c->e.digest, 20) < 0)
		return 0;
	c->e.digest_len = 20;
	c->open = false;
	return each(ctx, &c->e);
}

int import_cyrus(const char *text, size_t len, import_each *each, void *ctx, struct pop_why *why)
{
	struct cyrus c = { 0 };
	uint64_t value;
	int err = 0;

	import_lines_init(&c.l, text, len);
	while (!err && import_lines_next(&c.l)) {
		if (!c.uidvalidity && labelled(&c.l, "UIDValidity:", &value) == 0)
			c.uidvalidity = value;
		if (has_word(&c.l, "POP3_NEW_UIDL"))
			c.new_form = true;
		if (c.l.len && has_word(&c.l, "> UID:") && labelled(&c.l, "UID:", &value) == 0)
			err = cyrus_begin(&c, value, why);
		else if (c.open)
			err = cyrus_guid(&c, each, ctx);
	}
	if (!err && !c.uidvalidity)
		return pop_why(why, POP_E_SYNTAX,
			       "there is no UIDValidity; is this the output of mbexamine?");
	return err;
}
