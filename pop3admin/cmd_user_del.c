/*
 * cmd_user_del.c - user del: the entry goes, the mail stays, and what the
 * server knew of the maildrop is set aside, so that the next person of that
 * name gets nothing of it.
 *
 * Runs in:  pop3admin; the functions named work_ in the child, as the owner of
 *           the state directory.
 * Trusts:   its caller and the users file.
 */
#include "cmd_user.h"
#include "fsutil.h"
#include "session_lock.h"
#include "user_secrets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct deletion {
	struct admin *a;
	struct user u;
	struct spec spec; /* of the user; path "" where it does not expand */
	char sharer[USER_NAME_MAX + 1];
	int base_fd; /* state_dir, -1: there is none */
	int dir_fd;  /* of the user, -1: there is none */
};

static int find_sharer(void *ctx, const struct user *u)
{
	struct deletion *d = ctx;
	struct pop_why why;
	struct spec spec;

	if (strcmp(u->name, d->u.name) == 0 || user_spec(d->a, u, &spec, &why) < 0 ||
	    strcmp(spec.path, d->spec.path) != 0)
		return 0;
	memcpy(d->sharer, u->name, sizeof(d->sharer));
	return 1;
}

/* Another entry over the same maildrop still needs the state directory. */
static int look_for_sharer(struct deletion *d)
{
	int fd, err;

	if (!d->spec.path[0])
		return 0;
	fd = users_open(d->a);
	if (fd < 0)
		return -fd;
	err = users_each(fd, find_sharer, NULL, d);
	close(fd);
	return err < 0 ? fail(status_of(err), "%s: %s", d->a->conf.users, pop_strerror(err)) : 0;
}

struct busy_job {
	int dir_fd;
	pid_t pid;
	bool held;
};

static int work_busy(struct owner *o, void *ctx, struct pop_why *why)
{
	struct busy_job *job = ctx;
	struct lock_record r;
	pid_t pid = 0;

	(void)o;
	(void)why;
	return session_lock_query(job->dir_fd, &r, &pid) == 1 ? POP_E_BUSY : 0;
}

/* A session that is open would go on in the directory that was set aside. */
static int refuse_open_session(struct deletion *d)
{
	struct busy_job job = { .dir_fd = d->dir_fd };
	struct owner_job run = { .uid = d->u.uid,
				 .gid = d->u.gid,
				 .keep_fds = { d->dir_fd, -1 },
				 .work = work_busy,
				 .ctx = &job };
	struct pop_why why;

	/* what cannot be asked cannot be a session either: the monitor refuses it too */
	if (d->dir_fd < 0 || owner_run(&run, &why) != POP_E_BUSY)
		return 0;
	return fail(EX_TEMPFAIL,
		    "%s: a session has the maildrop open; pop3admin user lock %s, "
		    "then pop3admin lock break %s, then try again",
		    d->u.name, d->u.name, d->u.name);
}

static int open_state_dir(struct deletion *d)
{
	char name[STATE_NAME_MAX + 1];
	struct pop_why note, why = { "" };
	int fd;

	d->base_fd = fs_open_trusted_dir(d->a->conf.state_dir, false, &why);
	if (d->base_fd < 0)
		return d->base_fd == POP_E_SYS && errno == ENOENT
			       ? 0
			       : fail(status_of(d->base_fd), "state_dir: %s", why.text);
	if (!d->spec.path[0] || d->u.uid == USER_NO_ID || d->u.gid == USER_NO_ID)
		return 0;
	fd = state_open(d->base_fd, d->u.name, d->spec.path, d->u.uid, d->u.gid, false, name, &note,
			&why);
	if (fd >= 0)
		d->dir_fd = fd;
	return 0; /* one that is unsafe is set aside like any other */
}

