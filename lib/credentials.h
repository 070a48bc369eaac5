/*
 * credentials.h - a password and the secrets that belong to it, changed in one
 * step: users file and secrets file together.
 *
 * The step is the rename of the users file (see secrets.h).  Everything happens
 * under the users file's lock, so two who change the same user follow each other.
 */
#ifndef POP_CREDENTIALS_H
#define POP_CREDENTIALS_H

#include "secrets.h"
#include "users.h"

struct credentials {
	const char *users, *secrets; /* paths */
	const char *hash;	     /* the new one */
	const struct secret *add;    /* records made of the new password */
	size_t n_add;
	const char *old_hash; /* not NULL: change nothing unless the hash is still this one */
	bool rebind;	      /* the password is the same, only its hash is new */
};

/* Add a user with his secrets; as users_add(). */
int credentials_add(const struct credentials *c, const struct user *u, struct pop_why *why);
/*
 * Give a user a new hash and new secrets, and remove those of the old password.
 * As users_change(); POP_E_CHANGED where the old hash is not old_hash.
 */
int credentials_change(const struct credentials *c, const char *name, struct pop_why *why);
/* Remove a user's secrets, then the user; as users_del(). */
int credentials_del(const struct credentials *c, const char *name, struct pop_why *why);
/*
 * Add c->add, which are app passwords, or (n_add 0) remove the one of a label.
 * POP_E_EXISTS, POP_E_MISSING (no such user, or no such label), as secrets_apply().
 */
int credentials_app(const struct credentials *c, const char *name, const char *label,
		    struct pop_why *why);

#endif
