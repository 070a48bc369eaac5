/*
 * check_mbox.c - an mbox as a maildrop: opened, verified, named and expunged, while
 * other programs deliver, rewrite, replace and remove it.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "conf.h"
#include "maildrop.h"
#include "scratch.h"

#define FROM   "From joe@example.org Thu Nov 12 10:32:04 2026\n"
#define MSG(n) FROM "Subject: " n "\n\nbody of " n "\n\n"

static struct maildrop_env env;
static char notes[1024];

static int digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		  size_t n, uint8_t (*out)[16])
{
	(void)ctx;
	return digest_items(kind, fd, items, n, out);
}

static void note(void *ctx, int level, const char *text)
{
	(void)ctx;
	(void)level;
	snprintf(notes, sizeof(notes), "%s", text);
}

static void setup(void)
{
	scratch_setup();
	ck_assert_int_eq(mkdir("state", 0700), 0);
	env = (struct maildrop_env){
		.spec = { .kind = MAILDROP_MBOX },
		.state_fd = open("state", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.uid = geteuid(),
		.lock_timeout_ms = 100,
		.mbox_locks = LOCK_DOTLOCK | LOCK_FCNTL,
		.digest = digest,
		.note = note,
	};
	snprintf(env.spec.path, sizeof(env.spec.path), "%.4000s/box", scratch_dir);
}

static struct maildrop *open_box(void)
{
	struct maildrop *md = NULL;
	struct pop_why why = { "" };
	int err = maildrop_open(&md, &env, &why);

	ck_assert_msg(err == 0, "%d: %s", err, why.text);
	return md;
}

/* The stored bytes of a message, or NULL where it changed. */
static const char *message_text(struct maildrop *md, size_t idx)
{
	static char text[65536];
	struct maildrop_message m;
	int err = maildrop_message(md, idx, &m);

	if (err == POP_E_CHANGED)
		return NULL;
	ck_assert_int_eq(err, 0);
	ck_assert_uint_lt(m.length, sizeof(text));
	ck_assert_int_eq(pread(m.fd, text, m.length, (off_t)m.offset), (ssize_t)m.length);
	text[m.length] = 0;
	return text;
}

static int expunge(struct maildrop *md, unsigned deleted, size_t *removed)
{
	uint8_t bits[4] = { (uint8_t)deleted, (uint8_t)(deleted >> 8), (uint8_t)(deleted >> 16),
			    0 };
	struct pop_why why = { "" };

	return maildrop_expunge(md, bits, NULL, removed, &why);
}

