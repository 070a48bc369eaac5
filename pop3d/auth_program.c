/*
 * auth_program.c - users = checkpassword:PROGRAM: let a program judge, by the
 * interface that qmail's servers made common.
 *
 * Runs in:  auth, which is root here (with SETUID, SETGID, SYS_CHROOT and CHOWN
 *           at most), since the program becomes the user.
 * Trusts:   the program, which the administrator named.  Of who it became only
 *           the kernel's word; not the client.
 *
 * The program finds "name NUL password NUL timestamp NUL" on descriptor 3.  Where
 * the password is right it becomes the user and executes its arguments, which
 * end in pop3d-checked; that one reports on descriptor 4.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "auth.h"
#include "chk.h"
#include "fsutil.h"

#define PREFIX	    "checkpassword:"
#define DEADLINE_MS 30000
#define ARGS_MAX    32
#define FD_ABOVE    10	/* out of the way of 3 and 4 */
#define NOT_RUN	    126 /* our own exit status: the program could not be executed */

struct run {
	struct auth *a;
	pid_t pid;
	int report_fd, feed_fd;
	int64_t deadline_ms;
	bool reported;
};

bool auth_by_program(const struct conf *conf)
{
	return strncmp(conf->users, PREFIX, sizeof(PREFIX) - 1) == 0;
}

/* The words of the configuration, then pop3d-checked; they lie in text. */
static void make_argv(const struct conf *conf, char *text, size_t size, char *checked,
		      char *argv[ARGS_MAX + 2])
{
	size_t n = 0;
	char *p = text;

	snprintf(text, size, "%s", conf->users + sizeof(PREFIX) - 1);
	while (n < ARGS_MAX) {
		p += strspn(p, " \t");
		if (*p == '\0')
			break;
		argv[n++] = p;
		p += strcspn(p, " \t");
		if (*p)
			*p++ = '\0';
	}
	argv[n++] = checked;
	argv[n] = NULL;
}

/* In the child, until exec. */
static void become_program(const struct auth *a, int feed, int report)
{
	char text[PATH_MAX + 1024], checked[PATH_MAX], *argv[ARGS_MAX + 2];
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	snprintf(checked, sizeof(checked), "%s/pop3d-checked", a->conf->helper_dir);
	make_argv(a->conf, text, sizeof(text), checked, argv);
	setpgid(0, 0);
	sigaction(SIGPIPE, &dfl, NULL);
	if (a->start->address[0]) {
		setenv("TCPREMOTEIP", a->start->address, 1);
		setenv("REMOTE_ADDR", a->start->address, 1);
	}
	if (dup2(feed, 3) < 0 || dup2(report, CHK_REPORT_FD) < 0)
		_exit(NOT_RUN);
	execv(argv[0], argv);
	_exit(NOT_RUN);
}

/* A descriptor above those that the program is given, closed on exec. */
static int raise_fd(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_ABOVE);

	close(fd);
	return high;
}

