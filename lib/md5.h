/*
 * md5.h - MD5 (RFC 1321) and HMAC-MD5 (RFC 2104) with a state that can be kept.
 *
 * Old, and only here for APOP and CRAM-MD5.  Of our own, since the state after
 * the key, which the secrets file keeps instead of the password, is nothing
 * that libcrypto lets one save.
 */
#ifndef POP_MD5_H
#define POP_MD5_H

#include <stddef.h>
#include <stdint.h>

#define MD5_LEN 16

struct md5 {
	uint32_t state[4];
	uint64_t total; /* octets so far */
	uint8_t block[64];
};
void md5_init(struct md5 *m);
void md5_update(struct md5 *m, const void *data, size_t n);
/* The digest; m is wiped. */
void md5_final(struct md5 *m, uint8_t out[MD5_LEN]);

/* What HMAC needs of a key: MD5 after the outer and after the inner padded key. */
struct hmac_md5_key {
	uint32_t outer[4], inner[4];
};
void hmac_md5_key(struct hmac_md5_key *k, const void *key, size_t n);
void hmac_md5(const struct hmac_md5_key *k, const void *data, size_t n, uint8_t out[MD5_LEN]);

/*
 * The key as 64 lower-case hex digits: outer then inner, each word with its low
 * octet first.  Dovecot's {CRAM-MD5} is the same.
 */
#define HMAC_MD5_HEX 64
void hmac_md5_key_format(const struct hmac_md5_key *k, char out[HMAC_MD5_HEX + 1]);
/* 0 or POP_E_SYNTAX. */
int hmac_md5_key_parse(struct hmac_md5_key *k, const char *text, size_t len);

/* n octets as lower-case hex digits, with a NUL behind them. */
void hex_format(const void *data, size_t n, char *out);

#endif
