/*
 * secrets_edit.c - atomic edits of the secrets file.
 *
 * Runs in:  pop3admin and the writer of upgraded hashes, as whoever may write the file.
 * Trusts:   the directory of the file, and what an administrator wrote into it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base64.h"
#include "buf.h"
#include "fsutil.h"
#include "secrets_impl.h"
#include "sorted.h"

#define WAIT_MS	 5000
#define NEW_MODE 0600
#define FILE_MAX ((size_t)1 << 30)

struct line {
	size_t at;		/* in text */
	uint32_t len, name_len; /* name_len 0: a comment; they go first */
	const char *base;	/* where text lies; set before sorting */
	size_t order;
};

struct edit {
	const struct secrets_edit *what;
	struct pop_why *why;
	const char *path;
	uint8_t key[SECRETS_KEY_LEN];
	bool dropped_app;
	char tag_now[SECRET_TAG_LEN + 1], tag_new[SECRET_TAG_LEN + 1];
	struct buf text; /* all lines that stay or are new, without line ends */
	struct line *lines;
	size_t n, size;
};

static int no_memory(struct edit *e)
{
	return pop_why(e->why, POP_E_MEMORY, "%s: out of memory", e->path);
}

static int put_line(struct edit *e, const char *line, size_t len)
{
	struct line *l;

	if (e->n == e->size) {
		size_t size = e->size ? e->size * 2 : 64;

		l = reallocarray(e->lines, size, sizeof(*l));
		if (!l)
			return no_memory(e);
		e->lines = l;
		e->size = size;
	}
	l = &e->lines[e->n];
	*l = (struct line){ .at = buf_len(&e->text), .len = (uint32_t)len, .order = e->n };
	if (sorted_is_entry(line, len))
		l->name_len = (uint32_t)sorted_name_length(line, len);
	if (buf_put(&e->text, line, len) < 0)
		return no_memory(e);
	e->n++;
	return 0;
}

/* Comments first, then by name, the lines of one name in their order. */
static int by_name(const void *va, const void *vb)
{
	const struct line *a = va, *b = vb;
	int diff = 0;

	if (a->name_len && b->name_len)
		diff = sorted_compare(a->base + a->at, a->name_len, b->base + b->at, b->name_len);
	else if (a->name_len || b->name_len)
		diff = a->name_len ? 1 : -1;
	return diff ? diff : a->order < b->order ? -1 : a->order > b->order;
}

static int put_secret(struct edit *e, const struct secret *s, const char *tag)
{
	char line[SORTED_LINE_MAX];
	struct secret back;
	int n = snprintf(line, sizeof(line), "%s:%s:%s%s%s", e->what->name,
			 secret_scheme_names[s->scheme], s->value, tag[0] ? ":" : "", tag);
	int err;

	if (n < 0 || (size_t)n >= sizeof(line) || secrets_parse_line(line, (size_t)n, &back) < 0)
		err = pop_why(e->why, POP_E_LONG, "%s: a record of %s that the file cannot hold",
			      e->path, e->what->name);
	else
		err = put_line(e, line, (size_t)n);
	explicit_bzero(line, sizeof(line));
	explicit_bzero(&back, sizeof(back));
	return err;
}

static bool has_label(const struct secret *s, const char *label)
{
	size_t len = strlen(label);

	return s->scheme == SECRET_APP && strncmp(s->value, label, len) == 0 &&
	       s->value[len] == ',';
}

/* A new app password must not have the label of an old one. */
static int refuse_twice(struct edit *e, const struct secret *old)
{
	const struct secrets_edit *w = e->what;

	for (size_t i = 0; i < w->n_add; i++) {
		const char *value = w->add[i].value;
		char label[SECRET_LABEL_MAX + 1];

		if (w->add[i].scheme != SECRET_APP)
			continue;
		snprintf(label, sizeof(label), "%.*s", (int)strcspn(value, ","), value);
		if (has_label(old, label))
			return pop_why(e->why, POP_E_EXISTS, "%s: has an app password %s already",
				       w->name, label);
	}
	return 0;
}

/* A record of the edited name: kept, dropped, bound, or said twice. */
static int take_own(struct edit *e, const struct secret *s)
{
	const struct secrets_edit *w = e->what;
	const char *tag = s->tag;
	int err;

	if (w->drop >> s->scheme & 1)
		return 0;
	if (s->scheme == SECRET_APP) {
		if (w->drop_app && has_label(s, w->drop_app)) {
			e->dropped_app = true;
			return 0;
		}
		err = refuse_twice(e, s);
		return err < 0 ? err : put_secret(e, s, "");
	}
	if (w->hash_now && !tag[0])
		tag = e->tag_now;
	if (w->hash_now && strcmp(tag, e->tag_now) != 0)
		return 0;
	err = put_secret(e, s, tag);
	if (err == 0 && w->rebind)
		err = put_secret(e, s, e->tag_new);
	return err;
}

