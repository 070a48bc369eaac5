/*
 * scram_impl.h - what the files of SCRAM share.
 */
#ifndef POP_SCRAM_IMPL_H
#define POP_SCRAM_IMPL_H

#include "scram.h"

/* scram_key_len(hash) octets to out.  0 or POP_E_SYS. */
int scram_hmac(enum scram_hash hash, const void *key, size_t key_len, const void *data, size_t n,
	       uint8_t *out);
int scram_digest(enum scram_hash hash, const void *data, size_t n, uint8_t *out);

#endif
