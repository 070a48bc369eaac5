/*
 * ipc.c - the rules of the message catalogue, and the pairs it travels on.
 *
 * Runs in:  every role.
 * Trusts:   nothing that it receives.
 */
#include "ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum ipc_kind { REQUEST, ANSWER, NOTE };

struct ipc_rule {
	const char *name;
	uint8_t from, to;
	uint8_t kind;
	uint8_t phases;
	uint16_t least, most; /* octets of payload */
	uint8_t fds_least, fds_most;
	uint32_t uses;	/* at most so many on one pair; 0: no bound */
	uint8_t answer; /* of a request */
};

#define MON ROLE_MONITOR
#define SES ROLE_SESSION
#define AUT ROLE_AUTH
#define DRP ROLE_MAILDROP
#define DIG ROLE_DIGEST
#define TLS ROLE_TLS
#define KEY ROLE_KEEPER
#define VER ROLE_VERIFIER
#define ANY (PH_AUTH | PH_OPEN | PH_TRANS | PH_END)

/* clang-format off */
static const struct ipc_rule rules[IPC_N_TYPES] = {
	/*                       name               from to   kind     phases    octets      fds   uses  answer */
	[IPC_LOGIN_ASK]       = { "LOGIN_ASK",       SES, MON, REQUEST, PH_AUTH,  5, 1024,    0, 0, 128,  IPC_LOGIN_ANSWER },
	[IPC_LOGIN_ANSWER]    = { "LOGIN_ANSWER",    MON, SES, ANSWER,  ANY,     27, 27,      0, 1, 128,  0 },
	[IPC_SESSION_END]     = { "SESSION_END",     SES, MON, NOTE,    ANY,     41, 41,      0, 0, 1,    0 },
	[IPC_PROXY]           = { "PROXY",           SES, MON, NOTE,    PH_AUTH, 24, 128,     0, 0, 1,    0 },
	[IPC_SASL_ASK]        = { "SASL_ASK",        SES, MON, REQUEST, PH_AUTH,  2, 3074,    0, 0, 0,    IPC_SASL_ANSWER },
	[IPC_SASL_ANSWER]     = { "SASL_ANSWER",     MON, SES, ANSWER,  ANY,      1, 3073,    0, 1, 0,    0 },
	[IPC_MECHS_ASK]       = { "MECHS_ASK",       SES, MON, REQUEST, PH_AUTH,  1, 1,       0, 0, 4,    IPC_MECHS_ANSWER },
	[IPC_MECHS_ANSWER]    = { "MECHS_ANSWER",    MON, SES, ANSWER,  PH_AUTH,  4, 4,       0, 0, 4,    0 },
	[IPC_AUTH_ASK]        = { "AUTH_ASK",        MON, AUT, REQUEST, PH_AUTH,  5, 1024,    0, 2, 128,  IPC_AUTH_ANSWER },
	[IPC_AUTH_ANSWER]     = { "AUTH_ANSWER",     AUT, MON, ANSWER,  PH_AUTH, 38, 4088,    0, 0, 128,  0 },
	[IPC_AUTH_SASL_ASK]   = { "AUTH_SASL_ASK",   MON, AUT, REQUEST, PH_AUTH,  2, 3074,    0, 2, 0,    IPC_AUTH_SASL_ANSWER },
	[IPC_AUTH_SASL_ANSWER] = { "AUTH_SASL_ANSWER", AUT, MON, ANSWER, PH_AUTH, 1, 4088,    0, 0, 0,    0 },
	[IPC_AUTH_START]      = { "AUTH_START",      MON, AUT, NOTE,    PH_AUTH, 52, 4088,    0, 1, 1,    0 },
	[IPC_AUTH_DOMAINS]    = { "AUTH_DOMAINS",    MON, AUT, NOTE,    PH_AUTH, 12, 12,      1, 1, 1,    0 },
	[IPC_AUTH_TLS]        = { "AUTH_TLS",        MON, AUT, NOTE,    PH_AUTH, 49, 1024,    0, 0, 1,    0 },
	[IPC_SECRETS_ASK]     = { "SECRETS_ASK",     AUT, MON, REQUEST, PH_AUTH,  1, 1,       0, 0, 0,    IPC_SECRETS_ANSWER },
	[IPC_SECRETS_ANSWER]  = { "SECRETS_ANSWER",  MON, AUT, ANSWER,  PH_AUTH,  1, 1,       0, 1, 0,    0 },
	[IPC_VERIFIER_ASK]    = { "VERIFIER_ASK",    AUT, MON, REQUEST, PH_AUTH,  1, 1,       0, 0, 128,  IPC_VERIFIER_ANSWER },
	[IPC_VERIFY]          = { "VERIFY",          MON, VER, NOTE,    PH_AUTH,  1, 1,       2, 2, 128,  0 },
	[IPC_VERIFIER_ANSWER] = { "VERIFIER_ANSWER", MON, AUT, ANSWER,  PH_AUTH,  1, 1,       0, 2, 128,  0 },
	[IPC_BRAKE_KEY]       = { "BRAKE_KEY",       MON, AUT, NOTE,    PH_AUTH, 16, 16,      0, 0, 1,    0 },
	[IPC_BRAKE_ASK]       = { "BRAKE_ASK",       AUT, MON, REQUEST, PH_AUTH, 17, 17,      0, 0, 0,    IPC_BRAKE_ANSWER },
	[IPC_BRAKE_ANSWER]    = { "BRAKE_ANSWER",    MON, AUT, ANSWER,  PH_AUTH, 21, 21,      0, 0, 0,    0 },
	[IPC_UPGRADE]         = { "UPGRADE",         AUT, MON, NOTE,    ANY,      6, 2048,    0, 0, 128,  0 },
	[IPC_DROP_READY]      = { "DROP_READY",      DRP, MON, NOTE,    PH_OPEN, 20, 1024,    0, 0, 1,    0 },
	[IPC_DOTLOCK_ASK]     = { "DOTLOCK_ASK",     DRP, MON, REQUEST, ANY,      1, 1,       0, 0, 100000, IPC_DOTLOCK_ANSWER },
	[IPC_DOTLOCK_ANSWER]  = { "DOTLOCK_ANSWER",  MON, DRP, ANSWER,  ANY,      3, 1024,    0, 0, 100000, 0 },
	[IPC_DIGESTER_ASK]    = { "DIGESTER_ASK",    DRP, MON, REQUEST, ANY,      1, 1,       0, 0, 2,    IPC_DIGESTER_ANSWER },
	[IPC_DIGESTER_ANSWER] = { "DIGESTER_ANSWER", MON, DRP, ANSWER,  ANY,      1, 1,       0, 1, 2,    0 },
	[IPC_DROP_NOTE]       = { "DROP_NOTE",       DRP, MON, NOTE,    ANY,      3, 1024,    0, 0, 32,   0 },
	[IPC_LIST_ASK]        = { "LIST_ASK",        SES, DRP, REQUEST, PH_TRANS, 1, 1,       0, 0, 4,    IPC_LIST_ANSWER },
	[IPC_LIST_ANSWER]     = { "LIST_ANSWER",     DRP, SES, ANSWER,  PH_TRANS, 9, 9,       0, 1, 4,    0 },
	[IPC_MESSAGE_ASK]     = { "MESSAGE_ASK",     SES, DRP, REQUEST, PH_TRANS, 9, 9,       0, 0, 0,    IPC_MESSAGE_ANSWER },
	[IPC_MESSAGE_ANSWER]  = { "MESSAGE_ANSWER",  DRP, SES, ANSWER,  PH_TRANS, 3, 2304,    0, IPC_BATCH_MAX, 0, 0 },
	[IPC_QUIT_ASK]        = { "QUIT_ASK",        SES, DRP, REQUEST, PH_TRANS, 8, 8,       0, 1, 1,    IPC_QUIT_ANSWER },
	[IPC_QUIT_ANSWER]     = { "QUIT_ANSWER",     DRP, SES, ANSWER,  PH_TRANS, 9, 9,       0, 0, 1,    0 },
	[IPC_RETRIEVED]       = { "RETRIEVED",       SES, DRP, NOTE,    PH_TRANS, 8, 8,       1, 1, 1,    0 },
	[IPC_DIGEST_ASK]      = { "DIGEST_ASK",      DRP, DIG, REQUEST, ANY,      9, 9,       2, 2, 0,    IPC_DIGEST_ANSWER },
	[IPC_DIGEST_ANSWER]   = { "DIGEST_ANSWER",   DIG, DRP, ANSWER,  ANY,      9, 9,       0, 1, 0,    0 },
	[IPC_UTF8]              = { "UTF8",             SES, MON, NOTE,    PH_AUTH, 1, 1,        0, 0,  1,   0 },
	[IPC_TLS_OFFER_ASK]     = { "TLS_OFFER_ASK",    SES, MON, REQUEST, PH_AUTH, 1, 1,        0, 0,  2,   IPC_TLS_OFFER_ANSWER },
	[IPC_TLS_OFFER_ANSWER]  = { "TLS_OFFER_ANSWER", MON, SES, ANSWER,  PH_AUTH, 1, 1,        0, 0,  2,   0 },
	[IPC_TLS_ASK]           = { "TLS_ASK",          SES, MON, REQUEST, PH_AUTH, 1, 1,        0, 0,  1,   IPC_TLS_ANSWER },
	[IPC_TLS_ANSWER]        = { "TLS_ANSWER",       MON, SES, ANSWER,  PH_AUTH, 1, 1,        0, 1,  1,   0 },
	[IPC_TLS_DONE]          = { "TLS_DONE",         TLS, MON, NOTE,    PH_AUTH, 56, 1024,    0, 0,  1,   0 },
	[IPC_TLS_BROKEN]        = { "TLS_BROKEN",       TLS, MON, NOTE,    PH_AUTH, 3, 512,      0, 0,  1,   0 },
	[IPC_TLS_NOTE]          = { "TLS_NOTE",         TLS, MON, NOTE,    PH_AUTH, 4, 1024,     0, 0,  4,   0 },
	[IPC_TLS_CHECKED]       = { "TLS_CHECKED",      TLS, MON, NOTE,    PH_AUTH, 19, 1024,    0, 0,  1,   0 },
	[IPC_PAIR_ASK]          = { "PAIR_ASK",         TLS, MON, REQUEST, PH_AUTH, 3, 258,      0, 0,  1,   IPC_PAIR_ANSWER },
	[IPC_PAIR_ANSWER]       = { "PAIR_ANSWER",      MON, TLS, ANSWER,  PH_AUTH, 1, 1,        0, 4,  1,   0 },
	[IPC_KEEPER_PAIR]       = { "KEEPER_PAIR",      MON, KEY, NOTE,    PH_AUTH, 1, 1,        1, 4,  1,   0 },
	[IPC_KEEPER_NOTE]       = { "KEEPER_NOTE",      KEY, MON, NOTE,    ANY,     4, 1024,     0, 0,  4,   0 },
	[IPC_KEY_LOAD]          = { "KEY_LOAD",         TLS, KEY, NOTE,    PH_AUTH, 1, 1,        0, 0,  1,   0 },
	[IPC_KEY_ASK]           = { "KEY_ASK",          TLS, KEY, REQUEST, PH_AUTH, 32, 2048,    0, 0,  4,   IPC_KEY_ANSWER },
	[IPC_KEY_ANSWER]        = { "KEY_ANSWER",       KEY, TLS, ANSWER,  PH_AUTH, 3, 1024,     0, 0,  4,   0 },
	[IPC_SIGN_ASK]          = { "SIGN_ASK",         TLS, KEY, REQUEST, PH_AUTH, 64, 2400,    0, 0,  1,   IPC_SIGN_ANSWER },
	[IPC_SIGN_ANSWER]       = { "SIGN_ANSWER",      KEY, TLS, ANSWER,  PH_AUTH, 1, 2049,     0, 0,  1,   0 },
	[IPC_OPEN_ASK]          = { "OPEN_ASK",         TLS, KEY, REQUEST, PH_AUTH, 33, 4087,    0, 0,  8,   IPC_OPEN_ANSWER },
	[IPC_OPEN_ANSWER]       = { "OPEN_ANSWER",      KEY, TLS, ANSWER,  PH_AUTH, 1, 4056,     0, 0,  8,   0 },
	[IPC_SEAL_ASK]          = { "SEAL_ASK",         TLS, KEY, REQUEST, PH_AUTH, 1, 4055,     0, 0,  2,   IPC_SEAL_ANSWER },
	[IPC_SEAL_ANSWER]       = { "SEAL_ANSWER",      KEY, TLS, ANSWER,  PH_AUTH, 1, 4088,     0, 0,  2,   0 },
};
/* clang-format on */

