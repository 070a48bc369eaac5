/*
 * check_faults.c - whole sessions at one maildrop, with each call to the kernel or
 * for memory failing in turn, alone or with every later one: no message goes that was
 * not deleted, no unique id changes, no descriptor stays open, and the next session
 * finds all in order.
 *
 * The linker brings the library's calls to the __wrap_ functions (FAULTS in Makefile).
 */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "index_site.h"
#include "imported.h"
#include "scratch.h"
#include "trash.h"

static unsigned fail_at;     /* which call fails, counted from here; 0: none */
static bool fail_on;	     /* and all that come later */
static bool no_allocation;   /* the file system cannot allocate ahead */
static unsigned long failed; /* calls */

static bool fails(int number)
{
	if (fail_at == 0 || (fail_at > 1 && --fail_at))
		return false;
	if (!fail_on)
		fail_at = 0;
	failed++;
	errno = number;
	return true;
}

#define WRAP(type, name, params, args, bad, number)              \
	type __real_##name params;                               \
	type __wrap_##name params;                               \
	type __wrap_##name params                                \
	{                                                        \
		return fails(number) ? bad : __real_##name args; \
	}
WRAP(void *, malloc, (size_t n), (n), NULL, ENOMEM)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM)
WRAP(void *, realloc, (void *p, size_t n), (p, n), NULL, ENOMEM)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL, ENOMEM)
WRAP(int, posix_memalign, (void **p, size_t align, size_t n), (p, align, n), ENOMEM, ENOMEM)
WRAP(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t from),
     (at, n, prot, flags, fd, from), MAP_FAILED, ENOMEM)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), -1, EIO)
WRAP(int, fstatat, (int fd, const char *path, struct stat *st, int flags), (fd, path, st, flags),
     -1, EIO)
WRAP(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), -1, EIO)
WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), -1, EIO)
WRAP(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), -1, EIO)
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), -1, EIO)
WRAP(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence), -1, EIO)
WRAP(int, fsync, (int fd), (fd), -1, EIO)
WRAP(int, fdatasync, (int fd), (fd), -1, EIO)
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), -1, EIO)
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), -1, EIO)
WRAP(int, renameat, (int fd, const char *path, int to_fd, const char *to), (fd, path, to_fd, to),
     -1, EIO)
WRAP(int, linkat, (int fd, const char *path, int to_fd, const char *to, int flags),
     (fd, path, to_fd, to, flags), -1, EIO)
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), -1, EIO)
WRAP(int, faccessat, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags), -1,
     EIO)
WRAP(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)
WRAP(struct dirent *, readdir, (DIR * d), (d), NULL, EIO)
WRAP(ssize_t, getrandom, (void *p, size_t n, unsigned flags), (p, n, flags), -1, EIO)

int __real_fallocate(int fd, int mode, off_t at, off_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n)
{
	if (no_allocation) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return fails(EIO) ? -1 : __real_fallocate(fd, mode, at, n);
}

/* openat2(2), renameat2(2) */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return fails(EIO) ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Locks are what is waited for: one that cannot be had is not a fault. */
int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return cmd != F_OFD_SETLK && fails(EIO) ? -1 : __real_fcntl(fd, cmd, arg);
}

/* --- the sessions ------------------------------------------------------------- */

enum how {
	TRASH = 1,    /* removed messages are kept */
	NO_INDEX = 2, /* there is none, and one id was imported */
	CHANGED = 4,  /* another program removed one, and moved or marked another */
};
#define N_MESSAGES 9
#define DELETED	   ((1u << 2) | (1u << 5) | (1u << 7)) /* messages by number */

static char ids[N_MESSAGES][UIDL_MAX + 1]; /* of each message by its number */
static unsigned asked;			   /* bits: those that the session marked */
static bool begun;			   /* it ended as with QUIT */
static unsigned present;		   /* bits: messages that there are */

static void rename_in(const char *from, const char *to)
{
	char a[512], b[512];

	path_of(a, from);
	path_of(b, to);
	ck_assert_int_eq(rename(a, b), 0);
}

