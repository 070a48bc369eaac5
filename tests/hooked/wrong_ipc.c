/*
 * wrong_ipc.c - ipc.c, but one message of a session is said wrongly; see hooks.h.
 *
 * Defects are made from the rule table itself, so that a new message is spoken wrongly
 * the day it is written.  The sender's own book-keeping takes the message for sent.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
static ssize_t hook_sendmsg(int fd, const struct msghdr *mh, int flags);
#define sendmsg hook_sendmsg
#include "../../pop3d/ipc.c"
#undef sendmsg
#include <stdio.h>
#include "hooks.h"

/* For the test: the rule table, one line a message. */
__attribute__((constructor)) static void show_rules(void)
{
	if (!getenv("POP3D_HOOK_RULES"))
		return;
	for (int i = IPC_NONE + 1; i < IPC_N_TYPES; i++) {
		const struct ipc_rule *r = &rules[i];

		printf("%s %d %d %d %d %d %d %d %d %d %u %d\n", r->name, i, r->from, r->to, r->kind,
		       r->phases, r->least, r->most, r->fds_least, r->fds_most, r->uses, r->answer);
	}
	exit(0);
}

/* tests/e2e/test_seam.py names them in this order. */
enum defect {
	DEFECT_TYPE,	    /* arg: the type instead, at its own least size and descriptors */
	DEFECT_SHORT,	    /* one octet below the least size */
	DEFECT_LONG,	    /* one octet above the most */
	DEFECT_LENGTH,	    /* the header says one octet more than there is */
	DEFECT_LENGTH_HUGE, /* ... says 2^32 - 1 */
	DEFECT_NO_HEADER,   /* seven octets in all */
	DEFECT_NOTHING,	    /* a packet of no octet */
	DEFECT_ABOVE_4K,    /* a packet that the receiver's buffer cannot hold */
	DEFECT_FDS_MORE,    /* one descriptor above the most */
	DEFECT_FDS_LESS,    /* one descriptor below the least, or below what came */
	DEFECT_FDS_FLOOD,   /* as many as the kernel lets pass */
	DEFECT_VERSION,	    /* another version than the message has to carry */
	DEFECT_TWICE,	    /* the right message, and once more */
	DEFECT_USES,	    /* the right message once more often than the table allows */
	DEFECT_ENDLESS,	    /* the right message until there is no room for more */
	DEFECT_TAIL,	    /* an octet behind the payload, within the bounds */
	DEFECT_CUT,	    /* the last octet missing, within the bounds */
	DEFECT_OCTETS,	    /* every octet of the payload is arg */
	DEFECT_OCTET,	    /* the octet at arg >> 8 is arg & 255 */
	DEFECT_FD_KIND,	    /* the descriptors are /dev/null's */
	DEFECT_N
};

struct packet {
	uint16_t type, version;
	uint32_t said_len;
	size_t len; /* octets of payload */
	unsigned n_fds;
	int fds[253];
	uint8_t payload[8192];
};

static void take_apart(const struct msghdr *mh, struct packet *p)
{
	const uint8_t *head = mh->msg_iov[0].iov_base;
	const struct cmsghdr *cm = mh->msg_controllen > 0 ? mh->msg_control : NULL;

	memset(p, 0, sizeof(*p));
	memcpy(&p->type, head, 2);
	memcpy(&p->version, head + 2, 2);
	memcpy(&p->said_len, head + 4, 4);
	p->len = mh->msg_iov[1].iov_len;
	memcpy(p->payload, mh->msg_iov[1].iov_base, p->len);
	if (cm) {
		p->n_fds = (unsigned)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(p->fds, CMSG_DATA(cm), p->n_fds * sizeof(int));
	}
}

/* octets: of header and payload together. */
static ssize_t say(int fd, const struct packet *p, size_t octets)
{
	static uint8_t data[IPC_HEADER + sizeof(p->payload)];
	static union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * 253)];
	} control;
	struct iovec iov = { data, octets };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(data, &p->type, 2);
	memcpy(data + 2, &p->version, 2);
	memcpy(data + 4, &p->said_len, 4);
	memcpy(data + IPC_HEADER, p->payload, sizeof(p->payload));
	if (p->n_fds > 0) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = control.room;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * p->n_fds);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * p->n_fds);
		memcpy(CMSG_DATA(&control.align), p->fds, sizeof(int) * p->n_fds);
	}
	return sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void resize(struct packet *p, size_t len)
{
	p->len = len;
	p->said_len = (uint32_t)len;
}

