/*
 * term.h - how a password comes in: from the terminal without echo, or as one
 * line of standard input; never as an argument.
 */
#ifndef TERM_H
#define TERM_H

#include <stddef.h>
#include <stdbool.h>

/*
 * Read a password into out (size bytes, NUL-terminated; the caller wipes it).
 *
 *   name   whose it is, for the prompt
 *   twice  ask again on a terminal and compare (a new password)
 *
 * An empty one, one with CR or NUL inside, one above 255 octets, and two that
 * differ are refused.  A signal ends the program as it would have, with the
 * terminal set back first.  Returns 0 or the exit status, with the reason said.
 */
int term_password(const char *name, bool twice, char *out, size_t size);

#endif