static int take_line(struct edit *e, const char *line, size_t len)
{
	size_t name_len = strlen(e->what->name);
	struct secret s;
	int err;

	if (!sorted_is_entry(line, len) ||
	    sorted_compare(line, len, e->what->name, name_len) != 0 ||
	    secrets_parse_line(line, len, &s) < 0)
		return put_line(e, line, len);
	err = take_own(e, &s);
	explicit_bzero(&s, sizeof(s));
	return err;
}

/* The key is needed before the first record is judged; a new file gets one. */
static int find_key(struct edit *e, const struct fs_replace *file)
{
	char text[BASE64_LEN(SECRETS_KEY_LEN) + 16] = SECRETS_KEY_NAME ":KEY:";
	int err = file->old_fd >= 0 ? secrets_key(file->old_fd, e->key) : POP_E_MISSING;

	if (err == POP_E_MISSING) {
		if (getrandom(e->key, sizeof(e->key), 0) != (ssize_t)sizeof(e->key))
			return pop_why_errno(e->why, "getrandom");
		base64_encode(e->key, sizeof(e->key), text + strlen(text));
		err = put_line(e, text, strlen(text));
		explicit_bzero(text, sizeof(text));
	} else if (err < 0) {
		return pop_why_errno(e->why, "%s", e->path);
	}
	if (e->what->hash_now)
		secrets_tag(e->key, e->what->hash_now, e->tag_now);
	if (e->what->hash_new)
		secrets_tag(e->key, e->what->hash_new, e->tag_new);
	return err;
}

static int take_old(struct edit *e, const struct fs_replace *file)
{
	char *old = NULL;
	const char *p, *next;
	size_t len = 0;
	int err;

	if (file->old_fd < 0)
		return 0;
	err = fs_read_file(file->old_fd, FILE_MAX, &old, &len);
	if (err < 0)
		return pop_why(e->why, err, "%s: %s", e->path,
			       err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
	for (p = old; err == 0 && p && p < old + len; p = next) {
		size_t n = sorted_line(p, (size_t)(old + len - p), &next);

		err = take_line(e, p, n);
	}
	if (old)
		explicit_bzero(old, len);
	free(old);
	return err;
}

static int add_new(struct edit *e)
{
	const struct secrets_edit *w = e->what;
	int err = 0;

	for (size_t i = 0; i < w->n_add && err == 0; i++)
		err = put_secret(e, &w->add[i],
				 w->add[i].scheme == SECRET_APP || !w->hash_new ? "" : e->tag_new);
	if (err == 0 && w->drop_app && !e->dropped_app)
		err = pop_why(e->why, POP_E_MISSING, "%s: has no app password %s", w->name,
			      w->drop_app);
	return err;
}

static int write_all(struct edit *e, int fd)
{
	const char *base = (const char *)buf_data(&e->text);
	struct buf out;
	int err = 0;

	buf_init(&out, FILE_MAX);
	for (size_t i = 0; i < e->n; i++)
		e->lines[i].base = base;
	qsort(e->lines, e->n, sizeof(*e->lines), by_name);
	for (size_t i = 0; i < e->n && err == 0; i++) {
		err = buf_put(&out, base + e->lines[i].at, e->lines[i].len);
		if (err == 0)
			err = buf_put(&out, "\n", 1);
	}
	if (err < 0)
		err = no_memory(e);
	else if (fs_write_all(fd, buf_data(&out), buf_len(&out)) < 0)
		err = pop_why_errno(e->why, "%s", e->path);
	buf_release(&out);
	return err;
}

int secrets_apply(const char *path, const struct secrets_edit *what, struct pop_why *why)
{
	struct edit e = { .what = what, .why = why, .path = path };
	struct fs_replace file;
	int err;

	err = fs_replace_begin(&file, path, NEW_MODE, WAIT_MS, why);
	if (err < 0)
		return err;
	buf_init(&e.text, FILE_MAX);
	/* what is not there needs no removing */
	if (file.old_fd < 0 && what->n_add == 0) {
		fs_replace_abort(&file);
		return what->drop_app ? pop_why(why, POP_E_MISSING, "%s: has no app password %s",
						what->name, what->drop_app)
				      : 0;
	}
	err = find_key(&e, &file);
	if (err == 0)
		err = take_old(&e, &file);
	if (err == 0)
		err = add_new(&e);
	if (err == 0)
		err = write_all(&e, file.fd);
	if (err == 0)
		err = fs_replace_commit(&file, why);
	else
		fs_replace_abort(&file);
	buf_release(&e.text);
	free(e.lines);
	explicit_bzero(&e, sizeof(e));
	return err;
}
