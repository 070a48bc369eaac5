/*
 * main.c - options, a clean start, the configuration; then the monitor.
 *
 * Runs in:  the monitor, as root where it was started so.
 * Trusts:   its command line and the configuration file.  Not the environment.
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include <arpa/inet.h>
#include "fsutil.h"
#include "log.h"
#include "mon.h"
#include "role.h"

#define OVERRIDES_MAX 128

struct options {
	const char *file;
	const char *overrides[OVERRIDES_MAX];
	size_t n_overrides;
	bool tls;
	bool log_stderr;
};

static const char usage[] =
	"usage: pop3d [-c FILE] [-o KEY=VALUE]... [-s] [-e] | -h | -V\n"
	"  -c, --config FILE        default " CONF_DEFAULT_FILE "\n"
	"  -o, --option KEY=VALUE   overrides one configuration key; may be repeated\n"
	"  -s, --tls                TLS from the first byte (port 995)\n"
	"  -e, --log-stderr         log to descriptor 2 instead of syslog\n"
	"  -h, --help               this text\n"
	"  -V, --version            the version, and which sandboxes are compiled in\n"
	"Serves one POP3 session on descriptors 0 and 1; see pop3d(8).\n";

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* inetd gives the client as descriptor 2 too: it must not get our complaints. */
static bool stderr_is_ours(void)
{
	return !same_file(2, 0) && !same_file(2, 1);
}

/* A wrong command line: the client hears that we cannot serve, the log hears why. */
static int __attribute__((format(printf, 3, 4)))
complain(const struct options *opt, int status, const char *fmt, ...)
{
	static const char sorry[] = "-ERR [SYS/PERM] server misconfigured\r\n";
	struct pop_why text;
	struct stat st;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text.text, sizeof(text.text), fmt, ap) < 0)
		text.text[0] = '\0';
	va_end(ap);
	if (opt->tls)
		; /* plaintext would be no answer */
	else if (fstat(1, &st) == 0 && S_ISSOCK(st.st_mode))
		send(1, sorry, sizeof(sorry) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	else if (!isatty(1) && write(1, sorry, sizeof(sorry) - 1) < 0)
		status = EX_IOERR;
	if (opt->log_stderr) {
		log_open(log_stderr_sink(), LOG_MAIL);
	} else if (stderr_is_ours()) {
		dprintf(2, "pop3d: %s\n", text.text);
		log_open(LOG_TO_SYSLOG, LOG_MAIL);
	} else {
		log_open(LOG_TO_SYSLOG, LOG_MAIL);
	}
	log_error("%s", text.text);
	return status;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *opt)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "option", required_argument, NULL, 'o' },
		{ "tls", no_argument, NULL, 's' },
		{ "log-stderr", no_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:c:o:sehV", longs, NULL)) >= 0) {
		switch (c) {
		case 'c':
			opt->file = optarg;
			break;
		case 'o':
			if (opt->n_overrides == OVERRIDES_MAX)
				return complain(opt, EX_USAGE, "more than %d -o options",
						OVERRIDES_MAX);
			opt->overrides[opt->n_overrides++] = optarg;
			break;
		case 's':
			opt->tls = true;
			break;
		case 'e':
			opt->log_stderr = true;
			break;
		case 'h':
			return fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EX_IOERR : EX_OK;
		case 'V':
			return printf("pop3d " VERSION "\nsandbox: %s\n",
				      sandbox_names(sandbox_has_calls(), sandbox_has_files())) <
						       0 ||
					       fflush(stdout) != 0
				       ? EX_IOERR
				       : EX_OK;
		case ':':
			return complain(opt, EX_USAGE, "option %s needs an argument; see pop3d -h",
					argv[optind - 1]);
		default:
			return complain(opt, EX_USAGE, "unknown option %s; see pop3d -h",
					argv[optind - 1]);
		}
	}
	if (optind < argc)
		return complain(opt, EX_USAGE, "unexpected argument %s; see pop3d -h",
				argv[optind]);
	return -1;
}

static void copy_env(const char *name, char *out, size_t size)
{
	const char *value = getenv(name);

	if (value && out[0] == '\0' && strlen(value) < size)
		snprintf(out, size, "%s", value);
}

