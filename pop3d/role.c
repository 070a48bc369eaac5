/*
 * role.c - give up what a role does not need.
 *
 * Runs in:  every role, first thing.
 * Trusts:   its caller, the monitor before or after fork, or a helper's main.
 */
#include "role.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fds.h"
#include "num.h"

static int limit(int what, rlim_t soft)
{
	struct rlimit now, want;

	if (getrlimit(what, &now) < 0)
		return -1;
	want.rlim_cur = want.rlim_max = soft < now.rlim_max ? soft : now.rlim_max;
	return setrlimit(what, &want);
}

#define MIB	 ((rlim_t)1 << 20)
#define GIB	 ((rlim_t)1 << 30)
#define NO_LIMIT RLIM_INFINITY

/*
 * The memory that a role can write to without a file behind it, and how long a file it can
 * make.  A mailbox of a million messages takes 1 MiB of session, 91 of maildrop and 1 of the
 * digest helper; the lists of a session are shared memory, which is not counted.
 */
static const struct {
	rlim_t data, file;
} bounds[SANDBOX_N] = {
	/* a client that is a file takes what it takes; so does one of tls */
	[SANDBOX_SESSION] = { 64 * MIB, NO_LIMIT },
	[SANDBOX_TLS] = { 64 * MIB, NO_LIMIT },
	/* the costliest hash that crypt_gensalt(3) makes takes 1 GiB */
	[SANDBOX_AUTH] = { 1280 * MIB, 0 },
	[SANDBOX_DIGESTS] = { 1280 * MIB, 0 },
	[SANDBOX_PROGRAM] = { NO_LIMIT, NO_LIMIT },
	[SANDBOX_MAILDROP] = { 4 * GIB, NO_LIMIT },
	[SANDBOX_DIGEST] = { 4 * GIB, GIB },  /* 64 Mi messages, at 16 octets */
	[SANDBOX_SWEEP] = { 64 * MIB, MIB },  /* a lock record */
	[SANDBOX_KEEPER] = { 64 * MIB, MIB }, /* ticket keys */
	[SANDBOX_WRITER] = { 4 * GIB, NO_LIMIT },
};

static int limit_size(enum sandbox who)
{
	/* a sanitizer's shadow is memory, too */
	if (sandbox_has_files() && bounds[who].data != NO_LIMIT &&
	    limit(RLIMIT_DATA, bounds[who].data) < 0)
		return -1;
	return bounds[who].file == NO_LIMIT ? 0 : limit(RLIMIT_FSIZE, bounds[who].file);
}

/* The steps of role_enter(), each its exit status; the words are for the monitor's log. */
#define STEP_FIRST 100
static const char *const steps[] = {
	"chroot to helper_dir/empty",
	"setgroups",
	"setresgid",
	"setresuid",
	"root's uid was not given up",
	"prctl",
	"the monitor was gone already",
	"setrlimit",
	"its files",
	"its system-call filter",
};
enum step {
	STEP_CHROOT = STEP_FIRST,
	STEP_GROUPS,
	STEP_GID,
	STEP_UID,
	STEP_STILL_ROOT,
	STEP_PRCTL,
	STEP_PARENT,
	STEP_LIMITS,
	STEP_FILES,
	STEP_SANDBOX,
};

const char *role_failed_step(int exit_status)
{
	int step = exit_status - STEP_FIRST;

	if (step < 0 || (size_t)step >= sizeof(steps) / sizeof(steps[0]))
		return NULL;
	return steps[step];
}

static void give_up_ids(const struct role_rights *r)
{
	if (r->root && (chroot(r->root) < 0 || chdir("/") < 0))
		_exit(STEP_CHROOT);
	if (setgroups(0, NULL) < 0)
		_exit(STEP_GROUPS);
	if (setresgid(r->gid, r->gid, r->gid) < 0)
		_exit(STEP_GID);
	if (setresuid(r->uid, r->uid, r->uid) < 0)
		_exit(STEP_UID);
	if (r->uid == 0 || setuid(0) == 0)
		_exit(STEP_STILL_ROOT);
}

int role_limit_caps(uint32_t keep, struct pop_why *why)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	if (syscall(SYS_capget, &head, data) < 0)
		return pop_why_errno(why, "capget");
	data[0].effective = data[0].permitted &= keep;
	data[0].inheritable = 0;
	data[1].effective = data[1].permitted = data[1].inheritable = 0;
	if (syscall(SYS_capset, &head, data) < 0)
		return pop_why_errno(why, "capset");
	return 0;
}

