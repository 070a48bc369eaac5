/*
 * trash_restore.c - bring a removed message back into its maildrop, under its old id.
 *
 * Runs in:  pop3admin's child, as the maildrop's owner, under the session lock.
 * Trusts:   nothing of what was kept.
 *
 * The message is in the maildrop, synced, before it leaves the trash.  What is in
 * both after a crash is not shown in the trash, so it is not brought back twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fsutil.h"
#include "maildir_impl.h"
#include "mbox.h"
#include "trash_impl.h"
#include "uidl.h"

#define PIECE (16u << 20) /* bytes of one write: whole, for nearly every message */

/* --- its id ----------------------------------------------------------------------- */

static int digest_of(const struct trash *t, struct maildrop *md, size_t i, uint8_t out[1][16])
{
	const struct trash_item *item = &t->items[i];
	int dir = trash_root(&md->env, true), fd = -1, err = POP_E_SYS;
	struct msg m;

	if (dir >= 0)
		fd = fs_open_at(dir, t->names + item->box, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd >= 0)
		err = trash_scan(fd, item, &m);
	if (!err)
		err = trash_digest(md, fd, &m, out);
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return err;
}

static int maildir_needs(const struct trash *t, struct maildrop *md, size_t i, struct imported *im)
{
	const struct trash_item *item = &t->items[i];
	const char *name = t->names + item->name;
	const char *imported = imported_by_base(im, name, base_length(name));
	char plain[UIDL_MAX + 1];
	int err;

	if (imported)
		return strcmp(imported, item->uidl) != 0;
	err = trash_plain_id(md, name, plain);
	return err < 0 ? err : strcmp(plain, item->uidl) != 0;
}

static int mbox_needs(const struct trash *t, struct maildrop *md, size_t i, struct imported *im)
{
	char plain[UIDL_MAX + 1];
	uint8_t digest[1][16];
	int err = digest_of(t, md, i, digest);

	if (err < 0)
		return err;
	uidl_format_digest(digest[0], 0, plain);
	return imported_digest_place(im, digest[0]) != SIZE_MAX ||
	       strcmp(plain, t->items[i].uidl) != 0;
}

int trash_needs_import(const struct trash *t, struct maildrop *md, size_t i)
{
	struct imported im;
	int err = imported_load(&im, md->env.state_fd, md->env.uid, NULL);

	if (!err)
		err = md->env.spec.kind == MAILDROP_MBOX ? mbox_needs(t, md, i, &im)
							 : maildir_needs(t, md, i, &im);
	imported_release(&im);
	return err;
}

/* The place that the message will have among those of its digest: the last. */
static int next_ordinal(struct maildrop *fresh, const uint8_t digest[16], uint32_t *ordinal)
{
	struct imported_keys keys;
	char key[IMPORTED_KEY_MAX];
	size_t len;
	int err = imported_keys_make(&keys, fresh);

	imported_digest_key(digest, 1, key);
	len = strlen(key) - 1; /* without the ordinal */
	*ordinal = 1;
	for (size_t idx = 0; !err && idx < keys.count; idx++)
		*ordinal += strncmp(imported_key(&keys, idx), key, len) == 0;
	imported_keys_release(&keys);
	return err;
}

/* Import its id, so that it is the message's whatever its name or digest says. */
static int import_id(const struct trash *t, struct maildrop *md, struct maildrop *fresh, size_t i,
		     struct pop_why *why)
{
	const struct trash_item *item = &t->items[i];
	const char *name = t->names + item->name;
	uint8_t digest[1][16];
	struct imported im;
	uint32_t ordinal;
	int err = imported_load(&im, md->env.state_fd, md->env.uid, why);

	if (!err && md->env.spec.kind == MAILDROP_MAILDIR) {
		err = imported_set_base(&im, name, base_length(name), item->uidl);
	} else if (!err) {
		err = digest_of(t, md, i, digest);
		if (!err)
			err = next_ordinal(fresh, digest[0], &ordinal);
		if (!err)
			err = imported_set_digest(&im, digest[0], ordinal, item->uidl);
	}
	if (err > 0)
		err = imported_save(&im, md->env.state_fd);
	imported_release(&im);
	if (err < 0 && !(why && why->text[0]))
		pop_why(why, err, "the id %s cannot be kept: %s", item->uidl, pop_strerror(err));
	return err < 0 ? err : 0;
}

/* --- a Maildir -------------------------------------------------------------------- */

/* To where it was, or beside it where another message has its name there. */
static int move_back(const struct maildir *dir, int day, const char *name, enum maildir_sub *sub)
{
	int err = maildir_rename_new(day, name, dir->fds[*sub], name);

	if (err == 0 || errno != EEXIST)
		return err;
	*sub = *sub == SUB_NEW ? SUB_CUR : SUB_NEW;
	if (dir->fds[*sub] >= 0)
		err = maildir_rename_new(day, name, dir->fds[*sub], name);
	return err;
}

