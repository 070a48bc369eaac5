/*
 * sandbox_calls.h - the system calls that each role may make, and why.
 *
 * The data of sandbox.c, in a file of its own to be read as a list.  A call
 * without a row for a role kills the process.  What has no number here has none
 * on this architecture: arm64 does without open, stat, poll, fork and their
 * like, which the C libraries of x86-64 still use.  Calls of glibc and of musl
 * stand side by side.
 *
 * The monitor's filter stays in force in what it starts after the first two
 * roles (maildrop, sweep, writer, helpers, TLS), so it has every call of theirs,
 * and those of a program's start and of giving rights up, which end with the
 * role's own filter.
 */
#ifndef POP3D_SANDBOX_CALLS_H
#define POP3D_SANDBOX_CALLS_H

#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "sandbox.h"

/* Newer than some kernel headers; the same numbers on every architecture. */
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_openat2
#define __NR_openat2 437
#endif
#ifndef __NR_faccessat2
#define __NR_faccessat2 439
#endif
#ifndef __NR_clone3
#define __NR_clone3 435
#endif
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule	     445
#define __NR_landlock_restrict_self  446
#endif

/* ---- what may be asked of a call's arguments: their lower 32 bits ---- */

enum operator{ NO_TEST, ONE_OF, NONE_OF_BITS, NOT_ALL_BITS, POSITIVE };
struct test {
	uint8_t arg; /* 0 to 5 */
	enum operator op;
	uint8_t n; /* values */
	uint32_t value[11];
};

enum check {
	ANY,
	NOT_PERMITTED, /* EPERM, and the process goes on */
	NOT_THERE,     /* ENOSYS, and libc takes another */
	NOT_EXECUTABLE,
	NOT_BOTH, /* writable and executable */
	OF_ITSELF,
	OF_DESCRIPTOR,
	SEALS,
	KEEPER_LOCK,
	LOCKS_SEALS,
	MONITOR_FCNTL,
	TCP_NO_DELAY,
	LOCAL_SOCKET,
	FORK,
	KILL_ONE,
	NAMED_PRCTL,
	TO_READ,
	TO_READ_OLD,
	CHECK_N
};

/* What fork() and posix_spawn() ask for, and for the keeper to be a child of the monitor's. */
#define FORK_FLAGS                                                                           \
	(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_VM | CLONE_VFORK | CLONE_PARENT | \
	 CSIGNAL)
#define LOCK_COMMANDS F_SETLK, F_GETLK, F_OFD_SETLK, F_OFD_GETLK

/* Of two tests both must hold. */
static const struct test tests[CHECK_N][2] = {
	[NOT_EXECUTABLE] = { { 2, NONE_OF_BITS, 1, { PROT_EXEC } } },
	[NOT_BOTH] = { { 2, NOT_ALL_BITS, 1, { PROT_WRITE | PROT_EXEC } } },
	[OF_ITSELF] = { { 0, ONE_OF, 1, { 0 } } },
	[OF_DESCRIPTOR] = { { 3, ONE_OF, 1, { AT_EMPTY_PATH } } },
	[SEALS] = { { 1, ONE_OF, 2, { F_ADD_SEALS, F_GET_SEALS } } },
	[KEEPER_LOCK] = { { 1, ONE_OF, 1, { F_OFD_SETLK } } },
	[LOCKS_SEALS] = { { 1,
			    ONE_OF,
			    8,
			    { LOCK_COMMANDS, F_ADD_SEALS, F_GET_SEALS, F_GETFL, F_SETFD } } },
	/* the last one: Kerberos reads a keytab under a lock */
	[MONITOR_FCNTL] = { { 1,
			      ONE_OF,
			      11,
			      { LOCK_COMMANDS, F_ADD_SEALS, F_GET_SEALS, F_GETFL, F_SETFD,
				F_DUPFD_CLOEXEC, F_GETFD, F_OFD_SETLKW } } },
	[TCP_NO_DELAY] = { { 1, ONE_OF, 1, { IPPROTO_TCP } }, { 2, ONE_OF, 1, { TCP_NODELAY } } },
	[LOCAL_SOCKET] = { { 0, ONE_OF, 1, { AF_UNIX } } },
	[FORK] = { { 0, NONE_OF_BITS, 1, { ~(uint32_t)FORK_FLAGS } } },
	[KILL_ONE] = { { 1, ONE_OF, 1, { SIGKILL } }, { 0, POSITIVE, 0, { 0 } } },
	[TO_READ] = { { 2, NONE_OF_BITS, 1, { O_WRONLY | O_RDWR | O_CREAT | O_TRUNC } } },
	[TO_READ_OLD] = { { 1, NONE_OF_BITS, 1, { O_WRONLY | O_RDWR | O_CREAT | O_TRUNC } } },
	[NAMED_PRCTL] = { { 0,
			    ONE_OF,
			    4,
			    { PR_SET_NAME, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS,
			      PR_SET_PDEATHSIG } } },
};

