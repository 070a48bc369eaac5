/*
 * cmd_trash.c - look at removed messages that are kept, bring them back, let them go.
 *
 * Runs in:  pop3admin; the functions named work_ in the child, as the owner.
 * Trusts:   nothing in a maildrop or what is kept of it; of the child only the form
 *           of its records.
 */
#include "mail.h"
#include "trash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define A_DAY 86400

struct trash_job {
	struct mail_job mail;	   /* first: target_run() asks for it */
	struct mail_job restored;  /* findings: ids that came back */
	const char *const *wanted; /* ids, n_wanted; none: all */
	size_t n_wanted;
	bool dry_run;
	uint64_t listed, purged;
};

static bool is_wanted(const struct trash_job *job, const char *uidl)
{
	for (size_t i = 0; i < job->n_wanted; i++)
		if (strcmp(job->wanted[i], uidl) == 0)
			return true;
	return job->n_wanted == 0;
}

/* In the child: the maildrop, and what is kept and not in it. */
static int look(struct trash_job *job, struct owner *o, struct maildrop **md, struct trash *t,
		struct pop_why *why)
{
	int err = target_open_maildrop(&job->mail.t, o, false, md, why);

	return err ? err : trash_load(t, *md, why);
}

/* Every id that was asked for must be there, before anything is done. */
static int check_wanted(const struct trash_job *job, const struct trash *t, struct pop_why *why)
{
	for (size_t i = 0; i < job->n_wanted; i++) {
		size_t k = 0;

		while (k < t->n && strcmp(t->items[k].uidl, job->wanted[i]) != 0)
			k++;
		if (k == t->n)
			return pop_why(
				why, POP_E_SYNTAX,
				"no message with the unique id %s is in the trash; see pop3admin "
				"trash list %s",
				job->wanted[i], job->mail.t.name);
	}
	return 0;
}

/* ---- list ------------------------------------------------------------------------- */

static int send_item(struct owner *o, const struct trash_item *item)
{
	record_begin(&o->rec, REC_TRASH);
	record_put_u64(&o->rec, item->day);
	record_put_u64(&o->rec, item->octets);
	record_put_str(&o->rec, item->uidl);
	return owner_send(o);
}

static int work_list(struct owner *o, void *ctx, struct pop_why *why)
{
	struct trash_job *job = ctx;
	struct maildrop *md = NULL;
	struct trash t = { .n = 0 };
	int err = look(job, o, &md, &t, why);

	for (size_t i = 0; !err && i < t.n; i++)
		err = send_item(o, &t.items[i]);
	trash_release(&t);
	maildrop_close(md);
	return err;
}

static bool get_item(struct record *r, uint64_t *day, uint64_t *octets, char uidl[UIDL_MAX + 1])
{
	*day = record_get_u64(r);
	*octets = record_get_u64(r);
	record_get_str(r, uidl, UIDL_MAX + 1);
	return record_complete(r) && *day < UINT32_MAX;
}

static void print_item(struct trash_job *job, uint64_t day, uint64_t octets, const char *uidl)
{
	struct out *out = &job->mail.t.a->out;

	out_object_begin(out);
	if (job->mail.all)
		out_str(out, "user", job->mail.t.name);
	out_str(out, "uidl", uidl);
	out_u64(out, "octets", octets);
	out_time(out, "deleted", (int64_t)day * A_DAY);
}

static int take_item(void *ctx, struct record *r)
{
	struct trash_job *job = ctx;
	char uidl[UIDL_MAX + 1];
	uint64_t day, octets;

	if (r->type != REC_TRASH)
		return mail_take(&job->mail, r);
	if (!get_item(r, &day, &octets, uidl))
		return POP_E_CORRUPT;
	print_item(job, day, octets, uidl);
	out_object_end(&job->mail.t.a->out);
	return 0;
}

