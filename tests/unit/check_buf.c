/*
 * check_buf.c - the bounded buffer: what fits, what does not, what stays.
 */
#include <string.h>

#include "buf.h"
#include "err.h"
#include "scratch.h"

static const struct put_row {
	const char *name;
	size_t max, first, consume, second;
	int want;
	size_t want_len;
} put_rows[] = {
	{ "nothing into nothing", 0, 0, 0, 0, 0, 0 },
	{ "one into nothing", 0, 0, 0, 1, POP_E_LONG, 0 },
	{ "nothing into something", 4, 0, 0, 0, 0, 0 },
	{ "exactly the maximum", 8, 5, 0, 3, 0, 8 },
	{ "one above the maximum", 8, 5, 0, 4, POP_E_LONG, 5 },
	{ "room made by consuming", 8, 8, 3, 3, 0, 8 },
	{ "one more than was consumed", 8, 8, 3, 4, POP_E_LONG, 5 },
	{ "all consumed", 8, 8, 8, 8, 0, 8 },
	{ "above the first allocation", 4096, 200, 0, 3000, 0, 3200 },
	{ "to an odd maximum", 1001, 500, 0, 501, 0, 1001 },
	{ "a length that overflows", SIZE_MAX, 5, 0, SIZE_MAX - 2, POP_E_LONG, 5 },
};

START_TEST(put)
{
	const struct put_row *r = &put_rows[_i];
	static uint8_t bytes[4096];
	struct buf b;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	buf_init(&b, r->max);
	ck_assert_ptr_null(buf_data(&b));
	ck_assert_int_eq(buf_put(&b, bytes, r->first), 0);
	buf_consume(&b, r->consume);
	ck_assert_msg(buf_put(&b, bytes + r->first, r->second) == r->want, "%s", r->name);
	ck_assert_msg(buf_len(&b) == r->want_len, "%s: %zu bytes", r->name, buf_len(&b));
	if (r->want_len)
		ck_assert_mem_eq(buf_data(&b), bytes + r->consume, r->want_len);
	ck_assert_uint_le(b.size, r->max);
	buf_release(&b);
	ck_assert_uint_eq(buf_len(&b), 0);
	ck_assert_uint_eq(b.max, r->max);
}
END_TEST

START_TEST(reserve)
{
	struct buf b;
	uint8_t *p;

	buf_init(&b, 1000);
	p = buf_reserve(&b, 1000);
	ck_assert_ptr_nonnull(p);
	memset(p, 'a', 1000);
	buf_commit(&b, 10);
	ck_assert_uint_eq(buf_len(&b), 10);
	ck_assert_ptr_null(buf_reserve(&b, 991));
	ck_assert_ptr_nonnull(buf_reserve(&b, 990));
	buf_consume(&b, 4);
	p = buf_reserve(&b, 994);
	ck_assert_ptr_nonnull(p);
	memset(p, 'b', 994);
	buf_commit(&b, 994);
	ck_assert_uint_eq(buf_len(&b), 1000);
	ck_assert_int_eq(buf_data(&b)[5], 'a');
	ck_assert_int_eq(buf_data(&b)[6], 'b');
	buf_clear(&b);
	ck_assert_uint_eq(buf_len(&b), 0);
	ck_assert_int_eq(buf_puts(&b, "again"), 0);
	ck_assert_mem_eq(buf_data(&b), "again", 5);
	buf_release(&b);
}
END_TEST

START_TEST(printf_short_and_long)
{
	char word[601];
	struct buf b;

	memset(word, 'w', 600);
	word[600] = '\0';
	buf_init(&b, 1000);
	ck_assert_int_eq(buf_printf(&b, "%d %s", -5, "x"), 0);
	ck_assert_int_eq(buf_printf(&b, "<%s>", word), 0);
	ck_assert_uint_eq(buf_len(&b), 4 + 602);
	ck_assert_mem_eq(buf_data(&b), "-5 x<www", 8);
	ck_assert_int_eq(buf_data(&b)[605], '>');
	ck_assert_int_eq(buf_printf(&b, "<%s>", word), POP_E_LONG);
	ck_assert_int_eq(buf_printf(&b, "%s%s", word, word), POP_E_LONG);
	ck_assert_uint_eq(buf_len(&b), 606);
	buf_release(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("buf");
	TCase *tc = tcase_create("buf");

	tcase_add_loop_test(tc, put, 0, N_ELEMS(put_rows));
	tcase_add_test(tc, reserve);
	tcase_add_test(tc, printf_short_and_long);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
