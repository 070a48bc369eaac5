/*
 * user_secrets.h - what the user commands know of the secrets file: which
 * mechanisms a user can use, and records made of a new password.
 */
#ifndef USER_SECRETS_H
#define USER_SECRETS_H

#include "admin.h"
#include "credentials.h"

/* The records of one user. */
struct user_secrets {
	unsigned have;	 /* bits 1 << enum secret_scheme: that count */
	unsigned stale;	 /* ... of another password, which do not */
	unsigned apps;	 /* app passwords */
	bool unreadable; /* the file is there but cannot be read */
};
void user_secrets_read(const struct admin *a, const struct user *u, struct user_secrets *us);

/*
 * The mechanisms of the configuration that work for this user, as words; and
 * as sentences (each called for) why the others do not.
 */
void user_mechanisms(const struct admin *a, const struct user *u, const struct user_secrets *us,
		     char *words, size_t size, void (*why_not)(void *ctx, const char *text),
		     void *ctx);

/* A new password, hashed, and the records made of it. */
struct new_password {
	char hash[USER_HASH_MAX + 1];
	struct secret records[SECRET_N_SCHEMES];
	size_t n;
};

/* What the options --scram, --cram and --apop ask for: bits 1 << enum secret_scheme. */
unsigned user_wanted_schemes(const struct admin *a);

/*
 * Read a new password for name and make of it what is stored.  The caller wipes
 * *p (user_new_forget()).  0, or the exit status with the reason said.
 */
int user_new_password(const char *name, unsigned schemes, struct new_password *p);
void user_new_forget(struct new_password *p);

/* Paths and p, for credentials_add() and credentials_change(). */
struct credentials user_credentials(const struct admin *a, const struct new_password *p);

#endif
