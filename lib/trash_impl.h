/*
 * trash_impl.h - what the readers of trash share.  Only for lib/trash*.c.
 */
#ifndef POP_TRASH_IMPL_H
#define POP_TRASH_IMPL_H

#include "imported.h"
#include "trash.h"
#include "wire.h"

/* The directory of all that is kept.  A descriptor, or -1 with errno. */
int trash_root(const struct maildrop_env *env, bool of_mbox);
/* mbox: what a scan says of the message in its file.  0, POP_E_CORRUPT, POP_E_CHANGED, POP_E_SYS.
 */
int trash_scan(int fd, const struct trash_item *item, struct msg *m);
/* mbox: the digest that its id is derived from. */
int trash_digest(struct maildrop *md, int fd, const struct msg *m, uint8_t out[1][16]);
/* Maildir: the id that follows from the name of a file. */
int trash_plain_id(struct maildrop *md, const char *name, char id[UIDL_MAX + 1]);
/* mbox: how many messages of a file are kept still.  0, or an error: it cannot be told. */
int trash_box_count(int dir, const char *name, size_t *n);

#endif
