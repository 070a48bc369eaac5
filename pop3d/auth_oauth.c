/*
 * auth_oauth.c - OAUTHBEARER (RFC 7628) and XOAUTH2: a token, which a program of
 * the administrator's verifies.
 *
 * Runs in:  auth.
 * Trusts:   the verifier for whose token it is.  Not the client.
 *
 * The verifier is a process that the monitor starts, under a uid of its own; what
 * auth has of it is two pipes.  It reads "token NUL name NUL mechanism NUL" and
 * writes one line: `+` and whose token it is, or `-` and why it is refused;
 * anything else is a failure that passes.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "auth.h"
#include "fsutil.h"
#include "saslprep.h"

#define DEADLINE_MS 30000
#define ANSWER_MAX  1024
#define SEPARATOR   '\1'

/* What the client says after its error was told, whatever it is: RFC 7628 section 3.2.3. */
static enum ipc_sasl_kind after_error(struct judgement *j)
{
	j->verdict = VERDICT_AUTH;
	j->counted = true;
	return SASL_VERDICT;
}

/* =2C and =3D of a saslname, RFC 5801 section 4. */
static int decode_name(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '=') {
			if (len - i >= 3 && strncmp(text + i, "=2C", 3) == 0)
				c = ',';
			else if (len - i < 3 || strncmp(text + i, "=3D", 3) != 0)
				return POP_E_SYNTAX;
			i += 2;
		}
		if (n + 1 >= size)
			return POP_E_LONG;
		out[n++] = c;
	}
	return (int)n;
}

/* "n,a=NAME," or "y,,"; a client that wants its channel bound ("p=") wants another mechanism. */
static const char *parse_gs2(const char *text, char name[USER_NAME_MAX + 1])
{
	char raw[USER_NAME_MAX + 1];
	size_t len;
	int n;

	if ((text[0] != 'n' && text[0] != 'y') || text[1] != ',')
		return NULL;
	text += 2;
	len = strcspn(text, ",\1");
	if (text[len] != ',' || (len > 0 && strncmp(text, "a=", 2) != 0))
		return NULL;
	name[0] = '\0';
	if (len > 0) {
		n = decode_name(text + 2, len - 2, raw, sizeof(raw));
		if (n <= 0 || saslprep(raw, (size_t)n, name, USER_NAME_MAX + 1) <= 0)
			return NULL;
	}
	return text + len + 1;
}

/* RFC 6750 section 2.1: b64token. */
static bool token_ok(const char *token, size_t len)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789-._~+/";
	size_t n = strspn(token, letters);

	if (n == 0)
		return false;
	return n + strspn(token + n, "=") == len;
}

/* "auth=Bearer TOKEN" among key=value pairs, each ended by ^A; one ^A more at the end. */
static int parse_pairs(char *text, size_t len, char **token)
{
	static const char auth[] = "auth=";
	char *end = text + len;

	*token = NULL;
	while (text < end && *text != SEPARATOR) {
		char *stop = memchr(text, SEPARATOR, (size_t)(end - text));

		if (!stop)
			return POP_E_SYNTAX;
		*stop = '\0';
		if (strncmp(text, auth, sizeof(auth) - 1) == 0) {
			text += sizeof(auth) - 1;
			if (*token || strncasecmp(text, "Bearer ", 7) != 0)
				return POP_E_SYNTAX;
			*token = text + 7 + strspn(text + 7, " ");
			if (!token_ok(*token, (size_t)(stop - *token)))
				return POP_E_SYNTAX;
		}
		text = stop + 1;
	}
	return text + 1 == end && *token ? 0 : POP_E_SYNTAX;
}

/* The client's response: whom it claims to be ("" where it does not say), and its token. */
static int parse(struct auth_exchange *x, char **token)
{
	static const char user[] = "user=";
	char *text = (char *)x->in, *pairs;
	size_t len;

	if (strlen(text) != x->in_len)
		return POP_E_SYNTAX;
	if (x->mechanism == SASL_OAUTHBEARER) {
		pairs = (char *)(uintptr_t)parse_gs2(text, x->login);
		if (!pairs || *pairs != SEPARATOR)
			return POP_E_SYNTAX;
	} else {
		if (strncmp(text, user, sizeof(user) - 1) != 0)
			return POP_E_SYNTAX;
		text += sizeof(user) - 1;
		len = strcspn(text, "\1");
		pairs = text + len;
		if (*pairs != SEPARATOR ||
		    (len > 0 && saslprep(text, len, x->login, sizeof(x->login)) <= 0))
			return POP_E_SYNTAX;
	}
	pairs++;
	return parse_pairs(pairs, x->in_len - (size_t)(pairs - (char *)x->in), token);
}

/* Have it started: its two pipes. */
static int start(struct auth *a, int *feed, int *answer)
{
	struct ipc_msg m;
	uint8_t verdict;
	int err;

	ipc_start(&m, IPC_VERIFIER_ASK);
	ipc_put_u8(&m, 0);
	err = ipc_call(&a->monitor, &m);
	if (err < 0)
		return err;
	verdict = ipc_get_u8(&m);
	if (verdict == VERDICT_OK && m.n_fds == 2) {
		*feed = ipc_take_fd(&m);
		*answer = ipc_take_fd(&m);
	}
	err = ipc_end(&m);
	return err < 0 || *answer < 0 ? POP_E_SYS : 0;
}

