/*
 * state.c - find or make the state directory of a maildrop.
 *
 * Runs in:  monitor (root without the right to look into users' directories),
 *           pop3admin.
 * Trusts:   state_dir and .maildrops, which are the caller's own.  Not what a
 *           user's directory holds, and never its name: all is opened relative
 *           to state_dir and no link but ours, read as text, is followed.
 *
 * The link in .maildrops decides which directory serves a maildrop.  It is made
 * last, under a lock on .maildrops, so that two first logins agree.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "state.h"
#include "fsutil.h"
#include "hash.h"

#define LINKS		  ".maildrops"
#define LINK_UP		  "../" /* a link's text is this and a directory's name */
#define NAME_AS_IS	  200	/* bytes; a longer name goes by its digest */
#define LINKS_WAIT_TRIES  1000
#define LINKS_WAIT_MS	  5
#define RENAME_NO_REPLACE 1 /* RENAME_NOREPLACE, which not every libc names */

struct place {
	int base_fd;
	uid_t uid;
	gid_t gid;
	char own[STATE_NAME_MAX + 1]; /* the directory's name for this user */
	char link[sizeof(LINKS) + 34];
	struct pop_why *note, *why;
};

static void hex_of(const uint8_t *in, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", in[i]);
}

/* Not secret: the names need only be the same at every login. */
static void name_digest(const char *text, char out[33])
{
	static const uint8_t key[16] = "pop3d-state-name";
	uint8_t sum[16];

	siphash128(key, text, strlen(text), sum);
	hex_of(sum, sizeof(sum), out);
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-_+=@.,", c));
}

void state_user_name(const char *user, char out[STATE_NAME_MAX + 1])
{
	static const char prefix[] = "%hash-"; /* no name as it is can look so */
	size_t n = 0;

	for (const char *s = user; *s && n <= NAME_AS_IS; s++) {
		if (is_plain(*s) && !(n == 0 && *s == '.')) {
			out[n++] = *s;
		} else {
			snprintf(out + n, 4, "%%%02X", (unsigned)(uint8_t)*s);
			n += 3;
		}
	}
	out[n] = '\0';
	if (n && n <= NAME_AS_IS)
		return;
	memcpy(out, prefix, sizeof(prefix));
	name_digest(user, out + sizeof(prefix) - 1);
}

void state_maildrop_name(const char *maildrop_path, char out[33])
{
	name_digest(maildrop_path, out);
}

