/*
 * fuzz_session.c - a whole session: the session role as it is, over the
 * maildrop role's answers (drop_serve.c) and a maildrop in memory; and a second
 * idea of POP3 that reads along what the client gets.
 *
 * Input: octet 0: how (see below); 1: how many messages; each with its length
 * before it (octet); then what the client sends.
 * With HOSTILE (fuzz_hostile.c) nothing is compared: then what the other roles
 * answer is changed before the session reads it, by octets at the end of the
 * input.
 */
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz.h"

static int client_poll(struct pollfd *fds, nfds_t n, int timeout);
static ssize_t client_send(int fd, const void *data, size_t n, int flags);
static ssize_t client_read(int fd, void *data, size_t n);
static ssize_t client_recv(int fd, void *data, size_t n, int flags);
static ssize_t peer_recvmsg(int fd, struct msghdr *mh, int flags);

#define recvmsg peer_recvmsg
#include "../../pop3d/ipc.c"
#undef recvmsg

/* the maildrop role over the model's maildrop */
#define maildrop_count	 model_count
#define maildrop_list_fd model_list_fd
#define maildrop_uidl_fd model_uidl_fd
#define maildrop_message model_message
#define maildrop_expunge model_expunge
#define maildrop_save	 model_save
#include "../../pop3d/drop_serve.c"

#define poll client_poll
#define send client_send
#define read client_read
#define recv client_recv
#include "../../pop3d/net_io.c"
#undef poll
#undef send
#undef read
#undef recv

#include "../../pop3d/net_run.c"
#include "wire.h"

#ifndef HOSTILE
#define HOSTILE 0
#endif

enum {
	PIECES = 1,    /* the client's octets come one by one, else in pieces of their own size */
	DIGESTS = 2,   /* ids are digests, else strings */
	OWN_FILES = 4, /* a file each, as in a Maildir */
	READ_ONLY = 8,
	APOP = 16,
	STLS = 32,
	FAIL_EXPUNGE = 64,
	CLEAR = 128, /* USER and PLAIN are offered */
};
#define MESSAGES_MAX 12
#define OUT_MAX	     (1u << 20)

/* --- the model ------------------------------------------------------------------ */

static struct model {
	uint8_t how;
	size_t count;
	struct {
		const uint8_t *data;
		size_t len, at;
		uint64_t octets;
	} messages[MESSAGES_MAX];
	uint64_t octets;
	int mail_fd;
	unsigned expunges;
	uint8_t deleted[MESSAGES_MAX]; /* as the expunge had it */
	uint8_t expunged[MESSAGES_MAX];
	struct fuzz_in client, changes;
	uint8_t *out;
	size_t out_len;
	struct ipc monitor;
	struct drop drop;
	unsigned failures;
	uint8_t reason; /* as the session told it */
	bool ended;
} model;

size_t model_count(const struct maildrop *md)
{
	(void)md;
	return model.count;
}

static void id_of(size_t idx, char out[UIDL_MAX + 1])
{
	snprintf(out, UIDL_MAX + 1, "id-%zu.%zu", idx, model.messages[idx].len);
}

/* HOSTILE: change some octets of what another role says. */
static void change(uint8_t *data, size_t n)
{
	struct fuzz_in *in = &model.changes;
	unsigned how_many;

	if (!HOSTILE)
		return;
	how_many = fuzz_u8(in) % 4;
	while (how_many-- > 0 && n > 0) {
		size_t at = fuzz_u8(in) % n;

		data[at] = fuzz_u8(in);
	}
}

static int sealed(void *data, size_t n)
{
	change(data, n);
	return fs_sealed_memfd("fuzz", data, n);
}

int model_list_fd(struct maildrop *md)
{
	uint64_t list[MESSAGES_MAX];

	(void)md;
	for (size_t i = 0; i < model.count; i++)
		list[i] = model.messages[i].octets;
	return sealed(list, model.count * sizeof(list[0]));
}

