/*
 * check_penalty.c - the table of failed logins: how it grows and fades, many at
 * once, and what is done with a damaged file.  And networks.
 */
#include <pthread.h>
#include <string.h>

#include "networks.h"
#include "penalty.h"
#include "scratch.h"

static const struct penalty_rules rules = { 2, 1000, 3000, 1500 };
static struct penalty table;
static uint8_t key[PENALTY_KEY_LEN];
static uint64_t now, addr, user;

static void open_table(void)
{
	struct pop_why why = { "" };

	ck_assert_msg(penalty_open(&table, "run", true, &why) == 0, "%s", why.text);
	penalty_key(&table, key);
	now = penalty_now_ms();
	addr = penalty_hash_address(key, "192.0.2.1");
	user = penalty_hash_user(key, "alice");
}

static void fail_times(int n)
{
	while (n-- > 0)
		penalty_failed(&table, &rules, addr, "192.0.2.1", user, now, false);
}

static uint32_t look(void)
{
	bool taken;
	uint32_t wait = penalty_look(&table, &rules, addr, 0, now, &taken);

	ck_assert_int_eq(taken, wait > 0 && wait != PENALTY_REFUSED);
	return wait;
}

START_TEST(test_grows_and_fades)
{
	open_table();
	ck_assert(!penalty_live(&table, now));
	fail_times(2);
	ck_assert(penalty_live(&table, now));
	ck_assert_uint_eq(look(), 0);
	fail_times(1);
	ck_assert_uint_eq(look(), 1000);
	ck_assert_uint_eq(look(), 2000); /* each that waits moves it on */
	ck_assert_uint_eq(look(), 3000);
	ck_assert_uint_eq(look(), PENALTY_REFUSED);
	ck_assert_uint_eq(look(), PENALTY_REFUSED); /* one that is refused does not */
	penalty_passed(&table, &rules, addr, now);
	ck_assert_uint_eq(look(), 3000);
	now += 1000;
	ck_assert_uint_eq(look(), 3000);
	now += 20000;
	ck_assert_uint_eq(look(), 0);
	ck_assert(!penalty_live(&table, now));
}
END_TEST

START_TEST(test_user)
{
	bool taken;

	open_table();
	fail_times(20);
	ck_assert_uint_eq(penalty_look(&table, &rules, 0, user, now, &taken), 1500);
	ck_assert(!taken);
	ck_assert_uint_eq(penalty_look(&table, &rules, 0, penalty_hash_user(key, "bob"), now,
				       &taken),
			  0);
}
END_TEST

START_TEST(test_bound)
{
	open_table();
	fail_times(5000);
	now += PENALTY_KEEP_MS - 1;
	ck_assert(penalty_live(&table, now));
	now += 2;
	ck_assert_uint_eq(look(), 0);
	ck_assert(!penalty_live(&table, now));
}
END_TEST

START_TEST(test_addresses)
{
	open_table();
	ck_assert_uint_eq(penalty_hash_address(key, ""), 0);
	ck_assert_uint_eq(penalty_hash_address(key, "alice"), 0);
	ck_assert_uint_eq(penalty_hash_address(key, "2001:db8::1"),
			  penalty_hash_address(key, "2001:db8:0:0:ffff::2"));
	ck_assert_uint_ne(penalty_hash_address(key, "2001:db8::1"),
			  penalty_hash_address(key, "2001:db8:0:1::1"));
	ck_assert_uint_ne(penalty_hash_address(key, "192.0.2.1"),
			  penalty_hash_address(key, "192.0.2.2"));
	ck_assert_uint_eq(penalty_hash_address(key, "192.0.2.1") & 1, 0);
	ck_assert_uint_eq(penalty_hash_user(key, "192.0.2.1") & 1, 1);
}
END_TEST

static int count_each(void *ctx, const struct penalty_entry *e)
{
	size_t *n = ctx;

	if (e->kind != PENALTY_USER)
		ck_assert_str_eq(e->address, "192.0.2.1");
	(*n)++;
	return 0;
}

START_TEST(test_list_and_clear)
{
	size_t n = 0;

	open_table();
	fail_times(5);
	penalty_each(&table, now, count_each, &n);
	ck_assert_uint_eq(n, 2);
	penalty_clear(&table, user);
	n = 0;
	penalty_each(&table, now, count_each, &n);
	ck_assert_uint_eq(n, 1);
	penalty_clear(&table, 0);
	n = 0;
	penalty_each(&table, now, count_each, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_uint_eq(look(), 0);
}
END_TEST

/* Handshakes are counted apart, wait no longer than they may, and are forgotten soon. */
START_TEST(test_handshakes)
{
	uint64_t hash, logins;

	open_table();
	hash = penalty_hash_handshake(key, "192.0.2.1");
	logins = now;
	ck_assert_uint_ne(hash, addr);
	ck_assert_uint_eq(penalty_hash_handshake(key, ""), 0);
	for (int i = 0; i < 2; i++)
		penalty_handshake_broken(&table, &rules, hash, "192.0.2.1", now);
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now), 0);
	penalty_handshake_broken(&table, &rules, hash, "192.0.2.1", now);
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now), 1000);
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now + 600), 400);
	for (int i = 0; i < 1000; i++)
		penalty_handshake_broken(&table, &rules, hash, "192.0.2.1", now);
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now), 3000);
	ck_assert(!penalty_live(&table, logins)); /* no login has to ask */
	ck_assert_uint_eq(look(), 0);
	now += PENALTY_WAIT_MS - 100;
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now), 100);
	now += 100;
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now), 0);
	penalty_handshake_broken(&table, &rules, 0, "", now); /* who has no address */
	fail_times(5);
	ck_assert_uint_eq(penalty_handshake(&table, &rules, hash, now), 0);
}
END_TEST

