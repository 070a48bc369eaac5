/*
 * user_options.c - the options of one user: read, written, and what counts.
 *
 * Runs in:  auth at login; pop3admin.
 * Trusts:   that the users file is the administrator's, not that it is well formed.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "date.h"
#include "num.h"
#include "spec.h"
#include "user_options.h"

#define SECONDS_MAX 604800
#define DAYS_MAX    36500
#define AT(field)   offsetof(struct user, field)

/* In the order in which they are written. */
const struct user_option user_option_rows[] = {
	{ "maildrop", USER_OPTION_SPEC, AT(maildrop), "mbox:PATH or maildir:PATH",
	  "where the mail is" },
	{ "login_delay", USER_OPTION_SECONDS, AT(login_delay), "seconds from 0 to 604800",
	  "seconds between two logins" },
	{ "expire", USER_OPTION_DAYS, AT(expire), "days from 0 to 36500, or never",
	  "days that a message is kept after its first retrieval" },
	{ "show_after", USER_OPTION_DATE, AT(show_after), "a day such as 2026-01-31",
	  "older mail is not shown" },
	{ "require_tls", USER_OPTION_FLAG, AT(require_tls), "yes or no", "no login without TLS" },
	{ "readonly", USER_OPTION_FLAG, AT(readonly), "yes or no", "no mail can be deleted" },
	{ "nologin", USER_OPTION_ANY, AT(nologin), "yes or no", "no login at all" },
};
const size_t user_n_options = sizeof(user_option_rows) / sizeof(user_option_rows[0]);

/* One word of the options, "name" or "name=value". */
struct word {
	const char *s, *value; /* value NULL: there is no '=' */
	size_t len, value_len;
};

/* The next word of *p; false at the end. */
static bool next_word(const char **p, struct word *w)
{
	const char *equals;

	*p += strspn(*p, " \t");
	w->s = *p;
	w->len = strcspn(*p, " \t");
	*p += w->len;
	equals = memchr(w->s, '=', w->len);
	w->value = equals ? equals + 1 : NULL;
	w->value_len = equals ? w->len - (size_t)(equals + 1 - w->s) : 0;
	return w->len > 0;
}

static const struct user_option *find_row(const char *name, size_t len)
{
	for (size_t i = 0; i < user_n_options; i++)
		if (strlen(user_option_rows[i].name) == len &&
		    memcmp(user_option_rows[i].name, name, len) == 0)
			return &user_option_rows[i];
	return NULL;
}

static const struct user_option *row_of(const struct word *w)
{
	return find_row(w->s, w->value ? (size_t)(w->value - 1 - w->s) : w->len);
}

static void *slot_of(struct user *u, const struct user_option *o)
{
	return (char *)u + o->offset;
}

static bool is_word(const struct word *w, const char *text)
{
	return w->value && w->value_len == strlen(text) &&
	       strncasecmp(w->value, text, w->value_len) == 0;
}

static int set_spec(char *slot, const struct word *w, struct pop_why *why)
{
	if (!w->value || w->value_len >= PATH_MAX)
		return POP_E_SYNTAX;
	memcpy(slot, w->value, w->value_len);
	slot[w->value_len] = '\0';
	return spec_check(slot, why);
}

static int set_number(struct user_number *slot, const struct word *w, uint64_t max, bool never)
{
	uint64_t n = CONF_EXPIRE_NEVER;
	int err = 0;

	if (!never || !is_word(w, "never"))
		err = w->value ? num_parse(w->value, w->value_len, max, &n) : POP_E_SYNTAX;
	if (err < 0)
		return err;
	*slot = (struct user_number){ true, (uint32_t)n };
	return 0;
}

/* 0, or a negative code; *why is set where there is more to say than what is allowed. */
static int set_value(struct user *u, const struct user_option *o, const struct word *w,
		     struct pop_why *why)
{
	void *slot = slot_of(u, o);

