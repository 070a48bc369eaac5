/*
 * tls_cert.c - the certificates of this server, for the name that the client
 * asked for.
 *
 * Runs in:  tls, in the middle of a full handshake.
 * Trusts:   the monitor, which opened the files.  Not the server name: it only
 *           ever chooses among what is configured.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>
#include "tls.h"

void tls_note(struct tls *t, int level, const char *text)
{
	struct ipc_msg m;

	ipc_start(&m, IPC_TLS_NOTE);
	ipc_put_u8(&m, (uint8_t)level);
	ipc_put_str(&m, text, strlen(text));
	ipc_send(&t->monitor, &m);
}

static int use_one(struct tls *t, struct cert_chain *chain, struct pop_why *why)
{
	STACK_OF(X509) *others = sk_X509_new_null();
	EVP_PKEY *key = tls_provider_key(chain->certs[0]);
	int err = 0;

	for (unsigned i = 1; i < chain->n && others; i++)
		if (sk_X509_push(others, chain->certs[i]) <= 0)
			err = POP_E_MEMORY;
	if (!key)
		err = pop_why(why, POP_E_SYNTAX,
			      "has a key that is neither RSA nor ECDSA nor Ed25519");
	else if (!others || err < 0)
		err = pop_why(why, POP_E_MEMORY, "no memory");
	else if (SSL_use_cert_and_key(t->ssl, chain->certs[0], key, others, 1) != 1)
		err = pop_why(why, POP_E_DENIED,
			      "is refused by OpenSSL (reason %d): its key is too weak, perhaps",
			      ERR_GET_REASON(ERR_peek_last_error()));
	ERR_clear_error();
	sk_X509_free(others);
	EVP_PKEY_free(key);
	return err;
}

static int load_one(struct tls *t, int fd, struct pop_why *why)
{
	struct cert_chain *chain = &t->chains[t->n_chains];
	int err = cert_chain_load(chain, fd, why);

	if (err < 0)
		return err;
	t->n_chains++;
	err = cert_check_dates(chain->certs[0], (int64_t)time(NULL), why);
	return err < 0 ? err : use_one(t, chain, why);
}

static void forget(struct tls *t)
{
	SSL_certs_clear(t->ssl);
	while (t->n_chains > 0)
		cert_chain_release(&t->chains[--t->n_chains]);
}

void tls_forget(struct tls *t)
{
	forget(t);
	tls_ticket_forget();
	tls_provider_close();
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

static int use_all(struct tls *t, const int *fds, unsigned n, struct pop_why *why)
{
	struct pop_why one;
	int err = 0;

	for (unsigned i = 0; i < n && err == 0; i++) {
		err = load_one(t, fds[i], &one);
		if (err < 0 && n > 1)
			pop_why(why, err, "certificate %u %s", i + 1, one.text);
		else if (err < 0)
			pop_why(why, err, "certificate %s", one.text);
	}
	if (err < 0)
		forget(t);
	return err;
}

int tls_cert_use(struct tls *t, struct pop_why *why)
{
	return use_all(t, t->start->cert_fds, t->start->n_certs, why);
}

/* Certificates for the server name, where there are any: how many. */
static unsigned ask_for_name(struct tls *t, const char *name, int fds[ROLE_KEYS_MAX])
{
	size_t len = strlen(name);
	struct ipc_msg m;
	unsigned n = 0;
	bool found;

	if (len == 0 || len > 253)
		return 0;
	ipc_start(&m, IPC_PAIR_ASK);
	ipc_put_str(&m, name, len);
	if (ipc_call(&t->monitor, &m) < 0)
		return 0;
	found = ipc_get_u8(&m) != 0;
	while (found && m.n_fds > 0 && n < ROLE_KEYS_MAX)
		fds[n++] = ipc_take_fd(&m);
	ipc_end(&m);
	return n;
}

static void hurry_keeper(struct tls *t)
{
	struct ipc_msg m;

	/* it reads the key while we read the certificate */
	ipc_start(&m, IPC_KEY_LOAD);
	ipc_put_u8(&m, 0);
	ipc_send(&t->keeper, &m);
}

/* The pair of the server name; a bad one is told, and the first pair serves instead. */
static bool use_named(struct tls *t, const char *name, const int *fds, unsigned n)
{
	struct pop_why why, text;

	if (n == 0)
		return false;
	if (use_all(t, fds, n, &why) == 0)
		return true;
	pop_why(&text, 0, "server name %.100s: %.300s", name, why.text);
	tls_note(t, LOG_ERR, text.text);
	return false;
}

int tls_cert_choose(SSL *ssl, void *tls)
{
	struct tls *t = tls;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	int fds[ROLE_KEYS_MAX];
	unsigned n = 0;
	struct pop_why why;
	bool done;

	if (t->n_chains > 0)
		return 1;
	if (t->start->names && name)
		n = ask_for_name(t, name, fds);
	hurry_keeper(t);
	done = use_named(t, name, fds, n) || tls_cert_use(t, &why) == 0;
	while (n > 0)
		close(fds[--n]);
	if (done)
		return 1;
	tls_note(t, LOG_ERR, why.text);
	t->silent = true;
	return -1;
}
