/*
 * check_downgrade.c - header sections in ASCII: what each kind of field becomes,
 * and what holds for all of them, whatever is in them.
 */
#include <stdlib.h>
#include <string.h>

#include "downgrade.h"
#include "saslprep.h"
#include "scratch.h"
#include "utf8.h"

static const struct row {
	const char *name, *head, *want;
} rows[] = {
	{ "ASCII stays", "Subject: a\n b\r\nX :y\nno field\n\n",
	  "Subject: a\n b\r\nX :y\nno field\n\n" },
	{ "text", "Subject: Gr\303\274\303\237e\n", "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\n" },
	{ "words around it stay", "Subject: a b \303\274 c \303\237 d\r\n",
	  "Subject: a b =?UTF-8?B?w7wgYyDDnw==?= d\r\n" },
	{ "CRLF and a fold", "X-Note: a\r\n b \303\274\r\n c\r\n",
	  "X-Note: a\r\n b =?UTF-8?B?w7w=?=\r\n c\r\n" },
	{ "a long text on several lines",
	  "Subject: "
	  "\303\244\303\244\303\244\303\244\303\244\303\244\303\244\303\244\303\244\303\244"
	  "\303\244\303\244\303\244\303\244\303\244\303\244\303\244\303\244\303\244\303\244"
	  "\303\244\303\244\303\244\n",
	  "Subject: =?UTF-8?B?w6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOkw6Q=?=\n"
	  " =?UTF-8?B?w6Q=?=\n" },
	{ "no UTF-8", "Subject: caf\351\n", "Subject: =?UTF-8?B?Y2Fm77+9?=\n" },
	{ "half of a pair of UTF-16", "Subject: a\355\240\200\n",
	  "Subject: =?UTF-8?B?Ye+/ve+/ve+/vQ==?=\n" },
	{ "a name", "From: J\303\266rg <j@x.org>\n", "From: =?UTF-8?B?SsO2cmc=?=\n <j@x.org>\n" },
	{ "a quoted name, and others", "To: a@b, \"J\303\266rg, \\\"x\" <j@x.org> , c@d\n",
	  "To: a@b, =?UTF-8?B?SsO2cmcsICJ4?=\n <j@x.org>, c@d\n" },
	{ "an address", "To: j\303\266rg@x.org, c@d\n",
	  "To: =?UTF-8?B?asO2cmdAeC5vcmc=?= :;, c@d\n" },
	{ "a name and an address", "From: J <j@\303\274.org>\n",
	  "From: =?UTF-8?B?SiBqQMO8Lm9yZw==?= :;\n" },
	{ "a comment", "From: j@x.org (\303\274 x)\n", "From: j@x.org (=?UTF-8?B?w7wgeA==?=)\n" },
	{ "a group", "To: \303\274: a@b, \303\266@b;, c@d\n",
	  "To: =?UTF-8?B?w7w=?=: a@b, (=?UTF-8?B?w7ZAYg==?=);, c@d\n" },
	{ "an address in the name of a group", "To: x <\303\274@a> y: b@c;, d@e\n",
	  "To: =?UTF-8?B?eCB5IMO8QGE=?=: b@c;, d@e\n" },
	{ "a domain literal", "To: \303\266 <a@[IPv6:::1]>\n",
	  "To: =?UTF-8?B?w7Y=?=\n <a@[IPv6:::1]>\n" },
	{ "a file name", "Content-Disposition: attachment; filename=\"\303\274 1.txt\"; size=1\n",
	  "Content-Disposition: attachment;\n filename*=UTF-8''%C3%BC%201.txt; size=1\n" },
	{ "a bare value", "content-type: text/plain; name=\303\274\n",
	  "content-type: text/plain;\n name*=UTF-8''%C3%BC\n" },
	{ "a long value",
	  "Content-Type: a/b; "
	  "name=\"\303\274\303\274\303\274\303\274\303\274\303\274\303\274\303\274"
	  "\303\274\303\274\303\274\"\n",
	  "Content-Type: a/b;\n "
	  "name*0*=UTF-8''%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%C3%BC%"
	  "C3%BC;\n name*1*=%C3%BC\n" },
	{ "no parameter", "Content-Type: a/\303\274; b=c\n",
	  "Downgraded-Content-Type: =?UTF-8?B?YS/DvDsgYj1j?=\n" },
	{ "an id", "Message-ID: <\303\274@x>\n", "Downgraded-Message-ID: =?UTF-8?B?PMO8QHg+?=\n" },
	{ "a name that is none", "X\303\274: y\n", "Downgraded-Line: =?UTF-8?B?WMO8OiB5?=\n" },
	{ "no colon", "\303\274\n", "Downgraded-Line: =?UTF-8?B?w7w=?=\n" },
	{ "an unfinished last line", "Subject: \303\274", "Subject: =?UTF-8?B?w7w=?=" },
	{ "empty address field", "To:\303\274\n", "To:=?UTF-8?B?w7w=?= :;\n" },
	{ "unfinished quotes", "To: \"\303\274 <a@b>\n", "To: =?UTF-8?B?w7wgPGFAYj4=?= :;\n" },
};

