/*
 * doctor_session.c - doctor: a live session of pop3d, over a socket pair.
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   the pop3d that is installed beside it; not what it answers.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fsutil.h"

#define DEADLINE_MS 30000
#define ANSWER_MAX  512

struct talk {
	struct findings *f;
	pid_t pid;
	int fd, log_fd;
	int64_t until_ms;
	size_t from, to;
	char in[4096];
};

/* pop3d is beside pop3admin where both are installed, and in a folder beside where they were
 * built. */
static int find_pop3d(char path[PATH_MAX])
{
	static const char *const places[] = { "pop3d", "../pop3d/pop3d" };
	char here[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);
	char *slash;

	if (n < 0)
		return POP_E_SYS;
	here[n] = '\0';
	slash = strrchr(here, '/');
	if (!slash)
		return POP_E_MISSING;
	slash[1] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int len = snprintf(path, PATH_MAX, "%s%s", here, places[i]);

		if (len > 0 && len < PATH_MAX && access(path, X_OK) == 0)
			return 0;
	}
	return POP_E_MISSING;
}

static void exec_pop3d(const struct talk *t, const char *path, int fd)
{
	const struct admin *a = t->f->a;
	const char **argv = calloc(a->n_overrides * 2 + 5, sizeof(*argv));
	size_t n = 0;

	if (!argv || dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(t->log_fd, 2) < 0)
		_exit(EX_OSERR);
	argv[n++] = "pop3d";
	argv[n++] = "-e";
	if (a->conf_given) {
		argv[n++] = "-c";
		argv[n++] = a->conf_path;
	}
	for (size_t i = 0; i < a->n_overrides; i++) {
		argv[n++] = "-o";
		argv[n++] = a->overrides[i];
	}
	execv(path, (char **)(uintptr_t)argv);
	_exit(EX_UNAVAILABLE);
}

static int start(struct talk *t, const char *path)
{
	int ends[2];

	t->log_fd = memfd_create("log", MFD_CLOEXEC);
	if (t->log_fd < 0)
		return POP_E_SYS;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return POP_E_SYS;
	fflush(stdout);
	t->pid = fork();
	if (t->pid == 0)
		exec_pop3d(t, path, ends[1]);
	close(ends[1]);
	t->fd = ends[0];
	t->until_ms = fs_now_ms() + DEADLINE_MS;
	return t->pid < 0 ? POP_E_SYS : 0;
}

/* The client goes; pop3d ends by itself, or is ended. */
static void end(struct talk *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->pid > 0) {
		while (waitpid(t->pid, NULL, WNOHANG) == 0 && fs_now_ms() < t->until_ms)
			poll(NULL, 0, 5);
		kill(t->pid, SIGTERM);
		waitpid(t->pid, NULL, 0);
	}
	if (t->log_fd >= 0)
		close(t->log_fd);
}

/* What pop3d logged as an error, for the finding. */
static void last_error(struct talk *t, char *out, size_t size)
{
	char log[4096];
	ssize_t n = pread(t->log_fd, log, sizeof(log) - 1, 0);
	char *line, *next;

	out[0] = '\0';
	log[n > 0 ? n : 0] = '\0';
	for (line = log; *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		if (strncmp(line, "connect ", 8) != 0)
			snprintf(out, size, "; it logged: %.700s", line);
	}
}

static int __attribute__((format(printf, 2, 3))) ill(struct talk *t, const char *fmt, ...)
{
	char text[ANSWER_MAX + 128], logged[768];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	last_error(t, logged, sizeof(logged));
	finding(t->f, "session", "see the log, and DIAGNOSTICS in pop3d(8)", "%s%s", text, logged);
	return POP_E_MISSING;
}

/* More octets from the server.  0, POP_E_EOF, POP_E_TIME or POP_E_SYS. */
static int fill(struct talk *t)
{
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	int64_t left = t->until_ms - fs_now_ms();
	ssize_t n;

	if (t->from > 0) {
		memmove(t->in, t->in + t->from, t->to - t->from);
		t->to -= t->from;
		t->from = 0;
	}
	if (left <= 0 || poll(&p, 1, (int)left) == 0)
		return POP_E_TIME;
	if (t->to == sizeof(t->in))
		return POP_E_LONG;
	n = read(t->fd, t->in + t->to, sizeof(t->in) - t->to);
	if (n <= 0)
		return n == 0 ? POP_E_EOF : POP_E_SYS;
	t->to += (size_t)n;
	return 0;
}

static int read_line(struct talk *t, char line[ANSWER_MAX])
{
	char *lf;
	size_t len;
	int err;

	while (!(lf = memchr(t->in + t->from, '\n', t->to - t->from))) {
		err = fill(t);
		if (err < 0)
			return ill(t, "pop3d does not answer: %s", pop_strerror(err));
	}
	len = (size_t)(lf - (t->in + t->from));
	if (len > 0 && lf[-1] == '\r')
		snprintf(line, ANSWER_MAX, "%.*s", (int)len - 1, t->in + t->from);
	else
		snprintf(line, ANSWER_MAX, "%.*s", (int)len, t->in + t->from);
	t->from += len + 1;
	return 0;
}

