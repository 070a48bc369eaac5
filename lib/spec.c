/*
 * spec.c - maildrop specifications and login names.
 *
 * Runs in:  monitor, auth, pop3admin.
 * Trusts:   nothing; names come from clients, specifications from files.  What leaves
 *           here is a path as text; whoever opens it checks what is there.
 */
#include <stdbool.h>
#include <string.h>

#include "spec.h"
#include "users.h"

static const struct {
	const char *word;
	enum maildrop_kind kind;
} kinds[] = {
	{ "mbox:", MAILDROP_MBOX },
	{ "maildir:", MAILDROP_MAILDIR },
};

/* The path template behind "KIND:", or NULL. */
static const char *template_of(const char *text, enum maildrop_kind *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].word);

		if (strncmp(text, kinds[i].word, len) == 0) {
			*kind = kinds[i].kind;
			return text + len;
		}
	}
	return NULL;
}

static bool has_dotdot(const char *path)
{
	const char *part = path;

	for (;;) {
		size_t len = strcspn(part, "/");

		if (len == 2 && part[0] == '.' && part[1] == '.')
			return true;
		if (part[len] == '\0')
			return false;
		part += len + 1;
	}
}

int spec_check(const char *text, struct pop_why *why)
{
	enum maildrop_kind kind;
	const char *path = template_of(text, &kind), *p;

	if (!path)
		return pop_why(why, POP_E_SYNTAX, "a maildrop is mbox:PATH or maildir:PATH");
	if (path[0] == '~' && path[1] != '/' && path[1] != '\0')
		return pop_why(why, POP_E_SYNTAX, "~ stands for the home only before a /");
	if (path[0] != '/' && path[0] != '~' && path[0] != '%')
		return pop_why(why, POP_E_SYNTAX, "a maildrop's path begins with /, ~ or %%h");
	for (p = path; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return pop_why(why, POP_E_SYNTAX, "control character in a maildrop");
		if (*p != '%')
			continue;
		p++;
		if (*p == '\0' || !strchr("undh%", *p))
			return pop_why(why, POP_E_SYNTAX,
				       "only %%u, %%n, %%d, %%h and %%%% may stand in a maildrop");
	}
	if (path[0] == '%' && path[1] != 'h')
		return pop_why(why, POP_E_SYNTAX, "a maildrop's path begins with /, ~ or %%h");
	if (has_dotdot(path))
		return pop_why(why, POP_E_SYNTAX, "no part of a maildrop may be ..");
	if (strlen(path) >= PATH_MAX)
		return pop_why(why, POP_E_SYNTAX, "a maildrop's path is too long");
	return 0;
}

/* A path that is cleaned while it grows. */
struct cleaner {
	char *path; /* PATH_MAX bytes */
	size_t len;
	size_t part;   /* where the part being written begins, behind its '/' */
	bool expanded; /* a name, or an empty piece of one, went into this part */
	int err;
};

/* The part is complete: "." as written goes away, one that a name made is refused. */
static void end_part(struct cleaner *c)
{
	const char *part = c->path + c->part;
	size_t len = c->len - c->part;

	if (len == 1 && part[0] == '.') {
		if (c->expanded)
			c->err = POP_E_UNSAFE;
		c->len = c->part;
	} else if (len == 2 && part[0] == '.' && part[1] == '.') {
		c->err = POP_E_UNSAFE;
	}
	c->expanded = false;
}

static void put(struct cleaner *c, const char *s, size_t len, bool from_name)
{
	if (from_name)
		c->expanded = true;
	for (size_t i = 0; i < len && c->err == 0; i++) {
		if (s[i] == '/') {
			end_part(c);
			if (c->len > 0 && c->len == c->part)
				continue; /* an empty part: the '/' is there already */
		} else if (c->len == 0) {
			c->err = POP_E_SYNTAX; /* not absolute */
			return;
		}
		if (c->len + 1 >= PATH_MAX) {
			c->err = POP_E_LONG;
			return;
		}
		c->path[c->len++] = s[i];
		if (s[i] == '/')
			c->part = c->len;
	}
}

static void put_home(struct cleaner *c, const char *home)
{
	if (home[0] == '\0')
		c->err = POP_E_MISSING;
	put(c, home, strlen(home), false);
}

static void expand(struct cleaner *c, const char *t, const char *name, const char *home)
{
	const char *at = strrchr(name, '@');
	size_t local = at ? (size_t)(at - name) : strlen(name);

	if (*t == '~') {
		put_home(c, home);
		t++;
	}
	for (; *t && c->err == 0; t++) {
		if (*t != '%') {
			put(c, t, 1, false);
			continue;
		}
		switch (*++t) {
		case 'u':
			put(c, name, strlen(name), true);
			break;
		case 'n':
			put(c, name, local, true);
			break;
		case 'd':
			put(c, at ? at + 1 : "", at ? strlen(at + 1) : 0, true);
			break;
		case 'h':
			put_home(c, home);
			break;
		default:
			put(c, "%", 1, false);
			break;
		}
	}
	if (c->err == 0)
		end_part(c);
	if (c->err == 0 && c->len > 1 && c->path[c->len - 1] == '/')
		c->len--;
	c->path[c->len] = '\0';
}

int spec_expand(const char *text, const char *name, const char *home, struct spec *out,
		struct pop_why *why)
{
	struct cleaner c = { .path = out->path };
	const char *t;
	int err;

	out->path[0] = '\0';
	err = spec_check(text, why);
	if (err < 0)
		return err;
	t = template_of(text, &out->kind);
	if (strchr(name, '/') || name[0] == '\0')
		return pop_why(why, POP_E_UNSAFE, "maildrop %s: no path for this user name", text);
	expand(&c, t, name, home);
	if (c.err == 0 && c.len <= 1)
		c.err = POP_E_SYNTAX;
	switch (c.err) {
	case 0:
		return 0;
	case POP_E_MISSING:
		return pop_why(why, c.err, "maildrop %s: the user has no home", text);
	case POP_E_UNSAFE:
		return pop_why(why, c.err, "maildrop %s: a part of the path becomes . or ..", text);
	case POP_E_LONG:
		return pop_why(why, c.err, "maildrop %s: the path becomes too long", text);
	default:
		return pop_why(why, c.err, "maildrop %s: no absolute path of a file", text);
	}
}

/* name@domain into out; false where that is no name. */
static bool join(const char *name, size_t len, const char *domain, char out[256])
{
	size_t domain_len = strlen(domain);

	if (len + 1 + domain_len > USER_NAME_MAX)
		return false;
	memmove(out, name, len);
	out[len] = '@';
	memcpy(out + len + 1, domain, domain_len + 1);
	return user_name_ok(out, len + 1 + domain_len);
}

int login_candidates(const char *login, const char *separators, const char *default_domain,
		     const char *tls_domain, char names[2][256])
{
	size_t len = strlen(login);

	if (len > USER_NAME_MAX)
		return 0;
	for (size_t i = 0; i < len; i++)
		names[0][i] = strchr(separators, login[i]) ? '@' : login[i];
	names[0][len] = '\0';
	if (!user_name_ok(names[0], len))
		return 0;
	if (memchr(names[0], '@', len))
		return 1;
	if (tls_domain[0])
		return join(names[0], len, tls_domain, names[0]);
	return default_domain[0] && join(names[0], len, default_domain, names[1]) ? 2 : 1;
}
