/*
 * maildir_scan.c - make the table of messages of a Maildir from its
 * directories and from what is known of it.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   an index where the directories' stamps are those that it was made
 *           from and were clean then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "index.h"
#include "maildir_impl.h"
#include "stamp.h"

#define TURNS 3 /* readings, while other programs keep changing the directories */

/* Take what the reading before made, so that the table can be made anew. */
static void take_table(struct maildrop *md, struct known *k)
{
	*k = (struct known){ .md = md, .count = md->count };
	if (!md->indexed && md->count) {
		k->msgs = md->msgs;
		md->msgs = NULL;
	}
	msg_clear(md);
}

static int read_stamps(const struct maildir *dir, struct dir_stamp out[SUB_COUNT])
{
	int err = dir_stamp_of(dir->fds[SUB_NEW], &out[SUB_NEW]);

	return err < 0 ? err : dir_stamp_of(dir->fds[SUB_CUR], &out[SUB_CUR]);
}

static int64_t margin_of(const struct maildir *dir, int sub)
{
	return dir->fds[sub] < 0 ? 0 : stamp_margin_ns(dir->fds[sub]);
}

/* Does the index prove what a directory with this stamp holds? */
static bool proven(const struct maildrop *md, int sub, const struct dir_stamp *now)
{
	const struct maildir *dir = md->priv;
	const struct file_stamp *made;
	struct dir_stamp then;

	if (!md->index)
		return false;
	made = &index_head(md->index)->made_from[sub];
	then = (struct dir_stamp){ made->ino, made->mtime_ns, made->ctime_ns };
	return index_head(md->index)->bits & INDEX_CLEAN(sub) && dir_stamp_equal(&then, now) &&
	       margin_of(dir, sub) != STAMP_NEVER;
}

/* The names in cur, as they are known. */
static int list_known_cur(struct known *k, struct name_list *l)
{
	int err = 0;

	for (size_t i = 0; i < k->count && !err; i++) {
		err = known_get(k, i);
		if (!err && !(k->m.flags & MSG_IN_NEW))
			err = name_list_add(l, k->name, k->m.ino, SUB_CUR, 1);
	}
	return err;
}

/* Read the names; *kept: the directory whose names the index proves, left out, or -1. */
static int list_names(struct maildrop *md, uint16_t turn, struct name_list *l, int *kept)
{
	struct maildir *dir = md->priv;
	int err = name_list_read(dir, l, SUB_NEW, 0);

	*kept = -1;
	if (err < 0)
		return err;
	if (proven(md, SUB_CUR, &dir->stamps[SUB_CUR])) {
		*kept = SUB_CUR;
		return 0;
	}
	err = name_list_read(dir, l, SUB_CUR, 1);
	/* at last, what was renamed during the first look is seen in a second one */
	if (!err && turn == TURNS - 1)
		err = name_list_read(dir, l, SUB_CUR, 2);
	return err;
}

/* Make the table of the names. */
static int use_names(struct maildrop *md, struct name_list *l, int kept)
{
	struct known k = { 0 };
	int err = 0, saved;

	if (md->index && md->indexed == index_head(md->index)->count) {
		err = maildir_join_index(md, l, kept);
		if (err)
			return err < 0 ? err : 0;
	}
	take_table(md, &k);
	if (kept == SUB_CUR)
		err = list_known_cur(&k, l);
	if (!err)
		err = name_list_sort(l);
	if (!err)
		err = maildir_join(md, l, &k);
	if (!err)
		err = maildir_order_twins(md);
	saved = errno;
	free(k.msgs);
	errno = saved;
	return err;
}

/* One reading of the directories.  *stable: nothing changed meanwhile. */
static int scan_once(struct maildrop *md, uint16_t turn, bool *stable)
{
	struct maildir *dir = md->priv;
	struct dir_stamp after[SUB_COUNT];
	struct name_list l = { 0 };
	int64_t now_ns = stamp_now_ns();
	int err = read_stamps(dir, dir->stamps), kept;

	dir->skipped = 0;
	if (!err)
		err = list_names(md, turn, &l, &kept);
	if (!err)
		err = use_names(md, &l, kept);
	name_list_release(&l);
	if (!err)
		err = read_stamps(dir, after);
	*stable = true;
	for (int sub = 0; sub < SUB_COUNT && !err; sub++) {
		const struct dir_stamp *s = &dir->stamps[sub];
		int64_t newest = s->mtime_ns > s->ctime_ns ? s->mtime_ns : s->ctime_ns;

		dir->clean[sub] = dir_stamp_equal(s, &after[sub]) &&
				  stamp_is_clean(newest, now_ns, margin_of(dir, sub));
		*stable = *stable && dir_stamp_equal(s, &after[sub]);
	}
	return err;
}

/* Use the index in place, where it is proven for both directories.  1 or 0, or an error. */
static int use_index(struct maildrop *md)
{
	struct maildir *dir = md->priv;
	int err = read_stamps(dir, dir->stamps);

	if (err < 0)
		return err;
	for (int sub = 0; sub < SUB_COUNT; sub++) {
		dir->clean[sub] = proven(md, sub, &dir->stamps[sub]);
		if (!dir->clean[sub])
			return 0;
	}
	maildrop_trust_ids(md);
	return 1;
}

static int scan(struct maildrop *md)
{
	uint8_t *buffer = malloc(MAILDIR_BUFFER);
	struct maildir *dir = md->priv;
	bool stable = false;
	int err = 0, saved;

	if (!buffer)
		return POP_E_MEMORY;
	dir->buffer = buffer;
	for (uint16_t turn = 0; turn < TURNS && !stable && !err; turn++)
		err = scan_once(md, turn, &stable);
	dir->buffer = NULL;
	saved = errno;
	free(buffer);
	errno = saved;
	return err;
}

int maildir_scan(struct maildrop *md, struct pop_why *why)
{
	struct maildir *dir = md->priv;
	struct index *ix;
	int err = 0;

	if (!md->env.fresh && index_open(&ix, md->env.state_fd, &md->env.spec) == 0) {
		msg_use_index(md, ix);
		err = use_index(md);
		if (err > 0)
			return 0;
	}
	if (!err)
		err = scan(md);
	if (err == POP_E_CORRUPT && md->index) {
		/* of a damaged index nothing is used */
		msg_table_release(md);
		err = scan(md);
	}
	md->changed = true;
	if (!err && md->index)
		maildrop_trust_ids(md);
	if (!err && dir->skipped)
		maildrop_note(md, LOG_WARNING, "%s: %u entries are no readable mail files, skipped",
			      md->env.spec.path, dir->skipped);
	if (err == POP_E_SYS)
		return pop_why_errno(why, "%s", md->env.spec.path);
	return err < 0 ? pop_why(why, err, "%s: %s", md->env.spec.path, pop_strerror(err)) : 0;
}
