/*
 * certs.h - certificate chains from PEM files.
 *
 * Needs libcrypto: used by the tls role and pop3admin, never by plain sessions.
 */
#ifndef POP_CERTS_H
#define POP_CERTS_H

#include <stddef.h>
#include <stdint.h>
#include <openssl/x509.h>
#include "err.h"

#define CERT_FILE_MAX  262144 /* bytes */
#define CERT_CHAIN_MAX 10     /* certificates in one file */

struct cert_chain {
	X509 *certs[CERT_CHAIN_MAX]; /* owned; the server's own first */
	unsigned n;
};

/*
 * Read every certificate of a file, as they stand in it.  0, POP_E_SYS,
 * POP_E_LONG, POP_E_SYNTAX (none, or one that cannot be read), POP_E_MEMORY.
 */
int cert_chain_load(struct cert_chain *chain, int fd, struct pop_why *why);
void cert_chain_release(struct cert_chain *chain);

/*
 * When the first certificate is valid, in seconds since the epoch.  0, or
 * POP_E_CORRUPT where its dates cannot be read.
 */
int cert_dates(X509 *cert, int64_t *not_before_s, int64_t *not_after_s);

/* 0, or POP_E_TIME with a sentence: expired, or not valid yet. */
int cert_check_dates(X509 *cert, int64_t now_s, struct pop_why *why);

/* The public key as DER (SubjectPublicKeyInfo): its length, *der to OPENSSL_free(); 0: failed. */
size_t cert_public_key(X509 *cert, uint8_t **der);

#endif
