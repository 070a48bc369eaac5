/*
 * maildir_join.c - make messages of names: of those that are known what is
 * known, of the others what their files hold.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   what is known of a base that is still there, until the message is
 *           opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "index.h"
#include "fsutil.h"
#include "maildir_impl.h"
#include "wire.h"

int known_get(struct known *k, size_t i)
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
		err = index_get(k->md->index, k->only ? k->only[i] : i, &k->m);
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

/* What is not stored is counted without being read. */
static int pass_hole(int fd, uint64_t size, struct msg *m, struct wire_count *c)
{
	uint64_t end = fs_hole_end(fd, m->length, size);

	wire_count_zeros(c, end - m->length);
	m->length = end;
	return lseek(fd, (off_t)end, SEEK_SET) < 0 ? POP_E_SYS : 0;
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
		if (n == MAILDIR_BUFFER && fs_all_zero(dir->buffer, MAILDIR_BUFFER) &&
		    pass_hole(fd, size, m, &c) < 0)
			return POP_E_SYS;
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
	int fd = fs_open_at(dir->fds[item->sub], item->name, FS_LINKS_NONE, O_RDONLY, 0);

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

/*
 * Is what is known of message k->m still to be believed for this name?  Where the inode is
 * another one, a copy came in its place (with its times), or another message of that base.
 */
static bool believed(const struct maildrop *md, const struct known *k, const struct dir_name *item)
{
	const struct maildir *dir = md->priv;
	struct file_stamp stamp;
	struct stat st;

	if (k->m.flags & MSG_STALE)
		return false;
	if (k->m.ino == item->ino)
		return true;
	if (fstatat(dir->fds[item->sub], item->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	file_stamp_of(&st, &stamp);
	return S_ISREG(st.st_mode) && stamp.size == k->m.length && stamp.mtime_ns == k->m.mtime_ns;
}

static int add_message(struct maildrop *md, struct known *k, size_t i, const struct dir_name *item)
{
	struct msg m = { 0 };
	int err = i < k->count ? known_get(k, i) : 0;

	if (err < 0)
		return err;
	if (i < k->count && believed(md, k, item)) {
		m = k->m;
		m.flags &= ~(uint32_t)MSG_IN_NEW;
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

int maildir_join(struct maildrop *md, const struct name_list *l, struct known *k)
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

int maildir_order_twins(struct maildrop *md)
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
