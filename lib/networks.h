/*
 * networks.h - lists of networks as the configuration writes them.
 */
#ifndef POP_NETWORKS_H
#define POP_NETWORKS_H

#include <stdbool.h>
#include <stddef.h>

/* Is this word a network, "192.0.2.0/24", "2001:db8::/32", or one address? */
bool network_ok(const char *word, size_t len);

/* Is an address ("192.0.2.1", "::1") in one of the blank-separated networks? */
bool networks_hold(const char *networks, const char *address);

#endif
