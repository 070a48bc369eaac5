/*
 * cmd_user.c - one user at a time: user passwd, lock, unlock, show, verify,
 * list, del.
 *
 * Runs in:  pop3admin, as whoever may write the users file.
 * Trusts:   its caller and the users file.  Passwords and hashes are wiped.
 */
#include "cmd_user.h"
#include "fsutil.h"
#include "password.h"
#include "session_lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "term.h"
#include "user_domain.h"
#include "user_options.h"
#include "user_secrets.h"

static void print_id(struct out *out, const char *key, uint32_t id)
{
	if (id == USER_NO_ID)
		out_null(out, key);
	else
		out_u64(out, key, id);
}

static void print_why_not(void *ctx, const char *text)
{
	out_array_item(ctx, text);
}

/* What a single user has room for: app passwords, and why a mechanism does not work. */
static void print_whole(struct admin *a, const struct user *u, const struct user_secrets *us)
{
	char mechs[160];

	out_bool(&a->out, "nologin", u->nologin);
	out_bool(&a->out, "require_tls", u->require_tls);
	out_bool(&a->out, "readonly", u->readonly);
	if (u->show_after)
		out_time(&a->out, "show_after", u->show_after);
	else
		out_null(&a->out, "show_after");
	out_u64(&a->out, "login_delay", user_login_delay(&a->conf, u));
	if (user_expire(&a->conf, u) == CONF_EXPIRE_NEVER)
		out_null(&a->out, "expire");
	else
		out_u64(&a->out, "expire", user_expire(&a->conf, u));
	out_u64(&a->out, "app_passwords", us->apps);
	out_array_begin(&a->out, "not_usable");
	user_mechanisms(a, u, us, mechs, sizeof(mechs), print_why_not, &a->out);
	out_array_end(&a->out);
}

static void print(struct admin *a, const struct user *u, bool whole)
{
	struct out *out = &a->out;
	char spec[PATH_MAX + 16];
	struct spec expanded;
	struct user_secrets us;
	char mechs[160];
	struct pop_why why;

	user_secrets_read(a, u, &us);
	user_mechanisms(a, u, &us, mechs, sizeof(mechs), NULL, NULL);
	snprintf(spec, sizeof(spec), "%s", user_maildrop(&a->conf, u, NULL));
	if (user_spec(a, u, &expanded, &why) == 0)
		snprintf(spec, sizeof(spec), "%s:%s",
			 expanded.kind == MAILDROP_MBOX ? "mbox" : "maildir", expanded.path);
	out_object_begin(out);
	out_str(out, "name", u->name);
	print_id(out, "uid", u->uid);
	print_id(out, "gid", u->gid);
	out_str(out, "home", u->home);
	out_str(out, "maildrop", spec);
	out_bool(out, "locked", u->locked);
	out_words(out, "mechanisms", mechs);
	if (whole)
		print_whole(a, u, &us);
	out_object_end(out);
}

void user_print(struct admin *a, const struct user *u)
{
	print(a, u, false);
}

int user_edit_failed(const struct admin *a, int err, const char *name, const struct pop_why *why)
{
	if (err == POP_E_MISSING)
		return fail(EX_NOUSER, "%s: no such user in %s; pop3admin user list shows them all",
			    name, a->conf.users);
	if (err == POP_E_EXISTS)
		return fail(EX_CANTCREAT,
			    "%s: is in %s already; pop3admin user passwd %s gives a "
			    "new password",
			    name, a->conf.users, name);
	if (err == POP_E_SYS && errno == ENOENT)
		return fail(EX_CANTCREAT, "%s; make the directory first", why->text);
	if (why->text[0])
		return fail(status_of(err), "%s", why->text);
	return fail(status_of(err), "%s: %s", a->conf.users, pop_strerror(err));
}

static int show(struct admin *a, const char *name)
{
	struct user u;
	int status = user_find(a, name, &u);

	if (!status)
		print(a, &u, true);
	user_forget(&u);
	return status;
}

int cmd_user_show(struct admin *a)
{
	return show(a, a->pos[0]);
}

static int print_each(void *ctx, const struct user *u)
{
	struct admin *a = ctx;
	struct user whole = *u;

	user_take_domain(&a->conf, &whole);
	user_print(a, &whole);
	user_forget(&whole);
	return 0;
}

static void say_bad_line(void *ctx, uint64_t line, const char *why)
{
	struct admin *a = ctx;

	fail(0, "%s:%llu: %s; the line is skipped", a->conf.users, (unsigned long long)line, why);
}

int cmd_user_list(struct admin *a)
{
	int fd = users_open(a), err;

	if (fd < 0)
		return -fd;
	out_list_begin(&a->out);
	err = users_each(fd, print_each, say_bad_line, a);
	out_list_end(&a->out);
	close(fd);
	if (err < 0)
		return fail(status_of(err), "%s: %s%s%s", a->conf.users, pop_strerror(err),
			    err == POP_E_SYS ? ": " : "", err == POP_E_SYS ? strerror(errno) : "");
	return 0;
}

int cmd_user_passwd(struct admin *a)
{
	static struct new_password p;
	struct pop_why why = { "" };
	struct user_secrets us;
	struct credentials c;
	struct user u;
	int status, err;

	status = user_find(a, a->pos[0], &u);
	if (!status) {
		user_secrets_read(a, &u, &us);
		status = user_new_password(a->pos[0], us.have | us.stale | user_wanted_schemes(a),
					   &p);
	}
	if (!status) {
		c = user_credentials(a, &p);
		err = credentials_change(&c, a->pos[0], &why);
		if (err < 0)
			status = user_edit_failed(a, err, a->pos[0], &why);
	}
	if (!status && u.locked)
		fail(0,
		     "%s: has a new password, and is still locked; pop3admin user unlock %s "
		     "opens it",
		     a->pos[0], a->pos[0]);
	user_new_forget(&p);
	user_forget(&u);
	return status ? status : show(a, a->pos[0]);
}

static int set_locked(void *ctx, struct user *u)
{
	const bool *locked = ctx;

	u->locked = *locked;
	return 0;
}

static int change_locked(struct admin *a, bool locked)
{
	struct pop_why why = { "" };
	int err = users_change(a->conf.users, a->pos[0], set_locked, &locked, &why);

	if (err < 0)
		return user_edit_failed(a, err, a->pos[0], &why);
	return show(a, a->pos[0]);
}

int cmd_user_lock(struct admin *a)
{
	return change_locked(a, true);
}

int cmd_user_unlock(struct admin *a)
{
	return change_locked(a, false);
}

int cmd_user_verify(struct admin *a)
{
	char password[USER_PASSWORD_MAX + 1];
	struct user u;
	bool right;
	int status = user_find(a, a->pos[0], &u);

	if (!status)
		status = term_password(a->pos[0], false, password, sizeof(password));
	if (!status) {
		right = password_verify(password, u.hash) == 1;
		if (right && u.locked)
			fail(0,
			     "%s: the password is right, but the account is locked; pop3admin "
			     "user unlock %s opens it",
			     u.name, u.name);
		else if (right && u.nologin)
			fail(0, "%s: the password is right, but the entry has the option nologin",
			     u.name);
		else if (!right)
			fail(0, "%s: wrong password", u.name);
		right = right && !u.locked && !u.nologin;
		out_object_begin(&a->out);
		out_str(&a->out, "name", u.name);
		out_bool(&a->out, "verified", right);
		out_object_end(&a->out);
		status = right ? 0 : EX_NOT_WELL;
	}
	explicit_bzero(password, sizeof(password));
	user_forget(&u);
	return status;
}
