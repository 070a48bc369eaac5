/*
 * tls.h - the tls role: what its files share.
 *
 * It reads the client's ciphertext, hands plaintext to the session and back,
 * and has no key: signatures and tickets are the keeper's work.
 */
#ifndef POP3D_TLS_H
#define POP3D_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>
#include "certs.h"
#include "ipc.h"
#include "role.h"

#define TLS_IN_SIZE 65536 /* ciphertext read at once */
#define TLS_OUT_SIZE \
	294912		 /* ciphertext waiting: what one read of plaintext becomes, and a flight */
#define TLS_PLAIN 262144 /* plaintext read from the session at once */
#define TLS_CLEAR 16384	 /* plaintext of the client: one record */

/* The client's connection, below TLS: what OpenSSL reads from and writes to. */
struct tls_conn {
	int in, out;
	bool in_socket, out_socket;
	bool eof;    /* the client sends no more */
	bool broken; /* nothing more can be sent to it */
	size_t in_start, in_end;
	size_t out_start, out_end;
	uint8_t *in_buf;  /* [TLS_IN_SIZE] */
	uint8_t *out_buf; /* [TLS_OUT_SIZE] */
};

struct tls {
	const struct tls_start *start;
	struct ipc monitor, keeper;
	struct tls_conn conn;
	SSL_CTX *ctx;
	SSL *ssl;
	struct cert_chain chains[ROLE_KEYS_MAX];
	unsigned n_chains;
	int cert_fds[ROLE_KEYS_MAX];
	unsigned n_cert_fds;
	bool silent; /* our certificate is at fault: end without a word to the client */
};

/* tls_conn.c: the connection. */
int tls_conn_init(struct tls_conn *c, int in, int out);
BIO *tls_conn_bio(struct tls_conn *c);
/* Send what waits, without waiting.  0 (all or some), POP_E_EOF. */
int tls_conn_flush(struct tls_conn *c);
/* Read what is there.  1: something, 0: nothing now, POP_E_EOF. */
int tls_conn_fill(struct tls_conn *c);
static inline size_t tls_conn_waiting(const struct tls_conn *c)
{
	return c->out_end - c->out_start;
}
/* Shut for writing, then read and drop until the client closes (64 KB or 2 s). */
void tls_conn_drain(struct tls_conn *c);

/* tls_ctx.c: everything that is set before the first octet.  0, POP_E_SYS, POP_E_MEMORY. */
int tls_ctx_new(struct tls *t);

/*
 * tls_cert.c: certificates are read when a full handshake needs them; a resumed
 * one never does.  choose is OpenSSL's cert_cb.
 */
int tls_cert_choose(SSL *ssl, void *tls);
/* Read them, check their dates, make them this connection's.  0, or *why says what is wrong. */
int tls_cert_use(struct tls *t, struct pop_why *why);
/* Free what only a handshake needs. */
void tls_forget(struct tls *t);
/* A line for the log. */
void tls_note(struct tls *t, int level, const char *text);

/*
 * tls_client.c: ask for a client certificate of the authorities in start->ca_fd.
 * 0, POP_E_SYS, POP_E_SYNTAX (no certificate is in the file).
 */
int tls_client_ask(struct tls *t);
/* Whose certificate was checked: its e-mail address, else its common name, else "". */
void tls_client_identity(const struct tls *t, char *out, size_t size);

/* tls_provider.c: the provider behind which the keeper is; NULL: out of memory. */
OSSL_LIB_CTX *tls_provider_open(struct ipc *keeper);
/* A handle for the private key of this certificate, the caller's; NULL: of no kind that we use. */
EVP_PKEY *tls_provider_key(X509 *cert);
/* Its keys and its cipher must be freed before. */
void tls_provider_close(void);
/* The keeper would not sign. */
bool tls_provider_refused(void);

/* tls_ticket.c: 0, POP_E_SYS. */
int tls_ticket_use(SSL_CTX *ctx, OSSL_LIB_CTX *library, struct ipc *keeper);
void tls_ticket_forget(void);
#define TLS_TICKET_CIPHER "POP3D-TICKET"
extern const OSSL_DISPATCH tls_ticket_cipher[];

/* tls_relay.c: plaintext to and fro until one side ends. */
void tls_relay(struct tls *t);

#endif
