/*
 * process.h - a process of the server: is it one, and ending it in order.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <limits.h>
#include <sys/types.h>

#define SERVER		    "pop3d"
#define PROCESS_END_WAIT_MS 10000 /* for a session that was told to end */

/*
 * The name of the program that runs as pid.  0 or POP_E_SYS (errno: ENOENT or
 * ESRCH where it is gone).  Where the kernel hides its path (a process of ours that
 * is not dumpable, and we are not root) the command name must do: we could signal
 * nobody else's process anyway.
 */
int process_program(pid_t pid, char name[PATH_MAX]);

/* A descriptor that means this process and no later one, or -1 with errno. */
int process_open(pid_t pid);
/* Send SIGTERM: 0, also where it has ended meanwhile; or -1 with errno. */
int process_terminate(int pidfd);
/* Wait until it has ended: 1, or 0 after PROCESS_END_WAIT_MS. */
int process_wait(int pidfd);

#endif
