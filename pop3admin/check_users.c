/*
 * check_users.c - config check: the users file, every line of it, and maildrops
 * that several entries share.
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   nothing it reads.
 */
#include "findings.h"
#include "fsutil.h"
#include "target.h"
#include "user_domain.h"
#include "user_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What of an entry is compared with the others. */
struct entry {
	char *name; /* owned */
	char *path; /* of its maildrop, in the same memory; NULL where it does not expand */
	uint32_t uid;
};

struct users_check {
	struct findings *f;
	struct entry *entries; /* owned */
	size_t n, size;
	uint32_t server_uid, keeper_uid; /* USER_NO_ID where they are not known */
};

static void file_finding(struct users_check *c, const char *mend, const char *what,
			 const char *user)
{
	finding(c->f, c->f->a->conf.users, mend, "%s: %s", user, what);
}

static void check_ids(struct users_check *c, const struct user *entry)
{
	struct user whole = *entry, *u = &whole;

	user_take_domain(&c->f->a->conf, u);
	if (u->uid == USER_NO_ID || u->gid == USER_NO_ID)
		file_finding(c, "write both as numbers, or set domain.NAME.uid and gid",
			     "uid or gid is empty or a name, so no login works", u->name);
	else if (u->uid == 0 || u->gid == 0)
		file_finding(c, "give the user another uid and gid",
			     "the owner is root, and every login is refused", u->name);
	else if (u->uid == c->server_uid || u->uid == c->keeper_uid)
		file_finding(c, "give the user another uid",
			     "the owner is the server's own account, and every login is refused",
			     u->name);
	if (!u->hash[0] && !u->locked && !u->nologin)
		file_finding(c, "pop3admin user passwd NAME, or put '!' into field 2",
			     "has no password, so no login works", u->name);
	user_forget(u);
}

static int take_entry(void *ctx, const struct user *u)
{
	struct users_check *c = ctx;
	struct pop_why why = { "" };
	struct spec spec;
	const struct conf_domain *d = domain_of_user(&c->f->a->conf, u->name);
	uint32_t uid = u->uid == USER_NO_ID && !u->uid_name[0] && d && d->uid ? d->uid : u->uid;
	struct entry *e;
	char *text;
	size_t n;

	if (c->n == c->size) {
		size_t size = c->size ? c->size * 2 : 64;
		struct entry *grown = reallocarray(c->entries, size, sizeof(*grown));

		if (!grown)
			return POP_E_MEMORY;
		c->entries = grown;
		c->size = size;
	}
	check_ids(c, u);
	if (user_option_idle(&c->f->a->conf, u, "login_delay", &why) ||
	    user_option_idle(&c->f->a->conf, u, "expire", &why))
		file_finding(c, "change that key, or the option with pop3admin user set", why.text,
			     u->name);
	if (user_spec(c->f->a, u, &spec, &why) < 0) {
		file_finding(c, "mend its home or its maildrop", why.text, u->name);
		spec.path[0] = '\0';
	}
	n = strlen(u->name) + 1;
	text = malloc(n + strlen(spec.path) + 1);
	if (!text)
		return POP_E_MEMORY;
	memcpy(text, u->name, n);
	memcpy(text + n, spec.path, strlen(spec.path) + 1);
	e = &c->entries[c->n++];
	e->uid = uid;
	e->name = text;
	e->path = spec.path[0] ? text + n : NULL;
	return 0;
}

