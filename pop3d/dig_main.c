/*
 * dig_main.c - pop3d-digest: the digests of UIDLs, in a process of its own, so
 * that no other has to load OpenSSL.
 *
 * Runs in:  a helper that the monitor starts when the first UIDL is made; as
 *           unprivileged_user in the empty root.  Descriptor 3 leads to the
 *           maildrop role.
 * Trusts:   its command line, which is root's.  Not the mail it reads.
 *
 *   pop3d-digest UID GID PARENT-PID EMPTY-ROOT     ("-": not started by root)
 */
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>
#include "digest.h"
#include "fsutil.h"
#include "ipc.h"
#include "role.h"

#define ITEMS_MAX (64U << 20) /* messages in one mailbox that we are ready for */

static int digest_all(enum digest_kind kind, int fd, int items_fd, size_t n, int *answer_fd)
{
	struct digest_item *items = calloc(n, sizeof(*items));
	uint8_t(*out)[16] = calloc(n, sizeof(*out));
	int err = POP_E_MEMORY;

	if (!items || !out)
		goto out;
	err = POP_E_CORRUPT;
	if (fs_pread_full(items_fd, items, n * sizeof(*items), 0) != (ssize_t)(n * sizeof(*items)))
		goto out;
	err = digest_items(kind, fd, items, n, out);
	if (err < 0)
		goto out;
	*answer_fd = fs_sealed_memfd("pop3d-digests", out, n * sizeof(*out));
	err = *answer_fd < 0 ? *answer_fd : 0;
out:
	free(items);
	free(out);
	return err;
}

static int answer(struct ipc *drop, struct ipc_msg *m)
{
	uint8_t kind = ipc_get_u8(m);
	uint64_t n = ipc_get_u64(m);
	int fd = ipc_take_fd(m), items_fd = ipc_take_fd(m), answer_fd = -1, err = ipc_end(m);

	if (err == 0 &&
	    ((kind != DIGEST_MESSAGE && kind != DIGEST_BYTES) || n == 0 || n > ITEMS_MAX ||
	     fs_check_sealed(items_fd, n * sizeof(struct digest_item)) < 0))
		err = POP_E_CORRUPT;
	if (err < 0)
		goto out;
	err = digest_all((enum digest_kind)kind, fd, items_fd, (size_t)n, &answer_fd);
	ipc_start(m, IPC_DIGEST_ANSWER);
	ipc_put_u8(m, err == 0		     ? VERDICT_OK
		      : err == POP_E_CHANGED ? VERDICT_CHANGED
					     : VERDICT_TEMP);
	ipc_put_u64(m, err == 0 ? n : 0);
	if (answer_fd >= 0)
		ipc_put_fd(m, answer_fd);
	err = ipc_send(drop, m);
out:
	if (fd >= 0)
		close(fd);
	if (items_fd >= 0)
		close(items_fd);
	if (answer_fd >= 0)
		close(answer_fd);
	return err;
}

int main(int argc, char **argv)
{
	struct role_rights rights;
	int keep[1] = { ROLE_HELPER_FD };
	struct ipc drop;
	struct ipc_msg m;
	int err;

	if (role_helper_rights(argc, argv, ROLE_DIGEST, SANDBOX_DIGEST, &rights) < 0)
		return EX_USAGE;
	role_title("pop3d-digest");
	role_enter(&rights, keep, 1);
	ipc_init(&drop, ROLE_HELPER_FD, ROLE_DIGEST, ROLE_MAILDROP, PH_TRANS);
	do {
		err = ipc_recv(&drop, &m);
		if (err == 0)
			err = answer(&drop, &m);
	} while (err == 0);
	return err == POP_E_EOF ? EX_OK : EX_PROTOCOL;
}