const char *ipc_type_name(enum ipc_type type)
{
	if (type <= IPC_NONE || type >= IPC_N_TYPES || !rules[type].name)
		return "unknown";
	return rules[type].name;
}

const char *ipc_role_name(enum ipc_role role)
{
	static const char *const names[] = { "nobody", "monitor", "session", "auth",   "maildrop",
					     "digest", "tls",	  "keeper",  "writer", "verifier" };

	return role <= ROLE_VERIFIER ? names[role] : "unknown";
}

void ipc_start(struct ipc_msg *m, enum ipc_type type)
{
	m->type = type;
	m->len = m->pos = 0;
	m->bad = false;
	m->n_fds = 0;
}

void ipc_put_raw(struct ipc_msg *m, const void *data, size_t len)
{
	if (len > sizeof(m->payload) - m->len) {
		m->bad = true;
		return;
	}
	memcpy(m->payload + m->len, data, len);
	m->len += len;
}

void ipc_put_u8(struct ipc_msg *m, uint8_t v)
{
	ipc_put_raw(m, &v, sizeof(v));
}

void ipc_put_u32(struct ipc_msg *m, uint32_t v)
{
	ipc_put_raw(m, &v, sizeof(v));
}

void ipc_put_u64(struct ipc_msg *m, uint64_t v)
{
	ipc_put_raw(m, &v, sizeof(v));
}

