/*
 * session_lock.c - the lock that one session holds on a maildrop, and its record.
 *
 * Runs in:  maildrop (take), pop3admin (query).
 * Trusts:   the kernel for who holds it.  Not the record: the mailbox's owner
 *           may write into the file whatever he likes; it is for show.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "session_lock.h"
#include "fsutil.h"
#include "num.h"
#include "proc.h"

#define LOCK_FILE  "lock"
#define TRY_MIN_MS 5
#define TRY_MAX_MS 50

static void host_and_boot(char host[256], char boot_id[40])
{
	if (gethostname(host, 256) < 0)
		host[0] = '\0';
	host[255] = '\0';
	proc_boot_id(boot_id);
}

void lock_record_self(struct lock_record *r, const char *address)
{
	char state;

	memset(r, 0, sizeof(*r));
	r->pid = getpid();
	r->start_time = proc_start_time(r->pid, &state);
	host_and_boot(r->host, r->boot_id);
	snprintf(r->address, sizeof(r->address), "%s", address ? address : "");
	r->since = time(NULL);
}

int lock_record_alive(const struct lock_record *r)
{
	char host[256], boot_id[40], state;
	uint64_t start_time;

	host_and_boot(host, boot_id);
	if (strcmp(host, r->host) != 0 || strcmp(boot_id, r->boot_id) != 0)
		return POP_E_MISSING;
	if (r->pid <= 0 || (getpgid(r->pid) < 0 && errno == ESRCH))
		return 0;
	start_time = proc_start_time(r->pid, &state);
	if (state == 'Z' || state == 'X') /* nobody has waited for it yet */
		return 0;
	/* another process may have got the number since; where /proc hides it, it is alive */
	return start_time == 0 || r->start_time == 0 || start_time == r->start_time;
}

/* Append s with everything but plain visible ASCII percent-encoded. */
static size_t put_escaped(char *out, size_t size, size_t at, const char *s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *s && at < size; s++) {
		uint8_t c = (uint8_t)*s;

		if (c > 0x20 && c < 0x7F && c != '%') {
			out[at++] = (char)c;
			continue;
		}
		if (size - at < 3)
			return size;
		out[at++] = '%';
		out[at++] = hex[c >> 4];
		out[at++] = hex[c & 15];
	}
	return at;
}

int lock_record_format(const struct lock_record *r, char *out, size_t size)
{
	const struct {
		const char *key, *value;
	} strings[] = { { " host=", r->host }, { " boot=", r->boot_id }, { " peer=", r->address } };
	int n = snprintf(out, size, "pid=%ld start=%llu since=%lld", (long)r->pid,
			 (unsigned long long)r->start_time, (long long)r->since);
	size_t at;

	if (n < 0 || (size_t)n >= size)
		return POP_E_LONG;
	at = (size_t)n;
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		size_t len = strlen(strings[i].key);

		if (size - at <= len)
			return POP_E_LONG;
		memcpy(out + at, strings[i].key, len);
		at = put_escaped(out, size, at + len, strings[i].value);
	}
	if (size - at < 2)
		return POP_E_LONG;
	out[at++] = '\n';
	out[at] = '\0';
	return (int)at;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int get_escaped(const char *s, size_t len, char *out, size_t size)
{
	size_t o = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (uint8_t)s[i];

		if (c == '%') {
			if (len - i < 3 || hex_value(s[i + 1]) < 0 || hex_value(s[i + 2]) < 0)
				return POP_E_SYNTAX;
			c = hex_value(s[i + 1]) * 16 + hex_value(s[i + 2]);
			i += 2;
		} else if (c <= 0x20 || c >= 0x7F) {
			return POP_E_SYNTAX;
		}
		if (!c || o + 1 >= size)
			return POP_E_SYNTAX;
		out[o++] = (char)c;
	}
	out[o] = '\0';
	return 0;
}

/* One "key=value" of the line; unknown keys are for later versions. */
static int parse_pair(const char *s, size_t len, struct lock_record *r, unsigned *seen)
{
	static const char *const keys[] = { "pid=", "start=", "since=", "host=", "boot=", "peer=" };
	uint64_t n = 0;
	unsigned k;

	for (k = 0; k < 6; k++) {
		size_t key_len = strlen(keys[k]);

		if (len >= key_len && !memcmp(s, keys[k], key_len)) {
			s += key_len;
			len -= key_len;
			break;
		}
	}
	if (k == 6)
		return 0;
	if (*seen & 1u << k)
		return POP_E_SYNTAX;
	*seen |= 1u << k;
	if (k < 3 && num_parse(s, len, k == 0 ? INT32_MAX : INT64_MAX, &n) < 0)
		return POP_E_SYNTAX;
	switch (k) {
	case 0:
		r->pid = (pid_t)n;
		return 0;
	case 1:
		r->start_time = n;
		return 0;
	case 2:
		r->since = (int64_t)n;
		return 0;
	case 3:
		return get_escaped(s, len, r->host, sizeof(r->host));
	case 4:
		return get_escaped(s, len, r->boot_id, sizeof(r->boot_id));
	default:
		return get_escaped(s, len, r->address, sizeof(r->address));
	}
}

