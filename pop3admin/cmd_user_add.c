/*
 * cmd_user_add.c - new users: user add and user import.
 *
 * Runs in:  pop3admin, as whoever may write the users file.
 * Trusts:   its caller; a file to import is checked line by line before the
 *           first of it is used.
 */
#include "cmd_user.h"
#include "fsutil.h"
#include "num.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPORT_MAX (256u << 20) /* bytes of a file to import */

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
			       "known; give --uid and --gid (fields 3 and 4)",
			       u->name);
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
			       "%s: uid %lu is no account of this system, so its group is not "
			       "known; give --gid (field 4) too",
			       u->name, (unsigned long)u->uid);
	u->gid_name[0] = '\0';
	return 0;
}

int user_resolve(struct user *u, struct pop_why *why)
{
	int err = resolve_uid(u, why);

	if (!err)
		err = resolve_gid(u, why);
	if (!err && (u->uid == 0 || u->gid == 0))
		err = pop_why(why, POP_E_RANGE,
			      "%s: uid %lu, gid %lu: root's mail is not served; give another uid "
			      "and gid",
			      u->name, (unsigned long)u->uid, (unsigned long)u->gid);
	return err;
}

/* The maildrop this user would have must expand; a later login could not say why not. */
static int check_maildrop(const struct admin *a, const struct user *u, struct pop_why *why)
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
		err = user_resolve(u, why);
	if (!err)
		err = check_form(u, why);
	return err ? err : check_maildrop(a, u, why);
}

static int name_is_free(struct admin *a, const char *name)
{
	struct user old;
	int fd, err;

	fd = open(a->conf.users, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0; /* users_add() makes it, or says why not */
	err = users_find(fd, name, &old, NULL, NULL);
	user_forget(&old);
	close(fd);
	return err == 0 ? POP_E_EXISTS : 0;
}

int cmd_user_add(struct admin *a)
{
	char password[USER_PASSWORD_MAX + 1];
	struct pop_why why = { "" };
	struct user u;
	int err, status = 0;

	memset(&u, 0, sizeof(u));
	err = from_options(a, &u, &why);
	if (err < 0) {
		status = fail(status_of(err), "%s", why.text);
		goto out;
	}
	/* before the password is asked for; users_add() decides */
	err = name_is_free(a, u.name);
	if (!err) {
		status = user_new_hash(u.name, password, u.hash, sizeof(u.hash));
		if (status)
			goto out;
		err = users_add(a->conf.users, &u, &why);
	}
	if (err < 0)
		status = user_edit_failed(a, err, u.name, &why);
	else
		user_print(a, &u);
out:
	user_forget(&u);
	return status;
}

struct import {
	struct user *users; /* owned */
	uint64_t *lines;    /* the line each came from; owned */
	size_t n, size;
};

static int import_grow(struct import *im)
{
	size_t size = im->size ? im->size * 2 : 64;
	struct user *users = reallocarray(im->users, size, sizeof(*users));
	uint64_t *lines;

	if (!users)
		return POP_E_MEMORY;
	im->users = users;
	lines = reallocarray(im->lines, size, sizeof(*lines));
	if (!lines)
		return POP_E_MEMORY;
	im->lines = lines;
	im->size = size;
	return 0;
}

static int import_line(struct admin *a, struct import *im, const char *line, size_t len,
		       uint64_t number, struct pop_why *why)
{
	struct user *u;
	int err;

	if (len && line[len - 1] == '\r')
		len--;
	if (!len || line[0] == '#')
		return 0;
	if (im->n == im->size && import_grow(im) < 0)
		return pop_why(why, POP_E_MEMORY, "out of memory; import the file in parts");
	u = &im->users[im->n];
	err = users_parse_line(line, len, u, why);
	if (!err)
		err = user_resolve(u, why);
	if (!err)
		err = check_maildrop(a, u, why);
	if (!err && name_is_free(a, u->name) == POP_E_EXISTS)
		err = pop_why(why, POP_E_EXISTS, "%s: is in %s already", u->name, a->conf.users);
	im->lines[im->n++] = number;
	return err;
}

static const struct import *sorting;

static int by_name(const void *x, const void *y)
{
	size_t i = *(const size_t *)x, k = *(const size_t *)y;
	int order = strcmp(sorting->users[i].name, sorting->users[k].name);

	return order ? order : (i > k) - (i < k);
}

/* The line of the second entry of the same name, 0: no name is there twice. */
static uint64_t twice(const struct import *im, const char **name)
{
	size_t *order = calloc(im->n ? im->n : 1, sizeof(*order)), i;
	uint64_t line = 0;

	if (!order)
		return 0; /* users_add_all() would find it too */
	for (i = 0; i < im->n; i++)
		order[i] = i;
	sorting = im;
	qsort(order, im->n, sizeof(*order), by_name);
	for (i = 1; i < im->n && !line; i++) {
		*name = im->users[order[i]].name;
		if (strcmp(im->users[order[i - 1]].name, *name) == 0)
			line = im->lines[order[i]];
	}
	free(order);
	return line;
}

static int import_text(struct admin *a, struct import *im, const char *file, const char *text,
		       size_t len)
{
	struct pop_why why = { "" };
	const char *end = text + len, *next, *name = "";
	uint64_t number = 0, again;

	for (; text < end; text = next) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		next = nl ? nl + 1 : end;
		number++;
		if (import_line(a, im, text, (size_t)((nl ? nl : end) - text), number, &why) < 0)
			return fail(EX_DATAERR, "%s:%llu: %s; mend the line; nothing was imported",
				    file, (unsigned long long)number, why.text);
	}
	again = twice(im, &name);
	if (again)
		return fail(EX_DATAERR,
			    "%s:%llu: %s: is there twice; remove one; nothing was "
			    "imported",
			    file, (unsigned long long)again, name);
	return 0;
}

static int read_import(const char *file, char **text, size_t *len)
{
	int fd, err;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail(status_of(POP_E_SYS), "%s: %s; nothing was imported", file,
			    strerror(errno));
	err = fs_read_file(fd, IMPORT_MAX, text, len);
	close(fd);
	if (err == POP_E_SYS)
		return fail(status_of(err), "%s: %s; nothing was imported", file, strerror(errno));
	if (err < 0)
		return fail(EX_DATAERR, "%s: %s; nothing was imported", file, pop_strerror(err));
	return 0;
}

int cmd_user_import(struct admin *a)
{
	struct import im = { 0 };
	struct pop_why why = { "" };
	char *text = NULL;
	size_t len = 0;
	int status, err;

	status = read_import(a->pos[0], &text, &len);
	if (!status)
		status = import_text(a, &im, a->pos[0], text, len);
	if (!status) {
		err = users_add_all(a->conf.users, im.users, im.n, &why);
		if (err < 0)
			status = user_edit_failed(a, err, a->pos[0], &why);
	}
	if (!status) {
		out_object_begin(&a->out);
		out_u64(&a->out, "imported", im.n);
		out_object_end(&a->out);
	}
	if (text)
		explicit_bzero(text, len);
	free(text);
	if (im.users)
		explicit_bzero(im.users, im.size * sizeof(*im.users));
	free(im.users);
	free(im.lines);
	return status;
}
