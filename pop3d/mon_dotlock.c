/*
 * mon_dotlock.c - make and remove the dotlock that the maildrop role cannot.
 *
 * Runs in:  monitor.
 * Trusts:   the path from auth's answer, and only where root alone may write.
 *           The maildrop role says when, never where.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fsutil.h"
#include "mbox_lock.h"
#include "mon.h"

/* Open the directory of an absolute path, following no symbolic link; *base is the last part. */
static int open_parent(const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (n == 0)
		n = 1;
	if (!slash || n >= sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(dir, path, n);
	dir[n] = '\0';
	*base = slash + 1;
	return fs_open_at(AT_FDCWD, dir, FS_LINKS_NONE, O_PATH | O_DIRECTORY, 0);
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	return n > 1 && strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* May the monitor make a dotlock for this login here?  Then the directory, else POP_E_DENIED. */
static int open_lock_dir(const struct monitor *mon, const char **base, struct pop_why *why)
{
	const struct mon_login *l = &mon->login;
	struct stat st;
	int dir;

	if (!mon->root || l->spec.kind != MAILDROP_MBOX || is_below(l->spec.path, l->home))
		return pop_why(why, POP_E_DENIED, "%s: no place for a dotlock of the monitor's",
			       l->spec.path);
	dir = open_parent(l->spec.path, base);
	if (dir < 0)
		return pop_why(why, POP_E_DENIED, "%s: its directory: %s", l->spec.path,
			       strerror(errno));
	if (fstat(dir, &st) < 0 || st.st_uid != 0 || (st.st_mode & S_IWOTH) ||
	    ((st.st_mode & S_IWGRP) && st.st_gid == l->gid)) {
		close(dir);
		return pop_why(why, POP_E_DENIED,
			       "%s: its directory is not one that only root may write",
			       l->spec.path);
	}
	return dir;
}

static enum ipc_dotlock_result make(struct monitor *mon, enum ipc_dotlock op, struct pop_why *why)
{
	const char *base = NULL;
	int err, dir;

	if (mon->dotlocked)
		return DOTLOCK_FAILED;
	dir = open_lock_dir(mon, &base, why);
	if (dir < 0)
		return DOTLOCK_DENIED;
	if (op == DOTLOCK_MAKE)
		err = dotlock_make_at(dir, base, why);
	else
		err = dotlock_take_over_at(dir, base, why);
	close(dir);
	if (err == 0)
		mon->dotlocked = true;
	return err == 0		     ? DOTLOCK_DONE
	       : err == POP_E_BUSY   ? DOTLOCK_BUSY
	       : err == POP_E_DENIED ? DOTLOCK_DENIED
				     : DOTLOCK_FAILED;
}

int mon_remove_dotlock(struct monitor *mon)
{
	const char *base = NULL;
	struct pop_why why;
	int dir, err;

	if (!mon->dotlocked)
		return 0;
	dir = open_lock_dir(mon, &base, &why);
	err = dir < 0 ? dir : dotlock_remove_at(dir, base);
	/* one that another program took over is not ours any more */
	mon->dotlocked = err < 0 && err != POP_E_MISSING;
	if (mon->dotlocked)
		mon_log_error(mon, "cannot remove the dotlock of %s: %s", mon->login.spec.path,
			      dir < 0 ? why.text : strerror(errno));
	if (dir >= 0)
		close(dir);
	return mon->dotlocked ? err : 0;
}

int mon_answer_dotlock(struct monitor *mon, struct ipc_msg *ask)
{
	enum ipc_dotlock_result result = DOTLOCK_DONE;
	struct pop_why why = { "" };
	uint8_t op = ipc_get_u8(ask);

	if (ipc_end(ask) < 0 || op < DOTLOCK_MAKE || op > DOTLOCK_TAKE_OVER)
		return POP_E_CORRUPT;
	if (op == DOTLOCK_REMOVE)
		result = mon_remove_dotlock(mon) < 0 ? DOTLOCK_FAILED : DOTLOCK_DONE;
	else
		result = make(mon, (enum ipc_dotlock)op, &why);
	ipc_start(ask, IPC_DOTLOCK_ANSWER);
	ipc_put_u8(ask, (uint8_t)result);
	ipc_put_str(ask, why.text, strlen(why.text));
	return ipc_send(&mon->drop, ask);
}
