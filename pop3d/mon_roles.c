/*
 * mon_roles.c - start the roles, each with the descriptors it needs and no other.
 *
 * Runs in:  monitor; the part behind fork in the new role, until it has given
 *           its rights up.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include "mon.h"
#include "role.h"

#define FILES_FEW      16
#define FILES_SESSION  (FILES_FEW + IPC_BATCH_MAX) /* a window of messages, each with its own */
#define FILES_VERIFIER 256			   /* for whatever program it is */
#define FILES_MANY     1024 /* descriptors in flight are counted per uid, machine-wide */

/* No client, no log: what a role that is not the session has as 0, 1 and 2. */
static void detach_client(const struct monitor *mon)
{
	for (int fd = 0; fd < 3; fd++)
		if (dup2(mon->null_fd, fd) < 0)
			_exit(EX_OSERR);
}

static struct role_rights rights_of(const struct monitor *mon, enum ipc_role role,
				    enum sandbox sandbox, pid_t parent)
{
	struct role_rights r = {
		.role = role,
		.sandbox = sandbox,
		.drop_ids = mon->root,
		.uid = mon->uid,
		.gid = mon->gid,
		.root = mon->empty,
		.parent = parent,
		.files = FILES_FEW,
	};
	return r;
}

static uid_t uid_of(const struct monitor *mon, enum ipc_role role)
{
	return role == ROLE_MAILDROP   ? mon->login.uid
	       : role == ROLE_KEEPER   ? mon->tls.keeper_uid
	       : role == ROLE_VERIFIER ? mon->verifier_uid
				       : mon->uid;
}

bool mon_has_room(const struct monitor *mon)
{
	/* for a keeper, too */
	if (mon->n_children < MON_CHILDREN - 1)
		return true;
	errno = EAGAIN;
	return false;
}

void mon_adopt(struct monitor *mon, pid_t pid, enum ipc_role role)
{
	mon->children[mon->n_children++] = (struct mon_child){ pid, role, uid_of(mon, role) };
}

pid_t mon_fork(struct monitor *mon, enum ipc_role role)
{
	pid_t pid;

	if (!mon_has_room(mon))
		return -1;
	pid = fork();
	if (pid > 0)
		mon_adopt(mon, pid, role);
	return pid;
}

/*
 * Their PDEATHSIG is not enough: the kernel sends it with our rights, and without
 * CAP_KILL root may not signal another uid.  A process of our real uid it may.
 */
void mon_kill_children(struct monitor *mon)
{
	for (unsigned i = 0; i < mon->n_children; i++) {
		const struct mon_child *c = &mon->children[i];

		if (c->pid == 0)
			continue; /* the keeper: it ends with the tls role */
		if (mon->root && setresuid(c->uid, (uid_t)-1, (uid_t)-1) < 0)
			mon_log_error(mon, "setresuid: %s", strerror(errno));
		if (kill(c->pid, SIGKILL) < 0 && errno != ESRCH)
			mon_log_error(mon, "cannot end the %s role: %s", ipc_role_name(c->role),
				      strerror(errno));
	}
	if (mon->root && setresuid(0, (uid_t)-1, (uid_t)-1) < 0)
		mon_log_error(mon, "setresuid: %s", strerror(errno));
}

/* Make a pair and fork.  In the child *fd is its end; in the parent it is the monitor's. */
static pid_t fork_with_pair(struct monitor *mon, enum ipc_role role, int *fd)
{
	int ends[2], saved;
	pid_t pid;

	if (ipc_pair(ends) < 0)
		return -1;
	pid = mon_fork(mon, role);
	saved = errno;
	*fd = pid == 0 ? ends[1] : ends[0];
	close(pid == 0 ? ends[0] : ends[1]);
	if (pid < 0)
		close(*fd);
	errno = saved;
	return pid;
}

void mon_release_client(struct monitor *mon)
{
	if (!mon->tls.holds_client)
		return;
	mon->tls.holds_client = false;
	/* as good as closed: a number that is in use is never handed out again */
	if (dup2(mon->null_fd, 0) < 0 || dup2(mon->null_fd, 1) < 0)
		mon_log_error(mon, "dup2: %s", strerror(errno));
}

/* The client's descriptors are the session's, or the plaintext's end is.  2 is the log, or the
 * client once more. */
static void arrange_session(const struct monitor *mon, int plain_fd)
{
	if (plain_fd >= 0 && (dup2(plain_fd, 0) < 0 || dup2(plain_fd, 1) < 0))
		_exit(EX_OSERR);
	if (dup2(mon->null_fd, 2) < 0)
		_exit(EX_OSERR);
}

