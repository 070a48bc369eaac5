/*
 * import.c - match foreign ids with messages, verify, save.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner, under the session lock.
 * Trusts:   neither the file of the other server nor the mail.
 */
#include "import.h"
#include "content.h"
#include "uidl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BY_SENT, BY_PLAIN, BY_SHA1 };

/* For qsort(), which hands nothing through: one import runs in this process. */
static const struct import_plan *sorting;
static int sorting_by;

static const uint8_t *digest_of(const struct import_plan *p, uint32_t idx, int by, size_t *len)
{
	const struct content *c = &p->contents[idx];

	*len = by == BY_SHA1 ? sizeof(c->sha1) : sizeof(c->sent);
	return by == BY_SENT ? c->sent : by == BY_PLAIN ? c->plain : c->sha1;
}

static int order_keys(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	int order = strcmp(imported_key(&sorting->keys, i), imported_key(&sorting->keys, k));

	return order ? order : (i > k) - (i < k);
}

static int order_contents(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	size_t len;
	const uint8_t *x = digest_of(sorting, i, sorting_by, &len);
	int order = memcmp(x, digest_of(sorting, k, sorting_by, &len), len);

	return order ? order : (i > k) - (i < k);
}

static uint32_t *sorted(struct import_plan *p, int by, int (*order)(const void *a, const void *b))
{
	uint32_t *numbers = calloc(p->count + 1, sizeof(*numbers));

	if (!numbers)
		return NULL;
	for (size_t i = 0; i < p->count; i++)
		numbers[i] = (uint32_t)i;
	sorting = p;
	sorting_by = by;
	qsort(numbers, p->count, sizeof(*numbers), order);
	return numbers;
}

/* Read every message of the maildrop, once. */
static int need_contents(struct import_plan *p)
{
	int err = 0;

	if (p->contents)
		return 0;
	p->contents = calloc(p->count + 1, sizeof(*p->contents));
	if (!p->contents)
		return POP_E_MEMORY;
	for (size_t i = 0; !err && i < p->count; i++) {
		struct maildrop_message m = { .fd = -1 };

		err = maildrop_message(p->md, i, &m);
		if (err)
			break;
		err = content_of(m.fd, m.offset, m.length, &p->contents[i]);
		if (m.own_fd)
			close(m.fd);
	}
	return err;
}

/* The first message without a planned id that has this key; count where there is none. */
static size_t find_base(const struct import_plan *p, const struct import_entry *e)
{
	char key[IMPORTED_KEY_MAX];
	size_t low = 0, high = p->count;

	if (imported_base_key(e->base, e->base_len, key) < 0)
		return p->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(imported_key(&p->keys, p->by_key[mid]), key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == p->count || strcmp(imported_key(&p->keys, p->by_key[low]), key) != 0)
		return p->count;
	return p->by_key[low];
}

/* The same for the digest of a whole message: of twins the first that has none yet. */
static int find_content(struct import_plan *p, int by, const uint8_t *digest, size_t *found)
{
	size_t low = 0, high = p->count, len = 0;
	int err = need_contents(p);

	*found = p->count;
	if (err)
		return err;
	if (!p->by_content[by])
		p->by_content[by] = sorted(p, by, order_contents);
	if (!p->by_content[by])
		return POP_E_MEMORY;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const uint8_t *x = digest_of(p, p->by_content[by][mid], by, &len);

		if (memcmp(x, digest, len) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < p->count; low++) {
		uint32_t idx = p->by_content[by][low];

		if (memcmp(digest_of(p, idx, by, &len), digest, len) != 0)
			break;
		if (!p->ids[idx][0]) {
			*found = idx;
			break;
		}
	}
	return 0;
}

static int find_message(struct import_plan *p, const struct import_entry *e, size_t *idx)
{
	int err = 0;

	*idx = p->count;
	if (e->base) {
		*idx = find_base(p, e);
		return 0;
	}
	if (e->has_plain)
		err = find_content(p, BY_PLAIN, e->plain, idx);
	if (!err && *idx == p->count && e->digest_len == sizeof(e->digest))
		err = find_content(p, BY_SENT, e->digest, idx);
	/* a server that hides what readers add, or a message that got no such field */
	if (!err && *idx == p->count && e->digest_len == sizeof(e->digest))
		err = find_content(p, BY_PLAIN, e->digest, idx);
	if (!err && *idx == p->count && e->digest_len == 20)
		err = find_content(p, BY_SHA1, e->digest, idx);
	return err;
}

static int unmapped(struct import_plan *p, const struct import_entry *e, const char *reason)
{
	return owner_say(p->o, REC_FINDING, 0, "line %lu: id %.80s: %s", e->line, e->id, reason);
}

