/*
 * repair.h - mend a maildrop and its state directory.
 */
#ifndef REPAIR_H
#define REPAIR_H

#include "mail.h"

struct repair {
	struct target *t;
	struct owner *o;
	bool dry_run;
};

struct repair_job {
	struct mail_job mail; /* first: target_run() asks for it; findings: what is left */
	struct mail_job done; /* findings: what was mended */
	bool dry_run;
};

/* Tell what was mended (dry_run: what would be), or what cannot be. */
int repair_say(struct repair *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int repair_left(struct repair *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Call each for every name of the state directory that begins so.  0 or an error. */
int state_names(int state_fd, const char *begin, int (*each)(void *ctx, const char *name),
		void *ctx);

/* Bring back the mail that only the journal `name` holds, then remove it (repair_journal.c). */
int repair_journal(struct repair *r, const char *name, struct pop_why *why);

#endif
