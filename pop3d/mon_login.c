/*
 * mon_login.c - a login, from the session's question to its answer.
 *
 * Runs in:  monitor.
 * Trusts:   auth's answer, after checking it.  Not the session, whose question
 *           it passes on unread.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "mon.h"
#include "fsutil.h"

static int send_answer(struct monitor *mon, enum ipc_verdict verdict, bool close_it, bool read_only,
		       uint64_t count, uint64_t octets, int fd)
{
	bool sasl = mon->session.owed == IPC_SASL_ANSWER, known;
	struct ipc_msg m;

	ipc_start(&m, sasl ? IPC_SASL_ANSWER : IPC_LOGIN_ANSWER);
	if (sasl)
		ipc_put_u8(&m, SASL_VERDICT);
	ipc_put_u8(&m, (uint8_t)verdict);
	ipc_put_u8(&m, close_it);
	ipc_put_u8(&m, read_only);
	ipc_put_u64(&m, count);
	ipc_put_u64(&m, octets);
	/* of a user who has not shown that it is him, nothing */
	known = verdict == VERDICT_OK || verdict == VERDICT_DELAY;
	ipc_put_u32(&m, known ? mon->login.login_delay : 0);
	ipc_put_u32(&m, known ? mon->login.expire : 0);
	if (fd >= 0)
		ipc_put_fd(&m, fd);
	return ipc_send(&mon->session, &m);
}

/* What was counted and logged before is only answered. */
static int answer_failure(struct monitor *mon, enum ipc_verdict verdict, bool close_it)
{
	mon->phase = mon->session.phase = PH_AUTH;
	if (mon->drop_session_fd >= 0) {
		close(mon->drop_session_fd);
		mon->drop_session_fd = -1;
	}
	if (mon->session.fd < 0 ||
	    (mon->session.owed != IPC_LOGIN_ANSWER && mon->session.owed != IPC_SASL_ANSWER))
		return 0;
	if (close_it)
		mon_await_end(mon); /* no further credential is looked at */
	return send_answer(mon, verdict, close_it, false, 0, 0, -1);
}

int mon_fail_login(struct monitor *mon, enum ipc_verdict verdict, bool close_it)
{
	mon_record_failure(mon, verdict);
	return answer_failure(mon, verdict, close_it);
}

/* What a file that cannot be opened means for the client: never [AUTH]. */
static enum ipc_verdict verdict_of(int err)
{
	return err == POP_E_UNSAFE ? VERDICT_PERM : VERDICT_TEMP;
}

int mon_answer_login(struct monitor *mon, struct ipc_msg *ask)
{
	enum ipc_verdict verdict = VERDICT_TEMP;
	bool sasl = ask->type == IPC_SASL_ASK;
	int err;

	/* of the question only this octet is ours to read */
	mon->mechanism = ask->payload[0];
	if (sasl ? mon->mechanism < SASL_PLAIN || mon->mechanism >= MECHANISM_N
		 : mon->mechanism != LOGIN_USERPASS && mon->mechanism != LOGIN_APOP)
		return POP_E_CORRUPT;
	ask->type = sasl ? IPC_AUTH_SASL_ASK : IPC_AUTH_ASK;
	err = mon_ask_auth(mon, ask, &verdict);
	if (err == POP_E_CORRUPT)
		return err;
	return err < 0 ? mon_fail_login(mon, verdict, mon->auth.fd < 0) : 0;
}

/* An id of pop3d's own: a takeover of a role that runs under it must yield no mail. */
static bool is_ours(const struct monitor *mon, const struct mon_login *l)
{
	uint32_t uid, gid;

	if (l->uid == mon->uid || l->gid == mon->gid)
		return true;
	/* looked up here, not at the start: only a login needs it, or TLS */
	return conf_user_ids(mon->conf->keeper_user, &uid, &gid) == 0 &&
	       (l->uid == uid || l->gid == gid);
}

