/*
 * net_retr.c - RETR and TOP: messages read where the maildrop role says they are.
 *
 * Runs in:  session.
 * Trusts:   the maildrop role for where a message is; not that it stays so
 *           while it is read.
 *
 * The maildrop role verifies a message, and says how its file looked then.  The
 * session reads, and looks again: where the file is another by now, the message
 * must still verify, or the answer is taken back (while it is still here) or the
 * connection closed without the final dot.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fsutil.h"
#include "net.h"
#include "num.h"
#include "wire.h"

static void close_window(struct net_window *w)
{
	for (unsigned i = 0; i < (w->shared && w->n > 0 ? 1 : w->n); i++)
		close(w->fds[i]);
	if (w->n > 0 && w->records[0].head_length > 0)
		close(w->head_fd);
	w->n = 0;
	w->shared = false;
}

/* drop_serve.c writes the same. */
static void get_record(struct ipc_msg *m, struct maildrop_message *r)
{
	r->offset = ipc_get_u64(m);
	r->length = ipc_get_u64(m);
	r->octets = ipc_get_u64(m);
	r->flags = ipc_get_u32(m);
	r->stamp.ino = ipc_get_u64(m);
	r->stamp.size = ipc_get_u64(m);
	r->stamp.mtime_ns = (int64_t)ipc_get_u64(m);
	r->stamp.ctime_ns = (int64_t)ipc_get_u64(m);
	r->head_length = ipc_get_u64(m);
}

/* Ask where the messages from idx on are, at most `most` of them. */
static int ask_window(struct net *n, uint64_t idx, unsigned most)
{
	struct net_window *w = &n->window;
	struct ipc_msg m;
	uint8_t verdict;
	unsigned count, n_fds;
	bool headed;
	int err;

	close_window(w);
	ipc_start(&m, IPC_MESSAGE_ASK);
	ipc_put_u64(&m, idx);
	ipc_put_u8(&m, (uint8_t)most);
	err = net_ask_drop(n, &m);
	if (err < 0)
		return err;
	verdict = ipc_get_u8(&m);
	count = ipc_get_u8(&m);
	w->shared = ipc_get_u8(&m) != 0;
	n_fds = w->shared && count ? 1 : count;
	w->records[0].head_length = 0;
	for (unsigned i = 0; i < count && i < most; i++)
		get_record(&m, &w->records[i]);
	headed = count > 0 && w->records[0].head_length > 0;
	if (count > most || m.n_fds != n_fds + headed || (headed && count != 1)) {
		ipc_end(&m);
		return POP_E_CORRUPT;
	}
	for (unsigned i = 0; i < n_fds; i++)
		w->fds[i] = ipc_take_fd(&m);
	if (headed)
		w->head_fd = ipc_take_fd(&m);
	w->first = idx;
	w->n = count;
	if (ipc_end(&m) < 0 ||
	    (headed && fs_check_sealed(w->head_fd, w->records[0].head_length) < 0))
		return POP_E_CORRUPT;
	for (unsigned i = 1; i < count; i++)
		if (w->records[i].head_length > 0)
			return POP_E_CORRUPT;
	if (verdict == VERDICT_OK && count > 0)
		return 0;
	return verdict == VERDICT_CHANGED ? POP_E_CHANGED
	       : verdict == VERDICT_UTF8  ? POP_E_DENIED
					  : POP_E_SYS;
}

/*
 * The record of a message.  Who reads one after the other gets ever larger
 * windows, so that he does not wait for two processes each time.
 */
static int find_message(struct net *n, uint64_t idx, struct maildrop_message *r)
{
	struct net_window *w = &n->window;
	bool next = w->n > 0 && idx == w->first + w->n;
	int err = 0;

	if (w->n == 0 || idx < w->first || idx >= w->first + w->n) {
		w->next_n = !next			    ? 1
			    : w->next_n < IPC_BATCH_MAX / 2 ? w->next_n * 2
							    : IPC_BATCH_MAX;
		err = ask_window(n, idx, w->next_n);
	}
	if (err < 0)
		return err;
	*r = w->records[idx - w->first];
	r->fd = w->fds[w->shared ? 0 : idx - w->first];
	r->head_fd = w->head_fd;
	return 0;
}