int import_plan_entry(struct import_plan *p, const struct import_entry *e)
{
	size_t idx, len = strlen(e->id);
	int err;

	p->entries++;
	if (!uidl_valid(e->id, len))
		return unmapped(p, e,
				"is no unique id that clients can be given (1 to 70 octets "
				"of 0x21 to 0x7E)");
	err = find_message(p, e, &idx);
	if (err)
		return err;
	if (idx == p->count)
		return unmapped(p, e, "its message is not in the maildrop");
	if (p->ids[idx][0])
		return unmapped(p, e, "its message has an id from a line before");
	err = uidl_set_add(p->taken, e->id, len);
	if (err == 0)
		return unmapped(p, e, "a message before it has the same id");
	if (err < 0)
		return err;
	memcpy(p->ids[idx], e->id, len + 1);
	p->mapped++;
	return 0;
}

static int plan_begin(struct import_plan *p)
{
	char uidl[UIDL_MAX + 1];
	int err;

	p->count = maildrop_count(p->md);
	if (p->count > UINT32_MAX)
		return POP_E_RANGE;
	p->ids = calloc(p->count + 1, sizeof(*p->ids));
	p->taken = calloc(1, sizeof(*p->taken));
	if (!p->ids || !p->taken)
		return POP_E_MEMORY;
	err = uidl_set_init(p->taken, p->count);
	/* makes all ids known, and with them the digests that the keys are made of */
	if (!err && p->count)
		err = maildrop_uidl(p->md, 0, uidl);
	if (!err)
		err = imported_keys_make(&p->keys, p->md);
	if (!err) {
		p->by_key = sorted(p, 0, order_keys);
		if (!p->by_key)
			err = POP_E_MEMORY;
	}
	return err;
}

static void plan_release(struct import_plan *p)
{
	imported_keys_release(&p->keys);
	free(p->by_key);
	for (size_t i = 0; i < 3; i++)
		free(p->by_content[i]);
	free(p->contents);
	free(p->ids);
	if (p->taken)
		uidl_set_release(p->taken);
	free(p->taken);
}

/* Put the planned ids into the file's table; *changed counts those that are news. */
static int apply_plan(const struct import_plan *p, struct imported *im, uint64_t *changed)
{
	int err = 0;

	*changed = 0;
	for (size_t i = 0; err >= 0 && i < p->count; i++) {
		if (!p->ids[i][0])
			continue;
		err = imported_set(im, imported_key(&p->keys, i), p->ids[i]);
		*changed += err == 1;
	}
	return err < 0 ? err : 0;
}

static int save(struct target *t, struct imported *im)
{
	/* first: an index that knows other ids must not outlive the old file */
	if (unlinkat(t->state_fd, "index", 0) < 0 && errno != ENOENT)
		return POP_E_SYS;
	return imported_save(im, t->state_fd);
}

/* Open again as a session would: each message now has the id that was planned for it. */
static int verify(struct target *t, struct owner *o, const struct import_plan *p,
		  struct pop_why *why)
{
	struct maildrop *md = NULL;
	char uidl[UIDL_MAX + 1];
	int err = target_open_maildrop(t, o, true, &md, why);

	if (!err && maildrop_count(md) < p->count)
		err = pop_why(why, POP_E_CHANGED,
			      "another program changed the maildrop meanwhile; import again");
	for (size_t i = 0; !err && i < p->count; i++) {
		if (!p->ids[i][0])
			continue;
		err = maildrop_uidl(md, i, uidl);
		if (!err && strcmp(uidl, p->ids[i]) != 0)
			err = pop_why(why, POP_E_CHANGED,
				      "message %zu has the id %s and not %s; import again", i + 1,
				      uidl, p->ids[i]);
	}
	if (!err)
		maildrop_save(md);
	maildrop_close(md);
	return err;
}

static int report(struct owner *o, const struct import_plan *p, uint64_t changed)
{
	record_begin(&o->rec, REC_IMPORT);
	record_put_u64(&o->rec, p->entries);
	record_put_u64(&o->rec, p->mapped);
	record_put_u64(&o->rec, changed);
	record_put_u64(&o->rec, p->count - p->mapped);
	return owner_send(o);
}

int import_work(struct owner *o, void *ctx, struct pop_why *why)
{
	struct import_job *job = ctx;
	struct target *t = &job->mail.t;
	struct import_plan p = { .o = o };
	struct imported im;
	uint64_t changed = 0;
	int err;

	imported_init(&im);
	err = job->fd < 0 ? import_open(job, FS_LINKS_ALL, why) : 0;
	if (!err)
		err = target_open_maildrop(t, o, true, &p.md, why);
	if (!err)
		err = plan_begin(&p);
	if (!err)
		err = import_read_source(&p, job, why);
	if (!err && p.entries && !p.mapped)
		err = pop_why(why, POP_E_SYNTAX,
			      "none of the %llu ids belongs to a message of this maildrop; is it "
			      "the right file, and the right --from?",
			      (unsigned long long)p.entries);
	if (!err)
		err = imported_load(&im, t->state_fd, t->uid, why);
	if (!err)
		err = apply_plan(&p, &im, &changed);
	maildrop_close(p.md);
	if (!err && !job->dry_run && changed)
		err = save(t, &im);
	if (!err && !job->dry_run)
		err = verify(t, o, &p, why);
	if (!err)
		err = report(o, &p, changed);
	imported_release(&im);
	plan_release(&p);
	return err;
}
