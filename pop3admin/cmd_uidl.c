/*
 * cmd_uidl.c - unique ids: uidl list, check, rebuild and export.
 *
 * Runs in:  pop3admin; the functions named work_ in the child, as the owner.
 * Trusts:   nothing in a maildrop, and of the child only the form of its records.
 */
#include "mail.h"
#include "content.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- export ------------------------------------------------------------------- */

static void hex(const uint8_t digest[32], char out[65])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 32; i++) {
		out[2 * i] = digits[digest[i] >> 4];
		out[2 * i + 1] = digits[digest[i] & 15];
	}
	out[64] = '\0';
}

static int export_message(struct owner *o, struct maildrop *md, size_t idx)
{
	struct maildrop_message m = { .fd = -1 };
	char uidl[UIDL_MAX + 1], text[65];
	struct content c;
	int err = maildrop_uidl(md, idx, uidl);

	if (!err)
		err = maildrop_message(md, idx, &m);
	if (err)
		return err;
	err = content_of(m.fd, m.offset, m.length, &c);
	if (m.own_fd)
		close(m.fd);
	if (err)
		return err;
	record_begin(&o->rec, REC_EXPORT);
	record_put_u64(&o->rec, idx + 1);
	record_put_u64(&o->rec, m.octets);
	record_put_str(&o->rec, uidl);
	hex(c.sent, text);
	record_put_str(&o->rec, text);
	hex(c.plain, text);
	record_put_str(&o->rec, text);
	return owner_send(o);
}

static int work_export(struct owner *o, void *ctx, struct pop_why *why)
{
	struct mail_job *job = ctx;
	struct maildrop *md = NULL;
	int err = target_open_maildrop(&job->t, o, false, &md, why);

	for (size_t i = 0; !err && i < maildrop_count(md); i++) {
		err = export_message(o, md, i);
		if (err)
			pop_why(why, err, "message %zu: %s; try again", i + 1, pop_strerror(err));
	}
	maildrop_close(md);
	return err;
}

static int take_export(void *ctx, struct record *r)
{
	struct mail_job *job = ctx;
	struct out *out = &job->t.a->out;
	char uidl[UIDL_MAX + 1], sent[65], plain[65];
	uint64_t msgno, octets;

	if (r->type != REC_EXPORT)
		return mail_take(job, r);
	msgno = record_get_u64(r);
	octets = record_get_u64(r);
	record_get_str(r, uidl, sizeof(uidl));
	record_get_str(r, sent, sizeof(sent));
	record_get_str(r, plain, sizeof(plain));
	if (!record_complete(r))
		return POP_E_CORRUPT;
	if (!out->json) {
		fprintf(out->file, "%llu ", (unsigned long long)msgno);
		out_visible(out->file, uidl);
		fprintf(out->file, " %llu ", (unsigned long long)octets);
		out_visible(out->file, sent);
		putc(' ', out->file);
		out_visible(out->file, plain);
		putc('\n', out->file);
		return 0;
	}
	out_object_begin(out);
	if (job->all)
		out_str(out, "user", job->t.name);
	out_u64(out, "msgno", msgno);
	out_u64(out, "octets", octets);
	out_str(out, "uidl", uidl);
	out_str(out, "sha256", sent);
	out_str(out, "plain_sha256", plain);
	out_object_end(out);
	return 0;
}

static int export_one(struct admin *a, const char *name, void *ctx)
{
	struct mail_job job = { .all = !!a->opt[OPT_ALL] };
	int status = target_open(a, name, true, &job.t);

	(void)ctx;
	if (!status && !a->out.json) {
		fputs("# user ", a->out.file);
		out_visible(a->out.file, name);
		fputs("\n# N ID OCTETS SHA256 PLAIN: of the message as sent, and of the same "
		      "without fields\n# that mail readers change\n",
		      a->out.file);
	}
	if (!status)
		status = target_run(&job.t, -1, work_export, take_export, &job);
	target_release(&job.t);
	return status;
}

int cmd_uidl_export(struct admin *a)
{
	int status;

	if (a->out.json)
		out_list_begin(&a->out);
	status = target_each(a, export_one, NULL);
	if (a->out.json)
		out_list_end(&a->out);
	return status;
}

/* ---- check and rebuild ---------------------------------------------------------- */

struct ids_job {
	struct mail_job mail; /* first: target_run() asks for it */
	bool rebuild, dry_run;
	uint64_t changes;
};

/* The ids of all messages of an opened maildrop; caller frees. */
static int all_ids(struct maildrop *md, char (**out)[UIDL_MAX + 1])
{
	size_t n = maildrop_count(md);
	int err = 0;

	*out = calloc(n + 1, sizeof(**out));
	if (!*out)
		return POP_E_MEMORY;
	for (size_t i = 0; !err && i < n; i++)
		err = maildrop_uidl(md, i, (*out)[i]);
	return err;
}

/* Open, as kept or fresh, and take all ids. */
static int ids_of(struct target *t, struct owner *o, bool fresh, char (**out)[UIDL_MAX + 1],
		  size_t *count, struct pop_why *why)
{
	struct maildrop *md = NULL;
	int err = target_open_maildrop(t, o, fresh, &md, why);

	if (!err) {
		*count = maildrop_count(md);
		err = all_ids(md, out);
	}
	if (!err && !fresh) {
		record_begin(&o->rec, REC_STAT);
		record_put_u64(&o->rec, maildrop_count(md));
		record_put_u64(&o->rec, maildrop_octets(md));
		err = owner_send(o);
	}
	maildrop_close(md);
	return err;
}

