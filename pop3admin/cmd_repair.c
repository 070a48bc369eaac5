/*
 * cmd_repair.c - maildrop repair: mend what a check finds, as far as no mail
 * is touched but to bring some back.
 *
 * Runs in:  pop3admin; the functions named work_ and mend_ in the child, as the
 *           owner.
 * Trusts:   nothing in a maildrop or its state directory.
 */
#include "repair.h"
#include "fsutil.h"
#include "hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((format(printf, 3, 0))) static int say(struct repair *r, enum record_type type,
						     const char *fmt, va_list ap)
{
	char text[900];

	vsnprintf(text, sizeof(text), fmt, ap);
	return owner_say(r->o, type, 0, "%s", text);
}

int repair_say(struct repair *r, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = say(r, REC_REPAIR, fmt, ap);
	va_end(ap);
	return err;
}

int repair_left(struct repair *r, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = say(r, REC_FINDING, fmt, ap);
	va_end(ap);
	return err;
}

int state_names(int state_fd, const char *begin, int (*each)(void *ctx, const char *name),
		void *ctx)
{
	int fd = fs_reopen_dir(state_fd), err = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return POP_E_SYS;
	}
	while (!err && (e = readdir(dir)) != NULL)
		if (strncmp(e->d_name, begin, strlen(begin)) == 0)
			err = each(ctx, e->d_name);
	closedir(dir);
	return err;
}

struct mending {
	struct repair r;
	struct pop_why *why;
};

static int mend_journal(void *ctx, const char *name)
{
	struct mending *m = ctx;

	return repair_journal(&m->r, name, m->why);
}

/* What an interrupted save left; nobody else works here while we hold the lock. */
static int mend_temporary(void *ctx, const char *name)
{
	struct mending *m = ctx;

	if (!m->r.dry_run && unlinkat(m->r.t->state_fd, name, 0) < 0 && errno != ENOENT)
		return pop_why_errno(m->why, "%s", name);
	return repair_say(&m->r, "%s: was left by an interrupted save, removed", name);
}

/* Deliverers expect all three. */
static int mend_maildir(struct mending *m)
{
	static const char *const names[] = { "tmp", "new", "cur" };
	const char *path = m->r.t->spec.path;
	int fd, err = 0;

	if (m->r.t->spec.kind != MAILDROP_MAILDIR)
		return 0;
	fd = fs_open_at(AT_FDCWD, path, FS_LINKS_DIRS, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno == ENOENT ? 0 : pop_why_errno(m->why, "%s", path);
	for (size_t i = 0; !err && i < 3; i++) {
		struct stat st;

		if (fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
			if (!S_ISDIR(st.st_mode))
				err = repair_left(&m->r, "%s/%s: is no directory; move it away",
						  path, names[i]);
			continue;
		}
		if (!m->r.dry_run && mkdirat(fd, names[i], 0700) < 0)
			err = pop_why_errno(m->why, "%s/%s", path, names[i]);
		else
			err = repair_say(&m->r, "%s/%s: was missing, made", path, names[i]);
	}
	close(fd);
	return err;
}

/* One number over all that a client can see of the maildrop. */
static int summary(struct mending *m, bool fresh, uint64_t *sum, size_t *count)
{
	struct maildrop *md = NULL;
	char uidl[UIDL_MAX + 1];
	struct sum64 s;
	uint64_t octets;
	int err = target_open_maildrop(m->r.t, m->r.o, fresh, &md, m->why);

	sum64_init(&s);
	for (size_t i = 0; !err && i < maildrop_count(md); i++) {
		err = maildrop_message_octets(md, i, &octets);
		if (!err)
			err = maildrop_uidl(md, i, uidl);
		if (!err) {
			sum64_update(&s, &octets, sizeof(octets));
			sum64_update(&s, uidl, strlen(uidl) + 1);
		}
	}
	*sum = sum64_final(&s);
	*count = err ? 0 : maildrop_count(md);
	maildrop_close(md);
	return err;
}

/* An index that tells another maildrop than the one that is there. */
static int mend_index(struct mending *m)
{
	uint64_t kept = 0, made = 0;
	size_t n_kept = 0, n_made = 0;
	int err = summary(m, false, &kept, &n_kept);
	bool broken = err == POP_E_CHANGED || err == POP_E_CORRUPT;

	/* what cannot be told by the index may be told without it */
	if (!err || broken)
		err = summary(m, true, &made, &n_made);
	if (err || (!broken && kept == made && n_kept == n_made))
		return err;
	if (!m->r.dry_run && unlinkat(m->r.t->state_fd, "index", 0) < 0 && errno != ENOENT)
		return pop_why_errno(m->why, "index");
	return repair_say(&m->r, "index: told something else than the maildrop, removed");
}

static int work_repair(struct owner *o, void *ctx, struct pop_why *why)
{
	struct repair_job *job = ctx;
	struct mending m = { .r = { .t = &job->mail.t, .o = o, .dry_run = job->dry_run },
			     .why = why };
	struct maildrop *md = NULL;
	int err = target_open_maildrop(&job->mail.t, o, false, &md, why);

	/* opening finished an interrupted removal of messages, or set its journal aside */
	maildrop_close(md);
	if (!err)
		err = mend_maildir(&m);
	if (!err)
		err = state_names(m.r.t->state_fd, "journal.", mend_journal, &m);
	if (!err)
		err = state_names(m.r.t->state_fd, "index.", mend_temporary, &m);
	if (!err)
		err = state_names(m.r.t->state_fd, "uidl.new", mend_temporary, &m);
	if (!err)
		err = state_names(m.r.t->state_fd, "seen.new", mend_temporary, &m);
	return err ? err : mend_index(&m);
}

static int take_repair(void *ctx, struct record *r)
{
	struct repair_job *job = ctx;
	char text[1024];

	if (r->type != REC_REPAIR)
		return mail_take(&job->mail, r);
	record_get_str(r, text, sizeof(text));
	return record_complete(r) ? mail_add_finding(&job->done, text) : POP_E_CORRUPT;
}

static int repair_one(struct admin *a, const char *name, void *ctx)
{
	struct repair_job job = { .dry_run = !!a->opt[OPT_DRY_RUN] };
	int status;

	(void)ctx;
	job.mail.all = job.done.all = !!a->opt[OPT_ALL];
	status = target_open(a, name, true, &job.mail.t);
	job.done.t = job.mail.t;
	if (!status)
		status = target_run(&job.mail.t, -1, work_repair, take_repair, &job);
	if (!status) {
		out_object_begin(&a->out);
		out_str(&a->out, "user", name);
		out_bool(&a->out, "ok", job.mail.n_findings == 0);
		out_bool(&a->out, "dry_run", job.dry_run);
		mail_print_findings(&job.done, "repaired");
		mail_print_findings(&job.mail, "left");
		out_object_end(&a->out);
		status = job.mail.n_findings ? EX_NOT_WELL : 0;
	}
	target_release(&job.mail.t);
	free(job.mail.findings);
	free(job.done.findings);
	return status;
}

int cmd_maildrop_repair(struct admin *a)
{
	int status;

	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, repair_one, NULL);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}
