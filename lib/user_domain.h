/*
 * user_domain.h - what the keys domain.NAME.* of the configuration mean for a user.
 */
#ifndef POP_USER_DOMAIN_H
#define POP_USER_DOMAIN_H

#include "conf.h"
#include "users.h"

/* The keys for the domain of a user's name (behind its last '@'), or NULL. */
const struct conf_domain *domain_of_user(const struct conf *conf, const char *name);

/* The keys for the domain whose tls_name has the server name that a client asked for, or NULL. */
const struct conf_domain *domain_of_server(const struct conf *conf, const char *server_name);

/* Fill an empty uid and gid by those of the user's domain. */
void user_take_domain(const struct conf *conf, struct user *u);

/*
 * The maildrop that counts for a user: his own option, else of his domain, else of
 * the configuration.  *from tells which, in words (may be NULL).  Borrowed.
 */
const char *user_maildrop(const struct conf *conf, const struct user *u, const char **from);

#endif
