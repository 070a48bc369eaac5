/*
 * fsutil.h - files opened with care, and replaced as a whole.
 */
#ifndef POP_FSUTIL_H
#define POP_FSUTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/stat.h>
#include "err.h"

/* Write all n bytes (EINTR and short writes handled).  0 or POP_E_SYS. */
int fs_write_all(int fd, const void *data, size_t n);
int fs_pwrite_all(int fd, const void *data, size_t n, off_t offset);

/* Read up to n bytes at offset until n or end of file.  Bytes read or POP_E_SYS. */
ssize_t fs_pread_full(int fd, void *data, size_t n, off_t offset);

/* Where on the way to a file a symbolic link is followed. */
enum fs_links {
	FS_LINKS_NONE, /* nowhere: whoever may write a directory of the path is not trusted */
	FS_LINKS_DIRS, /* in the directories, not in the last part: the path is an
			* administrator's, the last part may be a user's */
	FS_LINKS_ALL,  /* everywhere: the whole path is an administrator's */
	FS_LINKS_MAGIC /* and /proc's own links to open files, too, as in /dev/stdin: a file
			* that was named on the command line */
};

/*
 * Open a file or directory: what openat(2) does, never blocking (a FIFO, a
 * device), never taking a terminal, CLOEXEC.  Everything that is opened by a path
 * is opened here; `make lint` looks.
 *
 *   at     a directory, or AT_FDCWD.  With a directory FS_LINKS_NONE does not leave
 *          it either: no "..", no "/" in front, and a name alone is one name
 *   flags  of open(2); of O_PATH only with O_DIRECTORY
 *   mode   of a file that is made
 *
 * By openat2(2); where the kernel (before 5.6) or a filter (ENOSYS, EPERM) has
 * none, part by part, and then FS_LINKS_DIRS and FS_LINKS_ALL follow /proc's links.
 * What it is that was opened the caller looks at with fstat(2), never before.
 * Returns a descriptor, or -1 with errno: ELOOP or ENOTDIR for a link, EXDEV or
 * EINVAL for a name that leaves the directory.
 */
int fs_open_at(int at, const char *path, enum fs_links links, int flags, mode_t mode);

/* A second opening of an open directory, to list or sync it.  A descriptor or -1. */
int fs_reopen_dir(int dir_fd);

/*
 * Open a directory in which the files are trusted for being there (state_dir): root's
 * or the caller's, and no one else may write it; with `sticky` one that has the sticky
 * bit will do, which is enough for files that are there already.
 * A descriptor to be used with *at() calls, POP_E_SYS, or POP_E_UNSAFE, with the
 * reason and what mends it.
 */
int fs_open_trusted_dir(const char *path, bool sticky, struct pop_why *why);

/*
 * Open a file that the process trusts (configuration, users, secrets): never a
 * FIFO or device, never blocking, CLOEXEC; a symbolic link in the last part is
 * followed only where follow says so.  It must be a regular file, owned by root
 * or the caller, and not be writable by group or others; with `secret` also
 * not be readable by others.  The directory that it stands in (and each that holds
 * a link on the way) must be root's or the caller's, too, and not be writable by
 * group or others, but for one with the sticky bit.
 * Returns a descriptor, POP_E_SYS (errno; *why says the path), POP_E_MISSING
 * (ENOENT) or POP_E_UNSAFE (*why says what is wrong with owner, mode or type, and of what).
 */
int fs_open_trusted(const char *path, bool follow, bool secret, struct pop_why *why);

/* Read a whole regular file of at most max bytes; *data is NUL-terminated, caller frees. */
int fs_read_file(int fd, size_t max, char **data, size_t *len);

/*
 * Replace a file as a whole (in a directory as fs_open_trusted() wants it): begin makes a temporary
 * file beside it (0600, same owner and mode as the old one when there is one, else `mode`) while
 * holding an exclusive lock on PATH.lock, so that two writers follow each
 * other; commit does fsync, rename, fsync of the directory; abort removes the
 * temporary file.  Exactly one of commit and abort ends what begin began.
 */
struct fs_replace {
	int dir_fd;  /* the directory, owned */
	int fd;	     /* write the new content here */
	int old_fd;  /* the old file open for reading, or -1 */
	int lock_fd; /* the lock on NAME.lock */
	char name[256];
	char temp[280];
};
/* 0, POP_E_SYS, POP_E_UNSAFE, or POP_E_BUSY (another writer for wait_ms milliseconds). */
int fs_replace_begin(struct fs_replace *r, const char *path, mode_t mode, int wait_ms,
		     struct pop_why *why);
int fs_replace_commit(struct fs_replace *r, struct pop_why *why);
void fs_replace_abort(struct fs_replace *r);

/*
 * Where the hole of a file ends that zeros before `at` suggest: the offset of the next
 * byte that is stored, `at` where that is one, never above end.  All between reads as
 * NUL, so that a file that is large on paper alone is no work.  Moves the file's offset.
 */
uint64_t fs_hole_end(int fd, uint64_t at, uint64_t end);

/* Are all n bytes NUL? */
bool fs_all_zero(const void *data, size_t n);

/*
 * A memfd of n bytes of data with all seals (no write, grow, shrink, seal).
 * Returns the descriptor (caller closes) or POP_E_SYS.
 */
int fs_sealed_memfd(const char *name, const void *data, size_t n);

/*
 * Check that fd is a memfd with all four seals and of exactly size bytes:
 * 0 or POP_E_CORRUPT.
 */
int fs_check_sealed(int fd, uint64_t size);

/*
 * Open a directory that must be the caller's alone (run_dir: root's, 0700);
 * made where it is missing.  A descriptor, POP_E_SYS or POP_E_UNSAFE.
 */
int fs_open_private_dir(const char *path, struct pop_why *why);

/* Milliseconds of the monotonic clock. */
int64_t fs_now_ms(void);

#endif
