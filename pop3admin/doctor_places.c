/*
 * doctor_places.c - doctor: do the ports listen, are the maildrops there?
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   the kernel's tables; not the users file.
 */
#include "doctor.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "target.h"

#define PORT_PLAIN    110
#define PORT_TLS      995
#define STATE_LISTEN  "0A"
#define MISSING_SHOWN 5 /* maildrops that are named; the others are counted */

/* Is there a listening socket of this port in one of the kernel's two tables? */
static bool listens_in(const char *table, unsigned port)
{
	int fd = fs_open_at(AT_FDCWD, table, FS_LINKS_ALL, O_RDONLY, 0);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char *line = NULL, local[80], state[8];
	size_t room = 0;
	bool found = false;

	while (file && !found && getline(&line, &room, file) > 0) {
		const char *colon;

		if (sscanf(line, "%*s %79s %*s %7s", local, state) != 2)
			continue;
		colon = strrchr(local, ':');
		found = colon && strtoul(colon + 1, NULL, 16) == port &&
			strcmp(state, STATE_LISTEN) == 0;
	}
	if (file)
		fclose(file);
	else if (fd >= 0)
		close(fd);
	free(line);
	return found;
}

static bool listens(unsigned port)
{
	return listens_in("/proc/net/tcp", port) || listens_in("/proc/net/tcp6", port);
}

void check_ports(struct findings *f)
{
	const struct conf *conf = &f->a->conf;
	bool tls = conf->tls_certificate[0] || conf->n_tls_names > 0;

	if (!listens(PORT_PLAIN) && !(tls && listens(PORT_TLS)))
		finding(f, "port 110",
			"systemctl enable --now pop3d.socket, or see pop3d(8) for other launchers",
			"nothing listens");
	if (tls && !listens(PORT_TLS))
		finding(f, "port 995",
			"systemctl enable --now pop3ds.socket, or see pop3d(8) for other launchers",
			"nothing listens, but there is a certificate");
}

struct missing {
	struct findings *f;
	size_t n;
};

static int take_user(void *ctx, const struct user *entry)
{
	struct missing *m = ctx;
	struct pop_why why;
	struct spec spec;
	struct stat st;

	if (entry->locked || entry->nologin ||
	    user_spec(m->f->a, entry, &spec, &why) < 0 || /* check_users() has told */
	    stat(spec.path, &st) == 0 || errno != ENOENT)
		return 0;
	if (m->n++ < MISSING_SHOWN)
		note(m->f, "%s: %s is not there: an empty maildrop until mail comes", entry->name,
		     spec.path);
	return 0;
}

/* Before the first delivery there is none, so this is told and is no finding. */
void check_maildrops(struct findings *f)
{
	struct missing m = { .f = f };
	int fd;

	if (f->a->conf.users[0] != '/')
		return;
	fd = fs_open_at(AT_FDCWD, f->a->conf.users, FS_LINKS_ALL, O_RDONLY, 0);
	if (fd < 0)
		return; /* check_users() has told */
	users_each(fd, take_user, NULL, &m);
	close(fd);
	if (m.n > MISSING_SHOWN)
		note(f, "and %zu others", m.n - MISSING_SHOWN);
}
