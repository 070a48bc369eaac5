/*
 * sandbox.h - what the kernel refuses a role, whatever runs in it.
 *
 * A filter of system calls for each role (seccomp-bpf, sandbox.c), and no file
 * that the role has no use for (Landlock, sandbox_files.c).  Elsewhere than on
 * Linux, under sanitizers and with SANDBOX=no the functions are there and do
 * nothing.
 */
#ifndef POP3D_SANDBOX_H
#define POP3D_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

/* Who is to be confined; sandbox_calls.h has a pair of letters for each. */
enum sandbox {
	SANDBOX_NOBODY, /* not said: cannot be entered */
	SANDBOX_MONITOR,
	SANDBOX_SESSION,
	SANDBOX_AUTH,
	SANDBOX_DIGESTS, /* the auth role that pop3d-auth is */
	SANDBOX_PROGRAM, /* the auth role that runs a checkpassword program, the verifier role, and
			    their programs */
	SANDBOX_CHECKED, /* pop3d-checked */
	SANDBOX_MAILDROP,
	SANDBOX_SWEEP, /* the maildrop's owner once more, for a dotlock left behind */
	SANDBOX_DIGEST,
	SANDBOX_TLS,
	SANDBOX_KEEPER,
	SANDBOX_WRITER,
	SANDBOX_GSSAPI, /* the auth role that pop3d-gssapi is */
	SANDBOX_N
};

/*
 * From here on this process, and every one it starts, makes only the system calls
 * of its row; another one kills it by SIGSYS.  NO_NEW_PRIVS must be set.  0, also
 * where the kernel has no filters (see sandbox_active()), or POP_E_SYS: then the
 * process must not go on.
 */
int sandbox_enter(enum sandbox who);

/* A directory whose files a role can reach, and those below it. */
struct sandbox_place {
	int fd;		  /* borrowed; not used where there is a path */
	const char *path; /* where it is not there yet, the nearest above it that is */
	bool work;	  /* not only read: also write, make, remove, rename, list */
	bool dirs;	  /* work, and make directories */
};

/*
 * From here on this process reaches no other file, whatever its uid may, connects
 * and binds no TCP socket, and signals nobody else (the last two where the kernel
 * can).  The rest as sandbox_enter().
 */
int sandbox_enter_files(const struct sandbox_place *places, size_t n);

/* The filter of this process is in force. */
bool sandbox_active(void);
/* The kernel's version of Landlock, 0: none. */
int sandbox_files_abi(void);
/* What was compiled in. */
bool sandbox_has_calls(void);
bool sandbox_has_files(void);

/* "seccomp,landlock", "none", and so on. */
const char *sandbox_names(bool calls, bool files);

#endif
