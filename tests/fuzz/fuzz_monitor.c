/*
 * fuzz_monitor.c - the monitor, told things by every role at once as if all of
 * them were taken over: what it must never be led to.
 *
 * Input: octet 0: how; then events: who speaks (octet), and the packet
 * (fed_ipc.h).
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "fed_ipc.h"

#include "mbox_lock.h"
#define state_open model_state_open
#include "../../pop3d/mon_login.c"
#include "../../pop3d/mon_run.c"

enum { WITH_TLS = 1, WITH_APOP = 2, UPGRADES = 4, REMOTE = 8, NO_USERS = 16 };

static struct {
	bool said_yes;	   /* auth, to the question that is open */
	unsigned drops;	   /* maildrop roles that were started */
	unsigned logins;   /* that the session was told of */
	unsigned dotlocks; /* that are there */
	unsigned writers;
} seen;

/* --- what the monitor does to the world --------------------------------------------- */

int model_state_open(int base_fd, const char *user, const char *maildrop_path, uid_t uid, gid_t gid,
		     bool create, char name[STATE_NAME_MAX + 1], struct pop_why *note,
		     struct pop_why *why)
{
	(void)base_fd;
	(void)maildrop_path;
	(void)create;
	(void)name;
	(void)note;
	/* the monitor is the last to ask whose mail this is */
	MUST(seen.said_yes && uid != 0 && gid != 0);
	MUST(uid != USER_NO_ID && gid != USER_NO_ID);
	if (strchr(user, '!'))
		return pop_why(why, POP_E_UNSAFE, "as it was asked for");
	return fed_fd();
}

int mon_start_drop(struct monitor *mon, int state_fd)
{
	MUST(state_fd >= 0 && seen.said_yes && mon->phase == PH_AUTH);
	MUST(mon->login.spec.path[0] == '/' && mon->login.uid != mon->uid);
	MUST(mon->login.spec.kind == MAILDROP_MBOX || mon->login.spec.kind == MAILDROP_MAILDIR);
	seen.drops++;
	ipc_close(&mon->drop);
	ipc_init(&mon->drop, fed_fd(), ROLE_MONITOR, ROLE_MAILDROP, PH_OPEN);
	mon->drop_session_fd = fed_fd();
	return 0;
}

