/*
 * fuzz_users.c - a users file, and passwd and shadow: every line that is one can
 * be found, and written as it was read.
 *
 * Input: a users file; where a line "---" is in it, what is before it is also
 * taken for passwd, and what follows for shadow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz.h"
#include "users.h"

#define KEPT 64

struct seen {
	int fd;
	size_t n;
	uint64_t bad;
	struct user wanted;
	char names[KEPT][USER_NAME_MAX + 1];
};

static void bad_line(void *ctx, uint64_t line, const char *why)
{
	struct seen *s = ctx;

	MUST(line > 0 && why[0] && strlen(why) < POP_WHY_MAX);
	s->bad++;
}

static bool same(const struct user *a, const struct user *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->hash, b->hash) == 0 &&
	       a->locked == b->locked && a->nologin == b->nologin && a->uid == b->uid &&
	       a->gid == b->gid && strcmp(a->gecos, b->gecos) == 0 &&
	       strcmp(a->home, b->home) == 0 && strcmp(a->shell, b->shell) == 0 &&
	       strcmp(a->maildrop, b->maildrop) == 0;
}

static int each(void *ctx, const struct user *u)
{
	struct seen *s = ctx;
	struct pop_why why;
	struct user again;
	char line[USER_LINE_MAX + 64];
	int len = users_format_line(u, line, sizeof(line));

	MUST(user_name_ok(u->name, strlen(u->name)));
	MUST(len > 0 && (size_t)len == strlen(line) && !memchr(line, '\n', (size_t)len));
	/* a scheme that is written out may make it longer than a line can be */
	if (len <= USER_LINE_MAX) {
		MUST(users_parse_line(line, (size_t)len, &again, &why) == 0);
		MUST(same(u, &again));
	}
	if (s->n < KEPT)
		memcpy(s->names[s->n++], u->name, sizeof(u->name));
	return 0;
}

static int name_is(void *ctx, const struct user *u)
{
	struct seen *s = ctx;

	return strcmp(s->wanted.name, u->name) == 0 && same(&s->wanted, u);
}

static void find_all(struct seen *s)
{
	for (size_t i = 0; i < s->n; i++) {
		MUST(users_find(s->fd, s->names[i], &s->wanted, bad_line, s) == 0);
		MUST(users_each(s->fd, name_is, bad_line, s) == 1);
	}
}

static void find_none(struct seen *s)
{
	static struct user u;
	int err = users_find(s->fd, "nobody.has.this.name", &u, bad_line, s);

	if (err != 0)
		MUST(err == POP_E_MISSING || err == POP_E_SYNTAX);
}

static void find_system(const uint8_t *data, size_t size, const uint8_t *cut)
{
	static struct user u;
	int passwd = fuzz_file(1, data, (size_t)(cut - data));
	int shadow = fuzz_file(2, cut + 5, size - (size_t)(cut + 5 - data));
	static const char *const names[] = { "root", "a", "alice", "" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int err = users_find_system(passwd, shadow, names[i], &u);

		MUST(err == 0 ? strcmp(u.name, names[i]) == 0
			      : err == POP_E_MISSING || err == POP_E_SYNTAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen s;
	const uint8_t *cut = memmem(data, size, "\n---\n", 5);

	s.n = 0;
	s.bad = 0;
	s.fd = fuzz_file(0, data, size);
	MUST(users_each(s.fd, each, bad_line, &s) == 0);
	find_all(&s);
	find_none(&s);
	if (cut)
		find_system(data, size, cut);
	return 0;
}
