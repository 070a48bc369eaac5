/*
 * net_sasl.c - AUTH: the client's side of an exchange, decoded and passed on.
 *
 * Runs in:  session.
 * Trusts:   the monitor's answers.  What a response means it does not know.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base64.h"
#include "net.h"

/* Static: their pages cost nothing in a session without AUTH.  Wiped as soon as sent. */
static char response[NET_RESPONSE_MAX + 1];
static uint8_t octets[NET_RESPONSE_MAX / 4 * 3];

size_t net_mech_words(uint32_t mechs, const char *before, char *out, size_t size)
{
	size_t used = 0;

	for (unsigned m = SASL_PLAIN; m < MECHANISM_N; m++) {
		int n;

		if (!(mechs & MECHANISM_BIT(m)))
			continue;
		n = snprintf(out + used, size - used, "%s%s", before, mech_name(m));
		if (n < 0 || (size_t)n >= size - used)
			break;
		used += (size_t)n;
	}
	out[used] = '\0';
	return used;
}

/* AUTH without a mechanism lists them, one a line. */
static enum reply list_mechanisms(struct net *n)
{
	enum reply r = net_ok(n, "mechanisms follow");
	uint32_t mechs = net_mechs(n);

	for (unsigned m = SASL_PLAIN; m < MECHANISM_N && r == REPLY_OK; m++) {
		char line[32];

		if (!(mechs & MECHANISM_BIT(m)))
			continue;
		snprintf(line, sizeof(line), "%s\r\n", mech_name(m));
		r = net_put(n, line, strlen(line));
	}
	return r == REPLY_OK ? net_put(n, ".\r\n", 3) : r;
}

/* One response, in as many pieces as it takes; m holds what the last one was answered. */
static int ask(struct net *n, unsigned mechanism, unsigned part, size_t len, struct ipc_msg *m)
{
	size_t at = 0;
	uint8_t kind;

	do {
		size_t piece = len - at < IPC_SASL_PIECE ? len - at : IPC_SASL_PIECE;
		bool more = at + piece < len;
		int err;

		ipc_start(m, IPC_SASL_ASK);
		ipc_put_u8(m, (uint8_t)mechanism);
		ipc_put_u8(m, (uint8_t)(part | (more ? SASL_MORE : 0)));
		ipc_put_raw(m, octets + at, piece);
		err = ipc_send(&n->monitor, m);
		explicit_bzero(m->payload, m->len);
		explicit_bzero(octets + at, piece);
		if (err == 0)
			err = ipc_recv(&n->monitor, m);
		if (err < 0)
			return err;
		kind = ipc_get_u8(m);
		if (more ? kind == SASL_CHALLENGE || (kind == SASL_GO_ON && ipc_end(m) < 0)
			 : kind == SASL_GO_ON)
			return POP_E_CORRUPT;
		part &= ~(unsigned)SASL_BEGINS;
		at += piece;
	} while (at < len && kind == SASL_GO_ON);
	return kind;
}

static enum reply put_challenge(struct net *n, struct ipc_msg *m)
{
	char line[2 + BASE64_LEN(IPC_SASL_PIECE) + 2 + 1] = "+ ";
	size_t len = ipc_left(m), text;
	const uint8_t *data = ipc_get_raw(m, len);

	if (len > IPC_SASL_PIECE || ipc_end(m) < 0)
		return net_fail(n, POP_E_CORRUPT);
	text = 2 + base64_encode(data, len, line + 2);
	memcpy(line + text, "\r\n", 2);
	return net_put(n, line, text + 2);
}

/* Decode text into octets; how many, or -1 where it was refused (*r). */
static long decode(struct net *n, const char *text, size_t len, enum reply *r)
{
	long got = base64_decode(text, len, octets, sizeof(octets));

	if (got < 0)
		*r = net_err(n, "not base64; the exchange is cancelled");
	return got < 0 ? -1 : got;
}

/* The client's response to a challenge. */
static long read_response(struct net *n, enum reply *r)
{
	int len = net_read_response(&n->io, response);
	long got = -1;

	explicit_bzero(n->io.in_buf, n->io.in_start);
	if (len == POP_E_LONG)
		*r = net_err(n, "response too long: at most %d octets", NET_RESPONSE_MAX);
	else if (len == POP_E_SYNTAX)
		*r = net_err(n, "NUL or bare CR in the response");
	else if (len < 0)
		*r = net_no_line(n, len);
	else if (len == 1 && response[0] == '*')
		*r = net_err(n, "cancelled");
	else
		got = decode(n, response, (size_t)len, r);
	explicit_bzero(response, len > 0 ? (size_t)len : 0);
	return got;
}

/* From the first response, of len octets, to the verdict. */
static enum reply exchange(struct net *n, unsigned mechanism, unsigned part, long len)
{
	struct ipc_msg m;
	enum reply r = REPLY_OK;
	int kind;

	while (len >= 0) {
		kind = ask(n, mechanism, part, (size_t)len, &m);
		part = 0;
		if (kind < 0) {
			r = kind == POP_E_EOF ? net_gone(n) : net_fail(n, POP_E_DENIED);
			break;
		}
		if (kind == SASL_VERDICT) {
			r = net_finish_login(n, &m);
			break;
		}
		r = kind == SASL_CHALLENGE ? put_challenge(n, &m) : net_fail(n, POP_E_CORRUPT);
		if (r != REPLY_OK)
			break;
		len = read_response(n, &r);
	}
	return r;
}

static unsigned find_mechanism(const char *word, size_t len)
{
	for (unsigned m = SASL_PLAIN; m < MECHANISM_N; m++) {
		const char *name = mech_name(m);

		if (strlen(name) == len && strncasecmp(name, word, len) == 0)
			return m;
	}
	return 0;
}

enum reply cmd_auth(struct net *n, const struct net_args *args)
{
	unsigned mechanism, part = SASL_BEGINS;
	enum reply r = REPLY_OK;
	long len = 0;

	if (args->n == 0)
		return list_mechanisms(n);
	n->has_login = false;
	mechanism = find_mechanism(args->word[0], args->len[0]);
	/* before any secret travels, where the client did not send one unasked */
	if (!mechanism || !(net_mechs(n) & MECHANISM_BIT(mechanism)))
		return net_err(n, mechanism ? "this mechanism is not offered here"
					    : "unknown mechanism");
	if (args->n < 2)
		part |= SASL_NO_RESPONSE;
	else if (args->len[1] != 1 || args->word[1][0] != '=')
		len = decode(n, args->word[1], args->len[1], &r);
	if (args->n == 2) {
		explicit_bzero(args->word[1], args->len[1]);
		explicit_bzero(n->io.in_buf, n->io.in_start);
	}
	return len < 0 ? r : exchange(n, mechanism, part, len);
}
