/*
 * auth_app.c - is this password an app password of the user?
 *
 * Runs in:  auth.
 * Trusts:   the secrets file.  Not the password.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "app_password.h"
#include "auth.h"
#include "password.h"
#include "secrets.h"

struct look {
	struct judgement *j;
	const char *bare;
};

static int check(void *ctx, const struct secret *s)
{
	struct look *look = ctx;
	char value[SECRET_VALUE_MAX + 1];
	struct secret_app app;
	int found = 0;

	if (s->scheme != SECRET_APP)
		return 0;
	memcpy(value, s->value, sizeof(value));
	if (secret_app_parse(value, &app) == 0 && password_verify(look->bare, app.hash)) {
		found = app.expires == 0 || time(NULL) < app.expires;
		if (found)
			snprintf(look->j->app, sizeof(look->j->app), "%s", app.label);
		else
			pop_why(&look->j->note, 0, "user %s: the app password %s has expired",
				s->name, app.label);
	}
	explicit_bzero(value, sizeof(value));
	return found;
}

bool auth_app(struct auth *a, const char *password, struct judgement *j)
{
	char bare[APP_PASSWORD_CHARS + 1];
	struct look look = { j, bare };
	int fd = -1, found = 0;

	if (app_password_bare(password, bare))
		fd = auth_secrets(a);
	if (fd >= 0)
		found = secrets_of(fd, j->user.name, check, &look);
	explicit_bzero(bare, sizeof(bare));
	return found == 1;
}
