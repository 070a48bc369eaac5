/*
 * cmd_expire.c - maildrop expire: remove what has been retrieved long enough ago.
 *
 * Runs in:  pop3admin; the functions named work_ in the child, as the owner.
 * Trusts:   nothing in a maildrop or its state directory: what cannot be believed
 *           of the days of retrievals keeps mail longer.
 */
#include "mail.h"
#include "seen.h"
#include "trash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct expire_job {
	struct mail_job mail;	/* first: target_run() asks for it */
	struct mail_job listed; /* findings: the ids of what goes */
	uint32_t unread_days;
	bool dry_run;
	uint64_t expired, unread, octets; /* messages, those never retrieved, their octets */
	uint64_t purged;		  /* messages, from the trash */
};

/* What one run finds, in the child. */
struct expiry {
	struct expire_job *job;
	struct owner *o;
	struct maildrop *md;
	struct seen *known; /* owned */
	uint8_t *gone;	    /* owned: bits of the messages that go */
	size_t n_gone;
};

/* A whole day more, so that it is never less than what was announced; 0 means at once. */
static bool is_over(uint32_t day, uint32_t days, uint32_t today)
{
	return days != CONF_EXPIRE_NEVER && (days == 0 || (today > day && today - day > days));
}

static bool has_expired(const struct expire_job *job, const struct seen *s, uint32_t today)
{
	return s->kind == SEEN_RETRIEVED
		       ? is_over(s->day, job->mail.t.expire, today)
		       : s->kind == SEEN_MET && is_over(s->day, job->unread_days, today);
}

static int say_expired(struct expiry *x, size_t idx)
{
	char uidl[UIDL_MAX + 1];
	uint64_t octets;
	int err = maildrop_message_octets(x->md, idx, &octets);

	if (!err)
		err = maildrop_uidl(x->md, idx, uidl);
	if (err)
		return err;
	record_begin(&x->o->rec, REC_EXPIRED);
	record_put_u64(&x->o->rec, x->known[idx].kind != SEEN_RETRIEVED);
	record_put_u64(&x->o->rec, octets);
	record_put_str(&x->o->rec, uidl);
	return owner_send(x->o);
}

/* Open the maildrop, and learn what is known of its messages. */
static int look(struct expiry *x, struct pop_why *why)
{
	struct expire_job *job = x->job;
	uint32_t today = seen_today();
	int err = target_open_maildrop(&job->mail.t, x->o, false, &x->md, why);

	if (err)
		return err;
	x->known = calloc(maildrop_count(x->md) + 1, sizeof(*x->known));
	x->gone = calloc(maildrop_count(x->md) / 8 + 1, 1);
	if (!x->known || !x->gone)
		return POP_E_MEMORY;
	err = seen_load(x->md, x->known, why);
	if (err == POP_E_CORRUPT || err == POP_E_UNSAFE)
		err = owner_say(x->o, REC_NOTE, 0, "%s", why->text);
	for (size_t idx = 0; !err && idx < maildrop_count(x->md); idx++)
		if (x->known[idx].kind == SEEN_UNKNOWN && job->unread_days != CONF_EXPIRE_NEVER)
			x->known[idx] = (struct seen){ .day = today, .kind = SEEN_MET };
	return err;
}

static void put_away(struct expiry *x)
{
	maildrop_close(x->md);
	free(x->known);
	free(x->gone);
	x->md = NULL;
	x->known = NULL;
	x->gone = NULL;
}

static int choose(struct expiry *x)
{
	uint32_t today = seen_today();
	int err = 0;

	for (size_t idx = 0; !err && idx < maildrop_count(x->md); idx++) {
		if (!has_expired(x->job, &x->known[idx], today))
			continue;
		x->gone[idx / 8] |= (uint8_t)(1u << idx % 8);
		x->n_gone++;
		if (x->job->dry_run)
			err = say_expired(x, idx);
	}
	return err;
}

static int remove_expired(struct expiry *x, struct pop_why *why)
{
	struct seen_lines lines = { .len = 0 };
	size_t removed = 0;
	int err = seen_lines_make(&lines, x->md, NULL, x->gone);

	for (size_t idx = 0; !err && idx < maildrop_count(x->md); idx++)
		if (x->gone[idx / 8] >> idx % 8 & 1)
			err = say_expired(x, idx);
	if (!err)
		err = maildrop_expunge(x->md, x->gone, NULL, &removed, why);
	if (!err) {
		maildrop_save(x->md);
		err = seen_append(&lines, x->md, why);
		err = err > 0 ? 0 : err;
	}
	seen_lines_release(&lines);
	/* what is left, as it is now */
	put_away(x);
	return err ? err : look(x, why);
}

