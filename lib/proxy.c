/*
 * proxy.c - the PROXY protocol's header: how long it is, and what it says.
 *
 * Runs in:  session (all but the address as text), monitor (that).
 * Trusts:   nothing in it; who may send one is the monitor's to know.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "num.h"
#include "proxy.h"

#define V1_MAX	   107 /* octets of a line with CRLF */
#define V2_FIXED   16
#define V2_VERSION 2
#define V2_LOCAL   0
#define V2_PROXY   1
#define V2_INET4   1
#define V2_INET6   2
#define V2_UNIX	   3

static const uint8_t v2_signature[12] = { '\r', '\n', '\r', '\n', 0,   '\r',
					  '\n', 'Q',  'U',  'I',  'T', '\n' };
static const uint8_t v1_word[6] = { 'P', 'R', 'O', 'X', 'Y', ' ' };

static bool begins(const uint8_t *head, size_t have, const uint8_t *word, size_t len)
{
	return memcmp(head, word, have < len ? have : len) == 0;
}

static bool is_v2(const uint8_t *head)
{
	return head[0] == v2_signature[0];
}

static size_t v2_length(const uint8_t *head)
{
	return V2_FIXED + (size_t)head[14] * 256 + head[15];
}

/* Octets of addresses in front of any TLV; POP_E_SYNTAX for a family or protocol that is none. */
static int v2_addresses(const uint8_t *head)
{
	static const uint8_t lengths[] = { 0, 12, 36, 216 };
	unsigned family = head[13] >> 4, protocol = head[13] & 15U;

	if (family > V2_UNIX || protocol > 2)
		return POP_E_SYNTAX;
	return lengths[family];
}

static int check_v2(const uint8_t *head)
{
	unsigned version = head[12] >> 4, command = head[12] & 15U;
	int addresses;

	if (version != V2_VERSION || command > V2_PROXY)
		return POP_E_SYNTAX;
	if (command == V2_LOCAL)
		return 0;
	addresses = v2_addresses(head);
	return addresses < 0 || v2_length(head) < V2_FIXED + (size_t)addresses ? POP_E_SYNTAX : 0;
}

static ssize_t more_v2(const uint8_t *head, size_t have)
{
	if (have < V2_FIXED)
		return (ssize_t)(V2_FIXED - have);
	if (check_v2(head) < 0)
		return POP_E_SYNTAX;
	return (ssize_t)(v2_length(head) - have);
}

static ssize_t more_v1(const uint8_t *head, size_t have)
{
	const uint8_t *lf = memchr(head, '\n', have);

	if (!lf)
		return have < V1_MAX ? 1 : POP_E_SYNTAX;
	return lf == head + have - 1 && lf[-1] == '\r' ? 0 : POP_E_SYNTAX;
}

ssize_t proxy_more(const uint8_t *head, size_t have)
{
	/* The shortest header, "PROXY UNKNOWN" with its line end, is longer than the signature. */
	const size_t first = sizeof(v2_signature);

	if (have > 0 && is_v2(head)) {
		if (!begins(head, have, v2_signature, first))
			return POP_E_SYNTAX;
		return have < first ? (ssize_t)(first - have) : more_v2(head, have);
	}
	if (!begins(head, have, v1_word, sizeof(v1_word)))
		return POP_E_SYNTAX;
	if (have < first)
		return memchr(head, '\n', have) ? POP_E_SYNTAX : (ssize_t)(first - have);
	return more_v1(head, have);
}

/* The next word of a line, ended by one blank or the line's end; NULL: there is none. */
static const char *next_word(const char **at, const char *end, size_t *len)
{
	const char *word = *at;
	const char *blank = memchr(word, ' ', (size_t)(end - word));

	*len = (size_t)((blank ? blank : end) - word);
	*at = blank ? blank + 1 : end;
	return *len > 0 ? word : NULL;
}