int model_uidl_fd(struct maildrop *md)
{
	struct {
		struct uidl_list_head head;
		uint8_t rest[MESSAGES_MAX * (sizeof(struct uidl_digest_ref) + UIDL_MAX + 1)];
	} list = { .head = { .count = model.count, .digests = (model.how & DIGESTS) != 0 } };
	struct uidl_digest_ref *digests = (void *)list.rest;
	struct uidl_string_ref *strings = (void *)list.rest;
	char *text = (char *)(strings + model.count);
	size_t refs = model.count * (list.head.digests ? sizeof(*digests) : sizeof(*strings));

	(void)md;
	for (size_t i = 0; i < model.count; i++) {
		char id[UIDL_MAX + 1];

		if (list.head.digests) {
			memset(digests[i].digest, (int)i + 1, 16);
			digests[i].suffix = i % 3 ? (uint32_t)i : 0;
			continue;
		}
		id_of(i, id);
		strings[i].offset = (uint32_t)list.head.string_bytes;
		memcpy(text + list.head.string_bytes, id, strlen(id));
		list.head.string_bytes += strlen(id);
	}
	return sealed(&list, sizeof(list.head) + refs + list.head.string_bytes);
}

int model_message(struct maildrop *md, size_t idx, struct maildrop_message *out)
{
	struct stat st;

	(void)md;
	MUST(idx < model.count);
	*out = (struct maildrop_message){ .fd = model.mail_fd,
					  .offset = model.messages[idx].at,
					  .length = model.messages[idx].len,
					  .octets = model.messages[idx].octets };
	if (model.how & OWN_FILES) {
		out->own_fd = true;
		out->offset = 0;
		out->fd =
			fs_sealed_memfd("fuzz", model.messages[idx].data, model.messages[idx].len);
	}
	MUST(out->fd >= 0 && fstat(out->fd, &st) == 0);
	file_stamp_of(&st, &out->stamp);
	return 0;
}

int model_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		  size_t *removed, struct pop_why *why)
{
	(void)md;
	(void)retrieved;
	model.expunges++;
	*removed = 0;
	for (size_t i = 0; i < model.count; i++) {
		model.expunged[i] = deleted[i / 8] >> (i % 8) & 1;
		*removed += model.expunged[i];
	}
	return model.how & FAIL_EXPUNGE ? pop_why(why, POP_E_SYS, "as it was asked for") : 0;
}

void model_save(struct maildrop *md)
{
	(void)md;
}

void drop_retry_dotlock(struct drop *d)
{
	(void)d;
}

void drop_note(void *ctx, int level, const char *text)
{
	(void)ctx;
	(void)level;
	(void)text;
}

/* --- the other roles ------------------------------------------------------------- */

static void put_login(struct ipc_msg *m, enum ipc_verdict verdict, int fd)
{
	ipc_put_u8(m, (uint8_t)verdict);
	ipc_put_u8(m, verdict != VERDICT_OK && ++model.failures == 3);
	ipc_put_u8(m, verdict == VERDICT_OK && (model.how & READ_ONLY));
	ipc_put_u64(m, verdict == VERDICT_OK ? model.count : 0);
	ipc_put_u64(m, verdict == VERDICT_OK ? model.octets : 0);
	ipc_put_u32(m, 0);
	ipc_put_u32(m, CONF_EXPIRE_NEVER);
	if (verdict == VERDICT_OK)
		ipc_put_fd(m, fd);
}

/* Right is what holds this word. */
static bool right(const uint8_t *data, size_t n)
{
	return memmem(data, n, "secret", 6) != NULL;
}

static void answer_login(struct ipc_msg *m)
{
	bool yes = right(m->payload, m->len), sasl = m->type == IPC_SASL_ASK, more;
	int ends[2] = { -1, -1 };

	more = sasl && (m->payload[1] & SASL_MORE);
	ipc_start(m, sasl ? IPC_SASL_ANSWER : IPC_LOGIN_ANSWER);
	if (more) {
		ipc_put_u8(m, SASL_GO_ON);
	} else if (sasl && !yes && m->payload[1] & SASL_NO_RESPONSE) {
		ipc_put_u8(m, SASL_CHALLENGE);
		ipc_put_raw(m, "who?", 4);
	} else {
		if (yes)
			MUST(ipc_pair(ends) == 0);
		if (sasl)
			ipc_put_u8(m, SASL_VERDICT);
		put_login(m, yes ? VERDICT_OK : VERDICT_AUTH, ends[1]);
	}
	MUST(ipc_send(&model.monitor, m) == 0);
	if (ends[1] >= 0)
		close(ends[1]);
	if (ends[0] >= 0) {
		ipc_init(&model.drop.session, ends[0], ROLE_MAILDROP, ROLE_SESSION, PH_TRANS);
		model.monitor.phase = PH_TRANS;
	}
}

