/*
 * auth_scram.c - SCRAM-SHA-1 and SCRAM-SHA-256, with and without channel binding.
 *
 * Runs in:  pop3d-auth.
 * Trusts:   the channel binding that the monitor told.  Not the client.
 *
 * The first answer must not tell whether a name exists: it comes of the secrets
 * file alone, by one binary search, and a name without a record gets a salt that
 * is always the same.  Whose record it is, and whether it counts, is looked up
 * when the proof has come.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "auth_digest.h"
#include "base64.h"
#include "fsutil.h"
#include "hash.h"
#include "scram.h"

#define NONCE_OCTETS 18
#define FIRST_MS     2 /* the first answer comes no sooner */

enum state { SCRAM_FIRST, SCRAM_FINAL, SCRAM_DONE };

/* One exchange at a time. */
static struct {
	enum state state;
	enum secret_scheme scheme;
	struct scram scram;
} now;

static enum ipc_sasl_kind refuse(struct judgement *j, enum ipc_verdict verdict)
{
	j->verdict = verdict;
	scram_wipe(&now.scram);
	return SASL_VERDICT;
}

static void begin(struct auth *a, const struct auth_exchange *x)
{
	bool sha1 = x->mechanism == SASL_SCRAM_SHA_1 || x->mechanism == SASL_SCRAM_SHA_1_PLUS;
	struct scram *s = &now.scram;

	scram_wipe(s);
	now.state = SCRAM_FIRST;
	now.scheme = sha1 ? SECRET_SCRAM_SHA_1 : SECRET_SCRAM_SHA_256;
	s->plus = x->mechanism == SASL_SCRAM_SHA_1_PLUS || x->mechanism == SASL_SCRAM_SHA_256_PLUS;
	s->plus_offered = a->tls.kinds != BINDING_NONE &&
			  (a->conf->auth_mechanisms &
			   (sha1 ? MECH_SCRAM_SHA_1_PLUS : MECH_SCRAM_SHA_256_PLUS));
	if (a->tls.kinds & BINDING_EXPORTER)
		s->bindings[0] = (struct scram_binding){ "tls-exporter", a->tls.binding,
							 sizeof(a->tls.binding) };
	if (a->tls.kinds & BINDING_UNIQUE)
		s->bindings[1] = (struct scram_binding){ "tls-unique", a->tls.unique,
							 sizeof(a->tls.unique) };
}

struct choice {
	struct scram_record *record;
	unsigned found;
	const char *tag; /* NULL: any */
};

static int choose(void *ctx, const struct secret *s)
{
	enum scram_hash hash = now.scheme == SECRET_SCRAM_SHA_1 ? SCRAM_SHA_1 : SCRAM_SHA_256;
	struct choice *c = ctx;
	struct scram_record r;

	if (s->scheme != now.scheme || scram_parse(&r, hash, s->value, strlen(s->value)) < 0)
		return 0;
	if (c->tag && s->tag[0] && strcmp(s->tag, c->tag) != 0)
		return 0;
	*c->record = r;
	c->found++;
	return 0;
}

/*
 * Two records: somebody changes the password right now, or died doing it.  Only
 * the users file can tell which one counts.
 */
static int choose_again(struct auth *a, int fd, const char *name, const uint8_t *key,
			struct choice *c, struct judgement *j)
{
	char tag[SECRET_TAG_LEN + 1];

	if (auth_find_entry(a, name, j) != 0)
		return 0;
	secrets_tag(key, j->user.hash, tag);
	c->tag = tag;
	c->found = 0;
	return secrets_of(fd, j->user.name, choose, c);
}

/* A record that nobody has, by the same work as for one that is there. */
static int make_fake(struct scram_record *r, enum scram_hash hash, const uint8_t *key,
		     const char *name)
{
	char text[SECRET_VALUE_MAX];
	int n = scram_fake(r, hash, key, SECRETS_KEY_LEN, name);

	if (n == 0)
		n = scram_format(r, text, sizeof(text));
	if (n > 0)
		n = scram_parse(r, hash, text, (size_t)n);
	return n;
}

/* The file's key; records that were brought from elsewhere have none, but are a secret too. */
static int read_key(int fd, uint8_t key[SECRETS_KEY_LEN])
{
	uint8_t head[4096];
	const uint8_t none[16] = { 0 };
	int err = secrets_key(fd, key);
	ssize_t n;

	if (err != POP_E_MISSING)
		return err;
	n = fs_pread_full(fd, head, sizeof(head), 0);
	if (n < 0)
		return POP_E_SYS;
	memset(key, 0, SECRETS_KEY_LEN);
	siphash128(none, head, (size_t)n, key);
	explicit_bzero(head, sizeof(head));
	return 0;
}

/* What r is to be for the name that the client sent; every name that it may stand for is looked
 * up, also behind one that is found. */
