/*
 * chk.h - what the auth role and pop3d-checked agree on.
 */
#ifndef POP3D_CHK_H
#define POP3D_CHK_H

/* pop3d-checked reports here: one message, USER NUL HOME NUL MAILDROP NUL. */
#define CHK_REPORT_FD  4
#define CHK_REPORT_MAX 4096

#endif