static int get_address(const char *word, size_t len, int family, uint8_t *out)
{
	char text[PROXY_ADDRESS_MAX];

	if (!word || len >= sizeof(text) || memchr(word, '\0', len))
		return POP_E_SYNTAX;
	memcpy(text, word, len);
	text[len] = '\0';
	return inet_pton(family == 4 ? AF_INET : AF_INET6, text, out) == 1 ? 0 : POP_E_SYNTAX;
}

static int get_port(const char *word, size_t len, uint16_t *out)
{
	uint64_t v;

	if (!word || (word[0] == '0' && len > 1) || num_parse(word, len, UINT16_MAX, &v) < 0)
		return POP_E_SYNTAX;
	*out = (uint16_t)v;
	return 0;
}

static int parse_v1(const char *line, size_t len, struct proxy_peer *out)
{
	const char *at = line + sizeof(v1_word), *end = line + len - 2, *word;
	uint8_t theirs[PROXY_ADDRESS_LEN];
	uint16_t port;
	size_t n;

	word = next_word(&at, end, &n);
	if (word && n == 7 && memcmp(word, "UNKNOWN", n) == 0) {
		out->kind = PROXY_UNKNOWN; /* what follows is to be ignored */
		return 0;
	}
	if (!word || n != 4 || memcmp(word, "TCP", 3) != 0 || (word[3] != '4' && word[3] != '6'))
		return POP_E_SYNTAX;
	out->kind = PROXY_CLIENT;
	out->family = word[3] - '0';
	word = next_word(&at, end, &n);
	if (get_address(word, n, out->family, out->address) < 0)
		return POP_E_SYNTAX;
	word = next_word(&at, end, &n);
	if (get_address(word, n, out->family, theirs) < 0)
		return POP_E_SYNTAX;
	word = next_word(&at, end, &n);
	if (get_port(word, n, &out->port) < 0)
		return POP_E_SYNTAX;
	word = next_word(&at, end, &n);
	if (get_port(word, n, &port) < 0 || at != end || end[-1] == ' ')
		return POP_E_SYNTAX;
	return 0;
}

static int parse_v2(const uint8_t *head, size_t len, struct proxy_peer *out)
{
	const uint8_t *at = head + V2_FIXED;
	unsigned family = head[13] >> 4;
	size_t n = family == V2_INET4 ? 4 : PROXY_ADDRESS_LEN;

	if (check_v2(head) < 0 || len != v2_length(head))
		return POP_E_SYNTAX;
	if ((head[12] & 15) == V2_LOCAL) {
		out->kind = PROXY_LOCAL; /* whatever family it names */
		return 0;
	}
	out->kind = PROXY_UNKNOWN;
	if (family != V2_INET4 && family != V2_INET6)
		return 0;
	out->kind = PROXY_CLIENT;
	out->family = family == V2_INET4 ? 4 : 6;
	memcpy(out->address, at, n);
	out->port = (uint16_t)(at[2 * n] << 8 | at[2 * n + 1]);
	return 0;
}

int proxy_parse(const uint8_t *head, size_t len, struct proxy_peer *out)
{
	memset(out, 0, sizeof(*out));
	if (len < sizeof(v2_signature) || proxy_more(head, len) != 0)
		return POP_E_SYNTAX;
	return is_v2(head) ? parse_v2(head, len, out) : parse_v1((const char *)head, len, out);
}

int proxy_address(const struct proxy_peer *peer, char out[PROXY_ADDRESS_MAX])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	const uint8_t *at = peer->address;
	int family = peer->family == 4 ? AF_INET : AF_INET6;

	if (peer->family != 4 && peer->family != 6)
		return POP_E_SYNTAX;
	if (peer->family == 6 && memcmp(at, mapped, sizeof(mapped)) == 0) {
		at += sizeof(mapped);
		family = AF_INET;
	}
	return inet_ntop(family, at, out, PROXY_ADDRESS_MAX) ? 0 : POP_E_SYNTAX;
}
