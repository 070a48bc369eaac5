/*
 * users_find.c - one user out of a file of any size.
 *
 * Runs in:  auth at login, on a descriptor that the monitor opened; pop3admin.
 * Trusts:   that the file is the administrator's, not that it is sorted or well formed.
 */
#include <string.h>
#include <time.h>

#include "fsutil.h"
#include "lines.h"
#include "num.h"
#include "sorted.h"
#include "users.h"

#define PROBE SORTED_PROBE
/* And at its end: the line that crosses the upper bound, and the one behind it, too. */
#define WINDOW (PROBE + 2 * (USER_LINE_MAX + 2))

/* A scan of a longer file looks for mistakes in the lines of the wanted name alone. */
#define CHECK_ALL_MAX ((off_t)1 << 20)

typedef void bad_line_fn(void *ctx, uint64_t line, const char *why);

/* 0 found, 1 not here, POP_E_SYS. */
static int find_sorted(int fd, const char *name, size_t name_len, struct user *u)
{
	char block[WINDOW];
	const char *p, *end, *next;
	size_t used = 0;
	struct stat st;
	off_t lo = 0, hi;
	ssize_t got;
	int err;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	hi = st.st_size;
	if (hi > PROBE)
		used = PROBE;
	err = sorted_narrow(fd, name, name_len, &lo, &hi, block);
	if (err != 0)
		goto out;
	err = POP_E_SYS;
	got = fs_pread_full(fd, block, sizeof(block), lo);
	if (got < 0)
		goto out;
	if (used < (size_t)got)
		used = (size_t)got;
	err = 1;
	end = block + got;
	for (p = block; p && p < end; p = next) {
		size_t len = sorted_line(p, (size_t)(end - p), &next);

		if (!next && got == (ssize_t)sizeof(block))
			break; /* cut by our block, not by the end of the file */
		if (!sorted_is_entry(p, len) || sorted_compare(p, len, name, name_len) != 0)
			continue;
		err = users_parse_line(p, len, u, NULL) < 0;
		break;
	}
out:
	explicit_bzero(block, used); /* no more: untouched pages of the stack cost faults */
	return err;
}

/* Every line in turn; the ones that are not the user's are read for their mistakes alone. */
static int find_scan(int fd, const char *name, size_t name_len, struct user *u,
		     bad_line_fn *bad_line, void *ctx)
{
	int missing = POP_E_MISSING;
	struct lines lines;
	struct pop_why why;
	bool check_all;
	const char *line;
	struct stat st;
	size_t len;
	int err;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	check_all = bad_line && st.st_size <= CHECK_ALL_MAX;
	err = lines_init(&lines, fd);
	if (err < 0)
		return err;
	while ((err = lines_next(&lines, &line, &len)) != 0) {
		bool whole = err > 0;
		bool ours;

		if (!whole && err != POP_E_LONG)
			goto out;
		if (!sorted_is_entry(line, len))
			continue;
		ours = sorted_compare(line, len, name, name_len) == 0;
		if (!ours && !check_all)
			continue;
		err = whole ? users_parse_line(line, len, u, &why)
			    : pop_why(&why, POP_E_LONG, "line longer than %d octets",
				      USER_LINE_MAX);
		if (err == 0 && ours)
			goto out;
		if (err < 0 && ours)
			missing = POP_E_SYNTAX;
		if (err < 0 && bad_line)
			bad_line(ctx, lines.number, why.text);
	}
	err = missing;
out:
	lines_release(&lines);
	return err;
}

int users_find(int fd, const char *name, struct user *u, bad_line_fn *bad_line, void *ctx)
{
	size_t name_len = strlen(name);
	int err;

	if (!user_name_ok(name, name_len))
		return POP_E_MISSING;
	err = find_sorted(fd, name, name_len, u);
	if (err > 0)
		err = find_scan(fd, name, name_len, u, bad_line, ctx);
	if (err < 0)
		explicit_bzero(u->hash, sizeof(u->hash));
	return err;
}

/* Today is past the day in field 8 of a shadow line ("expire", days since the epoch). */
static bool expired(const char *line, size_t len)
{
	const char *end = line + len, *colon;
	uint64_t day;
	int i;

	for (i = 0; i < 7; i++) {
		colon = memchr(line, ':', (size_t)(end - line));
		if (!colon)
			return false;
		line = colon + 1;
	}
	if (num_parse(line, sorted_name_length(line, (size_t)(end - line)), UINT32_MAX, &day) < 0)
		return false;
	return (uint64_t)time(NULL) / 86400 >= day;
}

/* Fields 2 and 8 of the shadow line of u->name. */
static int read_shadow(int fd, struct user *u)
{
	size_t name_len = strlen(u->name), len;
	struct lines lines;
	const char *line, *hash;
	int err;

	u->hash[0] = '\0';
	err = lines_init(&lines, fd);
	if (err < 0)
		return err;
	while ((err = lines_next(&lines, &line, &len)) != 0) {
		if (err < 0 && err != POP_E_LONG)
			goto out;
		if (err < 0 || len <= name_len || sorted_compare(line, len, u->name, name_len) != 0)
			continue;
		hash = line + name_len + 1;
		err = 0;
		u->locked = *hash == '!' || expired(line, len);
		len = sorted_name_length(hash, len - name_len - 1);
		if (len > 0 && *hash == '!') {
			hash++;
			len--;
		}
		if (len <= USER_HASH_MAX) {
			memcpy(u->hash, hash, len);
			u->hash[len] = '\0';
		}
		goto out;
	}
out:
	lines_release(&lines);
	return err;
}

int users_find_system(int passwd_fd, int shadow_fd, const char *name, struct user *u)
{
	size_t name_len = strlen(name);
	int err;

	if (!user_name_ok(name, name_len))
		return POP_E_MISSING;
	err = find_scan(passwd_fd, name, name_len, u, NULL, NULL);
	if (err == 0 && strcmp(u->hash, "x") == 0)
		err = read_shadow(shadow_fd, u);
	if (err < 0)
		explicit_bzero(u->hash, sizeof(u->hash));
	return err;
}

int users_each(int fd, int (*each)(void *ctx, const struct user *u), bad_line_fn *bad_line,
	       void *ctx)
{
	struct lines lines;
	struct pop_why why;
	struct user u;
	const char *line;
	size_t len;
	int err;

	err = lines_init(&lines, fd);
	if (err < 0)
		return err;
	while ((err = lines_next(&lines, &line, &len)) != 0) {
		if (err < 0 && err != POP_E_LONG)
			break;
		if (!sorted_is_entry(line, len))
			continue;
		if (err > 0)
			err = users_parse_line(line, len, &u, &why);
		else
			pop_why(&why, err, "line longer than %d octets", USER_LINE_MAX);
		if (err < 0) {
			if (bad_line)
				bad_line(ctx, lines.number, why.text);
			continue;
		}
		err = each(ctx, &u);
		if (err != 0)
			break;
	}
	explicit_bzero(u.hash, sizeof(u.hash));
	lines_release(&lines);
	return err;
}
