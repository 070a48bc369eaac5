/*
 * fds.c - which descriptors a process keeps.
 *
 * Runs in:  every role at its start; pop3admin's children.
 */
#include "fds.h"

#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436 /* the same number on every architecture */
#endif

static void close_between(unsigned first, unsigned last)
{
	/* by its number: not every C library has a function for it */
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	/* kernels before 5.9: inetd and systemd leave no high ones open */
	for (unsigned fd = first; fd <= last && fd < 4096; fd++)
		close((int)fd);
}

void fds_close_all_but(int *keep, size_t n)
{
	unsigned next = 3;

	for (size_t i = 1; i < n; i++) /* a handful: insertion sort */
		for (size_t j = i; j > 0 && keep[j - 1] > keep[j]; j--) {
			int fd = keep[j];

			keep[j] = keep[j - 1];
			keep[j - 1] = fd;
		}
	for (size_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)keep[i];

		if (keep[i] < 3 || fd < next)
			continue;
		if (fd > next)
			close_between(next, fd - 1);
		next = fd + 1;
	}
	close_between(next, ~0U);
}
