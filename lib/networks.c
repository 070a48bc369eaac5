/*
 * networks.c - is an address in a network?
 *
 * Runs in:  monitor, pop3admin.
 * Trusts:   nothing.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "networks.h"
#include "num.h"

struct network {
	int family;
	uint8_t octets[sizeof(struct in6_addr)];
	uint64_t bits;
};

static bool parse(const char *word, size_t len, struct network *net)
{
	const char *slash = memchr(word, '/', len);
	size_t addr_len = slash ? (size_t)(slash - word) : len;
	char text[INET6_ADDRSTRLEN];

	if (addr_len >= sizeof(text))
		return false;
	memcpy(text, word, addr_len);
	text[addr_len] = '\0';
	if (inet_pton(AF_INET, text, net->octets) == 1)
		net->family = AF_INET;
	else if (inet_pton(AF_INET6, text, net->octets) == 1)
		net->family = AF_INET6;
	else
		return false;
	net->bits = net->family == AF_INET ? 32 : 128;
	return !slash || num_parse(slash + 1, len - addr_len - 1, net->bits, &net->bits) == 0;
}

bool network_ok(const char *word, size_t len)
{
	struct network net;

	return parse(word, len, &net);
}

static bool holds(const struct network *net, const struct network *address)
{
	size_t whole = net->bits / 8, rest = net->bits % 8;

	if (net->family != address->family || memcmp(net->octets, address->octets, whole) != 0)
		return false;
	return rest == 0 || (net->octets[whole] ^ address->octets[whole]) >> (8 - rest) == 0;
}

bool networks_hold(const char *networks, const char *address)
{
	struct network net, one;
	size_t len;

	if (!parse(address, strlen(address), &one) || strchr(address, '/'))
		return false;
	for (; *networks; networks += len) {
		networks += strspn(networks, " \t");
		len = strcspn(networks, " \t");
		if (len && parse(networks, len, &net) && holds(&net, &one))
			return true;
	}
	return false;
}
