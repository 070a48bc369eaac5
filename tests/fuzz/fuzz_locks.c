/*
 * fuzz_locks.c - the records of locks, in files that their owner may write: what
 * is read is what is written again, and only a dotlock of ours is ever taken away.
 *
 * Input: octet 0: bit 0: a record as it stands in the file, else its parts: pid (4
 * octets), start time and moment (8 each), then host, boot id and address, each up
 * to a NUL; bit 1: what stands before the record of a dotlock is `PID LF`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../lib/session_lock.c"
#include "fuzz.h"
#include "mbox_lock.h"

#define DOTLOCK_READ 1200 /* octets that are read of one */

static void take(struct fuzz_in *in, char *out, size_t size)
{
	const char *text;
	size_t len = fuzz_text(in, &text);

	if (len > size - 1)
		len = size - 1;
	if (len > 0)
		memcpy(out, text, len);
	out[len] = '\0';
}

static bool same(const struct lock_record *a, const struct lock_record *b)
{
	return a->pid == b->pid && a->start_time == b->start_time && a->since == b->since &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->boot_id, b->boot_id) == 0 &&
	       strcmp(a->address, b->address) == 0;
}

/* A record, as text and back. */
static void check_written(const struct lock_record *r)
{
	char text[LOCK_RECORD_MAX];
	struct lock_record back;
	int n = lock_record_format(r, text, sizeof(text));

	MUST(n > 0 && (size_t)n < sizeof(text) && strlen(text) == (size_t)n);
	MUST(strchr(text, '\n') == text + n - 1);
	MUST(lock_record_parse(text, (size_t)n, &back) == 0 && same(r, &back));
	/* one that is being written is none */
	for (int cut = 0; cut < n; cut++)
		MUST(lock_record_parse(text, (size_t)cut, &back) == POP_E_SYNTAX);
	for (size_t room = 0; room <= (size_t)n; room++)
		MUST(lock_record_format(r, text, room) == POP_E_LONG);
	lock_record_alive(r);
}

static void make_record(struct fuzz_in *in, struct lock_record *r)
{
	memset(r, 0, sizeof(*r));
	r->pid = (pid_t)(fuzz_u32(in) & INT32_MAX);
	r->start_time = fuzz_u64(in) & INT64_MAX;
	r->since = (int64_t)(fuzz_u64(in) & INT64_MAX);
	take(in, r->host, sizeof(r->host));
	take(in, r->boot_id, sizeof(r->boot_id));
	take(in, r->address, sizeof(r->address));
}

/* The session lock with this in it, held by somebody whose number the kernel does not tell. */
static void check_query(const void *text, size_t len)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct lock_record r;
	pid_t pid = 1;
	int fd;

	fuzz_dir_put(LOCK_FILE, text, len);
	MUST(session_lock_query(fuzz_dir(), &r, &pid) == 0 && pid == 0);
	fd = openat(fuzz_dir(), LOCK_FILE, O_RDWR | O_CLOEXEC);
	MUST(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
	MUST(session_lock_query(fuzz_dir(), &r, &pid) == 1 && pid == 0);
	MUST(memchr(r.host, 0, sizeof(r.host)) && memchr(r.boot_id, 0, sizeof(r.boot_id)) &&
	     memchr(r.address, 0, sizeof(r.address)));
	close(fd);
}

/* Is the process behind this dotlock gone for certain? */
static bool is_over(const char *text, size_t len)
{
	struct lock_record r, self;
	const char *line;

	len = len < DOTLOCK_READ ? len : DOTLOCK_READ;
	line = len ? memchr(text, '\n', len) : NULL;
	if (!line || lock_record_parse(line + 1, (size_t)(text + len - line - 1), &r) < 0)
		return false;
	lock_record_self(&self, "");
	if (strcmp(r.host, self.host) != 0)
		return false;
	if (strcmp(r.boot_id, self.boot_id) == 0)
		return lock_record_alive(&r) == 0;
	return r.boot_id[0] || r.pid <= 0 || proc_is_gone(r.pid);
}

/* A dotlock that somebody left just now. */
static void check_dotlock(const char *text, size_t len)
{
	struct pop_why why;
	int made, removed;

	fuzz_dir_put("m.lock", text, len);
	made = dotlock_make_at(fuzz_dir(), "m", &why);
	MUST(is_over(text, len) ? made == 0 : made == POP_E_BUSY);
	removed = dotlock_remove_at(fuzz_dir(), "m");
	MUST(removed == 0 || (removed == POP_E_MISSING && made != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, data + size };
	uint8_t how = fuzz_u8(&in);
	struct lock_record r;
	char text[LOCK_RECORD_MAX + 32];
	int n;

	if (how & 1) {
		if (lock_record_parse((const char *)in.p, (size_t)(in.end - in.p), &r) == 0)
			check_written(&r);
		check_query(in.p, (size_t)(in.end - in.p));
		check_dotlock((const char *)in.p, (size_t)(in.end - in.p));
		return 0;
	}
	make_record(&in, &r);
	check_written(&r);
	n = how & 2 ? snprintf(text, sizeof(text), "%ld\n", (long)r.pid) : 0;
	n += lock_record_format(&r, text + n, sizeof(text) - (size_t)n);
	check_query(text, (size_t)n);
	check_dotlock(text, (size_t)n);
	return 0;
}
