/*
 * auth_run.c - the auth role: answer questions, count failures, wait.
 *
 * Runs in:  auth, as unprivileged_user in the empty root.
 * Trusts:   the monitor.  Not what it passes on from the client.
 * Answers:  IPC_AUTH_ASK and IPC_AUTH_SASL_ASK (see ipc.h).
 */
#include <poll.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include "auth.h"
#include "fsutil.h"
#include "password.h"
#include "user_options.h"

/* The buffers of exchanges are in it: their pages cost nothing without one. */
static struct auth auth;

int auth_secrets(struct auth *a)
{
	struct ipc_msg m;
	uint8_t verdict;
	int err;

	if (a->secrets_fd >= 0)
		return a->secrets_fd;
	ipc_start(&m, IPC_SECRETS_ASK);
	ipc_put_u8(&m, 0);
	err = ipc_call(&a->monitor, &m);
	if (err < 0)
		return err;
	verdict = ipc_get_u8(&m);
	if (verdict == VERDICT_OK)
		a->secrets_fd = ipc_take_fd(&m);
	if (ipc_end(&m) < 0)
		return POP_E_CORRUPT;
	return verdict == VERDICT_OK	 ? a->secrets_fd
	       : verdict == VERDICT_AUTH ? POP_E_MISSING
	       : verdict == VERDICT_PERM ? POP_E_UNSAFE
					 : POP_E_SYS;
}

static void put_verdict(const struct auth *a, struct ipc_msg *m, const struct judgement *j,
			bool close_it)
{
	const struct user *u = &j->user;

	ipc_put_u8(m, (uint8_t)j->verdict);
	ipc_put_u8(m, (uint8_t)((close_it ? CLOSE_IT : 0) | (j->counted ? CLOSE_TOLD : 0)));
	ipc_put_u32(m, u->uid);
	ipc_put_u32(m, u->gid);
	ipc_put_u8(m, (uint8_t)j->spec.kind);
	ipc_put_u8(m, (uint8_t)((u->require_tls ? USER_REQUIRE_TLS : 0) |
				(u->readonly ? USER_READ_ONLY : 0)));
	ipc_put_u32(m, user_login_delay(a->conf, u));
	ipc_put_u32(m, user_expire(a->conf, u));
	ipc_put_u64(m, (uint64_t)u->show_after);
	ipc_put_str(m, u->name, strlen(u->name));
	ipc_put_str(m, u->home, strlen(u->home));
	ipc_put_str(m, j->spec.path, strlen(j->spec.path));
	ipc_put_str(m, j->app, strlen(j->app));
	ipc_put_str(m, j->note.text, strlen(j->note.text));
}

void auth_wait(struct auth *a, int64_t until_ms)
{
	struct pollfd fd = { .fd = a->monitor.fd, .events = 0 };
	int64_t left;

	while ((left = until_ms - fs_now_ms()) > 0)
		if (poll(&fd, 1, (int)left) > 0)
			return;
}

void auth_count_failure(struct auth *a, const char *login)
{
	a->failures++;
	auth_brake_failed(a, login);
	/* no sooner than the delay after the question came, whatever was looked up meanwhile */
	auth_wait(a, a->came_ms + a->conf->auth_failure_delay_ms);
}

/* Count and delay what was wrong; the verdict goes into m. */
static void conclude(struct auth *a, struct ipc_msg *m, struct judgement *j)
{
	bool close_it = j->refused;

	explicit_bzero(j->user.hash, sizeof(j->user.hash));
	if (j->verdict == VERDICT_AUTH) {
		if (!j->counted)
			auth_count_failure(a, j->user.name);
		close_it = a->failures >= a->conf->max_auth_failures;
	} else if (j->verdict == VERDICT_OK) {
		auth_brake_passed(a);
	} else if (j->refused) {
		auth_wait(a, a->came_ms + a->conf->auth_failure_delay_ms);
	}
	put_verdict(a, m, j, close_it);
}

/* IPC_AUTH_ASK: USER with PASS, or APOP. */
static int answer_login(struct auth *a, struct ipc_msg *m, struct judgement *j)
{
	char login[USER_NAME_MAX + 1], secret[USER_PASSWORD_MAX + 1];
	uint8_t mechanism = ipc_get_u8(m);

	ipc_get_str(m, login, sizeof(login));
	ipc_get_str(m, secret, sizeof(secret));
	if (ipc_end(m) < 0 || (mechanism != LOGIN_USERPASS && mechanism != LOGIN_APOP))
		return POP_E_CORRUPT;
	ipc_wipe(m);
	if (mechanism == LOGIN_USERPASS)
		auth_password(a, login, secret, j);
	else if (auth_by_program(a->conf))
		auth_program_apop(a, login, secret, j);
	else if (a->start->apop_step)
		a->start->apop_step(a, login, secret, j);
	else
		j->verdict = VERDICT_TEMP;
	explicit_bzero(secret, sizeof(secret));
	ipc_start(m, IPC_AUTH_ANSWER);
	conclude(a, m, j);
	return 0;
}

