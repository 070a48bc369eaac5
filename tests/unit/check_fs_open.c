/*
 * check_fs_open.c - the one way to open: each kind of lookup against what a user may put
 * in its way, with openat2(), without it (ENOSYS), and behind a filter (EPERM).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "fsutil.h"
#include "scratch.h"

#define NR_OPENAT2 437

enum { CWD, DIR_FD };

static const struct open_row {
	const char *name;
	int at;
	const char *path;
	enum fs_links links;
	int flags;
	int want;    /* 0 or the errno */
	int without; /* the same where there is no openat2() */
} rows[] = {
	/* names of a directory */
	{ "a name", DIR_FD, "f", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "the directory itself", DIR_FD, ".", FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0, 0 },
	{ "a missing name", DIR_FD, "none", FS_LINKS_NONE, O_RDONLY, ENOENT, ENOENT },
	{ "no name", DIR_FD, "", FS_LINKS_NONE, O_RDONLY, EINVAL, EINVAL },
	{ "the way up", DIR_FD, "..", FS_LINKS_NONE, O_RDONLY, EINVAL, EINVAL },
	{ "a link", DIR_FD, "link", FS_LINKS_NONE, O_RDONLY, ELOOP, ELOOP },
	{ "a link to nothing", DIR_FD, "dangling", FS_LINKS_NONE, O_RDONLY, ELOOP, ELOOP },
	{ "a link to be written", DIR_FD, "link", FS_LINKS_NONE, O_WRONLY, ELOOP, ELOOP },
	{ "made over a link", DIR_FD, "link", FS_LINKS_NONE, O_WRONLY | O_CREAT, ELOOP, ELOOP },
	{ "made behind a link", DIR_FD, "dangling", FS_LINKS_NONE, O_WRONLY | O_CREAT, ELOOP,
	  ELOOP },
	{ "new over a link", DIR_FD, "dangling", FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, EEXIST,
	  EEXIST },
	{ "a directory's link", DIR_FD, "dirlink", FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, ENOTDIR,
	  ENOTDIR },
	{ "a directory's link as a place", DIR_FD, "dirlink", FS_LINKS_NONE, O_PATH | O_DIRECTORY,
	  ENOTDIR, ENOTDIR },
	{ "a FIFO to read", DIR_FD, "fifo", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "a FIFO to write", DIR_FD, "fifo", FS_LINKS_NONE, O_WRONLY, ENXIO, ENXIO },
	{ "a socket", DIR_FD, "socket", FS_LINKS_NONE, O_RDONLY, ENXIO, ENXIO },
	/* below a directory */
	{ "two parts", DIR_FD, "sub/g", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "two slashes", DIR_FD, "sub//g", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "out by a part", DIR_FD, "sub/../../outside", FS_LINKS_NONE, O_RDONLY, EXDEV, EXDEV },
	{ "out by a slash", DIR_FD, "/etc/passwd", FS_LINKS_NONE, O_RDONLY, EXDEV, EXDEV },
	{ "out by a link", DIR_FD, "up/outside", FS_LINKS_NONE, O_RDONLY, ELOOP, ENOTDIR },
	{ "a linked part", DIR_FD, "dirlink/g", FS_LINKS_NONE, O_RDONLY, ELOOP, ENOTDIR },
	{ "a file as a part", DIR_FD, "f/g", FS_LINKS_NONE, O_RDONLY, ENOTDIR, ENOTDIR },
	/* whole paths that others may have made */
	{ "a path", CWD, "d/sub/g", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "from the root", CWD, "/", FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0, 0 },
	{ "a slash at its end", CWD, "d/sub/", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "a file as a directory", CWD, "d/f/", FS_LINKS_NONE, O_RDONLY, ENOTDIR, ENOTDIR },
	{ "an empty path", CWD, "", FS_LINKS_NONE, O_RDONLY, ENOENT, ENOENT },
	{ "up and down", CWD, "d/../d/f", FS_LINKS_NONE, O_RDONLY, 0, 0 },
	{ "a linked last part", CWD, "d/link", FS_LINKS_NONE, O_RDONLY, ELOOP, ELOOP },
	{ "a linked first part", CWD, "e/f", FS_LINKS_NONE, O_RDONLY, ELOOP, ENOTDIR },
	{ "a linked middle part", CWD, "d/dirlink/g", FS_LINKS_NONE, O_RDONLY, ELOOP, ENOTDIR },
	{ "the process's own link", CWD, "/proc/self/cwd/d/f", FS_LINKS_NONE, O_RDONLY, ELOOP,
	  ENOTDIR },
	/* an administrator's directories, a user's file */
	{ "linked directories", CWD, "e/sub/g", FS_LINKS_DIRS, O_RDONLY, 0, 0 },
	{ "a linked file", CWD, "d/link", FS_LINKS_DIRS, O_RDONLY, ELOOP, ELOOP },
	{ "a linked directory last", CWD, "d/dirlink", FS_LINKS_DIRS, O_RDONLY | O_DIRECTORY,
	  ENOTDIR, ENOTDIR },
	{ "by way of /proc", CWD, "/proc/self/cwd/d/f", FS_LINKS_DIRS, O_RDONLY, ELOOP, 0 },
	/* an administrator's path */
	{ "links everywhere", CWD, "e/link", FS_LINKS_ALL, O_RDONLY, 0, 0 },
	{ "a loop", CWD, "loop", FS_LINKS_ALL, O_RDONLY, ELOOP, ELOOP },
	{ "a file of /proc", CWD, "/proc/self/stat", FS_LINKS_ALL, O_RDONLY, 0, 0 },
	{ "an open file of /proc", CWD, "/proc/self/cwd/d/f", FS_LINKS_ALL, O_RDONLY, ELOOP, 0 },
	{ "a file of the command line", CWD, "/proc/self/cwd/d/f", FS_LINKS_MAGIC, O_RDONLY, 0, 0 },
	{ "a device", CWD, "/dev/null", FS_LINKS_ALL, O_RDONLY, 0, 0 },
};

