/*
 * net_run.c - the session role: greeting, commands one after the other, the end.
 *
 * Runs in:  session, as unprivileged_user in the empty root.
 * Trusts:   nothing.  It knows no secret but the password passing through.
 */
#include <string.h>
#include <sysexits.h>
#include "net.h"

/* Static: its pages cost nothing until they are used. */
static struct net session;

static enum reply greet(struct net *n)
{
	const char *challenge = n->start->apop;
	enum reply r = net_ok(n, "%s POP3 server ready%s%s", n->conf->hostname,
			      challenge ? " " : "", challenge ? challenge : "");

	return r == REPLY_OK && net_flush(&n->io) < 0 ? net_fail(n, POP_E_EOF) : r;
}

/* What a proxy says of the client, and TLS where it comes first: then the greeting. */
static enum reply begin(struct net *n)
{
	int err = 0;

	if (n->start->proxy)
		err = net_proxy(n);
	if (err == 0 && n->start->implicit)
		err = net_enter_tls(n);
	return err < 0 ? net_fail(n, err) : greet(n);
}

enum reply net_no_line(struct net *n, int err)
{
	if (err == POP_E_DENIED) /* better one answer too many than none */
		return net_gone(n);
	net_fail(n, err);
	if (err == POP_E_TIME)
		n->reason = END_IDLE; /* autologout says nothing, RFC 1939 section 3 */
	return REPLY_FAIL;
}

static enum reply next_command(struct net *n)
{
	static char line[NET_RESPONSE_MAX + 1]; /* few of its pages are ever used */
	int err = net_read_line(&n->io, line);
	enum reply r;

	if (err < 0 && err != POP_E_LONG && err != POP_E_SYNTAX)
		return net_no_line(n, err);
	net_confirm_sent(n);
	r = net_command(n, line, err);
	explicit_bzero(line, err > 0 ? (size_t)err : 0);
	n->errs = r == REPLY_ERR ? n->errs + 1 : 0;
	if (n->errs >= NET_ERRS_MAX && n->phase == PH_AUTH) {
		n->reason = END_REFUSED;
		return REPLY_END;
	}
	return r;
}

static void tell_end(struct net *n)
{
	struct ipc_msg m;

	ipc_start(&m, IPC_SESSION_END);
	ipc_put_u8(&m, (uint8_t)n->reason);
	ipc_put_u64(&m, n->n_retr);
	ipc_put_u64(&m, n->n_top);
	ipc_put_u64(&m, n->n_dele);
	ipc_put_u64(&m, n->io.sent);
	ipc_put_u64(&m, n->n_removed);
	ipc_send(&n->monitor, &m);
}

int net_run(const struct net_start *start)
{
	struct net *n = &session;
	enum reply r;

	n->start = start;
	n->conf = start->conf;
	n->phase = PH_AUTH;
	n->mechs = start->mechs;
	/* asked for when the handshake is done, or the client known */
	n->mechs_known = !start->tls && !start->proxy;
	n->stls = start->tls ? STLS_DONE : start->stls ? STLS_UNKNOWN : STLS_NO;
	n->login_delay = n->conf->login_delay;
	n->expire = n->conf->expire;
	n->drop.fd = -1;
	ipc_init(&n->monitor, start->monitor_fd, ROLE_SESSION, ROLE_MONITOR, PH_AUTH);
	net_io_init(&n->io, start->fd_in, start->fd_out, (int)n->conf->idle_timeout * 1000,
		    n->monitor.fd);
	r = begin(n);
	while (r == REPLY_OK || r == REPLY_ERR)
		r = next_command(n);
	if (n->reason != END_QUIT)
		net_tell_retrieved(n);
	/* the maildrop role ends with its pair: the lock is free while we still drain */
	n->io.watch[1] = -1;
	ipc_close(&n->drop);
	if (r == REPLY_END && net_flush(&n->io) < 0)
		n->reason = n->reason == END_QUIT ? END_LOST : n->reason;
	tell_end(n);
	ipc_close(&n->monitor);
	net_drain(&n->io);
	return EX_OK;
}
