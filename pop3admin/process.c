/*
 * process.c - look at a process of the server, and end it.
 *
 * Runs in:  pop3admin.
 * Trusts:   the kernel.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "err.h"
#include "fsutil.h"

int process_program(pid_t pid, char name[PATH_MAX])
{
	static const char deleted[] = " (deleted)"; /* an upgrade replaced the file */
	const size_t cut = sizeof(deleted) - 1;
	char path[64];
	const char *base;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/exe", (long)pid);
	n = readlink(path, name, PATH_MAX - 1);
	if (n > 0) {
		name[n] = '\0';
		if ((size_t)n > cut && strcmp(name + n - cut, deleted) == 0)
			name[(size_t)n - cut] = '\0';
		base = strrchr(name, '/');
		if (base)
			memmove(name, base + 1, strlen(base + 1) + 1);
		return 0;
	}
	if ((errno != EACCES && errno != EPERM) || geteuid() == 0)
		return POP_E_SYS;
	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
	fd = fs_open_at(AT_FDCWD, path, FS_LINKS_ALL, O_RDONLY, 0);
	if (fd < 0)
		return POP_E_SYS;
	n = read(fd, name, 64);
	close(fd);
	if (n <= 0)
		return POP_E_SYS;
	name[n] = '\0';
	name[strcspn(name, "\n")] = '\0';
	/* a role names itself behind the program: pop3d-maildrop */
	if (strncmp(name, SERVER "-", sizeof(SERVER)) == 0)
		name[sizeof(SERVER) - 1] = '\0';
	return 0;
}

int process_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int process_terminate(int pidfd)
{
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) == 0 || errno == ESRCH)
		return 0;
	return -1;
}

int process_wait(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int64_t until = fs_now_ms() + PROCESS_END_WAIT_MS;
	int n;

	do {
		int64_t left = until - fs_now_ms();

		n = poll(&p, 1, left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}
