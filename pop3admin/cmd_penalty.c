/*
 * cmd_penalty.c - failed logins that are remembered: penalty list, clear.
 *
 * Runs in:  pop3admin, as root (run_dir is root's alone).
 * Trusts:   its caller and run_dir.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penalty.h"
#include "target.h"

/* The names behind the hashes of users: the table has only hashes. */
struct names {
	uint8_t key[PENALTY_KEY_LEN];
	uint64_t *hashes; /* of entries of users; owned */
	char (*names)[USER_NAME_MAX + 1];
	size_t n, size;
};

struct listing {
	struct admin *a;
	uint64_t now_ms;
	struct names names;
};

static int note_user(void *ctx, const struct penalty_entry *e)
{
	struct names *names = ctx;

	if (e->kind != PENALTY_USER || names->n == names->size)
		return 0;
	names->names[names->n][0] = '\0';
	names->hashes[names->n++] = e->hash;
	return 0;
}

static int match_user(void *ctx, const struct user *u)
{
	struct names *names = ctx;
	uint64_t hash = penalty_hash_user(names->key, u->name);

	for (size_t i = 0; i < names->n; i++)
		if (names->hashes[i] == hash)
			memcpy(names->names[i], u->name, sizeof(names->names[i]));
	return 0;
}

static const char *name_of(const struct names *names, uint64_t hash)
{
	for (size_t i = 0; i < names->n; i++)
		if (names->hashes[i] == hash && names->names[i][0])
			return names->names[i];
	return "(no user of the users file)";
}

/* Users of the users file that have failures; others stay hashes. */
static int find_names(struct listing *l, const struct penalty *p)
{
	struct names *names = &l->names;
	int fd;

	penalty_key(p, names->key);
	names->size = 1024;
	names->hashes = calloc(names->size, sizeof(*names->hashes));
	names->names = calloc(names->size, sizeof(*names->names));
	if (!names->hashes || !names->names)
		return fail(EX_OSERR, "out of memory");
	penalty_each(p, l->now_ms, note_user, names);
	if (names->n == 0 || l->a->conf.users[0] != '/')
		return 0;
	fd = users_open(l->a);
	if (fd < 0)
		return -fd;
	users_each(fd, match_user, NULL, names);
	close(fd);
	return 0;
}

/* What pop3d.conf(5) says of entries of this kind. */
struct bounds {
	const char *kind;
	uint32_t after, step_ms, max_ms;
};

static struct bounds bounds_of(const struct conf *c, enum penalty_kind kind)
{
	switch (kind) {
	case PENALTY_USER:
		return (struct bounds){ "user", c->penalty_after, c->penalty_step_ms,
					c->penalty_user_max_ms };
	case PENALTY_HANDSHAKE:
		return (struct bounds){ "handshake", c->penalty_tls_after, c->penalty_tls_step_ms,
					c->penalty_tls_max_ms };
	default:
		return (struct bounds){ "address", c->penalty_after, c->penalty_step_ms,
					c->penalty_max_ms };
	}
}

static int print_entry(void *ctx, const struct penalty_entry *e)
{
	struct listing *l = ctx;
	struct bounds b = bounds_of(&l->a->conf, e->kind);
	uint64_t left = e->until_ms - l->now_ms, free_ms = (uint64_t)b.after * b.step_ms;
	uint64_t failures = b.step_ms ? (left + b.step_ms - 1) / b.step_ms : 0;
	uint64_t wait = left > free_ms ? left - free_ms : 0;
	struct out *out = &l->a->out;

	out_object_begin(out);
	out_str(out, "kind", b.kind);
	out_str(out, "name", e->kind == PENALTY_USER ? name_of(&l->names, e->hash) : e->address);
	out_u64(out, "failures", failures);
	out_u64(out, "wait_ms", wait < b.max_ms ? wait : b.max_ms);
	out_bool(out, "refused", e->kind == PENALTY_ADDRESS && wait > b.max_ms);
	out_time(out, "until", (int64_t)(e->until_ms / 1000));
	out_object_end(out);
	return 0;
}

/* 0, 1 (there is no table, so nothing is remembered), or minus the exit status. */
static int open_table(const struct admin *a, struct penalty *p)
{
	struct pop_why why = { "" };
	int err = penalty_open(p, a->conf.run_dir, false, &why);

	if (err == POP_E_MISSING)
		return 1;
	return err < 0 ? -fail(status_of(err), "%s", why.text) : 0;
}

int cmd_penalty_list(struct admin *a)
{
	struct listing l = { .a = a, .now_ms = penalty_now_ms() };
	struct penalty p;
	int got = open_table(a, &p), status = 0;

	if (got < 0)
		return -got;
	if (got == 0)
		status = find_names(&l, &p);
	if (!status) {
		out_list_begin(&a->out);
		if (got == 0)
			penalty_each(&p, l.now_ms, print_entry, &l);
		out_list_end(&a->out);
	}
	if (got == 0)
		penalty_close(&p);
	free(l.names.hashes);
	free(l.names.names);
	return status;
}

int cmd_penalty_clear(struct admin *a)
{
	struct penalty p;
	uint8_t key[PENALTY_KEY_LEN];
	uint64_t hash = 0;
	int got = open_table(a, &p);

	if (got != 0)
		return got < 0 ? -got : 0;
	if (a->n_pos == 1) {
		penalty_key(&p, key);
		hash = penalty_hash_address(key, a->pos[0]);
		if (hash)
			penalty_clear(&p, penalty_hash_handshake(key, a->pos[0]));
		else
			hash = penalty_hash_user(key, a->pos[0]);
	}
	penalty_clear(&p, hash);
	penalty_close(&p);
	return 0;
}
