/*
 * import.h - match the ids of another server with the messages of a maildrop,
 * and keep them.
 */
#ifndef IMPORT_H
#define IMPORT_H

#include <limits.h>
#include "imported.h"
#include "fsutil.h"
#include "mail.h"
#include "uidl_import.h"

enum import_kind {
	IMPORT_DOVECOT,	   /* dovecot-uidlist, or an mbox with X-UID */
	IMPORT_COURIER,	   /* courierpop3dsizelist */
	IMPORT_CYRUS,	   /* output of mbexamine */
	IMPORT_XUIDL,	   /* an mbox with X-UIDL: Mailutils, Qpopper */
	IMPORT_POPA3D,	   /* an mbox, for the digests of its header sections */
	IMPORT_TRANSCRIPT, /* lines N ID OCTETS SHA256 [PLAIN] */
};

struct import_job {
	struct mail_job mail; /* first: target_run() asks for it */
	enum import_kind kind;
	const char *format;  /* Dovecot's pop3_uidl_format */
	char file[PATH_MAX]; /* FILE, absolute; the child opens it where fd is -1 */
	int fd;		     /* of FILE */
	bool dry_run;
	/* results, in the parent */
	uint64_t entries, mapped, changed, without;
};

/* Open FILE.  0, or the exit status with the reason in why. */
int import_open(struct import_job *job, enum fs_links links, struct pop_why *why);
/* In the child: read fd, match, verify, and unless dry_run save. */
int import_work(struct owner *o, void *ctx, struct pop_why *why);

/* ---- between import.c and import_sources.c ---------------------------------- */

/* An id and where it goes: the idx-th message of the maildrop. */
struct import_plan {
	struct maildrop *md;
	struct owner *o;
	struct imported_keys keys;
	size_t count;		  /* messages of the maildrop */
	uint32_t *by_key;	  /* message numbers sorted by key; owned */
	uint32_t *by_content[3];  /* sorted by sent, plain, sha1; owned; NULL until needed */
	struct content *contents; /* owned; NULL until needed */
	char (*ids)[71];	  /* the id planned for each, "" none; owned */
	struct uidl_set *taken;	  /* the ids planned so far */
	uint64_t entries, mapped;
};

/* Find the message of an entry and plan its id; what cannot be mapped is said.  0 or an error. */
int import_plan_entry(struct import_plan *p, const struct import_entry *e);
/* Call plan_entry for everything that FILE tells. */
int import_read_source(struct import_plan *p, const struct import_job *job, struct pop_why *why);

#endif
