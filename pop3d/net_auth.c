/*
 * net_auth.c - AUTHORIZATION: USER, PASS, and CAPA.
 *
 * Runs in:  session.
 * Trusts:   the monitor's answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"

/* RFC 2449 section 5: the same before and after login. */
enum reply cmd_capa(struct net *n, const struct net_args *args)
{
	enum reply r = net_ok(n, "capabilities follow");
	char expire[32] = "NEVER", delay[48] = "";

	(void)args;
	if (n->conf->expire != CONF_EXPIRE_NEVER)
		snprintf(expire, sizeof(expire), "%u", n->conf->expire);
	if (n->conf->login_delay > 0)
		snprintf(delay, sizeof(delay), "LOGIN-DELAY %u\r\n", n->conf->login_delay);
	if (r == REPLY_OK) {
		char text[512];
		int len = snprintf(text, sizeof(text),
				   "%sTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"
				   "EXPIRE %s\r\n%sIMPLEMENTATION pop3d\r\n.\r\n",
				   n->start->clear_login ? "USER\r\n" : "", expire, delay);

		r = net_put(n, text, (size_t)len);
	}
	return r;
}

enum reply cmd_user(struct net *n, const struct net_args *args)
{
	/* before the password travels */
	if (!n->start->clear_login)
		return net_err(n, "a password in the clear is not accepted here");
	memcpy(n->login, args->word[0], args->len[0] + 1);
	n->has_login = true;
	return net_ok(n, "send PASS");
}

static enum reply say_no(struct net *n, enum ipc_verdict verdict)
{
	switch (verdict) {
	case VERDICT_AUTH:
		return net_err(n, "[AUTH] wrong user name or password");
	case VERDICT_IN_USE:
		return net_err(n, "[IN-USE] another session has this maildrop; try again later");
	case VERDICT_PERM:
		return net_err(n, "[SYS/PERM] this maildrop cannot be opened; the server's log "
				  "says why");
	default:
		return net_err(n, "[SYS/TEMP] not possible now; try again later");
	}
}

/* Room for what the client marks, and the transaction begins. */
static enum reply open_transaction(struct net *n, struct ipc_msg *m)
{
	n->read_only = ipc_get_u8(m) != 0;
	n->count = ipc_get_u64(m);
	n->octets = ipc_get_u64(m);
	if (m->n_fds != 1 || n->count > SIZE_MAX / 2 - 8)
		return net_fail(n, POP_E_CORRUPT);
	ipc_init(&n->drop, ipc_take_fd(m), ROLE_SESSION, ROLE_MAILDROP, PH_TRANS);
	n->map_size = (size_t)(n->count + 7) / 8;
	n->maps = calloc(2, n->map_size + 1);
	if (!n->maps || ipc_end(m) < 0)
		return net_fail(n, POP_E_CORRUPT);
	n->io.watch[1] = n->drop.fd;
	n->phase = PH_TRANS;
	return net_ok(n, "maildrop has %llu message%s (%llu octets)", (unsigned long long)n->count,
		      n->count == 1 ? "" : "s", (unsigned long long)n->octets);
}

static int ask(struct net *n, const struct net_args *args, struct ipc_msg *m)
{
	int err;

	ipc_start(m, IPC_LOGIN_ASK);
	ipc_put_u8(m, LOGIN_USERPASS);
	ipc_put_str(m, n->login, strlen(n->login));
	ipc_put_str(m, args->word[0], args->len[0]);
	err = ipc_send(&n->monitor, m);
	explicit_bzero(m->payload, m->len);
	explicit_bzero(args->word[0], args->len[0]);
	if (err == 0)
		err = ipc_recv(&n->monitor, m);
	return err;
}

enum reply cmd_pass(struct net *n, const struct net_args *args)
{
	struct ipc_msg m;
	uint8_t verdict;
	bool close_it;
	enum reply r;
	int err;

	if (!n->has_login)
		return net_err(n, "give USER first");
	n->has_login = false;
	/* the password is in the input buffer too, until the next line overwrites it */
	explicit_bzero(n->io.in_buf, n->io.in_start);
	err = ask(n, args, &m);
	if (err < 0)
		return net_fail(n, POP_E_DENIED);
	verdict = ipc_get_u8(&m);
	close_it = ipc_get_u8(&m) != 0;
	if (verdict == VERDICT_OK)
		return open_transaction(n, &m);
	ipc_end(&m);
	r = say_no(n, (enum ipc_verdict)verdict);
	if (r == REPLY_ERR && close_it) {
		n->reason = END_REFUSED;
		return REPLY_END;
	}
	return r;
}
