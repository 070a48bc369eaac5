/*
 * target.c - find users, their maildrops and state directories; run work there.
 *
 * Runs in:  pop3admin; target_open_maildrop() in the child, as the owner.
 * Trusts:   configuration and users file, once they are proven to be root's or
 *           the caller's.
 */
#include "target.h"
#include "user_domain.h"
#include "fsutil.h"
#include "session_lock.h"
#include "user_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define SYSTEM_PASSWD "/etc/passwd"
#define SYSTEM_SHADOW "/etc/shadow"

static bool from_system(const struct admin *a)
{
	return strcmp(a->conf.users, "system") == 0;
}

void user_forget(struct user *u)
{
	explicit_bzero(u, sizeof(*u));
}

static int open_or_say(const char *path, bool secret)
{
	struct pop_why why = { "" };
	int fd = fs_open_trusted(path, true, secret, &why);

	if (fd >= 0)
		return fd;
	if (fd == POP_E_MISSING)
		return -fail(EX_IOERR,
			     "%s: no such file; pop3admin user add makes it, or set users "
			     "in the configuration",
			     path);
	return -fail(status_of(fd), "%s", why.text);
}

int users_open(struct admin *a)
{
	if (from_system(a))
		return open_or_say(SYSTEM_PASSWD, false);
	if (strncmp(a->conf.users, "checkpassword:", strlen("checkpassword:")) == 0)
		return -fail(EX_CONFIG, "users = %s: that program alone knows the users",
			     a->conf.users);
	return open_or_say(a->conf.users, false);
}

int user_look_up(struct admin *a, const char *name, struct user *u)
{
	int fd, shadow = -1, err;

	memset(u, 0, sizeof(*u));
	fd = users_open(a);
	if (fd < 0)
		return -fd;
	if (from_system(a)) {
		shadow = open_or_say(SYSTEM_SHADOW, true);
		if (shadow < 0) {
			close(fd);
			return -shadow;
		}
		err = users_find_system(fd, shadow, name, u);
		close(shadow);
	} else {
		err = users_find(fd, name, u, NULL, NULL);
	}
	close(fd);
	if (err == POP_E_MISSING)
		return EX_NOUSER;
	if (err == POP_E_SYNTAX)
		return fail(EX_DATAERR,
			    "%s: its line in %s is malformed; pop3admin config check "
			    "says why",
			    name, a->conf.users);
	if (err < 0)
		return fail(status_of(err), "%s: %s%s%s", a->conf.users, pop_strerror(err),
			    err == POP_E_SYS ? ": " : "", err == POP_E_SYS ? strerror(errno) : "");
	user_take_domain(&a->conf, u);
	return 0;
}

int user_find(struct admin *a, const char *name, struct user *u)
{
	int status = user_look_up(a, name, u);

	if (status == EX_NOUSER)
		fail(status, "%s: no such user in %s; pop3admin user list shows them all", name,
		     a->conf.users);
	return status;
}

int user_spec(const struct admin *a, const struct user *u, struct spec *out, struct pop_why *why)
{
	return spec_expand(user_maildrop(&a->conf, u, NULL), u->name, u->home, out, why);
}

/* The identity the monitor would take too: a number, not root, not a role's. */
static int check_identity(const struct admin *a, const struct user *u)
{
	uint32_t uid, gid;

	if (u->uid == USER_NO_ID || u->gid == USER_NO_ID)
		return fail(EX_CONFIG,
			    "%s: uid and gid in %s are not both numbers, so no login "
			    "works; write them as numbers, or set domain.NAME.uid and gid in the "
			    "configuration",
			    u->name, a->conf.users);
	if (u->uid == 0 || u->gid == 0)
		return fail(EX_NOPERM,
			    "%s: the owner is root (uid %lu, gid %lu), and root's mail "
			    "is not served; give the user another uid and gid",
			    u->name, (unsigned long)u->uid, (unsigned long)u->gid);
	if (geteuid() != 0)
		return 0;
	if ((conf_user_ids(a->conf.unprivileged_user, &uid, &gid) == 0 && uid == u->uid) ||
	    (conf_user_ids(a->conf.keeper_user, &uid, &gid) == 0 && uid == u->uid))
		return fail(EX_NOPERM,
			    "%s: uid %lu is the server's own and owns no mail; give the "
			    "user another uid",
			    u->name, (unsigned long)u->uid);
	return 0;
}

static int open_state(struct target *t, bool create)
{
	const char *dir = t->a->conf.state_dir;
	struct pop_why note = { "" }, why = { "" };
	int base, err;

	base = fs_open_trusted_dir(dir, false, &why);
	if (base == POP_E_SYS && errno == ENOENT)
		return fail(EX_CONFIG,
			    "state_dir %s: no such directory; make it with: install -d "
			    "-m 0755 %s",
			    dir, dir);
	if (base < 0)
		return fail(status_of(base), "state_dir: %s", why.text);
	err = state_open(base, t->name, t->spec.path, t->uid, t->gid, create, t->state_name, &note,
			 &why);
	if (err < 0 && err != POP_E_MISSING)
		fail(0, "%s: %s", t->name, why.text);
	if (note.text[0])
		fail(0, "%s: %s", t->name, note.text);
	close(base);
	if (err == POP_E_MISSING)
		return 0;
	if (err < 0)
		return status_of(err);
	t->state_fd = err;
	return 0;
}

