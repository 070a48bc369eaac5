/*
 * conf.h - the configuration: one table of keys, one structure of values
 * (design section 5, pop3d.conf(5)).
 */
#ifndef POP_CONF_H
#define POP_CONF_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <limits.h>
#include "err.h"

#define CONF_DEFAULT_FILE SYSCONFDIR "/pop3d/pop3d.conf" /* SYSCONFDIR comes from the Makefile */

enum conf_cleartext { CLEARTEXT_YES, CLEARTEXT_NO, CLEARTEXT_LOCAL };
enum conf_fallback { FALLBACK_PASSTHROUGH, FALLBACK_SURROGATE, FALLBACK_REFUSE };
enum conf_lock { LOCK_DOTLOCK = 1, LOCK_FCNTL = 2, LOCK_FLOCK = 4 };
enum conf_mech {		 /* bits of auth_mechanisms */
		 MECH_PLAIN = 1, /* governs USER/PASS too */
		 MECH_LOGIN = 2,
		 MECH_CRAM_MD5 = 4,
		 MECH_SCRAM_SHA_1 = 8,
		 MECH_SCRAM_SHA_256 = 16,
		 MECH_SCRAM_SHA_1_PLUS = 32,
		 MECH_SCRAM_SHA_256_PLUS = 64,
		 MECH_EXTERNAL = 128,
		 MECH_OAUTHBEARER = 256,
		 MECH_XOAUTH2 = 512,
		 MECH_GSSAPI = 1024,
};
#define CONF_EXPIRE_NEVER UINT32_MAX

struct conf {
	/* Strings are owned by the structure; never NULL, "" where nothing is set. */
	char *hostname;
	char *users;
	char *secrets;
	char *default_domain;
	char *user_separators;
	char *maildrop;
	char *state_dir;
	char *run_dir;
	char *helper_dir;
	char *unprivileged_user;
	char *keeper_user;
	char *oauth_verifier;
	char *oauth_user;
	char *gssapi_keytab;
	char *tls_certificate;
	char *tls_key;
	char *tls_client_ca;
	char *proxy_protocol;
	char *penalty_exempt;
	struct conf_pair *tls_names; /* tls_certificate.NAME and tls_key.NAME, by NAME */
	size_t n_tls_names;
	struct conf_domain *domains; /* domain.NAME.*, by NAME */
	size_t n_domains;
	uint32_t tls_min_version; /* 0x0303 or 0x0304 */
	uint32_t cleartext_login; /* enum conf_cleartext */
	uint32_t auth_mechanisms; /* enum conf_mech bits */
	bool apop;
	bool password_upgrade;
	bool mark_seen;
	bool utf8_user;
	uint32_t utf8_fallback;	  /* enum conf_fallback */
	uint32_t idle_timeout;	  /* seconds */
	uint32_t auth_timeout;	  /* seconds */
	uint32_t login_delay;	  /* seconds */
	uint32_t login_delay_max; /* seconds that a user's own may be, 0: it does not count */
	uint32_t expire;	  /* days, or CONF_EXPIRE_NEVER */
	uint32_t expire_min;	  /* days that a user's own is at least; never: it does not count */
	uint32_t expire_unread;	  /* days, or CONF_EXPIRE_NEVER */
	uint32_t trash_days;	  /* 0: nothing is kept */
	uint32_t max_auth_failures;
	uint32_t auth_failure_delay_ms; /* written in seconds, three decimals at most */
	uint32_t penalty_after;		/* failures */
	uint32_t penalty_step_ms, penalty_max_ms, penalty_user_max_ms;
	uint32_t penalty_tls_after; /* broken handshakes */
	uint32_t penalty_tls_step_ms, penalty_tls_max_ms;
	uint32_t lock_timeout; /* seconds */
	uint32_t mbox_locks;   /* enum conf_lock bits */
	int log_facility;      /* syslog(3) */
};
struct conf_pair {
	char *name;
	char *certificate;
	char *key;
};
struct conf_domain {
	char *name;
	char *maildrop;	   /* or "" */
	char *tls_name;	   /* server names with blanks between, or "" */
	uint32_t uid, gid; /* 0: none */
};