/* Run work on one user's maildrop; where he never logged in there is nothing, and 0. */
static int run(struct admin *a, const char *name, struct trash_job *job,
	       int (*work)(struct owner *o, void *ctx, struct pop_why *why),
	       int (*take)(void *ctx, struct record *r))
{
	int status = target_open(a, name, false, &job->mail.t);

	if (!status && job->n_wanted && job->mail.t.state_fd < 0)
		status = fail(EX_DATAERR, "%s: there is nothing in the trash", name);

	job->mail.all = !!a->opt[OPT_ALL];
	job->restored.t = job->mail.t;
	if (!status && job->mail.t.state_fd >= 0)
		status = target_run(&job->mail.t, -1, work, take, job);
	target_release(&job->mail.t);
	free(job->mail.findings);
	return status;
}

static int list_one(struct admin *a, const char *name, void *ctx)
{
	struct trash_job job = { .dry_run = true };

	(void)ctx;
	return run(a, name, &job, work_list, take_item);
}

int cmd_trash_list(struct admin *a)
{
	int status;

	out_list_begin(&a->out);
	status = target_each(a, list_one, NULL);
	out_list_end(&a->out);
	return status;
}

/* ---- show ------------------------------------------------------------------------- */

/* The message as it is, to standard output, which the child shares. */
static int write_message(const struct maildrop_message *m)
{
	static uint8_t block[65536];

	for (uint64_t at = 0; at < m->length;) {
		size_t want =
			m->length - at < sizeof(block) ? (size_t)(m->length - at) : sizeof(block);
		ssize_t got = fs_pread_full(m->fd, block, want, (off_t)(m->offset + at));

		if (got <= 0)
			return got < 0 ? POP_E_SYS : POP_E_CHANGED;
		if (fs_write_all(STDOUT_FILENO, block, (size_t)got) < 0)
			return POP_E_SYS;
		at += (uint64_t)got;
	}
	return 0;
}

/* The lines of its header section, as records. */
static int send_header(struct owner *o, const struct maildrop_message *m)
{
	char block[8192];
	uint64_t at = 0;
	int err = 0;

	while (!err && at < m->length) {
		size_t want = m->length - at < sizeof(block) - 1 ? (size_t)(m->length - at)
								 : sizeof(block) - 1;
		ssize_t got = fs_pread_full(m->fd, block, want, (off_t)(m->offset + at));
		size_t len;

		if (got <= 0)
			return got < 0 ? POP_E_SYS : POP_E_CHANGED;
		block[got] = '\0';
		len = strcspn(block, "\n");
		at += len + 1;
		while (len && block[len - 1] == '\r')
			len--;
		if (!len)
			break;
		block[len < 1000 ? len : 1000] = '\0';
		record_begin(&o->rec, REC_LINE);
		record_put_str(&o->rec, block);
		err = owner_send(o);
	}
	return err;
}

