/*
 * user_secrets.c - which mechanisms a user can use, and what a new password
 * leaves in the secrets file.
 *
 * Runs in:  pop3admin, as whoever may read the secrets.
 * Trusts:   its caller and both files.
 */
#include "user_secrets.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base64.h"
#include "md5.h"
#include "password.h"
#include "saslprep.h"
#include "scram.h"
#include "term.h"

#define BIT(scheme) (1u << (scheme))

struct reading {
	struct user_secrets *us;
	char tag[SECRET_TAG_LEN + 1];
};

static int note_record(void *ctx, const struct secret *s)
{
	struct reading *r = ctx;

	if (s->scheme == SECRET_APP)
		r->us->apps++;
	else if (s->tag[0] && strcmp(s->tag, r->tag) != 0)
		r->us->stale |= BIT(s->scheme);
	else
		r->us->have |= BIT(s->scheme);
	return 0;
}

void user_secrets_read(const struct admin *a, const struct user *u, struct user_secrets *us)
{
	int fd = fs_open_at(AT_FDCWD, a->conf.secrets, FS_LINKS_ALL, O_RDONLY, 0);
	uint8_t key[SECRETS_KEY_LEN];
	struct reading r = { us, "" };

	*us = (struct user_secrets){ .unreadable = fd < 0 && errno != ENOENT };
	if (fd < 0)
		return;
	if (secrets_key(fd, key) == 0)
		secrets_tag(key, u->hash, r.tag);
	explicit_bzero(key, sizeof(key));
	if (secrets_of(fd, u->name, note_record, &r) < 0)
		us->unreadable = true;
	us->stale &= ~us->have;
	close(fd);
}

/* What each mechanism needs beside an entry that may log in. */
static const struct need {
	unsigned mech; /* enum conf_mech bits, 0: APOP */
	const char *name;
	int scheme; /* enum secret_scheme, -1: the hash of the users file */
	const char *option;
	bool tls;
} needs[] = {
	{ MECH_PLAIN, "PLAIN", -1, NULL, false },
	{ MECH_LOGIN, "LOGIN", -1, NULL, false },
	{ MECH_CRAM_MD5, "CRAM-MD5", SECRET_CRAM_MD5, "--cram", false },
	{ MECH_SCRAM_SHA_1, "SCRAM-SHA-1", SECRET_SCRAM_SHA_1, "--scram", false },
	{ MECH_SCRAM_SHA_256, "SCRAM-SHA-256", SECRET_SCRAM_SHA_256, "--scram", false },
	{ MECH_SCRAM_SHA_1_PLUS, "SCRAM-SHA-1-PLUS", SECRET_SCRAM_SHA_1, "--scram", true },
	{ MECH_SCRAM_SHA_256_PLUS, "SCRAM-SHA-256-PLUS", SECRET_SCRAM_SHA_256, "--scram", true },
	{ 0, "APOP", SECRET_APOP, "--apop", false },
};

/* "" where the mechanism works for the user. */
static void explain(const struct admin *a, const struct user *u, const struct user_secrets *us,
		    const struct need *n, char *why, size_t size)
{
	why[0] = '\0';
	if (!u->hash[0])
		snprintf(why, size, "%s: no password; pop3admin user passwd %s", n->name, u->name);
	else if (n->scheme < 0)
		return;
	else if (us->unreadable)
		snprintf(why, size, "%s: %s cannot be read", n->name, a->conf.secrets);
	else if (us->stale & BIT(n->scheme))
		snprintf(why, size,
			 "%s: its secret is of another password; pop3admin user passwd %s %s",
			 n->name, u->name, n->option);
	else if (!(us->have & BIT(n->scheme)))
		snprintf(why, size, "%s: no secret; pop3admin user passwd %s %s", n->name, u->name,
			 n->option);
	else if (n->tls && (!a->conf.tls_certificate[0] || !a->conf.tls_key[0]))
		snprintf(why, size, "%s: needs TLS; set tls_certificate and tls_key", n->name);
}