/* The newest directory that state_retire() made for this user: .old-USER-TIME. */
static void newest_old(int base_fd, const char *user, char out[NAME_MAX + 1])
{
	char prefix[STATE_NAME_MAX + 16], name[STATE_NAME_MAX + 1];
	int fd = fs_reopen_dir(base_fd);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	long long newest = -1, when;
	struct dirent *e;
	size_t n;
	char *end;

	out[0] = '\0';
	state_user_name(user, name);
	n = (size_t)snprintf(prefix, sizeof(prefix), ".old-%.210s-", name);
	while (dir && (e = readdir(dir)) != NULL) {
		if (strncmp(e->d_name, prefix, n) != 0 || e->d_name[n] < '0' || e->d_name[n] > '9')
			continue;
		when = strtoll(e->d_name + n, &end, 10);
		if (*end || when <= newest)
			continue;
		newest = when;
		snprintf(out, NAME_MAX + 1, "%s", e->d_name);
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

/* As the directory's owner: root follows nobody's names. */
static int work_empty(struct owner *o, void *ctx, struct pop_why *why)
{
	const int *dir_fd = ctx;
	int fd = fs_reopen_dir(*dir_fd), err = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	(void)o;
	if (!dir)
		return pop_why_errno(why, "the directory cannot be read");
	while (!err && (e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, e->d_name, 0) < 0)
			err = pop_why_errno(why, "%s cannot be removed", e->d_name);
	}
	closedir(dir);
	return err;
}

static int purge(struct deletion *d)
{
	const char *base = d->a->conf.state_dir;
	struct owner_job run = { .keep_fds = { -1, -1 }, .work = work_empty };
	struct pop_why why = { "" };
	char name[NAME_MAX + 1];
	struct stat st = { 0 };
	int fd, err = 0;

	newest_old(d->base_fd, d->u.name, name);
	if (!name[0])
		return 0;
	fd = fs_open_at(d->base_fd, name, FS_LINKS_NONE, O_PATH | O_DIRECTORY, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		err = pop_why_errno(&why, "cannot be opened");
	if (!err) {
		run.uid = st.st_uid;
		run.gid = st.st_gid;
		run.keep_fds[0] = fd;
		run.ctx = &fd;
		err = owner_run(&run, &why);
	}
	if (!err && unlinkat(d->base_fd, name, AT_REMOVEDIR) < 0)
		err = pop_why_errno(&why, "cannot be removed");
	if (fd >= 0)
		close(fd);
	if (!err)
		return 0;
	return fail(status_of(err), "%s: the user is removed, but not %s/%s: %s; remove it by hand",
		    d->u.name, base, name, why.text);
}

static int set_aside(struct deletion *d)
{
	struct pop_why why = { "" };
	int err;

	if (d->base_fd < 0)
		return 0;
	if (d->sharer[0]) {
		fail(0, "%s: the state directory stays, since %s has the same maildrop", d->u.name,
		     d->sharer);
		return 0;
	}
	err = state_retire(d->base_fd, d->u.name, &why);
	if (err == POP_E_MISSING)
		return 0;
	if (err < 0)
		return fail(status_of(err),
			    "%s: the user is removed, but the state directory in "
			    "%s is not set aside: %s; rename it by hand",
			    d->u.name, d->a->conf.state_dir, why.text);
	return d->a->opt[OPT_PURGE] ? purge(d) : 0;
}

int cmd_user_del(struct admin *a)
{
	struct credentials c = user_credentials(a, NULL);
	static struct deletion d;
	struct pop_why why = { "" };
	int status, err;

	d.a = a;
	d.base_fd = d.dir_fd = -1;
	status = user_find(a, a->pos[0], &d.u);
	if (!status && user_spec(a, &d.u, &d.spec, &why) < 0)
		d.spec.path[0] = '\0';
	if (!status)
		status = look_for_sharer(&d);
	if (!status)
		status = open_state_dir(&d);
	if (!status && !d.sharer[0])
		status = refuse_open_session(&d);
	if (!status) {
		err = credentials_del(&c, a->pos[0], &why);
		if (err < 0)
			status = user_edit_failed(a, err, a->pos[0], &why);
	}
	if (!status) {
		user_print(a, &d.u);
		status = set_aside(&d);
	}
	if (d.dir_fd >= 0)
		close(d.dir_fd);
	if (d.base_fd >= 0)
		close(d.base_fd);
	user_forget(&d.u);
	return status;
}
