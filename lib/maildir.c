/*
 * maildir.c - the Maildir backend: open, one message, ids.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   nothing that another program may have changed since the scan: a
 *           message is checked each time it is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "maildir_impl.h"
#include "fsutil.h"
#include "uidl.h"

/* Open a directory of the mailbox.  A descriptor, POP_E_MISSING or an error with *why. */
static int open_part(const struct maildrop *md, int at, const char *name, struct pop_why *why)
{
	const char *path = md->env.spec.path, *sub = at == AT_FDCWD ? "" : name;
	struct stat st;
	int fd = fs_open_at(at, name, at == AT_FDCWD ? FS_LINKS_DIRS : FS_LINKS_NONE,
			    O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0) {
		if (errno == ENOENT)
			return POP_E_MISSING;
		if (errno == ENOTDIR || errno == ELOOP)
			return pop_why(why, POP_E_UNSAFE, "%s%s%s: not a directory", path,
				       *sub ? "/" : "", sub);
		if (errno == EACCES)
			return pop_why(why, POP_E_DENIED, "%s%s%s: cannot be read", path,
				       *sub ? "/" : "", sub);
		return pop_why_errno(why, "%s%s%s", path, *sub ? "/" : "", sub);
	}
	if (fstat(fd, &st) < 0) {
		pop_why_errno(why, "%s%s%s", path, *sub ? "/" : "", sub);
		close(fd);
		return POP_E_SYS;
	}
	if (st.st_uid != md->env.uid) {
		close(fd);
		return pop_why(why, POP_E_UNSAFE, "%s%s%s: owned by uid %lu, not %lu", path,
			       *sub ? "/" : "", sub, (unsigned long)st.st_uid,
			       (unsigned long)md->env.uid);
	}
	return fd;
}

static int open_parts(struct maildrop *md, struct pop_why *why)
{
	static const char *const subs[SUB_COUNT] = { [SUB_CUR] = "cur", [SUB_NEW] = "new" };
	struct maildir *dir = md->priv;

	dir->root_fd = open_part(md, AT_FDCWD, md->env.spec.path, why);
	for (int sub = 0; dir->root_fd >= 0 && sub < SUB_COUNT; sub++) {
		dir->fds[sub] = open_part(md, dir->root_fd, subs[sub], why);
		if (dir->fds[sub] < 0 && dir->fds[sub] != POP_E_MISSING)
			return dir->fds[sub];
		if (dir->fds[sub] >= 0 && faccessat(dir->fds[sub], ".", W_OK, AT_EACCESS) < 0)
			md->read_only = true;
	}
	return dir->root_fd < 0 && dir->root_fd != POP_E_MISSING ? dir->root_fd : 0;
}

static int maildir_open(struct maildrop *md, struct pop_why *why)
{
	struct maildir *dir = calloc(1, sizeof(*dir));
	int err;

	if (!dir)
		return pop_why(why, POP_E_MEMORY, "out of memory");
	md->priv = dir;
	dir->root_fd = dir->fds[SUB_NEW] = dir->fds[SUB_CUR] = -1;
	err = open_parts(md, why);
	if (err < 0)
		return err;
	return maildir_scan(md, why);
}

static void maildir_close(struct maildrop *md)
{
	struct maildir *dir = md->priv;

	if (!dir)
		return;
	for (int sub = 0; sub < SUB_COUNT; sub++)
		if (dir->fds[sub] >= 0)
			close(dir->fds[sub]);
	if (dir->root_fd >= 0)
		close(dir->root_fd);
	name_list_release(&dir->map);
	free(dir->removed);
	free(dir);
	md->priv = NULL;
}

