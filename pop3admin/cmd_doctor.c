/*
 * cmd_doctor.c - doctor: everything that can be looked at, in one go.
 *
 * Runs in:  pop3admin, as whoever called it; root sees most.
 * Trusts:   its caller and the configuration.
 */
#include "doctor.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "term.h"
#include "users.h"

void note(const struct findings *f, const char *fmt, ...)
{
	char text[PATH_MAX + 512];
	va_list ap;

	if (f->a->out.json)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fputs("  note: ", f->a->out.file);
	out_visible(f->a->out.file, text);
	putc('\n', f->a->out.file);
}

/* One look, under its heading; people are told what was well, too. */
static void look(struct findings *f, const char *heading, void (*check)(struct findings *f))
{
	size_t before = f->count;

	if (!f->a->out.json)
		printf("%s\n", heading);
	check(f);
	if (!f->a->out.json && f->count == before)
		puts("  well");
}

static void check_configuration(struct findings *f)
{
	check_values(f);
	check_places(f);
}

/* What check_session() needs beside the findings. */
static const char *login;
static char password[USER_PASSWORD_MAX + 1];

static void check_one_session(struct findings *f)
{
	check_session(f, login, password);
}

int cmd_doctor(struct admin *a)
{
	struct findings f = { .a = a };
	int status = 0;

	login = a->n_pos ? a->pos[0] : NULL;
	if (login)
		status = term_password(login, false, password, sizeof(password));
	if (status)
		return status;
	out_list_begin(&a->out);
	look(&f, "configuration, directories, helpers", check_configuration);
	look(&f, "users", check_users);
	look(&f, "maildrops", check_maildrops);
	look(&f, "certificates", check_certificates);
	look(&f, "ports", check_ports);
	look(&f, login ? "a session, with a login" : "a session", check_one_session);
	out_list_end(&a->out);
	explicit_bzero(password, sizeof(password));
	return f.count ? EX_NOT_WELL : 0;
}