/* What a mail reader does between two sessions: message 0 is gone, 1 was read. */
static void change(void)
{
	char path[512], *text, *second;
	size_t len;
	int fd;

	present &= ~1u;
	if (env.spec.kind == MAILDROP_MAILDIR) {
		path_of(path, "md/new/1000.M1P2.host");
		ck_assert_int_eq(unlink(path), 0);
		rename_in("md/new/1001.M1P2.host", "md/cur/1001.M1P2.host:2,S");
		return;
	}
	path_of(path, "mbox");
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(fs_read_file(fd, 1 << 20, &text, &len), 0);
	close(fd);
	second = strstr(text, "\nFrom ") + 1;
	ck_assert_int_eq(unlink(path), 0);
	put_file("mbox", second, false);
	free(text);
}

/* An id of another server for message 3, of either kind. */
static void import_one(void)
{
	struct imported_keys keys;
	struct maildrop *fresh;
	struct imported im;

	env.fresh = true;
	ck_assert_int_eq(maildrop_open(&fresh, &env, &why), 0);
	env.fresh = false;
	ck_assert_int_eq(maildrop_uidl(fresh, 0, ids[0]), 0);
	ck_assert_int_eq(imported_keys_make(&keys, fresh), 0);
	imported_init(&im);
	ck_assert_int_eq(imported_set(&im, imported_key(&keys, 3), "from-elsewhere"), 1);
	ck_assert_int_eq(imported_save(&im, env.state_fd), 0);
	imported_release(&im);
	imported_keys_release(&keys);
	maildrop_close(fresh);
}

static void note_ids(void)
{
	for (size_t i = 0; i < maildrop_count(md); i++) {
		int n = number_of(i);

		ck_assert_int_ge(n, 0);
		ck_assert_int_eq(maildrop_uidl(md, i, ids[n]), 0);
	}
}

static void begin(enum maildrop_kind kind, enum how how)
{
	static const char *const odd = "md/new/with blank";
	char path[512];

	site_setup(kind);
	env.lock_timeout_ms = 20;
	in_a_hurry = true; /* what changes is either nothing or everything */
	for (int n = 0; n < N_MESSAGES - 2; n++)
		deliver(n);
	if (kind == MAILDROP_MAILDIR) {
		rename_in("md/new/1004.M1P2.host", odd); /* is no id: it gets a digest */
		rename_in("md/new/1006.M1P2.host", "md/cur/1006.M1P2.host:2,");
	}
	present = (1u << (N_MESSAGES - 2)) - 1;
	if (how & NO_INDEX)
		import_one();
	open_md();
	note_ids();
	maildrop_save(md);
	close_md();
	path_of(path, "state/index");
	if (how & NO_INDEX)
		ck_assert_int_eq(unlink(path), 0);
	if (kind == MAILDROP_MAILDIR)
		next_tick(); /* by the size one sees nothing of a directory */
	if (how & CHANGED)
		change();
	env.trash = how & TRASH;
}

/* Two more come; what the session looks at is not what the index tells. */
static void deliver_two(void)
{
	for (int n = N_MESSAGES - 2; n < N_MESSAGES; n++)
		deliver(n);
	present |= 3u << (N_MESSAGES - 2);
}

/* The number in a message's body; -1: it cannot be read. */
static int number_at(size_t idx)
{
	struct maildrop_message m;
	char text[256] = "";
	const char *body = NULL;

	if (maildrop_message(md, idx, &m) < 0)
		return -1;
	if (m.length < sizeof(text) &&
	    fs_pread_full(m.fd, text, m.length, (off_t)m.offset) == (ssize_t)m.length)
		body = strstr(text, "\nbody ");
	if (m.own_fd)
		close(m.fd);
	return body ? (int)strtol(body + 6, NULL, 10) : -1;
}

/* check(3) needs memory: what is wrong is told when there is some again. */
static char wrong[200];

#define EXPECT(what, ...)                                            \
	do {                                                         \
		if (!(what))                                         \
			snprintf(wrong, sizeof(wrong), __VA_ARGS__); \
	} while (0)

/* What the messages are; the bits of those that are to go, by their places. */
static void look_at_all(uint8_t bits[2])
{
	char id[UIDL_MAX + 1];

	for (size_t i = 0; i < maildrop_count(md) && i < N_MESSAGES; i++) {
		int n = number_at(i);

		if (n < 0)
			continue;
		if (maildrop_uidl(md, i, id) == 0 && ids[n][0])
			EXPECT(strcmp(id, ids[n]) == 0, "%s was %s", id, ids[n]);
		if (DELETED >> n & 1) {
			bits[i / 8] |= (uint8_t)(1u << i % 8);
			asked |= 1u << n;
		}
	}
}

