/*
 * imported.c - read, look up and write the file of imported ids.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   nothing in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "imported.h"
#include "fsutil.h"
#include "num.h"
#include "uidl.h"

#define HEAD	  "pop3d-uidl 1"
#define FILE_MAX  (UINT32_C(1) << 30)
#define TEMP_FILE IMPORTED_FILE ".new"

void imported_init(struct imported *im)
{
	memset(im, 0, sizeof(*im));
	im->sorted = true;
}

void imported_release(struct imported *im)
{
	free(im->entries);
	free(im->text);
	imported_init(im);
}

/* Keep a copy; *at is where. */
static int text_add(struct imported *im, const char *s, size_t len, uint32_t *at)
{
	size_t size = im->text_size ? im->text_size : 4096;
	char *grown;

	if (len >= UINT32_MAX - im->len)
		return POP_E_LONG;
	while (size < im->len + len + 1)
		size *= 2;
	if (size != im->text_size) {
		grown = realloc(im->text, size);
		if (!grown)
			return POP_E_MEMORY;
		im->text = grown;
		im->text_size = size;
	}
	*at = (uint32_t)im->len;
	memcpy(im->text + im->len, s, len);
	im->text[im->len + len] = '\0';
	im->len += len + 1;
	return 0;
}

static int add(struct imported *im, const char *key, const char *id, size_t id_len)
{
	struct imported_entry *e;
	int err;

	if (im->count == im->size) {
		size_t size = im->size ? im->size * 2 : 64;
		struct imported_entry *grown = reallocarray(im->entries, size, sizeof(*grown));

		if (!grown)
			return POP_E_MEMORY;
		im->entries = grown;
		im->size = size;
	}
	e = &im->entries[im->count];
	err = text_add(im, key, strlen(key), &e->key);
	if (!err)
		err = text_add(im, id, id_len, &e->id);
	if (err)
		return err;
	/* files come sorted: then a lookup needs no sorting first */
	if (im->count && strcmp(im->text + im->entries[im->count - 1].key, im->text + e->key) >= 0)
		im->sorted = false;
	im->count++;
	return 0;
}

static int by_key(const void *a, const void *b, void *text)
{
	const struct imported_entry *x = a, *y = b;
	int order = strcmp((char *)text + x->key, (char *)text + y->key);

	/* of two lines for one message the first counts */
	return order ? order : (x->key > y->key) - (x->key < y->key);
}

static void heap_down(struct imported *im, size_t i, size_t n)
{
	struct imported_entry *e = im->entries, swap;
	size_t child;

	for (; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && by_key(&e[child], &e[child + 1], im->text) < 0)
			child++;
		if (by_key(&e[i], &e[child], im->text) >= 0)
			return;
		swap = e[i];
		e[i] = e[child];
		e[child] = swap;
	}
}

/* In place: qsort() may ask for memory, and not every libc has qsort_r(). */
static void sort(struct imported *im)
{
	struct imported_entry swap;
	size_t i;

	for (i = im->count / 2; i-- > 0;)
		heap_down(im, i, im->count);
	for (i = im->count; i-- > 1;) {
		swap = im->entries[0];
		im->entries[0] = im->entries[i];
		im->entries[i] = swap;
		heap_down(im, 0, i);
	}
	im->sorted = true;
}

/* The first entry whose key is not before this one; im->count where there is none. */
static size_t lower_bound(struct imported *im, const char *key)
{
	size_t low = 0, high = im->count;

	if (!im->sorted)
		sort(im);
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(im->text + im->entries[mid].key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct imported_entry *find(struct imported *im, const char *key)
{
	size_t at = lower_bound(im, key);

	if (at == im->count || strcmp(im->text + im->entries[at].key, key) != 0)
		return NULL;
	return &im->entries[at];
}

int imported_base_key(const char *base, size_t len, char key[IMPORTED_KEY_MAX])
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = sizeof("base ") - 1;

	if (!len || len > 255)
		return POP_E_LONG;
	memcpy(key, "base ", n);
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)base[i];

		if (c > 0x20 && c < 0x7f && c != '%') {
			key[n++] = (char)c;
		} else {
			key[n++] = '%';
			key[n++] = hex[c >> 4];
			key[n++] = hex[c & 15];
		}
	}
	key[n] = '\0';
	return 0;
}

