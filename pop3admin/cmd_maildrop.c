/*
 * cmd_maildrop.c - look at maildrops: maildrop stat, list and check.
 *
 * Runs in:  pop3admin; the functions named work_ in the child, as the owner.
 * Trusts:   nothing in a maildrop, and of the child only the form of its records.
 */
#include "repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int send_stat(struct owner *o, struct maildrop *md)
{
	record_begin(&o->rec, REC_STAT);
	record_put_u64(&o->rec, maildrop_count(md));
	record_put_u64(&o->rec, maildrop_octets(md));
	return owner_send(o);
}

static int work_stat(struct owner *o, void *ctx, struct pop_why *why)
{
	struct mail_job *job = ctx;
	struct maildrop *md = NULL;
	int err = target_open_maildrop(&job->t, o, false, &md, why);

	if (!err)
		err = send_stat(o, md);
	maildrop_close(md);
	return err;
}

static int stat_one(struct admin *a, const char *name, void *ctx)
{
	struct mail_job job = { .all = !!a->opt[OPT_ALL] };
	int status = mail_run(a, name, work_stat, &job);

	(void)ctx;
	if (status)
		return status;
	out_object_begin(&a->out);
	out_str(&a->out, "user", name);
	out_u64(&a->out, "messages", job.messages);
	out_u64(&a->out, "octets", job.octets);
	out_object_end(&a->out);
	return 0;
}

int cmd_maildrop_stat(struct admin *a)
{
	int status;

	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, stat_one, NULL);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}

static int list_one(struct admin *a, const char *name, void *ctx)
{
	struct mail_job job = { .all = !!a->opt[OPT_ALL] };

	(void)ctx;
	return mail_run(a, name, mail_work_list, &job);
}

int cmd_maildrop_list(struct admin *a)
{
	int status;

	out_list_begin(&a->out);
	status = target_each(a, list_one, NULL);
	out_list_end(&a->out);
	return status;
}

/* Octets of a message as they would be sent now. */
static int count_message(struct maildrop_message *m, struct wire_count *count)
{
	static uint8_t block[65536];
	uint64_t at = 0;

	wire_count_init(count);
	while (at < m->length) {
		size_t want =
			m->length - at < sizeof(block) ? (size_t)(m->length - at) : sizeof(block);
		ssize_t got = fs_pread_full(m->fd, block, want, (off_t)(m->offset + at));

		if (got < 0)
			return (int)got;
		if ((size_t)got < want)
			return POP_E_CHANGED;
		wire_count_add(count, block, want);
		at += want;
	}
	return 0;
}

/* Read one message and compare it with what LIST and UIDL say; a finding is no error. */
static int check_message(struct owner *o, struct maildrop *md, size_t idx)
{
	struct maildrop_message m = { .fd = -1 };
	struct wire_count count;
	uint64_t octets;
	int err = maildrop_message(md, idx, &m);

	if (!err) {
		err = count_message(&m, &count);
		if (m.own_fd)
			close(m.fd);
	}
	if (!err)
		err = maildrop_message_octets(md, idx, &octets);
	if (err == POP_E_SYS)
		return owner_say(o, REC_FINDING, 0, "message %zu cannot be read: %s", idx + 1,
				 strerror(errno));
	if (err == POP_E_CHANGED)
		return owner_say(o, REC_FINDING, 0,
				 "message %zu was changed or removed by another program; "
				 "check again when that has ended",
				 idx + 1);
	if (err)
		return owner_say(o, REC_FINDING, 0, "message %zu: %s", idx + 1, pop_strerror(err));
	if (wire_count_total(&count) != octets || m.octets != octets)
		return owner_say(o, REC_FINDING, 0,
				 "message %zu has %llu octets but %llu are announced; remove the "
				 "file index in its state directory",
				 idx + 1, (unsigned long long)wire_count_total(&count),
				 (unsigned long long)octets);
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool uidl_is_valid(const char *uidl)
{
	size_t n = strlen(uidl), i;

	for (i = 0; i < n; i++)
		if (uidl[i] < 0x21 || uidl[i] > 0x7E)
			return false;
	return n >= 1 && n <= UIDL_MAX;
}

/* Every id is well-formed, and none is there twice. */
static int check_uidls(struct owner *o, struct maildrop *md)
{
	size_t n = maildrop_count(md), i;
	char(*ids)[UIDL_MAX + 1] = calloc(n ? n : 1, sizeof(*ids));
	const char **sorted = calloc(n ? n : 1, sizeof(*sorted));
	int err = ids && sorted ? 0 : POP_E_MEMORY;

	for (i = 0; i < n && !err; i++) {
		int got = maildrop_uidl(md, i, ids[i]);

		sorted[i] = ids[i];
		if (got < 0)
			err = owner_say(o, REC_FINDING, 0, "message %zu has no unique id: %s",
					i + 1, pop_strerror(got));
		else if (!uidl_is_valid(ids[i]))
			err = owner_say(o, REC_FINDING, 0,
					"message %zu has a unique id that RFC 1939 does not allow",
					i + 1);
	}
	if (!err)
		qsort(sorted, n, sizeof(*sorted), by_bytes);
	for (i = 1; i < n && !err; i++)
		if (*sorted[i] && strcmp(sorted[i - 1], sorted[i]) == 0)
			err = owner_say(o, REC_FINDING, 0, "two messages have the unique id %s",
					sorted[i]);
	free(sorted);
	free(ids);
	return err;
}

static int say_journal(void *ctx, const char *name)
{
	struct owner *o = ctx;

	return owner_say(o, REC_FINDING, 0,
			 "%s: the journal of a removal that did not fit the mailbox was set aside, "
			 "and may hold mail; pop3admin maildrop repair brings it back",
			 name);
}

static int work_check(struct owner *o, void *ctx, struct pop_why *why)
{
	struct mail_job *job = ctx;
	struct maildrop *md = NULL;
	size_t i;
	int err = target_open_maildrop(&job->t, o, false, &md, why);

	/* what a login would be refused for is what was looked for */
	if (err == POP_E_UNSAFE || err == POP_E_DENIED || err == POP_E_CORRUPT)
		return owner_say(o, REC_FINDING, 0, "%s", why->text);
	if (!err)
		err = send_stat(o, md);
	for (i = 0; !err && i < maildrop_count(md); i++)
		err = check_message(o, md, i);
	if (!err)
		err = check_uidls(o, md);
	if (!err)
		err = state_names(job->t.state_fd, "journal.", say_journal, o);
	maildrop_close(md);
	return err;
}

static int check_one(struct admin *a, const char *name, void *ctx)
{
	struct mail_job job = { .all = !!a->opt[OPT_ALL] };
	int status;

	(void)ctx;
	status = mail_run(a, name, work_check, &job);
	if (!status) {
		out_object_begin(&a->out);
		out_str(&a->out, "user", name);
		out_u64(&a->out, "messages", job.messages);
		out_u64(&a->out, "octets", job.octets);
		out_bool(&a->out, "ok", job.n_findings == 0);
		mail_print_findings(&job, "findings");
		out_object_end(&a->out);
		status = job.n_findings ? EX_NOT_WELL : 0;
	}
	free(job.findings);
	return status;
}

int cmd_maildrop_check(struct admin *a)
{
	int status;

	if (a->opt[OPT_ALL])
		out_list_begin(&a->out);
	status = target_each(a, check_one, NULL);
	if (a->opt[OPT_ALL])
		out_list_end(&a->out);
	return status;
}
