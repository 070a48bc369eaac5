/*
 * mon_tls.c - start pop3d-tls, and what it and its keeper say.
 *
 * Runs in:  monitor.
 * Trusts:   the configuration.  Not the tls role: of what it says only what a
 *           log may hold is used, and a server name to look up.
 * Answers:  IPC_TLS_OFFER_ASK, IPC_TLS_ASK, IPC_PAIR_ASK (see ipc.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "credential.h"
#include "fsutil.h"
#include "mon_tls.h"
#include "ticket_keys.h"
#include "user_domain.h"

#define HANDSHAKE_MS 30000
#define CHECK_MS     10000
#define FD_ABOVE     64 /* out of the way of the descriptors that pop3d-tls is given */

/* The files that TLS_CHECKING is about. */
static struct mon_pair checked;

/* What pop3d-tls gets as 0, 1, 2 and so on; see tls_main.c. */
struct arrangement {
	int fds[8 + 2 * ROLE_KEYS_MAX];
	unsigned n;
};

/*
 * Started without a copy of this process: its pages would only be thrown away.
 * Returns the new process, or -1 with errno.
 */
static pid_t spawn_tls(const char *path, const struct arrangement *a, char *const argv[])
{
	char *none[] = { NULL };
	posix_spawn_file_actions_t files;
	pid_t pid = -1;
	int err = posix_spawn_file_actions_init(&files);

	if (err != 0)
		goto out;
	for (unsigned i = 0; i < a->n && err == 0; i++)
		err = posix_spawn_file_actions_adddup2(&files, a->fds[i], FD_ABOVE + (int)i);
	for (unsigned i = 0; i < a->n && err == 0; i++)
		err = posix_spawn_file_actions_adddup2(&files, FD_ABOVE + (int)i, (int)i);
	if (err == 0)
		err = posix_spawn(&pid, path, &files, NULL, argv, none);
	posix_spawn_file_actions_destroy(&files);
out:
	errno = err;
	return err == 0 ? pid : -1;
}

/* plain: -1 where the certificate is only checked. */
static pid_t run_tls(const struct monitor *mon, const char *path, const struct mon_pair *p,
		     int plain, int tickets, int ca, int tls_fd, int keeper_fd)
{
	int null = mon->null_fd, in = plain < 0 ? null : 0, out = plain < 0 ? null : 1;
	struct arrangement a = { .fds = { in, out, null, tls_fd, keeper_fd,
					  plain < 0 ? null : plain, tickets < 0 ? null : tickets },
				 .n = 7 };
	static char name[] = "pop3d-tls", check[] = "check", serve[] = "serve";
	char word[12][16], *argv[16] = { name, plain < 0 ? check : serve };
	const unsigned long numbers[12] = {
		mon->conf->tls_min_version,
		mon->conf->idle_timeout * 1000UL,
		p->n_certs,
		p->n_keys,
		tickets >= 0,
		mon->conf->n_tls_names > 0,
		ca >= 0,
		mon->uid,
		mon->gid,
		mon->tls.keeper_uid,
		mon->tls.keeper_gid,
		(unsigned long)getpid(),
	};

	for (unsigned i = 0; i < p->n_certs; i++)
		a.fds[a.n++] = p->certs[i];
	for (unsigned i = 0; i < p->n_keys; i++)
		a.fds[a.n++] = p->keys[i];
	if (ca >= 0)
		a.fds[a.n++] = ca;
	for (int i = 0; i < 12; i++) {
		snprintf(word[i], sizeof(word[i]), "%lu", numbers[i]);
		argv[i + 2] = word[i];
	}
	argv[14] = (char *)(uintptr_t)(mon->root ? mon->empty : "-");
	return spawn_tls(path, &a, argv);
}

