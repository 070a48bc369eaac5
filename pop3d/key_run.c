/*
 * key_run.c - the keeper: hold the keys for one handshake, answer, end.
 *
 * Runs in:  keeper, as keeper_user in the empty root, on the read-only
 *           descriptors of the key files and the one of the ticket file.
 * Trusts:   the monitor.  Not the tls role: what it may ask, and how often,
 *           stands in ipc.c; what may be signed in key_sign.c.
 */
#include <poll.h>
#include <string.h>
#include <syslog.h>
#include <sysexits.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include "algorithms.h"
#include "ipc.h"
#include "key.h"
#include "role.h"

struct key_set {
	int fds[ROLE_KEYS_MAX];
	EVP_PKEY *keys[ROLE_KEYS_MAX];
	unsigned n;
	bool loaded;
};

struct keeper {
	struct ipc monitor, tls;
	struct key_set first, named; /* named: for the server name that the client asked for */
	struct pop_why why;	     /* why there is no key for a certificate */
	struct key_tickets tickets;
};

static void note(struct keeper *k, int level, const char *text)
{
	struct ipc_msg m;

	ipc_start(&m, IPC_KEEPER_NOTE);
	ipc_put_u8(&m, (uint8_t)level);
	ipc_put_str(&m, text, strlen(text));
	ipc_send(&k->monitor, &m);
}

static void load_keys(struct keeper *k, struct key_set *set)
{
	struct pop_why one;

	if (set->loaded)
		return;
	set->loaded = true;
	for (unsigned i = 0; i < set->n; i++) {
		set->keys[i] = key_load(set->fds[i], &one);
		close(set->fds[i]);
		if (!set->keys[i] && set->n == 1)
			pop_why(&k->why, 0, "the private key %s", one.text);
		else if (!set->keys[i])
			pop_why(&k->why, 0, "private key %u %s", i + 1, one.text);
	}
}

static EVP_PKEY *find_in(struct keeper *k, struct key_set *set, const uint8_t *pub, size_t len)
{
	load_keys(k, set);
	for (unsigned i = 0; i < set->n; i++)
		if (set->keys[i] && key_is_private_half(set->keys[i], pub, len))
			return set->keys[i];
	return NULL;
}

static EVP_PKEY *find_key(struct keeper *k, const uint8_t *pub, size_t len)
{
	EVP_PKEY *key = find_in(k, &k->named, pub, len);

	return key ? key : find_in(k, &k->first, pub, len);
}

/* The monitor found a pair for the server name; the first keys stay behind it. */
static int take_pair(struct keeper *k, struct ipc_msg *m)
{
	ipc_get_u8(m);
	while (m->n_fds > 0 && k->named.n < ROLE_KEYS_MAX)
		k->named.fds[k->named.n++] = ipc_take_fd(m);
	return ipc_end(m);
}

static int answer_key(struct keeper *k, struct ipc_msg *m)
{
	size_t len = ipc_left(m);
	const uint8_t *pub = ipc_get_raw(m, len);
	bool found = pub && find_key(k, pub, len);

	ipc_start(m, IPC_KEY_ANSWER);
	ipc_put_u8(m, found ? VERDICT_OK : VERDICT_PERM);
	ipc_put_str(m, k->why.text, found ? 0 : strlen(k->why.text));
	return ipc_send(&k->tls, m);
}

static int answer_sign(struct keeper *k, struct ipc_msg *m)
{
	uint8_t sig[KEY_SIGNATURE_MAX];
	uint32_t scheme = ipc_get_u32(m), pub_len = ipc_get_u32(m);
	const uint8_t *pub = ipc_get_raw(m, pub_len), *data;
	size_t len = ipc_left(m), sig_len = 0;
	EVP_PKEY *key;
	int err = POP_E_CORRUPT;

	data = ipc_get_raw(m, len);
	if (!pub || !data || key_check_content(scheme, data, len) < 0)
		return POP_E_CORRUPT;
	key = find_key(k, pub, pub_len);
	if (!key)
		note(k, LOG_ERR, k->why.text);
	else
		err = key_sign(key, scheme, data, len, sig, &sig_len);
	ipc_start(m, IPC_SIGN_ANSWER);
	ipc_put_u8(m, err == 0 ? VERDICT_OK : VERDICT_PERM);
	ipc_put_raw(m, sig, err == 0 ? sig_len : 0);
	return ipc_send(&k->tls, m);
}

