/*
 * index_site.h - a mailbox of either kind with a state directory, for the tests
 * of the index.
 */
#ifndef INDEX_SITE_H
#define INDEX_SITE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "conf.h"
#include "fsutil.h"
#include "maildrop_impl.h"
#include "stamp.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))
#define SITE_MAX   64 /* messages whose ids are compared */

static char site[80];
static struct maildrop_env env;
static struct maildrop *md;
static struct pop_why why;
static bool in_a_hurry; /* nothing changes between sessions */
static unsigned digests_made;
static int64_t clock_shift_ns; /* of the clock that stamps are compared with */
static int64_t margin_ns;

static int64_t shifted_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + clock_shift_ns;
}

static int64_t given_margin(int fd)
{
	(void)fd;
	return margin_ns;
}

static int digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		  size_t n, uint8_t (*out)[16])
{
	(void)ctx;
	digests_made += (unsigned)n;
	return digest_items(kind, fd, items, n, out);
}

/* Wait until what is written has other times than what was written before. */
static inline void next_tick(void)
{
	struct timespec first, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &first);
	do { /* by its second step one thing is certain: a whole one lies between */
		usleep(2000);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == first.tv_sec && now.tv_nsec - first.tv_nsec < 9000000);
}

static inline void path_of(char out[512], const char *name)
{
	snprintf(out, 512, "%s/%s", site, name);
}

static inline void site_setup(enum maildrop_kind kind)
{
	static const char *const dirs[] = { "state", "md", "md/new", "md/cur", "md/tmp" };
	const char *base = getenv("TMPDIR");
	char path[512];

	snprintf(site, sizeof(site), "%.40s/indexXXXXXX",
		 base && strlen(base) < 40 ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(site));
	for (size_t i = 0; i < N_ELEMS(dirs); i++) {
		path_of(path, dirs[i]);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	env = (struct maildrop_env){
		.spec.kind = kind,
		.uid = geteuid(),
		.lock_timeout_ms = 1000,
		.mbox_locks = LOCK_DOTLOCK | LOCK_FCNTL,
		.digest = digest,
	};
	path_of(path, "state");
	env.state_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(env.spec.path, sizeof(env.spec.path), "%s/%s", site,
		 kind == MAILDROP_MBOX ? "mbox" : "md");
	/* an hour later: what was written just now is clean */
	clock_shift_ns = INT64_C(3600000000000);
	margin_ns = 20000000;
	stamp_sources = (struct stamp_sources){ shifted_now, given_margin };
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void close_md(void)
{
	maildrop_close(md);
	md = NULL;
}

static inline void site_teardown(void)
{
	close_md();
	close(env.state_fd);
	nftw(site, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void put_file(const char *name, const char *text, bool append)
{
	char path[512];
	int fd;

	path_of(path, name);
	fd = open(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_EXCL), 0600);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(fs_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

/* Message number n, delivered to the mailbox under test. */
static inline void deliver(int n)
{
	char name[64], text[512];

	if (env.spec.kind == MAILDROP_MBOX) {
		snprintf(text, sizeof(text),
			 "From a@b Mon Jan  1 00:00:00 2024\nSubject: number %d\nStatus: RO\n\n"
			 "body %d\n\n",
			 n, n);
		put_file("mbox", text, true);
	} else {
		snprintf(name, sizeof(name), "md/new/%d.M1P2.host", 1000 + n);
		snprintf(text, sizeof(text), "Subject: number %d\n\nbody %d\n", n, n);
		put_file(name, text, false);
	}
}

/*
 * true: the index was used in place.  Since the clock that stamps are compared with
 * is not the one they are made from, what the margin is for is done here: changes
 * before and behind the opening lie in different ticks.
 */
static inline bool open_md(void)
{
	close_md();
	if (!in_a_hurry)
		next_tick();
	ck_assert_msg(maildrop_open(&md, &env, &why) == 0, "%s", why.text);
	return md->index && md->indexed == md->count && !md->changed;
}

/* A session that asks for the ids and ends; the ids. */
static inline size_t session(char ids[SITE_MAX][UIDL_MAX + 1])
{
	size_t n;

	open_md();
	n = maildrop_count(md);
	for (size_t i = 0; i < n && i < SITE_MAX; i++)
		ck_assert_int_eq(maildrop_uidl(md, i, ids[i]), 0);
	maildrop_save(md);
	close_md();
	return n;
}

static inline void same_ids(char a[SITE_MAX][UIDL_MAX + 1], char b[SITE_MAX][UIDL_MAX + 1],
			    size_t n)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(a[i], b[i]);
}

/* The body of message idx tells its number; -1: it cannot be read. */
static inline int number_of(size_t idx)
{
	struct maildrop_message m;
	char text[512];
	const char *body;
	int n = -1;

	if (maildrop_message(md, idx, &m) < 0)
		return -1;
	ck_assert_uint_lt(m.length, sizeof(text));
	ck_assert_int_eq(fs_pread_full(m.fd, text, m.length, (off_t)m.offset), (int)m.length);
	text[m.length] = '\0';
	body = strstr(text, "\nbody ");
	if (body)
		n = (int)strtol(body + 6, NULL, 10);
	if (m.own_fd)
		close(m.fd);
	return n;
}

static inline void expunge(unsigned long bits)
{
	uint8_t deleted[8];
	size_t removed;

	for (int i = 0; i < 8; i++)
		deleted[i] = (uint8_t)(bits >> 8 * i);
	ck_assert_msg(maildrop_expunge(md, deleted, NULL, &removed, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(removed, (unsigned)__builtin_popcountl(bits));
	maildrop_save(md);
	close_md();
}

#endif
