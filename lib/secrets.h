/*
 * secrets.h - what challenge-response mechanisms need, and app passwords: the
 * file `secrets` (design section 6, pop3d-users(5)).
 *
 * A line is name:SCHEME:value[:tag].  The tag ties a record to the password
 * hash that the users file has for the name: a record whose tag is another
 * hash's counts as not there.  So a new password takes effect, for all
 * mechanisms at once, at the rename of the users file: records for the new hash
 * are added before it, those for the old one removed after it, and whenever the
 * writer dies what is valid belongs together.  A record without a tag always
 * counts; app passwords have none.
 */
#ifndef POP_SECRETS_H
#define POP_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"
#include "users.h"

#define SECRET_VALUE_MAX 1024
#define SECRET_TAG_LEN	 32 /* hex digits */
#define SECRETS_KEY_LEN	 32
#define SECRET_LABEL_MAX 63

enum secret_scheme {
	SECRET_SCRAM_SHA_256,
	SECRET_SCRAM_SHA_1,
	SECRET_CRAM_MD5,
	SECRET_APOP, /* base64 of the shared secret itself */
	SECRET_APP,  /* label,expires,hash */
	SECRET_N_SCHEMES
};
extern const char *const secret_scheme_names[SECRET_N_SCHEMES];

struct secret {
	char name[USER_NAME_MAX + 1];
	enum secret_scheme scheme;
	char value[SECRET_VALUE_MAX + 1]; /* wipe after use */
	char tag[SECRET_TAG_LEN + 1];	  /* "" where there is none */
};

/* Split one line.  0 or POP_E_SYNTAX (also for the line with the file's key). */
int secrets_parse_line(const char *line, size_t len, struct secret *s);

/*
 * The file's own key: unknown users' salts and tags are made with it.  0,
 * POP_E_MISSING or POP_E_SYS.
 */
int secrets_key(int fd, uint8_t key[SECRETS_KEY_LEN]);

/* The tag of a record that belongs to this hash of the users file. */
void secrets_tag(const uint8_t key[SECRETS_KEY_LEN], const char *hash,
		 char tag[SECRET_TAG_LEN + 1]);

/*
 * Call each for the records of a name, in file order, until it returns
 * non-zero, which is returned.  One binary search: the file is sorted, since
 * only secrets_apply() writes it.  0 or POP_E_SYS, POP_E_MEMORY.
 */
int secrets_of(int fd, const char *name, int (*each)(void *ctx, const struct secret *s), void *ctx);

/* The same for every record of the file. */
int secrets_each(int fd, int (*each)(void *ctx, const struct secret *s), void *ctx);

/* SECRET_APP: its value taken apart, label and hash borrowed from it (which is changed). */
struct secret_app {
	const char *label;
	int64_t expires; /* seconds since the epoch, 0: never */
	const char *hash;
};
/* 0 or POP_E_SYNTAX. */
int secret_app_parse(char *value, struct secret_app *app);
/* 1 to 63 letters, digits, '-', '_', '.'. */
bool secret_label_ok(const char *label);

/* An atomic edit of the records of one name.  Whoever makes it holds the users file's lock. */
struct secrets_edit {
	const char *name;
	/* records bound to another hash than this are dropped; NULL: none is.  Records without
	   a tag become bound to it. */
	const char *hash_now;
	unsigned drop;		  /* bits 1 << scheme: these are dropped as well */
	const char *drop_app;	  /* ... and the app password of this label */
	const struct secret *add; /* name and tag are filled in */
	size_t n_add;
	const char *hash_new; /* what is added is bound to */
	bool rebind;	      /* what is bound to hash_now is added once more, bound to hash_new */
};
/*
 * Write the file at path anew, 0600, sorted by name, and make it where there is
 * none and something is to be added.  0, POP_E_SYS, POP_E_UNSAFE, POP_E_BUSY,
 * POP_E_MISSING (no app password of the label to drop), POP_E_EXISTS (add has
 * an app password whose label is there), POP_E_LONG, POP_E_MEMORY.
 */
int secrets_apply(const char *path, const struct secrets_edit *edit, struct pop_why *why);

#endif
