/*
 * fuzz_conf.c - a configuration: what is read can be written, and read again.
 *
 * Input: the file; lines that begin with "-o " are options.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "buf.h"
#include "conf.h"
#include "fuzz.h"

#define OPTIONS_MAX 8

/* Blank the options out of the file; how many there were. */
static size_t take_options(char *text, char *options[OPTIONS_MAX])
{
	size_t n = 0;

	for (char *line = text, *next; *line; line = next) {
		size_t len = strcspn(line, "\n");

		next = line[len] ? line + len + 1 : line + len;
		if (strncmp(line, "-o ", 3) != 0 || n == OPTIONS_MAX)
			continue;
		options[n++] = fuzz_string(line + 3, len - 3);
		memset(line, ' ', len);
	}
	return n;
}

static void put(const char *name, const void *data, size_t size, char path[PATH_MAX])
{
	fuzz_dir_put(name, data, size);
	MUST(snprintf(path, PATH_MAX, "%s/%s", fuzz_dir_path(), name) < PATH_MAX);
}

/* A key with a NAME in it, once for each name that has a value. */
static void put_named(const struct conf *conf, const struct conf_key *key, struct buf *out)
{
	const char *at = strstr(key->name, "NAME");

	for (size_t i = 0; i < conf_n_names(conf, key); i++) {
		const void *slot;
		const char *name = conf_name(conf, key, i, &slot), *value;
		char id[16];

		snprintf(id, sizeof(id), "%.0u",
			 key->type == CONF_DOMAIN_ID ? *(const uint32_t *)slot : 0);
		value = key->type == CONF_DOMAIN_ID ? id : *(char *const *)slot;
		if (value[0])
			MUST(buf_printf(out, "%.*s%s%s = %s\n", (int)(at - key->name), key->name,
					name, at + strlen("NAME"), value) == 0);
	}
}

/* All of it in the file's notation. */
static void format(const struct conf *conf, struct buf *out)
{
	char value[8192];

	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct conf_key *key = &conf_keys[i];
		int len = conf_format(conf, key, value, sizeof(value));

		MUST(len >= 0 && (size_t)len == strlen(value));
		if (conf_key_is_named(key))
			put_named(conf, key, out);
		else
			MUST(buf_printf(out, "%s = %s\n", key->name, value) == 0);
	}
}

/* A file cannot say a value where a comment would begin; an option can. */
static bool has_comment(const struct buf *text)
{
	char *copy = fuzz_string(buf_data(text), buf_len(text));
	bool has = strstr(copy, " #") || strstr(copy, "\t#");

	free(copy);
	return has;
}

static void load_again(const struct conf *conf)
{
	struct conf again;
	struct pop_why why = { "" };
	struct buf first, second;
	char path[PATH_MAX];

	buf_init(&first, 1 << 20);
	buf_init(&second, 1 << 20);
	format(conf, &first);
	if (has_comment(&first)) {
		buf_release(&first);
		return;
	}
	put("again", buf_data(&first), buf_len(&first), path);
	if (conf_load(&again, path, true, NULL, 0, &why) < 0)
		fuzz_failed(__FILE__, __LINE__, why.text);
	format(&again, &second);
	MUST(buf_len(&first) == buf_len(&second) &&
	     memcmp(buf_data(&first), buf_data(&second), buf_len(&first)) == 0);
	conf_release(&again);
	buf_release(&first);
	buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string(data, size), *options[OPTIONS_MAX], path[PATH_MAX];
	size_t n = take_options(text, options);
	struct pop_why why = { "" };
	struct conf conf;
	int err;

	put("conf", text, size, path);
	err = conf_load(&conf, path, true, (const char *const *)options, n, &why);
	if (err == 0)
		load_again(&conf);
	else
		MUST(size > 0 && why.text[0] && strlen(why.text) < POP_WHY_MAX);
	conf_release(&conf);
	while (n > 0)
		free(options[--n]);
	free(text);
	return 0;
}
