/*
 * hooks.c - the page, which role this is, and what fails; see hooks.h.
 *
 * The linker's --wrap brings every call of the program and of the libraries that are
 * linked statically to the __wrap_ functions below.
 */
#include "hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "../../pop3d/ipc.h"

#define ENV_NAME "POP3D_HOOK_PAGE"
#ifndef SYS_openat2
#define SYS_openat2 437 /* on every architecture */
#endif

struct hook_page *hook_page;
uint32_t hook_self;
int hook_control = -1;
static char env_entry[256];

static int connect_control(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), high;

	if (fd < 0)
		return -1;
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", hook_page->control);
	high = fcntl(fd, F_DUPFD_CLOEXEC, 200); /* out of the way, and above no limit yet */
	close(fd);
	if (high < 0 || connect(high, (struct sockaddr *)&to, sizeof(to)) < 0)
		abort();
	return high;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv(ENV_NAME);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *page;

	if (fd < 0)
		return;
	page = mmap(NULL, sizeof(*hook_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (page == MAP_FAILED)
		abort();
	hook_page = page;
	snprintf(env_entry, sizeof(env_entry), ENV_NAME "=%s", path);
	/* pop3d is the monitor until it says that it is something else */
	if (strcmp(program_invocation_short_name, "pop3d") == 0)
		hook_self = ROLE_MONITOR;
	if (hook_page->puppet_role)
		hook_control = connect_control();
}

static bool fails(enum hook_what what)
{
	uint32_t nth;

	if (!hook_page)
		return false;
	nth = __atomic_add_fetch(&hook_page->tried[hook_self][what], 1, __ATOMIC_SEQ_CST);
	if (hook_page->fail_what != what || hook_page->fail_role != hook_self ||
	    hook_page->fail_nth == 0 || nth < hook_page->fail_nth ||
	    (nth > hook_page->fail_nth && !hook_page->fail_on))
		return false;
	hook_page->failed = 1;
	errno = what == FAIL_MEMORY ? ENOMEM : what == FAIL_FORK ? EAGAIN : EMFILE;
	return true;
}

/* ---- which role ---------------------------------------------------------- */

void __real_role_title(const char *title);
void __wrap_role_title(const char *title);
void __wrap_role_title(const char *title)
{
	static const struct {
		const char *title;
		uint32_t role;
	} names[] = {
		{ "pop3d-session", ROLE_SESSION },   { "pop3d-auth", ROLE_AUTH },
		{ "pop3d-maildrop", ROLE_MAILDROP }, { "pop3d-digest", ROLE_DIGEST },
		{ "pop3d-tls", ROLE_TLS },	     { "pop3d-keeper", ROLE_KEEPER },
		{ "pop3d-writer", ROLE_WRITER },     { "pop3d-sweep", HOOK_ROLES - 1 },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].title, title) == 0)
			hook_self = names[i].role;
	__real_role_title(title);
}

/* The control socket survives what closes every other descriptor. */
void __real_fds_close_all_but(int *keep, size_t n);
void __wrap_fds_close_all_but(int *keep, size_t n);
void __wrap_fds_close_all_but(int *keep, size_t n)
{
	int all[64];

	if (hook_control < 0 || n + 1 > sizeof(all) / sizeof(all[0])) {
		__real_fds_close_all_but(keep, n);
		return;
	}
	if (n > 0)
		memcpy(all, keep, n * sizeof(*keep));
	all[n] = hook_control;
	__real_fds_close_all_but(all, n + 1);
}

/* A helper's environment is empty; it needs the page. */
int __real_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[]);
int __wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	char *with[] = { env_entry, NULL };

	return __real_execve(path, argv, hook_page && !envp[0] ? with : envp);
}

int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	char *with[] = { env_entry, NULL };

	if (fails(FAIL_FORK))
		return EAGAIN;
	return __real_posix_spawn(pid, path, files, attr, argv,
				  hook_page && !envp[0] ? with : envp);
}

/* ---- memory ---------------------------------------------------------------- */

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
	return fails(FAIL_MEMORY) ? NULL : __real_malloc(n);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return fails(FAIL_MEMORY) ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
	return fails(FAIL_MEMORY) ? NULL : __real_realloc(p, n);
}

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails(FAIL_MEMORY) ? NULL : __real_reallocarray(p, n, size);
}

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s)
{
	return fails(FAIL_MEMORY) ? NULL : __real_strdup(s);
}

char *__real_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n)
{
	return fails(FAIL_MEMORY) ? NULL : __real_strndup(s, n);
}

void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	return fails(FAIL_MEMORY) ? MAP_FAILED : __real_mmap(at, n, prot, flags, fd, offset);
}

/* ---- processes ------------------------------------------------------------- */

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	return fails(FAIL_FORK) ? -1 : __real_fork();
}

/* pop3d-tls makes its keeper by clone(2); files are opened by openat2(2). */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_clone && fails(FAIL_FORK))
		return -1;
	if (number == SYS_openat2 && fails(FAIL_FILES))
		return -1;
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- descriptors ------------------------------------------------------------- */

#define FILE_CALL(name, params, args)                               \
	int __real_##name params;                                   \
	int __wrap_##name params;                                   \
	int __wrap_##name params                                    \
	{                                                           \
		return fails(FAIL_FILES) ? -1 : __real_##name args; \
	}
FILE_CALL(socketpair, (int domain, int type, int protocol, int ends[2]),
	  (domain, type, protocol, ends))
FILE_CALL(memfd_create, (const char *name, unsigned flags), (name, flags))
FILE_CALL(dup, (int fd), (fd))

DIR *__real_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd)
{
	return fails(FAIL_FILES) ? NULL : __real_fdopendir(fd);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return fails(FAIL_FILES) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return fails(FAIL_FILES) ? -1 : __real_openat(dir, path, flags, mode);
}

/* ---- the clock ---------------------------------------------------------------- */

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	int err = __real_clock_gettime(clock, ts);

	if (err == 0 && hook_page && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += hook_page->clock_jump_s;
	else if (err == 0 && hook_page && clock == CLOCK_MONOTONIC)
		ts->tv_sec += hook_page->time_jump_s;
	return err;
}

time_t __real_time(time_t *t);
time_t __wrap_time(time_t *t);
time_t __wrap_time(time_t *t)
{
	time_t now = __real_time(NULL);

	if (hook_page)
		now += hook_page->clock_jump_s;
	if (t)
		*t = now;
	return now;
}
