/*
 * cmd_uidl_import.c - uidl import: take over the ids of another server.
 *
 * Runs in:  pop3admin; the work in the child, as the mailbox's owner (import.c).
 * Trusts:   its caller.  FILE is opened here, with the caller's rights, and read
 *           in the child.
 */
#include "import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOVECOT_FORMAT "%08Xu%08Xv" /* what Dovecot does where nothing is set */

static const struct {
	const char *name;
	enum import_kind kind;
} formats[] = {
	{ "dovecot", IMPORT_DOVECOT },	     { "courier", IMPORT_COURIER },
	{ "cyrus", IMPORT_CYRUS },	     { "mailutils", IMPORT_XUIDL },
	{ "qpopper", IMPORT_XUIDL },	     { "popa3d", IMPORT_POPA3D },
	{ "transcript", IMPORT_TRANSCRIPT },
};
#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

static int choose_format(struct admin *a, struct import_job *job)
{
	const char *name = a->opt[OPT_FROM];
	size_t i;

	if (!name)
		return fail(EX_USAGE, "uidl import: --from is missing; it is one of dovecot, "
				      "courier, cyrus, mailutils, qpopper, popa3d, transcript");
	for (i = 0; i < N_FORMATS; i++)
		if (strcmp(formats[i].name, name) == 0)
			break;
	if (i == N_FORMATS)
		return fail(EX_USAGE,
			    "--from %s: is not known; it is one of dovecot, courier, "
			    "cyrus, mailutils, qpopper, popa3d, transcript",
			    name);
	job->kind = formats[i].kind;
	job->format = a->opt[OPT_UIDL_FORMAT] ? a->opt[OPT_UIDL_FORMAT] : DOVECOT_FORMAT;
	if (a->opt[OPT_UIDL_FORMAT] && job->kind != IMPORT_DOVECOT)
		return fail(EX_USAGE, "--uidl-format is Dovecot's pop3_uidl_format; it goes with "
				      "--from dovecot alone");
	return 0;
}

/*
 * The file may lie where a user can put links, and root's eyes must not be lent to
 * him: root opens only what no link leads to, the rest is left to the owner's process.
 */
static int open_source(struct import_job *job, const char *file)
{
	bool root = geteuid() == 0;
	struct pop_why why = { "" };
	size_t n = 0;
	int err;

	if (file[0] != '/' && getcwd(job->file, sizeof(job->file) - 1)) {
		n = strlen(job->file);
		job->file[n++] = '/';
	}
	if (strlen(file) >= sizeof(job->file) - n)
		return fail(EX_DATAERR, "%s: too long; nothing was imported", file);
	memcpy(job->file + n, file, strlen(file) + 1);
	err = import_open(job, root ? FS_LINKS_NONE : FS_LINKS_MAGIC, &why);
	if (!err || (root && err == POP_E_UNSAFE))
		return 0;
	return fail(status_of(err), "%s; nothing was imported", why.text);
}

static int take(void *ctx, struct record *r)
{
	struct import_job *job = ctx;

	if (r->type != REC_IMPORT)
		return mail_take(&job->mail, r);
	job->entries = record_get_u64(r);
	job->mapped = record_get_u64(r);
	job->changed = record_get_u64(r);
	job->without = record_get_u64(r);
	return record_complete(r) ? 0 : POP_E_CORRUPT;
}

static void print_result(struct import_job *job)
{
	struct out *out = &job->mail.t.a->out;

	out_object_begin(out);
	out_str(out, "user", job->mail.t.name);
	out_u64(out, "entries", job->entries);
	out_u64(out, "mapped", job->mapped);
	out_u64(out, "changed", job->changed);
	out_u64(out, "without", job->without);
	out_bool(out, "dry_run", job->dry_run);
	mail_print_findings(&job->mail, "unmapped");
	out_object_end(out);
}

int cmd_uidl_import(struct admin *a)
{
	static struct import_job job;
	int status;

	job.fd = -1;
	job.dry_run = !!a->opt[OPT_DRY_RUN];
	status = choose_format(a, &job);
	if (!status)
		status = open_source(&job, a->pos[1]);
	if (!status)
		status = target_open(a, a->pos[0], true, &job.mail.t);
	if (!status)
		status = target_run(&job.mail.t, job.fd, import_work, take, &job);
	if (!status)
		print_result(&job);
	if (job.fd >= 0)
		close(job.fd);
	target_release(&job.mail.t);
	free(job.mail.findings);
	return status;
}
