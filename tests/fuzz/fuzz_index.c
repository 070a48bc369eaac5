/*
 * fuzz_index.c - an index: what was written is read; one that its owner has
 * changed is refused or gives possible values, never more.
 *
 * Input: octet 0: kind and how; then records; then changes of the file, each an
 * offset (2 octets) and a value.  After them all sums are made right again
 * where bit 1 says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/index.c"

#include "fuzz.h"

#define RECORDS_MAX 24
#define WORD_MAX    40

enum { MAILDIR = 1, SEAL = 2, RAW = 4 };

struct record {
	struct msg m;
	char name[WORD_MAX + 1], uidl[WORD_MAX + 1];
};

static void take_word(struct fuzz_in *in, char out[WORD_MAX + 1], bool id)
{
	const uint8_t *data;
	size_t n = fuzz_bytes(in, fuzz_u8(in) % (WORD_MAX + 1), &data);

	for (size_t i = 0; i < n; i++) /* no NUL, no '/'; of an id no more than it may hold */
		out[i] = (char)(data[i] > 0x20 && data[i] < 0x7f && data[i] != '/' &&
						(!id || data[i] != ':')
					? data[i]
					: 'a' + data[i] % 26);
	out[n] = '\0';
}

static void take_record(struct fuzz_in *in, bool maildir, struct record *r)
{
	uint8_t how = fuzz_u8(in);

	memset(r, 0, sizeof(*r));
	r->m.length = fuzz_u16(in);
	r->m.octets = r->m.length + (how & 7);
	if (r->m.octets > 2 * r->m.length + 2)
		r->m.octets = r->m.length;
	r->m.flags = (how & 8 ? MESSAGE_WIRE_FORM : 0u) | (how & 16 ? MSG_SETTLED : 0u) |
		     (how & 32 ? MSG_IN_NEW : 0u);
	r->m.trailing_octets = how;
	if (maildir) {
		r->m.ino = fuzz_u32(in);
		r->m.mtime_ns = (int64_t)fuzz_u32(in);
		take_word(in, r->name, false);
		if (r->name[0] == '\0' || r->name[0] == ':')
			memcpy(r->name, "a", 2);
	} else {
		r->m.offset = 100000 + fuzz_u16(in);
		r->m.from_length = how;
		r->m.header_length = (uint32_t)(r->m.length / 2);
		r->m.header_sum = fuzz_u32(in);
		r->m.suffix = how & 64 ? 2 + fuzz_u8(in) : 0;
		r->m.flags |= how & 128 ? MSG_DIGEST : 0u;
		memset(r->m.digest, how, sizeof(r->m.digest));
	}
	if (how & 1)
		take_word(in, r->uidl, true);
}

/* Write them; false where the file system would not (then there is nothing to try). */
static bool write_index(const struct spec *spec, const struct record *r, size_t n,
			struct index_head *head)
{
	bool maildir = spec->kind == MAILDROP_MAILDIR;
	struct index_writer *w;

	if (index_write_begin(&w, fuzz_dir(), spec, n) < 0)
		return false;
	*head = (struct index_head){ .count = n, .made_from = { { .size = 1 << 20 } } };
	for (size_t i = 0; i < n; i++) {
		head->octets += r[i].m.octets;
		MUST(index_write(w, &r[i].m, maildir ? r[i].name : NULL,
				 r[i].uidl[0] ? r[i].uidl : NULL) == 0);
	}
	return index_write_commit(w, head) == 0;
}

static void check_same(struct index *ix, const struct spec *spec, const struct record *r, size_t n)
{
	bool maildir = spec->kind == MAILDROP_MAILDIR;

	for (size_t i = 0; i < n; i++) {
		struct msg m;
		const char *s;

		MUST(index_get(ix, i, &m) == 0);
		MUST(m.length == r[i].m.length && m.octets == r[i].m.octets);
		MUST(((m.flags ^ r[i].m.flags) & ~(uint32_t)MSG_UIDL) == 0);
		if (r[i].uidl[0]) {
			MUST(m.flags & MSG_UIDL);
			s = index_string(ix, m.uidl);
			MUST(s && strcmp(s, r[i].uidl) == 0);
		}
		if (!maildir) {
			MUST(m.offset == r[i].m.offset && m.suffix == r[i].m.suffix);
			continue;
		}
		MUST(m.ino == r[i].m.ino && m.mtime_ns == r[i].m.mtime_ns);
		s = index_string(ix, m.name);
		MUST(s && strcmp(s, r[i].name) == 0);
	}
}

