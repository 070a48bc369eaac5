/*
 * cmd_user_import.c - many new users at once: user import.
 *
 * Runs in:  pop3admin, as whoever may write the users file.
 * Trusts:   its caller; the file is checked line by line before the first of it
 *           is used.
 */
#include "cmd_user.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPORT_MAX (256u << 20) /* bytes of a file to import */

/* What was read, in the form of the users file: a struct user for each would be large. */
struct import {
	char *text; /* NUL-terminated lines; owned, with hashes: wiped */
	size_t len, room;
	size_t *at;	 /* where each begins; owned */
	size_t *order;	 /* numbers of the entries sorted by name; owned */
	uint64_t *lines; /* the line of the file it came from; owned */
	size_t n, size;
};

static void import_release(struct import *im)
{
	if (im->text)
		explicit_bzero(im->text, im->room);
	free(im->text);
	free(im->at);
	free(im->order);
	free(im->lines);
}

/* Room for one more entry of at most USER_LINE_MAX octets. */
static int import_grow(struct import *im)
{
	size_t size = im->size ? im->size * 2 : 64, room = im->room ? im->room * 2 : 65536;
	size_t *at;
	uint64_t *lines;
	char *text;

	if (im->n == im->size) {
		at = reallocarray(im->at, size, sizeof(*at));
		if (at)
			im->at = at;
		lines = at ? reallocarray(im->lines, size, sizeof(*lines)) : NULL;
		if (!lines)
			return POP_E_MEMORY;
		im->lines = lines;
		im->size = size;
	}
	if (im->room - im->len > USER_LINE_MAX)
		return 0;
	text = malloc(room); /* not realloc(): what it leaves behind is not wiped */
	if (!text)
		return POP_E_MEMORY;
	if (im->text) {
		memcpy(text, im->text, im->len);
		explicit_bzero(im->text, im->room);
	}
	free(im->text);
	im->text = text;
	im->room = room;
	return 0;
}

static int import_line(struct admin *a, struct import *im, const char *line, size_t len,
		       uint64_t number, struct pop_why *why)
{
	struct user u;
	int err;

	if (len && line[len - 1] == '\r')
		len--;
	if (!len || line[0] == '#')
		return 0;
	if (import_grow(im) < 0)
		return pop_why(why, POP_E_MEMORY, "out of memory; import the file in parts");
	err = users_parse_line(line, len, &u, why);
	if (!err)
		err = user_resolve(a, &u, why);
	if (!err)
		err = user_check_maildrop(a, &u, why);
	if (!err) {
		int n = users_format_line(&u, im->text + im->len, USER_LINE_MAX + 1);

		if (n < 0)
			err = pop_why(why, n, "the line would be longer than %d octets",
				      USER_LINE_MAX);
		im->at[im->n] = im->len;
		im->lines[im->n++] = number;
		im->len += n < 0 ? 0 : (size_t)n + 1;
	}
	user_forget(&u);
	return err;
}

static int nth_import(void *ctx, size_t i, struct user *u)
{
	const struct import *im = ctx;
	const char *line = im->text + im->at[i];

	return users_parse_line(line, strlen(line), u, NULL);
}

static const struct import *sorting;

/* Order of two lines by name, which ends at the first colon. */
static int compare_names(const char *x, const char *y)
{
	while (*x == *y && *x != ':') {
		x++;
		y++;
	}
	if (*x == ':' || *y == ':')
		return (*x != ':') - (*y != ':');
	return (uint8_t)*x - (uint8_t)*y;
}

static int by_name(const void *x, const void *y)
{
	size_t i = *(const size_t *)x, k = *(const size_t *)y;
	int order = compare_names(sorting->text + sorting->at[i], sorting->text + sorting->at[k]);

	return order ? order : (i > k) - (i < k);
}

/* Sort the entries by name into im->order.  The second one of a name, im->n: none is there twice.
 */
static size_t sort_import(struct import *im)
{
	size_t i;

	for (i = 0; i < im->n; i++)
		im->order[i] = i;
	sorting = im;
	qsort(im->order, im->n, sizeof(*im->order), by_name);
	for (i = 1; i < im->n; i++)
		if (compare_names(im->text + im->at[im->order[i - 1]],
				  im->text + im->at[im->order[i]]) == 0)
			return im->order[i];
	return im->n;
}

