/*
 * auth_run.c - the judge of credentials: one at a time, counted and delayed.
 *
 * Runs in:  auth, as unprivileged_user in the empty root, on the read-only
 *           descriptors that come with each question.
 * Trusts:   the user database.  Not the question: it is the client's.
 * Answers:  IPC_AUTH_ASK (see ipc.h).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>
#include "fsutil.h"
#include "ipc.h"
#include "password.h"
#include "role.h"
#include "spec.h"
#include "users.h"

struct auth {
	const struct conf *conf;
	struct ipc monitor;
	unsigned failures; /* wrong credentials so far */
	int fds[2];	   /* the user database */
	int n_fds;
};

struct judgement {
	enum ipc_verdict verdict;
	struct user user;
	struct spec spec;
	struct pop_why note; /* for the log */
};

/* The first malformed line is worth a note; the others follow when it is mended. */
static void bad_line(void *ctx, uint64_t line, const char *why)
{
	struct judgement *j = ctx;

	if (j->note.text[0])
		return;
	if (line > 0)
		pop_why(&j->note, 0, "users file, line %llu skipped: %s", (unsigned long long)line,
			why);
	else
		pop_why(&j->note, 0, "users file, a line skipped: %s", why);
}

static int find(struct auth *a, const char *name, struct judgement *j)
{
	if (a->n_fds == 2)
		return users_find_system(a->fds[0], a->fds[1], name, &j->user);
	return users_find(a->fds[0], name, &j->user, bad_line, j);
}

/* The entry behind a login as typed, or a negative code. */
static int find_login(struct auth *a, const char *login, struct judgement *j)
{
	char names[2][USER_NAME_MAX + 1];
	int n = login_candidates(login, a->conf->user_separators, a->conf->default_domain, names);
	int err = POP_E_MISSING;

	for (int i = 0; i < n && err == POP_E_MISSING; i++)
		err = find(a, names[i], j);
	return err;
}

/* The password is right: is the entry fit to serve? */
static enum ipc_verdict check_entry(const struct auth *a, struct judgement *j)
{
	const struct user *u = &j->user;
	const char *spec = u->maildrop[0] ? u->maildrop : a->conf->maildrop;
	struct pop_why why;

	if (u->uid == USER_NO_ID || u->gid == USER_NO_ID) {
		pop_why(&j->note, 0,
			"user %s: uid and gid must be numbers in the users file (pop3admin user "
			"add writes them so)",
			u->name);
		return VERDICT_PERM;
	}
	if (spec_expand(spec, u->name, u->home, &j->spec, &why) < 0) {
		pop_why(&j->note, 0, "user %s: maildrop %s: %s", u->name, spec, why.text);
		return VERDICT_PERM;
	}
	return VERDICT_OK;
}

/*
 * The same work for everybody: one verification, of the entry's hash or of a
 * dummy, before anything is said.
 */
static void judge(struct auth *a, const char *login, const char *password, struct judgement *j)
{
	int err = find_login(a, login, j);
	bool usable = err == 0 && !j->user.locked && !j->user.nologin && j->user.hash[0] != '\0' &&
		      password[0] != '\0';

	if (err == POP_E_SYS || err == POP_E_MEMORY) {
		pop_why(&j->note, 0, "user database: %s", strerror(errno));
		j->verdict = VERDICT_TEMP;
		return;
	}
	if (!(usable ? password_verify(password, j->user.hash) : password_verify_dummy(password)))
		j->verdict = VERDICT_AUTH;
	else
		j->verdict = check_entry(a, j);
	if (j->verdict != VERDICT_OK)
		snprintf(j->user.name, sizeof(j->user.name), "%s", login);
}

static int send_answer(struct auth *a, const struct judgement *j, bool close_it)
{
	const struct user *u = &j->user;
	struct ipc_msg m;

	ipc_start(&m, IPC_AUTH_ANSWER);
	ipc_put_u8(&m, (uint8_t)j->verdict);
	ipc_put_u8(&m, close_it);
	ipc_put_u32(&m, u->uid);
	ipc_put_u32(&m, u->gid);
	ipc_put_u8(&m, (uint8_t)j->spec.kind);
	ipc_put_str(&m, u->name, strlen(u->name));
	ipc_put_str(&m, u->home, strlen(u->home));
	ipc_put_str(&m, j->spec.path, strlen(j->spec.path));
	ipc_put_str(&m, j->note.text, strlen(j->note.text));
	return ipc_send(&a->monitor, &m);
}

/*
 * Answer a failure no sooner than the configured delay after the question came.
 * The monitor's end is watched meanwhile: a client that left is not waited for.
 */
static void wait_until(struct auth *a, int64_t until_ms)
{
	struct pollfd fd = { .fd = a->monitor.fd, .events = 0 };
	int64_t left;

	while ((left = until_ms - fs_now_ms()) > 0)
		if (poll(&fd, 1, (int)left) > 0)
			return;
}

static int answer(struct auth *a, struct ipc_msg *m)
{
	int64_t came_ms = fs_now_ms();
	struct judgement j = { .verdict = VERDICT_AUTH };
	char login[USER_NAME_MAX + 1], password[USER_PASSWORD_MAX + 1];
	bool close_it = false;
	int err = POP_E_CORRUPT;

	a->n_fds = 0;
	while (m->n_fds > 0 && a->n_fds < 2)
		a->fds[a->n_fds++] = ipc_take_fd(m);
	if (ipc_get_u8(m) != LOGIN_USERPASS)
		goto out;
	ipc_get_str(m, login, sizeof(login));
	ipc_get_str(m, password, sizeof(password));
	if (ipc_end(m) < 0)
		goto out;
	ipc_wipe(m);
	judge(a, login, password, &j);
	explicit_bzero(j.user.hash, sizeof(j.user.hash));
	if (j.verdict == VERDICT_AUTH) {
		a->failures++;
		close_it = a->failures >= a->conf->max_auth_failures;
		wait_until(a, came_ms + a->conf->auth_failure_delay_ms);
	}
	err = send_answer(a, &j, close_it);
out:
	while (a->n_fds > 0)
		close(a->fds[--a->n_fds]);
	explicit_bzero(password, sizeof(password));
	ipc_wipe(m);
	return err;
}

int auth_run(const struct auth_start *start)
{
	struct auth a = { .conf = start->conf };
	struct ipc_msg m;
	int err;

	ipc_init(&a.monitor, start->monitor_fd, ROLE_AUTH, ROLE_MONITOR, PH_AUTH);
	do {
		err = ipc_recv(&a.monitor, &m);
		if (err == 0)
			err = answer(&a, &m);
	} while (err == 0);
	return err == POP_E_EOF ? EX_OK : EX_PROTOCOL;
}
