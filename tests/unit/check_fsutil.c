/*
 * check_fsutil.c - trusted openings, whole files, replacement, sealed memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "fsutil.h"
#include "scratch.h"

static const struct trust_row {
	const char *name;
	mode_t mode;
	bool secret;
	int want; /* 0: a descriptor */
	const char *why;
} trust_rows[] = {
	{ "0644", 0644, false, 0, "" },
	{ "0600", 0600, false, 0, "" },
	{ "0440", 0440, false, 0, "" },
	{ "0664", 0664, false, POP_E_UNSAFE, "chmod go-w" },
	{ "0646", 0646, false, POP_E_UNSAFE, "chmod go-w" },
	{ "0620", 0620, false, POP_E_UNSAFE, "chmod go-w" },
	{ "secret 0600", 0600, true, 0, "" },
	{ "secret 0640", 0640, true, 0, "" },
	{ "secret 0644", 0644, true, POP_E_UNSAFE, "chmod o=" },
	{ "secret 0604", 0604, true, POP_E_UNSAFE, "chmod o=" },
	{ "secret 0660", 0660, true, POP_E_UNSAFE, "chmod go-w" },
};

START_TEST(trusted_modes)
{
	const struct trust_row *r = &trust_rows[_i];
	struct pop_why why = { "" };
	int fd;

	scratch_write("f", "x", 1, r->mode);
	fd = fs_open_trusted("f", true, r->secret, &why);
	ck_assert_msg(r->want ? fd == r->want : fd >= 0, "%s: %d %s", r->name, fd, why.text);
	ck_assert_msg(strstr(why.text, r->why), "%s: %s", r->name, why.text);
	if (fd >= 0) {
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
	}
}
END_TEST

START_TEST(trusted_types)
{
	struct pop_why why;
	int fd;

	ck_assert_int_eq(fs_open_trusted("missing", true, false, &why), POP_E_MISSING);
	ck_assert_int_eq(fs_open_trusted("missing/x", true, false, &why), POP_E_MISSING);
	ck_assert_int_eq(mkdir("dir", 0700), 0);
	ck_assert_int_eq(fs_open_trusted("dir", true, false, &why), POP_E_UNSAFE);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(fs_open_trusted("fifo", true, false, &why), POP_E_UNSAFE);
	ck_assert_int_eq(fs_open_trusted("/dev/null", true, false, &why), POP_E_UNSAFE);
	scratch_text("f", "x");
	ck_assert_int_eq(symlink("f", "link"), 0);
	ck_assert_int_eq(fs_open_trusted("link", false, false, &why), POP_E_UNSAFE);
	ck_assert_msg(strstr(why.text, "symbolic link"), "%s", why.text);
	fd = fs_open_trusted("link", true, false, &why);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(symlink("loop", "loop"), 0);
	ck_assert_int_eq(fs_open_trusted("loop", true, false, &why), POP_E_SYS);
	ck_assert_int_eq(errno, ELOOP);
	/* A reason is optional. */
	ck_assert_int_eq(fs_open_trusted("dir", true, false, NULL), POP_E_UNSAFE);
}
END_TEST

START_TEST(trusted_owner)
{
	struct pop_why why = { "" };

	scratch_text("f", "x");
	if (geteuid() == 0) {
		ck_assert_int_eq(chown("f", 65534, 65534), 0);
		ck_assert_int_eq(fs_open_trusted("f", true, false, &why), POP_E_UNSAFE);
		ck_assert_msg(strstr(why.text, "owned by uid 65534"), "%s", why.text);
	} else {
		/* root's files are trusted by everybody */
		int fd = fs_open_trusted("/etc/passwd", true, false, &why);

		ck_assert_msg(fd >= 0, "%s", why.text);
		close(fd);
	}
}
END_TEST

static const struct read_row {
	const char *name;
	size_t size, max;
	int want;
} read_rows[] = {
	{ "empty", 0, 0, 0 },
	{ "empty, large bound", 0, 1 << 20, 0 },
	{ "at the bound", 10, 10, 0 },
	{ "above the bound", 11, 10, POP_E_LONG },
	{ "large", 100000, 1 << 20, 0 },
};

START_TEST(read_file)
{
	const struct read_row *r = &read_rows[_i];
	char *text = malloc(r->size + 1), *data = NULL;
	size_t len = 99;
	int fd, err;

	memset(text, 'a', r->size + 1);
	scratch_write("f", text, r->size, 0600);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	err = fs_read_file(fd, r->max, &data, &len);
	ck_assert_msg(err == r->want, "%s: %d", r->name, err);
	if (err == 0) {
		ck_assert_uint_eq(len, r->size);
		ck_assert_mem_eq(data, text, len);
		ck_assert_int_eq(data[len], '\0');
	}
	free(data);
	free(text);
	close(fd);
}
END_TEST