void imported_digest_key(const uint8_t digest[16], uint32_t ordinal, char key[IMPORTED_KEY_MAX])
{
	char hex[UIDL_MAX + 1];

	uidl_format_digest(digest, 0, hex);
	snprintf(key, IMPORTED_KEY_MAX, "digest %s %lu", hex, (unsigned long)ordinal);
}

static const char *id_of(struct imported *im, const char *key)
{
	struct imported_entry *e = find(im, key);

	return e ? im->text + e->id : NULL;
}

const char *imported_by_base(struct imported *im, const char *base, size_t len)
{
	char key[IMPORTED_KEY_MAX];

	return imported_base_key(base, len, key) < 0 ? NULL : id_of(im, key);
}

const char *imported_by_digest(struct imported *im, const uint8_t digest[16], uint32_t ordinal)
{
	char key[IMPORTED_KEY_MAX];

	imported_digest_key(digest, ordinal, key);
	return id_of(im, key);
}

size_t imported_digest_place(struct imported *im, const uint8_t digest[16])
{
	char key[IMPORTED_KEY_MAX];
	size_t at, n;

	imported_digest_key(digest, 0, key);
	n = strlen(key) - 1; /* without the ordinal */
	key[n] = '\0';
	at = lower_bound(im, key);
	return at < im->count && strncmp(im->text + im->entries[at].key, key, n) == 0 ? at
										      : SIZE_MAX;
}

int imported_set(struct imported *im, const char *key, const char *id)
{
	struct imported_entry *e;
	uint32_t at;
	int err;

	if (!uidl_valid(id, strlen(id)))
		return POP_E_SYNTAX;
	e = find(im, key);
	if (e && strcmp(im->text + e->id, id) == 0)
		return 0;
	if (e) {
		err = text_add(im, id, strlen(id), &at);
		if (!err)
			e->id = at;
	} else {
		err = add(im, key, id, strlen(id));
	}
	if (err)
		return err;
	im->changed = true;
	return 1;
}

int imported_set_base(struct imported *im, const char *base, size_t len, const char *id)
{
	char key[IMPORTED_KEY_MAX];
	int err = imported_base_key(base, len, key);

	return err < 0 ? err : imported_set(im, key, id);
}

int imported_set_digest(struct imported *im, const uint8_t digest[16], uint32_t ordinal,
			const char *id)
{
	char key[IMPORTED_KEY_MAX];

	imported_digest_key(digest, ordinal, key);
	return imported_set(im, key, id);
}

static bool is_hex(char c, bool lower)
{
	return (c >= '0' && c <= '9') || (lower ? c >= 'a' && c <= 'f' : c >= 'A' && c <= 'F');
}

/* A NAME as imported_base_key() writes it: printable, every '%' with two digits. */
static bool name_valid(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] <= 0x20 || s[i] >= 0x7f)
			return false;
		if (s[i] == '%' &&
		    (len - i < 3 || !is_hex(s[i + 1], false) || !is_hex(s[i + 2], false)))
			return false;
	}
	return len > 0 && len < IMPORTED_KEY_MAX - sizeof("base ");
}

/* "HEX N", N from 1 without leading zeros. */
static bool digest_valid(const char *s, size_t len)
{
	uint64_t n;

	if (len < 34 || len > 42 || s[32] != ' ' || s[33] == '0')
		return false;
	for (size_t i = 0; i < 32; i++)
		if (!is_hex(s[i], true))
			return false;
	return num_parse(s + 33, len - 33, UINT32_MAX, &n) == 0;
}

/* One line without its end. */
static int parse_line(struct imported *im, const char *line, size_t len)
{
	char key[IMPORTED_KEY_MAX];
	const char *end = line + len, *id, *rest;
	size_t word;
	bool base;

	if (!len || line[0] == '#')
		return 0;
	base = len > 5 && memcmp(line, "base ", 5) == 0;
	if (!base && (len <= 7 || memcmp(line, "digest ", 7) != 0))
		return POP_E_CORRUPT;
	word = base ? 5 : 7;
	id = line + word;
	rest = memchr(id, ' ', (size_t)(end - id));
	if (!rest || !uidl_valid(id, (size_t)(rest - id)))
		return POP_E_CORRUPT;
	len = (size_t)(end - (rest + 1));
	if (!(base ? name_valid(rest + 1, len) : digest_valid(rest + 1, len)))
		return POP_E_CORRUPT;
	memcpy(key, line, word);
	memcpy(key + word, rest + 1, len);
	key[word + len] = '\0';
	return add(im, key, id, (size_t)(rest - id));
}

