/*
 * conf_value.h - one value of the configuration, from text and back; for conf.c.
 */
#ifndef POP_CONF_VALUE_H
#define POP_CONF_VALUE_H

#include "conf.h"

/*
 * Where the value of a key lies in conf.  For a key with a NAME what belongs to
 * `server` (len octets, no regard to case) is found or added.  0, POP_E_SYNTAX
 * (no name), POP_E_MEMORY.
 */
int conf_slot(struct conf *conf, const struct conf_key *key, const char *server, size_t len,
	      void **slot);

/*
 * Check and store a value.  0, POP_E_SYNTAX or POP_E_RANGE (*why: what is
 * allowed; the old value stays), POP_E_MEMORY.
 */
int conf_set(void *slot, const struct conf_key *key, const char *value, struct pop_why *why);

/* What a key allows, in words. */
void conf_allowed(const struct conf_key *key, struct pop_why *why);

#endif