START_TEST(read_and_write_all)
{
	char in[10000], out[10000];
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600), p[2];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 13);
	ck_assert_int_eq(fs_write_all(fd, in, 6000), 0);
	ck_assert_int_eq(fs_pwrite_all(fd, in + 5000, 5000, 5000), 0);
	ck_assert_int_eq(fs_pread_full(fd, out, sizeof(out), 0), 10000);
	ck_assert_mem_eq(in, out, sizeof(in));
	ck_assert_int_eq(fs_pread_full(fd, out, sizeof(out), 9990), 10);
	ck_assert_int_eq(fs_pread_full(fd, out, sizeof(out), 20000), 0);
	ck_assert_int_eq(fs_pread_full(-1, out, 1, 0), POP_E_SYS);
	close(fd);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fs_write_all(fd, in, 1), POP_E_SYS);
	ck_assert_int_eq(fs_pwrite_all(fd, in, 1, 0), POP_E_SYS);
	close(fd);
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(fs_read_file(p[0], 10, NULL, NULL), POP_E_UNSAFE);
	close(p[0]);
	close(p[1]);
}
END_TEST

static void replace(const char *path, const char *text, mode_t mode)
{
	struct fs_replace r;
	struct pop_why why = { "" };

	ck_assert_msg(fs_replace_begin(&r, path, mode, 0, &why) == 0, "%s", why.text);
	ck_assert_int_eq(fs_write_all(r.fd, text, strlen(text)), 0);
	ck_assert_msg(fs_replace_commit(&r, &why) == 0, "%s", why.text);
}

static void check_only(const char *dir, const char *file)
{
	char command[256];

	snprintf(command, sizeof(command), "test \"$(ls -A %s)\" = \"%s\"", dir, file);
	ck_assert_msg(system(command) == 0, "something is left in %s", dir);
}

