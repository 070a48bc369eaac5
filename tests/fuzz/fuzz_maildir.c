/*
 * fuzz_maildir.c - names of a Maildir: sorted, found again, made ids of.
 *
 * Input: names with a NUL behind each; the octet before a name tells inode
 * (bits 0 to 2), reading (3 and 4) and directory (5).
 */
#include <stdlib.h>
#include <string.h>
#include "fuzz.h"
#include "imported.h"
#include "maildir_impl.h"
#include "uidl.h"

#define NAMES_MAX 48

/* Signs of the order between every two, as the sort must have it. */
static void check_order(const struct name_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		for (size_t k = 0; k < l->count; k++) {
			const struct dir_name *a = &l->items[i], *b = &l->items[k];
			int order = base_compare(a->number, a->name, b->number, b->name);

			MUST(order == -base_compare(b->number, b->name, a->number, a->name));
			MUST(i < k ? order <= 0 : i > k ? order >= 0 : order == 0);
			MUST((order == 0) == (base_length(a->name) == base_length(b->name) &&
					      memcmp(a->name, b->name, base_length(a->name)) == 0));
			/* one message has one name */
			MUST(i == k || order != 0 || a->ino != b->ino);
		}
}

/* Every name that was put in is found: it, or one of the same file read later. */
static void check_found(const struct name_list *l, const struct name_list *all)
{
	struct maildir dir = { .map = *l };

	for (size_t i = 0; i < all->count; i++) {
		const char *name = all->names + all->items[i].at, *found;
		struct msg m = { .ino = all->items[i].ino };
		size_t at = name_list_find(l, name);
		enum maildir_sub sub;

		MUST(at < l->count);
		MUST(at == 0 || base_compare(l->items[at - 1].number, l->items[at - 1].name,
					     base_number(name), name) < 0);
		MUST(maildir_find(&dir, &m, name, &sub, &found) == 0);
		MUST(base_length(found) == base_length(name) &&
		     memcmp(found, name, base_length(name)) == 0);
	}
}

/* The ids that the names give are ids, and no two are the same. */
static void check_ids(const struct name_list *l)
{
	struct uidl_set taken, seen;
	char id[UIDL_MAX + 1], key[IMPORTED_KEY_MAX];

	MUST(uidl_set_init(&taken, 1) == 0 && uidl_set_init(&seen, 1) == 0);
	for (size_t i = 0; i < l->count; i++) {
		const char *name = l->items[i].name;
		size_t len = base_length(name);
		uint32_t suffix;
		int n;

		n = imported_base_key(name, len, key);
		MUST(n == 0 ? strlen(key) < sizeof(key) : n == POP_E_LONG);
		if (!uidl_valid(name, len))
			continue;
		if (uidl_set_claim(&taken, name, len, &suffix) < 0)
			continue;
		n = uidl_format(name, len, suffix, id);
		MUST(n > 0 && (size_t)n == strlen(id) && uidl_valid(id, (size_t)n));
		MUST(uidl_set_add(&seen, id, (size_t)n) == 1);
	}
	uidl_set_release(&taken);
	uidl_set_release(&seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	struct name_list l = { 0 }, all = { 0 };

	while (in.p < in.end && l.count < NAMES_MAX) {
		uint8_t how = fuzz_u8(&in);
		const char *text;
		size_t len = fuzz_text(&in, &text);
		char name[NAME_MAX + 1];

		/* what readdir() can give */
		if (len == 0 || len > NAME_MAX || memchr(text, '/', len) || text[0] == '.')
			continue;
		memcpy(name, text, len);
		name[len] = '\0';
		MUST(name_list_add(&l, name, how & 7, how >> 5 & 1, how >> 3 & 3) == 0);
		MUST(name_list_add(&all, name, how & 7, how >> 5 & 1, how >> 3 & 3) == 0);
	}
	MUST(name_list_sort(&l) == 0);
	check_order(&l);
	check_found(&l, &all);
	check_ids(&l);
	name_list_release(&l);
	name_list_release(&all);
	return 0;
}
