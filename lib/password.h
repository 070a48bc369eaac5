/*
 * password.h - hashes of passwords: make, verify, and the same work for nobody.
 */
#ifndef POP_PASSWORD_H
#define POP_PASSWORD_H

#include <stddef.h>
#include <stdbool.h>
#include "err.h"

/*
 * Hash a password for the users file with libcrypt's strongest default
 * (yescrypt where crypt_gensalt has it).  0, POP_E_SYS, POP_E_LONG, or
 * POP_E_SYNTAX (an empty password, or NUL, CR, LF inside).
 */
int password_hash(const char *password, char *out, size_t size);

/*
 * The same for a password that nobody chose, of 100 random bits: a cheap method
 * is enough, and a login may have to try several.
 */
int password_hash_random(const char *password, char *out, size_t size);

/*
 * Is password the one behind this hash, of crypt(3) or salted.h?  1 yes, 0 no (also for an
 * empty, unknown or malformed hash, after the work of password_verify_dummy(),
 * with errno 0; errno ENOMEM: it could not be found out).
 * Compared in constant time; what crypt kept is wiped.
 */
int password_verify(const char *password, const char *hash);

/*
 * The work of one verification with today's default cost, and always "no": for
 * unknown, locked and malformed accounts, so that nobody can tell them from a
 * wrong password by the time it takes.
 */
int password_verify_dummy(const char *password);

/* Is this hash weaker than what password_hash() makes today? */
bool password_is_weak(const char *hash);

/*
 * May a hash of this form stand behind this {SCHEME} (braces included; "" is
 * bare)?  {CRYPT} and "" take any.
 */
bool password_scheme_fits(const char *scheme, const char *hash);

/*
 * Strip what Dovecot may write before a crypt(3) hash ({CRYPT}, {SHA512-CRYPT},
 * {SHA256-CRYPT}, {BLF-CRYPT}, {MD5-CRYPT}; no regard to case) and one '!' before or
 * behind it (then *locked, else false).
 * Returns where the bare hash begins in field, or NULL for another {SCHEME}.  What
 * salted.h knows is bare with its {SCHEME}.
 */
const char *password_bare_hash(const char *field, bool *locked);

#endif
