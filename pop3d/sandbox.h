/*
 * sandbox.h - what the kernel refuses a role, whatever runs in it.
 *
 * A filter of system calls for each role (seccomp-bpf), and no file that the
 * role has no use for (Landlock).  Everything that is Linux's own about it is
 * in sandbox.c; elsewhere, under sanitizers and with SANDBOX=no the functions
 * are there and do nothing.
 */
#ifndef POP3D_SANDBOX_H
#define POP3D_SANDBOX_H

#include <stdbool.h>

/* Who is to be confined; sandbox_calls.h has a pair of letters for each. */
enum sandbox {
	SANDBOX_NOBODY, /* not said: cannot be entered */
	SANDBOX_MONITOR,
	SANDBOX_SESSION,
	SANDBOX_AUTH,
	SANDBOX_DIGESTS, /* the auth role that pop3d-auth is */
	SANDBOX_PROGRAM, /* the auth role that runs a checkpassword program, and that program */
	SANDBOX_CHECKED, /* pop3d-checked */
	SANDBOX_MAILDROP,
	SANDBOX_SWEEP, /* the maildrop's owner once more, for a dotlock left behind */
	SANDBOX_DIGEST,
	SANDBOX_TLS,
	SANDBOX_KEEPER,
	SANDBOX_WRITER,
	SANDBOX_N
};

enum sandbox_kind { /* bits */
		    SANDBOX_CALLS = 1,
		    SANDBOX_FILES = 2,
};

/*
 * From here on this process, and every one it starts, makes only the system calls
 * of its row; another one kills it by SIGSYS.  NO_NEW_PRIVS must be set.  0, also
 * where the kernel has no filters (see sandbox_active()), or POP_E_SYS: then the
 * process must not go on.
 */
int sandbox_enter(enum sandbox who);

/* What is in force in this process: sandbox_kind bits. */
unsigned sandbox_active(void);

/* What was compiled in: "seccomp,landlock", "none"; for pop3d -V. */
const char *sandbox_compiled(void);

/* "seccomp" and so on for these sandbox_kind bits, for the log. */
const char *sandbox_names(unsigned kinds);

#endif
