/*
 * mbox_scan.c - find and measure the messages of an mbox in one pass.
 *
 * Runs in:  the maildrop role, as the mailbox's owner; pop3admin.
 * Trusts:   nothing in the file; it may even shrink while it is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "fsutil.h"
#include "hash.h"
#include "mbox_find.h"
#include "mbox_from.h"
#include "mbox_scan.h"

#ifndef WINDOW_SIZE
#define WINDOW_SIZE (256u << 10) /* stays in the second-level cache */
#endif
#define MARGIN	64 /* before the window; as much and more is behind it */
#define HISTORY 8  /* bytes before the current place that stay in the window */

struct scanner {
	struct mbox_scan *s;
	mbox_find_fn *find;
	uint8_t *mem;  /* owned: margin, window, margin */
	uint8_t *data; /* the window */
	size_t len;    /* valid bytes in it */
	uint64_t base; /* where in the file it begins */
	size_t pos;    /* the next place to look at */

	bool in_message, in_header;
	uint64_t from_start; /* where the separator line begins */
	struct msg m;
	struct mbox_tally tally; /* since m.offset */
	struct sum64 sum;
	uint64_t summed;	/* up to here in the file */
	uint64_t header_length; /* without its empty line */
	size_t empty_length;	/* of the empty line behind the header section */
};

static bool at_end(const struct scanner *sc)
{
	return sc->base + sc->len == sc->s->end;
}

/* Add the header section up to `to` to its sum. */
static void sum_header(struct scanner *sc, uint64_t to)
{
	uint64_t most = sc->m.offset + MBOX_HEADER_MAX;

	if (to > most)
		to = most;
	if (to <= sc->summed)
		return;
	sum64_update(&sc->sum, sc->data + (sc->summed - sc->base), to - sc->summed);
	sc->summed = to;
}

/*
 * The window's end moves over a hole, where all that it still holds is NUL and no header
 * section is being summed: it then holds what lies at the hole's end as well.
 */
static void pass_hole(struct scanner *sc)
{
	const struct mbox_scan *s = sc->s;
	uint64_t at = sc->base + sc->len;

	if (sc->in_message && sc->in_header && sc->summed < sc->m.offset + MBOX_HEADER_MAX)
		return;
	if (sc->pos >= HISTORY && fs_all_zero(sc->data, sc->len))
		sc->base += fs_hole_end(s->fd, at, s->end) - at;
}

/* Move the window on, so that it begins a little before pos. */
static int refill(struct scanner *sc)
{
	size_t drop = sc->pos > HISTORY ? sc->pos - HISTORY : 0, want;
	uint64_t left;
	ssize_t got;

	if (sc->in_message && sc->in_header)
		sum_header(sc, sc->base + sc->pos);
	memmove(sc->data, sc->data + drop, sc->len - drop);
	sc->len -= drop;
	sc->pos -= drop;
	sc->base += drop;
	pass_hole(sc);
	left = sc->s->end - sc->base - sc->len;
	want = WINDOW_SIZE - sc->len;
	if (want > left)
		want = left;
	got = fs_pread_full(sc->s->fd, sc->data + sc->len, want, (off_t)(sc->base + sc->len));
	if (got < 0)
		return POP_E_SYS;
	if ((size_t)got < want)
		return POP_E_CHANGED;
	sc->len += want;
	memset(sc->data + sc->len, 0xff, MBOX_FIND_AHEAD);
	return 0;
}

/* Bytes from the end of a file backwards, out of the window or a block of their own. */
struct backwards {
	const struct scanner *sc;
	uint8_t block[4096];
	uint64_t block_start;
	size_t block_len;
	int err;
};

