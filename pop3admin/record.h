/*
 * record.h - what the maildrop's owner tells pop3admin: typed records over a
 * stream, written and read with bounds.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#define RECORD_MAX 4096 /* bytes of payload */

enum record_type {
	/* payload: */
	REC_STAT = 1, /* u64 messages, u64 octets */
	REC_MESSAGE,  /* u64 msgno, u64 octets, str uidl */
	REC_FINDING,  /* str: what is not well, and how to mend it */
	REC_NOTE,     /* u64 syslog level, str */
	REC_LOCK,     /* u64 held, u64 pid, str record as lock_record_format() writes it */
	REC_DOTLOCK,  /* u64 enum dotlock_ask; answered by one i32, a code of enum pop_err */
	REC_IMPORT,   /* u64 entries, u64 mapped, u64 changed, u64 messages without */
	REC_EXPORT,   /* u64 msgno, u64 octets, str uidl, str digest, str plain, in hex */
	REC_CHANGE,   /* u64 msgno, str old id, str new id */
	REC_REPAIR,   /* str: what was mended, or would be */
	REC_EXPIRED,  /* u64 1: nobody had retrieved it, u64 octets, str uidl */
	REC_TRASH,    /* u64 day of the removal, u64 octets, str uidl */
	REC_LINE,     /* str: of a header section */
	REC_PURGED,   /* u64 messages */
	REC_END,      /* u64 -code, u64 errno, str why; nothing follows */
};

enum dotlock_ask { DOTLOCK_MAKE = 1, DOTLOCK_REMOVE, DOTLOCK_TAKE_OVER };

struct record {
	uint16_t type;
	uint16_t len;
	uint16_t pos; /* next octet to get */
	bool bad;     /* something did not fit, or was not there; stays set */
	uint8_t data[RECORD_MAX];
};

/* Begin a record; put what its type says; a string is cut where it does not fit. */
void record_begin(struct record *r, enum record_type type);
void record_put_u64(struct record *r, uint64_t value);
void record_put_str(struct record *r, const char *s);

/* Get in the same order; 0 and "" where there is nothing left (then r->bad). */
uint64_t record_get_u64(struct record *r);
void record_get_str(struct record *r, char *out, size_t size);
/* Everything was there, fitted, and nothing is left over. */
bool record_complete(const struct record *r);

#endif
