/*
 * records.h - who is connected now, and counters of what was done: run_dir/records,
 * a table of fixed size that every monitor maps.
 *
 * Nothing is locked.  A session has a slot of its own, written by its monitor
 * alone between two steps of a sequence number; a slot whose process is gone is
 * stale, and free for the next one.  Counters are only ever added to; those of
 * midnight are copied by who comes first on a day (UTC), so that today's are what
 * has been added since.
 */
#ifndef POP_RECORDS_H
#define POP_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "err.h"
#include "mechs.h"

#define RECORDS_FILE	 "records"
#define RECORDS_SLOTS	 4096
#define RECORDS_NAME_MAX 255

enum record_state {
	RECORD_LOGIN = 1, /* nobody is logged in yet */
	RECORD_OPENING,	  /* the maildrop is being opened */
	RECORD_MAIL,	  /* logged in */
	RECORD_ENDING,
	RECORD_STATE_N
};

/* What is kept of one session, as long as it lasts. */
struct session_record {
	int32_t pid;		   /* the monitor's */
	uint32_t tls_version;	   /* 0x0303, 0x0304; 0: none */
	uint64_t existed_ms;	   /* of the clock since boot: the process was there then */
	int64_t since;		   /* seconds since the epoch */
	uint64_t messages, octets; /* of the maildrop, as it was opened */
	uint8_t state;		   /* enum record_state */
	uint8_t mechanism;	   /* enum mechanism; 0: nobody is logged in */
	char boot_id[38];	   /* "": of this one, or not known */
	char address[64], port[8]; /* "" where the client has none */
	char user[RECORDS_NAME_MAX + 1];
};

struct record_table;
struct record_slot;
struct records {
	struct record_table *table; /* mapped; NULL: not open, and what is written goes nowhere */
	struct record_slot *slot;   /* of this process, or NULL */
	bool of_this_boot;	    /* the table is in memory */
};

/* As run_table_open(). */
int records_open(struct records *r, const char *run_dir, bool create, struct pop_why *why);
void records_close(struct records *r);

/* Fill pid, existed_ms, since and, where the table may outlive a boot, boot_id. */
void record_self(const struct records *r, struct session_record *s);
/* Take a slot for this session.  False where all are in use, or there is no table. */
bool records_take(struct records *r, const struct session_record *s);
/* Write the record anew, where a slot was taken. */
void records_write(struct records *r, const struct session_record *s);
/* Give the slot up. */
void records_leave(struct records *r);

/*
 * Is the process of this record alive?  It is another one where it began later,
 * or the machine did.  Where /proc hides a start time the pid alone decides.
 */
bool record_alive(const struct session_record *s);
/* Call each for every record, stale ones too, until it returns non-zero. */
int records_each(const struct records *r, int (*each)(void *ctx, const struct session_record *s),
		 void *ctx);

/* ---- counters ---- */

/* Why a login failed. */
enum record_failure {
	FAILURE_CREDENTIALS,
	FAILURE_TEMPORARY,
	FAILURE_PERMANENT,
	FAILURE_IN_USE,
	FAILURE_DELAY,
	FAILURE_MALFORMED,
	FAILURE_N
};
/* How a session ended: the order of enum ipc_reason. */
#define RECORD_ENDS_N 7
/* TLS as counted: none, 1.2, 1.3. */
#define RECORD_TLS_N 3
unsigned record_tls(uint32_t version);

#define MECHS_ROOM 24 /* for mechanisms of later versions */
enum record_counter {
	COUNT_SESSIONS,
	COUNT_UNRECORDED, /* sessions that found no slot */
	COUNT_OCTETS,
	COUNT_RETRIEVED,
	COUNT_TOP,
	COUNT_DELETED,
	COUNT_TLS_FAILED, /* handshakes */
	COUNT_FAILURES = 16,
	COUNT_ENDS = COUNT_FAILURES + 16,
	COUNT_TLS = COUNT_ENDS + 16,   /* sessions: version, and once more for resumed ones */
	COUNT_LOGINS = COUNT_TLS + 16, /* mechanism * RECORD_TLS_N + TLS */
	COUNT_N = 240
};

/* One row of what can be shown: a counter, or as many as there are labels. */
struct record_row {
	const char *name; /* "logins" */
	const char *help;
	const char *label, *label2; /* what the counters differ by, or NULL */
	unsigned first, n, n2;	    /* counters first .. first + n * n2 - 1 */
	const char *(*value)(unsigned i), *(*value2)(unsigned i);
};
extern const struct record_row record_rows[];
extern const size_t record_n_rows;

/* Add, at a time in seconds since the epoch. */
void records_add(struct records *r, unsigned counter, uint64_t n, int64_t now);
uint64_t records_total(const struct records *r, unsigned counter);
uint64_t records_today(const struct records *r, unsigned counter, int64_t now);
/* Since when everything is counted, seconds since the epoch. */
int64_t records_since(const struct records *r);

#endif