int mon_start_session(struct monitor *mon, int plain_fd)
{
	pid_t parent = getpid();
	int fd;
	pid_t pid = fork_with_pair(mon, ROLE_SESSION, &fd);

	if (pid < 0) {
		mon_log_error(mon, "cannot start the session role: %s", strerror(errno));
		return POP_E_SYS;
	}
	if (pid == 0) {
		struct net_start start = {
			.conf = mon->conf,
			.fd_in = 0,
			.fd_out = 1,
			.monitor_fd = fd,
			.mechs = mon_mechanisms(mon),
			.tls = plain_fd >= 0,
			.stls = mon->tls.stage == TLS_POSSIBLE && !mon->tls.implicit,
			.proxy = mon->awaits_proxy,
			.implicit = mon->awaits_proxy && mon->tls.implicit,
			.apop = mon->apop[0] ? mon->apop : NULL,
		};
		struct role_rights rights = rights_of(mon, ROLE_SESSION, SANDBOX_SESSION, parent);
		int keep[1] = { fd };

		rights.files = FILES_SESSION;
		arrange_session(mon, plain_fd);
		role_title("pop3d-session");
		role_enter(&rights, keep, 1);
		_exit(net_run(&start));
	}
	ipc_init(&mon->session, fd, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	mon->tls.holds_client = true;
	/* unless TLS may come, the client's socket is the session's alone from here on */
	if (mon->tls.stage != TLS_POSSIBLE)
		mon_release_client(mon);
	return 0;
}

int mon_start_auth(struct monitor *mon)
{
	pid_t parent = getpid();
	int fd;
	pid_t pid = fork_with_pair(mon, ROLE_AUTH, &fd);

	if (pid < 0) {
		mon_log_error(mon, "cannot start the auth role: %s", strerror(errno));
		return POP_E_SYS;
	}
	if (pid == 0) {
		struct auth_start start = {
			.conf = mon->conf,
			.monitor_fd = fd,
			.address = mon->address,
			.apop = mon->apop,
		};
		struct role_rights rights = rights_of(mon, ROLE_AUTH, SANDBOX_AUTH, parent);
		int keep[1] = { fd };

		if (mon_by_program(mon->conf)) {
			/* the program becomes the user: that needs root, and the file system */
			rights.drop_ids = false;
			rights.root = NULL;
			rights.programs = true;
			rights.sandbox = SANDBOX_PROGRAM;
		}
		rights.cpu_s = 60;
		role_title("pop3d-auth");
		detach_client(mon);
		role_enter(&rights, keep, 1);
		_exit(auth_run(&start));
	}
	ipc_init(&mon->auth, fd, ROLE_MONITOR, ROLE_AUTH, PH_AUTH);
	return 0;
}

/*
 * What the owner of a mailbox needs of the file system: a Maildir; of an mbox its
 * directory, in which a dotlock is made and other programs replace the file; and the start
 * times of lock holders.  How many places it is.
 */
static size_t owner_places(const struct spec *spec, char dir[PATH_MAX],
			   struct sandbox_place places[2])
{
	const char *slash = strrchr(spec->path, '/');
	size_t n = strlen(spec->path);

	if (spec->kind == MAILDROP_MBOX)
		n = slash > spec->path ? (size_t)(slash - spec->path) : 1;
	memcpy(dir, spec->path, n);
	dir[n] = '\0';
	places[0] = (struct sandbox_place){ .path = dir, .work = true };
	places[1] = (struct sandbox_place){ .path = "/proc" };
	return 2;
}

int mon_start_verifier(struct monitor *mon, uid_t uid, gid_t gid)
{
	pid_t parent = getpid(), pid;
	int fd;

	mon->verifier_uid = uid;
	pid = fork_with_pair(mon, ROLE_VERIFIER, &fd);
	if (pid < 0) {
		mon_log_error(mon, "cannot start the verifier role: %s", strerror(errno));
		return POP_E_SYS;
	}
	if (pid == 0) {
		struct ver_start start = { mon->conf, fd, mon->address };
		struct role_rights rights = rights_of(mon, ROLE_VERIFIER, SANDBOX_PROGRAM, parent);
		int keep[1] = { fd };

		rights.uid = uid;
		rights.gid = gid;
		rights.root = NULL;
		rights.programs = true;
		rights.files = FILES_VERIFIER;
		role_title("pop3d-verifier");
		detach_client(mon);
		role_enter(&rights, keep, 1);
		_exit(ver_run(&start));
	}
	ipc_init(&mon->verifier, fd, ROLE_MONITOR, ROLE_VERIFIER, PH_AUTH);
	return 0;
}

int mon_start_drop(struct monitor *mon, int state_fd)
{
	pid_t parent = getpid(), pid;
	int ends[2], fd;

	if (ipc_pair(ends) < 0)
		return POP_E_SYS;
	pid = fork_with_pair(mon, ROLE_MAILDROP, &fd);
	if (pid < 0) {
		mon_log_error(mon, "cannot start the maildrop role: %s", strerror(errno));
		close(ends[0]);
		close(ends[1]);
		return POP_E_SYS;
	}
	if (pid == 0) {
		struct drop_start start = {
			.conf = mon->conf,
			.monitor_fd = fd,
			.session_fd = ends[1],
			.state_fd = state_fd,
			.address = mon->address,
			.uid = mon->login.uid,
			.spec = mon->login.spec,
			.utf8_fallback =
				mon->utf8 ? FALLBACK_PASSTHROUGH : mon->conf->utf8_fallback,
			.read_only = mon->login.options & USER_READ_ONLY,
			.login_delay = mon->login.login_delay,
			.expire = mon->login.expire,
			.show_after = mon->login.show_after,
		};
		struct role_rights rights = rights_of(mon, ROLE_MAILDROP, SANDBOX_MAILDROP, parent);
		struct sandbox_place places[3] = { { .fd = state_fd, .work = true } };
		int keep[3] = { fd, ends[1], state_fd };
		char dir[PATH_MAX];

		rights.uid = mon->login.uid;
		rights.gid = mon->login.gid;
		rights.root = NULL; /* it needs the maildrop and its state directory */
		rights.places = places;
		rights.n_places = 1 + owner_places(&mon->login.spec, dir, places + 1);
		/* what is removed is kept in a directory of its own */
		places[0].dirs = mon->conf->trash_days > 0;
		places[1].dirs = places[0].dirs && mon->login.spec.kind == MAILDROP_MAILDIR;
		rights.files = FILES_MANY;
		role_title("pop3d-maildrop");
		detach_client(mon);
		role_enter(&rights, keep, 3);
		_exit(drop_run(&start));
	}
	close(ends[1]);
	mon->drop_session_fd = ends[0];
	ipc_init(&mon->drop, fd, ROLE_MONITOR, ROLE_MAILDROP, PH_OPEN);
	return 0;
}

/*
 * A maildrop role that was killed may have left a dotlock that only its owner can
 * remove, and deliverers would wait for it: a new process of the owner's does.
 */
void mon_start_sweep(struct monitor *mon)
{
	pid_t parent = getpid(), pid;
	int fd;

	if (mon->swept || mon->login.spec.kind != MAILDROP_MBOX)
		return;
	mon->swept = true;
	pid = fork_with_pair(mon, ROLE_MAILDROP, &fd);
	if (pid < 0) {
		mon_log_error(mon, "cannot look after the dotlock of %s: %s", mon->login.spec.path,
			      strerror(errno));
		return;
	}
	if (pid == 0) {
		struct role_rights rights = rights_of(mon, ROLE_MAILDROP, SANDBOX_SWEEP, parent);
		struct sandbox_place places[2];
		char dir[PATH_MAX];

		rights.uid = mon->login.uid;
		rights.gid = mon->login.gid;
		rights.root = NULL;
		rights.places = places;
		rights.n_places = owner_places(&mon->login.spec, dir, places);
		role_title("pop3d-sweep");
		detach_client(mon);
		role_enter(&rights, NULL, 0);
		_exit(drop_sweep(&mon->login.spec));
	}
	close(fd);
}

/* A helper is started as root, and gives the uid up after this last exec. */
static void exec_helper(const struct monitor *mon, const char *path, const char *name, int fd,
			pid_t parent)
{
	char uid[16], gid[16], ppid[16];
	char *argv[] = { (char *)(uintptr_t)name,
			 uid,
			 gid,
			 ppid,
			 (char *)(uintptr_t)(mon->root ? mon->empty : "-"),
			 NULL };
	char *none[] = { NULL };
	sigset_t unblocked;

	snprintf(uid, sizeof(uid), "%u", (unsigned)mon->uid);
	snprintf(gid, sizeof(gid), "%u", (unsigned)mon->gid);
	snprintf(ppid, sizeof(ppid), "%d", (int)parent);
	sigemptyset(&unblocked);
	sigprocmask(SIG_SETMASK, &unblocked, NULL);
	detach_client(mon);
	if (fd == 3 ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, 3) < 0)
		_exit(EX_OSERR);
	execve(path, argv, none);
	_exit(EX_UNAVAILABLE);
}

int mon_start_helper(struct monitor *mon, const char *name, enum ipc_role role)
{
	pid_t parent = getpid(), pid;
	char path[PATH_MAX];
	int fd, n;

	n = snprintf(path, sizeof(path), "%s/%s", mon->conf->helper_dir, name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return POP_E_LONG;
	if (access(path, X_OK) < 0) {
		mon_log_error(mon, "%s: %s", path, strerror(errno));
		return POP_E_SYS;
	}
	pid = fork_with_pair(mon, role, &fd);
	if (pid < 0) {
		mon_log_error(mon, "cannot start %s: %s", name, strerror(errno));
		return POP_E_SYS;
	}
	if (pid == 0)
		exec_helper(mon, path, name, fd, parent);
	return fd;
}