static bool same_stamp(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

/* Is the message still where and what it was when it was verified?  0 or POP_E_CHANGED. */
static int check_still(struct net *n, uint64_t idx, struct maildrop_message *r)
{
	struct maildrop_message now;
	struct file_stamp stamp;
	struct stat st;
	int err;

	if (fstat(r->fd, &st) < 0)
		return POP_E_CHANGED;
	file_stamp_of(&st, &stamp);
	if (same_stamp(&stamp, &r->stamp))
		return 0;
	err = ask_window(n, idx, 1);
	if (err < 0)
		return err == POP_E_CORRUPT || err == POP_E_EOF ? err : POP_E_CHANGED;
	now = n->window.records[0];
	if (now.offset != r->offset || now.length != r->length || now.octets != r->octets ||
	    now.head_length != r->head_length)
		return POP_E_CHANGED;
	now.fd = n->window.fds[0];
	now.head_fd = n->window.head_fd;
	*r = now;
	return 0;
}

/* How much of a message is wanted: all of it, or its header section and some lines. */
struct cut {
	bool top;
	bool in_body, line_empty;
	uint64_t lines; /* of the body, still to come */
};

/* How many of these bytes are still wanted. */
static size_t cut_block(struct cut *c, const uint8_t *data, size_t n)
{
	size_t at = 0;

	while (at < n && (!c->in_body || c->lines > 0)) {
		const uint8_t *lf = memchr(data + at, '\n', n - at);
		size_t end = lf ? (size_t)(lf - data) + 1 : n, text = lf ? end - 1 : end;

		for (size_t i = at; i < text && c->line_empty; i++)
			c->line_empty = data[i] == '\r';
		if (lf && c->in_body)
			c->lines--;
		if (lf && !c->in_body)
			c->in_body = c->line_empty;
		if (lf)
			c->line_empty = true;
		at = end;
	}
	return at;
}

/* Write length bytes of fd in wire form.  1: enough, else as put_message(). */
static int put_part(struct net *n, int fd, uint64_t offset, uint64_t length, struct cut *cut,
		    struct wire_encoder *enc)
{
	static uint8_t block[NET_BLOCK];
	uint64_t at = 0;
	int err = 0;

	while (at < length) {
		size_t want = length - at < NET_BLOCK ? (size_t)(length - at) : NET_BLOCK;
		ssize_t got = pread(fd, block, want, (off_t)(offset + at));
		uint8_t *out;
		size_t use;

		if (got <= 0)
			return POP_E_CHANGED;
		at += (uint64_t)got;
		use = cut->top ? cut_block(cut, block, (size_t)got) : (size_t)got;
		out = net_out_room(&n->io, 2 * use + 2, &err);
		if (!out)
			return err;
		n->io.out_len += wire_encode(enc, block, use, out);
		if (use < (size_t)got)
			return 1;
	}
	return 0;
}

/* Write the message in wire form.  0, POP_E_CHANGED, or as net_flush(). */
static int put_message(struct net *n, const struct maildrop_message *r, struct cut *cut)
{
	struct wire_encoder enc;
	uint8_t *out;
	int err = 0;

	wire_encode_init(&enc);
	if (r->head_length > 0)
		err = put_part(n, r->head_fd, 0, r->head_length, cut, &enc);
	if (err == 0)
		err = put_part(n, r->fd, r->offset, r->length, cut, &enc);
	if (err < 0)
		return err;
	out = net_out_room(&n->io, 2, &err);
	if (!out)
		return err;
	n->io.out_len += wire_encode_end(&enc, out);
	if (!cut->top && enc.octets != r->octets)
		return POP_E_CHANGED;
	return 0;
}

static enum reply put_head(struct net *n, const struct maildrop_message *r, const struct cut *cut)
{
	uint8_t line[64] = "+OK ";
	size_t len = 4;

	if (cut->top)
		return net_ok(n, "top of message follows");
	if (n->language)
		return net_ok(n, "%llu octets", (unsigned long long)r->octets);
	len += net_digits(r->octets, line + len);
	memcpy(line + len, " octets\r\n", 9);
	return net_put(n, line, len + 9);
}

static enum reply say_changed(struct net *n, int err)
{
	if (err == POP_E_EOF)
		return net_gone(n);
	if (err == POP_E_CORRUPT)
		return net_fail(n, err);
	if (err == POP_E_DENIED)
		return net_err(
			n,
			"[UTF8] the header of this message has UTF-8; give UTF8 before the login");
	return net_err(n, "[SYS/TEMP] this message was changed or removed by another program");
}

static enum reply send_message(struct net *n, uint64_t idx, struct cut *cut)
{
	struct maildrop_message r;
	uint64_t sent;
	size_t mark;
	enum reply reply;
	int err = find_message(n, idx, &r);

	if (err == 0 && r.length > NET_BLOCK) /* it could not be taken back */
		err = check_still(n, idx, &r);
	if (err < 0)
		return say_changed(n, err);
	if (n->io.out_len >= NET_BLOCK / 2 && (err = net_flush(&n->io)) < 0)
		return net_fail(n, err);
	mark = n->io.out_len;
	sent = n->io.sent;
	reply = put_head(n, &r, cut);
	if (reply != REPLY_OK)
		return reply;
	err = put_message(n, &r, cut);
	if (err < 0 && err != POP_E_CHANGED)
		return net_fail(n, err);
	if (err == 0)
		err = check_still(n, idx, &r);
	if (err == 0)
		return net_put(n, ".\r\n", 3);
	close_window(&n->window);
	if (n->io.sent != sent)
		return net_fail(n, POP_E_CHANGED); /* no final dot */
	n->io.out_len = mark;
	return say_changed(n, err);
}

enum reply cmd_retr(struct net *n, const struct net_args *args)
{
	struct cut cut = { .top = false };
	uint64_t idx;
	enum reply r;

	if (net_msgno(n, args->word[0], args->len[0], &idx, &r) < 0)
		return r;
	r = send_message(n, idx, &cut);
	if (r == REPLY_OK) {
		n->n_retr++;
		net_mark_sent(n, idx);
	}
	return r;
}

enum reply cmd_top(struct net *n, const struct net_args *args)
{
	struct cut cut = { .top = true, .line_empty = true };
	uint64_t idx;
	enum reply r;

	if (net_msgno(n, args->word[0], args->len[0], &idx, &r) < 0)
		return r;
	if (num_parse(args->word[1], args->len[1], UINT64_MAX, &cut.lines) < 0)
		return net_err(n, "the number of lines is decimal digits");
	r = send_message(n, idx, &cut);
	if (r == REPLY_OK)
		n->n_top++;
	return r;
}