static int work_show(struct owner *o, void *ctx, struct pop_why *why)
{
	struct trash_job *job = ctx;
	struct maildrop *md = NULL;
	struct maildrop_message m;
	struct trash t = { .n = 0 };
	size_t i = 0;
	int err = look(job, o, &md, &t, why);

	if (!err)
		err = check_wanted(job, &t, why);
	while (!err && i < t.n && !is_wanted(job, t.items[i].uidl))
		i++;
	if (!err)
		err = trash_open(&t, md, i, &m, why);
	if (!err) {
		if (job->mail.t.a->out.json) {
			err = send_item(o, &t.items[i]);
			if (!err)
				err = send_header(o, &m);
		} else {
			err = write_message(&m);
		}
		if (err < 0 && !why->text[0])
			pop_why(why, err, "%s",
				err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
		close(m.fd);
	}
	trash_release(&t);
	maildrop_close(md);
	return err;
}

static int take_shown(void *ctx, struct record *r)
{
	struct trash_job *job = ctx;
	struct out *out = &job->mail.t.a->out;
	char uidl[UIDL_MAX + 1], line[1024];
	uint64_t day, octets;

	if (r->type == REC_TRASH && job->listed == 0) {
		if (!get_item(r, &day, &octets, uidl))
			return POP_E_CORRUPT;
		job->listed++;
		print_item(job, day, octets, uidl);
		out_array_begin(out, "header");
		return 0;
	}
	if (r->type != REC_LINE || job->listed == 0)
		return mail_take(&job->mail, r);
	record_get_str(r, line, sizeof(line));
	if (!record_complete(r))
		return POP_E_CORRUPT;
	out_array_item(out, line);
	return 0;
}

int cmd_trash_show(struct admin *a)
{
	struct trash_job job = { .wanted = &a->pos[1], .n_wanted = 1 };
	int status = run(a, a->pos[0], &job, work_show, take_shown);

	if (job.listed) {
		out_array_end(&a->out);
		out_object_end(&a->out);
	}
	return status;
}

/* ---- restore ---------------------------------------------------------------------- */

enum how { NOT, BY_ITSELF, BY_IMPORT };

struct restoring {
	struct trash_job *job;
	struct owner *o;
	struct maildrop *md;
	struct trash t;
	enum how *how; /* owned: for each of t */
};

static int say_restored(struct restoring *x, size_t i)
{
	record_begin(&x->o->rec, REC_REPAIR);
	record_put_str(&x->o->rec, x->t.items[i].uidl);
	return owner_send(x->o);
}

/* Make and save the ids of all that is in the maildrop now. */
static int settle_ids(struct restoring *x, struct pop_why *why)
{
	char uidl[UIDL_MAX + 1];
	int err = 0;

	maildrop_close(x->md);
	x->md = NULL;
	err = target_open_maildrop(&x->job->mail.t, x->o, false, &x->md, why);
	if (!err && maildrop_count(x->md))
		err = maildrop_uidl(x->md, 0, uidl);
	if (!err)
		maildrop_save(x->md);
	return err;
}

/* One whose id comes back only by an import: no other may be about to get one. */
static int restore_importing(struct restoring *x, size_t i, struct pop_why *why)
{
	struct maildrop *fresh = NULL;
	char uidl[UIDL_MAX + 1];
	int err = settle_ids(x, why);

	if (!err)
		err = target_open_maildrop(&x->job->mail.t, x->o, true, &fresh, why);
	if (!err && maildrop_count(fresh))
		err = maildrop_uidl(fresh, 0, uidl);
	if (!err)
		err = trash_restore(&x->t, x->md, fresh, i, why);
	maildrop_close(fresh);
	return err ? err : settle_ids(x, why);
}

/* What is to be restored, and how, before anything is done. */
static int choose(struct restoring *x, struct pop_why *why)
{
	x->how = calloc(x->t.n + 1, sizeof(*x->how));
	if (!x->how)
		return POP_E_MEMORY;
	for (size_t i = 0; i < x->t.n; i++) {
		int needs = 0;

		if (!is_wanted(x->job, x->t.items[i].uidl))
			continue;
		needs = trash_needs_import(&x->t, x->md, i);
		if (needs < 0)
			return pop_why(why, needs, "%s: %s", x->t.items[i].uidl,
				       pop_strerror(needs));
		x->how[i] = needs ? BY_IMPORT : BY_ITSELF;
	}
	return 0;
}

static int restore_pass(struct restoring *x, enum how how, struct pop_why *why)
{
	int err = 0;

	for (size_t i = 0; !err && i < x->t.n; i++) {
		if (x->how[i] != how)
			continue;
		if (!x->job->dry_run)
			err = how == BY_IMPORT ? restore_importing(x, i, why)
					       : trash_restore(&x->t, x->md, NULL, i, why);
		if (!err)
			err = say_restored(x, i);
	}
	return err;
}

struct id {
	char text[UIDL_MAX + 1];
};

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct id *)a)->text, ((const struct id *)b)->text);
}

/* Is each there again, under its id? */
static int check_restored(struct restoring *x, struct pop_why *why)
{
	int err = settle_ids(x, why);
	struct id *ids = NULL;
	size_t n = err ? 0 : maildrop_count(x->md);

	if (!err && !(ids = calloc(n + 1, sizeof(*ids))))
		err = POP_E_MEMORY;
	for (size_t idx = 0; !err && idx < n; idx++)
		err = maildrop_uidl(x->md, idx, ids[idx].text);
	if (!err)
		qsort(ids, n, sizeof(*ids), by_id);
	for (size_t i = 0; !err && i < x->t.n; i++)
		if (x->how[i] != NOT && !bsearch(x->t.items[i].uidl, ids, n, sizeof(*ids), by_id))
			err = owner_say(x->o, REC_NOTE, 0,
					"%s is back, but under another unique id; see pop3admin "
					"uidl list %s",
					x->t.items[i].uidl, x->job->mail.t.name);
	free(ids);
	return err;
}

