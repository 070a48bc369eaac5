/*
 * conf_value.c - one value of the configuration, from text and back.
 *
 * Runs in:  monitor at start, pop3admin.
 * Trusts:   the table of keys; not a value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf_value.h"
#include "log.h"
#include "num.h"

#define NAMES_MAX 1024

void conf_allowed(const struct conf_key *key, struct pop_why *why)
{
	uintmax_t min = key->min, max = key->max;

	switch (key->type) {
	case CONF_DOMAIN_ID:
	case CONF_NUMBER:
		pop_why(why, 0, "a number from %ju to %ju", min, max);
		break;
	case CONF_SECONDS_MS:
		pop_why(why, 0, "seconds from %ju to %ju, at most three decimals", min / 1000,
			max / 1000);
		break;
	case CONF_DAYS:
		pop_why(why, 0, "a number of days from %ju to %ju, or never", min, max);
		break;
	case CONF_SET:
		pop_why(why, 0, "one or more of: %s", key->allowed);
		break;
	case CONF_BOOL:
	case CONF_CHOICE:
	case CONF_FACILITY:
		pop_why(why, 0, "one of: %s", key->allowed);
		break;
	default:
		pop_why(why, 0, "%s", key->allowed);
		break;
	}
}

static int bad(const struct conf_key *key, int err, struct pop_why *why)
{
	conf_allowed(key, why);
	return err;
}

static int new_pair(struct conf *conf, const char *server, size_t len, struct conf_pair **out)
{
	struct conf_pair *pairs, *p;

	if (conf->n_tls_names >= NAMES_MAX)
		return POP_E_SYNTAX;
	pairs = reallocarray(conf->tls_names, conf->n_tls_names + 1, sizeof(*pairs));
	if (!pairs)
		return POP_E_MEMORY;
	conf->tls_names = pairs;
	p = &pairs[conf->n_tls_names];
	*p = (struct conf_pair){ strndup(server, len), strdup(""), strdup("") };
	if (!p->name || !p->certificate || !p->key) {
		free(p->name);
		free(p->certificate);
		free(p->key);
		return POP_E_MEMORY;
	}
	conf->n_tls_names++;
	*out = p;
	return 0;
}

static int new_domain(struct conf *conf, const char *name, size_t len, struct conf_domain **out)
{
	struct conf_domain *domains, *d;

	if (conf->n_domains >= NAMES_MAX)
		return POP_E_SYNTAX;
	domains = reallocarray(conf->domains, conf->n_domains + 1, sizeof(*domains));
	if (!domains)
		return POP_E_MEMORY;
	conf->domains = domains;
	d = &domains[conf->n_domains];
	*d = (struct conf_domain){ strndup(name, len), strdup(""), strdup(""), 0, 0 };
	if (!d->name || !d->maildrop || !d->tls_name) {
		free(d->name);
		free(d->maildrop);
		free(d->tls_name);
		return POP_E_MEMORY;
	}
	conf->n_domains++;
	*out = d;
	return 0;
}

bool conf_key_is_named(const struct conf_key *key)
{
	return key->type == CONF_NAMED || key->type == CONF_DOMAIN || key->type == CONF_DOMAIN_ID;
}

size_t conf_n_names(const struct conf *conf, const struct conf_key *key)
{
	return key->type == CONF_NAMED ? conf->n_tls_names : conf->n_domains;
}

const char *conf_name(const struct conf *conf, const struct conf_key *key, size_t i,
		      const void **slot)
{
	if (key->type == CONF_NAMED) {
		*slot = (const char *)&conf->tls_names[i] + key->offset;
		return conf->tls_names[i].name;
	}
	*slot = (const char *)&conf->domains[i] + key->offset;
	return conf->domains[i].name;
}

static bool name_ok(const char *s, size_t len)
{
	if (len == 0 || len > 253 || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '.' && c != '-')
			return false;
	}
	return true;
}

int conf_slot(struct conf *conf, const struct conf_key *key, const char *server, size_t len,
	      void **slot)
{
	struct conf_domain *domain;
	struct conf_pair *pair;
	const void *found;
	int err;

	if (!conf_key_is_named(key)) {
		*slot = (char *)conf + key->offset;
		return 0;
	}
	if (!name_ok(server, len))
		return POP_E_SYNTAX;
	for (size_t i = 0; i < conf_n_names(conf, key); i++) {
		const char *name = conf_name(conf, key, i, &found);

		if (strlen(name) == len && strncasecmp(name, server, len) == 0) {
			*slot = (void *)(uintptr_t)found;
			return 0;
		}
	}
	if (key->type == CONF_NAMED) {
		err = new_pair(conf, server, len, &pair);
		if (err == 0)
			*slot = (char *)pair + key->offset;
	} else {
		err = new_domain(conf, server, len, &domain);
		if (err == 0)
			*slot = (char *)domain + key->offset;
	}
	return err;
}

static bool means_nothing(const struct conf_key *key, const char *value)
{
	return key->deflt && strcmp(key->deflt, value) == 0 &&
	       (strcmp(value, "none") == 0 || strcmp(value, "no") == 0);
}

static int set_string(char **slot, const struct conf_key *key, const char *value,
		      struct pop_why *why)
{
	char *copy;
	int err = 0;

	if (means_nothing(key, value))
		value = "";
	else if (key->type == CONF_PATH && value[0] != '/')
		return bad(key, POP_E_SYNTAX, why);
	else if (key->check)
		err = key->check(value, why);
	if (err < 0)
		return POP_E_SYNTAX;
	copy = strdup(value);
	if (!copy)
		return pop_why(why, POP_E_MEMORY, "anything, but there is no memory");
	free(*slot);
	*slot = copy;
	return 0;
}

/* Place of a word among the words of a list, from 0; -1: none of them. */
static int word_index(const char *list, const char *word, size_t len)
{
	for (int i = 0; *list; i++) {
		size_t n = strcspn(list, " ");

		if (n == len && strncasecmp(list, word, len) == 0)
			return i;
		list += n;
		list += strspn(list, " ");
	}
	return -1;
}

