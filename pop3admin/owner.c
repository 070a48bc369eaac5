/*
 * owner.c - become the maildrop's owner in a child, work there, hear of it here.
 *
 * Runs in:  pop3admin, the parent as its caller, the child as the owner.
 * Trusts:   the parent trusts nothing of the child but the form it checks.
 */
#include "owner.h"
#include "fds.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD_SIZE 4 /* u16 type, u16 length */

static int send_all(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;
	ssize_t sent;

	while (n) {
		sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return POP_E_EOF;
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

/* Exactly n bytes.  0, or POP_E_EOF. */
static int recv_all(int fd, void *data, size_t n)
{
	uint8_t *p = data;
	ssize_t got;

	while (n) {
		got = recv(fd, p, n, MSG_WAITALL);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return POP_E_EOF;
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

static int owner_flush(struct owner *o)
{
	int err = send_all(o->fd, o->buf, o->len);

	o->len = 0;
	return err;
}

int owner_send(struct owner *o)
{
	uint16_t head[2] = { o->rec.type, o->rec.len };
	int err;

	if (o->rec.bad)
		return POP_E_LONG;
	if (sizeof(o->buf) - o->len < HEAD_SIZE + (size_t)o->rec.len) {
		err = owner_flush(o);
		if (err < 0)
			return err;
	}
	memcpy(o->buf + o->len, head, HEAD_SIZE);
	memcpy(o->buf + o->len + HEAD_SIZE, o->rec.data, o->rec.len);
	o->len += HEAD_SIZE + (size_t)o->rec.len;
	return 0;
}

int owner_say(struct owner *o, enum record_type type, int level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	record_begin(&o->rec, type);
	if (type == REC_NOTE)
		record_put_u64(&o->rec, (uint64_t)level);
	record_put_str(&o->rec, text);
	return owner_send(o);
}

static int ask_dotlock(struct owner *o, enum dotlock_ask what)
{
	int32_t answer = POP_E_EOF;
	int err;

	record_begin(&o->rec, REC_DOTLOCK);
	record_put_u64(&o->rec, what);
	err = owner_send(o);
	if (!err)
		err = owner_flush(o);
	if (!err)
		err = recv_all(o->fd, &answer, sizeof(answer));
	return err ? err : answer;
}

static int dotlock_make(void *ctx, const char *mailbox_path)
{
	(void)mailbox_path; /* the parent knows it, and takes no other from us */
	return ask_dotlock(ctx, DOTLOCK_MAKE);
}

static int dotlock_remove(void *ctx, const char *mailbox_path)
{
	(void)mailbox_path;
	return ask_dotlock(ctx, DOTLOCK_REMOVE);
}

static int dotlock_take_over(void *ctx, const char *mailbox_path)
{
	(void)mailbox_path;
	return ask_dotlock(ctx, DOTLOCK_TAKE_OVER);
}

const struct dotlock_ops owner_dotlock_ops = { .make = dotlock_make,
					       .remove = dotlock_remove,
					       .take_over = dotlock_take_over };

/* Give up what the caller had.  0, or -1 with errno. */
static int become(uid_t uid, gid_t gid, pid_t parent)
{
	struct rlimit none = { 0, 0 };
	uid_t r, e, s;

	if (geteuid() == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			return -1;
	}
	if (getresuid(&r, &e, &s) < 0)
		return -1;
	errno = EPERM;
	if (r != uid || e != uid || s != uid || setuid(0) == 0)
		return -1;
	/* after the change of uid, which would undo both */
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	setrlimit(RLIMIT_CORE, &none);
	if (getppid() != parent)
		_exit(1);
	return chdir("/");
}

static _Noreturn void child(const struct owner_job *job, int sock, bool root_dotlock, pid_t parent)
{
	int keep[3] = { sock, job->keep_fds[0], job->keep_fds[1] };
	static struct owner o;
	struct pop_why why = { "" };
	int err;

	o.fd = sock;
	o.root_dotlock = root_dotlock;
	fds_close_all_but(keep, 3);
	if (become(job->uid, job->gid, parent) < 0)
		err = pop_why_errno(&why, "cannot become uid %lu gid %lu", (unsigned long)job->uid,
				    (unsigned long)job->gid);
	else
		err = job->work(&o, job->ctx, &why);
	record_begin(&o.rec, REC_END);
	record_put_u64(&o.rec, (uint64_t)-err);
	record_put_u64(&o.rec, (uint64_t)errno);
	record_put_str(&o.rec, why.text);
	if (owner_send(&o) == 0)
		owner_flush(&o);
	/* not exit(): what the parent had buffered is the parent's to write */
	_exit(0);
}

static int read_record(int fd, struct record *r)
{
	uint16_t head[2];
	int err = recv_all(fd, head, HEAD_SIZE);

	if (err < 0)
		return err;
	record_begin(r, head[0]);
	if (head[1] > RECORD_MAX)
		return POP_E_CORRUPT;
	r->len = head[1];
	return recv_all(fd, r->data, r->len);
}

/* The dotlock, from the directory we opened ourselves. */
struct served_lock {
	int dir_fd;
	const char *base;
	bool held;
};

static int serve_dotlock(int fd, struct served_lock *lock, struct record *r)
{
	struct pop_why why;
	uint64_t what = record_get_u64(r);
	int32_t answer;

	if (!record_complete(r) || lock->dir_fd < 0 || lock->held != (what == DOTLOCK_REMOVE))
		return POP_E_CORRUPT;
	if (what == DOTLOCK_MAKE)
		answer = dotlock_make_at(lock->dir_fd, lock->base, &why);
	else if (what == DOTLOCK_TAKE_OVER)
		answer = dotlock_take_over_at(lock->dir_fd, lock->base, &why);
	else if (what == DOTLOCK_REMOVE)
		answer = dotlock_remove_at(lock->dir_fd, lock->base);
	else
		return POP_E_CORRUPT;
	if (answer == 0)
		lock->held = what != DOTLOCK_REMOVE;
	return send_all(fd, &answer, sizeof(answer));
}

static int take_end(struct record *r, struct pop_why *why)
{
	char text[POP_WHY_MAX];
	uint64_t code = record_get_u64(r), no = record_get_u64(r);

	record_get_str(r, text, sizeof(text));
	if (!record_complete(r) || code > 100 || no > 4095)
		return POP_E_CORRUPT;
	pop_why(why, 0, "%s", text);
	errno = (int)no;
	return -(int)code;
}

static int listen_to(const struct owner_job *job, int fd, struct served_lock *lock,
		     struct pop_why *why)
{
	static struct record r;
	int err;

	for (;;) {
		err = read_record(fd, &r);
		if (!err && r.type == REC_END)
			return take_end(&r, why);
		if (!err && r.type == REC_DOTLOCK)
			err = serve_dotlock(fd, lock, &r);
		else if (!err)
			err = job->record ? job->record(job->ctx, &r) : POP_E_CORRUPT;
		if (err)
			return err;
	}
}

static int check_owner(const struct owner_job *job, struct pop_why *why)
{
	if (job->uid == 0 || job->gid == 0)
		return pop_why(why, POP_E_DENIED,
			       "the owner is root, and root's mail is not served; give the user "
			       "another uid and gid");
	if (geteuid() != 0 && geteuid() != job->uid)
		return pop_why(why, POP_E_DENIED,
			       "belongs to uid %lu, and only root or that user may work on it; "
			       "run this as root",
			       (unsigned long)job->uid);
	return 0;
}

static int explain_death(int err, int wait_status, struct pop_why *why)
{
	if (err == POP_E_EOF && WIFSIGNALED(wait_status))
		pop_why(why, err, "the process that worked as the owner ended by signal %d",
			WTERMSIG(wait_status));
	else if (err == POP_E_EOF)
		pop_why(why, err, "the process that worked as the owner ended early");
	else if (err == POP_E_CORRUPT && !why->text[0])
		pop_why(why, err, "the process that worked as the owner sent what makes no sense");
	return err;
}

int owner_run(const struct owner_job *job, struct pop_why *why)
{
	struct served_lock lock = { -1, NULL, false };
	int pair[2] = { -1, -1 }, err, wait_status = 0, saved;
	pid_t parent = getpid(), pid;

	why->text[0] = '\0';
	err = check_owner(job, why);
	if (err < 0)
		return err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return pop_why_errno(why, "socketpair");
	if (job->dotlock_path) {
		lock.dir_fd = owner_dotlock_dir(job->dotlock_path, job->uid, job->gid);
		lock.base = strrchr(job->dotlock_path, '/') + 1;
	}
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err = pop_why_errno(why, "fork");
		goto out;
	}
	if (pid == 0)
		child(job, pair[1], lock.dir_fd >= 0, parent);
	close(pair[1]);
	pair[1] = -1;
	err = listen_to(job, pair[0], &lock, why);
	saved = errno;
	/* it sees that nobody listens; a reader that stopped early must not wait for it */
	shutdown(pair[0], SHUT_RDWR);
	while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	if (lock.held)
		dotlock_remove_at(lock.dir_fd, lock.base);
	errno = saved;
	err = explain_death(err, wait_status, why);
out:
	saved = errno;
	if (lock.dir_fd >= 0)
		close(lock.dir_fd);
	close(pair[0]);
	if (pair[1] >= 0)
		close(pair[1]);
	errno = saved;
	return err;
}
