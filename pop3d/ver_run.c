/*
 * ver_run.c - the verifier role: start oauth_verifier when it is wanted, and end it.
 *
 * Runs in:  verifier, as oauth_user, with the file system.  It is made before the
 *           monitor's filter of system calls is in force, since the program is
 *           anything that an administrator names.
 * Trusts:   the monitor and the configuration.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <sys/wait.h>
#include <unistd.h>
#include "role.h"

#define ARGS_MAX    32
#define DEADLINE_MS 35000 /* auth waits for 30 s */

/* The words of the configuration; they lie in text. */
static void make_argv(char *text, char *argv[ARGS_MAX + 1])
{
	size_t n = 0;

	while (n < ARGS_MAX) {
		text += strspn(text, " \t");
		if (*text == '\0')
			break;
		argv[n++] = text;
		text += strcspn(text, " \t");
		if (*text)
			*text++ = '\0';
	}
	argv[n] = NULL;
}

/* In the child, until exec. */
static void become_program(const struct ver_start *start, int in, int out)
{
	char text[PATH_MAX + 1024], *argv[ARGS_MAX + 1];
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	snprintf(text, sizeof(text), "%s", start->conf->oauth_verifier);
	make_argv(text, argv);
	sigaction(SIGPIPE, &dfl, NULL);
	if (start->address[0]) {
		setenv("TCPREMOTEIP", start->address, 1);
		setenv("REMOTE_ADDR", start->address, 1);
	}
	if (!argv[0] || dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(EX_OSERR);
	execv(argv[0], argv);
	dprintf(1, "!%s: %s\n", argv[0], strerror(errno));
	_exit(EX_UNAVAILABLE);
}

/* Start it in a process group of its own; its pid, or -1: auth finds no answer then. */
static pid_t start_program(const struct ver_start *start, struct ipc_msg *m)
{
	int in = ipc_take_fd(m), out = ipc_take_fd(m);
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		become_program(start, in, out);
	}
	if (pid > 0)
		setpgid(pid, pid); /* both do it: whoever comes first */
	close(in);
	close(out);
	return pid;
}

/* It, and what it has left behind in its group. */
static void end_program(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(-pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int ver_run(const struct ver_start *start)
{
	struct ipc monitor;
	struct ipc_msg m;
	pid_t pid = -1;
	int err;

	ipc_init(&monitor, start->monitor_fd, ROLE_VERIFIER, ROLE_MONITOR, PH_AUTH);
	for (;;) {
		struct pollfd fd = { .fd = monitor.fd, .events = POLLIN };
		int ready = poll(&fd, 1, pid > 0 ? DEADLINE_MS : -1);

		if (ready < 0 && errno == EINTR)
			continue;
		/* its time is over, or another one is wanted, or nobody is there any more */
		end_program(pid);
		pid = -1;
		if (ready == 0)
			continue;
		err = ipc_recv(&monitor, &m);
		if (err < 0)
			return err == POP_E_EOF ? EX_OK : EX_PROTOCOL;
		ipc_get_u8(&m);
		pid = start_program(start, &m);
		ipc_wipe(&m);
	}
}
