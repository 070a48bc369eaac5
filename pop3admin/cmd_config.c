/*
 * cmd_config.c - config show, and the frame of config check.
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   its caller.
 */
#include "findings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 8192

/* A value in its own JSON type; every one of them was formatted by the table's rules. */
static void print_value(struct out *out, const struct conf_key *key, const char *value)
{
	bool digits = value[0] && !value[strspn(value, "0123456789.")];

	if (!out->json) {
		fputs(key->name, out->file);
		fputs(value[0] ? " = " : " =", out->file);
		out_visible(out->file, value);
		putc('\n', out->file);
		return;
	}
	switch (key->type) {
	case CONF_NUMBER:
	case CONF_SECONDS_MS:
	case CONF_DAYS:
		if (digits)
			out_decimal(out, key->name, value);
		else
			out_str(out, key->name, value);
		break;
	case CONF_BOOL:
		out_bool(out, key->name, strcmp(value, "yes") == 0);
		break;
	case CONF_SET:
		out_words(out, key->name, value);
		break;
	default:
		out_str(out, key->name, value);
	}
}

/* A key with a NAME in it has a value for each name that it is set for. */
static void print_named(struct admin *a, const struct conf_key *key)
{
	const char *at = strstr(key->name, "NAME");
	struct conf_key one = *key;
	char name[512], id[16];

	one.type = key->type == CONF_DOMAIN_ID ? CONF_NUMBER : CONF_STRING;
	one.name = name;
	for (size_t i = 0; i < conf_n_names(&a->conf, key); i++) {
		const void *slot;
		const char *for_name = conf_name(&a->conf, key, i, &slot), *value = id;

		if (key->type == CONF_DOMAIN_ID)
			snprintf(id, sizeof(id), "%.0u", *(const uint32_t *)slot);
		else
			value = *(char *const *)slot;
		snprintf(name, sizeof(name), "%.*s%s%s", (int)(at - key->name), key->name, for_name,
			 at + strlen("NAME"));
		if (value[0])
			print_value(&a->out, &one, value);
	}
}

int cmd_config_show(struct admin *a)
{
	char value[VALUE_MAX];
	size_t i;
	int err;

	out_object_begin(&a->out);
	for (i = 0; i < conf_n_keys; i++) {
		if (conf_key_is_named(&conf_keys[i])) {
			print_named(a, &conf_keys[i]);
			continue;
		}
		err = conf_format(&a->conf, &conf_keys[i], value, sizeof(value));
		if (err < 0)
			return fail(status_of(err), "%s: its value is too long to show",
				    conf_keys[i].name);
		print_value(&a->out, &conf_keys[i], value);
	}
	out_object_end(&a->out);
	return 0;
}

void finding(struct findings *f, const char *where, const char *mend, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->count++;
	if (!f->a->out.json) {
		FILE *file = f->a->out.file;

		out_visible(file, where);
		fputs(": ", file);
		out_visible(file, text);
		fputs("; ", file);
		out_visible(file, mend);
		putc('\n', file);
		return;
	}
	out_object_begin(&f->a->out);
	out_str(&f->a->out, "where", where);
	out_str(&f->a->out, "text", text);
	out_str(&f->a->out, "mend", mend);
	out_object_end(&f->a->out);
}

int cmd_config_check(struct admin *a)
{
	struct findings f = { .a = a };
	struct pop_why why = { "" };
	int err, status = 0;

	err = conf_load(&a->conf, a->conf_path, a->conf_given, a->overrides, a->n_overrides, &why);
	if (err < 0)
		status = fail(err == POP_E_SYS && (errno == EACCES || errno == EPERM) ? EX_NOPERM
										      : EX_CONFIG,
			      "%s", why.text);
	out_list_begin(&a->out);
	if (!status) {
		check_values(&f);
		check_places(&f);
		check_users(&f);
		status = f.count ? EX_NOT_WELL : 0;
	} else {
		out_object_begin(&a->out);
		out_str(&a->out, "where", a->conf_path);
		out_str(&a->out, "text", why.text);
		out_str(&a->out, "mend", "mend the line");
		out_object_end(&a->out);
	}
	out_list_end(&a->out);
	return status;
}
