/*
 * maildir_scan.c - make the table of messages of a Maildir from its
 * directories and from what is known of it.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   what an index says of a base that is still there, until the message
 *           is opened.  Nothing else is opened twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "index.h"
#include "maildir_impl.h"
#include "stamp.h"
#include "wire.h"

#define TURNS 3 /* readings, while other programs keep changing the directories */

/* Messages known from before, in the order of their bases: an index, or an earlier reading. */
struct known {
	struct maildrop *md; /* whose strings they use */
	size_t count;
	struct msg *msgs; /* owned; NULL: those of the index */
	size_t cached;	  /* record + 1 that is in m */
	struct msg m;
	char name[NAME_MAX + 1]; /* of its file */
	uint64_t number;	 /* of its base */
};

static int known_get(struct known *k, size_t i)
{
	const char *name;
	size_t len;
	int err = 0;

	if (k->cached == i + 1)
		return 0;
	k->cached = 0;
	if (k->msgs)
		k->m = k->msgs[i];
	else
		err = index_get(k->md->index, i, &k->m);
	if (err < 0)
		return err;
	name = names_get(k->md, k->m.name);
	len = strlen(name);
	if (!len || len > NAME_MAX)
		return POP_E_CORRUPT;
	memcpy(k->name, name, len + 1);
	k->number = base_number(name);
	k->cached = i + 1;
	return 0;
}

/* Compare a known message with a name: -1, 0, 1; or an error below -1. */
static int known_compare(struct known *k, size_t i, const struct dir_name *item)
{
	int err = known_get(k, i);

	if (err < 0)
		return err - 1;
	if (!strcmp(k->name, item->name))
		return 0;
	return base_compare(k->number, k->name, item->number, item->name);
}

/* Take what the reading before made, so that the table can be made anew. */
static void take_table(struct maildrop *md, struct known *k)
{
	free(k->msgs);
	*k = (struct known){ .md = md, .count = md->count };
	if (!md->indexed && md->count) {
		k->msgs = md->msgs;
		md->msgs = NULL;
	}
	msg_clear(md);
}

/* Read the whole file and count.  0, or POP_E_SYS. */
static int count_file(struct maildir *dir, int fd, uint64_t size, struct msg *m)
{
	struct wire_count c;
	ssize_t n;

	wire_count_init(&c);
	m->length = 0;
	while (m->length < size || size == 0) {
		n = read(fd, dir->buffer, MAILDIR_BUFFER);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return POP_E_SYS;
		if (n == 0)
			break;
		wire_count_add(&c, dir->buffer, (size_t)n);
		m->length += (uint64_t)n;
	}
	m->octets = wire_count_total(&c);
	if (!c.any_bare_lf && c.at_line_start)
		m->flags |= MESSAGE_WIRE_FORM;
	if (!c.any_dot)
		m->flags |= MESSAGE_NO_DOT;
	return 0;
}

