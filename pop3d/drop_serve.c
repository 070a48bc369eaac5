/*
 * drop_serve.c - answer the session: lists, messages, and one QUIT.
 *
 * Runs in:  maildrop.
 * Trusts:   nothing the session says: a session that was taken over gets what
 *           its logged-in client may have, and nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "drop.h"
#include "fsutil.h"
#include "seen.h"

static int answer_list(struct drop *d, struct ipc_msg *m)
{
	struct stat st;
	uint8_t kind = ipc_get_u8(m);
	int fd, err;

	if (ipc_end(m) < 0 || (kind != LIST_OCTETS && kind != LIST_UIDLS))
		return POP_E_CORRUPT;
	fd = kind == LIST_OCTETS ? maildrop_list_fd(d->md) : maildrop_uidl_fd(d->md);
	if (fd >= 0 && fstat(fd, &st) < 0) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		drop_note(d, 3,
			  kind == LIST_OCTETS ? "cannot make the list of messages"
					      : "cannot make the list of UIDLs");
	ipc_start(m, IPC_LIST_ANSWER);
	ipc_put_u8(m, fd >= 0 ? VERDICT_OK : VERDICT_TEMP);
	ipc_put_u64(m, fd >= 0 ? (uint64_t)st.st_size : 0);
	if (fd >= 0)
		ipc_put_fd(m, fd);
	err = ipc_send(&d->session, m);
	if (fd >= 0)
		close(fd);
	return err;
}

/* One record of IPC_MESSAGE_ANSWER; net_retr.c reads the same. */
static void put_record(struct ipc_msg *m, const struct maildrop_message *message)
{
	ipc_put_u64(m, message->offset);
	ipc_put_u64(m, message->length);
	ipc_put_u64(m, message->octets);
	ipc_put_u32(m, message->flags);
	ipc_put_u64(m, message->stamp.ino);
	ipc_put_u64(m, message->stamp.size);
	ipc_put_u64(m, (uint64_t)message->stamp.mtime_ns);
	ipc_put_u64(m, (uint64_t)message->stamp.ctime_ns);
	ipc_put_u64(m, message->head_length);
}

static void forget_messages(struct maildrop_message *found, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (found[i].own_fd)
			close(found[i].fd);
		if (found[i].head_length > 0)
			close(found[i].head_fd);
	}
}

static enum ipc_verdict verdict_of(int err)
{
	return err == POP_E_CHANGED  ? VERDICT_CHANGED
	       : err == POP_E_DENIED ? VERDICT_UTF8
				     : VERDICT_TEMP;
}

/*
 * The first message decides the verdict; of those behind it only what verifies
 * goes along, since nobody asked for them yet.  One with another header section has two
 * descriptors, and comes alone.
 */
static int answer_message(struct drop *d, struct ipc_msg *m)
{
	struct maildrop_message found[IPC_BATCH_MAX];
	uint64_t idx = ipc_get_u64(m);
	unsigned most = ipc_get_u8(m), n = 0;
	bool shared = false;
	int err = 0, sent;

	if (ipc_end(m) < 0 || most == 0 || most > IPC_BATCH_MAX || idx >= maildrop_count(d->md))
		return POP_E_CORRUPT;
	while (n < most && idx + n < maildrop_count(d->md)) {
		err = maildrop_message(d->md, (size_t)idx + n, &found[n]);
		if (err < 0)
			break;
		n++;
		if (found[n - 1].head_length == 0)
			continue;
		if (n > 1)
			forget_messages(&found[--n], 1);
		break;
	}
	ipc_start(m, IPC_MESSAGE_ANSWER);
	ipc_put_u8(m, (uint8_t)(n > 0 ? VERDICT_OK : verdict_of(err)));
	ipc_put_u8(m, (uint8_t)n);
	shared = n > 0 && !found[0].own_fd;
	ipc_put_u8(m, shared);
	for (unsigned i = 0; i < n; i++)
		put_record(m, &found[i]);
	for (unsigned i = 0; i < (shared ? 1 : n); i++)
		ipc_put_fd(m, found[i].fd);
	if (n > 0 && found[0].head_length > 0)
		ipc_put_fd(m, found[0].head_fd);
	sent = ipc_send(&d->session, m);
	forget_messages(found, n);
	return sent;
}