void ipc_put_str(struct ipc_msg *m, const char *s, size_t len)
{
	uint16_t n = (uint16_t)len;

	if (len > 4000) {
		m->bad = true;
		return;
	}
	ipc_put_raw(m, &n, sizeof(n));
	ipc_put_raw(m, s, len);
}

void ipc_put_fd(struct ipc_msg *m, int fd)
{
	if (fd < 0 || m->n_fds == IPC_FDS_MAX) {
		m->bad = true;
		return;
	}
	m->fds[m->n_fds++] = fd;
}

const uint8_t *ipc_get_raw(struct ipc_msg *m, size_t len)
{
	const uint8_t *at = m->payload + m->pos;

	if (m->bad || len > m->len - m->pos) {
		m->bad = true;
		return NULL;
	}
	m->pos += len;
	return at;
}

size_t ipc_left(const struct ipc_msg *m)
{
	return m->len - m->pos;
}

static void get_raw(struct ipc_msg *m, void *out, size_t len)
{
	const uint8_t *at = ipc_get_raw(m, len);

	if (at)
		memcpy(out, at, len);
	else
		memset(out, 0, len);
}

uint8_t ipc_get_u8(struct ipc_msg *m)
{
	uint8_t v;

	get_raw(m, &v, sizeof(v));
	return v;
}

