/*
 * maildir_names.c - the names of a Maildir: read, sorted, and found again
 * after another program renamed a message.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner.
 * Trusts:   nothing of the names but that they are shorter than a directory
 *           allows.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "maildir_impl.h"
#include "fsutil.h"

size_t base_length(const char *name)
{
	return strcspn(name, ":");
}

uint64_t base_number(const char *name)
{
	uint64_t n = 0;

	for (; *name >= '0' && *name <= '9'; name++)
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*name - '0'), &n))
			return UINT64_MAX;
	return n;
}

static const char *behind_digits(const char *name)
{
	while (*name >= '0' && *name <= '9')
		name++;
	return name;
}

/* Compare up to the end of the bases. */
static int compare_text(const char *a, const char *b)
{
	for (;; a++, b++) {
		uint8_t x = *a == ':' ? 0 : (uint8_t)*a, y = *b == ':' ? 0 : (uint8_t)*b;

		if (x != y)
			return x < y ? -1 : 1;
		if (!x)
			return 0;
	}
}

int base_compare(uint64_t a_number, const char *a, uint64_t b_number, const char *b)
{
	int order;

	if (a_number != b_number)
		return a_number < b_number ? -1 : 1;
	order = compare_text(behind_digits(a), behind_digits(b));
	return order ? order : compare_text(a, b); /* leading zeros, and numbers too long */
}

int dir_stamp_of(int fd, struct dir_stamp *out)
{
	struct file_stamp stamp;
	struct stat st;

	*out = (struct dir_stamp){ 0 };
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	file_stamp_of(&st, &stamp);
	*out = (struct dir_stamp){ stamp.ino, stamp.mtime_ns, stamp.ctime_ns };
	return 0;
}

bool dir_stamp_equal(const struct dir_stamp *a, const struct dir_stamp *b)
{
	return a->ino == b->ino && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

int name_list_add(struct name_list *l, const char *name, uint64_t ino, enum maildir_sub sub,
		  uint16_t turn)
{
	size_t len = strlen(name) + 1;

	if (l->names_len > UINT32_MAX - len)
		return POP_E_LONG;
	if (l->names_size - l->names_len < len) {
		size_t size = l->names_size ? l->names_size * 2 : 16384;
		char *names = realloc(l->names, size);

		if (!names)
			return POP_E_MEMORY;
		l->names = names;
		l->names_size = size;
	}
	if (l->count == l->size) {
		size_t size = l->size ? l->size * 2 : 256;
		struct dir_name *items = reallocarray(l->items, size, sizeof(*items));

		if (!items)
			return POP_E_MEMORY;
		l->items = items;
		l->size = size;
	}
	memcpy(l->names + l->names_len, name, len);
	l->items[l->count++] = (struct dir_name){
		.number = base_number(name),
		.ino = ino,
		.at = (uint32_t)l->names_len,
		.sub = (uint16_t)sub,
		.turn = turn,
	};
	l->names_len += len;
	return 0;
}

/* Is this entry a mail file?  1, 0, or POP_E_SYS. */
static int is_mail(struct maildir *dir, int fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_name[0] == '.' || entry->d_type == DT_DIR)
		return 0;
	if (entry->d_type == DT_REG)
		return 1;
	if (entry->d_type == DT_UNKNOWN) {
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : POP_E_SYS;
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
			return S_ISREG(st.st_mode);
	}
	dir->skipped++;
	return 0;
}

int name_list_read(struct maildir *dir, struct name_list *l, enum maildir_sub sub, uint16_t turn)
{
	struct dirent *entry;
	DIR *d;
	int fd, err = 0, saved;

	if (dir->fds[sub] < 0)
		return 0;
	/* opened anew: a copy would share its position with every other */
	fd = fs_reopen_dir(dir->fds[sub]);
	if (fd < 0)
		return POP_E_SYS;
	d = fdopendir(fd);
	if (!d) {
		saved = errno;
		close(fd);
		errno = saved;
		return POP_E_SYS;
	}
	while (err >= 0 && (errno = 0, entry = readdir(d)) != NULL) {
		err = is_mail(dir, fd, entry);
		if (err > 0)
			err = name_list_add(l, entry->d_name, entry->d_ino, sub, turn);
	}
	if (err >= 0 && errno)
		err = POP_E_SYS;
	saved = errno;
	closedir(d);
	errno = saved;
	return err < 0 ? err : 0;
}

/* What decides nearly always, so that few names are looked at while sorting. */
struct sort_key {
	uint64_t number;
	uint64_t prefix; /* the eight bytes of the base behind its digits, the first one highest */
	const struct dir_name *item;
};

