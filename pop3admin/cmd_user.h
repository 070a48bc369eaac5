/*
 * cmd_user.h - what the files of the user commands share.
 */
#ifndef CMD_USER_H
#define CMD_USER_H

#include "admin.h"
#include "target.h"
#include "users.h"

/* One object with the contract's keys. */
void user_print(struct admin *a, const struct user *u);

/* Say why an edit of the users file failed; returns the exit status. */
int user_edit_failed(const struct admin *a, int err, const char *name, const struct pop_why *why);

/*
 * Fill empty and named uid and gid with numbers, from the system's accounts;
 * where the uid is empty the account of the user's own name counts, and gives
 * its home where that is empty too.  What the user's domain gives by its keys stays
 * empty.  Refuses root.  0, POP_E_MISSING (no such
 * account) or POP_E_RANGE (root), with the reason in why.
 */
int user_resolve(const struct admin *a, struct user *u, struct pop_why *why);

/* Are the arguments behind the name of the form KEY=VALUE?  0, or 64 with the reason said. */
int user_check_words(const struct admin *a);

/*
 * Set the options KEY=VALUE of the command line from a->pos[first] on.  0, or a
 * negative code with what is wrong, and what to do, in why.
 */
int user_assign(const struct admin *a, struct user *u, size_t first, struct pop_why *why);

/* The maildrop a user would have must expand: a later login could not say why not. */
int user_check_maildrop(const struct admin *a, const struct user *u, struct pop_why *why);

#endif
