/*
 * check_sandbox.c - what each role's filter refuses, tried.
 *
 * The rules are read from sandbox.c itself.  Its programs are run here by a small
 * interpreter over every number there is, and by the kernel over calls that no role
 * may make: each in a child of its own, which has to die by SIGSYS.
 */
#include "../../pop3d/sandbox.c"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#ifdef PROGRAM_MAX

#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>

static const char *const names[SANDBOX_N] = {
	[SANDBOX_MONITOR] = "monitor",	 [SANDBOX_SESSION] = "session",
	[SANDBOX_AUTH] = "auth",	 [SANDBOX_DIGESTS] = "pop3d-auth",
	[SANDBOX_PROGRAM] = "program",	 [SANDBOX_CHECKED] = "pop3d-checked",
	[SANDBOX_MAILDROP] = "maildrop", [SANDBOX_SWEEP] = "sweep",
	[SANDBOX_DIGEST] = "digest",	 [SANDBOX_TLS] = "tls",
	[SANDBOX_KEEPER] = "keeper",	 [SANDBOX_WRITER] = "writer",
};
#define LOCAL_ARCH SANDBOX_ARCH

/* ---- the programs, by an interpreter ---- */

static uint32_t field(const struct seccomp_data *d, uint32_t offset)
{
	uint32_t v;

	ck_assert_uint_le(offset, sizeof(*d) - sizeof(v));
	memcpy(&v, (const char *)d + offset, sizeof(v));
	return v;
}

static uint32_t answer(const struct program *p, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < p->n; pc++) {
		const struct sock_filter *f = &p->code[pc];
		bool yes = false;

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = field(d, f->k);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= f->k;
			continue;
		case BPF_RET | BPF_K:
			return f->k;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == f->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= f->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = a & f->k;
			break;
		default:
			ck_abort_msg("instruction %u", f->code);
		}
		pc += yes ? f->jt : f->jf;
	}
	ck_abort_msg("the program has no end");
	return 0;
}

static bool holds(const struct test *t, const struct seccomp_data *d)
{
	uint32_t v = (uint32_t)d->args[t->arg];

	switch (t->op) {
	case ONE_OF:
		for (int i = 0; i < t->n; i++)
			if (v == t->value[i])
				return true;
		return false;
	case NONE_OF_BITS:
		return !(v & t->value[0]);
	case NOT_ALL_BITS:
		return (v & t->value[0]) != t->value[0];
	case POSITIVE:
		return (int32_t)v > 0;
	default:
		return true;
	}
}

