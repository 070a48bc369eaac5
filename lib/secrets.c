/*
 * secrets.c - the secrets file, read.
 *
 * Runs in:  auth, on a descriptor that the monitor opened; pop3admin.
 * Trusts:   that the file is the administrator's (fs_open_trusted), not that it is well formed.
 */
#include <string.h>
#include <strings.h>

#include "base64.h"
#include "fsutil.h"
#include "hash.h"
#include "lines.h"
#include "md5.h"
#include "num.h"
#include "secrets.h"
#include "secrets_impl.h"
#include "sorted.h"

const char *const secret_scheme_names[SECRET_N_SCHEMES] = {
	"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "APOP", "APP",
};

/* The field up to the next ':' or the end; *p goes behind it, NULL behind the last one. */
static size_t field(const char **p, const char *end, const char **text)
{
	const char *colon;

	*text = *p;
	if (!*p)
		return 0;
	colon = memchr(*p, ':', (size_t)(end - *p));
	*p = colon ? colon + 1 : NULL;
	return (size_t)((colon ? colon : end) - *text);
}

static bool is_tag(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr("0123456789abcdef", text[i]) || text[i] == '\0')
			return false;
	return len == 0 || len == SECRET_TAG_LEN;
}

static bool has_control(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			return true;
	return false;
}

int secrets_parse_line(const char *line, size_t len, struct secret *s)
{
	const char *p = line, *end = line + len, *name, *scheme, *value, *tag;
	size_t name_len = field(&p, end, &name), scheme_len = field(&p, end, &scheme);
	size_t value_len = field(&p, end, &value), tag_len = field(&p, end, &tag), i;

	if (p || !value || value_len == 0 || value_len > SECRET_VALUE_MAX ||
	    !user_name_ok(name, name_len) || !is_tag(tag ? tag : "", tag_len) ||
	    has_control(line, len))
		return POP_E_SYNTAX;
	for (i = 0; i < SECRET_N_SCHEMES; i++)
		if (strlen(secret_scheme_names[i]) == scheme_len &&
		    strncasecmp(scheme, secret_scheme_names[i], scheme_len) == 0)
			break;
	if (i == SECRET_N_SCHEMES)
		return POP_E_SYNTAX;
	memcpy(s->name, name, name_len);
	s->name[name_len] = '\0';
	s->scheme = (enum secret_scheme)i;
	memcpy(s->value, value, value_len);
	s->value[value_len] = '\0';
	memcpy(s->tag, tag ? tag : "", tag_len);
	s->tag[tag_len] = '\0';
	return 0;
}

int secrets_parse_key(const char *line, size_t len, uint8_t key[SECRETS_KEY_LEN])
{
	static const char head[] = SECRETS_KEY_NAME ":KEY:";
	size_t n = sizeof(head) - 1;

	if (len <= n || memcmp(line, head, n) != 0 ||
	    base64_decode(line + n, len - n, key, SECRETS_KEY_LEN) != SECRETS_KEY_LEN)
		return POP_E_SYNTAX;
	return 0;
}

/*
 * Call each_line for the lines of a name until it returns non-zero; name NULL:
 * for all lines.
 */
static int each_line(int fd, const char *name, int (*each)(void *ctx, const char *line, size_t len),
		     void *ctx)
{
	size_t name_len = name ? strlen(name) : 0, len;
	char block[SORTED_PROBE];
	struct lines lines;
	const char *line;
	struct stat st;
	off_t lo = 0, hi;
	int err;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	hi = st.st_size;
	err = name ? sorted_narrow(fd, name, name_len, &lo, &hi, block) : 0;
	if (name && st.st_size > SORTED_PROBE)
		explicit_bzero(block, sizeof(block));
	if (err < 0)
		return err;
	err = lines_init(&lines, fd);
	lines.offset = err == 0 ? lo : 0;
	while (err == 0 && (err = lines_next(&lines, &line, &len)) > 0) {
		int order = 0;

		err = 0;
		if (!sorted_is_entry(line, len))
			continue;
		if (name)
			order = sorted_compare(line, len, name, name_len);
		if (order > 0)
			break;
		if (order == 0)
			err = each(ctx, line, len);
	}
	lines_release(&lines);
	return err == POP_E_LONG ? 0 : err;
}

static int take_key(void *ctx, const char *line, size_t len)
{
	return secrets_parse_key(line, len, ctx) == 0;
}

int secrets_key(int fd, uint8_t key[SECRETS_KEY_LEN])
{
	int err = each_line(fd, SECRETS_KEY_NAME, take_key, key);

	return err == 1 ? 0 : err == 0 ? POP_E_MISSING : err;
}

/* Not against who can choose hashes: the file's key is secret, and so is the file. */
void secrets_tag(const uint8_t key[SECRETS_KEY_LEN], const char *hash, char tag[SECRET_TAG_LEN + 1])
{
	uint8_t sum[SECRET_TAG_LEN / 2];

	siphash128(key, hash, strlen(hash), sum);
	hex_format(sum, sizeof(sum), tag);
}

struct walk {
	int (*each)(void *ctx, const struct secret *s);
	void *ctx;
};

static int parse_and_call(void *ctx, const char *line, size_t len)
{
	const struct walk *w = ctx;
	struct secret s;
	int err = 0;

	if (secrets_parse_line(line, len, &s) == 0)
		err = w->each(w->ctx, &s);
	explicit_bzero(&s, sizeof(s));
	return err;
}

int secrets_of(int fd, const char *name, int (*each)(void *ctx, const struct secret *s), void *ctx)
{
	struct walk w = { each, ctx };

	return user_name_ok(name, strlen(name)) ? each_line(fd, name, parse_and_call, &w) : 0;
}

int secrets_each(int fd, int (*each)(void *ctx, const struct secret *s), void *ctx)
{
	struct walk w = { each, ctx };

	return each_line(fd, NULL, parse_and_call, &w);
}

bool secret_label_ok(const char *label)
{
	size_t len = strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789-_.");

	return len > 0 && len <= SECRET_LABEL_MAX && label[len] == '\0';
}

int secret_app_parse(char *value, struct secret_app *app)
{
	char *expires = strchr(value, ','), *hash = expires ? strchr(expires + 1, ',') : NULL;
	uint64_t seconds;

	if (!hash)
		return POP_E_SYNTAX;
	*expires++ = '\0';
	*hash++ = '\0';
	if (!secret_label_ok(value) || num_parse(expires, strlen(expires), INT64_MAX, &seconds) < 0)
		return POP_E_SYNTAX;
	*app = (struct secret_app){ value, (int64_t)seconds, hash };
	return 0;
}