static void make_tree(void)
{
	ck_assert_int_eq(mkdir("d", 0755), 0);
	ck_assert_int_eq(mkdir("d/sub", 0755), 0);
	scratch_text("outside", "o");
	scratch_text("d/f", "f");
	scratch_text("d/sub/g", "g");
	ck_assert_int_eq(symlink("f", "d/link"), 0);
	ck_assert_int_eq(symlink("nothing", "d/dangling"), 0);
	ck_assert_int_eq(symlink("sub", "d/dirlink"), 0);
	ck_assert_int_eq(symlink("..", "d/up"), 0);
	ck_assert_int_eq(symlink("d", "e"), 0);
	ck_assert_int_eq(symlink("loop", "loop"), 0);
	ck_assert_int_eq(mkfifo("d/fifo", 0600), 0);
	ck_assert_int_eq(mknod("d/socket", S_IFSOCK | 0600, 0), 0);
}

/* From here on openat2() fails in this process.  It is one of the test's own. */
static void refuse_openat2(unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NR_OPENAT2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { N_ELEMS(code), code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	ck_assert_int_eq(syscall(NR_OPENAT2, AT_FDCWD, ".", NULL, 0), -1);
	ck_assert_uint_eq((unsigned)errno, error);
}

static bool have_openat2(void)
{
	return syscall(NR_OPENAT2, AT_FDCWD, ".", NULL, 0) < 0 && errno != ENOSYS && errno != EPERM;
}

static void check_row(const struct open_row *r, const char *how, int want)
{
	int at = r->at == CWD ? AT_FDCWD : open("d", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = fs_open_at(at, r->path, r->links, r->flags, 0600);

	if (fd < 0)
		ck_assert_msg(errno == want, "%s, %s: %s", r->name, how, strerror(errno));
	else
		ck_assert_msg(want == 0, "%s, %s: was opened", r->name, how);
	if (fd >= 0)
		ck_assert_msg(fcntl(fd, F_GETFD) == FD_CLOEXEC, "%s: not close-on-exec", r->name);
	if (fd >= 0 && !(r->flags & O_PATH))
		ck_assert_msg(fcntl(fd, F_GETFL) & O_NONBLOCK, "%s: may block", r->name);
	ck_assert_int_lt(access("d/nothing", F_OK), 0);
	if (fd >= 0)
		close(fd);
	if (at >= 0)
		close(at);
}

START_TEST(lookups)
{
	const struct open_row *r = &rows[_i];

	make_tree();
	check_row(r, "openat2", have_openat2() ? r->want : r->without);
	refuse_openat2(ENOSYS);
	check_row(r, "no openat2", r->without);
}
END_TEST

START_TEST(filtered)
{
	const struct open_row *r = &rows[_i];

	make_tree();
	refuse_openat2(EPERM);
	check_row(r, "EPERM", r->without);
}
END_TEST

START_TEST(modes)
{
	struct stat st;
	int fd;

	for (int way = 0; way < 2; way++) {
		if (way)
			refuse_openat2(ENOSYS);
		fd = fs_open_at(AT_FDCWD, "new", FS_LINKS_NONE, O_RDWR | O_CREAT | O_EXCL, 0640);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(fstat(fd, &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777, 0640);
		ck_assert_int_lt(fs_open_at(AT_FDCWD, "new", FS_LINKS_ALL,
					    O_RDWR | O_CREAT | O_EXCL, 0600),
				 0);
		ck_assert_int_eq(errno, EEXIST);
		close(fd);
		ck_assert_int_eq(unlink("new"), 0);
	}
}
END_TEST

static atomic_bool stop;

/* The user's side of the race: a directory that is now one thing, now a link to another. */
static void *swap(void *arg)
{
	(void)arg;
	while (!stop) {
		rename("mine", "aside");
		(void)!symlink("theirs", "mine");
		unlink("mine");
		rename("aside", "mine");
	}
	return NULL;
}

START_TEST(swapped)
{
	pthread_t thread;
	char c;

	ck_assert_int_eq(mkdir("mine", 0755), 0);
	ck_assert_int_eq(mkdir("theirs", 0755), 0);
	scratch_text("mine/f", "m");
	scratch_text("theirs/f", "t");
	if (_i)
		refuse_openat2(ENOSYS);
	stop = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, swap, NULL), 0);
	for (int tries = 0, got = 0; tries < 20000 && got < 1000; tries++) {
		int fd = fs_open_at(AT_FDCWD, "mine/f", FS_LINKS_NONE, O_RDONLY, 0);

		if (fd < 0)
			continue;
		ck_assert_int_eq(read(fd, &c, 1), 1);
		ck_assert_int_eq(c, 'm');
		close(fd);
		got++;
	}
	stop = true;
	pthread_join(thread, NULL);
}
END_TEST

static const struct place_row {
	const char *name, *make, *path;
	bool follow;
	int want;
	const char *why;
} places[] = {
	{ "a directory of one's own", "mkdir p; echo x > p/f", "p/f", true, 0, "" },
	{ "group may write", "mkdir p; echo x > p/f; chmod 770 p", "p/f", true, POP_E_UNSAFE,
	  "p: group or others may write in this directory (mode 0770); try: chmod go-w p" },
	{ "others may write", "mkdir p; echo x > p/f; chmod 707 p", "p/f", true, POP_E_UNSAFE,
	  "chmod go-w p" },
	{ "others may add", "mkdir p; echo x > p/f; chmod 1777 p", "p/f", true, 0, "" },
	{ "a link out of an open directory", "mkdir p q; echo x > q/f; ln -s ../q/f p; chmod 777 p",
	  "p/f", true, POP_E_UNSAFE, "chmod go-w p" },
	{ "a link into an open directory", "mkdir p q; echo x > q/f; ln -s ../q/f p; chmod 777 q",
	  "p/f", true, POP_E_UNSAFE, "chmod go-w ../q" },
	{ "two links", "mkdir p q; echo x > q/f; ln -s f q/g; ln -s ../q/g p", "p/g", true, 0, "" },
	{ "a link, whole", "echo x > f; ln -s \"$PWD/f\" g", "g", true, 0, "" },
	{ "a link, not followed", "echo x > f; ln -s f g", "g", false, POP_E_UNSAFE,
	  "a symbolic link" },
	{ "a linked directory", "mkdir p; echo x > p/f; ln -s p q", "q/f", true, 0, "" },
	{ "no directory", "true", "p/f", true, POP_E_MISSING, "p/f: no such file" },
	{ "a link to nothing", "ln -s none g", "g", true, POP_E_MISSING, "g: no such file" },
};

START_TEST(trusted_places)
{
	const struct place_row *r = &places[_i];
	struct pop_why why = { "" };
	int fd;

	ck_assert_int_eq(system(r->make), 0);
	fd = fs_open_trusted(r->path, r->follow, false, &why);
	ck_assert_msg(r->want ? fd == r->want : fd >= 0, "%s: %d %s", r->name, fd, why.text);
	ck_assert_msg(strstr(why.text, r->why), "%s: %s", r->name, why.text);
	if (fd >= 0)
		close(fd);
}
END_TEST

START_TEST(trusted_directories)
{
	struct pop_why why = { "" };
	int fd;

	ck_assert_int_eq(mkdir("p", 0755), 0);
	fd = fs_open_trusted_dir("p", false, &why);
	ck_assert_msg(fd >= 0, "%s", why.text);
	close(fd);
	ck_assert_int_eq(chmod("p", 01777), 0);
	ck_assert_int_eq(fs_open_trusted_dir("p", false, &why), POP_E_UNSAFE);
	ck_assert_msg(strstr(why.text, "chmod go-w p"), "%s", why.text);
	fd = fs_open_trusted_dir("p", true, &why);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(fs_open_trusted_dir("none", false, &why), POP_E_SYS);
	ck_assert_int_eq(errno, ENOENT);
	if (geteuid() == 0) {
		ck_assert_int_eq(chmod("p", 0755), 0);
		ck_assert_int_eq(chown("p", 65534, 65534), 0);
		ck_assert_int_eq(fs_open_trusted_dir("p", true, &why), POP_E_UNSAFE);
		ck_assert_msg(strstr(why.text, "owned by uid 65534"), "%s", why.text);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fs_open");
	TCase *tc = tcase_create("fs_open");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, lookups, 0, N_ELEMS(rows));
	tcase_add_loop_test(tc, filtered, 0, N_ELEMS(rows));
	tcase_add_test(tc, modes);
	tcase_add_loop_test(tc, swapped, 0, 2);
	tcase_add_loop_test(tc, trusted_places, 0, N_ELEMS(places));
	tcase_add_test(tc, trusted_directories);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
