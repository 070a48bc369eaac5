/*
 * check_conf.c - config check: values, directories, helpers, accounts.
 *
 * Runs in:  pop3admin, as whoever called it; what may not be looked at without
 *           root is left out.
 * Trusts:   nothing it looks at.
 */
#include "credential.h"
#include "findings.h"
#include "fsutil.h"
#include "user_domain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKPASSWORD "checkpassword:"
#define MECHS_OAUTH   (MECH_OAUTHBEARER | MECH_XOAUTH2)
#define IDLE_LEAST    600 /* RFC 1939 section 3 */

/* Which domain a server name stands for. */
static void check_domains(struct findings *f)
{
	const struct conf *c = &f->a->conf;
	bool tls = c->tls_certificate[0] || c->n_tls_names > 0;

	for (size_t i = 0; i < c->n_domains; i++) {
		const struct conf_domain *d = &c->domains[i];
		char where[300], host[256];
		const char *p = d->tls_name;
		size_t len;

		snprintf(where, sizeof(where), "domain.%s.tls_name", d->name);
		if (*p && !tls)
			finding(f, where, "set tls_certificate and tls_key",
				"there is no TLS, so no client asks for a server name");
		for (; *p; p += len) {
			p += strspn(p, " \t");
			len = strcspn(p, " \t");
			snprintf(host, sizeof(host), "%.*s", (int)len, p);
			if (len && domain_of_server(c, host) != d)
				finding(f, where, "take it away from one of them",
					"%s is a server name of domain %s already", host,
					domain_of_server(c, host)->name);
		}
	}
}

void check_values(struct findings *f)
{
	const struct conf *c = &f->a->conf;

	if (c->idle_timeout < IDLE_LEAST)
		finding(f, "idle_timeout", "set it to 600 or more",
			"%lu seconds are less than the %d that RFC 1939 asks for",
			(unsigned long)c->idle_timeout, IDLE_LEAST);
	if (!(c->mbox_locks & LOCK_DOTLOCK))
		finding(f, "mbox_locks", "add dotlock",
			"without dotlock deliverers may write into a file that was replaced");
	if (!(c->auth_mechanisms & (MECH_PLAIN | MECH_LOGIN)) && !c->apop && !c->tls_client_ca[0] &&
	    !(c->auth_mechanisms & ~(unsigned)(MECH_PLAIN | MECH_LOGIN)))
		finding(f, "auth_mechanisms", "add PLAIN", "no mechanism is left to log in with");
	check_domains(f);
}

static void check_state_dir(struct findings *f)
{
	const char *dir = f->a->conf.state_dir;
	char mend[PATH_MAX + 64];
	struct stat st;

	snprintf(mend, sizeof(mend), "install -d -m 0755 %s", dir);
	if (stat(dir, &st) < 0) {
		finding(f, "state_dir", mend, "%s: %s, so no login works", dir, strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		finding(f, "state_dir", mend, "%s is no directory", dir);
		return;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(mend, sizeof(mend), "chown root:root %s", dir);
		finding(f, "state_dir", mend, "%s belongs to uid %lu, who could change it", dir,
			(unsigned long)st.st_uid);
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		snprintf(mend, sizeof(mend), "chmod go-w %s", dir);
		finding(f, "state_dir", mend, "%s may be written by group or others", dir);
	}
	/* roles under the owner's uid reach their directories by a passed descriptor, but people
	   who look after theirs need to get in */
	if (!(st.st_mode & S_IXOTH) && geteuid() == 0) {
		snprintf(mend, sizeof(mend), "chmod 0755 %s", dir);
		finding(f, "state_dir", mend, "%s cannot be entered by the owners of maildrops",
			dir);
	}
}

static void check_helper(struct findings *f, const char *name, const char *loses)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", f->a->conf.helper_dir, name);
	if (access(path, X_OK) < 0)
		finding(f, "helper_dir", "install it there, or set helper_dir",
			"%s: %s, so %s does not work", path, strerror(errno), loses);
}

static void check_account(struct findings *f, const char *key, const char *name)
{
	uint32_t uid, gid;
	char mend[256];

	if (conf_user_ids(name, &uid, &gid) < 0) {
		snprintf(
			mend, sizeof(mend),
			"useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin %.100s",
			name);
		finding(f, key, mend, "%s: no such account, so no session starts", name);
	} else if (uid == 0 || gid == 0) {
		finding(f, key, "name an account that owns nothing", "%s is root", name);
	}
}

/* A file with secrets that is there must be root's alone. */
static void check_secrets(struct findings *f)
{
	struct pop_why why = { "" };
	char mend[PATH_MAX + 64];
	int fd = fs_open_trusted(f->a->conf.secrets, true, true, &why);

	if (fd >= 0) {
		close(fd);
	} else if (fd == POP_E_UNSAFE) {
		snprintf(mend, sizeof(mend), "chown root:root %s; chmod 0600 %s",
			 f->a->conf.secrets, f->a->conf.secrets);
		finding(f, "secrets", mend, "%s", why.text);
	}
}

