/*
 * users_edit.c - atomic edits of the user database.
 *
 * Runs in:  pop3admin, as whoever may write the file.
 * Trusts:   the directory of the file, and what an administrator wrote into it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fsutil.h"
#include "users.h"

#define WAIT_MS	  5000
#define NEW_MODE  0600
#define FILE_MAX  ((size_t)1 << 31)
#define WRITE_BUF 262144

/* One line of the file; comments and malformed lines have name_len 0. */
struct line {
	const char *s; /* into old or added */
	uint32_t len;
	uint32_t name_len;
	size_t order;
};

struct edit {
	struct fs_replace file;
	char *old; /* the whole old file */
	size_t old_len;
	struct line *lines;
	size_t n, size;
	struct pop_why *why;
	const char *path;
};

static void edit_release(struct edit *e)
{
	if (e->old)
		explicit_bzero(e->old, e->old_len);
	free(e->old);
	free(e->lines);
}

static int append(struct edit *e, const char *s, size_t len, size_t name_len)
{
	if (e->n == e->size) {
		size_t size = e->size ? e->size * 2 : 64;
		struct line *more = reallocarray(e->lines, size, sizeof(*more));

		if (!more)
			return pop_why(e->why, POP_E_MEMORY, "%s: out of memory", e->path);
		e->lines = more;
		e->size = size;
	}
	e->lines[e->n] = (struct line){ s, (uint32_t)len, (uint32_t)name_len, e->n };
	e->n++;
	return 0;
}

static int split_lines(struct edit *e)
{
	const char *p = e->old, *end = e->old + e->old_len, *lf;
	struct user u;
	size_t len;
	int err = 0;

	for (; p < end && err == 0; p = lf ? lf + 1 : end) {
		lf = memchr(p, '\n', (size_t)(end - p));
		len = (size_t)((lf ? lf : end) - p);
		if (lf && len > 0 && p[len - 1] == '\r')
			len--;
		if (len > 0 && p[0] != '#' && users_parse_line(p, len, &u, NULL) == 0)
			err = append(e, p, len, strlen(u.name));
		else
			err = append(e, p, len, 0);
	}
	explicit_bzero(u.hash, sizeof(u.hash));
	return err;
}

static int edit_begin(struct edit *e, const char *path, struct pop_why *why)
{
	int err;

	*e = (struct edit){ .why = why, .path = path };
	err = fs_replace_begin(&e->file, path, NEW_MODE, WAIT_MS, why);
	if (err < 0)
		return err;
	if (e->file.old_fd >= 0) {
		err = fs_read_file(e->file.old_fd, FILE_MAX, &e->old, &e->old_len);
		if (err == POP_E_SYS)
			pop_why_errno(why, "%s", path);
		else if (err < 0)
			pop_why(why, err, "%s: %s", path, pop_strerror(err));
	}
	if (err == 0)
		err = split_lines(e);
	if (err < 0) {
		fs_replace_abort(&e->file);
		edit_release(e);
	}
	return err;
}

/* Lines without a name first, in their order; then by name, equal names in their order. */
static int by_name(const void *va, const void *vb)
{
	const struct line *a = va, *b = vb;
	uint32_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
	int diff = len ? memcmp(a->s, b->s, len) : 0;

	if (diff == 0 && a->name_len != b->name_len)
		diff = a->name_len < b->name_len ? -1 : 1;
	if (diff == 0)
		diff = a->order < b->order ? -1 : a->order > b->order;
	return diff;
}

static void sort(struct edit *e)
{
	for (size_t i = 1; i < e->n; i++) {
		if (by_name(&e->lines[i - 1], &e->lines[i]) > 0) {
			qsort(e->lines, e->n, sizeof(*e->lines), by_name);
			return;
		}
	}
}

/* 0 or POP_E_SYS. */
static int write_lines(const struct edit *e)
{
	char *buf = malloc(WRITE_BUF);
	size_t used = 0;
	int err = buf ? 0 : POP_E_SYS;

	for (size_t i = 0; i < e->n && err == 0; i++) {
		const struct line *l = &e->lines[i];

		if (used + l->len + 1 > WRITE_BUF) {
			err = fs_write_all(e->file.fd, buf, used);
			used = 0;
		}
		if (err == 0 && l->len + 1 > WRITE_BUF) {
			err = fs_write_all(e->file.fd, l->s, l->len);
			buf[used++] = '\n';
			continue;
		}
		memcpy(buf + used, l->s, l->len);
		used += l->len;
		buf[used++] = '\n';
	}
	if (err == 0)
		err = fs_write_all(e->file.fd, buf, used);
	if (buf)
		explicit_bzero(buf, WRITE_BUF);
	free(buf);
	return err;
}

