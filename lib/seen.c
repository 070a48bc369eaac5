/*
 * seen.c - read, append to and replace the file of first retrievals.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   nothing in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "fsutil.h"
#include "hash.h"
#include "maildrop_impl.h"
#include "num.h"
#include "seen.h"
#include "uidl.h"

#define HEAD	      "pop3d-seen 1\n"
#define HEAD_LEN      (sizeof(HEAD) - 1)
#define TEMP_FILE     SEEN_FILE ".new"
#define LINE_SPACE    96		   /* bytes of the longest line, and more */
#define DAY_MAX	      4000000		   /* of the year 12921 */
#define ROOM	      (64u << 10)	   /* bytes that a file may waste */
#define ROOM_EACH     160u		   /* and for each message */
#define BELIEVED      (UINT64_C(16) << 20) /* above it, and this for each message: none of ours */
#define BELIEVED_EACH 1024u
#define SECONDS_A_DAY 86400

uint32_t seen_today(void)
{
	time_t now = time(NULL);

	return now > 0 ? (uint32_t)(now / SECONDS_A_DAY) : 0;
}

/* --- from an id to its message ------------------------------------------------ */

struct place {
	uint8_t hash[16];
	size_t idx;
};

struct id_map {
	struct place *places; /* owned, sorted */
	size_t n;
	uint8_t key[16];
};

static int by_hash(const void *a, const void *b)
{
	return memcmp(((const struct place *)a)->hash, ((const struct place *)b)->hash, 16);
}

static int id_map_make(struct id_map *map, struct maildrop *md)
{
	char id[UIDL_MAX + 1];
	int err = 0;

	map->n = maildrop_count(md);
	map->places = calloc(map->n + 1, sizeof(*map->places));
	if (!map->places)
		return POP_E_MEMORY;
	if (getrandom(map->key, sizeof(map->key), 0) != (ssize_t)sizeof(map->key))
		return POP_E_SYS;
	for (size_t idx = 0; idx < map->n && !err; idx++) {
		err = maildrop_uidl(md, idx, id);
		if (err < 0)
			break;
		siphash128(map->key, id, strlen(id), map->places[idx].hash);
		map->places[idx].idx = idx;
	}
	if (!err)
		qsort(map->places, map->n, sizeof(*map->places), by_hash);
	return err;
}

/* The message with this id, or SIZE_MAX. */
static size_t id_map_find(const struct id_map *map, const char *id, size_t len)
{
	struct place want = { .idx = 0 }, *found;

	siphash128(map->key, id, len, want.hash);
	found = map->n ? bsearch(&want, map->places, map->n, sizeof(want), by_hash) : NULL;
	return found ? found->idx : SIZE_MAX;
}

/* --- reading -------------------------------------------------------------------- */

struct reader {
	struct seen *known;
	struct id_map map;
	uint32_t today;
	bool begun;    /* the first line was met */
	bool skipping; /* within a line that is too long */
};

static void enter(struct reader *r, size_t idx, int kind, uint32_t day)
{
	struct seen *s = &r->known[idx];

	if ((int)s->kind >= kind)
		return;
	s->kind = kind == SEEN_MET ? SEEN_MET : SEEN_RETRIEVED;
	s->day = day < r->today ? day : r->today;
}

/* One line without its end. */
static int take_line(struct reader *r, const char *line, size_t len)
{
	const char *end = line + len, *blank;
	int kind = SEEN_RETRIEVED;
	uint64_t day = 0;
	size_t idx;

	if (!r->begun) {
		r->begun = true;
		return len == HEAD_LEN - 1 && memcmp(line, HEAD, len) == 0 ? 0 : POP_E_CORRUPT;
	}
	if (len > 4 && memcmp(line, "met ", 4) == 0) {
		kind = SEEN_MET;
		line += 4;
	}
	blank = memchr(line, ' ', (size_t)(end - line));
	if (!blank || !uidl_valid(blank + 1, (size_t)(end - blank - 1)))
		return 0;
	if (blank - line == 1 && *line == '-')
		kind = SEEN_UNKNOWN;
	else if (num_parse(line, (size_t)(blank - line), DAY_MAX, &day) < 0)
		return 0;
	idx = id_map_find(&r->map, blank + 1, (size_t)(end - blank - 1));
	if (idx == SIZE_MAX)
		return 0;
	if (kind == SEEN_UNKNOWN)
		r->known[idx] = (struct seen){ .kind = SEEN_UNKNOWN };
	else
		enter(r, idx, kind, (uint32_t)day);
	return 0;
}

/* The whole lines of a block.  Returns how many bytes were used, or an error. */
static ssize_t take_block(struct reader *r, const char *block, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const char *nl = memchr(block + at, '\n', n - at);
		int err = 0;

		if (!nl)
			break;
		if (!r->skipping)
			err = take_line(r, block + at, (size_t)(nl - block) - at);
		if (err < 0)
			return err;
		r->skipping = false;
		at = (size_t)(nl - block) + 1;
	}
	return (ssize_t)at;
}

