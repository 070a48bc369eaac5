/*
 * repair_journal.c - a journal that was set aside: append the messages of its
 * last step that the mailbox has not.
 *
 * A journal is set aside when the mailbox it belongs to was replaced or cut
 * meanwhile.  The bytes of the step in progress may then be nowhere else.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner, under the session lock.
 * Trusts:   neither journal nor mailbox.
 */
#include "repair.h"
#include "fsutil.h"
#include "content.h"
#include "journal_file.h"
#include "mbox_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct rescue {
	struct repair *r;
	const char *name;     /* of the journal */
	int data_fd;	      /* a memfd with what its step holds */
	uint64_t size;	      /* of that */
	struct mbox_lock box; /* the mailbox, locked */
	struct content *had;  /* of its messages; owned */
	size_t n_had, size_had;
	uint64_t brought;
};

/* ---- what the mailbox has ------------------------------------------------------- */

static int note_message(void *ctx, const struct msg *m)
{
	struct rescue *x = ctx;

	if (x->n_had == x->size_had) {
		size_t size = x->size_had ? x->size_had * 2 : 256;
		struct content *grown = reallocarray(x->had, size, sizeof(*grown));

		if (!grown)
			return POP_E_MEMORY;
		x->had = grown;
		x->size_had = size;
	}
	return content_of(x->box.fd, m->offset, m->length, &x->had[x->n_had++]);
}

static int by_plain(const void *a, const void *b)
{
	return memcmp(((const struct content *)a)->plain, ((const struct content *)b)->plain,
		      sizeof(((const struct content *)a)->plain));
}

static int note_mailbox(struct rescue *x, uint64_t size)
{
	struct mbox_scan scan = { .fd = x->box.fd, .end = size, .each = note_message, .ctx = x };
	int err = mbox_scan(&scan);

	if (!err && x->n_had)
		qsort(x->had, x->n_had, sizeof(*x->had), by_plain);
	return err;
}

/* ---- what the journal has ------------------------------------------------------- */

/* Write at the mailbox's end; every message before it is complete already. */
static int append(struct rescue *x, uint64_t from, uint64_t length)
{
	uint8_t block[16384];
	struct stat st;
	off_t at;
	int err = 0;

	if (fstat(x->box.fd, &st) < 0)
		return POP_E_SYS;
	at = st.st_size;
	while (!err && length) {
		size_t n = length < sizeof(block) ? (size_t)length : sizeof(block);
		ssize_t got = fs_pread_full(x->data_fd, block, n, (off_t)from);

		if (got != (ssize_t)n)
			return POP_E_SYS;
		err = fs_pwrite_all(x->box.fd, block, n, at);
		at += (off_t)n;
		from += n;
		length -= n;
	}
	if (!err && st.st_size && fdatasync(x->box.fd) < 0)
		err = POP_E_SYS;
	return err;
}

/* The line ends that a message needs before another may follow. */
static int complete_end(struct rescue *x)
{
	char end[2] = "";
	struct stat st;
	size_t n;

	if (fstat(x->box.fd, &st) < 0)
		return POP_E_SYS;
	if (st.st_size < 2)
		return 0;
	if (fs_pread_full(x->box.fd, end, 2, st.st_size - 2) != 2)
		return POP_E_SYS;
	n = end[1] != '\n' ? 2 : end[0] != '\n' ? 1 : 0;
	return fs_pwrite_all(x->box.fd, "\n\n", n, st.st_size);
}

static int bring_back(void *ctx, const struct msg *m)
{
	struct rescue *x = ctx;
	struct content c;
	int err = content_of(x->data_fd, m->offset, m->length, &c);

	if (err)
		return err;
	if (x->n_had && bsearch(&c, x->had, x->n_had, sizeof(c), by_plain))
		return 0;
	x->brought++;
	if (x->r->dry_run)
		return 0;
	err = complete_end(x);
	if (!err)
		err = append(x, m->offset - m->from_length, m->from_length + m->length);
	return err ? err : complete_end(x);
}

/* Where the first separator line begins; size where there is none. */
static int first_separator(struct rescue *x, uint64_t *at)
{
	uint8_t block[65536];
	int found = mbox_separator_at(x->data_fd, 0, x->size);

	for (*at = 0; found == 0 && *at < x->size;) {
		ssize_t n = fs_pread_full(x->data_fd, block, sizeof(block), (off_t)*at);
		const uint8_t *nl = n > 0 ? memchr(block, '\n', (size_t)n) : NULL;

		if (n < 0)
			return (int)n;
		*at += nl ? (uint64_t)(nl - block) + 1 : (uint64_t)n;
		if (nl && *at < x->size)
			found = mbox_separator_at(x->data_fd, *at, x->size);
	}
	return found < 0 ? found : 0;
}

