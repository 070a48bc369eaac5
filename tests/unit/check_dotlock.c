/*
 * check_dotlock.c - NAME.lock is made complete, respected, and taken over only when stale.
 */
#include <errno.h>
#include <limits.h>
#include <sys/wait.h>
#include <time.h>
#include "mbox_lock.h"
#include "scratch.h"
#include "session_lock.h"

static int dir_fd;

static void setup(void)
{
	scratch_setup();
	dir_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void teardown(void)
{
	close(dir_fd);
	scratch_teardown();
}

static bool there(void)
{
	return access("m.lock", F_OK) == 0;
}

/* Nothing but these files is in the directory: no temporary one was left. */
static void only(const char *names)
{
	FILE *p = popen("ls -A | tr '\\n' ' '", "r");
	char text[1024] = "";

	ck_assert_ptr_nonnull(p);
	text[fread(text, 1, sizeof(text) - 1, p)] = 0;
	pclose(p);
	ck_assert_str_eq(text, names);
}

static void set_age(const char *name, time_t seconds)
{
	struct timespec t[2] = { { .tv_sec = time(NULL) - seconds },
				 { .tv_sec = time(NULL) - seconds } };

	ck_assert_int_eq(utimensat(AT_FDCWD, name, t, AT_SYMLINK_NOFOLLOW), 0);
}

START_TEST(made)
{
	struct lock_record r, self;
	const char *text, *line;
	char *end;

	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	only("m.lock ");
	text = scratch_read("m.lock");
	ck_assert_int_eq(strtol(text, &end, 10), getpid());
	ck_assert_int_eq(*end, '\n');
	line = end + 1;
	ck_assert_int_eq(lock_record_parse(line, strlen(line), &r), 0);
	lock_record_self(&self, "");
	ck_assert_int_eq(r.pid, self.pid);
	ck_assert_uint_eq(r.start_time, self.start_time);
	ck_assert_str_eq(r.boot_id, self.boot_id);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	ck_assert_int_eq(dotlock_take_over_at(dir_fd, "m", NULL), POP_E_BUSY);
	ck_assert_int_eq(dotlock_remove_at(dir_fd, "m"), 0);
	only("");
	ck_assert_int_eq(dotlock_remove_at(dir_fd, "m"), POP_E_MISSING);
}
END_TEST

/* What is in the way, and whether it is taken. */
enum { FRESH, OLD };
static const struct row {
	const char *name, *text; /* NULL: see the test */
	mode_t mode;
	int age;
	bool locked; /* the mailbox is locked */
	int make, take_over;
} rows[] = {
	{ "foreign", "0", 0600, FRESH, false, POP_E_BUSY, POP_E_BUSY },
	{ "empty", "", 0600, FRESH, false, POP_E_BUSY, POP_E_BUSY },
	{ "no mode", "", 0, FRESH, false, POP_E_BUSY, POP_E_BUSY },
	{ "a pid of the dead", "1999999\n", 0600, FRESH, false, POP_E_BUSY, POP_E_BUSY },
	{ "old", "0", 0600, OLD, false, 0, 0 },
	{ "old, no mode", "", 0, OLD, false, 0, 0 },
	{ "old, mailbox locked", "0", 0600, OLD, true, POP_E_BUSY, 0 },
	{ "half a record", "12\npid=12 start=1 ", 0600, FRESH, false, POP_E_BUSY, POP_E_BUSY },
};

static void others(const char *host, const char *boot, pid_t pid, uint64_t start)
{
	struct lock_record r;
	char text[1200];
	int head, n;

	lock_record_self(&r, "");
	if (host)
		snprintf(r.host, sizeof(r.host), "%s", host);
	if (boot)
		snprintf(r.boot_id, sizeof(r.boot_id), "%s", boot);
	r.pid = pid;
	if (start)
		r.start_time = start;
	head = snprintf(text, sizeof(text), "%ld\n", (long)pid);
	n = lock_record_format(&r, text + head, sizeof(text) - (size_t)head);
	ck_assert_int_gt(n, 0);
	scratch_write("m.lock", text, (size_t)(head + n), 0600);
}

START_TEST(in_the_way)
{
	const struct row *r = &rows[_i];
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd;

	for (int over = 0; over < 2; over++) {
		scratch_text("m", "");
		scratch_write("m.lock", r->text, strlen(r->text), r->mode);
		set_age("m.lock", r->age == OLD ? 601 : 590);
		fd = open("m", O_RDWR | O_CLOEXEC);
		if (r->locked)
			ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &fl), 0);
		ck_assert_msg((over ? dotlock_take_over_at(dir_fd, "m", NULL)
				    : dotlock_make_at(dir_fd, "m", NULL)) ==
				      (over ? r->take_over : r->make),
			      "%s, %d", r->name, over);
		only("m m.lock ");
		close(fd);
		if ((over ? r->take_over : r->make) == 0)
			ck_assert_int_eq(dotlock_remove_at(dir_fd, "m"), 0);
		else if (r->text[0])
			ck_assert_int_eq(dotlock_remove_at(dir_fd, "m"), POP_E_MISSING);
		unlink("m.lock");
	}
}
END_TEST

