/*
 * fuzz_proxy.c - a PROXY header as it comes: read by exact sizes, never an octet
 * of what follows it, and no header is half believed.
 *
 * Input: what the proxy sends, and what the client sends behind it.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz.h"
#include "proxy.h"

/* As the session reads it; octets read, or -1 where it is none, -2 where it is not whole. */
static long read_header(const uint8_t *data, size_t size, uint8_t *head, bool one_by_one)
{
	size_t have = 0;
	ssize_t more;

	while ((more = proxy_more(head, have)) > 0) {
		size_t n = (size_t)more;

		MUST(have + n <= PROXY_LENGTH_MAX);
		if (have == size)
			return -2;
		if (n > size - have)
			n = size - have;
		if (one_by_one)
			n = 1;
		for (size_t i = 0; i < n; i++)
			if (have + i < PROXY_HEAD_MAX)
				head[have + i] = data[have + i];
		have += n;
	}
	return more < 0 ? -1 : (long)have;
}

static void check_text(const struct proxy_peer *peer)
{
	char text[PROXY_ADDRESS_MAX];
	uint8_t octets[16];

	if (proxy_address(peer, text) < 0) {
		MUST(peer->family != 4 && peer->family != 6);
		return;
	}
	MUST(strlen(text) < sizeof(text));
	MUST(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, octets) == 1);
	if (peer->family == 4)
		MUST(memcmp(octets, peer->address, 4) == 0);
}

/* A line of version 1 is what it says: sscanf(3) sees the same address in it. */
static void check_line(const uint8_t *head, size_t len, const struct proxy_peer *peer)
{
	char *line = fuzz_string(head, len), word[64] = "", source[64] = "";
	uint8_t octets[16];

	MUST(len >= 2 && line[len - 1] == '\n' && line[len - 2] == '\r');
	MUST(len <= 107 && strncmp(line, "PROXY ", 6) == 0);
	sscanf(line + 6, "%63s %63s", word, source);
	if (peer->kind == PROXY_CLIENT) {
		MUST(strcmp(word, peer->family == 4 ? "TCP4" : "TCP6") == 0);
		MUST(inet_pton(peer->family == 4 ? AF_INET : AF_INET6, source, octets) == 1);
		MUST(memcmp(octets, peer->address, peer->family == 4 ? 4 : 16) == 0);
	} else {
		MUST(strncmp(word, "UNKNOWN", 7) == 0);
	}
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t head[PROXY_HEAD_MAX] = { 0 }, again[PROXY_HEAD_MAX] = { 0 };
	long len = read_header(data, size, head, false);
	struct proxy_peer peer = { .family = 0 };
	int err;

	/* how it arrives changes nothing */
	MUST(read_header(data, size, again, true) == len);
	if (len < 0)
		return 0;
	MUST(len >= 8 && (size_t)len <= size);
	err = proxy_parse(head, (size_t)len, &peer);
	MUST(err == 0 || err == POP_E_SYNTAX);
	if (err < 0)
		return 0;
	MUST(peer.kind >= PROXY_CLIENT && peer.kind <= PROXY_LOCAL);
	MUST((peer.kind == PROXY_CLIENT) == (peer.family == 4 || peer.family == 6));
	check_text(&peer);
	if (head[0] == 'P')
		check_line(head, (size_t)len, &peer);
	return 0;
}
