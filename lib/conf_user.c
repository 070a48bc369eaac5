/*
 * conf_user.c - the account behind unprivileged_user and keeper_user.
 *
 * Runs in:  monitor at start, pop3admin.
 * Trusts:   /etc/passwd.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "lines.h"
#include "num.h"
#include "users.h"

struct account {
	const char *name; /* borrowed from the line */
	size_t name_len;
	uint64_t uid, gid;
};

/*
 * The four fields that are wanted of a passwd(5) line, and nothing else of it:
 * this runs at every start.
 */
static int parse_account(const char *line, size_t len, struct account *a)
{
	const char *field[4], *end = line + len, *colon = line - 1;
	size_t field_len[4];

	for (int i = 0; i < 4; i++) {
		field[i] = colon + 1;
		colon = memchr(field[i], ':', (size_t)(end - field[i]));
		if (!colon)
			return POP_E_SYNTAX;
		field_len[i] = (size_t)(colon - field[i]);
	}
	a->name = field[0];
	a->name_len = field_len[0];
	if (num_parse(field[2], field_len[2], USER_NO_ID - 1, &a->uid) < 0 ||
	    num_parse(field[3], field_len[3], USER_NO_ID - 1, &a->gid) < 0)
		return POP_E_SYNTAX;
	return 0;
}

/* The line of /etc/passwd with this name, or (name NULL) this uid. */
static int find_account(const char *name, uint64_t uid, uint32_t *found_uid, uint32_t *found_gid)
{
	struct lines lines;
	struct account a;
	const char *line;
	size_t len;
	int fd, err, found = POP_E_MISSING;

	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return POP_E_MISSING;
	err = lines_init(&lines, fd);
	while (err >= 0 && found < 0) {
		err = lines_next(&lines, &line, &len);
		if (err == 0)
			break;
		if (err == POP_E_LONG) {
			err = 0;
			continue;
		}
		if (err < 0 || parse_account(line, len, &a) < 0)
			continue;
		if (name ? a.name_len == strlen(name) && memcmp(a.name, name, a.name_len) == 0
			 : a.uid == uid) {
			*found_uid = (uint32_t)a.uid;
			*found_gid = (uint32_t)a.gid;
			found = 0;
		}
	}
	lines_release(&lines);
	close(fd);
	return found;
}

/*
 * Not by the C library's name services: they cost more than all the rest of a
 * start, may ask the network, and do not go with a static program.
 */
int conf_user_ids(const char *name_or_number, uint32_t *uid, uint32_t *gid)
{
	uint64_t number;

	if (num_parse(name_or_number, strlen(name_or_number), USER_NO_ID - 1, &number) < 0)
		return find_account(name_or_number, 0, uid, gid);
	if (find_account(NULL, number, uid, gid) < 0)
		*uid = *gid = (uint32_t)number;
	return 0;
}
