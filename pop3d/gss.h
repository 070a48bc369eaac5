/*
 * gss.h - pop3d-gssapi: the auth role with the mechanism GSSAPI, in a program of
 * its own, which alone links Kerberos.
 */
#ifndef POP3D_GSS_H
#define POP3D_GSS_H

#include "auth.h"

#define GSS_SERVICE "pop"

/*
 * While files can still be opened: keep the keys of an open keytab in memory.  0, or POP_E_SYS with
 * *why.
 */
int gss_prepare(int keytab_fd, struct pop_why *why);

/* One step of RFC 4752. */
enum ipc_sasl_kind gss_step(struct auth *a, struct auth_exchange *x, struct judgement *j);

#endif
