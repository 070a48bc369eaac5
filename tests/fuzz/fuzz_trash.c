/*
 * fuzz_trash.c - what is kept of removed messages, in files that the maildrop's owner
 * may write: whatever they say, what is listed lies in them, and a message that is
 * brought back is in the maildrop, under the id that it was listed with.
 *
 * Input: octet 0: bit 0: of a Maildir, whose TRASH_IDS the rest is; else the rest is
 * a file of an mbox's; bit 1: its first line stands before it; bits 4 to 7: which
 * message is brought back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "conf.h"
#include "fsutil.h"
#include "fuzz.h"
#include "trash_impl.h"
#include "uidl.h"

#define IDS_MAX 64

static const char mbox_text[] = "From a@b Mon Jan  1 00:00:00 2024\nSubject: there\n\nbody\n\n";
static const char message_text[] = "Subject: kept\n\nbody\n";
/* names of the directory of a day; two have the name of a message that is there */
static const char *const kept[] = { "1.a", "2.b:2,S", "3.c:2,", "3.c", "with blank" };
#define N_KEPT (sizeof(kept) / sizeof(kept[0]))

static int digest(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		  size_t n, uint8_t (*out)[16])
{
	(void)ctx;
	return digest_items(kind, fd, items, n, out);
}

static void make_dirs(const char *const *names)
{
	for (; *names; names++)
		MUST(mkdirat(fuzz_dir(), *names, 0700) == 0);
}

static struct maildrop_env make_site(uint8_t how, const void *data, size_t size)
{
	static const char *const of_mbox[] = { "trash", NULL };
	static const char *const of_maildir[] = { "md",
						  "md/new",
						  "md/cur",
						  "md/tmp",
						  "md/" TRASH_OF_MAILDIR,
						  "md/" TRASH_OF_MAILDIR "/20000",
						  NULL };
	struct maildrop_env env = { .spec.kind = how & 1 ? MAILDROP_MAILDIR : MAILDROP_MBOX,
				    .state_fd = fuzz_dir(),
				    .uid = geteuid(),
				    .lock_timeout_ms = 100,
				    .mbox_locks = LOCK_FCNTL,
				    .digest = digest };
	char name[256];

	fuzz_dir_clear();
	make_dirs(how & 1 ? of_maildir : of_mbox);
	MUST(snprintf(env.spec.path, sizeof(env.spec.path), "%s/%s", fuzz_dir_path(),
		      how & 1 ? "md" : "mbox") < (int)sizeof(env.spec.path));
	if (!(how & 1)) {
		fuzz_dir_put("mbox", mbox_text, sizeof(mbox_text) - 1);
		fuzz_dir_put("trash/20000.1", data, size);
		return env;
	}
	fuzz_dir_put("md/cur/3.c:2,S", mbox_text, 20);
	fuzz_dir_put("md/" TRASH_OF_MAILDIR "/20000/" TRASH_IDS, data, size);
	for (size_t i = 0; i < N_KEPT; i++) {
		snprintf(name, sizeof(name), "md/%s/20000/%s", TRASH_OF_MAILDIR, kept[i]);
		fuzz_dir_put(name, message_text, sizeof(message_text) - 1);
	}
	return env;
}

static void open_md(struct maildrop **md, const struct maildrop_env *env)
{
	struct pop_why why = { "" };

	MUST(maildrop_open(md, env, &why) == 0);
}

static bool has_id(struct maildrop *md, const char *id)
{
	char one[UIDL_MAX + 1];

	for (size_t idx = 0; idx < maildrop_count(md); idx++) {
		MUST(maildrop_uidl(md, idx, one) == 0);
		if (strcmp(one, id) == 0)
			return true;
	}
	return false;
}

static void check_listed(const struct trash *t, struct maildrop *md, uint64_t size)
{
	struct maildrop_message m;
	struct pop_why why;

	for (size_t i = 0; i < t->n; i++) {
		const struct trash_item *item = &t->items[i];

		MUST(uidl_valid(item->uidl, strlen(item->uidl)));
		MUST(item->box < t->names_len && item->name < t->names_len);
		MUST(i >= IDS_MAX || !has_id(md, item->uidl));
		for (size_t j = 0; j < i && i < IDS_MAX; j++)
			MUST(strcmp(t->items[j].uidl, item->uidl) != 0);
		if (i >= IDS_MAX || trash_open(t, md, i, &m, &why) < 0)
			continue;
		if (md->env.spec.kind == MAILDROP_MBOX)
			MUST(item->start + item->bytes <= size &&
			     m.offset + m.length <= item->start + item->bytes);
		close(m.fd);
	}
}

/* Bring one back as pop3admin does. */
static void check_restored(struct trash *t, struct maildrop *md, const struct maildrop_env *env,
			   size_t i)
{
	struct maildrop_env anew = *env;
	struct maildrop *fresh = NULL, *after;
	size_t before = maildrop_count(md);
	struct pop_why why = { "" };
	int needs = trash_needs_import(t, md, i), err;
	char id[UIDL_MAX + 1];

	memcpy(id, t->items[i].uidl, sizeof(id));
	if (needs < 0)
		return;
	anew.fresh = true;
	if (needs)
		open_md(&fresh, &anew);
	err = trash_restore(t, md, fresh, i, &why);
	maildrop_close(fresh);
	open_md(&after, env);
	if (err == 0)
		MUST(maildrop_count(after) > before && has_id(after, id));
	else
		MUST(maildrop_count(after) == before && !has_id(after, id));
	maildrop_close(after);
}

static void check_purge(const struct maildrop_env *env, size_t least)
{
	struct pop_why why;
	uint64_t would, did;

	MUST(trash_purge(env, 0, true, &would, &why) == 0 && would >= least);
	MUST(trash_purge(env, 0, false, &did, &why) == 0 && did == would);
	MUST(trash_purge(env, 0, true, &would, &why) == 0 && would == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in);
	size_t head = how & 2 && !(how & 1) ? sizeof(TRASH_HEAD) - 1 : 0,
	       len = (size_t)(in.end - in.p);
	char *text = malloc(head + len + 1);
	struct maildrop_env env;
	struct maildrop *md;
	struct pop_why why;
	struct trash t;

	MUST(text != NULL);
	memcpy(text, TRASH_HEAD, head);
	if (len > 0)
		memcpy(text + head, in.p, len);
	env = make_site(how, text, head + len);
	open_md(&md, &env);
	MUST(trash_load(&t, md, &why) == 0);
	check_listed(&t, md, head + len);
	if (t.n > 0)
		check_restored(&t, md, &env, (how >> 4) % t.n);
	maildrop_close(md);
	open_md(&md, &env);
	trash_release(&t);
	MUST(trash_load(&t, md, &why) == 0);
	maildrop_close(md);
	check_purge(&env, t.n);
	trash_release(&t);
	fuzz_dir_clear();
	free(text);
	return 0;
}
