/*
 * sorted.c - binary search in a sorted text file.
 *
 * Runs in:  auth at login; pop3admin.
 * Trusts:   that the file is the administrator's, not that it is sorted.
 */
#include <string.h>

#include "fsutil.h"
#include "sorted.h"

bool sorted_is_entry(const char *line, size_t len)
{
	return len > 0 && line[0] != '#';
}

size_t sorted_name_length(const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);

	return colon ? (size_t)(colon - line) : len;
}

int sorted_compare(const char *line, size_t len, const char *name, size_t name_len)
{
	size_t line_name = sorted_name_length(line, len);
	int diff = memcmp(line, name, line_name < name_len ? line_name : name_len);

	if (diff != 0)
		return diff;
	return line_name < name_len ? -1 : line_name > name_len;
}

size_t sorted_line(const char *p, size_t left, const char **next)
{
	const char *lf = memchr(p, '\n', left);
	size_t len = lf ? (size_t)(lf - p) : left;

	*next = lf ? lf + 1 : NULL;
	if (lf && len > 0 && p[len - 1] == '\r')
		len--;
	return len;
}

int sorted_narrow(int fd, const char *name, size_t name_len, off_t *lo, off_t *hi, char *block)
{
	while (*hi - *lo > SORTED_PROBE) {
		off_t mid = *lo + (*hi - *lo) / 2;
		ssize_t got = fs_pread_full(fd, block, SORTED_PROBE, mid);
		bool at_eof = got < SORTED_PROBE, entry = false;
		const char *p, *end, *next;
		size_t len = 0;

		if (got < 0)
			return POP_E_SYS;
		end = block + got;
		sorted_line(block, (size_t)got, &next);
		for (p = next; p && p < end && !entry; p = entry ? p : next) {
			len = sorted_line(p, (size_t)(end - p), &next);
			if (!next && !at_eof)
				return 1;
			entry = sorted_is_entry(p, len);
		}
		if (!entry && !at_eof)
			return 1; /* a whole block without the beginning of an entry */
		if (!entry || sorted_compare(p, len, name, name_len) >= 0)
			*hi = mid;
		else
			*lo = mid + (p - block);
	}
	return 0;
}
