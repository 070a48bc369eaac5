/*
 * trash_move.c - keep what an expunge removes from a Maildir: by rename, no copy.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   nothing in the Maildir; it is the owner's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>
#include "fsutil.h"
#include "imported.h"
#include "maildir_impl.h"
#include "seen.h"
#include "trash.h"
#include "uidl.h"

#define PLACES 8 /* directories of one day, for messages of the same name */

/* Open a directory, made where it is missing.  A descriptor or POP_E_SYS. */
static int make_dir(int at, const char *name, bool *made)
{
	int fd = fs_open_at(at, name, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);

	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? POP_E_SYS : fd;
	if (mkdirat(at, name, 0700) < 0)
		return POP_E_SYS;
	*made = true;
	fd = fs_open_at(at, name, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	return fd < 0 ? POP_E_SYS : fd;
}

/* Open today's directory, at the first message. */
static int open_day(const struct maildrop *md, struct trash_dir *t)
{
	const struct maildir *dir = md->priv;
	char name[16];

	if (t->root_fd < 0)
		t->root_fd = make_dir(dir->root_fd, TRASH_OF_MAILDIR, &t->new_root);
	if (t->root_fd < 0)
		return POP_E_SYS;
	if (t->day_fd < 0) {
		snprintf(name, sizeof(name), "%lu", (unsigned long)seen_today());
		t->day_fd = make_dir(t->root_fd, name, &t->new_day);
	}
	return t->day_fd < 0 ? POP_E_SYS : 0;
}

/* Does the id follow from the file's name alone? */
static bool is_plain(const struct msg *m, const char *name)
{
	return !(m->flags & MSG_UIDL) && !m->suffix &&
	       !!(m->flags & MSG_DIGEST) != uidl_valid(name, base_length(name));
}

/* Note the id of a message whose name does not tell it, before the message is there. */
static int note_id(struct maildrop *md, int day_fd, const struct msg *m, const char *name)
{
	static const size_t word = sizeof("base ") - 1;
	char id[UIDL_MAX + 1], key[IMPORTED_KEY_MAX], line[UIDL_MAX + IMPORTED_KEY_MAX + 4];
	int fd, n, err = POP_E_SYS;

	if (!md->uidls_known || is_plain(m, name) || msg_uidl(md, m, id) < 0 ||
	    imported_base_key(name, strlen(name), key) < 0)
		return 0;
	fd = fs_open_at(day_fd, TRASH_IDS, FS_LINKS_NONE, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (fd < 0)
		return POP_E_SYS;
	n = snprintf(line, sizeof(line), "%s %s\n", id, key + word);
	if (fs_write_all(fd, line, (size_t)n) == 0 && fsync(fd) == 0)
		err = 0;
	close(fd);
	return err;
}

/* Where today's directory has that name already, one beside it. */
static int move_beside(struct trash_dir *t, int from_fd, const char *name)
{
	bool made = false;
	char place[24];

	for (unsigned i = 1; i < PLACES; i++) {
		int fd, err;

		snprintf(place, sizeof(place), "%lu.%u", (unsigned long)seen_today(), i);
		fd = make_dir(t->root_fd, place, &made);
		if (fd < 0)
			return POP_E_SYS;
		t->new_day |= made;
		err = maildir_rename_new(from_fd, name, fd, name);
		if (err == 0 && fsync(fd) < 0)
			t->lost_errno = errno;
		close(fd);
		if (err == 0 || errno != EEXIST)
			return err;
	}
	return POP_E_SYS;
}

int trash_move(struct maildrop *md, struct trash_dir *t, int from_fd, const char *name,
	       const struct msg *m)
{
	int err = open_day(md, t);

	if (err == 0)
		err = note_id(md, t->day_fd, m, name);
	if (err == 0) {
		err = maildir_rename_new(from_fd, name, t->day_fd, name);
		if (err < 0 && errno == EEXIST)
			err = move_beside(t, from_fd, name);
		if (err < 0 && errno == ENOENT)
			return POP_E_MISSING;
	}
	if (err < 0) {
		if (t->lost++ == 0)
			t->lost_errno = errno;
		return 0;
	}
	t->moved = true;
	return 1;
}

static void sync_dir(struct trash_dir *t, int fd)
{
	if (fsync(fd) < 0 && !t->lost_errno)
		t->lost_errno = errno;
}

void trash_dir_end(struct maildrop *md, struct trash_dir *t)
{
	const struct maildir *dir = md->priv;

	if (t->moved)
		sync_dir(t, t->day_fd);
	if (t->moved && t->new_day)
		sync_dir(t, t->root_fd);
	if (t->moved && t->new_root)
		sync_dir(t, dir->root_fd);
	if (t->lost)
		maildrop_note(md, LOG_WARNING,
			      "%llu messages removed, but no copy was kept in %s/%s: %s",
			      (unsigned long long)t->lost, md->env.spec.path, TRASH_OF_MAILDIR,
			      strerror(t->lost_errno));
	else if (t->lost_errno)
		maildrop_note(md, LOG_WARNING, "%s/%s: what was removed may not be kept: %s",
			      md->env.spec.path, TRASH_OF_MAILDIR, strerror(t->lost_errno));
	if (t->day_fd >= 0)
		close(t->day_fd);
	if (t->root_fd >= 0)
		close(t->root_fd);
	*t = (struct trash_dir)TRASH_DIR_NONE;
}
