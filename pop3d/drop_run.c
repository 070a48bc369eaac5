/*
 * drop_run.c - the maildrop role: lock, open, tell the monitor, serve.
 *
 * Runs in:  maildrop, as the mailbox's owner.
 * Trusts:   the monitor.  Not the session, and not the mail.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "drop.h"
#include "fsutil.h"
#include "session_lock.h"

static enum ipc_verdict verdict_of(int err)
{
	switch (err) {
	case 0:
		return VERDICT_OK;
	case POP_E_BUSY:
		return VERDICT_IN_USE;
	case POP_E_UNSAFE:
	case POP_E_DENIED:
		return VERDICT_PERM;
	default:
		return VERDICT_TEMP;
	}
}

/*
 * login_delay: the time of the last login is that of the file `login`.  Under the
 * session lock, so two at once cannot both be the first.  POP_E_TIME: too soon.
 */
static int keep_delay(struct drop *d, struct pop_why *why)
{
	uint32_t delay = d->start->login_delay;
	time_t now = time(NULL);
	struct stat st;
	int err = 0;

	if (delay == 0)
		return 0;
	d->login_fd =
		fs_open_at(d->start->state_fd, "login", FS_LINKS_NONE, O_WRONLY | O_CREAT, 0600);
	if (d->login_fd < 0)
		return 0;
	/* what is no file of its own is not written to, and tells nothing */
	if (fstat(d->login_fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    st.st_uid != geteuid()) {
		close(d->login_fd);
		d->login_fd = -1;
		return 0;
	}
	/* an empty file is as new as this login; one from the future counts for nothing */
	if (st.st_size > 0 && st.st_mtime <= now && now - st.st_mtime < (time_t)delay)
		err = pop_why(why, POP_E_TIME, "the last login was %lld s ago",
			      (long long)(now - st.st_mtime));
	return err;
}

/* This login is the last one now.  That it cannot be kept does not fail the session. */
static void note_login(struct drop *d)
{
	if (d->login_fd < 0)
		return;
	if (pwrite(d->login_fd, "\n", 1, 0) != 1 || futimens(d->login_fd, NULL) < 0)
		drop_note(d, LOG_WARNING, "the time of this login cannot be kept");
	close(d->login_fd);
	d->login_fd = -1;
}

static int lock_and_open(struct drop *d, struct pop_why *why)
{
	const struct conf *conf = d->start->conf;
	struct lock_record self;
	int err;

	lock_record_self(&self, d->start->address);
	d->lock_fd =
		session_lock_take(d->start->state_fd, (int)conf->lock_timeout * 1000, &self, why);
	if (d->lock_fd < 0)
		return d->lock_fd;
	err = keep_delay(d, why);
	if (err < 0) {
		d->delayed = true;
		return err;
	}
	d->keeps_seen = conf_expire_least(conf, d->start->expire) != CONF_EXPIRE_NEVER;
	d->env = (struct maildrop_env){
		.spec = d->start->spec,
		.state_fd = d->start->state_fd,
		.uid = d->start->uid,
		.lock_timeout_ms = (int)conf->lock_timeout * 1000,
		.mbox_locks = conf->mbox_locks,
		.trash = conf->trash_days > 0,
		.mark_seen = conf->mark_seen && !d->start->read_only,
		.read_only = d->start->read_only,
		.utf8_fallback = d->start->utf8_fallback,
		.show_after = d->start->show_after,
		.dotlock = &d->dotlock,
		.digest = drop_digest,
		.note = drop_note,
		.ctx = d,
	};
	return maildrop_open(&d->md, &d->env, why);
}

static int tell_ready(struct drop *d, int err, const struct pop_why *why)
{
	struct ipc_msg m;

	ipc_start(&m, IPC_DROP_READY);
	ipc_put_u8(&m, (uint8_t)(d->delayed ? VERDICT_DELAY : verdict_of(err)));
	ipc_put_u8(&m, err == 0 && maildrop_read_only(d->md));
	ipc_put_u64(&m, err == 0 ? maildrop_count(d->md) : 0);
	ipc_put_u64(&m, err == 0 ? maildrop_octets(d->md) : 0);
	ipc_put_str(&m, why->text, strlen(why->text));
	return ipc_send(&d->monitor, &m);
}

int drop_run(struct drop_start *start)
{
	struct drop d = { .start = start, .lock_fd = -1, .login_fd = -1 };
	struct pop_why why = { "" };
	int err;

	d.dotlock = (struct dotlock_ops){ drop_dotlock_make, drop_dotlock_remove, &d,
					  drop_dotlock_take_over };
	ipc_init(&d.monitor, start->monitor_fd, ROLE_MAILDROP, ROLE_MONITOR, PH_OPEN);
	ipc_init(&d.session, start->session_fd, ROLE_MAILDROP, ROLE_SESSION, PH_TRANS);
	ipc_init(&d.digester, -1, ROLE_MAILDROP, ROLE_DIGEST, PH_TRANS);
	err = lock_and_open(&d, &why);
	if (err < 0 && why.text[0] == '\0')
		pop_why(&why, err, "%s", pop_strerror(err));
	if (err == 0)
		note_login(&d);
	if (tell_ready(&d, err, &why) < 0)
		err = POP_E_EOF;
	if (err == 0) {
		err = drop_serve(&d);
		/* at the end, and once: what the session found out, ids too, while nobody waits */
		maildrop_save(d.md);
	}
	maildrop_close(d.md);
	drop_retry_dotlock(&d);
	if (d.lock_fd >= 0)
		close(d.lock_fd);
	if (d.left)
		return EX_TEMPFAIL; /* the monitor lets another process try */
	return err == 0 || err == POP_E_EOF ? EX_OK : EX_PROTOCOL;
}
