/*
 * fuzz_drop.c - the maildrop role, asked by a session that was taken over and
 * answered by a monitor and a digest helper that were; and the digest helper,
 * asked by such a maildrop role.
 *
 * Input: octet 0: who listens (bits 0 and 1), and how many messages there are
 * (the rest); then packets (fed_ipc.h).
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "fed_ipc.h"

#define maildrop_count	 model_count
#define maildrop_list_fd model_list_fd
#define maildrop_uidl_fd model_uidl_fd
#define maildrop_message model_message
#define maildrop_expunge model_expunge
#define maildrop_save	 model_save
static int serve_poll(struct pollfd *fds, nfds_t n, int timeout);
#define poll serve_poll
#include "../../pop3d/drop_serve.c"
#undef poll
#include "../../pop3d/drop_ask.c"
int digest_main(int argc, char **argv);
#define main digest_main
#include "../../pop3d/dig_main.c"
#undef main

static struct {
	size_t count;
	unsigned expunges, quits;
} model;

/* The session's word comes first as long as there is one; the monitor says nothing. */
static int serve_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	(void)timeout;
	MUST(n == 2);
	fds[0].revents = POLLIN;
	fds[1].revents = 0;
	return 1;
}

size_t model_count(const struct maildrop *md)
{
	(void)md;
	return model.count;
}

static int some_list(size_t each)
{
	static uint8_t zeros[64 * 24];

	return fs_sealed_memfd("fuzz", zeros, model.count * each);
}

int model_list_fd(struct maildrop *md)
{
	(void)md;
	return some_list(8);
}

int model_uidl_fd(struct maildrop *md)
{
	(void)md;
	return model.count % 5 ? some_list(24) : POP_E_SYS;
}

int model_message(struct maildrop *md, size_t idx, struct maildrop_message *out)
{
	(void)md;
	MUST(idx < model.count); /* nobody is led to ask for another */
	if (idx % 7 == 6)
		return POP_E_CHANGED;
	*out = (struct maildrop_message){ .fd = idx % 2 ? fed_fd() : fuzz_file(0, "x", 1),
					  .own_fd = idx % 2,
					  .length = 1,
					  .octets = 3 };
	return 0;
}

int model_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		  size_t *removed, struct pop_why *why)
{
	unsigned bits = 0;

	(void)md;
	(void)why;
	MUST(++model.expunges == 1); /* one, the whole set */
	for (size_t i = 0; i < (model.count + 7) / 8 * 8; i++) {
		bool set = deleted[i / 8] >> (i % 8) & 1, seen = retrieved[i / 8] >> (i % 8) & 1;

		MUST(i < model.count || (!set && !seen));
		bits += set;
	}
	*removed = bits;
	return 0;
}

void model_save(struct maildrop *md)
{
	(void)md;
}

static void said(int fd, enum ipc_type type, const uint8_t *payload, size_t len, unsigned n_fds)
{
	(void)fd;
	(void)payload;
	MUST(len <= IPC_PAYLOAD_MAX && n_fds <= IPC_FDS_MAX);
	if (type == IPC_QUIT_ANSWER)
		MUST(++model.quits == 1);
}

static void begin_drop(struct drop *d)
{
	*d = (struct drop){ .lock_fd = -1, .login_fd = -1 };
	ipc_init(&d->monitor, fed_fd(), ROLE_MAILDROP, ROLE_MONITOR, PH_TRANS);
	ipc_init(&d->session, fed_fd(), ROLE_MAILDROP, ROLE_SESSION, PH_TRANS);
	ipc_init(&d->digester, -1, ROLE_MAILDROP, ROLE_DIGEST, PH_TRANS);
}

static void end_drop(struct drop *d)
{
	ipc_close(&d->monitor);
	ipc_close(&d->session);
	ipc_close(&d->digester);
}

/* What the role asks of others; their answers are the input. */
static void ask(struct drop *d)
{
	struct digest_item items[3] = { { .length = 1 } };
	uint8_t out[3][16];
	size_t n = model.count % 3 + 1;

	while (fed.in.p < fed.in.end) {
		const uint8_t *before = fed.in.p;
		int err = ask_dotlock(d, DOTLOCK_MAKE);

		MUST(err <= 0 && err >= POP_E_VERSION);
		err = drop_digest(d, DIGEST_MESSAGE, fuzz_file(0, "x", 1), items, n, out);
		MUST(err <= 0 && err >= POP_E_VERSION);
		if (fed.in.p == before) /* it asks no more */
			break;
	}
}

static void digest(void)
{
	struct ipc drop;
	struct ipc_msg m;
	int err;

	ipc_init(&drop, fed_fd(), ROLE_DIGEST, ROLE_MAILDROP, PH_TRANS);
	do {
		err = ipc_recv(&drop, &m);
		if (err == 0)
			err = answer(&drop, &m);
	} while (err == 0);
	ipc_close(&drop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drop d;
	uint8_t how = size ? data[0] : 0;

	fed_begin(data + (size > 0), size - (size > 0));
	fed.said = said;
	model.count = how >> 2;
	model.expunges = model.quits = 0;
	if ((how & 3) == 3) {
		digest();
		return 0;
	}
	begin_drop(&d);
	if ((how & 3) == 2)
		ask(&d);
	else
		drop_serve(&d);
	end_drop(&d);
	return 0;
}
