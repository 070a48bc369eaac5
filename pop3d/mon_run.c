/*
 * mon_run.c - the monitor's loop: one session from its start to the end of
 * every role.
 *
 * Runs in:  monitor.
 * Trusts:   auth's answer, after checking it.  Not the session.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>
#include "fsutil.h"
#include <syslog.h>
#include "mon.h"
#include "role.h"

/*
 * How long a role may outlive its pairs, and the session the word that it has to
 * end: it waits for 2 s at most until its client takes the last answer, and reads
 * and drops for 2 s.  What is left then is killed.
 */
#define LINGER_MS 5000
/* And the maildrop role when the session is gone: an expunge is finished, but a role may hang. */
#define EXPUNGE_MS 60000

static volatile sig_atomic_t got_term, got_child;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		got_term = 1;
	else
		got_child = 1;
}

static void catch_signals(sigset_t *while_waiting)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, while_waiting);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGCHLD, &act, NULL);
}

/* Tell the session to end; what it still has to say is read. */
static void end_session(struct monitor *mon)
{
	if (mon->ending)
		return;
	if (mon->session.fd >= 0)
		shutdown(mon->session.fd, SHUT_WR);
	mon->ending = true;
	mon->end_by_ms = fs_now_ms() + LINGER_MS;
}

void mon_await_end(struct monitor *mon)
{
	mon->session.phase = PH_END;
	mon->leave_by_ms = fs_now_ms() + LINGER_MS;
}

void mon_drop_pair(struct monitor *mon, struct ipc *c, int err)
{
	if (err != POP_E_EOF)
		mon_log_error(mon, "the %s role broke the message protocol: %s",
			      ipc_role_name(c->peer), pop_strerror(err));
	ipc_close(c);
}

static int take_session_end(struct monitor *mon, struct ipc_msg *m)
{
	/* a handshake that failed has its own line, and no session was ever there */
	if ((mon->tls.stage != TLS_SHAKING || m->payload[0] == END_FAILED) && !mon->awaits_proxy)
		mon_log_logout(mon, m);
	m->pos = 0;
	mon_record_end(mon, m);
	mon->phase = PH_END;
	mon_await_end(mon);
	return ipc_end(m);
}

/* The session's pair is done with, and what served only it. */
static void leave_session(struct monitor *mon)
{
	ipc_close(&mon->session);
	mon->drop_by_ms = fs_now_ms() + EXPUNGE_MS;
	mon_release_client(mon);
	mon_tls_end(mon, NULL);
	ipc_close(&mon->verifier);
	if (!mon->awaits_upgrade)
		ipc_close(&mon->auth);
	if (mon->drop_session_fd >= 0) {
		close(mon->drop_session_fd);
		mon->drop_session_fd = -1;
	}
}

/* Who should have ended by now, at the latest? */
static enum ipc_role overdue(const struct monitor *mon)
{
	return mon->session.fd >= 0	 ? ROLE_SESSION
	       : mon->auth.fd >= 0	 ? ROLE_AUTH
	       : mon->tls.pair.fd >= 0	 ? ROLE_TLS
	       : mon->tls.keeper.fd >= 0 ? ROLE_KEEPER
					 : ROLE_MONITOR;
}

static bool is_waited_for(const struct monitor *mon)
{
	return mon->ending && overdue(mon) != ROLE_MONITOR;
}

/*
 * Enough of it: one hangs, or is no longer ours.  The maildrop role, which still
 * answers the session, is told too; an expunge is finished.
 */
static void wait_no_more(struct monitor *mon)
{
	mon_log_error(mon, "the %s role does not end", ipc_role_name(overdue(mon)));
	mon->awaits_upgrade = false;
	leave_session(mon);
	ipc_close(&mon->tls.pair);
	ipc_close(&mon->tls.keeper);
	if (mon->drop.fd >= 0)
		shutdown(mon->drop.fd, SHUT_WR);
}

/* Is it still there, though it has no more to say? */
static bool is_to_leave(const struct monitor *mon)
{
	return mon->session.fd >= 0 && mon->leave_by_ms > 0;
}

