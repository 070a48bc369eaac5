/*
 * mail.c - the two ends of work on one maildrop.
 *
 * Runs in:  pop3admin; mail_work_list() in the child, as the owner.
 * Trusts:   of the child only the form of its records; ids are checked before
 *           they are printed.
 */
#include "mail.h"

#include <stdlib.h>
#include <string.h>

static int take_stat(struct mail_job *job, struct record *r)
{
	job->messages = record_get_u64(r);
	job->octets = record_get_u64(r);
	return record_complete(r) ? 0 : POP_E_CORRUPT;
}

static int take_message(struct mail_job *job, struct record *r)
{
	struct out *out = &job->t.a->out;
	uint64_t msgno = record_get_u64(r), octets = record_get_u64(r);
	char uidl[UIDL_MAX + 1];

	record_get_str(r, uidl, sizeof(uidl));
	if (!record_complete(r) || msgno != job->listed + 1)
		return POP_E_CORRUPT;
	job->listed++;
	out_object_begin(out);
	if (job->all)
		out_str(out, "user", job->t.name);
	out_u64(out, "msgno", msgno);
	out_u64(out, "octets", octets);
	out_str(out, "uidl", uidl);
	out_object_end(out);
	return 0;
}

int mail_add_finding(struct mail_job *job, const char *text)
{
	size_t n = strlen(text) + 1, size = job->findings_size ? job->findings_size : 4096;
	char *grown;

	while (size < job->findings_len + n)
		size *= 2;
	if (size != job->findings_size) {
		grown = realloc(job->findings, size);
		if (!grown)
			return POP_E_MEMORY;
		job->findings = grown;
		job->findings_size = size;
	}
	memcpy(job->findings + job->findings_len, text, n);
	job->findings_len += n;
	job->n_findings++;
	/* the table of many users has no room for it */
	if (job->all && !job->t.a->out.json)
		fail(0, "%s: %s", job->t.name, text);
	return 0;
}

static int take_finding(struct mail_job *job, struct record *r)
{
	char text[1024];

	record_get_str(r, text, sizeof(text));
	return record_complete(r) ? mail_add_finding(job, text) : POP_E_CORRUPT;
}

void mail_print_findings(const struct mail_job *job, const char *key)
{
	struct out *out = &job->t.a->out;
	size_t at;

	out_array_begin(out, key);
	for (at = 0; at < job->findings_len; at += strlen(job->findings + at) + 1)
		out_array_item(out, job->findings + at);
	out_array_end(out);
}

static int take_note(struct mail_job *job, struct record *r)
{
	char text[1024];

	record_get_u64(r);
	record_get_str(r, text, sizeof(text));
	if (!record_complete(r))
		return POP_E_CORRUPT;
	fail(0, "%s: %s", job->t.name, text);
	return 0;
}

int mail_take(void *ctx, struct record *r)
{
	switch (r->type) {
	case REC_STAT:
		return take_stat(ctx, r);
	case REC_MESSAGE:
		return take_message(ctx, r);
	case REC_FINDING:
		return take_finding(ctx, r);
	case REC_NOTE:
		return take_note(ctx, r);
	default:
		return POP_E_CORRUPT;
	}
}

int mail_run(struct admin *a, const char *name,
	     int (*work)(struct owner *o, void *ctx, struct pop_why *why), struct mail_job *job)
{
	int status = target_open(a, name, true, &job->t);

	if (!status)
		status = target_run(&job->t, -1, work, mail_take, job);
	target_release(&job->t);
	return status;
}

int mail_work_list(struct owner *o, void *ctx, struct pop_why *why)
{
	struct mail_job *job = ctx;
	struct maildrop *md = NULL;
	char uidl[UIDL_MAX + 1];
	uint64_t octets;
	size_t i;
	int err = target_open_maildrop(&job->t, o, false, &md, why);

	for (i = 0; !err && i < maildrop_count(md); i++) {
		err = maildrop_message_octets(md, i, &octets);
		if (!err)
			err = maildrop_uidl(md, i, uidl);
		if (err) {
			pop_why(why, err, "message %zu: %s; try again", i + 1, pop_strerror(err));
			break;
		}
		record_begin(&o->rec, REC_MESSAGE);
		record_put_u64(&o->rec, i + 1);
		record_put_u64(&o->rec, octets);
		record_put_str(&o->rec, uidl);
		err = owner_send(o);
	}
	maildrop_close(md);
	return err;
}
