/*
 * trash_keep.c - keep copies of what an expunge takes out of an mbox.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock and
 *           the mailbox locks.
 * Trusts:   the ranges that it is given.
 *
 * The copy is whole and synced, under its name, before the expunge is committed. So
 * after a crash a message may be in both places, never in neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fsutil.h"
#include "seen.h"
#include "trash.h"

#define BLOCK (256 * 1024)
#define TRIES 10000 /* names of one day: its seconds, and more */
#define A_DAY 86400

/* The directory, made where it is missing; a descriptor that can be synced. */
static int open_dir(int state_fd, struct pop_why *why)
{
	int fd, state, err = 0;

	fd = fs_open_at(state_fd, TRASH_OF_MBOX, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || mkdirat(state_fd, TRASH_OF_MBOX, 0700) < 0)
		return pop_why_errno(why, TRASH_OF_MBOX);
	state = fs_reopen_dir(state_fd);
	if (state < 0 || fsync(state) < 0)
		err = pop_why_errno(why, TRASH_OF_MBOX);
	if (state >= 0)
		close(state);
	if (err < 0)
		return err;
	fd = fs_open_at(state_fd, TRASH_OF_MBOX, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	return fd < 0 ? pop_why_errno(why, TRASH_OF_MBOX) : fd;
}

/*
 * Does the last one lack its line end, which could not be written when the mailbox was
 * opened (a full disk)?  Then it gets it here, as it would in the mailbox.  1, 0, or an error.
 */
static int is_unfinished(int fd, const struct trash_range *r, size_t n)
{
	ssize_t got;
	char last;

	if (n == 0)
		return 0;
	got = fs_pread_full(fd, &last, 1, (off_t)(r[n - 1].end - 1));
	if (got != 1)
		return got < 0 ? POP_E_SYS : POP_E_CHANGED;
	return last != '\n';
}

/* The head of the file; more: bytes that the copy of the last one has beyond it. */
static int make_head(struct maildrop *md, const struct trash_range *r, size_t n, uint64_t more,
		     char **head, size_t *len)
{
	size_t size = sizeof(TRASH_HEAD) + n * TRASH_LINE_SPACE + 2;
	uint64_t start = 0;
	char id[UIDL_MAX + 1];

	*head = malloc(size);
	if (!*head)
		return POP_E_MEMORY;
	memcpy(*head, TRASH_HEAD, sizeof(TRASH_HEAD) - 1);
	*len = sizeof(TRASH_HEAD) - 1;
	for (size_t i = 0; i < n; i++) {
		const struct msg *m = r[i].m;
		bool known = m->flags & (MSG_UIDL | MSG_DIGEST) && m->flags & MSG_SETTLED &&
			     msg_uidl(md, m, id) > 0;
		uint64_t bytes = r[i].end - r[i].start + (i + 1 == n ? more : 0);

		*len += (size_t)snprintf(*head + *len, size - *len, "k %llu %llu %llu %s\n",
					 (unsigned long long)start, (unsigned long long)bytes,
					 (unsigned long long)m->octets, known ? id : "-");
		start += bytes;
	}
	(*head)[(*len)++] = '\n';
	return 0;
}

static int copy(int from, const struct trash_range *r, int to, uint8_t *block)
{
	uint64_t at = r->start;

	while (at < r->end) {
		size_t want = r->end - at < BLOCK ? (size_t)(r->end - at) : BLOCK;
		ssize_t got = fs_pread_full(from, block, want, (off_t)at);

		if (got != (ssize_t)want)
			return got < 0 ? POP_E_SYS : POP_E_CHANGED;
		if (fs_write_all(to, block, want) < 0)
			return POP_E_SYS;
		at += want;
	}
	return 0;
}

/* Write all of it into `to` and sync it. */
static int write_copy(struct maildrop *md, int from, const struct trash_range *r, size_t n, int to)
{
	uint8_t *block = malloc(BLOCK);
	char *head = NULL;
	size_t len = 0;
	int more = is_unfinished(from, r, n), err = block ? 0 : POP_E_MEMORY;

	if (!err)
		err = more < 0 ? more : make_head(md, r, n, (uint64_t)more, &head, &len);
	if (!err)
		err = fs_write_all(to, head, len);
	for (size_t i = 0; i < n && !err; i++)
		err = copy(from, &r[i], to, block);
	if (!err && more)
		err = fs_write_all(to, "\n", 1);
	if (!err && fsync(to) < 0)
		err = POP_E_SYS;
	free(head);
	free(block);
	return err;
}

/* A name that is free: the day, and the second of the day or the next free one. */
static int free_name(int dir, char name[TRASH_NAME_SPACE])
{
	unsigned long second = (unsigned long)(time(NULL) % A_DAY);
	struct stat st;

	for (unsigned i = 0; i < TRIES; i++) {
		snprintf(name, TRASH_NAME_SPACE, "%lu.%05lu", (unsigned long)seen_today(),
			 second + i);
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : POP_E_SYS;
	}
	errno = EEXIST;
	return POP_E_SYS;
}

int trash_keep_mbox(struct maildrop *md, int fd, const struct trash_range *ranges, size_t n,
		    char name[TRASH_NAME_SPACE], struct pop_why *why)
{
	int dir = open_dir(md->env.state_fd, why), to, err, saved;
	bool named = false;

	if (dir < 0)
		return dir;
	/* one of a removal that was cut off */
	if (unlinkat(dir, TRASH_TEMP, 0) < 0 && errno != ENOENT) {
		err = pop_why_errno(why, TRASH_OF_MBOX "/" TRASH_TEMP);
		close(dir);
		return err;
	}
	to = fs_open_at(dir, TRASH_TEMP, FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	err = to < 0 ? POP_E_SYS : write_copy(md, fd, ranges, n, to);
	if (!err)
		err = free_name(dir, name);
	if (!err) {
		named = renameat(dir, TRASH_TEMP, dir, name) == 0;
		err = named && fsync(dir) == 0 ? 0 : POP_E_SYS;
	}
	saved = errno;
	if (to >= 0)
		close(to);
	if (err < 0 && to >= 0)
		unlinkat(dir, named ? name : TRASH_TEMP, 0);
	close(dir);
	errno = saved;
	if (err == POP_E_SYS)
		return pop_why_errno(why, TRASH_OF_MBOX);
	return err < 0 ? pop_why(why, err, "%s: %s", TRASH_OF_MBOX, pop_strerror(err)) : 0;
}

void trash_drop_mbox(const struct maildrop *md, const char *name)
{
	int saved = errno;
	int dir = fs_open_at(md->env.state_fd, TRASH_OF_MBOX, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY,
			     0);

	if (dir >= 0) {
		unlinkat(dir, name, 0);
		close(dir);
	}
	errno = saved;
}