static void append(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

START_TEST(empty)
{
	struct maildrop *md = open_box(); /* no file */
	size_t removed;

	ck_assert_uint_eq(maildrop_count(md), 0);
	ck_assert_int_eq(expunge(md, 0, &removed), 0);
	maildrop_close(md);
	ck_assert_int_lt(access("box", F_OK), 0);
	scratch_text("box", "no mail here\n");
	md = open_box();
	ck_assert_uint_eq(maildrop_count(md), 0);
	maildrop_close(md);
	ck_assert_str_eq(scratch_read("box"), "no mail here\n");
}
END_TEST

START_TEST(opened)
{
	struct maildrop *md;
	struct maildrop_message m;
	uint64_t octets;

	scratch_text("box", MSG("one") MSG("two"));
	md = open_box();
	ck_assert_uint_eq(maildrop_count(md), 2);
	ck_assert_uint_eq(maildrop_octets(md), 2 * (14 + 2 + 13));
	ck_assert_int_eq(maildrop_message_octets(md, 1, &octets), 0);
	ck_assert_uint_eq(octets, 29);
	ck_assert_str_eq(message_text(md, 0), "Subject: one\n\nbody of one\n");
	ck_assert_str_eq(message_text(md, 1), "Subject: two\n\nbody of two\n");
	ck_assert_int_eq(maildrop_message(md, 2, &m), POP_E_RANGE);
	/* No lock is left. */
	ck_assert_int_lt(access("box.lock", F_OK), 0);
	ck_assert(!maildrop_read_only(md));
	maildrop_close(md);
}
END_TEST

static const struct {
	const char *text, *after;
} ends[] = {
	{ MSG("one"), MSG("one") },
	{ FROM "A: b\n\nx\n", FROM "A: b\n\nx\n\n" },
	{ FROM "A: b\n\nx", FROM "A: b\n\nx\n\n" },
	{ FROM "A: b\n\nx\r", FROM "A: b\n\nx\r\r\n\n" },
	{ FROM "A: b", FROM "A: b\n\n" },
	{ FROM, FROM "\n" },
	{ "From joe Thu Nov 12 10:32:04 2026", "From joe Thu Nov 12 10:32:04 2026\n\n" },
	{ "From joe Thu Nov 12 10:32:04 2026\r\nA: b\r\n\r\nx\r\n",
	  "From joe Thu Nov 12 10:32:04 2026\r\nA: b\r\n\r\nx\r\n\r\n" },
	{ "text", "text" },
};

/* The line end is written, and neither octets nor unique id change by it. */
START_TEST(line_end)
{
	char before[UIDL_MAX + 1] = "", after[UIDL_MAX + 1] = "", second[UIDL_MAX + 1] = "";
	struct maildrop *md;
	uint64_t octets;
	size_t n;

	scratch_text("box", ends[_i].text);
	/* Not written where there is no right to. */
	ck_assert_int_eq(chmod("box", 0400), 0);
	md = open_box();
	n = maildrop_count(md);
	octets = maildrop_octets(md);
	if (n)
		ck_assert_int_eq(maildrop_uidl(md, 0, before), 0);
	if (geteuid() != 0) {
		ck_assert(maildrop_read_only(md));
		ck_assert_str_eq(scratch_read("box"), ends[_i].text);
	}
	maildrop_close(md);
	ck_assert_int_eq(chmod("box", 0600), 0);
	md = open_box();
	ck_assert_str_eq(scratch_read("box"), ends[_i].after);
	ck_assert_uint_eq(maildrop_count(md), n);
	ck_assert_uint_eq(maildrop_octets(md), octets);
	if (n) {
		ck_assert_int_eq(maildrop_uidl(md, 0, after), 0);
		ck_assert_ptr_nonnull(message_text(md, 0));
	}
	ck_assert_str_eq(before, after);
	maildrop_close(md);
	if (!n)
		return;
	append("box", MSG("more"));
	md = open_box();
	ck_assert_uint_eq(maildrop_count(md), 2);
	ck_assert_int_eq(maildrop_uidl(md, 0, second), 0);
	ck_assert_str_eq(after, second);
	maildrop_close(md);
}
END_TEST

START_TEST(unique_ids)
{
	struct maildrop *md;
	char id[5][UIDL_MAX + 1], again[UIDL_MAX + 1];

	scratch_text("box", MSG("one") MSG("two") MSG("one") MSG("one") FROM
		     "Status: RO\nSubject: two\nX-UIDL: evil\n\nbody of two\n\n");
	md = open_box();
	for (size_t i = 0; i < 5; i++) {
		ck_assert_int_eq(maildrop_uidl(md, i, id[i]), 0);
		ck_assert_uint_ge(strlen(id[i]), 32);
	}
	snprintf(again, sizeof(again), "%.32s-2", id[0]);
	ck_assert_str_eq(id[2], again);
	snprintf(again, sizeof(again), "%.32s-3", id[0]);
	ck_assert_str_eq(id[3], again);
	snprintf(again, sizeof(again), "%.32s-2", id[1]); /* volatile fields count nothing */
	ck_assert_str_eq(id[4], again);
	ck_assert_str_ne(id[0], id[1]);
	maildrop_close(md);
	/* Elsewhere, with other separators, line ends and more empty lines: the same. */
	scratch_text("box", "From x@y Fri Nov 13 10:00:00 2026\r\nSubject: one\r\n\r\nbody of "
			    "one\r\n\r\n\r\n\r\n");
	md = open_box();
	ck_assert_int_eq(maildrop_uidl(md, 0, again), 0);
	ck_assert_str_eq(again, id[0]);
	maildrop_close(md);
}
END_TEST

/* --- while a session runs ---------------------------------------------------- */

static void rewrite_box(const char *text)
{
	scratch_text("box", text); /* the same inode */
}

static void replace_box(const char *text)
{
	scratch_text("new", text);
	ck_assert_int_eq(rename("new", "box"), 0);
}

START_TEST(changed_meanwhile)
{
	struct maildrop *md;
	char id[UIDL_MAX + 1];

	scratch_text("box", MSG("one") MSG("two") MSG("six"));
	md = open_box();
	/* Status lines move everything behind them. */
	rewrite_box(FROM "Status: R\nSubject: one\n\nbody of one\n\n" MSG("two") MSG("six"));
	ck_assert_ptr_null(message_text(md, 0));
	ck_assert_ptr_null(message_text(md, 1));
	ck_assert_int_eq(maildrop_uidl(md, 0, id), POP_E_CHANGED);
	rewrite_box(MSG("one") MSG("two") MSG("six"));
	ck_assert_str_eq(message_text(md, 2), "Subject: six\n\nbody of six\n");
	/* Of the same size: another message in its place. */
	rewrite_box(MSG("one") MSG("six") MSG("two"));
	ck_assert_str_eq(message_text(md, 0), "Subject: one\n\nbody of one\n");
	ck_assert_ptr_null(message_text(md, 1));
	ck_assert_ptr_null(message_text(md, 2));
	rewrite_box(MSG("one"));
	ck_assert_ptr_null(message_text(md, 2));
	rewrite_box("");
	ck_assert_ptr_null(message_text(md, 0));
	/* Replaced as a whole: the old file is read to its end. */
	rewrite_box(MSG("one") MSG("two") MSG("six"));
	replace_box(MSG("six"));
	ck_assert_str_eq(message_text(md, 1), "Subject: two\n\nbody of two\n");
	maildrop_close(md);
}
END_TEST

#define ONE	MSG("one")
#define TWO	MSG("two")
#define THREE	MSG("three")
#define FOUR	MSG("four")
#define READ(n) FROM "Status: RO\nSubject: " n "\nX-Status: \n\nbody of " n "\n\n"

enum how { STAYS, APPENDED, REWRITTEN, REPLACED, REMOVED };
static const struct meanwhile {
	const char *name, *before;
	unsigned deleted;
	enum how how;
	const char *meanwhile; /* appended, or the new content */
	bool ids;	       /* unique ids were asked for before */
	int result;
	size_t removed;
	const char *after;
} meanwhiles[] = {
	{ "first", ONE TWO THREE, 1, STAYS, "", false, 0, 1, TWO THREE },
	{ "middle", ONE TWO THREE, 2, STAYS, "", false, 0, 1, ONE THREE },
	{ "last", ONE TWO THREE, 4, STAYS, "", false, 0, 1, ONE TWO },
	{ "all", ONE TWO THREE, 7, STAYS, "", false, 0, 3, "" },
	{ "all but last", ONE TWO THREE, 3, STAYS, "", false, 0, 2, THREE },
	{ "every second", ONE TWO THREE FOUR, 10, STAYS, "", false, 0, 2, ONE THREE },
	{ "text before", "text\n" ONE TWO, 1, STAYS, "", false, 0, 1, "text\n" TWO },
	{ "none", ONE TWO, 0, STAYS, "", false, 0, 0, ONE TWO },
	{ "without the last line end", ONE FROM "A: b\n\nx", 1, STAYS, "", false, 0, 1,
	  FROM "A: b\n\nx\n\n" },

	{ "first, mail came", ONE TWO, 1, APPENDED, FOUR, false, 0, 1, TWO FOUR },
	{ "last, mail came", ONE TWO, 2, APPENDED, FOUR, false, 0, 1, ONE FOUR },
	{ "all, mail came", ONE TWO, 3, APPENDED, FOUR, false, 0, 2, FOUR },
	{ "all, half a mail came", ONE TWO, 3, APPENDED, "From x", false, 0, 2, "From x" },

	{ "moved by a removal", ONE TWO THREE, 4, REWRITTEN, TWO THREE, false, 0, 1, TWO },
	{ "removed by another", ONE TWO THREE, 1, REWRITTEN, TWO THREE, true, 0, 1, TWO THREE },
	{ "removed by another, no ids", ONE TWO THREE, 1, REWRITTEN, TWO THREE, false,
	  POP_E_CHANGED, 0, TWO THREE },
	{ "emptied by another", ONE TWO, 3, REWRITTEN, "", true, 0, 2, "" },
	{ "marked read by another", ONE TWO THREE, 2, REWRITTEN,
	  READ("one") READ("two") READ("three"), true, 0, 1, READ("one") READ("three") },
	{ "marked read, no ids", ONE TWO THREE, 3, REWRITTEN, READ("one") TWO THREE, false,
	  POP_E_CHANGED, 1, READ("one") THREE },
	{ "marked read and mail", ONE TWO, 1, REWRITTEN, READ("one") READ("two") FOUR, true, 0, 1,
	  READ("two") FOUR },
	{ "sorted by another", ONE TWO THREE, 1, REWRITTEN, THREE TWO ONE, false, 0, 1, THREE TWO },
	{ "others in its place", ONE TWO, 3, REWRITTEN, THREE FOUR, true, 0, 2, THREE FOUR },

	{ "replaced, the same", ONE TWO, 1, REPLACED, ONE TWO, false, 0, 1, TWO },
	{ "replaced, with mail", ONE TWO, 2, REPLACED, ONE TWO FOUR, false, 0, 1, ONE FOUR },
	{ "replaced, marked read", ONE TWO, 2, REPLACED, READ("one") READ("two"), false, 0, 1,
	  READ("one") },
	{ "removed with all", ONE TWO, 3, REMOVED, "", false, 0, 2, NULL },

	{ "first twin", ONE ONE TWO, 1, REWRITTEN, ONE ONE TWO FOUR, true, 0, 1, ONE TWO FOUR },
	{ "a twin is gone", ONE ONE TWO, 1, REWRITTEN, ONE TWO, true, 0, 1, ONE TWO },
	{ "both twins", ONE ONE TWO, 3, REWRITTEN, READ("one") ONE TWO, true, 0, 2, TWO },
	{ "a third twin", ONE ONE TWO, 3, REWRITTEN, TWO ONE ONE ONE, true, 0, 2, TWO ONE },
};

START_TEST(expunged)
{
	const struct meanwhile *r = &meanwhiles[_i];
	struct maildrop *md;
	char id[UIDL_MAX + 1];
	size_t removed = 99;
	struct stat before, after;

	scratch_text("box", r->before);
	md = open_box();
	if (r->ids)
		ck_assert_int_eq(maildrop_uidl(md, 0, id), 0);
	switch (r->how) {
	case STAYS:
		break;
	case APPENDED:
		append("box", r->meanwhile);
		break;
	case REWRITTEN:
		rewrite_box(r->meanwhile);
		break;
	case REPLACED:
		replace_box(r->meanwhile);
		break;
	case REMOVED:
		ck_assert_int_eq(unlink("box"), 0);
		break;
	}
	if (r->after)
		ck_assert_int_eq(stat("box", &before), 0);
	ck_assert_msg(expunge(md, r->deleted, &removed) == r->result, "%s", r->name);
	ck_assert_msg(removed == r->removed, "%s: %zu", r->name, removed);
	maildrop_close(md);
	ck_assert_int_lt(access("box.lock", F_OK), 0);
	ck_assert_int_lt(access("state/journal", F_OK), 0);
	if (!r->after)
		return;
	ck_assert_msg(strcmp(scratch_read("box"), r->after) == 0, "%s: %s", r->name,
		      scratch_read("box"));
	/* Deliverers hold the inode. */
	ck_assert_int_eq(stat("box", &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

/* Ids stay when others go, and the hidden message stays for ever. */
START_TEST(hidden)
{
	static const char internal[] =
		FROM "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
		     "X-IMAP: 1 2\n\nx\n\n";
	char text[2000], id[UIDL_MAX + 1], same[UIDL_MAX + 1];
	struct maildrop *md;
	size_t removed;

	snprintf(text, sizeof(text), "%s%s%s", internal, ONE, TWO);
	scratch_text("box", text);
	md = open_box();
	ck_assert_uint_eq(maildrop_count(md), 2);
	ck_assert_int_eq(maildrop_uidl(md, 1, id), 0);
	ck_assert_int_eq(expunge(md, 1, &removed), 0);
	maildrop_close(md);
	md = open_box();
	ck_assert_uint_eq(maildrop_count(md), 1);
	ck_assert_int_eq(maildrop_uidl(md, 0, same), 0);
	ck_assert_str_eq(id, same);
	ck_assert_int_eq(expunge(md, 1, &removed), 0);
	maildrop_close(md);
	ck_assert_str_eq(scratch_read("box"), internal);
}
END_TEST

START_TEST(read_only)
{
	struct maildrop *md;
	size_t removed = 9;

	if (geteuid() == 0)
		return;
	scratch_write("box", ONE TWO, strlen(ONE TWO), 0400);
	md = open_box();
	ck_assert(maildrop_read_only(md));
	ck_assert_ptr_nonnull(message_text(md, 0));
	ck_assert_int_eq(expunge(md, 1, &removed), POP_E_DENIED);
	ck_assert_uint_eq(removed, 0);
	maildrop_close(md);
	ck_assert_str_eq(scratch_read("box"), ONE TWO);
}
END_TEST

/* No room for a journal: nothing removed, nothing changed; with a little room it works. */
START_TEST(no_room)
{
	static const rlim_t limits[] = { 60000, 200 << 10, 300 << 10, 64 << 20 };
	size_t size = 40000, removed = 9;
	char *text = malloc(size + 1);
	struct maildrop *md;
	struct rlimit rl = { .rlim_cur = limits[_i], .rlim_max = RLIM_INFINITY };
	int err;

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', size);
	text[size] = 0;
	memcpy(text, ONE TWO, strlen(ONE TWO));
	memcpy(text + size - 2, "\n\n", 2);
	scratch_text("box", text);
	md = open_box();
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &rl), 0);
	err = expunge(md, 1, &removed);
	ck_assert_int_lt(access("state/journal", F_OK), 0);
	ck_assert_int_eq(err, limits[_i] < 150 << 10 ? POP_E_SYS : 0);
	ck_assert_str_eq(scratch_read("box"), err ? text : text + strlen(ONE));
	maildrop_close(md);
	free(text);
}
END_TEST

START_TEST(locked)
{
	struct maildrop *md;
	struct pop_why why;
	size_t removed;

	scratch_text("box", ONE);
	scratch_text("box.lock", "");
	ck_assert_int_eq(maildrop_open(&md, &env, &why), POP_E_BUSY);
	ck_assert_ptr_null(md);
	ck_assert_int_eq(unlink("box.lock"), 0);
	md = open_box();
	scratch_text("box.lock", "");
	ck_assert_int_eq(expunge(md, 1, &removed), POP_E_BUSY);
	ck_assert_uint_eq(removed, 0);
	maildrop_close(md);
	ck_assert_str_eq(scratch_read("box"), ONE);
}
END_TEST

/* A damaged journal is set aside, the login goes on, and a note says so. */
START_TEST(journal_aside)
{
	struct maildrop *md;

	scratch_text("box", ONE TWO);
	ck_assert_int_eq(system("umask 077; head -c 100000 /dev/urandom > state/journal"), 0);
	md = open_box();
	ck_assert_uint_eq(maildrop_count(md), 2);
	ck_assert_ptr_nonnull(strstr(notes, "journal."));
	maildrop_close(md);
	ck_assert_int_eq(system("ls state/journal.* >/dev/null"), 0);
	ck_assert_int_lt(access("state/journal", F_OK), 0);
}
END_TEST

/* The mailbox is away for a moment: its journal waits for it. */
START_TEST(journal_waits)
{
	scratch_text("box", ONE TWO);
	ck_assert_int_eq(system("umask 077; echo x > state/journal; mv box away"), 0);
	maildrop_close(open_box());
	ck_assert_int_eq(access("state/journal", F_OK), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mbox");
	TCase *tc = tcase_create("mbox");

	tcase_add_checked_fixture(tc, setup, scratch_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, empty);
	tcase_add_test(tc, opened);
	tcase_add_loop_test(tc, line_end, 0, N_ELEMS(ends));
	tcase_add_test(tc, unique_ids);
	tcase_add_test(tc, changed_meanwhile);
	tcase_add_loop_test(tc, expunged, 0, N_ELEMS(meanwhiles));
	tcase_add_test(tc, hidden);
	tcase_add_test(tc, read_only);
	tcase_add_loop_test(tc, no_room, 0, 4);
	tcase_add_test(tc, locked);
	tcase_add_test(tc, journal_aside);
	tcase_add_test(tc, journal_waits);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
