/*
 * check_ticket_keys.c - the ticket file: made, read, rotated, damaged, shared;
 * and tickets sealed and opened with it.
 */
#include "../../pop3d/key_ticket.c"

#include <sys/wait.h>
#include "scratch.h"

#define NOW 1800000000ULL

static int open_file(void)
{
	struct pop_why why = { "" };
	int fd;

	ck_assert_int_eq(chmod(".", 0700), 0);
	fd = ticket_keys_open(".", &why);
	ck_assert_msg(fd >= 0, "%s", why.text);
	return fd;
}

static void load_keys(int fd, uint64_t now, struct ticket_keys *keys)
{
	ck_assert_int_eq(ticket_keys_load(fd, now, keys), 0);
}

static bool same(const struct ticket_key *a, const struct ticket_key *b)
{
	return a->made_s == b->made_s && memcmp(a->id, b->id, sizeof(a->id)) == 0 &&
	       memcmp(a->key, b->key, sizeof(a->key)) == 0;
}

START_TEST(test_first_use)
{
	struct ticket_keys one, two;
	struct stat st;
	int fd = open_file(), again;

	load_keys(fd, NOW, &one);
	ck_assert(one.current.made_s == NOW);
	ck_assert(one.previous.made_s == 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, TICKET_FILE_LEN);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	again = open_file();
	load_keys(again, NOW + TICKET_KEY_LIFE_S - 1, &two);
	ck_assert(same(&one.current, &two.current));
	close(fd);
	close(again);
}
END_TEST

static const struct {
	const char *name;
	int64_t later;
	bool new_key, keeps_old;
} ages[] = {
	{ "a moment", 1, false, false },
	{ "just before its end", TICKET_KEY_LIFE_S - 1, false, false },
	{ "at its end", TICKET_KEY_LIFE_S, true, true },
	{ "just before nothing of it is good", 2 * TICKET_KEY_LIFE_S - 1, true, true },
	{ "twice its life", 2 * TICKET_KEY_LIFE_S, true, false },
	{ "a year", 31536000, true, false },
	{ "the clock was set back", -1, true, false },
};

START_TEST(test_age)
{
	struct ticket_keys old, new;
	int fd = open_file();

	load_keys(fd, NOW, &old);
	load_keys(fd, (uint64_t)((int64_t)NOW + ages[_i].later), &new);
	ck_assert_msg(same(&old.current, &new.current) == !ages[_i].new_key, "%s", ages[_i].name);
	ck_assert_msg(same(&old.current, &new.previous) == ages[_i].keeps_old, "%s", ages[_i].name);
	close(fd);
}
END_TEST

START_TEST(test_previous_grows_old)
{
	struct ticket_keys keys;
	int fd = open_file();

	load_keys(fd, NOW, &keys);
	load_keys(fd, NOW + TICKET_KEY_LIFE_S, &keys);
	ck_assert(keys.previous.made_s == NOW);
	load_keys(fd, NOW + 2 * TICKET_KEY_LIFE_S - 1, &keys);
	ck_assert(keys.previous.made_s == NOW);
	load_keys(fd, NOW + 2 * TICKET_KEY_LIFE_S, &keys);
	ck_assert(keys.previous.made_s == NOW + TICKET_KEY_LIFE_S);
	close(fd);
}
END_TEST

START_TEST(test_rotate)
{
	struct ticket_keys first, second, third;
	int fd = open_file();

	load_keys(fd, NOW, &first);
	ck_assert_int_eq(ticket_keys_rotate(fd, NOW + 1, &second), 0);
	ck_assert(same(&first.current, &second.previous));
	ck_assert_int_eq(ticket_keys_rotate(fd, NOW + 2, &third), 0);
	ck_assert(same(&second.current, &third.previous));
	ck_assert(!same(&first.current, &third.previous));
	close(fd);
}
END_TEST

/* Every octet changed, every length: never taken for good, always mended. */
START_TEST(test_damage)
{
	struct ticket_keys good, keys;
	uint8_t raw[TICKET_FILE_LEN + 1] = { 0 };
	int fd = open_file();

	load_keys(fd, NOW, &good);
	ck_assert_int_eq(pread(fd, raw, TICKET_FILE_LEN, 0), TICKET_FILE_LEN);
	for (size_t i = 0; i < TICKET_FILE_LEN; i += 13) {
		uint8_t bad = raw[i] ^ 0x10;

		ck_assert_int_eq(pwrite(fd, raw, TICKET_FILE_LEN, 0), TICKET_FILE_LEN);
		ck_assert_int_eq(pwrite(fd, &bad, 1, (off_t)i), 1);
		load_keys(fd, NOW, &keys);
		ck_assert_msg(!same(&good.current, &keys.current), "octet %zu", i);
	}
	for (size_t n = 1; n < TICKET_FILE_LEN + 2; n += 8) {
		if (n == TICKET_FILE_LEN)
			continue;
		ck_assert_int_eq(ftruncate(fd, 0), 0);
		ck_assert_int_eq(pwrite(fd, raw, n, 0), (ssize_t)n);
		load_keys(fd, NOW, &keys);
		ck_assert_msg(!same(&good.current, &keys.current), "length %zu", n);
	}
	close(fd);
}
END_TEST

