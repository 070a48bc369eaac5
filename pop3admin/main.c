/*
 * main.c - pop3admin: the table of commands, and the way to each.
 *
 * Runs in:  pop3admin, as whoever called it; root for other people's maildrops.
 * Trusts:   its caller and the configuration.  Not the maildrops: work on them
 *           is done as their owner (owner.c).
 */
#include "admin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct option_row option_rows[OPT_COUNT] = {
	[OPT_UID] = { "uid", "U", "owner of the maildrop, a name or a number" },
	[OPT_GID] = { "gid", "G", "its group, a name or a number" },
	[OPT_HOME] = { "home", "DIR", "home directory, for %h and ~ in the maildrop" },
	[OPT_MAILDROP] = { "maildrop", "SPEC", "mbox:PATH or maildir:PATH, for this user alone" },
	[OPT_PURGE] = { "purge", NULL, "remove the state directory instead of setting it aside" },
	[OPT_ALL] = { "all", NULL, "every user of the users file" },
	[OPT_FROM] = { "from", "FORMAT",
		       "dovecot, courier, cyrus, mailutils, qpopper, popa3d or transcript" },
	[OPT_UIDL_FORMAT] = { "uidl-format", "FMT", "Dovecot's pop3_uidl_format (%08Xu%08Xv)" },
	[OPT_SCRAM] = { "scram", NULL,
			"with a secret for SCRAM (the password cannot be told from it)" },
	[OPT_CRAM] = { "cram", NULL, "with a secret for CRAM-MD5" },
	[OPT_APOP] = { "apop", NULL, "with a secret for APOP: the password itself is stored" },
	[OPT_EXPIRES] = { "expires", "DATE", "the last day, as 2027-01-31 (UTC)" },
	[OPT_PROMETHEUS] = { "prometheus", NULL, "in Prometheus' text format" },
	[OPT_TLS_NAME] = { "tls-name", "HOST", "as for a client that asks for this server name" },
	[OPT_DRY_RUN] = { "dry-run", NULL, "tell what would be done, change nothing" },
};

#define USER_OR_ALL    "USER|--all"
#define SECRET_OPTIONS (WITH(OPT_SCRAM) | WITH(OPT_CRAM) | WITH(OPT_APOP))
#define USER_ADD_OPTIONS \
	(WITH(OPT_UID) | WITH(OPT_GID) | WITH(OPT_HOME) | WITH(OPT_MAILDROP) | SECRET_OPTIONS)