void user_mechanisms(const struct admin *a, const struct user *u, const struct user_secrets *us,
		     char *words, size_t size, void (*why_not)(void *ctx, const char *text),
		     void *ctx)
{
	char why[USER_NAME_MAX + PATH_MAX + 128];
	size_t used = 0;

	words[0] = '\0';
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		const struct need *n = &needs[i];

		if (n->mech ? !(a->conf.auth_mechanisms & n->mech) : !a->conf.apop)
			continue;
		explain(a, u, us, n, why, sizeof(why));
		if (why[0] && why_not)
			why_not(ctx, why);
		if (!why[0])
			used += (size_t)snprintf(words + used, size - used, "%s%s", used ? " " : "",
						 n->name);
	}
}

unsigned user_wanted_schemes(const struct admin *a)
{
	unsigned schemes = 0;

	if (a->opt[OPT_SCRAM]) {
		schemes |= BIT(SECRET_SCRAM_SHA_256);
		if (a->conf.auth_mechanisms & (MECH_SCRAM_SHA_1 | MECH_SCRAM_SHA_1_PLUS))
			schemes |= BIT(SECRET_SCRAM_SHA_1);
	}
	if (a->opt[OPT_CRAM])
		schemes |= BIT(SECRET_CRAM_MD5);
	if (a->opt[OPT_APOP])
		schemes |= BIT(SECRET_APOP);
	return schemes;
}

static int make_scram(struct secret *s, enum scram_hash hash, const char *password)
{
	uint8_t salt[SCRAM_SALT_LEN];
	struct scram_record r;
	int err = POP_E_SYS;

	if (getrandom(salt, sizeof(salt), 0) == (ssize_t)sizeof(salt))
		err = scram_make(&r, hash, password, salt, sizeof(salt), SCRAM_ITERATIONS);
	if (err == 0 && scram_format(&r, s->value, sizeof(s->value)) < 0)
		err = POP_E_LONG;
	explicit_bzero(&r, sizeof(r));
	return err;
}

/* prepared: as SASL clients make it before they use it. */
static int make_record(struct secret *s, enum secret_scheme scheme, const char *password,
		       const char *prepared)
{
	struct hmac_md5_key key;

	*s = (struct secret){ .scheme = scheme };
	switch (scheme) {
	case SECRET_SCRAM_SHA_256:
		return make_scram(s, SCRAM_SHA_256, prepared);
	case SECRET_SCRAM_SHA_1:
		return make_scram(s, SCRAM_SHA_1, prepared);
	case SECRET_CRAM_MD5:
		hmac_md5_key(&key, prepared, strlen(prepared));
		hmac_md5_key_format(&key, s->value);
		explicit_bzero(&key, sizeof(key));
		return 0;
	default:
		base64_encode(password, strlen(password), s->value);
		return 0;
	}
}

static int make_records(const char *name, const char *password, unsigned schemes,
			struct new_password *p)
{
	char prepared[USER_PASSWORD_MAX + 1];
	int err = 0;

	if (schemes && saslprep(password, strlen(password), prepared, sizeof(prepared)) <= 0)
		return fail(EX_DATAERR,
			    "%s: secrets need a password in UTF-8 without control characters; "
			    "choose another, or leave --scram, --cram and --apop out",
			    name);
	for (unsigned i = 0; i < SECRET_APP && err == 0; i++)
		if (schemes & BIT(i))
			err = make_record(&p->records[p->n++], (enum secret_scheme)i, password,
					  prepared);
	explicit_bzero(prepared, sizeof(prepared));
	return err < 0 ? fail(status_of(err), "%s: the secrets cannot be made: %s", name,
			      pop_strerror(err))
		       : 0;
}

int user_new_password(const char *name, unsigned schemes, struct new_password *p)
{
	char password[USER_PASSWORD_MAX + 1];
	int status, err;

	memset(p, 0, sizeof(*p));
	status = term_password(name, true, password, sizeof(password));
	if (!status) {
		err = password_hash(password, p->hash, sizeof(p->hash));
		if (err < 0)
			status = fail(status_of(err), "%s: the password cannot be hashed: %s", name,
				      pop_strerror(err));
	}
	if (!status)
		status = make_records(name, password, schemes, p);
	explicit_bzero(password, sizeof(password));
	return status;
}

void user_new_forget(struct new_password *p)
{
	explicit_bzero(p, sizeof(*p));
}

struct credentials user_credentials(const struct admin *a, const struct new_password *p)
{
	return (struct credentials){
		.users = a->conf.users,
		.secrets = a->conf.secrets,
		.hash = p ? p->hash : NULL,
		.add = p ? p->records : NULL,
		.n_add = p ? p->n : 0,
	};
}
