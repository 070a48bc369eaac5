/*
 * cmd_user_which.c - what a login name becomes, and why: user which.
 *
 * Runs in:  pop3admin, as whoever may read the users file.
 * Trusts:   its caller.
 */
#include "cmd_user.h"
#include "user_domain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A sentence of the answer. */
static void say(struct admin *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct admin *a, const char *fmt, ...)
{
	char text[PATH_MAX + 512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	out_array_item(&a->out, text);
}

/* Why these are the names to try. */
static void say_names(struct admin *a, const char *login, const struct conf_domain *asked,
		      char names[2][USER_NAME_MAX + 1], int n)
{
	const struct conf *c = &a->conf;

	if (strpbrk(login, c->user_separators) && strcmp(login, names[0]) != 0 &&
	    strlen(login) == strlen(names[0]))
		say(a, "user_separators %s: read as %s", c->user_separators, names[0]);
	if (asked && !strchr(login, '@') && strlen(login) < strlen(names[0]))
		say(a, "it has no domain, and domain.%s.tls_name has the server name: it is %s",
		    asked->name, names[0]);
	else if (a->opt[OPT_TLS_NAME] && !asked)
		say(a, "no domain.NAME.tls_name has %s", a->opt[OPT_TLS_NAME]);
	else if (asked)
		say(a, "it has a domain, so the server name does not matter");
	if (n > 1)
		say(a, "it has no domain, and default_domain is set: after %s it is tried as %s",
		    names[0], names[1]);
}

static void say_entry(struct admin *a, const struct user *u)
{
	const struct conf_domain *d = domain_of_user(&a->conf, u->name);
	const char *from;

	user_maildrop(&a->conf, u, &from);
	if (d)
		say(a, "the keys domain.%s.* are for it", d->name);
	else if (strchr(u->name, '@'))
		say(a, "no key domain.%s.* is set", strrchr(u->name, '@') + 1);
	say(a, "the maildrop is that of %s", from);
	if (u->locked)
		say(a, "it is locked, so no login works; pop3admin user unlock %s", u->name);
	if (u->nologin)
		say(a, "it has the option nologin, so no login works");
	if (u->require_tls)
		say(a, "it has the option require_tls, so only a login over TLS works");
}

/* The entry that counts, of n names; the exit status of a file that cannot be read. */
static int look_up(struct admin *a, char names[2][USER_NAME_MAX + 1], int n, struct user *u,
		   bool *found)
{
	int status = 0;

	*found = false;
	for (int i = 0; i < n && !*found && !status; i++) {
		status = user_look_up(a, names[i], u);
		*found = status == 0;
		if (status == EX_NOUSER)
			status = 0;
		if (!status)
			say(a, "%s: %s in %s", names[i], *found ? "is" : "is not", a->conf.users);
	}
	return status;
}

static void print_entry(struct admin *a, const struct user *u)
{
	char spec[PATH_MAX + 16];
	struct pop_why why = { "" };
	struct spec expanded;

	out_str(&a->out, "name", u->name);
	if (u->uid == USER_NO_ID)
		out_null(&a->out, "uid");
	else
		out_u64(&a->out, "uid", u->uid);
	if (u->gid == USER_NO_ID)
		out_null(&a->out, "gid");
	else
		out_u64(&a->out, "gid", u->gid);
	if (user_spec(a, u, &expanded, &why) < 0) {
		out_null(&a->out, "maildrop");
		return;
	}
	snprintf(spec, sizeof(spec), "%s:%s", expanded.kind == MAILDROP_MBOX ? "mbox" : "maildir",
		 expanded.path);
	out_str(&a->out, "maildrop", spec);
}

int cmd_user_which(struct admin *a)
{
	const struct conf *c = &a->conf;
	const char *login = a->pos[0], *server = a->opt[OPT_TLS_NAME];
	const struct conf_domain *asked = server ? domain_of_server(c, server) : NULL;
	char names[2][USER_NAME_MAX + 1];
	bool found = false;
	struct user u;
	int n, status;

	if (strncmp(c->users, "checkpassword:", strlen("checkpassword:")) == 0)
		return fail(EX_CONFIG, "users = %s: that program keeps the users; ask there",
			    c->users);
	n = login_candidates(login, c->user_separators, c->default_domain, asked ? asked->name : "",
			     names);
	if (n == 0)
		return fail(EX_DATAERR,
			    "%s: cannot be a login: 1 to %d octets without ':', blanks and control "
			    "characters, no '/' or '#' in front",
			    login, USER_NAME_MAX);
	memset(&u, 0, sizeof(u));
	out_object_begin(&a->out);
	out_str(&a->out, "login", login);
	out_array_begin(&a->out, "why");
	say_names(a, login, asked, names, n);
	status = look_up(a, names, n, &u, &found);
	if (found)
		say_entry(a, &u);
	out_array_end(&a->out);
	if (found)
		print_entry(a, &u);
	else
		out_null(&a->out, "name");
	out_object_end(&a->out);
	user_forget(&u);
	if (!status && !found)
		return fail(EX_NOUSER, "%s: such a login is no user", login);
	return status;
}