uint32_t ipc_get_u32(struct ipc_msg *m)
{
	uint32_t v;

	get_raw(m, &v, sizeof(v));
	return v;
}

uint64_t ipc_get_u64(struct ipc_msg *m)
{
	uint64_t v;

	get_raw(m, &v, sizeof(v));
	return v;
}

size_t ipc_get_str(struct ipc_msg *m, char *out, size_t size)
{
	uint16_t n;

	get_raw(m, &n, sizeof(n));
	out[0] = '\0';
	if (m->bad || n >= size || n > m->len - m->pos || memchr(m->payload + m->pos, '\0', n)) {
		m->bad = true;
		return 0;
	}
	memcpy(out, m->payload + m->pos, n);
	out[n] = '\0';
	m->pos += n;
	return n;
}

int ipc_take_fd(struct ipc_msg *m)
{
	int fd;

	if (m->n_fds == 0) {
		m->bad = true;
		return -1;
	}
	fd = m->fds[0];
	m->n_fds--;
	memmove(m->fds, m->fds + 1, m->n_fds * sizeof(m->fds[0]));
	return fd;
}

static void close_fds(struct ipc_msg *m)
{
	int saved = errno;

	while (m->n_fds > 0)
		close(m->fds[--m->n_fds]);
	errno = saved;
}