static int byte_at(struct backwards *b, uint64_t offset)
{
	ssize_t got;

	if (offset >= b->sc->base)
		return b->sc->data[offset - b->sc->base];
	if (offset < b->block_start || offset >= b->block_start + b->block_len) {
		b->block_start = offset + 1 > sizeof(b->block) ? offset + 1 - sizeof(b->block) : 0;
		b->block_len = (size_t)(offset + 1 - b->block_start);
		got = fs_pread_full(b->sc->s->fd, b->block, b->block_len, (off_t)b->block_start);
		if (got < 0 || (size_t)got < b->block_len) {
			b->err = got < 0 ? POP_E_SYS : POP_E_CHANGED;
			b->block_len = 0;
			return -1;
		}
	}
	return b->block[offset - b->block_start];
}

/* Where the empty line that ends at `end` begins, or `end` where the last line is not empty. */
static uint64_t empty_line_before(struct backwards *b, uint64_t start, uint64_t end)
{
	uint64_t at = end;

	if (at <= start || byte_at(b, at - 1) != '\n')
		return end;
	at--;
	if (at > start && byte_at(b, at - 1) == '\r')
		at--;
	return at == start || byte_at(b, at - 1) == '\n' ? at : end;
}

static uint64_t trailing_octets(struct backwards *b, uint64_t start, uint64_t end)
{
	uint64_t octets = 0, at;

	while ((at = empty_line_before(b, start, end)) != end) {
		octets += 2;
		end = at;
	}
	return octets;
}

/* The header section ends before `end` at the latest: length and sum. */
static void finish_header(struct scanner *sc, uint64_t end)
{
	struct msg *m = &sc->m;

	if (sc->in_header) {
		sum_header(sc, end);
		sc->header_length = end - m->offset;
		sc->empty_length = 0;
	}
	/* The empty line may have become the one that belongs to neither message. */
	if (sc->header_length + sc->empty_length <= m->length &&
	    sc->header_length + sc->empty_length <= MBOX_HEADER_MAX) {
		sum64_update(&sc->sum, &"\r\n"[2 - sc->empty_length], sc -> empty_length);
		sc->header_length += sc->empty_length;
	}
	m->header_length = (uint32_t)(sc->header_length < MBOX_HEADER_MAX ? sc->header_length
									  : MBOX_HEADER_MAX);
	m->header_sum = sum64_final(&sc->sum);
}

/* Does the header section of the first message say that it is IMAP servers' internal data? */
static int is_internal(const struct scanner *sc, bool *internal)
{
	static const char subject[] = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";
	size_t len = sc->m.header_length < 65536 ? sc->m.header_length : 65536;
	char *text = malloc(len + 1), *line, *end;
	bool imap = false, named = false;
	ssize_t got;
	int err = 0;

	if (!text)
		return POP_E_MEMORY;
	got = fs_pread_full(sc->s->fd, text, len, (off_t)sc->m.offset);
	if (got < 0) {
		err = POP_E_SYS;
		goto out;
	}
	text[got] = 0;
	for (line = text; line < text + got; line = end + 1) {
		end = memchr(line, '\n', (size_t)(text + got - line));
		if (!end)
			end = text + got;
		*end = 0;
		imap |= strncasecmp(line, "X-IMAP:", 7) == 0;
		if (strncasecmp(line, "Subject:", 8) == 0) {
			line += 8 + strspn(line + 8, " \t");
			named |= strncmp(line, subject, sizeof(subject) - 1) == 0 &&
				 line[sizeof(subject) - 1 +
				      strspn(line + sizeof(subject) - 1, " \t\r")] == 0;
		}
	}
	*internal = imap && named;
out:
	free(text);
	return err;
}

/* What must be written behind the last message (design section 7, mbox). */
static void say_missing(struct scanner *sc, struct backwards *b, uint64_t end, bool finished)
{
	struct mbox_scan *s = sc->s;
	bool crlf, cut;
	const char *eol;

	s->missing_len = 0;
	/* The separator line tells what the file uses; where even that is cut, so is its line end.
	 */
	cut = byte_at(b, sc->m.offset - 1) != '\n';
	crlf = !cut && sc->m.from_length > 1 && byte_at(b, sc->m.offset - 2) == '\r';
	eol = crlf ? "\r\n" : "\n";
	if (cut || !finished) {
		/* An LF behind a CR would make a line end of both. */
		const char *first = byte_at(b, end - 1) == '\r' ? "\r\n" : eol;

		for (; *first; first++)
			s->missing[s->missing_len++] = *first;
	}
	if (cut || !finished || empty_line_before(b, sc->m.offset, end) == end)
		for (; *eol; eol++)
			s->missing[s->missing_len++] = *eol;
}

