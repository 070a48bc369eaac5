/*
 * maildir_expunge.c - remove messages from a Maildir, and mark the retrieved.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   no name: what is unlinked has the size and time of the message
 *           that the client saw.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>
#include "maildir_impl.h"
#include "fsutil.h"
#include "trash.h"

#define RENAME_NO_REPLACE 1 /* RENAME_NOREPLACE, which not every libc names */
#define INFO		  ":2,"
#define NAME_SIZE	  256
#define PASSES		  3 /* looks at the directories for what was renamed */

/* What one expunge did. */
struct removal {
	bool dirty[SUB_COUNT]; /* the directory lost a name */
	uint64_t names;	       /* unlinked */
	uint64_t messages, bytes;
	struct trash_dir trash;
	int err; /* the first error */
	int saved_errno;
	char what[NAME_SIZE]; /* the name it happened at */
};

static bool marked(const uint8_t *bits, size_t idx)
{
	return bits && bits[idx / 8] >> idx % 8 & 1;
}

static bool same_message(const struct msg *m, const struct stat *st)
{
	struct file_stamp stamp;

	/* not by the inode: one that was freed may be another message's by now */
	file_stamp_of(st, &stamp);
	return S_ISREG(st->st_mode) && stamp.size == m->length && stamp.mtime_ns == m->mtime_ns;
}

/* Move a name to the trash, else unlink it.  1 done, 0 no such name, POP_E_SYS. */
static int take_away(struct maildrop *md, const struct msg *m, int fd, const char *name, bool keep,
		     struct removal *r)
{
	int moved = keep ? trash_move(md, &r->trash, fd, name, m) : 0;

	if (moved)
		return moved > 0;
	if (unlinkat(fd, name, 0) == 0)
		return 1;
	return errno == ENOENT ? 0 : POP_E_SYS;
}

/*
 * Unlink one name of a message; keep: move it to the trash.  1 done, 0 no such name,
 * POP_E_CHANGED, POP_E_SYS.
 */
