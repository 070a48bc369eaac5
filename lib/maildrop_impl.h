/*
 * maildrop_impl.h - what the two backends share.  Only for lib/maildrop.c,
 * lib/mbox*.c, lib/maildir*.c and lib/uidl.c.
 */
#ifndef POP_MAILDROP_IMPL_H
#define POP_MAILDROP_IMPL_H

#include "maildrop.h"

/* One message as the scan saw it. */
struct msg {
	uint64_t offset; /* mbox: of the message, behind its From_ line */
	uint64_t length; /* stored bytes, without the separating empty line */
	uint64_t octets; /* as sent */
	union {
		uint64_t header_sum; /* mbox: sum64 of From_ line and header section as stored */
		uint64_t ino;	     /* Maildir: of the file */
	};
	uint32_t header_length;	  /* stored bytes of the header section with its empty line */
	uint32_t from_length;	  /* mbox: bytes of the From_ line before offset */
	uint32_t trailing_octets; /* octets of empty lines at its end, cut at UINT32_MAX */
	uint32_t flags;		  /* MESSAGE_*, MSG_* */
	uint32_t name;		  /* Maildir: offset of its file name in the names */
	uint32_t suffix;	  /* of its UIDL: 0 none, else "-N", N >= 2 */
	uint32_t uidl;		  /* offset of its whole UIDL in the names, where MSG_UIDL */
	uint8_t digest[16];	  /* of its UIDL, where MSG_DIGEST */
	int64_t mtime_ns;	  /* Maildir: of the file */
};
#define MSG_DIGEST  0x200  /* digest is known; Maildir: and the UIDL is made from it */
#define MSG_IN_NEW  0x400  /* Maildir: the file is in new/, else in cur/ */
#define MSG_UIDL    0x800  /* the UIDL is a string of its own (imported) */
#define MSG_SETTLED 0x1000 /* the UIDL is settled: it stays what it is */
#define MSG_STALE   0x2000 /* it was found changed: to be measured anew at the next open */

/* A message as a session sees it. */
struct view_entry {
	size_t idx; /* in the table of messages */
	uint64_t octets;
	bool converted; /* with another header section */
};

struct maildrop_backend {
	int (*open)(struct maildrop *md, struct pop_why *why);
	int (*message)(struct maildrop *md, size_t idx, struct maildrop_message *out);
	int (*uidls)(struct maildrop *md); /* make all UIDLs known */
	/* when a message came, in seconds since the epoch: 0, or an error where that is not known
	 */
	int (*came)(struct maildrop *md, const struct msg *m, int64_t *seconds);
	int (*expunge)(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		       size_t *removed, struct pop_why *why);
	void (*save)(struct maildrop *md);
	void (*close)(struct maildrop *md);
};
extern const struct maildrop_backend mbox_backend, maildir_backend;

struct index;
struct msg_change;

/*
 * The table of messages: `indexed` records that stay in an index on disk, those of
 * them that changed in this session beside it, and the rest in memory.
 */
struct maildrop {
	struct maildrop_env env;
	const struct maildrop_backend *backend;
	void *priv;	     /* the backend's */
	struct index *index; /* owned; its strings come before those in names; or NULL */
	size_t indexed;
	struct msg_change *changes; /* owned: a hash of the changed among the indexed */
	size_t n_changes, changes_size;
	struct msg
		*msgs; /* those from `indexed` on; reached through msg_get() and msg_put() alone */
	size_t count, size; /* of all; of msgs allocated */
	uint64_t octets;
	char *names; /* file names (Maildir) and imported ids, NUL-terminated, one after the other
		      */
	size_t names_len, names_size;
	struct view_entry *view; /* owned: the messages that are shown, where those are not all */
	size_t view_count;
	uint64_t view_octets;
	bool viewed; /* view counts, even where it is empty */
	bool read_only;
	bool uidls_known;
	bool index_ids;	  /* the indexed still have the ids that the index tells, all settled */
	bool imports_new; /* ids were imported after the index was made: they come first */
	struct file_stamp imports; /* of the file of imported ids at the start of the session */
	bool changed;		   /* something is known that the index on disk does not tell */
};
/*
 * maildrop_view.c: find out what is shown, after the table is made.  0 or POP_E_MEMORY,
 * or an error of msg_get().
 */
int view_make(struct maildrop *md);
/*
 * maildrop_utf8.c: set octets and converted of a message's entry.  0 or POP_E_MEMORY.
 *   idx  in the table
 */
int utf8_measure(struct maildrop *md, size_t idx, struct view_entry *entry);
/*
 * Make m, shown as idx, what a client without UTF8 gets.  POP_E_DENIED: it does not get
 * it; POP_E_CHANGED, POP_E_MEMORY, POP_E_SYS; on error its descriptor is closed.
 */
int utf8_apply(struct maildrop *md, size_t idx, struct maildrop_message *m);

/* The place in the table of what is shown as idx, which is below maildrop_count(). */
size_t view_place(const struct maildrop *md, size_t idx);
/* Bits of what is shown as bits of the table (caller frees).  NULL: no memory. */
uint8_t *view_bits(const struct maildrop *md, const uint8_t *bits);

/* Copy a record out or in.  0 or POP_E_RANGE, POP_E_CORRUPT, POP_E_SYS. */
int msg_get(struct maildrop *md, size_t idx, struct msg *out);
int msg_put(struct maildrop *md, size_t idx, const struct msg *in);
/* Append one; adds to octets.  0 or POP_E_MEMORY. */
int msg_append(struct maildrop *md, const struct msg *in);
/* Take the last one away again.  0 or an error of msg_get(). */
int msg_drop_last(struct maildrop *md);
/* Make the table that of an index (owned from now on, even on error): all its messages. */
void msg_use_index(struct maildrop *md, struct index *ix);
/* Make the table that of its index again, after msg_clear(). */
void msg_reuse_index(struct maildrop *md);
/* Bring all records into memory; the index stays for its strings.  0 or an error of msg_get(). */
int msg_load_all(struct maildrop *md);
/*
 * Walk the changed among the indexed: *i begins at 0; true and *idx for each, in no order.
 */
bool msg_changed(const struct maildrop *md, size_t *i, size_t *idx);
/* Forget all records, but no strings: what was read of them before stays where it is. */
void msg_clear(struct maildrop *md);
/* Free all of the table. */
void msg_table_release(struct maildrop *md);

/* Append a string of len bytes to the names; *at is where.  0, POP_E_MEMORY or POP_E_LONG (4 GiB).
 */
int names_append(struct maildrop *md, const char *s, size_t len, uint32_t *at);
/* The string at an offset of the names, "" outside them.  Borrowed until the next call or append.
 */
const char *names_get(struct maildrop *md, uint32_t at);

/*
 * The UIDL of a record whose parts are known (after backend->uidls), with a NUL:
 * its own string (MSG_UIDL); 32 hex digits of the digest (MSG_DIGEST; Maildir: "h"
 * before them); else the base of the file name; and the suffix behind it.
 * Its length, or POP_E_CORRUPT where it has no form of a UIDL.
 */
int msg_uidl(struct maildrop *md, const struct msg *m, char out[UIDL_MAX + 1]);

/* The stamp of the imported ids for a new index. */
struct file_stamp maildrop_imports(const struct maildrop *md);
/* Set imports, imports_new, uidls_known and index_ids for a table that begins with all of its
 * index. */
void maildrop_trust_ids(struct maildrop *md);

/* Send a sentence to env.note, if there is one. */
void maildrop_note(struct maildrop *md, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