static void take_bad_line(void *ctx, uint64_t line, const char *why)
{
	struct users_check *c = ctx;
	char where[PATH_MAX + 32];

	snprintf(where, sizeof(where), "%s:%llu", c->f->a->conf.users, (unsigned long long)line);
	finding(c->f, where, "mend or remove the line; until then it is skipped", "%s", why);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int by_path(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order;

	if (!x->path || !y->path)
		return !!x->path - !!y->path;
	order = strcmp(x->path, y->path);
	return order ? order : (x->uid > y->uid) - (x->uid < y->uid);
}

static void compare_entries(struct users_check *c)
{
	struct entry *e = c->entries;
	char text[USER_NAME_MAX + PATH_MAX + 64];
	size_t i;

	if (!c->n)
		return;
	qsort(e, c->n, sizeof(*e), by_name);
	for (i = 1; i < c->n; i++)
		if (strcmp(e[i - 1].name, e[i].name) == 0)
			file_finding(c, "remove all lines of that name but one", "is there twice",
				     e[i].name);
	qsort(e, c->n, sizeof(*e), by_path);
	for (i = 1; i < c->n; i++) {
		if (!e[i].path || !e[i - 1].path || strcmp(e[i - 1].path, e[i].path) != 0 ||
		    e[i - 1].uid == e[i].uid)
			continue;
		snprintf(text, sizeof(text),
			 "shares %s with %s, but under another uid, so logins are refused",
			 e[i].path, e[i - 1].name);
		file_finding(c, "give both the same uid, or each a maildrop", text, e[i].name);
	}
}

/* Who may write there can put another file in place of this one. */
static void check_place(struct findings *f, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX], mend[2 * PATH_MAX + 64];
	struct pop_why why = { "" };
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	fd = fs_open_trusted_dir(dir[0] ? dir : "/", true, &why);
	if (fd >= 0) {
		close(fd);
		return;
	}
	snprintf(mend, sizeof(mend), "chown root %s; chmod go-w %s", dir, dir);
	finding(f, "users", mend, "%s, so every login is refused", why.text);
}

/* Owner and mode of the file.  Tells whether it can be read at all. */
static bool check_file(struct findings *f, int *fd)
{
	const char *path = f->a->conf.users;
	char mend[PATH_MAX + 64];
	struct stat st;

	*fd = fs_open_at(AT_FDCWD, path, FS_LINKS_ALL, O_RDONLY, 0);
	if (*fd < 0 || fstat(*fd, &st) < 0) {
		snprintf(mend, sizeof(mend), "%s",
			 errno == ENOENT ? "pop3admin user add NAME makes it" : "run this as root");
		finding(f, "users", mend, "%s: %s", path, strerror(errno));
		return false;
	}
	check_place(f, path);
	if (!S_ISREG(st.st_mode)) {
		finding(f, "users", "set users to a file", "%s is no regular file", path);
		return false;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(mend, sizeof(mend), "chown root %s", path);
		finding(f, "users", mend, "%s belongs to uid %lu, so every login is refused", path,
			(unsigned long)st.st_uid);
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		snprintf(mend, sizeof(mend), "chmod go-w %s", path);
		finding(f, "users", mend,
			"%s may be written by group or others, so every login is refused", path);
	}
	if (st.st_mode & S_IROTH) {
		snprintf(mend, sizeof(mend), "chmod o-r %s", path);
		finding(f, "users", mend, "%s may be read by everybody, with its password hashes",
			path);
	}
	return true;
}

void check_users(struct findings *f)
{
	struct users_check c = { .f = f, .server_uid = USER_NO_ID, .keeper_uid = USER_NO_ID };
	const struct conf *conf = &f->a->conf;
	uint32_t gid;
	size_t i;
	int fd = -1, err;

	if (strcmp(conf->users, "system") == 0 ||
	    strncmp(conf->users, "checkpassword:", strlen("checkpassword:")) == 0)
		return; /* others look after these */
	if (geteuid() == 0) {
		conf_user_ids(conf->unprivileged_user, &c.server_uid, &gid);
		conf_user_ids(conf->keeper_user, &c.keeper_uid, &gid);
	}
	if (check_file(f, &fd)) {
		err = users_each(fd, take_entry, take_bad_line, &c);
		if (err < 0)
			finding(f, "users", "try again", "%s: %s", conf->users, pop_strerror(err));
		else
			compare_entries(&c);
	}
	if (fd >= 0)
		close(fd);
	for (i = 0; i < c.n; i++)
		free(c.entries[i].name);
	free(c.entries);
}