int target_open(struct admin *a, const char *name, bool create, struct target *t)
{
	struct pop_why why = { "" };
	struct user u;
	int status, err;

	memset(t, 0, sizeof(*t));
	t->a = a;
	t->state_fd = -1;
	status = user_find(a, name, &u);
	if (status)
		return status;
	memcpy(t->name, u.name, sizeof(t->name));
	t->uid = u.uid;
	t->gid = u.gid;
	t->expire = user_expire(&a->conf, &u);
	status = check_identity(a, &u);
	if (!status) {
		err = user_spec(a, &u, &t->spec, &why);
		if (err < 0)
			status = fail(EX_CONFIG, "%s: maildrop: %s", name, why.text);
	}
	if (!status && geteuid() != 0 && geteuid() != t->uid)
		status = fail(EX_NOPERM,
			      "%s: the maildrop belongs to uid %lu; only root or that "
			      "user may work on it, so run this as root",
			      name, (unsigned long)t->uid);
	user_forget(&u);
	return status ? status : open_state(t, create);
}

void target_release(struct target *t)
{
	if (t->state_fd >= 0)
		close(t->state_fd);
	t->state_fd = -1;
}

int target_run(struct target *t, int extra_fd,
	       int (*work)(struct owner *o, void *ctx, struct pop_why *why),
	       int (*record)(void *ctx, struct record *r), void *ctx)
{
	struct owner_job job = {
		.uid = t->uid,
		.gid = t->gid,
		.keep_fds = { t->state_fd, extra_fd },
		.dotlock_path = t->spec.kind == MAILDROP_MBOX ? t->spec.path : NULL,
		.work = work,
		.record = record,
		.ctx = ctx,
	};
	struct pop_why why;
	int err = owner_run(&job, &why);

	if (!err)
		return 0;
	if (!why.text[0])
		pop_why(&why, err, "%s%s%s", pop_strerror(err), err == POP_E_SYS ? ": " : "",
			err == POP_E_SYS ? strerror(errno) : "");
	if (err == POP_E_EOF)
		return fail(EX_SOFTWARE, "%s: %s", t->name, why.text);
	return fail(status_of(err), "%s: %s", t->name, why.text);
}

static int digest_here(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		       size_t n, uint8_t (*out)[16])
{
	(void)ctx;
	return digest_items(kind, fd, items, n, out);
}

static void send_note(void *ctx, int level, const char *text)
{
	owner_say(ctx, REC_NOTE, level, "%s", text);
}

void target_env(struct target *t, struct owner *o, struct maildrop_env *env)
{
	static struct dotlock_ops dotlock; /* one owner works in a child */

	dotlock = owner_dotlock_ops;
	dotlock.ctx = o;
	*env = (struct maildrop_env){
		.spec = t->spec,
		.state_fd = t->state_fd,
		.uid = t->uid,
		.lock_timeout_ms = (int)t->a->conf.lock_timeout * 1000,
		.mbox_locks = t->a->conf.mbox_locks,
		.trash = t->a->conf.trash_days > 0,
		.dotlock = o->root_dotlock ? &dotlock : NULL,
		.digest = digest_here,
		.note = send_note,
		.ctx = o,
	};
}

int target_open_maildrop(struct target *t, struct owner *o, bool fresh, struct maildrop **md,
			 struct pop_why *why)
{
	static struct maildrop_env env; /* maildrop_open() borrows it */
	static int fd = -1; /* stays open to the end of this process, and with it the lock */
	struct lock_record self;

	target_env(t, o, &env);
	env.fresh = fresh;
	lock_record_self(&self, "");
	if (fd < 0)
		fd = session_lock_take(t->state_fd, env.lock_timeout_ms, &self, why);
	if (fd == POP_E_BUSY)
		return pop_why(why, fd,
			       "a session has the maildrop open; pop3admin lock show %s "
			       "says which, then try again",
			       t->name);
	if (fd < 0)
		return fd;
	return maildrop_open(md, &env, why);
}

struct names {
	char *text; /* NUL-terminated names, one after the other */
	size_t len, size, count;
};

static int add_name(void *ctx, const struct user *u)
{
	struct names *names = ctx;
	size_t n = strlen(u->name) + 1, size = names->size ? names->size : 4096;
	char *grown;

	while (size < names->len + n)
		size *= 2;
	if (size != names->size) {
		grown = realloc(names->text, size);
		if (!grown)
			return POP_E_MEMORY;
		names->text = grown;
		names->size = size;
	}
	memcpy(names->text + names->len, u->name, n);
	names->len += n;
	names->count++;
	return 0;
}

static int worse(int a, int b)
{
	return a > EX_NOT_WELL || (a && !b) ? a : b;
}

int target_each(struct admin *a, int (*each)(struct admin *a, const char *name, void *ctx),
		void *ctx)
{
	struct names names = { 0 };
	size_t i, done = 0, failed = 0;
	int fd, err, one, status = 0;

	if (!a->opt[OPT_ALL])
		return each(a, a->pos[0], ctx);
	fd = users_open(a);
	if (fd < 0)
		return -fd;
	err = users_each(fd, add_name, NULL, &names);
	close(fd);
	if (err < 0) {
		status = fail(status_of(err), "%s: %s", a->conf.users, pop_strerror(err));
		goto out;
	}
	for (i = 0; i < names.len; i += strlen(names.text + i) + 1) {
		progress_show(done, names.count, names.text + i);
		one = each(a, names.text + i, ctx);
		failed += one != 0;
		done++;
		status = worse(status, one);
	}
	progress_end(done, failed);
out:
	free(names.text);
	return status;
}
