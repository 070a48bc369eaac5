/*
 * mail.h - work on one maildrop whose results are a count, messages, findings.
 */
#ifndef MAIL_H
#define MAIL_H

#include "fsutil.h"
#include "target.h"
#include "wire.h"

struct mail_job {
	struct target t; /* first: target_run() asks for it */
	bool all;	 /* one of many users: their name stands in each object */
	uint64_t messages, octets;
	uint64_t listed; /* messages printed so far */
	size_t n_findings;
	char *findings; /* NUL-terminated, one after the other; caller frees */
	size_t findings_len, findings_size;
};

/*
 * Open the target `name` and run work as its owner; count and findings arrive
 * in job, messages are printed as objects of the list that the caller began.
 * With --all a finding is also said at once.  Returns the exit status.
 */
int mail_run(struct admin *a, const char *name,
	     int (*work)(struct owner *o, void *ctx, struct pop_why *why), struct mail_job *job);

/* In the parent: take a record of those in record.h up to REC_NOTE.  0, or POP_E_CORRUPT. */
int mail_take(void *ctx, struct record *r);

/* Keep a finding; said at once under --all.  0 or POP_E_MEMORY. */
int mail_add_finding(struct mail_job *job, const char *text);
/* All of them as the array `key` of the open object. */
void mail_print_findings(const struct mail_job *job, const char *key);

/* In the child: send every message with octets and unique id. */
int mail_work_list(struct owner *o, void *ctx, struct pop_why *why);

#endif