/* One row a command; help, usage, suggestions and the checks of arguments follow from it. */
const struct command commands[] = {
	{ "user", "add", "NAME [KEY=VALUE]...", USER_ADD_OPTIONS, 1, POS_MAX, NEEDS_USERS_FILE,
	  "add a user; the password comes from the terminal or standard input",
	  "pop3admin user add alice", cmd_user_add },
	{ "user", "passwd", "NAME", SECRET_OPTIONS, 1, 1, NEEDS_USERS_FILE,
	  "give a user a new password, and new secrets of the kinds he had",
	  "pop3admin user passwd alice <new-password.txt", cmd_user_passwd },
	{ "user", "app", "add|list|del NAME [LABEL]", WITH(OPT_EXPIRES), 2, 3, NEEDS_USERS_FILE,
	  "app passwords: make one and print it once, list them, remove one",
	  "pop3admin user app add alice phone --expires 2027-01-31", cmd_user_app },
	{ "user", "del", "NAME", WITH(OPT_PURGE), 1, 1, NEEDS_USERS_FILE,
	  "remove a user; the mail stays where it is", "pop3admin user del alice", cmd_user_del },
	{ "user", "set", "NAME KEY=VALUE...", 0, 2, POS_MAX, NEEDS_USERS_FILE,
	  "set options of a user, KEY= takes one away: maildrop, login_delay, expire, show_after, "
	  "require_tls, readonly, nologin",
	  "pop3admin user set alice require_tls=yes show_after=2026-01-31", cmd_user_set },
	{ "user", "lock", "NAME", 0, 1, 1, NEEDS_USERS_FILE,
	  "refuse every login of a user, keep the password", "pop3admin user lock alice",
	  cmd_user_lock },
	{ "user", "unlock", "NAME", 0, 1, 1, NEEDS_USERS_FILE, "let a locked user log in again",
	  "pop3admin user unlock alice", cmd_user_unlock },
	{ "user", "show", "NAME", 0, 1, 1, NEEDS_CONF, "show what is known of a user",
	  "pop3admin --json user show alice", cmd_user_show },
	{ "user", "which", "LOGIN", WITH(OPT_TLS_NAME), 1, 1, NEEDS_CONF,
	  "show what a login name becomes, and why (exit status 67: no user)",
	  "pop3admin user which alice+example.org", cmd_user_which },
	{ "user", "verify", "NAME", 0, 1, 1, NEEDS_CONF,
	  "does this password open the maildrop? (exit status 1: no)",
	  "pop3admin user verify alice", cmd_user_verify },
	{ "user", "list", "", 0, 0, 0, NEEDS_CONF, "list all users", "pop3admin user list",
	  cmd_user_list },
	{ "user", "import", "FILE", 0, 1, 1, NEEDS_USERS_FILE,
	  "add the users of a file in the layout of pop3d-users(5), all or none",
	  "pop3admin user import /root/old-users", cmd_user_import },
	{ "uidl", "list", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "list the unique ids of the messages", "pop3admin uidl list alice", cmd_uidl_list },
	{ "uidl", "check", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "make all ids anew and compare them with those kept (exit status 1: they differ)",
	  "pop3admin uidl check --all", cmd_uidl_check },
	{ "uidl", "rebuild", USER_OR_ALL, WITH(OPT_ALL) | WITH(OPT_DRY_RUN), 0, 1,
	  NEEDS_USER_OR_ALL, "forget the index and make all ids anew",
	  "pop3admin uidl rebuild alice --dry-run", cmd_uidl_rebuild },
	{ "uidl", "export", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "print ids with octets and digests of their messages, for another server",
	  "pop3admin uidl export alice >alice.uidl", cmd_uidl_export },
	{ "uidl", "import", "USER FILE", WITH(OPT_FROM) | WITH(OPT_UIDL_FORMAT) | WITH(OPT_DRY_RUN),
	  2, 2, NEEDS_CONF, "take over the ids that clients know from another server",
	  "pop3admin uidl import alice --from courier ~alice/Maildir/courierpop3dsizelist",
	  cmd_uidl_import },
	{ "maildrop", "stat", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "count messages and octets, as STAT does", "pop3admin maildrop stat --all",
	  cmd_maildrop_stat },
	{ "maildrop", "list", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "list the messages with their octets and unique ids", "pop3admin maildrop list alice",
	  cmd_maildrop_list },
	{ "maildrop", "check", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "read every message and compare it with what is announced (exit status 1: not well)",
	  "pop3admin maildrop check alice", cmd_maildrop_check },
	{ "maildrop", "repair", USER_OR_ALL, WITH(OPT_ALL) | WITH(OPT_DRY_RUN), 0, 1,
	  NEEDS_USER_OR_ALL, "bring back what a set-aside journal alone holds, mend what is around",
	  "pop3admin maildrop repair alice --dry-run", cmd_maildrop_repair },
	{ "maildrop", "expire", USER_OR_ALL, WITH(OPT_ALL) | WITH(OPT_DRY_RUN), 0, 1,
	  NEEDS_USER_OR_ALL,
	  "remove what was retrieved longer ago than `expire` says (from a timer)",
	  "pop3admin maildrop expire --all --dry-run", cmd_maildrop_expire },
	{ "trash", "list", USER_OR_ALL, WITH(OPT_ALL), 0, 1, NEEDS_USER_OR_ALL,
	  "list removed messages that can be restored", "pop3admin trash list alice",
	  cmd_trash_list },
	{ "trash", "show", "USER UIDL", 0, 2, 2, NEEDS_CONF,
	  "print one of them as it was stored (with --json its header)",
	  "pop3admin trash show alice 6d1c9ab2a1f44c0e9b6c0d5d8a1f3c77 | less", cmd_trash_show },
	{ "trash", "restore", "USER [UIDL]...|--all", WITH(OPT_ALL) | WITH(OPT_DRY_RUN), 0, POS_MAX,
	  NEEDS_CONF, "bring some or all of them back into the maildrop, under their unique ids",
	  "pop3admin trash restore alice --dry-run", cmd_trash_restore },
	{ "trash", "purge", USER_OR_ALL, WITH(OPT_ALL) | WITH(OPT_DRY_RUN), 0, 1, NEEDS_USER_OR_ALL,
	  "remove for good what has been kept for longer than `trash_days`",
	  "pop3admin trash purge --all", cmd_trash_purge },
	{ "lock", "show", "USER", 0, 1, 1, NEEDS_CONF, "who has the maildrop open?",
	  "pop3admin lock show alice", cmd_lock_show },
	{ "lock", "break", "USER", 0, 1, 1, NEEDS_CONF,
	  "end the session that has the maildrop open (exit status 1: there is none)",
	  "pop3admin lock break alice", cmd_lock_break },
	{ "tls", "check", "", 0, 0, 0, NEEDS_CONF,
	  "check certificates and keys: fit, order, dates, names (exit status 1: not well)",
	  "pop3admin tls check", cmd_tls_check },
	{ "tls", "selfsigned", "[NAME]...", 0, 0, POS_MAX, NEEDS_CONF,
	  "make a key and a self-signed certificate for these names, or for hostname",
	  "pop3admin tls selfsigned pop.example.org", cmd_tls_selfsigned },
	{ "tls", "rotate", "", 0, 0, 0, NEEDS_CONF,
	  "make a new key for session tickets; done twice, no old ticket is good any more",
	  "pop3admin tls rotate", cmd_tls_rotate },
	{ "penalty", "list", "", 0, 0, 0, NEEDS_CONF,
	  "failed logins and TLS handshakes that are remembered", "pop3admin penalty list",
	  cmd_penalty_list },
	{ "penalty", "clear", "[ADDRESS|USER]", 0, 0, 1, NEEDS_CONF,
	  "forget what is remembered of one, or all", "pop3admin penalty clear 192.0.2.7",
	  cmd_penalty_clear },
	{ "session", "list", "", 0, 0, 0, NEEDS_CONF,
	  "who is connected, from where, since when, and how far", "pop3admin session list",
	  cmd_session_list },
	{ "session", "end", "PID|USER", 0, 1, 1, NEEDS_CONF,
	  "end a session in order, or all of a user (exit status 1: there is none)",
	  "pop3admin session end alice", cmd_session_end },
	{ "stats", "", "", WITH(OPT_PROMETHEUS), 0, 0, NEEDS_CONF,
	  "sessions, logins, failures, messages and octets: all and today's",
	  "pop3admin stats --prometheus", cmd_stats },
	{ "doctor", "", "[USER]", 0, 0, 1, NEEDS_CONF,
	  "look at everything, and try a session (of USER, with a password); exit status 1: not "
	  "well",
	  "pop3admin doctor", cmd_doctor },
	{ "completion", "", "bash|zsh|fish", 0, 1, 1, NEEDS_NOTHING,
	  "print what a shell completes these commands by", "pop3admin completion bash",
	  cmd_completion },
	{ "config", "check", "", 0, 0, 0, NEEDS_NOTHING,
	  "check configuration, users file and directories", "pop3admin config check",
	  cmd_config_check },
	{ "config", "show", "", 0, 0, 0, NEEDS_CONF, "print the effective configuration",
	  "pop3admin -o apop=yes config show", cmd_config_show },
};
const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