/* Both bitmaps of the session, checked: no bit behind the last message, as many as it says. */
static int take_bitmaps(struct drop *d, int fd, uint64_t marked, uint8_t **maps)
{
	size_t count = maildrop_count(d->md), bytes = (count + 7) / 8;
	uint64_t bits = 0;

	*maps = NULL;
	if (count == 0 || fs_check_sealed(fd, (uint64_t)bytes * 2) < 0)
		return POP_E_CORRUPT;
	*maps = malloc(bytes * 2);
	if (!*maps)
		return POP_E_MEMORY;
	if (fs_pread_full(fd, *maps, bytes * 2, 0) != (ssize_t)(bytes * 2))
		return POP_E_CORRUPT;
	for (size_t i = 0; i < bytes * 2; i++)
		bits += (unsigned)__builtin_popcount((*maps)[i]);
	if (bits != marked)
		return POP_E_CORRUPT;
	if (count % 8 && (((*maps)[bytes - 1] | (*maps)[bytes * 2 - 1]) >> (count % 8)))
		return POP_E_CORRUPT;
	return 0;
}

/* The one expunge; afterwards this role ends. */
static int answer_quit(struct drop *d, struct ipc_msg *m)
{
	uint64_t marked = ipc_get_u64(m);
	int fd = m->n_fds > 0 ? ipc_take_fd(m) : -1, err = ipc_end(m);
	struct seen_lines lines = { .len = 0 };
	struct pop_why why = { "" };
	uint8_t *maps = NULL, *retrieved = NULL;
	size_t removed = 0;

	if (err == 0 && fd >= 0)
		err = take_bitmaps(d, fd, marked, &maps);
	else if (err == 0 && marked > 0)
		err = POP_E_CORRUPT;
	if (err == POP_E_CORRUPT)
		goto out;
	if (err == 0 && maps) {
		retrieved = maps + (maildrop_count(d->md) + 7) / 8;
		drop_seen_begin(d, &lines, retrieved, maps);
		err = maildrop_expunge(d->md, maps, d->env.mark_seen ? retrieved : NULL, &removed,
				       &why);
	}
	if (err < 0)
		drop_note(d, 3, why.text[0] ? why.text : pop_strerror(err));
	ipc_start(m, IPC_QUIT_ANSWER);
	ipc_put_u8(m, err < 0 ? VERDICT_TEMP : VERDICT_OK);
	ipc_put_u64(m, removed);
	err = ipc_send(&d->session, m);
	maildrop_save(d->md);
	drop_seen_end(d, &lines);
out:
	free(maps);
	if (fd >= 0)
		close(fd);
	return err;
}

/* The session ended without QUIT. */
static int take_retrieved(struct drop *d, struct ipc_msg *m)
{
	uint64_t retrieved = ipc_get_u64(m);
	int fd = ipc_take_fd(m), err = ipc_end(m);
	struct seen_lines lines = { .len = 0 };
	uint8_t *maps = NULL;

	if (err == 0)
		err = take_bitmaps(d, fd, retrieved, &maps);
	if (err == 0) {
		drop_seen_begin(d, &lines, maps + (maildrop_count(d->md) + 7) / 8, NULL);
		drop_seen_end(d, &lines);
	}
	free(maps);
	if (fd >= 0)
		close(fd);
	return err == POP_E_CORRUPT ? err : 0;
}

/*
 * Wait for a request of the session's.  The monitor says nothing unasked: what is
 * there of it is its end, or the word that the session hangs.  What the session has
 * said last is still to be read then (*last).
 */
static int wait_request(struct drop *d, bool *last)
{
	struct pollfd fds[2] = { { .fd = d->session.fd, .events = POLLIN },
				 { .fd = d->monitor.fd, .events = POLLIN } };

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return POP_E_SYS;
	*last = fds[1].revents != 0;
	return *last && !(fds[0].revents & POLLIN) ? POP_E_EOF : 0;
}

int drop_serve(struct drop *d)
{
	struct ipc_msg m;
	bool last;
	int err;

	for (;;) {
		drop_retry_dotlock(d);
		if ((err = wait_request(d, &last)) < 0 || (err = ipc_recv(&d->session, &m)) < 0)
			break;
		if (m.type == IPC_RETRIEVED) {
			err = take_retrieved(d, &m);
			break;
		}
		if (last) {
			ipc_wipe(&m);
			err = POP_E_EOF;
		} else if (m.type == IPC_LIST_ASK) {
			err = answer_list(d, &m);
		} else if (m.type == IPC_MESSAGE_ASK) {
			err = answer_message(d, &m);
		} else {
			err = answer_quit(d, &m);
			break;
		}
		if (err < 0)
			break;
	}
	if (err < 0 && err != POP_E_EOF)
		drop_note(d, 3, "the session role broke the message protocol");
	return err;
}
