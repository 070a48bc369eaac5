/*
 * drop_ask.c - what the maildrop role cannot do itself: dotlocks in a directory
 * of root's, digests, log lines.
 *
 * Runs in:  maildrop.
 * Trusts:   the monitor.  Of the digest helper only that it gives digests.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>
#include "drop.h"
#include "fsutil.h"

#define NOTES_MAX	  24 /* below the catalogue's bound */
#define DIGESTER_ASKS_MAX 2  /* the catalogue's bound */

void drop_note(void *ctx, int level, const char *text)
{
	struct drop *d = ctx;
	struct ipc_msg m;
	size_t len = strlen(text);

	if (d->notes >= NOTES_MAX)
		return;
	d->notes++;
	ipc_start(&m, IPC_DROP_NOTE);
	ipc_put_u8(&m, (uint8_t)level);
	ipc_put_str(&m, text, len < 1000 ? len : 1000);
	ipc_send(&d->monitor, &m);
}

/* Open the mailbox's directory; *base is the name in it. */
static int open_dir(const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	size_t n = 0;

	if (slash)
		n = slash > path ? (size_t)(slash - path) : 1;
	if (n == 0 || n >= sizeof(dir)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(dir, path, n);
	dir[n] = '\0';
	*base = slash + 1;
	return fs_open_at(AT_FDCWD, dir, FS_LINKS_ALL, O_RDONLY | O_DIRECTORY, 0);
}

static int ask_dotlock(struct drop *d, enum ipc_dotlock op)
{
	struct ipc_msg m;
	char why[POP_WHY_MAX];
	uint8_t result;

	ipc_start(&m, IPC_DOTLOCK_ASK);
	ipc_put_u8(&m, (uint8_t)op);
	if (ipc_call(&d->monitor, &m) < 0)
		return POP_E_EOF;
	result = ipc_get_u8(&m);
	ipc_get_str(&m, why, sizeof(why));
	if (ipc_end(&m) < 0)
		return POP_E_CORRUPT;
	switch (result) {
	case DOTLOCK_DONE:
		return 0;
	case DOTLOCK_BUSY:
		return POP_E_BUSY;
	case DOTLOCK_DENIED:
		return POP_E_DENIED;
	default:
		errno = EIO;
		return POP_E_SYS;
	}
}

/* Do it here where the owner may write in the directory, else let the monitor. */
static int make_dotlock(struct drop *d, const char *path, enum ipc_dotlock op)
{
	struct pop_why why;
	const char *base;
	int dir = open_dir(path, &base), err;

	if (dir < 0)
		return errno == ENOENT || errno == EACCES ? POP_E_DENIED : POP_E_SYS;
	if (faccessat(dir, ".", W_OK, AT_EACCESS) < 0)
		err = ask_dotlock(d, op);
	else if (op == DOTLOCK_MAKE)
		err = dotlock_make_at(dir, base, &why);
	else
		err = dotlock_take_over_at(dir, base, &why);
	close(dir);
	return err;
}

int drop_dotlock_make(void *ctx, const char *path)
{
	return make_dotlock(ctx, path, DOTLOCK_MAKE);
}

int drop_dotlock_take_over(void *ctx, const char *path)
{
	return make_dotlock(ctx, path, DOTLOCK_TAKE_OVER);
}

int drop_dotlock_remove(void *ctx, const char *path)
{
	struct drop *d = ctx;
	const char *base;
	int dir = open_dir(path, &base), err = POP_E_SYS;

	if (dir >= 0 && faccessat(dir, ".", W_OK, AT_EACCESS) == 0)
		err = dotlock_remove_at(dir, base);
	else if (dir >= 0)
		err = ask_dotlock(d, DOTLOCK_REMOVE);
	d->left = err < 0 && err != POP_E_MISSING;
	if (dir >= 0)
		close(dir);
	return err;
}

void drop_retry_dotlock(struct drop *d)
{
	if (d->left)
		drop_dotlock_remove(d, d->start->spec.path);
}

int drop_sweep(const struct spec *spec)
{
	struct pop_why why;
	const char *base;
	int dir = open_dir(spec->path, &base);

	if (dir < 0)
		return EX_OK;
	/* a stale one is taken over, a live one is not to be had */
	if (dotlock_make_at(dir, base, &why) == 0)
		dotlock_remove_at(dir, base);
	close(dir);
	return EX_OK;
}

/* The helper is started once, when the first digest is needed. */
static int start_digester(struct drop *d)
{
	struct ipc_msg m;
	uint8_t started;
	int err;

	if (d->digester_asks == DIGESTER_ASKS_MAX) {
		errno = ECHILD;
		return POP_E_SYS;
	}
	d->digester_asks++;
	ipc_start(&m, IPC_DIGESTER_ASK);
	ipc_put_u8(&m, 0);
	err = ipc_call(&d->monitor, &m);
	if (err < 0)
		return err;
	started = ipc_get_u8(&m);
	if (!started || m.n_fds != 1) {
		ipc_end(&m);
		errno = ECHILD;
		return POP_E_SYS;
	}
	ipc_init(&d->digester, ipc_take_fd(&m), ROLE_MAILDROP, ROLE_DIGEST, PH_TRANS);
	return ipc_end(&m);
}

/* Copy n digests out of the helper's answer, after checking its seals and size. */
static int take_digests(struct ipc_msg *m, size_t n, uint8_t (*out)[16])
{
	uint8_t done = ipc_get_u8(m);
	uint64_t count = ipc_get_u64(m);
	int fd, err = POP_E_CORRUPT;

	if (done != VERDICT_OK || count != n || m->n_fds != 1) {
		ipc_end(m);
		return done == VERDICT_CHANGED ? POP_E_CHANGED : POP_E_CORRUPT;
	}
	fd = ipc_take_fd(m);
	if (ipc_end(m) == 0 && fs_check_sealed(fd, (uint64_t)n * 16) == 0 &&
	    fs_pread_full(fd, out, n * 16, 0) == (ssize_t)(n * 16))
		err = 0;
	close(fd);
	return err;
}

int drop_digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items, size_t n,
		uint8_t (*out)[16])
{
	struct drop *d = ctx;
	struct ipc_msg m;
	int items_fd, err = 0;

	if (n == 0)
		return 0;
	if (n > SIZE_MAX / sizeof(*items))
		return POP_E_RANGE;
	if (d->digester.fd < 0)
		err = start_digester(d);
	if (err < 0)
		return err;
	items_fd = fs_sealed_memfd("pop3d-digest", items, n * sizeof(*items));
	if (items_fd < 0)
		return items_fd;
	ipc_start(&m, IPC_DIGEST_ASK);
	ipc_put_u8(&m, (uint8_t)kind);
	ipc_put_u64(&m, n);
	ipc_put_fd(&m, fd);
	ipc_put_fd(&m, items_fd);
	err = ipc_call(&d->digester, &m);
	close(items_fd);
	if (err < 0)
		return err;
	return take_digests(&m, n, out);
}
