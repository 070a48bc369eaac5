/*
 * uidl_import_dovecot.c - dovecot-uidlist, the list of a Maildir's messages.
 *
 *   1 UIDVALIDITY NEXTUID         version 1; then:  UID FILENAME
 *   3 V<UIDVALIDITY> N<NEXTUID> G<GUID>
 *                                 version 3; then:  UID [X<value>]... :FILENAME
 *
 * X is a letter: G the message's GUID, P its explicit POP3 id, W and S sizes.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing it reads.
 */
#include <string.h>
#include "num.h"
#include "uidl_import.h"

struct uidlist {
	struct import_lines l;
	unsigned version;
	uint32_t uidvalidity;
	const char *format;
	import_each *each;
	void *ctx;
	struct pop_why *why;
};

static int bad(struct uidlist *u, const char *what)
{
	return pop_why(u->why, POP_E_SYNTAX, "line %lu: %s; is this a dovecot-uidlist?",
		       u->l.number, what);
}

static int number(const char *s, size_t len, uint32_t *out)
{
	uint64_t value;
	int err = num_parse(s, len, UINT32_MAX, &value);

	*out = err ? 0 : (uint32_t)value;
	return err;
}

static int parse_head(struct uidlist *u)
{
	const char *word;
	size_t at = 0, n;

	if (!import_lines_next(&u->l))
		return pop_why(u->why, POP_E_SYNTAX,
			       "the file is empty; is this a dovecot-uidlist?");
	n = import_word(&u->l, &at, &word);
	if (number(word, n, &u->version) < 0)
		return bad(u, "has no version");
	if (u->version != 1 && u->version != 3)
		return pop_why(u->why, POP_E_VERSION,
			       "line 1: version %u of dovecot-uidlist is not known; 1 and 3 are",
			       u->version);
	while ((n = import_word(&u->l, &at, &word)) > 0) {
		if (u->version == 3 && word[0] != 'V')
			continue;
		if (number(word + (u->version == 3), n - (u->version == 3), &u->uidvalidity) < 0)
			return bad(u, "has no uidvalidity");
		break;
	}
	return u->uidvalidity ? 0 : bad(u, "has no uidvalidity");
}

/* The fields between uid and file name.  *at is moved to the file name. */
static int parse_fields(struct uidlist *u, size_t *at, struct import_values *v, const char **id,
			size_t *id_len)
{
	const char *word;
	size_t n;

	for (;;) {
		size_t before = *at;

		n = import_word(&u->l, at, &word);
		if (!n)
			return bad(u, "has no file name");
		if (word[0] == ':') {
			*at = before + 1 < (size_t)(word - u->l.line) + 1
				      ? (size_t)(word - u->l.line) + 1
				      : before + 1;
			return 0;
		}
		if (word[0] == 'G' && n > 1) {
			v->guid = word + 1;
			v->guid_len = n - 1;
		} else if (word[0] == 'P' && n > 1) {
			*id = word + 1;
			*id_len = n - 1;
		}
	}
}

static int parse_line(struct uidlist *u)
{
	struct import_entry e = { .line = u->l.number, .octets = UINT64_MAX };
	struct import_values v = { .uidvalidity = u->uidvalidity };
	char id[IMPORT_ID_MAX + 1];
	const char *word, *given = NULL;
	size_t at = 0, n, given_len = 0;
	int err = 0;

	n = import_word(&u->l, &at, &word);
	if (number(word, n, &v.uid) < 0 || !v.uid)
		return bad(u, "has no uid");
	if (u->version == 3)
		err = parse_fields(u, &at, &v, &given, &given_len);
	else
		at++;
	if (err)
		return err;
	if (at >= u->l.len)
		return bad(u, "has no file name");
	e.base = u->l.line + at;
	e.base_len = u->l.len - at;
	if (memchr(e.base, ':', e.base_len))
		e.base_len = (size_t)((const char *)memchr(e.base, ':', e.base_len) - e.base);
	if (!e.base_len)
		return bad(u, "has no file name");
	v.file = e.base;
	v.file_len = e.base_len;
	if (!v.guid) {
		v.guid = e.base;
		v.guid_len = e.base_len;
	}
	if (given && given_len <= IMPORT_ID_MAX) {
		memcpy(id, given, given_len);
		id[given_len] = '\0';
	} else {
		err = import_format(u->format, &v, id, u->why);
	}
	e.id = id;
	return err < 0 ? err : u->each(u->ctx, &e);
}

int import_dovecot(const char *text, size_t len, const char *format, import_each *each, void *ctx,
		   struct pop_why *why)
{
	struct uidlist u = { .format = format, .each = each, .ctx = ctx, .why = why };
	int err;

	import_lines_init(&u.l, text, len);
	err = parse_head(&u);
	while (!err && import_lines_next(&u.l))
		if (u.l.len)
			err = parse_line(&u);
	return err;
}
