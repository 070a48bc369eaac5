/*
 * ticket_keys.h - the file of the keys that TLS tickets are sealed with
 * (run_dir/tickets).
 *
 * Every session is a process of its own, so the keys live in a file: the
 * current one, which seals and opens, and the one before it, which only opens.
 * The file has a fixed size and is written by one pwrite; a checksum tells a
 * write that is under way, or damage.  A record lock keeps writers apart where
 * it can be had at once; nobody waits long for it, so that a stopped process
 * holds nobody up: at worst a few tickets are lost, and cost a full handshake.
 */
#ifndef POP_TICKET_KEYS_H
#define POP_TICKET_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

#define TICKET_FILE_NAME  "tickets"
#define TICKET_KEY_LIFE_S 43200 /* a key seals so long, and opens as long again */
#define TICKET_KEY_ID_LEN 4
#define TICKET_KEY_LEN	  32
#define TICKET_FILE_LEN	  104

struct ticket_key {
	uint64_t made_s; /* seconds since the epoch; 0: there is no such key */
	uint8_t id[TICKET_KEY_ID_LEN];
	uint8_t key[TICKET_KEY_LEN];
};
struct ticket_keys {
	struct ticket_key current, previous;
};

/*
 * Open RUN_DIR/tickets for reading and writing; directory and file are made
 * where they are missing.  Both must be root's (or the caller's) alone.
 * A descriptor (CLOEXEC), POP_E_SYS or POP_E_UNSAFE.
 */
int ticket_keys_open(const char *run_dir, struct pop_why *why);

/*
 * Read the keys; make new ones where the file is empty or damaged or the
 * current key is older than TICKET_KEY_LIFE_S (it becomes the previous one
 * then, unless it is older than twice that).  0, POP_E_SYS, POP_E_CORRUPT (it
 * could not be mended).  The caller wipes the keys.
 */
int ticket_keys_load(int fd, uint64_t now_s, struct ticket_keys *keys);

/* Make a new current key, whatever the age of the one that is there.  0, POP_E_SYS. */
int ticket_keys_rotate(int fd, uint64_t now_s, struct ticket_keys *keys);

#endif
