/*
 * users.c - one line of the user database, taken apart and put together.
 *
 * Runs in:  auth and monitor at login; pop3admin.
 * Trusts:   that the file is the administrator's (fs_open_trusted), not that it is well formed.
 */
#include <stdio.h>
#include <string.h>

#include "num.h"
#include "password.h"
#include "user_options.h"
#include "users.h"

bool user_name_ok(const char *name, size_t len)
{
	if (len == 0 || len > USER_NAME_MAX || name[0] == '/' || name[0] == '#')
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c <= 0x20 || c == 0x7f || c == ':')
			return false;
	}
	return true;
}

struct field {
	const char *s;
	size_t len;
};
enum { F_NAME, F_PASSWORD, F_UID, F_GID, F_GECOS, F_HOME, F_SHELL, F_OPTIONS, N_FIELDS };

static const char *const field_names[N_FIELDS] = {
	"name", "password", "uid", "gid", "gecos", "home", "shell", "options",
};

/* The last field takes every further ':' (maildrop=mbox:PATH).  Returns how many there are. */
static int split(const char *line, size_t len, struct field f[N_FIELDS])
{
	const char *end = line + len, *colon;
	int n = 0;

	for (int i = 0; i < N_FIELDS; i++)
		f[i] = (struct field){ end, 0 };
	for (; n < N_FIELDS - 1; n++) {
		colon = memchr(line, ':', (size_t)(end - line));
		if (!colon)
			break;
		f[n] = (struct field){ line, (size_t)(colon - line) };
		line = colon + 1;
	}
	f[n] = (struct field){ line, (size_t)(end - line) };
	return n + 1;
}

static int copy(const struct field f[], int i, char *dst, size_t size, struct pop_why *why)
{
	if (f[i].len >= size)
		return pop_why(why, POP_E_LONG, "%s longer than %zu octets", field_names[i],
			       size - 1);
	memcpy(dst, f[i].s, f[i].len);
	dst[f[i].len] = '\0';
	return 0;
}

static int parse_id(const struct field f[], int i, uint32_t *id, char name[64], struct pop_why *why)
{
	uint64_t value = USER_NO_ID;
	char c = f[i].len ? f[i].s[0] : '\0';
	int err = 0;

	name[0] = '\0';
	if (c == '+' || c == '-' || (c >= '0' && c <= '9')) {
		err = num_parse(f[i].s, f[i].len, USER_NO_ID - 1, &value);
		if (err < 0)
			return pop_why(why, err, "%s is no number from 0 to %u", field_names[i],
				       USER_NO_ID - 1);
	} else if (c) {
		if (memchr(f[i].s, ' ', f[i].len))
			return pop_why(why, POP_E_SYNTAX, "blank in the %s", field_names[i]);
		err = copy(f, i, name, 64, why);
	}
	*id = (uint32_t)value;
	return err;
}

/* Never quotes what stands there: it may be a password in clear. */
static int parse_password(const struct field f[], struct user *u, struct pop_why *why)
{
	char text[USER_HASH_MAX + 1 + sizeof(u->scheme)];
	const char *bare, *brace;
	size_t len;
	int err;

	err = copy(f, F_PASSWORD, text, sizeof(text), why);
	if (err < 0)
		return err;
	bare = password_bare_hash(text, &u->locked);
	if (!bare) {
		err = pop_why(why, POP_E_SYNTAX, "a password {SCHEME} that is not known");
		goto out;
	}
	len = strlen(bare);
	if (len > USER_HASH_MAX) {
		err = pop_why(why, POP_E_LONG, "password longer than %d octets", USER_HASH_MAX);
		goto out;
	}
	memcpy(u->hash, bare, len + 1);
	u->scheme[0] = '\0';
	brace = memchr(text, '{', (size_t)(bare - text));
	if (brace) {
		len = strcspn(brace, "}") + 1;
		memcpy(u->scheme, brace, len);
		u->scheme[len] = '\0';
	}
out:
	explicit_bzero(text, sizeof(text));
	return err;
}

static bool has_control(const char *line, size_t len)
{
	unsigned bad = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		bad |= (c < 0x20) & (c != '\t');
		bad |= c == 0x7f;
	}
	return bad;
}

int users_parse_line(const char *line, size_t len, struct user *u, struct pop_why *why)
{
	struct field f[N_FIELDS];
	int err;

	if (len > USER_LINE_MAX)
		return pop_why(why, POP_E_LONG, "line longer than %d octets", USER_LINE_MAX);
	if (has_control(line, len))
		return pop_why(why, POP_E_SYNTAX, "control character in the line");
	if (split(line, len, f) < 2)
		return pop_why(why, POP_E_SYNTAX, "no ':' in the line");
	if (f[F_NAME].len > USER_NAME_MAX)
		return pop_why(why, POP_E_LONG, "name longer than %d octets", USER_NAME_MAX);
	if (!user_name_ok(f[F_NAME].s, f[F_NAME].len))
		return pop_why(why, POP_E_SYNTAX, "not a possible user name");
	memcpy(u->name, f[F_NAME].s, f[F_NAME].len);
	u->name[f[F_NAME].len] = '\0';

	err = parse_password(f, u, why);
	if (err == 0)
		err = parse_id(f, F_UID, &u->uid, u->uid_name, why);
	if (err == 0)
		err = parse_id(f, F_GID, &u->gid, u->gid_name, why);
	if (err == 0)
		err = copy(f, F_GECOS, u->gecos, sizeof(u->gecos), why);
	if (err == 0)
		err = copy(f, F_HOME, u->home, sizeof(u->home), why);
	if (err == 0)
		err = copy(f, F_SHELL, u->shell, sizeof(u->shell), why);
	if (err == 0)
		err = copy(f, F_OPTIONS, u->options, sizeof(u->options), why);
	if (err == 0)
		err = user_options_parse(u, why);
	return err;
}

static void format_id(uint32_t id, const char *name, char out[64])
{
	if (id == USER_NO_ID)
		snprintf(out, 64, "%.63s", name);
	else
		snprintf(out, 64, "%u", id);
}

int users_format_line(const struct user *u, char *out, size_t size)
{
	char uid[64], gid[64], options[sizeof(u->options) + PATH_MAX];
	const char *scheme = password_scheme_fits(u->scheme, u->hash) ? u->scheme : "{CRYPT}";
	int n;

	format_id(u->uid, u->uid_name, uid);
	format_id(u->gid, u->gid_name, gid);
	if (user_options_format(u, options, sizeof(options)) < 0)
		return POP_E_LONG;
	n = snprintf(out, size, "%s:%s%s%s:%s:%s:%s:%s:%s:%s", u->name, u->locked ? "!" : "",
		     scheme, u->hash, uid, gid, u->gecos, u->home, u->shell, options);
	if (n < 0 || (size_t)n >= size || n > USER_LINE_MAX)
		return POP_E_LONG;
	return n;
}