static int open_name(const struct maildir *dir, enum maildir_sub sub, const char *name)
{
	int fd;

	/* a name comes from a directory, or from a file that its owner may write */
	if (!name[0] || name[0] == '.' || strchr(name, '/'))
		return POP_E_CORRUPT;
	if (dir->fds[sub] < 0)
		return POP_E_MISSING;
	fd = fs_open_at(dir->fds[sub], name, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT)
		return POP_E_MISSING;
	return errno == ELOOP || errno == ENXIO ? POP_E_CHANGED : POP_E_SYS;
}

/*
 * Open a message that is no longer under its recorded name: by the map as it
 * is, then by one that is fresh.
 */
static int open_renamed(struct maildir *dir, const struct msg *m, const char *name,
			enum maildir_sub *sub, const char **found)
{
	int fd = POP_E_MISSING, err;

	if (maildir_find(dir, m, name, sub, found) == 0)
		fd = open_name(dir, *sub, *found);
	if (fd != POP_E_MISSING)
		return fd;
	err = maildir_refresh(dir);
	if (!err)
		err = maildir_find(dir, m, name, sub, found);
	return err < 0 ? err : open_name(dir, *sub, *found);
}

/* Is the opened file what was scanned?  0, POP_E_CHANGED or POP_E_SYS. */
static int check_file(int fd, const struct msg *m, struct stat *st)
{
	struct file_stamp stamp;

	if (fstat(fd, st) < 0)
		return POP_E_SYS;
	file_stamp_of(st, &stamp);
	return S_ISREG(st->st_mode) && stamp.size == m->length && stamp.mtime_ns == m->mtime_ns
		       ? 0
		       : POP_E_CHANGED;
}

int maildir_open_message(struct maildrop *md, size_t idx, struct msg *m, struct stat *st)
{
	struct maildir *dir = md->priv;
	enum maildir_sub sub = m->flags & MSG_IN_NEW ? SUB_NEW : SUB_CUR;
	const char *name = names_get(md, m->name), *found = NULL;
	int fd = open_name(dir, sub, name), err, saved;

	if (fd == POP_E_MISSING)
		fd = open_renamed(dir, m, name, &sub, &found);
	if (fd < 0)
		return fd == POP_E_MISSING ? POP_E_CHANGED : fd;
	err = check_file(fd, m, st);
	if (err == POP_E_CHANGED) {
		m->flags |= MSG_STALE;
		dir->stale = md->changed = true;
		(void)!msg_put(md, idx, m);
	}
	if (!err && (found || m->ino != st->st_ino)) {
		m->ino = st->st_ino;
		if (found) {
			err = names_append(md, found, strlen(found), &m->name);
			m->flags &= ~(uint32_t)MSG_IN_NEW;
			m->flags |= sub == SUB_NEW ? MSG_IN_NEW : 0;
		}
		if (!err)
			err = msg_put(md, idx, m);
	}
	if (!err)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return err;
}

static int maildir_message(struct maildrop *md, size_t idx, struct maildrop_message *out)
{
	struct msg m;
	struct stat st;
	int fd, err = msg_get(md, idx, &m);

	if (err < 0)
		return err;
	fd = maildir_open_message(md, idx, &m, &st);
	if (fd < 0)
		return fd;
	*out = (struct maildrop_message){
		.fd = fd,
		.own_fd = true,
		.length = m.length,
		.octets = m.octets,
		.flags = m.flags & (MESSAGE_WIRE_FORM | MESSAGE_NO_DOT),
	};
	file_stamp_of(&st, &out->stamp);
	return 0;
}

/* The time of the file: delivery sets it, and whoever moves a Maildir keeps it. */
static int maildir_came(struct maildrop *md, const struct msg *m, int64_t *seconds)
{
	(void)md;
	*seconds = m->mtime_ns / INT64_C(1000000000);
	return 0;
}

const struct maildrop_backend maildir_backend = {
	.open = maildir_open,
	.message = maildir_message,
	.uidls = maildir_uidls,
	.came = maildir_came,
	.expunge = maildir_expunge,
	.save = maildir_save,
	.close = maildir_close,
};
