/*
 * cmd_user_add.c - one new user: user add; and whose mail it is.
 *
 * Runs in:  pop3admin, as whoever may write the users file.
 * Trusts:   its caller.
 */
#include "cmd_user.h"
#include "fsutil.h"
#include "num.h"
#include "user_domain.h"
#include "user_secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int copy(char *out, size_t size, const char *s)
{
	size_t n = strlen(s);

	if (n >= size)
		return POP_E_LONG;
	memcpy(out, s, n + 1);
	return 0;
}

/* A number as it is written in the users file, or a name into name. */
static int set_id(const char *text, uint32_t *id, char *name, size_t size)
{
	uint64_t value;

	*id = USER_NO_ID;
	name[0] = '\0';
	if (num_parse(text, strlen(text), USER_NO_ID - 1, &value) == 0) {
		*id = (uint32_t)value;
		return 0;
	}
	return copy(name, size, text);
}

static int resolve_uid(struct user *u, struct pop_why *why)
{
	bool own = u->uid == USER_NO_ID && !u->uid_name[0];
	struct passwd *pw;

	if (u->uid != USER_NO_ID && (u->gid != USER_NO_ID || u->gid_name[0]))
		return 0;
	if (u->uid != USER_NO_ID)
		pw = getpwuid(u->uid);
	else
		pw = getpwnam(own ? u->name : u->uid_name);
	if (pw) {
		u->uid = pw->pw_uid;
		if (u->gid == USER_NO_ID && !u->gid_name[0])
			u->gid = pw->pw_gid;
		if (own && !u->home[0] && copy(u->home, sizeof(u->home), pw->pw_dir) < 0)
			return pop_why(why, POP_E_LONG, "%s: its home directory is too long",
				       u->name);
	}
	if (u->uid == USER_NO_ID && own)
		return pop_why(why, POP_E_MISSING,
			       "%s: is no account of this system, so the owner of the mail is not "
			       "known; give --uid and --gid (fields 3 and 4)%s",
			       u->name,
			       strchr(u->name, '@') ? ", or set domain.NAME.uid and "
						      "domain.NAME.gid for its domain"
						    : "");
	if (u->uid == USER_NO_ID)
		return pop_why(why, POP_E_MISSING,
			       "uid %s: no such account of this system; give a number or an "
			       "account's name",
			       u->uid_name);
	u->uid_name[0] = '\0';
	return 0;
}

static int resolve_gid(struct user *u, struct pop_why *why)
{
	struct group *gr;

	if (u->gid == USER_NO_ID && u->gid_name[0]) {
		gr = getgrnam(u->gid_name);
		if (!gr)
			return pop_why(why, POP_E_MISSING,
				       "gid %s: no such group of this system; give a number or a "
				       "group's name",
				       u->gid_name);
		u->gid = gr->gr_gid;
	}
	if (u->gid == USER_NO_ID)
		return pop_why(why, POP_E_MISSING,
			       "%s: the group of the mail is not known; give --gid (field 4) too",
			       u->name);
	u->gid_name[0] = '\0';
	return 0;
}

int user_resolve(const struct admin *a, struct user *u, struct pop_why *why)
{
	const struct conf_domain *d = domain_of_user(&a->conf, u->name);
	bool uid_later = d && d->uid && u->uid == USER_NO_ID && !u->uid_name[0];
	bool gid_later = d && d->gid && u->gid == USER_NO_ID && !u->gid_name[0];
	int err = uid_later ? 0 : resolve_uid(u, why);

	if (!err && !(uid_later && gid_later))
		err = resolve_gid(u, why);
	if (!err && (u->uid == 0 || u->gid == 0))
		err = pop_why(why, POP_E_RANGE,
			      "%s: uid %lu, gid %lu: root's mail is not served; give another uid "
			      "and gid",
			      u->name, (unsigned long)u->uid, (unsigned long)u->gid);
	return err;
}

int user_check_maildrop(const struct admin *a, const struct user *u, struct pop_why *why)
{
	struct pop_why inner = { "" };
	struct spec spec;
	int err = user_spec(a, u, &spec, &inner);

	if (err < 0)
		return pop_why(why, POP_E_SYNTAX, "%s: maildrop: %s", u->name, inner.text);
	return 0;
}

