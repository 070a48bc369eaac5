/*
 * auth_sasl.c - SASL exchanges: their pieces, and the mechanisms that need no
 * cryptographic library.
 *
 * Runs in:  auth.
 * Trusts:   nothing that came from the client.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "auth.h"
#include "saslprep.h"

static enum ipc_sasl_kind challenge(struct auth_exchange *x, const char *text)
{
	x->out_len = strlen(text);
	memcpy(x->out, text, x->out_len);
	return SASL_CHALLENGE;
}

static enum ipc_sasl_kind refuse(struct judgement *j, enum ipc_verdict verdict)
{
	j->verdict = verdict;
	return SASL_VERDICT;
}

bool auth_authzid_ok(const struct judgement *j, const char *authzid, const char *login)
{
	return authzid[0] == '\0' || strcmp(authzid, login) == 0 ||
	       (j->user.name[0] && strcmp(authzid, j->user.name) == 0);
}

/* RFC 4616: authzid NUL name NUL password. */
static enum ipc_sasl_kind step_plain(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	const char *parts[3] = { (const char *)x->in };
	char authzid[USER_NAME_MAX + 1], password[USER_PASSWORD_MAX + 1];
	size_t lens[3];

	if (x->step == 0 && x->no_response)
		return challenge(x, "");
	for (int i = 0; i < 3; i++) {
		size_t left = x->in_len - (size_t)(parts[i] - (const char *)x->in);

		lens[i] = strnlen(parts[i], left);
		if ((lens[i] == left) != (i == 2))
			return refuse(j, VERDICT_SYNTAX);
		if (i < 2)
			parts[i + 1] = parts[i] + lens[i] + 1;
	}
	if (lens[1] == 0 || lens[2] == 0 || lens[2] > USER_PASSWORD_MAX ||
	    saslprep(parts[0], lens[0], authzid, sizeof(authzid)) < 0 ||
	    saslprep(parts[1], lens[1], x->login, sizeof(x->login)) < 0 ||
	    saslprep(parts[2], lens[2], password, sizeof(password)) < 0) {
		explicit_bzero(password, sizeof(password));
		return refuse(j, VERDICT_SYNTAX);
	}
	auth_password(a, x->login, parts[2], j);
	if (j->verdict == VERDICT_OK && !auth_authzid_ok(j, authzid, x->login))
		j->verdict = VERDICT_AUTH;
	explicit_bzero(password, sizeof(password));
	return SASL_VERDICT;
}

/* The mechanism that was never written down but in a draft: two questions, two answers. */
static enum ipc_sasl_kind step_login(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	char password[USER_PASSWORD_MAX + 1];

	if (x->step == 0 && x->no_response)
		return challenge(x, "Username:");
	if (x->login[0] == '\0') {
		if (x->in_len == 0 ||
		    saslprep((char *)x->in, x->in_len, x->login, sizeof(x->login)) <= 0)
			return refuse(j, VERDICT_SYNTAX);
		return challenge(x, "Password:");
	}
	if (x->in_len == 0 || x->in_len > USER_PASSWORD_MAX ||
	    saslprep((char *)x->in, x->in_len, password, sizeof(password)) < 0)
		refuse(j, VERDICT_SYNTAX);
	else
		auth_password(a, x->login, (char *)x->in, j);
	explicit_bzero(password, sizeof(password));
	return SASL_VERDICT;
}

/* RFC 4422 appendix A: the certificate has said who it is. */
static enum ipc_sasl_kind step_external(struct auth *a, struct auth_exchange *x,
					struct judgement *j)
{
	char authzid[USER_NAME_MAX + 1];
	int err;

	if (x->step == 0 && x->no_response)
		return challenge(x, "");
	if (saslprep((char *)x->in, x->in_len, authzid, sizeof(authzid)) < 0)
		return refuse(j, VERDICT_SYNTAX);
	snprintf(x->login, sizeof(x->login), "%s", a->tls.identity);
	j->verdict = VERDICT_AUTH;
	err = x->login[0] ? auth_find(a, x->login, j) : POP_E_MISSING;
	if (err == POP_E_SYS || err == POP_E_MEMORY)
		j->verdict = VERDICT_TEMP;
	else if (err == 0 && !j->user.locked && !j->user.nologin &&
		 auth_authzid_ok(j, authzid, x->login))
		auth_accept(a, j);
	return SASL_VERDICT;
}

static const struct auth_mech mechs[] = {
	{ SASL_PLAIN, step_plain },	   { SASL_LOGIN, step_login },
	{ SASL_EXTERNAL, step_external },  { SASL_OAUTHBEARER, auth_step_oauth },
	{ SASL_XOAUTH2, auth_step_oauth },
};

static const struct auth_mech *find_in(const struct auth_mech *list, size_t n, unsigned mechanism)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].mechanism == mechanism)
			return &list[i];
	return NULL;
}

void auth_sasl_end(struct auth *a)
{
	struct auth_exchange *x = &a->x;

	explicit_bzero(x->in, x->in_len);
	explicit_bzero(x->out, x->out_len);
	x->mechanism = 0;
	x->step = 0;
	x->refused = false;
	x->in_len = x->out_len = 0;
	x->login[0] = '\0';
}

/* Add a piece; false where it does not fit or belongs to no exchange. */
static bool take_piece(struct auth *a, unsigned mechanism, unsigned part, struct ipc_msg *m)
{
	struct auth_exchange *x = &a->x;
	size_t len = ipc_left(m);
	const uint8_t *data = ipc_get_raw(m, len);

	if (part & SASL_BEGINS) {
		auth_sasl_end(a);
		x->mechanism = mechanism;
		x->no_response = part & SASL_NO_RESPONSE;
	}
	if (!data || x->mechanism != mechanism || len > AUTH_RESPONSE_MAX - x->in_len)
		return false;
	memcpy(x->in + x->in_len, data, len);
	x->in_len += len;
	x->in[x->in_len] = '\0';
	return true;
}

enum ipc_sasl_kind auth_sasl(struct auth *a, struct ipc_msg *m, struct judgement *j)
{
	struct auth_exchange *x = &a->x;
	unsigned mechanism = ipc_get_u8(m), part = ipc_get_u8(m);
	const struct auth_mech *mech;
	enum ipc_sasl_kind kind;

	if (!take_piece(a, mechanism, part, m))
		return refuse(j, VERDICT_SYNTAX);
	ipc_wipe(m);
	if (part & SASL_MORE)
		return SASL_GO_ON;
	mech = find_in(mechs, sizeof(mechs) / sizeof(mechs[0]), mechanism);
	if (!mech)
		mech = find_in(a->start->digests, a->start->n_digests, mechanism);
	if (!mech)
		return refuse(j, VERDICT_TEMP);
	kind = mech->step(a, x, j);
	explicit_bzero(x->in, x->in_len);
	x->in_len = 0;
	x->step++;
	if (kind == SASL_VERDICT && j->verdict != VERDICT_OK && x->login[0])
		snprintf(j->user.name, sizeof(j->user.name), "%s", x->login);
	return kind;
}