/* Address and port of the client, and whether it is loopback or no IP peer at all. */
static void find_peer(struct monitor *mon, bool *local)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	*local = true;
	memset(&ss, 0, sizeof(ss));
	if (getpeername(0, (struct sockaddr *)&ss, &len) < 0) {
		copy_env("REMOTE_ADDR", mon->address, sizeof(mon->address));
		copy_env("TCPREMOTEIP", mon->address, sizeof(mon->address));
		copy_env("REMOTE_PORT", mon->port, sizeof(mon->port));
		copy_env("TCPREMOTEPORT", mon->port, sizeof(mon->port));
		*local = mon->address[0] == '\0' || strcmp(mon->address, "::1") == 0 ||
			 strncmp(mon->address, "127.", 4) == 0;
	} else if (ss.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;

		inet_ntop(AF_INET, &in->sin_addr, mon->address, sizeof(mon->address));
		snprintf(mon->port, sizeof(mon->port), "%u", ntohs(in->sin_port));
		*local = ntohl(in->sin_addr.s_addr) >> 24 == 127;
	} else if (ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], mon->address,
				  sizeof(mon->address));
			*local = in6->sin6_addr.s6_addr[12] == 127;
		} else {
			inet_ntop(AF_INET6, &in6->sin6_addr, mon->address, sizeof(mon->address));
			*local = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
		}
		snprintf(mon->port, sizeof(mon->port), "%u", ntohs(in6->sin6_port));
	}
}

/* What only root needs: the ids that roles take, and the empty root. */
static int prepare_root(struct monitor *mon, struct pop_why *why)
{
	uint32_t uid, gid;
	struct stat st;
	int n;

	if (conf_user_ids(mon->conf->unprivileged_user, &uid, &gid) < 0)
		return pop_why(why, POP_E_MISSING,
			       "unprivileged_user = %s: no such user; make it, or name another",
			       mon->conf->unprivileged_user);
	if (uid == 0 || gid == 0)
		return pop_why(why, POP_E_UNSAFE, "unprivileged_user = %s: must not be root",
			       mon->conf->unprivileged_user);
	mon->uid = uid;
	mon->gid = gid;
	n = snprintf(mon->empty, sizeof(mon->empty), "%s/empty", mon->conf->helper_dir);
	if (n < 0 || (size_t)n >= sizeof(mon->empty))
		return pop_why(why, POP_E_LONG, "helper_dir is too long");
	if (lstat(mon->empty, &st) < 0)
		return pop_why_errno(why, "%s: the empty root", mon->empty);
	if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022))
		return pop_why(why, POP_E_UNSAFE,
			       "%s: must be an empty directory of root's, mode 0755", mon->empty);
	return role_limit_root(why);
}

/* Everything behind the options; the exit status. */
static int serve(const struct options *opt, struct monitor *mon, struct conf *conf)
{
	enum log_sink sink = opt->log_stderr ? log_stderr_sink() : LOG_TO_SYSLOG;
	struct pop_why why;

	/* before the working directory changes: the file may be a relative path */
	if (conf_load(conf, opt->file ? opt->file : CONF_DEFAULT_FILE, opt->file != NULL,
		      opt->overrides, opt->n_overrides, &why) < 0)
		return complain(opt, EX_CONFIG, "%s", why.text);
	if (role_clean_start(&mon->null_fd, &why) < 0)
		return complain(opt, EX_OSERR, "%s", why.text);
	prctl(PR_SET_DUMPABLE, 0);
	mon->conf = conf;
	mon->root = geteuid() == 0;
	log_open(sink, conf->log_facility);
	if (conf->tls_certificate[0] && conf->tls_key[0])
		mon->tls.stage = TLS_POSSIBLE;
	else if (opt->tls)
		return complain(opt, EX_CONFIG,
				"-s: TLS is off: tls_certificate and tls_key are not set");
	if (mon->root && prepare_root(mon, &why) < 0)
		return complain(opt, EX_CONFIG, "%s", why.text);
	find_peer(mon, &mon->local);
	mon->tls.implicit = opt->tls;
	/* nothing but TLS may reach the client there */
	if (opt->tls && !opt->log_stderr && !stderr_is_ours() && dup2(mon->null_fd, 2) < 0)
		return EX_OSERR;
	return mon_run(mon);
}

int main(int argc, char **argv)
{
	struct options opt = { .file = NULL };
	struct monitor mon = { .drop_session_fd = -1 };
	struct conf conf;
	int status;

	mon.began_ms = fs_now_ms();
	log_session();
	status = parse_options(argc, argv, &opt);
	if (status >= 0)
		return status;
	status = serve(&opt, &mon, &conf);
	conf_release(&conf);
	return status;
}
