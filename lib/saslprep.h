/*
 * saslprep.h - names and passwords of SASL made comparable: RFC 4013, but for its
 * normalisation.
 *
 * Done: UTF-8 is checked (RFC 3629), characters that are commonly mapped to
 * nothing are removed, other spaces become U+0020, prohibited characters are
 * refused, and so is what mixes both directions of writing.  Not done:
 * normalisation form KC; what a keyboard makes is in that form already.
 */
#ifndef POP_SASLPREP_H
#define POP_SASLPREP_H

#include <stddef.h>
#include "err.h"

/*
 * Prepare len octets into out, NUL-terminated.  ASCII without control
 * characters stays as it is.  Returns the length, POP_E_SYNTAX (no UTF-8, a
 * prohibited character, or mixed directions) or POP_E_LONG (does not fit size with its NUL).
 */
int saslprep(const char *text, size_t len, char *out, size_t size);

#endif