/* A descriptor that anybody has: our end of the pair. */
static void give_fds(struct packet *p, int fd, unsigned n)
{
	while (p->n_fds < n)
		p->fds[p->n_fds++] = fd;
	p->n_fds = n;
}

/* Once more and once more; a request or a note, as it is allowed to come often. */
static void repeat(int fd, struct packet *p, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		if (say(fd, p, IPC_HEADER + p->len) < 0)
			break;
		p->version = 0;
	}
}

static void change(struct packet *p, int fd, const struct ipc_rule *r, enum defect defect,
		   uint32_t arg)
{
	switch (defect) {
	case DEFECT_TYPE:
		p->type = (uint16_t)arg;
		r = arg < IPC_N_TYPES ? &rules[arg] : r;
		resize(p, r->least);
		give_fds(p, fd, r->fds_least);
		break;
	case DEFECT_SHORT:
		resize(p, r->least - 1U);
		break;
	case DEFECT_LONG:
		resize(p, r->most + 1U);
		break;
	case DEFECT_LENGTH:
		p->said_len++;
		break;
	case DEFECT_LENGTH_HUGE:
		p->said_len = UINT32_MAX;
		break;
	case DEFECT_ABOVE_4K:
		resize(p, IPC_MAX);
		break;
	case DEFECT_FDS_MORE:
		give_fds(p, fd, r->fds_most + 1U);
		break;
	case DEFECT_FDS_LESS:
		give_fds(p, fd, r->fds_least > 0 ? r->fds_least - 1U : 0);
		break;
	case DEFECT_FDS_FLOOD:
		give_fds(p, fd, 253);
		break;
	case DEFECT_VERSION:
		p->version = p->version ? p->version + 1U : IPC_VERSION;
		break;
	case DEFECT_TAIL:
		resize(p, p->len + 1);
		break;
	case DEFECT_CUT:
		resize(p, p->len - 1);
		break;
	case DEFECT_OCTETS:
		memset(p->payload, (int)arg, p->len);
		break;
	case DEFECT_OCTET:
		if ((arg >> 8) < p->len)
			p->payload[arg >> 8] = (uint8_t)arg;
		break;
	case DEFECT_FD_KIND:
		for (unsigned i = 0; i < p->n_fds; i++)
			p->fds[i] = 2; /* in every role that sends any */
		break;
	default:
		break;
	}
}

static void say_wrongly(int fd, const struct msghdr *mh, const struct ipc_rule *r)
{
	static struct packet p;
	enum defect defect = (enum defect)hook_page->wrong_defect;

	take_apart(mh, &p);
	change(&p, fd, r, defect, hook_page->wrong_arg);
	if (defect == DEFECT_NO_HEADER)
		say(fd, &p, IPC_HEADER - 1);
	else if (defect == DEFECT_NOTHING)
		say(fd, &p, 0);
	else
		repeat(fd, &p,
		       defect == DEFECT_TWICE	  ? 2
		       : defect == DEFECT_USES	  ? r->uses + 1U
		       : defect == DEFECT_ENDLESS ? 1000000
						  : 1);
	hook_page->said_wrong = 1;
}

static ssize_t hook_sendmsg(int fd, const struct msghdr *mh, int flags)
{
	const struct ipc_rule *r;
	uint32_t nth, at;
	uint16_t type;

	if (!hook_page)
		return sendmsg(fd, mh, flags);
	memcpy(&type, mh->msg_iov[0].iov_base, 2);
	r = &rules[type];
	nth = __atomic_add_fetch(&hook_page->said[r->from][r->to], 1, __ATOMIC_SEQ_CST);
	at = __atomic_fetch_add(&hook_page->n_sent, 1, __ATOMIC_SEQ_CST);
	if (at < HOOK_SENT)
		hook_page->sent[at] = (struct hook_sent){ r->from, r->to, type };
	if (hook_page->wrong_nth == 0 || r->from != hook_page->wrong_from ||
	    r->to != hook_page->wrong_to || nth != hook_page->wrong_nth)
		return sendmsg(fd, mh, flags);
	say_wrongly(fd, mh, r);
	return (ssize_t)(mh->msg_iov[0].iov_len + mh->msg_iov[1].iov_len);
}
