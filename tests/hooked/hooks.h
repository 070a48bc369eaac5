/*
 * hooks.h - what a test build of the programs does that the product never does:
 * fail the Nth time at something, say the Nth message wrongly, hand a role's pairs
 * to the test, let the clock jump.
 *
 * Everything is in one page that the test has mapped too (tests/e2e/hooked.py has the
 * same layout): what it wants stands there before the program starts, and what
 * happened afterwards.  All programs of a session, and all their forks, share it.
 */
#ifndef TESTS_HOOKS_H
#define TESTS_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#define HOOK_ROLES 16 /* enum ipc_role; 0: a helper that has not become its role yet */
#define HOOK_SENT  2000

enum hook_what { FAIL_MEMORY = 1, FAIL_FORK, FAIL_FILES, FAIL_N };

struct hook_sent {
	uint8_t from, to;
	uint16_t type;
};

struct hook_page {
	/* what the test wants */
	uint32_t fail_role, fail_what, fail_nth; /* nth: from 1, 0: never */
	uint32_t fail_on;			 /* every later time, too */
	uint32_t puppet_role;			 /* its pairs go to the test, by control */
	uint32_t wrong_from, wrong_to, wrong_nth, wrong_defect, wrong_arg;
	int64_t clock_jump_s; /* added to the wall clock */
	int64_t time_jump_s;  /* added to the monotonic one: deadlines pass */
	char control[104];    /* the path of a socket */
	/* what happened */
	uint32_t failed, said_wrong;
	uint32_t tried[HOOK_ROLES][FAIL_N];
	uint32_t said[HOOK_ROLES][HOOK_ROLES]; /* messages, by sender and receiver */
	uint32_t n_sent;
	struct hook_sent sent[HOOK_SENT];
};

extern struct hook_page *hook_page; /* NULL: none, nothing is done */
extern uint32_t hook_self;	    /* enum ipc_role */
extern int hook_control;	    /* -1: none */

#endif
