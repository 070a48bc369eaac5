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

int main(int argc, char **argv)
{
	struct auth_start *start;
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
	start = auth_take_start(&monitor, NULL);
	if (!start)
		return EX_PROTOCOL;
	start->digests = auth_digests;
	start->n_digests = sizeof(auth_digests) / sizeof(auth_digests[0]);
	start->apop_step = auth_apop;
	return auth_run(start);
}
