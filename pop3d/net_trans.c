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

void net_mark_retrieved(struct net *n, uint64_t idx)
{
	uint8_t *byte = &n->maps[n->map_size + idx / 8];
	uint8_t bit = (uint8_t)(1U << (idx % 8));

	if (!(*byte & bit))
		n->seen++;
	*byte |= bit;
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
	uint64_t retrieved = n->conf->mark_seen ? n->seen : 0, removed;
	struct ipc_msg m;
	uint8_t verdict;
	int fd = -1, err;

	if (n->deleted + retrieved == 0)
		return 0;
	if (retrieved == 0)
		memset(n->maps + n->map_size, 0, n->map_size);
	fd = fs_sealed_memfd("pop3d-quit", n->maps, n->map_size * 2);
	if (fd < 0)
		return fd;
	ipc_start(&m, IPC_QUIT_ASK);
	ipc_put_u64(&m, n->deleted + retrieved);
	ipc_put_fd(&m, fd);
	err = ipc_call(&n->drop, &m);
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
