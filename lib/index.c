/*
 * index.c - read an index in place.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   nothing of the file: it is read, never mapped (another program may
 *           cut it), every block is checked when it is read, every number
 *           before it is used.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "index_impl.h"
#include "fsutil.h"
#include "hash.h"

#define SMALL (256 * 1024) /* bytes of an index that is checked whole at open */

/* A block in memory. */
struct slot {
	uint64_t block; /* its number, + 1; 0: empty */
	size_t len;
	uint8_t *data; /* owned, INDEX_BLOCK bytes */
};

struct index {
	int fd;
	struct index_head head;
	enum maildrop_kind kind;
	uint8_t key[16];
	uint64_t *sums; /* owned: of each block */
	struct index_extent parts[PARTS];
	struct slot slots[PARTS];
	char text[NAME_MAX + 1]; /* the string last asked for */
};

/* Does the header fit this maildrop, this program and the size of the file? */
static bool header_fits(const struct index_header *h, const struct spec *spec, uint64_t file_size)
{
	struct index_extent parts[PARTS];
	uint8_t path[16];
	uint64_t blocks, end;

	if (memcmp(h->magic, INDEX_MAGIC, sizeof(h->magic)) != 0 || h->order != INDEX_ORDER ||
	    h->version != INDEX_VERSION || h->kind != spec->kind || h->bits & ~INDEX_BITS)
		return false;
	if (h->sum != sum64_of(h, offsetof(struct index_header, sum)))
		return false;
	index_path_digest(spec, path);
	if (memcmp(h->path, path, sizeof(path)) != 0)
		return false;
	/* what does not lie within the file cannot overflow below; handles are 32 bits */
	if (h->file_size != file_size || file_size > INT64_MAX / 4 ||
	    h->count > file_size / sizeof(struct index_record) || h->count > INT32_MAX ||
	    h->id_text_size > file_size || h->names_size > file_size ||
	    h->id_text_size > UINT32_MAX || h->names_size >= UINT32_MAX)
		return false;
	blocks = index_layout(h, parts, &end);
	return end + blocks * sizeof(uint64_t) == file_size;
}

/* Read the checksums.  0, POP_E_MEMORY, POP_E_CORRUPT. */
static int read_sums(struct index *ix, const struct index_header *h)
{
	uint64_t end;
	size_t size = (size_t)index_layout(h, ix->parts, &end) * sizeof(uint64_t);

	ix->sums = malloc(size + 1);
	if (!ix->sums)
		return POP_E_MEMORY;
	if (fs_pread_full(ix->fd, ix->sums, size, (off_t)end) != (ssize_t)size ||
	    sum64_of(ix->sums, size) != h->sums_sum)
		return POP_E_CORRUPT;
	return 0;
}

/* Bring a block of a part in and check it.  NULL: damaged (errno 0), or cannot be read. */
static const struct slot *load_block(struct index *ix, enum index_part part, uint64_t block)
{
	const struct index_extent *e = &ix->parts[part];
	struct slot *s = &ix->slots[part];
	uint64_t at = block * e->each;
	size_t len;

	if (s->block == block + 1)
		return s;
	errno = 0;
	s->block = 0;
	if (at >= e->size)
		return NULL;
	len = (size_t)(e->size - at < e->each ? e->size - at : e->each);
	if (!s->data && !(s->data = malloc(INDEX_BLOCK)))
		return NULL;
	if (fs_pread_full(ix->fd, s->data, len, (off_t)(e->start + at)) != (ssize_t)len ||
	    sum64_of(s->data, len) != ix->sums[e->first + block])
		return NULL;
	if (part == PART_NAMES && s->data[len - 1] != '\0')
		return NULL;
	s->block = block + 1;
	s->len = len;
	return s;
}

static int load_error(void)
{
	return errno ? POP_E_SYS : POP_E_CORRUPT;
}

/* Copy element i of a part.  Inline, so that no division is by a variable. */
static inline int get_element(struct index *ix, enum index_part part, size_t i, void *out,
			      size_t size)
{
	size_t per_block = INDEX_BLOCK / size;
	const struct slot *s = load_block(ix, part, i / per_block);

	if (!s)
		return load_error();
	memcpy(out, s->data + i % per_block * size, size);
	return 0;
}

