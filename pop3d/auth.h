/*
 * auth.h - the auth role: what its files share.
 *
 * The role is built into pop3d; the executable pop3d-auth is the same code with
 * the mechanisms that need libcrypto.  One credential at a time, counted and
 * delayed here and nowhere else.
 */
#ifndef POP3D_AUTH_H
#define POP3D_AUTH_H

#include <stdbool.h>
#include <stdint.h>
#include "ipc.h"
#include "role.h"
#include "spec.h"
#include "users.h"

#define AUTH_RESPONSE_MAX 9216 /* octets of a response of 12 288 characters */
#define AUTH_LABEL_MAX	  63   /* octets of an app password's label */

/* What is found out about one credential. */
struct judgement {
	enum ipc_verdict verdict;
	struct user user;
	struct spec spec;
	bool refused;		      /* by the brake: nothing was looked at */
	bool counted;		      /* as a failure, with its delay, already */
	char app[AUTH_LABEL_MAX + 1]; /* the app password that it was, or "" */
	struct pop_why note;	      /* for the log */
};

/* One SASL exchange. */
struct auth_exchange {
	unsigned mechanism; /* 0: none is open */
	unsigned step;	    /* responses taken so far */
	bool no_response;   /* the exchange began without one */
	bool refused;	    /* the client was told so, and has a word to say to it */
	char login[USER_NAME_MAX + 1];
	size_t in_len, out_len;
	uint8_t in[AUTH_RESPONSE_MAX + 1]; /* the response, a NUL behind it */
	uint8_t out[IPC_SASL_PIECE];	   /* the challenge */
};

/* What the tls role reported, by way of the monitor. */
struct auth_tls {
	unsigned kinds; /* ipc_binding bits */
	uint8_t binding[IPC_BINDING_LEN];
	uint8_t unique[IPC_UNIQUE_LEN];
	char identity[USER_NAME_MAX + 1]; /* of the client's certificate, or "" */
	char domain[USER_NAME_MAX + 1];	  /* of the server name that was asked for, or "" */
};

struct auth {
	const struct auth_start *start;
	const struct conf *conf;
	struct ipc monitor;
	unsigned failures; /* wrong credentials so far */
	int fds[2];	   /* the user database, while a question is open */
	int n_fds;
	int secrets_fd; /* opened for this question, or -1 */
	int64_t came_ms;
	struct auth_tls tls;
	bool braked; /* there are penalties, and this is the key that names are hashed by */
	bool taken;  /* for this question something was taken, to be given back */
	uint8_t brake_key[16];
	/* password_upgrade: kept from a yes until its answer is sent */
	bool upgrade;
	char upgrade_name[USER_NAME_MAX + 1], upgrade_old[USER_HASH_MAX + 1];
	char upgrade_password[USER_PASSWORD_MAX + 1];
	struct auth_exchange x;
};

/*
 * One mechanism: take x->in and either fill x->out (SASL_CHALLENGE) or judge
 * (SASL_VERDICT).  x->step counts from 0.
 */
struct auth_mech {
	unsigned mechanism;
	enum ipc_sasl_kind (*step)(struct auth *a, struct auth_exchange *x, struct judgement *j);
};
/* The mechanisms that need libcrypto; only pop3d-auth has them. */
extern const struct auth_mech auth_digests[];
extern const size_t auth_n_digests;

/*
 * auth_start.c: the first message to an auth role in a program of its own (the caller fills the
 * mechanisms in); with fd its descriptor, too.  NULL where it is none.
 */
struct auth_start *auth_take_start(struct ipc *monitor, int *fd);

/* auth_judge.c */

/* The names to look up for a login as typed, best first: as login_candidates(). */
int auth_names(const struct auth *a, const char *login, char names[2][USER_NAME_MAX + 1]);
/* The entry of this name: 0, POP_E_MISSING, or another negative code. */
int auth_find_entry(struct auth *a, const char *name, struct judgement *j);
/* The entry behind a login as typed: 0, POP_E_MISSING, or another negative code. */
int auth_find(struct auth *a, const char *login, struct judgement *j);
/* May this entry log in at all, by whatever mechanism? */
bool auth_usable(const struct user *u);
/* The credential was right: is the entry fit to serve?  Sets j->verdict. */
void auth_accept(const struct auth *a, struct judgement *j);
/* Judge a password in clear; the same work for everybody.  Sets j. */
void auth_password(struct auth *a, const char *login, const char *password, struct judgement *j);
/* The secrets file for this question, opened once: a descriptor (borrowed), POP_E_MISSING where
 * there is none, another negative code. */
int auth_secrets(struct auth *a);

/* auth_app.c: is it an app password of j->user?  Sets j->app. */
bool auth_app(struct auth *a, const char *password, struct judgement *j);

/*
 * auth_brake.c: before a credential is looked at: wait as long as failed logins
 * of before ask for.  False: it is not to be looked at (j is set).
 */
bool auth_brake(struct auth *a, const char *login, struct judgement *j);
/* The credential was wrong, or right. */
void auth_brake_failed(struct auth *a, const char *login);
void auth_brake_passed(struct auth *a);
/* auth_run.c: count a wrong credential, and wait as long as that costs. */
void auth_count_failure(struct auth *a, const char *login);
/* auth_run.c: wait until a moment of fs_now_ms(), or until the monitor is gone. */
void auth_wait(struct auth *a, int64_t until_ms);

/* auth_program.c: a checkpassword program judges.  They set j. */
bool auth_by_program(const struct conf *conf);
void auth_program(struct auth *a, const char *login, const char *password, struct judgement *j);
void auth_program_apop(struct auth *a, const char *login, const char *digest, struct judgement *j);

/* auth_oauth.c: OAUTHBEARER and XOAUTH2. */
enum ipc_sasl_kind auth_step_oauth(struct auth *a, struct auth_exchange *x, struct judgement *j);

/* auth_sasl.c: may who logs in as `login` act as authzid?  Only as himself. */
bool auth_authzid_ok(const struct judgement *j, const char *authzid, const char *login);
/* auth_sasl.c: one message of an exchange; sets j where it returns SASL_VERDICT. */
enum ipc_sasl_kind auth_sasl(struct auth *a, struct ipc_msg *m, struct judgement *j);
/* Forget an exchange, and wipe what it held. */
void auth_sasl_end(struct auth *a);

#endif
