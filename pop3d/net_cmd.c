/*
 * net_cmd.c - one table of verbs: where each may be used, with how many words.
 *
 * Runs in:  session.
 */
#include <string.h>
#include <strings.h>
#include "net.h"

struct verb {
	const char *name;
	unsigned phases;
	int least, most; /* words behind it */
	bool rest;	 /* one word: the rest of the line, blanks and all */
	net_handler *handler;
};

static const struct verb verbs[] = {
	{ "USER", PH_AUTH, 1, 1, true, cmd_user },
	{ "PASS", PH_AUTH, 1, 1, true, cmd_pass },
	{ "APOP", PH_AUTH, 2, 2, false, cmd_apop },
	{ "AUTH", PH_AUTH, 0, 2, false, cmd_auth },
	{ "STLS", PH_AUTH, 0, 0, false, cmd_stls },
	{ "UTF8", PH_AUTH, 0, 0, false, cmd_utf8 },
	{ "LANG", PH_AUTH | PH_TRANS, 0, 1, false, cmd_lang },
	{ "STAT", PH_TRANS, 0, 0, false, cmd_stat },
	{ "LIST", PH_TRANS, 0, 1, false, cmd_list },
	{ "RETR", PH_TRANS, 1, 1, false, cmd_retr },
	{ "DELE", PH_TRANS, 1, 1, false, cmd_dele },
	{ "TOP", PH_TRANS, 2, 2, false, cmd_top },
	{ "UIDL", PH_TRANS, 0, 1, false, cmd_uidl },
	{ "NOOP", PH_TRANS, 0, 0, false, cmd_noop },
	{ "RSET", PH_TRANS, 0, 0, false, cmd_rset },
	{ "CAPA", PH_AUTH | PH_TRANS, 0, 0, false, cmd_capa },
	{ "QUIT", PH_AUTH | PH_TRANS, 0, 0, false, cmd_quit },
};

static const struct verb *find_verb(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strlen(verbs[i].name) == len && strncasecmp(verbs[i].name, word, len) == 0)
			return &verbs[i];
	return NULL;
}

/* Split at blanks; args->n counts on past the two words that are kept. */
static void split_words(char *p, struct net_args *args)
{
	for (;;) {
		size_t len;

		p += strspn(p, " ");
		len = strcspn(p, " ");
		if (len == 0)
			return;
		if (args->n < 2) {
			args->word[args->n] = p;
			args->len[args->n] = len;
		}
		args->n++;
		p += len;
	}
}

/* A name or password may hold blanks: all behind the first one is the word. */
static void take_rest(char *p, struct net_args *args)
{
	if (*p == '\0' || p[1] == '\0')
		return;
	args->word[0] = p + 1;
	args->len[0] = strlen(p + 1);
	args->n = 1;
}

enum reply net_command(struct net *n, char *line, int err)
{
	const struct verb *v;
	struct net_args args = { .n = 0 };
	size_t len;

	if (err == POP_E_LONG)
		return net_err(n, "line too long: at most %d octets", NET_LINE_MAX);
	if (err == POP_E_SYNTAX)
		return net_err(n, "NUL or bare CR in the command");
	len = strcspn(line, " ");
	v = find_verb(line, len);
	if (!v)
		return net_err(n, "unknown command");
	if (!(v->phases & n->phase))
		return net_err(n, n->phase == PH_AUTH ? "log in first" : "logged in already");
	if (v->rest)
		take_rest(line + len, &args);
	else
		split_words(line + len, &args);
	if (args.n < v->least)
		return net_err(n, "%s needs %d argument%s", v->name, v->least,
			       v->least == 1 ? "" : "s");
	if (args.n > v->most)
		return net_err(n, "%s takes at most %d argument%s", v->name, v->most,
			       v->most == 1 ? "" : "s");
	return v->handler(n, &args);
}
