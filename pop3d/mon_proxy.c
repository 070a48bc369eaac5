/*
 * mon_proxy.c - for whom a proxy has come.
 *
 * Until the session has reported its header nothing else is believed of it, and
 * no auth role is there.
 *
 * Runs in:  monitor.
 * Trusts:   the peers that proxy_protocol names, as far as the client's address
 *           goes.  The session that read it can lie about it, and win what a
 *           client behind that proxy could.
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include "mon.h"
#include "networks.h"
#include "proxy.h"

bool mon_is_proxied(const struct monitor *mon)
{
	return mon->conf->proxy_protocol[0] &&
	       networks_hold(mon->conf->proxy_protocol, mon->address);
}

static bool is_loopback(const char *address)
{
	return networks_hold("127.0.0.0/8 ::1", address);
}

static int take_client(struct monitor *mon, const struct proxy_peer *peer)
{
	if (proxy_address(peer, mon->address) < 0)
		return POP_E_CORRUPT;
	snprintf(mon->port, sizeof(mon->port), "%u", (unsigned)peer->port);
	/* a far proxy's loopback is not ours */
	mon->local = mon->local && is_loopback(mon->address);
	return 0;
}

int mon_take_proxy(struct monitor *mon, struct ipc_msg *note)
{
	struct proxy_peer peer = { .family = 0 };
	uint8_t kind = ipc_get_u8(note);
	const uint8_t *address;
	char why[96];
	uint32_t port;
	int err = 0;

	peer.family = ipc_get_u8(note);
	address = ipc_get_raw(note, sizeof(peer.address));
	if (address)
		memcpy(peer.address, address, sizeof(peer.address));
	port = ipc_get_u32(note);
	ipc_get_str(note, why, sizeof(why));
	if (ipc_end(note) < 0 || !mon->awaits_proxy || kind < REPORT_CLIENT || kind >= REPORT_N ||
	    port > UINT16_MAX)
		return POP_E_CORRUPT;
	peer.port = (uint16_t)port;
	if (kind == REPORT_BROKEN || kind == REPORT_NOTHING) {
		if (kind == REPORT_BROKEN)
			mon_log_error(mon, "PROXY header: %s", why);
		else
			mon_log_drop(mon, LOG_DEBUG, "PROXY header: none came");
		return 0;
	}
	if (kind == REPORT_CLIENT)
		err = take_client(mon, &peer);
	else if (kind == REPORT_UNKNOWN)
		mon->local = false; /* whoever it is */
	if (err < 0)
		return err;
	mon->awaits_proxy = false;
	mon_meet_client(mon);
	return 0;
}
