/*
 * conf_user.c - the account behind unprivileged_user and keeper_user.
 *
 * Runs in:  monitor at start, pop3admin.
 * Trusts:   /etc/passwd.
 */
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "lines.h"
#include "num.h"
#include "users.h"

/* The line of /etc/passwd with this name, or (name NULL) this uid. */
static int find_passwd(const char *name, uint32_t uid, struct user *u)
{
	struct lines lines;
	const char *line;
	size_t len;
	int fd, err;

	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return POP_E_MISSING;
	err = lines_init(&lines, fd);
	while (err == 0) {
		err = lines_next(&lines, &line, &len);
		if (err == 0)
			err = POP_E_MISSING;
		else if (err == 1 && users_parse_line(line, len, u, NULL) == 0 &&
			 (name ? strcmp(u->name, name) == 0 : u->uid == uid))
			break;
		else if (err != POP_E_SYS)
			err = 0;
	}
	lines_release(&lines);
	close(fd);
	return err == 1 ? 0 : POP_E_MISSING;
}

int conf_user_ids(const char *name_or_number, uint32_t *uid, uint32_t *gid)
{
	struct passwd *pw;
	struct user u = { 0 };
	uint64_t number;

	if (num_parse(name_or_number, strlen(name_or_number), USER_NO_ID - 1, &number) == 0) {
		*uid = *gid = (uint32_t)number;
		if (find_passwd(NULL, *uid, &u) == 0)
			*gid = u.gid;
		return 0;
	}
	if (find_passwd(name_or_number, 0, &u) == 0) {
		*uid = u.uid;
		*gid = u.gid;
		return u.uid == USER_NO_ID || u.gid == USER_NO_ID ? POP_E_MISSING : 0;
	}
	/* Late: loading the C library's name services costs more than all the rest of a start. */
	pw = getpwnam(name_or_number);
	if (!pw)
		return POP_E_MISSING;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}
