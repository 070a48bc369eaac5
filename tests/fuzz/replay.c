/*
 * replay.c - run a harness on the inputs of its corpus, once each.
 *
 *   fuzz_NAME FILE...
 *
 * A FILE that lies in a directory corpus/ has one input a line, printable
 * octets as they are, others as \n, \r, \t, \\ and \xHH, and \{LOGIN_ASK} for the
 * number of a message's type; lines that begin with '#' are comments.  Any other FILE is one input
 * as it is: what libFuzzer leaves after a finding.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../pop3d/ipc.h"
#include "fuzz.h"

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The number of a type by its name before '}'. */
static size_t type_number(const char *name, uint8_t *out)
{
	size_t len = strcspn(name, "}");

	for (int type = 1; type < IPC_N_TYPES; type++) {
		const char *is = ipc_type_name((enum ipc_type)type);

		if (name[len] && strlen(is) == len && memcmp(is, name, len) == 0) {
			*out = (uint8_t)type;
			return len + 2;
		}
	}
	return 0;
}

/* One escape behind its backslash: the octet, and how many characters it took (0: none such). */
static size_t escape(const char *s, uint8_t *out)
{
	static const char from[] = "nrt\\", to[] = "\n\r\t\\";
	const char *at = *s ? strchr(from, *s) : NULL;

	if (at) {
		*out = (uint8_t)to[at - from];
		return 1;
	}
	if (s[0] == '{')
		return type_number(s + 1, out);
	if (s[0] != 'x' || hex(s[1]) < 0 || hex(s[2]) < 0)
		return 0;
	*out = (uint8_t)(hex(s[1]) << 4 | hex(s[2]));
	return 3;
}

/* Decode a line in place.  Its length, or -1. */
static long decode(char *line)
{
	uint8_t *out = (uint8_t *)line;
	size_t used;

	for (const char *s = line; *s; out++) {
		if (*s != '\\') {
			*out = (uint8_t)*s++;
			continue;
		}
		used = escape(s + 1, out);
		if (used == 0)
			return -1;
		s += 1 + used;
	}
	return out - (uint8_t *)line;
}

static void run(const void *data, size_t size)
{
	/* a copy of its own size, so that a sanitizer sees what is read behind it */
	uint8_t *copy = malloc(size ? size : 1);

	MUST(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static int run_lines(FILE *f, const char *path, unsigned *inputs)
{
	char *line = NULL;
	size_t room = 0;
	unsigned number = 0;
	ssize_t len;
	int status = 0;

	while (status == 0 && (len = getline(&line, &room, f)) >= 0) {
		long size;

		number++;
		if (len > 0 && line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (line[0] == '#')
			continue;
		size = decode(line);
		if (size < 0) {
			fprintf(stderr, "%s:%u: an escape that is none\n", path, number);
			status = 1;
			break;
		}
		run(line, (size_t)size);
		++*inputs;
	}
	free(line);
	return status;
}

static int run_whole(FILE *f, unsigned *inputs)
{
	static uint8_t data[1 << 20];
	size_t size = fread(data, 1, sizeof(data), f);

	run(data, size);
	++*inputs;
	return ferror(f) ? 1 : 0;
}

int main(int argc, char **argv)
{
	unsigned inputs = 0;
	int status = 0;

	for (int i = 1; i < argc && status == 0; i++) {
		FILE *f = fopen(argv[i], "re");

		if (!f) {
			perror(argv[i]);
			return 66;
		}
		status = strstr(argv[i], "corpus/") ? run_lines(f, argv[i], &inputs)
						    : run_whole(f, &inputs);
		fclose(f);
	}
	printf("%u inputs\n", inputs);
	return status;
}
