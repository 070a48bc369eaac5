/*
 * index_write.c - write an index beside the old one, then put it in its place.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Nothing is synced: what a crash leaves half is seen by its checksums.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "buf.h"
#include "index_impl.h"
#include "fsutil.h"
#include "hash.h"

/* A part as it is written: the block being filled, and where it goes. */
struct stream {
	uint8_t *data; /* owned, INDEX_BLOCK bytes */
	size_t fill, each;
	uint64_t at; /* in the file */
	uint64_t size;
	struct buf sums; /* of the blocks written */
};

#define ENDINGS 64 /* of file names, kept to be used again */

struct index_writer {
	int state_fd, fd;
	char temp[32];
	struct index_header h;
	uint64_t written; /* records */
	struct stream parts[PARTS];
	/* PART_NAMES, whose place is not known before PART_ID_TEXT is written */
	uint8_t *names; /* owned */
	size_t names_len, names_size;
	uint32_t endings[ENDINGS]; /* where they are in names, + 1 */
};

/* Leftovers of processes that were killed while they wrote. */
static void remove_leftovers(int state_fd)
{
	static const char prefix[] = INDEX_FILE ".";
	int fd = fs_reopen_dir(state_fd);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (!strncmp(entry->d_name, prefix, sizeof(prefix) - 1) &&
		    isdigit((uint8_t)entry->d_name[sizeof(prefix) - 1]))
			unlinkat(fd, entry->d_name, 0);
	closedir(dir);
}

static int flush_block(struct index_writer *w, struct stream *s)
{
	uint64_t sum;

	if (!s->fill)
		return 0;
	sum = sum64_of(s->data, s->fill);
	if (buf_put(&s->sums, &sum, sizeof(sum)) < 0)
		return POP_E_MEMORY;
	if (fs_pwrite_all(w->fd, s->data, s->fill, (off_t)s->at) < 0)
		return POP_E_SYS;
	s->at += s->fill;
	s->fill = 0;
	return 0;
}

/* Append an element, or text, which may be cut at the end of a block. */
static int put(struct index_writer *w, enum index_part part, const void *data, size_t n)
{
	struct stream *s = &w->parts[part];
	const uint8_t *p = data;

	s->size += n;
	while (n) {
		size_t room = s->each - s->fill, take = n < room ? n : room;
		int err;

		memcpy(s->data + s->fill, p, take);
		s->fill += take;
		p += take;
		n -= take;
		err = s->fill == s->each ? flush_block(w, s) : 0;
		if (err < 0)
			return err;
	}
	return 0;
}

static int lay_out(struct index_writer *w)
{
	struct index_extent extents[PARTS];
	uint64_t end;

	index_layout(&w->h, extents, &end);
	for (int part = 0; part < PARTS; part++) {
		w->parts[part].at = extents[part].start;
		w->parts[part].each = (size_t)extents[part].each;
		buf_init(&w->parts[part].sums, SIZE_MAX);
		w->parts[part].data = malloc(INDEX_BLOCK);
		if (!w->parts[part].data)
			return POP_E_MEMORY;
	}
	return 0;
}

