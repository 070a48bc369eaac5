/*
 * conf.c - read the configuration: defaults, then the file, then -o options.
 *
 * Runs in:  monitor at the start of every session, so it costs microseconds; pop3admin.
 * Trusts:   the owner of the file (fs_open_trusted), not its content.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "conf.h"
#include "conf_value.h"
#include "fsutil.h"

#define FILE_MAX ((size_t)1 << 20)
#define KEYS_MAX 64

struct loader {
	struct conf *conf;
	struct pop_why *why;
	char where[160];	  /* "FILE:LINE" or "-o KEY=VALUE" */
	unsigned line;		  /* in the file, 0 for an option */
	unsigned first[KEYS_MAX]; /* the line that set this key, 0: none */
};

struct text {
	const char *s;
	size_t len;
};

static struct text trim(struct text t)
{
	while (t.len && (t.s[0] == ' ' || t.s[0] == '\t')) {
		t.s++;
		t.len--;
	}
	while (t.len && (t.s[t.len - 1] == ' ' || t.s[t.len - 1] == '\t'))
		t.len--;
	return t;
}

/* What stands in a message must not act on a terminal. */
static void printable(struct text t, char *out, size_t size)
{
	size_t len = t.len < size ? t.len : size - 1;

	for (size_t i = 0; i < len; i++)
		out[i] = (unsigned char)t.s[i] < 0x20 || t.s[i] == 0x7f ? '?' : t.s[i];
	out[len] = '\0';
}

/* Is it of the form of the key, "tls_key.NAME"?  Then *server is what stands for NAME. */
static bool take_name(const char *form, struct text name, struct text *server)
{
	const char *at = strstr(form, "NAME");
	size_t before = (size_t)(at - form), after = strlen(at += strlen("NAME"));

	if (name.len <= before + after || memcmp(name.s, form, before) != 0 ||
	    memcmp(name.s + name.len - after, at, after) != 0)
		return false;
	*server = (struct text){ name.s + before, name.len - before - after };
	return true;
}

/* The row of a key, and for "key.NAME" the NAME; NULL: no such key. */
static const struct conf_key *find_key(struct text name, struct text *server)
{
	*server = (struct text){ NULL, 0 };
	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct conf_key *key = &conf_keys[i];
		size_t len = strlen(key->name);

		if (conf_key_is_named(key)) {
			if (take_name(key->name, name, server))
				return key;
		} else if (len == name.len && memcmp(name.s, key->name, len) == 0) {
			return key;
		}
	}
	return NULL;
}

static int check_repeated(struct loader *l, const struct conf_key *key, struct text name,
			  void *slot)
{
	size_t i = (size_t)(key - conf_keys);

	if (l->line == 0)
		return 0;
	if (conf_key_is_named(key)) {
		if (key->type == CONF_DOMAIN_ID ? *(uint32_t *)slot != 0 : **(char **)slot)
			return pop_why(l->why, POP_E_SYNTAX, "%s: %.*s is set twice", l->where,
				       (int)name.len, name.s);
		return 0;
	}
	if (i < KEYS_MAX && l->first[i])
		return pop_why(l->why, POP_E_SYNTAX, "%s: %s is set already in line %u", l->where,
			       key->name, l->first[i]);
	if (i < KEYS_MAX)
		l->first[i] = l->line;
	return 0;
}

static int set_pair(struct loader *l, struct text name, struct text value)
{
	const struct conf_key *key;
	struct text server;
	struct pop_why reason = { "" };
	char shown[64], text[PATH_MAX];
	void *slot;
	int err;

	printable(name, shown, sizeof(shown));
	key = find_key(name, &server);
	if (!key)
		return pop_why(l->why, POP_E_SYNTAX,
			       "%s: %s: no such key; pop3d.conf(5) lists them", l->where, shown);
	if (value.len >= sizeof(text))
		return pop_why(l->why, POP_E_SYNTAX, "%s: %s: value too long", l->where, shown);
	if (value.len == 0) {
		conf_allowed(key, &reason);
		return pop_why(l->why, POP_E_SYNTAX, "%s: %s: no value; allowed: %s", l->where,
			       shown, reason.text);
	}
	memcpy(text, value.s, value.len);
	text[value.len] = '\0';
	err = conf_slot(l->conf, key, server.s, server.len, &slot);
	if (err == 0)
		err = check_repeated(l, key, name, slot);
	else
		pop_why(l->why, err, "%s: %s: %s", l->where, shown,
			err == POP_E_MEMORY	  ? "out of memory"
			: key->type == CONF_NAMED ? "not the name of a server"
						  : "not the name of a domain");
	if (err < 0)
		return err;
	err = conf_set(slot, key, text, &reason);
	if (err < 0) {
		printable(value, text, sizeof(text));
		pop_why(l->why, err, "%s: %s: bad value \"%.100s\"; allowed: %s", l->where, shown,
			text, reason.text);
	}
	return err;
}

/* `#` begins a comment at the start of a line and behind a blank. */
static size_t without_comment(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '#' && (i == 0 || s[i - 1] == ' ' || s[i - 1] == '\t'))
			return i;
	}
	return len;
}

