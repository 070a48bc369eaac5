/*
 * check_mbox_scan.c - messages of an mbox: their bounds, octets, headers and flags.
 *
 * Beside a table of shapes, random files are measured by a second, slow and
 * plain implementation, and both must agree.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/mman.h>
#include "hash.h"
#include "mbox_find.h"
#include "mbox_from.h"
#include "mbox_scan.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define FROM	   "From joe@example.org Thu Nov 12 10:32:04 2026"

struct list {
	struct msg m[4096];
	size_t n;
};

static int add(void *ctx, const struct msg *m)
{
	struct list *l = ctx;

	ck_assert_uint_lt(l->n, N_ELEMS(l->m));
	l->m[l->n++] = *m;
	return 0;
}

static int file_of(const void *data, size_t n)
{
	int fd = memfd_create("mbox", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, n), (ssize_t)n);
	return fd;
}

/* --- the table --------------------------------------------------------- */

struct want {
	uint64_t offset, length, octets;
	uint32_t header, trailing, flags;
};
#define W MESSAGE_WIRE_FORM
#define D MESSAGE_NO_DOT

/* Offsets count from the end of the first separator line; f is the length of one with its LF. */
#define F (sizeof(FROM))
static const struct row {
	const char *name, *text;
	size_t len;
	size_t n;
	struct want want[3];
	const char *missing;
	bool hidden;
} rows[] = {
#define T(s) s, sizeof(s) - 1
	{ "empty file", T(""), 0, { { 0 } }, "", false },
	{ "no message", T("hello\n"), 0, { { 0 } }, "", false },
	{ "an empty line", T("\n"), 0, { { 0 } }, "", false },
	{ "a line end first",
	  T("\n" FROM "\nA: b\n\nx\n\n"),
	  1,
	  { { F + 1, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "lf", T(FROM "\nA: b\n\nbody\n\n"), 1, { { F, 11, 14, 6, 0, D } }, "", false },
	{ "crlf",
	  T(FROM "\r\nA: b\r\n\r\nbody\r\n\r\n"),
	  1,
	  { { F + 1, 14, 14, 8, 0, W | D } },
	  "",
	  false },
	{ "mixed", T(FROM "\nA: b\r\n\nbody\r\n\n"), 1, { { F, 13, 14, 7, 0, D } }, "", false },
	{ "no empty line", T(FROM "\nA: b\n\nbody\n"), 1, { { F, 11, 14, 6, 0, D } }, "\n", false },
	{ "no line end", T(FROM "\nA: b\n\nbody"), 1, { { F, 10, 14, 6, 0, D } }, "\n\n", false },
	{ "no line end, crlf",
	  T(FROM "\r\nA: b\r\n\r\nbody"),
	  1,
	  { { F + 1, 12, 14, 8, 0, D } },
	  "\r\n\r\n",
	  false },
	{ "no empty line, crlf",
	  T(FROM "\r\nA: b\r\n\r\nbody\r\n"),
	  1,
	  { { F + 1, 14, 14, 8, 0, W | D } },
	  "\r\n",
	  false },
	{ "cr at the end",
	  T(FROM "\nA: b\n\nbody\r"),
	  1,
	  { { F, 11, 15, 6, 0, D } },
	  "\r\n\n",
	  false },
	{ "bare cr",
	  T(FROM "\nA: b\n\na\rb\r\rc\r\n\n"),
	  1,
	  { { F, 14, 16, 6, 0, D } },
	  "",
	  false },
	{ "two",
	  T(FROM "\nA: b\n\nbody\n\n" FROM "\nC: d\n\nx\n\n"),
	  2,
	  { { F, 11, 14, 6, 0, D }, { 2 * F + 12, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "two, no empty line",
	  T(FROM "\nA: b\n\nbody\n" FROM "\nC: d\n\nx\n\n"),
	  2,
	  { { F, 11, 14, 6, 0, D }, { 2 * F + 11, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "two, nul between",
	  T(FROM "\nA: b\n\nbody\0" FROM "\nC: d\n\nx\n\n"),
	  2,
	  { { F, 11, 15, 6, 0, D }, { 2 * F + 11, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "nul and line end",
	  T(FROM "\nA: b\n\nbody\0\n" FROM "\nC: d\n\nx\n\n"),
	  2,
	  { { F, 12, 15, 6, 0, D }, { 2 * F + 12, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "nul block",
	  T("\0\0\0\0" FROM "\nA: b\n\nx\n\n"),
	  1,
	  { { F + 4, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "cut separator", T(FROM), 1, { { F - 1, 0, 0, 0, 0, W | D } }, "\n\n", false },
	{ "separator alone", T(FROM "\n"), 1, { { F, 0, 0, 0, 0, W | D } }, "\n", false },
	{ "separator, empty line", T(FROM "\n\n"), 1, { { F, 0, 0, 0, 0, W | D } }, "", false },
	{ "separators only",
	  T(FROM "\n" FROM "\n" FROM "\n\n"),
	  3,
	  { { F, 0, 0, 0, 0, W | D }, { 2 * F, 0, 0, 0, 0, W | D }, { 3 * F, 0, 0, 0, 0, W | D } },
	  "",
	  false },
	{ "empty header", T(FROM "\n\nbody\n\n"), 1, { { F, 6, 8, 1, 0, D } }, "", false },
	{ "header only",
	  T(FROM "\nA: b\n\n" FROM "\nC: d\n\n"),
	  2,
	  { { F, 5, 6, 5, 0, D }, { 2 * F + 6, 5, 6, 5, 0, D } },
	  "",
	  false },
	{ "header only, both lines",
	  T(FROM "\nA: b\n\n\n" FROM "\nC: d\n\n"),
	  2,
	  { { F, 6, 8, 6, 2, D }, { 2 * F + 7, 5, 6, 5, 0, D } },
	  "",
	  false },
	{ "header without end",
	  T(FROM "\nA: b\n" FROM "\nC: d\n\n"),
	  2,
	  { { F, 5, 6, 5, 0, D }, { 2 * F + 5, 5, 6, 5, 0, D } },
	  "",
	  false },
	{ "empty lines at the end",
	  T(FROM "\nA: b\n\nx\n\n\n\n\n"),
	  1,
	  { { F, 11, 17, 6, 6, D } },
	  "",
	  false },
	{ "empty lines, crlf mixed",
	  T(FROM "\nA: b\n\nx\n\r\n\n\r\n\n"),
	  1,
	  { { F, 13, 17, 6, 6, D } },
	  "",
	  false },
	{ "only empty lines", T(FROM "\n\n\n\n"), 1, { { F, 2, 4, 1, 4, D } }, "", false },
	{ "dots", T(FROM "\nA: b\n\n.\n..x\n\n"), 1, { { F, 12, 16, 6, 0, 0 } }, "", false },
	{ "dot first", T(FROM "\n.: b\n\nx\n\n"), 1, { { F, 8, 11, 6, 0, 0 } }, "", false },
	{ "dot in the middle",
	  T(FROM "\nA: b\n\nx.y.\n\n"),
	  1,
	  { { F, 11, 14, 6, 0, D } },
	  "",
	  false },
	{ "dot of the next",
	  T(FROM "\nA: b\n\nx\n\n" FROM "\nA: b\n\n.\n\n"),
	  2,
	  { { F, 8, 11, 6, 0, D }, { 2 * F + 9, 8, 11, 6, 0, 0 } },
	  "",
	  false },
	{ "quoted separator",
	  T(FROM "\nA: b\n\n>" FROM "\n\n"),
	  1,
	  { { F, 6 + F + 1, 9 + F + 1, 6, 0, D } },
	  "",
	  false },
	{ "text that looks so",
	  T(FROM "\nA: b\n\nFrom now on\nFrom\nFrom \n\n"),
	  1,
	  { { F, 29, 34, 6, 0, D } },
	  "",
	  false },
	{ "8 bit", T(FROM "\nA: \xe4\xff\n\n\x80\n\n"), 1, { { F, 9, 12, 7, 0, D } }, "", false },
	{ "text before",
	  T("hello\n\n" FROM "\nA: b\n\nx\n\n"),
	  1,
	  { { F + 7, 8, 11, 6, 0, D } },
	  "",
	  false },
	{ "hidden",
	  T(FROM "\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 "
		 "2\n\nx\n\n" FROM "\nA: b\n\nx\n\n"),
	  1,
	  { { 2 * F + 75, 8, 11, 6, 0, D } },
	  "",
	  true },
	{ "hidden alone",
	  T(FROM
	    "\nx-imap: 1 2\r\nsubject:DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA \r\n\nx"),
	  0,
	  { { 0 } },
	  "\n\n",
	  true },
	{ "not hidden: one of both",
	  T(FROM "\nX-IMAP: 1 2\n\nx\n\n"),
	  1,
	  { { F, 15, 18, 13, 0, D } },
	  "",
	  false },
	{ "not hidden: other field",
	  T(FROM "\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAPbase: 1 "
		 "2\n\nx\n\n"),
	  1,
	  { { F, 78, 82, 76, 0, D } },
	  "",
	  false },
	{ "not hidden: other subject",
	  T(FROM
	    "\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATAS\nX-IMAP: 1 2\n\nx\n\n"),
	  1,
	  { { F, 75, 79, 73, 0, D } },
	  "",
	  false },
	{ "not hidden: in the text",
	  T(FROM "\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\nX-IMAP: 1 2\n\n"),
	  1,
	  { { F, 72, 75, 60, 0, D } },
	  "",
	  false },
	{ "not hidden: second",
	  T(FROM
	    "\n\n" FROM
	    "\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nx\n\n"),
	  2,
	  { { F, 0, 0, 0, 0, W | D }, { 2 * F + 1, 74, 78, 72, 0, D } },
	  "",
	  false },
};

START_TEST(shapes)
{
	const struct row *r = &rows[_i];
	struct list *l = calloc(1, sizeof(*l));
	int fd = file_of(r->text, r->len);
	struct mbox_scan s = { .fd = fd, .end = r->len, .each = add, .ctx = l };

	ck_assert_ptr_nonnull(l);
	ck_assert_int_eq(mbox_scan(&s), 0);
	ck_assert_msg(l->n == r->n, "%s: %zu messages", r->name, l->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct msg *m = &l->m[i];
		const struct want *w = &r->want[i];

#define SAME(have, wanted)                                                \
	ck_assert_msg((uint64_t)(have) == (uint64_t)(wanted),             \
		      "%s, %zu: " #have " is %llu, not %llu", r->name, i, \
		      (unsigned long long)(have), (unsigned long long)(wanted))
		SAME(m->offset, w->offset);
		SAME(m->length, w->length);
		SAME(m->octets, w->octets);
		SAME(m->header_length, w->header);
		SAME(m->trailing_octets, w->trailing);
		SAME(m->flags, w->flags);
		ck_assert_int_eq(mbox_verify(fd, m), 0);
	}
	ck_assert_msg(s.missing_len == strlen(r->missing) &&
			      memcmp(s.missing, r->missing, s.missing_len) == 0,
		      "%s: missing %d", r->name, s.missing_len);
	ck_assert_msg(s.hidden == r->hidden, "%s", r->name);
	close(fd);
	free(l);
}
END_TEST

/* What is missing, once added, changes no octet and leaves nothing missing. */
START_TEST(completed)
{
	const struct row *r = &rows[_i];
	struct list *l = calloc(2, sizeof(*l));
	int fd = file_of(r->text, r->len);
	struct mbox_scan s = { .fd = fd, .end = r->len, .each = add, .ctx = &l[0] };
	struct mbox_scan t = { .fd = fd, .each = add, .ctx = &l[1] };

	ck_assert_ptr_nonnull(l);
	ck_assert_int_eq(mbox_scan(&s), 0);
	ck_assert_int_eq(pwrite(fd, s.missing, s.missing_len, (off_t)r->len), s.missing_len);
	t.end = r->len + s.missing_len;
	ck_assert_int_eq(mbox_scan(&t), 0);
	ck_assert_uint_eq(l[0].n, l[1].n);
	ck_assert_int_eq(t.missing_len, 0);
	for (size_t i = 0; i < l[0].n; i++) {
		SAME(l[0].m[i].octets, l[1].m[i].octets);
		SAME(l[0].m[i].trailing_octets, l[1].m[i].trailing_octets);
	}
	close(fd);
	free(l);
}
END_TEST

/* --- the plain second implementation ------------------------------------ */

static size_t separator(const uint8_t *d, size_t n, size_t i)
{
	size_t end = i, len;

	if (i > 0 && d[i - 1] != '\n' && d[i - 1] != 0)
		return 0;
	while (end < n && d[end] != '\n' && end - i <= MBOX_FROM_MAX)
		end++;
	len = end - i;
	if (end < n && len > 0 && d[end - 1] == '\r')
		len--;
	if (end < n)
		end++;
	if (end - i > MBOX_FROM_MAX || !mbox_is_from((const char *)d + i, len))
		return 0;
	return end - i;
}

/* Length of an empty line that ends at `end` of the content, else 0. */
static size_t empty_line(const uint8_t *d, size_t start, size_t end)
{
	if (end - start >= 2 && d[end - 2] == '\r' && d[end - 1] == '\n' &&
	    (end - start == 2 || d[end - 3] == '\n'))
		return 2;
	if (end - start >= 1 && d[end - 1] == '\n' && (end - start == 1 || d[end - 2] == '\n'))
		return 1;
	return 0;
}

static void measure(const uint8_t *d, size_t n, size_t from, size_t start, struct list *l)
{
	struct msg m = { .offset = start, .from_length = (uint32_t)(start - from) };
	size_t i, line = start;
	bool header = true, wire = true, dot = false;

	n -= empty_line(d, start, n);
	m.length = n - start;
	for (i = start; i < n; i++) {
		m.octets++;
		if (i == line && d[i] == '.')
			dot = true;
		if (d[i] != '\n')
			continue;
		if (i == start || d[i - 1] != '\r') {
			m.octets++;
			wire = false;
		}
		if (header && empty_line(d, start, i + 1)) {
			header = false;
			m.header_length = (uint32_t)(i + 1 - start);
		}
		line = i + 1;
	}
	if (line < n) {
		m.octets += 2;
		wire = false;
	}
	if (header)
		m.header_length = (uint32_t)m.length;
	for (i = n; empty_line(d, start, i); i -= empty_line(d, start, i))
		m.trailing_octets += 2;
	m.flags = (wire ? MESSAGE_WIRE_FORM : 0u) | (dot ? 0u : MESSAGE_NO_DOT);
	m.header_sum = sum64_of(d + from, m.from_length + m.header_length);
	add(l, &m);
}

static void plain_scan(const uint8_t *d, size_t n, struct list *l)
{
	size_t from = 0, start = 0, len;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		len = separator(d, n, i);
		if (!len)
			continue;
		if (any)
			measure(d, i, from, start, l);
		any = true;
		from = i;
		start = i + len;
	}
	if (any)
		measure(d, n, from, start, l);
}

static uint64_t seed;
static uint32_t dice(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

static const struct {
	const char *text;
	size_t len;
} tokens[] = {
	{ T(FROM "\n") },
	{ T(FROM "\r\n") },
	{ T(FROM "\n\n") },
	{ T("\n" FROM) },
	{ T("From ") },
	{ T("From x\n") },
	{ T("\n") },
	{ T("\r\n") },
	{ T("\r") },
	{ T("\0") },
	{ T(".") },
	{ T("x") },
	{ T("Subject: hello\n") },
	{ T("F") },
	{ T("body body body body body body\n") },
	{ T("\n\n\n\n") },
	{ T("\r\n\r\n") },
	{ T("\0" FROM "\n") },
	{ T("\n.\n..\n") },
};

static size_t random_file(uint8_t *d, size_t max)
{
	size_t n = 0, pieces = 1 + dice(60);

	while (pieces--) {
		uint32_t t = dice(N_ELEMS(tokens));
		size_t len = tokens[t].len, repeat = 1;

		if (dice(40) == 0) /* so that pieces meet the border of the window */
			repeat = (262144 - 64 + dice(128)) / len;
		else if (dice(20) == 0)
			repeat = dice(1200) / len + 1;
		if (repeat > 4 && memmem(tokens[t].text, len, "From ", 5))
			repeat = 4;
		for (; repeat && n + len <= max; repeat--) {
			memcpy(d + n, tokens[t].text, len);
			n += len;
		}
	}
	return n;
}

static void compare(const struct list *a, const struct list *b, uint64_t which)
{
	ck_assert_msg(a->n == b->n, "file %llu: %zu, %zu messages", (unsigned long long)which, a->n,
		      b->n);
	for (size_t i = 0; i < a->n; i++) {
		const struct msg *m = &a->m[i], *w = &b->m[i];

		ck_assert_msg(m->offset == w->offset && m->length == w->length &&
				      m->octets == w->octets && m->header_sum == w->header_sum &&
				      m->header_length == w->header_length &&
				      m->from_length == w->from_length &&
				      m->trailing_octets == w->trailing_octets &&
				      m->flags == w->flags,
			      "file %llu, message %zu", (unsigned long long)which, i);
	}
}

START_TEST(random_files)
{
	size_t max = 1 << 20;
	uint8_t *d = malloc(max);
	struct list *l = calloc(3, sizeof(*l));

	ck_assert(d && l);
	for (unsigned k = 0; k < 100; k++) {
		uint64_t which = seed = (uint64_t)_i * 1000 + k;
		size_t n = random_file(d, max);
		int fd = file_of(d, n);
		struct mbox_scan s = { .fd = fd, .end = n, .each = add, .ctx = &l[0] };
		struct mbox_scan rest = { .fd = fd, .end = n, .each = add, .ctx = &l[2] };

		l[0].n = l[1].n = l[2].n = 0;
		ck_assert_int_eq(mbox_scan(&s), 0);
		plain_scan(d, n, &l[1]);
		compare(&l[0], &l[1], which);
		ck_assert_uint_eq(s.messages, l[0].n);
		for (size_t i = 0; i < l[0].n; i++)
			ck_assert_int_eq(mbox_verify(fd, &l[0].m[i]), 0);
		/* Going on at any message gives the rest. */
		if (l[0].n) {
			size_t i = dice((uint32_t)l[0].n);

			rest.start = l[0].m[i].offset - l[0].m[i].from_length;
			ck_assert_int_eq(mbox_separator_at(fd, rest.start, n), 1);
			ck_assert_int_eq(mbox_scan(&rest), 0);
			l[0].n -= i;
			memmove(l[0].m, l[0].m + i, l[0].n * sizeof(l[0].m[0]));
			compare(&l[2], &l[0], which);
			ck_assert_uint_eq(rest.last, s.last);
			ck_assert_mem_eq(rest.missing, s.missing, s.missing_len);
		}
		close(fd);
	}
	free(d);
	free(l);
}
END_TEST

/* Every loop finds the same, whatever the alignment and the range. */
START_TEST(finders)
{
	static const char letters[] = "\n\n\rFx.\0";
	uint8_t d[64 + 512 + MBOX_FIND_AHEAD];

	seed = (uint64_t)_i + 7;
	for (unsigned k = 0; k < 4000; k++) {
		size_t from = 64 + dice(64), to = from + dice(300);
		bool header = dice(2);
		struct mbox_tally want = { 0 };
		size_t at;

		for (size_t i = 0; i < sizeof(d); i++)
			d[i] = (uint8_t)(dice(3) ? 'y' : letters[dice(sizeof(letters) - 1)]);
		at = mbox_find_nth(0)(d, from, to, header, &want);
		for (unsigned v = 1; mbox_find_nth(v); v++) {
			struct mbox_tally have = { 0 };

			ck_assert_uint_eq(mbox_find_nth(v)(d, from, to, header, &have), at);
			ck_assert_uint_eq(have.bare, want.bare);
			ck_assert_int_eq(have.dots != 0, want.dots != 0);
		}
		for (size_t i = from; i < at; i++)
			ck_assert(!((d[i] == '\n' || d[i] == 0) && d[i + 1] == 'F'));
	}
}
END_TEST

/* A file that shrank is no crash and no message. */
START_TEST(shrunk)
{
	static const char text[] = FROM "\nA: b\n\nbody\n\n";
	struct list *l = calloc(1, sizeof(*l));
	int fd = file_of(text, sizeof(text) - 1);
	struct mbox_scan s = { .fd = fd, .end = sizeof(text), .each = add, .ctx = l };
	struct msg m;

	ck_assert_ptr_nonnull(l);
	ck_assert_int_eq(mbox_scan(&s), POP_E_CHANGED);
	s.end--;
	ck_assert_int_eq(mbox_scan(&s), 0);
	m = l->m[0];
	ck_assert_int_eq(mbox_verify(fd, &m), 0);
	ck_assert_int_eq(pwrite(fd, "B", 1, (off_t)m.offset), 1);
	ck_assert_int_eq(mbox_verify(fd, &m), POP_E_CHANGED);
	ck_assert_int_eq(pwrite(fd, "A", 1, (off_t)m.offset), 1);
	ck_assert_int_eq(mbox_verify(fd, &m), 0);
	ck_assert_int_eq(pwrite(fd, "f", 1, 0), 1);
	ck_assert_int_eq(mbox_verify(fd, &m), POP_E_CHANGED);
	ck_assert_int_eq(ftruncate(fd, 10), 0);
	ck_assert_int_eq(mbox_verify(fd, &m), POP_E_CHANGED);
	close(fd);
	free(l);
}
END_TEST

/* A header section above its bound, one of several windows, and a huge last line. */
START_TEST(large)
{
	static const size_t sizes[] = { 262144 - 100, 262144, 1000000, MBOX_HEADER_MAX - F - 5,
					MBOX_HEADER_MAX + 5 };
	size_t body = sizes[_i], n;
	uint8_t *d = malloc(body + 1000);
	struct list *l = calloc(2, sizeof(*l));
	struct mbox_scan s = { .each = add, .ctx = &l[0] };

	ck_assert(d && l);
	n = (size_t)snprintf((char *)d, 1000, "%s\nA: ", FROM);
	memset(d + n, 'h', body);
	n += body;
	n += (size_t)snprintf((char *)d + n, 900, "\nB: c\n\nbody\n\n%s\nA: b\n\nbody\n\n", FROM);
	s.fd = file_of(d, n);
	s.end = n;
	ck_assert_int_eq(mbox_scan(&s), 0);
	plain_scan(d, n, &l[1]);
	if (body >= MBOX_HEADER_MAX) {
		l[1].m[0].header_length = MBOX_HEADER_MAX;
		l[1].m[0].header_sum = sum64_of(d, F + MBOX_HEADER_MAX);
	}
	compare(&l[0], &l[1], body);
	ck_assert_int_eq(mbox_verify(s.fd, &l[0].m[0]), 0);
	close(s.fd);
	free(d);
	free(l);
}
END_TEST

/* --- holes -------------------------------------------------------------- */

static const struct hole_row {
	const char *name, *before, *after;
} hole_rows[] = {
	{ "in a body", FROM "\nA: b\n\nbody\n", "\nend\n\n" FROM "\nC: d\n\n" },
	{ "in a header", FROM "\nA: b\nC: ", "\nE: f\n\nbody\n\n" FROM "\n\n" },
	{ "before a message", FROM "\nA: b\n\nbody", FROM "\nA: b\n\nbody\n\n" },
	{ "before no message", FROM "\nA: b\n\nbody", "From nobody\n" },
	{ "at the end", FROM "\nA: b\n\nbody", "" },
	{ "alone", "", "" },
	{ "at the start", "", FROM "\nA: b\n\nbody\n\n" },
};
static const uint64_t hole_sizes[] = { 1, 4096, 300000, 2 * MBOX_HEADER_MAX + 12345 };

/* The same octets, the NULs stored or not, are the same messages. */
START_TEST(holes)
{
	const struct hole_row *r = &hole_rows[(size_t)_i / N_ELEMS(hole_sizes)];
	uint64_t hole = hole_sizes[(size_t)_i % N_ELEMS(hole_sizes)];
	size_t before = strlen(r->before), after = strlen(r->after), n = before + hole + after;
	struct list *l = calloc(2, sizeof(*l));
	char *d = calloc(1, n);

	memcpy(d, r->before, before);
	memcpy(d + before + hole, r->after, after);
	for (int i = 0; i < 2; i++) {
		int fd = file_of(d, i ? before : n);
		struct mbox_scan s = { .fd = fd, .end = n, .each = add, .ctx = &l[i] };

		if (i) {
			ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
			ck_assert_int_eq(pwrite(fd, r->after, after, (off_t)(before + hole)),
					 (ssize_t)after);
		}
		ck_assert_int_eq(mbox_scan(&s), 0);
		close(fd);
	}
	ck_assert_msg(l[0].n == l[1].n, "%s", r->name);
	ck_assert_msg(!memcmp(l[0].m, l[1].m, l[0].n * sizeof(l[0].m[0])), "%s", r->name);
	free(d);
	free(l);
}
END_TEST

/* What is large on paper only is no work: an exabyte, twice. */
START_TEST(huge)
{
	const char text[] = FROM "\nA: b\n\nbody\n";
	const uint64_t hole = UINT64_C(1) << 60;
	struct list *l = calloc(1, sizeof(*l));
	int fd = file_of(text, sizeof(text) - 1);
	struct mbox_scan s = { .fd = fd, .end = 2 * hole, .each = add, .ctx = l };

	ck_assert_int_eq(pwrite(fd, text, sizeof(text) - 1, (off_t)hole), sizeof(text) - 1);
	ck_assert_int_eq(ftruncate(fd, (off_t)(2 * hole)), 0);
	ck_assert_int_eq(mbox_scan(&s), 0);
	ck_assert_uint_eq(l->n, 2);
	ck_assert_uint_eq(l->m[0].length, hole - F);
	ck_assert_uint_eq(l->m[1].offset, hole + F);
	ck_assert_uint_eq(l->m[1].length, hole - F);
	close(fd);
	free(l);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mbox_scan");
	TCase *tc = tcase_create("scan");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, shapes, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, completed, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, random_files, 0, 4);
	tcase_add_loop_test(tc, finders, 0, 4);
	tcase_add_test(tc, shrunk);
	tcase_add_loop_test(tc, large, 0, 5);
	tcase_add_loop_test(tc, holes, 0, N_ELEMS(hole_rows) * N_ELEMS(hole_sizes));
	tcase_add_test(tc, huge);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
