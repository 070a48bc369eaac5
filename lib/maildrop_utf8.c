/*
 * maildrop_utf8.c - messages with 8-bit octets in the header section, for a
 * client that does not take them: refused, or with another header section.
 *
 * Runs in:  maildrop; as the mailbox's owner, under the session lock.
 * Trusts:   the backend that a message is what was scanned.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "conf.h"
#include "downgrade.h"
#include "fsutil.h"
#include "maildrop_impl.h"
#include "utf8.h"
#include "wire.h"

#define FIRST_READ 8192 /* most header sections end there */

/* The header section of a message. */
struct head {
	uint8_t *data; /* owned */
	size_t n;
	bool wanted; /* it has 8-bit octets, and is not too long */
};

/* Read to the end of the header section; a message without one is all header. */
static int read_head(const struct maildrop_message *m, struct head *h)
{
	size_t room = FIRST_READ;

	*h = (struct head){ .data = NULL };
	for (;;) {
		size_t want = m->length < room ? (size_t)m->length : room;
		uint8_t *grown = realloc(h->data, room);

		if (!grown)
			return POP_E_MEMORY;
		h->data = grown;
		if (fs_pread_full(m->fd, grown, want, (off_t)m->offset) != (ssize_t)want)
			return POP_E_CHANGED;
		h->n = downgrade_head_length(grown, want);
		if (h->n == 0 && want == m->length)
			h->n = want;
		if (h->n > 0 || room >= DOWNGRADE_HEAD_MAX || m->length == 0)
			break;
		room *= 4;
	}
	h->wanted = h->n > 0 && h->n <= DOWNGRADE_HEAD_MAX && utf8_any_8bit(h->data, h->n);
	return 0;
}

static uint64_t octets_of(const void *data, size_t n)
{
	struct wire_count c;

	wire_count_init(&c);
	wire_count_add(&c, data, n);
	return wire_count_total(&c);
}

/* The other header section, and the octets of the message with it. */
static int convert(const struct maildrop_message *m, const struct head *h, struct buf *out,
		   uint64_t *octets)
{
	int err = downgrade_head(h->data, h->n, out);

	*octets = m->octets - octets_of(h->data, h->n) + octets_of(buf_data(out), buf_len(out));
	return err;
}

int utf8_measure(struct maildrop *md, size_t idx, struct view_entry *entry)
{
	struct maildrop_message m;
	struct head h = { .data = NULL };
	struct buf out;
	int err = md->backend->message(md, idx, &m);

	if (err < 0) /* gone, or changed: that is said when it is asked for */
		return err == POP_E_MEMORY ? err : 0;
	buf_init(&out, DOWNGRADE_OUT_MAX);
	err = read_head(&m, &h);
	if (err == 0 && h.wanted) {
		err = convert(&m, &h, &out, &entry->octets);
		entry->converted = err == 0;
	}
	if (!entry->converted)
		entry->octets = m.octets;
	buf_release(&out);
	free(h.data);
	if (m.own_fd)
		close(m.fd);
	return err == POP_E_MEMORY ? err : 0;
}

/* Put the other header section before the rest of the message. */
static int replace_head(struct maildrop_message *m, const struct head *h, uint64_t octets)
{
	struct buf out;
	uint64_t now;
	int err;

	buf_init(&out, DOWNGRADE_OUT_MAX);
	err = convert(m, h, &out, &now);
	if (err == 0 && now != octets)
		err = POP_E_CHANGED;
	if (err == 0) {
		m->head_fd = fs_sealed_memfd("pop3d-header", buf_data(&out), buf_len(&out));
		if (m->head_fd < 0)
			err = m->head_fd;
	}
	if (err == 0) {
		m->head_length = buf_len(&out);
		m->octets = octets;
		m->offset += h->n;
		m->length -= h->n;
		m->flags = 0;
	}
	buf_release(&out);
	return err;
}

int utf8_apply(struct maildrop *md, size_t idx, struct maildrop_message *m)
{
	struct head h = { .data = NULL };
	int err, saved;

	if (md->env.utf8_fallback == FALLBACK_SURROGATE &&
	    (!md->viewed || !md->view[idx].converted))
		return 0;
	err = read_head(m, &h);
	if (err == 0 && md->env.utf8_fallback == FALLBACK_REFUSE)
		err = h.wanted ? POP_E_DENIED : 0;
	else if (err == 0)
		err = h.wanted ? replace_head(m, &h, md->view[idx].octets) : POP_E_CHANGED;
	saved = errno;
	free(h.data);
	if (err < 0 && m->own_fd)
		close(m->fd);
	errno = saved;
	return err;
}
