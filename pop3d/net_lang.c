/*
 * net_lang.c - UTF8 and LANG (RFC 6856).
 *
 * Runs in:  session.
 */
#include <string.h>
#include "net.h"
#include "net_text.h"
#include "saslprep.h"
#include "utf8.h"

enum reply cmd_utf8(struct net *n, const struct net_args *args)
{
	(void)args;
	if (!n->utf8 && n->conf->utf8_fallback != FALLBACK_PASSTHROUGH) {
		struct ipc_msg m;

		/* who opens the maildrop must know it */
		ipc_start(&m, IPC_UTF8);
		ipc_put_u8(&m, 1);
		if (ipc_send(&n->monitor, &m) < 0)
			return net_fail(n, POP_E_DENIED);
	}
	n->utf8 = true;
	return net_ok(n, "UTF8 is on");
}

/* "tag name" of each, a line each. */
static enum reply list_languages(struct net *n)
{
	enum reply r = net_ok(n, "languages follow");

	for (size_t i = 0; i < n_languages && r == REPLY_OK; i++) {
		const char *part[] = { languages[i].tag, " ", languages[i].name, "\r\n" };

		for (size_t k = 0; k < 4 && r == REPLY_OK; k++)
			r = net_put(n, part[k], strlen(part[k]));
	}
	return r == REPLY_OK ? net_put(n, ".\r\n", 3) : r;
}

enum reply cmd_lang(struct net *n, const struct net_args *args)
{
	long found;

	if (args->n == 0)
		return list_languages(n);
	found = text_language(args->word[0], args->len[0]);
	if (found < 0)
		return net_err(n, "no such language here; LANG alone lists them");
	n->language = (size_t)found;
	return net_ok(n, "%s language changed", languages[found].tag);
}

bool net_prepare(const struct net *n, const char *text, size_t len, char *out, size_t size)
{
	if (n->conf->utf8_user && utf8_any_8bit(text, len))
		return saslprep(text, len, out, size) > 0;
	if (len >= size)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}
