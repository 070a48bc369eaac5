/*
 * admin.h - what the files of pop3admin share: the command table's row, the
 * options, and how a command reports that it could not do its work.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include <stddef.h>
#include <stdbool.h>
#include <sysexits.h>
#include "conf.h"
#include "err.h"
#include "out.h"

#define EX_NOT_WELL 1 /* the thing checked is not well (check, verify) */

/* Options that belong to commands; each command's row says which ones it takes. */
enum option_id {
	OPT_UID,
	OPT_GID,
	OPT_HOME,
	OPT_MAILDROP,
	OPT_PURGE,
	OPT_ALL,
	OPT_FROM,
	OPT_UIDL_FORMAT,
	OPT_DRY_RUN,
	OPT_SCRAM,
	OPT_CRAM,
	OPT_APOP,
	OPT_EXPIRES,
	OPT_PROMETHEUS,
	OPT_TLS_NAME,
	OPT_COUNT,
};
struct option_row {
	const char *name; /* without the dashes */
	const char *arg;  /* what the help calls its argument, NULL: it has none */
	const char *help;
};
extern const struct option_row option_rows[OPT_COUNT];
#define WITH(opt) (1u << (opt))

#define POS_MAX 10 /* no command takes more arguments */

struct admin {
	const char *conf_path;
	bool conf_given;
	const char **overrides; /* KEY=VALUE, borrowed from argv */
	size_t n_overrides;
	bool help;
	const char *opt[OPT_COUNT]; /* "" for an option without argument, NULL: not given */
	const char *pos[POS_MAX];   /* GROUP and COMMAND are not in it */
	size_t n_pos;
	struct conf conf; /* loaded where the row's needs say so */
	struct out out;
};

/* What must stand before a command's function is called. */
enum needs {
	NEEDS_NOTHING = 0,
	NEEDS_CONF = 1,	       /* the configuration, loaded */
	NEEDS_USERS_FILE = 3,  /* ... and `users` names a file that pop3admin may edit */
	NEEDS_USER_OR_ALL = 5, /* ... and one argument, a user, or --all */
};

struct command {
	const char *group, *name; /* name "": the group is the command */
	const char *args;	  /* the arguments as the help shows them */
	unsigned options;	  /* WITH() bits */
	unsigned least, most;
	unsigned needs;
	const char *help;
	const char *example;
	int (*run)(struct admin *a); /* returns the exit status; has told why it is not 0 */
};
extern const struct command commands[];
extern const size_t n_commands;

/*
 * Split the command line into a: global options anywhere, GROUP and COMMAND,
 * then what the command's row allows.  *cmd is NULL where the help was asked
 * for without a command.  0, or the exit status with everything said.
 */
int args_parse(struct admin *a, int argc, char **argv, const struct command **cmd);

/* The help of everything, or of one command, or of one group, to standard output. */
void usage_print(const char *group, const struct command *cmd);

/*
 * "pop3admin: ..." to standard error, control characters made visible; returns
 * status, so that a command can end in `return fail(EX_DATAERR, "...")`.
 */
int fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The exit status for an error of lib/ (errno still as lib left it). */
int status_of(int err);

/* user ... */
int cmd_user_add(struct admin *a);
int cmd_user_passwd(struct admin *a);
int cmd_user_del(struct admin *a);
int cmd_user_lock(struct admin *a);
int cmd_user_unlock(struct admin *a);
int cmd_user_set(struct admin *a);
int cmd_user_which(struct admin *a);
int cmd_user_show(struct admin *a);
int cmd_user_verify(struct admin *a);
int cmd_user_list(struct admin *a);
int cmd_user_import(struct admin *a);
int cmd_user_app(struct admin *a);
/* maildrop ..., uidl ..., lock ..., tls ..., penalty ..., session ..., stats, doctor, completion,
 * config ... */
int cmd_maildrop_stat(struct admin *a);
int cmd_maildrop_list(struct admin *a);
int cmd_maildrop_check(struct admin *a);
int cmd_maildrop_repair(struct admin *a);
int cmd_maildrop_expire(struct admin *a);
int cmd_trash_list(struct admin *a);
int cmd_trash_show(struct admin *a);
int cmd_trash_restore(struct admin *a);
int cmd_trash_purge(struct admin *a);
int cmd_uidl_list(struct admin *a);
int cmd_uidl_check(struct admin *a);
int cmd_uidl_rebuild(struct admin *a);
int cmd_uidl_export(struct admin *a);
int cmd_uidl_import(struct admin *a);
int cmd_lock_show(struct admin *a);
int cmd_lock_break(struct admin *a);
int cmd_tls_check(struct admin *a);
int cmd_tls_selfsigned(struct admin *a);
int cmd_tls_rotate(struct admin *a);
int cmd_penalty_list(struct admin *a);
int cmd_penalty_clear(struct admin *a);
int cmd_session_list(struct admin *a);
int cmd_session_end(struct admin *a);
int cmd_stats(struct admin *a);
int cmd_doctor(struct admin *a);
int cmd_completion(struct admin *a);
int cmd_config_check(struct admin *a);
int cmd_config_show(struct admin *a);

#endif
