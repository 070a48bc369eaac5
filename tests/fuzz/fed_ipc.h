/*
 * fed_ipc.h - the message protocol, with packets out of an input in place of
 * sockets: what a role hears is hostile, what it says is looked at.
 *
 * Included by a harness, once; ipc.c becomes part of it.
 *
 * A packet of the input: type (octet); how (octet, FED_*); the length of the
 * payload (2 octets); the payload.
 */
#ifndef POP3D_FED_IPC_H
#define POP3D_FED_IPC_H

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "fuzz.h"

static ssize_t fed_recvmsg(int fd, struct msghdr *mh, int flags);
static ssize_t fed_sendmsg(int fd, const struct msghdr *mh, int flags);
#define recvmsg fed_recvmsg
#define sendmsg fed_sendmsg
#include "../../pop3d/ipc.c"
#undef recvmsg
#undef sendmsg

enum {
	FED_FDS = 3,	       /* so many descriptors */
	FED_SEALED = 4,	       /* they are sealed memfds with the payload of the packet before */
	FED_WRONG_VERSION = 8, /* each wrong in one way */
	FED_WRONG_LENGTH = 16,
	FED_TRUNCATED = 32,
	FED_END = 64, /* no packet: the pair ends */
};
#define FED_PAIRS 8

static struct {
	struct fuzz_in in;
	int heard[FED_PAIRS], n_heard; /* descriptors on which the version has passed */
	uint8_t last[IPC_PAYLOAD_MAX]; /* the last payload that asked for no descriptor */
	size_t last_len;
	/* called for what a role says, before it goes nowhere; may be NULL */
	void (*said)(int fd, enum ipc_type type, const uint8_t *payload, size_t len,
		     unsigned n_fds);
	/* answers in the place of the input where it returns true; may be NULL */
	bool (*answer)(int fd, struct ipc_msg *m);
} fed;

static void fed_begin(const uint8_t *data, size_t size)
{
	fed.in = (struct fuzz_in){ data, data + size };
	fed.n_heard = 0;
	fed.last_len = 0;
}

/* A descriptor to stand for a pair's end. */
static int fed_fd(void)
{
	int fd = dup(fuzz_file(FUZZ_FILES - 1, "", 0));

	MUST(fd >= 0);
	/* whoever had this number before was somebody else */
	for (int i = 0; i < fed.n_heard; i++)
		if (fed.heard[i] == fd)
			fed.heard[i] = -1;
	return fd;
}

static bool fed_first(int fd)
{
	for (int i = 0; i < fed.n_heard; i++)
		if (fed.heard[i] == fd)
			return false;
	if (fed.n_heard < FED_PAIRS)
		fed.heard[fed.n_heard++] = fd;
	return true;
}

static void fed_put_fds(struct msghdr *mh, const int *fds, unsigned n)
{
	struct cmsghdr *cm = mh->msg_control;

	if (n == 0)
		return;
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(cm), fds, sizeof(int) * n);
	mh->msg_controllen = CMSG_SPACE(sizeof(int) * n);
}

static int fed_descriptor(uint8_t how)
{
	int fd;

	if (!(how & FED_SEALED))
		return fed_fd();
	fd = memfd_create("fed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	MUST(fd >= 0 &&
	     (fed.last_len == 0 || write(fd, fed.last, fed.last_len) == (ssize_t)fed.last_len));
	MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0);
	return fd;
}

static ssize_t fed_deliver(struct msghdr *mh, uint16_t type, uint16_t version, uint32_t said_len,
			   const void *payload, size_t len)
{
	uint8_t *head = mh->msg_iov[0].iov_base;

	memcpy(head, &type, 2);
	memcpy(head + 2, &version, 2);
	memcpy(head + 4, &said_len, 4);
	MUST(len <= mh->msg_iov[1].iov_len);
	if (len > 0)
		memcpy(mh->msg_iov[1].iov_base, payload, len);
	mh->msg_flags = 0;
	return (ssize_t)(IPC_HEADER + len);
}

static ssize_t fed_recvmsg(int fd, struct msghdr *mh, int flags)
{
	static struct ipc_msg answer;
	const uint8_t *payload;
	uint8_t type, how;
	uint16_t version = fed_first(fd) ? IPC_VERSION : 0;
	int fds[FED_FDS];
	size_t len;
	ssize_t n;

	(void)flags;
	mh->msg_controllen = 0;
	if (fed.answer && fed.answer(fd, &answer)) {
		fed_put_fds(mh, answer.fds, answer.n_fds);
		return fed_deliver(mh, (uint16_t)answer.type, version, (uint32_t)answer.len,
				   answer.payload, answer.len);
	}
	if (fed.in.p == fed.in.end)
		return 0;
	type = fuzz_u8(&fed.in);
	how = fuzz_u8(&fed.in);
	len = fuzz_bytes(&fed.in, fuzz_u16(&fed.in) % (IPC_PAYLOAD_MAX + 1), &payload);
	if (how & FED_END)
		return 0;
	for (unsigned i = 0; i < (how & FED_FDS); i++)
		fds[i] = fed_descriptor(how);
	fed_put_fds(mh, fds, how & FED_FDS);
	n = fed_deliver(mh, type, how & FED_WRONG_VERSION ? version ^ 1u : version,
			(uint32_t)len + !!(how & FED_WRONG_LENGTH), payload, len);
	if (how & FED_TRUNCATED)
		mh->msg_flags = MSG_TRUNC;
	if (!(how & FED_FDS) && len > 0) {
		memcpy(fed.last, payload, len);
		fed.last_len = len;
	}
	return n;
}

static ssize_t fed_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	const struct cmsghdr *cm = mh->msg_controllen ? CMSG_FIRSTHDR(mh) : NULL;
	uint16_t type;

	(void)flags;
	memcpy(&type, mh->msg_iov[0].iov_base, 2);
	MUST(type > IPC_NONE && type < IPC_N_TYPES);
	if (fed.said)
		fed.said(fd, (enum ipc_type)type, mh->msg_iov[1].iov_base, mh->msg_iov[1].iov_len,
			 cm ? (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0);
	return (ssize_t)(IPC_HEADER + mh->msg_iov[1].iov_len);
}

#endif
