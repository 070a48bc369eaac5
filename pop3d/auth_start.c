/*
 * auth_start.c - what an auth role in a program of its own has to be told, and the
 * built-in one has by fork.
 *
 * Runs in:  pop3d-auth, pop3d-gssapi.
 * Trusts:   the monitor.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "auth.h"
#include "fsutil.h"
#include "num.h"

#define DOMAINS_MAX ((uint64_t)16 << 20) /* bytes of all domain.NAME.* */

/* What IPC_AUTH_START brings; the strings of conf lie in it. */
struct given {
	struct conf conf;
	struct auth_start start;
	char strings[7][IPC_PAYLOAD_MAX];
	char *domains; /* owned: the strings of conf.domains */
};
static struct given given;

/* The next string of *p; NULL where it does not end before end. */
static char *next_string(char **p, const char *end)
{
	char *s = *p, *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;

	if (nul)
		*p = nul + 1;
	return nul ? s : NULL;
}

static int take_domain(char **p, const char *end, struct conf_domain *d)
{
	char *uid, *gid;
	uint64_t u = 0, g = 0;

	d->name = next_string(p, end);
	d->maildrop = next_string(p, end);
	uid = next_string(p, end);
	gid = next_string(p, end);
	d->tls_name = given.strings[5] + strlen(given.strings[5]); /* "": the monitor knows it */
	if (!uid || !gid || num_parse(uid, strlen(uid), UINT32_MAX, &u) < 0 ||
	    num_parse(gid, strlen(gid), UINT32_MAX, &g) < 0)
		return POP_E_CORRUPT;
	d->uid = (uint32_t)u;
	d->gid = (uint32_t)g;
	return 0;
}

/* The keys domain.NAME.*; their strings live as long as the process. */
static int take_domains(struct ipc *monitor, struct conf *conf, uint32_t n)
{
	struct ipc_msg m;
	uint64_t bytes;
	char *p;
	int fd, err = ipc_recv(monitor, &m);

	if (err < 0)
		return err;
	if (m.type != IPC_AUTH_DOMAINS || ipc_get_u32(&m) != n) {
		ipc_wipe(&m);
		return POP_E_CORRUPT;
	}
	bytes = ipc_get_u64(&m);
	fd = ipc_take_fd(&m);
	err = ipc_end(&m);
	if (err == 0 && bytes < DOMAINS_MAX)
		given.domains = malloc((size_t)bytes + 1);
	p = given.domains;
	conf->domains = calloc(n, sizeof(*conf->domains));
	if (!p || !conf->domains)
		err = POP_E_MEMORY;
	else if (fs_pread_full(fd, p, (size_t)bytes, 0) != (ssize_t)bytes)
		err = POP_E_SYS;
	for (; err == 0 && conf->n_domains < n; conf->n_domains++)
		err = take_domain(&p, given.domains + bytes, &conf->domains[conf->n_domains]);
	close(fd);
	return err;
}

static int take(struct ipc *monitor, struct given *g, int *fd)
{
	char **const into[] = { &g->conf.hostname,
				&g->conf.users,
				&g->conf.user_separators,
				&g->conf.default_domain,
				&g->conf.maildrop,
				NULL,
				NULL };
	struct ipc_msg m;
	uint32_t n_domains;
	int err = ipc_recv(monitor, &m);

	if (err < 0)
		return err;
	if (m.type != IPC_AUTH_START) {
		ipc_wipe(&m);
		return POP_E_CORRUPT;
	}
	if (fd)
		*fd = ipc_take_fd(&m);
	g->start.failures = ipc_get_u32(&m);
	g->conf.max_auth_failures = ipc_get_u32(&m);
	g->conf.auth_failure_delay_ms = ipc_get_u32(&m);
	g->conf.password_upgrade = ipc_get_u8(&m) != 0;
	g->conf.penalty_step_ms = ipc_get_u8(&m); /* is there a brake? */
	g->conf.auth_mechanisms = ipc_get_u32(&m);
	g->conf.login_delay = ipc_get_u32(&m);
	g->conf.login_delay_max = ipc_get_u32(&m);
	g->conf.expire = ipc_get_u32(&m);
	g->conf.expire_min = ipc_get_u32(&m);
	n_domains = ipc_get_u32(&m);
	for (size_t i = 0; i < sizeof(into) / sizeof(into[0]); i++) {
		ipc_get_str(&m, g->strings[i], sizeof(g->strings[i]));
		if (into[i])
			*into[i] = g->strings[i];
	}
	g->start.conf = &g->conf;
	g->start.address = g->strings[5];
	g->start.apop = g->strings[6];
	g->start.monitor_fd = ROLE_HELPER_FD;
	g->start.got_one = true;
	err = ipc_end(&m);
	return err < 0 || n_domains == 0 ? err : take_domains(monitor, &g->conf, n_domains);
}

struct auth_start *auth_take_start(struct ipc *monitor, int *fd)
{
	return take(monitor, &given, fd) < 0 ? NULL : &given.start;
}
