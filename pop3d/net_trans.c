/*
 * net_trans.c - TRANSACTION: STAT, DELE, NOOP, RSET; and QUIT in every state.
 *
 * Runs in:  session.
 */
#include <string.h>
#include <unistd.h>
#include "fsutil.h"
#include "net.h"
#include "num.h"

bool net_is_deleted(const struct net *n, uint64_t idx)
{
	return n->maps[idx / 8] >> (idx % 8) & 1;
}

void net_mark_sent(struct net *n, uint64_t idx)
{
	size_t at = (size_t)(idx / 8);

	if (!n->keeps_seen)
		return;
	n->maps[2 * n->map_size + at] |= (uint8_t)(1U << (idx % 8));
	if (n->sent_to == 0 || at < n->sent_from)
		n->sent_from = at;
	if (at >= n->sent_to)
		n->sent_to = at + 1;
	n->sent_reads = n->io.reads;
}

static void take_sent(struct net *n)
{
	uint8_t *retrieved = n->maps + n->map_size, *sent = n->maps + 2 * n->map_size;

	for (size_t at = n->sent_from; at < n->sent_to; at++) {
		n->seen += (unsigned)__builtin_popcount(sent[at] & ~(unsigned)retrieved[at]);
		retrieved[at] |= sent[at];
		sent[at] = 0;
	}
	n->sent_to = 0;
}

void net_confirm_sent(struct net *n)
{
	/* commands that came together are no word that their answers arrived */
	if (n->sent_to > 0 && n->io.reads > n->sent_reads)
		take_sent(n);
}

/* Both bitmaps for the maildrop role.  A descriptor or POP_E_SYS. */
static int maps_fd(const struct net *n)
{
	return fs_sealed_memfd("pop3d-quit", n->maps, n->map_size * 2);
}

void net_tell_retrieved(struct net *n)
{
	struct ipc_msg m;
	int fd;

	if (n->phase != PH_TRANS || n->seen == 0 || n->drop.fd < 0)
		return;
	memset(n->maps, 0, n->map_size); /* nothing is deleted */
	fd = maps_fd(n);
	if (fd < 0)
		return;
	ipc_start(&m, IPC_RETRIEVED);
	ipc_put_u64(&m, n->seen);
	ipc_put_fd(&m, fd);
	ipc_send(&n->drop, &m);
	close(fd);
}

int net_msgno(struct net *n, const char *word, size_t len, uint64_t *idx, enum reply *reply)
{
	uint64_t msgno;
	int err = num_parse(word, len, UINT64_MAX, &msgno);

	if (err == POP_E_SYNTAX)
		*reply = net_err(n, "a message number is decimal digits");
	else if (err < 0 || msgno == 0 || msgno > n->count)
		*reply =
			net_err(n, "no such message, there are %llu", (unsigned long long)n->count);
	else if (net_is_deleted(n, msgno - 1))
		*reply = net_err(n, "message %llu is deleted", (unsigned long long)msgno);
	else {
		*idx = msgno - 1;
		return 0;
	}
	return POP_E_RANGE;
}

enum reply cmd_stat(struct net *n, const struct net_args *args)
{
	(void)args;
	return net_ok(n, "%llu %llu", (unsigned long long)(n->count - n->deleted),
		      (unsigned long long)(n->octets - n->deleted_octets));
}

enum reply cmd_dele(struct net *n, const struct net_args *args)
{
	uint64_t idx, octets;
	enum reply r;

	if (n->read_only)
		return net_err(n, "[SYS/PERM] this maildrop is read-only");
	if (net_msgno(n, args->word[0], args->len[0], &idx, &r) < 0)
		return r;
	if (net_octets(n, idx, &octets) < 0)
		return net_err(n, "[SYS/TEMP] the list of messages is not to be had now");
	n->maps[idx / 8] |= (uint8_t)(1U << (idx % 8));
	n->deleted++;
	n->deleted_octets += octets;
	n->n_dele++;
	return net_ok(n, "message %llu deleted", (unsigned long long)idx + 1);
}

enum reply cmd_noop(struct net *n, const struct net_args *args)
{
	(void)args;
	return net_ok(n, "nothing done");
}

enum reply cmd_rset(struct net *n, const struct net_args *args)
{
	(void)args;
	memset(n->maps, 0, n->map_size);
	n->deleted = n->deleted_octets = 0;
	return net_ok(n, "maildrop has %llu message%s (%llu octets)", (unsigned long long)n->count,
		      n->count == 1 ? "" : "s", (unsigned long long)n->octets);
}

/* Ask for the one expunge.  0 only where all of it was done. */
static int expunge(struct net *n)
{
	uint64_t removed;
	struct ipc_msg m;
	uint8_t verdict;
	int fd = -1, err;

	/* its last words are that it has what was sent before, if only it could be sent */
	if (n->sent_to > 0 && net_flush(&n->io) == 0)
		take_sent(n);
	if (n->deleted + n->seen == 0)
		return 0;
	fd = maps_fd(n);
	if (fd < 0)
		return fd;
	ipc_start(&m, IPC_QUIT_ASK);
	ipc_put_u64(&m, n->deleted + n->seen);
	ipc_put_fd(&m, fd);
	err = net_ask_drop(n, &m);
	close(fd);
	if (err < 0)
		return err;
	verdict = ipc_get_u8(&m);
	removed = ipc_get_u64(&m);
	if (ipc_end(&m) < 0 || verdict != VERDICT_OK || removed > n->count)
		return POP_E_SYS;
	n->n_removed = removed;
	return 0;
}

enum reply cmd_quit(struct net *n, const struct net_args *args)
{
	enum reply r;

	(void)args;
	n->reason = END_QUIT;
	n->io.watch[1] = -1; /* the maildrop role ends with its answer */
	if (n->phase == PH_TRANS && expunge(n) < 0) {
		n->reason = END_FAILED;
		r = net_err(n, "[SYS/TEMP] some deleted messages not removed");
	} else {
		r = net_ok(n, "bye");
	}
	return r == REPLY_FAIL ? r : REPLY_END;
}
