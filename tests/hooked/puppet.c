/*
 * puppet.c - a role that was taken over: its pairs go to the test, which then says
 * in its place whatever it likes.
 *
 * Runs in:  the role hook_page->puppet_role, with the rights of that role.
 */
#include "hooks.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../../pop3d/role.h"

#define PAIRS_MAX 8

struct hello {
	uint32_t role;
	int32_t pid;
	int32_t n;
};

/* Say who we are, with our descriptors. */
static void say_hello(const int *fds, int n)
{
	struct hello hello = { hook_self, getpid(), n };
	struct iovec iov = { &hello, sizeof(hello) };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * PAIRS_MAX)];
	} control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n),
				 .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS } };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n) };

	memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * (size_t)n);
	if (sendmsg(hook_control, &mh, MSG_NOSIGNAL) < 0)
		_exit(99);
}

/* Receive a message of a pair here, and keep the descriptors in it: how many are ours now? */
static void take_message(int fd)
{
	static char data[8192], room[CMSG_SPACE(sizeof(int) * 253)];
	struct iovec iov = { data, sizeof(data) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = room,
			     .msg_controllen = sizeof(room) };
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	int32_t answer[3] = { 0, 0, 0 };

	poll(&wait, 1, 10000); /* the test may have made it non-blocking */
	answer[0] = (int32_t)recvmsg(fd, &mh, 0);
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm && answer[0] >= 0;
	     cm = CMSG_NXTHDR(&mh, cm))
		answer[1] += (int32_t)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	answer[2] = mh.msg_flags;
	send(hook_control, answer, sizeof(answer), MSG_NOSIGNAL);
}

/* Take one more descriptor of the test's. */
static int take_fd(void)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char text;
	struct iovec iov = { &text, 1 };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room) };
	int fd = -1;

	if (recvmsg(hook_control, &mh, MSG_CMSG_CLOEXEC) > 0 && CMSG_FIRSTHDR(&mh))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(fd));
	return fd;
}

/*
 * Wait for the test: `k` takes a descriptor, which gets the next index; `r` and an
 * index receives; `x` and a status ends.  Its end ends us too.
 */
static int obey(const int *pairs, int n)
{
	int fds[PAIRS_MAX];
	uint8_t order[2];
	struct iovec iov = { order, sizeof(order) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(fds, pairs, sizeof(*fds) * (size_t)n);
	say_hello(fds, n);
	for (;;) {
		/* the calls that every role's filter has */
		if (recvmsg(hook_control, &mh, 0) != sizeof(order))
			return 0;
		if (order[0] == 'x')
			return order[1];
		if (order[0] == 'k' && n < PAIRS_MAX)
			fds[n++] = take_fd();
		if (order[0] == 'r' && order[1] < n)
			take_message(fds[order[1]]);
	}
}

static bool am_puppet(void)
{
	return hook_page && hook_control >= 0 && hook_page->puppet_role == hook_self;
}

#define REAL(name) extern __typeof__(name) __real_##name __attribute__((weak))
REAL(net_run);
REAL(auth_run);
REAL(drop_run);
REAL(tls_run);
REAL(tls_check);
REAL(key_run);
__typeof__(net_run) __wrap_net_run;
__typeof__(auth_run) __wrap_auth_run;
__typeof__(drop_run) __wrap_drop_run;
__typeof__(tls_run) __wrap_tls_run;
__typeof__(tls_check) __wrap_tls_check;
__typeof__(key_run) __wrap_key_run;

int __wrap_net_run(const struct net_start *start)
{
	int fds[] = { start->monitor_fd, start->fd_in };

	return am_puppet() ? obey(fds, 2) : __real_net_run(start);
}

int __wrap_auth_run(const struct auth_start *start)
{
	int fds[] = { start->monitor_fd };

	return am_puppet() ? obey(fds, 1) : __real_auth_run(start);
}

int __wrap_drop_run(struct drop_start *start)
{
	int fds[] = { start->monitor_fd, start->session_fd };

	return am_puppet() ? obey(fds, 2) : __real_drop_run(start);
}

int __wrap_tls_run(const struct tls_start *start)
{
	int fds[] = { start->monitor_fd, start->keeper_fd, start->plain_fd, start->fd_in };

	return am_puppet() ? obey(fds, 4) : __real_tls_run(start);
}

int __wrap_tls_check(const struct tls_start *start)
{
	int fds[] = { start->monitor_fd, start->keeper_fd };

	return am_puppet() ? obey(fds, 2) : __real_tls_check(start);
}

int __wrap_key_run(const struct key_start *start)
{
	int fds[] = { start->monitor_fd, start->tls_fd };

	return am_puppet() ? obey(fds, 2) : __real_key_run(start);
}
