/*
 * penalty.h - failed logins remembered across processes: run_dir/penalty, a table
 * of fixed size that every monitor maps, keyed by hashes of address and user.
 * Broken TLS handshakes of an address are counted apart: they never stand in the
 * way of a login, only of the next handshake.
 *
 * An entry holds one time: the moment at which all its failures are forgotten.
 * A failure puts it step_ms further away, so it fades at the same pace.  What
 * lies within `after` steps from now costs nothing; of an address what goes
 * beyond is the time that the next attempt has to wait, and as each attempt that
 * waits moves the moment on, many at once follow each other: one in step_ms.
 *
 * Nothing is locked, so nobody can be stuck: entries are changed by compare and
 * swap.  Names are not in the table, only their hashes under the table's own key;
 * addresses are, to be shown.
 */
#ifndef POP_PENALTY_H
#define POP_PENALTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define PENALTY_FILE	"penalty"
#define PENALTY_KEY_LEN 16
#define PENALTY_REFUSED UINT32_MAX
#define PENALTY_KEEP_MS 3600000 /* no entry is kept longer, however many failures it has */
#define PENALTY_WAIT_MS 60000	/* no handshake waits for what is older */

struct penalty_table;
struct penalty {
	struct penalty_table *table; /* mapped; NULL: not open */
};

/* penalty_* keys of pop3d.conf(5); for handshakes penalty_tls_*, and no user. */
struct penalty_rules {
	uint32_t after;	      /* failures that cost nothing */
	uint32_t step_ms;     /* of each further one; 0: the brake is off */
	uint32_t max_ms;      /* an address that would wait longer is refused */
	uint32_t user_max_ms; /* a user waits no longer, from wherever */
};

/*
 * Map the table of run_dir.  Without create POP_E_MISSING where there is none;
 * with it, one that is damaged or missing is made.  0, POP_E_SYS, POP_E_UNSAFE,
 * POP_E_CORRUPT.
 */
int penalty_open(struct penalty *p, const char *run_dir, bool create, struct pop_why *why);
void penalty_close(struct penalty *p);
void penalty_key(const struct penalty *p, uint8_t key[PENALTY_KEY_LEN]);
/* Is there any failure that is not forgotten?  One read. */
bool penalty_live(const struct penalty *p, uint64_t now_ms);
/* Milliseconds since the epoch. */
uint64_t penalty_now_ms(void);

/* The hash of an address (IPv6: its /64); 0 for what is none, which is never braked. */
uint64_t penalty_hash_address(const uint8_t key[PENALTY_KEY_LEN], const char *address);
/* The hash of a user's name; never 0. */
uint64_t penalty_hash_user(const uint8_t key[PENALTY_KEY_LEN], const char *name);
/* The hash of an address for handshakes; 0 as above. */
uint64_t penalty_hash_handshake(const uint8_t key[PENALTY_KEY_LEN], const char *address);

/*
 * Before a credential is looked at: the milliseconds to wait, or PENALTY_REFUSED.
 *   taken  out: the address was charged for this attempt already
 */
uint32_t penalty_look(struct penalty *p, const struct penalty_rules *r, uint64_t address,
		      uint64_t user, uint64_t now_ms, bool *taken);
/* It was wrong.  text: the address to remember it by. */
void penalty_failed(struct penalty *p, const struct penalty_rules *r, uint64_t address,
		    const char *text, uint64_t user, uint64_t now_ms, bool taken);
/* It was right: what was taken is given back. */
void penalty_passed(struct penalty *p, const struct penalty_rules *r, uint64_t address,
		    uint64_t now_ms);

/* The milliseconds that a handshake has to wait, at most max_ms. */
uint32_t penalty_handshake(const struct penalty *p, const struct penalty_rules *r, uint64_t hash,
			   uint64_t now_ms);
/* It was broken off.  However many there were, nothing waits any more PENALTY_WAIT_MS later. */
void penalty_handshake_broken(struct penalty *p, const struct penalty_rules *r, uint64_t hash,
			      const char *address, uint64_t now_ms);

enum penalty_kind { PENALTY_ADDRESS, PENALTY_USER, PENALTY_HANDSHAKE };
struct penalty_entry {
	enum penalty_kind kind;
	uint64_t hash;	   /* as penalty_hash_*() */
	char address[64];  /* IPv6 as a network; "" for a user */
	uint64_t until_ms; /* when it is forgotten */
};
/* Call each for every entry that is not forgotten, until it returns non-zero. */
int penalty_each(const struct penalty *p, uint64_t now_ms,
		 int (*each)(void *ctx, const struct penalty_entry *e), void *ctx);
/* Forget one entry, or (hash 0) all. */
void penalty_clear(struct penalty *p, uint64_t hash);

#endif
