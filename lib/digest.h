/*
 * digest.h - SHA-256 over parts of files, for UIDLs (design section 7).
 *
 * The only file of lib/ that needs libcrypto (digest.c); nothing else calls it
 * directly: a maildrop is given a digest function, and pop3d's is a helper
 * process, so that plain sessions never load OpenSSL.
 */
#ifndef POP_DIGEST_H
#define POP_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include "err.h"

enum digest_kind {
	DIGEST_MESSAGE = 1, /* header section of an mbox message, the rule (3) of section 7 */
	DIGEST_BYTES = 2,   /* plain SHA-256 of length bytes at offset */
};

struct digest_item {
	uint64_t offset; /* of the header section (behind the From_ line), or of the bytes */
	uint64_t length; /* stored bytes of the header section with its empty line, or the bytes */
	uint64_t octets; /* DIGEST_MESSAGE: octets of the message as sent */
	uint64_t trailing_octets; /* DIGEST_MESSAGE: octets of empty lines at its end */
};

/*
 * The first 16 bytes of SHA-256 for each of n items, read from fd with pread.
 * DIGEST_MESSAGE: "pop3d-uidl-1" NUL, the header section in wire form (first
 * MiB) without volatile fields, NUL, decimal (octets - trailing - octets of the
 * volatile fields).  0, POP_E_SYS, POP_E_CHANGED (shorter than an item says).
 */
int digest_items(enum digest_kind kind, int fd, const struct digest_item *items, size_t n,
		 uint8_t (*out)[16]);

#endif
