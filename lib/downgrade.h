/*
 * downgrade.h - header sections in ASCII for clients that do not know UTF-8 in
 * them (RFC 6857).
 *
 * Text and names become encoded words (RFC 2047), parameters extended ones (RFC
 * 2231).  An address that is not ASCII cannot be written; its text stands as the
 * name of an empty group, "=?UTF-8?B?...?= :;".  Fields that have no place for
 * encoded words get the prefix Downgraded- and their text.  What is no UTF-8 becomes
 * U+FFFD.  Fields in ASCII stay as they are, octet by octet.
 */
#ifndef POP_DOWNGRADE_H
#define POP_DOWNGRADE_H

#include "buf.h"
#include "err.h"

#define DOWNGRADE_HEAD_MAX (UINT32_C(1) << 20) /* a longer header section stays as it is */
#define DOWNGRADE_OUT_MAX  (8 * (size_t)DOWNGRADE_HEAD_MAX)

/*
 * Bytes of the header section at the begin of a message, with the empty line that
 * ends it; 0: its end is not among these n.
 */
size_t downgrade_head_length(const uint8_t *data, size_t n);

/*
 * Append a header section of n bytes to out in ASCII.  Line ends made here are LF.
 * 0, POP_E_MEMORY or POP_E_LONG (out is full).
 */
int downgrade_head(const uint8_t *head, size_t n, struct buf *out);

#endif
