/*
 * gss_main.c - pop3d-gssapi: the auth role with GSSAPI, in a process of its own, so
 * that no other has to load Kerberos or see the keytab.
 *
 * Runs in:  a helper that the monitor starts when GSSAPI is first chosen; it takes
 *           the place of the auth role that is there.
 * Trusts:   its command line and its first message, which are the monitor's.
 *
 *   pop3d-gssapi UID GID PARENT-PID EMPTY-ROOT     ("-": not started by root)
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "gss.h"

static const struct auth_mech mechs[] = { { SASL_GSSAPI, gss_step } };

int main(int argc, char **argv)
{
	int keep[1] = { ROLE_HELPER_FD }, keytab = -1;
	struct role_rights rights;
	struct pop_why why = { "" };
	struct auth_start *start;
	struct ipc monitor;

	if (role_helper_rights(argc, argv, ROLE_AUTH, SANDBOX_GSSAPI, &rights) < 0)
		return EX_USAGE;
	rights.cpu_s = 60;
	role_title("pop3d-gssapi");
	prctl(PR_SET_DUMPABLE, 0); /* before there is a key */
	ipc_init(&monitor, ROLE_HELPER_FD, ROLE_AUTH, ROLE_MONITOR, PH_AUTH);
	start = auth_take_start(&monitor, &keytab);
	if (!start)
		return EX_PROTOCOL;
	/* Kerberos opens files by their names, so it comes before the empty root */
	start->failed = gss_prepare(keytab, &why) < 0 ? why.text : NULL;
	close(keytab);
	role_enter(&rights, keep, 1);
	start->digests = mechs;
	start->n_digests = sizeof(mechs) / sizeof(mechs[0]);
	return auth_run(start);
}