int mon_start_session(struct monitor *mon, int plain_fd)
{
	(void)plain_fd;
	ipc_init(&mon->session, fed_fd(), ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	return 0;
}

int mon_start_auth(struct monitor *mon)
{
	ipc_init(&mon->auth, fed_fd(), ROLE_MONITOR, ROLE_AUTH, PH_AUTH);
	return 0;
}

void mon_start_sweep(struct monitor *mon)
{
	(void)mon;
}

int mon_start_helper(struct monitor *mon, const char *name, enum ipc_role role)
{
	(void)mon;
	MUST((role == ROLE_AUTH && strcmp(name, "pop3d-auth") == 0) ||
	     (role == ROLE_DIGEST && strcmp(name, "pop3d-digest") == 0));
	return fed_fd();
}

bool mon_has_room(const struct monitor *mon)
{
	return mon->n_children + 2 <= MON_CHILDREN;
}

void mon_adopt(struct monitor *mon, pid_t pid, enum ipc_role role)
{
	MUST(mon->n_children < MON_CHILDREN);
	mon->children[mon->n_children++] = (struct mon_child){ pid, role, 0 };
}

/* No process is made: the parent's half alone runs. */
pid_t mon_fork(struct monitor *mon, enum ipc_role role)
{
	if (!mon_has_room(mon)) {
		errno = EAGAIN;
		return -1;
	}
	seen.writers += role == ROLE_WRITER;
	MUST(seen.writers <= 1);
	mon_adopt(mon, 1 << 22, role);
	return 1 << 22;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
		const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	(void)path;
	(void)files;
	(void)attributes;
	(void)envp;
	MUST(argv[0] && strcmp(argv[0], "pop3d-tls") == 0);
	*pid = 1 << 22;
	return 0;
}

void mon_kill_children(struct monitor *mon)
{
	mon->n_children = 0;
}

void mon_release_client(struct monitor *mon)
{
	mon->tls.holds_client = false;
}

int dotlock_make_at(int dir_fd, const char *base, struct pop_why *why)
{
	(void)dir_fd;
	(void)why;
	MUST(base[0] && !strchr(base, '/') && seen.dotlocks == 0);
	seen.dotlocks++;
	return 0;
}

int dotlock_take_over_at(int dir_fd, const char *base, struct pop_why *why)
{
	return dotlock_make_at(dir_fd, base, why);
}

int dotlock_remove_at(int dir_fd, const char *base)
{
	(void)dir_fd;
	(void)base;
	MUST(seen.dotlocks == 1);
	seen.dotlocks--;
	return 0;
}

void mon_log_connect(const struct monitor *mon)
{
	(void)mon;
}

void mon_log_login(const struct monitor *mon, uint64_t count, uint64_t octets)
{
	(void)count;
	(void)octets;
	MUST(mon->phase == PH_TRANS && seen.drops > 0);
}

void mon_log_failed(const struct monitor *mon, const char *user, const char *reason)
{
	(void)mon;
	MUST(strlen(user) <= USER_NAME_MAX && strlen(reason) < POP_WHY_MAX);
}

void mon_log_logout(const struct monitor *mon, struct ipc_msg *note)
{
	(void)mon;
	note->pos = note->len;
}

void mon_log_error(const struct monitor *mon, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	(void)mon;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
}

void mon_log_drop(const struct monitor *mon, int level, const char *text)
{
	(void)mon;
	(void)level;
	MUST(strlen(text) < 2048);
}

/* --- what it says ---------------------------------------------------------------------- */

static void said(int fd, enum ipc_type type, const uint8_t *p, size_t len, unsigned n_fds)
{
	(void)fd;
	(void)len;
	if (type == IPC_SASL_ANSWER && p[0] != SASL_VERDICT) {
		MUST(n_fds == 0);
		return;
	}
	if (type != IPC_LOGIN_ANSWER && type != IPC_SASL_ANSWER)
		return;
	p += type == IPC_SASL_ANSWER;
	/* a login is what auth said yes to and a maildrop role opened, once */
	MUST((p[0] == VERDICT_OK) == (n_fds == 1));
	if (p[0] == VERDICT_OK)
		MUST(++seen.logins == 1 && seen.drops > 0);
	seen.said_yes = false;
}

/* Auth's yes is seen here, on its way in. */
static void hear_auth(struct monitor *mon)
{
	const uint8_t *p = fed.in.p;
	size_t left = (size_t)(fed.in.end - p);
	bool sasl = left > 4 && p[0] == IPC_AUTH_SASL_ANSWER && p[4] == SASL_VERDICT;

	if (mon->auth.awaited != IPC_NONE && left > 5 &&
	    ((p[0] == IPC_AUTH_ANSWER && p[4] == VERDICT_OK) || (sasl && p[5] == VERDICT_OK)))
		seen.said_yes = true;
	auth_event(mon);
}

static void event(struct monitor *mon, uint8_t who)
{
	struct ipc *const pairs[] = { &mon->session, &mon->auth, &mon->drop, &mon->tls.pair,
				      &mon->tls.keeper };
	void (*const events[])(struct monitor *) = { session_event, hear_auth, drop_event,
						     mon_tls_event, mon_keeper_event };

	if (who % 8 == 5)
		end_session(mon);
	else if (who % 8 == 6 && is_waited_for(mon))
		wait_no_more(mon);
	else if (who % 8 == 7)
		mon_tls_end(mon, "not done in time");
	else if (who % 8 < 5 && pairs[who % 8]->fd >= 0)
		events[who % 8](mon);
}

static void check(const struct monitor *mon)
{
	MUST(mon->n_children <= MON_CHILDREN);
	MUST(mon->phase != PH_TRANS || seen.logins == 1 || mon->session.fd < 0);
	MUST(mon->phase != PH_AUTH || seen.logins == 0);
	MUST(seen.logins <= 1);
	MUST(!mon->dotlocked == !seen.dotlocks);
}

/* --- one session ------------------------------------------------------------------------- */

static void set_conf(struct conf *conf, uint8_t how)
{
	static char paths[5][PATH_MAX], none[] = "", host[] = "pop.example", spec[] = "mbox:/m/%u",
					keeper[] = "65533", at[] = "@";
	static const char *const names[] = { "users", "secrets", "cert", "key", "" };

	for (int i = 0; i < 5 && !paths[i][0]; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", fuzz_dir_path(), names[i]);
		if (names[i][0])
			fuzz_dir_put(names[i], "x", 1);
	}
	if (paths[4][0] && faccessat(fuzz_dir(), "pop3d-tls", X_OK, 0) < 0) {
		fuzz_dir_put("pop3d-tls", "x", 1);
		MUST(fchmodat(fuzz_dir(), "pop3d-tls", 0700, 0) == 0);
	}
	*conf = (struct conf){ .hostname = host,
			       .users = how & NO_USERS ? none : paths[0],
			       .secrets = paths[1],
			       .default_domain = none,
			       .user_separators = at,
			       .maildrop = spec,
			       .state_dir = paths[4],
			       .run_dir = paths[4],
			       .helper_dir = paths[4],
			       .keeper_user = keeper,
			       .penalty_exempt = none,
			       .tls_certificate = how & WITH_TLS ? paths[2] : none,
			       .tls_key = how & WITH_TLS ? paths[3] : none,
			       .tls_client_ca = none,
			       .gssapi_keytab = none,
			       .oauth_verifier = none,
			       .cleartext_login = CLEARTEXT_LOCAL,
			       .auth_mechanisms = 255,
			       .apop = how & WITH_APOP,
			       .password_upgrade = how & UPGRADES,
			       .auth_timeout = 180,
			       .max_auth_failures = 3 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct monitor mon; /* large */
	uint8_t how = size ? data[0] : 0;
	struct conf conf;

	fed_begin(data + (size > 0), size - (size > 0));
	fed.said = said;
	memset(&seen, 0, sizeof(seen));
	memset(&mon, 0, sizeof(mon));
	set_conf(&conf, how);
	mon.conf = &conf;
	mon.root = true;
	mon.local = !(how & REMOTE);
	mon.uid = 65534;
	mon.gid = 65534;
	mon.null_fd = -1;
	mon.phase = PH_AUTH;
	mon.drop_session_fd = -1;
	mon.auth.fd = mon.drop.fd = mon.tls.pair.fd = mon.tls.keeper.fd = -1;
	mon.deadline_ms = INT64_MAX;
	mon.tls.stage = how & WITH_TLS ? TLS_POSSIBLE : TLS_OFF;
	mon.tls.holds_client = how & WITH_TLS;
	mon_prepare_auth(&mon);
	mon_start_session(&mon, -1);
	mon_start_auth(&mon);
	while (fed.in.p < fed.in.end) {
		event(&mon, fuzz_u8(&fed.in));
		check(&mon);
	}
	leave_session(&mon);
	ipc_close(&mon.auth);
	ipc_close(&mon.drop);
	ipc_close(&mon.tls.pair);
	ipc_close(&mon.tls.keeper);
	mon_remove_dotlock(&mon);
	MUST(seen.dotlocks == 0);
	return 0;
}
