/*
 * index.h - what is known of a maildrop between sessions: state_dir/USER/index.
 *
 * Header, records of fixed size, strings, checksums by block.  It is used in
 * place: opening reads the header and the checksums alone, a block is checked
 * when it is first needed.  The mailbox's owner may write it, so nothing of it is
 * believed unchecked, and what a wrong one can do is make its owner's session
 * fail.  One of another byte order, version or maildrop counts as missing.
 *
 * Written under the session lock; damage by a crash shows in the checksums.
 */
#ifndef POP_INDEX_H
#define POP_INDEX_H

#include "maildrop_impl.h"

#define INDEX_BLOCK (64 * 1024)

/* What it was made from, and the totals. */
struct index_head {
	uint64_t count;
	uint64_t octets;
	/* mbox: [0] the file.  Maildir: [SUB_CUR] and [SUB_NEW] of maildir_impl.h, size 0. */
	struct file_stamp made_from[2];
	struct file_stamp imported; /* the file of imported ids, all zero where there was none */
	uint64_t tail_sum;	    /* mbox: sum64 of its last 64 bytes, or fewer */
	uint64_t last;		    /* mbox: where its last separator line begins */
	uint32_t bits;		    /* INDEX_* */
};
#define INDEX_CLEAN(i) (1u << (i)) /* made_from[i] was clean when it was read */
#define INDEX_UIDLS    4u	   /* all ids are settled */
#define INDEX_HIDDEN   8u	   /* mbox: the first message is IMAP servers' internal data */
#define INDEX_OWN_IDS  16u	   /* mbox: some ids are strings of their own */
#define INDEX_PLAIN    32u	   /* Maildir: every id is the base of its name, and they ascend */
#define INDEX_BITS     63u

struct index;

/*
 * Open the index of a maildrop and check header and totals; a small one whole.
 * 0 and *out; POP_E_MISSING: there is none, or none that can be used.
 */
int index_open(struct index **out, int state_fd, const struct spec *spec);
void index_close(struct index *ix); /* NULL is allowed */
const struct index_head *index_head(const struct index *ix);

/*
 * Copy a record.  Its strings have handles instead of offsets: name is i, uidl is
 * count + i; index_string() knows them.  0, POP_E_CORRUPT (damaged, or impossible
 * values) or POP_E_SYS.
 */
int index_get(struct index *ix, size_t i, struct msg *out);

/* Handles of strings lie below it. */
uint32_t index_handles(const struct index *ix);
/* The string of a handle, NULL where it is damaged.  Borrowed until the next call. */
const char *index_string(struct index *ix, uint32_t handle);

/*
 * Copy a whole column to fd at offset: octets as uint64_t; ids as struct
 * uidl_digest_ref (mbox, where not INDEX_OWN_IDS) or struct uidl_string_ref (Maildir;
 * their strings go to another offset).  0, POP_E_CORRUPT, POP_E_SYS.
 */
int index_copy_octets(struct index *ix, int fd, off_t offset);
int index_copy_ids(struct index *ix, int fd, off_t offset, off_t strings, uint64_t *string_bytes);

/*
 * Maildir: the hashes of all files' names and inodes (count of them), 0 where one must not
 * be believed (MSG_STALE); and the hash of a file in this index.  The lowest bit tells
 * whether it is in new/.
 */
int index_hashes(struct index *ix, uint64_t *out);
uint64_t index_hash_of(const struct index *ix, const char *name, uint64_t ino, bool in_new);

/* Make a new index of `count` records; exactly one of commit and abort ends it. */
struct index_writer;
int index_write_begin(struct index_writer **out, int state_fd, const struct spec *spec,
		      uint64_t count);
/*
 * The next record.
 *   name  Maildir: its file name; mbox: NULL
 *   uidl  its id where that is no digest (mbox) or differs from the name's base (Maildir), else
 *         NULL.  Maildir: the record then comes back with MSG_UIDL.
 */
int index_write(struct index_writer *w, const struct msg *m, const char *name, const char *uidl);
/* Put it in the place of the old one.  head->count is what was announced.  0 or POP_E_SYS. */
int index_write_commit(struct index_writer *w, const struct index_head *head);
void index_write_abort(struct index_writer *w);

/* Remove the index: it was found to be wrong. */
void index_remove(int state_fd);

#endif