START_TEST(kinds)
{
	const struct row *r = &rows[_i];
	struct buf out;
	char got[1024];

	buf_init(&out, DOWNGRADE_OUT_MAX);
	ck_assert_int_eq(downgrade_head((const uint8_t *)r->head, strlen(r->head), &out), 0);
	snprintf(got, sizeof(got), "%.*s", (int)buf_len(&out), (const char *)buf_data(&out));
	ck_assert_msg(strcmp(got, r->want) == 0, "%s: %s", r->name, got);
	buf_release(&out);
}
END_TEST

/* Any octets at all: the result is ASCII, has as many fields, and no long line of ours. */
START_TEST(anything)
{
	static const char *const bits[] = {
		"From:",
		"To: ",
		"Subject:",
		"Content-Type: a/b;",
		"Message-ID:",
		"X: ",
		"\n",
		"\r\n",
		"\n ",
		"\r\n\t",
		"\303\274",
		"\342\202\254",
		"\360\237\230\200",
		"\377",
		"\303",
		"\"",
		"\\",
		"(",
		")",
		"<",
		">",
		",",
		";",
		":",
		"=",
		"a",
		"bc ",
		"@x.org",
		"[",
		"]",
		"*",
		"%",
		"=?",
		"name=",
		"\t",
		"\n\n",
		"'",
		" :;",
	};
	uint8_t head[2000];
	struct buf out;

	srand((unsigned)_i + 1);
	buf_init(&out, DOWNGRADE_OUT_MAX);
	for (unsigned round = 0; round < 400; round++) {
		size_t n = 0;
		bool any;

		for (unsigned k = (unsigned)rand() % 60; k > 0; k--) {
			const char *bit = bits[(size_t)rand() % N_ELEMS(bits)];

			memcpy(head + n, bit, strlen(bit));
			n += strlen(bit);
		}
		buf_clear(&out);
		any = utf8_any_8bit(head, n);
		ck_assert_int_eq(downgrade_head(head, n, &out), 0);
		ck_assert_msg(!utf8_any_8bit(buf_data(&out), buf_len(&out)), "%.*s", (int)n, head);
		if (!any)
			ck_assert_msg(buf_len(&out) == n && memcmp(buf_data(&out), head, n) == 0,
				      "%.*s", (int)n, head);
		/* the end of the header section is where it was: nowhere, or at the end */
		if (downgrade_head_length(head, n) == 0)
			ck_assert_uint_eq(downgrade_head_length(buf_data(&out), buf_len(&out)), 0);
	}
	buf_release(&out);
}
END_TEST

START_TEST(lengths)
{
	static const struct {
		const char *data;
		size_t want;
	} ends[] = {
		{ "", 0 },	     { "\n", 1 },    { "\r\n", 2 },
		{ "a", 0 },	     { "a\n", 0 },   { "a\n\nb", 3 },
		{ "a\r\n\r\n", 5 },  { "a\n\r", 0 }, { "a\n\r\r\n\nb", 6 },
		{ "a\r\r\n\nb", 5 },
	};

	for (size_t i = 0; i < N_ELEMS(ends); i++)
		ck_assert_msg(downgrade_head_length((const uint8_t *)ends[i].data,
						    strlen(ends[i].data)) == ends[i].want,
			      "%zu", i);
}
END_TEST

START_TEST(eight_bit)
{
	char text[40];

	for (size_t n = 0; n < sizeof(text); n++) {
		memset(text, 'a', sizeof(text));
		ck_assert(!utf8_any_8bit(text, n));
		for (size_t i = 0; i < sizeof(text); i++) {
			text[i] = (char)0x80;
			ck_assert_int_eq(utf8_any_8bit(text, n), i < n);
			text[i] = 'a';
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("downgrade");
	TCase *tc = tcase_create("downgrade");

	tcase_add_loop_test(tc, kinds, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, anything, 0, 8);
	tcase_add_test(tc, lengths);
	tcase_add_test(tc, eight_bit);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