int fail(int status, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	int saved = errno;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fflush(stdout);
	progress_clear();
	fputs("pop3admin: ", stderr);
	out_visible(stderr, text);
	putc('\n', stderr);
	errno = saved;
	return status;
}

int status_of(int err)
{
	switch (err) {
	case POP_OK:
		return EX_OK;
	case POP_E_SYS:
		return errno == EACCES || errno == EPERM || errno == EROFS ? EX_NOPERM : EX_IOERR;
	case POP_E_MEMORY:
		return EX_OSERR;
	case POP_E_LONG:
	case POP_E_SYNTAX:
	case POP_E_RANGE:
	case POP_E_CORRUPT:
	case POP_E_VERSION:
		return EX_DATAERR;
	case POP_E_MISSING:
		return EX_NOUSER;
	case POP_E_EXISTS:
		return EX_CANTCREAT;
	case POP_E_BUSY:
	case POP_E_CHANGED:
	case POP_E_TIME:
		return EX_TEMPFAIL;
	case POP_E_UNSAFE:
	case POP_E_DENIED:
		return EX_NOPERM;
	default:
		return EX_IOERR;
	}
}

/* Descriptors 0 to 2 must be something, or the next file opened would become one of them. */
static void open_std(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* `users` must be a file: other sources are not ours to edit. */
static int need_users_file(const struct admin *a)
{
	if (strcmp(a->conf.users, "system") == 0)
		return fail(EX_CONFIG, "users = system: accounts of the system are edited with "
				       "useradd(8), passwd(1) and usermod(8), not here");
	if (strncmp(a->conf.users, "checkpassword:", strlen("checkpassword:")) == 0)
		return fail(EX_CONFIG, "users = %s: that program keeps the users; edit them there",
			    a->conf.users);
	return 0;
}

static int run(struct admin *a, const struct command *cmd)
{
	struct pop_why why = { "" };
	int err, status;

	if (cmd->needs & NEEDS_CONF) {
		err = conf_load(&a->conf, a->conf_path, a->conf_given, a->overrides, a->n_overrides,
				&why);
		if (err < 0)
			return fail(err == POP_E_SYS && (errno == EACCES || errno == EPERM)
					    ? EX_NOPERM
					    : EX_CONFIG,
				    "%s", why.text);
	}
	if ((cmd->needs & NEEDS_USERS_FILE) == NEEDS_USERS_FILE) {
		status = need_users_file(a);
		if (status)
			return status;
	}
	if ((cmd->needs & NEEDS_USER_OR_ALL) == NEEDS_USER_OR_ALL &&
	    (a->n_pos == 1) == !!a->opt[OPT_ALL])
		return fail(EX_USAGE, "%s %s: give one USER, or --all; see pop3admin %s %s --help",
			    cmd->group, cmd->name, cmd->group, cmd->name);
	return cmd->run(a);
}

int main(int argc, char **argv)
{
	const struct command *cmd = NULL;
	struct admin a;
	int status;

	open_std();
	umask(077);
	signal(SIGPIPE, SIG_IGN); /* a reader that ends early is an error of writing */
	signal(SIGCHLD, SIG_DFL);
	memset(&a, 0, sizeof(a));
	a.conf_path = CONF_DEFAULT_FILE;
	a.overrides = calloc((size_t)argc + 1, sizeof(*a.overrides));
	if (!a.overrides)
		return fail(EX_OSERR, "out of memory");
	status = args_parse(&a, argc, argv, &cmd);
	out_init(&a.out, stdout, a.out.json);
	if (!status && cmd && !a.help)
		status = run(&a, cmd);
	if (out_finish(&a.out) < 0 && !status)
		status = fail(EX_IOERR, "standard output: %s",
			      errno ? strerror(errno) : "cannot be written");
	conf_release(&a.conf);
	free(a.overrides);
	return status;
}
