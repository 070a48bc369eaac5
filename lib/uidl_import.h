/*
 * uidl_import.h - read what other POP3 servers remember of their unique ids.
 *
 * Parsers only: no file is opened and no maildrop touched.  All input is
 * hostile: it comes from where mail users could write.
 *
 * dovecot     dovecot-uidlist of a Maildir, versions 1 and 3
 * courier     courierpop3dsizelist, versions 1 to 3, and the file without version
 * cyrus       what mbexamine prints of a mailbox
 * transcript  lines of `UIDL`, with octets and digests of the messages
 * and the header sections of an mbox, for Dovecot, Qpopper, Mailutils, popa3d
 */
#ifndef POP_UIDL_IMPORT_H
#define POP_UIDL_IMPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include "err.h"

#define IMPORT_ID_MAX 512 /* octets of an id as the other server gave it; ours end at 70 */

/* One id of the other server, and what tells which message it belongs to. */
struct import_entry {
	unsigned long line; /* of the file, from 1 */
	const char *id;	    /* NUL-terminated; may be none that RFC 1939 allows */
	const char *base;   /* base of a Maildir file name, NULL: none; borrowed during the call */
	size_t base_len;
	uint64_t octets;    /* UINT64_MAX: not known */
	uint8_t digest[32]; /* of the whole message as sent */
	size_t digest_len;  /* 0: none, 20: SHA-1, 32: SHA-256 */
	bool has_plain;	    /* plain is SHA-256 of it without volatile fields */
	uint8_t plain[32];
};

/* Called for each entry in file order; what is not 0 ends the parse and is returned. */
typedef int import_each(void *ctx, const struct import_entry *e);

/*
 * Parse a whole file.  format is Dovecot's pop3_uidl_format (dovecot only).
 * 0; POP_E_SYNTAX, POP_E_RANGE, POP_E_LONG, POP_E_VERSION with the line in why
 * and each() perhaps called for the lines before it; or what each() returned.
 */
int import_dovecot(const char *text, size_t len, const char *format, import_each *each, void *ctx,
		   struct pop_why *why);
int import_courier(const char *text, size_t len, import_each *each, void *ctx, struct pop_why *why);
int import_cyrus(const char *text, size_t len, import_each *each, void *ctx, struct pop_why *why);
int import_transcript(const char *text, size_t len, import_each *each, void *ctx,
		      struct pop_why *why);

/* ---- what the parsers share ------------------------------------------------- */

/* A line of a text: [text, end), without its LF and a CR before it. */
struct import_lines {
	const char *text, *end; /* what is still to be read */
	const char *line;	/* the current one, not NUL-terminated */
	size_t len;
	unsigned long number;
};
void import_lines_init(struct import_lines *l, const char *text, size_t len);
bool import_lines_next(struct import_lines *l);
/* The blank-separated word at *at (moved behind it); its length, 0: no word is left. */
size_t import_word(const struct import_lines *l, size_t *at, const char **word);

/*
 * Make an id of Dovecot's pop3_uidl_format: %v uidvalidity, %u uid, %f base of
 * the file name, %g guid, %m header digest, each with an optional width, 0 and
 * X (hexadecimal), %%.  A value that is NULL may not be asked for.
 * Its length, POP_E_SYNTAX (*why), POP_E_LONG.
 */
struct import_values {
	uint32_t uidvalidity, uid;
	const char *file;
	size_t file_len;
	const char *guid;
	size_t guid_len;
	const char *md5; /* 32 hex digits */
};
int import_format(const char *format, const struct import_values *v, char out[IMPORT_ID_MAX + 1],
		  struct pop_why *why);

/* ---- header sections ---------------------------------------------------------- */

/*
 * The value of the first field of that name (no regard to case), unfolded,
 * without blanks around it, into out (size bytes).  Its length, POP_E_MISSING,
 * POP_E_LONG.
 */
int import_header_value(const char *header, size_t len, const char *name, char *out, size_t size);

/*
 * The octets over which popa3d, and Dovecot for %m of an mbox, make an MD5: out
 * is called for each piece, in order.
 */
typedef void import_piece(void *ctx, const void *data, size_t n);
void import_popa3d(const char *header, size_t len, import_piece *out, void *ctx);
void import_dovecot_md5(const char *header, size_t len, import_piece *out, void *ctx);

#endif
