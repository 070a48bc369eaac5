/*
 * credential.h - the files that tls_certificate and tls_key name.
 */
#ifndef POP_CREDENTIAL_H
#define POP_CREDENTIAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include "err.h"

/*
 * The path behind one word: an absolute path stands for itself,
 * credential:NAME for $CREDENTIALS_DIRECTORY/NAME (systemd.exec(5),
 * LoadCredential=).  0, POP_E_MISSING (no such directory), POP_E_LONG.
 */
int credential_path(const char *word, size_t len, char path[PATH_MAX], struct pop_why *why);

/* Open it as fs_open_trusted() does: a descriptor, or its errors. */
int credential_open(const char *word, size_t len, bool secret, struct pop_why *why);

/* The next word of a blank-separated list, its length in *len; NULL at the end. */
const char *credential_next(const char *list, size_t *len);

#endif