int ipc_end(struct ipc_msg *m)
{
	bool whole = !m->bad && m->pos == m->len && m->n_fds == 0;

	close_fds(m);
	return whole ? 0 : POP_E_CORRUPT;
}

void ipc_wipe(struct ipc_msg *m)
{
	close_fds(m);
	explicit_bzero(m->payload, sizeof(m->payload));
	m->len = m->pos = 0;
}

void ipc_init(struct ipc *c, int fd, enum ipc_role self, enum ipc_role peer, enum ipc_phase phase)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->phase = phase;
}

void ipc_close(struct ipc *c)
{
	int saved = errno;

	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	errno = saved;
}

int ipc_pair(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? POP_E_SYS : 0;
}

/* Does a message keep its rule, on its way from one role to another? */
static int check_rule(const struct ipc *c, const struct ipc_msg *m, enum ipc_role from,
		      enum ipc_role to)
{
	const struct ipc_rule *r;

	if (m->type <= IPC_NONE || m->type >= IPC_N_TYPES)
		return POP_E_CORRUPT;
	r = &rules[m->type];
	if (r->from != from || r->to != to || !(r->phases & c->phase))
		return POP_E_CORRUPT;
	if (m->len < r->least || m->len > r->most)
		return POP_E_CORRUPT;
	if (m->n_fds < r->fds_least || m->n_fds > r->fds_most)
		return POP_E_CORRUPT;
	return 0;
}

static int send_packet(int fd, uint8_t *head, struct ipc_msg *m)
{
	struct iovec iov[2] = { { head, IPC_HEADER }, { m->payload, m->len } };
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} control;
	ssize_t n;

	if (m->n_fds > 0) {
		struct cmsghdr *cm;

		memset(&control, 0, sizeof(control));
		mh.msg_control = control.room;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * m->n_fds);
		cm = CMSG_FIRSTHDR(&mh);
		if (!cm) /* never: there is room for one */
			return POP_E_SYS;
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * m->n_fds);
		memcpy(CMSG_DATA(cm), m->fds, sizeof(int) * m->n_fds);
	}
	do
		n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EPIPE || errno == ECONNRESET ? POP_E_EOF : POP_E_SYS;
	return 0;
}

