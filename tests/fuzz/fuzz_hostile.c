/*
 * fuzz_hostile.c - the session role, told lies by the roles that it asks.
 *
 * Input: as fuzz_session.c has it; behind a line of one NUL the changes of what
 * it is told: for each answer and list how many octets, and where and what.
 */
#define HOSTILE 1
#include "fuzz_session.c"
