/*
 * fds.h - which descriptors a process keeps.
 */
#ifndef POP_FDS_H
#define POP_FDS_H

#include <stddef.h>

/*
 * Close every descriptor but 0, 1, 2 and the n of keep (sorted here; those below
 * 3 are ignored).  Cannot fail: what is not open is closed already.
 */
void fds_close_all_but(int *keep, size_t n);

#endif
