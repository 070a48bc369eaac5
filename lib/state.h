/*
 * state.h - state_dir/USER, the per-user state directory (design section 6).
 */
#ifndef POP_STATE_H
#define POP_STATE_H

#include <stddef.h>
#include <stdbool.h>
#include <sys/types.h>
#include "err.h"

#define STATE_NAME_MAX 255

/*
 * The file name for a user: odd octets (all but letters, digits and -_+=@.,)
 * and leading dots percent-encoded; above 200 bytes "%hash-" and 32 hex digits.
 */
void state_user_name(const char *user, char out[STATE_NAME_MAX + 1]);

/* The name of the link in .maildrops for an expanded, cleaned maildrop path: 32 hex digits. */
void state_maildrop_name(const char *maildrop_path, char out[33]);

/*
 * Open (with create: make, where missing) the state directory of a user's
 * maildrop, everything relative to base_fd (the opened state_dir).
 *
 * .maildrops/DIGEST is read first: where it names a directory, that one is
 * taken whoever made it; else the directory of `user` is made under a temporary
 * name, given to uid:gid (fchown), moved into place (renameat2 NOREPLACE), and
 * the link made.  Needs CAP_CHOWN, and no right to look into the directory:
 * the descriptor is O_PATH.
 * A directory of `user` that uid does not own is renamed .old-USER-TIME and a
 * new one made; a linked one of another user under another uid is POP_E_UNSAFE.
 * Mode must be 0700.
 *
 *   name     out, the directory's name in state_dir (may be another user's)
 *   note     out, a sentence for the log when something was renamed, else ""
 *
 * Returns an O_PATH descriptor (caller closes), POP_E_MISSING (not there, and
 * create false), POP_E_UNSAFE (*why names the command that mends it), POP_E_SYS.
 */
int state_open(int base_fd, const char *user, const char *maildrop_path, uid_t uid, gid_t gid,
	       bool create, char name[STATE_NAME_MAX + 1], struct pop_why *note,
	       struct pop_why *why);

/* Rename the directory of a deleted user to .old-USER-TIME.  0 or POP_E_SYS, POP_E_MISSING. */
int state_retire(int base_fd, const char *user, struct pop_why *why);

#endif