/* Copy bytes of the ids' text, which know no block. */
static int get_id_text(struct index *ix, uint64_t at, size_t len, char *out)
{
	while (len) {
		const struct slot *s = load_block(ix, PART_ID_TEXT, at / INDEX_BLOCK);
		size_t in = at % INDEX_BLOCK, n;

		if (!s)
			return load_error();
		n = s->len - in < len ? s->len - in : len;
		memcpy(out, s->data + in, n);
		out += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* The id (or base) of a Maildir's message into out, with a NUL.  Its length or an error. */
static int get_id(struct index *ix, size_t i, char out[NAME_MAX + 1])
{
	uint32_t from = 0, to = (uint32_t)ix->parts[PART_ID_TEXT].size;
	int err = get_element(ix, PART_IDS, i, &from, sizeof(from));

	if (!err && i + 1 < ix->head.count)
		err = get_element(ix, PART_IDS, i + 1, &to, sizeof(to));
	if (err < 0)
		return err;
	if (from > to || to > ix->parts[PART_ID_TEXT].size || to - from > NAME_MAX)
		return POP_E_CORRUPT;
	err = get_id_text(ix, from, to - from, out);
	out[to - from] = '\0';
	return err < 0 ? err : (int)(to - from);
}

/* A string of PART_NAMES; at is its place, + 1. */
static const char *get_name(struct index *ix, uint32_t at)
{
	const struct slot *s = load_block(ix, PART_NAMES, (at - 1) / INDEX_BLOCK);
	size_t in = (at - 1) % INDEX_BLOCK;

	return s && in < s->len ? (const char *)s->data + in : NULL;
}

/* Check every block, and that the octets add up. */
static int check_all(struct index *ix)
{
	uint64_t octets = 0;
	struct msg m;

	for (size_t i = 0; i < ix->head.count; i++) {
		if (index_get(ix, i, &m) < 0 || __builtin_add_overflow(octets, m.octets, &octets))
			return POP_E_CORRUPT;
		if (ix->kind == MAILDROP_MAILDIR && !index_string(ix, m.name))
			return POP_E_CORRUPT;
	}
	for (int part = 0; part < PARTS; part++)
		for (uint64_t at = 0; at < ix->parts[part].size; at += ix->parts[part].each)
			if (!load_block(ix, (enum index_part)part, at / ix->parts[part].each))
				return POP_E_CORRUPT;
	return octets == ix->head.octets ? 0 : POP_E_CORRUPT;
}

static int open_checked(struct index *ix, int state_fd, const struct spec *spec)
{
	struct index_header h;
	struct stat st;
	int err;

	ix->fd = fs_open_at(state_fd, INDEX_FILE, FS_LINKS_NONE, O_RDONLY, 0);
	if (ix->fd < 0 || fstat(ix->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid() || fs_pread_full(ix->fd, &h, sizeof(h), 0) != sizeof(h) ||
	    !header_fits(&h, spec, (uint64_t)st.st_size))
		return POP_E_MISSING;
	ix->head = (struct index_head){
		.count = h.count,
		.octets = h.octets,
		.made_from = { h.made_from[0], h.made_from[1] },
		.imported = h.imported,
		.tail_sum = h.tail_sum,
		.last = h.last,
		.bits = h.bits,
	};
	ix->kind = (enum maildrop_kind)h.kind;
	memcpy(ix->key, h.key, sizeof(ix->key));
	err = read_sums(ix, &h);
	if (!err && st.st_size <= SMALL)
		err = check_all(ix);
	return err;
}

int index_open(struct index **out, int state_fd, const struct spec *spec)
{
	struct index *ix;

	*out = NULL;
	if (state_fd < 0)
		return POP_E_MISSING;
	ix = calloc(1, sizeof(*ix));
	if (!ix)
		return POP_E_MISSING;
	if (open_checked(ix, state_fd, spec) < 0) {
		index_close(ix);
		return POP_E_MISSING;
	}
	*out = ix;
	return 0;
}

void index_close(struct index *ix)
{
	int saved = errno;

	if (!ix)
		return;
	for (int part = 0; part < PARTS; part++)
		free(ix->slots[part].data);
	free(ix->sums);
	if (ix->fd >= 0)
		close(ix->fd);
	free(ix);
	errno = saved;
}

const struct index_head *index_head(const struct index *ix)
{
	return &ix->head;
}

/* Is this a record that a scan could have made? */
static bool record_possible(const struct index *ix, const struct index_record *r, uint64_t octets)
{
	uint64_t end;

	if (r->flags & ~(INDEX_FLAGS | RECORD_WHOLE_NAME) || r->zero ||
	    r->name > ix->parts[PART_NAMES].size)
		return false;
	if (r->length > INT64_MAX || octets < r->length || octets - r->length > r->length + 2)
		return false;
	if (ix->kind == MAILDROP_MAILDIR)
		return r->name || !(r->flags & RECORD_WHOLE_NAME);
	return !__builtin_add_overflow(r->place, r->length, &end) &&
	       end <= ix->head.made_from[0].size && r->from_length <= r->place &&
	       r->header_length <= r->length && (r->name || !(r->flags & MSG_UIDL));
}

int index_get(struct index *ix, size_t i, struct msg *out)
{
	struct uidl_digest_ref id = { .suffix = 0 };
	struct index_record r = { .zero = 0 };
	uint64_t octets = 0;
	int err;

	if (i >= ix->head.count)
		return POP_E_RANGE;
	err = get_element(ix, PART_RECORDS, i, &r, sizeof(r));
	if (!err)
		err = get_element(ix, PART_OCTETS, i, &octets, sizeof(octets));
	if (!err && ix->kind == MAILDROP_MBOX)
		err = get_element(ix, PART_IDS, i, &id, sizeof(id));
	if (err < 0)
		return err;
	if (!record_possible(ix, &r, octets) || id.suffix == 1)
		return POP_E_CORRUPT;
	*out = (struct msg){
		.length = r.length,
		.octets = octets,
		.header_length = r.header_length,
		.from_length = r.from_length,
		.trailing_octets = r.trailing_octets,
		.flags = r.flags & INDEX_FLAGS,
		.name = (uint32_t)i,
		.uidl = (uint32_t)(ix->head.count + i),
		.suffix = id.suffix,
	};
	if (ix->kind == MAILDROP_MAILDIR) {
		out->mtime_ns = (int64_t)r.place;
		out->ino = r.mark;
	} else {
		memcpy(out->digest, id.digest, sizeof(id.digest));
		out->offset = r.place;
		out->header_sum = r.mark;
	}
	return 0;
}

uint32_t index_handles(const struct index *ix)
{
	return (uint32_t)(2 * ix->head.count);
}

/* The file name of a Maildir's message, put together. */
static const char *file_name(struct index *ix, size_t i)
{
	const char *rest = "";
	struct index_record r = { .zero = 0 };
	size_t len = 0;
	int base = 0;

	if (get_element(ix, PART_RECORDS, i, &r, sizeof(r)) < 0)
		return NULL;
	if (!(r.flags & RECORD_WHOLE_NAME))
		base = get_id(ix, i, ix->text);
	if (r.name)
		rest = get_name(ix, r.name);
	if (base < 0 || !rest || (len = strlen(rest)) > NAME_MAX - (size_t)base)
		return NULL;
	memcpy(ix->text + base, rest, len + 1);
	return ix->text;
}

const char *index_string(struct index *ix, uint32_t handle)
{
	struct index_record r;
	size_t i = handle;

	if (handle < ix->head.count)
		return ix->kind == MAILDROP_MAILDIR ? file_name(ix, i) : NULL;
	i -= (size_t)ix->head.count;
	if (i >= ix->head.count)
		return NULL;
	if (ix->kind == MAILDROP_MAILDIR)
		return get_id(ix, i, ix->text) < 0 ? NULL : ix->text;
	if (get_element(ix, PART_RECORDS, i, &r, sizeof(r)) < 0 || !r.name)
		return NULL;
	return get_name(ix, r.name);
}

/* Give every block of a part, in order, to put(ctx, data, len, place in the part). */
static int each_block(struct index *ix, enum index_part part,
		      int (*put)(void *ctx, const uint8_t *data, size_t len, uint64_t at),
		      void *ctx)
{
	const struct index_extent *e = &ix->parts[part];
	int err = 0;

	for (uint64_t at = 0; at < e->size && !err; at += e->each) {
		const struct slot *s = load_block(ix, part, at / e->each);

		err = s ? put(ctx, s->data, s->len, at) : load_error();
	}
	return err;
}

struct target {
	int fd;
	off_t offset;
};

static int put_file(void *ctx, const uint8_t *data, size_t len, uint64_t at)
{
	const struct target *t = ctx;

	return fs_pwrite_all(t->fd, data, len, t->offset + (off_t)at);
}

static int put_memory(void *ctx, const uint8_t *data, size_t len, uint64_t at)
{
	memcpy((uint8_t *)ctx + at, data, len);
	return 0;
}

int index_copy_octets(struct index *ix, int fd, off_t offset)
{
	return each_block(ix, PART_OCTETS, put_file, &(struct target){ fd, offset });
}

int index_copy_ids(struct index *ix, int fd, off_t offset, off_t strings, uint64_t *string_bytes)
{
	int err = each_block(ix, PART_IDS, put_file, &(struct target){ fd, offset });

	*string_bytes = ix->parts[PART_ID_TEXT].size;
	return err < 0 ? err
		       : each_block(ix, PART_ID_TEXT, put_file, &(struct target){ fd, strings });
}

int index_hashes(struct index *ix, uint64_t *out)
{
	return ix->kind == MAILDROP_MAILDIR ? each_block(ix, PART_HASHES, put_memory, out)
					    : POP_E_RANGE;
}

uint64_t index_hash_of(const struct index *ix, const char *name, uint64_t ino, bool in_new)
{
	return index_hash(ix->key, name, ino, in_new);
}

void index_remove(int state_fd)
{
	int saved = errno;

	if (state_fd >= 0)
		unlinkat(state_fd, INDEX_FILE, 0);
	errno = saved;
}
