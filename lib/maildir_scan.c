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
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "maildir_impl.h"
#include "wire.h"

#define TURNS 3 /* readings, while other programs keep changing the directories */

/* Messages known from before, in the order of their bases. */
struct known {
	size_t count;
	struct msg *msgs; /* the result of the reading before */
	char *names;
};

static int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Move md's table out, so that it can be made anew. */
static void take_table(struct maildrop *md, struct known *k)
{
	free(k->msgs);
	free(k->names);
	*k = (struct known){ .count = md->count, .msgs = md->msgs, .names = md->names };
	md->msgs = NULL;
	md->names = NULL;
	md->count = md->size = md->names_len = md->names_size = 0;
	md->octets = 0;
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

/* The known message that this name is, or k->count.  known[from..to) have its base. */
static size_t match(const struct known *k, size_t from, size_t to, const struct dir_name *item,
		    bool alone)
{
	if (alone && to - from == 1)
		return from;
	for (; from < to; from++)
		if (k->msgs[from].ino == item->ino)
			return from;
	return k->count;
}

static int add_message(struct maildrop *md, const struct known *k, size_t i,
		       const struct dir_name *item)
{
	struct msg m = { 0 };
	int err;

	if (i < k->count) {
		m = k->msgs[i];
		m.flags &= ~(uint32_t)(MSG_IN_NEW | MSG_VERIFIED);
		m.ino = item->ino;
	} else {
		err = count_message(md, item, &m);
		if (err <= 0)
			return err;
	}
	if (item->sub == SUB_NEW)
		m.flags |= MSG_IN_NEW;
	err = names_append(md, item->name, strlen(item->name), &m.name);
	if (!err && m.flags & MSG_UIDL) {
		const char *id = k->names + m.uidl;

		err = names_append(md, id, strlen(id), &m.uidl);
	}
	return err < 0 ? err : msg_append(md, &m);
}

/* Join the names with what is known; both are in the order of their bases. */
static int join(struct maildrop *md, const struct name_list *l, const struct known *k)
{
	size_t from = 0, to = 0;
	int err = 0;

	for (size_t i = 0; i < l->count && !err;) {
		const struct dir_name *item = &l->items[i];
		size_t end = i + 1;

		while (end < l->count && base_compare(l->items[end].number, l->items[end].name,
						      item->number, item->name) == 0)
			end++;
		for (from = to; from < k->count; from++) {
			const char *name = k->names + k->msgs[from].name;

			if (base_compare(base_number(name), name, item->number, item->name) >= 0)
				break;
		}
		for (to = from; to < k->count; to++) {
			const char *name = k->names + k->msgs[to].name;

			if (base_compare(base_number(name), name, item->number, item->name) != 0)
				break;
		}
		for (bool alone = end - i == 1; i < end && !err; i++)
			err = add_message(md, k, match(k, from, to, &l->items[i], alone),
					  &l->items[i]);
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

/*
 * Messages that share a base stand in the order of what a copy of the Maildir
 * keeps, so that their ids are the same there.
 */
static void order_twins(struct maildrop *md)
{
	for (size_t i = 1; i < md->count; i++) {
		struct msg m = md->msgs[i];
		const char *name = names_get(md, m.name);
		size_t at = i;

		for (; at; at--) {
			const char *before = names_get(md, md->msgs[at - 1].name);

			if (!twin_before(&m, &md->msgs[at - 1]) ||
			    base_compare(base_number(before), before, base_number(name), name) != 0)
				break;
			md->msgs[at] = md->msgs[at - 1];
		}
		md->msgs[at] = m;
	}
}

/* One reading of both directories.  *stable: nothing changed meanwhile. */
static int scan_once(struct maildrop *md, const struct known *k, uint16_t turn)
{
	struct maildir *dir = md->priv;
	struct dir_stamp after[SUB_COUNT];
	struct name_list l = { 0 };
	int err;

	dir->skipped = 0;
	dir->read_at_ns = clock_ns();
	err = dir_stamp_of(dir->fds[SUB_NEW], &dir->stamps[SUB_NEW]);
	if (!err)
		err = dir_stamp_of(dir->fds[SUB_CUR], &dir->stamps[SUB_CUR]);
	if (!err)
		err = name_list_read(dir, &l, SUB_NEW, 0);
	if (!err)
		err = name_list_read(dir, &l, SUB_CUR, 1);
	/* at last, what was renamed during the first look is seen in a second one */
	if (!err && turn == TURNS - 1)
		err = name_list_read(dir, &l, SUB_CUR, 2);
	if (!err) {
		name_list_sort(&l);
		err = join(md, &l, k);
	}
	if (!err)
		err = dir_stamp_of(dir->fds[SUB_NEW], &after[SUB_NEW]);
	if (!err)
		err = dir_stamp_of(dir->fds[SUB_CUR], &after[SUB_CUR]);
	if (!err)
		dir->stable = dir_stamp_equal(&after[SUB_NEW], &dir->stamps[SUB_NEW]) &&
			      dir_stamp_equal(&after[SUB_CUR], &dir->stamps[SUB_CUR]);
	name_list_release(&l);
	return err;
}

int maildir_scan(struct maildrop *md, struct pop_why *why)
{
	struct maildir *dir = md->priv;
	struct known k = { 0 };
	int err = 0, saved;

	dir->stable = false;
	for (uint16_t turn = 0; turn < TURNS && !dir->stable && !err; turn++) {
		take_table(md, &k);
		err = scan_once(md, &k, turn);
	}
	if (!err)
		order_twins(md);
	if (!err && dir->skipped)
		maildrop_note(md, LOG_WARNING, "%s: %u entries are no readable mail files, skipped",
			      md->env.spec.path, dir->skipped);
	saved = errno;
	free(k.msgs);
	free(k.names);
	errno = saved;
	if (err == POP_E_SYS)
		return pop_why_errno(why, "%s", md->env.spec.path);
	return err < 0 ? pop_why(why, err, "%s: %s", md->env.spec.path, pop_strerror(err)) : 0;
}
