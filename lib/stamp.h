/*
 * stamp.h - what the time stamps of a file can prove.
 *
 * A stamp that is equal proves that nothing changed since only where the clock
 * that makes stamps had moved on when it was read: a change in the same tick
 * leaves the same stamp.  Some file systems make stamps on another machine, or
 * keep them in a cache; theirs prove nothing.
 */
#ifndef POP_STAMP_H
#define POP_STAMP_H

#include <stdint.h>
#include <stdbool.h>
#include <sys/stat.h>

#define STAMP_NEVER (-1)

/* How a file looked at some moment: equal stamps mean the same content, as far as stamps can tell.
 */
struct file_stamp {
	uint64_t ino;
	uint64_t size;
	int64_t mtime_ns, ctime_ns; /* since the epoch */
};
void file_stamp_of(const struct stat *st, struct file_stamp *out);

/* Nanoseconds since the epoch, of the clock that file stamps are made from. */
int64_t stamp_now_ns(void);

/*
 * How much older than the clock a stamp on the file system of fd must be to be
 * clean: 20 ms or 2 s, in nanoseconds; STAMP_NEVER where none can be trusted
 * (NFS, SMB, FUSE, 9p, ceph and the like).
 */
int64_t stamp_margin_ns(int fd);

/* Is a stamp clean that was read at now_ns?  Never where it lies in the future. */
bool stamp_is_clean(int64_t stamp_ns, int64_t now_ns, int64_t margin_ns);

/* For tests: other sources of both; NULL for the real ones. */
struct stamp_sources {
	int64_t (*now_ns)(void);
	int64_t (*margin_ns)(int fd);
};
extern struct stamp_sources stamp_sources;

#endif
