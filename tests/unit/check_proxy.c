/*
 * check_proxy.c - PROXY headers: how far to read, what they say, what is none.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proxy.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define SIG	   "\r\n\r\n\0\r\nQUIT\n"
#define V4	   "\300\0\2\7\306\063\144\011\022\147\000\156" /* 192.0.2.7 198.51.100.9 4711 110 */
#define V6                                           \
	"\040\001\015\270\0\0\0\0\0\0\0\0\0\0\0\001" \
	"\040\001\015\270\0\0\0\0\0\0\0\0\0\0\0\002\022\147\003\343"
#define MAPPED                                   \
	"\0\0\0\0\0\0\0\0\0\0\377\377\300\0\2\7" \
	"\040\001\015\270\0\0\0\0\0\0\0\0\0\0\0\002\022\147\003\343"
#define TLV "\004\0\2xx\352\0\3abc"

static const struct row {
	const char *name, *text;
	size_t len;
	int kind; /* 0: none */
	const char *address;
	uint16_t port;
} rows[] = {
#define ROW(name, text, ...)                              \
	{                                                 \
		name, text, sizeof(text) - 1, __VA_ARGS__ \
	}
	ROW("TCP4", "PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\r\n", PROXY_CLIENT, "192.0.2.7",
	    4711),
	ROW("TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 995\r\n", PROXY_CLIENT, "2001:db8::1",
	    4711),
	ROW("TCP6, mapped", "PROXY TCP6 ::ffff:192.0.2.7 ::1 1 995\r\n", PROXY_CLIENT, "192.0.2.7",
	    1),
	ROW("TCP4, least", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", PROXY_CLIENT, "0.0.0.0", 0),
	ROW("TCP4, most", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
	    PROXY_CLIENT, "255.255.255.255", 65535),
	ROW("TCP6, longest",
	    "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	    PROXY_CLIENT, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
	ROW("UNKNOWN", "PROXY UNKNOWN\r\n", PROXY_UNKNOWN, NULL, 0),
	ROW("UNKNOWN with more",
	    "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	    PROXY_UNKNOWN, NULL, 0),
	ROW("v2 TCP4", SIG "\041\021\0\014" V4, PROXY_CLIENT, "192.0.2.7", 4711),
	ROW("v2 UDP4", SIG "\041\022\0\014" V4, PROXY_CLIENT, "192.0.2.7", 4711),
	ROW("v2 TCP6", SIG "\041\041\0\044" V6, PROXY_CLIENT, "2001:db8::1", 4711),
	ROW("v2 TCP6, mapped", SIG "\041\041\0\044" MAPPED, PROXY_CLIENT, "192.0.2.7", 4711),
	ROW("v2 with TLVs", SIG "\041\021\0\027" V4 TLV, PROXY_CLIENT, "192.0.2.7", 4711),
	ROW("v2 with TLVs that are none", SIG "\041\021\0\017" V4 "\004\377\377", PROXY_CLIENT,
	    "192.0.2.7", 4711),
	ROW("v2 unspecified", SIG "\041\0\0\0", PROXY_UNKNOWN, NULL, 0),
	ROW("v2 unspecified, more", SIG "\041\0\0\3xyz", PROXY_UNKNOWN, NULL, 0),
	ROW("LOCAL", SIG "\040\0\0\0", PROXY_LOCAL, NULL, 0),
	ROW("LOCAL with addresses", SIG "\040\021\0\014" V4, PROXY_LOCAL, NULL, 0),
	ROW("LOCAL of a family to come", SIG "\040\377\0\1x", PROXY_LOCAL, NULL, 0),
	/* none */
	ROW("a command", "CAPA\r\n", 0, NULL, 0),
	ROW("TLS", "\026\003\001\002\000\001", 0, NULL, 0),
	ROW("an empty line", "\r\n", 0, NULL, 0),
	ROW("small letters", "proxy TCP4 192.0.2.7 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("no family", "PROXY \r\nCAPA\r\n", 0, NULL, 0),
	ROW("another family", "PROXY UDP4 192.0.2.7 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("unknown, longer", "PROXY UNKNOWNX\r\n", 0, NULL, 0),
	ROW("the other family", "PROXY TCP6 192.0.2.7 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("IPv6 for IPv4", "PROXY TCP4 2001:db8::1 2001:db8::2 4711 110\r\n", 0, NULL, 0),
	ROW("no address", "PROXY TCP4 192.0.2 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("a NUL", "PROXY TCP4 192.0.2.7\0 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("a word too few", "PROXY TCP4 192.0.2.7 198.51.100.9 4711\r\n", 0, NULL, 0),
	ROW("a word too many", "PROXY TCP4 192.0.2.7 198.51.100.9 4711 110 1\r\n", 0, NULL, 0),
	ROW("two blanks", "PROXY TCP4  192.0.2.7 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("a blank at the end", "PROXY TCP4 192.0.2.7 198.51.100.9 4711 110 \r\n", 0, NULL, 0),
	ROW("a tab", "PROXY TCP4\t192.0.2.7 198.51.100.9 4711 110\r\n", 0, NULL, 0),
	ROW("port too high", "PROXY TCP4 192.0.2.7 198.51.100.9 65536 110\r\n", 0, NULL, 0),
	ROW("port with a sign", "PROXY TCP4 192.0.2.7 198.51.100.9 +711 110\r\n", 0, NULL, 0),
	ROW("port with a nought", "PROXY TCP4 192.0.2.7 198.51.100.9 0711 110\r\n", 0, NULL, 0),
	ROW("no port", "PROXY TCP4 192.0.2.7 198.51.100.9  110\r\n", 0, NULL, 0),
	ROW("bare LF", "PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\n", 0, NULL, 0),
	ROW("CR CR LF", "PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\r\r\n", 0, NULL, 0),
	ROW("too long",
	    "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n",
	    0, NULL, 0),
	ROW("v2 bad signature", "\r\n\r\n\0\r\nQUIX\n\041\021\0\014" V4, 0, NULL, 0),
	ROW("v2 of version 1", SIG "\021\021\0\014" V4, 0, NULL, 0),
	ROW("v2 of version 3", SIG "\061\021\0\014" V4, 0, NULL, 0),
	ROW("v2 another command", SIG "\042\021\0\014" V4, 0, NULL, 0),
	ROW("v2 another family", SIG "\041\101\0\014" V4, 0, NULL, 0),
	ROW("v2 another protocol", SIG "\041\023\0\014" V4, 0, NULL, 0),
	ROW("v2 too short for IPv4", SIG "\041\021\0\013" V4, 0, NULL, 0),
	ROW("v2 too short for IPv6", SIG "\041\041\0\043" V6, 0, NULL, 0),
	ROW("v2 too short for a path", SIG "\041\061\0\014" V4, 0, NULL, 0),
#undef ROW
};

/* As the session reads: never more than it is told, and of what comes in pieces of `piece`. */
static ssize_t read_as_told(const char *text, size_t len, size_t piece, uint8_t *head)
{
	size_t have = 0;
	ssize_t more;

	while ((more = proxy_more(head, have)) > 0) {
		size_t n = (size_t)more < piece ? (size_t)more : piece;

		if (have == len)
			return POP_E_EOF;
		if (n > len - have)
			n = len - have;
		for (size_t i = 0; i < n; i++)
			if (have + i < PROXY_HEAD_MAX)
				head[have + i] = (uint8_t)text[have + i];
		have += n;
	}
	return more < 0 ? more : (ssize_t)have;
}

START_TEST(headers)
{
	static const char behind[] = "\026\003\001CAPA\r\n\r\nPROXY ";
	const struct row *r = &rows[_i];
	char *text = malloc(r->len + sizeof(behind));
	char address[PROXY_ADDRESS_MAX];
	struct proxy_peer peer;

	memcpy(text, r->text, r->len);
	memcpy(text + r->len, behind, sizeof(behind));
	for (size_t piece = 1; piece <= r->len + sizeof(behind); piece++) {
		uint8_t head[PROXY_HEAD_MAX] = { 0 };
		ssize_t n = read_as_told(text, r->len + sizeof(behind), piece, head);
		int err = n < 0 ? (int)n : proxy_parse(head, (size_t)n, &peer);

		if (!r->kind) {
			ck_assert_msg(err == POP_E_SYNTAX, "%s, by %zu: %d", r->name, piece, err);
			continue;
		}
		ck_assert_msg(err == 0, "%s, by %zu: %d", r->name, piece, err);
		ck_assert_msg((size_t)n == r->len, "%s: %zd read", r->name, n);
		ck_assert_msg((int)peer.kind == r->kind, "%s: kind %d", r->name, (int)peer.kind);
		ck_assert_int_eq(proxy_address(&peer, address), r->address ? 0 : POP_E_SYNTAX);
		if (r->address)
			ck_assert_str_eq(address, r->address);
		ck_assert_uint_eq(peer.port, r->port);
	}
	free(text);
}
END_TEST

/* Cut anywhere, a header asks for more and is never taken for whole. */
START_TEST(cut)
{
	const struct row *r = &rows[_i];
	struct proxy_peer peer;

	if (!r->kind)
		return;
	for (size_t len = 0; len < r->len; len++) {
		uint8_t head[PROXY_HEAD_MAX] = { 0 };

		ck_assert_int_eq(read_as_told(r->text, len, 1, head), POP_E_EOF);
		ck_assert_int_eq(proxy_parse(head, len, &peer), POP_E_SYNTAX);
	}
}
END_TEST

/* The longest there is: its TLVs are passed, and nothing of them is kept. */
START_TEST(longest)
{
	char *text = calloc(1, PROXY_LENGTH_MAX + 100);
	uint8_t head[PROXY_HEAD_MAX];
	struct proxy_peer peer;

	memcpy(text, SIG "\041\021\377\377" V4, 28);
	ck_assert_int_eq(read_as_told(text, PROXY_LENGTH_MAX + 100, 1000, head), PROXY_LENGTH_MAX);
	ck_assert_int_eq(proxy_parse(head, PROXY_LENGTH_MAX, &peer), 0);
	ck_assert_uint_eq(peer.port, 4711);
	free(text);
}
END_TEST

/* What begins no header is found at its first octet that is wrong. */
START_TEST(early)
{
	ck_assert_int_eq(proxy_more((const uint8_t *)"C", 1), POP_E_SYNTAX);
	ck_assert_int_eq(proxy_more((const uint8_t *)"PRX", 3), POP_E_SYNTAX);
	ck_assert_int_eq(proxy_more((const uint8_t *)"\r\n\n", 3), POP_E_SYNTAX);
	ck_assert_int_eq(proxy_more((const uint8_t *)"PROXY \n", 7), POP_E_SYNTAX);
	ck_assert_int_eq(proxy_more((const uint8_t *)"", 0), 12);
	ck_assert_int_eq(proxy_more((const uint8_t *)"PRO", 3), 9);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("proxy");
	TCase *tc = tcase_create("proxy");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, headers, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, cut, 0, N_ELEMS(rows));
	tcase_add_test(tc, longest);
	tcase_add_test(tc, early);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
