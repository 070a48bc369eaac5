/*
 * fuzz_mbox.c - a file as an mbox: against a plain second implementation, and
 * put together again.
 *
 * Input: the mailbox.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* so small that its edge moves through an input */
#define WINDOW_SIZE (2u << 10)
#include "../../lib/mbox_scan.c"

#include "fuzz.h"
#include "wire.h"

struct list {
	struct msg *m;
	size_t n, room;
};

static int add(void *ctx, const struct msg *m)
{
	struct list *l = ctx;

	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 16;
		l->m = reallocarray(l->m, l->room, sizeof(*l->m));
		MUST(l->m != NULL);
	}
	l->m[l->n++] = *m;
	return 0;
}

/* --- the second implementation: words instead of a cursor ------------------- */

struct word {
	const char *s;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static size_t split(const char *line, size_t len, struct word *words, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < room;) {
		size_t from = i;

		while (i < len && !is_blank(line[i]))
			i++;
		if (i > from)
			words[n++] = (struct word){ line + from, i - from };
		while (i < len && is_blank(line[i]))
			i++;
	}
	return n;
}

static bool is(const struct word *w, const char *text)
{
	return w->len == strlen(text) && memcmp(w->s, text, w->len) == 0;
}

/* '0' any digit, 'A' any letter, all else itself. */
static bool shaped(const struct word *w, const char *shape)
{
	if (w->len != strlen(shape))
		return false;
	for (size_t i = 0; i < w->len; i++) {
		char c = w->s[i], lower = (char)(c | 0x20);

		if (shape[i] == '0'   ? c < '0' || c > '9'
		    : shape[i] == 'A' ? lower < 'a' || lower > 'z'
				      : c != shape[i])
			return false;
	}
	return true;
}

static int two(const char *s)
{
	return (s[0] - '0') * 10 + s[1] - '0';
}

static bool is_zone(const struct word *w)
{
	static const char *const shapes[] = { "A", "AA", "AAA", "AAAA", "AAAAA" };

	if (shaped(w, "+0000") || shaped(w, "-0000"))
		return two(w->s + 1) < 24 && two(w->s + 3) < 60;
	for (size_t i = 0; i < 5; i++)
		if (shaped(w, shapes[i]))
			return true;
	return false;
}

static bool is_clock(const struct word *w)
{
	if (!shaped(w, "00:00") && !shaped(w, "00:00:00"))
		return false;
	return two(w->s) < 24 && two(w->s + 3) < 60 && (w->len == 5 || two(w->s + 6) <= 60);
}

static int place(const struct word *w, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (is(w, names[i]))
			return i;
	return -1;
}

/* Words of a zone at i: 0, 1, or 2 ("MET DST"). */
static size_t zone_words(const struct word *w, size_t n, size_t i)
{
	if (i >= n || !is_zone(&w[i]))
		return 0;
	return i + 1 < n && w[i].s[0] >= 'A' && is(&w[i + 1], "DST") ? 2 : 1;
}

static bool is_remote(const struct word *w, size_t n, size_t i)
{
	return i + 2 < n && is(&w[i], "remote") && is(&w[i + 1], "from") &&
	       w[i].s + 7 == w[i + 1].s && w[i].s[6] == ' ' && w[i + 1].s[4] == ' ';
}

