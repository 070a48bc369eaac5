/*
 * auth_secret.c - the record of a user in the secrets file, where it counts.
 *
 * Runs in:  pop3d-auth.
 * Trusts:   users file and secrets file.  Not the login.
 */
#include <errno.h>
#include <string.h>
#include "auth_digest.h"

struct want {
	enum secret_scheme scheme;
	const char *tag;
	struct secret *s;
};

static int take(void *ctx, const struct secret *s)
{
	struct want *w = ctx;

	if (s->scheme != w->scheme || (s->tag[0] && strcmp(s->tag, w->tag) != 0))
		return 0;
	*w->s = *s;
	return 1;
}

static int failed(struct judgement *j, int err)
{
	j->verdict = err == POP_E_UNSAFE ? VERDICT_PERM : VERDICT_TEMP;
	return err;
}

int auth_secret(struct auth *a, const char *login, enum secret_scheme scheme, struct secret *s,
		struct judgement *j)
{
	uint8_t key[SECRETS_KEY_LEN] = { 0 };
	char tag[SECRET_TAG_LEN + 1] = "";
	struct want want = { scheme, tag, s };
	int fd, err;

	err = auth_find(a, login, j);
	if (err == POP_E_SYS || err == POP_E_MEMORY)
		return failed(j, err);
	fd = auth_secrets(a);
	if (fd == POP_E_MISSING)
		return 0;
	if (fd < 0)
		return failed(j, fd);
	if (err < 0 || !auth_usable(&j->user))
		return 0;
	if (secrets_key(fd, key) == 0)
		secrets_tag(key, j->user.hash, tag);
	err = secrets_of(fd, j->user.name, take, &want);
	explicit_bzero(key, sizeof(key));
	if (err < 0) {
		pop_why(&j->note, err, "secrets: %s",
			err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
		return failed(j, err);
	}
	return err;
}
