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
#include "conf.h"
#include "maildrop_impl.h"

/* Is it old enough to be hidden?  What has no date is shown. */
static bool is_hidden(struct maildrop *md, const struct msg *m)
{
	int64_t came;

	return md->env.show_after && md->backend->came(md, m, &came) == 0 &&
	       came < md->env.show_after;
}

/* A view that shows all as it is is none. */
static void drop_view(struct maildrop *md)
{
	free(md->view);
	md->view = NULL;
	md->view_count = 0;
	md->view_octets = 0;
	md->viewed = false;
}

int view_make(struct maildrop *md)
{
	bool measure = md->env.utf8_fallback == FALLBACK_SURROGATE, differs = false;

	if (!md->env.show_after && !measure)
		return 0;
	md->view = calloc(md->count + 1, sizeof(*md->view));
	if (!md->view)
		return POP_E_MEMORY;
	md->viewed = true;
	for (size_t idx = 0; idx < md->count; idx++) {
		struct view_entry *entry = &md->view[md->view_count];
		struct msg m;
		int err = msg_get(md, idx, &m);

		if (err == 0 && is_hidden(md, &m)) {
			differs = true;
			continue;
		}
		*entry = (struct view_entry){ .idx = idx, .octets = m.octets };
		if (err == 0 && measure)
			err = utf8_measure(md, idx, entry);
		if (err < 0)
			return err;
		differs |= entry->converted;
		md->view_count++;
		md->view_octets += entry->octets;
	}
	if (!differs)
		drop_view(md);
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