static bool is_date(const struct word *w, size_t n, size_t i)
{
	static const char *const wdays[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int month, day, year, leap;

	if (n - i < 5 || place(&w[i], wdays, 7) < 0)
		return false;
	month = place(&w[i + 1], months, 12);
	if (month < 0 || !(shaped(&w[i + 2], "0") || shaped(&w[i + 2], "00")) ||
	    !is_clock(&w[i + 3]))
		return false;
	day = w[i + 2].len == 1 ? w[i + 2].s[0] - '0' : two(w[i + 2].s);
	i += 4;
	i += zone_words(w, n, i);
	if (i >= n || !shaped(&w[i], "0000"))
		return false;
	year = two(w[i].s) * 100 + two(w[i].s + 2);
	leap = month == 1 && (year % 400 == 0 || (year % 4 == 0 && year % 100 != 0));
	if (day < 1 || day > lengths[month] + leap)
		return false;
	i++;
	i += zone_words(w, n, i);
	return i == n || is_remote(w, n, i);
}

static bool plain_is_from(const char *line, size_t len)
{
	struct word words[MBOX_FROM_MAX];
	size_t n;

	if (len >= MBOX_FROM_MAX || len < 5 || memcmp(line, "From ", 5) != 0 ||
	    memchr(line, '\0', len))
		return false;
	n = split(line, len, words, MBOX_FROM_MAX);
	for (size_t i = 2; i < n; i++)
		if (is_date(words, n, i))
			return true;
	return false;
}

/* The separator line at i, its line end included; 0: none. */
static size_t plain_separator(const uint8_t *d, size_t n, size_t i)
{
	size_t most = n - i < MBOX_FROM_MAX ? n - i : MBOX_FROM_MAX, len;
	const uint8_t *lf = most ? memchr(d + i, '\n', most) : NULL;

	if (i > 0 && d[i - 1] != '\n' && d[i - 1] != '\0')
		return 0;
	if (!lf && n - i > MBOX_FROM_MAX)
		return 0;
	len = lf ? (size_t)(lf - (d + i)) : n - i;
	if (!plain_is_from((const char *)d + i, lf && len > 0 && lf[-1] == '\r' ? len - 1 : len))
		return 0;
	return lf ? len + 1 : len;
}

/* Length of an empty line that ends at end of [start, end). */
static size_t plain_empty(const uint8_t *d, size_t start, size_t end)
{
	size_t len = end;

	while (len > start && d[len - 1] != '\n')
		len--;
	if (len != end || end == start) /* an unfinished line, or none */
		return 0;
	for (len = 1; len < end - start && d[end - len - 1] != '\n'; len++)
		;
	return len == 1 || (len == 2 && d[end - 2] == '\r') ? len : 0;
}

static struct msg plain_measure(const uint8_t *d, size_t from, size_t start, size_t end)
{
	struct msg m = { .offset = start, .from_length = (uint32_t)(start - from) };
	struct wire_count c;
	bool in_header = true;

	end -= plain_empty(d, start, end);
	m.length = end - start;
	wire_count_init(&c);
	for (size_t i = start; i < end; i++) {
		wire_count_add(&c, d + i, 1);
		if (in_header && d[i] == '\n' && plain_empty(d, start, i + 1)) {
			in_header = false;
			m.header_length = (uint32_t)(i + 1 - start);
		}
	}
	m.octets = wire_count_total(&c);
	if (in_header)
		m.header_length = (uint32_t)m.length;
	m.flags =
		(m.octets == m.length ? MESSAGE_WIRE_FORM : 0u) | (c.any_dot ? 0u : MESSAGE_NO_DOT);
	for (size_t at = end, len; (len = plain_empty(d, start, at)) > 0; at -= len)
		m.trailing_octets += 2;
	return m;
}

static void plain_scan(const uint8_t *d, size_t n, struct list *l)
{
	size_t from = 0, start = 0, len;
	struct msg m;

	for (size_t i = 0; i <= n; i++) {
		len = i < n ? plain_separator(d, n, i) : 0;
		if (i < n && !len)
			continue;
		if (start > 0) {
			m = plain_measure(d, from, start, i);
			add(l, &m);
		}
		from = i;
		start = i + len;
	}
}

/* --- what must hold --------------------------------------------------------- */

static bool same(const struct msg *a, const struct msg *b)
{
	return a->offset == b->offset && a->length == b->length && a->octets == b->octets &&
	       a->header_length == b->header_length && a->from_length == b->from_length &&
	       a->trailing_octets == b->trailing_octets && a->flags == b->flags;
}

static void compare(const struct list *l, const struct list *plain, bool hidden)
{
	MUST(l->n + hidden == plain->n);
	for (size_t i = 0; i < l->n; i++)
		MUST(same(&l->m[i], &plain->m[i + hidden]));
}

/* Separators, messages and one empty line each give the file, octet by octet. */
static void join(const uint8_t *d, size_t n, const struct list *plain)
{
	for (size_t i = 0; i < plain->n; i++) {
		const struct msg *m = &plain->m[i];
		size_t end = m->offset + m->length;
		size_t next =
			i + 1 < plain->n ? plain->m[i + 1].offset - plain->m[i + 1].from_length : n;

		MUST(end <= next && next - end <= 2);
		if (next > end)
			MUST(d[next - 1] == '\n' && (next - end == 1 || d[end] == '\r'));
	}
}

/* In wire form it has the octets that were counted. */
static void send_all(const uint8_t *d, const struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct msg *m = &l->m[i];
		uint8_t *out = malloc(2 * m->length + 4);
		struct wire_encoder e;
		size_t len;

		MUST(out != NULL);
		wire_encode_init(&e);
		len = wire_encode(&e, d + m->offset, m->length, out);
		len += wire_encode_end(&e, out + len);
		MUST(e.octets == m->octets);
		MUST((len == m->octets) == ((m->flags & MESSAGE_NO_DOT) != 0));
		free(out);
	}
}