/* Through the users file's own form, so that nothing gets in that cannot be read back. */
static int check_form(const struct user *u, struct pop_why *why)
{
	char line[USER_LINE_MAX + 1];
	struct user back;
	int len = users_format_line(u, line, sizeof(line)), err;

	if (len < 0)
		return pop_why(why, len, "%s: the line would be longer than %d octets", u->name,
			       USER_LINE_MAX);
	err = users_parse_line(line, (size_t)len, &back, why);
	if (!err && (strcmp(back.name, u->name) != 0 || strcmp(back.home, u->home) != 0 ||
		     strcmp(back.maildrop, u->maildrop) != 0))
		err = pop_why(why, POP_E_SYNTAX,
			      "%s: name, home or maildrop has ':', a blank or a control character "
			      "inside",
			      u->name);
	explicit_bzero(line, sizeof(line));
	user_forget(&back);
	return err;
}

static int from_options(struct admin *a, struct user *u, struct pop_why *why)
{
	int err = copy(u->name, sizeof(u->name), a->pos[0]);

	u->uid = u->gid = USER_NO_ID;
	if (!err && a->opt[OPT_UID])
		err = set_id(a->opt[OPT_UID], &u->uid, u->uid_name, sizeof(u->uid_name));
	if (!err && a->opt[OPT_GID])
		err = set_id(a->opt[OPT_GID], &u->gid, u->gid_name, sizeof(u->gid_name));
	if (!err && a->opt[OPT_HOME])
		err = copy(u->home, sizeof(u->home), a->opt[OPT_HOME]);
	if (!err && a->opt[OPT_MAILDROP]) {
		err = copy(u->maildrop, sizeof(u->maildrop), a->opt[OPT_MAILDROP]);
		if (!err && snprintf(u->options, sizeof(u->options), "maildrop=%s", u->maildrop) >=
				    (int)sizeof(u->options))
			err = POP_E_LONG;
	}
	if (err)
		return pop_why(why, err, "name, uid, gid, home or maildrop is too long");
	if (u->home[0] && u->home[0] != '/')
		return pop_why(why, POP_E_SYNTAX, "--home %s: must be an absolute path", u->home);
	err = check_form(u, why); /* of what was given; the account's home comes after */
	if (!err)
		err = user_resolve(a, u, why);
	if (!err)
		err = check_form(u, why);
	return err ? err : user_assign(a, u, 1, why);
}

static int name_is_free(struct admin *a, const char *name)
{
	struct user old;
	int fd, err;

	fd = fs_open_at(AT_FDCWD, a->conf.users, FS_LINKS_ALL, O_RDONLY, 0);
	if (fd < 0)
		return 0; /* users_add() makes it, or says why not */
	err = users_find(fd, name, &old, NULL, NULL);
	user_forget(&old);
	close(fd);
	return err == 0 ? POP_E_EXISTS : 0;
}

int cmd_user_add(struct admin *a)
{
	static struct new_password p;
	struct pop_why why = { "" };
	struct credentials c;
	struct user u;
	int err, status = user_check_words(a);

	if (status)
		return status;
	memset(&u, 0, sizeof(u));
	err = from_options(a, &u, &why);
	if (err < 0) {
		status = fail(status_of(err), "%s", why.text);
		goto out;
	}
	/* before the password is asked for; users_add() decides */
	err = name_is_free(a, u.name);
	if (!err) {
		status = user_new_password(u.name, user_wanted_schemes(a), &p);
		if (status)
			goto out;
		memcpy(u.hash, p.hash, sizeof(u.hash));
		c = user_credentials(a, &p);
		err = credentials_add(&c, &u, &why);
	}
	if (err < 0)
		status = user_edit_failed(a, err, u.name, &why);
	if (!status) {
		user_take_domain(&a->conf, &u); /* shown, but not written */
		user_print(a, &u);
	}
out:
	user_new_forget(&p);
	user_forget(&u);
	return status;
}
