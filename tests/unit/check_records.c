/*
 * check_records.c - the table of sessions and counters: slots taken and left by
 * processes that are there or gone, readers meanwhile, days that turn.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "records.h"
#include "scratch.h"

#define DAY	86400
#define NOON	((int64_t)20000 * DAY + DAY / 2)
#define THREADS 8
#define EACH	2000

static struct records table;

static void open_table(void)
{
	struct pop_why why = { "" };

	ck_assert_msg(records_open(&table, "run", true, &why) == 0, "%s", why.text);
}

static struct session_record record_of(pid_t pid)
{
	struct session_record s = { .state = RECORD_LOGIN };

	record_self(&(struct records){ .of_this_boot = false }, &s);
	s.pid = pid;
	return s;
}

static int keep(void *ctx, const struct session_record *s)
{
	struct session_record *into = ctx;

	*into = *s;
	return 1;
}

static int count(void *ctx, const struct session_record *s)
{
	(void)s;
	++*(int *)ctx;
	return 0;
}

START_TEST(test_slot)
{
	struct session_record s = record_of(getpid()), got;
	int n = 0;

	open_table();
	ck_assert_int_eq(records_each(&table, count, &n), 0);
	ck_assert_int_eq(n, 0);
	ck_assert(records_take(&table, &s));
	memset(s.user, 'u', RECORDS_NAME_MAX);
	records_write(&table, &s);
	ck_assert_int_eq(records_each(&table, keep, &got), 1);
	ck_assert_mem_eq(&s, &got, sizeof(s));
	ck_assert(record_alive(&got));
	records_leave(&table);
	records_each(&table, count, &n);
	ck_assert_int_eq(n, 0);
	records_close(&table);
	ck_assert(!records_take(&table, &s)); /* without a table nothing happens */
	records_write(&table, &s);
	records_add(&table, COUNT_SESSIONS, 1, NOON);
	records_leave(&table);
}
END_TEST

/* Another process of the same number: it began later, or on another day of the machine. */
START_TEST(test_alive)
{
	struct session_record s = record_of(getpid());

	ck_assert(record_alive(&s));
	s.existed_ms = 0;
	ck_assert(!record_alive(&s));
	s = record_of(getpid());
	s.boot_id[0] = s.boot_id[0] == '0' ? '1' : '0';
	ck_assert(!record_alive(&s));
	s.boot_id[0] = '\0'; /* not known: the rest decides */
	ck_assert(record_alive(&s));
	s.pid = 0;
	ck_assert(!record_alive(&s));
}
END_TEST

/* The slot of a process that is gone is taken over, one of a living process is not. */
START_TEST(test_stale)
{
	struct session_record s;
	pid_t gone = fork(), alive = getppid();
	struct records first;
	int n = 0;

	if (gone == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(gone, NULL, 0), gone);
	open_table();
	s = record_of(gone);
	ck_assert(records_take(&table, &s));
	first = table;
	s = record_of(gone + RECORDS_SLOTS);
	table.slot = NULL;
	ck_assert(records_take(&table, &s));
	ck_assert_ptr_eq(table.slot, first.slot);
	s = record_of(alive);
	table.slot = NULL;
	ck_assert(records_take(&table, &s));
	first = table;
	s = record_of(alive + RECORDS_SLOTS);
	table.slot = NULL;
	ck_assert(records_take(&table, &s));
	ck_assert_ptr_ne(table.slot, first.slot);
	records_each(&table, count, &n);
	ck_assert_int_ge(n, 2);
}
END_TEST

static void *add_thread(void *ctx)
{
	(void)ctx;
	for (int i = 0; i < EACH; i++)
		records_add(&table, COUNT_OCTETS, 3, NOON);
	return NULL;
}

START_TEST(test_at_once)
{
	pthread_t threads[THREADS];

	open_table();
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_thread, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(records_total(&table, COUNT_OCTETS), (uint64_t)THREADS * EACH * 3);
}
END_TEST

START_TEST(test_days)
{
	open_table();
	records_add(&table, COUNT_SESSIONS, 5, NOON);
	ck_assert_uint_eq(records_today(&table, COUNT_SESSIONS, NOON), 5);
	ck_assert_uint_eq(records_today(&table, COUNT_SESSIONS, NOON + DAY), 0);
	records_add(&table, COUNT_TOP, 1, NOON + DAY);
	records_add(&table, COUNT_SESSIONS, 2, NOON + DAY);
	ck_assert_uint_eq(records_today(&table, COUNT_SESSIONS, NOON + DAY), 2);
	ck_assert_uint_eq(records_today(&table, COUNT_TOP, NOON + DAY), 1);
	ck_assert_uint_eq(records_total(&table, COUNT_SESSIONS), 7);
	records_add(&table, COUNT_N, 1, NOON);
	records_add(&table, COUNT_SESSIONS, UINT64_MAX, NOON + DAY); /* made up */
	ck_assert_uint_lt(records_total(&table, COUNT_SESSIONS), UINT64_MAX / 2);
}
END_TEST

static volatile bool done;

static void *write_thread(void *ctx)
{
	struct session_record s = record_of(getpid());

	(void)ctx;
	for (unsigned i = 0; !done; i++) {
		memset(s.user, 'a' + (int)(i % 26), RECORDS_NAME_MAX);
		records_write(&table, &s);
		nanosleep(&(struct timespec){ .tv_nsec = 1000 }, NULL);
	}
	return NULL;
}

/* What a reader gets is one record, never halves of two. */
START_TEST(test_reader)
{
	struct session_record s = record_of(getpid()), got;
	struct records reader;
	pthread_t thread;
	int seen = 0;

	open_table();
	ck_assert(records_take(&table, &s));
	ck_assert_int_eq(records_open(&reader, "run", false, NULL), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_thread, NULL), 0);
	for (int i = 0; i < 200; i++) {
		if (records_each(&reader, keep, &got) == 0)
			continue; /* it did not stand still */
		for (size_t at = 1; at < RECORDS_NAME_MAX; at++)
			ck_assert_int_eq(got.user[at], got.user[0]);
		seen++;
	}
	done = true;
	pthread_join(thread, NULL);
	ck_assert_int_gt(seen, 0);
}
END_TEST

/* Every counter belongs to one row at most, and all are within the table. */
START_TEST(test_rows)
{
	bool used[COUNT_N] = { false };

	for (size_t i = 0; i < record_n_rows; i++) {
		const struct record_row *row = &record_rows[i];
		unsigned n = (row->n ? row->n : 1) * (row->n2 ? row->n2 : 1);

		ck_assert(!row->label == !row->value && !row->label2 == !row->value2);
		for (unsigned at = row->first; at < row->first + n; at++) {
			ck_assert_uint_lt(at, COUNT_N);
			ck_assert(!used[at]);
			used[at] = true;
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("records");
	TCase *tc = tcase_create("records");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_test(tc, test_slot);
	tcase_add_test(tc, test_alive);
	tcase_add_test(tc, test_stale);
	tcase_add_test(tc, test_at_once);
	tcase_add_test(tc, test_days);
	tcase_add_test(tc, test_reader);
	tcase_add_test(tc, test_rows);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
