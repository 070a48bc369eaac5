/*
 * drop_seen.c - keep the days on which messages were first retrieved.
 *
 * Runs in:  maildrop, as the mailbox's owner, under the session lock.
 * Trusts:   not the session for what was retrieved: who took it over could as
 *           well delete the mail.
 *
 * Nothing here fails a session: mail whose day is not kept stays longer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include "drop.h"
#include "seen.h"

static void note_failure(struct drop *d, int err, const struct pop_why *why)
{
	char text[POP_WHY_MAX + 64];

	snprintf(text, sizeof(text), "what was retrieved cannot be kept: %s",
		 why->text[0] ? why->text : pop_strerror(err));
	drop_note(d, LOG_WARNING, text);
}

void drop_seen_begin(struct drop *d, struct seen_lines *l, const uint8_t *retrieved,
		     const uint8_t *deleted)
{
	struct pop_why why = { "" };
	int err;

	if (!d->keeps_seen)
		return;
	err = seen_lines_make(l, d->md, retrieved, deleted);
	if (err < 0)
		note_failure(d, err, &why);
}

/* The file has grown: what is of no message here, or double, goes. */
static int compact(struct drop *d, struct pop_why *why)
{
	struct seen *known = calloc(maildrop_count(d->md) + 1, sizeof(*known));
	int err = known ? seen_load(d->md, known, why) : POP_E_MEMORY;

	if (err == 0 || err == POP_E_CORRUPT)
		err = seen_save(d->md, known);
	free(known);
	return err;
}

void drop_seen_end(struct drop *d, struct seen_lines *l)
{
	struct pop_why why = { "" };
	int err = seen_append(l, d->md, &why);

	if (err > 0)
		err = compact(d, &why);
	if (err < 0)
		note_failure(d, err, &why);
	seen_lines_release(l);
}