/* The message in hand ends at `end`: with its last line, before any empty line is taken off. */
static int finish_message(struct scanner *sc, uint64_t end, bool last)
{
	struct backwards b = { .sc = sc };
	struct msg *m = &sc->m;
	uint64_t content_end = empty_line_before(&b, m->offset, end), trailing;
	bool internal = false, finished;
	int err;

	if (content_end + 1 == end)
		sc->tally.bare--; /* its LF was counted */
	m->length = content_end - m->offset;
	finished = m->length == 0 || byte_at(&b, content_end - 1) == '\n';
	m->octets = m->length + sc->tally.bare + (finished ? 0 : 2);
	trailing = trailing_octets(&b, m->offset, content_end);
	m->trailing_octets = trailing < UINT32_MAX ? (uint32_t)trailing : UINT32_MAX;
	m->flags = (sc->tally.bare == 0 && finished ? MESSAGE_WIRE_FORM : 0u) |
		   (sc->tally.dots ? 0u : MESSAGE_NO_DOT);
	finish_header(sc, content_end);
	if (last)
		say_missing(sc, &b, end, finished);
	if (b.err < 0)
		return b.err;
	sc->s->messages++;
	sc->s->last = sc->from_start;
	if (sc->from_start == 0) {
		err = is_internal(sc, &internal);
		if (err < 0)
			return err;
	}
	sc->s->hidden |= internal;
	return internal ? 0 : sc->s->each(sc->s->ctx, m);
}

/* A separator line of len bytes, its line end included, begins at `at` in the window. */
static void begin_message(struct scanner *sc, size_t at, size_t len)
{
	bool cut = sc->data[at + len - 1] != '\n';

	sc->from_start = sc->base + at;
	sc->m = (struct msg){ .offset = sc->from_start + len, .from_length = (uint32_t)len };
	sc->in_message = sc->in_header = true;
	sum64_init(&sc->sum);
	sum64_update(&sc->sum, sc->data + at, len);
	sc->summed = sc->m.offset;
	sc->tally = (struct mbox_tally){ 0 };
	sc->pos = at + len;
	if (!cut) {
		/*
		 * Begin at the separator's own LF, so that the first line is met
		 * like any other; that LF itself must not count.
		 */
		sc->pos--;
		if (sc->data[sc->pos - 1] != '\r')
			sc->tally.bare--;
	}
}

/*
 * Length of the separator line at `at` in the window, with its line end; 0:
 * none begins there; -1: the window must reach further before that can be said.
 */
static int separator_length(const struct scanner *sc, size_t at)
{
	const uint8_t *line = sc->data + at, *lf;
	size_t have = sc->len - at, len;

	if (have < 5 && !at_end(sc))
		return -1;
	if (have < 5 || memcmp(line, "From ", 5) != 0)
		return 0;
	if (have > MBOX_FROM_MAX)
		have = MBOX_FROM_MAX;
	lf = memchr(line, '\n', have);
	if (!lf && have < MBOX_FROM_MAX && !at_end(sc))
		return -1;
	len = lf ? (size_t)(lf - line) : have;
	if (lf && len > 0 && line[len - 1] == '\r')
		len--;
	if (!mbox_is_from((const char *)line, len))
		return 0;
	return (int)(lf ? (size_t)(lf - line) + 1 : have);
}

/* Pass the LF or NUL at pos; if it is an LF, it belongs to the message. */
static void pass(struct scanner *sc)
{
	const uint8_t *p = sc->data + sc->pos; /* before the first byte lies the margin */

	if (p[0] == '\n')
		sc->tally.bare += p[-1] != '\r';
	sc->pos++;
}

