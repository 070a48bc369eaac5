/*
 * key_ticket.c - seal and open TLS tickets: AES-256-GCM under the keys of the
 * ticket file.
 *
 * Runs in:  keeper.
 * Trusts:   the ticket file, if its checksum is right.  Not a ticket.
 */
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "ipc.h"
#include "key.h"

#define NONCE_LEN 12
#define TAG_LEN	  16

_Static_assert(TICKET_KEY_ID_LEN + NONCE_LEN + TAG_LEN == IPC_SEAL_EXTRA, "the sealed form");

void key_tickets_init(struct key_tickets *t, int fd)
{
	memset(t, 0, sizeof(*t));
	t->fd = fd;
}

void key_tickets_release(struct key_tickets *t)
{
	EVP_CIPHER_CTX_free(t->ctx);
	EVP_CIPHER_free(t->cipher);
	explicit_bzero(&t->keys, sizeof(t->keys));
	t->ctx = NULL;
	t->cipher = NULL;
	t->loaded = false;
}

static int load(struct key_tickets *t)
{
	int err;

	if (t->fd < 0)
		return POP_E_MISSING;
	if (t->loaded)
		return 0;
	err = ticket_keys_load(t->fd, (uint64_t)time(NULL), &t->keys);
	if (err < 0)
		return err;
	t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	t->ctx = EVP_CIPHER_CTX_new();
	if (!t->cipher || !t->ctx)
		return POP_E_SYS;
	t->loaded = true;
	return 0;
}

int key_ticket_seal(struct key_tickets *t, const uint8_t *state, size_t n, uint8_t *out)
{
	uint8_t *nonce = out + TICKET_KEY_ID_LEN, *body = nonce + NONCE_LEN;
	const struct ticket_key *k = &t->keys.current;
	int err = load(t), len;

	if (err < 0)
		return err;
	if (n > INT_MAX)
		return POP_E_LONG;
	memcpy(out, k->id, TICKET_KEY_ID_LEN);
	/* the kernel's: OpenSSL's own generator would first have to be made */
	if (getrandom(nonce, NONCE_LEN, 0) != NONCE_LEN ||
	    EVP_EncryptInit_ex2(t->ctx, t->cipher, k->key, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(t->ctx, NULL, &len, k->id, TICKET_KEY_ID_LEN) != 1 ||
	    EVP_EncryptUpdate(t->ctx, body, &len, state, (int)n) != 1 || len != (int)n ||
	    EVP_EncryptFinal_ex(t->ctx, body + n, &len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(t->ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, body + n) != 1)
		return POP_E_SYS;
	return 0;
}

static const struct ticket_key *find_key(const struct ticket_keys *keys, const uint8_t *id)
{
	if (memcmp(keys->current.id, id, TICKET_KEY_ID_LEN) == 0)
		return &keys->current;
	if (keys->previous.made_s > 0 && memcmp(keys->previous.id, id, TICKET_KEY_ID_LEN) == 0)
		return &keys->previous;
	return NULL;
}

int key_ticket_open(struct key_tickets *t, const uint8_t *sealed, size_t n, uint8_t *state)
{
	const uint8_t *nonce = sealed + TICKET_KEY_ID_LEN, *body = nonce + NONCE_LEN;
	const struct ticket_key *k;
	uint8_t tag[TAG_LEN];
	int err, len, body_len;

	if (n <= IPC_SEAL_EXTRA || n > INT_MAX)
		return POP_E_DENIED;
	err = load(t);
	if (err < 0)
		return err;
	k = find_key(&t->keys, sealed);
	if (!k)
		return POP_E_DENIED;
	body_len = (int)(n - IPC_SEAL_EXTRA);
	memcpy(tag, body + body_len, TAG_LEN);
	if (EVP_DecryptInit_ex2(t->ctx, t->cipher, k->key, nonce, NULL) != 1 ||
	    EVP_DecryptUpdate(t->ctx, NULL, &len, k->id, TICKET_KEY_ID_LEN) != 1 ||
	    EVP_DecryptUpdate(t->ctx, state, &len, body, body_len) != 1 || len != body_len ||
	    EVP_CIPHER_CTX_ctrl(t->ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) != 1 ||
	    EVP_DecryptFinal_ex(t->ctx, state + body_len, &len) != 1) {
		explicit_bzero(state, (size_t)body_len);
		return POP_E_DENIED;
	}
	return 0;
}
