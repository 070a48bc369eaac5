/*
 * secrets_impl.h - what the files of the secrets file share.
 */
#ifndef POP_SECRETS_IMPL_H
#define POP_SECRETS_IMPL_H

#include "secrets.h"

/* No user's name: the line that holds the file's own key, /:KEY:base64 */
#define SECRETS_KEY_NAME "/"

/* 0 or POP_E_SYNTAX. */
int secrets_parse_key(const char *line, size_t len, uint8_t key[SECRETS_KEY_LEN]);

#endif
