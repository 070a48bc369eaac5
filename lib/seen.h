/*
 * seen.h - on which day a message was first retrieved: state_dir/USER/seen.
 *
 * A text file that sessions append to:
 *
 *   pop3d-seen 1
 *   DAY UIDL      retrieved on that day, in days since 1970-01-01 (UTC)
 *   met DAY UIDL  not retrieved, and a run of `maildrop expire` met it first on that day
 *   - UIDL        removed: what stands before of this id is over
 *
 * The first line of an id counts, but a retrieval counts more than `met`.  It
 * outlives every index.  Its owner may write it, and can only lose his own mail by
 * that; a line of another form is passed over, and that can only keep mail longer.  All of it under
 * the session lock; none of it may fail a session.
 */
#ifndef POP_SEEN_H
#define POP_SEEN_H

#include "maildrop.h"

#define SEEN_FILE "seen"

/* What is known of one message. */
struct seen {
	uint32_t day; /* since 1970-01-01 */
	enum { SEEN_UNKNOWN, SEEN_MET, SEEN_RETRIEVED } kind;
};

uint32_t seen_today(void);

/*
 * What the file knows of each message of md, in its order, into out[maildrop_count()].
 * A day that is still to come counts as today.  Makes the UIDLs known.
 * 0 (no file: nothing is known), or POP_E_CORRUPT, POP_E_UNSAFE (*why: it is none of
 * ours, nothing is known), POP_E_SYS, POP_E_MEMORY, or an error of maildrop_uidl().
 */
int seen_load(struct maildrop *md, struct seen *out, struct pop_why *why);

/*
 * Replace the file by what is known of the messages of md.  Where nothing is known there will be no
 * file, and where it says so already nothing is written. 0, POP_E_SYS, POP_E_MEMORY, or an error of
 * maildrop_uidl().
 */
int seen_save(struct maildrop *md, const struct seen *known);

/* What a session adds. */
struct seen_lines {
	char *text; /* owned */
	size_t len, size;
};

/*
 * Lines for the messages whose bits are set in retrieved, and for those set in
 * deleted (either may be NULL), to be made before the expunge: after it other
 * messages have these places.  Release them either way.  0, POP_E_MEMORY, or an
 * error of maildrop_uidl().
 */
int seen_lines_make(struct seen_lines *l, struct maildrop *md, const uint8_t *retrieved,
		    const uint8_t *deleted);
void seen_lines_release(struct seen_lines *l);

/*
 * Append them.  1: done, and the file has grown beyond what count messages
 * need, so that it is time for seen_load() and seen_save(); 0: done; POP_E_SYS,
 * POP_E_UNSAFE (*why).
 */
int seen_append(const struct seen_lines *l, const struct maildrop *md, struct pop_why *why);

#endif
