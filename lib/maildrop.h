/*
 * maildrop.h - one user's mail as POP3 sees it, over an mbox or a Maildir.
 *
 * Runs as the mailbox's owner, under the session lock, which the caller holds.
 * The messages are fixed when it is opened.  idx is the place 0..count-1; the
 * protocol's msgno is idx + 1.
 */
#ifndef POP_MAILDROP_H
#define POP_MAILDROP_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <time.h>
#include <sys/types.h>
#include <sys/stat.h>
#include "err.h"
#include "stamp.h"
#include "spec.h"
#include "digest.h"
#include "mbox_lock.h"

#define UIDL_MAX 70 /* octets of 0x21..0x7E, RFC 1939 */

/* What a maildrop is opened with.  All borrowed until maildrop_close(). */
struct maildrop_env {
	struct spec spec;
	int state_fd; /* the state directory (O_PATH is enough), or -1: keep nothing */
	uid_t uid;    /* who must own the mail */
	int lock_timeout_ms;
	unsigned mbox_locks; /* bits of enum conf_lock */
	bool fresh;	     /* believe no index: scan all, make every id anew (checks, repairs) */
	bool trash;	     /* removed messages are kept for a while (trash.h) */
	bool mark_seen;	     /* Maildir: retrieved messages get the S flag at expunge */
	bool read_only;	     /* delete nothing, whatever may be written */
	unsigned utf8_fallback; /* enum conf_fallback: how messages with 8-bit header sections are
				   given */
	int64_t show_after; /* messages that came before this moment are hidden; seconds since the
			       epoch, 0: all are shown */
	const struct dotlock_ops *dotlock; /* NULL: made by ourselves */
	/* digest_items() or what asks a helper for the same */
	int (*digest)(void *ctx, enum digest_kind kind, int fd, const struct digest_item *items,
		      size_t n, uint8_t (*out)[16]);
	/* something an administrator should know, one sentence (may be NULL) */
	void (*note)(void *ctx, int syslog_level, const char *text);
	void *ctx;
};

struct maildrop;

/*
 * Open: scan (or believe the index), count, change nothing but a missing line
 * end of an mbox.  0 and *out (caller closes), or POP_E_BUSY (lock_timeout),
 * POP_E_UNSAFE or POP_E_DENIED ([SYS/PERM]; *why with the path), POP_E_SYS,
 * POP_E_MEMORY ([SYS/TEMP]).
 */
int maildrop_open(struct maildrop **out, const struct maildrop_env *env, struct pop_why *why);
void maildrop_close(struct maildrop *md); /* NULL is allowed */

size_t maildrop_count(const struct maildrop *md);
uint64_t maildrop_octets(const struct maildrop *md);
bool maildrop_read_only(const struct maildrop *md); /* mail here cannot be deleted */

/* Octets of one message as announced (LIST). */
int maildrop_message_octets(struct maildrop *md, size_t idx, uint64_t *octets);

/*
 * The UIDL of a message, computed when first asked for any.  0, POP_E_SYS,
 * POP_E_CHANGED.  uidl gets at most UIDL_MAX octets and a NUL.
 */
int maildrop_uidl(struct maildrop *md, size_t idx, char uidl[UIDL_MAX + 1]);

/*
 * The lists for a session, as sealed memfds of maildrop_count() records
 * (caller closes).
 * list: uint64_t octets each.
 * uidl: struct uidl_list_head, count * struct uidl_ref, then the strings' bytes.
 */
struct uidl_list_head {
	uint64_t count;
	uint64_t digests;      /* 1: refs are struct uidl_digest_ref, no strings; 0: struct
				  uidl_string_ref */
	uint64_t string_bytes; /* behind the refs */
};
struct uidl_digest_ref {
	uint8_t digest[16];
	uint32_t suffix; /* 0: none; else "-N", N >= 2 */
};
struct uidl_string_ref {
	uint32_t offset; /* in the strings; the length runs to the next ref's offset, or the end */
};
int maildrop_list_fd(struct maildrop *md);
int maildrop_uidl_fd(struct maildrop *md);

#define MESSAGE_WIRE_FORM 1 /* every line end is CRLF and the last line is finished */
#define MESSAGE_NO_DOT	  2 /* no line begins with a dot */

struct maildrop_message {
	int fd;		 /* read-only, holds no lock; see own_fd */
	bool own_fd;	 /* true: the caller closes it; false: the maildrop's, the same for all */
	uint64_t offset; /* where the message begins in fd */
	uint64_t length; /* stored bytes */
	uint64_t octets; /* as sent */
	uint32_t flags;	 /* MESSAGE_* */
	struct file_stamp stamp;
	uint64_t head_length; /* not 0: head_fd stands before this, and the caller closes it */
	int head_fd;	      /* a sealed memfd of that size */
};

/*
 * Verify a message (at its first use: that it is still what was scanned) and
 * tell where it is.  POP_E_DENIED: the client is not to get it (FALLBACK_REFUSE);
 * POP_E_CHANGED: another program changed or removed it;
 * POP_E_RANGE: no such idx; POP_E_SYS.
 */
int maildrop_message(struct maildrop *md, size_t idx, struct maildrop_message *out);

/*
 * Delete the messages whose bit is set in `deleted` (bit idx % 8 of byte
 * idx / 8), note those whose bit is set in `retrieved` (NULL: none), and only
 * then return: 0 and *removed, all of it on disk.  On error every message not
 * removed is still there; *removed says how many went.
 * Called once, last before maildrop_close().
 */
int maildrop_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		     size_t *removed, struct pop_why *why);

/*
 * Save what makes the next open cheap (the index), after the client was
 * answered.  Failure is nobody's business but a note.
 */
void maildrop_save(struct maildrop *md);

#endif
