/*
 * salted.h - {SSHA} and its kin: passwords as LDAP directories keep them.
 *
 * {SHA}, {SHA256} and {SHA512} hold base64 of the digest of a password, {SSHA},
 * {SSHA256} and {SSHA512} of the digest of password and salt, and the salt behind
 * it.  One digest is no work for who guesses, so they are only ever read: see
 * password_upgrade in pop3d.conf(5).
 */
#ifndef POP_SALTED_H
#define POP_SALTED_H

#include <stdbool.h>

/* Does this begin with the {SCHEME} of one of them?  No regard to case. */
bool salted_is(const char *hash);

/* Is password the one behind it?  1 yes, 0 no, also where it is malformed. */
int salted_verify(const char *password, const char *hash);

#endif