/* The program that judges, where `users` names one. */
static void check_program(struct findings *f)
{
	const char *program = f->a->conf.users + strlen(CHECKPASSWORD);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(program, " \t"), program);
	if (access(path, X_OK) < 0)
		finding(f, "users", "install it, or name another program",
			"%s: %s, so nobody can log in", path, strerror(errno));
	check_helper(f, "pop3d-checked", "users = checkpassword");
}

/* Tokens: a mechanism, a program and, as root, its account belong together. */
static void check_oauth(struct findings *f)
{
	const struct conf *c = &f->a->conf;
	bool wanted = c->auth_mechanisms & MECHS_OAUTH;
	char path[PATH_MAX];

	if (wanted && !c->oauth_verifier[0])
		finding(f, "oauth_verifier", "set it, or remove OAUTHBEARER and XOAUTH2",
			"none, so no token can be verified");
	if (!c->oauth_verifier[0])
		return;
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(c->oauth_verifier, " \t"),
		 c->oauth_verifier);
	if (access(path, X_OK) < 0)
		finding(f, "oauth_verifier", "install it, or name another program",
			"%s: %s, so no token can be verified", path, strerror(errno));
	if (!wanted)
		finding(f, "auth_mechanisms", "add OAUTHBEARER or XOAUTH2, or set it to none",
			"oauth_verifier is set, but no mechanism with tokens is offered");
	if (geteuid() != 0)
		return;
	check_account(f, "oauth_user", c->oauth_user);
	if (strcmp(c->oauth_user, c->unprivileged_user) == 0 ||
	    strcmp(c->oauth_user, c->keeper_user) == 0)
		finding(f, "oauth_user", "name an account of its own",
			"%s is the account of another role, so no token can be verified",
			c->oauth_user);
}

static void check_gssapi(struct findings *f)
{
	const struct conf *c = &f->a->conf;
	bool wanted = c->auth_mechanisms & MECH_GSSAPI;
	struct pop_why why = { "" };
	int fd;

	if (wanted && !c->gssapi_keytab[0])
		finding(f, "gssapi_keytab", "set it, or remove GSSAPI",
			"none, so no ticket can be accepted");
	if (!wanted || !c->gssapi_keytab[0])
		return;
	check_helper(f, "pop3d-gssapi", "GSSAPI");
	fd = credential_open(c->gssapi_keytab, strlen(c->gssapi_keytab), true, &why);
	if (fd >= 0)
		close(fd);
	else if (geteuid() == 0 || errno != EACCES)
		finding(f, "gssapi_keytab", "make it with ktadd, for root alone", "%s", why.text);
}

static size_t directory_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

static void check_login(struct findings *f)
{
	const struct conf *c = &f->a->conf;
	bool secrets = access(c->secrets, F_OK) == 0;
	size_t len = directory_length(c->users);

	if (strncmp(c->users, CHECKPASSWORD, strlen(CHECKPASSWORD)) == 0) {
		check_program(f);
		return;
	}
	if (secrets &&
	    (c->apop || (c->auth_mechanisms & ~(unsigned)(MECH_PLAIN | MECH_LOGIN | MECH_EXTERNAL |
							  MECHS_OAUTH | MECH_GSSAPI))))
		check_helper(f, "pop3d-auth", "APOP, CRAM-MD5 and SCRAM");
	if (c->password_upgrade && c->users[0] == '/' && secrets &&
	    (len != directory_length(c->secrets) || strncmp(c->users, c->secrets, len) != 0))
		finding(f, "password_upgrade", "put users and secrets into one directory",
			"%s and %s are in two directories, so no hash is upgraded", c->users,
			c->secrets);
	check_oauth(f);
	check_gssapi(f);
	if ((c->auth_mechanisms & MECH_EXTERNAL) && !c->tls_client_ca[0])
		finding(f, "auth_mechanisms", "set tls_client_ca, or remove EXTERNAL",
			"EXTERNAL needs the authorities of client certificates");
}

void check_places(struct findings *f)
{
	const struct conf *c = &f->a->conf;

	check_state_dir(f);
	check_helper(f, "pop3d-digest", "UIDL of an mbox");
	if (c->tls_certificate[0])
		check_helper(f, "pop3d-tls", "TLS");
	check_secrets(f);
	check_login(f);
	if (geteuid() != 0)
		return;
	check_account(f, "unprivileged_user", c->unprivileged_user);
	if (c->tls_certificate[0])
		check_account(f, "keeper_user", c->keeper_user);
}