static int restore_file(const struct trash *t, struct maildrop *md, size_t i, struct pop_why *why)
{
	const struct trash_item *item = &t->items[i];
	const char *name = t->names + item->name, *box = t->names + item->box;
	enum maildir_sub sub = name[base_length(name)] ? SUB_CUR : SUB_NEW;
	struct maildir *dir = md->priv;
	int root, day = -1, err = POP_E_SYS;
	struct stat st = { .st_size = 0 };

	if (dir->fds[sub] < 0)
		return pop_why(why, POP_E_MISSING, "%s: has no new and cur; make the Maildir first",
			       md->env.spec.path);
	root = trash_root(&md->env, false);
	if (root >= 0)
		day = fs_open_at(root, box, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (day >= 0 && fstatat(day, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		err = move_back(dir, day, name, &sub);
	if (err < 0 && errno == EEXIST)
		err = pop_why(why, POP_E_EXISTS, "%s: a message of that name is there", name);
	else if (err < 0)
		pop_why_errno(why, "%s/%s", box, name);
	else if (fsync(dir->fds[sub]) < 0 || fsync(day) < 0)
		err = pop_why_errno(why, "%s/%s", box, name);
	if (!err) {
		maildir_tell_quota(md, st.st_size, 1);
		unlinkat(root, box, AT_REMOVEDIR); /* where it was the last one */
	}
	if (day >= 0)
		close(day);
	if (root >= 0)
		close(root);
	return err;
}

/* --- an mbox ---------------------------------------------------------------------- */

/* Line ends that are missing behind these last bytes, for another message to follow. */
static size_t line_ends_missing(const uint8_t *tail, size_t n)
{
	if (n == 0)
		return 0;
	if (tail[n - 1] != '\n')
		return 2;
	if (n >= 2 && tail[n - 2] == '\n')
		return 0;
	return n >= 3 && tail[n - 2] == '\r' && tail[n - 3] == '\n' ? 0 : 1;
}

static int read_tail(int fd, uint64_t size, uint8_t tail[3], size_t *n)
{
	*n = size < 3 ? (size_t)size : 3;
	return fs_pread_full(fd, tail, *n, (off_t)(size - *n)) == (ssize_t)*n ? 0 : POP_E_SYS;
}

/*
 * Append the message: in one write, but for a huge one, with the line ends that belong
 * before and behind it.
 */
static int append(int from, const struct trash_item *item, int box, uint64_t size)
{
	size_t room = item->bytes < PIECE ? (size_t)item->bytes : PIECE, used, n;
	uint8_t *buf = malloc(room + 8), tail[3];
	uint64_t at = size, left = item->bytes, start = item->start;
	int err = buf ? read_tail(box, size, tail, &n) : POP_E_MEMORY;

	used = err ? 0 : line_ends_missing(tail, n);
	if (used)
		memset(buf, '\n', used);
	while (!err && left) {
		size_t want = left < room ? (size_t)left : room;

		if (fs_pread_full(from, buf + used, want, (off_t)start) != (ssize_t)want)
			err = POP_E_CORRUPT;
		used += want;
		start += want;
		left -= want;
		if (!err && !left) {
			n = line_ends_missing(buf, used);
			memset(buf + used, '\n', n);
			used += n;
		}
		if (!err)
			err = fs_pwrite_all(box, buf, used, (off_t)at);
		at += used;
		used = 0;
	}
	free(buf);
	if (!err && fsync(box) < 0)
		err = POP_E_SYS;
	if (err) {
		int saved = errno;

		(void)!ftruncate(box, (off_t)size); /* no half message stays */
		errno = saved;
	}
	return err;
}

/* It is in the mailbox: so it is no longer kept. */
static void strike(int dir, const char *name, uint64_t state_at)
{
	int fd = fs_open_at(dir, name, FS_LINKS_NONE, O_WRONLY, 0);
	size_t left;

	if (fd < 0)
		return;
	/* only where it is certain that nothing else is in it */
	if (pwrite(fd, "r", 1, (off_t)state_at) == 1 && trash_box_count(dir, name, &left) == 0 &&
	    left == 0)
		unlinkat(dir, name, 0);
	close(fd);
}

static int restore_locked(const struct trash *t, struct maildrop *md, size_t i, int box,
			  struct pop_why *why)
{
	const struct trash_item *item = &t->items[i];
	const char *name = t->names + item->box;
	int dir = trash_root(&md->env, true), fd = -1, err = POP_E_SYS;
	struct stat st = { .st_size = 0 };
	struct msg m;

	if (dir >= 0)
		fd = fs_open_at(dir, name, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd >= 0 && fstat(box, &st) == 0)
		err = trash_scan(fd, item, &m);
	if (!err)
		err = append(fd, item, box, (uint64_t)st.st_size);
	if (err == POP_E_SYS)
		pop_why_errno(why, "%s", md->env.spec.path);
	else if (err < 0)
		pop_why(why, err, "%s/%s: %s", TRASH_OF_MBOX, name, pop_strerror(err));
	else
		strike(dir, name, item->state_at);
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	return err;
}

static int restore_bytes(const struct trash *t, struct maildrop *md, size_t i, struct pop_why *why)
{
	struct mbox_lock lock;
	int err = mbox_lock_of(md, &lock, why);

	if (err < 0)
		return err;
	if (lock.fd < 0)
		err = pop_why(why, POP_E_MISSING,
			      "there is no mailbox %s to bring mail back into; make an empty one "
			      "that belongs to its owner",
			      md->env.spec.path);
	else if (lock.read_only)
		err = pop_why(why, POP_E_DENIED, "%s: may not be written", md->env.spec.path);
	else
		err = restore_locked(t, md, i, lock.fd, why);
	mbox_unlock_of(md, &lock);
	return err;
}

int trash_restore(struct trash *t, struct maildrop *md, struct maildrop *fresh, size_t i,
		  struct pop_why *why)
{
	int err = fresh ? import_id(t, md, fresh, i, why) : 0;

	if (err < 0)
		return err;
	return md->env.spec.kind == MAILDROP_MBOX ? restore_bytes(t, md, i, why)
						  : restore_file(t, md, i, why);
}
