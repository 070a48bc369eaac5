/*
 * fuzz_conf.c - a configuration: what is read can be written, and read again.
 *
 * Input: the file; lines that begin with "-o " are options.
 */
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

static void put_pairs(const struct conf *conf, struct buf *out)
{
	for (size_t i = 0; i < conf->n_tls_names; i++) {
		const struct conf_pair *p = &conf->tls_names[i];

		if (p->certificate[0])
			buf_printf(out, "tls_certificate.%s = %s\n", p->name, p->certificate);
		if (p->key[0])
			buf_printf(out, "tls_key.%s = %s\n", p->name, p->key);
	}
}

/* All of it in the file's notation. */
static void format(const struct conf *conf, struct buf *out)
{
	char value[8192];

	for (size_t i = 0; i < conf_n_keys; i++) {
		int len = conf_format(conf, &conf_keys[i], value, sizeof(value));

		MUST(len >= 0 && (size_t)len == strlen(value));
		if (conf_keys[i].type != CONF_NAMED)
			MUST(buf_printf(out, "%s = %s\n", conf_keys[i].name, value) == 0);
	}
	put_pairs(conf, out);
}

static void load_again(const struct conf *conf)
{
	struct conf again;
	struct pop_why why = { "" };
	struct buf first, second;
	char path[64];
	int fd;

	buf_init(&first, 1 << 20);
	buf_init(&second, 1 << 20);
	format(conf, &first);
	fd = fuzz_file(1, buf_data(&first), buf_len(&first));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
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
	char *text = fuzz_string(data, size), *options[OPTIONS_MAX], path[64];
	size_t n = take_options(text, options);
	struct pop_why why = { "" };
	struct conf conf;
	int err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fuzz_file(0, text, size));
	err = conf_load(&conf, path, true, (const char *const *)options, n, &why);
	if (err == 0)
		load_again(&conf);
	else
		MUST(why.text[0] && strlen(why.text) < POP_WHY_MAX);
	conf_release(&conf);
	while (n > 0)
		free(options[--n]);
	free(text);
	return 0;
}
