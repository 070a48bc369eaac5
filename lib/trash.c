/*
 * trash.c - what is kept of removed messages: list it, open it, let it go in time.
 *
 * Runs in:  pop3admin's child, as the maildrop's owner, under the session lock.
 * Trusts:   nothing that it finds: the owner may write all of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fsutil.h"
#include "maildir_impl.h"
#include "mbox_scan.h"
#include "num.h"
#include "seen.h"
#include "trash_impl.h"
#include "uidl.h"

#define DAY_MAX 4000000 /* of the year 12921 */

/* --- names and directories ------------------------------------------------------ */

/* "DAY" or "DAY.N": the day, or POP_E_SYNTAX for what is none of ours. */
static int parse_name(const char *name, uint32_t *day, uint32_t *turn)
{
	size_t len = strcspn(name, ".");
	uint64_t value, rest = 0;

	if (num_parse(name, len, DAY_MAX, &value) < 0)
		return POP_E_SYNTAX;
	if (name[len] && num_parse(name + len + 1, strlen(name + len + 1), UINT32_MAX, &rest) < 0)
		return POP_E_SYNTAX;
	*day = (uint32_t)value;
	*turn = (uint32_t)rest;
	return 0;
}

/* Call each for every name of a directory but dot files; closes fd.  0 or what each returned. */
static int each_name(int fd, int (*each)(void *ctx, int dir, const char *name), void *ctx)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int err = 0, saved;

	if (!dir) {
		close(fd);
		return POP_E_SYS;
	}
	while (!err && (errno = 0, e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			err = each(ctx, dirfd(dir), e->d_name);
	if (!err && errno)
		err = POP_E_SYS;
	saved = errno;
	closedir(dir);
	errno = saved;
	return err;
}

int trash_root(const struct maildrop_env *env, bool of_mbox)
{
	int root, fd;

	if (of_mbox) {
		if (env->state_fd < 0) {
			errno = ENOENT;
			return -1;
		}
		return fs_open_at(env->state_fd, TRASH_OF_MBOX, FS_LINKS_NONE,
				  O_RDONLY | O_DIRECTORY, 0);
	}
	root = fs_open_at(AT_FDCWD, env->spec.path, FS_LINKS_DIRS, O_RDONLY | O_DIRECTORY, 0);
	if (root < 0)
		return -1;
	fd = fs_open_at(root, TRASH_OF_MAILDIR, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	close(root);
	return fd;
}

static int add_string(struct trash *t, const char *s, uint32_t *at)
{
	size_t n = strlen(s) + 1, size = t->names_size ? t->names_size : 4096;
	char *grown;

	if (t->names_len + n > UINT32_MAX)
		return POP_E_LONG;
	while (size < t->names_len + n)
		size *= 2;
	if (size != t->names_size) {
		grown = realloc(t->names, size);
		if (!grown)
			return POP_E_MEMORY;
		t->names = grown;
		t->names_size = size;
	}
	*at = (uint32_t)t->names_len;
	memcpy(t->names + t->names_len, s, n);
	t->names_len += n;
	return 0;
}

static int add_item(struct trash *t, const struct trash_item *item)
{
	if (t->n == t->size) {
		size_t size = t->size ? t->size * 2 : 64;
		struct trash_item *grown = reallocarray(t->items, size, sizeof(*grown));

		if (!grown)
			return POP_E_MEMORY;
		t->items = grown;
		t->size = size;
	}
	t->items[t->n++] = *item;
	return 0;
}

/* --- the files of an mbox ------------------------------------------------------- */

struct loading {
	struct trash *t;
	struct maildrop *md;
	struct pop_why *why;
	uint32_t box, day, turn; /* being read */
	char *ids;		 /* owned: the text of TRASH_IDS, or NULL */
};

/* "STATE START BYTES OCTETS ID" into item; its places are those of the head still. */
static int parse_line(const char *line, size_t len, struct trash_item *item, bool *kept)
{
	uint64_t *const numbers[] = { &item->start, &item->bytes, &item->octets };
	const char *p = line + 2, *end = line + len;

	if (len < 9 || line[1] != ' ' || (line[0] != 'k' && line[0] != 'r'))
		return POP_E_CORRUPT;
	*kept = line[0] == 'k';
	for (size_t i = 0; i < 3; i++) {
		const char *blank = memchr(p, ' ', (size_t)(end - p));

		if (!blank || num_parse(p, (size_t)(blank - p), INT64_MAX / 4, numbers[i]) < 0)
			return POP_E_CORRUPT;
		p = blank + 1;
	}
	if (!uidl_valid(p, (size_t)(end - p)))
		return POP_E_CORRUPT;
	memcpy(item->uidl, p, (size_t)(end - p));
	item->uidl[end - p] = '\0';
	return 0;
}

/* One line of a head.  1: it was the empty one; 0; or POP_E_CORRUPT. */
static int take_line(struct loading *l, const char *line, size_t len, uint64_t at)
{
	struct trash_item item = { .box = l->box, .day = l->day, .turn = l->turn, .state_at = at };
	bool kept;

	if (len == 0)
		return 1;
	if (at == 0)
		return len + 1 == sizeof(TRASH_HEAD) - 1 && memcmp(line, TRASH_HEAD, len) == 0
			       ? 0
			       : POP_E_CORRUPT;
	if (parse_line(line, len, &item, &kept) < 0)
		return POP_E_CORRUPT;
	return kept ? add_item(l->t, &item) : 0;
}

/* The lines of the head; *data: where the messages begin. */
static int read_head(struct loading *l, int fd, uint64_t *data)
{
	char block[8192];
	uint64_t at = 0;

	for (;;) {
		ssize_t n = fs_pread_full(fd, block, sizeof(block), (off_t)at);
		size_t used = 0;

		if (n < 0)
			return (int)n;
		for (const char *nl; (nl = memchr(block + used, '\n', (size_t)n - used)) != NULL;) {
			size_t len = (size_t)(nl - block) - used;
			int err = take_line(l, block + used, len, at + used);

			used += len + 1;
			*data = at + used;
			if (err)
				return err < 0 ? err : 0;
		}
		if (used == 0) /* no end in sight */
			return POP_E_CORRUPT;
		at += used;
	}
}

struct first {
	struct msg m;
	bool found;
};

static int take_first(void *ctx, const struct msg *m)
{
	struct first *f = ctx;

	f->m = *m;
	f->found = true;
	return 1;
}

int trash_scan(int fd, const struct trash_item *item, struct msg *m)
{
	struct first f = { .found = false };
	struct mbox_scan s = { .fd = fd,
			       .start = item->start,
			       .end = item->start + item->bytes,
			       .each = take_first,
			       .ctx = &f };
	int err = mbox_scan(&s);
	char last;

	if (err < 0)
		return err;
	*m = f.m;
	if (!f.found || m->offset - m->from_length != item->start)
		return POP_E_CORRUPT;
	/* what was kept is whole lines; one that is cut would come back as another message */
	if (pread(fd, &last, 1, (off_t)(item->start + item->bytes - 1)) != 1)
		return POP_E_CHANGED;
	return last == '\n' ? 0 : POP_E_CORRUPT;
}

int trash_digest(struct maildrop *md, int fd, const struct msg *m, uint8_t out[1][16])
{
	const struct digest_item item = { .offset = m->offset,
					  .length = m->header_length,
					  .octets = m->octets,
					  .trailing_octets = m->trailing_octets };

	return md->env.digest(md->env.ctx, DIGEST_MESSAGE, fd, &item, 1, out);
}

/* Behind the head it is known where the messages are; what cannot be is left out. */
static int settle_items(struct loading *l, int fd, size_t from, uint64_t data, uint64_t size)
{
	struct trash *t = l->t;
	size_t n = from;

	for (size_t i = from; i < t->n; i++) {
		struct trash_item item = t->items[i];
		uint8_t digest[1][16];
		struct msg m;

		item.start += data;
		if (item.start > size || item.bytes > size - item.start)
			continue;
		if (strcmp(item.uidl, "-") == 0) {
			if (trash_scan(fd, &item, &m) < 0 ||
			    trash_digest(l->md, fd, &m, digest) < 0)
				continue;
			uidl_format_digest(digest[0], 0, item.uidl);
		}
		t->items[n++] = item;
	}
	t->n = n;
	return 0;
}

static int load_box(void *ctx, int dir, const char *name)
{
	struct loading *l = ctx;
	size_t from = l->t->n;
	uint64_t data = 0;
	struct stat st;
	int fd, err;

	if (parse_name(name, &l->day, &l->turn) < 0)
		return 0;
	fd = fs_open_at(dir, name, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : POP_E_SYS;
	err = fstat(fd, &st) < 0 ? POP_E_SYS : 0;
	if (!err && S_ISREG(st.st_mode) && st.st_nlink == 1) {
		err = add_string(l->t, name, &l->box);
		if (!err)
			err = read_head(l, fd, &data);
		if (!err)
			err = settle_items(l, fd, from, data, (uint64_t)st.st_size);
		if (err == POP_E_CORRUPT) {
			l->t->n = from;
			maildrop_note(l->md, 4, "%s/%s: is damaged, or none of ours; passed over",
				      TRASH_OF_MBOX, name);
			err = 0;
		}
	}
	close(fd);
	return err;
}

/* --- the directories of a Maildir ----------------------------------------------- */

/* The id that TRASH_IDS has for a name, the last one counts; false: none. */
static bool noted_id(const struct loading *l, const char *name, char id[UIDL_MAX + 1])
{
	static const size_t word = sizeof("base ") - 1;
	char key[IMPORTED_KEY_MAX];
	bool found = false;
	size_t len;

	if (!l->ids || imported_base_key(name, strlen(name), key) < 0)
		return false;
	len = strlen(key + word);
	for (const char *p = l->ids, *nl; (nl = strchr(p, '\n')) != NULL; p = nl + 1) {
		const char *blank = memchr(p, ' ', (size_t)(nl - p));

		if (!blank || !uidl_valid(p, (size_t)(blank - p)) ||
		    (size_t)(nl - blank - 1) != len || memcmp(blank + 1, key + word, len) != 0)
			continue;
		memcpy(id, p, (size_t)(blank - p));
		id[blank - p] = '\0';
		found = true;
	}
	return found;
}

int trash_plain_id(struct maildrop *md, const char *name, char id[UIDL_MAX + 1])
{
	size_t len = base_length(name);
	struct digest_item item = { .length = len };
	uint8_t digest[1][16];
	char hex[UIDL_MAX + 1];
	int fd, err;

	if (uidl_valid(name, len)) {
		memcpy(id, name, len);
		id[len] = '\0';
		return 0;
	}
	fd = fs_sealed_memfd("pop3admin-name", name, len);
	if (fd < 0)
		return fd;
	err = md->env.digest(md->env.ctx, DIGEST_BYTES, fd, &item, 1, digest);
	close(fd);
	if (err < 0)
		return err;
	id[0] = 'h';
	uidl_format_digest(digest[0], 0, hex);
	memcpy(id + 1, hex, 33);
	return 0;
}

static int count_octets(int fd, uint64_t size, uint64_t *octets)
{
	static uint8_t block[65536];
	struct wire_count count;

	wire_count_init(&count);
	for (uint64_t at = 0; at < size;) {
		ssize_t n = fs_pread_full(fd, block, sizeof(block), (off_t)at);

		if (n <= 0)
			return n < 0 ? POP_E_SYS : POP_E_CHANGED;
		wire_count_add(&count, block, (size_t)n);
		at += (uint64_t)n;
		if (!block[n - 1]) {
			/* what is large on paper alone is no work */
			uint64_t end = fs_hole_end(fd, at, size);

			wire_count_zeros(&count, end - at);
			at = end;
		}
	}
	*octets = wire_count_total(&count);
	return 0;
}

static int load_file(void *ctx, int dir, const char *name)
{
	struct loading *l = ctx;
	struct trash_item item = { .box = l->box, .day = l->day, .turn = l->turn };
	struct stat st;
	int fd = fs_open_at(dir, name, FS_LINKS_NONE, O_RDONLY, 0), err;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : POP_E_SYS;
	err = fstat(fd, &st) < 0 ? POP_E_SYS : S_ISREG(st.st_mode) ? 0 : POP_E_MISSING;
	if (!err)
		err = count_octets(fd, (uint64_t)st.st_size, &item.octets);
	close(fd);
	if (err == POP_E_MISSING || err == POP_E_CHANGED)
		return 0;
	if (!err && !noted_id(l, name, item.uidl))
		err = trash_plain_id(l->md, name, item.uidl);
	if (!err)
		err = add_string(l->t, name, &item.name);
	return err ? err : add_item(l->t, &item);
}

/* Bounded: there are few of them, or none. */
#define IDS_MAX (8u << 20)

static void read_ids(struct loading *l, int dir)
{
	int fd = fs_open_at(dir, TRASH_IDS, FS_LINKS_NONE, O_RDONLY, 0);
	size_t len;

	free(l->ids);
	l->ids = NULL;
	if (fd < 0)
		return;
	if (fs_read_file(fd, IDS_MAX, &l->ids, &len) < 0)
		l->ids = NULL;
	close(fd);
}

static int load_day(void *ctx, int root, const char *name)
{
	struct loading *l = ctx;
	int fd, err;

	if (parse_name(name, &l->day, &l->turn) < 0)
		return 0;
	fd = fs_open_at(root, name, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0 : POP_E_SYS;
	err = add_string(l->t, name, &l->box);
	if (err) {
		close(fd);
		return err;
	}
	read_ids(l, fd);
	return each_name(fd, load_file, l);
}

/* --- all of it --------------------------------------------------------------------- */

static int by_age(const void *a, const void *b)
{
	const struct trash_item *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	if (x->turn != y->turn)
		return x->turn < y->turn ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->name > y->name) - (x->name < y->name);
}

/* Leave out what is in the maildrop, and all copies of a message but the last. */
static int leave_out(struct trash *t, struct maildrop *md)
{
	struct uidl_set set = { 0 };
	char id[UIDL_MAX + 1];
	size_t kept = t->n;
	int err = uidl_set_init(&set, maildrop_count(md) + t->n);

	for (size_t idx = 0; err >= 0 && idx < maildrop_count(md); idx++) {
		err = maildrop_uidl(md, idx, id);
		if (!err)
			err = uidl_set_add(&set, id, strlen(id));
	}
	for (size_t i = t->n; err >= 0 && i-- > 0;) {
		err = uidl_set_add(&set, t->items[i].uidl, strlen(t->items[i].uidl));
		if (err > 0)
			t->items[--kept] = t->items[i];
	}
	if (err >= 0) {
		memmove(t->items, t->items + kept, (t->n - kept) * sizeof(*t->items));
		t->n -= kept;
	}
	uidl_set_release(&set);
	return err < 0 ? err : 0;
}

int trash_load(struct trash *t, struct maildrop *md, struct pop_why *why)
{
	struct loading l = { .t = t, .md = md, .why = why };
	bool of_mbox = md->env.spec.kind == MAILDROP_MBOX;
	int fd, err;

	*t = (struct trash){ .n = 0 };
	fd = trash_root(&md->env, of_mbox);
	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : pop_why_errno(why, of_mbox ? TRASH_OF_MBOX : TRASH_OF_MAILDIR);
	err = each_name(fd, of_mbox ? load_box : load_day, &l);
	free(l.ids);
	if (!err && t->n) {
		qsort(t->items, t->n, sizeof(*t->items), by_age);
		err = leave_out(t, md);
	}
	if (err == POP_E_SYS)
		return pop_why_errno(why, of_mbox ? TRASH_OF_MBOX : TRASH_OF_MAILDIR);
	return err < 0 ? pop_why(why, err, "%s", pop_strerror(err)) : 0;
}

void trash_release(struct trash *t)
{
	free(t->items);
	free(t->names);
	*t = (struct trash){ .n = 0 };
}

int trash_open(const struct trash *t, struct maildrop *md, size_t i, struct maildrop_message *out,
	       struct pop_why *why)
{
	const struct trash_item *item = &t->items[i];
	bool of_mbox = md->env.spec.kind == MAILDROP_MBOX;
	const char *box = t->names + item->box;
	int root = trash_root(&md->env, of_mbox), at = -1, fd = -1, err = 0;
	struct msg m = { .length = 0 };
	struct stat st;

	if (root >= 0 && of_mbox)
		fd = fs_open_at(root, box, FS_LINKS_NONE, O_RDONLY, 0);
	if (root >= 0 && !of_mbox)
		at = fs_open_at(root, box, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (at >= 0)
		fd = fs_open_at(at, t->names + item->name, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		err = pop_why_errno(why, "%s", box);
	if (!err && of_mbox && (err = trash_scan(fd, item, &m)) < 0)
		pop_why(why, err, "%s: %s", box, pop_strerror(err));
	if (!err)
		*out = (struct maildrop_message){
			.fd = fd,
			.own_fd = true,
			.offset = m.offset,
			.length = of_mbox ? m.length : (uint64_t)st.st_size,
			.octets = item->octets,
		};
	if (err && fd >= 0)
		close(fd);
	if (at >= 0)
		close(at);
	if (root >= 0)
		close(root);
	return err;
}

/* --- letting go ------------------------------------------------------------------- */

struct purging {
	uint32_t before; /* days before this one go */
	bool dry_run;
	int error; /* errno of the first that could not be removed; the others go */
	uint64_t n;
};

int trash_box_count(int dir, const char *name, size_t *n)
{
	struct trash counted = { .n = 0 };
	struct loading l = { .t = &counted };
	int fd = fs_open_at(dir, name, FS_LINKS_NONE, O_RDONLY, 0), err;
	uint64_t data;

	*n = 0;
	if (fd < 0)
		return POP_E_SYS;
	err = read_head(&l, fd, &data);
	if (err == 0)
		*n = counted.n;
	close(fd);
	trash_release(&counted);
	return err;
}

/* True where it is gone.  A directory is none of ours. */
static bool remove_file(struct purging *p, int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0)
		return true;
	if (errno != ENOENT && errno != EISDIR && !p->error)
		p->error = errno;
	return false;
}

static int purge_box(void *ctx, int dir, const char *name)
{
	struct purging *p = ctx;
	uint32_t day, turn;
	size_t n;

	/* of a removal that was cut off, and did not happen */
	if (strcmp(name, TRASH_TEMP) == 0 && !p->dry_run)
		unlinkat(dir, name, 0);
	if (parse_name(name, &day, &turn) < 0 || day >= p->before)
		return 0;
	(void)!trash_box_count(dir, name, &n); /* what cannot be read goes, too */
	p->n += n;
	if (!p->dry_run)
		remove_file(p, dir, name);
	return 0;
}

static int purge_file(void *ctx, int dir, const char *name)
{
	struct purging *p = ctx;

	if (p->dry_run || remove_file(p, dir, name))
		p->n++;
	return 0;
}

static int purge_day(void *ctx, int root, const char *name)
{
	struct purging *p = ctx;
	uint32_t day, turn;
	int fd, err;

	if (parse_name(name, &day, &turn) < 0 || day >= p->before)
		return 0;
	fd = fs_open_at(root, name, FS_LINKS_NONE, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0 : POP_E_SYS;
	if (!p->dry_run)
		unlinkat(fd, TRASH_IDS, 0);
	err = each_name(fd, purge_file, p);
	if (!err && !p->dry_run)
		unlinkat(root, name, AT_REMOVEDIR); /* what is none of ours keeps it */
	return err;
}

int trash_purge(const struct maildrop_env *env, uint32_t days, bool dry_run, uint64_t *n,
		struct pop_why *why)
{
	uint32_t today = seen_today();
	/* a whole day more than so many; 0 takes today's, too */
	struct purging p = { .before = days == 0      ? UINT32_MAX
				       : today > days ? today - days
						      : 0,
			     .dry_run = dry_run };
	int fd = trash_root(env, true), err = 0;

	if (fd >= 0)
		err = each_name(fd, purge_box, &p);
	else if (errno != ENOENT)
		err = POP_E_SYS;
	if (err < 0)
		pop_why_errno(why, TRASH_OF_MBOX);
	if (!err && env->spec.kind == MAILDROP_MAILDIR) {
		fd = trash_root(env, false);
		if (fd >= 0)
			err = each_name(fd, purge_day, &p);
		else if (errno != ENOENT)
			err = POP_E_SYS;
		if (err < 0)
			pop_why_errno(why, TRASH_OF_MAILDIR);
	}
	*n = p.n;
	if (!err && p.error) {
		errno = p.error;
		err = pop_why_errno(why, "the trash");
	}
	return err;
}
