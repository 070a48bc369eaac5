/*
 * proc.c - read what little of /proc is needed.
 *
 * Runs in:  maildrop, monitor, pop3admin.
 * Trusts:   the kernel.
 */
#include "proc.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "num.h"

/* The first line of a small file of /proc into out, "" where it cannot be read. */
static void read_line_of(const char *path, char *out, size_t size)
{
	int fd = fs_open_at(AT_FDCWD, path, FS_LINKS_ALL, O_RDONLY, 0);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	out[n < 0 ? 0 : n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

uint64_t proc_start_time(pid_t pid, char *state)
{
	char path[64], text[1024], *p;
	uint64_t ticks = 0;

	*state = '?';
	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	read_line_of(path, text, sizeof(text));
	/* the second field is the program's name in brackets, and may hold anything */
	p = strrchr(text, ')');
	if (p && p[1] == ' ')
		*state = p[2];
	for (int field = 3; p && field <= 22; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p || num_parse(p, strcspn(p, " "), UINT64_MAX, &ticks) < 0)
		return 0;
	return ticks;
}

bool proc_is_gone(pid_t pid)
{
	/* needs no look into /proc, and unlike kill(2) can do nobody harm: filters allow it */
	return getpgid(pid) < 0 && errno == ESRCH;
}

void proc_boot_id(char out[PROC_BOOT_ID_LEN + 1])
{
	read_line_of("/proc/sys/kernel/random/boot_id", out, PROC_BOOT_ID_LEN + 1);
}