static int start(struct run *r)
{
	int feed[2], report[2], on = 1;

	if (pipe2(feed, O_CLOEXEC) < 0)
		return POP_E_SYS;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0) {
		close(feed[0]);
		close(feed[1]);
		return POP_E_SYS;
	}
	for (int i = 0; i < 2; i++) {
		feed[i] = raise_fd(feed[i]);
		report[i] = raise_fd(report[i]);
	}
	r->pid = -1;
	if (setsockopt(report[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0)
		r->pid = fork();
	if (r->pid == 0)
		become_program(r->a, feed[0], report[1]);
	close(feed[0]);
	close(report[1]);
	r->feed_fd = feed[1];
	r->report_fd = report[0];
	return r->pid < 0 ? POP_E_SYS : 0;
}

/* At most some 800 octets, which a pipe takes without waiting. */
static void feed(struct run *r, const char *name, const char *password, const char *timestamp)
{
	char text[USER_NAME_MAX + USER_PASSWORD_MAX + 512];
	const char *parts[3] = { name, password, timestamp };
	size_t used = 0;

	for (int i = 0; i < 3; i++) {
		size_t len = strnlen(parts[i], sizeof(text) - used - 1);

		memcpy(text + used, parts[i], len);
		used += len;
		text[used++] = '\0';
	}
	/* one that does not want to know tells by its exit status */
	(void)!fs_write_all(r->feed_fd, text, used);
	explicit_bzero(text, sizeof(text));
	close(r->feed_fd);
	r->feed_fd = -1;
}

/* Three strings, each ended by NUL, and nothing behind them. */
static int split_report(const char *text, size_t len, struct user *u)
{
	const char *part[3], *end = text + len;

	for (int i = 0; i < 3; i++) {
		const char *nul = memchr(text, '\0', (size_t)(end - text));

		if (!nul)
			return POP_E_SYNTAX;
		part[i] = text;
		text = nul + 1;
	}
	if (text != end || strlen(part[1]) >= sizeof(u->home) ||
	    strlen(part[2]) >= sizeof(u->maildrop))
		return POP_E_SYNTAX;
	/* the program may know the user by a better name than was typed */
	if (user_name_ok(part[0], strlen(part[0])))
		snprintf(u->name, sizeof(u->name), "%.*s", USER_NAME_MAX, part[0]);
	snprintf(u->home, sizeof(u->home), "%s", part[1][0] == '/' ? part[1] : "");
	snprintf(u->maildrop, sizeof(u->maildrop), "%s", part[2]);
	return 0;
}

/* One message with the kernel's word on who sent it.  False at the end of all of them. */
static bool take_report(struct run *r, struct judgement *j)
{
	char text[CHK_REPORT_MAX];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = { text, sizeof(text) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(r->report_fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&mh) : NULL;
	struct ucred who;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	if ((mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !cm || cm->cmsg_level != SOL_SOCKET ||
	    cm->cmsg_type != SCM_CREDENTIALS || cm->cmsg_len != CMSG_LEN(sizeof(who)) ||
	    r->reported)
		return true;
	memcpy(&who, CMSG_DATA(cm), sizeof(who));
	if (split_report(text, (size_t)n, &j->user) == 0) {
		j->user.uid = who.uid;
		j->user.gid = who.gid;
		r->reported = true;
	}
	return true;
}

/* Wait until the program and its heirs are done with descriptor 4, and for its status. */
static int wait_end(struct run *r, struct judgement *j, int *status)
{
	bool open = true;

	for (;;) {
		struct pollfd fds[2] = { { .fd = open ? r->report_fd : -1, .events = POLLIN },
					 { .fd = r->a->monitor.fd, .events = 0 } };
		int64_t left = r->deadline_ms - fs_now_ms();
		int ready;

		if (!open && waitpid(r->pid, status, WNOHANG) == r->pid)
			return 0;
		if (left <= 0)
			return POP_E_TIME;
		ready = poll(fds, 2, open ? (int)left : 10);
		if (ready > 0 && fds[1].revents)
			return POP_E_EOF;
		if (ready > 0 && fds[0].revents)
			open = take_report(r, j);
		if (r->reported && open && waitpid(r->pid, status, WNOHANG) == r->pid)
			return 0;
	}
}

/* What is left of the group; a process that has become another uid ends by itself. */
static void end_program(struct run *r)
{
	int status;

	kill(-r->pid, SIGKILL);
	for (int i = 0; i < 100 && waitpid(r->pid, &status, WNOHANG) == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static enum ipc_verdict verdict_of(const struct run *r, int status, struct judgement *j)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (code == 0 && r->reported)
		return VERDICT_OK;
	if (code == 1)
		return VERDICT_AUTH;
	if (code == 111)
		pop_why(&j->note, 0, "checkpassword: a temporary failure (exit status 111)");
	else if (code == NOT_RUN)
		pop_why(&j->note, 0, "%s: the program cannot be executed", r->a->conf->users);
	else if (code == 0)
		pop_why(&j->note, 0, "checkpassword: pop3d-checked has not reported");
	else if (code < 0)
		pop_why(&j->note, 0, "checkpassword: killed by signal %d", WTERMSIG(status));
	else
		pop_why(&j->note, 0, "checkpassword: exit status %d", code);
	return code == 111 ? VERDICT_TEMP : VERDICT_PERM;
}

static enum ipc_verdict run(struct auth *a, const char *name, const char *password,
			    const char *timestamp, struct judgement *j)
{
	struct run r = { .a = a, .feed_fd = -1, .deadline_ms = fs_now_ms() + DEADLINE_MS };
	enum ipc_verdict verdict = VERDICT_TEMP;
	char checked[PATH_MAX];
	int status = 0, err;

	j->user.uid = j->user.gid = USER_NO_ID;
	snprintf(j->user.name, sizeof(j->user.name), "%.*s", USER_NAME_MAX, name);
	snprintf(checked, sizeof(checked), "%s/pop3d-checked", a->conf->helper_dir);
	if (access(checked, X_OK) < 0) {
		pop_why_errno(&j->note, "%s", checked);
		return VERDICT_PERM;
	}
	if (start(&r) < 0) {
		pop_why_errno(&j->note, "checkpassword");
		goto out;
	}
	feed(&r, name, password, timestamp);
	err = wait_end(&r, j, &status);
	if (err == 0)
		verdict = verdict_of(&r, status, j);
	else if (err == POP_E_TIME)
		pop_why(&j->note, 0, "checkpassword: no end within %d s", DEADLINE_MS / 1000);
	if (err < 0)
		end_program(&r);
out:
	if (r.feed_fd >= 0)
		close(r.feed_fd);
	if (r.report_fd > 0)
		close(r.report_fd);
	return verdict;
}

/* Every name that the login may stand for, until one is right. */
static void judge(struct auth *a, const char *login, const char *password, const char *timestamp,
		  struct judgement *j)
{
	char names[2][USER_NAME_MAX + 1];
	int n = auth_names(a, login, names);

	j->verdict = VERDICT_AUTH;
	if (!auth_brake(a, login, j))
		return;
	for (int i = 0; i < n && j->verdict == VERDICT_AUTH; i++)
		j->verdict = run(a, names[i], password, timestamp, j);
	if (j->verdict == VERDICT_OK)
		auth_accept(a, j);
	else
		snprintf(j->user.name, sizeof(j->user.name), "%.*s", USER_NAME_MAX, login);
}

void auth_program(struct auth *a, const char *login, const char *password, struct judgement *j)
{
	judge(a, login, password, "", j);
}

void auth_program_apop(struct auth *a, const char *login, const char *digest, struct judgement *j)
{
	judge(a, login, digest, a->start->apop, j);
}