static void session_event(struct monitor *mon)
{
	struct ipc_msg m;
	int err = ipc_recv(&mon->session, &m);
	bool heard = err == 0;

	if (err == 0 && mon->awaits_proxy && m.type != IPC_PROXY && m.type != IPC_SESSION_END)
		err = POP_E_CORRUPT;
	if (err == 0) {
		switch (m.type) {
		case IPC_PROXY:
			err = mon_take_proxy(mon, &m);
			break;
		case IPC_LOGIN_ASK:
		case IPC_SASL_ASK:
			err = mon_answer_login(mon, &m);
			break;
		case IPC_MECHS_ASK:
			err = mon_answer_mechs(mon, &m);
			break;
		case IPC_UTF8:
			mon->utf8 = ipc_get_u8(&m) == 1;
			err = ipc_end(&m);
			break;
		case IPC_TLS_OFFER_ASK:
			err = mon_answer_tls_offer(mon, &m);
			break;
		case IPC_TLS_ASK:
			err = mon_answer_tls(mon, &m);
			break;
		default:
			err = take_session_end(mon, &m);
		}
	}
	ipc_wipe(&m);
	/* one that does not wait for its answer has last words, perhaps */
	if (err == 0 || (heard && err == POP_E_EOF))
		return;
	mon_drop_pair(mon, &mon->session, err);
	leave_session(mon);
}

static void auth_event(struct monitor *mon)
{
	struct ipc_msg m;
	int err = ipc_recv(&mon->auth, &m);

	if (err == 0 && m.type == IPC_SECRETS_ASK)
		err = mon_answer_secrets(mon, &m);
	else if (err == 0 && m.type == IPC_VERIFIER_ASK)
		err = mon_answer_verifier(mon, &m);
	else if (err == 0 && m.type == IPC_BRAKE_ASK)
		err = mon_answer_brake(mon, &m);
	else if (err == 0 && m.type == IPC_UPGRADE)
		err = mon_take_upgrade(mon, &m);
	else if (err == 0 && (m.type == IPC_AUTH_ANSWER || m.type == IPC_AUTH_SASL_ANSWER))
		err = mon_take_auth_answer(mon, &m);
	else if (err == 0)
		err = POP_E_CORRUPT;
	ipc_wipe(&m);
	if (err == 0)
		return;
	mon_drop_pair(mon, &mon->auth, err);
	if (mon->session.fd < 0)
		return;
	if (mon->phase == PH_AUTH)
		mon_log_error(mon, "the auth role ended before its work was done");
	else if (err == POP_E_EOF) /* it was done */
		return;
	if (mon->phase == PH_OPEN) { /* its yes is worth nothing, either */
		ipc_close(&mon->drop);
		mon_remove_dotlock(mon);
	}
	if (mon->phase == PH_AUTH || mon->phase == PH_OPEN)
		mon_fail_login(mon, VERDICT_TEMP, true);
	end_session(mon);
}

static int answer_digester(struct monitor *mon, struct ipc_msg *m)
{
	int fd, err;

	ipc_get_u8(m);
	if (ipc_end(m) < 0)
		return POP_E_CORRUPT;
	fd = mon_start_helper(mon, "pop3d-digest", ROLE_DIGEST);
	ipc_start(m, IPC_DIGESTER_ANSWER);
	ipc_put_u8(m, fd >= 0);
	if (fd >= 0)
		ipc_put_fd(m, fd);
	err = ipc_send(&mon->drop, m);
	if (fd >= 0)
		close(fd);
	return err;
}

static int take_note(struct monitor *mon, struct ipc_msg *m)
{
	char text[1024];
	uint8_t level = ipc_get_u8(m);

	ipc_get_str(m, text, sizeof(text));
	if (ipc_end(m) < 0 || !text[0])
		return POP_E_CORRUPT;
	mon_log_drop(mon, level, text);
	return 0;
}

static void drop_event(struct monitor *mon)
{
	struct ipc_msg m;
	int err = ipc_recv(&mon->drop, &m);

	if (err == 0) {
		switch (m.type) {
		case IPC_DROP_READY:
			err = mon_take_drop_ready(mon, &m);
			break;
		case IPC_DOTLOCK_ASK:
			err = mon_answer_dotlock(mon, &m);
			break;
		case IPC_DIGESTER_ASK:
			err = answer_digester(mon, &m);
			break;
		default:
			err = take_note(mon, &m);
		}
	}
	ipc_wipe(&m);
	if (err == 0)
		return;
	mon_drop_pair(mon, &mon->drop, err);
	mon_remove_dotlock(mon);
	if (mon->phase == PH_OPEN) {
		mon_log_error(mon, "the maildrop role ended before the maildrop was open");
		mon_fail_login(mon, VERDICT_TEMP, true);
	} else if (err != POP_E_EOF) {
		end_session(mon);
	}
}

