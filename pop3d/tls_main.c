/*
 * tls_main.c - pop3d-tls: TLS for one session, in two roles.
 *
 * The only program that links libssl.  The monitor starts it as root, with
 * every file that it needs open; it forks once: one process becomes the tls
 * role, the other the keeper (a child of the monitor too, which sees its end),
 * and each closes what is the other's before anything else.
 *
 * Runs in:  tls and keeper, from exec until they have given their rights up.
 * Trusts:   its command line and descriptors, which are the monitor's.
 *
 *   pop3d-tls serve|check MIN-VERSION STALL-MS N-CERTIFICATES N-KEYS TICKETS NAMES
 *             AUTHORITIES UID GID KEEPER-UID KEEPER-GID PARENT-PID EMPTY-ROOT     ("-": not started
 * by root)
 */
#include <signal.h>
#include <string.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>
#include "ipc.h"
#include "num.h"
#include "role.h"

enum { /* descriptors as the monitor arranges them */
       FD_CLIENT_IN = 0,
       FD_CLIENT_OUT = 1,
       FD_NULL = 2,
       FD_MONITOR = 3,
       FD_KEEPER_MONITOR = 4,
       FD_PLAIN = 5,
       FD_TICKETS = 6,
       FD_FILES = 7, /* certificates, then keys, then authorities of client certificates */
};

#define FILES_FEW 32

struct options {
	bool check;
	uint64_t min_version, stall_ms, n_certs, n_keys, tickets, names, authorities;
	uint64_t uid, gid, keeper_uid, keeper_gid, parent;
	const char *root; /* "-": no ids to give up */
};

static int parse(struct options *o, int argc, char **argv)
{
	const struct {
		uint64_t *out, max;
	} numbers[] = {
		{ &o->min_version, 0xFFFF },
		{ &o->stall_ms, INT32_MAX },
		{ &o->n_certs, ROLE_KEYS_MAX },
		{ &o->n_keys, ROLE_KEYS_MAX },
		{ &o->tickets, 1 },
		{ &o->names, 1 },
		{ &o->authorities, 1 },
		{ &o->uid, UINT32_MAX },
		{ &o->gid, UINT32_MAX },
		{ &o->keeper_uid, UINT32_MAX },
		{ &o->keeper_gid, UINT32_MAX },
		{ &o->parent, INT32_MAX },
	};
	const int n = sizeof(numbers) / sizeof(numbers[0]);

	if (argc != n + 3)
		return POP_E_SYNTAX;
	o->check = strcmp(argv[1], "check") == 0;
	if (!o->check && strcmp(argv[1], "serve") != 0)
		return POP_E_SYNTAX;
	for (int i = 0; i < n; i++)
		if (num_parse(argv[i + 2], strlen(argv[i + 2]), numbers[i].max, numbers[i].out) < 0)
			return POP_E_SYNTAX;
	o->root = argv[n + 2];
	return 0;
}

static struct role_rights rights_of(const struct options *o, enum ipc_role role)
{
	bool keeper = role == ROLE_KEEPER;
	struct role_rights r = {
		.role = role,
		.sandbox = keeper ? SANDBOX_KEEPER : SANDBOX_TLS,
		.drop_ids = strcmp(o->root, "-") != 0,
		.uid = (uid_t)(keeper ? o->keeper_uid : o->uid),
		.gid = (gid_t)(keeper ? o->keeper_gid : o->gid),
		.root = o->root,
		.parent = (pid_t)o->parent,
		.files = FILES_FEW,
	};
	return r;
}

static int be_keeper(const struct options *o, int tls_fd)
{
	struct role_rights rights = rights_of(o, ROLE_KEEPER);
	struct key_start start = { .monitor_fd = FD_KEEPER_MONITOR,
				   .tls_fd = tls_fd,
				   .tickets_fd = o->tickets ? FD_TICKETS : -1,
				   .n_keys = (unsigned)o->n_keys };
	int keep[3 + ROLE_KEYS_MAX] = { FD_KEEPER_MONITOR, FD_TICKETS, tls_fd };

	for (unsigned i = 0; i < start.n_keys; i++)
		keep[3 + i] = start.key_fds[i] = FD_FILES + (int)o->n_certs + (int)i;
	if (dup2(FD_NULL, FD_CLIENT_IN) < 0 || dup2(FD_NULL, FD_CLIENT_OUT) < 0)
		return EX_OSERR;
	role_title("pop3d-keeper");
	role_enter(&rights, keep, 3 + start.n_keys);
	return key_run(&start);
}

static int be_tls(const struct options *o, int keeper_fd)
{
	struct role_rights rights = rights_of(o, ROLE_TLS);
	struct tls_start start = { .fd_in = FD_CLIENT_IN,
				   .fd_out = FD_CLIENT_OUT,
				   .monitor_fd = FD_MONITOR,
				   .keeper_fd = keeper_fd,
				   .plain_fd = FD_PLAIN,
				   .n_certs = (unsigned)o->n_certs,
				   .min_version = (int)o->min_version,
				   .stall_ms = (int)o->stall_ms,
				   .tickets = o->tickets == 1,
				   .names = o->names == 1 };
	int keep[4 + ROLE_KEYS_MAX] = { FD_MONITOR, FD_PLAIN, keeper_fd, 0 };

	start.ca_fd = o->authorities ? FD_FILES + (int)(o->n_certs + o->n_keys) : -1;
	keep[3] = o->authorities ? start.ca_fd : FD_MONITOR;
	for (unsigned i = 0; i < start.n_certs; i++)
		keep[4 + i] = start.cert_fds[i] = FD_FILES + (int)i;
	role_title("pop3d-tls");
	role_enter(&rights, keep, 4 + start.n_certs);
	return o->check ? tls_check(&start) : tls_run(&start);
}

int main(int argc, char **argv)
{
	struct options o = { .check = false };
	pid_t pid;
	int ends[2];

	if (parse(&o, argc, argv) < 0)
		return EX_USAGE;
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || ipc_pair(ends) < 0)
		return EX_OSERR;
	signal(SIGPIPE, SIG_IGN);
	/* fork, but to a brother: no library has anything to prepare yet */
	pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return EX_OSERR;
	if (pid == 0) {
		close(ends[0]);
		_exit(be_keeper(&o, ends[1]));
	}
	close(ends[1]);
	_exit(be_tls(&o, ends[0]));
}
