/*
 * proc.h - what /proc tells of a process, to know it again.
 */
#ifndef POP_PROC_H
#define POP_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_BOOT_ID_LEN 36 /* octets of a boot id as text */

/* When it began, in clock ticks since boot (field 22 of its stat); 0 where that is not known.
 *   state  out, field 3, '?' where it is not known */
uint64_t proc_start_time(pid_t pid, char *state);
/* No process has this number (one that nobody has waited for has it still). */
bool proc_is_gone(pid_t pid);
/* /proc/sys/kernel/random/boot_id, "" where it cannot be read. */
void proc_boot_id(char out[PROC_BOOT_ID_LEN + 1]);

#endif