static int set_words(uint32_t *slot, const struct conf_key *key, const char *value,
		     struct pop_why *why)
{
	uint32_t bits = 0;
	size_t len;
	int i;

	for (; *value; value += len + strspn(value + len, " \t")) {
		len = strcspn(value, " \t");
		i = word_index(key->allowed, value, len);
		if (i < 0)
			return bad(key, POP_E_SYNTAX, why);
		bits |= UINT32_C(1) << i;
	}
	if (!bits)
		return bad(key, POP_E_SYNTAX, why);
	*slot = bits;
	return 0;
}

static int set_number(uint32_t *slot, const struct conf_key *key, const char *value,
		      struct pop_why *why)
{
	size_t len = strlen(value);
	uint64_t n;
	int err;

	if (key->type == CONF_DAYS && strcasecmp(value, "never") == 0) {
		*slot = CONF_EXPIRE_NEVER;
		return 0;
	}
	if (key->type == CONF_SECONDS_MS)
		err = num_parse_ms(value, len, key->max, &n);
	else
		err = num_parse(value, len, key->max, &n);
	if (err == 0 && n < key->min)
		err = POP_E_RANGE;
	if (err < 0)
		return bad(key, err, why);
	*slot = (uint32_t)n;
	return 0;
}

int conf_set(void *slot, const struct conf_key *key, const char *value, struct pop_why *why)
{
	int i;

	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
	case CONF_NAMED:
	case CONF_DOMAIN:
		return set_string(slot, key, value, why);
	case CONF_DOMAIN_ID:
	case CONF_NUMBER:
	case CONF_SECONDS_MS:
	case CONF_DAYS:
		return set_number(slot, key, value, why);
	case CONF_SET:
		return set_words(slot, key, value, why);
	case CONF_BOOL:
	case CONF_CHOICE:
	case CONF_FACILITY:
		break;
	}
	i = word_index(key->allowed, value, strlen(value));
	if (i < 0)
		return bad(key, POP_E_SYNTAX, why);
	if (key->type == CONF_BOOL)
		*(bool *)slot = i == 0;
	else if (key->type == CONF_CHOICE)
		*(uint32_t *)slot = (uint32_t)key->min + (uint32_t)i;
	else
		*(int *)slot = log_facility(value);
	return 0;
}

static int format_set(uint32_t bits, const char *list, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (; *list; bits >>= 1) {
		size_t n = strcspn(list, " ");

		if (bits & 1) {
			if (used + n + 2 > size)
				return POP_E_LONG;
			if (used)
				out[used++] = ' ';
			memcpy(out + used, list, n);
			used += n;
			out[used] = '\0';
		}
		list += n;
		list += strspn(list, " ");
	}
	return (int)used;
}

/* The bit of the word that stands for a value of a choice or a facility. */
static uint32_t choice_bit(const struct conf_key *key, const void *slot)
{
	const char *list = key->allowed;
	char word[16];

	if (key->type == CONF_BOOL)
		return *(const bool *)slot ? 1 : 2;
	if (key->type == CONF_CHOICE)
		return UINT32_C(1) << (*(const uint32_t *)slot - key->min);
	for (uint32_t bit = 1; *list; bit <<= 1) {
		size_t n = strcspn(list, " ");

		snprintf(word, sizeof(word), "%.*s", (int)n, list);
		if (log_facility(word) == *(const int *)slot)
			return bit;
		list += n;
		list += strspn(list, " ");
	}
	return 0;
}

static int format_number(const struct conf_key *key, uint32_t n, char *out, size_t size)
{
	int len;

	if (key->type == CONF_DAYS && n == CONF_EXPIRE_NEVER)
		return snprintf(out, size, "never");
	if (key->type != CONF_SECONDS_MS)
		return snprintf(out, size, "%u", n);
	if (n % 1000 == 0)
		return snprintf(out, size, "%u", n / 1000);
	len = snprintf(out, size, "%u.%03u", n / 1000, n % 1000);
	if (len > 0 && (size_t)len < size) {
		while (out[len - 1] == '0')
			out[--len] = '\0';
	}
	return len;
}

int conf_format(const struct conf *conf, const struct conf_key *key, char *out, size_t size)
{
	const void *slot = (const char *)conf + key->offset;
	const char *s;
	int len;

	switch (key->type) {
	case CONF_STRING:
	case CONF_PATH:
		s = *(const char *const *)slot;
		len = snprintf(out, size, "%s", *s || !key->deflt ? s : key->deflt);
		break;
	case CONF_NUMBER:
	case CONF_SECONDS_MS:
	case CONF_DAYS:
		len = format_number(key, *(const uint32_t *)slot, out, size);
		break;
	case CONF_SET:
		return format_set(*(const uint32_t *)slot, key->allowed, out, size);
	case CONF_NAMED:
	case CONF_DOMAIN:
	case CONF_DOMAIN_ID:
		len = snprintf(out, size, "%s", "");
		break;
	default:
		return format_set(choice_bit(key, slot), key->allowed, out, size);
	}
	return len < 0 || (size_t)len >= size ? POP_E_LONG : len;
}
