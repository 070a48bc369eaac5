/*
 * auth_digest.h - the mechanisms of pop3d-auth.
 */
#ifndef POP3D_AUTH_DIGEST_H
#define POP3D_AUTH_DIGEST_H

#include "auth.h"
#include "secrets.h"

enum ipc_sasl_kind auth_step_scram(struct auth *a, struct auth_exchange *x, struct judgement *j);
enum ipc_sasl_kind auth_step_cram(struct auth *a, struct auth_exchange *x, struct judgement *j);
/* APOP: is digest the one of the greeting's timestamp and the user's secret?  Sets j. */
void auth_apop(struct auth *a, const char *login, const char *digest, struct judgement *j);

/*
 * auth_secret.c: the record of a scheme behind a login as typed, and the entry
 * that it belongs to in j->user.  1, 0 (none that counts: an unknown user, one
 * that may not log in, a record of an old password), or a negative code (j->verdict
 * and the note are set).
 */
int auth_secret(struct auth *a, const char *login, enum secret_scheme scheme, struct secret *s,
		struct judgement *j);

#endif
