/*
 * check_ipc.c - every message of the catalogue, said rightly and wrongly.
 *
 * The rule table is read from ipc.c itself, so that a new row is tested the
 * day it is written.
 */
#include "../../pop3d/ipc.c"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>

/* A raw end, on which anything can be said, and the checked end of `to`. */
struct pair {
	int raw;
	struct ipc c;
};

static void make_pair(struct pair *p, enum ipc_role to, enum ipc_role from, enum ipc_phase phase)
{
	int ends[2];

	ck_assert_int_eq(ipc_pair(ends), 0);
	p->raw = ends[0];
	ipc_init(&p->c, ends[1], to, from, phase);
}

static void drop_pair(struct pair *p)
{
	close(p->raw);
	ipc_close(&p->c);
}

static void say(int fd, unsigned type, unsigned version, size_t len, size_t said_len,
		unsigned n_fds)
{
	static struct ipc_msg m;
	uint8_t head[IPC_HEADER];
	uint16_t t = (uint16_t)type, v = (uint16_t)version;
	uint32_t l = (uint32_t)said_len;

	memset(&m, 0, sizeof(m));
	m.len = len;
	m.n_fds = n_fds;
	for (unsigned i = 0; i < n_fds; i++)
		m.fds[i] = fd;
	memcpy(head, &t, 2);
	memcpy(head + 2, &v, 2);
	memcpy(head + 4, &l, 4);
	ck_assert_int_eq(send_packet(fd, head, &m), 0);
}

static int hear(struct pair *p)
{
	struct ipc_msg m;
	int err = ipc_recv(&p->c, &m);

	ipc_wipe(&m);
	return err;
}

static const struct ipc_rule *rule_of(int type)
{
	return &rules[type];
}

static enum ipc_phase first_phase(const struct ipc_rule *r)
{
	return (enum ipc_phase)(r->phases & -r->phases);
}

