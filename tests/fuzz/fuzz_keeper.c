/*
 * fuzz_keeper.c - the keeper, asked by a tls role that was taken over.
 *
 * Input: octet 0: whose packets come first; then packets (fed_ipc.h); those to
 * IPC_SIGN_ASK get the right public key put in where octet 4 of them is '!'.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include "fed_ipc.h"

static int keeper_poll(struct pollfd *fds, nfds_t n, int timeout);
#define poll keeper_poll
#include "../../pop3d/key_run.c"
#undef poll

/* made for this test */
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBGvyXC7adrJroraX\n"
			      "6lqCJl8UDNnUDNo0Yf+LJFeMcgShRANCAATQdk9xRmIBA6cUaxD3FmrrN6MD0yfm\n"
			      "nZ8q4jmuqQs1WJjYC638FJJ5ZySKOCwsYG4UiRXehGy/bW3rAcOul4mC\n"
			      "-----END PRIVATE KEY-----\n";

static uint8_t public_key[256];
static size_t public_len;
static uint8_t turns; /* bits: 1 the monitor speaks next */
static struct {
	bool asked, proper; /* a signature; of what is signed in a handshake */
	unsigned signatures, opened, sealed;
} seen;

static int keeper_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	(void)timeout;
	MUST(n == 2);
	fds[0].revents = turns & 1 ? POLLIN : 0;
	fds[1].revents = POLLIN;
	turns >>= 1;
	return 1;
}

/* Is it what RFC 8446 section 4.4.3 or RFC 8422 section 5.4 lets a server sign? */
static bool is_proper(const uint8_t *d, size_t n)
{
	static const char context[] = "TLS 1.3, server CertificateVerify";
	size_t i = 0;

	while (i < n && i < 64 && d[i] == ' ')
		i++;
	if (i == 64 && (n == 64 + sizeof(context) + 32 || n == 64 + sizeof(context) + 48) &&
	    memcmp(d + 64, context, sizeof(context)) == 0)
		return true;
	if (n == 64 + 4 + 32 && memcmp(d + 64, "\3\0\x1d\x20", 4) == 0)
		return true;
	return n == 64 + 4 + 65 && memcmp(d + 64, "\3\0\x17\x41\4", 5) == 0;
}

/* Note what is asked, on its way in; and put the key in that is the keeper's. */
static void look(struct ipc_msg *m)
{
	uint8_t content[IPC_PAYLOAD_MAX];
	uint32_t len;
	size_t n;

	if (m->type != IPC_SIGN_ASK)
		return;
	if (m->payload[4] == '!') {
		n = m->len - 5;
		if (8 + public_len + n > IPC_PAYLOAD_MAX)
			return;
		memcpy(content, m->payload + 5, n);
		len = (uint32_t)public_len;
		memcpy(m->payload + 4, &len, 4);
		memcpy(m->payload + 8, public_key, public_len);
		memcpy(m->payload + 8 + public_len, content, n);
		m->len = 8 + public_len + n;
	}
	memcpy(&len, m->payload + 4, 4);
	seen.asked = true;
	seen.proper = len <= m->len - 8 && is_proper(m->payload + 8 + len, m->len - 8 - len);
}

static void said(int fd, enum ipc_type type, const uint8_t *payload, size_t len, unsigned n_fds)
{
	(void)fd;
	MUST(n_fds == 0);
	if (type == IPC_SIGN_ANSWER && payload[0] == VERDICT_OK) {
		MUST(seen.asked && seen.proper && len > 1);
		MUST(++seen.signatures == 1);
	}
	if (type == IPC_OPEN_ANSWER && payload[0] == VERDICT_OK)
		seen.opened++;
	if (type == IPC_SEAL_ANSWER && payload[0] == VERDICT_OK)
		seen.sealed++;
	MUST(seen.opened == 0 && seen.sealed <= 2); /* no input of ours was ever sealed */
}

/* key_run() with a look at each packet. */
static int next_packet(struct keeper *k)
{
	struct pollfd fds[2] = { { .fd = k->monitor.fd }, { .fd = k->tls.fd } };
	struct ipc_msg m;
	int err;

	keeper_poll(fds, 2, -1);
	err = ipc_recv(fds[0].revents ? &k->monitor : &k->tls, &m);
	if (err == 0)
		look(&m);
	if (err == 0)
		err = m.type == IPC_KEEPER_PAIR ? take_pair(k, &m) : answer(k, &m);
	ipc_wipe(&m);
	return err;
}

static void find_public(void)
{
	struct pop_why why = { "" };
	EVP_PKEY *key = key_load(fuzz_file(0, key_pem, sizeof(key_pem) - 1), &why);
	uint8_t *at = public_key;
	int len;

	MUST(key != NULL);
	len = i2d_PUBKEY(key, NULL);
	MUST(len > 0 && (size_t)len <= sizeof(public_key));
	MUST(i2d_PUBKEY(key, &at) == len);
	public_len = (size_t)len;
	EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keeper k = { .first.n = 1, .why = { "none" } };
	struct pop_why why;
	int err;

	if (public_len == 0)
		find_public();
	turns = size ? data[0] : 0;
	memset(&seen, 0, sizeof(seen));
	fed_begin(data + (size > 0), size - (size > 0));
	fed.said = said;
	k.first.fds[0] = dup(fuzz_file(0, key_pem, sizeof(key_pem) - 1));
	ipc_init(&k.monitor, fed_fd(), ROLE_KEEPER, ROLE_MONITOR, PH_AUTH);
	ipc_init(&k.tls, fed_fd(), ROLE_KEEPER, ROLE_TLS, PH_AUTH);
	key_tickets_init(&k.tickets, ticket_keys_open(fuzz_dir_path(), &why));
	do
		err = next_packet(&k);
	while (err == 0);
	if (!k.first.loaded)
		close(k.first.fds[0]);
	for (unsigned i = 0; i < k.named.n && !k.named.loaded; i++)
		close(k.named.fds[i]);
	forget(&k.first);
	forget(&k.named);
	close(k.tickets.fd);
	key_tickets_release(&k.tickets);
	ipc_close(&k.monitor);
	ipc_close(&k.tls);
	return 0;
}