int lock_record_parse(const char *text, size_t len, struct lock_record *r)
{
	unsigned seen = 0;
	size_t at = 0;
	int err = 0;

	memset(r, 0, sizeof(*r));
	if (!len || text[len - 1] != '\n')
		return POP_E_SYNTAX; /* being written, or cut off */
	len--;
	while (!err && at < len) {
		const char *blank = memchr(text + at, ' ', len - at);
		size_t n = blank ? (size_t)(blank - text) - at : len - at;

		err = parse_pair(text + at, n, r, &seen);
		at += n + 1;
	}
	if (!err && seen != 0x3F)
		err = POP_E_SYNTAX;
	if (err)
		memset(r, 0, sizeof(*r));
	return err;
}

static int open_lock(int dir_fd, struct pop_why *why)
{
	struct stat st;
	int fd = fs_open_at(dir_fd, LOCK_FILE, FS_LINKS_NONE, O_RDWR | O_CREAT, 0600);

	if (fd < 0) {
		if (errno == ELOOP || errno == EISDIR || errno == ENXIO)
			return pop_why(why, POP_E_UNSAFE, "session lock: not a regular file");
		return pop_why_errno(why, "session lock");
	}
	if (fstat(fd, &st) < 0) {
		pop_why_errno(why, "session lock");
		close(fd);
		return POP_E_SYS;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink > 1) {
		close(fd);
		return pop_why(why, POP_E_UNSAFE,
			       "session lock: not a regular file of uid %lu with one link",
			       (unsigned long)geteuid());
	}
	return fd;
}

/* One try: 1 locked and the file is still the one at its path, 0 held by another. */
static int try_lock(int dir_fd, int fd, bool *replaced, struct pop_why *why)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat mine, there;

	*replaced = false;
	if (fcntl(fd, F_SETLK, &fl) < 0) {
		if (errno == EAGAIN || errno == EACCES || errno == EINTR)
			return 0;
		return pop_why_errno(why, "session lock");
	}
	if (fstat(fd, &mine) < 0)
		return pop_why_errno(why, "session lock");
	if (fstatat(dir_fd, LOCK_FILE, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
	    mine.st_ino != there.st_ino || mine.st_dev != there.st_dev) {
		*replaced = true;
		return 0;
	}
	return 1;
}

/*
 * What cannot be written (a full disk) is only missing for show: the lock is held.  The old
 * record is cut after the new one is there, never to nothing before it: ext4 and others start
 * writing a file to the disk when one that was cut to nothing is closed.
 */
static void write_record(int fd, const struct lock_record *self)
{
	char text[LOCK_RECORD_MAX];
	int n = lock_record_format(self, text, sizeof(text));

	if (n > 0 && fs_pwrite_all(fd, text, (size_t)n, 0) == 0)
		(void)!ftruncate(fd, n);
}

int session_lock_take(int dir_fd, int wait_ms, const struct lock_record *self, struct pop_why *why)
{
	int64_t until = fs_now_ms() + wait_ms;
	long pause_ms = TRY_MIN_MS;
	int fd = -1;

	for (;;) {
		bool replaced;
		int got;

		if (fd < 0 && (fd = open_lock(dir_fd, why)) < 0)
			return fd;
		got = try_lock(dir_fd, fd, &replaced, why);
		if (got > 0) {
			write_record(fd, self);
			return fd;
		}
		if (got < 0 || replaced) {
			int saved = errno;

			close(fd);
			fd = -1;
			errno = saved;
			if (got < 0)
				return got;
		}
		if (fs_now_ms() >= until) {
			if (fd >= 0)
				close(fd);
			return pop_why(why, POP_E_BUSY, "another session has this maildrop open");
		}
		if (replaced)
			continue;
		nanosleep(&(struct timespec){ .tv_nsec = pause_ms * 1000000 }, NULL);
		pause_ms = pause_ms * 2 > TRY_MAX_MS ? TRY_MAX_MS : pause_ms * 2;
	}
}

int session_lock_query(int dir_fd, struct lock_record *r, pid_t *pid)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[LOCK_RECORD_MAX];
	ssize_t n;
	int err = 0;
	int fd = fs_open_at(dir_fd, LOCK_FILE, FS_LINKS_NONE, O_RDONLY, 0);

	memset(r, 0, sizeof(*r));
	*pid = 0;
	if (fd < 0)
		return errno == ENOENT ? POP_E_MISSING : POP_E_SYS;
	if (fcntl(fd, F_GETLK, &fl) < 0) {
		err = POP_E_SYS;
	} else if (fl.l_type != F_UNLCK) {
		err = 1;
		*pid = fl.l_pid > 0 ? fl.l_pid : 0;
		n = fs_pread_full(fd, text, sizeof(text), 0);
		if (n > 0)
			(void)!lock_record_parse(text, (size_t)n, r);
		/* the record of an earlier holder, its own not (yet) written */
		if (*pid && r->pid != *pid)
			memset(r, 0, sizeof(*r));
	}
	n = errno;
	close(fd);
	errno = (int)n;
	return err;
}