/* What a role's death says, where it says anything. */
static void log_death(struct monitor *mon, enum ipc_role role, int status)
{
	const char *step = WIFEXITED(status) ? role_failed_step(WEXITSTATUS(status)) : NULL;

	if (role == ROLE_WRITER && WIFEXITED(status) && !step) {
		if (WEXITSTATUS(status) == EX_OK)
			mon_log_drop(mon, LOG_NOTICE,
				     "a stronger hash of the password is kept now");
		else
			mon_log_error(mon, "password_upgrade: the users file cannot be written");
		return;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		mon_log_error(mon,
			      "the %s role was killed by signal %d: it made a system call that its "
			      "filter refuses",
			      ipc_role_name(role), SIGSYS);
	else if (WIFSIGNALED(status))
		mon_log_error(mon, "the %s role was killed by signal %d", ipc_role_name(role),
			      WTERMSIG(status));
	else if (step)
		mon_log_error(mon, "the %s role could not start: %s", ipc_role_name(role), step);
}

static bool may_have_left_dotlock(int status)
{
	return WIFSIGNALED(status) || WEXITSTATUS(status) == EX_TEMPFAIL;
}

/* Which one was it?  The keeper's pid is not known: pop3d-tls starts it as our child. */
static unsigned find_child(const struct monitor *mon, pid_t pid)
{
	unsigned unknown = mon->n_children;

	for (unsigned i = 0; i < mon->n_children; i++) {
		if (mon->children[i].pid == pid)
			return i;
		if (mon->children[i].pid == 0)
			unknown = i;
	}
	return unknown;
}

static void reap(struct monitor *mon)
{
	enum ipc_role role;
	int status;
	pid_t pid;

	if (!got_child)
		return;
	got_child = 0;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		unsigned i = find_child(mon, pid);

		if (i == mon->n_children)
			continue;
		role = mon->children[i].role;
		mon->children[i] = mon->children[--mon->n_children];
		log_death(mon, role, status);
		if (role == ROLE_MAILDROP && may_have_left_dotlock(status))
			mon_start_sweep(mon);
	}
	if (pid < 0 && errno == ECHILD)
		mon->n_children = 0; /* a keeper that was never started */
}