/* With a fault somewhere: every answer is an error, or right. */
static int faulty_session(void)
{
	struct pop_why text = { "" };
	uint8_t bits[2] = { 0, 0 };
	struct imported_keys keys;
	size_t removed = 0;
	int err = maildrop_open(&md, &env, &text);

	if (err < 0) {
		md = NULL;
		return err;
	}
	/* all, or all but those of a removal that was cut off before */
	EXPECT(maildrop_count(md) == (unsigned)__builtin_popcount(present) ||
		       maildrop_count(md) == (unsigned)__builtin_popcount(present & ~DELETED),
	       "%zu messages", maildrop_count(md));
	look_at_all(bits);
	imported_keys_make(&keys, md);
	imported_keys_release(&keys);
	begun = true;
	err = maildrop_expunge(md, bits, bits, &removed, &text);
	maildrop_save(md);
	close_md();
	return err;
}

static bool has_journal(void)
{
	char path[512];
	struct stat st;

	path_of(path, "state/journal");
	return lstat(path, &st) == 0;
}

/* Without faults: what has to be there is there, and as it was. */
static void check_after(int err, unsigned nth)
{
	unsigned found = 0, must = begun ? present & ~DELETED : present;
	char id[UIDL_MAX + 1];

	env.trash = false;
	open_md();
	for (size_t i = 0; i < maildrop_count(md); i++) {
		int n = number_of(i);

		ck_assert_msg(n >= 0 && present >> n & 1 && !(found >> n & 1),
			      "call %u: message %d", nth, n);
		found |= 1u << n;
		ck_assert_int_eq(maildrop_uidl(md, i, id), 0);
		ck_assert_msg(!ids[n][0] || strcmp(id, ids[n]) == 0, "call %u: %s was %s", nth, id,
			      ids[n]);
	}
	ck_assert_msg((found & must) == must, "call %u: lost %x of %x", nth, must & ~found, must);
	if (begun && err == 0)
		ck_assert_msg(!(found & asked), "call %u: +OK, and %x is still there", nth,
			      found & asked);
	maildrop_save(md);
	close_md();
	ck_assert_msg(!has_journal(), "call %u: the journal is still there", nth);
}

/* The process is over that could not remove its own. */
static void remove_dotlock(void)
{
	char path[512];

	path_of(path, "mbox.lock");
	unlink(path);
}

static int session_failing(unsigned nth, bool on)
{
	int err;

	failed = 0;
	fail_on = on;
	fail_at = nth;
	wrong[0] = '\0';
	asked = 0;
	begun = false;
	err = faulty_session();
	fail_at = 0;
	ck_assert_msg(!wrong[0], "call %u: %s", nth, wrong);
	remove_dotlock();
	return err;
}

static const struct {
	enum maildrop_kind kind;
	enum how how;
} sites[] = {
	{ MAILDROP_MBOX, 0 },	     { MAILDROP_MAILDIR, 0 },	    { MAILDROP_MBOX, TRASH },
	{ MAILDROP_MAILDIR, TRASH }, { MAILDROP_MBOX, NO_INDEX },   { MAILDROP_MAILDIR, NO_INDEX },
	{ MAILDROP_MBOX, CHANGED },  { MAILDROP_MAILDIR, CHANGED },
};
#define N_SITES ((int)N_ELEMS(sites))

/* Each call, one after the other; _i: which site, and whether all later ones fail too. */
START_TEST(test_each_call)
{
	bool on = _i >= N_SITES, hit = true;
	int fds, err, errors = 0;

	for (unsigned nth = 1; hit; nth++) {
		ck_assert_uint_lt(nth, 2000);
		begin(sites[_i % N_SITES].kind, sites[_i % N_SITES].how);
		deliver_two();
		no_allocation = sites[_i % N_SITES].how & TRASH;
		fds = scratch_descriptors();
		err = session_failing(nth, on);
		hit = failed > 0;
		errors += err < 0;
		ck_assert_msg(scratch_descriptors() == fds, "call %u: a descriptor stays open",
			      nth);
		check_after(err, nth);
		site_teardown();
	}
	ck_assert_int_gt(errors, 20);
}
END_TEST