/* Without "-N" behind it: of twins that were told apart one may be gone. */
static size_t stem(const char *id)
{
	size_t n = strlen(id), digits = n;

	while (digits && id[digits - 1] >= '0' && id[digits - 1] <= '9')
		digits--;
	return digits < n && digits > 1 && id[digits - 1] == '-' ? digits - 1 : n;
}

static bool same_stem(const char *a, const char *b)
{
	size_t n = stem(a);

	return n == stem(b) && memcmp(a, b, n) == 0;
}

static int say_change(struct owner *o, size_t idx, const char *was, const char *now)
{
	record_begin(&o->rec, REC_CHANGE);
	record_put_u64(&o->rec, idx + 1);
	record_put_str(&o->rec, was);
	record_put_str(&o->rec, now);
	return owner_send(o);
}

static int compare(struct owner *o, const struct ids_job *job, char (*kept)[UIDL_MAX + 1],
		   size_t n_kept, char (*made)[UIDL_MAX + 1], size_t n_made)
{
	int err = 0;

	if (n_kept != n_made)
		return owner_say(o, REC_FINDING, 0,
				 "%zu messages are kept but %zu are there; if no mail came just "
				 "now: pop3admin uidl rebuild",
				 n_kept, n_made);
	for (size_t i = 0; !err && i < n_kept; i++)
		if (job->rebuild ? strcmp(kept[i], made[i]) != 0 : !same_stem(kept[i], made[i]))
			err = say_change(o, i, kept[i], made[i]);
	return err;
}

static int forget_index(struct target *t, struct owner *o, struct pop_why *why)
{
	struct maildrop *md = NULL;
	char uidl[UIDL_MAX + 1];
	int err;

	if (unlinkat(t->state_fd, "index", 0) < 0 && errno != ENOENT)
		return pop_why_errno(why, "index");
	err = target_open_maildrop(t, o, false, &md, why);
	if (!err && maildrop_count(md))
		err = maildrop_uidl(md, 0, uidl);
	if (!err)
		maildrop_save(md);
	maildrop_close(md);
	return err;
}

static int work_ids(struct owner *o, void *ctx, struct pop_why *why)
{
	struct ids_job *job = ctx;
	struct target *t = &job->mail.t;
	char(*kept)[UIDL_MAX + 1] = NULL, (*made)[UIDL_MAX + 1] = NULL;
	size_t n_kept = 0, n_made = 0;
	int err = ids_of(t, o, false, &kept, &n_kept, why);

	if (!err)
		err = ids_of(t, o, true, &made, &n_made, why);
	if (!err)
		err = compare(o, job, kept, n_kept, made, n_made);
	if (!err && job->rebuild && !job->dry_run)
		err = forget_index(t, o, why);
	free(kept);
	free(made);
	return err;
}

static int take_ids(void *ctx, struct record *r)
{
	struct ids_job *job = ctx;
	char was[UIDL_MAX + 1], now[UIDL_MAX + 1], text[256];
	uint64_t msgno;

	if (r->type != REC_CHANGE)
		return mail_take(&job->mail, r);
	msgno = record_get_u64(r);
	record_get_str(r, was, sizeof(was));
	record_get_str(r, now, sizeof(now));
	if (!record_complete(r))
		return POP_E_CORRUPT;
	snprintf(text, sizeof(text), "message %llu: %s, made anew %s", (unsigned long long)msgno,
		 was, now);
	job->changes++;
	return mail_add_finding(&job->mail, text);
}

static int ids_one(struct admin *a, const char *name, void *ctx)
{
	const bool *rebuild = ctx;
	struct ids_job job = { .rebuild = *rebuild, .dry_run = !!a->opt[OPT_DRY_RUN] };
	int status;

	job.mail.all = !!a->opt[OPT_ALL];
	status = target_open(a, name, true, &job.mail.t);
	if (!status)
		status = target_run(&job.mail.t, -1, work_ids, take_ids, &job);
	if (!status) {
		out_object_begin(&a->out);
		out_str(&a->out, "user", name);
		out_u64(&a->out, "messages", job.mail.messages);
		if (job.rebuild) {
			out_u64(&a->out, "changed", job.changes);
			out_bool(&a->out, "dry_run", job.dry_run);
		} else {
			out_bool(&a->out, "ok", job.mail.n_findings == 0);
		}
		mail_print_findings(&job.mail, job.rebuild ? "changes" : "findings");
		out_object_end(&a->out);
		if (!job.rebuild && job.mail.n_findings)
			status = EX_NOT_WELL;
	}
	target_release(&job.mail.t);
	free(job.mail.findings);
	return status;
}

static int ids_command(struct admin *a, bool rebuild)
{
	int status;

	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, ids_one, &rebuild);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}

int cmd_uidl_check(struct admin *a)
{
	return ids_command(a, false);
}

int cmd_uidl_rebuild(struct admin *a)
{
	return ids_command(a, true);
}
