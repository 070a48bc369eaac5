/*
 * spec.h - maildrop specifications ("mbox:/var/mail/%u") and login names.
 */
#ifndef POP_SPEC_H
#define POP_SPEC_H

#include <stddef.h>
#include <limits.h>
#include "err.h"

enum maildrop_kind { MAILDROP_MBOX = 1, MAILDROP_MAILDIR = 2 };

struct spec {
	enum maildrop_kind kind;
	char path[PATH_MAX]; /* absolute, cleaned as text: no //, /./, trailing /, no .. part */
};

/* Check a specification without expanding it.  0 or POP_E_SYNTAX with the reason. */
int spec_check(const char *text, struct pop_why *why);

/*
 * Expand %u (name), %n (before the last '@'), %d (behind it, "" where there is none), %h and a
 * leading ~ (home), %% and clean the path.  A name with '/' or a part that
 * expands to "." or ".." is POP_E_UNSAFE; %h or ~ without a home POP_E_MISSING;
 * POP_E_LONG; POP_E_SYNTAX (also for a path that is not absolute).
 */
int spec_expand(const char *text, const char *name, const char *home, struct spec *out,
		struct pop_why *why);

/*
 * The users entries to try for a login as typed, best first: every octet of
 * separators read as '@', then with "@default_domain" where no '@' is in it.
 * Where the client asked for the TLS server name of a domain (tls_domain, else ""), a
 * login without one is of this domain and nothing else.
 * Fills up to 2 names of USER_NAME_MAX+1 bytes and returns how many (0: the
 * login is no possible name: empty, too long, control characters, CR, LF...).
 */
int login_candidates(const char *login, const char *separators, const char *default_domain,
		     const char *tls_domain, char names[2][256]);

#endif
