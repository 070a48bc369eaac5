/*
 * ticket_keys.c - read, make and rotate the keys of TLS tickets.
 *
 * Runs in:  keeper (on a descriptor), monitor (which only opens the file),
 *           pop3admin.
 * Trusts:   nothing but the checksum: a damaged file is made anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fsutil.h"
#include "hash.h"
#include "ticket_keys.h"

#define MAGIC	  "pop3dtk1"
#define MAGIC_LEN 8
#define KEY_LEN	  (8 + TICKET_KEY_ID_LEN + TICKET_KEY_LEN)
#define SUM_LEN	  8
#define TRIES	  50 /* of a lock or a read, a millisecond apart */

_Static_assert(MAGIC_LEN + 2 * KEY_LEN + SUM_LEN == TICKET_FILE_LEN, "the file's layout");

int ticket_keys_open(const char *run_dir, struct pop_why *why)
{
	struct stat st;
	int dir = fs_open_private_dir(run_dir, why), fd;

	if (dir < 0)
		return dir;
	fd = fs_open_at(dir, TICKET_FILE_NAME, FS_LINKS_NONE, O_RDWR | O_CREAT, 0600);
	if (fd < 0) {
		pop_why_errno(why, "%s/%s", run_dir, TICKET_FILE_NAME);
		close(dir);
		return POP_E_SYS;
	}
	close(dir);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077)) {
		close(fd);
		return pop_why(why, POP_E_UNSAFE,
			       "%s/%s: must be a file of root's alone; remove it", run_dir,
			       TICKET_FILE_NAME);
	}
	return fd;
}

static void put_u64(uint8_t *out, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_u64(const uint8_t *in)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t)in[i] << (8 * i);
	return v;
}

static void put_key(uint8_t *out, const struct ticket_key *k)
{
	put_u64(out, k->made_s);
	memcpy(out + 8, k->id, TICKET_KEY_ID_LEN);
	memcpy(out + 8 + TICKET_KEY_ID_LEN, k->key, TICKET_KEY_LEN);
}

static void get_key(const uint8_t *in, struct ticket_key *k)
{
	k->made_s = get_u64(in);
	memcpy(k->id, in + 8, TICKET_KEY_ID_LEN);
	memcpy(k->key, in + 8 + TICKET_KEY_ID_LEN, TICKET_KEY_LEN);
}

/* 0, POP_E_MISSING (empty), POP_E_CORRUPT, POP_E_SYS. */
static int read_once(int fd, struct ticket_keys *keys)
{
	uint8_t raw[TICKET_FILE_LEN + 1];
	ssize_t n = fs_pread_full(fd, raw, sizeof(raw), 0);
	int err = 0;

	if (n < 0)
		return POP_E_SYS;
	if (n == 0)
		return POP_E_MISSING;
	if (n != TICKET_FILE_LEN || memcmp(raw, MAGIC, MAGIC_LEN) != 0 ||
	    get_u64(raw + TICKET_FILE_LEN - SUM_LEN) != sum64_of(raw, TICKET_FILE_LEN - SUM_LEN)) {
		err = POP_E_CORRUPT;
	} else {
		get_key(raw + MAGIC_LEN, &keys->current);
		get_key(raw + MAGIC_LEN + KEY_LEN, &keys->previous);
	}
	explicit_bzero(raw, sizeof(raw));
	return err;
}

/* A write may be under way: look again for a moment before calling it damage. */
static int read_keys(int fd, struct ticket_keys *keys)
{
	int err = POP_E_CORRUPT;

	for (int i = 0; i < TRIES && err == POP_E_CORRUPT; i++) {
		if (i > 0)
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		err = read_once(fd, keys);
	}
	return err;
}

/* A time ahead of us says that the clock was set back: such a key is old. */
static bool is_younger(const struct ticket_key *k, uint64_t now_s, uint64_t age_s)
{
	return k->made_s > 0 && k->made_s <= now_s && now_s - k->made_s < age_s;
}

static int new_key(struct ticket_key *k, uint64_t now_s)
{
	k->made_s = now_s;
	if (getrandom(k->id, sizeof(k->id), 0) != sizeof(k->id) ||
	    getrandom(k->key, sizeof(k->key), 0) != sizeof(k->key))
		return POP_E_SYS;
	return 0;
}

static int write_keys(int fd, const struct ticket_keys *keys)
{
	uint8_t raw[TICKET_FILE_LEN];
	int err;

	memcpy(raw, MAGIC, MAGIC_LEN);
	put_key(raw + MAGIC_LEN, &keys->current);
	put_key(raw + MAGIC_LEN + KEY_LEN, &keys->previous);
	put_u64(raw + TICKET_FILE_LEN - SUM_LEN, sum64_of(raw, TICKET_FILE_LEN - SUM_LEN));
	err = fs_pwrite_all(fd, raw, sizeof(raw), 0);
	explicit_bzero(raw, sizeof(raw));
	/* a longer file is a damaged one: cut what stands behind */
	if (err == 0 && ftruncate(fd, TICKET_FILE_LEN) < 0)
		err = POP_E_SYS;
	return err;
}

/* Keep other writers away; without success after a moment, go on without. */
static bool lock_for_a_moment(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	for (int i = 0; i < TRIES; i++) {
		if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
			return true;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return false;
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	return false;
}

static void unlock(int fd)
{
	struct flock fl = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	int saved = errno;

	fcntl(fd, F_OFD_SETLK, &fl);
	errno = saved;
}

/* Make a new current key; another process may have done it meanwhile, unless always. */
static int renew(int fd, uint64_t now_s, bool always, struct ticket_keys *keys)
{
	bool locked = lock_for_a_moment(fd);
	int err = read_keys(fd, keys);

	if (err == POP_E_SYS)
		goto out;
	if (err == 0 && !always && is_younger(&keys->current, now_s, TICKET_KEY_LIFE_S))
		goto out;
	if (err < 0)
		memset(keys, 0, sizeof(*keys));
	if (is_younger(&keys->current, now_s, 2 * TICKET_KEY_LIFE_S))
		keys->previous = keys->current;
	else
		memset(&keys->previous, 0, sizeof(keys->previous));
	err = new_key(&keys->current, now_s);
	if (err == 0)
		err = write_keys(fd, keys);
out:
	if (locked)
		unlock(fd);
	/* who wrote last without a lock has won */
	if (err == 0 && !locked)
		err = read_keys(fd, keys);
	return err;
}

int ticket_keys_load(int fd, uint64_t now_s, struct ticket_keys *keys)
{
	int err;

	memset(keys, 0, sizeof(*keys));
	err = read_keys(fd, keys);
	if (err == POP_E_SYS)
		return err;
	if (err < 0 || !is_younger(&keys->current, now_s, TICKET_KEY_LIFE_S))
		err = renew(fd, now_s, false, keys);
	/* the one before opens only so long */
	if (err == 0 && !is_younger(&keys->previous, now_s, 2 * TICKET_KEY_LIFE_S))
		explicit_bzero(&keys->previous, sizeof(keys->previous));
	return err;
}

int ticket_keys_rotate(int fd, uint64_t now_s, struct ticket_keys *keys)
{
	return renew(fd, now_s, true, keys);
}