static int unlink_name(struct maildrop *md, const struct msg *m, enum maildir_sub sub,
		       const char *name, bool keep, struct removal *r, nlink_t *links)
{
	struct maildir *dir = md->priv;
	struct stat st;
	int err;

	if (!name[0] || name[0] == '.' || strchr(name, '/'))
		return POP_E_CORRUPT;
	if (dir->fds[sub] < 0)
		return 0;
	if (fstatat(dir->fds[sub], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : POP_E_SYS;
	if (!same_message(m, &st))
		return POP_E_CHANGED;
	*links = st.st_nlink;
	err = take_away(md, m, dir->fds[sub], name, keep, r);
	if (err <= 0)
		return err;
	r->dirty[sub] = true;
	r->names++;
	return 1;
}

static void note_error(struct removal *r, int err, const char *what)
{
	if (r->err)
		return;
	r->err = err;
	r->saved_errno = errno;
	snprintf(r->what, sizeof(r->what), "%s", what);
}

/*
 * Unlink one message: by its recorded name, in later passes by the name that it has now.
 * POP_E_BUSY: it may have a name (more), look again.
 */
static int unlink_message(struct maildrop *md, const struct msg *m, struct removal *r, int pass,
			  bool cut)
{
	enum maildir_sub sub = m->flags & MSG_IN_NEW ? SUB_NEW : SUB_CUR;
	const char *name = names_get(md, m->name);
	nlink_t links = 1;
	int err;

	if (pass && maildir_find(md->priv, m, name, &sub, &name) < 0)
		return 0; /* another program removed it */
	/* of two names of one message one is kept */
	err = unlink_name(md, m, sub, name, md->env.trash && !cut, r, &links);
	if (err == POP_E_CHANGED && cut)
		return 0; /* another message of that base */
	if (err == POP_E_CHANGED && !pass)
		return POP_E_BUSY; /* so may this be, and ours moved */
	if (err < 0)
		return err;
	return err == 0 || links > 1 ? POP_E_BUSY : 0;
}

/*
 * Unlink the messages marked in left, and clear their bits.  What was renamed
 * meanwhile, or is in two places while it moves from new to cur, stays for the
 * next pass: so the directories are read once a pass, not once a message.
 */
static bool unlink_pass(struct maildrop *md, uint8_t *left, uint8_t *cut, struct removal *r,
			int pass)
{
	struct maildir *dir = md->priv;
	bool again = false;

	for (size_t idx = 0; idx < md->count; idx++) {
		uint64_t was = r->names;
		struct msg m;
		int err;

		if (!marked(left, idx))
			continue;
		err = msg_get(md, idx, &m);
		if (!err)
			err = unlink_message(md, &m, r, pass, marked(cut, idx));
		if (r->names > was)
			cut[idx / 8] |= (uint8_t)(1u << idx % 8);
		if (err == POP_E_BUSY && pass < PASSES) {
			again = true;
			continue;
		}
		left[idx / 8] &= (uint8_t) ~(1u << idx % 8);
		if (err < 0) {
			note_error(r, err, names_get(md, m.name));
			continue;
		}
		dir->removed[idx / 8] |= (uint8_t)(1u << idx % 8);
		r->messages++;
		r->bytes += m.length;
	}
	return again;
}

static void sync_directories(struct maildir *dir, struct removal *r)
{
	static const char *const subs[SUB_COUNT] = { [SUB_CUR] = "cur", [SUB_NEW] = "new" };

	for (int sub = 0; sub < SUB_COUNT; sub++) {
		if (!r->dirty[sub])
			continue;
		dir->clean[sub] = false; /* its stamps are others now */
		if (fsync(dir->fds[sub]) < 0)
			note_error(r, POP_E_SYS, subs[sub]);
	}
}

void maildir_tell_quota(struct maildrop *md, int64_t bytes, int64_t messages)
{
	struct maildir *dir = md->priv;
	char line[64];
	struct stat st;
	int fd, n;

	if (dir->root_fd < 0)
		return;
	fd = fs_open_at(dir->root_fd, "maildirsize", FS_LINKS_NONE, O_WRONLY | O_APPEND, 0);
	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%lld %lld\n", (long long)bytes, (long long)messages);
	/* one write, since others append too */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && write(fd, line, (size_t)n) != n)
		maildrop_note(md, LOG_WARNING, "%s/maildirsize: cannot be written",
			      md->env.spec.path);
	close(fd);
}

/* The name with the flag S, in the order of flags.  0, or POP_E_RANGE: it needs none, or has no
 * room. */
static int seen_name(const char *name, char out[NAME_SIZE])
{
	size_t base = base_length(name), at;
	const char *flags = name + base;

	if (*flags && strncmp(flags, INFO, sizeof(INFO) - 1) != 0)
		return POP_E_RANGE; /* of a kind that is not ours to change */
	flags += *flags ? sizeof(INFO) - 1 : 0;
	at = 0;
	while (flags[at] && flags[at] < 'S')
		at++;
	if (flags[at] == 'S' || base + sizeof(INFO) - 1 + strlen(flags) + 1 >= NAME_SIZE)
		return POP_E_RANGE;
	snprintf(out, NAME_SIZE, "%.*s%s%.*sS%s", (int)base, name, INFO, (int)at, flags,
		 flags + at);
	return 0;
}

int maildir_rename_new(int from_fd, const char *from, int to_fd, const char *to)
{
	if (syscall(SYS_renameat2, from_fd, from, to_fd, to, RENAME_NO_REPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return POP_E_SYS;
	if (linkat(from_fd, from, to_fd, to, 0) < 0)
		return POP_E_SYS;
	return unlinkat(from_fd, from, 0) < 0 ? POP_E_SYS : 0;
}

/* A retrieved message becomes a seen one, in cur.  What fails leaves it as it was. */
static void mark_seen(struct maildrop *md, size_t idx)
{
	struct maildir *dir = md->priv;
	enum maildir_sub sub;
	char to[NAME_SIZE];
	struct msg m;
	const char *name;

	if (msg_get(md, idx, &m) < 0)
		return;
	sub = m.flags & MSG_IN_NEW ? SUB_NEW : SUB_CUR;
	name = names_get(md, m.name);
	if (dir->fds[SUB_CUR] < 0 || dir->fds[sub] < 0 || !name[0] || strchr(name, '/') ||
	    seen_name(name, to) < 0 ||
	    maildir_rename_new(dir->fds[sub], name, dir->fds[SUB_CUR], to) < 0)
		return;
	dir->clean[sub] = dir->clean[SUB_CUR] = false;
	m.flags &= ~(uint32_t)MSG_IN_NEW;
	if (names_append(md, to, strlen(to), &m.name) == 0)
		(void)!msg_put(md, idx, &m);
}

static void unlink_all(struct maildrop *md, uint8_t *left, uint8_t *cut, struct removal *r)
{
	bool again = true;
	int err = 0;

	for (int pass = 0; again && !err && pass <= PASSES; pass++) {
		if (pass)
			err = maildir_refresh(md->priv);
		if (!err)
			again = unlink_pass(md, left, cut, r, pass);
	}
	if (err < 0)
		note_error(r, err, "new, cur");
}

int maildir_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		    size_t *removed, struct pop_why *why)
{
	size_t size = (md->count + 7) / 8;
	struct maildir *dir = md->priv;
	struct removal r = { .trash = TRASH_DIR_NONE };
	uint8_t *left = calloc(1, size + 1), *cut = calloc(1, size + 1);

	dir->removed = calloc(1, size + 1);
	if (!left || !cut || !dir->removed) {
		free(left);
		free(cut);
		return pop_why(why, POP_E_MEMORY, "out of memory");
	}
	if (deleted)
		memcpy(left, deleted, size);
	md->changed = true;
	for (size_t idx = 0; md->env.mark_seen && idx < md->count; idx++)
		if (marked(retrieved, idx) && !marked(deleted, idx))
			mark_seen(md, idx);
	unlink_all(md, left, cut, &r);
	free(left);
	free(cut);
	/* first where they are now */
	if (md->env.trash)
		trash_dir_end(md, &r.trash);
	sync_directories(dir, &r);
	if (r.messages)
		maildir_tell_quota(md, -(int64_t)r.bytes, -(int64_t)r.messages);
	*removed = r.messages;
	if (r.err == POP_E_SYS) {
		errno = r.saved_errno;
		return pop_why_errno(why, "%s: %s", md->env.spec.path, r.what);
	}
	return r.err ? pop_why(why, r.err, "%s: %s: %s", md->env.spec.path, r.what,
			       pop_strerror(r.err))
		     : 0;
}