static int answer_ticket(struct keeper *k, struct ipc_msg *m)
{
	uint8_t out[IPC_PAYLOAD_MAX];
	bool open = m->type == IPC_OPEN_ASK;
	size_t len = ipc_left(m), out_len = 0;
	const uint8_t *in = ipc_get_raw(m, len);
	int err = POP_E_CORRUPT;

	if (open && len > IPC_SEAL_EXTRA) {
		out_len = len - IPC_SEAL_EXTRA;
		err = key_ticket_open(&k->tickets, in, len, out);
	} else if (!open && len + IPC_SEAL_EXTRA < sizeof(out)) {
		out_len = len + IPC_SEAL_EXTRA;
		err = key_ticket_seal(&k->tickets, in, len, out);
	}
	if (err < 0 && err != POP_E_DENIED && err != POP_E_MISSING)
		note(k, LOG_WARNING, "a TLS ticket could not be sealed or opened");
	ipc_start(m, open ? IPC_OPEN_ANSWER : IPC_SEAL_ANSWER);
	ipc_put_u8(m, err == 0 ? VERDICT_OK : VERDICT_TEMP);
	ipc_put_raw(m, out, err == 0 ? out_len : 0);
	err = ipc_send(&k->tls, m);
	explicit_bzero(out, sizeof(out));
	return err;
}

static int answer(struct keeper *k, struct ipc_msg *m)
{
	switch (m->type) {
	case IPC_KEY_LOAD:
		load_keys(k, k->named.n > 0 ? &k->named : &k->first);
		return 0;
	case IPC_KEY_ASK:
		return answer_key(k, m);
	case IPC_SIGN_ASK:
		return answer_sign(k, m);
	default:
		return answer_ticket(k, m);
	}
}

/* The monitor first: what it sends was sent before tls asks. */
static int next(struct keeper *k)
{
	struct pollfd fds[2] = { { .fd = k->monitor.fd, .events = POLLIN },
				 { .fd = k->tls.fd, .events = POLLIN } };
	struct ipc_msg m;
	int err;

	if (poll(fds, 2, -1) < 0)
		return 0;
	err = ipc_recv(fds[0].revents ? &k->monitor : &k->tls, &m);
	if (err == 0)
		err = m.type == IPC_KEEPER_PAIR ? take_pair(k, &m) : answer(k, &m);
	ipc_wipe(&m);
	return err;
}

static void forget(struct key_set *set)
{
	for (unsigned i = 0; i < set->n; i++)
		EVP_PKEY_free(set->keys[i]);
}

int key_run(const struct key_start *start)
{
	struct keeper k = { .first.n = start->n_keys,
			    .why = { "no private key belongs to the certificate" } };
	int err;

	memcpy(k.first.fds, start->key_fds, sizeof(k.first.fds));
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
				    OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
				    OPENSSL_INIT_NO_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_ATEXIT,
			    NULL);
	algorithms_limit(true);
	ipc_init(&k.monitor, start->monitor_fd, ROLE_KEEPER, ROLE_MONITOR, PH_AUTH);
	ipc_init(&k.tls, start->tls_fd, ROLE_KEEPER, ROLE_TLS, PH_AUTH);
	key_tickets_init(&k.tickets, start->tickets_fd);
	do
		err = next(&k);
	while (err == 0);
	if (err < 0 && err != POP_E_EOF)
		note(&k, LOG_ERR, "the tls role broke the message protocol");
	forget(&k.first);
	forget(&k.named);
	key_tickets_release(&k.tickets);
	return err == POP_E_EOF ? EX_OK : EX_PROTOCOL;
}
