/*
 * check_uidl.c - the text of unique ids, and that none is given twice.
 */
#include "scratch.h"
#include "uidl.h"

#define T(s)   s, sizeof(s) - 1
#define LONG70 "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct {
	const char *id;
	size_t len;
	bool valid;
} ids[] = {
	{ T("a"), true },      { T("!"), true },	 { T("~"), true },    { T(LONG70), true },
	{ T(""), false },      { T(LONG70 "0"), false }, { T("a b"), false }, { T(" "), false },
	{ T("a\x7f"), false }, { T("\x80"), false },	 { T("a\0"), false }, { T("\n"), false },
};

START_TEST(valid)
{
	ck_assert_msg(uidl_valid(ids[_i].id, ids[_i].len) == ids[_i].valid, "%d: %s", _i,
		      ids[_i].id);
}
END_TEST

static const struct {
	const char *base;
	uint32_t suffix;
	const char *id; /* NULL: too long */
} forms[] = {
	{ "a", 0, "a" },
	{ "a", 2, "a-2" },
	{ "1700.M1P2.host", 4294967295u, "1700.M1P2.host-4294967295" },
	{ LONG70, 0, LONG70 },
	{ LONG70, 2, NULL },
	{ LONG70 "0", 0, NULL },
};

START_TEST(format)
{
	char out[UIDL_MAX + 1];
	int n = uidl_format(forms[_i].base, strlen(forms[_i].base), forms[_i].suffix, out);

	if (!forms[_i].id) {
		ck_assert_int_eq(n, POP_E_LONG);
		return;
	}
	ck_assert_int_eq(n, (int)strlen(forms[_i].id));
	ck_assert_str_eq(out, forms[_i].id);
}
END_TEST

START_TEST(format_digest)
{
	static const uint8_t digest[16] = { 0x00, 0x01, 0x9a, 0xff, [15] = 0xfe };
	char out[UIDL_MAX + 1];

	ck_assert_int_eq(uidl_format_digest(digest, 0, out), 32);
	ck_assert_str_eq(out, "00019aff0000000000000000000000fe");
	ck_assert_int_eq(uidl_format_digest(digest, 12, out), 35);
	ck_assert_str_eq(out, "00019aff0000000000000000000000fe-12");
}
END_TEST

static int claim(struct uidl_set *s, const char *base, uint32_t *suffix)
{
	return uidl_set_claim(s, base, strlen(base), suffix);
}

START_TEST(claims)
{
	static const struct {
		const char *base;
		uint32_t suffix;
	} steps[] = {
		{ "a", 0 }, { "b", 0 }, { "a", 2 },   { "a", 3 },   { "b-2", 0 }, { "b", 3 },
		{ "b", 4 }, { "a", 4 }, { "a-2", 2 }, { "a-2", 3 }, { "a-5", 0 }, { "a", 6 },
	};
	struct uidl_set s;
	uint32_t suffix;

	ck_assert_int_eq(uidl_set_init(&s, 0), 0);
	for (size_t i = 0; i < N_ELEMS(steps); i++) {
		ck_assert_int_eq(claim(&s, steps[i].base, &suffix), 0);
		ck_assert_msg(suffix == steps[i].suffix, "step %zu: %u", i, suffix);
	}
	ck_assert_int_eq(uidl_set_has(&s, T("a-3")), 1);
	ck_assert_int_eq(uidl_set_has(&s, T("a-7")), 0);
	ck_assert_int_eq(uidl_set_add(&s, T("a-7")), 1);
	ck_assert_int_eq(uidl_set_add(&s, T("a-7")), 0);
	ck_assert_int_eq(claim(&s, "a", &suffix), 0);
	ck_assert_uint_eq(suffix, 8);
	ck_assert_int_eq(claim(&s, LONG70, &suffix), 0);
	ck_assert_int_eq(claim(&s, LONG70, &suffix), POP_E_LONG);
	ck_assert_int_eq(claim(&s, LONG70 "0", &suffix), POP_E_LONG);
	uidl_set_release(&s);
}
END_TEST

/* Many equal ones take time in proportion, and all differ; the set grows as it must. */
START_TEST(many)
{
	struct uidl_set s;
	uint8_t digest[16] = { 1 };
	uint32_t suffix;
	char id[UIDL_MAX + 1];

	ck_assert_int_eq(uidl_set_init(&s, 10), 0);
	for (uint32_t i = 0; i < 200000; i++) {
		ck_assert_int_eq(uidl_set_claim_digest(&s, digest, &suffix), 0);
		ck_assert_uint_eq(suffix, i ? i + 1 : 0);
	}
	for (uint32_t i = 0; i < 200000; i++) {
		int n = snprintf(id, sizeof(id), "id%u", i);

		ck_assert_int_eq(uidl_set_add(&s, id, (size_t)n), 1);
	}
	for (uint32_t i = 0; i < 200000; i++) {
		int n = snprintf(id, sizeof(id), "id%u", i);

		ck_assert_int_eq(uidl_set_has(&s, id, (size_t)n), 1);
	}
	uidl_set_release(&s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("uidl");
	TCase *tc = tcase_create("uidl");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, valid, 0, N_ELEMS(ids));
	tcase_add_loop_test(tc, format, 0, N_ELEMS(forms));
	tcase_add_test(tc, format_digest);
	tcase_add_test(tc, claims);
	tcase_add_test(tc, many);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
