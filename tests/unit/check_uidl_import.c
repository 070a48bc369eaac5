/*
 * check_uidl_import.c - what is read from the lists of other servers, and that
 * no octet more than there is.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "uidl_import.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define HEX40	   "000102030405060708090a0b0c0d0e0f10111213"
#define HEX64	   HEX40 "1415161718191a1b1c1d1e1f"

enum form { DOVECOT, COURIER, CYRUS, TRANSCRIPT };

struct seen {
	char text[1024]; /* "BASE=ID;" for each entry, or "OCTETS/DIGEST_LEN=ID;" */
	size_t len;
};

static int each(void *ctx, const struct import_entry *e)
{
	struct seen *s = ctx;

	if (e->base)
		s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%.*s=%s;",
					   (int)e->base_len, e->base, e->id);
	else
		s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len,
					   "%lld/%zu%s=%s;", (long long)e->octets, e->digest_len,
					   e->has_plain ? "+" : "", e->id);
	ck_assert_uint_lt(s->len, sizeof(s->text));
	return 0;
}

/* From memory that ends where the text does, so that a sanitizer sees one octet too many. */
static int run(enum form form, const char *format, const char *text, size_t len, struct seen *s,
	       struct pop_why *why)
{
	char *copy = malloc(len ? len : 1);
	int err;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, len);
	memset(s, 0, sizeof(*s));
	if (form == DOVECOT)
		err = import_dovecot(copy, len, format, each, s, why);
	else if (form == COURIER)
		err = import_courier(copy, len, each, s, why);
	else if (form == CYRUS)
		err = import_cyrus(copy, len, each, s, why);
	else
		err = import_transcript(copy, len, each, s, why);
	free(copy);
	return err;
}

