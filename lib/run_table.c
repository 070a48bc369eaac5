/*
 * run_table.c - map a shared table of run_dir, or make it.
 *
 * Runs in:  monitor, pop3admin.
 * Trusts:   that run_dir is root's.  Not the file's content.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fsutil.h"
#include "run_table.h"

#define HEAD_MAX 4096

static int map_file(const struct run_table *t, int fd, struct run_map *map)
{
	struct statfs fs;
	void *p = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return POP_E_SYS;
	if (madvise(p, t->size, MADV_DONTFORK) < 0) {
		munmap(p, t->size);
		return POP_E_SYS;
	}
	map->at = p;
	map->in_memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	return 0;
}

/* The file must be whole: a page that is not there would be a signal, not an error. */
static int check(const struct run_table *t, int fd)
{
	char magic[sizeof(t->magic)];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
		return POP_E_UNSAFE;
	/* read, not looked at in the mapping: its first use is then a write, and one page fault */
	if (st.st_size != (off_t)t->size ||
	    fs_pread_full(fd, magic, sizeof(magic), 0) != (ssize_t)sizeof(magic) ||
	    memcmp(magic, t->magic, sizeof(magic)) != 0)
		return POP_E_CORRUPT;
	return 0;
}

static int open_old(const struct run_table *t, const char *run_dir, struct run_map *map,
		    struct pop_why *why)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", run_dir, t->file), fd, err;

	if (n < 0 || (size_t)n >= sizeof(path))
		return pop_why(why, POP_E_LONG, "run_dir is too long");
	fd = fs_open_at(AT_FDCWD, path, FS_LINKS_DIRS, O_RDWR, 0);
	if (fd < 0 && errno == ENOENT)
		return pop_why(why, POP_E_MISSING, "%s: no such file", path);
	if (fd < 0)
		return pop_why_errno(why, "%s", path);
	err = check(t, fd);
	if (err == 0)
		err = map_file(t, fd, map);
	close(fd);
	if (err < 0)
		pop_why(why, err, "%s: %s", path,
			err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
	return err;
}

static int write_new(const struct run_table *t, int fd)
{
	char head[HEAD_MAX] = { 0 };
	int err;

	memcpy(head, t->magic, sizeof(t->magic));
	if (t->head_size > sizeof(head) || t->fill(head) < 0)
		return POP_E_SYS;
	err = posix_fallocate(fd, 0, (off_t)t->size);
	if (err != 0) {
		errno = err;
		return POP_E_SYS;
	}
	return fs_pwrite_all(fd, head, t->head_size, 0);
}

/* Under a name of its own, then into place: over a damaged one, but not over another's new one. */
static int make(const struct run_table *t, const char *run_dir, bool damaged, struct pop_why *why)
{
	char temp[64];
	int dir = fs_open_private_dir(run_dir, why), fd = -1, err;

	if (dir < 0)
		return dir;
	snprintf(temp, sizeof(temp), "%s.%ld", t->file, (long)getpid());
	unlinkat(dir, temp, 0);
	fd = fs_open_at(dir, temp, FS_LINKS_NONE, O_RDWR | O_CREAT | O_EXCL, 0600);
	err = fd < 0 ? POP_E_SYS : write_new(t, fd);
	if (err == 0 && damaged)
		err = renameat(dir, temp, dir, t->file) < 0 ? POP_E_SYS : 0;
	else if (err == 0 && linkat(dir, temp, dir, t->file, 0) < 0 && errno != EEXIST)
		err = POP_E_SYS;
	if (err < 0)
		pop_why_errno(why, "%s/%s", run_dir, t->file);
	unlinkat(dir, temp, 0);
	if (fd >= 0)
		close(fd);
	close(dir);
	return err;
}

int run_table_open(const struct run_table *t, const char *run_dir, bool create, struct run_map *map,
		   struct pop_why *why)
{
	int err;

	*map = (struct run_map){ .at = NULL };
	err = open_old(t, run_dir, map, why);
	if (create && (err == POP_E_MISSING || err == POP_E_CORRUPT)) {
		err = make(t, run_dir, err == POP_E_CORRUPT, why);
		if (err == 0)
			err = open_old(t, run_dir, map, why);
	}
	return err;
}

void run_table_close(const struct run_table *t, struct run_map *map)
{
	if (map->at)
		munmap(map->at, t->size);
	map->at = NULL;
}