static void answer_tls(struct ipc_msg *m)
{
	int ends[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	close(ends[0]);
	ipc_start(m, IPC_TLS_ANSWER);
	ipc_put_u8(m, VERDICT_OK);
	ipc_put_fd(m, ends[1]);
	MUST(ipc_send(&model.monitor, m) == 0);
	close(ends[1]);
}

static void answer_short(struct ipc_msg *m)
{
	bool mechs = m->type == IPC_MECHS_ASK;

	ipc_start(m, mechs ? IPC_MECHS_ANSWER : IPC_TLS_OFFER_ANSWER);
	if (mechs)
		ipc_put_u32(m, MECH_PLAIN | MECH_SCRAM_SHA_256);
	else
		ipc_put_u8(m, 1);
	MUST(ipc_send(&model.monitor, m) == 0);
}

static bool waits(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* The next that is asked; notes before it are taken and change nothing here. */
static bool hear_session(struct ipc_msg *m)
{
	do
		if (model.monitor.fd < 0 || !waits(model.monitor.fd) ||
		    ipc_recv(&model.monitor, m) < 0)
			return false;
	while (m->type == IPC_UTF8);
	return true;
}

static void serve_monitor(void)
{
	struct ipc_msg m;
	bool good = hear_session(&m);

	if (HOSTILE && !good) { /* led to ask what is not */
		ipc_close(&model.monitor);
		return;
	}
	/* the session itself never breaks a rule, whatever the client says */
	MUST(good);
	if (m.type == IPC_LOGIN_ASK || m.type == IPC_SASL_ASK)
		answer_login(&m);
	else if (m.type == IPC_TLS_ASK)
		answer_tls(&m);
	else
		answer_short(&m);
}

static void serve_drop(void)
{
	struct drop *d = &model.drop;
	struct ipc_msg m;
	int err = d->session.fd < 0 ? POP_E_EOF : ipc_recv(&d->session, &m);

	if (HOSTILE && err < 0) {
		ipc_close(&d->session);
		return;
	}
	MUST(err == 0);
	err = m.type == IPC_LIST_ASK	  ? answer_list(d, &m)
	      : m.type == IPC_MESSAGE_ASK ? answer_message(d, &m)
					  : answer_quit(d, &m);
	MUST(HOSTILE || err == 0);
	if (err < 0)
		ipc_close(&d->session);
}

/* What the session is about to read is said now. */
static ssize_t peer_recvmsg(int fd, struct msghdr *mh, int flags)
{
	ssize_t n;

	if (fd == session.monitor.fd)
		serve_monitor();
	else if (fd == session.drop.fd)
		serve_drop();
	n = recvmsg(fd, mh, flags);
	if (n > IPC_HEADER && fd == session.drop.fd)
		change(mh->msg_iov[1].iov_base, (size_t)n - IPC_HEADER);
	/* of the monitor's answers all but the end: a count of billions only takes time */
	if (n > IPC_HEADER && fd == session.monitor.fd)
		change(mh->msg_iov[1].iov_base, n - IPC_HEADER < 6 ? (size_t)n - IPC_HEADER : 6);
	return n;
}

/* --- the client -------------------------------------------------------------------- */

static int client_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	(void)timeout;
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = 0;
	fds[0].revents = fds[0].events;
	return 1;
}

static ssize_t client_send(int fd, const void *data, size_t n, int flags)
{
	(void)fd;
	(void)flags;
	if (n > 4096 && (model.how & PIECES)) /* it takes only some */
		n = 4096;
	if (n > OUT_MAX - model.out_len)
		n = OUT_MAX - model.out_len;
	if (n == 0) { /* it has had enough */
		errno = EPIPE;
		return -1;
	}
	memcpy(model.out + model.out_len, data, n);
	model.out_len += n;
	return (ssize_t)n;
}

static ssize_t client_read(int fd, void *data, size_t n)
{
	const uint8_t *from;
	size_t most;

	(void)fd;
	if (model.client.p == model.client.end)
		return 0;
	most = model.how & PIECES ? 1 : 1 + model.client.p[0] % 64u * 4;
	n = fuzz_bytes(&model.client, n < most ? n : most, &from);
	memcpy(data, from, n);
	return (ssize_t)n;
}

static ssize_t client_recv(int fd, void *data, size_t n, int flags)
{
	(void)fd;
	(void)data;
	(void)n;
	(void)flags;
	return 0;
}

/* --- a second idea of POP3 -------------------------------------------------------- */

struct reader {
	struct fuzz_in sent, got; /* by the client; by the server */
	bool in;		  /* logged in */
	bool quit, upset;
	unsigned errs;
};

/* One line of the server's, its CRLF taken off; false: no whole one is there. */
static bool server_line(struct reader *r, const char **line, size_t *len)
{
	size_t left = (size_t)(r->got.end - r->got.p);
	const uint8_t *crlf = left ? memmem(r->got.p, left, "\r\n", 2) : NULL;

	if (!crlf)
		return false;
	*line = (const char *)r->got.p;
	*len = (size_t)(crlf - r->got.p);
	r->got.p = crlf + 2;
	return true;
}

/* One line of the client's: 1, 0 (none), -1 (one that is refused whatever it says). */
static int client_line(struct reader *r, size_t most, char *out)
{
	size_t left = (size_t)(r->sent.end - r->sent.p), len;
	const uint8_t *from = r->sent.p, *lf = left ? memchr(from, '\n', left) : NULL;

	if (!lf)
		return 0;
	len = (size_t)(lf - from);
	r->sent.p = lf + 1;
	if (len > 0 && from[len - 1] == '\r')
		len--;
	if (len + 2 > most)
		return -1;
	if (memchr(from, '\r', len) || memchr(from, '\0', len))
		return -1;
	memcpy(out, from, len);
	out[len] = '\0';
	return 1;
}

static bool number_of(const char *word, uint64_t *v)
{
	char *end;

	if (!word || !*word || strspn(word, "0123456789") != strlen(word))
		return false;
	errno = 0;
	*v = strtoull(word, &end, 10);
	return errno == 0;
}

static void totals(uint64_t *n, uint64_t *octets)
{
	*n = *octets = 0;
	for (size_t i = 0; i < model.count; i++) {
		*n += !model.deleted[i];
		*octets += model.deleted[i] ? 0 : model.messages[i].octets;
	}
}

static void expect_line(struct reader *r, const char *want)
{
	const char *line;
	size_t len;

	MUST(server_line(r, &line, &len));
	MUST(len == strlen(want) && memcmp(line, want, len) == 0);
}

static void uidl_text(size_t idx, char *out, size_t size)
{
	int at = 0;

	if (!(model.how & DIGESTS)) {
		id_of(idx, out);
		return;
	}
	for (int i = 0; i < 16; i++)
		at += snprintf(out + at, size - (size_t)at, "%02x", (unsigned)idx + 1);
	if (idx % 3)
		snprintf(out + at, size - (size_t)at, "-%zu", idx);
}

static void listing(size_t idx, bool uidl, const char *before, char *out, size_t size)
{
	char id[UIDL_MAX + 16];

	uidl_text(idx, id, sizeof(id));
	if (uidl)
		snprintf(out, size, "%s%zu %s", before, idx + 1, id);
	else
		snprintf(out, size, "%s%zu %llu", before, idx + 1,
			 (unsigned long long)model.messages[idx].octets);
}

static void expect_lists(struct reader *r, bool uidl)
{
	char want[256];

	for (size_t i = 0; i < model.count; i++) {
		if (model.deleted[i])
			continue;
		listing(i, uidl, "", want, sizeof(want));
		expect_line(r, want);
	}
	expect_line(r, ".");
}

/* Lines of the message as the client must see them, at most `lines` of the body. */
static void expect_message(struct reader *r, size_t idx, bool top, uint64_t lines)
{
	const uint8_t *d = model.messages[idx].data;
	size_t n = model.messages[idx].len;
	uint64_t octets = 0;
	bool body = false;

	for (size_t i = 0, end; i < n && !(top && body && lines == 0); i = end + 1) {
		const uint8_t *lf = memchr(d + i, '\n', n - i), *got = r->got.p;
		size_t text, dot = d[i] == '.';

		end = lf ? (size_t)(lf - d) : n;
		text = lf && end > i && d[end - 1] == '\r' ? end - i - 1 : end - i;
		MUST((size_t)(r->got.end - got) >= dot + text + 2);
		MUST(!dot || got[0] == '.');
		MUST(text == 0 || memcmp(got + dot, d + i, text) == 0);
		MUST(memcmp(got + dot + text, "\r\n", 2) == 0);
		r->got.p += dot + text + 2;
		octets += text + 2;
		if (body)
			lines--;
		/* what is between header and body is an empty line, CRs or not */
		else if (lf && strspn((const char *)d + i, "\r") + i == end)
			body = true;
	}
	if (!top)
		MUST(octets == model.messages[idx].octets);
	MUST((size_t)(r->got.end - r->got.p) >= 3 && memcmp(r->got.p, ".\r\n", 3) == 0);
	r->got.p += 3;
}

/* Status lines begin so; what follows is checked where it is a promise. */
static bool status(struct reader *r, const char **line, size_t *len)
{
	MUST(server_line(r, line, len));
	MUST(*len <= 510);
	MUST((*len >= 3 && memcmp(*line, "+OK", 3) == 0) ||
	     (*len >= 4 && memcmp(*line, "-ERR", 4) == 0));
	return (*line)[0] == '+';
}

/* begins: what is promised; behind a blank at its end words in the client's language follow. */
static void expect_status(struct reader *r, bool ok, const char *begins)
{
	const char *line;
	size_t len;

	MUST(status(r, &line, &len) == ok);
	if (begins) {
		size_t n = strlen(begins);

		MUST(begins[n - 1] == ' ' ? len > n : len == n);
		MUST(memcmp(line, begins, n) == 0);
	}
	r->errs = ok ? 0 : r->errs + 1;
}

static void skip_list(struct reader *r)
{
	const char *line;
	size_t len;

	do
		MUST(server_line(r, &line, &len));
	while (len != 1 || line[0] != '.');
}

/* A verb of TRANSACTION with words; all is known of its answer. */
static void transaction(struct reader *r, const char *verb, char **words, int n)
{
	uint64_t msgno = 0, count, octets, lines = 0;
	bool number = n > 0 && number_of(words[0], &msgno);
	bool there = number && msgno >= 1 && msgno <= model.count && !model.deleted[msgno - 1];
	size_t idx = (size_t)msgno - 1;
	char want[512];

	totals(&count, &octets);
	if (strcmp(verb, "STAT") == 0 && n == 0) {
		snprintf(want, sizeof(want), "+OK %llu %llu", (unsigned long long)count,
			 (unsigned long long)octets);
		expect_status(r, true, want);
	} else if ((strcmp(verb, "LIST") == 0 || strcmp(verb, "UIDL") == 0) && n == 0) {
		expect_status(r, true, NULL);
		expect_lists(r, verb[0] == 'U');
	} else if ((strcmp(verb, "LIST") == 0 || strcmp(verb, "UIDL") == 0) && n == 1) {
		if (there)
			listing(idx, verb[0] == 'U', "+OK ", want, sizeof(want));
		expect_status(r, there, there ? want : NULL);
	} else if (strcmp(verb, "RETR") == 0 && n == 1) {
		if (there)
			snprintf(want, sizeof(want), "+OK %llu ",
				 (unsigned long long)model.messages[idx].octets);
		expect_status(r, there, there ? want : NULL);
		if (there)
			expect_message(r, idx, false, 0);
	} else if (strcmp(verb, "TOP") == 0 && n == 2) {
		bool ok = there && number_of(words[1], &lines);

		expect_status(r, ok, NULL);
		if (ok)
			expect_message(r, idx, true, lines);
	} else if (strcmp(verb, "DELE") == 0 && n == 1) {
		bool ok = there && !(model.how & READ_ONLY);

		expect_status(r, ok, NULL);
		if (ok)
			model.deleted[idx] = 1;
	} else if ((strcmp(verb, "NOOP") == 0 || strcmp(verb, "RSET") == 0) && n == 0) {
		expect_status(r, true, NULL);
		if (verb[0] == 'R')
			memset(model.deleted, 0, sizeof(model.deleted));
	} else if (strcmp(verb, "CAPA") == 0 && n == 0) {
		expect_status(r, true, NULL);
		skip_list(r);
	} else if (strcmp(verb, "LANG") == 0 && n < 2) {
		const char *line;
		size_t len;
		bool ok =
			status(r, &line, &len); /* which languages there are is not the question */

		MUST(ok || n == 1);
		r->errs = ok ? 0 : r->errs + 1;
		if (ok && n == 0)
			skip_list(r);
	} else if (strcmp(verb, "QUIT") == 0 && n == 0) {
		bool fails = model.expunges > 0 && (model.how & FAIL_EXPUNGE);

		expect_status(r, !fails, NULL);
		r->quit = true;
	} else {
		expect_status(r, false, NULL);
	}
}

/* Before the login: the answer's form, and whether it was one. */
static void authorization(struct reader *r, const char *verb, int n)
{
	static char response[NET_RESPONSE_MAX];
	const char *line;
	size_t len;
	bool ok;

	if (strcmp(verb, "AUTH") == 0)
		while (r->got.p < r->got.end && r->got.p[0] == '+' && r->got.p[1] == ' ') {
			MUST(server_line(r, &line, &len));
			if (client_line(r, NET_RESPONSE_MAX, response) == 0)
				return;
		}
	if (r->got.p == r->got.end) {
		r->upset = true; /* the client went away before its answer */
		return;
	}
	ok = status(r, &line, &len);
	r->errs = ok ? 0 : r->errs + 1;
	if (ok && ((strcmp(verb, "AUTH") == 0 && n == 0) || strcmp(verb, "CAPA") == 0 ||
		   (strcmp(verb, "LANG") == 0 && n == 0)))
		skip_list(r);
	else if (ok && (strcmp(verb, "PASS") == 0 || strcmp(verb, "AUTH") == 0 ||
			strcmp(verb, "APOP") == 0))
		r->in = true;
	else if (ok && strcmp(verb, "QUIT") == 0)
		r->quit = true;
	else if (ok && strcmp(verb, "STLS") == 0)
		r->upset = true; /* what was read with it is dropped: no longer to be told */
}

static void read_command(struct reader *r, char *line)
{
	char verb[8] = "", *words[3] = { NULL, NULL, NULL }, *rest, *w;
	size_t len = strcspn(line, " ");
	int n = 0;

	for (size_t i = 0; i < len && i < sizeof(verb) - 1; i++)
		verb[i] = (char)toupper((unsigned char)line[i]);
	if (len >= sizeof(verb))
		verb[0] = '\0';
	rest = line + len;
	while ((w = strsep(&rest, " ")))
		if (*w && n++ < 3)
			words[n - 1] = w;
	if (r->in)
		transaction(r, verb, words, n);
	else
		authorization(r, verb, n);
}

static void read_along(const uint8_t *sent, size_t n)
{
	struct reader r = { .sent = { sent, sent + n },
			    .got = { model.out, model.out + model.out_len } };
	char line[NET_LINE_MAX + 1];
	bool marked;
	int got;

	if (model.out_len == OUT_MAX) /* cut: the last answer is not whole */
		return;
	expect_status(&r, true, NULL);
	while (!r.quit && !r.upset && (got = client_line(&r, NET_LINE_MAX, line)) != 0) {
		if (r.got.p == r.got.end) { /* too many refusals: it is over */
			MUST(!r.in && (r.errs >= NET_ERRS_MAX || model.failures >= 3));
			break;
		}
		if (got < 0)
			expect_status(&r, false, NULL);
		else
			read_command(&r, line);
	}
	if (r.upset)
		return;
	MUST(r.got.p == r.got.end);
	/* what was marked is deleted, once, and only after QUIT; the same call tells what was seen
	 */
	marked = memchr(model.deleted, 1, sizeof(model.deleted)) != NULL;
	MUST(model.expunges <= (r.quit && r.in ? 1u : 0u));
	if (r.quit && r.in)
		MUST(model.expunges || !marked);
	if (model.expunges)
		MUST(memcmp(model.expunged, model.deleted, sizeof(model.deleted)) == 0);
}

/* --- one session --------------------------------------------------------------------- */

static void take_messages(struct fuzz_in *in)
{
	static uint8_t mail[MESSAGES_MAX * 256];
	size_t at = 0, most = fuzz_u8(in) % (MESSAGES_MAX + 1);

	for (model.count = 0; model.count < most && in->p < in->end; model.count++) {
		const uint8_t *data;
		size_t len = fuzz_bytes(in, fuzz_u8(in), &data);
		struct wire_count c;

		wire_count_init(&c);
		wire_count_add(&c, data, len);
		model.messages[model.count].data = data;
		model.messages[model.count].len = len;
		model.messages[model.count].at = at;
		model.messages[model.count].octets = wire_count_total(&c);
		model.octets += wire_count_total(&c);
		memcpy(mail + at, data, len);
		at += len;
	}
	model.mail_fd = fuzz_file(0, mail, at);
}

static void release(void)
{
	struct net *n = &session;

	if (n->list.data)
		munmap((void *)(uintptr_t)n->list.data, n->list.size);
	if (n->uidls.data)
		munmap((void *)(uintptr_t)n->uidls.data, n->uidls.size);
	for (unsigned i = 0; i < (n->window.shared && n->window.n ? 1 : n->window.n); i++)
		close(n->window.fds[i]);
	free(n->maps);
	if (n->io.in >= 0)
		close(n->io.in);
	ipc_close(&model.monitor);
	ipc_close(&model.drop.session);
	memset(n, 0, offsetof(struct net, io.in_buf));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char hostname[] = "pop.example";
	static const struct conf conf = { .hostname = hostname,
					  .idle_timeout = 600,
					  .expire = CONF_EXPIRE_NEVER,
					  .login_delay = 5,
					  .mark_seen = false };
	static uint8_t *out;
	struct fuzz_in in = { data, data + size };
	struct net_start start = { .conf = &conf };
	int monitor[2], client[2];

	if (!out)
		out = malloc(OUT_MAX);
	MUST(out != NULL);
	model = (struct model){ .how = fuzz_u8(&in), .out = out, .monitor = { .fd = -1 } };
	model.drop.session.fd = -1;
	take_messages(&in);
	model.client = in;
	if (HOSTILE) { /* the changes are what follows a NUL line */
		const uint8_t *cut = memmem(in.p, (size_t)(in.end - in.p), "\0\n", 2);

		if (cut) {
			model.client.end = cut;
			model.changes = (struct fuzz_in){ cut + 2, in.end };
		}
	}
	in = model.client;
	MUST(ipc_pair(monitor) == 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client) == 0);
	close(client[0]);
	ipc_init(&model.monitor, monitor[0], ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	start.fd_in = start.fd_out = client[1];
	start.monitor_fd = monitor[1];
	start.mechs = model.how & CLEAR ? MECH_PLAIN | MECH_LOGIN : MECH_SCRAM_SHA_256;
	start.apop = model.how & APOP ? "<1.2@pop.example>" : NULL;
	start.stls = model.how & STLS;
	MUST(net_run(&start) == 0);
	if (!HOSTILE)
		read_along(in.p, (size_t)(in.end - in.p));
	release();
	return 0;
}