/* Many make the first key at once: all have the same one in the end. */
START_TEST(test_many_at_once)
{
	struct ticket_keys mine, theirs;
	int ends[2], bad = 0;

	ck_assert_int_eq(chmod(".", 0700), 0);
	ck_assert_int_eq(pipe(ends), 0);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			int fd = ticket_keys_open(".", NULL);

			if (fd < 0 || ticket_keys_load(fd, NOW, &theirs) < 0 ||
			    write(ends[1], &theirs.current, sizeof(theirs.current)) !=
				    sizeof(theirs.current))
				_exit(1);
			_exit(0);
		}
	}
	close(ends[1]);
	for (int i = 0; i < 50; i++) {
		int status;

		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
	load_keys(open_file(), NOW, &mine);
	while (read(ends[0], &theirs.current, sizeof(theirs.current)) == sizeof(theirs.current))
		bad += !same(&mine.current, &theirs.current);
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* A stopped writer that holds the lock keeps nobody waiting. */
START_TEST(test_held_lock)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct ticket_keys keys;
	int holder = open_file(), fd = open_file();

	ck_assert_int_eq(fcntl(holder, F_OFD_SETLK, &fl), 0);
	load_keys(fd, NOW, &keys);
	ck_assert(keys.current.made_s == NOW);
	close(holder);
	close(fd);
}
END_TEST

START_TEST(test_unsafe)
{
	struct pop_why why;

	ck_assert_int_eq(chmod(".", 0755), 0);
	ck_assert_int_eq(ticket_keys_open(".", &why), POP_E_UNSAFE);
	ck_assert_int_eq(chmod(".", 0700), 0);
	scratch_write(TICKET_FILE_NAME, "", 0, 0644);
	ck_assert_int_eq(ticket_keys_open(".", &why), POP_E_UNSAFE);
	ck_assert_int_eq(unlink(TICKET_FILE_NAME), 0);
	ck_assert_int_eq(symlink("elsewhere", TICKET_FILE_NAME), 0);
	ck_assert_int_eq(ticket_keys_open(".", &why), POP_E_SYS);
}
END_TEST

/* What one process sealed another opens; a changed octet, or an older key, does not. */
START_TEST(test_seal)
{
	struct key_tickets one, two;
	struct ticket_keys keys;
	uint8_t state[300], sealed[300 + IPC_SEAL_EXTRA], opened[300];
	int fd = open_file();

	memset(state, 7, sizeof(state));
	key_tickets_init(&one, fd);
	ck_assert_int_eq(key_ticket_seal(&one, state, sizeof(state), sealed), 0);
	key_tickets_init(&two, fd);
	ck_assert_int_eq(key_ticket_open(&two, sealed, sizeof(sealed), opened), 0);
	ck_assert_mem_eq(state, opened, sizeof(state));
	for (size_t i = 0; i < sizeof(sealed); i += 7) {
		sealed[i] ^= 1;
		ck_assert_int_eq(key_ticket_open(&two, sealed, sizeof(sealed), opened),
				 POP_E_DENIED);
		sealed[i] ^= 1;
	}
	for (size_t n = 0; n < sizeof(sealed); n++)
		ck_assert_int_eq(key_ticket_open(&two, sealed, n, opened), POP_E_DENIED);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(ticket_keys_rotate(fd, (uint64_t)time(NULL), &keys), 0);
		key_tickets_release(&two);
		ck_assert_int_eq(key_ticket_open(&two, sealed, sizeof(sealed), opened),
				 i == 0 ? 0 : POP_E_DENIED);
	}
	key_tickets_release(&one);
	key_tickets_release(&two);
	key_tickets_init(&one, -1);
	ck_assert_int_eq(key_ticket_seal(&one, state, sizeof(state), sealed), POP_E_MISSING);
	ck_assert_int_eq(key_ticket_open(&one, sealed, sizeof(sealed), opened), POP_E_MISSING);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ticket_keys");
	TCase *tc = tcase_create("ticket_keys");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_test(tc, test_first_use);
	tcase_add_loop_test(tc, test_age, 0, N_ELEMS(ages));
	tcase_add_test(tc, test_previous_grows_old);
	tcase_add_test(tc, test_rotate);
	tcase_add_test(tc, test_damage);
	tcase_add_test(tc, test_many_at_once);
	tcase_add_test(tc, test_held_lock);
	tcase_add_test(tc, test_unsafe);
	tcase_add_test(tc, test_seal);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
