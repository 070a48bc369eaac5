/*
 * check_maildir_model.c - a Maildir that other programs change at random between
 * sessions: what an index tells is what a fresh look finds, and ids stay.
 */
#include "index_site.h"

#define FILES 200

/* A message: the number in its body is its place here. */
static struct file {
	char name[64]; /* below md/ */
	char uidl[UIDL_MAX + 1];
	size_t octets;
	bool there;
} files[FILES];
static int n_files;
static uint32_t seed;

static uint32_t next_random(uint32_t most)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % most;
}

static void add(void)
{
	static const char *const endings[] = { ":2,", ":2,S", ":2,FS", ":2,ST" };
	struct file *f = &files[n_files];
	char text[128], path[96];
	bool in_new = next_random(2);

	if (n_files == FILES)
		return;
	/* few numbers, so that new ones fall everywhere; now and then no id, or one taken */
	snprintf(f->name, sizeof(f->name), "%s/%u.%s%u%s", in_new ? "new" : "cur",
		 next_random(40) + 5, next_random(8) ? "M" : "M ", next_random(30),
		 in_new ? "" : endings[next_random(4)]);
	for (int i = 0; i < n_files; i++)
		if (files[i].there && !strcmp(files[i].name, f->name))
			return;
	snprintf(text, sizeof(text), "Subject: number\n\nbody %d\n", n_files);
	f->octets = strlen(text) + 3;
	f->there = true;
	n_files++;
	snprintf(path, sizeof(path), "md/%s", f->name);
	put_file(path, text, false);
}

static struct file *any(void)
{
	for (int tries = 0; n_files && tries < 50; tries++) {
		struct file *f = &files[next_random((uint32_t)n_files)];

		if (f->there)
			return f;
	}
	return NULL;
}

static void remove_any(void)
{
	struct file *f = any();
	char path[512], name[96];

	if (!f)
		return;
	snprintf(name, sizeof(name), "md/%s", f->name);
	path_of(path, name);
	ck_assert_int_eq(unlink(path), 0);
	f->there = false;
}

/* To cur, with other flags. */
static void rename_any(void)
{
	static const char *const endings[] = { ":2,", ":2,S", ":2,FRS" };
	struct file *f = any();
	char from[512], to[512], name[96], base[64];

	if (!f)
		return;
	snprintf(base, sizeof(base), "%s", f->name + 4);
	base[strcspn(base, ":")] = '\0';
	snprintf(name, sizeof(name), "md/%s", f->name);
	path_of(from, name);
	snprintf(name, sizeof(name), "md/cur/%s%s", base, endings[next_random(3)]);
	path_of(to, name);
	if (access(to, F_OK) == 0)
		return;
	ck_assert_int_eq(rename(from, to), 0);
	snprintf(f->name, sizeof(f->name), "%.63s", name + 3);
}

/* Every message that is there is there once, with the id it has had. */
static void compare(void)
{
	bool seen[FILES] = { false };
	char uidl[UIDL_MAX + 1];
	uint64_t octets, total = 0;
	int there = 0;

	for (int i = 0; i < n_files; i++)
		there += files[i].there;
	ck_assert_int_eq((int)maildrop_count(md), there);
	for (size_t idx = 0; idx < maildrop_count(md); idx++) {
		int n = number_of(idx);
		struct file *f = &files[n];

		ck_assert_int_ge(n, 0);
		ck_assert_int_lt(n, n_files);
		ck_assert(f->there);
		ck_assert(!seen[n]);
		seen[n] = true;
		ck_assert_int_eq(maildrop_message_octets(md, idx, &octets), 0);
		ck_assert_uint_eq(octets, f->octets);
		total += octets;
		ck_assert_int_eq(maildrop_uidl(md, idx, uidl), 0);
		if (!f->uidl[0])
			memcpy(f->uidl, uidl, sizeof(uidl));
		ck_assert_str_eq(f->uidl, uidl);
	}
	ck_assert_uint_eq(maildrop_octets(md), total);
}

static void unique(void)
{
	for (int i = 0; i < n_files; i++)
		for (int j = 0; j < i; j++)
			if (files[i].there && files[j].there)
				ck_assert_str_ne(files[i].uidl, files[j].uidl);
}

START_TEST(test_random)
{
	site_setup(MAILDROP_MAILDIR);
	seed = (uint32_t)_i + 1;
	for (int i = (int)next_random(60); i >= 0; i--)
		add();
	for (int round = 0; round < 20; round++) {
		uint32_t changes = next_random(5);

		/* stamps that are not clean now and then, so that all is read */
		margin_ns = next_random(4) ? 20000000 : INT64_C(86400000000000);
		open_md();
		/* not all sessions ask for ids */
		if (next_random(4)) {
			compare();
			unique();
		}
		/* ids that a client saw are kept; else the session may have been killed */
		if (md->uidls_known || next_random(4))
			maildrop_save(md);
		close_md();
		for (; changes; changes--) {
			switch (next_random(4)) {
			case 0:
				remove_any();
				break;
			case 1:
				rename_any();
				break;
			default:
				add();
			}
		}
	}
	open_md();
	compare();
	unique();
	site_teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("maildir_model");
	TCase *tc = tcase_create("maildir_model");
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
