/*
 * sandbox_files.c - which files a role can reach, whatever its uid may (Landlock).
 *
 * Runs in:  every role but the monitor and the one that runs a checkpassword
 *           program, as its own uid.
 * Trusts:   its caller, for the places.
 */
#include "sandbox.h"

#include "err.h"

#if !defined(SANDBOX_OFF) && defined(__linux__)

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fsutil.h"

/* By number, and from its documentation: kernel headers are often older than the kernel. */
#define NR_CREATE_RULESET   444
#define NR_ADD_RULE	    445
#define NR_RESTRICT_SELF    446
#define CREATE_VERSION	    1U
#define RULE_PATH_BENEATH   1
#define FS_WRITE_FILE	    (1ULL << 1)
#define FS_READ_FILE	    (1ULL << 2)
#define FS_READ_DIR	    (1ULL << 3)
#define FS_REMOVE_FILE	    (1ULL << 5)
#define FS_MAKE_DIR	    (1ULL << 7)
#define FS_MAKE_REG	    (1ULL << 8)
#define FS_ALL_OF_1	    ((1ULL << 13) - 1)
#define FS_REFER	    (1ULL << 13) /* since ABI 2; without it nothing changes its directory */
#define FS_TRUNCATE	    (1ULL << 14) /* 3 */
#define FS_IOCTL_DEVICE	    (1ULL << 15) /* 5 */
#define NET_BIND_CONNECT    3ULL	 /* 4: of TCP */
#define SCOPE_SOCKET_SIGNAL 3ULL	 /* 6: abstract sockets, signals */

struct ruleset {
	uint64_t fs, net, scope;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

bool sandbox_has_files(void)
{
	return true;
}

int sandbox_files_abi(void)
{
	static int abi = -1;

	if (abi < 0) {
		long found = syscall(NR_CREATE_RULESET, NULL, 0, CREATE_VERSION);

		abi = found > 0 && found < 1000 ? (int)found : 0;
	}
	return abi;
}

static uint64_t rights_of(const struct sandbox_place *p, uint64_t handled)
{
	uint64_t rights = FS_READ_FILE;

	if (p->work)
		rights |= FS_READ_DIR | FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_REFER |
			  FS_TRUNCATE;
	if (p->dirs)
		rights |= FS_MAKE_DIR;
	return rights & handled;
}

/*
 * The directory of this path, or the nearest one above it that is there: what is still
 * to be made will be made below it.  -1 where that would be the root directory, or
 * where it cannot be reached: then nobody reaches what is in it either.
 */
static int open_nearest(const char *path)
{
	char dir[PATH_MAX];
	int n = snprintf(dir, sizeof(dir), "%s", path);

	while (n > 0 && n < (int)sizeof(dir)) {
		char *slash;
		int fd = fs_open_at(AT_FDCWD, dir, FS_LINKS_ALL, O_PATH | O_DIRECTORY, 0);

		if (fd >= 0 || errno != ENOENT)
			return fd;
		slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			break;
		*slash = '\0';
	}
	return -1;
}

static int add_place(int ruleset, const struct sandbox_place *p, uint64_t handled)
{
	struct path_beneath rule = { rights_of(p, handled), p->fd };
	long result;

	if (p->path)
		rule.parent_fd = open_nearest(p->path);
	if (rule.parent_fd < 0)
		return 0;
	result = syscall(NR_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0);
	if (p->path)
		close(rule.parent_fd);
	return result < 0 ? POP_E_SYS : 0;
}

int sandbox_enter_files(const struct sandbox_place *places, size_t n)
{
	struct ruleset all = { .fs = FS_ALL_OF_1 };
	int abi = sandbox_files_abi(), fd, err = 0;
	size_t size = sizeof(all.fs);

	/* with ABI 1 a message of a Maildir could not go from new to cur */
	if (abi == 0 || (abi == 1 && n > 0))
		return 0;
	if (abi >= 2)
		all.fs |= FS_REFER;
	if (abi >= 3)
		all.fs |= FS_TRUNCATE;
	if (abi >= 5)
		all.fs |= FS_IOCTL_DEVICE;
	if (abi >= 4) {
		all.net = NET_BIND_CONNECT;
		size += sizeof(all.net);
	}
	if (abi >= 6) {
		all.scope = SCOPE_SOCKET_SIGNAL;
		size += sizeof(all.scope);
	}
	fd = (int)syscall(NR_CREATE_RULESET, &all, size, 0);
	if (fd < 0)
		return POP_E_SYS;
	for (size_t i = 0; i < n && err == 0; i++)
		err = add_place(fd, &places[i], all.fs);
	if (err == 0 && syscall(NR_RESTRICT_SELF, fd, 0) < 0)
		err = POP_E_SYS;
	close(fd);
	return err;
}

#else

bool sandbox_has_files(void)
{
	return false;
}

int sandbox_files_abi(void)
{
	return 0;
}

int sandbox_enter_files(const struct sandbox_place *places, size_t n)
{
	(void)places;
	(void)n;
	return 0;
}

#endif
