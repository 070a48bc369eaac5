/*
 * scram.h - SCRAM-SHA-1 and SCRAM-SHA-256, the server's side: RFC 5802, 7677;
 * channel bindings RFC 5929, 9266.
 *
 * Needs libcrypto; only pop3d-auth and pop3admin call it.  Nothing here knows
 * of files or processes: messages in, messages out.
 */
#ifndef POP_SCRAM_H
#define POP_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define SCRAM_KEY_MAX	  32	/* octets of the longest hash here */
#define SCRAM_SALT_MAX	  64	/* of a salt that is read */
#define SCRAM_SALT_LEN	  16	/* of a salt that is made */
#define SCRAM_ITERATIONS  20000 /* for new records: some 10 ms of a client at each login */
#define SCRAM_MESSAGE_MAX 1024	/* octets of a message of the client */

enum scram_hash { SCRAM_SHA_1, SCRAM_SHA_256 };

/* What the server keeps of a password. */
struct scram_record {
	enum scram_hash hash;
	uint32_t iterations;
	size_t salt_len;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t stored_key[SCRAM_KEY_MAX];
	uint8_t server_key[SCRAM_KEY_MAX];
};

/* Octets of the hash and of both keys. */
size_t scram_key_len(enum scram_hash hash);

/* Make a record of a prepared password (saslprep()).  0 or POP_E_SYS (libcrypto refused). */
int scram_make(struct scram_record *r, enum scram_hash hash, const char *password,
	       const uint8_t *salt, size_t salt_len, uint32_t iterations);
/*
 * For a name without a record: a salt that is always the same, keys that nobody
 * has.  secret is the one of the secrets file.  0 or POP_E_SYS.
 */
int scram_fake(struct scram_record *r, enum scram_hash hash, const void *secret, size_t secret_len,
	       const char *name);

/* "iterations,salt,StoredKey,ServerKey", the last three in base64.  The length or POP_E_LONG. */
int scram_format(const struct scram_record *r, char *out, size_t size);
/* 0 or POP_E_SYNTAX. */
int scram_parse(struct scram_record *r, enum scram_hash hash, const char *text, size_t len);

/* What a channel can be bound by; name NULL: by nothing. */
struct scram_binding {
	const char *name; /* "tls-exporter", "tls-unique" */
	const uint8_t *data;
	size_t len;
};

/* One exchange. */
struct scram {
	/* set by the caller before the first message */
	bool plus;	   /* a -PLUS mechanism was chosen */
	bool plus_offered; /* one is on offer: a client that cannot see it is being lied to */
	struct scram_binding bindings[2];
	/* known after it */
	char user[256], authzid[256]; /* prepared; authzid "" where there is none */
	/* inner */
	const struct scram_binding *binding; /* the one the client chose */
	struct scram_record record;
	char gs2[320], bare[SCRAM_MESSAGE_MAX + 1], nonce[SCRAM_MESSAGE_MAX + 64];
	char first[SCRAM_MESSAGE_MAX + 512]; /* of the server */
};
void scram_wipe(struct scram *s);

/*
 * Take the client's first message.  0, POP_E_SYNTAX, or POP_E_DENIED (the
 * channel binding asked for is not the one there is).
 */
int scram_client_first(struct scram *s, const char *message, size_t len);
/*
 * Make the server's first message for this record.  nonce: random printable
 * characters without a comma.  Its length, or POP_E_LONG.
 */
int scram_server_first(struct scram *s, const struct scram_record *r, const char *nonce, char *out,
		       size_t size);
/*
 * Take the client's last message and make the server's.  Its length;
 * POP_E_SYNTAX; POP_E_DENIED (a wrong password, or another channel);
 * POP_E_SYS; POP_E_LONG.  Compared in constant time.
 */
int scram_client_final(struct scram *s, const char *message, size_t len, char *out, size_t size);

#endif