int index_write_begin(struct index_writer **out, int state_fd, const struct spec *spec,
		      uint64_t count)
{
	struct index_writer *w = calloc(1, sizeof(*w));

	*out = NULL;
	if (!w)
		return POP_E_MEMORY;
	w->state_fd = state_fd;
	w->fd = -1;
	memcpy(w->h.magic, INDEX_MAGIC, sizeof(w->h.magic));
	w->h.order = INDEX_ORDER;
	w->h.version = INDEX_VERSION;
	w->h.kind = spec->kind;
	w->h.count = count;
	index_path_digest(spec, w->h.path);
	if (getrandom(w->h.key, sizeof(w->h.key), 0) != sizeof(w->h.key)) {
		index_write_abort(w);
		return POP_E_SYS;
	}
	if (count > INT32_MAX || lay_out(w) < 0) {
		index_write_abort(w);
		return POP_E_MEMORY;
	}
	remove_leftovers(state_fd);
	snprintf(w->temp, sizeof(w->temp), INDEX_FILE ".%ld", (long)getpid());
	w->fd = fs_open_at(state_fd, w->temp, FS_LINKS_NONE, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (w->fd < 0) {
		index_write_abort(w);
		return POP_E_SYS;
	}
	*out = w;
	return 0;
}

/* Enter a string of PART_NAMES; *at is its place, + 1. */
static int put_name(struct index_writer *w, const char *text, uint32_t *at)
{
	size_t len = strlen(text) + 1, room = INDEX_BLOCK - w->names_len % INDEX_BLOCK;
	size_t pad = len > room ? room : 0;

	if (len > INDEX_BLOCK || w->names_len > UINT32_MAX - 3 * INDEX_BLOCK)
		return POP_E_LONG;
	if (w->names_size - w->names_len < len + pad) {
		size_t size = (w->names_size ? w->names_size * 2 : 4096) + len + pad;
		uint8_t *names = realloc(w->names, size);

		if (!names)
			return POP_E_MEMORY;
		w->names = names;
		w->names_size = size;
	}
	memset(w->names + w->names_len, 0, pad);
	w->names_len += pad;
	*at = (uint32_t)w->names_len + 1;
	memcpy(w->names + w->names_len, text, len);
	w->names_len += len;
	return 0;
}

/* What follows the base in a file name: mostly one of a few sets of flags. */
static int put_ending(struct index_writer *w, const char *text, uint32_t *at)
{
	unsigned i;

	for (i = 0; i < ENDINGS && w->endings[i]; i++) {
		if (!strcmp((const char *)w->names + w->endings[i] - 1, text)) {
			*at = w->endings[i];
			return 0;
		}
	}
	if (put_name(w, text, at) < 0)
		return POP_E_MEMORY;
	if (i < ENDINGS)
		w->endings[i] = *at;
	return 0;
}

/* Name and id of a Maildir's message. */
static int put_file_name(struct index_writer *w, struct index_record *r, const char *name,
			 const char *uidl)
{
	size_t base = strcspn(name, ":"), len = uidl ? strlen(uidl) : base;
	struct uidl_string_ref ref = { .offset = (uint32_t)w->parts[PART_ID_TEXT].size };
	int err = 0;

	if (w->parts[PART_ID_TEXT].size > UINT32_MAX - INDEX_BLOCK || base > NAME_MAX)
		return POP_E_LONG;
	if (uidl) {
		r->flags |= RECORD_WHOLE_NAME | MSG_UIDL;
		err = put_name(w, name, &r->name);
	} else if (name[base]) {
		err = put_ending(w, name + base, &r->name);
	}
	if (!err)
		err = put(w, PART_IDS, &ref, sizeof(ref));
	return err < 0 ? err : put(w, PART_ID_TEXT, uidl ? uidl : name, len);
}

int index_write(struct index_writer *w, const struct msg *m, const char *name, const char *uidl)
{
	struct index_record r = {
		.length = m->length,
		.header_length = m->header_length,
		.from_length = m->from_length,
		.trailing_octets = m->trailing_octets,
		.flags = m->flags & INDEX_FLAGS & ~(uint32_t)MSG_UIDL,
	};
	struct uidl_digest_ref id = { .suffix = m->suffix };
	uint64_t hash;
	int err = 0;

	if (w->written == w->h.count)
		return POP_E_RANGE;
	if (w->h.kind == MAILDROP_MAILDIR) {
		r.place = (uint64_t)m->mtime_ns;
		r.mark = m->ino;
		r.flags &= ~(uint32_t)MSG_DIGEST;
		hash = r.flags & MSG_STALE
			       ? 0
			       : index_hash(w->h.key, name, m->ino, r.flags & MSG_IN_NEW);
		err = put(w, PART_HASHES, &hash, sizeof(hash));
		if (!err)
			err = put_file_name(w, &r, name, uidl);
	} else {
		r.place = m->offset;
		r.mark = m->header_sum;
		memcpy(id.digest, m->digest, sizeof(id.digest));
		if (uidl) {
			r.flags |= MSG_UIDL;
			w->h.bits |= INDEX_OWN_IDS;
			err = put_name(w, uidl, &r.name);
		}
		if (!err)
			err = put(w, PART_IDS, &id, sizeof(id));
	}
	if (!err)
		err = put(w, PART_RECORDS, &r, sizeof(r));
	if (!err)
		err = put(w, PART_OCTETS, &m->octets, sizeof(m->octets));
	w->written++;
	return err;
}

static int write_sums(struct index_writer *w)
{
	uint64_t at = w->parts[PART_NAMES].at;
	struct sum64 sum;

	sum64_init(&sum);
	for (int part = 0; part < PARTS; part++) {
		const struct buf *sums = &w->parts[part].sums;
		size_t size = buf_len(sums);

		sum64_update(&sum, buf_data(sums), size);
		if (fs_pwrite_all(w->fd, buf_data(sums), size, (off_t)at) < 0)
			return POP_E_SYS;
		at += size;
	}
	w->h.sums_sum = sum64_final(&sum);
	w->h.file_size = at;
	return 0;
}

/* What is left of the parts, and the strings, whose place is known now. */
static int finish_parts(struct index_writer *w)
{
	int err = 0;

	for (int part = 0; part < PART_NAMES && !err; part++)
		err = flush_block(w, &w->parts[part]);
	w->h.id_text_size = w->parts[PART_ID_TEXT].size;
	w->h.names_size = w->names_len;
	w->parts[PART_NAMES].at = w->parts[PART_ID_TEXT].at;
	if (!err)
		err = put(w, PART_NAMES, w->names, w->names_len);
	return err < 0 ? err : flush_block(w, &w->parts[PART_NAMES]);
}

int index_write_commit(struct index_writer *w, const struct index_head *head)
{
	int err = w->written == w->h.count && head->count == w->h.count ? 0 : POP_E_RANGE;

	if (!err)
		err = finish_parts(w);
	if (!err)
		err = write_sums(w);
	if (!err) {
		w->h.octets = head->octets;
		memcpy(w->h.made_from, head->made_from, sizeof(w->h.made_from));
		w->h.imported = head->imported;
		w->h.tail_sum = head->tail_sum;
		w->h.last = head->last;
		w->h.bits |= head->bits & INDEX_BITS;
		w->h.sum = sum64_of(&w->h, offsetof(struct index_header, sum));
		err = fs_pwrite_all(w->fd, &w->h, sizeof(w->h), 0);
	}
	if (!err && renameat(w->state_fd, w->temp, w->state_fd, INDEX_FILE) < 0)
		err = POP_E_SYS;
	if (!err)
		w->temp[0] = '\0';
	index_write_abort(w);
	return err;
}

void index_write_abort(struct index_writer *w)
{
	int saved = errno;

	if (w->fd >= 0) {
		close(w->fd);
		if (w->temp[0])
			unlinkat(w->state_fd, w->temp, 0);
	}
	for (int part = 0; part < PARTS; part++) {
		free(w->parts[part].data);
		buf_release(&w->parts[part].sums);
	}
	free(w->names);
	free(w);
	errno = saved;
}
