/*
 * mon_upgrade.c - password_upgrade: replace a weak hash after a login.
 *
 * Runs in:  monitor; the part behind fork in a writer of its own, which sees no
 *           octet of the client and only the directory of the users file.
 * Trusts:   auth, that the password was right.  The old hash is compared again
 *           under the lock.
 */
#include <errno.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>
#include "credentials.h"
#include "mon.h"
#include "role.h"

/* What the writer is told; wiped as soon as it is there. */
struct upgrade {
	char name[USER_NAME_MAX + 1];
	char old[USER_HASH_MAX + 1], new[USER_HASH_MAX + 1];
	char dir[PATH_MAX], users[PATH_MAX], secrets[PATH_MAX];
};
static struct upgrade upgrade;

/* Directory and name of a file, links resolved; one that is not there keeps its path. */
static int locate(const char *path, char dir[PATH_MAX], char base[PATH_MAX])
{
	char *real = realpath(path, NULL);
	const char *whole = real ? real : path, *slash = strrchr(whole, '/');
	int n = -1, m = -1;

	if (slash) {
		n = snprintf(dir, PATH_MAX, "%.*s", slash == whole ? 1 : (int)(slash - whole),
			     whole);
		m = snprintf(base, PATH_MAX, "/%s", slash + 1);
	}
	free(real);
	return n < 0 || n >= PATH_MAX || m < 0 || m >= PATH_MAX ? POP_E_LONG : 0;
}

/* The tags of secrets must follow the hash: both files have to be where the writer can be. */
static int find_files(const struct monitor *mon, struct upgrade *u)
{
	char secrets_dir[PATH_MAX];

	if (locate(mon->conf->users, u->dir, u->users) < 0 ||
	    locate(mon->conf->secrets, secrets_dir, u->secrets) < 0)
		return POP_E_LONG;
	if (strcmp(u->dir, secrets_dir) == 0)
		return 0;
	if (access(mon->conf->secrets, F_OK) < 0 && errno == ENOENT) {
		snprintf(u->secrets, sizeof(u->secrets), "%s", "/secrets");
		return 0;
	}
	mon_log_drop(mon, LOG_WARNING,
		     "password_upgrade: users and secrets must be in one directory");
	return POP_E_UNSAFE;
}

/* In the writer.  As an ordinary user there is no chroot, and the paths are whole. */
static int write_it(const struct monitor *mon, const struct upgrade *u)
{
	struct credentials c = { .users = u->users,
				 .secrets = u->secrets,
				 .hash = u->new,
				 .old_hash = u->old,
				 .rebind = true };
	struct pop_why why;
	int err;

	if (!mon->root) {
		c.users = mon->conf->users;
		c.secrets = mon->conf->secrets;
	}
	err = credentials_change(&c, u->name, &why);
	return err == 0 || err == POP_E_CHANGED ? EX_OK : EX_CANTCREAT;
}

static void start_writer(struct monitor *mon)
{
	pid_t parent = getpid(), pid = mon_fork(mon, ROLE_WRITER);

	if (pid < 0)
		mon_log_error(mon, "cannot start the writer: %s", strerror(errno));
	if (pid == 0) {
		struct sandbox_place place = { .path = mon->root ? "/" : upgrade.dir,
					       .work = true };
		struct role_rights rights = { .role = ROLE_WRITER,
					      .sandbox = SANDBOX_WRITER,
					      .root_writer = mon->root ? upgrade.dir : NULL,
					      .parent = parent,
					      .files = 16,
					      .cpu_s = 60 };

		rights.places = &place;
		rights.n_places = 1;
		role_title("pop3d-writer");
		role_enter(&rights, NULL, 0);
		_exit(write_it(mon, &upgrade));
	}
}

int mon_take_upgrade(struct monitor *mon, struct ipc_msg *note)
{
	bool wanted;

	ipc_get_str(note, upgrade.name, sizeof(upgrade.name));
	ipc_get_str(note, upgrade.old, sizeof(upgrade.old));
	ipc_get_str(note, upgrade.new, sizeof(upgrade.new));
	if (ipc_end(note) < 0 || !mon->awaits_upgrade)
		return POP_E_CORRUPT;
	mon->awaits_upgrade = false;
	wanted = upgrade.name[0] && upgrade.old[0] && upgrade.new[0];
	mon->upgrade_due = wanted && strcmp(upgrade.name, mon->login.name) == 0;
	mon_upgrade(mon);
	if (mon->session.fd < 0) /* it ended meanwhile, and left auth to say this */
		ipc_close(&mon->auth);
	return 0;
}

void mon_upgrade(struct monitor *mon)
{
	if (mon->awaits_upgrade || (mon->phase != PH_TRANS && mon->phase != PH_END))
		return;
	if (mon->upgrade_due && find_files(mon, &upgrade) == 0)
		start_writer(mon);
	mon->upgrade_due = false;
	explicit_bzero(&upgrade, sizeof(upgrade));
	ipc_close(&mon->auth); /* its work is done */
}
