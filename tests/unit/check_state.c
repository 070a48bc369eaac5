/*
 * check_state.c - names, making, sharing and retiring of state directories.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "state.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64];
static int base_fd;
static char name[STATE_NAME_MAX + 1];
static struct pop_why note, why;

static void setup(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.40s/stateXXXXXX", base && strlen(base) < 40 ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	base_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(base_fd, 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void teardown(void)
{
	close(base_fd);
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const struct {
	const char *user, *name;
} names[] = {
	{ "joe", "joe" },
	{ "joe@example.org", "joe@example.org" },
	{ "A-_+=@.,z", "A-_+=@.,z" },
	{ ".maildrops", "%2Emaildrops" },
	{ "..", "%2E." },
	{ "a/b", "a%2Fb" },
	{ "100%", "100%25" },
	{ "j\xc3\xb6", "j%C3%B6" },
	{ "a b\x01", "a%20b%01" },
	{ "%hash-0", "%25hash-0" },
};

START_TEST(test_names)
{
	state_user_name(names[_i].user, name);
	ck_assert_str_eq(name, names[_i].name);
}
END_TEST

START_TEST(test_long_names)
{
	char user[300], second[STATE_NAME_MAX + 1];

	memset(user, 'a', sizeof(user));
	user[200] = '\0';
	state_user_name(user, name);
	ck_assert_str_eq(name, user);
	user[200] = 'a';
	user[201] = '\0';
	state_user_name(user, name);
	ck_assert_uint_eq(strlen(name), 38);
	ck_assert_int_eq(strncmp(name, "%hash-", 6), 0);
	user[255] = '\0';
	user[201] = 'a';
	state_user_name(user, second);
	ck_assert_str_ne(name, second);
	/* 67 octets that escape to 201 bytes */
	memset(user, '/', 67);
	user[67] = '\0';
	state_user_name(user, name);
	ck_assert_int_eq(strncmp(name, "%hash-", 6), 0);
	user[66] = '\0';
	state_user_name(user, name);
	ck_assert_uint_eq(strlen(name), 198);
}
END_TEST

static int open_state(const char *user, const char *path, uid_t uid, bool create)
{
	return state_open(base_fd, user, path, uid, uid ? uid : getegid(), create, name, &note,
			  &why);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	ck_assert_msg(fd >= 0, "%s", why.text);
	ck_assert_int_eq(fstat(fd, &st), 0);
	close(fd);
	return st.st_ino;
}

