/*
 * fuzz_text.c - small notations: numbers, networks, maildrop specifications,
 * logins, words of lists.
 *
 * Input: octet 0: which one; the rest, cut at NULs, is its text.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "credential.h"
#include "fuzz.h"
#include "networks.h"
#include "num.h"
#include "spec.h"
#include "users.h"

static void try_number(const char *s)
{
	size_t len = strlen(s);
	uint64_t v = 0, ms = 0;
	char *end;
	int err = num_parse(s, len, UINT64_MAX, &v);

	if (len > 0 && strspn(s, "0123456789") == len) {
		errno = 0;
		MUST((strtoull(s, &end, 10) == v && err == 0) == (errno == 0));
		MUST(err == 0 || err == POP_E_RANGE);
	} else {
		MUST(err == POP_E_SYNTAX);
	}
	if (num_parse_ms(s, len, 1000000, &ms) == 0)
		MUST(ms <= 1000000 && strspn(s, "0123456789.") == len);
	if (err == 0 && v <= 1000)
		MUST(num_parse_ms(s, len, 1000000, &ms) == 0 && ms == v * 1000);
}

/* --- networks ------------------------------------------------------------------ */

/* The octets of an address; how many, 0: it is none. */
static size_t address_of(const char *text, uint8_t out[16])
{
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

/* Is the address in one network?  -1: this is none. */
static int plain_holds(const char *word, const uint8_t *address, size_t octets)
{
	char *copy = strdup(word), *slash;
	uint8_t net[16];
	uint64_t bits;
	size_t n;
	int holds = -1;

	MUST(copy != NULL);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	n = address_of(copy, net);
	bits = 8 * n;
	if (n == 0 || (slash && num_parse(slash + 1, strlen(slash + 1), 8 * n, &bits) < 0))
		goto out;
	holds = n == octets;
	for (uint64_t i = 0; i < bits && holds == 1; i++)
		holds = ((net[i / 8] ^ address[i / 8]) >> (7 - i % 8) & 1) == 0;
out:
	free(copy);
	return holds;
}

static void try_networks(const char *list, const char *address)
{
	uint8_t octets[16];
	size_t n = address_of(address, octets), len;
	char *word = strdup(list);
	bool held = networks_hold(list, address);

	MUST(word != NULL);
	len = strlen(list);
	if (strcspn(list, " \t") == len) { /* one word: the answers can be told */
		int holds = plain_holds(list, octets, n);

		MUST(network_ok(list, len) ? holds >= 0 : true);
		if (n > 0 && holds >= 0 && network_ok(list, len))
			MUST(held == (holds == 1));
	}
	if (n == 0)
		MUST(!held);
	free(word);
}

/* --- specifications and logins -------------------------------------------------- */

static bool is_clean(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && !strstr(path, "//") && !strstr(path, "/./") &&
	       !strstr(path, "/../") && (len == 1 || path[len - 1] != '/') &&
	       !(len >= 2 && strcmp(path + len - 2, "/.") == 0) &&
	       !(len >= 3 && strcmp(path + len - 3, "/..") == 0);
}

static void try_spec(const char *text, const char *name, const char *home)
{
	struct pop_why why = { "" };
	struct spec spec;
	int checked = spec_check(text, &why), err;

	err = spec_expand(text, name, home, &spec, &why);
	if (err == 0) {
		MUST(checked == 0 && is_clean(spec.path) && strlen(spec.path) < PATH_MAX);
		MUST(spec.kind == MAILDROP_MBOX || spec.kind == MAILDROP_MAILDIR);
	}
	if (err == 0 && strchr(name, '/'))
		MUST(!strstr(text, "%u") && !strstr(text, "%n") && !strstr(text, "%d"));
}

static void try_login(const char *login, const char *separators, const char *domain)
{
	char names[2][256];
	int n = login_candidates(login, separators, domain, "", names);

	MUST(n >= 0 && n <= 2);
	for (int i = 0; i < n; i++)
		MUST(strlen(names[i]) <= USER_NAME_MAX && names[i][0] &&
		     !strpbrk(names[i], "\r\n"));
	MUST(n < 2 || strchr(names[1], '@'));
}

static void try_words(const char *list)
{
	size_t len = 0;
	const char *word = list;

	for (int i = 0; i < 64 && (word = credential_next(word, &len)) != NULL; i++) {
		char path[PATH_MAX];
		struct pop_why why = { "" };

		MUST(len > 0 && word >= list && word + len <= list + strlen(list));
		if (credential_path(word, len, path, &why) == 0 && word[0] == '/')
			MUST(strlen(path) == len && memcmp(path, word, len) == 0);
		word += len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint8_t which = fuzz_u8(&in) % 5;
	char *s[3];

	for (int i = 0; i < 3; i++) {
		const char *text;
		size_t len = fuzz_text(&in, &text);

		s[i] = fuzz_string(text, len);
	}
	if (which == 0)
		try_number(s[0]);
	else if (which == 1)
		try_networks(s[0], s[1]);
	else if (which == 2)
		try_spec(s[0], s[1], s[2]);
	else if (which == 3)
		try_login(s[0], s[1], s[2]);
	else
		try_words(s[0]);
	for (int i = 0; i < 3; i++)
		free(s[i]);
	return 0;
}