/* The answer that the table wants. */
static uint32_t wanted(enum sandbox who, const struct seccomp_data *d)
{
	if (d->arch != LOCAL_ARCH)
		return SECCOMP_RET_KILL_PROCESS;
	if (who == SANDBOX_PROGRAM) {
		for (size_t i = 0; i < N_ELEMS(refused_programs); i++)
			if (refused_programs[i] == d->nr)
				return SECCOMP_RET_ERRNO | EPERM;
		return (uint32_t)d->nr >= X32_BIT ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ALLOW;
	}
	for (size_t i = 0; i < N_ELEMS(calls); i++) {
		if (!(calls[i].roles >> who & 1) || calls[i].number != d->nr)
			continue;
		if (calls[i].check == NOT_PERMITTED)
			return SECCOMP_RET_ERRNO | EPERM;
		if (calls[i].check == NOT_THERE)
			return SECCOMP_RET_ERRNO | ENOSYS;
		return holds(&tests[calls[i].check][0], d) && holds(&tests[calls[i].check][1], d)
			       ? SECCOMP_RET_ALLOW
			       : SECCOMP_RET_KILL_PROCESS;
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static void compare(const struct program *p, enum sandbox who, const struct seccomp_data *d)
{
	uint32_t got = answer(p, d), want = wanted(who, d);

	ck_assert_msg(got == want, "%s: call %d (%#x, %#x, %#x, %#x): %#x, not %#x", names[who],
		      d->nr, (unsigned)d->args[0], (unsigned)d->args[1], (unsigned)d->args[2],
		      (unsigned)d->args[3], got, want);
}

/* Every number, with arguments on both sides of what the checks ask. */
START_TEST(programs)
{
	static const uint32_t values[] = { 0,
					   1,
					   2,
					   3,
					   4,
					   5,
					   6,
					   7,
					   8,
					   9,
					   10,
					   14,
					   15,
					   16,
					   22,
					   31,
					   36,
					   37,
					   38,
					   1024,
					   1030,
					   1033,
					   1034,
					   0x1000,
					   0x8000,
					   SIGCHLD,
					   SIGCHLD | CLONE_PARENT,
					   SIGCHLD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
					   SIGCHLD | CLONE_NEWUSER,
					   CLONE_VM | CLONE_THREAD,
					   0x7FFFFFFF,
					   0x80000000,
					   0xFFFFFFFF };
	static const uint32_t far[] = { 0x3FFFFFFF,    X32_BIT,	   X32_BIT + 1, X32_BIT + 39,
					X32_BIT + 520, 0x7FFFFFFF, 0x80000000,	0xFFFFFFFF };
	enum sandbox who = (enum sandbox)_i;
	struct program p = { .n = 0 };
	struct seccomp_data d = { .arch = LOCAL_ARCH };

	make_program(&p, who);
	ck_assert(!p.full);
	ck_assert_uint_gt(p.n, 10);
	for (d.nr = 0; d.nr < 700; d.nr++) {
		for (size_t i = 0; i < 4 * N_ELEMS(values); i++) {
			memset(d.args, 0, sizeof(d.args));
			d.args[i % 4] = values[i / 4];
			if (i % 4 == 2) /* with its level */
				d.args[1] = IPPROTO_TCP;
			if (i % 4 == 0) /* with its signal */
				d.args[1] = SIGKILL;
			compare(&p, who, &d);
		}
		d.arch = LOCAL_ARCH ^ __AUDIT_ARCH_64BIT;
		compare(&p, who, &d);
		d.arch = LOCAL_ARCH;
	}
	for (size_t i = 0; i < N_ELEMS(far); i++) {
		d.nr = (int)far[i];
		compare(&p, who, &d);
	}
}
END_TEST

/* One answer for a call, and nothing in a role that the monitor's filter takes away again. */
START_TEST(rows)
{
	const unsigned before = 1U << SANDBOX_SESSION | 1U << SANDBOX_AUTH | 1U << SANDBOX_CHECKED;

	for (size_t i = 0; i < N_ELEMS(calls); i++) {
		unsigned monitor = 0;

		for (size_t j = 0; j < N_ELEMS(calls); j++) {
			if (calls[j].number != calls[i].number)
				continue;
			if (j != i)
				ck_assert_msg(!(calls[i].roles & calls[j].roles),
					      "call %u: two rows for one role", calls[i].number);
			monitor |= calls[j].roles & 1U << SANDBOX_MONITOR;
		}
		ck_assert_msg(monitor || !(calls[i].roles & ~before), "call %u: not the monitor's",
			      calls[i].number);
	}
}
END_TEST

/* ---- by the kernel ---- */

static pid_t sibling;
static int fd; /* of an empty file, for reading and writing */

static long try_open(void)
{
	return open("/etc/passwd", O_RDONLY);
}
static long try_create(void)
{
	return openat(AT_FDCWD, "/tmp/pop3d-never", O_WRONLY | O_CREAT | O_EXCL, 0);
}
static long try_stat(void)
{
	struct stat st;

	return stat("/etc/passwd", &st);
}
static long try_tcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}
static long try_udp(void)
{
	return socket(AF_INET6, SOCK_DGRAM, 0);
}
static long try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long try_local(void)
{
	return socket(AF_UNIX, SOCK_DGRAM, 0);
}
static long try_connect(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	return connect(fd, (struct sockaddr *)&in, sizeof(in));
}
static long try_bind(void)
{
	return syscall(__NR_bind, -1, NULL, 0);
}
static long try_accept(void)
{
	return syscall(__NR_accept4, -1, NULL, NULL, 0);
}
static long try_exec(void)
{
	char *argv[] = { NULL };

	return execve("/nonexistent/program", argv, argv);
}
static long try_fork(void)
{
	pid_t pid = (pid_t)syscall(__NR_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}
static long try_namespace(void)
{
	pid_t pid = (pid_t)syscall(__NR_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return pid;
}
static long try_unshare(void)
{
	return syscall(__NR_unshare, CLONE_NEWUSER);
}
static long try_ptrace(void)
{
	return syscall(__NR_ptrace, PTRACE_ATTACH, sibling, NULL, NULL);
}
static long try_read_memory(void)
{
	char c;
	struct iovec iov = { &c, 1 };

	return syscall(__NR_process_vm_readv, sibling, &iov, 1, &iov, 1, 0);
}
static long try_map_code(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);

	return at == MAP_FAILED ? -1 : 0;
}
static long try_map_loaded(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	return at == MAP_FAILED ? -1 : 0;
}
static long try_make_code(void)
{
	static char page[8192] __attribute__((aligned(4096)));

	return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}
static long try_hup(void)
{
	return kill(sibling, SIGHUP);
}
static long try_signal_none(void)
{
	return kill(sibling, 0);
}
static long try_kill(void)
{
	return kill(sibling, SIGKILL);
}
static long try_kill_group(void)
{
	return kill(-sibling, SIGKILL); /* it leads none */
}
static long try_tkill(void)
{
	return syscall(__NR_tkill, sibling, 0);
}
static long try_tgkill(void)
{
	return syscall(__NR_tgkill, sibling, sibling, 0);
}
static long try_pidfd(void)
{
	return syscall(434, sibling, 0);
}
static long try_pidfd_signal(void)
{
	return syscall(424, fd, 0, NULL, 0);
}
static long try_limits(void)
{
	struct rlimit r;

	return syscall(__NR_prlimit64, sibling, RLIMIT_NOFILE, NULL, &r);
}
static long try_own_limits(void)
{
	struct rlimit r;

	return syscall(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, &r);
}
static long try_flock(void)
{
	return flock(fd, LOCK_EX | LOCK_NB);
}
static long try_lock(void)
{
	struct flock fl = { .l_type = F_WRLCK };

	return fcntl(fd, F_SETLK, &fl);
}
static long try_own_lock(void)
{
	struct flock fl = { .l_type = F_WRLCK };

	return fcntl(fd, F_OFD_SETLK, &fl);
}
static long try_wait_lock(void)
{
	struct flock fl = { .l_type = F_WRLCK };

	return fcntl(fd, F_SETLKW, &fl);
}
static long try_set_owner(void)
{
	return fcntl(fd, F_SETOWN, 1);
}
static long try_flags(void)
{
	return fcntl(fd, F_SETFL, O_ASYNC);
}
static long try_duplicate(void)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 10);
}
static long try_ioctl(void)
{
	int n;

	return ioctl(fd, FIONREAD, &n);
}
static long try_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1);
}
static long try_mm(void)
{
	return prctl(PR_SET_MM, 0, 0, 0, 0);
}
static long try_buffer(void)
{
	int n = 1 << 20;

	return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof(n));
}
static long try_setuid(void)
{
	return setuid(getuid());
}
static long try_chroot(void)
{
	return chroot("/");
}
static long try_mount(void)
{
	return syscall(__NR_mount, "none", "/nonexistent", "tmpfs", 0, NULL);
}
static long try_bpf(void)
{
	return syscall(__NR_bpf, 0, NULL, 0);
}
static long try_perf(void)
{
	return syscall(__NR_perf_event_open, NULL, 0, -1, -1, 0);
}
static long try_ring(void)
{
	return syscall(425, 1, NULL);
}
static long try_keys(void)
{
	return syscall(__NR_add_key, "user", "pop3d", "x", 1, 0);
}
static long try_memfd(void)
{
	return memfd_create("check", MFD_CLOEXEC);
}
static long try_unlink(void)
{
	return unlinkat(AT_FDCWD, "/nonexistent/file", 0);
}
static long try_truncate(void)
{
	return syscall(__NR_truncate, "/nonexistent/file", 0);
}
static long try_chmod(void)
{
	return fchmod(fd, 0600);
}
static long try_fifo(void)
{
	return syscall(__NR_mknodat, AT_FDCWD, "/nonexistent/fifo", S_IFIFO, 0);
}
static long try_handler(void)
{
	struct sigaction act = { .sa_handler = SIG_IGN };

	return sigaction(SIGUSR1, &act, NULL);
}
static long try_x32(void)
{
	return syscall((long)(X32_BIT | __NR_getpid));
}
static long try_other_arch(void)
{
#ifdef __x86_64__
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(20L)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
#else
	return syscall(-1);
#endif
}

