/*
 * target.h - from the name on the command line to a user, a maildrop and its
 * state directory.
 */
#ifndef TARGET_H
#define TARGET_H

#include "admin.h"
#include "maildrop.h"
#include "owner.h"
#include "spec.h"
#include "state.h"
#include "users.h"

/*
 * Find a user by the name of its entry; an empty uid and gid are those of its domain.  0, or the
 * exit status with the reason said (67 where there is none).  The caller wipes *u (user_forget()).
 */
int user_find(struct admin *a, const char *name, struct user *u);
/* The same, but that there is none, 67, is not said. */
int user_look_up(struct admin *a, const char *name, struct user *u);
void user_forget(struct user *u);

/* The maildrop of a user, from its own option or the configuration. */
int user_spec(const struct admin *a, const struct user *u, struct spec *out, struct pop_why *why);

/* The users file open for reading, or minus the exit status, with the reason said. */
int users_open(struct admin *a);

struct target {
	struct admin *a;
	char name[USER_NAME_MAX + 1];
	uint32_t uid, gid;
	uint32_t expire; /* days after the first retrieval, as CAPA announces it to this user */
	struct spec spec;
	int state_fd; /* O_PATH; -1: there is none yet */
	char state_name[STATE_NAME_MAX + 1];
};

/*
 * Everything that work on a user's maildrop needs.  create: make the state
 * directory where it is missing, as a login would.  Release it either way.
 * 0, or the exit status with the reason said.
 */
int target_open(struct admin *a, const char *name, bool create, struct target *t);
void target_release(struct target *t);

/*
 * Run work as the target's owner (owner_run() with its uid, gid, state
 * directory and dotlock), and say what went wrong.  Returns the exit status.
 *   ctx    for work and record; its first member must be the struct target
 */
int target_run(struct target *t, int extra_fd,
	       int (*work)(struct owner *o, void *ctx, struct pop_why *why),
	       int (*record)(void *ctx, struct record *r), void *ctx);

/* In the child: what the maildrop is opened with, borrowing t and o. */
void target_env(struct target *t, struct owner *o, struct maildrop_env *env);

/*
 * In the child: take the session lock, at the first call, and open the maildrop
 * (caller closes it before the next call).  fresh: believe no index.
 */
int target_open_maildrop(struct target *t, struct owner *o, bool fresh, struct maildrop **md,
			 struct pop_why *why);

/*
 * Call each for the one USER of the command line, or for every user under
 * --all with progress on a terminal.  Goes on after a failure; the result is
 * the worst exit status (what is not 0 or 1 comes first).
 */
int target_each(struct admin *a, int (*each)(struct admin *a, const char *name, void *ctx),
		void *ctx);

#endif
