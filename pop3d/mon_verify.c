/*
 * mon_verify.c - OAuth tokens: have the program that verifies them started.
 *
 * Runs in:  monitor.
 * Trusts:   the configuration.  The token passes by it: auth and the program have
 *           the ends of the pipes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "mon.h"

#define MECHS_OAUTH (MECH_OAUTHBEARER | MECH_XOAUTH2)

/* Whom it runs as: nobody who can reach another role, and no owner of anything. */
static int find_ids(const struct monitor *mon, uint32_t *uid, uint32_t *gid)
{
	const char *name = mon->conf->oauth_user;
	uint32_t keeper_uid, keeper_gid;

	if (!mon->root) {
		*uid = (uint32_t)geteuid();
		*gid = (uint32_t)getegid();
		return 0;
	}
	if (conf_user_ids(name, uid, gid) < 0) {
		mon_log_error(mon, "oauth_user = %s: no such user", name);
		return POP_E_MISSING;
	}
	if (*uid == 0 || *gid == 0 || *uid == mon->uid ||
	    (conf_user_ids(mon->conf->keeper_user, &keeper_uid, &keeper_gid) == 0 &&
	     *uid == keeper_uid)) {
		mon_log_error(mon, "oauth_user = %s: must be an account of its own", name);
		return POP_E_UNSAFE;
	}
	return 0;
}

void mon_prepare_verifier(struct monitor *mon)
{
	uint32_t uid, gid;

	if (!(mon->conf->auth_mechanisms & MECHS_OAUTH) || !mon->conf->oauth_verifier[0] ||
	    mon_by_program(mon->conf))
		return;
	if (find_ids(mon, &uid, &gid) == 0)
		mon_start_verifier(mon, uid, gid);
}

static bool may_ask(const struct monitor *mon)
{
	return (mon->mechanism == SASL_OAUTHBEARER || mon->mechanism == SASL_XOAUTH2) &&
	       mon->auth.awaited == IPC_AUTH_SASL_ANSWER;
}

/* One end of each pipe is the program's. */
static int start(struct monitor *mon, int feed[2], int answer[2])
{
	struct ipc_msg m;
	int err;

	if (mon->verifier.fd < 0)
		return POP_E_MISSING; /* the log has it */
	if (pipe2(feed, O_CLOEXEC) < 0 || pipe2(answer, O_CLOEXEC) < 0) {
		mon_log_error(mon, "cannot start oauth_verifier: %s", strerror(errno));
		return POP_E_SYS;
	}
	ipc_start(&m, IPC_VERIFY);
	ipc_put_u8(&m, 0);
	ipc_put_fd(&m, feed[0]);
	ipc_put_fd(&m, answer[1]);
	err = ipc_send(&mon->verifier, &m);
	if (err < 0)
		mon_log_error(mon, "the verifier role has ended");
	return err;
}

static void close_pair(const int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int mon_answer_verifier(struct monitor *mon, struct ipc_msg *ask)
{
	int feed[2] = { -1, -1 }, answer[2] = { -1, -1 }, err;

	ipc_get_u8(ask);
	if (ipc_end(ask) < 0 || !may_ask(mon))
		return POP_E_CORRUPT;
	err = start(mon, feed, answer);
	ipc_start(ask, IPC_VERIFIER_ANSWER);
	ipc_put_u8(ask, err == 0 ? VERDICT_OK : VERDICT_TEMP);
	if (err == 0) {
		ipc_put_fd(ask, feed[1]);
		ipc_put_fd(ask, answer[0]);
	}
	err = ipc_send(&mon->auth, ask);
	close_pair(feed);
	close_pair(answer);
	return err;
}
