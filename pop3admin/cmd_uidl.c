/*
 * cmd_uidl.c - unique ids: uidl list.
 *
 * Runs in:  pop3admin; the work in the child, as the owner (mail.c).
 * Trusts:   nothing in a maildrop.
 */
#include "mail.h"

static int list_one(struct admin *a, const char *name, void *ctx)
{
	struct mail_job job = { .all = !!a->opt[OPT_ALL] };

	(void)ctx;
	return mail_run(a, name, mail_work_list, &job);
}

int cmd_uidl_list(struct admin *a)
{
	int status;

	out_list_begin(&a->out);
	status = target_each(a, list_one, NULL);
	out_list_end(&a->out);
	return status;
}
