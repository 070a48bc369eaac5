/*
 * downgrade_address.c - lists of addresses (RFC 5322 section 3.4) in ASCII.
 *
 * Runs in:  maildrop.
 * Trusts:   nothing; a list may be of any form.
 */
#include <string.h>

#include "downgrade_impl.h"

size_t quoted_length(struct piece p)
{
	uint8_t open = p.s[0], close = open == '('   ? ')'
				       : open == '<' ? '>'
				       : open == '[' ? ']'
						     : '"';
	unsigned depth = 0;

	for (size_t i = 0; i < p.n; i++) {
		uint8_t c = p.s[i];

		if (c == '\\' && open != '<' && i + 1 < p.n)
			i++;
		else if (c == '"' && open == '<')
			i += quoted_length((struct piece){ p.s + i, p.n - i }) - 1;
		else if (c == '(' && open == '(')
			depth++;
		else if (c == close && (i > 0 || open != close) && (open != '(' || --depth == 0))
			return i + 1;
	}
	return p.n;
}

/* What one address, or the name of a group, is made of. */
struct address {
	struct buf plain;    /* its text without quotes, comments and the address in <> */
	struct buf as_is;    /* the same with quotes */
	struct buf comments; /* " (text)" of each, encoded where it must be */
	struct piece angle;  /* what stands in <> */
	bool has_angle;
};

static void address_init(struct address *a)
{
	buf_init(&a->plain, DOWNGRADE_HEAD_MAX);
	buf_init(&a->as_is, DOWNGRADE_HEAD_MAX);
	buf_init(&a->comments, DOWNGRADE_OUT_MAX);
	a->has_angle = false;
	a->angle = (struct piece){ (const uint8_t *)"", 0 };
}

static void address_release(struct address *a)
{
	buf_release(&a->plain);
	buf_release(&a->as_is);
	buf_release(&a->comments);
}

static struct piece held(const struct buf *b)
{
	return piece_trim((struct piece){ buf_data(b), buf_len(b) });
}

static int add_comment(struct address *a, struct piece c)
{
	int err = buf_puts(&a->comments, " (");

	c.s++;
	c.n -= c.n > 1 && c.s[c.n - 2] == ')' ? 2 : 1;
	if (err == 0)
		err = piece_8bit(c) ? encode_words(&a->comments, c)
				    : buf_put(&a->comments, c.s, c.n);
	return err < 0 ? err : buf_puts(&a->comments, ")");
}

static int add_quoted(struct address *a, struct piece q)
{
	int err = buf_put(&a->as_is, q.s, q.n);

	for (size_t i = 1; i < q.n && err == 0; i++) {
		if (i + 1 == q.n && q.s[i] == '"')
			break;
		if (q.s[i] == '\\' && i + 1 < q.n)
			i++;
		err = buf_put(&a->plain, &q.s[i], 1);
	}
	return err;
}

/* Blanks and line ends become one blank. */
static int add_text(struct address *a, uint8_t c)
{
	const uint8_t *last = buf_data(&a->as_is);
	size_t n = buf_len(&a->as_is);
	int err;

	if (is_blank(c)) {
		if (n == 0 || last[n - 1] == ' ')
			return 0;
		c = ' ';
	}
	err = buf_put(&a->plain, &c, 1);
	return err < 0 ? err : buf_put(&a->as_is, &c, 1);
}

static int take_apart(struct address *a, struct piece p)
{
	int err = 0;

	while (p.n > 0 && err == 0) {
		size_t n = 1;

		if (p.s[0] == '"' || p.s[0] == '(' || p.s[0] == '<')
			n = quoted_length(p);
		if (p.s[0] == '"') {
			err = add_quoted(a, (struct piece){ p.s, n });
		} else if (p.s[0] == '(') {
			err = add_comment(a, (struct piece){ p.s, n });
		} else if (p.s[0] == '<' && !a->has_angle) {
			a->has_angle = true;
			a->angle = (struct piece){ p.s + 1, n - 1 };
			if (n > 1 && p.s[n - 1] == '>')
				a->angle.n--;
		} else {
			err = add_text(a, p.s[0]);
			n = 1;
		}
		p.s += n;
		p.n -= n;
	}
	return err;
}

/*
 * An address that cannot be written: its text, as the name of an empty group.  Where it is
 * the name of a group (end is ':'), which should hold no address, as that name.
 */
static int put_unwritable(struct buf *out, struct address *a, uint8_t end, bool in_group)
{
	const char *behind = end == ':' ? "" : in_group ? ")" : " :;";
	int err = 0;

	if (a->has_angle) {
		struct piece name = { buf_data(&a->plain), buf_len(&a->plain) };

		if (name.n > 0 && name.s[name.n - 1] != ' ')
			err = buf_puts(&a->plain, " ");
		if (err == 0)
			err = buf_put(&a->plain, a->angle.s, a->angle.n);
	}
	/* no group may be in a group: there it is a comment */
	if (err == 0 && in_group && end != ':')
		err = buf_puts(out, "(");
	if (err == 0)
		err = encode_words(out, held(&a->plain));
	return err < 0 ? err : buf_puts(out, behind);
}

static int put_mailbox(struct buf *out, struct address *a)
{
	struct piece name = held(&a->as_is), plain = held(&a->plain);
	int err = piece_8bit(name) ? encode_words(out, plain) : buf_put(out, name.s, name.n);

	if (err < 0 || !a->has_angle)
		return err;
	err = buf_puts(out, name.n > 0 ? "\n <" : "<");
	if (err == 0)
		err = buf_put(out, a->angle.s, a->angle.n);
	return err < 0 ? err : buf_puts(out, ">");
}

/* One element of the list; end is what stands behind it. */
static int put_element(struct buf *out, struct piece p, uint8_t end, bool in_group)
{
	struct piece all = p;
	struct address a;
	bool unwritable;
	int err;

	if (!piece_8bit(p))
		return buf_put(out, p.s, p.n);
	while (p.n > 0 && is_blank(p.s[0])) {
		p.s++;
		p.n--;
	}
	address_init(&a);
	err = buf_put(out, all.s, all.n - p.n);
	if (err == 0)
		err = take_apart(&a, p);
	unwritable = a.has_angle ? piece_8bit(a.angle) : end != ':' && piece_8bit(held(&a.as_is));
	if (err == 0)
		err = unwritable ? put_unwritable(out, &a, end, in_group) : put_mailbox(out, &a);
	if (err == 0)
		err = buf_put(out, buf_data(&a.comments), buf_len(&a.comments));
	address_release(&a);
	return err;
}

int encode_addresses(struct buf *out, struct piece list)
{
	bool in_group = false;
	size_t from = 0;
	int err = 0;

	for (size_t i = 0; i <= list.n && err == 0; i++) {
		uint8_t c = i < list.n ? list.s[i] : ',';

		if (i < list.n && strchr("\"(<[", c) && c) {
			i += quoted_length((struct piece){ list.s + i, list.n - i }) - 1;
			continue;
		}
		if (c != ',' && c != ';' && c != ':')
			continue;
		err = put_element(out, (struct piece){ list.s + from, i - from }, c, in_group);
		if (err == 0 && i < list.n)
			err = buf_put(out, &c, 1);
		if (c != ',')
			in_group = c == ':';
		from = i + 1;
	}
	return err;
}