static int work_restore(struct owner *o, void *ctx, struct pop_why *why)
{
	struct restoring x = { .job = ctx, .o = o };
	int err = look(x.job, o, &x.md, &x.t, why);

	if (!err)
		err = check_wanted(x.job, &x.t, why);
	if (!err)
		err = choose(&x, why);
	if (!err)
		err = restore_pass(&x, BY_ITSELF, why);
	/* their ids must not be taken by those */
	if (!err)
		err = restore_pass(&x, BY_IMPORT, why);
	if (!err && !x.job->dry_run)
		err = check_restored(&x, why);
	free(x.how);
	trash_release(&x.t);
	maildrop_close(x.md);
	return err;
}

static int take_restored(void *ctx, struct record *r)
{
	struct trash_job *job = ctx;
	char uidl[UIDL_MAX + 1];

	if (r->type != REC_REPAIR)
		return mail_take(&job->mail, r);
	record_get_str(r, uidl, sizeof(uidl));
	return record_complete(r) ? mail_add_finding(&job->restored, uidl) : POP_E_CORRUPT;
}

static int restore_one(struct admin *a, const char *name, void *ctx)
{
	struct trash_job job = { .dry_run = !!a->opt[OPT_DRY_RUN] };
	int status;

	(void)ctx;
	if (a->n_pos > 1) {
		job.wanted = &a->pos[1];
		job.n_wanted = a->n_pos - 1;
	}
	status = run(a, name, &job, work_restore, take_restored);
	/* what came back before a failure is told, too */
	if (!status || job.restored.n_findings) {
		out_object_begin(&a->out);
		out_str(&a->out, "user", name);
		out_u64(&a->out, "restored", job.restored.n_findings);
		out_bool(&a->out, "dry_run", job.dry_run);
		job.restored.t.a = a;
		mail_print_findings(&job.restored, "uidls");
		out_object_end(&a->out);
	}
	free(job.restored.findings);
	return status;
}

int cmd_trash_restore(struct admin *a)
{
	int status;

	if ((a->n_pos > 0) == !!a->opt[OPT_ALL])
		return fail(EX_USAGE,
			    "trash restore: give a USER and maybe unique ids, or --all; see "
			    "pop3admin trash restore --help");
	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, restore_one, NULL);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}

/* ---- purge ------------------------------------------------------------------------ */

static int work_purge(struct owner *o, void *ctx, struct pop_why *why)
{
	struct trash_job *job = ctx;
	struct maildrop *md = NULL;
	struct maildrop_env env;
	uint64_t n = 0;
	/* for its lock: nobody keeps or restores meanwhile */
	int err = target_open_maildrop(&job->mail.t, o, false, &md, why);

	target_env(&job->mail.t, o, &env);
	if (!err)
		err = trash_purge(&env, job->mail.t.a->conf.trash_days, job->dry_run, &n, why);
	maildrop_close(md);
	if (!err) {
		record_begin(&o->rec, REC_PURGED);
		record_put_u64(&o->rec, n);
		err = owner_send(o);
	}
	return err;
}

static int take_purged(void *ctx, struct record *r)
{
	struct trash_job *job = ctx;

	if (r->type != REC_PURGED)
		return mail_take(&job->mail, r);
	job->purged = record_get_u64(r);
	return record_complete(r) ? 0 : POP_E_CORRUPT;
}

static int purge_one(struct admin *a, const char *name, void *ctx)
{
	struct trash_job job = { .dry_run = !!a->opt[OPT_DRY_RUN] };
	int status = run(a, name, &job, work_purge, take_purged);

	(void)ctx;
	if (!status) {
		out_object_begin(&a->out);
		out_str(&a->out, "user", name);
		out_u64(&a->out, "purged", job.purged);
		out_bool(&a->out, "dry_run", job.dry_run);
		out_object_end(&a->out);
	}
	return status;
}

int cmd_trash_purge(struct admin *a)
{
	int status;

	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, purge_one, NULL);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}