/* ---- the roles: one letter pair each ---- */

#define MO (1U << SANDBOX_MONITOR)
#define SE (1U << SANDBOX_SESSION)
#define AU (1U << SANDBOX_AUTH)
#define AD (1U << SANDBOX_DIGESTS)
#define CH (1U << SANDBOX_CHECKED)
#define DR (1U << SANDBOX_MAILDROP)
#define SW (1U << SANDBOX_SWEEP)
#define DI (1U << SANDBOX_DIGEST)
#define TL (1U << SANDBOX_TLS)
#define KE (1U << SANDBOX_KEEPER)
#define WR (1U << SANDBOX_WRITER)
#define GS (1U << SANDBOX_GSSAPI)

#define OPENSSL (AD | DI | TL | KE)
#define FILES	(DR | SW | WR)		      /* they open files by their names */
#define TALKERS (SE | AU | GS | DR | OPENSSL) /* they have a pair */
#define ROLES	(TALKERS | SW | WR)	      /* all but the monitor and pop3d-checked */

#define CALL(name) __NR_##name

struct call {
	uint16_t number;
	uint16_t roles;
	uint8_t check;
};

static const struct call calls[] = {
	/* ---- a process and its memory ---- */
	{ CALL(exit_group), MO | ROLES | CH, ANY }, /* the end */
	/* a wait goes on after SIGSTOP and SIGCONT: the kernel makes this call in its name */
	{ CALL(restart_syscall), MO | ROLES | CH, ANY },
	{ CALL(brk), MO | ROLES | CH, ANY },	    /* malloc */
	{ CALL(mmap), ROLES | CH, NOT_EXECUTABLE }, /* malloc; session: the list of messages */
	{ CALL(mmap), MO, NOT_BOTH },		    /* the loader maps a helper's code */
	{ CALL(munmap), MO | ROLES | CH, ANY },
	{ CALL(mremap), MO | ROLES, ANY },	   /* realloc; what is not executable stays so */
	{ CALL(mprotect), ROLES, NOT_EXECUTABLE }, /* malloc: a heap beside the first, musl's */
	{ CALL(mprotect), MO, NOT_BOTH },	   /* the loader, when it has relocated */
	{ CALL(madvise), MO | ROLES, ANY },	   /* free; the buffer of an expunge: huge pages */
	{ CALL(futex), MO | GS | OPENSSL | DR | WR,
	  ANY },			      /* run-once and locks of OpenSSL and libc */
	{ CALL(getrandom), MO | ROLES, ANY }, /* keys, nonces, malloc's own secret */
	{ CALL(getpid), MO | ROLES, ANY }, /* lock records, temporary names, OpenSSL's fork check */
	{ CALL(sysinfo), MO | GS | DR | SW | WR | OPENSSL,
	  ANY }, /* glibc's qsort asks how much memory there is */
	/* the CPU time of one hash (auth); limits at the start (monitor); never another process's
	 */
	{ CALL(prlimit64), MO | AU | AD | GS, OF_ITSELF },

	/* ---- time: without vDSO, or where its clock cannot be read from user space ---- */
	{ CALL(clock_gettime), MO | ROLES | CH, ANY },
	{ CALL(gettimeofday), MO | ROLES, ANY },
#ifdef __NR_time
	{ CALL(time), MO | ROLES, ANY },
#endif
	/* between two tries of a lock */
	{ CALL(clock_nanosleep), MO | FILES | KE, ANY },
	{ CALL(nanosleep), MO | FILES | KE, ANY },

	/* ---- descriptors that are open already ---- */
	{ CALL(close), MO | ROLES | CH, ANY },
	{ CALL(read), MO | FILES | SE | TL, ANY },	 /* files; a client that is no socket */
	{ CALL(write), MO | FILES | SE | TL | DI, ANY }, /* so; memfds */
	{ CALL(read), AU | AD | GS, ANY },		 /* the pipes to a verifier of tokens */
	{ CALL(write), AU | AD | GS, ANY },
	{ CALL(pread64), MO | ROLES, ANY },	  /* files, by offset */
	{ CALL(pwrite64), MO | FILES | KE, ANY }, /* ... keeper: new ticket keys */
	{ CALL(lseek), MO | FILES, ANY },	  /* libc: directories, the time zone of syslog */
	{ CALL(fstat), MO | ROLES, ANY },
	{ CALL(newfstatat), SE | AU | OPENSSL, OF_DESCRIPTOR }, /* glibc's fstat */
	{ CALL(ftruncate), MO | FILES | KE, ANY }, /* an expunge; a lock record; ticket keys */
	{ CALL(fcntl), SE | DI, SEALS },	   /* of memfds; no lock of any kind, no flag */
	{ CALL(fcntl), KE, KEEPER_LOCK },	   /* of the file of ticket keys */
	{ CALL(fcntl), FILES, LOCKS_SEALS },
	{ CALL(fcntl), MO,
	  MONITOR_FCNTL }, /* ... and descriptors put in their places for a helper */
	{ CALL(memfd_create), MO | SE | DR | DI, ANY }, /* lists, bitmaps, digests */
#ifdef __NR_poll
	{ CALL(poll), MO | SE | AU | AD | GS | DR | TL | KE, ANY }, /* the client and the pairs */
#endif
	{ CALL(ppoll), MO | SE | AU | AD | GS | DR | TL | KE, ANY },

	/* ---- sockets ---- */
	{ CALL(sendmsg), MO | TALKERS, ANY }, /* to and from other roles */
	{ CALL(recvmsg), MO | TALKERS, ANY },
	{ CALL(sendto), MO | SE | TL | CH,
	  ANY }, /* the client; the log; the report of pop3d-checked */
	{ CALL(recvfrom), MO | SE | TL, ANY }, /* the client */
	{ CALL(shutdown), MO | SE | TL, ANY }, /* the end of a session, in order */
	{ CALL(setsockopt), MO | SE | TL, TCP_NO_DELAY },
	{ CALL(socketpair), MO, LOCAL_SOCKET }, /* for a new role */
	{ CALL(socket), MO, LOCAL_SOCKET },	/* syslog */
	{ CALL(connect), MO, ANY }, /* ... which any local socket could be, but no network */

	/* ---- files by their names ---- */
	{ CALL(openat), MO | FILES,
	  ANY }, /* a mailbox, its state directory; configuration, users, keys */
	{ CALL(openat2), MO | FILES, ANY },
	{ CALL(newfstatat), MO | FILES, ANY },
	{ CALL(statx), MO | FILES, ANY },
	{ CALL(faccessat), MO | FILES, ANY }, /* may a dotlock be made here? */
	{ CALL(faccessat2), MO | FILES, ANY },
	{ CALL(getdents64), MO | FILES,
	  ANY }, /* Maildir; files left over from an earlier session */
	{ CALL(fsync), MO | FILES, ANY },
	{ CALL(fdatasync), MO | FILES, ANY },
	{ CALL(sync_file_range), MO | DR, ANY },
	{ CALL(fallocate), MO | DR, ANY }, /* the space of a journal, before the plan */
	{ CALL(unlinkat), MO | FILES, ANY },
	{ CALL(linkat), MO | FILES, ANY }, /* a dotlock is linked into place */
#ifdef __NR_renameat
	{ CALL(renameat), MO | FILES, ANY },
#endif
	{ CALL(renameat2), MO | FILES, ANY },
	{ CALL(readlinkat), MO | FILES, ANY },
	{ CALL(mkdirat), MO | DR, ANY },    /* state directories; where removed mail is kept */
	{ CALL(fstatfs), MO | FILES, ANY }, /* can this file system's time stamps be trusted? */
	{ CALL(statfs), MO | DR, ANY },	    /* ... /proc, for boot times */
	{ CALL(utimensat), MO | DR, ANY },  /* the time of the last login */
	{ CALL(flock), MO | DR | WR, ANY }, /* mbox_locks = flock; users and secrets; .maildrops */
	{ CALL(fchmod), MO | WR, ANY },	    /* a new file is as the old one was */
	{ CALL(fchown), MO | WR, ANY },
	{ CALL(geteuid), MO | FILES, ANY }, /* is this file mine? */
	{ CALL(getegid), MO | FILES, ANY },
	{ CALL(getuid), MO | FILES, ANY },
	{ CALL(getgid), MO | FILES, ANY },
	{ CALL(uname), MO | FILES, ANY }, /* the host of a lock record */
	{ CALL(getpgid), MO | FILES,
	  ANY }, /* is there a process of this number?  It signals nobody */
#ifdef __NR_open /* what libc has for the above on x86-64 */
	{ CALL(open), MO | FILES, ANY },
	{ CALL(stat), MO | FILES, ANY },
	{ CALL(lstat), MO | FILES, ANY },
	{ CALL(access), MO | FILES, ANY },
	{ CALL(unlink), MO | FILES, ANY },
	{ CALL(link), MO | FILES, ANY },
	{ CALL(rename), MO | FILES, ANY },
	{ CALL(mkdir), MO | DR, ANY },
	{ CALL(readlink), MO | FILES, ANY },
#endif

	/* ---- what OpenSSL and libc would look for: they hear that it is not to be had ---- */
	{ CALL(openat), OPENSSL, NOT_PERMITTED }, /* the time zone, openssl.cnf */
#ifdef __NR_open
	{ CALL(open), OPENSSL, NOT_PERMITTED },
#endif
	/* Kerberos looks for its files, and has to hear that there are none; its root is empty */
	{ CALL(openat), GS, TO_READ },
	{ CALL(newfstatat), GS, ANY },
	{ CALL(statx), GS, ANY },
	{ CALL(faccessat), GS, ANY },
#ifdef __NR_open
	{ CALL(open), GS, TO_READ_OLD },
	{ CALL(stat), GS, ANY },
	{ CALL(access), GS, ANY },
#endif
	{ CALL(uname), GS, ANY }, /* the host's name */
	{ CALL(geteuid), GS, ANY },
	{ CALL(getuid), GS, ANY },

/* ---- pop3d-checked ---- */
#ifdef __NR_alarm
	{ CALL(alarm), CH, ANY }, /* it ends by itself, since nobody else could end it */
#endif
	{ CALL(setitimer), CH, ANY },

	/* ---- the monitor alone ---- */
	{ CALL(symlinkat), MO, ANY },
#ifdef __NR_dup2
	{ CALL(dup2), MO, ANY },
#endif
	{ CALL(dup3), MO, ANY },
	{ CALL(clone), MO, FORK },	 /* a new role; no thread, no namespace */
	{ CALL(clone3), MO, NOT_THERE }, /* posix_spawn's; flags that no filter can see */
	{ CALL(pipe2), MO, ANY },	 /* ... and musl's */
#ifdef __NR_fork
	{ CALL(fork), MO, ANY },
#endif
	{ CALL(execve), MO, ANY }, /* a helper */
	{ CALL(wait4), MO, ANY },
	{ CALL(rt_sigaction), MO, ANY },
	{ CALL(rt_sigprocmask), MO, ANY },
	{ CALL(rt_sigreturn), MO, ANY },
	/*
	 * The last act: what does not end is killed.  One process, with SIGKILL, and only of the
	 * uid that the monitor has taken for it, since it has no CAP_KILL; no group, nobody else.
	 */
	{ CALL(kill), MO, KILL_ONE },
	/* a role gives up, under this filter, what its own will no longer let it ask for */
	{ CALL(chroot), MO, ANY },
	{ CALL(chdir), MO, ANY },
	{ CALL(setgroups), MO, ANY },
	{ CALL(setresgid), MO, ANY },
	{ CALL(setresuid), MO, ANY },
	{ CALL(setuid), MO, ANY },
	{ CALL(capget), MO, ANY },
	{ CALL(capset), MO, ANY },
	{ CALL(prctl), MO, NAMED_PRCTL },
	{ CALL(getppid), MO, ANY },
	{ CALL(close_range), MO, ANY },
	{ CALL(seccomp), MO, ANY },
	{ CALL(landlock_create_ruleset), MO, ANY },
	{ CALL(landlock_add_rule), MO, ANY },
	{ CALL(landlock_restrict_self), MO, ANY },
	/* the start of a program, and of the child of a fork, in libc */
	{ CALL(set_tid_address), MO, ANY },
	{ CALL(set_robust_list), MO, ANY },
	{ CALL(gettid), MO, ANY },
	{ CALL(rseq), MO, ANY },
#ifdef __NR_arch_prctl
	{ CALL(arch_prctl), MO, ANY },
#endif
};

