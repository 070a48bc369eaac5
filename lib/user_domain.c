/*
 * user_domain.c - defaults of a domain for the users of it.
 *
 * Runs in:  auth and monitor at login; pop3admin.
 * Trusts:   the configuration.  A server name is the client's.
 */
#include <string.h>
#include <strings.h>

#include "user_domain.h"

static const struct conf_domain *find(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->n_domains; i++)
		if (strcasecmp(conf->domains[i].name, name) == 0)
			return &conf->domains[i];
	return NULL;
}

const struct conf_domain *domain_of_user(const struct conf *conf, const char *name)
{
	const char *at = conf->n_domains > 0 ? strrchr(name, '@') : NULL;

	return at ? find(conf, at + 1) : NULL;
}

/* Is it one of the words? */
static bool has_word(const char *words, const char *name)
{
	size_t len, want = strlen(name);

	for (; *words; words += len) {
		words += strspn(words, " \t");
		len = strcspn(words, " \t");
		if (len == want && len > 0 && strncasecmp(words, name, len) == 0)
			return true;
	}
	return false;
}

const struct conf_domain *domain_of_server(const struct conf *conf, const char *server_name)
{
	for (size_t i = 0; i < conf->n_domains; i++)
		if (has_word(conf->domains[i].tls_name, server_name))
			return &conf->domains[i];
	return NULL;
}

void user_take_domain(const struct conf *conf, struct user *u)
{
	const struct conf_domain *d = domain_of_user(conf, u->name);

	if (d && d->uid && u->uid == USER_NO_ID && !u->uid_name[0])
		u->uid = d->uid;
	if (d && d->gid && u->gid == USER_NO_ID && !u->gid_name[0])
		u->gid = d->gid;
}

const char *user_maildrop(const struct conf *conf, const struct user *u, const char **from)
{
	const struct conf_domain *d = domain_of_user(conf, u->name);
	const char *unused;

	if (!from)
		from = &unused;
	*from = "the user's option maildrop";
	if (u->maildrop[0])
		return u->maildrop;
	*from = "the key domain.NAME.maildrop";
	if (d && d->maildrop[0])
		return d->maildrop;
	*from = "the key maildrop";
	return conf->maildrop;
}