/*
 * One row a key.  The table drives parsing, range checks, `config show` and
 * the check of the manual page.
 */
enum conf_type {
	CONF_STRING,
	CONF_PATH,	 /* absolute */
	CONF_NUMBER,	 /* min..max */
	CONF_SECONDS_MS, /* seconds with decimals, kept as milliseconds; min, max in milliseconds */
	CONF_BOOL,	 /* yes, no */
	CONF_CHOICE,	 /* one word of allowed; its place counts from min */
	CONF_SET,	 /* words of allowed, the first is bit 0; not empty */
	CONF_DAYS,	 /* a number, or never */
	CONF_NAMED,	 /* "key.NAME = value"; offset is in struct conf_pair */
	CONF_DOMAIN,	 /* "domain.NAME.key = value"; offset is in struct conf_domain */
	CONF_DOMAIN_ID,	 /* the same for a number min..max; 0 where it is not set */
	CONF_FACILITY,	 /* one word of allowed, a syslog facility */
};
struct conf_key {
	const char *name;
	enum conf_type type;
	size_t offset; /* in struct conf */
	/*
	 * As it would be written in the file.  A string or path whose default is
	 * `none` or `no` is "" in the structure then.  NULL: the host's name.
	 */
	const char *deflt;
	uint64_t min, max;
	const char *allowed; /* what an error message says is allowed, and the words of a choice or
				set */
	const char *help;    /* one line, for `config show` comments and completion */
	/* What else a string must be: 0, or an error with what is allowed in *why.  May be NULL. */
	int (*check)(const char *value, struct pop_why *why);
};
extern const struct conf_key conf_keys[];
extern const size_t conf_n_keys;

/*
 * Fill conf from defaults, then the file, then n overrides "KEY=VALUE" (from
 * -o; later ones win, and may repeat a key of the file).
 *
 *   path      the file; must_exist false: ENOENT means all defaults
 *   why       file:line, key and what is allowed, on error
 *
 * Returns 0; POP_E_SYNTAX or POP_E_RANGE for a mistake in file or overrides;
 * POP_E_SYS, POP_E_MISSING, POP_E_UNSAFE for the file itself.  On error conf
 * still holds valid defaults for what was not read.  Release it either way.
 */
int conf_load(struct conf *conf, const char *path, bool must_exist, const char *const *overrides,
	      size_t n, struct pop_why *why);
void conf_release(struct conf *conf);

/* Is it a key with a NAME in it, which has a value for each name? */
bool conf_key_is_named(const struct conf_key *key);
/* How many names there are for such a key, and the i-th: its name, and where its value lies. */
size_t conf_n_names(const struct conf *conf, const struct conf_key *key);
const char *conf_name(const struct conf *conf, const struct conf_key *key, size_t i,
		      const void **slot);

/*
 * The effective value of a key in the file's notation into out (size bytes).
 * Returns its length or POP_E_LONG.  A key with a NAME has no single value: "".
 */
int conf_format(const struct conf *conf, const struct conf_key *key, char *out, size_t size);

/*
 * The fewest days that mail stays, as CAPA announces it, where retrieved mail stays
 * `expire` days (conf->expire, or a user's own): CONF_EXPIRE_NEVER where nothing expires.
 * Source: RFC 2449 section 6.7, the smallest period under any condition.
 */
static inline uint32_t conf_expire_least(const struct conf *conf, uint32_t expire)
{
	return conf->expire_unread < expire ? conf->expire_unread : expire;
}

/*
 * A user given as a name of /etc/passwd or a number; the group is the one of
 * /etc/passwd, or where the number is not there, the same number.  0, POP_E_MISSING.
 */
int conf_user_ids(const char *name_or_number, uint32_t *uid, uint32_t *gid);

#endif
