/*
 * mon_caps.c - drop each capability when nothing can need it any more.
 *
 * CHOWN gives a new state directory to its owner, and the writer the new users
 * file; so it goes with the login.  SYS_CHROOT and SETGID are for roles that are
 * still to be started: at a login TLS, pop3d-auth and the maildrop role; later the
 * digest helper, as long as there is a maildrop role to ask for it, and the writer.
 * SETGID also for the sweep behind a maildrop role that was killed.  SETUID stays:
 * what hangs at the end is killed as its own uid.
 *
 * The bounding set has these four until the end: to drop more of it would take
 * SETPCAP, which is none of them.  No role gets one back from there, since
 * NO_NEW_PRIVS is set everywhere.
 *
 * Runs in:  monitor.
 */
#include <linux/capability.h>
#include "mon.h"
#include "role.h"

#define ALL_FOUR (1U << CAP_CHOWN | 1U << CAP_SETGID | 1U << CAP_SETUID | 1U << CAP_SYS_CHROOT)

static bool may_need_sweep(const struct monitor *mon)
{
	if (mon->swept || mon->login.spec.kind != MAILDROP_MBOX)
		return false;
	for (unsigned i = 0; i < mon->n_children; i++)
		if (mon->children[i].role == ROLE_MAILDROP)
			return true;
	return false;
}

static uint32_t needed(const struct monitor *mon)
{
	bool login = mon->session.fd >= 0 && (mon->phase == PH_AUTH || mon->phase == PH_OPEN);
	bool writer = mon->awaits_upgrade || mon->upgrade_due;
	uint32_t caps = 1U << CAP_SETUID;

	if (login || writer)
		return ALL_FOUR;
	if (mon->drop.fd >= 0)
		caps |= 1U << CAP_SETGID | 1U << CAP_SYS_CHROOT;
	if (may_need_sweep(mon))
		caps |= 1U << CAP_SETGID;
	return caps;
}

void mon_shed_caps(struct monitor *mon)
{
	struct pop_why why;
	uint32_t keep;

	if (!mon->root)
		return;
	keep = needed(mon) & (mon->caps ? mon->caps : ALL_FOUR);
	if (keep == (mon->caps ? mon->caps : ALL_FOUR))
		return;
	if (role_limit_caps(keep, &why) < 0)
		mon_log_error(mon, "%s", why.text);
	mon->caps = keep;
}