static uint64_t prefix_of(const char *name)
{
	const char *s = behind_digits(name);
	uint64_t prefix = 0;

	for (int i = 0; i < 8; i++) {
		prefix = prefix << 8 | (*s == ':' ? 0 : (uint8_t)*s);
		s += *s && *s != ':';
	}
	return prefix;
}

static int by_key(const void *x, const void *y)
{
	const struct sort_key *k = x, *l = y;
	const struct dir_name *a = k->item, *b = l->item;
	int order;

	if (k->number != l->number)
		return k->number < l->number ? -1 : 1;
	if (k->prefix != l->prefix)
		return k->prefix < l->prefix ? -1 : 1;
	order = base_compare(a->number, a->name, b->number, b->name);
	if (order)
		return order;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->turn != b->turn)
		return a->turn < b->turn ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* Leave the last-read name of those that share base and inode. */
static void drop_repeated(struct name_list *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct dir_name *item = &l->items[i], *last = &l->items[kept ? kept - 1 : 0];

		if (kept && last->ino == item->ino &&
		    base_compare(last->number, last->name, item->number, item->name) == 0)
			kept--;
		l->items[kept++] = *item;
	}
	l->count = kept;
}

int name_list_sort(struct name_list *l)
{
	struct sort_key *keys;
	struct dir_name *items;

	if (!l->count)
		return 0;
	keys = reallocarray(NULL, l->count, sizeof(*keys));
	items = reallocarray(NULL, l->count, sizeof(*items));
	if (!keys || !items) {
		free(keys);
		free(items);
		return POP_E_MEMORY;
	}
	for (size_t i = 0; i < l->count; i++) {
		struct dir_name *item = &l->items[i];

		item->name = l->names + item->at;
		keys[i] = (struct sort_key){ item->number, prefix_of(item->name), item };
	}
	qsort(keys, l->count, sizeof(*keys), by_key);
	for (size_t i = 0; i < l->count; i++)
		items[i] = *keys[i].item;
	free(keys);
	free(l->items);
	l->items = items;
	l->size = l->count;
	drop_repeated(l);
	return 0;
}

size_t name_list_find(const struct name_list *l, const char *name)
{
	uint64_t number = base_number(name);
	size_t low = 0, high = l->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct dir_name *item = &l->items[mid];

		if (base_compare(item->number, item->name, number, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < l->count &&
	    base_compare(l->items[low].number, l->items[low].name, number, name) == 0)
		return low;
	return l->count;
}

void name_list_release(struct name_list *l)
{
	free(l->items);
	free(l->names);
	*l = (struct name_list){ 0 };
}

int maildir_refresh(struct maildir *dir)
{
	struct dir_stamp now[SUB_COUNT];
	int err = dir_stamp_of(dir->fds[SUB_NEW], &now[SUB_NEW]);

	if (!err)
		err = dir_stamp_of(dir->fds[SUB_CUR], &now[SUB_CUR]);
	if (err < 0 ||
	    (dir->map_known && dir_stamp_equal(&now[SUB_NEW], &dir->map_stamps[SUB_NEW]) &&
	     dir_stamp_equal(&now[SUB_CUR], &dir->map_stamps[SUB_CUR])))
		return err;
	name_list_release(&dir->map);
	dir->map_known = false;
	/* cur first and last: what moves there from new meanwhile is seen in one of them */
	err = name_list_read(dir, &dir->map, SUB_CUR, 0);
	if (!err)
		err = name_list_read(dir, &dir->map, SUB_NEW, 1);
	if (!err && dir_stamp_of(dir->fds[SUB_CUR], &dir->map_stamps[SUB_CUR]) == 0 &&
	    !dir_stamp_equal(&now[SUB_CUR], &dir->map_stamps[SUB_CUR]))
		err = name_list_read(dir, &dir->map, SUB_CUR, 2);
	if (err < 0)
		return err;
	err = name_list_sort(&dir->map);
	if (err < 0)
		return err;
	memcpy(dir->map_stamps, now, sizeof(now));
	dir->map_known = true;
	return 0;
}

int maildir_find(const struct maildir *dir, const struct msg *m, const char *name,
		 enum maildir_sub *sub, const char **found)
{
	const struct dir_name *hit = NULL;
	uint64_t number = base_number(name);

	for (size_t i = name_list_find(&dir->map, name); i < dir->map.count; i++) {
		const struct dir_name *item = &dir->map.items[i];

		if (base_compare(item->number, item->name, number, name) != 0)
			break;
		if (!hit || item->ino == m->ino)
			hit = item;
	}
	if (!hit)
		return POP_E_MISSING;
	*sub = (enum maildir_sub)hit->sub;
	*found = hit->name;
	return 0;
}