/* A removal that was cut off at call nth; true where it left a journal. */
static bool cut_off(unsigned nth)
{
	begin(MAILDROP_MBOX, 0);
	deliver_two();
	session_failing(nth, true);
	return has_journal();
}

/* What finishes a removal that was cut off is itself cut off, at each call; _i: where it was. */
START_TEST(test_each_call_of_recovery)
{
	unsigned cut[64], n = 0;
	bool hit = true;

	for (unsigned nth = 1; hit; nth++) {
		ck_assert_uint_lt(nth, 2000);
		if (cut_off(nth) && n < N_ELEMS(cut))
			cut[n++] = nth;
		hit = failed > 0;
		site_teardown();
	}
	ck_assert_uint_gt(n, 2);
	hit = true;
	for (unsigned nth = 1; hit; nth++) {
		ck_assert_uint_lt(nth, 2000);
		ck_assert(cut_off(cut[(n - 1) * (unsigned)_i / 2]));
		session_failing(nth, false);
		hit = failed > 0;
		begun = true; /* it was decided before */
		check_after(-1, nth);
		site_teardown();
	}
}
END_TEST

/* Files of kept messages. */
static size_t copies(void)
{
	char path[512];
	glob_t found = { .gl_pathc = 0 };
	size_t n;

	path_of(path, "state/trash/[0-9]*");
	n = glob(path, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
	globfree(&found);
	return n;
}

/*
 * The last message lacks its line end, which cannot be written at some call or other; it is
 * deleted.  The copy that is kept can be listed and brought back, under the id it is listed with.
 */
START_TEST(test_unfinished_is_kept)
{
	static const char text[] = "From a@b Mon Jan  1 00:00:00 2024\nSubject: cut off\r";
	unsigned kept = 0;
	bool hit = true;

	for (unsigned nth = 1; hit; nth++) {
		uint8_t bits[2] = { 0x80, 0 };
		char id[UIDL_MAX + 1];
		struct trash t;
		size_t removed, n;
		bool found = false;
		int needs;

		ck_assert_uint_lt(nth, 2000);
		begin(MAILDROP_MBOX, TRASH);
		put_file("mbox", text, true);
		failed = 0;
		fail_on = false;
		fail_at = nth;
		md = NULL;
		if (maildrop_open(&md, &env, &why) < 0 || maildrop_count(md) != N_MESSAGES - 1 ||
		    maildrop_expunge(md, bits, NULL, &removed, &why) < 0)
			removed = 0;
		fail_at = 0;
		hit = failed > 0;
		close_md();
		remove_dotlock();
		open_md();
		ck_assert_int_eq(trash_load(&t, md, &why), 0);
		/* where no copy could be kept the log says so, and there is none */
		ck_assert_msg(t.n == copies() || maildrop_count(md) == N_MESSAGES - 1,
			      "call %u: %zu copies, %zu are listed", nth, copies(), t.n);
		n = maildrop_count(md);
		needs = t.n == 1 ? trash_needs_import(&t, md, 0) : 0;
		ck_assert_msg(needs >= 0, "call %u: the copy is damaged", nth);
		if (t.n == 1 && needs == 0) {
			memcpy(id, t.items[0].uidl, sizeof(id));
			ck_assert_msg(trash_restore(&t, md, NULL, 0, &why) == 0, "call %u: %s", nth,
				      why.text);
			open_md();
			ck_assert_uint_eq(maildrop_count(md), n + 1);
			for (size_t i = 0; i <= n; i++) {
				char one[UIDL_MAX + 1];

				ck_assert_int_eq(maildrop_uidl(md, i, one), 0);
				found |= strcmp(one, id) == 0;
			}
			ck_assert_msg(found, "call %u: %s is another id now", nth, id);
			kept++;
		}
		trash_release(&t);
		site_teardown();
	}
	ck_assert_uint_gt(kept, 20);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("faults");
	TCase *tc = tcase_create("faults");

	/* thousands of times synced: what the disk takes for that is no matter here */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, test_each_call, 0, 2 * N_SITES);
	tcase_add_loop_test(tc, test_each_call_of_recovery, 0, 3);
	tcase_add_test(tc, test_unfinished_is_kept);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