/* Whose mail may be opened at all, whatever auth says. */
static int check_identity(const struct monitor *mon, struct pop_why *why)
{
	const struct mon_login *l = &mon->login;

	/* -1 would leave root's id in force */
	if (l->uid == 0 || l->gid == 0 || l->uid == USER_NO_ID || l->gid == USER_NO_ID)
		return pop_why(why, POP_E_UNSAFE, "user %s: uid %u, gid %u have no maildrop",
			       l->name, (unsigned)l->uid, (unsigned)l->gid);
	if (mon->root && is_ours(mon, l))
		return pop_why(why, POP_E_UNSAFE,
			       "user %s: uid %u, gid %u: pop3d's own ids may own no mail", l->name,
			       (unsigned)l->uid, (unsigned)l->gid);
	if (!mon->root && (l->uid != geteuid() || l->gid != getegid()))
		return pop_why(
			why, POP_E_UNSAFE,
			"user %s: uid %u, gid %u: only root can serve other ids than its own",
			l->name, (unsigned)l->uid, (unsigned)l->gid);
	if (l->spec.path[0] != '/')
		return pop_why(why, POP_E_UNSAFE, "user %s: the maildrop is no absolute path",
			       l->name);
	return 0;
}

static int open_state(struct monitor *mon, struct pop_why *why)
{
	char name[STATE_NAME_MAX + 1];
	struct pop_why note = { "" };
	int base, fd;

	base = fs_open_trusted_dir(mon->conf->state_dir, false, why);
	if (base < 0)
		return base;
	fd = state_open(base, mon->login.name, mon->login.spec.path, mon->login.uid, mon->login.gid,
			true, name, &note, why);
	close(base);
	if (note.text[0])
		mon_log_drop(mon, LOG_WARNING, note.text);
	return fd;
}

/* Auth said yes: the maildrop role is started, and tells when it is ready. */
static int open_maildrop(struct monitor *mon)
{
	struct pop_why why = { "" };
	int err = check_identity(mon, &why), fd = err < 0 ? err : open_state(mon, &why);

	if (fd < 0) {
		mon_log_error(mon, "%s", why.text);
		return mon_fail_login(mon, verdict_of(fd), false);
	}
	err = mon_start_drop(mon, fd);
	close(fd);
	if (err < 0)
		return mon_fail_login(mon, VERDICT_TEMP, false);
	mon->phase = mon->session.phase = PH_OPEN;
	return 0;
}

static int take_verdict(struct monitor *mon, struct ipc_msg *answer)
{
	struct mon_login *l = &mon->login;
	uint8_t verdict = ipc_get_u8(answer);
	uint8_t flags = ipc_get_u8(answer);
	bool close_it = flags & CLOSE_IT, told = flags & CLOSE_TOLD;
	char note[POP_WHY_MAX];
	uint8_t kind;

	l->uid = ipc_get_u32(answer);
	l->gid = ipc_get_u32(answer);
	kind = ipc_get_u8(answer);
	l->options = ipc_get_u8(answer);
	l->login_delay = ipc_get_u32(answer);
	l->expire = ipc_get_u32(answer);
	l->show_after = (int64_t)ipc_get_u64(answer);
	ipc_get_str(answer, l->name, sizeof(l->name));
	ipc_get_str(answer, l->home, sizeof(l->home));
	ipc_get_str(answer, l->spec.path, sizeof(l->spec.path));
	ipc_get_str(answer, l->app, sizeof(l->app));
	ipc_get_str(answer, note, sizeof(note));
	if (ipc_end(answer) < 0 || verdict >= VERDICT_N || l->options >= USER_BITS)
		return POP_E_CORRUPT;
	if (verdict == VERDICT_OK && kind != MAILDROP_MBOX && kind != MAILDROP_MAILDIR)
		return POP_E_CORRUPT;
	l->spec.kind = (enum maildrop_kind)kind;
	mon->awaits_upgrade = verdict == VERDICT_OK && mon->conf->password_upgrade;
	mon->upgrade_due = false;
	if (verdict == VERDICT_AUTH && !told)
		mon->failures++;
	if (mon->session.fd < 0)
		return 0; /* the client has not waited */
	if (note[0])
		mon_log_error(mon, "%s", note);
	if (verdict == VERDICT_OK && l->options & USER_REQUIRE_TLS && !mon->secure)
		verdict = VERDICT_TLS;
	if (verdict == VERDICT_OK)
		return open_maildrop(mon);
	if (told) {
		l->name[0] = '\0';
		return answer_failure(mon, VERDICT_AUTH, close_it);
	}
	mon_log_failed(mon, l->name,
		       verdict == VERDICT_AUTH	   ? "wrong credentials"
		       : verdict == VERDICT_SYNTAX ? "malformed response"
		       : verdict == VERDICT_TLS	   ? "require_tls, and there is no TLS"
		       : close_it		   ? "too many failed logins"
						   : "not possible now");
	l->name[0] = '\0';
	return mon_fail_login(mon, (enum ipc_verdict)verdict, close_it);
}

