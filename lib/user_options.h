/*
 * user_options.h - the words of ours among the options of a users entry
 * (pop3d-users(5)): one table, for the parser, pop3admin and its help.
 */
#ifndef POP_USER_OPTIONS_H
#define POP_USER_OPTIONS_H

#include "conf.h"
#include "users.h"

enum user_option_type {
	USER_OPTION_SPEC,    /* a maildrop */
	USER_OPTION_FLAG,    /* bare or =yes; =no is as good as nothing */
	USER_OPTION_ANY,     /* set by its presence, whatever the value (nologin, as Dovecot has it)
			      */
	USER_OPTION_SECONDS, /* 0 to 604800 */
	USER_OPTION_DAYS,    /* 0 to 36500, or never */
	USER_OPTION_DATE,    /* 2026-01-31 */
};
struct user_option {
	const char *name;
	enum user_option_type type;
	size_t offset;	     /* in struct user */
	const char *allowed; /* what an error message says is allowed */
	const char *help;
};
extern const struct user_option user_option_rows[];
extern const size_t user_n_options;

/*
 * Read the words of u->options into the fields of u.  Words of other programs
 * are passed over.  0, or POP_E_SYNTAX with the reason: a value that cannot be, or
 * an option that is there twice.  What limits a user must not get lost by a typing
 * mistake, so such a line is no user.
 */
int user_options_parse(struct user *u, struct pop_why *why);

/* u->options as it is to be written: words of others as they are, then ours.  0 or POP_E_LONG. */
int user_options_format(const struct user *u, char *out, size_t size);

/*
 * Set one option from "KEY=VALUE"; an empty VALUE takes the option away.  0, or
 * POP_E_SYNTAX (no such option, or a bad value), POP_E_LONG, with the reason.
 */
int user_option_set(struct user *u, const char *assignment, struct pop_why *why);

/*
 * What counts for a user: the option, within what the site announces to all
 * (login_delay_max, expire_min), or what the configuration says.  u NULL: no entry.
 */
uint32_t user_login_delay(const struct conf *conf, const struct user *u);
uint32_t user_expire(const struct conf *conf, const struct user *u);

/*
 * Does login_delay or expire (which) of a user count for less than it says, since the
 * configuration does not announce it?  Then *why says which key to change.
 */
bool user_option_idle(const struct conf *conf, const struct user *u, const char *which,
		      struct pop_why *why);

#endif
