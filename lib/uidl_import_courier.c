/*
 * uidl_import_courier.c - courierpop3dsizelist, Courier's list of a Maildir.
 *
 *   /3 NEXT UIDV   then:  FILENAME SIZE UID:UIDV:UTF8   id UID<uid>-<uidv>
 *   /2 NEXT UIDV   then:  FILENAME SIZE UID:UIDV        the same
 *   /1 NEXT        then:  FILENAME SIZE UID             id UID<uid>
 *   no such line:  FILENAME SIZE                        id the base, odd octets +XX
 *
 * A uidv of 0 is left out of the id, and uid 0 means the id of the last form.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing it reads.
 */
#include <stdio.h>
#include <string.h>
#include "num.h"
#include "uidl_import.h"

struct sizelist {
	struct import_lines l;
	unsigned version; /* 0: none is written */
	import_each *each;
	void *ctx;
	struct pop_why *why;
};

static int bad(struct sizelist *s, const char *what)
{
	return pop_why(s->why, POP_E_SYNTAX, "line %lu: %s; is this a courierpop3dsizelist?",
		       s->l.number, what);
}

static int parse_head(struct sizelist *s)
{
	const char *word;
	size_t at = 0, n;
	uint64_t version;

	if (s->l.line[0] != '/')
		return 0;
	n = import_word(&s->l, &at, &word);
	if (n < 2 || num_parse(word + 1, n - 1, UINT32_MAX, &version) < 0)
		return bad(s, "has no version");
	if (version < 1 || version > 3)
		return pop_why(
			s->why, POP_E_VERSION,
			"line 1: version %lu of courierpop3dsizelist is not known; 1 to 3 are",
			(unsigned long)version);
	s->version = (unsigned)version;
	return 0;
}

static int id_of_name(const struct import_entry *e, char id[IMPORT_ID_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < e->base_len; i++) {
		unsigned char c = (unsigned char)e->base[i];

		if (n + 3 > IMPORT_ID_MAX)
			return POP_E_LONG;
		if (c < 0x21 || c > 0x7E || c == '\'' || c == '"' || c == '+')
			n += (size_t)snprintf(id + n, 4, "+%02X", c);
		else
			id[n++] = (char)c;
	}
	id[n] = '\0';
	return 0;
}

/* UID, UID:UIDV or UID:UIDV:UTF8. */
static int parse_uid(struct sizelist *s, const char *word, size_t len, uint64_t *uid,
		     uint64_t *uidv)
{
	const char *colon = memchr(word, ':', len), *second;
	size_t n = colon ? (size_t)(colon - word) : len;

	*uidv = 0;
	if (num_parse(word, n, UINT64_MAX, uid) < 0 || (!colon && s->version > 1))
		return bad(s, "has no id of a message");
	if (!colon)
		return 0;
	word = colon + 1;
	len -= n + 1;
	second = memchr(word, ':', len);
	if (num_parse(word, second ? (size_t)(second - word) : len, UINT64_MAX, uidv) < 0)
		return bad(s, "has no id of a message");
	return 0;
}

/* The last words of the line are numbers; all before them is the file name, blanks and all. */
static int parse_line(struct sizelist *s)
{
	struct import_entry e = { .line = s->l.number };
	char id[IMPORT_ID_MAX + 1];
	const char *line = s->l.line, *uid_word = NULL, *size_word;
	size_t end = s->l.len, at, uid_len = 0;
	uint64_t uid = 0, uidv = 0;
	int err = 0;

	if (s->version) {
		for (at = end; at && line[at - 1] != ' '; at--)
			;
		uid_word = line + at;
		uid_len = end - at;
		end = at ? at - 1 : 0;
	}
	for (at = end; at && line[at - 1] != ' '; at--)
		;
	size_word = line + at;
	if (at < 2 || num_parse(size_word, end - at, INT64_MAX, &e.octets) < 0)
		return bad(s, "has no file name and size");
	e.octets = UINT64_MAX; /* Courier counts some messages otherwise: not to be compared */
	e.base = line;
	e.base_len = at - 1;
	if (memchr(e.base, ':', e.base_len))
		e.base_len = (size_t)((const char *)memchr(e.base, ':', e.base_len) - e.base);
	if (!e.base_len)
		return bad(s, "has no file name");
	if (uid_word)
		err = parse_uid(s, uid_word, uid_len, &uid, &uidv);
	if (!err && uid && uidv)
		snprintf(id, sizeof(id), "UID%llu-%llu", (unsigned long long)uid,
			 (unsigned long long)uidv);
	else if (!err && uid)
		snprintf(id, sizeof(id), "UID%llu", (unsigned long long)uid);
	else if (!err)
		err = id_of_name(&e, id);
	e.id = id;
	if (err == POP_E_LONG)
		return bad(s, "has a file name that is too long");
	return err ? err : s->each(s->ctx, &e);
}

int import_courier(const char *text, size_t len, import_each *each, void *ctx, struct pop_why *why)
{
	struct sizelist s = { .each = each, .ctx = ctx, .why = why };
	int err = 0;

	import_lines_init(&s.l, text, len);
	while (!err && import_lines_next(&s.l)) {
		if (!s.l.len)
			continue;
		if (s.l.number == 1 && s.l.line[0] == '/')
			err = parse_head(&s);
		else
			err = parse_line(&s);
	}
	return err;
}