	switch (o->type) {
	case USER_OPTION_SPEC:
		return set_spec(slot, w, why);
	case USER_OPTION_SECONDS:
		return set_number(slot, w, SECONDS_MAX, false);
	case USER_OPTION_DAYS:
		return set_number(slot, w, DAYS_MAX, true);
	case USER_OPTION_DATE:
		return w->value ? date_parse(w->value, w->value_len, slot) : POP_E_SYNTAX;
	case USER_OPTION_FLAG:
		*(bool *)slot = !w->value || is_word(w, "yes");
		return !w->value || is_word(w, "yes") || is_word(w, "no") ? 0 : POP_E_SYNTAX;
	case USER_OPTION_ANY:
		break;
	}
	*(bool *)slot = true;
	return 0;
}

static void clear_value(struct user *u, const struct user_option *o)
{
	switch (o->type) {
	case USER_OPTION_SPEC:
		*(char *)slot_of(u, o) = '\0';
		break;
	case USER_OPTION_SECONDS:
	case USER_OPTION_DAYS:
		*(struct user_number *)slot_of(u, o) = (struct user_number){ false, 0 };
		break;
	case USER_OPTION_DATE:
		*(int64_t *)slot_of(u, o) = 0;
		break;
	case USER_OPTION_FLAG:
	case USER_OPTION_ANY:
		*(bool *)slot_of(u, o) = false;
		break;
	}
}

int user_options_parse(struct user *u, struct pop_why *why)
{
	const char *p = u->options;
	unsigned seen = 0;
	struct word w;

	for (size_t i = 0; i < user_n_options; i++)
		clear_value(u, &user_option_rows[i]);
	while (next_word(&p, &w)) {
		const struct user_option *o = row_of(&w);
		struct pop_why reason = { "" };
		unsigned bit;

		if (!o)
			continue;
		bit = 1U << (o - user_option_rows);
		if (seen & bit)
			return pop_why(why, POP_E_SYNTAX, "two %s options", o->name);
		seen |= bit;
		if (set_value(u, o, &w, &reason) < 0)
			return pop_why(why, POP_E_SYNTAX, "option %s: allowed: %s%s%s", o->name,
				       o->allowed, reason.text[0] ? "; " : "", reason.text);
	}
	return 0;
}

/* "name=value", or nothing where the option is not set. */
static int format_value(const struct user *u, const struct user_option *o, char *out, size_t size)
{
	const void *slot = (const char *)u + o->offset;
	const struct user_number *number = slot;
	char day[DATE_LEN + 1];

	out[0] = '\0';
	switch (o->type) {
	case USER_OPTION_SPEC:
		return *(const char *)slot
			       ? snprintf(out, size, "%s=%s", o->name, (const char *)slot)
			       : 0;
	case USER_OPTION_SECONDS:
	case USER_OPTION_DAYS:
		if (!number->set)
			return 0;
		if (o->type == USER_OPTION_DAYS && number->value == CONF_EXPIRE_NEVER)
			return snprintf(out, size, "%s=never", o->name);
		return snprintf(out, size, "%s=%u", o->name, number->value);
	case USER_OPTION_DATE:
		if (*(const int64_t *)slot == 0)
			return 0;
		date_format(*(const int64_t *)slot, day);
		return snprintf(out, size, "%s=%s", o->name, day);
	case USER_OPTION_FLAG:
		return *(const bool *)slot ? snprintf(out, size, "%s=yes", o->name) : 0;
	case USER_OPTION_ANY:
		break;
	}
	return *(const bool *)slot ? snprintf(out, size, "%s", o->name) : 0;
}

/* Append a word behind a blank.  The new length, or POP_E_LONG. */
static int append(char *out, size_t size, size_t used, const char *word, size_t len)
{
	if (used + len + 2 > size)
		return POP_E_LONG;
	if (used)
		out[used++] = ' ';
	memcpy(out + used, word, len);
	out[used + len] = '\0';
	return (int)(used + len);
}

int user_options_format(const struct user *u, char *out, size_t size)
{
	const char *p = u->options;
	char text[PATH_MAX + 32];
	struct word w;
	int used = 0;

	out[0] = '\0';
	while (used >= 0 && next_word(&p, &w))
		if (!row_of(&w))
			used = append(out, size, (size_t)used, w.s, w.len);
	for (size_t i = 0; used >= 0 && i < user_n_options; i++) {
		int len = format_value(u, &user_option_rows[i], text, sizeof(text));

		if (len < 0 || (size_t)len >= sizeof(text))
			return POP_E_LONG;
		if (len > 0)
			used = append(out, size, (size_t)used, text, (size_t)len);
	}
	return used < 0 ? used : 0;
}