struct look_up {
	const struct import *im;
	size_t found; /* of im, im->n: none */
};

/* Is this user of the file among the new ones? */
static int look_up(void *ctx, const struct user *u)
{
	struct look_up *l = ctx;
	char name[USER_NAME_MAX + 2];
	size_t low = 0, high = l->im->n;

	snprintf(name, sizeof(name), "%s:", u->name);
	while (low < high) {
		size_t mid = low + (high - low) / 2, i = l->im->order[mid];
		int order = compare_names(l->im->text + l->im->at[i], name);

		if (order == 0) {
			l->found = i;
			return 1;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

/* The entry whose name is in the users file already, im->n: none. */
static size_t find_existing(struct admin *a, const struct import *im)
{
	struct look_up l = { .im = im, .found = im->n };
	int fd = fs_open_at(AT_FDCWD, a->conf.users, FS_LINKS_ALL, O_RDONLY, 0);

	if (fd < 0)
		return im->n; /* users_add_each() makes it, or says why not */
	users_each(fd, look_up, NULL, &l);
	close(fd);
	return l.found;
}

static int refuse(const struct import *im, size_t i, const char *file, const char *what)
{
	const char *name = im->text + im->at[i];

	return fail(EX_DATAERR, "%s:%llu: %.*s: is %s; remove the line; nothing was imported", file,
		    (unsigned long long)im->lines[i], (int)strcspn(name, ":"), name, what);
}

/* Names that are there twice, in the file or with those of the users file. */
static int check_names(struct admin *a, struct import *im, const char *file)
{
	size_t i;

	im->order = calloc(im->n ? im->n : 1, sizeof(*im->order));
	if (!im->order)
		return fail(EX_OSERR, "%s: out of memory; import the file in parts", file);
	i = sort_import(im);
	if (i < im->n)
		return refuse(im, i, file, "there twice");
	i = find_existing(a, im);
	return i < im->n ? refuse(im, i, file, "among the users already") : 0;
}

static int import_text(struct admin *a, struct import *im, const char *file, const char *text,
		       size_t len)
{
	struct pop_why why = { "" };
	const char *end = text + len, *next;
	uint64_t number = 0;

	for (; text < end; text = next) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		next = nl ? nl + 1 : end;
		number++;
		if (import_line(a, im, text, (size_t)((nl ? nl : end) - text), number, &why) < 0)
			return fail(EX_DATAERR, "%s:%llu: %s; mend the line; nothing was imported",
				    file, (unsigned long long)number, why.text);
	}
	return check_names(a, im, file);
}

static int read_import(const char *file, char **text, size_t *len)
{
	int fd, err;

	fd = fs_open_at(AT_FDCWD, file, FS_LINKS_MAGIC, O_RDONLY, 0);
	if (fd < 0)
		return fail(status_of(POP_E_SYS), "%s: %s; nothing was imported", file,
			    strerror(errno));
	err = fs_read_file(fd, IMPORT_MAX, text, len);
	close(fd);
	if (err == POP_E_SYS)
		return fail(status_of(err), "%s: %s; nothing was imported", file, strerror(errno));
	if (err < 0)
		return fail(EX_DATAERR, "%s: %s; nothing was imported", file, pop_strerror(err));
	return 0;
}

int cmd_user_import(struct admin *a)
{
	struct import im = { 0 };
	struct pop_why why = { "" };
	char *text = NULL;
	size_t len = 0;
	int status, err;

	status = read_import(a->pos[0], &text, &len);
	if (!status)
		status = import_text(a, &im, a->pos[0], text, len);
	if (!status) {
		err = users_add_each(a->conf.users, im.n, nth_import, &im, &why);
		if (err < 0)
			status = user_edit_failed(a, err, a->pos[0], &why);
	}
	if (!status) {
		out_object_begin(&a->out);
		out_u64(&a->out, "imported", im.n);
		out_object_end(&a->out);
	}
	if (text)
		explicit_bzero(text, len);
	free(text);
	import_release(&im);
	return status;
}