/* A full table gives up what is forgotten soonest: who guesses most stays in it. */
START_TEST(test_flood)
{
	char name[32];

	open_table();
	fail_times(30);
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		penalty_failed(&table, &rules, 0, "", penalty_hash_user(key, name), now, false);
	}
	ck_assert_uint_eq(look(), PENALTY_REFUSED);
}
END_TEST

#define THREADS 8
#define EACH	200

static void *fail_thread(void *ctx)
{
	(void)ctx;
	fail_times(EACH);
	return NULL;
}

/* No failure is lost, since nobody is slower than 16 others all the time. */
START_TEST(test_at_once)
{
	pthread_t threads[THREADS];
	uint64_t want = (uint64_t)THREADS * EACH * rules.step_ms;

	open_table();
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_thread, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	now += want - want / 50;
	ck_assert(penalty_live(&table, now));
	now += want / 50;
	ck_assert(!penalty_live(&table, now));
}
END_TEST

START_TEST(test_damaged)
{
	struct pop_why why;
	struct penalty p;
	struct stat st;
	char *junk;

	ck_assert_int_eq(penalty_open(&p, "run", false, &why), POP_E_MISSING);
	open_table();
	penalty_close(&table);
	ck_assert_int_eq(stat("run/penalty", &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	junk = malloc((size_t)st.st_size);
	ck_assert_ptr_nonnull(junk);
	memset(junk, 0xA5, (size_t)st.st_size);
	scratch_write("run/penalty", junk, (size_t)st.st_size, 0600);
	ck_assert_int_eq(penalty_open(&p, "run", false, &why), POP_E_CORRUPT);
	scratch_write("run/penalty", junk, 100, 0600);
	ck_assert_int_eq(penalty_open(&p, "run", false, &why), POP_E_CORRUPT);
	open_table();
	ck_assert_uint_eq(look(), 0);
	/* a good head over any content: wrong times at worst */
	memset((char *)table.table + 64, 0xA5, (size_t)st.st_size - 64);
	ck_assert_uint_eq(look(), 0);
	fail_times(3);
	ck_assert_uint_eq(look(), 1000);
	ck_assert_int_eq(chmod("run/penalty", 0644), 0);
	ck_assert_int_eq(penalty_open(&p, "run", true, &why), POP_E_UNSAFE);
	free(junk);
}
END_TEST

static const struct network_row {
	const char *networks, *address;
	bool want;
} network_rows[] = {
	{ "127.0.0.0/8 ::1", "127.3.2.1", true },
	{ "127.0.0.0/8 ::1", "128.0.0.1", false },
	{ "127.0.0.0/8 ::1", "::1", true },
	{ "127.0.0.0/8 ::1", "::2", false },
	{ "192.0.2.128/25", "192.0.2.200", true },
	{ "192.0.2.128/25", "192.0.2.100", false },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.0", false },
	{ "0.0.0.0/0", "203.0.113.5", true },
	{ "0.0.0.0/0", "::1", false },
	{ "::/0", "203.0.113.5", false },
	{ "2001:db8::/33", "2001:db8:7fff::1", true },
	{ "2001:db8::/33", "2001:db8:8000::1", false },
	{ "  192.0.2.1	10.0.0.0/8 ", "10.1.2.3", true },
	{ "no", "192.0.2.1", false },
	{ "", "192.0.2.1", false },
	{ "0.0.0.0/0 ::/0", "", false },
	{ "0.0.0.0/0", "192.0.2.1/8", false },
};

START_TEST(test_network)
{
	const struct network_row *row = &network_rows[_i];

	ck_assert_msg(networks_hold(row->networks, row->address) == row->want, "%s in %s",
		      row->address, row->networks);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("penalty");
	TCase *tc = tcase_create("penalty");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_test(tc, test_grows_and_fades);
	tcase_add_test(tc, test_user);
	tcase_add_test(tc, test_bound);
	tcase_add_test(tc, test_addresses);
	tcase_add_test(tc, test_list_and_clear);
	tcase_add_test(tc, test_handshakes);
	tcase_add_test(tc, test_flood);
	tcase_add_test(tc, test_at_once);
	tcase_add_test(tc, test_damaged);
	tcase_add_loop_test(tc, test_network, 0, N_ELEMS(network_rows));
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
