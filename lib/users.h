/*
 * users.h - the user database: Dovecot's passwd-file layout (design section 6).
 */
#ifndef POP_USERS_H
#define POP_USERS_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <limits.h>
#include <sys/types.h>
#include "err.h"

#define USER_NAME_MAX	  255 /* octets */
#define USER_HASH_MAX	  511
#define USER_PASSWORD_MAX 255 /* octets of a password in clear */
#define USER_LINE_MAX	  4096
#define USER_NO_ID	  UINT32_MAX /* the field is empty */

/* A number that may be absent. */
struct user_number {
	bool set;
	uint32_t value;
};

struct user {
	char name[USER_NAME_MAX + 1];
	char hash[USER_HASH_MAX + 1]; /* as password_bare_hash() leaves it; wipe after use */
	char scheme[24];   /* the {SCHEME} that stood before it, braces included, or "" */
	bool locked;	   /* '!' stood in front of the password */
	uint32_t uid, gid; /* USER_NO_ID where empty */
	char uid_name[64]; /* what stood there when it was no number, else "" */
	char gid_name[64];
	char gecos[256];
	char home[PATH_MAX];
	char shell[256];
	char options[1024]; /* the whole options field as written */
	/* what of it is ours (user_options.h): */
	char maildrop[PATH_MAX]; /* or "" */
	bool nologin, require_tls, readonly;
	struct user_number login_delay; /* seconds */
	struct user_number expire;	/* days, or CONF_EXPIRE_NEVER */
	int64_t show_after;		/* seconds since the epoch, 0: all is shown */
};

/*
 * May this be the name of a user?  1..255 octets without ':', blanks and control
 * characters, no '/' or '#' at its start, and neither "." nor "..".
 */
bool user_name_ok(const char *name, size_t len);

/*
 * Split one line (without its line end).  0, POP_E_SYNTAX, POP_E_LONG or
 * POP_E_RANGE with a reason in why (which never quotes the password).  Missing
 * fields at the end are empty ones.  A password of a {SCHEME} that is none of
 * crypt(3) makes the line malformed.
 */
int users_parse_line(const char *line, size_t len, struct user *u, struct pop_why *why);

/*
 * The line for a user, without line end, into out; its length or POP_E_LONG.  A
 * scheme that does not fit the hash (any more) becomes {CRYPT}.
 */
int users_format_line(const struct user *u, char *out, size_t size);

/*
 * Find a name, compared exactly, octet by octet.
 *
 *   fd       the users file, open for reading; its position does not matter
 *   bad_line called for each malformed line met on the way (may be NULL);
 *            line numbers count from 1; in a file above 1 MiB only lines of that
 *            name are looked at (users_each() meets them all)
 *
 * A sorted file (byte order of the name) costs O(log n) reads; where that finds
 * nothing, or finds a malformed line, the whole file is scanned, so unsorted and
 * hand-edited files work.  A repeated name: the first line of the file counts
 * where the scan meets it.
 * Returns 0, POP_E_MISSING, POP_E_SYS, or POP_E_SYNTAX (only a malformed line
 * has that name).
 */
int users_find(int fd, const char *name, struct user *u,
	       void (*bad_line)(void *ctx, uint64_t line, const char *why), void *ctx);

/*
 * The same over /etc/passwd and /etc/shadow descriptors (users = system).  The
 * hash is shadow's where passwd says "x", and empty where shadow has none; an
 * account that shadow(5) calls expired is `locked`.
 */
int users_find_system(int passwd_fd, int shadow_fd, const char *name, struct user *u);

/*
 * Call each for every well-formed line, in file order, until it returns
 * non-zero (which is then returned).  bad_line as above.
 */
int users_each(int fd, int (*each)(void *ctx, const struct user *u),
	       void (*bad_line)(void *ctx, uint64_t line, const char *why), void *ctx);

/*
 * Atomic edits of the file at path (fs_replace): sorted by name, owner and mode
 * kept, comments and malformed lines kept at the top.
 * add: POP_E_EXISTS; set and del: POP_E_MISSING; all: POP_E_SYS, POP_E_BUSY,
 * POP_E_UNSAFE.  add_all adds n users or none.
 */
int users_add(const char *path, const struct user *u, struct pop_why *why);
int users_add_all(const char *path, const struct user *u, size_t n, struct pop_why *why);
/* The same for n users that nth(ctx, 0..n-1, u) fills one by one; an error of it adds none. */
int users_add_each(const char *path, size_t n, int (*nth)(void *ctx, size_t i, struct user *u),
		   void *ctx, struct pop_why *why);
int users_del(const char *path, const char *name, struct pop_why *why);
/*
 * The same with a hook, called under the lock when nothing but writing is left
 * to do; an error from it is returned, and the file stays as it is.
 */
int users_add_with(const char *path, const struct user *u, int (*before)(void *ctx), void *ctx,
		   struct pop_why *why);
int users_del_with(const char *path, const char *name, int (*before)(void *ctx), void *ctx,
		   struct pop_why *why);
/*
 * Do work under the lock that edits take.
 *   u     the entry of name as it is now
 * Returns what work returned, POP_E_MISSING, POP_E_SYS, POP_E_BUSY, POP_E_UNSAFE.
 */
int users_locked(const char *path, const char *name, int (*work)(void *ctx, const struct user *u),
		 void *ctx, struct pop_why *why);
/* change(ctx, u) edits the user in place; non-zero from it aborts and is returned. */
int users_change(const char *path, const char *name, int (*change)(void *ctx, struct user *u),
		 void *ctx, struct pop_why *why);

#endif