#define MO    (1U << SANDBOX_MONITOR)
#define SE    (1U << SANDBOX_SESSION)
#define AU    (1U << SANDBOX_AUTH)
#define AD    (1U << SANDBOX_DIGESTS)
#define PR    (1U << SANDBOX_PROGRAM)
#define DR    (1U << SANDBOX_MAILDROP)
#define SW    (1U << SANDBOX_SWEEP)
#define DI    (1U << SANDBOX_DIGEST)
#define TL    (1U << SANDBOX_TLS)
#define KE    (1U << SANDBOX_KEEPER)
#define WR    (1U << SANDBOX_WRITER)
#define GS    (1U << SANDBOX_GSSAPI)
#define FILES (DR | SW | WR)
#define SSL   (AD | DI | TL | KE)

/* Who may; who hears EPERM; everybody else dies of it. */
static const struct attempt {
	const char *name;
	long (*make)(void);
	unsigned may, hears;
} attempts[] = {
	{ "open a file", try_open, MO | PR | FILES | GS, SSL },
	{ "make a file", try_create, MO | PR | FILES, SSL },
	{ "look at a file", try_stat, MO | PR | FILES | GS, 0 },
	{ "a TCP socket", try_tcp, PR, 0 },
	{ "a UDP socket", try_udp, PR, 0 },
	{ "a netlink socket", try_netlink, PR, 0 },
	{ "a local socket", try_local, MO | PR, 0 },
	{ "connect", try_connect, MO | PR, 0 },
	{ "bind", try_bind, PR, 0 },
	{ "accept", try_accept, PR, 0 },
	{ "execute", try_exec, MO | PR, 0 },
	{ "fork", try_fork, MO | PR, 0 },
	{ "a new namespace", try_namespace, PR, 0 },
	{ "unshare", try_unshare, 0, PR },
	{ "trace a sibling", try_ptrace, 0, PR },
	{ "read a sibling's memory", try_read_memory, 0, PR },
	{ "map executable memory", try_map_code, PR, 0 },
	{ "map a file's code", try_map_loaded, MO | PR, 0 },
	{ "make memory executable", try_make_code, PR, 0 },
	{ "SIGHUP to a sibling", try_hup, PR, 0 },
	{ "signal 0 to a sibling", try_signal_none, PR, 0 },
	{ "SIGKILL to a sibling", try_kill, MO | PR, 0 },
	{ "SIGKILL to a group", try_kill_group, PR, 0 },
	{ "tkill", try_tkill, PR, 0 },
	{ "tgkill", try_tgkill, PR, 0 },
	{ "a descriptor of a sibling", try_pidfd, 0, PR },
	{ "a signal by descriptor", try_pidfd_signal, 0, PR },
	{ "a sibling's limits", try_limits, PR, 0 },
	{ "its own limits", try_own_limits, MO | PR | AU | AD | GS, 0 },
	{ "flock", try_flock, MO | PR | DR | WR, 0 },
	{ "a record lock", try_lock, MO | PR | FILES, 0 },
	{ "a lock of the open file", try_own_lock, MO | PR | FILES | KE, 0 },
	{ "wait for a lock", try_wait_lock, PR, 0 },
	{ "signals from a file", try_set_owner, PR, 0 },
	{ "flags of a file", try_flags, PR, 0 },
	{ "another descriptor", try_duplicate, MO | PR, 0 },
	{ "ioctl", try_ioctl, PR, 0 },
	{ "prctl: dumpable", try_dumpable, MO | PR, 0 },
	{ "prctl: memory layout", try_mm, PR, 0 },
	{ "a socket's buffer", try_buffer, PR, 0 },
	{ "setuid", try_setuid, MO | PR, 0 },
	{ "chroot", try_chroot, MO | PR, 0 },
	{ "mount", try_mount, 0, PR },
	{ "bpf", try_bpf, 0, PR },
	{ "perf_event_open", try_perf, 0, PR },
	{ "io_uring", try_ring, 0, PR },
	{ "keys", try_keys, 0, PR },
	{ "memfd", try_memfd, MO | PR | SE | DR | DI, 0 },
	{ "unlink", try_unlink, MO | PR | FILES, 0 },
	{ "truncate by name", try_truncate, PR, 0 },
	{ "change a mode", try_chmod, MO | PR | WR, 0 },
	{ "make a FIFO", try_fifo, PR, 0 },
	{ "handle a signal", try_handler, MO | PR, 0 },
	{ "a call of x32", try_x32, 0, 0 },
	{ "a call of another architecture", try_other_arch, 0, 0 },
};

