/*
 * maildrop_view.c - what a session sees of a maildrop, where that is not all as
 * it is stored.
 *
 * Runs in:  maildrop; as the mailbox's owner, under the session lock.
 * Trusts:   its caller.
 *
 * The table of messages, the index and the ids are those of the whole maildrop; a
 * view is a list of places in it.  Most sessions have none.
 */
#include <stdlib.h>
#include "maildrop_impl.h"

/* Is it old enough to be hidden?  What has no date is shown. */
static bool is_hidden(struct maildrop *md, const struct msg *m)
{
	int64_t came;

	return md->env.show_after && md->backend->came(md, m, &came) == 0 &&
	       came < md->env.show_after;
}

int view_make(struct maildrop *md)
{
	if (!md->env.show_after)
		return 0;
	md->view = calloc(md->count + 1, sizeof(*md->view));
	if (!md->view)
		return POP_E_MEMORY;
	md->viewed = true;
	for (size_t idx = 0; idx < md->count; idx++) {
		struct msg m;
		int err = msg_get(md, idx, &m);

		if (err < 0)
			return err;
		if (is_hidden(md, &m))
			continue;
		md->view[md->view_count++] = (struct view_entry){ idx, m.octets };
		md->view_octets += m.octets;
	}
	return 0;
}

size_t view_place(const struct maildrop *md, size_t idx)
{
	return md->viewed ? md->view[idx].idx : idx;
}

uint8_t *view_bits(const struct maildrop *md, const uint8_t *bits)
{
	uint8_t *all = calloc(md->count / 8 + 1, 1);

	for (size_t i = 0; all && i < md->view_count; i++)
		if (bits[i / 8] >> (i % 8) & 1)
			all[md->view[i].idx / 8] |= (uint8_t)(1U << (md->view[i].idx % 8));
	return all;
}
