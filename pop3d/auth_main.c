/*
 * auth_main.c - pop3d-auth: the auth role with the mechanisms that need
 * libcrypto, in a process of its own, so that no other session has to load it.
 *
 * Runs in:  a helper that the monitor starts when such a mechanism is first
 *           chosen; it takes the place of the built-in auth role.
 * Trusts:   its command line and its first message, which are the monitor's.
 *
 *   pop3d-auth UID GID PARENT-PID EMPTY-ROOT     ("-": not started by root)
 */
#include <openssl/crypto.h>
#include <string.h>
#include <sysexits.h>
#include "auth_digest.h"

const struct auth_mech auth_digests[] = {
	{ SASL_CRAM_MD5, auth_step_cram },
	{ SASL_SCRAM_SHA_1, auth_step_scram },
	{ SASL_SCRAM_SHA_256, auth_step_scram },
	{ SASL_SCRAM_SHA_1_PLUS, auth_step_scram },
	{ SASL_SCRAM_SHA_256_PLUS, auth_step_scram },
};

/* What IPC_AUTH_START brings; the strings of conf lie in it. */
struct given {
	struct conf conf;
	struct auth_start start;
	char strings[7][IPC_PAYLOAD_MAX];
};
static struct given given;

static int take_start(struct ipc *monitor, struct given *g)
{
	char **const into[] = { &g->conf.hostname,
				&g->conf.users,
				&g->conf.user_separators,
				&g->conf.default_domain,
				&g->conf.maildrop,
				NULL,
				NULL };
	struct ipc_msg m;
	int err = ipc_recv(monitor, &m);

	if (err < 0)
		return err;
	if (m.type != IPC_AUTH_START) {
		ipc_wipe(&m);
		return POP_E_CORRUPT;
	}
	g->start.failures = ipc_get_u32(&m);
	g->conf.max_auth_failures = ipc_get_u32(&m);
	g->conf.auth_failure_delay_ms = ipc_get_u32(&m);
	g->conf.password_upgrade = ipc_get_u8(&m) != 0;
	g->conf.penalty_step_ms = ipc_get_u8(&m); /* is there a brake? */
	g->conf.auth_mechanisms = ipc_get_u32(&m);
	for (size_t i = 0; i < sizeof(into) / sizeof(into[0]); i++) {
		ipc_get_str(&m, g->strings[i], sizeof(g->strings[i]));
		if (into[i])
			*into[i] = g->strings[i];
	}
	g->start.conf = &g->conf;
	g->start.address = g->strings[5];
	g->start.apop = g->strings[6];
	return ipc_end(&m);
}

int main(int argc, char **argv)
{
	struct role_rights rights;
	int keep[1] = { ROLE_HELPER_FD };
	struct ipc monitor;

	if (role_helper_rights(argc, argv, ROLE_AUTH, SANDBOX_DIGESTS, &rights) < 0)
		return EX_USAGE;
	rights.cpu_s = 60;
	role_title("pop3d-auth");
	role_enter(&rights, keep, 1);
	/* no openssl.cnf is read, and nothing made ready that is not asked for */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
				    OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
				    OPENSSL_INIT_NO_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_ATEXIT,
			    NULL);
	ipc_init(&monitor, ROLE_HELPER_FD, ROLE_AUTH, ROLE_MONITOR, PH_AUTH);
	if (take_start(&monitor, &given) < 0)
		return EX_PROTOCOL;
	given.start.monitor_fd = ROLE_HELPER_FD;
	given.start.got_one = true;
	given.start.digests = auth_digests;
	given.start.n_digests = sizeof(auth_digests) / sizeof(auth_digests[0]);
	given.start.apop_step = auth_apop;
	return auth_run(&given.start);
}