static int answer_sasl(struct auth *a, struct ipc_msg *m, struct judgement *j)
{
	enum ipc_sasl_kind kind = auth_sasl(a, m, j);

	ipc_wipe(m);
	ipc_start(m, IPC_AUTH_SASL_ANSWER);
	ipc_put_u8(m, (uint8_t)kind);
	if (kind == SASL_REFUSED) {
		ipc_put_str(m, a->x.login, strlen(a->x.login));
		ipc_put_str(m, j->note.text, strlen(j->note.text));
	}
	if (kind == SASL_CHALLENGE || kind == SASL_REFUSED)
		ipc_put_raw(m, a->x.out, a->x.out_len);
	if (kind == SASL_VERDICT) {
		auth_sasl_end(a);
		conclude(a, m, j);
	}
	return 0;
}

static void forget_upgrade(struct auth *a)
{
	if (!a->upgrade)
		return;
	a->upgrade = false;
	explicit_bzero(a->upgrade_old, sizeof(a->upgrade_old));
	explicit_bzero(a->upgrade_password, sizeof(a->upgrade_password));
}

/* The monitor waits for this note: an empty one says that there is nothing to do. */
static int send_upgrade(struct auth *a, struct ipc_msg *m)
{
	char made[USER_HASH_MAX + 1] = "";
	bool todo = a->upgrade && password_hash(a->upgrade_password, made, sizeof(made)) == 0;
	int err;

	ipc_wipe(m);
	ipc_start(m, IPC_UPGRADE);
	ipc_put_str(m, a->upgrade_name, todo ? strlen(a->upgrade_name) : 0);
	ipc_put_str(m, a->upgrade_old, todo ? strlen(a->upgrade_old) : 0);
	ipc_put_str(m, made, todo ? strlen(made) : 0);
	err = ipc_send(&a->monitor, m);
	explicit_bzero(made, sizeof(made));
	return err == POP_E_EOF ? 0 : err;
}

static int answer(struct auth *a, struct ipc_msg *m)
{
	struct judgement j = { .verdict = VERDICT_AUTH };
	bool concluded = false;
	int err;

	a->came_ms = fs_now_ms();
	a->secrets_fd = -1;
	a->taken = false;
	a->n_fds = 0;
	while (m->n_fds > 0 && a->n_fds < 2)
		a->fds[a->n_fds++] = ipc_take_fd(m);
	err = m->type == IPC_AUTH_ASK ? answer_login(a, m, &j) : answer_sasl(a, m, &j);
	concluded = m->type == IPC_AUTH_ANSWER || m->payload[0] == SASL_VERDICT;
	if (err == 0)
		err = ipc_send(&a->monitor, m);
	if (err == 0 && j.verdict == VERDICT_OK && concluded && a->conf->password_upgrade)
		err = send_upgrade(a, m);
	forget_upgrade(a);
	while (a->n_fds > 0)
		close(a->fds[--a->n_fds]);
	if (a->secrets_fd >= 0)
		close(a->secrets_fd);
	explicit_bzero(&j.user.hash, sizeof(j.user.hash));
	ipc_wipe(m);
	return err;
}

static int take_tls(struct auth *a, struct ipc_msg *m)
{
	uint8_t kind = ipc_get_u8(m);
	const uint8_t *binding = ipc_get_raw(m, IPC_BINDING_LEN);

	const uint8_t *unique = ipc_get_raw(m, IPC_UNIQUE_LEN);

	if (binding && unique) {
		memcpy(a->tls.binding, binding, IPC_BINDING_LEN);
		memcpy(a->tls.unique, unique, IPC_UNIQUE_LEN);
	}
	a->tls.kinds = kind;
	ipc_get_str(m, a->tls.identity, sizeof(a->tls.identity));
	ipc_get_str(m, a->tls.domain, sizeof(a->tls.domain));
	return kind < BINDING_N ? ipc_end(m) : POP_E_CORRUPT;
}

static int take_brake(struct auth *a, struct ipc_msg *m)
{
	const uint8_t *key = ipc_get_raw(m, sizeof(a->brake_key));

	if (key)
		memcpy(a->brake_key, key, sizeof(a->brake_key));
	a->braked = key != NULL;
	return ipc_end(m);
}

int auth_run(const struct auth_start *start)
{
	struct auth *a = &auth;
	struct ipc_msg m;
	int err;

	a->start = start;
	a->conf = start->conf;
	a->failures = start->failures;
	ipc_init(&a->monitor, start->monitor_fd, ROLE_AUTH, ROLE_MONITOR, PH_AUTH);
	/* the first message to pop3d-auth came before us */
	a->monitor.got_one = start->got_one;
	do {
		err = ipc_recv(&a->monitor, &m);
		if (err == 0)
			err = m.type == IPC_AUTH_TLS	? take_tls(a, &m)
			      : m.type == IPC_BRAKE_KEY ? take_brake(a, &m)
							: answer(a, &m);
	} while (err == 0);
	return err == POP_E_EOF ? EX_OK : EX_PROTOCOL;
}