/* Where pop3d-tls is; 0 or POP_E_SYS (logged). */
static int find_program(const struct monitor *mon, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, "%s/pop3d-tls", mon->conf->helper_dir);

	if (n >= 0 && n < PATH_MAX && access(path, X_OK) == 0)
		return 0;
	mon_log_error(mon, "TLS is off: %s: %s", path, strerror(errno));
	return POP_E_SYS;
}

/* The keys of tickets; without them every handshake is a full one. */
static int open_tickets(const struct monitor *mon)
{
	struct pop_why why;
	int fd = ticket_keys_open(mon->conf->run_dir, &why);

	if (fd < 0)
		mon_log_drop(mon, LOG_WARNING, why.text);
	return fd;
}

/* Who may issue client certificates; without them none is asked for, and EXTERNAL is off. */
static int open_authorities(const struct monitor *mon)
{
	const char *word = mon->conf->tls_client_ca;
	struct pop_why why;
	int fd;

	if (!word[0] || !(mon->conf->auth_mechanisms & MECH_EXTERNAL))
		return -1;
	fd = credential_open(word, strlen(word), false, &why);
	if (fd < 0)
		mon_log_error(mon, "tls_client_ca: %s", why.text);
	return fd;
}

/* Start pop3d-tls on the client (plain: the session's other end) or to check the pair. */
static int start_tls(struct monitor *mon, const struct mon_pair *p, int plain)
{
	int tls[2] = { -1, -1 }, keeper[2] = { -1, -1 }, tickets = -1, ca = -1;
	char path[PATH_MAX];
	pid_t pid = -1;

	if (find_program(mon, path) < 0)
		return POP_E_SYS;
	if (plain >= 0)
		tickets = open_tickets(mon);
	if (plain >= 0)
		ca = open_authorities(mon);
	if (mon_has_room(mon) && ipc_pair(tls) == 0 && ipc_pair(keeper) == 0)
		pid = run_tls(mon, path, p, plain, tickets, ca, tls[1], keeper[1]);
	if (pid < 0)
		mon_log_error(mon, "cannot start the tls role: %s", strerror(errno));
	if (tickets >= 0)
		close(tickets);
	if (ca >= 0)
		close(ca);
	for (int i = pid > 0; i < 2; i++) {
		if (tls[i] >= 0)
			close(tls[i]);
		if (keeper[i] >= 0)
			close(keeper[i]);
	}
	if (pid < 0)
		return POP_E_SYS;
	mon_adopt(mon, pid, ROLE_TLS);
	mon_adopt(mon, 0, ROLE_KEEPER); /* which pop3d-tls starts as our child, too */
	ipc_init(&mon->tls.pair, tls[0], ROLE_MONITOR, ROLE_TLS, PH_AUTH);
	ipc_init(&mon->tls.keeper, keeper[0], ROLE_MONITOR, ROLE_KEEPER, PH_AUTH);
	mon->tls.told = false; /* the run that checked has ended, too */
	mon->tls.stage = plain >= 0 ? TLS_SHAKING : TLS_CHECKING;
	mon->tls.deadline_ms = fs_now_ms() + (plain >= 0 ? HANDSHAKE_MS : CHECK_MS);
	return 0;
}

static int find_keeper(struct monitor *mon, struct pop_why *why)
{
	const char *name = mon->conf->keeper_user;
	uint32_t uid, gid;

	if (!mon->root)
		return 0;
	if (conf_user_ids(name, &uid, &gid) < 0)
		return pop_why(why, POP_E_MISSING,
			       "keeper_user = %s: no such user; make it, or name another", name);
	if (uid == 0 || gid == 0 || uid == mon->uid)
		return pop_why(why, POP_E_UNSAFE,
			       "keeper_user = %s: must be neither root nor unprivileged_user",
			       name);
	mon->tls.keeper_uid = uid;
	mon->tls.keeper_gid = gid;
	return 0;
}

