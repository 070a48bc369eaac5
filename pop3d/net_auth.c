/*
 * net_auth.c - AUTHORIZATION: USER, PASS, APOP, and CAPA.
 *
 * Runs in:  session.
 * Trusts:   the monitor's answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"

uint32_t net_mechs(struct net *n)
{
	struct ipc_msg m;

	if (n->mechs_known)
		return n->mechs;
	ipc_start(&m, IPC_MECHS_ASK);
	ipc_put_u8(&m, 0);
	n->mechs = ipc_call(&n->monitor, &m) == 0 ? ipc_get_u32(&m) : 0;
	if (ipc_end(&m) < 0)
		n->mechs = 0;
	n->mechs_known = true;
	return n->mechs;
}

/*
 * What is kept how long, and how often one may come: after login the user's own;
 * before, where users may differ, what holds for all (RFC 2449 sections 6.5, 6.7).
 */
static void limits(const struct net *n, char *out, size_t size)
{
	const struct conf *conf = n->conf;
	bool before = n->phase == PH_AUTH;
	bool delays_differ = conf->login_delay_max > 0;
	bool expires_differ = conf->expire_min != CONF_EXPIRE_NEVER;
	uint32_t delay = n->login_delay, expire = n->expire;
	char days[16] = "NEVER";
	int len = 0;

	if (before && delays_differ && conf->login_delay_max > delay)
		delay = conf->login_delay_max;
	if (before && expires_differ && conf->expire_min < expire)
		expire = conf->expire_min;
	if (delay > 0 || delays_differ)
		len = snprintf(out, size, "LOGIN-DELAY %u%s\r\n", delay,
			       before && delays_differ ? " USER" : "");
	expire = conf_expire_least(conf, expire);
	if (expire != CONF_EXPIRE_NEVER)
		snprintf(days, sizeof(days), "%u", expire);
	snprintf(out + len, size - (size_t)len, "EXPIRE %s%s\r\n", days,
		 before && expires_differ ? " USER" : "");
}

/* RFC 2449 section 5: the same before and after login, but for STLS. */
enum reply cmd_capa(struct net *n, const struct net_args *args)
{
	enum reply r = net_ok(n, "capabilities follow");
	char limit[96], sasl[192] = "";
	uint32_t mechs = net_mechs(n);

	(void)args;
	limits(n, limit, sizeof(limit));
	if (mechs) {
		size_t len = net_mech_words(mechs, " ", sasl + 4, sizeof(sasl) - 6);

		memcpy(sasl, "SASL", 4);
		memcpy(sasl + 4 + len, "\r\n", 3);
	}
	if (r == REPLY_OK) {
		char text[512];
		int len =
			snprintf(text, sizeof(text),
				 "%s%sTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"
				 "UTF8%s\r\nLANG\r\n%s%sIMPLEMENTATION pop3d\r\n.\r\n",
				 mechs & MECH_PLAIN ? "USER\r\n" : "", sasl,
				 n->conf->utf8_user ? " USER" : "", limit,
				 net_stls_offered(n) ? "STLS\r\n" : "");

		r = net_put(n, text, (size_t)len);
	}
	return r;
}

enum reply cmd_user(struct net *n, const struct net_args *args)
{
	/* before the password travels */
	if (!(net_mechs(n) & MECH_PLAIN))
		return net_err(n, "a password in the clear is not accepted here");
	n->has_login = net_prepare(n, args->word[0], args->len[0], n->login, sizeof(n->login));
	if (!n->has_login)
		return net_err(n,
			       "the user name is no UTF-8, or has a character that is not allowed");
	return net_ok(n, "send PASS");
}

