/*
 * mon_tls.h - the monitor's part of TLS: which files, and whether they are good.
 */
#ifndef POP3D_MON_TLS_H
#define POP3D_MON_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include "mon.h"
#include "role.h"

/* The files for one server name, open. */
struct mon_pair {
	int certs[ROLE_KEYS_MAX], keys[ROLE_KEYS_MAX];
	unsigned n_certs, n_keys;
};
/* Open both lists.  0, or an error with a sentence that names the key and the file. */
int mon_pair_open(struct mon_pair *p, const char *certificate, const char *key,
		  struct pop_why *why);
void mon_pair_close(struct mon_pair *p);

/* What was found out about a pair. */
struct mon_verdict {
	bool good;
	int64_t not_before_s, not_after_s; /* of the certificates, where good */
	struct pop_why why;		   /* where not */
};
/* 0, or a negative code where nothing is known of just these files. */
int mon_verdict_load(const struct monitor *mon, const struct mon_pair *p, struct mon_verdict *v);
/* Remember; that this may fail harms nothing. */
void mon_verdict_save(const struct monitor *mon, const struct mon_pair *p,
		      const struct mon_verdict *v);

#endif