/* Root in one directory, who can give a new file to the owner of the old one. */
static void become_writer(const struct role_rights *r)
{
	struct pop_why why;

	if (chroot(r->root_writer) < 0 || chdir("/") < 0)
		_exit(STEP_CHROOT);
	if (role_limit_caps(1U << CAP_CHOWN, &why) < 0)
		_exit(STEP_PRCTL);
}

static void default_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigaction(SIGTERM, &dfl, NULL); /* the monitor's own two */
	sigaction(SIGCHLD, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void role_enter(const struct role_rights *r, int *keep, size_t n)
{
	fds_close_all_but(keep, n);
	default_signals();
	if (r->drop_ids)
		give_up_ids(r);
	if (r->root_writer)
		become_writer(r);
	/* PDEATHSIG after the change of ids, which would clear it */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(STEP_PRCTL);
	if (getppid() != r->parent)
		_exit(STEP_PARENT);
	/* before the limit on descriptors, some of which it uses for a moment */
	if (!r->programs && sandbox_enter_files(r->places, r->n_places) < 0)
		_exit(STEP_FILES);
	if ((!r->programs && limit(RLIMIT_NPROC, 0) < 0) || limit(RLIMIT_CORE, 0) < 0 ||
	    limit(RLIMIT_NOFILE, r->files) < 0 || (r->cpu_s && limit(RLIMIT_CPU, r->cpu_s) < 0) ||
	    limit_size(r->sandbox) < 0)
		_exit(STEP_LIMITS);
	if (sandbox_enter(r->sandbox) < 0)
		_exit(STEP_SANDBOX);
}

int role_helper_rights(int argc, char **argv, enum ipc_role role, enum sandbox sandbox,
		       struct role_rights *r)
{
	uint64_t uid, gid, parent;

	if (argc != 5 || num_parse(argv[1], strlen(argv[1]), UINT32_MAX, &uid) < 0 ||
	    num_parse(argv[2], strlen(argv[2]), UINT32_MAX, &gid) < 0 ||
	    num_parse(argv[3], strlen(argv[3]), INT32_MAX, &parent) < 0)
		return POP_E_SYNTAX;
	*r = (struct role_rights){ .role = role,
				   .sandbox = sandbox,
				   .drop_ids = strcmp(argv[4], "-") != 0,
				   .uid = (uid_t)uid,
				   .gid = (gid_t)gid,
				   .root = argv[4],
				   .parent = (pid_t)parent,
				   .files = 16 };
	return 0;
}

void role_title(const char *title)
{
	prctl(PR_SET_NAME, title);
}

/* Descriptors 0 to 2 open, whatever stands behind them; the result is one above 2. */
static int open_null(void)
{
	int fd;

	/* open() takes the lowest free number */
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	return fd;
}

static void keep_environment(void)
{
	static const char *const kept[] = {
		"TZ",	       "CREDENTIALS_DIRECTORY", "REMOTE_ADDR",
		"REMOTE_PORT", "TCPREMOTEIP",		"TCPREMOTEPORT"
	};
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	static char *clean[2 + sizeof(kept) / sizeof(kept[0])];
	size_t n = 0;

	clean[n++] = path;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		char *value = getenv(kept[i]);

		if (value)
			clean[n++] = value - strlen(kept[i]) - 1; /* NAME=value as it stands */
	}
	clean[n] = NULL;
	environ = clean;
}

int role_clean_start(int *null_fd, struct pop_why *why)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL }, ign = { .sa_handler = SIG_IGN };
	sigset_t none;

	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL); /* KILL, STOP and libc's own refuse: no harm */
	sigaction(SIGPIPE, &ign, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fds_close_all_but(NULL, 0);
	*null_fd = open_null();
	if (*null_fd < 0)
		return pop_why_errno(why, "open /dev/null");
	umask(077);
	if (chdir("/") < 0)
		return pop_why_errno(why, "chdir /");
	if (limit(RLIMIT_CORE, 0) < 0)
		return pop_why_errno(why, "setrlimit");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return pop_why_errno(why, "no_new_privs");
	keep_environment();
	return 0;
}

int role_limit_root(struct pop_why *why)
{
	const uint32_t keep =
		1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_SYS_CHROOT | 1U << CAP_CHOWN;

	/*
	 * The bounding set first, while SETPCAP is there.  Where a service manager
	 * has made it smaller already, and took SETPCAP, the calls fail: good.
	 */
	for (unsigned long cap = 0; cap < 64; cap++)
		if (!(cap < 32 && (keep >> cap & 1)) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 &&
		    errno == EINVAL)
			break;
	return role_limit_caps(keep, why);
}