/*
 * A checkpassword program, or a verifier of tokens, is anything that an administrator names,
 * and has what the role has that starts it.  So that role's filter is the other way round: what no
 * such program needs, and what reaches into other processes or into the kernel, is
 * refused with EPERM; everything else is the program's.
 */
static const uint16_t refused_programs[] = {
	/* other processes */
	__NR_ptrace,
	__NR_process_vm_readv,
	__NR_process_vm_writev,
	__NR_kcmp,
	__NR_perf_event_open,
	434, /* pidfd_open */
	424, /* pidfd_send_signal */
	438, /* pidfd_getfd */
	/* large ways into the kernel */
	__NR_bpf,
	__NR_userfaultfd,
	425, /* io_uring_setup, _enter, _register */
	426,
	427,
	__NR_init_module,
	__NR_finit_module,
	__NR_delete_module,
	__NR_kexec_load,
	__NR_add_key,
	__NR_personality,
	/* the file system as everybody sees it */
	__NR_mount,
	__NR_umount2,
	__NR_pivot_root,
	__NR_setns,
	__NR_unshare,
	__NR_open_by_handle_at,
	428, /* open_tree, move_mount, fsopen, fsconfig, fsmount, fspick */
	429,
	430,
	431,
	432,
	433,
	442, /* mount_setattr */
	/* the machine */
	__NR_reboot,
	__NR_swapon,
	__NR_swapoff,
	__NR_settimeofday,
	__NR_clock_settime,
	__NR_sethostname,
	__NR_acct,
	__NR_syslog,
};

#undef CALL

#endif
