/*
 * cmd_lock.c - who has a maildrop open, and ending that session: lock show, break.
 *
 * Runs in:  pop3admin; work_query() in the child, as the owner.
 * Trusts:   the kernel's word for the holder's pid.  Not the record in the lock
 *           file: its owner can write anything there.
 */
#include "process.h"
#include "session_lock.h"
#include "target.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct lock_job {
	struct target t; /* first: target_run() asks for it */
	bool held;
	pid_t pid;
	bool recorded; /* r says who wrote it */
	struct lock_record r;
};

static int work_query(struct owner *o, void *ctx, struct pop_why *why)
{
	struct lock_job *job = ctx;
	struct lock_record r;
	char text[1024] = "";
	pid_t pid = 0;
	int held;

	memset(&r, 0, sizeof(r));
	held = session_lock_query(job->t.state_fd, &r, &pid);
	if (held == POP_E_SYS)
		return pop_why_errno(why, "the file lock in its state directory");
	if (held < 0 && held != POP_E_MISSING)
		return pop_why(why, held, "the file lock in its state directory: %s",
			       pop_strerror(held));
	if (held == 1 && lock_record_format(&r, text, sizeof(text)) < 0)
		text[0] = '\0';
	record_begin(&o->rec, REC_LOCK);
	record_put_u64(&o->rec, held == 1);
	record_put_u64(&o->rec, pid > 0 ? (uint64_t)pid : 0);
	record_put_str(&o->rec, text);
	return owner_send(o);
}

static int take_lock(void *ctx, struct record *r)
{
	struct lock_job *job = ctx;
	char text[1024];
	uint64_t held, pid;

	if (r->type != REC_LOCK)
		return POP_E_CORRUPT;
	held = record_get_u64(r);
	pid = record_get_u64(r);
	record_get_str(r, text, sizeof(text));
	if (!record_complete(r) || held > 1 || pid > INT32_MAX)
		return POP_E_CORRUPT;
	job->held = held;
	job->pid = (pid_t)pid;
	job->recorded = text[0] && lock_record_parse(text, strlen(text), &job->r) == 0;
	return 0;
}

static int query(struct lock_job *job)
{
	job->held = job->recorded = false;
	job->pid = 0;
	if (job->t.state_fd < 0)
		return 0; /* no session was ever opened */
	return target_run(&job->t, -1, work_query, take_lock, job);
}

/* The session that job found, and whether it has the lock now. */
static void print_lock(const struct lock_job *job, bool held)
{
	struct out *out = &job->t.a->out;
	bool recorded = job->held && job->recorded;

	out_object_begin(out);
	out_str(out, "user", job->t.name);
	out_bool(out, "held", held);
	if (job->held && job->pid > 0)
		out_u64(out, "pid", (uint64_t)job->pid);
	else
		out_null(out, "pid");
	if (recorded)
		out_time(out, "since", job->r.since);
	else
		out_null(out, "since");
	if (recorded && job->r.address[0])
		out_str(out, "address", job->r.address);
	else
		out_null(out, "address");
	out_object_end(out);
}

int cmd_lock_show(struct admin *a)
{
	struct lock_job job = { 0 };
	int status = target_open(a, a->pos[0], false, &job.t);

	if (!status)
		status = query(&job);
	if (!status)
		print_lock(&job, job.held);
	target_release(&job.t);
	return status;
}

/* May this holder be ended?  0, or the exit status with the reason said. */
static int check_holder(const struct lock_job *job)
{
	const char *user = job->t.name;
	char name[PATH_MAX], path[64];
	struct stat st;

	if (job->pid <= 0 || (job->recorded && job->r.pid == job->pid &&
			      lock_record_alive(&job->r) == POP_E_MISSING))
		return fail(EX_NOPERM,
			    "%s: the lock is held on another host (%s) or in another "
			    "container; end the session there",
			    user, job->recorded && job->r.host[0] ? job->r.host : "unknown");
	if (process_program(job->pid, name) < 0)
		return fail(errno == ENOENT || errno == ESRCH ? EX_TEMPFAIL : EX_NOPERM,
			    "%s: process %ld holds the lock but cannot be looked at: %s; run this "
			    "as root, or try again",
			    user, (long)job->pid, strerror(errno));
	if (strcmp(name, SERVER) != 0)
		return fail(EX_NOPERM,
			    "%s: the lock is held by %s (process %ld), which is not "
			    "%s; end it yourself, or wait for it",
			    user, name, (long)job->pid, SERVER);
	snprintf(path, sizeof(path), "/proc/%ld/task", (long)job->pid);
	if (geteuid() == 0 && stat(path, &st) == 0 && st.st_uid != job->t.uid)
		return fail(EX_NOPERM,
			    "%s: process %ld holds the lock but runs as uid %lu, not as "
			    "the maildrop's owner; it was left alone",
			    user, (long)job->pid, (unsigned long)st.st_uid);
	return 0;
}

static int wait_gone(struct lock_job *job, int pidfd)
{
	pid_t pid = job->pid;
	int status;

	if (!process_wait(pidfd))
		return fail(EX_TEMPFAIL,
			    "%s: process %ld was told to end but has not within %d s; "
			    "it may be deleting messages: try again",
			    job->t.name, (long)pid, PROCESS_END_WAIT_MS / 1000);
	status = query(job);
	if (!status && job->held && job->pid == pid)
		status = fail(EX_TEMPFAIL, "%s: process %ld is gone but its lock is not; try again",
			      job->t.name, (long)pid);
	return status;
}

static int end_holder(struct lock_job *job)
{
	pid_t pid = job->pid;
	int pidfd = process_open(pid), status;

	if (pidfd < 0 && errno == ESRCH)
		return 0; /* it ended by itself just now */
	if (pidfd < 0)
		return fail(status_of(POP_E_SYS), "%s: process %ld: %s", job->t.name, (long)pid,
			    strerror(errno));
	/* the pid may have become another process before we held on to it: ask again */
	status = query(job);
	if (!status && (!job->held || job->pid != pid))
		goto out;
	if (!status)
		status = check_holder(job);
	if (!status && process_terminate(pidfd) < 0)
		status = fail(status_of(POP_E_SYS), "%s: process %ld cannot be ended: %s",
			      job->t.name, (long)pid, strerror(errno));
	if (!status)
		status = wait_gone(job, pidfd);
out:
	close(pidfd);
	return status;
}

int cmd_lock_break(struct admin *a)
{
	struct lock_job job = { 0 }, was;
	int status = target_open(a, a->pos[0], false, &job.t);

	if (!status)
		status = query(&job);
	if (!status && !job.held)
		status = fail(EX_NOT_WELL, "%s: no session has the maildrop open; nothing to break",
			      job.t.name);
	was = job;
	if (!status)
		status = check_holder(&job);
	if (!status)
		status = end_holder(&job);
	if (!status)
		print_lock(&was, false);
	target_release(&job.t);
	return status;
}