static int open_first_pair(struct monitor *mon, struct mon_pair *p)
{
	struct pop_why why;
	int err;

	err = find_keeper(mon, &why);
	if (err == 0)
		err = mon_pair_open(p, mon->conf->tls_certificate, mon->conf->tls_key, &why);
	if (err < 0)
		mon_log_error(mon, "TLS is off: %s", why.text);
	return err;
}

int mon_start_tls(struct monitor *mon, int *session_fd)
{
	struct mon_pair p;
	int ends[2], err = open_first_pair(mon, &p);

	if (err < 0)
		return err;
	err = POP_E_SYS;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
		err = start_tls(mon, &p, ends[1]);
		close(ends[1]);
		*session_fd = ends[0];
		if (err < 0)
			close(ends[0]);
	}
	mon_pair_close(&p);
	return err;
}

/* The session's question is answered as soon as it is known whether TLS would work. */
static int answer_offer(struct monitor *mon, bool offered)
{
	struct ipc_msg m;

	if (mon->session.fd < 0 || mon->session.owed != IPC_TLS_OFFER_ANSWER)
		return 0;
	ipc_start(&m, IPC_TLS_OFFER_ANSWER);
	ipc_put_u8(&m, offered);
	mon->tls.stage = offered ? TLS_OFFERED : TLS_OFF;
	if (!offered)
		mon_release_client(mon);
	return ipc_send(&mon->session, &m);
}

static int judge(struct monitor *mon, const struct mon_verdict *v)
{
	int64_t now = (int64_t)time(NULL);

	if (!v->good)
		mon_log_error(mon, "TLS is off: %s", v->why.text);
	else if (now > v->not_after_s)
		mon_log_error(mon, "TLS is off: the certificate has expired");
	else if (now < v->not_before_s)
		mon_log_error(mon, "TLS is off: the certificate is not valid yet");
	else
		return answer_offer(mon, true);
	return answer_offer(mon, false);
}

int mon_answer_tls_offer(struct monitor *mon, struct ipc_msg *ask)
{
	char path[PATH_MAX];
	struct mon_verdict v;
	struct mon_pair p;
	int err;

	ipc_get_u8(ask);
	if (ipc_end(ask) < 0 || mon->tls.stage != TLS_POSSIBLE || mon->tls.implicit)
		return POP_E_CORRUPT;
	if (open_first_pair(mon, &p) < 0)
		return answer_offer(mon, false);
	err = mon_verdict_load(mon, &p, &v);
	if (err == 0) {
		err = find_program(mon, path) < 0 ? answer_offer(mon, false) : judge(mon, &v);
		mon_pair_close(&p);
		return err;
	}
	err = start_tls(mon, &p, -1);
	if (err < 0) {
		mon_pair_close(&p);
		return answer_offer(mon, false);
	}
	checked = p; /* the answer is remembered for these files */
	return 0;
}

/* The check is over, or has failed. */
static int end_check(struct monitor *mon, const struct mon_verdict *v, bool remember)
{
	if (remember)
		mon_verdict_save(mon, &checked, v);
	mon_pair_close(&checked);
	mon->tls.stage = TLS_OFF;
	return judge(mon, v);
}

/* The session has waited for it long enough. */
static int begin_stls(struct monitor *mon)
{
	struct ipc_msg m;
	int fd = -1, err = mon_start_tls(mon, &fd);

	mon_release_client(mon);
	ipc_start(&m, IPC_TLS_ANSWER);
	ipc_put_u8(&m, err == 0 ? VERDICT_OK : VERDICT_TEMP);
	if (err == 0)
		ipc_put_fd(&m, fd);
	else
		mon->tls.stage = TLS_OFF;
	err = ipc_send(&mon->session, &m);
	if (fd >= 0)
		close(fd);
	return err;
}