/* Less than a pipe takes without waiting, and an empty one is what we have. */
static int feed_token(const struct auth_exchange *x, const char *token, int fd)
{
	static char text[AUTH_RESPONSE_MAX + USER_NAME_MAX + 64];
	const char *parts[3] = { token, x->login, mech_name(x->mechanism) };
	size_t used = 0;
	int err;

	for (int i = 0; i < 3; i++) {
		size_t len = strnlen(parts[i], sizeof(text) - used - 1);

		memcpy(text + used, parts[i], len);
		used += len;
		text[used++] = '\0';
	}
	err = fs_write_all(fd, text, used);
	explicit_bzero(text, used);
	return err;
}

/* Read until its end.  The length, POP_E_TIME, POP_E_EOF (the session has ended), POP_E_LONG. */
static int read_answer(struct auth *a, int fd, char text[ANSWER_MAX])
{
	int64_t until_ms = fs_now_ms() + DEADLINE_MS;
	size_t used = 0;

	for (;;) {
		struct pollfd fds[2] = { { .fd = fd, .events = POLLIN },
					 { .fd = a->monitor.fd, .events = 0 } };
		int64_t left = until_ms - fs_now_ms();
		ssize_t n;

		if (left <= 0 || poll(fds, 2, (int)left) == 0)
			return POP_E_TIME;
		if (fds[1].revents)
			return POP_E_EOF;
		if (!fds[0].revents)
			continue;
		n = read(fd, text + used, ANSWER_MAX - used);
		if (n < 0 && errno != EINTR)
			return POP_E_SYS;
		if (n == 0)
			return (int)used;
		used += n > 0 ? (size_t)n : 0;
		if (used == ANSWER_MAX)
			return POP_E_LONG;
	}
}

/* One whole line: who it is, or VERDICT_AUTH, or VERDICT_TEMP, with a note for the log. */
static enum ipc_verdict judge_answer(char *text, int len, char name[USER_NAME_MAX + 1],
				     struct judgement *j)
{
	char *lf = len > 0 ? memchr(text, '\n', (size_t)len) : NULL;

	if (len < 0 || !lf || lf + 1 != text + len || memchr(text, '\0', (size_t)len)) {
		pop_why(&j->note, 0, "oauth_verifier: %s",
			len == POP_E_TIME		       ? "no answer within 30 s"
			: len == 0			       ? "it has ended without an answer"
			: len == POP_E_SYS || len == POP_E_EOF ? "its answer cannot be read"
							       : "no answer of one line");
		return VERDICT_TEMP;
	}
	*lf = '\0';
	if (text[0] == '+' && user_name_ok(text + 1, strlen(text + 1))) {
		memcpy(name, text + 1, strlen(text + 1) + 1);
		return VERDICT_OK;
	}
	pop_why(&j->note, 0, "oauth_verifier: %.200s", text + (text[0] == '-' || text[0] == '!'));
	return text[0] == '-' ? VERDICT_AUTH : VERDICT_TEMP;
}

static enum ipc_verdict verify(struct auth *a, const struct auth_exchange *x, const char *token,
			       char name[USER_NAME_MAX + 1], struct judgement *j)
{
	int feed = -1, answer = -1, len = POP_E_SYS;
	char text[ANSWER_MAX];

	if (start(a, &feed, &answer) < 0)
		return VERDICT_TEMP; /* the monitor has said why */
	/* one that does not want to know tells by its answer */
	(void)!feed_token(x, token, feed);
	close(feed);
	len = read_answer(a, answer, text);
	close(answer);
	return judge_answer(text, len, name, j);
}

/* The entry of who it is; the client may only claim to be himself. */
static void accept_user(struct auth *a, const struct auth_exchange *x, const char *name,
			struct judgement *j)
{
	int err = auth_find(a, name, j);

	j->verdict = VERDICT_AUTH;
	if (err == POP_E_SYS || err == POP_E_MEMORY)
		j->verdict = VERDICT_TEMP;
	else if (err == 0 && !j->user.locked && !j->user.nologin &&
		 auth_authzid_ok(j, x->login, name))
		auth_accept(a, j);
}

/* The client is told why by a challenge, and answers to it before it is refused. */
static enum ipc_sasl_kind tell_error(struct auth *a, struct auth_exchange *x)
{
	static const char bearer[] = "{\"status\":\"invalid_token\"}",
			  xoauth2[] = "{\"status\":\"401\",\"schemes\":\"bearer\"}";
	const char *text = x->mechanism == SASL_OAUTHBEARER ? bearer : xoauth2;

	/* now, since a client may leave without an answer */
	auth_count_failure(a, x->login);
	x->refused = true;
	x->out_len = strlen(text);
	memcpy(x->out, text, x->out_len);
	return SASL_REFUSED;
}

enum ipc_sasl_kind auth_step_oauth(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	char name[USER_NAME_MAX + 1] = "", *token;

	/* who left the answers to its errors out is not asked for more */
	if (x->refused || a->failures >= a->conf->max_auth_failures)
		return after_error(j);
	if (x->step == 0 && x->no_response) {
		x->out_len = 0;
		return SASL_CHALLENGE;
	}
	if (parse(x, &token) < 0) {
		j->verdict = VERDICT_SYNTAX;
		return SASL_VERDICT;
	}
	if (!auth_brake(a, x->login, j))
		return SASL_VERDICT;
	j->verdict = verify(a, x, token, name, j);
	if (j->verdict == VERDICT_OK)
		accept_user(a, x, name, j);
	/* for the log */
	if (!x->login[0])
		memcpy(x->login, name, sizeof(x->login));
	return j->verdict == VERDICT_AUTH ? tell_error(a, x) : SASL_VERDICT;
}
