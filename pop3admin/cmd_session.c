/*
 * cmd_session.c - who is connected, and ending that: session list, end.
 *
 * Runs in:  pop3admin, as root (run_dir is root's alone).
 * Trusts:   run_dir.  Not that a process of a record is still the one that it
 *           was: that is asked of the kernel.
 */
#include "admin.h"
#include "num.h"
#include "process.h"
#include "records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The records asked for. */
struct found {
	const char *user;		/* only of him, or NULL */
	pid_t pid;			/* only this one, or 0 */
	struct session_record *records; /* owned */
	size_t n;
};

static int take(void *ctx, const struct session_record *s)
{
	struct found *f = ctx;

	if ((f->user && strcmp(f->user, s->user) != 0) || (f->pid && f->pid != s->pid))
		return 0;
	if (record_alive(s) && f->n < RECORDS_SLOTS)
		f->records[f->n++] = *s;
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct session_record *x = a, *y = b;

	return x->since != y->since ? (x->since > y->since) - (x->since < y->since)
				    : (x->pid > y->pid) - (x->pid < y->pid);
}

/* 0, or the exit status with the reason said.  The caller frees f->records. */
static int find(const struct admin *a, struct found *f)
{
	struct pop_why why = { "" };
	struct records r;
	int err = records_open(&r, a->conf.run_dir, false, &why);

	f->records = NULL;
	f->n = 0;
	if (err == POP_E_MISSING)
		return 0; /* there was no session yet */
	if (err == POP_E_CORRUPT)
		return fail(EX_DATAERR, "%s; the next session makes it anew", why.text);
	if (err < 0)
		return fail(status_of(err), "%s", why.text);
	f->records = calloc(RECORDS_SLOTS, sizeof(*f->records));
	if (f->records)
		records_each(&r, take, f);
	records_close(&r);
	if (!f->records)
		return fail(EX_OSERR, "out of memory");
	qsort(f->records, f->n, sizeof(*f->records), by_time);
	return 0;
}

static void put_text(struct out *out, const char *key, const char *value)
{
	if (value[0])
		out_str(out, key, value);
	else
		out_null(out, key);
}

static const char *state_word(unsigned state)
{
	static const char *const words[RECORD_STATE_N] = { "", "login", "opening", "mail",
							   "ending" };

	return words[state];
}

static void print_record(struct out *out, const struct session_record *s)
{
	out_object_begin(out);
	out_u64(out, "pid", (uint64_t)s->pid);
	put_text(out, "user", s->user);
	put_text(out, "address", s->address);
	put_text(out, "port", s->port);
	out_time(out, "since", s->since);
	put_text(out, "tls",
		 s->tls_version == 0x0304   ? "1.3"
		 : s->tls_version == 0x0303 ? "1.2"
					    : "");
	put_text(out, "mechanism", s->mechanism ? mech_name(s->mechanism) : "");
	out_str(out, "state", state_word(s->state));
	if (s->mechanism) {
		out_u64(out, "messages", s->messages);
		out_u64(out, "octets", s->octets);
	} else {
		out_null(out, "messages");
		out_null(out, "octets");
	}
	out_object_end(out);
}

static void print_records(struct out *out, const struct found *f)
{
	out_list_begin(out);
	for (size_t i = 0; i < f->n; i++)
		print_record(out, &f->records[i]);
	out_list_end(out);
}

int cmd_session_list(struct admin *a)
{
	struct found f = { .user = NULL };
	int status = find(a, &f);

	if (!status)
		print_records(&a->out, &f);
	free(f.records);
	return status;
}

/* Tell a session to end.  A descriptor of its process, -1 (it has ended), or minus the status. */
static int tell_end(const struct session_record *s)
{
	char name[PATH_MAX];
	int pidfd = process_open(s->pid), status = 0;

	if (pidfd < 0)
		return errno == ESRCH ? -1
				      : -fail(status_of(POP_E_SYS), "process %ld: %s", (long)s->pid,
					      strerror(errno));
	/* from here on the number cannot become another process: is it the one? */
	if (!record_alive(s)) {
		close(pidfd);
		return -1;
	}
	if (process_program(s->pid, name) < 0)
		status = errno == ENOENT || errno == ESRCH
				 ? 1
				 : fail(EX_NOPERM,
					"process %ld cannot be looked at: %s; run this "
					"as root",
					(long)s->pid, strerror(errno));
	else if (strcmp(name, SERVER) != 0)
		status = fail(EX_NOPERM, "process %ld is %s, not " SERVER "; it was left alone",
			      (long)s->pid, name);
	else if (process_terminate(pidfd) < 0)
		status = fail(status_of(POP_E_SYS), "process %ld cannot be ended: %s", (long)s->pid,
			      strerror(errno));
	if (status)
		close(pidfd);
	return status ? -status : pidfd;
}

static int end_all(const struct found *f)
{
	int status = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct session_record *s = &f->records[i];
		int pidfd = tell_end(s);

		if (pidfd < -1)
			status = -pidfd;
		if (pidfd < 0)
			continue;
		if (!process_wait(pidfd))
			status = fail(EX_TEMPFAIL,
				      "process %ld was told to end but has not within %d s; "
				      "it may be deleting messages: try again",
				      (long)s->pid, PROCESS_END_WAIT_MS / 1000);
		close(pidfd);
	}
	return status;
}

int cmd_session_end(struct admin *a)
{
	struct found f = { .user = a->pos[0] };
	uint64_t pid;
	int status;

	if (num_parse(a->pos[0], strlen(a->pos[0]), INT32_MAX, &pid) == 0 && pid > 0) {
		f.user = NULL;
		f.pid = (pid_t)pid;
	}
	status = find(a, &f);
	if (!status && f.n == 0)
		status = fail(EX_NOT_WELL,
			      "%s: no session of this %s; pop3admin session list "
			      "shows them",
			      a->pos[0], f.user ? "user" : "pid");
	if (!status)
		status = end_all(&f);
	if (!status)
		print_records(&a->out, &f);
	free(f.records);
	return status;
}
