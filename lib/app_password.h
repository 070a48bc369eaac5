/*
 * app_password.h - passwords for one program each, made by chance.
 *
 * 20 characters of 5 bits, without those that look alike, written in groups of
 * four: "abcd-efgh-jkmn-pqrs-tuvw".  Typed with or without the hyphens, with
 * blanks, or in upper case it is the same.
 */
#ifndef POP_APP_PASSWORD_H
#define POP_APP_PASSWORD_H

#include <stdbool.h>
#include "err.h"

#define APP_PASSWORD_CHARS 20
#define APP_PASSWORD_TEXT  24 /* with hyphens */

/* A new one as it is shown.  0 or POP_E_SYS.  The caller wipes it. */
int app_password_make(char out[APP_PASSWORD_TEXT + 1]);

/* Has it the form of one?  Then its bare characters, which are what is hashed, go to out. */
bool app_password_bare(const char *typed, char out[APP_PASSWORD_CHARS + 1]);

#endif