int mon_answer_tls(struct monitor *mon, struct ipc_msg *ask)
{
	uint32_t wait_ms;

	ipc_get_u8(ask);
	/* -s: behind a PROXY header, which the session has read */
	if (ipc_end(ask) < 0 || mon->tls.stage != (mon->tls.implicit ? TLS_POSSIBLE : TLS_OFFERED))
		return POP_E_CORRUPT;
	wait_ms = mon_handshake_wait(mon);
	if (wait_ms == 0)
		return begin_stls(mon);
	mon->tls.stage = TLS_WAITING;
	mon->tls.deadline_ms = fs_now_ms() + wait_ms;
	return 0;
}

int mon_tls_due(struct monitor *mon)
{
	if (mon->tls.stage == TLS_WAITING)
		return begin_stls(mon);
	if (mon->tls.stage == TLS_SHAKING)
		mon_handshake_broken(mon);
	mon_tls_end(mon, "TLS handshake failed: not done in time");
	return 0;
}

/* Is there a pair for the server name?  The keys go to the keeper before tls hears of it. */
static int answer_pair(struct monitor *mon, struct ipc_msg *ask)
{
	const struct conf_pair *found = NULL;
	struct ipc_msg keys;
	struct mon_pair p = { .n_certs = 0 };
	struct pop_why why;
	char name[256];
	int err = 0;

	ipc_get_str(ask, name, sizeof(name));
	if (ipc_end(ask) < 0)
		return POP_E_CORRUPT;
	for (size_t i = 0; i < mon->conf->n_tls_names && !found; i++)
		if (strcasecmp(mon->conf->tls_names[i].name, name) == 0)
			found = &mon->conf->tls_names[i];
	if (found && mon_pair_open(&p, found->certificate, found->key, &why) < 0)
		mon_log_error(mon, "TLS for the server name %s: %s", found->name, why.text);
	if (p.n_keys > 0) {
		ipc_start(&keys, IPC_KEEPER_PAIR);
		ipc_put_u8(&keys, 0);
		for (unsigned i = 0; i < p.n_keys; i++)
			ipc_put_fd(&keys, p.keys[i]);
		err = ipc_send(&mon->tls.keeper, &keys);
	}
	ipc_start(ask, IPC_PAIR_ANSWER);
	ipc_put_u8(ask, p.n_certs > 0 && err == 0);
	for (unsigned i = 0; i < p.n_certs && err == 0; i++)
		ipc_put_fd(ask, p.certs[i]);
	err = ipc_send(&mon->tls.pair, ask);
	mon_pair_close(&p);
	return err;
}

static int take_done(struct monitor *mon, struct ipc_msg *m)
{
	struct mon_tls *i = &mon->tls;
	const uint8_t *binding, *unique;
	const struct conf_domain *domain;
	char server[USER_NAME_MAX + 1];

	i->version = ipc_get_u32(m);
	i->resumed = ipc_get_u8(m) != 0;
	i->binding_kind = ipc_get_u8(m);
	binding = ipc_get_raw(m, sizeof(i->binding));
	if (binding)
		memcpy(i->binding, binding, sizeof(i->binding));
	unique = ipc_get_raw(m, sizeof(i->unique));
	if (unique)
		memcpy(i->unique, unique, sizeof(i->unique));
	ipc_get_str(m, i->cipher, sizeof(i->cipher));
	ipc_get_str(m, i->identity, sizeof(i->identity));
	ipc_get_str(m, server, sizeof(server));
	domain = domain_of_server(mon->conf, server);
	if (domain)
		snprintf(i->domain, sizeof(i->domain), "%s", domain->name);
	if (ipc_end(m) < 0 || i->binding_kind >= BINDING_N || mon->tls.stage != TLS_SHAKING ||
	    (i->version != 0x0303 && i->version != 0x0304))
		return POP_E_CORRUPT;
	/* it is believed about a certificate only where one is asked for */
	if (i->identity[0] && !mon->conf->tls_client_ca[0])
		return POP_E_CORRUPT;
	mon->tls.stage = TLS_ON;
	mon->secure = true;
	mon->tls.pair.phase = PH_TRANS; /* it has no more to say */
	if (mon->tls.implicit)
		mon_log_connect(mon);
	return 0;
}