START_TEST(test_make_and_find)
{
	struct stat st;
	ino_t ino;

	ck_assert_int_eq(open_state("joe", "/m/joe", geteuid(), false), POP_E_MISSING);
	ino = inode_of(open_state("joe", "/m/joe", geteuid(), true));
	ck_assert_str_eq(name, "joe");
	ck_assert_str_eq(note.text, "");
	ck_assert_uint_eq(inode_of(open_state("joe", "/m/joe", geteuid(), true)), ino);
	ck_assert_uint_eq(inode_of(open_state("joe", "/m/joe", geteuid(), false)), ino);
	ck_assert_int_eq(fstatat(base_fd, "joe", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
}
END_TEST

/* The umask has no say in the mode. */
START_TEST(test_umask)
{
	struct stat st;

	umask(0);
	inode_of(open_state("joe", "/m/joe", geteuid(), true));
	umask(022);
	ck_assert_int_eq(fstatat(base_fd, "joe", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
}
END_TEST

START_TEST(test_shared)
{
	ino_t ino = inode_of(open_state("joe", "/m/shared", geteuid(), true));

	ck_assert_uint_eq(inode_of(open_state("ann", "/m/shared", geteuid(), true)), ino);
	ck_assert_str_eq(name, "joe");
	ck_assert_uint_ne(inode_of(open_state("ann", "/m/ann", geteuid(), true)), ino);
	ck_assert_str_eq(name, "ann");
	/* who came second still goes to the first's */
	ck_assert_uint_eq(inode_of(open_state("ann", "/m/shared", geteuid(), true)), ino);
}
END_TEST

START_TEST(test_shared_foreign)
{
	if (geteuid() != 0)
		return;
	inode_of(open_state("joe", "/m/shared", 1001, true));
	ck_assert_int_eq(open_state("ann", "/m/shared", 1002, true), POP_E_UNSAFE);
	ck_assert_ptr_nonnull(strstr(why.text, "chown"));
	ck_assert_int_eq(open_state("ann", "/m/shared", 1002, false), POP_E_UNSAFE);
}
END_TEST

static int count_with_prefix(const char *prefix)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	int n = 0;

	while ((entry = readdir(d)))
		n += !strncmp(entry->d_name, prefix, strlen(prefix));
	closedir(d);
	return n;
}

/* A new person of the same name gets nothing of the old one. */
START_TEST(test_new_owner)
{
	struct stat st;
	ino_t ino;

	if (geteuid() != 0)
		return;
	ino = inode_of(open_state("joe", "/m/joe", 1001, true));
	ck_assert_int_eq(open_state("joe", "/m/joe", 1002, false), POP_E_MISSING);
	ck_assert_uint_ne(inode_of(open_state("joe", "/m/joe", 1002, true)), ino);
	ck_assert_str_ne(note.text, "");
	ck_assert_int_eq(count_with_prefix(".old-joe-"), 1);
	ck_assert_int_eq(fstatat(base_fd, "joe", &st, 0), 0);
	ck_assert_uint_eq(st.st_uid, 1002);
	inode_of(open_state("joe", "/m/joe", 1001, true));
	inode_of(open_state("joe", "/m/joe", 1002, true));
	ck_assert_int_eq(count_with_prefix(".old-joe-"), 3);
}
END_TEST

/* The maildrop of whoever shared the old directory does not go to the new one. */
START_TEST(test_new_owner_of_shared)
{
	if (geteuid() != 0)
		return;
	inode_of(open_state("joe", "/m/shared", 1001, true));
	inode_of(open_state("joe", "/m/joe", 1002, true));
	inode_of(open_state("ann", "/m/shared", 1001, true));
	ck_assert_str_eq(name, "ann");
}
END_TEST

START_TEST(test_retire)
{
	ino_t ino;

	ck_assert_int_eq(state_retire(base_fd, "joe", &why), POP_E_MISSING);
	ino = inode_of(open_state("joe", "/m/joe", geteuid(), true));
	ck_assert_int_eq(state_retire(base_fd, "joe", &why), 0);
	ck_assert_int_eq(count_with_prefix(".old-joe-"), 1);
	ck_assert_int_eq(open_state("joe", "/m/joe", geteuid(), false), POP_E_MISSING);
	ck_assert_uint_ne(inode_of(open_state("joe", "/m/joe", geteuid(), true)), ino);
	/* twice within a second */
	ck_assert_int_eq(state_retire(base_fd, "joe", &why), 0);
	ck_assert_int_eq(count_with_prefix(".old-joe-"), 2);
}
END_TEST

static void be_link(void)
{
	ck_assert_int_eq(symlinkat("/tmp", base_fd, "joe"), 0);
}

static void be_file(void)
{
	close(openat(base_fd, "joe", O_CREAT | O_WRONLY, 0600));
}

static void be_wide(void)
{
	ck_assert_int_eq(mkdirat(base_fd, "joe", 0700), 0);
	ck_assert_int_eq(fchmodat(base_fd, "joe", 0755, 0), 0);
}

static const struct {
	const char *what;
	void (*make)(void);
} unsafe[] = { { "link", be_link }, { "file", be_file }, { "mode 755", be_wide } };

START_TEST(test_unsafe)
{
	unsafe[_i].make();
	ck_assert_msg(open_state("joe", "/m/joe", geteuid(), true) == POP_E_UNSAFE, "%s",
		      unsafe[_i].what);
	ck_assert_str_ne(why.text, "");
}
END_TEST

/* Links that are none of ours count as none. */
START_TEST(test_odd_links)
{
	static const char *const texts[] = { "/etc",	  "..",	    "../",
					     "../../etc", "../a/b", "../.maildrops",
					     "nowhere",	  "../gone" };
	char link[64] = ".maildrops/";

	ck_assert_int_eq(mkdirat(base_fd, ".maildrops", 0700), 0);
	state_maildrop_name("/m/joe", link + strlen(link));
	ck_assert_int_eq(symlinkat(texts[_i], base_fd, link), 0);
	inode_of(open_state("joe", "/m/joe", geteuid(), true));
	ck_assert_str_eq(name, "joe");
}
END_TEST

/* First logins at the same moment, under two names, agree on one directory. */
START_TEST(test_race)
{
	enum { WORKERS = 6 };
	ino_t inodes[WORKERS];
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	for (int i = 0; i < WORKERS; i++) {
		if (fork() == 0) {
			ino_t ino = inode_of(
				open_state(i % 2 ? "joe" : "ann", "/m/shared", geteuid(), true));

			_exit(write(fds[1], &ino, sizeof(ino)) != sizeof(ino));
		}
	}
	for (int i = 0; i < WORKERS; i++) {
		int status;

		wait(&status);
		ck_assert_int_eq(status, 0);
		ck_assert_int_eq(read(fds[0], &inodes[i], sizeof(inodes[i])), sizeof(inodes[i]));
		ck_assert_uint_eq(inodes[i], inodes[0]);
	}
	ck_assert_int_eq(count_with_prefix(".new-"), 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("state");
	TCase *tc = tcase_create("state");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_names, 0, N_ELEMS(names));
	tcase_add_test(tc, test_long_names);
	tcase_add_test(tc, test_make_and_find);
	tcase_add_test(tc, test_umask);
	tcase_add_test(tc, test_shared);
	tcase_add_test(tc, test_shared_foreign);
	tcase_add_test(tc, test_new_owner);
	tcase_add_test(tc, test_new_owner_of_shared);
	tcase_add_test(tc, test_retire);
	tcase_add_loop_test(tc, test_unsafe, 0, N_ELEMS(unsafe));
	tcase_add_loop_test(tc, test_odd_links, 0, 8);
	tcase_add_loop_test(tc, test_race, 0, 5);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