/* Save where err is 0, else leave the old file as it is. */
static int edit_end(struct edit *e, int err)
{
	if (err == 0) {
		sort(e);
		if (write_lines(e) < 0)
			err = pop_why_errno(e->why, "%s", e->file.temp);
	}
	if (err == 0)
		err = fs_replace_commit(&e->file, e->why);
	else
		fs_replace_abort(&e->file);
	edit_release(e);
	return err;
}

/*
 * The first well-formed line of that name, or NULL.  *malformed: the number of a
 * line that seems to be meant for it, else 0.
 */
static struct line *find(const struct edit *e, const char *name, size_t *malformed)
{
	size_t len = strlen(name);

	*malformed = 0;
	for (size_t i = 0; i < e->n; i++) {
		struct line *l = &e->lines[i];

		if (l->name_len == len && memcmp(l->s, name, len) == 0)
			return l;
		if (l->name_len == 0 && l->len > len && memcmp(l->s, name, len) == 0 &&
		    l->s[len] == ':')
			*malformed = i + 1;
	}
	return NULL;
}

static int missing(const struct edit *e, const char *name, size_t malformed)
{
	if (malformed)
		return pop_why(e->why, POP_E_MISSING, "%s:%zu: the line of %s is malformed",
			       e->path, malformed, name);
	return pop_why(e->why, POP_E_MISSING, "%s: no user %s", e->path, name);
}

/* The line of u, proven by reading it back; caller frees.  NULL: *err and why say it. */
static char *make_line(const struct edit *e, const struct user *u, int *err)
{
	char text[USER_LINE_MAX + 1], *line = NULL;
	struct pop_why reason = { "a field is too long" };
	struct user back;
	int len;

	len = users_format_line(u, text, sizeof(text));
	*err = len < 0 ? len : users_parse_line(text, (size_t)len, &back, &reason);
	if (*err == 0 &&
	    (strcmp(back.name, u->name) != 0 || strcmp(back.hash, u->hash) != 0 ||
	     strcmp(back.home, u->home) != 0 || strcmp(back.maildrop, u->maildrop) != 0))
		*err = pop_why(&reason, POP_E_SYNTAX, "a field that the file cannot hold");
	if (*err == 0) {
		line = strdup(text);
		if (!line)
			*err = pop_why(&reason, POP_E_MEMORY, "out of memory");
	}
	if (*err < 0)
		pop_why(e->why, *err, "user %s: %s", u->name, reason.text);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(back.hash, sizeof(back.hash));
	return line;
}

