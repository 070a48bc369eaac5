/*
 * check_num.c - the number parser at every edge.
 */
#include <string.h>

#include "err.h"
#include "num.h"
#include "scratch.h"

struct row {
	const char *in;
	uint64_t max;
	int want;
	uint64_t value;
};

static const struct row rows[] = {
	{ "", 10, POP_E_SYNTAX, 0 },
	{ "0", 0, 0, 0 },
	{ "0", UINT64_MAX, 0, 0 },
	{ "1", 0, POP_E_RANGE, 0 },
	{ "00000000000000000000000000007", 10, 0, 7 },
	{ "10", 10, 0, 10 },
	{ "11", 10, POP_E_RANGE, 0 },
	{ "-0", 10, POP_E_SYNTAX, 0 },
	{ "-1", 10, POP_E_SYNTAX, 0 },
	{ "+1", 10, POP_E_SYNTAX, 0 },
	{ " 1", 10, POP_E_SYNTAX, 0 },
	{ "1 ", 10, POP_E_SYNTAX, 0 },
	{ "1x", 10, POP_E_SYNTAX, 0 },
	{ "x1", 10, POP_E_SYNTAX, 0 },
	{ "1.0", 10, POP_E_SYNTAX, 0 },
	{ "1e3", 10000, POP_E_SYNTAX, 0 },
	{ "0x10", 100, POP_E_SYNTAX, 0 },
	{ "\t1", 10, POP_E_SYNTAX, 0 },
	{ "1\n", 10, POP_E_SYNTAX, 0 },
	{ "\xd9\xa1", 10, POP_E_SYNTAX, 0 },
	{ "/", 100, POP_E_SYNTAX, 0 },
	{ ":", 100, POP_E_SYNTAX, 0 },
	{ "99x", 10, POP_E_SYNTAX, 0 },
	{ "99999999999999999999999999999x", 10, POP_E_SYNTAX, 0 },
	{ "2147483647", UINT64_MAX, 0, 2147483647 },
	{ "2147483648", INT32_MAX, POP_E_RANGE, 0 },
	{ "4294967295", UINT32_MAX, 0, UINT32_MAX },
	{ "4294967296", UINT32_MAX, POP_E_RANGE, 0 },
	{ "4294967297", UINT32_MAX, POP_E_RANGE, 0 },
	{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
	{ "18446744073709551616", UINT64_MAX, POP_E_RANGE, 0 },
	{ "18446744073709551617", UINT64_MAX, POP_E_RANGE, 0 },
	{ "18446744073709551620", UINT64_MAX, POP_E_RANGE, 0 },
	{ "184467440737095516150", UINT64_MAX, POP_E_RANGE, 0 },
	{ "36893488147419103233", UINT64_MAX, POP_E_RANGE, 0 },
};

/* A copy of exactly that size, so that a sanitizer sees a byte read too many. */
static char *exact(const char *in)
{
	size_t len = strlen(in);
	char *copy = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(copy);
	for (size_t i = 0; i < len; i++)
		copy[i] = in[i];
	return copy;
}

START_TEST(parse)
{
	const struct row *r = &rows[_i];
	char *in = exact(r->in);
	uint64_t value = 12345;
	int err = num_parse(in, strlen(r->in), r->max, &value);

	ck_assert_msg(err == r->want, "\"%s\": %d", r->in, err);
	ck_assert_msg(value == (err ? 12345 : r->value), "\"%s\": value", r->in);
	free(in);
}
END_TEST

START_TEST(parse_nul)
{
	uint64_t value;

	ck_assert_int_eq(num_parse("1\0002", 3, 999, &value), POP_E_SYNTAX);
	ck_assert_int_eq(num_parse("123", 2, 999, &value), 0);
	ck_assert_uint_eq(value, 12);
}
END_TEST

static const struct row ms_rows[] = {
	{ "", 1000, POP_E_SYNTAX, 0 },
	{ "0", 0, 0, 0 },
	{ "2", 60000, 0, 2000 },
	{ "2.5", 60000, 0, 2500 },
	{ "0.25", 60000, 0, 250 },
	{ "0.001", 60000, 0, 1 },
	{ "0.100", 60000, 0, 100 },
	{ "007.050", 60000, 0, 7050 },
	{ "60", 60000, 0, 60000 },
	{ "60.001", 60000, POP_E_RANGE, 0 },
	{ "61", 60000, POP_E_RANGE, 0 },
	{ "18446744073709551615", UINT64_MAX, POP_E_RANGE, 0 },
	{ "18446744073709551.614", UINT64_MAX, POP_E_RANGE, 0 },
	{ "18446744073709550.999", UINT64_MAX, 0, UINT64_C(18446744073709550999) },
	{ "99999999999999999999", UINT64_MAX, POP_E_RANGE, 0 },
	{ "2.", 60000, POP_E_SYNTAX, 0 },
	{ ".5", 60000, POP_E_SYNTAX, 0 },
	{ ".", 60000, POP_E_SYNTAX, 0 },
	{ "0.0001", 60000, POP_E_SYNTAX, 0 },
	{ "1.2.3", 60000, POP_E_SYNTAX, 0 },
	{ "-1", 60000, POP_E_SYNTAX, 0 },
	{ "+1", 60000, POP_E_SYNTAX, 0 },
	{ "1.-5", 60000, POP_E_SYNTAX, 0 },
	{ "1s", 60000, POP_E_SYNTAX, 0 },
	{ "1,5", 60000, POP_E_SYNTAX, 0 },
};

START_TEST(parse_ms)
{
	const struct row *r = &ms_rows[_i];
	char *in = exact(r->in);
	uint64_t value = 12345;
	int err = num_parse_ms(in, strlen(r->in), r->max, &value);

	ck_assert_msg(err == r->want, "\"%s\": %d", r->in, err);
	ck_assert_msg(value == (err ? 12345 : r->value), "\"%s\": value", r->in);
	free(in);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("num");
	TCase *tc = tcase_create("num");

	tcase_add_loop_test(tc, parse, 0, N_ELEMS(rows));
	tcase_add_test(tc, parse_nul);
	tcase_add_loop_test(tc, parse_ms, 0, N_ELEMS(ms_rows));
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
