/*
 * mbox_driver.c - one session's work on an mbox, without the session: open, expunge
 * by a pattern, close.  For the crash suite, which kills it everywhere.
 *
 *     mbox_driver open MBOX STATE
 *     mbox_driver expunge MBOX STATE PATTERN
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
#include "maildrop.h"
#include "session_lock.h"

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
	struct pop_why why = { "" };
	bool expunges;

	if (argc > 1 && strcmp(argv[1], "-t") == 0) {
		timed = true;
		argc--;
		argv++;
	}
	expunges = argc == 5 && strcmp(argv[1], "expunge") == 0;
	if (!expunges && !(argc == 4 && strcmp(argv[1], "open") == 0))
		return 64;
	snprintf(env.spec.path, sizeof(env.spec.path), "%s", argv[2]);
	env.state_fd = open(argv[3], O_PATH | O_DIRECTORY | O_CLOEXEC);
	lock_record_self(&self, "");
	if (env.state_fd < 0 || session_lock_take(env.state_fd, 20000, &self, &why) < 0) {
		fprintf(stderr, "%s: %s\n", argv[3], why.text);
		return 1;
	}
	return work(&env, expunges ? argv[4] : NULL);
}
