/*
 * cmd_user_app.c - app passwords: user app add, list, del.
 *
 * Runs in:  pop3admin, as whoever may write the secrets file.
 * Trusts:   its caller.  The password is printed once and stored nowhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app_password.h"
#include "date.h"
#include "fsutil.h"
#include "password.h"
#include "target.h"
#include "user_secrets.h"

static int app_failed(const struct admin *a, int err, const struct pop_why *why)
{
	return fail(status_of(err), "%s", why->text[0] ? why->text : a->conf.secrets);
}

static int make(struct admin *a, const char *label, int64_t expires, char *shown, struct secret *s)
{
	char bare[APP_PASSWORD_CHARS + 1], hash[USER_HASH_MAX + 1];
	int err = app_password_make(shown);

	(void)a;
	*s = (struct secret){ .scheme = SECRET_APP };
	if (err == 0 && app_password_bare(shown, bare))
		err = password_hash_random(bare, hash, sizeof(hash));
	if (err == 0)
		snprintf(s->value, sizeof(s->value), "%s,%lld,%s", label, (long long)expires, hash);
	explicit_bzero(bare, sizeof(bare));
	return err;
}

static int app_add(struct admin *a, const char *name, const char *label)
{
	struct credentials c = user_credentials(a, NULL);
	char shown[APP_PASSWORD_TEXT + 1] = "";
	struct pop_why why = { "" };
	int64_t expires = 0;
	struct secret s;
	int err, status = 0;

	if (!secret_label_ok(label))
		return fail(EX_DATAERR, "%s: a label is 1 to %d letters, digits, '-', '_' and '.'",
			    label, SECRET_LABEL_MAX);
	if (a->opt[OPT_EXPIRES] &&
	    date_parse(a->opt[OPT_EXPIRES], strlen(a->opt[OPT_EXPIRES]), &expires) < 0)
		return fail(EX_DATAERR, "--expires %s: give a date such as 2027-01-31",
			    a->opt[OPT_EXPIRES]);
	if (a->opt[OPT_EXPIRES])
		expires += 86400; /* the day itself counts */
	if (expires && expires <= time(NULL))
		return fail(EX_DATAERR, "--expires %s: that day is over", a->opt[OPT_EXPIRES]);
	err = make(a, label, expires, shown, &s);
	c.add = &s;
	c.n_add = 1;
	if (err == 0)
		err = credentials_app(&c, name, label, &why);
	if (err < 0) {
		status = app_failed(a, err, &why);
	} else {
		out_object_begin(&a->out);
		out_str(&a->out, "name", name);
		out_str(&a->out, "label", label);
		out_str(&a->out, "password", shown);
		if (expires)
			out_time(&a->out, "expires", expires);
		else
			out_null(&a->out, "expires");
		out_object_end(&a->out);
	}
	explicit_bzero(shown, sizeof(shown));
	explicit_bzero(&s, sizeof(s));
	return status;
}

static int print_app(void *ctx, const struct secret *s)
{
	struct out *out = ctx;
	char value[SECRET_VALUE_MAX + 1];
	struct secret_app app;

	if (s->scheme != SECRET_APP)
		return 0;
	memcpy(value, s->value, sizeof(value));
	if (secret_app_parse(value, &app) == 0) {
		out_object_begin(out);
		out_str(out, "name", s->name);
		out_str(out, "label", app.label);
		if (app.expires)
			out_time(out, "expires", app.expires);
		else
			out_null(out, "expires");
		out_bool(out, "expired", app.expires && app.expires <= time(NULL));
		out_object_end(out);
	}
	explicit_bzero(value, sizeof(value));
	return 0;
}

static int app_list(struct admin *a, const char *name)
{
	int fd, err = 0;

	fd = fs_open_at(AT_FDCWD, a->conf.secrets, FS_LINKS_ALL, O_RDONLY, 0);
	if (fd < 0 && errno != ENOENT)
		return fail(status_of(POP_E_SYS), "%s: %s", a->conf.secrets, strerror(errno));
	out_list_begin(&a->out);
	if (fd >= 0) {
		err = secrets_of(fd, name, print_app, &a->out);
		close(fd);
	}
	out_list_end(&a->out);
	return err < 0 ? fail(status_of(err), "%s: %s", a->conf.secrets, pop_strerror(err)) : 0;
}

static int app_del(struct admin *a, const char *name, const char *label)
{
	struct credentials c = user_credentials(a, NULL);
	struct pop_why why = { "" };
	int err = credentials_app(&c, name, label, &why);

	if (err < 0)
		return app_failed(a, err, &why);
	out_object_begin(&a->out);
	out_str(&a->out, "name", name);
	out_str(&a->out, "label", label);
	out_object_end(&a->out);
	return 0;
}

int cmd_user_app(struct admin *a)
{
	const char *what = a->pos[0], *name = a->pos[1];
	struct user u;
	int status;

	if (strcmp(what, "list") != 0 && strcmp(what, "add") != 0 && strcmp(what, "del") != 0)
		return fail(EX_USAGE,
			    "user app %s: give add, list or del; see pop3admin user app "
			    "--help",
			    what);
	if ((a->n_pos == 3) == (strcmp(what, "list") == 0))
		return fail(EX_USAGE, "user app %s: %s", what,
			    a->n_pos == 3 ? "takes no label" : "needs a NAME and a LABEL");
	status = user_find(a, name, &u);
	user_forget(&u);
	if (status)
		return status;
	if (strcmp(what, "list") == 0)
		return app_list(a, name);
	return strcmp(what, "add") == 0 ? app_add(a, name, a->pos[2]) : app_del(a, name, a->pos[2]);
}