/* A line without its end, the last one, was cut off: it is not taken. */
static int read_lines(struct reader *r, int fd)
{
	char block[16384];
	off_t at = 0;

	for (;;) {
		ssize_t n = fs_pread_full(fd, block, sizeof(block), at), used;

		if (n <= 0)
			return (int)n;
		used = take_block(r, block, (size_t)n);
		if (used < 0)
			return (int)used;
		if (used == 0 && n == (ssize_t)sizeof(block)) {
			if (!r->begun)
				return POP_E_CORRUPT;
			r->skipping = true;
			used = n;
		}
		if (used == 0 || n < (ssize_t)sizeof(block))
			return 0;
		at += used;
	}
}

/* Open the file, where it is one of ours.  A descriptor; POP_E_MISSING; POP_E_UNSAFE, POP_E_SYS. */
static int open_file(const struct maildrop *md, int flags, struct stat *st, struct pop_why *why)
{
	int fd;

	*st = (struct stat){ .st_size = 0 };
	fd = fs_open_at(md->env.state_fd, SEEN_FILE, FS_LINKS_NONE, flags, 0600);

	if (fd < 0 && errno == ENOENT)
		return POP_E_MISSING;
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO
			       ? pop_why(why, POP_E_UNSAFE, "%s: is no file; remove it", SEEN_FILE)
			       : pop_why_errno(why, SEEN_FILE);
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == md->env.uid &&
	    st->st_nlink == 1)
		return fd;
	close(fd);
	return pop_why(why, POP_E_UNSAFE,
		       "%s: is no regular file of the maildrop's owner; remove it", SEEN_FILE);
}

static uint64_t believed(const struct maildrop *md)
{
	return BELIEVED + (uint64_t)maildrop_count(md) * BELIEVED_EACH;
}

int seen_load(struct maildrop *md, struct seen *out, struct pop_why *why)
{
	struct reader r = { .known = out, .today = seen_today() };
	struct stat st = { .st_size = 0 };
	int fd, err;

	memset(out, 0, maildrop_count(md) * sizeof(*out));
	if (md->env.state_fd < 0)
		return 0;
	fd = open_file(md, O_RDONLY, &st, why);
	if (fd < 0)
		return fd == POP_E_MISSING ? 0 : fd;
	err = (uint64_t)st.st_size > believed(md) ? POP_E_CORRUPT : id_map_make(&r.map, md);
	if (!err)
		err = read_lines(&r, fd);
	if (err == POP_E_CORRUPT) {
		memset(out, 0, maildrop_count(md) * sizeof(*out));
		pop_why(why, err, "%s: is none of ours, or damaged; it is begun anew", SEEN_FILE);
	} else if (err < 0) {
		pop_why(why, err, "%s: %s", SEEN_FILE, pop_strerror(err));
	}
	free(r.map.places);
	close(fd);
	return err;
}

/* --- writing -------------------------------------------------------------------- */

static int add_line(struct seen_lines *l, const char *before, uint32_t day, const char *id)
{
	char line[LINE_SPACE];
	int n = *before == '-' ? snprintf(line, sizeof(line), "- %s\n", id)
			       : snprintf(line, sizeof(line), "%s%lu %s\n", before,
					  (unsigned long)day, id);

	if (!l->text || l->size - l->len < (size_t)n) {
		size_t size = l->size ? l->size * 2 : 4096;
		char *grown = realloc(l->text, size);

		if (!grown)
			return POP_E_MEMORY;
		l->text = grown;
		l->size = size;
	}
	memcpy(l->text + l->len, line, (size_t)n);
	l->len += (size_t)n;
	return 0;
}

static bool bit(const uint8_t *bits, size_t idx)
{
	return bits && (bits[idx / 8] >> idx % 8 & 1);
}

