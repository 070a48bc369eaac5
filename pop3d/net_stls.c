/*
 * net_stls.c - STLS: from plaintext to TLS (RFC 2595).
 *
 * The session never sees TLS.  It hands the client over: from then on it talks
 * to the tls role, and everything but the peer and the count of failures
 * begins anew.
 *
 * Runs in:  session.
 * Trusts:   the monitor's answers.
 */
#include <string.h>
#include <unistd.h>
#include "net.h"

bool net_stls_offered(struct net *n)
{
	struct ipc_msg m;
	bool offered;

	if (n->utf8) /* RFC 6856 section 2.1 */
		return false;
	if (n->phase != PH_AUTH || n->stls == STLS_NO || n->stls == STLS_DONE)
		return false;
	if (n->stls == STLS_OFFERED)
		return true;
	ipc_start(&m, IPC_TLS_OFFER_ASK);
	ipc_put_u8(&m, 0);
	n->stls = STLS_NO;
	if (ipc_call(&n->monitor, &m) < 0)
		return false; /* the end of the pair is seen by the next read */
	offered = ipc_get_u8(&m) != 0;
	if (ipc_end(&m) == 0 && offered)
		n->stls = STLS_OFFERED;
	return n->stls == STLS_OFFERED;
}

/* The monitor starts the tls role on the client's socket; ours is a new one. */
int net_enter_tls(struct net *n)
{
	struct ipc_msg m;
	int err, fd = -1;

	close(n->io.in);
	if (n->io.out != n->io.in)
		close(n->io.out);
	n->io.in = n->io.out = -1;
	ipc_start(&m, IPC_TLS_ASK);
	ipc_put_u8(&m, 0);
	err = ipc_call(&n->monitor, &m);
	if (err < 0)
		return err;
	if (ipc_get_u8(&m) == VERDICT_OK)
		fd = ipc_take_fd(&m);
	if (ipc_end(&m) < 0 || fd < 0)
		return POP_E_DENIED;
	n->io.in = n->io.out = fd;
	n->io.socket = true;
	n->stls = STLS_DONE;
	n->mechs_known = false;
	return 0;
}

enum reply cmd_stls(struct net *n, const struct net_args *args)
{
	enum reply r;
	int err;

	(void)args;
	if (n->stls == STLS_DONE)
		return net_err(n, "TLS is in use already");
	if (n->utf8)
		return net_err(n, "STLS is not possible after UTF8");
	if (!net_stls_offered(n))
		return net_err(n, "TLS is not available here");
	/* what came before the handshake was sent by anybody */
	explicit_bzero(n->io.in_buf, n->io.in_end);
	n->io.in_start = n->io.in_end = 0;
	n->io.skipping = false;
	explicit_bzero(n->login, sizeof(n->login));
	n->has_login = false;
	r = net_ok(n, "begin TLS");
	if (r != REPLY_OK)
		return r;
	err = net_flush(&n->io);
	if (err == 0)
		err = net_enter_tls(n);
	if (err < 0)
		return net_fail(n, err);
	n->language = 0;
	return REPLY_OK;
}
