/*
 * maildir_save.c - write the index of a Maildir from what the session knows.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock,
 *           after the client was answered.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "index.h"
#include "maildir_impl.h"

static bool is_removed(const struct maildir *dir, size_t idx)
{
	return dir->removed && dir->removed[idx / 8] >> idx % 8 & 1;
}

/* What the index is made from: a directory that we changed ourselves is not proven. */
static void fill_head(const struct maildrop *md, struct index_head *head)
{
	const struct maildir *dir = md->priv;

	*head = (struct index_head){ .bits = md->uidls_known ? INDEX_UIDLS | INDEX_PLAIN : 0 };
	head->imported = maildrop_imports(md);
	for (int sub = 0; sub < SUB_COUNT; sub++) {
		head->made_from[sub].ino = dir->stamps[sub].ino;
		head->made_from[sub].mtime_ns = dir->stamps[sub].mtime_ns;
		head->made_from[sub].ctime_ns = dir->stamps[sub].ctime_ns;
		if (dir->clean[sub] && !dir->stale)
			head->bits |= INDEX_CLEAN(sub);
	}
}

/* The id where it is not the base of the name, into uidl.  1, 0, or an error. */
static int own_id(struct maildrop *md, const struct msg *m, char uidl[UIDL_MAX + 1])
{
	bool settled = md->uidls_known || m->flags & MSG_SETTLED;

	if (!settled || (!(m->flags & (MSG_UIDL | MSG_DIGEST)) && !m->suffix))
		return 0;
	return msg_uidl(md, m, uidl) < 0 ? POP_E_CORRUPT : 1;
}

/* What is gathered while the records are written. */
struct saving {
	struct index_writer *w;
	struct index_head head;
	char before[NAME_MAX + 1]; /* the name before */
};

static int write_message(struct maildrop *md, struct saving *s, size_t idx)
{
	char uidl[UIDL_MAX + 1];
	const char *name;
	struct msg m;
	int err = msg_get(md, idx, &m), own;

	if (err < 0)
		return err;
	own = own_id(md, &m, uidl);
	if (own < 0)
		return own;
	if (md->uidls_known)
		m.flags |= MSG_SETTLED;
	s->head.octets += m.octets;
	name = names_get(md, m.name);
	if (strlen(name) > NAME_MAX)
		return POP_E_CORRUPT;
	if (own || base_compare(base_number(s->before), s->before, base_number(name), name) >= 0)
		s->head.bits &= ~INDEX_PLAIN;
	memcpy(s->before, name, strlen(name) + 1);
	return index_write(s->w, &m, name, own ? uidl : NULL);
}

void maildir_save(struct maildrop *md)
{
	const struct maildir *dir = md->priv;
	struct saving s = { .w = NULL };
	int err;

	fill_head(md, &s.head);
	for (size_t idx = 0; idx < md->count; idx++)
		s.head.count += !is_removed(dir, idx);
	err = index_write_begin(&s.w, md->env.state_fd, &md->env.spec, s.head.count);
	for (size_t idx = 0; idx < md->count && !err; idx++)
		if (!is_removed(dir, idx))
			err = write_message(md, &s, idx);
	if (!err)
		err = index_write_commit(s.w, &s.head);
	else if (s.w)
		index_write_abort(s.w);
	if (!err)
		md->changed = false;
	else
		maildrop_note(md, LOG_INFO, "%s: cannot save the index: %s", md->env.spec.path,
			      err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
}