int seen_lines_make(struct seen_lines *l, struct maildrop *md, const uint8_t *retrieved,
		    const uint8_t *deleted)
{
	uint32_t today = seen_today();
	char id[UIDL_MAX + 1];
	struct stat st;
	bool forget;
	int err = 0;

	*l = (struct seen_lines){ .len = 0 };
	if (md->env.state_fd < 0)
		return 0;
	/* who takes and deletes all has no file, and needs none */
	forget = deleted && fstatat(md->env.state_fd, SEEN_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
	for (size_t idx = 0; idx < maildrop_count(md) && !err; idx++) {
		bool gone = bit(deleted, idx);

		if (!(gone ? forget : bit(retrieved, idx)))
			continue;
		err = maildrop_uidl(md, idx, id);
		if (!err)
			err = add_line(l, gone ? "-" : "", today, id);
	}
	return err;
}

void seen_lines_release(struct seen_lines *l)
{
	free(l->text);
	*l = (struct seen_lines){ .len = 0 };
}

/*
 * Where to append: behind the last whole line, what is cut off behind it goes.
 * 0 for a file that has no line near its end: it is not ours.
 */
static int end_of_lines(int fd, uint64_t size, uint64_t *at)
{
	char tail[LINE_SPACE];
	uint64_t from = size > sizeof(tail) ? size - sizeof(tail) : 0;
	ssize_t n = fs_pread_full(fd, tail, (size_t)(size - from), (off_t)from);
	const char *nl;

	*at = 0;
	if (n <= 0)
		return (int)n;
	nl = memrchr(tail, '\n', (size_t)n);
	if (nl)
		*at = from + (uint64_t)(nl - tail) + 1;
	return *at < size && ftruncate(fd, (off_t)*at) < 0 ? POP_E_SYS : 0;
}

int seen_append(const struct seen_lines *l, const struct maildrop *md, struct pop_why *why)
{
	struct stat st = { .st_size = 0 };
	uint64_t at;
	int fd, err, saved;

	if (!l->len)
		return 0;
	fd = open_file(md, O_RDWR | O_CREAT, &st, why);
	if (fd < 0)
		return fd;
	err = (uint64_t)st.st_size > believed(md) && ftruncate(fd, 0) < 0 ? POP_E_SYS : 0;
	if (!err)
		err = end_of_lines(fd,
				   (uint64_t)st.st_size > believed(md) ? 0 : (uint64_t)st.st_size,
				   &at);
	if (!err && at == 0) {
		err = fs_pwrite_all(fd, HEAD, HEAD_LEN, 0);
		at = HEAD_LEN;
	}
	if (!err)
		err = fs_pwrite_all(fd, l->text, l->len, (off_t)at);
	saved = errno;
	close(fd);
	errno = saved;
	if (err < 0)
		return pop_why_errno(why, SEEN_FILE);
	/* a view does not know all messages */
	return !md->viewed && at + l->len > ROOM + (uint64_t)maildrop_count(md) * ROOM_EACH;
}

/* Replace the file by these bytes, or remove it where there are none. */
static int replace(int state_fd, const struct seen_lines *l)
{
	int fd, dir = -1, err = POP_E_SYS, saved;

	if (!l->len)
		return unlinkat(state_fd, SEEN_FILE, 0) < 0 && errno != ENOENT ? POP_E_SYS : 0;
	if (unlinkat(state_fd, TEMP_FILE, 0) < 0 && errno != ENOENT)
		return POP_E_SYS;
	fd = fs_open_at(state_fd, TEMP_FILE, FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return POP_E_SYS;
	if (fs_write_all(fd, HEAD, HEAD_LEN) == 0 && fs_write_all(fd, l->text, l->len) == 0 &&
	    fsync(fd) == 0)
		err = 0;
	if (!err) {
		dir = fs_reopen_dir(state_fd);
		if (dir < 0 || renameat(dir, TEMP_FILE, dir, SEEN_FILE) < 0 || fsync(dir) < 0)
			err = POP_E_SYS;
	}
	saved = errno;
	close(fd);
	if (dir >= 0)
		close(dir);
	if (err)
		unlinkat(state_fd, TEMP_FILE, 0);
	errno = saved;
	return err;
}

/* Does the file say just this? */
static bool says_so(const struct maildrop *md, const struct seen_lines *l)
{
	char *text = NULL;
	bool same = false;
	struct stat st;
	size_t len = 0;
	int fd = open_file(md, O_RDONLY, &st, NULL);

	if (fd < 0)
		return fd == POP_E_MISSING && !l->len;
	if (l->len && (uint64_t)st.st_size == HEAD_LEN + l->len &&
	    fs_read_file(fd, HEAD_LEN + l->len, &text, &len) == 0)
		same = len == HEAD_LEN + l->len && memcmp(text, HEAD, HEAD_LEN) == 0 &&
		       memcmp(text + HEAD_LEN, l->text, l->len) == 0;
	free(text);
	close(fd);
	return same;
}

int seen_save(struct maildrop *md, const struct seen *known)
{
	struct seen_lines l = { .len = 0 };
	char id[UIDL_MAX + 1];
	int err = 0;

	if (md->env.state_fd < 0)
		return 0;
	for (size_t idx = 0; idx < maildrop_count(md) && !err; idx++) {
		if (known[idx].kind == SEEN_UNKNOWN)
			continue;
		err = maildrop_uidl(md, idx, id);
		if (!err)
			err = add_line(&l, known[idx].kind == SEEN_MET ? "met " : "",
				       known[idx].day, id);
	}
	if (!err && !says_so(md, &l))
		err = replace(md->env.state_fd, &l);
	seen_lines_release(&l);
	return err;
}
