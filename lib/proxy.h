/*
 * proxy.h - the PROXY protocol's header, versions 1 and 2 (HAProxy's proxy-protocol.txt).
 *
 * It stands before everything else on a connection and tells for whom a proxy makes it.
 * Not one octet behind it may be read with it: what follows may be the start of a TLS
 * handshake that another process has to see.  So a reader asks how much it may read:
 *
 *	while ((more = proxy_more(head, have)) > 0) { read at most more octets; ... }
 */
#ifndef POP_PROXY_H
#define POP_PROXY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "err.h"

#define PROXY_HEAD_MAX	  232	/* octets that are kept: a v1 line, or v2 with its addresses */
#define PROXY_ADDRESS_LEN 16	/* IPv6; IPv4 stands in the first four */
#define PROXY_ADDRESS_MAX 46	/* of an address as text, with its NUL */
#define PROXY_LENGTH_MAX  65551 /* octets of the longest header, v2 with TLVs */

enum proxy_kind {
	PROXY_CLIENT = 1, /* an IP address and a port follow */
	PROXY_UNKNOWN,	  /* for somebody, who has no IP address or is not told */
	PROXY_LOCAL,	  /* for the proxy itself: a health check */
};

struct proxy_peer {
	enum proxy_kind kind;
	int family;			    /* 4 or 6; 0 where there is no address */
	uint8_t address[PROXY_ADDRESS_LEN]; /* in network order */
	uint16_t port;
};

/*
 * How many octets may be read now, of a header whose first `have` octets have come; the
 * first PROXY_HEAD_MAX of them stand in head.  0: it is whole.  POP_E_SYNTAX: what came
 * begins no header; found as early as can be.
 */
ssize_t proxy_more(const uint8_t *head, size_t have);

/* Read a header that is whole, of len octets.  0, or POP_E_SYNTAX. */
int proxy_parse(const uint8_t *head, size_t len, struct proxy_peer *out);

/*
 * The address as text, an IPv4 address inside IPv6 as IPv4.  0, or POP_E_SYNTAX where
 * the family is none.
 */
int proxy_address(const struct proxy_peer *peer, char out[PROXY_ADDRESS_MAX]);

#endif