static int find_record(struct auth *a, int fd, struct scram_record *r, struct judgement *j)
{
	enum scram_hash hash = now.scheme == SECRET_SCRAM_SHA_1 ? SCRAM_SHA_1 : SCRAM_SHA_256;
	char names[2][USER_NAME_MAX + 1];
	int n = auth_names(a, now.scram.user, names);
	uint8_t key[SECRETS_KEY_LEN] = { 0 };
	struct scram_record one = { .iterations = 0 };
	bool found = false;
	int err = read_key(fd, key);

	if (err == 0)
		err = make_fake(r, hash, key, n > 0 ? names[n - 1] : "");
	for (int i = 0; i < n && err == 0; i++) {
		struct choice c = { .record = &one };

		err = secrets_of(fd, names[i], choose, &c);
		if (err == 0 && c.found > 1)
			err = choose_again(a, fd, names[i], key, &c, j);
		if (err == 0 && c.found > 0 && !found) {
			*r = one;
			found = true;
		}
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(&one, sizeof(one));
	return err;
}

static enum ipc_sasl_kind step_first(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	uint8_t random[NONCE_OCTETS];
	char nonce[BASE64_LEN(NONCE_OCTETS) + 1];
	struct scram_record r;
	int err, fd;

	err = scram_client_first(&now.scram, (char *)x->in, x->in_len);
	snprintf(x->login, sizeof(x->login), "%s", now.scram.user);
	if (err < 0)
		return refuse(j, err == POP_E_DENIED ? VERDICT_AUTH : VERDICT_SYNTAX);
	fd = auth_secrets(a);
	if (fd < 0 || getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return refuse(j, fd == POP_E_UNSAFE ? VERDICT_PERM : VERDICT_TEMP);
	base64_encode(random, sizeof(random), nonce);
	err = find_record(a, fd, &r, j);
	if (err == 0)
		err = scram_server_first(&now.scram, &r, nonce, (char *)x->out, sizeof(x->out));
	explicit_bzero(&r, sizeof(r));
	if (err < 0) {
		pop_why(&j->note, err, "secrets: %s", pop_strerror(err));
		return refuse(j, VERDICT_TEMP);
	}
	/* some lines more or less to look at are microseconds: at the next tick they are gone */
	auth_wait(a, a->came_ms + FIRST_MS);
	x->out_len = (size_t)err;
	now.state = SCRAM_FINAL;
	return SASL_CHALLENGE;
}

/* Was it this user's valid record that the proof was made for? */
static int record_counts(struct auth *a, const struct auth_exchange *x, struct judgement *j)
{
	struct scram_record r;
	struct secret s;
	int found = auth_secret(a, x->login, now.scheme, &s, j);

	if (found > 0)
		found = scram_parse(&r, now.scram.record.hash, s.value, strlen(s.value)) == 0 &&
			memcmp(&r, &now.scram.record, sizeof(r)) == 0;
	explicit_bzero(&s, sizeof(s));
	explicit_bzero(&r, sizeof(r));
	return found;
}

static enum ipc_sasl_kind step_final(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	const char *authzid = now.scram.authzid;
	int n, counts;

	if (!auth_brake(a, x->login, j)) {
		scram_wipe(&now.scram);
		return SASL_VERDICT;
	}
	n = scram_client_final(&now.scram, (char *)x->in, x->in_len, (char *)x->out,
			       sizeof(x->out));
	if (n == POP_E_SYNTAX)
		return refuse(j, VERDICT_SYNTAX);
	if (n < 0 && n != POP_E_DENIED)
		return refuse(j, VERDICT_TEMP);
	counts = record_counts(a, x, j);
	if (counts < 0)
		return refuse(j, j->verdict);
	if (n < 0 || counts == 0 ||
	    (authzid[0] && strcmp(authzid, x->login) != 0 && strcmp(authzid, j->user.name) != 0))
		return refuse(j, VERDICT_AUTH);
	x->out_len = (size_t)n;
	now.state = SCRAM_DONE;
	return SASL_CHALLENGE;
}

/* The client has seen the server's signature and says nothing more (RFC 5034 section 4). */
static enum ipc_sasl_kind step_done(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	int counts;

	if (x->in_len != 0)
		return refuse(j, VERDICT_SYNTAX);
	counts = record_counts(a, x, j);
	if (counts < 0)
		return refuse(j, j->verdict);
	j->verdict = VERDICT_AUTH;
	if (counts)
		auth_accept(a, j);
	scram_wipe(&now.scram);
	return SASL_VERDICT;
}

enum ipc_sasl_kind auth_step_scram(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	if (x->step == 0) {
		begin(a, x);
		if (x->no_response) {
			x->out_len = 0;
			return SASL_CHALLENGE;
		}
	}
	switch (now.state) {
	case SCRAM_FIRST:
		return step_first(a, x, j);
	case SCRAM_FINAL:
		return step_final(a, x, j);
	default:
		return step_done(a, x, j);
	}
}
