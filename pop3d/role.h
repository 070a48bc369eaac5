/*
 * role.h - how a process gives up what its role does not need, and where the
 * roles begin.
 */
#ifndef POP3D_ROLE_H
#define POP3D_ROLE_H

#include <stdbool.h>
#include <sys/types.h>
#include "conf.h"
#include "ipc.h"
#include "sandbox.h"
#include "spec.h"

/* The least a role can work with (design section 3). */
struct role_rights {
	enum ipc_role role;
	enum sandbox sandbox;
	bool drop_ids; /* started as root: change root and ids */
	uid_t uid;     /* to become */
	gid_t gid;
	const char *root_writer; /* a root that stays root's: the directory to write in */
	const char *root;	 /* the empty directory, or NULL: the role needs the file system */
	bool programs;		 /* it starts programs */
	pid_t parent;		 /* the monitor; where it is gone already, the process ends */
	const struct sandbox_place *places; /* the only ones where it finds files, unless it
					       starts programs */
	size_t n_places;
	unsigned files; /* RLIMIT_NOFILE */
	unsigned cpu_s; /* RLIMIT_CPU in seconds, 0: none */
};

/*
 * Close every descriptor but 0, 1, 2 and the n of keep (sorted here), then give
 * up signals' handlers, root directory, groups, ids, new privileges, core dumps,
 * new processes, being traced, and all system calls but its own; die with the parent, where that
 * may signal it (root without CAP_KILL may not: then the end of the pairs is what ends a role).  A
 * process that cannot ends at once, with a status that role_failed_step() puts into words: it has
 * no log.
 */
void role_enter(const struct role_rights *r, int *keep, size_t n);

/*
 * The rights on a helper's command line, NAME UID GID PARENT-PID EMPTY-ROOT ("-":
 * not started by root), which is the monitor's.  0 or POP_E_SYNTAX.
 */
int role_helper_rights(int argc, char **argv, enum ipc_role role, enum sandbox sandbox,
		       struct role_rights *r);
#define ROLE_HELPER_FD 3 /* a helper's end of its pair with who had it started */

/* What the exit status of a role says about role_enter(), or NULL. */
const char *role_failed_step(int exit_status);

/* What ps shows: at most 15 octets, such as "pop3d-session". */
void role_title(const char *title);

/*
 * Every signal to its default but SIGPIPE (ignored), an empty mask, descriptors
 * 0 to 2 open, all others closed, umask 077, working directory /, no core, an
 * environment of the few variables that are needed.
 *   null_fd  out, /dev/null for reading and writing, above 2
 * 0 or POP_E_SYS.
 */
int role_clean_start(int *null_fd, struct pop_why *why);

/* Keep only SETUID, SETGID, SYS_CHROOT and CHOWN of root's capabilities.  0 or POP_E_SYS. */
int role_limit_root(struct pop_why *why);
/* Keep no others than these (bits of linux/capability.h) of those that there are. */
int role_limit_caps(uint32_t keep, struct pop_why *why);

/* The session role: the POP3 grammar and state machine.  Exit status of its process. */
struct net_start {
	const struct conf *conf;
	int fd_in, fd_out; /* the client */
	int monitor_fd;
	uint32_t mechs;	  /* enum conf_mech bits: what is offered as the session begins */
	const char *apop; /* the timestamp of the greeting, NULL: no APOP */
	bool tls;	  /* the client comes by the tls role, from its first octet */
	bool stls;	  /* the monitor may be asked for TLS */
	bool proxy;	  /* a PROXY header comes first */
	bool implicit;	  /* ... and TLS behind it, before the greeting */
};
int net_run(const struct net_start *start);

/* The auth role. */
struct auth;
struct auth_mech;
struct judgement;
struct auth_start {
	const struct conf *conf;
	int monitor_fd;
	bool got_one;	     /* the first message has passed */
	unsigned failures;   /* counted by the role that this one takes the place of */
	const char *address; /* the client's, "" where it has none */
	const char *apop;    /* the timestamp of the greeting, "": no APOP */
	/* what pop3d-auth can do beyond the built-in role, else NULL and 0 */
	const struct auth_mech *digests;
	size_t n_digests;
	void (*apop_step)(struct auth *a, const char *login, const char *digest,
			  struct judgement *j);
	const char *failed; /* why its mechanisms cannot work, or NULL */
};
int auth_run(const struct auth_start *start);

/* The verifier role: it starts oauth_verifier. */
struct ver_start {
	const struct conf *conf;
	int monitor_fd;
	const char *address; /* the client's, "" where it has none */
};
int ver_run(const struct ver_start *start);

/* The maildrop role. */
struct drop_start {
	const struct conf *conf;
	int monitor_fd;
	int session_fd;
	int state_fd;	     /* O_PATH of the state directory */
	const char *address; /* the client's, for the lock record */
	uid_t uid;
	struct spec spec;
	uint32_t utf8_fallback; /* enum conf_fallback, of this client */
	bool read_only;		/* the user's option: nothing may be deleted */
	uint32_t login_delay;	/* seconds */
	uint32_t expire;	/* days after the first retrieval, or CONF_EXPIRE_NEVER */
	int64_t show_after;	/* older messages are hidden, seconds since the epoch; 0: none */
};
int drop_run(struct drop_start *start);
/* As the mailbox's owner: remove the dotlock of a process that is gone.  An exit status. */
int drop_sweep(const struct spec *spec);

/* Certificates or keys for one server name: one of each kind is enough. */
#define ROLE_KEYS_MAX 4

/* The tls role and the keeper, in pop3d-tls. */
struct tls_start {
	int fd_in, fd_out; /* the client */
	int monitor_fd, keeper_fd;
	int plain_fd; /* to the session, -1 where the certificate is only checked */
	int cert_fds[ROLE_KEYS_MAX];
	unsigned n_certs;
	int ca_fd;	 /* who may issue client certificates, -1: none is asked for */
	int min_version; /* 0x0303 or 0x0304 */
	int stall_ms;	 /* idle_timeout: the client takes nothing for so long */
	bool tickets;	 /* there is a ticket file */
	bool names;	 /* there are certificates for other server names: ask the monitor */
};
int tls_run(const struct tls_start *start);
/* Look at the certificates, and whether the keeper has their keys, and tell the monitor. */
int tls_check(const struct tls_start *start);

struct key_start {
	int monitor_fd, tls_fd;
	int tickets_fd; /* -1: no tickets */
	int key_fds[ROLE_KEYS_MAX];
	unsigned n_keys;
};
int key_run(const struct key_start *start);

#endif