static int set_line(struct loader *l, const char *s, size_t len)
{
	struct text t, name, value;
	const char *equals;

	t = trim((struct text){ s, without_comment(s, len) });
	if (t.len == 0)
		return 0;
	for (size_t i = 0; i < t.len; i++) {
		if (((unsigned char)t.s[i] < 0x20 && t.s[i] != '\t') || t.s[i] == 0x7f)
			return pop_why(l->why, POP_E_SYNTAX, "%s: control character in the line",
				       l->where);
	}
	equals = memchr(t.s, '=', t.len);
	if (!equals)
		return pop_why(l->why, POP_E_SYNTAX, "%s: not of the form key = value", l->where);
	name = trim((struct text){ t.s, (size_t)(equals - t.s) });
	value = trim((struct text){ equals + 1, t.len - (size_t)(equals - t.s) - 1 });
	return set_pair(l, name, value);
}

static int set_file(struct loader *l, const char *path, const char *data, size_t len)
{
	const char *p = data, *end = data + len, *lf;
	int err = 0;

	for (l->line = 1; p < end && err == 0; l->line++, p = lf ? lf + 1 : end) {
		size_t n;

		lf = memchr(p, '\n', (size_t)(end - p));
		n = (size_t)((lf ? lf : end) - p);
		if (n && p[n - 1] == '\r')
			n--;
		snprintf(l->where, sizeof(l->where), "%.140s:%u", path, l->line);
		err = set_line(l, p, n);
	}
	l->line = 0;
	return err;
}

static int read_file(struct loader *l, const char *path, bool must_exist)
{
	char *data = NULL;
	size_t len = 0;
	int fd, err;

	fd = fs_open_trusted(path, true, false, l->why);
	if (fd < 0)
		return fd == POP_E_MISSING && !must_exist ? 0 : fd;
	err = fs_read_file(fd, FILE_MAX, &data, &len);
	if (err == POP_E_SYS)
		pop_why_errno(l->why, "%s", path);
	else if (err < 0)
		pop_why(l->why, err, "%s: %s", path, pop_strerror(err));
	close(fd);
	if (err == 0)
		err = set_file(l, path, data, len);
	free(data);
	return err;
}

static int set_option(struct loader *l, const char *option)
{
	const char *equals = strchr(option, '=');
	struct text value;
	char shown[120];

	printable((struct text){ option, strlen(option) }, shown, sizeof(shown));
	snprintf(l->where, sizeof(l->where), "-o %s", shown);
	if (!equals)
		return pop_why(l->why, POP_E_SYNTAX, "%s: not of the form KEY=VALUE", l->where);
	for (const char *p = option; *p; p++) {
		if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
			return pop_why(l->why, POP_E_SYNTAX, "%s: control character", l->where);
	}
	value = trim((struct text){ equals + 1, strlen(equals + 1) });
	if (without_comment(value.s, value.len) < value.len)
		return pop_why(
			l->why, POP_E_SYNTAX,
			"%s: a value with # at its start or behind a blank: in a file that is "
			"a comment",
			l->where);
	return set_pair(l, trim((struct text){ option, (size_t)(equals - option) }), value);
}

static int set_host_name(struct conf *conf)
{
	static const char key_name[] = "hostname";
	struct text server;
	const struct conf_key *key =
		find_key((struct text){ key_name, sizeof(key_name) - 1 }, &server);
	char name[256];

	if (gethostname(name, sizeof(name)) < 0)
		name[0] = '\0';
	name[sizeof(name) - 1] = '\0';
	if (!key || key->check(name, NULL) < 0)
		memcpy(name, "localhost", sizeof("localhost"));
	free(conf->hostname);
	conf->hostname = strdup(name);
	return conf->hostname ? 0 : POP_E_MEMORY;
}

static int set_defaults(struct conf *conf)
{
	void *slot;
	int err = 0;

	for (size_t i = 0; i < conf_n_keys && err == 0; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (conf_key_is_named(key))
			continue;
		conf_slot(conf, key, NULL, 0, &slot);
		err = conf_set(slot, key, key->deflt ? key->deflt : "localhost", NULL);
	}
	return err;
}

int conf_load(struct conf *conf, const char *path, bool must_exist, const char *const *overrides,
	      size_t n, struct pop_why *why)
{
	struct loader l = { .conf = conf, .why = why };
	int err;

	*conf = (struct conf){ 0 };
	err = set_defaults(conf);
	if (err == 0)
		err = set_host_name(conf);
	if (err < 0)
		return pop_why(why, err, "out of memory");
	err = read_file(&l, path, must_exist);
	for (size_t i = 0; i < n && err == 0; i++)
		err = set_option(&l, overrides[i]);
	return err;
}

void conf_release(struct conf *conf)
{
	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct conf_key *key = &conf_keys[i];
		void *slot;

		if (key->type != CONF_STRING && key->type != CONF_PATH)
			continue;
		conf_slot(conf, key, NULL, 0, &slot);
		free(*(char **)slot);
	}
	for (size_t i = 0; i < conf->n_tls_names; i++) {
		free(conf->tls_names[i].name);
		free(conf->tls_names[i].certificate);
		free(conf->tls_names[i].key);
	}
	free(conf->tls_names);
	for (size_t i = 0; i < conf->n_domains; i++) {
		free(conf->domains[i].name);
		free(conf->domains[i].maildrop);
		free(conf->domains[i].tls_name);
	}
	free(conf->domains);
	*conf = (struct conf){ 0 };
}