/* Open an unknown message and count it.  1, 0 (it is none, or gone), or an error. */
static int count_message(struct maildrop *md, const struct dir_name *item, struct msg *m)
{
	struct maildir *dir = md->priv;
	struct file_stamp stamp;
	struct stat st;
	int err = 1, saved;
	int fd = openat(dir->fds[item->sub], item->name,
			O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		if (errno == ENOENT)
			return 0; /* renamed or removed: the directory's stamp tells */
		if (errno == ELOOP || errno == ENXIO || errno == EACCES) {
			dir->skipped++;
			return 0;
		}
		return POP_E_SYS;
	}
	if (fstat(fd, &st) < 0) {
		err = POP_E_SYS;
	} else if (!S_ISREG(st.st_mode)) {
		dir->skipped++;
		err = 0;
	} else {
		file_stamp_of(&st, &stamp);
		m->ino = stamp.ino;
		m->mtime_ns = stamp.mtime_ns;
		if (count_file(dir, fd, stamp.size, m) < 0)
			err = POP_E_SYS;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return err;
}

/*
 * Which of the known messages [from, to), all of this name's base, it is: *found, or
 * k->count.  0 or an error.
 */
static int match(struct known *k, size_t from, size_t to, const struct dir_name *item, bool alone,
		 size_t *found)
{
	int err = 0;

	*found = k->count;
	if (alone && to - from == 1)
		*found = from;
	for (; *found == k->count && from < to && !err; from++) {
		err = known_get(k, from);
		if (!err && k->m.ino == item->ino)
			*found = from;
	}
	return err;
}

/* Measure a message that is not known, or (known: i) was found changed. */
static int measure(struct maildrop *md, struct known *k, size_t i, const struct dir_name *item,
		   struct msg *m)
{
	const uint32_t ids = MSG_SETTLED | MSG_UIDL | MSG_DIGEST;
	int err = count_message(md, item, m);

	if (err > 0 && i < k->count) {
		m->flags |= k->m.flags & ids;
		m->suffix = k->m.suffix;
		m->uidl = k->m.uidl;
		memcpy(m->digest, k->m.digest, sizeof(m->digest));
	}
	return err;
}

static int add_message(struct maildrop *md, struct known *k, size_t i, const struct dir_name *item)
{
	struct msg m = { 0 };
	int err = i < k->count ? known_get(k, i) : 0;

	if (err < 0)
		return err;
	if (i < k->count && !(k->m.flags & MSG_STALE)) {
		m = k->m;
		m.flags &= ~(uint32_t)(MSG_IN_NEW | MSG_VERIFIED);
		m.ino = item->ino;
	} else {
		err = measure(md, k, i, item, &m);
		if (err <= 0)
			return err;
		err = 0;
	}
	if (item->sub == SUB_NEW)
		m.flags |= MSG_IN_NEW;
	if (i == k->count || strcmp(k->name, item->name) != 0)
		err = names_append(md, item->name, strlen(item->name), &m.name);
	else
		m.name = k->m.name;
	return err < 0 ? err : msg_append(md, &m);
}

/* Join the names with what is known; both are in the order of their bases. */
static int join(struct maildrop *md, const struct name_list *l, struct known *k)
{
	size_t from, to = 0;
	int err = 0;

	for (size_t i = 0; i < l->count && !err;) {
		const struct dir_name *item = &l->items[i];
		size_t end = i + 1;
		int order = 1;

		while (end < l->count && base_compare(l->items[end].number, l->items[end].name,
						      item->number, item->name) == 0)
			end++;
		for (from = to; from < k->count; from++)
			if ((order = known_compare(k, from, item)) != -1)
				break;
		to = from;
		while (to < k->count && order == 0)
			if (++to < k->count)
				order = known_compare(k, to, item);
		if (order < -1)
			return order + 1;
		for (bool alone = end - i == 1; i < end && !err; i++) {
			size_t found;

			err = match(k, from, to, &l->items[i], alone, &found);
			if (!err)
				err = add_message(md, k, found, &l->items[i]);
		}
	}
	return err;
}

static bool twin_before(const struct msg *a, const struct msg *b)
{
	if (a->mtime_ns != b->mtime_ns)
		return a->mtime_ns < b->mtime_ns;
	if (a->length != b->length)
		return a->length < b->length;
	return a->ino < b->ino;
}

static int same_base(struct maildrop *md, uint32_t a, uint32_t b, bool *same)
{
	const char *name = names_get(md, a);
	size_t len = base_length(name);
	char copy[NAME_MAX + 1];

	*same = false;
	if (len > NAME_MAX)
		return POP_E_CORRUPT;
	memcpy(copy, name, len);
	name = names_get(md, b);
	*same = base_length(name) == len && !memcmp(name, copy, len);
	return 0;
}

/*
 * Messages that share a base stand in the order of what a copy of the Maildir
 * keeps, so that their ids are the same there.
 */
static int order_twins(struct maildrop *md)
{
	struct msg *msgs = md->msgs;

	for (size_t i = 1; i < md->count; i++) {
		for (size_t at = i; at && twin_before(&msgs[at], &msgs[at - 1]); at--) {
			struct msg m = msgs[at];
			bool same;
			int err = same_base(md, m.name, msgs[at - 1].name, &same);

			if (err < 0)
				return err;
			if (!same)
				break;
			msgs[at] = msgs[at - 1];
			msgs[at - 1] = m;
		}
	}
	return 0;
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

static int list_all(struct maildrop *md, struct known *k, uint16_t turn, struct name_list *l)
{
	struct maildir *dir = md->priv;
	int err = name_list_read(dir, l, SUB_NEW, 0);

	if (err < 0)
		return err;
	if (proven(md, SUB_CUR, &dir->stamps[SUB_CUR]))
		return list_known_cur(k, l);
	err = name_list_read(dir, l, SUB_CUR, 1);
	/* at last, what was renamed during the first look is seen in a second one */
	if (!err && turn == TURNS - 1)
		err = name_list_read(dir, l, SUB_CUR, 2);
	return err;
}

/* One reading of the directories.  *stable: nothing changed meanwhile. */
static int scan_once(struct maildrop *md, struct known *k, uint16_t turn, bool *stable)
{
	struct maildir *dir = md->priv;
	struct dir_stamp after[SUB_COUNT];
	struct name_list l = { 0 };
	int64_t now_ns = stamp_now_ns();
	int err = read_stamps(dir, dir->stamps);

	dir->skipped = 0;
	if (!err)
		err = list_all(md, k, turn, &l);
	if (!err) {
		err = name_list_sort(&l);
		if (!err)
			err = join(md, &l, k);
	}
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
	md->uidls_known = md->index_ids = index_head(md->index)->bits & INDEX_UIDLS;
	return 1;
}

static int scan(struct maildrop *md)
{
	struct known k = { 0 };
	bool stable = false;
	int err = 0, saved;

	for (uint16_t turn = 0; turn < TURNS && !stable && !err; turn++) {
		take_table(md, &k);
		err = scan_once(md, &k, turn, &stable);
	}
	if (!err)
		err = order_twins(md);
	saved = errno;
	free(k.msgs);
	errno = saved;
	return err;
}

int maildir_scan(struct maildrop *md, struct pop_why *why)
{
	struct maildir *dir = md->priv;
	struct index *ix;
	int err = 0;

	if (index_open(&ix, md->env.state_fd, &md->env.spec) == 0) {
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
	if (!err && dir->skipped)
		maildrop_note(md, LOG_WARNING, "%s: %u entries are no readable mail files, skipped",
			      md->env.spec.path, dir->skipped);
	if (err == POP_E_SYS)
		return pop_why_errno(why, "%s", md->env.spec.path);
	return err < 0 ? pop_why(why, err, "%s: %s", md->env.spec.path, pop_strerror(err)) : 0;
}
