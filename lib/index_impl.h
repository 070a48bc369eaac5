/*
 * index_impl.h - the format of an index, for lib/index*.c alone.
 *
 * A header, the parts one after the other, and the checksums of all their blocks.
 * Each part is cut into blocks of at most INDEX_BLOCK bytes that hold whole
 * elements.  Octets and ids are columns of their own, so that the lists of a
 * session are copied, not made.
 */
#ifndef POP_INDEX_IMPL_H
#define POP_INDEX_IMPL_H

#include "index.h"

#define INDEX_FILE    "index"
#define INDEX_MAGIC   "pop3dix"
#define INDEX_ORDER   0x01020304u
#define INDEX_VERSION 1

enum index_part {
	PART_RECORDS, /* struct index_record */
	PART_OCTETS,  /* uint64_t */
	PART_IDS,     /* mbox: struct uidl_digest_ref; Maildir: struct uidl_string_ref */
	PART_HASHES,  /* Maildir: uint64_t, of names and inodes; mbox: nothing */
	PART_ID_TEXT, /* Maildir: the ids, without NUL; what is no id yet is the name's base */
	PART_NAMES,   /* strings with NUL, each within one block: see index_record.name */
	PARTS,
};

struct index_header {
	char magic[8];
	uint32_t order; /* INDEX_ORDER in the byte order of all that follows */
	uint32_t version;
	uint32_t kind; /* enum maildrop_kind */
	uint32_t bits;
	uint8_t path[16]; /* digest of the maildrop's path */
	uint8_t key[16];  /* of PART_HASHES, random */
	uint64_t count, octets;
	uint64_t id_text_size, names_size;
	uint64_t file_size;
	uint64_t sums_sum; /* of the checksums */
	struct file_stamp made_from[2], imported;
	uint64_t tail_sum, last;
	uint64_t sum; /* of all before */
};
_Static_assert(sizeof(struct index_header) == 224, "header without gaps");

struct index_record {
	uint64_t place; /* mbox: offset; Maildir: mtime_ns */
	uint64_t length;
	uint64_t mark; /* mbox: header_sum; Maildir: ino */
	uint32_t header_length, from_length, trailing_octets;
	uint32_t flags;
	/*
	 * 0: none, else 1 + offset in PART_NAMES.  mbox: its own id.  Maildir: the file name
	 * where RECORD_WHOLE_NAME, else what follows the base in it.
	 */
	uint32_t name;
	uint32_t zero;
};
_Static_assert(sizeof(struct index_record) == 48, "record without gaps");
_Static_assert(sizeof(struct uidl_digest_ref) == 20 && sizeof(struct uidl_string_ref) == 4,
	       "references without gaps");

/* The flags of a message that outlive a session. */
#define INDEX_FLAGS                                                                              \
	(MESSAGE_WIRE_FORM | MESSAGE_NO_DOT | MSG_DIGEST | MSG_IN_NEW | MSG_UIDL | MSG_SETTLED | \
	 MSG_STALE)
#define RECORD_WHOLE_NAME 0x80000000u

/* Where a part lies and how it is cut. */
struct index_extent {
	uint64_t start; /* in the file */
	uint64_t size;	/* bytes */
	uint64_t each;	/* bytes of a block */
	uint64_t first; /* the number of its first block */
};

/* Lay the parts out.  The number of blocks; *end: where the checksums begin. */
uint64_t index_layout(const struct index_header *h, struct index_extent extents[PARTS],
		      uint64_t *end);
/* Bytes of one element of a part; 1 for text; 0: the part is empty. */
size_t index_element(enum maildrop_kind kind, enum index_part part);
/* The hash of a file's name and inode, its lowest bit tells whether it is in new/; never 0. */
uint64_t index_hash(const uint8_t key[16], const char *name, uint64_t ino, bool in_new);
void index_path_digest(const struct spec *spec, uint8_t out[16]);

#endif