static int no_option(const char *assignment, size_t len, struct pop_why *why)
{
	char names[160] = "";
	size_t used = 0;

	for (size_t i = 0; i < user_n_options; i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, " %s",
					 user_option_rows[i].name);
	return pop_why(why, POP_E_SYNTAX, "%.*s: no such option; there are%s", (int)len, assignment,
		       names);
}

int user_option_set(struct user *u, const char *assignment, struct pop_why *why)
{
	struct pop_why reason = { "" };
	char text[sizeof(u->options)];
	const struct user_option *o;
	struct word w;
	int err = 0;

	w.s = assignment;
	w.len = strlen(assignment);
	w.value = strchr(assignment, '=');
	if (!w.value)
		return pop_why(why, POP_E_SYNTAX, "%s: write KEY=VALUE, or KEY= to take it away",
			       assignment);
	w.value++;
	w.value_len = strlen(w.value);
	o = row_of(&w);
	if (!o)
		return no_option(assignment, (size_t)(w.value - 1 - assignment), why);
	if (strpbrk(w.value, " \t"))
		return pop_why(why, POP_E_SYNTAX, "%s: no blank may be in an option", o->name);
	clear_value(u, o);
	if (o->type == USER_OPTION_ANY && w.value_len > 0 && !is_word(&w, "yes") &&
	    !is_word(&w, "no"))
		err = POP_E_SYNTAX;
	else if (w.value_len > 0 && !(o->type == USER_OPTION_ANY && is_word(&w, "no")))
		err = set_value(u, o, &w, &reason);
	if (err < 0)
		return pop_why(why, POP_E_SYNTAX, "%s=%.100s: allowed: %s%s%s", o->name, w.value,
			       o->allowed, reason.text[0] ? "; " : "", reason.text);
	if (user_options_format(u, text, sizeof(text)) < 0)
		return pop_why(why, POP_E_LONG, "%s: the options become longer than %zu octets",
			       u->name, sizeof(u->options) - 1);
	memcpy(u->options, text, strlen(text) + 1);
	return 0;
}

/*
 * CAPA tells before a login what holds for whoever logs in (RFC 2449 sections
 * 6.5 and 6.7): the longest delay and the shortest time of keeping.  No option
 * may break that word.
 */
uint32_t user_login_delay(const struct conf *conf, const struct user *u)
{
	uint32_t most = conf->login_delay_max;

	if (!most || !u || !u->login_delay.set)
		return conf->login_delay;
	if (most < conf->login_delay)
		most = conf->login_delay;
	return u->login_delay.value < most ? u->login_delay.value : most;
}

uint32_t user_expire(const struct conf *conf, const struct user *u)
{
	uint32_t least = conf->expire_min;

	if (least == CONF_EXPIRE_NEVER || !u || !u->expire.set)
		return conf->expire;
	if (least > conf->expire)
		least = conf->expire;
	return u->expire.value > least ? u->expire.value : least;
}

bool user_option_idle(const struct conf *conf, const struct user *u, const char *which,
		      struct pop_why *why)
{
	if (strcmp(which, "login_delay") == 0) {
		if (!u->login_delay.set || user_login_delay(conf, u) == u->login_delay.value)
			return false;
		pop_why(why, 0,
			"login_delay=%u does not count: login_delay_max in the configuration must "
			"be at least %u",
			u->login_delay.value, u->login_delay.value ? u->login_delay.value : 1);
		return true;
	}
	if (strcmp(which, "expire") != 0 || !u->expire.set ||
	    user_expire(conf, u) == u->expire.value)
		return false;
	if (u->expire.value == CONF_EXPIRE_NEVER)
		pop_why(why, 0,
			"expire=never does not count: set expire_min in the configuration to the "
			"shortest time that users may have");
	else
		pop_why(why, 0,
			"expire=%u does not count: expire_min in the configuration must be %u or "
			"less",
			u->expire.value, u->expire.value);
	return true;
}
