/*
 * credentials.c - users file and secrets file changed in one step.
 *
 * Runs in:  pop3admin and the writer of upgraded hashes.
 * Trusts:   both files and their directories.
 */
#include <string.h>

#include "credentials.h"

struct step {
	const struct credentials *c;
	const char *name, *label;
	struct pop_why *why;
};

/* What an earlier user of the name left behind goes, app passwords too. */
static int before_add(void *ctx)
{
	const struct step *s = ctx;
	struct secrets_edit e = {
		.name = s->name,
		.drop = ~0U,
		.add = s->c->add,
		.n_add = s->c->n_add,
		.hash_new = s->c->hash,
	};

	return secrets_apply(s->c->secrets, &e, s->why);
}

int credentials_add(const struct credentials *c, const struct user *u, struct pop_why *why)
{
	struct step s = { c, u->name, NULL, why };

	return users_add_with(c->users, u, before_add, &s, why);
}

static int change(void *ctx, struct user *u)
{
	const struct step *s = ctx;
	struct secrets_edit e = {
		.name = s->name,
		.hash_now = u->hash,
		.add = s->c->add,
		.n_add = s->c->n_add,
		.hash_new = s->c->hash,
		.rebind = s->c->rebind,
	};
	size_t len = strlen(s->c->hash);
	int err;

	if (s->c->old_hash && strcmp(u->hash, s->c->old_hash) != 0)
		return pop_why(s->why, POP_E_CHANGED, "%s: has another password by now", s->name);
	if (len >= sizeof(u->hash))
		return POP_E_LONG;
	err = secrets_apply(s->c->secrets, &e, s->why);
	if (err == 0)
		memcpy(u->hash, s->c->hash, len + 1);
	return err;
}

/* What is bound to any hash but the one that the user has now goes. */
static int tidy(void *ctx, const struct user *u)
{
	const struct step *s = ctx;
	struct secrets_edit e = { .name = s->name, .hash_now = u->hash };

	return secrets_apply(s->c->secrets, &e, s->why);
}

int credentials_change(const struct credentials *c, const char *name, struct pop_why *why)
{
	struct step s = { c, name, NULL, why };
	int err = users_change(c->users, name, change, &s, why);

	if (err < 0)
		return err;
	return users_locked(c->users, name, tidy, &s, why);
}

static int before_del(void *ctx)
{
	const struct step *s = ctx;
	struct secrets_edit e = { .name = s->name, .drop = ~0U };

	return secrets_apply(s->c->secrets, &e, s->why);
}

int credentials_del(const struct credentials *c, const char *name, struct pop_why *why)
{
	struct step s = { c, name, NULL, why };

	return users_del_with(c->users, name, before_del, &s, why);
}

static int change_app(void *ctx, const struct user *u)
{
	const struct step *s = ctx;
	struct secrets_edit e = {
		.name = s->name,
		.hash_now = u->hash,
		.add = s->c->add,
		.n_add = s->c->n_add,
		.drop_app = s->c->n_add ? NULL : s->label,
	};

	return secrets_apply(s->c->secrets, &e, s->why);
}

int credentials_app(const struct credentials *c, const char *name, const char *label,
		    struct pop_why *why)
{
	struct step s = { c, name, label, why };

	return users_locked(c->users, name, change_app, &s, why);
}