static const struct {
	const char *name;
	enum form form;
	const char *format, *text;
	int err;
	const char *seen;
} rows[] = {
	{ "uidlist 3", DOVECOT, "%08Xu%08Xv", "3 V255 N9 Gab\n18 W7 :a:2,S\n19 :b", 0,
	  "a=00000012000000ff;b=00000013000000ff;" },
	{ "uidlist 1", DOVECOT, "%v-%u", "1 7 9\n1 a:2,\n2 b c\n", 0, "a=7-1;b c=7-2;" },
	{ "guid and id", DOVECOT, "%g", "3 N9 V7\n1 Gxy :a\n2 Pid Gz :b\n3 :c\n", 0,
	  "a=xy;b=id;c=c;" },
	{ "width", DOVECOT, "%3u|%03u|%Xv|%2f|%%", "3 V31\n5 :abc\n", 0, "abc=  5|005|1f|ab|%;" },
	{ "no lines", DOVECOT, "%u", "3 V1 N1\n", 0, "" },
	{ "CRLF", DOVECOT, "%u", "3 V1 N1\r\n1 :a\r\n\r\n", 0, "a=1;" },
	{ "blank and colon in a name", DOVECOT, "%u", "3 V1\n1 W2 :a b\n", 0, "a b=1;" },
	{ "version 2", DOVECOT, "%u", "2 V1\n", POP_E_VERSION, "" },
	{ "bad uid", DOVECOT, "%u", "3 V1\n+1 :a\n", POP_E_SYNTAX, "" },
	{ "colon alone", DOVECOT, "%u", "3 V1\n1 :\n", POP_E_SYNTAX, "" },
	{ "flags alone", DOVECOT, "%u", "3 V1\n1 ::2,S\n", POP_E_SYNTAX, "" },
	{ "uid alone", DOVECOT, "%u", "3 V1\n1", POP_E_SYNTAX, "" },
	{ "uid alone, version 1", DOVECOT, "%u", "1 5 5\n1", POP_E_SYNTAX, "" },
	{ "open format", DOVECOT, "%", "3 V1\n1 :a\n", POP_E_SYNTAX, "" },
	{ "hex of a name", DOVECOT, "%Xf", "3 V1\n1 :a\n", POP_E_SYNTAX, "" },
	{ "sizelist 3", COURIER, NULL, "/3 9 5\na:2,S 17 1:5:0\nb c 1 2:0:1\n", 0,
	  "a=UID1-5;b c=UID2;" },
	{ "sizelist 2", COURIER, NULL, "/2 9 5\na 17 1:5\nb 1 0:0\n", 0, "a=UID1-5;b=b;" },
	{ "sizelist 1", COURIER, NULL, "/1 9\na 17 12\n", 0, "a=UID12;" },
	{ "no version", COURIER, NULL, "a+'\"\xff:2,S 17\n", 0, "a+'\"\xff=a+2B+27+22+FF;" },
	{ "empty", COURIER, NULL, "", 0, "" },
	{ "version 9", COURIER, NULL, "/9 1 1\n", POP_E_VERSION, "" },
	{ "one word", COURIER, NULL, "/3 1 1\nab\n", POP_E_SYNTAX, "" },
	{ "two words", COURIER, NULL, "/3 1 1\nab 1:1:1\n", POP_E_SYNTAX, "" },
	{ "flags alone, courier", COURIER, NULL, "/3 1 1\n:2,S 1 1:1:1\n", POP_E_SYNTAX, "" },
	{ "mbexamine", CYRUS, NULL,
	  "  UIDValidity: 77  Last UID: 9\n POP3_NEW_UIDL\n000001> UID:00000007   SIZE:12  \n"
	  " GUID:" HEX40 "\n000002> UID:00000008   SIZE:13\n",
	  0, "12/20=77.7;" },
	{ "mbexamine, old form", CYRUS, NULL, "UIDValidity: 77\n1> UID:7 SIZE:12\n GUID:" HEX40, 0,
	  "12/20=7;" },
	{ "GUID too short", CYRUS, NULL, "UIDValidity: 77\n1> UID:7 SIZE:12\n GUID:00", 0, "" },
	{ "no uidvalidity", CYRUS, NULL, "1> UID:7 SIZE:12\n", POP_E_SYNTAX, "" },
	{ "transcript", TRANSCRIPT, NULL,
	  "+OK\r\n# c\n1 a 5 " HEX64 "\r\n2 b 6 " HEX64 " " HEX64 "\n.\r\n", 0, "5/32=a;6/32+=b;" },
	{ "UIDL alone", TRANSCRIPT, NULL, "1 a\n", POP_E_SYNTAX, "" },
	{ "digest cut", TRANSCRIPT, NULL, "1 a 5 00", POP_E_SYNTAX, "" },
	{ "second digest cut", TRANSCRIPT, NULL, "1 a 5 " HEX64 " 0", POP_E_SYNTAX, "" },
};

START_TEST(test_rows)
{
	struct pop_why why = { "" };
	struct seen s;
	int err =
		run(rows[_i].form, rows[_i].format, rows[_i].text, strlen(rows[_i].text), &s, &why);

	ck_assert_msg(err == rows[_i].err, "%s: %d (%s)", rows[_i].name, err, why.text);
	ck_assert_msg(strcmp(s.text, rows[_i].seen) == 0, "%s: %s", rows[_i].name, s.text);
	ck_assert_msg(!err || why.text[0], "%s: no reason", rows[_i].name);
}
END_TEST

/* Every beginning of every text, and every text with one octet changed, is read without harm. */
START_TEST(test_torn)
{
	const char *text = rows[_i].text;
	size_t len = strlen(text);
	struct pop_why why;
	struct seen s;
	char copy[512];

	for (size_t n = 0; n <= len; n++)
		run(rows[_i].form, rows[_i].format, text, n, &s, &why);
	ck_assert_uint_lt(len, sizeof(copy));
	for (size_t n = 0; n < len; n++) {
		static const char odd[] = { '\0', '\n', ' ', ':', '9', '\xff' };

		for (size_t i = 0; i < sizeof(odd); i++) {
			memcpy(copy, text, len);
			copy[n] = odd[i];
			run(rows[_i].form, rows[_i].format, copy, len, &s, &why);
		}
	}
}
END_TEST