enum outcome { MADE = 1, HEARD, NOT_ENTERED };

/* What became of a child that enters the sandbox and tries: an outcome, or a signal + 100. */
static int outcome_of(enum sandbox who, const struct attempt *a)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };
		long result;

		setrlimit(RLIMIT_CORE, &none);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (sandbox_enter(who) < 0 || !sandbox_active())
			syscall(__NR_exit_group, NOT_ENTERED);
		errno = 0;
		result = a->make();
		syscall(__NR_exit_group, result < 0 && errno == EPERM ? HEARD : MADE);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A kernel that runs the code of one architecture alone has no call of another: whoever makes
 * one dies of the attempt, in a sandbox or not. */
static bool other_arch_is_there(void)
{
	const struct rlimit none = { 0, 0 };
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		try_other_arch();
		syscall(__NR_exit_group, 0);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV;
}

static void start_sibling(void)
{
	sibling = fork();
	if (sibling == 0)
		for (;;)
			pause();
	ck_assert_int_gt(sibling, 0);
}

START_TEST(refusals)
{
	enum sandbox who = (enum sandbox)_i;
	unsigned bit = 1U << who;
	bool other_arch = other_arch_is_there();

	start_sibling();
	for (size_t i = 0; i < N_ELEMS(attempts); i++) {
		const struct attempt *a = &attempts[i];
		int got, killed = a->make == try_other_arch && !other_arch ? SIGSEGV : SIGSYS;

		/* a file of its own: a lock would stay with it */
		fd = memfd_create("check", 0);
		ck_assert_int_ge(fd, 0);
		got = outcome_of(who, a);
		close(fd);
		if (waitpid(sibling, NULL, WNOHANG) == sibling)
			start_sibling();
		if (a->hears & bit)
			ck_assert_msg(got == HEARD, "%s: %s: outcome %d, not EPERM", names[who],
				      a->name, got);
		else if (a->may & bit)
			ck_assert_msg(got == MADE || got == HEARD, "%s: %s: outcome %d", names[who],
				      a->name, got);
		else
			ck_assert_msg(got == 100 + killed, "%s: %s: outcome %d, not signal %d",
				      names[who], a->name, got, killed);
	}
	kill(sibling, SIGKILL);
	waitpid(sibling, NULL, 0);
}
END_TEST

