/*
 * auth_judge.c - find the entry behind a login and judge a password in clear.
 *
 * Runs in:  auth, as unprivileged_user in the empty root, on the read-only
 *           descriptors that come with each question.
 * Trusts:   the user database.  Not the question: it is the client's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "auth.h"
#include "password.h"
#include "saslprep.h"
#include "user_domain.h"

/* The first malformed line is worth a note; the others follow when it is mended. */
static void bad_line(void *ctx, uint64_t line, const char *why)
{
	struct judgement *j = ctx;

	if (j->note.text[0])
		return;
	if (line > 0)
		pop_why(&j->note, 0, "users file, line %llu skipped: %s", (unsigned long long)line,
			why);
	else
		pop_why(&j->note, 0, "users file, a line skipped: %s", why);
}

int auth_find_entry(struct auth *a, const char *name, struct judgement *j)
{
	if (a->n_fds == 2)
		return users_find_system(a->fds[0], a->fds[1], name, &j->user);
	return users_find(a->fds[0], name, &j->user, bad_line, j);
}

int auth_names(const struct auth *a, const char *login, char names[2][USER_NAME_MAX + 1])
{
	return login_candidates(login, a->conf->user_separators, a->conf->default_domain,
				a->tls.domain, names);
}

int auth_find(struct auth *a, const char *login, struct judgement *j)
{
	char names[2][USER_NAME_MAX + 1];
	int n = auth_names(a, login, names);
	int err = POP_E_MISSING;

	for (int i = 0; i < n && err == POP_E_MISSING; i++)
		err = auth_find_entry(a, names[i], j);
	if (err == POP_E_SYS || err == POP_E_MEMORY)
		pop_why(&j->note, 0, "user database: %s", strerror(errno));
	return err;
}

bool auth_usable(const struct user *u)
{
	return !u->locked && !u->nologin && u->hash[0] != '\0';
}

void auth_accept(const struct auth *a, struct judgement *j)
{
	struct user *u = &j->user;
	const char *spec = user_maildrop(a->conf, u, NULL);
	struct pop_why why;

	user_take_domain(a->conf, u);
	j->verdict = VERDICT_PERM;
	if (u->uid == USER_NO_ID || u->gid == USER_NO_ID)
		pop_why(&j->note, 0,
			"user %s: uid and gid must be numbers in the users file (pop3admin user "
			"add writes them so)",
			u->name);
	else if (spec_expand(spec, u->name, u->home, &j->spec, &why) < 0)
		pop_why(&j->note, 0, "user %s: maildrop %s: %s", u->name, spec, why.text);
	else
		j->verdict = VERDICT_OK;
}

/* The hash is weaker than today's: remember what a new one is made of. */
static void note_upgrade(struct auth *a, const struct user *u, const char *password)
{
	if (!a->conf->password_upgrade || a->conf->users[0] != '/' || !password_is_weak(u->hash))
		return;
	a->upgrade = true;
	memcpy(a->upgrade_name, u->name, sizeof(a->upgrade_name));
	memcpy(a->upgrade_old, u->hash, sizeof(a->upgrade_old));
	snprintf(a->upgrade_password, sizeof(a->upgrade_password), "%s", password);
}

/* As it came, and where that differs, as RFC 4013 would have it. */
static bool matches(struct auth *a, const struct user *u, const char *password)
{
	char prepared[USER_PASSWORD_MAX + 1];
	const char *hash = u->hash;
	bool yes = password_verify(password, hash);

	if (yes)
		note_upgrade(a, u, password);
	if (!yes && saslprep(password, strlen(password), prepared, sizeof(prepared)) > 0 &&
	    strcmp(prepared, password) != 0) {
		yes = password_verify(prepared, hash);
		explicit_bzero(prepared, sizeof(prepared));
	}
	return yes;
}

/*
 * The same work for everybody: one verification, of the entry's hash or of a
 * dummy, before anything is said.
 */
void auth_password(struct auth *a, const char *login, const char *password, struct judgement *j)
{
	bool usable;
	int err;

	if (auth_by_program(a->conf)) {
		auth_program(a, login, password, j);
		return;
	}
	if (!auth_brake(a, login, j))
		return;
	err = auth_find(a, login, j);
	usable = err == 0 && auth_usable(&j->user) && password[0] != '\0';
	if (err == POP_E_SYS || err == POP_E_MEMORY) {
		j->verdict = VERDICT_TEMP;
		return;
	}
	j->verdict = VERDICT_AUTH;
	errno = 0;
	/* an app password is known by its form: no costly hash is tried in vain */
	if (usable ? auth_app(a, password, j) || matches(a, &j->user, password)
		   : password_verify_dummy(password))
		auth_accept(a, j);
	else if (usable && errno == ENOMEM)
		j->verdict = VERDICT_TEMP; /* the hash could not be computed */
	if (j->verdict != VERDICT_OK)
		snprintf(j->user.name, sizeof(j->user.name), "%s", login);
}
