/*
 * fuzz.c - what the fuzz harnesses share: files in memory, inputs read in pieces.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz.h"

void fuzz_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

static void write_whole(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t at = 0; at < size;) {
		ssize_t n = pwrite(fd, p + at, size - at, (off_t)at);

		MUST(n > 0);
		at += (size_t)n;
	}
}

int fuzz_file(unsigned n, const void *data, size_t size)
{
	static int fds[FUZZ_FILES]; /* 0: not made yet */

	MUST(n < FUZZ_FILES);
	if (fds[n] == 0) {
		fds[n] = memfd_create("fuzz", MFD_CLOEXEC);
		MUST(fds[n] > 0 && fchmod(fds[n], 0600) == 0);
	}
	MUST(ftruncate(fds[n], 0) == 0);
	write_whole(fds[n], data, size);
	return fds[n];
}

/* --- a directory ---------------------------------------------------------- */

static char dir_path[PATH_MAX];
static int dir_fd = -1;
static pid_t dir_owner;

static void remove_below(int fd)
{
	DIR *d = fdopendir(fd);
	struct dirent *entry;

	MUST(d != NULL);
	while ((entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		remove_below(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

void fuzz_dir_clear(void)
{
	remove_below(open(fuzz_dir_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void remove_dir(void)
{
	if (getpid() != dir_owner)
		return;
	fuzz_dir_clear();
	rmdir(dir_path);
}

int fuzz_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (dir_fd >= 0)
		return dir_fd;
	MUST(snprintf(dir_path, sizeof(dir_path), "%s/pop3d-fuzz.XXXXXX", tmp ? tmp : "/tmp") <
	     (int)sizeof(dir_path));
	MUST(mkdtemp(dir_path) != NULL);
	dir_fd = open(dir_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	MUST(dir_fd >= 0);
	dir_owner = getpid();
	atexit(remove_dir);
	return dir_fd;
}

const char *fuzz_dir_path(void)
{
	fuzz_dir();
	return dir_path;
}

void fuzz_dir_put(const char *name, const void *data, size_t size)
{
	int fd = openat(fuzz_dir(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0);
	write_whole(fd, data, size);
	close(fd);
}

/* --- inputs --------------------------------------------------------------- */

size_t fuzz_bytes(struct fuzz_in *in, size_t n, const uint8_t **data)
{
	size_t left = (size_t)(in->end - in->p);

	*data = in->p;
	if (n > left)
		n = left;
	if (n > 0)
		in->p += n;
	return n;
}

static uint64_t number(struct fuzz_in *in, size_t n)
{
	uint64_t v = 0;
	const uint8_t *data;

	n = fuzz_bytes(in, n, &data);
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)data[i] << (8 * i);
	return v;
}

uint8_t fuzz_u8(struct fuzz_in *in)
{
	return (uint8_t)number(in, 1);
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
	return (uint16_t)number(in, 2);
}

uint32_t fuzz_u32(struct fuzz_in *in)
{
	return (uint32_t)number(in, 4);
}

uint64_t fuzz_u64(struct fuzz_in *in)
{
	return number(in, 8);
}

size_t fuzz_text(struct fuzz_in *in, const char **text)
{
	size_t left = (size_t)(in->end - in->p),
	       len = left ? strnlen((const char *)in->p, left) : 0;

	*text = (const char *)in->p;
	in->p += len < left ? len + 1 : left;
	return len;
}

char *fuzz_string(const void *data, size_t size)
{
	char *s = malloc(size + 1);

	MUST(s != NULL);
	if (size > 0)
		memcpy(s, data, size);
	s[size] = '\0';
	return s;
}
