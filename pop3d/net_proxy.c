/*
 * net_proxy.c - the PROXY header: read before everything else, reported once.
 *
 * Exactly its octets are read, by read(2) of as many as it may still have: what
 * follows is the client's, perhaps to be seen by the tls role alone.
 *
 * Runs in:  session.
 * Trusts:   the monitor, that this peer is one to be believed.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "fsutil.h"
#include "net.h"
#include "proxy.h"

#define HEADER_MS 10000

/* The whole header; the length, or an error with what is wrong. */
static int read_header(struct net *n, uint8_t head[PROXY_HEAD_MAX], const char **why)
{
	int64_t until_ms = fs_now_ms() + HEADER_MS;
	uint8_t dropped[1024] = { 0 };
	size_t have = 0;
	ssize_t more, got;
	int err;

	while ((more = proxy_more(head, have)) > 0) {
		/* what is behind the addresses is of no interest */
		bool keep = have < PROXY_HEAD_MAX;
		size_t room = keep ? PROXY_HEAD_MAX - have : sizeof(dropped);

		err = net_wait_input(&n->io, until_ms);
		if (err == POP_E_TIME)
			*why = "not whole in time";
		if (err < 0)
			return err;
		got = read(n->io.in, keep ? head + have : dropped,
			   (size_t)more < room ? (size_t)more : room);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			*why = have > 0 ? "cut short" : "";
			return POP_E_EOF;
		}
		have += (size_t)got;
	}
	if (more < 0)
		*why = "what came is none";
	return more < 0 ? POP_E_SYNTAX : (int)have;
}

static int report(struct net *n, enum ipc_proxy kind, const struct proxy_peer *peer,
		  const char *why)
{
	struct ipc_msg m;

	ipc_start(&m, IPC_PROXY);
	ipc_put_u8(&m, (uint8_t)kind);
	ipc_put_u8(&m, (uint8_t)peer->family);
	ipc_put_raw(&m, peer->address, sizeof(peer->address));
	ipc_put_u32(&m, peer->port);
	ipc_put_str(&m, why, strlen(why));
	return ipc_send(&n->monitor, &m);
}

int net_proxy(struct net *n)
{
	static const enum ipc_proxy kinds[] = { [PROXY_CLIENT] = REPORT_CLIENT,
						[PROXY_UNKNOWN] = REPORT_UNKNOWN,
						[PROXY_LOCAL] = REPORT_LOCAL };
	struct proxy_peer peer = { .family = 0 };
	uint8_t head[PROXY_HEAD_MAX];
	const char *why = "what came is none";
	int err = read_header(n, head, &why);

	if (err >= 0)
		err = proxy_parse(head, (size_t)err, &peer);
	if (err == 0)
		return report(n, kinds[peer.kind], &peer, "");
	memset(&peer, 0, sizeof(peer));
	if (err != POP_E_DENIED)
		report(n, *why ? REPORT_BROKEN : REPORT_NOTHING, &peer, why);
	return err == POP_E_SYNTAX || err == POP_E_TIME ? POP_E_EOF : err;
}
