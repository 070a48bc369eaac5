/*
 * key.h - the keeper: what its files share.
 *
 * The keeper holds the private keys and the ticket keys for one handshake.  It
 * answers the tls role, which is taken for hostile: one signature, and only of
 * what a TLS server signs; eight tickets opened, two sealed.  Then it ends.
 */
#ifndef POP3D_KEY_H
#define POP3D_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/evp.h>
#include "ticket_keys.h"

#define KEY_SIGNATURE_MAX 2048 /* octets: RSA with 16384 bits */

/*
 * Is this what a TLS server signs in a handshake, under this signature scheme?
 * TLS 1.3: 64 blanks, "TLS 1.3, server CertificateVerify", NUL, a hash of 32
 * or 48 octets (RFC 8446 section 4.4.3).  TLS 1.2: two randoms and an ECDHE
 * parameter block on X25519 or P-256 (RFC 8422 section 5.4).  0, POP_E_DENIED.
 */
int key_check_content(uint32_t scheme, const uint8_t *data, size_t len);

/*
 * Sign it: hash and padding follow from the scheme.
 *   sig, sig_len  out, sig[KEY_SIGNATURE_MAX]
 * 0, POP_E_DENIED (content, or a scheme that is not this key's), POP_E_SYS (OpenSSL).
 */
int key_sign(EVP_PKEY *key, uint32_t scheme, const uint8_t *data, size_t len, uint8_t *sig,
	     size_t *sig_len);

/* Read a private key, PEM.  NULL: *why says what is wrong.  The descriptor stays the caller's. */
EVP_PKEY *key_load(int fd, struct pop_why *why);
/* Does the key belong to this public key (DER, SubjectPublicKeyInfo)? */
bool key_is_private_half(EVP_PKEY *key, const uint8_t *pub, size_t len);

/* Keys and cipher for tickets, loaded at the first use. */
struct key_tickets {
	int fd; /* -1: there is no file, and so no tickets */
	bool loaded;
	struct ticket_keys keys;
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
};
void key_tickets_init(struct key_tickets *t, int fd);
void key_tickets_release(struct key_tickets *t);
/*
 * Seal n octets into out, n + IPC_SEAL_EXTRA octets: key id, nonce, AES-256-GCM
 * of the state, tag.  0, POP_E_MISSING (no tickets), POP_E_SYS.
 */
int key_ticket_seal(struct key_tickets *t, const uint8_t *state, size_t n, uint8_t *out);
/*
 * Open n octets into state, n - IPC_SEAL_EXTRA octets.  0, POP_E_DENIED (not
 * sealed by us, or too long ago), POP_E_MISSING, POP_E_SYS.
 */
int key_ticket_open(struct key_tickets *t, const uint8_t *sealed, size_t n, uint8_t *state);

#endif
