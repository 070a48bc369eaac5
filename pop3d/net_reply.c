/*
 * net_reply.c - status lines and what they are made of.
 *
 * Runs in:  session.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "net.h"
#include "net_text.h"

#define STATUS_MAX   512  /* RFC 2449 section 4 */
#define LAST_WORD_MS 2000 /* for a client that does not take our last answer */

enum reply net_fail(struct net *n, int err)
{
	n->reason = err == POP_E_TIME	  ? END_STALLED
		    : err == POP_E_DENIED ? END_SHUTDOWN
		    : err == POP_E_EOF	  ? END_LOST
					  : END_FAILED;
	return REPLY_FAIL;
}

enum reply net_put(struct net *n, const void *data, size_t len)
{
	int err = 0;
	uint8_t *out = net_out_room(&n->io, len, &err);

	if (!out)
		return net_fail(n, err);
	memcpy(out, data, len);
	n->io.out_len += len;
	return REPLY_OK;
}

/* len octets, or fewer where they would end within a character of UTF-8. */
static size_t whole_chars(const char *s, size_t len)
{
	while (len > 0 && ((unsigned char)s[len] & 0xC0) == 0x80)
		len--;
	return len;
}

static enum reply __attribute__((format(printf, 3, 0)))
put_status(struct net *n, const char *word, const char *fmt, va_list ap)
{
	char line[STATUS_MAX];
	size_t len = strlen(word);
	int more;

	memcpy(line, word, len);
	more = vsnprintf(line + len, sizeof(line) - len - 2, fmt, ap);
	if (more > 0)
		len += (size_t)more < sizeof(line) - len - 2
			       ? (size_t)more
			       : whole_chars(line + len, sizeof(line) - len - 3);
	line[len++] = '\r';
	line[len++] = '\n';
	return net_put(n, line, len);
}

enum reply net_ok(struct net *n, const char *fmt, ...)
{
	enum reply r;
	va_list ap;

	va_start(ap, fmt);
	r = put_status(n, "+OK ", text_in(n->language, fmt), ap);
	va_end(ap);
	return r;
}

enum reply net_err(struct net *n, const char *fmt, ...)
{
	enum reply r;
	va_list ap;

	va_start(ap, fmt);
	r = put_status(n, "-ERR ", text_in(n->language, fmt), ap);
	va_end(ap);
	return r == REPLY_OK ? REPLY_ERR : r;
}

/* Not its end, of which it may close one direction first, but what nobody asked it for. */
static bool monitor_speaks(const struct net *n)
{
	struct pollfd p = { .fd = n->monitor.fd, .events = POLLIN | POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLIN | POLLHUP | POLLRDHUP)) == POLLIN;
}

enum reply net_gone(struct net *n)
{
	net_fail(n, monitor_speaks(n) ? POP_E_CORRUPT : POP_E_DENIED);
	if (n->io.cut)
		return REPLY_FAIL;
	n->io.watch[0] = n->io.watch[1] = -1;
	n->io.wait_ms = LAST_WORD_MS;
	net_err(n, "[SYS/TEMP] the server ends this session");
	return REPLY_END;
}

int net_ask_drop(struct net *n, struct ipc_msg *m)
{
	int err = ipc_call(&n->drop, m);

	return err == POP_E_VERSION ? POP_E_CORRUPT : err;
}

size_t net_digits(uint64_t v, uint8_t *out)
{
	uint8_t reversed[20];
	size_t len = 0;

	do
		reversed[len++] = (uint8_t)('0' + v % 10);
	while ((v /= 10) > 0);
	for (size_t i = 0; i < len; i++)
		out[i] = reversed[len - 1 - i];
	return len;
}