static int take_text(struct monitor *mon, struct ipc_msg *m, int level, const char *what)
{
	char text[1024], whole[1100];

	ipc_get_str(m, text, sizeof(text));
	if (ipc_end(m) < 0 || !text[0])
		return POP_E_CORRUPT;
	snprintf(whole, sizeof(whole), "%s: %s", what, text);
	mon_log_drop(mon, level, whole);
	mon->tls.told = true;
	return 0;
}

static int take_checked(struct monitor *mon, struct ipc_msg *m)
{
	struct mon_verdict v = { .good = false };

	v.good = ipc_get_u8(m) == 1;
	v.not_before_s = (int64_t)ipc_get_u64(m);
	v.not_after_s = (int64_t)ipc_get_u64(m);
	ipc_get_str(m, v.why.text, sizeof(v.why.text));
	if (ipc_end(m) < 0 || mon->tls.stage != TLS_CHECKING || v.not_before_s < 0 ||
	    v.not_after_s < 0)
		return POP_E_CORRUPT;
	return end_check(mon, &v, true);
}

static int take_tls(struct monitor *mon, struct ipc_msg *m)
{
	switch (m->type) {
	case IPC_TLS_DONE:
		return take_done(mon, m);
	case IPC_TLS_BROKEN:
		mon_handshake_broken(mon);
		return take_text(mon, m, LOG_INFO, "TLS handshake failed");
	case IPC_TLS_NOTE:
		return take_text(mon, m, ipc_get_u8(m), "TLS");
	case IPC_TLS_CHECKED:
		return take_checked(mon, m);
	default:
		return answer_pair(mon, m);
	}
}

/* Its end while a check was open, or before the handshake was done and without a word. */
static void tls_ended(struct monitor *mon)
{
	struct mon_verdict v = { .good = false,
				 .why = { "pop3d-tls ended before its work was done" } };

	ipc_close(&mon->tls.pair);
	if (mon->tls.stage == TLS_CHECKING)
		end_check(mon, &v, false);
	else if (mon->tls.stage == TLS_SHAKING && !mon->tls.told && mon->session.fd >= 0)
		mon_log_error(mon, "the tls role ended before the handshake was done");
	mon->tls.told = true;
}

void mon_tls_event(struct monitor *mon)
{
	struct ipc_msg m;
	int err = ipc_recv(&mon->tls.pair, &m);

	if (err == 0)
		err = take_tls(mon, &m);
	ipc_wipe(&m);
	if (err == 0)
		return;
	mon_drop_pair(mon, &mon->tls.pair, err);
	tls_ended(mon);
}

void mon_keeper_event(struct monitor *mon)
{
	struct ipc_msg m;
	int err = ipc_recv(&mon->tls.keeper, &m);

	if (err == 0)
		err = take_text(mon, &m, ipc_get_u8(&m), "TLS");
	ipc_wipe(&m);
	if (err < 0)
		mon_drop_pair(mon, &mon->tls.keeper, err);
}

bool mon_tls_pending(const struct monitor *mon)
{
	return mon->tls.stage == TLS_WAITING ||
	       (mon->tls.pair.fd >= 0 &&
		(mon->tls.stage == TLS_SHAKING || mon->tls.stage == TLS_CHECKING));
}

void mon_tls_end(struct monitor *mon, const char *why)
{
	if (!mon_tls_pending(mon))
		return;
	if (mon->tls.stage == TLS_WAITING) {
		mon->tls.stage = TLS_OFF;
		return;
	}
	if (why && !mon->tls.told)
		mon_log_drop(mon, LOG_INFO, why);
	mon->tls.told = true;
	tls_ended(mon); /* its end of the pair is what it watches */
	ipc_close(&mon->tls.keeper);
}