static void free_line(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* A name twice among the lines, where the later one is new. */
static int refuse_repeated(const struct edit *e, size_t first_new)
{
	for (size_t i = 1; i < e->n; i++) {
		const struct line *a = &e->lines[i - 1], *b = &e->lines[i];

		if (b->order >= first_new && a->name_len == b->name_len &&
		    memcmp(a->s, b->s, a->name_len) == 0)
			return pop_why(e->why, POP_E_EXISTS, "%s: user %.*s exists already",
				       e->path, (int)a->name_len, a->s);
	}
	return 0;
}

/* Where new users come from, and what is to happen before they are written. */
struct source {
	size_t n;
	int (*nth)(void *ctx, size_t i, struct user *u);
	void *ctx;
	int (*before)(void *ctx); /* may be NULL */
	void *before_ctx;
};

static int add_from(const char *path, const struct source *src, struct pop_why *why)
{
	size_t n = src->n;
	size_t first_new, malformed, i;
	char **added = NULL;
	struct user u;
	struct edit e;
	int err;

	err = edit_begin(&e, path, why);
	if (err < 0)
		return err;
	first_new = e.n;
	added = calloc(n ? n : 1, sizeof(*added));
	if (!added) {
		err = pop_why(why, POP_E_MEMORY, "%s: out of memory", path);
		goto out;
	}
	for (i = 0; i < n && err == 0; i++) {
		err = src->nth(src->ctx, i, &u);
		/* A search of the whole file for each of many would be quadratic. */
		if (err == 0 && n == 1 && !find(&e, u.name, &malformed) && malformed)
			err = pop_why(why, POP_E_EXISTS,
				      "%s:%zu: a malformed line of user %s is there", path,
				      malformed, u.name);
		if (err == 0)
			added[i] = make_line(&e, &u, &err);
		if (err == 0)
			err = append(&e, added[i], strlen(added[i]), strlen(u.name));
	}
	if (err == 0) {
		sort(&e);
		err = refuse_repeated(&e, first_new);
	}
	if (err == 0 && src->before)
		err = src->before(src->before_ctx);
out:
	explicit_bzero(&u, sizeof(u));
	err = edit_end(&e, err);
	for (i = 0; added && i < n; i++)
		free_line(added[i]);
	free(added);
	return err;
}

int users_add_each(const char *path, size_t n, int (*nth)(void *ctx, size_t i, struct user *u),
		   void *ctx, struct pop_why *why)
{
	struct source src = { .n = n, .nth = nth, .ctx = ctx };

	return add_from(path, &src, why);
}

static int nth_of_array(void *ctx, size_t i, struct user *u)
{
	*u = ((const struct user *)ctx)[i];
	return 0;
}

int users_add_all(const char *path, const struct user *u, size_t n, struct pop_why *why)
{
	return users_add_each(path, n, nth_of_array, (void *)(uintptr_t)u, why);
}

int users_add_with(const char *path, const struct user *u, int (*before)(void *ctx), void *ctx,
		   struct pop_why *why)
{
	struct source src = { 1, nth_of_array, (void *)(uintptr_t)u, before, ctx };

	return add_from(path, &src, why);
}

int users_add(const char *path, const struct user *u, struct pop_why *why)
{
	return users_add_with(path, u, NULL, NULL, why);
}

int users_del(const char *path, const char *name, struct pop_why *why)
{
	return users_del_with(path, name, NULL, NULL, why);
}

int users_locked(const char *path, const char *name, int (*work)(void *ctx, const struct user *u),
		 void *ctx, struct pop_why *why)
{
	size_t malformed;
	struct line *l;
	struct edit e;
	struct user u;
	int err;

	err = edit_begin(&e, path, why);
	if (err < 0)
		return err;
	l = find(&e, name, &malformed);
	err = l ? users_parse_line(l->s, l->len, &u, why) : missing(&e, name, malformed);
	if (err == 0)
		err = work(ctx, &u);
	explicit_bzero(u.hash, sizeof(u.hash));
	fs_replace_abort(&e.file);
	edit_release(&e);
	return err;
}

int users_del_with(const char *path, const char *name, int (*before)(void *ctx), void *ctx,
		   struct pop_why *why)
{
	size_t len = strlen(name), malformed, kept = 0;
	struct edit e;
	int err;

	err = edit_begin(&e, path, why);
	if (err < 0)
		return err;
	if (!find(&e, name, &malformed)) {
		err = missing(&e, name, malformed);
	} else {
		/* Every line of the name: a repeated one must not become valid by this. */
		for (size_t i = 0; i < e.n; i++) {
			struct line *l = &e.lines[i];

			if (l->name_len != len || memcmp(l->s, name, len) != 0)
				e.lines[kept++] = *l;
		}
		e.n = kept;
	}
	if (err == 0 && before)
		err = before(ctx);
	return edit_end(&e, err);
}

int users_change(const char *path, const char *name, int (*change)(void *ctx, struct user *u),
		 void *ctx, struct pop_why *why)
{
	struct line *l;
	char *text = NULL;
	size_t malformed;
	struct edit e;
	struct user u;
	int err;

	err = edit_begin(&e, path, why);
	if (err < 0)
		return err;
	l = find(&e, name, &malformed);
	if (!l) {
		err = missing(&e, name, malformed);
		goto out;
	}
	err = users_parse_line(l->s, l->len, &u, why);
	if (err == 0)
		err = change(ctx, &u);
	if (err == 0) {
		text = make_line(&e, &u, &err);
		if (text) {
			l->s = text;
			l->len = (uint32_t)strlen(text);
			l->name_len = (uint32_t)strlen(u.name);
		}
	}
	explicit_bzero(u.hash, sizeof(u.hash));
out:
	err = edit_end(&e, err);
	free_line(text);
	return err;
}