int ipc_send(struct ipc *c, struct ipc_msg *m)
{
	uint16_t type = (uint16_t)m->type, version = c->sent_one ? 0 : IPC_VERSION;
	uint32_t len = (uint32_t)m->len;
	uint8_t head[IPC_HEADER];
	int err;

	if (m->bad || check_rule(c, m, c->self, c->peer) < 0) {
		err = POP_E_CORRUPT;
		goto out;
	}
	if (rules[type].kind == REQUEST && c->awaited == IPC_NONE) {
		c->awaited = (enum ipc_type)rules[type].answer;
	} else if (rules[type].kind == ANSWER && c->owed == m->type) {
		c->owed = IPC_NONE;
	} else if (rules[type].kind != NOTE) {
		err = POP_E_CORRUPT;
		goto out;
	}
	memcpy(head, &type, 2);
	memcpy(head + 2, &version, 2);
	memcpy(head + 4, &len, 4);
	err = send_packet(c->fd, head, m);
	c->sent_one = true;
out:
	m->n_fds = 0; /* they stay the caller's */
	return err;
}

static void keep_fds(struct msghdr *mh, struct ipc_msg *m)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		size_t room = cm->cmsg_len - CMSG_LEN(0);

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= room && m->n_fds < IPC_FDS_MAX;
		     at += sizeof(int))
			memcpy(&m->fds[m->n_fds++], CMSG_DATA(cm) + at, sizeof(int));
	}
}

/* Read one packet into m; what the kernel cut off makes it bad. */
static int recv_packet(int fd, uint8_t head[IPC_HEADER], struct ipc_msg *m)
{
	struct iovec iov[2] = { { head, IPC_HEADER }, { m->payload, sizeof(m->payload) } };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} control;
	struct msghdr mh = { .msg_iov = iov,
			     .msg_iovlen = 2,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room) };
	unsigned resets = 0;
	ssize_t n;

	/* that a peer closed with something unread is told once, and before its last words */
	do {
		n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
		resets += n < 0 && errno == ECONNRESET;
	} while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets == 1)));
	if (n < 0)
		return errno == ECONNRESET ? POP_E_EOF : POP_E_SYS;
	keep_fds(&mh, m);
	if (n == 0 && m->n_fds == 0)
		return POP_E_EOF;
	if (n < IPC_HEADER || (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return POP_E_CORRUPT;
	m->len = (size_t)n - IPC_HEADER;
	return 0;
}

/* Order and number of uses: what depends on what was said before. */
static int check_order(struct ipc *c, const struct ipc_msg *m)
{
	const struct ipc_rule *r = &rules[m->type];

	if (r->uses > 0 && c->uses[m->type] >= r->uses)
		return POP_E_CORRUPT;
	if (r->kind == REQUEST && c->owed != IPC_NONE)
		return POP_E_CORRUPT;
	if (r->kind == ANSWER && c->awaited != m->type)
		return POP_E_CORRUPT;
	c->uses[m->type]++;
	if (r->kind == REQUEST)
		c->owed = (enum ipc_type)r->answer;
	if (r->kind == ANSWER)
		c->awaited = IPC_NONE;
	return 0;
}

int ipc_recv(struct ipc *c, struct ipc_msg *m)
{
	uint8_t head[IPC_HEADER];
	uint16_t type, version;
	uint32_t len;
	int err;

	ipc_start(m, IPC_NONE);
	err = recv_packet(c->fd, head, m);
	if (err < 0)
		goto out;
	memcpy(&type, head, 2);
	memcpy(&version, head + 2, 2);
	memcpy(&len, head + 4, 4);
	if (version != (c->got_one ? 0 : IPC_VERSION)) {
		err = c->got_one ? POP_E_CORRUPT : POP_E_VERSION;
		goto out;
	}
	c->got_one = true;
	m->type = type < IPC_N_TYPES ? (enum ipc_type)type : IPC_NONE;
	err = len == m->len ? check_rule(c, m, c->peer, c->self) : POP_E_CORRUPT;
	if (err == 0)
		err = check_order(c, m);
out:
	if (err < 0)
		close_fds(m);
	c->broken |= err == POP_E_CORRUPT || err == POP_E_VERSION;
	return err;
}

int ipc_call(struct ipc *c, struct ipc_msg *m)
{
	int err = ipc_send(c, m);

	if (err < 0)
		return err;
	return ipc_recv(c, m);
}