/* What the trash need not keep any longer goes with the same run. */
static int purge(struct expiry *x, struct pop_why *why)
{
	struct maildrop_env env;
	uint64_t n = 0;
	int err;

	target_env(&x->job->mail.t, x->o, &env);
	err = trash_purge(&env, x->job->mail.t.a->conf.trash_days, x->job->dry_run, &n, why);
	if (err)
		return err;
	record_begin(&x->o->rec, REC_PURGED);
	record_put_u64(&x->o->rec, n);
	return owner_send(x->o);
}

static int work_expire(struct owner *o, void *ctx, struct pop_why *why)
{
	struct expiry x = { .job = ctx, .o = o };
	int err = look(&x, why);

	if (!err)
		err = choose(&x);
	if (!err && x.n_gone && !x.job->dry_run)
		err = remove_expired(&x, why);
	if (!err && !x.job->dry_run)
		err = seen_save(x.md, x.known);
	if (!err) {
		maildrop_save(x.md);
		record_begin(&o->rec, REC_STAT);
		record_put_u64(&o->rec, maildrop_count(x.md));
		record_put_u64(&o->rec, maildrop_octets(x.md));
		err = owner_send(o);
	}
	if (!err)
		err = purge(&x, why);
	put_away(&x);
	return err;
}

static int take_expired(void *ctx, struct record *r)
{
	struct expire_job *job = ctx;
	char uidl[UIDL_MAX + 1];
	uint64_t unread;

	if (r->type == REC_PURGED) {
		job->purged = record_get_u64(r);
		return record_complete(r) ? 0 : POP_E_CORRUPT;
	}
	if (r->type != REC_EXPIRED)
		return mail_take(&job->mail, r);
	unread = record_get_u64(r);
	job->octets += record_get_u64(r);
	record_get_str(r, uidl, sizeof(uidl));
	if (!record_complete(r) || unread > 1)
		return POP_E_CORRUPT;
	job->expired++;
	job->unread += unread;
	/* the table of many users has no room for them */
	return job->mail.all && !job->mail.t.a->out.json ? 0 : mail_add_finding(&job->listed, uidl);
}

static void print(struct out *out, const struct expire_job *job, bool known)
{
	out_object_begin(out);
	out_str(out, "user", job->mail.t.name);
	if (known)
		out_u64(out, "messages", job->mail.messages);
	else
		out_null(out, "messages");
	out_u64(out, "expired", job->expired);
	out_u64(out, "unretrieved", job->unread);
	out_u64(out, "octets", job->octets);
	out_u64(out, "purged", job->purged);
	out_bool(out, "dry_run", job->dry_run);
	mail_print_findings(&job->listed, "uidls");
	out_object_end(out);
}

static int expire_one(struct admin *a, const char *name, void *ctx)
{
	struct expire_job job = { .unread_days = a->conf.expire_unread,
				  .dry_run = !!a->opt[OPT_DRY_RUN] };
	bool opened = false;
	int status;

	(void)ctx;
	job.mail.all = !!a->opt[OPT_ALL];
	/* who never logged in has retrieved nothing */
	status = target_open(a, name, job.unread_days != CONF_EXPIRE_NEVER, &job.mail.t);
	job.listed.t = job.mail.t;
	if (!status && job.mail.t.state_fd >= 0) {
		opened = true;
		status = target_run(&job.mail.t, -1, work_expire, take_expired, &job);
	}
	if (!status)
		print(&a->out, &job, opened);
	target_release(&job.mail.t);
	free(job.mail.findings);
	free(job.listed.findings);
	return status;
}

int cmd_maildrop_expire(struct admin *a)
{
	int status;

	if (conf_expire_least(&a->conf, a->conf.expire) == CONF_EXPIRE_NEVER &&
	    a->conf.expire_min == CONF_EXPIRE_NEVER && a->conf.trash_days == 0)
		return fail(EX_CONFIG,
			    "expire, expire_min and expire_unread are all never, and trash_days "
			    "is 0, so nothing expires; set one of them in %s",
			    a->conf_path);
	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, expire_one, NULL);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}