/* Say something (the secret part is not told in a finding) and want +OK. */
static int ask(struct talk *t, const char *verb, const char *rest)
{
	char line[ANSWER_MAX], command[600];
	int n = snprintf(command, sizeof(command), "%s%s%s\r\n", verb, rest[0] ? " " : "", rest);
	bool sent = n > 0 && (size_t)n < sizeof(command) &&
		    send(t->fd, command, (size_t)n, MSG_NOSIGNAL) == n;
	int err = 0;

	explicit_bzero(command, sizeof(command));
	if (verb[0] && !sent)
		return ill(t, "%s cannot be sent", verb);
	err = read_line(t, line);
	if (err == 0 && strncmp(line, "+OK", 3) != 0)
		err = ill(t, "%s is answered by %s", verb[0] ? verb : "the connection", line);
	return err;
}

static int greet(struct talk *t)
{
	char line[ANSWER_MAX];
	int err = read_line(t, line);

	if (err == 0 && strncmp(line, "+OK", 3) != 0)
		err = ill(t, "the greeting is %s", line);
	return err;
}

static int capabilities(struct talk *t, bool *stls)
{
	char line[ANSWER_MAX];
	int err = ask(t, "CAPA", "");

	*stls = false;
	while (err == 0 && (err = read_line(t, line)) == 0 && strcmp(line, ".") != 0)
		*stls = *stls || strcmp(line, "STLS") == 0;
	return err;
}

/* A client's first message in TLS 1.3 or 1.2, RFC 8446 section 4.1.2; its length. */
static size_t client_hello(uint8_t out[256])
{
	static const uint8_t before[] = { 0x16, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3 };
	static const uint8_t ciphers[] = { 0,	 14,   0x13, 1,	   0x13, 2,    0x13, 3, 0xc0,
					   0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 1, 0 };
	static const uint8_t extensions[] = {
		0, 43, 0, 5,  4, 3,  4, 3,  3,				   /* versions */
		0, 10, 0, 6,  0, 4,  0, 29, 0, 23,			   /* X25519, P-256 */
		0, 13, 0, 14, 0, 12, 4, 3,  8, 4,  8, 5, 8, 6, 8, 7, 4, 1, /* signatures */
		0, 11, 0, 2,  1, 0,					   /* point formats */
		0, 51, 0, 38, 0, 36, 0, 29, 0, 32,			   /* a key share follows */
	};
	uint8_t random[32 + 32 + 32];
	size_t n = 0;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return 0;
#define PUT(data, len) (memcpy(out + n, (data), (len)), n += (len))
	PUT(before, sizeof(before));
	PUT(random, 32);
	out[n++] = 32; /* a session id, as middleboxes like it */
	PUT(random + 32, 32);
	PUT(ciphers, sizeof(ciphers));
	out[n++] = 0;
	out[n++] = sizeof(extensions) + 32;
	PUT(extensions, sizeof(extensions));
	PUT(random + 64, 32); /* any 32 octets are a point of X25519 */
#undef PUT
	out[4] = (uint8_t)(n - 5);
	out[8] = (uint8_t)(n - 9);
	return n;
}

/* The server's flight holds its signature, so the key works, too. */
static void handshake(struct talk *t)
{
	uint8_t hello[256];
	size_t n = client_hello(hello);

	if (n == 0 || ask(t, "STLS", "") < 0)
		return;
	t->from = t->to = 0;
	if (send(t->fd, hello, n, MSG_NOSIGNAL) != (ssize_t)n) {
		ill(t, "the handshake cannot be sent");
		return;
	}
	while (t->to - t->from < 6)
		if (fill(t) < 0) {
			ill(t, "TLS does not answer");
			return;
		}
	if (t->in[t->from] != 0x16 || t->in[t->from + 5] != 2)
		ill(t, "TLS answers by an alert");
}

static void one_talk(struct findings *f, void (*say)(struct talk *t, void *ctx), void *ctx)
{
	struct talk t = { .f = f, .pid = -1, .fd = -1, .log_fd = -1 };
	char path[PATH_MAX];

	if (find_pop3d(path) < 0) {
		finding(f, "session", "make install", "there is no pop3d beside pop3admin");
		return;
	}
	if (start(&t, path) < 0)
		finding(f, "session", "try again", "%s cannot be started: %s", path,
			strerror(errno));
	else if (greet(&t) == 0)
		say(&t, ctx);
	end(&t);
}

static void say_capabilities(struct talk *t, void *stls)
{
	const struct conf *conf = &t->f->a->conf;

	if (capabilities(t, stls) < 0)
		return;
	if (conf->tls_certificate[0] && !*(bool *)stls)
		ill(t, "STLS is not offered, though a certificate is configured");
	ask(t, "QUIT", "");
}

static void say_stls(struct talk *t, void *ctx)
{
	(void)ctx;
	handshake(t);
}

static void say_login(struct talk *t, void *ctx)
{
	const char *const *login = ctx;

	if (ask(t, "USER", login[0]) < 0 || ask(t, "PASS", login[1]) < 0)
		return;
	if (ask(t, "STAT", "") == 0)
		ask(t, "QUIT", "");
}

void check_session(struct findings *f, const char *user, const char *password)
{
	const char *login[2] = { user, password };
	size_t before = f->count;
	bool stls = false;

	one_talk(f, say_capabilities, &stls);
	if (stls)
		one_talk(f, say_stls, NULL);
	if (!user || f->count > before)
		return;
	if (f->a->conf.cleartext_login == CLEARTEXT_NO) {
		note(f, "cleartext_login = no: a login is not tried without TLS");
		return;
	}
	one_talk(f, say_login, login);
}