/* --- changes ------------------------------------------------------------------ */

static size_t read_all(uint8_t *out, size_t room)
{
	int fd = openat(fuzz_dir(), INDEX_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fs_pread_full(fd, out, room, 0);

	MUST(fd >= 0 && n >= 0);
	close(fd);
	return (size_t)n;
}

/* All sums right again, as far as header and size fit each other. */
static void seal(uint8_t *file, size_t size)
{
	struct index_header h;
	struct index_extent parts[PARTS];
	uint64_t blocks, end, sum, at = 0;

	if (size < sizeof(h))
		return;
	memcpy(&h, file, sizeof(h));
	h.file_size = size;
	if (h.count <= size && h.id_text_size <= size && h.names_size <= size &&
	    (h.kind == MAILDROP_MBOX || h.kind == MAILDROP_MAILDIR)) {
		blocks = index_layout(&h, parts, &end);
		if (end + blocks * sizeof(sum) <= size) {
			for (int part = 0; part < PARTS; part++)
				for (uint64_t in = 0; in < parts[part].size; at++) {
					size_t left = (size_t)(parts[part].size - in);
					size_t len = left < parts[part].each
							     ? left
							     : (size_t)parts[part].each;

					sum = sum64_of(file + parts[part].start + in, len);
					memcpy(file + end + at * sizeof(sum), &sum, sizeof(sum));
					in += len;
				}
			h.sums_sum = sum64_of(file + end, (size_t)blocks * sizeof(sum));
			h.file_size = end + blocks * sizeof(sum);
		}
	}
	h.sum = sum64_of(&h, offsetof(struct index_header, sum));
	memcpy(file, &h, sizeof(h));
}

static void change(struct fuzz_in *in, bool sealed)
{
	static uint8_t file[1 << 16];
	size_t size = read_all(file, sizeof(file));

	while (in->p < in->end) {
		uint16_t at = fuzz_u16(in);
		uint8_t value = fuzz_u8(in);

		if (at == 0xffff)
			size = size * value / 256;
		else if (at < size)
			file[at] = value;
	}
	if (sealed)
		seal(file, size);
	fuzz_dir_put(INDEX_FILE, file, size);
}

/* --- whatever there is, read ------------------------------------------------- */

static void read_columns(struct index *ix, size_t count)
{
	int fd = fuzz_file(1, "", 0);
	uint64_t *hashes, bytes;

	if (count > 1 << 16)
		return;
	hashes = calloc(count + 1, sizeof(*hashes));
	MUST(hashes != NULL);
	index_hashes(ix, hashes);
	index_copy_octets(ix, fd, 0);
	index_copy_ids(ix, fd, 0, 1 << 20, &bytes);
	free(hashes);
}

static void read_messages(struct index *ix, size_t count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count && i < 1 << 16; i++) {
		struct msg m;
		const char *s;

		if (index_get(ix, i, &m) < 0)
			continue;
		total += m.octets;
		MUST(m.octets >= m.length && m.octets <= 2 * m.length + 2);
		s = index_string(ix, m.name);
		MUST(!s || strlen(s) <= NAME_MAX);
		s = index_string(ix, m.uidl);
		MUST(!s || strlen(s) <= NAME_MAX);
	}
	MUST(index_get(ix, count, &(struct msg){ 0 }) < 0);
	/* a small one was checked whole */
	if (count < 1000)
		MUST(total == index_head(ix)->octets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct record r[RECORDS_MAX];
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in);
	struct spec spec = { how & MAILDIR ? MAILDROP_MAILDIR : MAILDROP_MBOX, "/m" };
	struct index_head head;
	struct index *ix;
	size_t n = 0;

	if (how & RAW) {
		fuzz_dir_put(INDEX_FILE, in.p, (size_t)(in.end - in.p));
	} else {
		for (size_t most = fuzz_u8(&in) % RECORDS_MAX; n < most && in.p < in.end; n++)
			take_record(&in, how & MAILDIR, &r[n]);
		if (!write_index(&spec, r, n, &head))
			return 0;
		MUST(index_open(&ix, fuzz_dir(), &spec) == 0);
		check_same(ix, &spec, r, n);
		index_close(ix);
		change(&in, how & SEAL);
	}
	if (index_open(&ix, fuzz_dir(), &spec) == 0) {
		read_messages(ix, (size_t)index_head(ix)->count);
		read_columns(ix, (size_t)index_head(ix)->count);
		index_close(ix);
	}
	return 0;
}
