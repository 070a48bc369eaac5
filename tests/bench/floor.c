/*
 * floor.c - the least that a server of several processes can cost.
 *
 * Runs in:  the benchmark, under the same launcher as the servers.
 * Does:     forks CHILDREN processes that wait on a socket pair (0, 1 or 2 of them, and more
 *           when asked), writes a greeting, answers every line with one +OK, ends at QUIT.
 *
 * It has no configuration, no password and no mail: what a server needs above it is the server's
 * own work.  The child forked last speaks to the client, as a server with separated privileges
 * would; the parent waits for all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void speak(void)
{
	static const char hello[] = "+OK ready\r\n", ok[] = "+OK 0 0\r\n";
	char line[4096];
	ssize_t n;

	if (write(1, hello, sizeof(hello) - 1) < 0)
		_exit(1);
	while ((n = read(0, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		if (write(1, ok, sizeof(ok) - 1) < 0 || strncasecmp(line, "QUIT", 4) == 0)
			break;
	}
}

int main(int argc, char **argv)
{
	int children = argc > 1 ? argv[1][0] - '0' : 2;
	int pair[9][2];
	char c;

	if (children < 0 || children > 9)
		return 64;
	for (int i = 0; i < children; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair[i]) < 0)
			return 71;
		switch (fork()) {
		case -1:
			return 71;
		case 0:
			for (int k = 0; k <= i; k++)
				close(pair[k][0]);
			if (i == children - 1)
				speak();
			else if (read(pair[i][1], &c, 1) < 0)
				_exit(1);
			_exit(0);
		default:
			close(pair[i][1]);
		}
	}
	if (children == 0)
		speak();
	else
		c = (char)read(pair[children - 1][0], &c, 1);
	for (int i = 0; i < children; i++)
		close(pair[i][0]);
	while (wait(NULL) > 0)
		;
	return 0;
}
