/*
 * journal_file.h - the file behind journal.h: a plan and two slots.
 *
 *     0      the plan's head
 *     4096   head of slot 0       8192   head of slot 1
 *     12288  the plan's ranges, then the data of slot 0, the data of slot 1
 *
 * Numbers are the machine's own; another byte order is another version.  Only
 * for lib/journal*.c.
 */
#ifndef POP_JOURNAL_FILE_H
#define POP_JOURNAL_FILE_H

#include <sys/stat.h>
#include "hash.h"
#include "journal.h"

#define JOURNAL_NAME	   "journal"
#define JOURNAL_SLOT_MAX   (16u << 20) /* bytes of data in a slot */
#define JOURNAL_SLOT_MIN   (64u << 10)
#define JOURNAL_BLOCK	   4096u
#define JOURNAL_RANGES_MAX (1u << 24)
#define JOURNAL_RANGES_AT  (3 * (uint64_t)JOURNAL_BLOCK)

struct journal_sum {
	uint64_t a, b;
};

/* What is to be kept, fixed before the mailbox is touched. */
struct journal_plan {
	char magic[8];
	uint32_t byte_order;
	uint32_t version;
	uint64_t slot_size;
	uint64_t n_ranges;
	uint64_t off; /* everything before it is kept as it is */
	uint64_t end; /* the size of the mailbox; what is behind it is kept too */
	struct journal_sum ranges_sum;
	struct journal_sum begin; /* of the first bytes behind off, before anything was moved */
	struct journal_sum sum;	  /* of all before it */
};

/* One state of the work; the valid one with the higher number counts. */
struct journal_record {
	char magic[8];
	uint64_t seq; /* 1, 2, ...; record n is in slot (n - 1) % 2 */
	struct journal_sum plan_sum;
	uint64_t end;	 /* the size of the mailbox, mail appended since the plan included */
	uint64_t w;	 /* everything before it is in its place */
	uint64_t range;	 /* the next kept byte: in this range (n_ranges: behind the plan's end), */
	uint64_t at;	 /* at this offset */
	uint64_t length; /* bytes of data in this slot, which go to w */
	struct journal_sum data_sum;
	uint64_t done;		/* 1: everything is moved; only the end at w has to be cut off */
	struct journal_sum fit; /* of samples of the mailbox that stay as they are; see fit_of() */
	struct journal_sum sum; /* of all before it */
};

struct journal {
	int dir_fd; /* borrowed */
	int fd;	    /* of the journal, owned */
	struct journal_plan plan;
	struct range *ranges;	   /* plan.n_ranges of them; owned where load made them */
	struct journal_record rec; /* the last one written or loaded */
};

/* A checksum of 128 bits against torn writes, not against an attacker; _end: of what was fed. */
void journal_sum_end(const struct sum64 *s, struct journal_sum *out);
void journal_sum_of(const void *data, size_t n, struct journal_sum *out);
bool journal_sum_equal(const struct journal_sum *x, const struct journal_sum *y);

/*
 * Make the journal file with all its room: slots of want bytes, halved down to
 * JOURNAL_SLOT_MIN where there is less; then write the plan (not synced).
 * 0, POP_E_EXISTS, POP_E_SYS.
 */
int journal_create(struct journal *j, uint64_t want);

/*
 * Write bytes into the data of the slot of record rec.seq + 1; nothing is synced.
 * _hint: let the disk begin with its first bytes; the sync that follows then waits less.
 */
int journal_put_data(const struct journal *j, const void *data, size_t length, uint64_t offset);
void journal_hint(const struct journal *j, size_t length);

/*
 * Number and seal j->rec, write it to its slot and sync the journal; the first
 * one syncs the directory too.
 */
int journal_commit(struct journal *j);

/* What journal_load() says beside POP_E_SYS and POP_E_MEMORY. */
enum journal_load {
	JOURNAL_LOAD_VALID, /* j->rec is the state to go on from */
	JOURNAL_LOAD_BLANK, /* no record was ever written */
	JOURNAL_LOAD_TORN,  /* the first record, or its data, is not whole; the plan is */
	JOURNAL_LOAD_BAD,   /* damaged or foreign */
};

/* Read an existing journal (j->fd) and check all that can be checked without the mailbox. */
int journal_load(struct journal *j);
/* Read the data of the record in hand; data has room for j->rec.length. */
int journal_get_data(const struct journal *j, void *data);

#endif