START_TEST(nobody)
{
	ck_assert_int_eq(sandbox_enter(SANDBOX_NOBODY), POP_E_RANGE);
	ck_assert_int_eq(sandbox_enter(SANDBOX_N), POP_E_RANGE);
	ck_assert(!sandbox_active());
}
END_TEST

/* Under another filter, as under the monitor's; and none of it is lost by a fork. */
START_TEST(stacked)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (sandbox_enter(SANDBOX_MONITOR) < 0)
			_exit(2);
		pid = fork();
		if (pid == 0) {
			if (sandbox_enter(SANDBOX_MAILDROP) < 0)
				_exit(3);
			_exit(fork() < 0 ? 4 : 5);
		}
		waitpid(pid, &status, 0);
		_exit(WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), SIGSYS);
}
END_TEST

static bool kernel_has_filters(void)
{
	return prctl(PR_GET_SECCOMP) >= 0 && syscall(__NR_seccomp, 2, 0, &(uint32_t){ 0 }) == 0;
}

static void add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, programs, SANDBOX_MONITOR, SANDBOX_N);
	tcase_add_test(tc, rows);
	tcase_add_test(tc, nobody);
	if (kernel_has_filters()) {
		tcase_add_loop_test(tc, refusals, SANDBOX_MONITOR, SANDBOX_N);
		tcase_add_test(tc, stacked);
	} else {
		puts("refusals: skipped: this kernel has no filters of system calls");
	}
}

#else

START_TEST(left_out)
{
	ck_assert_int_eq(sandbox_enter(SANDBOX_SESSION), 0);
	ck_assert(!sandbox_active());
	ck_assert(!sandbox_has_calls());
}
END_TEST

static void add_tests(TCase *tc)
{
	tcase_add_test(tc, left_out);
}

#endif

int main(void)
{
	Suite *s = suite_create("sandbox");
	TCase *tc = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	add_tests(tc);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