START_TEST(replace_new_and_old)
{
	struct stat st;

	ck_assert_int_eq(mkdir("d", 0700), 0);
	umask(077);
	replace("d/f", "one", 0640);
	ck_assert_str_eq(scratch_read("d/f"), "one");
	ck_assert_int_eq(stat("d/f", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(chmod("d/f", 0604), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(chown("d/f", 1234, 2345), 0);
	replace("d/f", "second", 0640);
	ck_assert_str_eq(scratch_read("d/f"), "second");
	ck_assert_int_eq(stat("d/f", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0604);
	if (geteuid() == 0)
		ck_assert(st.st_uid == 1234 && st.st_gid == 2345);
	check_only("d", "f");
	replace("plain", "no directory in the path", 0600);
	ck_assert_str_eq(scratch_read("plain"), "no directory in the path");
}
END_TEST

START_TEST(replace_abort)
{
	struct fs_replace r;
	struct pop_why why;
	char old[8];

	ck_assert_int_eq(mkdir("d", 0700), 0);
	scratch_text("d/f", "old");
	ck_assert_int_eq(fs_replace_begin(&r, "d/f", 0600, 0, &why), 0);
	ck_assert_int_eq(fs_pread_full(r.old_fd, old, sizeof(old), 0), 3);
	ck_assert_int_eq(fs_write_all(r.fd, "new", 3), 0);
	ck_assert_str_eq(scratch_read("d/f"), "old");
	fs_replace_abort(&r);
	ck_assert_str_eq(scratch_read("d/f"), "old");
	check_only("d", "f");
}
END_TEST

START_TEST(replace_busy)
{
	struct fs_replace r, second;
	struct pop_why why;

	scratch_text("f", "old");
	ck_assert_int_eq(fs_replace_begin(&r, "f", 0600, 0, &why), 0);
	ck_assert_int_eq(fs_replace_begin(&second, "f", 0600, 0, &why), POP_E_BUSY);
	ck_assert_int_eq(fs_replace_begin(&second, "f", 0600, 20, &why), POP_E_BUSY);
	ck_assert_int_eq(fs_write_all(r.fd, "new", 3), 0);
	/* The loser removed neither our lock nor our file. */
	ck_assert_int_eq(access("f.lock", F_OK), 0);
	ck_assert_int_eq(fs_replace_commit(&r, &why), 0);
	ck_assert_str_eq(scratch_read("f"), "new");
}
END_TEST

START_TEST(replace_odd_places)
{
	struct fs_replace r;
	struct pop_why why;
	struct stat st;

	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(fs_replace_begin(&r, "d", 0600, 0, &why), POP_E_UNSAFE);
	ck_assert_int_eq(fs_replace_begin(&r, "d/", 0600, 0, &why), POP_E_UNSAFE);
	ck_assert_int_eq(fs_replace_begin(&r, "missing/f", 0600, 0, &why), POP_E_SYS);
	ck_assert_int_eq(symlink("nothing", "dangling"), 0);
	ck_assert_int_eq(fs_replace_begin(&r, "dangling", 0600, 0, &why), POP_E_UNSAFE);
	/* A link stays a link: its target is replaced. */
	scratch_text("d/f", "old");
	ck_assert_int_eq(symlink("d/f", "link"), 0);
	replace("link", "new", 0600);
	ck_assert_str_eq(scratch_read("d/f"), "new");
	ck_assert_int_eq(lstat("link", &st), 0);
	ck_assert(S_ISLNK(st.st_mode));
	/* What a writer that died has left is no obstacle. */
	scratch_text("d/f.new", "half");
	scratch_text("d/f.lock", "");
	replace("d/f", "newer", 0600);
	ck_assert_str_eq(scratch_read("d/f"), "newer");
	check_only("d", "f");
}
END_TEST

/* Two processes count a number up, each 50 times. */
START_TEST(replace_two_writers)
{
	pid_t child;
	int status;

	scratch_text("f", "0");
	child = fork();
	ck_assert_int_ge(child, 0);
	for (int i = 0; i < 50; i++) {
		struct fs_replace r;
		struct pop_why why = { "" };
		char text[24] = "";

		if (fs_replace_begin(&r, "f", 0600, 20000, &why) < 0 ||
		    fs_pread_full(r.old_fd, text, sizeof(text) - 1, 0) < 1)
			_exit(1);
		snprintf(text, sizeof(text), "%ld", strtol(text, NULL, 10) + 1);
		if (fs_write_all(r.fd, text, strlen(text)) < 0 || fs_replace_commit(&r, &why) < 0)
			_exit(1);
	}
	if (child == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_str_eq(scratch_read("f"), "100");
}
END_TEST

START_TEST(sealed)
{
	int fd = fs_sealed_memfd("test", "content", 7), plain;
	char back[16];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_check_sealed(fd, 7), 0);
	ck_assert_int_eq(fs_check_sealed(fd, 6), POP_E_CORRUPT);
	ck_assert_int_eq(fs_check_sealed(fd, 8), POP_E_CORRUPT);
	ck_assert_int_eq(fs_pread_full(fd, back, sizeof(back), 0), 7);
	ck_assert_mem_eq(back, "content", 7);
	ck_assert_int_eq(fs_pwrite_all(fd, "x", 1, 0), POP_E_SYS);
	ck_assert_int_lt(ftruncate(fd, 3), 0);
	ck_assert_int_lt(ftruncate(fd, 30), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);

	fd = fs_sealed_memfd("empty", "", 0);
	ck_assert_int_eq(fs_check_sealed(fd, 0), 0);
	close(fd);

	plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_eq(fs_check_sealed(plain, 0), POP_E_CORRUPT);
	ck_assert_int_eq(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK), 0);
	ck_assert_int_eq(fs_check_sealed(plain, 0), POP_E_CORRUPT);
	close(plain);
	scratch_text("f", "content");
	plain = open("f", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fs_check_sealed(plain, 7), POP_E_CORRUPT);
	close(plain);
	ck_assert_int_eq(fs_check_sealed(-1, 0), POP_E_CORRUPT);
}
END_TEST

START_TEST(clock_and_words)
{
	struct pop_why why;
	int64_t before = fs_now_ms();

	ck_assert_int_gt(before, 0);
	ck_assert_int_ge(fs_now_ms(), before);
	for (int e = POP_E_VERSION; e <= POP_OK; e++) {
		ck_assert_str_ne(pop_strerror(e), "unknown error");
		ck_assert_uint_gt(strlen(pop_strerror(e)), 0);
	}
	ck_assert_str_eq(pop_strerror(POP_E_VERSION - 1), "unknown error");
	ck_assert_str_eq(pop_strerror(1), "unknown error");
	errno = ENOENT;
	ck_assert_int_eq(pop_why_errno(&why, "%s", "file"), POP_E_SYS);
	ck_assert_str_eq(why.text, "file: No such file or directory");
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(pop_why(&why, POP_E_LONG, "%0600d", 1), POP_E_LONG);
	ck_assert_uint_eq(strlen(why.text), POP_WHY_MAX - 1);
	ck_assert_int_eq(pop_why_errno(&why, "%0600d", 1), POP_E_SYS);
	ck_assert_uint_eq(strlen(why.text), POP_WHY_MAX - 1);
	ck_assert_int_eq(pop_why(NULL, POP_E_LONG, "x"), POP_E_LONG);
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fsutil");
	TCase *tc = tcase_create("fsutil");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, trusted_modes, 0, N_ELEMS(trust_rows));
	tcase_add_test(tc, trusted_types);
	tcase_add_test(tc, trusted_owner);
	tcase_add_loop_test(tc, read_file, 0, N_ELEMS(read_rows));
	tcase_add_test(tc, read_and_write_all);
	tcase_add_test(tc, replace_new_and_old);
	tcase_add_test(tc, replace_abort);
	tcase_add_test(tc, replace_busy);
	tcase_add_test(tc, replace_odd_places);
	tcase_add_test(tc, replace_two_writers);
	tcase_add_test(tc, sealed);
	tcase_add_test(tc, clock_and_words);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
