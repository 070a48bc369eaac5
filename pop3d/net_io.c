/*
 * net_io.c - the client's connection: lines in, answers out, deadlines.
 *
 * Runs in:  session.
 * Trusts:   nothing that it reads.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fsutil.h"
#include "net.h"

#define DRAIN_MS     2000
#define DRAIN_OCTETS 65536
#define PIPE_CHUNK   4096 /* what a pipe that polls writable takes without blocking */

void net_io_init(struct net_io *io, int in, int out, int wait_ms, int watch)
{
	struct stat st;
	int one = 1;

	io->in = in;
	io->out = out;
	io->wait_ms = wait_ms;
	io->watch[0] = watch;
	io->watch[1] = -1;
	io->socket = fstat(out, &st) == 0 && S_ISSOCK(st.st_mode);
	/* answers are whole writes: nothing is won by holding one back */
	if (io->socket)
		setsockopt(out, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/*
 * Wait until fd is ready for events or until_ms is over, watching the pairs: their end
 * goes before what the client says, but not before an answer that can be written.
 * 0, POP_E_TIME, POP_E_DENIED, POP_E_SYS.
 */
static int wait_ready(struct net_io *io, int fd, short events, int64_t until_ms)
{
	struct pollfd fds[3] = { { .fd = fd, .events = events },
				 { .fd = io->watch[0], .events = POLLIN },
				 { .fd = io->watch[1], .events = POLLIN } };

	for (;;) {
		int64_t left = until_ms - fs_now_ms();
		int n = poll(fds, 3, left < 0 ? 0 : (int)left);

		if (n < 0 && errno != EINTR)
			return POP_E_SYS;
		if (n > 0 && fds[0].revents && events == POLLOUT)
			return 0;
		if (n > 0 && (fds[1].revents || fds[2].revents))
			return POP_E_DENIED;
		if (n > 0)
			return 0;
		if (n == 0)
			return POP_E_TIME;
	}
}

int net_wait_input(struct net_io *io, int64_t until_ms)
{
	return wait_ready(io, io->in, POLLIN, until_ms);
}

static ssize_t put_some(struct net_io *io, const uint8_t *data, size_t n)
{
	if (io->socket)
		return send(io->out, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	return write(io->out, data, n < PIPE_CHUNK ? n : PIPE_CHUNK);
}

int net_flush(struct net_io *io)
{
	size_t at = 0;
	int err = 0;

	while (at < io->out_len && err == 0) {
		ssize_t n = -1;

		if (!io->socket)
			err = wait_ready(io, io->out, POLLOUT, fs_now_ms() + io->wait_ms);
		if (err == 0)
			n = put_some(io, io->out_buf + at, io->out_len - at);
		if (n >= 0)
			at += (size_t)n;
		else if (err == 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			err = wait_ready(io, io->out, POLLOUT, fs_now_ms() + io->wait_ms);
		else if (err == 0 && errno != EINTR)
			err = POP_E_EOF;
	}
	io->sent += at;
	io->out_len = 0;
	io->cut |= err < 0;
	return err;
}

uint8_t *net_out_room(struct net_io *io, size_t n, int *err)
{
	if (io->out_len + n > NET_OUT_SIZE || io->out_len >= NET_BLOCK) {
		*err = net_flush(io);
		if (*err < 0)
			return NULL;
	}
	return io->out_buf + io->out_len;
}

/*
 * Get more from the client; nothing is left in the buffer but an unfinished line.
 * The time for that line (*until_ms, -1: not begun) counts from the moment at which
 * the client has its answers.
 */
static int fill(struct net_io *io, int64_t *until_ms)
{
	ssize_t n;
	int err = net_flush(io);

	if (err < 0)
		return err;
	if (*until_ms < 0)
		*until_ms = fs_now_ms() + io->wait_ms;
	if (io->in_start > 0) {
		memmove(io->in_buf, io->in_buf + io->in_start, io->in_end - io->in_start);
		io->in_end -= io->in_start;
		io->in_start = 0;
	}
	do {
		err = wait_ready(io, io->in, POLLIN, *until_ms);
		if (err < 0)
			return err;
		n = read(io->in, io->in_buf + io->in_end, NET_IN_SIZE - io->in_end);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n <= 0)
		return POP_E_EOF;
	io->in_end += (size_t)n;
	io->reads++;
	return 0;
}

/* A whole line stands at the start of the buffer: copy it out, or say what is wrong. */
static int take_line(struct net_io *io, size_t len, char *line, size_t most)
{
	const uint8_t *from = io->in_buf + io->in_start;
	bool skipped = io->skipping;

	io->in_start += len + 1;
	io->skipping = false;
	if (skipped || len + 1 > most)
		return POP_E_LONG;
	if (len > 0 && from[len - 1] == '\r')
		len--;
	else if (len + 2 > most)
		return POP_E_LONG; /* as it would be with CRLF */
	if (memchr(from, '\r', len) || memchr(from, '\0', len))
		return POP_E_SYNTAX;
	memcpy(line, from, len);
	line[len] = '\0';
	return (int)len;
}

/* A command may be so long: AUTH with its initial response as long as a response alone. */
static size_t command_max(const uint8_t *start, size_t have)
{
	return have >= 5 && strncasecmp((const char *)start, "AUTH ", 5) == 0 ? NET_RESPONSE_MAX
									      : NET_LINE_MAX;
}

/* A line of at most `most` octets with CRLF; 0: a command. */
static int read_line(struct net_io *io, char *line, size_t limit)
{
	int64_t until_ms = -1;
	int err;

	for (;;) {
		size_t have = io->in_end - io->in_start;
		const uint8_t *start = io->in_buf + io->in_start;
		const uint8_t *lf = memchr(start, '\n', have);
		size_t most = limit ? limit : command_max(start, have);

		if (lf)
			return take_line(io, (size_t)(lf - start), line, most);
		if (have >= most) {
			io->skipping = true;
			io->in_start = io->in_end;
		}
		err = fill(io, &until_ms);
		if (err < 0)
			return err;
	}
}

int net_read_line(struct net_io *io, char *line)
{
	return read_line(io, line, 0);
}

int net_read_response(struct net_io *io, char *line)
{
	return read_line(io, line, NET_RESPONSE_MAX);
}

void net_drain(struct net_io *io)
{
	int64_t until_ms = fs_now_ms() + DRAIN_MS;
	size_t dropped = 0;

	if (!io->socket || shutdown(io->out, SHUT_WR) < 0)
		return;
	io->watch[0] = io->watch[1] = -1;
	while (dropped < DRAIN_OCTETS && wait_ready(io, io->in, POLLIN, until_ms) == 0) {
		ssize_t n = recv(io->in, io->in_buf, NET_IN_SIZE, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return;
		dropped += n > 0 ? (size_t)n : 0;
	}
}
