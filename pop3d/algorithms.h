/*
 * algorithms.h - of OpenSSL's algorithms, the few that a session uses.
 *
 * OpenSSL makes an object for every algorithm of a kind when the first of that
 * kind is asked for: 130 ciphers for the sake of one.  In a program that lives
 * for one session that is most of the work.
 */
#ifndef POP3D_ALGORITHMS_H
#define POP3D_ALGORITHMS_H

#include <stdbool.h>

/*
 * From now on the default library context knows what TLS 1.2 and 1.3 need here,
 * and nothing else.  Call it before anything else is asked of OpenSSL.
 *
 *   all_keys  every way to write a key remains known: for who reads private keys
 *
 * Where it cannot be done everything works as before, only slower.
 */
void algorithms_limit(bool all_keys);

#endif