static int read_step(struct rescue *x, struct journal *j)
{
	void *data = malloc(j->rec.length ? (size_t)j->rec.length : 1);
	int err = data ? journal_get_data(j, data) : POP_E_MEMORY;

	x->size = j->rec.length;
	if (!err) {
		x->data_fd = memfd_create("pop3admin-journal", MFD_CLOEXEC);
		err = x->data_fd < 0 ? POP_E_SYS : fs_write_all(x->data_fd, data, (size_t)x->size);
	}
	free(data);
	return err;
}

/* ---- under the mailbox's locks -------------------------------------------------- */

static int rescue(struct rescue *x, struct pop_why *why)
{
	struct mbox_scan scan = { .fd = x->data_fd, .each = bring_back, .ctx = x };
	struct stat st;
	uint64_t at;
	int err;

	if (x->box.fd < 0)
		return pop_why(why, POP_E_MISSING,
			       "there is no mailbox %s to bring mail back into; make an empty one "
			       "that belongs to its owner, then try again",
			       x->r->t->spec.path);
	if (x->box.read_only)
		return pop_why(why, POP_E_DENIED, "%s cannot be written", x->r->t->spec.path);
	if (fstat(x->box.fd, &st) < 0)
		return POP_E_SYS;
	err = note_mailbox(x, (uint64_t)st.st_size);
	if (!err)
		err = first_separator(x, &at);
	scan.start = err ? 0 : at;
	scan.end = x->size;
	if (!err && at < x->size)
		err = mbox_scan(&scan);
	if (!err && !x->r->dry_run && fsync(x->box.fd) < 0)
		err = POP_E_SYS;
	if (err)
		return err;
	if (at)
		return repair_left(x->r,
				   "%s begins with %llu bytes of a message that has no beginning "
				   "there; look at them, then remove the file",
				   x->name, (unsigned long long)at);
	return 1;
}

static int remove_journal(struct repair *r, const char *name)
{
	int dir, err = 0;

	if (r->dry_run)
		return 0;
	dir = fs_reopen_dir(r->t->state_fd);
	if (dir < 0)
		return POP_E_SYS;
	if (unlinkat(dir, name, 0) < 0 || fsync(dir) < 0)
		err = POP_E_SYS;
	close(dir);
	return err;
}

static int rescue_locked(struct repair *r, const char *name, struct journal *j, struct pop_why *why)
{
	struct rescue x = { .r = r, .name = name, .data_fd = -1, .box = { .fd = -1 } };
	struct maildrop_env env;
	bool locked = false;
	int err = read_step(&x, j), done;

	target_env(r->t, r->o, &env);
	if (!err) {
		err = mbox_lock(&x.box, r->t->spec.path, r->t->uid, env.mbox_locks,
				env.lock_timeout_ms, env.dotlock, why);
		locked = err == 0;
	}
	done = err ? err : rescue(&x, why);
	if (locked)
		mbox_unlock(&x.box, r->t->spec.path, env.dotlock);
	if (x.data_fd >= 0)
		close(x.data_fd);
	free(x.had);
	if (done < 0)
		return done;
	err = repair_say(r, "%s: %llu messages that only it held, appended to the mailbox", name,
			 (unsigned long long)x.brought);
	return err || !done ? err : remove_journal(r, name);
}

int repair_journal(struct repair *r, const char *name, struct pop_why *why)
{
	struct journal j = { .dir_fd = r->t->state_fd, .fd = -1 };
	struct stat st;
	int err;

	if (r->t->spec.kind != MAILDROP_MBOX)
		return repair_left(r,
				   "%s: belongs to an mbox, and the maildrop is a Maildir now; "
				   "point the user at that mbox and try again",
				   name);
	j.fd = fs_open_at(r->t->state_fd, name, FS_LINKS_NONE, O_RDONLY, 0);
	if (j.fd < 0 || fstat(j.fd, &st) < 0)
		err = pop_why_errno(why, "%s", name);
	else if (!S_ISREG(st.st_mode) || st.st_uid != r->t->uid)
		err = repair_left(r, "%s: is no regular file of the owner; remove it", name);
	else
		err = journal_load(&j);
	if (err == JOURNAL_LOAD_VALID)
		err = rescue_locked(r, name, &j, why);
	else if (err == JOURNAL_LOAD_BLANK) {
		err = repair_say(r, "%s: holds nothing, removed", name);
		if (!err)
			err = remove_journal(r, name);
	} else if (err == JOURNAL_LOAD_BAD || err == JOURNAL_LOAD_TORN)
		err = repair_left(r,
				  "%s: is damaged, nothing can be brought back by rule; look "
				  "for mail in it by hand, then remove it",
				  name);
	free(j.ranges);
	if (j.fd >= 0)
		close(j.fd);
	return err;
}