/* Rename within state_dir, never over anything. */
static int rename_new(int base_fd, const char *from, const char *to)
{
	if (syscall(SYS_renameat2, base_fd, from, base_fd, to, RENAME_NO_REPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return POP_E_SYS;
	/* a file system without it; the lock on .maildrops keeps others out */
	if (faccessat(base_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return POP_E_SYS;
	}
	return renameat(base_fd, from, base_fd, to) < 0 ? POP_E_SYS : 0;
}

/*
 * Take away the links that lead to NAME.  One left behind would give the
 * maildrop of whoever shared it to the next user of that name.
 */
static int drop_links(int base_fd, const char *name, struct pop_why *why)
{
	char want[sizeof(LINK_UP) + STATE_NAME_MAX], text[sizeof(LINK_UP) + STATE_NAME_MAX + 1];
	int fd = fs_open_at(base_fd, LINKS, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	int len = snprintf(want, sizeof(want), "%s%s", LINK_UP, name);
	struct dirent *entry;
	DIR *dir;
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : pop_why_errno(why, "state_dir: %s", LINKS);
	dir = fdopendir(fd);
	if (!dir) {
		pop_why_errno(why, "state_dir: %s", LINKS);
		close(fd);
		return POP_E_SYS;
	}
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		ssize_t n = readlinkat(fd, entry->d_name, text, sizeof(text));

		if (n != len || memcmp(text, want, (size_t)n) != 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
			break;
	}
	if (errno)
		err = pop_why_errno(why, "state_dir: %s", LINKS);
	closedir(dir);
	return err;
}

/* Move NAME to .old-NAME-TIME; to says where it went.  The lock on .maildrops is held. */
static int set_aside(int base_fd, const char *name, char to[STATE_NAME_MAX + 1],
		     struct pop_why *why)
{
	long long now = (long long)time(NULL);
	int err = drop_links(base_fd, name, why);

	if (err < 0)
		return err;
	for (int tries = 0; tries < 100; tries++) {
		snprintf(to, STATE_NAME_MAX + 1, ".old-%.210s-%lld", name, now + tries);
		if (rename_new(base_fd, name, to) == 0)
			return 0;
		if (errno == ENOENT)
			return pop_why(why, POP_E_MISSING, "no state directory %s", name);
		if (errno != EEXIST)
			break;
	}
	return pop_why_errno(why, "state directory %s: cannot rename to %s", name, to);
}

/* The directory's name that the link holds.  0, POP_E_MISSING (none of ours), POP_E_SYS. */
static int read_link(const struct place *p, char name[STATE_NAME_MAX + 1])
{
	const size_t up = sizeof(LINK_UP) - 1;
	char text[sizeof(LINK_UP) + STATE_NAME_MAX + 1];
	ssize_t n = readlinkat(p->base_fd, p->link, text, sizeof(text) - 1);

	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? POP_E_MISSING : POP_E_SYS;
	text[n] = '\0';
	if ((size_t)n <= up || (size_t)n > up + STATE_NAME_MAX || memcmp(text, LINK_UP, up) != 0 ||
	    text[up] == '.' || strchr(text + up, '/'))
		return POP_E_MISSING;
	memcpy(name, text + up, (size_t)n - up + 1);
	return 0;
}

/* Open a directory of state_dir.  Its descriptor, POP_E_MISSING, POP_E_UNSAFE or POP_E_SYS. */
static int open_dir(const struct place *p, const char *name, struct stat *st)
{
	int fd = fs_open_at(p->base_fd, name, FS_LINKS_NONE, O_PATH | O_DIRECTORY, 0);

	if (fd < 0) {
		if (errno == ENOENT)
			return POP_E_MISSING;
		if (errno == ENOTDIR || errno == ELOOP)
			return pop_why(p->why, POP_E_UNSAFE,
				       "state directory %s is not a directory; remove it", name);
		return pop_why_errno(p->why, "state directory %s", name);
	}
	if (fstat(fd, st) < 0) {
		pop_why_errno(p->why, "state directory %s", name);
		close(fd);
		return POP_E_SYS;
	}
	return fd;
}

static int check_mode(const struct place *p, const char *name, const struct stat *st)
{
	if ((st->st_mode & 0777) == 0700)
		return 0;
	return pop_why(p->why, POP_E_UNSAFE,
		       "state directory %s has mode %03o, not 700; mend it with: chmod 700 %s",
		       name, (unsigned)(st->st_mode & 0777), name);
}

/*
 * What the link leads to, if it is fit for use.  A descriptor; POP_E_MISSING:
 * there is none, or (only for the user's own) one that another uid owns.
 */
static int open_linked(const struct place *p, char name[STATE_NAME_MAX + 1])
{
	struct stat st = { .st_uid = 0 };
	int err = read_link(p, name);
	int fd;

	if (err == POP_E_SYS)
		return pop_why_errno(p->why, "state directory: link %s", p->link);
	if (err < 0)
		return err;
	fd = open_dir(p, name, &st);
	if (fd < 0)
		return fd;
	if (st.st_uid != p->uid)
		err = !strcmp(name, p->own)
			      ? POP_E_MISSING
			      : pop_why(p->why, POP_E_UNSAFE,
					"state directory %s of this maildrop has uid %lu, but %s "
					"has uid %lu; give both one uid, or: chown -R %lu:%lu %s",
					name, (unsigned long)st.st_uid, p->own,
					(unsigned long)p->uid, (unsigned long)p->uid,
					(unsigned long)p->gid, name);
	else
		err = check_mode(p, name, &st);
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

/* A new directory for the user: made complete under another name, then moved into place. */
static int make_own(const struct place *p)
{
	char temp[64];
	int fd = -1, err = POP_E_SYS, saved;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(temp, sizeof(temp), ".new-%ld-%lld-%ld", (long)getpid(), (long long)now.tv_sec,
		 now.tv_nsec);
	if (mkdirat(p->base_fd, temp, 0700) < 0)
		return pop_why_errno(p->why, "state directory %s: cannot make it", p->own);
	fd = fs_open_at(p->base_fd, temp, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0 || fchmod(fd, 0700) < 0)
		goto out;
	if ((p->uid != geteuid() || p->gid != getegid()) && fchown(fd, p->uid, p->gid) < 0)
		goto out;
	err = rename_new(p->base_fd, temp, p->own);
out:
	saved = errno;
	if (fd >= 0)
		close(fd);
	if (err < 0)
		unlinkat(p->base_fd, temp, AT_REMOVEDIR);
	errno = saved;
	if (err < 0)
		pop_why_errno(p->why, "state directory %s: cannot make it", p->own);
	return err;
}

/* The user's own directory, made or made anew where it is not his. */
static int open_own(const struct place *p, bool create)
{
	char to[STATE_NAME_MAX + 1];
	struct stat st = { .st_uid = 0 };
	int fd, err;

	for (int tries = 0; tries < 3; tries++) {
		fd = open_dir(p, p->own, &st);
		if (fd >= 0 && st.st_uid == p->uid) {
			err = check_mode(p, p->own, &st);
			if (!err)
				return fd;
			close(fd);
			return err;
		}
		if (fd >= 0) {
			close(fd);
			if (!create)
				return POP_E_MISSING;
			err = set_aside(p->base_fd, p->own, to, p->why);
			if (err < 0 && err != POP_E_MISSING)
				return err;
			if (!err)
				pop_why(p->note, 0,
					"state directory %s was of uid %lu, not %lu: renamed to %s",
					p->own, (unsigned long)st.st_uid, (unsigned long)p->uid,
					to);
			continue;
		}
		if (fd != POP_E_MISSING || !create)
			return fd;
		err = make_own(p);
		if (err < 0 && errno != EEXIST)
			return err;
	}
	return pop_why(p->why, POP_E_SYS, "state directory %s: another keeps changing it", p->own);
}

/* Make the link lead to the user's own directory, over one that leads nowhere. */
static int make_link(const struct place *p)
{
	char text[sizeof(LINK_UP) + STATE_NAME_MAX];

	snprintf(text, sizeof(text), "%s%s", LINK_UP, p->own);
	if (unlinkat(p->base_fd, p->link, 0) < 0 && errno != ENOENT)
		return pop_why_errno(p->why, "state directory: link %s", p->link);
	if (symlinkat(text, p->base_fd, p->link) < 0)
		return pop_why_errno(p->why, "state directory: link %s", p->link);
	return 0;
}

/* Make .maildrops where it is missing and lock it.  A descriptor (close unlocks). */
static int lock_links(const struct place *p)
{
	int fd;

	if (mkdirat(p->base_fd, LINKS, 0700) < 0 && errno != EEXIST)
		return pop_why_errno(p->why, "state_dir: cannot make %s", LINKS);
	fd = fs_open_at(p->base_fd, LINKS, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return pop_why_errno(p->why, "state_dir: %s", LINKS);
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || tries == LINKS_WAIT_TRIES) {
			pop_why_errno(p->why, "state_dir: cannot lock %s", LINKS);
			close(fd);
			return POP_E_SYS;
		}
		nanosleep(&(struct timespec){ .tv_nsec = LINKS_WAIT_MS * 1000000L }, NULL);
	}
	return fd;
}

int state_open(int base_fd, const char *user, const char *maildrop_path, uid_t uid, gid_t gid,
	       bool create, char name[STATE_NAME_MAX + 1], struct pop_why *note,
	       struct pop_why *why)
{
	struct place p = { .base_fd = base_fd, .uid = uid, .gid = gid, .note = note, .why = why };
	size_t at = sizeof(LINKS);
	int lock_fd, fd;

	if (note)
		note->text[0] = '\0';
	state_user_name(user, p.own);
	memcpy(p.link, LINKS "/", at);
	state_maildrop_name(maildrop_path, p.link + at);

	fd = open_linked(&p, name);
	if (fd != POP_E_MISSING)
		return fd;
	if (!create) {
		memcpy(name, p.own, sizeof(p.own));
		fd = open_own(&p, false);
		return fd == POP_E_MISSING ? pop_why(why, fd, "no state directory %s yet", p.own)
					   : fd;
	}
	lock_fd = lock_links(&p);
	if (lock_fd < 0)
		return lock_fd;
	fd = open_linked(&p, name);
	if (fd == POP_E_MISSING) {
		memcpy(name, p.own, sizeof(p.own));
		fd = open_own(&p, true);
		if (fd >= 0 && make_link(&p) < 0) {
			close(fd);
			fd = POP_E_SYS;
		}
	}
	close(lock_fd);
	return fd;
}

int state_retire(int base_fd, const char *user, struct pop_why *why)
{
	struct place p = { .base_fd = base_fd, .why = why };
	char to[STATE_NAME_MAX + 1];
	int lock_fd = lock_links(&p), err;

	if (lock_fd < 0)
		return lock_fd;
	state_user_name(user, p.own);
	err = set_aside(base_fd, p.own, to, why);
	close(lock_fd);
	return err;
}
