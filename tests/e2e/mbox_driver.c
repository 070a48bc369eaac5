/*
 * mbox_driver.c - one session's work on an mbox, without the session: open, expunge
 * by a pattern, close.  For the crash suites, which kill it everywhere.
 *
 *     mbox_driver open MBOX STATE
 *     mbox_driver expunge MBOX STATE PATTERN
 *     mbox_driver list MBOX STATE
 *     mbox_driver restore MBOX STATE
 *
 * MBOX may be maildir:PATH.  With -k what is removed is kept.  list prints `mail UIDL SUM` for
 * each message and `trash UIDL SUM` for each that is kept; restore brings all of them back.
 *
 * PATTERN: numbers from 0 on, with commas; or second (every second), allbutlast, all.  Prints
 * `count N`, and `removed N` after an expunge. Exit status: 0 done, 1 the open failed, 2 the
 * expunge failed, 64 usage.  With -t, times go to standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "conf.h"
#include "fsutil.h"
#include "hash.h"
#include "maildrop.h"
#include "session_lock.h"
#include "trash.h"

static bool timed;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void say_time(const char *what, double since)
{
	if (timed)
		fprintf(stderr, "%s %.2f ms\n", what, now_ms() - since);
}

static int digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		  size_t n, uint8_t (*out)[16])
{
	(void)ctx;
	return digest_items(kind, fd, items, n, out);
}

static void note(void *ctx, int level, const char *text)
{
	(void)ctx;
	fprintf(stderr, "note %d: %s\n", level, text);
}

static bool chosen(const char *pattern, size_t i, size_t n)
{
	if (strcmp(pattern, "second") == 0)
		return i % 2 == 0;
	if (strcmp(pattern, "allbutlast") == 0)
		return i + 1 < n;
	if (strcmp(pattern, "all") == 0)
		return true;
	for (const char *p = pattern; *p; p += strcspn(p, ","), p += *p == ',')
		if (strtoul(p, NULL, 10) == i)
			return true;
	return false;
}

static int expunge(struct maildrop *md, const char *pattern)
{
	size_t n = maildrop_count(md), removed = 0;
	uint8_t *bits = calloc(n / 8 + 1, 1);
	struct pop_why why = { "" };
	double begin;
	int err;

	if (!bits)
		return POP_E_MEMORY;
	for (size_t i = 0; i < n; i++)
		if (chosen(pattern, i, n))
			bits[i / 8] |= (uint8_t)(1u << i % 8);
	begin = now_ms();
	err = maildrop_expunge(md, bits, NULL, &removed, &why);
	say_time("expunge", begin);
	printf("removed %zu\n", removed);
	if (err < 0)
		fprintf(stderr, "expunge: %s: %s\n", pop_strerror(err), why.text);
	free(bits);
	return err;
}

static int print_message(const char *where, const char *uidl, const struct maildrop_message *m)
{
	char *bytes = malloc((size_t)m->length + 1);
	int err = bytes ? 0 : POP_E_MEMORY;

	if (!err &&
	    fs_pread_full(m->fd, bytes, (size_t)m->length, (off_t)m->offset) != (ssize_t)m->length)
		err = POP_E_SYS;
	if (!err)
		printf("%s %s %016llx\n", where, uidl,
		       (unsigned long long)sum64_of(bytes, (size_t)m->length));
	if (m->own_fd)
		close(m->fd);
	free(bytes);
	return err;
}

static int list(struct maildrop *md, struct trash *t)
{
	struct maildrop_message m;
	char uidl[UIDL_MAX + 1];
	int err = 0;

	for (size_t i = 0; !err && i < maildrop_count(md); i++) {
		err = maildrop_uidl(md, i, uidl);
		if (!err)
			err = maildrop_message(md, i, &m);
		if (!err)
			err = print_message("mail", uidl, &m);
	}
	for (size_t i = 0; !err && i < t->n; i++) {
		err = trash_open(t, md, i, &m, NULL);
		if (!err)
			err = print_message("trash", t->items[i].uidl, &m);
	}
	return err;
}

static int restore(struct maildrop *md, struct trash *t)
{
	struct pop_why why = { "" };
	int err = 0;

	for (size_t i = 0; !err && i < t->n; i++)
		err = trash_restore(t, md, NULL, i, &why);
	if (err)
		fprintf(stderr, "restore: %s: %s\n", pop_strerror(err), why.text);
	return err;
}

/* list and restore */
static int work_trash(struct maildrop_env *env, int (*what)(struct maildrop *, struct trash *))
{
	struct maildrop *md = NULL;
	struct pop_why why = { "" };
	struct trash t = { .n = 0 };
	int err = maildrop_open(&md, env, &why);

	if (err < 0) {
		fprintf(stderr, "open: %s: %s\n", pop_strerror(err), why.text);
		return 1;
	}
	err = trash_load(&t, md, &why);
	if (err < 0)
		fprintf(stderr, "trash: %s: %s\n", pop_strerror(err), why.text);
	if (!err)
		err = what(md, &t);
	trash_release(&t);
	maildrop_close(md);
	return err < 0 ? 2 : 0;
}

static int work(struct maildrop_env *env, const char *pattern)
{
	struct maildrop *md = NULL;
	struct pop_why why = { "" };
	double begin = now_ms();
	int err = maildrop_open(&md, env, &why);

	say_time("open", begin);
	if (err < 0) {
		fprintf(stderr, "open: %s: %s\n", pop_strerror(err), why.text);
		return 1;
	}
	printf("count %zu\n", maildrop_count(md));
	fflush(stdout);
	err = pattern ? expunge(md, pattern) : 0;
	begin = now_ms();
	maildrop_save(md);
	say_time("save", begin);
	maildrop_close(md);
	return err < 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
	struct maildrop_env env = {
		.spec = { .kind = MAILDROP_MBOX },
		.uid = geteuid(),
		.lock_timeout_ms = 200,
		.mbox_locks = LOCK_DOTLOCK | LOCK_FCNTL,
		.digest = digest,
		.note = note,
	};
	struct lock_record self;
	static const char maildir[] = "maildir:";
	struct pop_why why = { "" };
	bool expunges, lists, restores;

	while (argc > 1 && argv[1][0] == '-') {
		timed |= strcmp(argv[1], "-t") == 0;
		env.trash |= strcmp(argv[1], "-k") == 0;
		argc--;
		argv++;
	}
	expunges = argc == 5 && strcmp(argv[1], "expunge") == 0;
	lists = argc == 4 && strcmp(argv[1], "list") == 0;
	restores = argc == 4 && strcmp(argv[1], "restore") == 0;
	if (!expunges && !lists && !restores && !(argc == 4 && strcmp(argv[1], "open") == 0))
		return 64;
	if (strncmp(argv[2], maildir, sizeof(maildir) - 1) == 0) {
		env.spec.kind = MAILDROP_MAILDIR;
		argv[2] += sizeof(maildir) - 1;
	}
	snprintf(env.spec.path, sizeof(env.spec.path), "%s", argv[2]);
	env.state_fd = open(argv[3], O_PATH | O_DIRECTORY | O_CLOEXEC);
	lock_record_self(&self, "");
	if (env.state_fd < 0 || session_lock_take(env.state_fd, 20000, &self, &why) < 0) {
		fprintf(stderr, "%s: %s\n", argv[3], why.text);
		return 1;
	}
	if (lists || restores)
		return work_trash(&env, lists ? list : restore);
	return work(&env, expunges ? argv[4] : NULL);
}