/* Look closely at the place where find stopped. */
static int look(struct scanner *sc)
{
	const uint8_t *p = sc->data + sc->pos;
	int len, err;

	if (p[1] != 'F') {
		size_t empty = p[1] == '\n' ? 1 : p[2] == '\n' ? 2 : 0;

		if (empty && sc->in_message) {
			sum_header(sc, sc->base + sc->pos + 1);
			sc->header_length = sc->base + sc->pos + 1 - sc->m.offset;
			sc->empty_length = empty;
			sc->in_header = false;
		}
		pass(sc);
		return 0;
	}
	len = separator_length(sc, sc->pos + 1);
	if (len < 0)
		return refill(sc);
	pass(sc);
	if (len == 0)
		return 0;
	if (sc->in_message) {
		err = finish_message(sc, sc->base + sc->pos, false);
		if (err)
			return err;
	}
	begin_message(sc, sc->pos, (size_t)len);
	return 0;
}

static int scan_all(struct scanner *sc)
{
	int err = refill(sc), len;
	size_t limit;

	if (err < 0)
		return err;
	len = separator_length(sc, 0);
	if (len > 0)
		begin_message(sc, 0, (size_t)len);
	for (;;) {
		/* An empty line is two bytes at most: so far the window must reach. */
		limit = at_end(sc) ? sc->len : sc->len - 2;
		sc->pos = sc->find(sc->data, sc->pos, limit, sc->in_message && sc->in_header,
				   &sc->tally);
		if (sc->pos < limit)
			err = look(sc);
		else if (at_end(sc))
			break;
		else
			err = refill(sc);
		if (err)
			return err;
	}
	return sc->in_message ? finish_message(sc, sc->s->end, true) : 0;
}

int mbox_scan(struct mbox_scan *s)
{
	struct scanner sc = { .s = s, .base = s->start };
	int err;

	s->messages = s->last = 0;
	s->hidden = false;
	s->missing_len = 0;
	if (s->start >= s->end)
		return 0;
	sc.mem = malloc(MARGIN + WINDOW_SIZE + MBOX_FIND_AHEAD);
	if (!sc.mem)
		return POP_E_MEMORY;
	memset(sc.mem, 0xff, MARGIN);
	sc.data = sc.mem + MARGIN;
	sc.find = mbox_find_best(s->end - s->start);
	err = scan_all(&sc);
	free(sc.mem);
	return err;
}

int mbox_separator_at(int fd, uint64_t offset, uint64_t end)
{
	uint8_t line[MBOX_FROM_MAX];
	struct mbox_scan s = { .fd = fd, .end = end };
	struct scanner sc = { .s = &s, .data = line, .base = offset };
	ssize_t got;

	if (offset >= end)
		return 0;
	sc.len = end - offset < sizeof(line) ? (size_t)(end - offset) : sizeof(line);
	got = fs_pread_full(fd, line, sc.len, (off_t)offset);
	if (got < 0)
		return POP_E_SYS;
	sc.len = (size_t)got;
	return separator_length(&sc, 0) > 0;
}

int mbox_verify(int fd, const struct msg *m)
{
	uint8_t piece[8192];
	uint64_t left = (uint64_t)m->from_length + m->header_length;
	uint64_t at = m->offset - m->from_length;
	struct sum64 sum;

	sum64_init(&sum);
	while (left) {
		size_t want = left < sizeof(piece) ? (size_t)left : sizeof(piece);
		ssize_t got = fs_pread_full(fd, piece, want, (off_t)at);

		if (got < 0)
			return POP_E_SYS;
		if ((size_t)got < want)
			return POP_E_CHANGED;
		sum64_update(&sum, piece, want);
		at += want;
		left -= want;
	}
	return sum64_final(&sum) == m->header_sum ? 0 : POP_E_CHANGED;
}
