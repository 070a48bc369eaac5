/*
 * mon.h - the monitor: what its files share.
 *
 * The monitor is the only process with root's rights, and of those only
 * SETUID, SETGID, SYS_CHROOT and CHOWN.  It starts roles, passes descriptors
 * and messages, keeps the phase, and logs.  It never reads the client.
 */
#ifndef POP3D_MON_H
#define POP3D_MON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "conf.h"
#include "ipc.h"
#include "penalty.h"
#include "records.h"
#include "spec.h"
#include "state.h"
#include "users.h"

#define MON_CHILDREN 8

/* Who logged in: auth's answer, checked. */
struct mon_login {
	char name[USER_NAME_MAX + 1];
	char home[PATH_MAX];
	char app[64]; /* label of the app password that opened it, or "" */
	struct spec spec;
	uid_t uid;
	gid_t gid;
	uint8_t options; /* enum ipc_user bits */
	uint32_t login_delay, expire;
	int64_t show_after;
};

/* How far TLS has come. */
enum mon_tls_stage {
	TLS_OFF,      /* not configured, or not any more */
	TLS_POSSIBLE, /* the session may ask whether it can be offered */
	TLS_CHECKING, /* pop3d-tls looks at the certificate */
	TLS_OFFERED,  /* the session may ask for it */
	TLS_WAITING,  /* it has asked, and waits for handshakes that were broken off before */
	TLS_SHAKING,  /* the handshake is under way */
	TLS_ON,
};

struct mon_tls {
	struct ipc pair, keeper; /* to the two roles of pop3d-tls */
	enum mon_tls_stage stage;
	bool implicit;	     /* -s */
	bool holds_client;   /* 0 and 1 are still the client, for a tls role to come */
	bool told;	     /* the log knows why there was no handshake */
	int64_t deadline_ms; /* of a handshake or a check, or when TLS_WAITING is over; monotonic */
	uid_t keeper_uid;
	gid_t keeper_gid;
	/* what the tls role reported after the handshake; auth is told when it needs it */
	uint32_t version;
	bool resumed;
	char cipher[64];
	uint8_t binding_kind; /* enum ipc_binding */
	uint8_t binding[IPC_BINDING_LEN];
	uint8_t unique[IPC_UNIQUE_LEN];
	char identity[USER_NAME_MAX + 1]; /* of a checked client certificate, or "" */
	char domain[USER_NAME_MAX + 1];	  /* whose tls_name the client asked for, as configured */
};

/* A process that is not yet reaped. */
struct mon_child {
	pid_t pid; /* 0: not known */
	enum ipc_role role;
	uid_t uid; /* that it takes */
};

struct monitor {
	const struct conf *conf;
	bool root;	   /* ids can be changed */
	bool local;	   /* the client is on this host, or no IP peer at all */
	bool secure;	   /* the session is inside TLS */
	bool utf8;	   /* the client has given UTF8, and the maildrop role is to know */
	bool awaits_proxy; /* the session has not yet told for whom a proxy has come */
	uid_t uid;	   /* unprivileged_user */
	gid_t gid;
	char empty[PATH_MAX];	   /* the empty root */
	char address[64], port[8]; /* the client's, "" where it has none */
	int null_fd;
	enum ipc_phase phase;
	struct ipc session, auth, drop;
	struct ipc verifier; /* it has nothing to say */
	int drop_session_fd; /* the session's end towards the maildrop role, until it is ready */
	struct mon_login login;
	struct mon_tls tls;
	unsigned mechanism;	  /* of the login that is open, or the last one */
	unsigned failures;	  /* wrong credentials so far, as auth said */
	bool has_secrets;	  /* there is a secrets file */
	const char *auth_program; /* the helper that is the auth role, or NULL */
	struct penalty penalty;	  /* mapped when there is need */
	struct records records;
	struct session_record record; /* of this session, as it was last written */
	bool told_brake;	      /* ... the key to this auth role */
	bool taken;		      /* what penalty_look() said of the open question */
	bool awaits_upgrade;	      /* auth has said yes and will send a note */
	bool upgrade_due;	      /* it has come, and there is something to do */
	bool told_tls;		      /* to this auth role */
	char apop[300];		      /* the timestamp of the greeting, "": no APOP */
	bool swept;		      /* mon_start_sweep() was called */
	uid_t verifier_uid;	      /* oauth_user */
	bool dotlocked;		      /* a dotlock that the monitor made is there */
	bool ending;		      /* the session was told to end */
	int64_t end_by_ms;	      /* then: until when it may take, monotonic */
	int64_t leave_by_ms;	      /* it has said, or was told, that it is over: until when */
	int64_t drop_by_ms;	      /* the session is gone: until when the maildrop role has */
	int64_t deadline_ms;	      /* of the login, monotonic */
	int64_t began_ms;
	struct mon_child children[MON_CHILDREN];
	unsigned n_children;
	uint32_t caps; /* bits of linux/capability.h that are left */
};

/* Serve the session on descriptors 0 and 1 until it is over.  The exit status. */
int mon_run(struct monitor *mon);

/* mon_roles.c: start a role; 0 or POP_E_SYS (logged). */
int mon_start_session(struct monitor *mon, int plain_fd);
int mon_start_auth(struct monitor *mon);
int mon_start_drop(struct monitor *mon, int state_fd);
int mon_start_verifier(struct monitor *mon, uid_t uid, gid_t gid);
/* After a maildrop role was killed: let its owner remove the dotlock it may have left. */
void mon_start_sweep(struct monitor *mon);
/* Start helper_dir/NAME with its end of a new pair as descriptor 3; returns the other end. */
int mon_start_helper(struct monitor *mon, const char *name, enum ipc_role role);
/* fork, and keep the child in mind. */
pid_t mon_fork(struct monitor *mon, enum ipc_role role);
/* Is there room for one more, and a keeper (else errno)? */
bool mon_has_room(const struct monitor *mon);
/* Keep a child in mind that was started otherwise; pid 0: a keeper, whose pid is not known. */
void mon_adopt(struct monitor *mon, pid_t pid, enum ipc_role role);
/* The last act: end the processes that are left. */
void mon_kill_children(struct monitor *mon);
/* Give up the monitor's own copy of the client's socket. */
void mon_release_client(struct monitor *mon);

