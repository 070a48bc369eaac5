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

/*
 * Open a file that the process trusts (configuration, users, secrets): never a
 * FIFO or device, never blocking, CLOEXEC; a symbolic link in the last part is
 * followed only where follow says so.  It must be a regular file, owned by root
 * or the caller, and not be writable by group or others; with `secret` also
 * not be readable by others.
 * Returns a descriptor, POP_E_SYS (errno; *why says the path), POP_E_MISSING
 * (ENOENT) or POP_E_UNSAFE (*why says what is wrong with owner, mode or type).
 */
int fs_open_trusted(const char *path, bool follow, bool secret, struct pop_why *why);

/* Read a whole regular file of at most max bytes; *data is NUL-terminated, caller frees. */
int fs_read_file(int fd, size_t max, char **data, size_t *len);

/*
 * Replace a file as a whole: begin makes a temporary file beside it (0600,
 * same owner and mode as the old one when there is one, else `mode`) while
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