/* When a process began, as its record would say. */
static uint64_t start_of(pid_t pid)
{
	char path[64];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	p = strrchr(scratch_read(path), ')');
	for (int field = 3; field <= 22; field++)
		p = strchr(p, ' ') + 1;
	return strtoull(p, NULL, 10);
}

/* Of ours: alive, dead, another start of the same pid, another boot, another host. */
START_TEST(ours)
{
	pid_t dead = fork();
	siginfo_t info;

	if (dead == 0)
		_exit(0);
	/* Dead, though nobody has waited for it. */
	ck_assert_int_eq(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT), 0);
	others(NULL, NULL, dead, start_of(dead));
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	ck_assert_int_eq(waitpid(dead, NULL, 0), dead);
	others(NULL, NULL, getppid(), 0); /* not its start time: another process had the number */
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	others(NULL, NULL, dead, 1);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	others(NULL, "00000000-0000-0000-0000-000000000000", getpid(), 0);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	others(NULL, "", dead, 1); /* made when there was no descriptor for /proc */
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	others(NULL, "", getpid(), 1);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	others("another.host", NULL, dead, 1);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	set_age("m.lock", 601); /* then like a foreign one */
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), 0);
	others(NULL, NULL, getpid(), 0); /* alive, however old */
	set_age("m.lock", 601);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	only("m.lock ");
}
END_TEST

/* Something else than a file is never taken away. */
START_TEST(strange)
{
	ck_assert_int_eq(symlink("nowhere", "m.lock"), 0);
	set_age("m.lock", 1000);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	ck_assert_int_eq(unlink("m.lock"), 0);
	ck_assert_int_eq(mkdir("m.lock", 0700), 0);
	set_age("m.lock", 1000);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	ck_assert_int_eq(rmdir("m.lock"), 0);
	ck_assert_int_eq(mkfifo("m.lock", 0600), 0);
	set_age("m.lock", 1000);
	ck_assert_int_eq(dotlock_make_at(dir_fd, "m", NULL), POP_E_BUSY);
	ck_assert_int_ne(dotlock_remove_at(dir_fd, "m"), 0);
	ck_assert(there());
}
END_TEST

START_TEST(no_room_for_the_name)
{
	char base[NAME_MAX + 1];

	memset(base, 'n', NAME_MAX);
	base[NAME_MAX] = 0;
	ck_assert_int_eq(dotlock_make_at(dir_fd, base, NULL), POP_E_DENIED);
	ck_assert_int_eq(dotlock_remove_at(dir_fd, base), POP_E_MISSING);
	only("");
	base[NAME_MAX - 5] = 0;
	ck_assert_int_eq(dotlock_make_at(dir_fd, base, NULL), 0);
	ck_assert_int_eq(dotlock_remove_at(dir_fd, base), 0);
}
END_TEST

START_TEST(no_permission)
{
	int fd;

	if (geteuid() == 0)
		return;
	ck_assert_int_eq(mkdir("d", 0500), 0);
	fd = open("d", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(dotlock_make_at(fd, "m", NULL), POP_E_DENIED);
	close(fd);
}
END_TEST

/* Many processes, each makes and removes: never two at once. */
START_TEST(race)
{
	enum { WORKERS = 6, TURNS = 40 };
	int status;

	scratch_text("count", "");
	for (int i = 0; i < WORKERS; i++) {
		if (fork() != 0)
			continue;
		for (int n = 0; n < TURNS;) {
			int err = dotlock_make_at(dir_fd, "m", NULL), fd;

			if (err == POP_E_BUSY) {
				nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
				continue;
			}
			fd = open("inside", O_CREAT | O_EXCL | O_WRONLY, 0600);
			if (err != 0 || fd < 0 || unlink("inside") < 0)
				_exit(1);
			close(fd);
			/* Every third one dies with its lock. */
			n++;
			if (n == TURNS && i % 3 == 0)
				_exit(0);
			if (dotlock_remove_at(dir_fd, "m") != 0)
				_exit(2);
		}
		_exit(0);
	}
	for (int i = 0; i < WORKERS; i++) {
		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dotlock");
	TCase *tc = tcase_create("dotlock");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, made);
	tcase_add_loop_test(tc, in_the_way, 0, N_ELEMS(rows));
	tcase_add_test(tc, ours);
	tcase_add_test(tc, strange);
	tcase_add_test(tc, no_room_for_the_name);
	tcase_add_test(tc, no_permission);
	tcase_add_test(tc, race);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