/* A pair on which this type is expected next. */
static void ready_for(struct pair *p, int type)
{
	const struct ipc_rule *r = rule_of(type);

	make_pair(p, r->to, r->from, first_phase(r));
	if (r->kind == ANSWER)
		p->c.awaited = (enum ipc_type)type;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(test_good_and_bad_size)
{
	const struct ipc_rule *r = rule_of(_i);
	struct {
		size_t len, said;
		unsigned fds;
		int want;
	} rows[] = {
		{ r->least, r->least, r->fds_least, 0 },
		{ r->most, r->most, r->fds_most, 0 },
		{ r->least - 1U, r->least - 1U, r->fds_least, POP_E_CORRUPT },
		{ r->least, r->least + 1U, r->fds_least, POP_E_CORRUPT },
		{ r->least, 0xFFFFFFFFU, r->fds_least, POP_E_CORRUPT },
		{ r->most + 1U, r->most + 1U, r->fds_least, POP_E_CORRUPT },
		{ r->least, r->least, r->fds_most + 1U, POP_E_CORRUPT },
		{ r->least, r->least, r->fds_least - 1U, POP_E_CORRUPT },
	};
	int before = count_fds();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair p;

		if (rows[i].fds > IPC_FDS_MAX || rows[i].len > IPC_PAYLOAD_MAX)
			continue; /* cannot be said at all */
		ready_for(&p, _i);
		say(p.raw, (unsigned)_i, IPC_VERSION, rows[i].len, rows[i].said, rows[i].fds);
		ck_assert_msg(hear(&p) == rows[i].want, "%s row %zu", r->name, i);
		drop_pair(&p);
	}
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

/* A peer that asks and never reads the answers: an error in the end, no waiting. */
START_TEST(test_peer_that_does_not_read)
{
	struct ipc_msg m;
	struct pair p;
	int err = 0, n;

	make_pair(&p, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	p.c.sent_one = true;
	for (n = 0; err == 0 && n < 10000; n++) {
		p.c.owed = IPC_SASL_ANSWER;
		ipc_start(&m, IPC_SASL_ANSWER);
		m.len = 3000;
		memset(m.payload, 0, m.len);
		err = ipc_send(&p.c, &m);
	}
	ck_assert_int_eq(err, POP_E_SYS);
	ck_assert_int_gt(n, 2);
	drop_pair(&p);
}
END_TEST

START_TEST(test_wrong_direction_and_phase)
{
	const struct ipc_rule *r = rule_of(_i);

	for (int to = ROLE_MONITOR; to <= ROLE_KEEPER; to++)
		for (int from = ROLE_MONITOR; from <= ROLE_KEEPER; from++)
			for (int phase = PH_AUTH; phase <= PH_END; phase *= 2) {
				bool right = to == r->to && from == r->from && (phase & r->phases);
				struct pair p;

				make_pair(&p, (enum ipc_role)to, (enum ipc_role)from,
					  (enum ipc_phase)phase);
				if (r->kind == ANSWER)
					p.c.awaited = (enum ipc_type)_i;
				say(p.raw, (unsigned)_i, IPC_VERSION, r->least, r->least,
				    r->fds_least);
				ck_assert_msg(hear(&p) == (right ? 0 : POP_E_CORRUPT),
					      "%s from %d to %d in phase %d", r->name, from, to,
					      phase);
				drop_pair(&p);
			}
}
END_TEST

START_TEST(test_order)
{
	const struct ipc_rule *r = rule_of(_i);
	struct pair p;

	ready_for(&p, _i);
	say(p.raw, (unsigned)_i, IPC_VERSION, r->least, r->least, r->fds_least);
	ck_assert_int_eq(hear(&p), 0);
	if (r->kind == REQUEST) {
		/* a second request while the first is open */
		ck_assert_int_eq(p.c.owed, r->answer);
		say(p.raw, (unsigned)_i, 0, r->least, r->least, r->fds_least);
		ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
	} else if (r->kind == ANSWER) {
		/* an answer that nobody asked for */
		ck_assert_int_eq(p.c.awaited, IPC_NONE);
		say(p.raw, (unsigned)_i, 0, r->least, r->least, r->fds_least);
		ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
	}
	drop_pair(&p);
}
END_TEST

START_TEST(test_uses)
{
	const struct ipc_rule *r = rule_of(_i);
	struct pair p;

	if (r->uses == 0)
		return;
	ready_for(&p, _i);
	p.c.uses[_i] = r->uses - 1;
	say(p.raw, (unsigned)_i, IPC_VERSION, r->least, r->least, r->fds_least);
	ck_assert_int_eq(hear(&p), 0);
	p.c.owed = IPC_NONE;
	if (r->kind == ANSWER)
		p.c.awaited = (enum ipc_type)_i;
	say(p.raw, (unsigned)_i, 0, r->least, r->least, r->fds_least);
	ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
	drop_pair(&p);
}
END_TEST

START_TEST(test_version)
{
	const struct ipc_rule *r = rule_of(_i);
	static const struct {
		unsigned version;
		int want;
	} rows[] = {
		{ IPC_VERSION, 0 },
		{ 0, POP_E_VERSION },
		{ IPC_VERSION + 1, POP_E_VERSION },
		{ 0xFFFF, POP_E_VERSION },
	};
	struct pair p;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ready_for(&p, _i);
		say(p.raw, (unsigned)_i, rows[i].version, r->least, r->least, r->fds_least);
		ck_assert_int_eq(hear(&p), rows[i].want);
		drop_pair(&p);
	}
	/* it passes once, and never again */
	ready_for(&p, _i);
	p.c.got_one = true;
	say(p.raw, (unsigned)_i, IPC_VERSION, r->least, r->least, r->fds_least);
	ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
	drop_pair(&p);
}
END_TEST

START_TEST(test_send_keeps_the_rules)
{
	const struct ipc_rule *r = rule_of(_i);
	struct pair p;
	struct ipc_msg m;

	/* as the sender: the right one passes, the wrong order does not leave the process */
	make_pair(&p, r->from, r->to, first_phase(r));
	if (r->kind == ANSWER)
		p.c.owed = (enum ipc_type)_i;
	for (int round = 0; round < 2; round++) {
		ipc_start(&m, (enum ipc_type)_i);
		m.len = r->least;
		memset(m.payload, 0, m.len);
		for (unsigned i = 0; i < r->fds_least; i++)
			ipc_put_fd(&m, p.raw);
		ck_assert_int_eq(ipc_send(&p.c, &m),
				 round == 0 || r->kind == NOTE ? 0 : POP_E_CORRUPT);
	}
	ipc_start(&m, (enum ipc_type)_i);
	m.len = r->most + 1U;
	p.c.awaited = IPC_NONE;
	if (r->kind == ANSWER)
		p.c.owed = (enum ipc_type)_i;
	ck_assert_int_eq(ipc_send(&p.c, &m), POP_E_CORRUPT);
	drop_pair(&p);
}
END_TEST

START_TEST(test_no_type)
{
	static const unsigned types[] = { 0, IPC_N_TYPES, IPC_N_TYPES + 1, 0x7FFF, 0xFFFF };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct pair p;

		make_pair(&p, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
		say(p.raw, types[i], IPC_VERSION, 8, 8, 0);
		ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
		drop_pair(&p);
	}
}
END_TEST

START_TEST(test_shorter_than_a_header)
{
	static const uint8_t bytes[IPC_HEADER] = { 1, 0, IPC_VERSION };

	for (size_t n = 1; n < IPC_HEADER; n++) {
		struct pair p;

		make_pair(&p, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
		ck_assert_int_eq(send(p.raw, bytes, n, 0), (ssize_t)n);
		ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
		drop_pair(&p);
	}
}
END_TEST

START_TEST(test_above_the_bound)
{
	static uint8_t bytes[IPC_MAX + 1] = { IPC_LOGIN_ASK, 0, IPC_VERSION };
	struct pair p;

	make_pair(&p, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	ck_assert_int_eq(send(p.raw, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	ck_assert_int_eq(hear(&p), POP_E_CORRUPT);
	drop_pair(&p);
}
END_TEST

START_TEST(test_end_of_peer)
{
	struct pair p;
	struct ipc_msg m;

	make_pair(&p, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	close(p.raw);
	ck_assert_int_eq(hear(&p), POP_E_EOF);
	p.c.owed = IPC_LOGIN_ANSWER;
	ipc_start(&m, IPC_LOGIN_ANSWER);
	m.len = 27;
	memset(m.payload, 0, 27);
	ck_assert_int_eq(ipc_send(&p.c, &m), POP_E_EOF);
	ipc_close(&p.c);
}
END_TEST

/* It closed with something unread, of which the kernel tells before its last words. */
START_TEST(test_last_words)
{
	struct pair p;

	make_pair(&p, ROLE_MONITOR, ROLE_SESSION, PH_AUTH);
	ck_assert_int_eq(send(p.c.fd, "unread", 6, 0), 6);
	say(p.raw, IPC_SESSION_END, IPC_VERSION, 41, 41, 0);
	close(p.raw);
	ck_assert_int_eq(hear(&p), 0);
	ck_assert_int_eq(hear(&p), POP_E_EOF);
	ipc_close(&p.c);
}
END_TEST

START_TEST(test_getters)
{
	struct ipc_msg m;
	char text[8];

	ipc_start(&m, IPC_LOGIN_ASK);
	ipc_put_u8(&m, 7);
	ipc_put_u32(&m, 0xFFFFFFFFU);
	ipc_put_u64(&m, UINT64_MAX);
	ipc_put_str(&m, "seven!!", 7);
	ipc_put_str(&m, "", 0);
	ck_assert_int_eq(ipc_get_u8(&m), 7);
	ck_assert_uint_eq(ipc_get_u32(&m), 0xFFFFFFFFU);
	ck_assert(ipc_get_u64(&m) == UINT64_MAX);
	ck_assert_uint_eq(ipc_get_str(&m, text, sizeof(text)), 7);
	ck_assert_str_eq(text, "seven!!");
	ck_assert_uint_eq(ipc_get_str(&m, text, sizeof(text)), 0);
	ck_assert_int_eq(ipc_end(&m), 0);
}
END_TEST

static const struct {
	const char *name;
	uint8_t bytes[8];
	size_t len;
} bad_strings[] = {
	{ "no length", { 0 }, 0 },
	{ "half a length", { 1 }, 1 },
	{ "length past the end", { 4, 0, 'a', 'b', 'c' }, 5 },
	{ "length 65535", { 0xFF, 0xFF, 'a' }, 3 },
	{ "NUL inside", { 3, 0, 'a', 0, 'c' }, 5 },
	{ "above the room", { 4, 0, 'a', 'b', 'c', 'd' }, 6 },
	{ "bytes left over", { 1, 0, 'a', 'b' }, 4 },
};

START_TEST(test_bad_strings)
{
	struct ipc_msg m;
	char text[4];

	ipc_start(&m, IPC_LOGIN_ASK);
	ipc_put_raw(&m, bad_strings[_i].bytes, bad_strings[_i].len);
	ipc_get_str(&m, text, sizeof(text));
	ck_assert_msg(ipc_end(&m) == POP_E_CORRUPT, "%s", bad_strings[_i].name);
}
END_TEST

START_TEST(test_missing_fd)
{
	struct ipc_msg m;

	ipc_start(&m, IPC_LOGIN_ANSWER);
	ck_assert_int_eq(ipc_take_fd(&m), -1);
	ck_assert_int_eq(ipc_end(&m), POP_E_CORRUPT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ipc");
	TCase *tc = tcase_create("catalogue");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, test_peer_that_does_not_read);
	tcase_add_loop_test(tc, test_good_and_bad_size, IPC_NONE + 1, IPC_N_TYPES);
	tcase_add_loop_test(tc, test_wrong_direction_and_phase, IPC_NONE + 1, IPC_N_TYPES);
	tcase_add_loop_test(tc, test_order, IPC_NONE + 1, IPC_N_TYPES);
	tcase_add_loop_test(tc, test_uses, IPC_NONE + 1, IPC_N_TYPES);
	tcase_add_loop_test(tc, test_version, IPC_NONE + 1, IPC_N_TYPES);
	tcase_add_loop_test(tc, test_send_keeps_the_rules, IPC_NONE + 1, IPC_N_TYPES);
	tcase_add_test(tc, test_no_type);
	tcase_add_test(tc, test_shorter_than_a_header);
	tcase_add_test(tc, test_above_the_bound);
	tcase_add_test(tc, test_end_of_peer);
	tcase_add_test(tc, test_last_words);
	tcase_add_test(tc, test_getters);
	tcase_add_loop_test(tc, test_bad_strings, 0, sizeof(bad_strings) / sizeof(bad_strings[0]));
	tcase_add_test(tc, test_missing_fd);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