static enum reply say_no(struct net *n, enum ipc_verdict verdict)
{
	switch (verdict) {
	case VERDICT_AUTH:
		return net_err(n, "[AUTH] wrong user name or password");
	case VERDICT_IN_USE:
		return net_err(n, "[IN-USE] another session has this maildrop; try again later");
	case VERDICT_DELAY:
		return net_err(n, "[LOGIN-DELAY] the last login was less than %u seconds ago",
			       n->login_delay);
	case VERDICT_TLS:
		return net_err(n, "[SYS/PERM] this user may log in only over TLS: use STLS, or "
				  "port 995");
	case VERDICT_SYNTAX:
		return net_err(n, "not a response of this mechanism");
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
	n->login_delay = ipc_get_u32(m);
	n->expire = ipc_get_u32(m);
	if (m->n_fds != 1 || n->count > SIZE_MAX / 2 - 8)
		return net_fail(n, POP_E_CORRUPT);
	ipc_init(&n->drop, ipc_take_fd(m), ROLE_SESSION, ROLE_MAILDROP, PH_TRANS);
	n->map_size = (size_t)(n->count + 7) / 8;
	n->keeps_seen =
		n->conf->mark_seen || conf_expire_least(n->conf, n->expire) != CONF_EXPIRE_NEVER;
	n->maps = calloc(n->keeps_seen ? 3 : 2, n->map_size + 1);
	if (!n->maps || ipc_end(m) < 0)
		return net_fail(n, POP_E_CORRUPT);
	n->io.watch[1] = n->drop.fd;
	n->phase = PH_TRANS;
	return net_ok(n, "maildrop has %llu message%s (%llu octets)", (unsigned long long)n->count,
		      n->count == 1 ? "" : "s", (unsigned long long)n->octets);
}

static int ask(struct net *n, enum mechanism mechanism, const char *login, char *secret,
	       struct ipc_msg *m)
{
	size_t len = strlen(secret);
	int err;

	ipc_start(m, IPC_LOGIN_ASK);
	ipc_put_u8(m, (uint8_t)mechanism);
	ipc_put_str(m, login, strlen(login));
	ipc_put_str(m, secret, len);
	err = ipc_send(&n->monitor, m);
	explicit_bzero(m->payload, m->len);
	explicit_bzero(secret, len);
	if (err == 0)
		err = ipc_recv(&n->monitor, m);
	return err;
}

enum reply net_finish_login(struct net *n, struct ipc_msg *m)
{
	uint8_t verdict = ipc_get_u8(m);
	bool close_it = ipc_get_u8(m) != 0;
	enum reply r;

	if (verdict == VERDICT_OK)
		return open_transaction(n, m);
	if (verdict == VERDICT_DELAY) {
		ipc_get_raw(m, 1 + 8 + 8); /* of a maildrop that is not open */
		n->login_delay = ipc_get_u32(m);
	}
	ipc_end(m);
	r = say_no(n, (enum ipc_verdict)verdict);
	n->login_delay = n->conf->login_delay;
	if (r == REPLY_ERR && close_it) {
		n->reason = END_REFUSED;
		return REPLY_END;
	}
	return r;
}

static enum reply login(struct net *n, enum mechanism mechanism, const char *name, char *secret)
{
	struct ipc_msg m;
	int err = ask(n, mechanism, name, secret, &m);

	if (err == POP_E_EOF)
		return net_gone(n); /* told to end meanwhile */
	return err < 0 ? net_fail(n, POP_E_DENIED) : net_finish_login(n, &m);
}

enum reply cmd_pass(struct net *n, const struct net_args *args)
{
	char prepared[NET_LINE_MAX + 1];
	bool fit;

	if (!n->has_login)
		return net_err(n, "give USER first");
	n->has_login = false;
	/* the password is in the input buffer too, until the next line overwrites it */
	explicit_bzero(n->io.in_buf, n->io.in_start);
	/* auth compares it as it came and as prepared */
	fit = net_prepare(n, args->word[0], args->len[0], prepared, sizeof(prepared));
	explicit_bzero(prepared, sizeof(prepared));
	if (!fit)
		return net_err(n,
			       "the password is no UTF-8, or has a character that is not allowed");
	return login(n, LOGIN_USERPASS, n->login, args->word[0]);
}

enum reply cmd_apop(struct net *n, const struct net_args *args)
{
	if (!n->start->apop)
		return net_err(n, "APOP is not offered here");
	n->has_login = false;
	net_mechs(n); /* CAPA names them after the login too, when nobody may ask any more */
	args->word[0][args->len[0]] = '\0';
	args->word[1][args->len[1]] = '\0';
	if (!net_prepare(n, args->word[0], args->len[0], n->login, sizeof(n->login)))
		return net_err(n,
			       "the user name is no UTF-8, or has a character that is not allowed");
	return login(n, LOGIN_APOP, n->login, args->word[1]);
}
