/*
 * imported.h - ids that an administrator took over from another server: the
 * file `uidl` of a state directory (design section 7, UIDL, rule 1).
 *
 * A text file, to read and keep; blank-separated fields, '#' comments:
 *
 *   pop3d-uidl 1
 *   base ID NAME        of the Maildir message with the base NAME; octets of NAME
 *                       outside 0x21..0x7E and '%' are written %XX
 *   digest ID HEX N     of the Nth message (from 1) of an mbox with this digest
 *
 * Its owner can write it: every line is checked, and what is no line of ours
 * makes the whole file unusable rather than an id change in silence.
 */
#ifndef POP_IMPORTED_H
#define POP_IMPORTED_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include "maildrop.h"

#define IMPORTED_FILE	 "uidl"
#define IMPORTED_KEY_MAX 800 /* a base of 255 octets, each as %XX */

struct imported_entry {
	uint32_t key; /* offset in text: "base NAME" or "digest HEX N" */
	uint32_t id;  /* offset in text */
};
struct imported {
	struct imported_entry *entries; /* sorted by key once settled; owned */
	size_t count, size;
	char *text; /* NUL-terminated strings; owned */
	size_t len, text_size;
	bool sorted;
	bool changed; /* since it was loaded */
};

/* Empty; nothing is allocated. */
void imported_init(struct imported *im);
void imported_release(struct imported *im);

/*
 * Read the file of a state directory (O_PATH is enough).  A missing file is
 * empty.  0, POP_E_CORRUPT (*why says the line), POP_E_UNSAFE (no regular file
 * of this owner), POP_E_SYS, POP_E_MEMORY.  im is initialised either way.
 */
int imported_load(struct imported *im, int state_fd, uid_t owner, struct pop_why *why);

/* The id of a Maildir base, or of the ordinal-th (from 1) message with a digest; NULL: none. */
const char *imported_by_base(struct imported *im, const char *base, size_t len);
const char *imported_by_digest(struct imported *im, const uint8_t digest[16], uint32_t ordinal);

/* A number below im->count that stands for this digest, whatever the ordinal; SIZE_MAX: no entry.
 */
size_t imported_digest_place(struct imported *im, const uint8_t digest[16]);

/* Set one; 1 where that changes something, 0 where it stood so, POP_E_SYNTAX (no id), ... */
int imported_set_base(struct imported *im, const char *base, size_t len, const char *id);
int imported_set_digest(struct imported *im, const uint8_t digest[16], uint32_t ordinal,
			const char *id);

/* The same for a key as imported_keys_make() gives it. */
int imported_set(struct imported *im, const char *key, const char *id);

/*
 * The keys of all messages of md, in its order.  All UIDLs must be known, and
 * those of an mbox made without an index (env.fresh), so that there are digests.
 * A message that can have none has "".  Release it either way.
 * 0, POP_E_MEMORY, or an error of msg_get().
 */
struct imported_keys {
	char *text;   /* owned */
	uint32_t *at; /* offset of each in text; owned */
	size_t count, len, size;
};
int imported_keys_make(struct imported_keys *k, struct maildrop *md);
const char *imported_key(const struct imported_keys *k, size_t idx);
void imported_keys_release(struct imported_keys *k);
/* "base NAME" for a Maildir base into out.  0, or POP_E_LONG (none, or above 255 octets). */
int imported_base_key(const char *base, size_t len, char out[IMPORTED_KEY_MAX]);
/* "digest HEX N" into out. */
void imported_digest_key(const uint8_t digest[16], uint32_t ordinal, char out[IMPORTED_KEY_MAX]);

/* Replace the file: temporary file, fsync, rename, fsync of the directory.  0 or POP_E_SYS. */
int imported_save(struct imported *im, int state_fd);

/*
 * Give every message of md that has no settled id the imported one, where there
 * is one that no other message has (MSG_UIDL and MSG_SETTLED); where ids were imported
 * since the index was made (md->imports_new) also to those that have one.  Messages of an
 * mbox must have their digests.  Reads the file of md->env.state_fd; costs one
 * open where there is none.  0 or an error of imported_load().
 */
int imported_apply(struct maildrop *md);

#endif
