/*
 * doctor.h - what `doctor` looks at beyond `config check`; each look prints its findings.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "findings.h"

/* cmd_doctor.c: tell people, not programs, what is no finding; control characters are made visible.
 */
void note(const struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* check_tls.c: every certificate's errors; its warnings are notes for people. */
void check_certificates(struct findings *f);
/* doctor_places.c: does anything listen on ports 110 and 995? */
void check_ports(struct findings *f);
/* doctor_places.c: users whose maildrop is not there. */
void check_maildrops(struct findings *f);
/*
 * doctor_session.c: start pop3d as inetd would, and talk to it: greeting, CAPA, STLS up to the
 * server's answer in the handshake, and, where user is not NULL, a login with this password.
 */
void check_session(struct findings *f, const char *user, const char *password);

#endif