/* Once what is missing is there, nothing is, and no message has changed. */
static void complete(int fd, const uint8_t *d, size_t n, const struct mbox_scan *was,
		     const struct list *l)
{
	struct list now = { NULL, 0, 0 };
	struct mbox_scan s = { .fd = fd, .end = n + was->missing_len, .each = add, .ctx = &now };

	MUST(pwrite(fd, was->missing, was->missing_len, (off_t)n) == was->missing_len);
	MUST(mbox_scan(&s) == 0 && s.missing_len == 0 && now.n == l->n);
	MUST(s.hidden == was->hidden && s.messages == was->messages);
	for (size_t i = 0; i < l->n; i++) {
		MUST(now.m[i].octets == l->m[i].octets);
		MUST(now.m[i].trailing_octets == l->m[i].trailing_octets);
	}
	free(now.m);
	(void)d;
}

/* The file ended at this line end, and a scan goes on where that one ended. */
static void grow(int fd, size_t cut, size_t n, const struct list *all)
{
	struct list l = { NULL, 0, 0 };
	struct mbox_scan s = { .fd = fd, .end = cut, .each = add, .ctx = &l };
	int at;

	MUST(mbox_scan(&s) == 0);
	at = mbox_separator_at(fd, cut, n);
	MUST(at >= 0);
	/* one that is hidden is not in the list: nothing is to be taken off it */
	if (l.n > 0 && !s.hidden) {
		s.start = at ? cut : s.last;
		l.n -= !at;
		s.end = n;
		MUST(mbox_scan(&s) == 0);
		MUST(l.n == all->n);
		for (size_t i = 0; i < all->n; i++)
			MUST(same(&l.m[i], &all->m[i]));
	}
	free(l.m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct list l = { NULL, 0, 0 }, plain = { NULL, 0, 0 };
	int fd = fuzz_file(0, data, size);
	struct mbox_scan s = { .fd = fd, .end = size, .each = add, .ctx = &l };

	MUST(mbox_scan(&s) == 0);
	plain_scan(data, size, &plain);
	MUST(s.messages == plain.n);
	compare(&l, &plain, s.hidden);
	join(data, size, &plain);
	send_all(data, &l);
	for (size_t i = 0; i < l.n; i++)
		MUST(mbox_verify(fd, &l.m[i]) == 0);
	for (size_t i = 0, grown = 0; i < size && !s.hidden && grown < 3; i++)
		if (data[i] == '\n' && data[i / 2] % 4 == 0) {
			grow(fd, i + 1, size, &l);
			grown++;
		}
	complete(fd, data, size, &s, &l);
	free(l.m);
	free(plain.m);
	return 0;
}