/*
 * A mechanism whose errors are a challenge: they count and are logged now, since the
 * client may leave without an answer.  The challenge is not ours to read.
 */
static int take_refusal(struct monitor *mon, struct ipc_msg *answer)
{
	char name[USER_NAME_MAX + 1], note[POP_WHY_MAX];
	const uint8_t *challenge;
	struct ipc_msg m;
	size_t len;

	ipc_get_str(answer, name, sizeof(name));
	ipc_get_str(answer, note, sizeof(note));
	len = ipc_left(answer);
	challenge = ipc_get_raw(answer, len);
	if (ipc_end(answer) < 0)
		return POP_E_CORRUPT;
	ipc_start(&m, IPC_SASL_ANSWER);
	ipc_put_u8(&m, SASL_CHALLENGE);
	ipc_put_raw(&m, challenge, len);
	mon->failures++;
	if (note[0])
		mon_log_error(mon, "%s", note);
	mon_log_failed(mon, name, "wrong credentials");
	mon_record_failure(mon, VERDICT_AUTH);
	if (mon->session.fd < 0 || mon->session.owed != IPC_SASL_ANSWER)
		return 0;
	return ipc_send(&mon->session, &m) == POP_E_CORRUPT ? POP_E_CORRUPT : 0;
}

/* A challenge, or that a piece was taken: not ours to read. */
static int relay_sasl(struct monitor *mon, struct ipc_msg *answer)
{
	if (mon->session.fd < 0 || mon->session.owed != IPC_SASL_ANSWER)
		return 0;
	answer->type = IPC_SASL_ANSWER;
	return ipc_send(&mon->session, answer) == POP_E_CORRUPT ? POP_E_CORRUPT : 0;
}

int mon_take_auth_answer(struct monitor *mon, struct ipc_msg *answer)
{
	if (answer->type == IPC_AUTH_SASL_ANSWER) {
		uint8_t kind = ipc_get_u8(answer);

		if (kind == SASL_GO_ON || kind == SASL_CHALLENGE)
			return relay_sasl(mon, answer);
		if (kind == SASL_REFUSED)
			return take_refusal(mon, answer);
		if (kind != SASL_VERDICT)
			return POP_E_CORRUPT;
	}
	return take_verdict(mon, answer);
}

int mon_take_drop_ready(struct monitor *mon, struct ipc_msg *note)
{
	uint8_t verdict = ipc_get_u8(note);
	bool read_only = ipc_get_u8(note) != 0;
	uint64_t count = ipc_get_u64(note), octets = ipc_get_u64(note);
	char why[POP_WHY_MAX];
	int err;

	ipc_get_str(note, why, sizeof(why));
	if (ipc_end(note) < 0 || verdict >= VERDICT_N)
		return POP_E_CORRUPT;
	if (mon->session.fd < 0)
		return 0;
	if (verdict != VERDICT_OK) {
		mon_log_failed(mon, mon->login.name, why);
		mon->login.name[0] = '\0';
		ipc_close(&mon->drop);
		mon_remove_dotlock(mon);
		return mon_fail_login(mon, (enum ipc_verdict)verdict, false);
	}
	mon->phase = mon->session.phase = mon->drop.phase = PH_TRANS;
	err = send_answer(mon, VERDICT_OK, false, read_only, count, octets, mon->drop_session_fd);
	close(mon->drop_session_fd);
	mon->drop_session_fd = -1;
	mon_log_login(mon, count, octets);
	mon_record_login(mon, count, octets);
	mon_upgrade(mon);
	ipc_close(&mon->verifier);
	mon_release_client(mon);
	return err == POP_E_EOF ? 0 : err;
}
