/*
 * imported_apply.c - give messages the ids that were imported for them.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   nothing in the file of imported ids but its form.
 */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "imported.h"
#include "maildrop_impl.h"
#include "uidl.h"

/* The ids that settled messages have: an imported one must not take theirs. */
static int enter_settled(struct maildrop *md, struct uidl_set *taken)
{
	char id[UIDL_MAX + 1];
	int err = 0, len;

	for (size_t idx = 0; err >= 0 && idx < md->count; idx++) {
		struct msg m;

		err = msg_get(md, idx, &m);
		if (err < 0 || !(m.flags & (MSG_SETTLED | MSG_UIDL)))
			continue;
		len = msg_uidl(md, &m, id);
		if (len > 0)
			err = uidl_set_add(taken, id, (size_t)len);
	}
	return err < 0 ? err : 0;
}

/*
 * The id for a message, or NULL.  counts, one for each entry, say how often a
 * digest was met so far.
 */
static const char *lookup(struct maildrop *md, struct imported *im, uint32_t *counts,
			  const struct msg *m)
{
	const char *name;
	size_t place;

	if (md->env.spec.kind == MAILDROP_MAILDIR) {
		name = names_get(md, m->name);
		return imported_by_base(im, name, strcspn(name, ":"));
	}
	place = m->flags & MSG_DIGEST ? imported_digest_place(im, m->digest) : SIZE_MAX;
	return place == SIZE_MAX ? NULL : imported_by_digest(im, m->digest, ++counts[place]);
}

static int give(struct maildrop *md, size_t idx, struct msg *m, const char *id,
		struct uidl_set *taken)
{
	int err = uidl_set_add(taken, id, strlen(id));

	if (err <= 0)
		return err; /* another message has it */
	err = names_append(md, id, strlen(id), &m->uidl);
	if (err < 0)
		return err;
	m->flags |= MSG_UIDL | MSG_SETTLED;
	m->suffix = 0;
	return msg_put(md, idx, m);
}

static int give_all(struct maildrop *md, struct imported *im)
{
	uint32_t *counts = calloc(im->count, sizeof(*counts));
	struct uidl_set taken = { 0 };
	int err = counts ? uidl_set_init(&taken, im->count) : POP_E_MEMORY;

	if (!err)
		err = enter_settled(md, &taken);
	for (size_t idx = 0; !err && idx < md->count; idx++) {
		const char *id;
		struct msg m;

		err = msg_get(md, idx, &m);
		if (err < 0)
			break;
		id = lookup(md, im, counts, &m);
		/* what was imported since comes before what was settled without it */
		if (id && (md->imports_new || !(m.flags & (MSG_SETTLED | MSG_UIDL))))
			err = give(md, idx, &m, id, &taken);
	}
	uidl_set_release(&taken);
	free(counts);
	return err;
}

int imported_apply(struct maildrop *md)
{
	struct pop_why why = { "" };
	struct imported im;
	int err = imported_load(&im, md->env.state_fd, md->env.uid, &why);

	if (err < 0)
		maildrop_note(md, LOG_ERR, "%s", why.text);
	else if (im.count)
		err = give_all(md, &im);
	imported_release(&im);
	return err;
}