/* mon_caps.c: drop the capabilities that nothing can need any more. */
void mon_shed_caps(struct monitor *mon);

/* mon_run.c: the session has no more to ask, and ends by itself, soon. */
void mon_await_end(struct monitor *mon);
/* One line for a peer that broke the rules, and the end of its pair. */
void mon_drop_pair(struct monitor *mon, struct ipc *c, int err);

/*
 * mon_tls.c: start pop3d-tls on the client; *session_fd is the session's end of
 * the plaintext (the caller's).  0, or a negative code (logged).
 */
int mon_start_tls(struct monitor *mon, int *session_fd);
int mon_answer_tls_offer(struct monitor *mon, struct ipc_msg *ask);
int mon_answer_tls(struct monitor *mon, struct ipc_msg *ask);
void mon_tls_event(struct monitor *mon);
void mon_keeper_event(struct monitor *mon);
/* A handshake or a check is under way: tls_deadline_ms counts. */
bool mon_tls_pending(const struct monitor *mon);
/* End it; why is logged, where it is not NULL and nothing was said before. */
void mon_tls_end(struct monitor *mon, const char *why);
/* deadline_ms has come: for a handshake or a check, or for one to begin.  0, or a broken pair. */
int mon_tls_due(struct monitor *mon);

/* mon_proxy.c: does a PROXY header come from this peer?  What it said. */
bool mon_is_proxied(const struct monitor *mon);
int mon_take_proxy(struct monitor *mon, struct ipc_msg *note);
/* mon_run.c: the client is known: auth, the log and the list of sessions begin. */
void mon_meet_client(struct monitor *mon);

/* mon_auth.c: what the auth role needs, and which one it is. */

/* users = checkpassword:PROGRAM? */
bool mon_by_program(const struct conf *conf);
/* Before the session starts: is there a secrets file, is APOP offered? */
void mon_prepare_auth(struct monitor *mon);
/* The mechanisms that may be offered now, enum conf_mech bits; true of this moment. */
uint32_t mon_mechanisms(const struct monitor *mon);
/* Pass a question of the session on to the auth role that can answer it. */
int mon_ask_auth(struct monitor *mon, struct ipc_msg *ask, enum ipc_verdict *verdict);
int mon_answer_mechs(struct monitor *mon, struct ipc_msg *ask);
int mon_answer_secrets(struct monitor *mon, struct ipc_msg *ask);

/*
 * mon_verify.c: at the start of a session, before the monitor's own filter of system calls is in
 * force, the process that can start oauth_verifier; later, let it do so for auth.
 */
void mon_prepare_verifier(struct monitor *mon);
int mon_answer_verifier(struct monitor *mon, struct ipc_msg *ask);

/* mon_brake.c: penalties of before; before a question: does auth have to look? */
int mon_tell_brake(struct monitor *mon);
int mon_answer_brake(struct monitor *mon, struct ipc_msg *ask);
/* How long this client's handshake has to wait for those that it broke off before, ms. */
uint32_t mon_handshake_wait(struct monitor *mon);
/* It has broken off one more. */
void mon_handshake_broken(struct monitor *mon);

/* mon_upgrade.c: auth's note that follows a yes, where password_upgrade is set. */
int mon_take_upgrade(struct monitor *mon, struct ipc_msg *note);
/* The client was answered, or the note has come: do what is due, and let auth end. */
void mon_upgrade(struct monitor *mon);

/* mon_login.c: from LOGIN_ASK or SASL_ASK to its answer. */
int mon_answer_login(struct monitor *mon, struct ipc_msg *ask);
int mon_take_auth_answer(struct monitor *mon, struct ipc_msg *answer);
int mon_take_drop_ready(struct monitor *mon, struct ipc_msg *note);
/* Auth or the maildrop role died while a login was open: [SYS/TEMP], and the end. */
int mon_fail_login(struct monitor *mon, enum ipc_verdict verdict, bool close);

/*
 * mon_records.c: the list of sessions and the counters of run_dir.  Where there is none and none
 * can be made, these do nothing.
 */
void mon_record_begin(struct monitor *mon);
/* After any event: has something changed that is worth to be seen? */
void mon_record_change(struct monitor *mon);
void mon_record_login(struct monitor *mon, uint64_t messages, uint64_t octets);
void mon_record_failure(struct monitor *mon, enum ipc_verdict verdict);
/* The note with which a session ends. */
void mon_record_end(struct monitor *mon, struct ipc_msg *note);
void mon_record_leave(struct monitor *mon);

/* mon_dotlock.c */
int mon_answer_dotlock(struct monitor *mon, struct ipc_msg *ask);
/* 0, or a negative code (logged): it is still there. */
int mon_remove_dotlock(struct monitor *mon);

/* mon_log.c: one line an event (design section 9). */
void mon_log_connect(const struct monitor *mon);
void mon_log_login(const struct monitor *mon, uint64_t count, uint64_t octets);
void mon_log_failed(const struct monitor *mon, const char *user, const char *reason);
void mon_log_logout(const struct monitor *mon, struct ipc_msg *note);
void mon_log_error(const struct monitor *mon, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void mon_log_drop(const struct monitor *mon, int level, const char *text);

#endif