static int time_left(int64_t until_ms)
{
	int64_t left = until_ms - fs_now_ms();

	return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

#define N_PAIRS 5

static void wait_events(struct monitor *mon, int64_t until_ms, const sigset_t *unblocked)
{
	/* tls before the session: what it says of the handshake was said before any command */
	struct ipc *pairs[N_PAIRS] = { &mon->tls.keeper, &mon->tls.pair, &mon->session, &mon->auth,
				       &mon->drop };
	void (*const events[N_PAIRS])(struct monitor *) = { mon_keeper_event, mon_tls_event,
							    session_event, auth_event, drop_event };
	struct pollfd fds[N_PAIRS];
	struct timespec ts;
	int left;

	for (int i = 0; i < N_PAIRS; i++)
		fds[i] = (struct pollfd){ .fd = pairs[i]->fd, .events = POLLIN };
	left = time_left(until_ms);
	ts = (struct timespec){ left / 1000, left % 1000 * 1000000L };
	if (ppoll(fds, N_PAIRS, &ts, unblocked) <= 0)
		return;
	for (int i = 0; i < N_PAIRS; i++) /* an event may have closed a later pair */
		if (fds[i].revents && pairs[i]->fd == fds[i].fd)
			events[i](mon);
}

static bool all_closed(const struct monitor *mon)
{
	return mon->session.fd < 0 && mon->auth.fd < 0 && mon->drop.fd < 0 &&
	       mon->tls.pair.fd < 0 && mon->tls.keeper.fd < 0;
}

/* The time until which nothing has to be done by itself. */
static int64_t next_deadline(const struct monitor *mon)
{
	int64_t until = fs_now_ms() + 3600000;

	if (mon->phase == PH_AUTH && !mon->ending && mon->deadline_ms < until)
		until = mon->deadline_ms;
	if (is_waited_for(mon) && mon->end_by_ms < until)
		until = mon->end_by_ms;
	if (mon->session.fd < 0 && mon->drop.fd >= 0 && mon->drop_by_ms < until)
		until = mon->drop_by_ms;
	if (is_to_leave(mon) && mon->leave_by_ms < until)
		until = mon->leave_by_ms;
	if (mon_tls_pending(mon) && mon->tls.deadline_ms < until)
		until = mon->tls.deadline_ms;
	return until;
}

static void keep_deadlines(struct monitor *mon)
{
	int64_t now = fs_now_ms();

	if (got_term || (mon->phase == PH_AUTH && now >= mon->deadline_ms))
		end_session(mon);
	if (is_waited_for(mon) && now >= mon->end_by_ms)
		wait_no_more(mon);
	if (mon->session.fd < 0 && mon->drop.fd >= 0 && now >= mon->drop_by_ms) {
		mon_log_error(mon, "the maildrop role does not end");
		ipc_close(&mon->drop); /* it will be killed */
		mon_remove_dotlock(mon);
	}
	if (is_to_leave(mon) && now >= mon->leave_by_ms) {
		mon_log_error(mon, "the session role does not end");
		leave_session(mon);
	}
	if (mon_tls_pending(mon) && now >= mon->tls.deadline_ms && mon_tls_due(mon) < 0) {
		mon_drop_pair(mon, &mon->session, POP_E_EOF);
		leave_session(mon);
	}
}

/*
 * Implicit TLS of a client that broke handshakes off: it waits before anything is
 * started for it.  False when it goes away, or we have to.
 */
static bool hold_handshake(struct monitor *mon, const sigset_t *unblocked)
{
	int64_t until_ms = fs_now_ms() + mon_handshake_wait(mon), left;

	while ((left = until_ms - fs_now_ms()) > 0) {
		struct pollfd client = { .fd = 0, .events = POLLRDHUP };
		struct timespec ts = { left / 1000, left % 1000 * 1000000L };

		if (ppoll(&client, 1, &ts, unblocked) > 0 || got_term)
			return false;
	}
	return true;
}

/* EX_OK without a session: the client has gone, or we have to. */
static int start_roles(struct monitor *mon, const sigset_t *unblocked)
{
	bool tls_first = mon->tls.implicit && !mon->awaits_proxy;
	int plain_fd = -1, err;

	if (tls_first && !hold_handshake(mon, unblocked))
		return EX_OK;
	if (tls_first && mon_start_tls(mon, &plain_fd) < 0)
		return EX_CONFIG;
	err = mon_start_session(mon, plain_fd);
	if (plain_fd >= 0)
		close(plain_fd);
	return err < 0 ? EX_OSERR : EX_OK;
}

void mon_meet_client(struct monitor *mon)
{
	if (mon_start_auth(mon) < 0)
		end_session(mon);
	mon_prepare_verifier(mon);
	/* not before: session and auth need less than the roles that inherit the monitor's filter,
	 * and a checkpassword program and a verifier more */
	if (sandbox_enter(SANDBOX_MONITOR) < 0) {
		mon_log_error(mon, "the monitor's system-call filter: %s", strerror(errno));
		end_session(mon);
	}
	if (!mon->tls.implicit)
		mon_log_connect(mon);
	mon_record_begin(mon); /* the client has its greeting already */
}

int mon_run(struct monitor *mon)
{
	sigset_t unblocked;
	int64_t over = 0;
	int status;

	mon->phase = PH_AUTH;
	mon->session.fd = mon->auth.fd = mon->drop.fd = mon->verifier.fd = -1;
	mon->tls.pair.fd = mon->tls.keeper.fd = -1;
	mon_prepare_auth(mon);
	mon->deadline_ms = mon->began_ms + (int64_t)mon->conf->auth_timeout * 1000;
	catch_signals(&unblocked); /* from the first role on: the client sees its greeting early */
	mon->awaits_proxy = mon_is_proxied(mon);
	status = start_roles(mon, &unblocked);
	if (status != EX_OK || mon->session.fd < 0)
		return status;
	if (!mon->awaits_proxy)
		mon_meet_client(mon);
	if (!mon->root)
		mon_log_drop(mon, LOG_NOTICE,
			     "not started as root: every role runs under this uid");
	for (;;) {
		int64_t until;

		reap(mon);
		keep_deadlines(mon);
		mon_record_change(mon);
		mon_shed_caps(mon);
		if (all_closed(mon)) {
			if (mon->n_children == 0)
				break;
			if (over == 0)
				over = fs_now_ms() + LINGER_MS;
			if (fs_now_ms() >= over) {
				mon_kill_children(mon);
				break;
			}
			until = over;
		} else {
			until = next_deadline(mon);
		}
		wait_events(mon, until, &unblocked);
	}
	mon_record_leave(mon);
	return EX_OK;
}