static const struct {
	const char *name, *header, *field;
	int len;
	const char *value;
} fields[] = {
	{ "plain", "X-UIDL: abc\n\n", "X-UIDL", 3, "abc" },
	{ "case and blanks", "a: b\nx-uidl \t:  abc \t\r\n\r\n", "X-UIDL", 3, "abc" },
	{ "folded", "X-UIDL:\n abc\n\tdef\n\n", "X-UIDL", 7, "abc\tdef" },
	{ "first of two", "X-UIDL: a\nX-UIDL: b\n", "X-UIDL", 1, "a" },
	{ "empty", "X-UIDL:\n", "X-UIDL", 0, "" },
	{ "in the body", "A: b\n\nX-UIDL: a\n", "X-UIDL", POP_E_MISSING, "" },
	{ "other name", "X-UIDLX: a\nXX-UIDL: b\n", "X-UIDL", POP_E_MISSING, "" },
	{ "in a fold", "A: b\n X-UIDL: a\n", "X-UIDL", POP_E_MISSING, "" },
	{ "too long", "X-UIDL: 0123456789abcdef\n", "X-UIDL", POP_E_LONG, "" },
	{ "no line end", "X-UIDL: a", "X-UIDL", 1, "a" },
};

START_TEST(test_fields)
{
	const char *header = fields[_i].header;
	char out[16] = "";
	int n = import_header_value(header, strlen(header), fields[_i].field, out, sizeof(out));

	ck_assert_msg(n == fields[_i].len, "%s: %d", fields[_i].name, n);
	ck_assert_msg(n < 0 || strcmp(out, fields[_i].value) == 0, "%s: %s", fields[_i].name, out);
}
END_TEST

static void piece(void *ctx, const void *data, size_t n)
{
	struct seen *s = ctx;

	ck_assert_uint_lt(s->len + n, sizeof(s->text));
	memcpy(s->text + s->len, data, n);
	s->len += n;
}

static const struct {
	const char *name, *header, *popa3d, *dovecot;
} digested[] = {
	{ "date", "Date: D\nFrom: x\n\nDate: B\n", "Date: D\n", "D" },
	{ "folds", "Date: D\n E\n\tF\n", "Date: D\n E\n\tF\n", "D E\tF" },
	{ "received hides", "Received: r\n\ts\nDate: D\nMessage-ID: m\nReceived: t\n u\n",
	  "Received: r\n\ts\n", "r\ts" },
	{ "date before it", "Date: D\nReceived: r\nDate: E\n", "Date: D\nReceived: r\n", "Dr" },
	{ "delivery", "Delivered-To: a\nX-Delivery-ID:b\nDelivered-To: c\n",
	  "Delivered-To: a\nX-Delivery-ID:b\nDelivered-To: c\n", "abc" },
	{ "blank before the colon", "Date : D\n", "", "D" },
	{ "CRLF", "date:  D\r\n", "date:  D\r\n", " D" },
	{ "nothing", "Subject: s\n Date: D\n\n", "", "" },
};

START_TEST(test_digested)
{
	const char *header = digested[_i].header;
	struct seen s = { .len = 0 };

	import_popa3d(header, strlen(header), piece, &s);
	ck_assert_msg(strcmp(s.text, digested[_i].popa3d) == 0, "%s: %s", digested[_i].name,
		      s.text);
	memset(&s, 0, sizeof(s));
	import_dovecot_md5(header, strlen(header), piece, &s);
	ck_assert_msg(strcmp(s.text, digested[_i].dovecot) == 0, "%s: %s", digested[_i].name,
		      s.text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("uidl_import");
	TCase *tc = tcase_create("parsers");
	SRunner *r;
	int failed;

	tcase_add_loop_test(tc, test_rows, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, test_torn, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, test_fields, 0, N_ELEMS(fields));
	tcase_add_loop_test(tc, test_digested, 0, N_ELEMS(digested));
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