static int parse(struct imported *im, const char *text, size_t len, struct pop_why *why)
{
	const char *end = text + len, *next;
	unsigned long number = 0;
	int err;

	for (; text < end; text = next) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);

		next = nl ? nl + 1 : end;
		if (++number == 1)
			err = n == sizeof(HEAD) - 1 && memcmp(text, HEAD, n) == 0 ? 0
										  : POP_E_CORRUPT;
		else
			err = parse_line(im, text, n);
		if (err == POP_E_CORRUPT)
			return pop_why(why, err,
				       "%s:%lu: is no line of imported ids; mend or remove the "
				       "line, or import again",
				       IMPORTED_FILE, number);
		if (err < 0)
			return err;
	}
	if (!number)
		return pop_why(why, POP_E_CORRUPT, "%s: is empty; remove it, or import again",
			       IMPORTED_FILE);
	return 0;
}

int imported_load(struct imported *im, int state_fd, uid_t owner, struct pop_why *why)
{
	struct stat st;
	char *text = NULL;
	size_t len = 0;
	int fd, err = 0, saved;

	imported_init(im);
	if (state_fd < 0)
		return 0;
	fd = fs_open_at(state_fd, IMPORTED_FILE, FS_LINKS_NONE, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return errno == ELOOP ? pop_why(why, POP_E_UNSAFE,
						"%s: is a symbolic link; remove it", IMPORTED_FILE)
				      : pop_why_errno(why, IMPORTED_FILE);
	if (fstat(fd, &st) < 0)
		err = pop_why_errno(why, IMPORTED_FILE);
	else if (!S_ISREG(st.st_mode) || st.st_uid != owner || st.st_nlink != 1)
		err = pop_why(why, POP_E_UNSAFE,
			      "%s: is no regular file of the maildrop's owner; remove it",
			      IMPORTED_FILE);
	if (!err) {
		err = fs_read_file(fd, FILE_MAX, &text, &len);
		if (err < 0)
			pop_why(why, err, "%s: %s", IMPORTED_FILE, pop_strerror(err));
	}
	if (!err)
		err = parse(im, text, len, why);
	saved = errno;
	free(text);
	close(fd);
	errno = saved;
	return err;
}

static int write_lines(struct imported *im, FILE *f)
{
	size_t i;

	fputs(HEAD "\n"
		   "# Unique ids taken over from another server: keep this file.\n"
		   "# base ID NAME (Maildir), digest ID HEX N (mbox)\n",
	      f);
	if (!im->sorted)
		sort(im);
	for (i = 0; i < im->count; i++) {
		const char *key = im->text + im->entries[i].key, *rest = strchr(key, ' ');

		fprintf(f, "%.*s %s%s\n", (int)(rest - key), key, im->text + im->entries[i].id,
			rest);
	}
	return fflush(f) || ferror(f) || fsync(fileno(f)) < 0 ? POP_E_SYS : 0;
}

int imported_save(struct imported *im, int state_fd)
{
	int fd, dir = -1, err = POP_E_SYS, saved;
	FILE *f;

	if (unlinkat(state_fd, TEMP_FILE, 0) < 0 && errno != ENOENT)
		return POP_E_SYS;
	fd = fs_open_at(state_fd, TEMP_FILE, FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return POP_E_SYS;
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		goto out;
	}
	err = write_lines(im, f);
	if (fclose(f) && !err)
		err = POP_E_SYS;
	if (!err) {
		dir = fs_reopen_dir(state_fd);
		if (dir < 0 || renameat(dir, TEMP_FILE, dir, IMPORTED_FILE) < 0 || fsync(dir) < 0)
			err = POP_E_SYS;
	}
out:
	saved = errno;
	if (dir >= 0)
		close(dir);
	if (err)
		unlinkat(state_fd, TEMP_FILE, 0);
	else
		im->changed = false;
	errno = saved;
	return err;
}
