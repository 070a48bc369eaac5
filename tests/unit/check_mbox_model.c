/*
 * check_mbox_model.c - an mbox that deliverers, mail readers and our own sessions
 * change at random: what an index tells is what is in the file, and ids stay.
 */
#include "index_site.h"

#define MESSAGES 120

static struct message {
	char uidl[UIDL_MAX + 1];
	unsigned status; /* which Status field it has, 0: none */
	unsigned size;	 /* of its body */
	bool there;
} messages[MESSAGES];
static int n_messages;
static uint32_t seed;

static uint32_t next_random(uint32_t most)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % most;
}

/* As it stands in the file, with the line that separates it. */
static size_t text_of(int n, char *out, size_t size)
{
	static const char *const status[] = { "", "Status: O\n", "Status: RO\n",
					      "Status: RO\nX-Status: A\n" };
	const struct message *m = &messages[n];
	int len = snprintf(out, size,
			   "From a@b Mon Jan  1 00:00:00 2024\nSubject: number\nX-Number: %d\n%s"
			   "\nbody %d\n%.*s\n\n",
			   n, status[m->status], n, (int)m->size,
			   "....................................................................");

	ck_assert_uint_lt((size_t)len, size);
	return (size_t)len;
}

static void append_text(const char *text)
{
	put_file("mbox", text, true);
}

static void add(void)
{
	char text[512];
	size_t len;

	if (n_messages == MESSAGES)
		return;
	messages[n_messages].size = next_random(60);
	messages[n_messages].there = true;
	len = text_of(n_messages++, text, sizeof(text));
	/* some deliverers leave the last empty line out */
	text[len - next_random(2)] = '\0';
	append_text(text);
}

/* A reader writes the file anew, in place or as another file. */
static void rewrite(bool in_place)
{
	char path[512], text[512];

	path_of(path, "mbox");
	if (in_place)
		ck_assert_int_eq(truncate(path, 0), 0);
	else
		ck_assert_int_eq(unlink(path), 0);
	append_text("");
	for (int n = 0; n < n_messages; n++) {
		if (!messages[n].there)
			continue;
		text_of(n, text, sizeof(text));
		append_text(text);
	}
}

/* Messages change their Status, or go, by another program's hand. */
static void read_by_another(void)
{
	for (int n = 0; n < n_messages; n++) {
		if (!next_random(4))
			messages[n].status = next_random(4);
		if (!next_random(12))
			messages[n].there = false;
	}
	rewrite(next_random(2));
}

static void compare(void)
{
	uint64_t octets, total = 0;
	char uidl[UIDL_MAX + 1];
	size_t idx = 0;

	for (int n = 0; n < n_messages; n++) {
		if (!messages[n].there)
			continue;
		ck_assert_uint_lt(idx, maildrop_count(md));
		ck_assert_int_eq(number_of(idx), n);
		ck_assert_int_eq(maildrop_message_octets(md, idx, &octets), 0);
		total += octets;
		ck_assert_int_eq(maildrop_uidl(md, idx, uidl), 0);
		if (!messages[n].uidl[0])
			memcpy(messages[n].uidl, uidl, sizeof(uidl));
		ck_assert_str_eq(messages[n].uidl, uidl);
		idx++;
	}
	ck_assert_uint_eq(idx, maildrop_count(md));
	ck_assert_uint_eq(maildrop_octets(md), total);
}

/* Our own session removes some, while mail may come in. */
static void remove_some(void)
{
	size_t idx = 0, marked = 0, removed;
	uint8_t deleted[MESSAGES / 8 + 1] = { 0 };
	int all = n_messages;
	int err;

	for (int n = 0; n < all; n++) {
		if (!messages[n].there)
			continue;
		if (!next_random(3)) {
			deleted[idx / 8] |= (uint8_t)(1u << idx % 8);
			messages[n].there = false;
			marked++;
		}
		idx++;
	}
	if (next_random(2))
		add();
	err = maildrop_expunge(md, deleted, NULL, &removed, &why);
	ck_assert_msg(err == 0, "%d: %s", err, why.text);
	ck_assert_uint_eq(removed, marked);
	maildrop_save(md);
}

START_TEST(test_random)
{
	site_setup(MAILDROP_MBOX);
	seed = (uint32_t)_i + 1;
	append_text("");
	for (int i = (int)next_random(30); i >= 0; i--)
		add();
	for (int round = 0; round < 20; round++) {
		/* stamps that are not clean now and then, so that all is read */
		margin_ns = next_random(4) ? 20000000 : INT64_C(86400000000000);
		open_md();
		if (next_random(3))
			compare();
		if (md->uidls_known || next_random(4))
			maildrop_save(md);
		if (!next_random(3))
			remove_some();
		close_md();
		switch (next_random(4)) {
		case 0:
			read_by_another();
			break;
		case 1:
			break;
		default:
			for (uint32_t i = next_random(4); i; i--)
				add();
		}
	}
	open_md();
	compare();
	site_teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mbox_model");
	TCase *tc = tcase_create("mbox_model");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_random, 0, 30);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
