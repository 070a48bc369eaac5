/*
 * net_list.c - LIST and UIDL, from the lists that the maildrop role made.
 *
 * Runs in:  session.
 * Trusts:   nothing in a list: its size and every offset is checked.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fsutil.h"
#include "net.h"

#define ASKS_MAX  4			       /* the catalogue's bound */
#define LINE_ROOM (20 + 1 + UIDL_MAX + 11 + 2) /* a number, a blank, a UIDL or a number, CRLF */

/* Ask; once it is there nobody is asked again, and a few failures are enough. */
static int get_list(struct net *n, enum ipc_list kind, struct net_list *list)
{
	struct ipc_msg m;
	uint8_t verdict;
	uint64_t size;
	int fd, err;
	void *data;

	if (n->lists_asked == ASKS_MAX)
		return POP_E_SYS;
	n->lists_asked++;
	ipc_start(&m, IPC_LIST_ASK);
	ipc_put_u8(&m, (uint8_t)kind);
	err = net_ask_drop(n, &m);
	if (err < 0)
		return err;
	verdict = ipc_get_u8(&m);
	size = ipc_get_u64(&m);
	if (verdict != VERDICT_OK || m.n_fds != 1 || size == 0 || size > SIZE_MAX) {
		ipc_end(&m);
		return POP_E_SYS;
	}
	fd = ipc_take_fd(&m);
	err = ipc_end(&m);
	if (err == 0)
		err = fs_check_sealed(fd, size);
	if (err == 0) {
		data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
		if (data == MAP_FAILED)
			err = POP_E_MEMORY;
		else
			*list = (struct net_list){ data, (size_t)size };
	}
	close(fd);
	return err;
}

static int need_octets(struct net *n)
{
	int err = n->list.data ? 0 : get_list(n, LIST_OCTETS, &n->list);

	if (err == 0 && n->list.size != n->count * sizeof(uint64_t))
		return POP_E_CORRUPT;
	return err;
}

int net_octets(struct net *n, uint64_t idx, uint64_t *octets)
{
	int err = need_octets(n);

	if (err == 0)
		*octets = ((const uint64_t *)n->list.data)[idx];
	return err;
}

static int need_uidls(struct net *n)
{
	const struct uidl_list_head *head;
	size_t ref;
	int err = n->uidls.data ? 0 : get_list(n, LIST_UIDLS, &n->uidls);

	if (err < 0)
		return err;
	head = n->uidls.data;
	if (n->uidls.size < sizeof(*head) || head->count != n->count || head->digests > 1 ||
	    head->string_bytes > n->uidls.size)
		return POP_E_CORRUPT;
	ref = head->digests ? sizeof(struct uidl_digest_ref) : sizeof(struct uidl_string_ref);
	if (n->uidls.size != sizeof(*head) + n->count * ref + head->string_bytes)
		return POP_E_CORRUPT;
	return 0;
}

static size_t put_digest(const struct uidl_digest_ref *ref, uint8_t *out)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = 32;

	for (size_t i = 0; i < 16; i++) {
		out[2 * i] = (uint8_t)hex[ref->digest[i] >> 4];
		out[2 * i + 1] = (uint8_t)hex[ref->digest[i] & 15];
	}
	if (ref->suffix > 0) {
		out[len++] = '-';
		len += net_digits(ref->suffix, out + len);
	}
	return len;
}

/* The UIDL of a message into out; its length, or POP_E_CORRUPT. */
static int put_uidl(const struct net *n, uint64_t idx, uint8_t *out)
{
	const struct uidl_list_head *head = n->uidls.data;
	const struct uidl_string_ref *refs = (const void *)(head + 1);
	const uint8_t *strings = (const uint8_t *)(refs + n->count);
	uint64_t from, to;

	if (head->digests)
		return (int)put_digest((const struct uidl_digest_ref *)(head + 1) + idx, out);
	from = refs[idx].offset;
	to = idx + 1 < n->count ? refs[idx + 1].offset : head->string_bytes;
	if (from >= to || to > head->string_bytes || to - from > UIDL_MAX)
		return POP_E_CORRUPT;
	for (uint64_t i = from; i < to; i++)
		if (strings[i] < 0x21 || strings[i] > 0x7E)
			return POP_E_CORRUPT;
	memcpy(out, strings + from, to - from);
	return (int)(to - from);
}

/* "msgno what" and CRLF. */
static enum reply put_line(struct net *n, uint64_t idx, bool uidl)
{
	int err = 0, len;
	uint8_t *out = net_out_room(&n->io, LINE_ROOM, &err);
	size_t at;

	if (!out)
		return net_fail(n, err);
	at = net_digits(idx + 1, out);
	out[at++] = ' ';
	len = uidl ? put_uidl(n, idx, out + at)
		   : (int)net_digits(((const uint64_t *)n->list.data)[idx], out + at);
	if (len < 0)
		return net_fail(n, len);
	at += (size_t)len;
	out[at++] = '\r';
	out[at++] = '\n';
	n->io.out_len += at;
	return REPLY_OK;
}

static enum reply list_all(struct net *n, bool uidl)
{
	enum reply r = net_ok(n, "%llu message%s (%llu octets)",
			      (unsigned long long)(n->count - n->deleted),
			      n->count - n->deleted == 1 ? "" : "s",
			      (unsigned long long)(n->octets - n->deleted_octets));

	for (uint64_t idx = 0; idx < n->count && r == REPLY_OK; idx++)
		if (!net_is_deleted(n, idx))
			r = put_line(n, idx, uidl);
	return r == REPLY_OK ? net_put(n, ".\r\n", 3) : r;
}

static enum reply list(struct net *n, const struct net_args *args, bool uidl)
{
	uint64_t idx = 0;
	enum reply r;
	int err;

	if (args->n == 1 && net_msgno(n, args->word[0], args->len[0], &idx, &r) < 0)
		return r;
	err = n->count == 0 ? 0 : uidl ? need_uidls(n) : need_octets(n);
	if (err == POP_E_EOF)
		return net_gone(n);
	if (err == POP_E_CORRUPT)
		return net_fail(n, err);
	if (err < 0)
		return net_err(n, "[SYS/TEMP] the list of messages is not to be had now");
	if (args->n == 0)
		return list_all(n, uidl);
	r = net_put(n, "+OK ", 4);
	return r == REPLY_OK ? put_line(n, idx, uidl) : r;
}

enum reply cmd_list(struct net *n, const struct net_args *args)
{
	return list(n, args, false);
}

enum reply cmd_uidl(struct net *n, const struct net_args *args)
{
	return list(n, args, true);
}
