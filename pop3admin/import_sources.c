/*
 * import_sources.c - read what another server left: a list, or an mbox.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing in the file.
 */
#include "import.h"
#include "content.h"
#include "mbox_scan.h"
#include "num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_MAX   (512u << 20) /* bytes of a list */
#define HEADER_MAX (1u << 20)	/* bytes of a header section that are looked at */

struct mbox_source {
	struct import_plan *p;
	const struct import_job *job;
	struct pop_why *why;
	uint32_t uidvalidity; /* Dovecot */
	uint32_t last_uid;
	uint64_t number;  /* of the message in the file */
	uint64_t without; /* messages that tell no id */
	char *header;	  /* HEADER_MAX + 1 bytes; owned */
};

static void md5_hex(const uint8_t md5[16], char out[33])
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < 16; i++) {
		out[2 * i] = hex[md5[i] >> 4];
		out[2 * i + 1] = hex[md5[i] & 15];
	}
	out[32] = '\0';
}

static int header_md5(const char *header, size_t len,
		      void (*pieces)(const char *, size_t, import_piece *, void *), uint8_t out[16])
{
	struct md5 *md5 = md5_new();

	if (!md5)
		return POP_E_MEMORY;
	pieces(header, len, md5_piece, md5);
	md5_end(md5, out);
	return 0;
}

/* The first eight bytes, as two numbers that were stored with their lowest byte first. */
static int popa3d_id(const char *header, size_t len, char id[IMPORT_ID_MAX + 1])
{
	static const uint8_t order[8] = { 3, 2, 1, 0, 7, 6, 5, 4 };
	uint8_t md5[16] = { 0 }, turned[16] = { 0 };
	int err = header_md5(header, len, import_popa3d, md5);

	for (size_t i = 0; i < sizeof(order); i++)
		turned[i] = md5[order[i]];
	md5_hex(turned, id);
	id[16] = '\0';
	return err;
}

/* X-UID counts where it rises; one that does not was not given by Dovecot. */
static int dovecot_id(struct mbox_source *s, size_t len, char id[IMPORT_ID_MAX + 1])
{
	struct import_values v = { .uidvalidity = s->uidvalidity };
	char text[64], hex[33];
	uint8_t md5[16];
	uint64_t uid;
	int n, err;

	n = import_header_value(s->header, len, "X-UID", text, sizeof(text));
	if (n < 0 || num_parse(text, (size_t)n, UINT32_MAX, &uid) < 0 || uid <= s->last_uid) {
		if (strstr(s->job->format, "u") && !strstr(s->job->format, "%m"))
			return POP_E_MISSING;
		uid = 0;
	} else {
		s->last_uid = (uint32_t)uid;
	}
	v.uid = (uint32_t)uid;
	err = header_md5(s->header, len, import_dovecot_md5, md5);
	if (err)
		return err;
	md5_hex(md5, hex);
	v.md5 = v.guid = hex;
	v.guid_len = 32;
	err = import_format(s->job->format, &v, id, s->why);
	return err < 0 ? err : 0;
}

static int id_of(struct mbox_source *s, size_t len, char id[IMPORT_ID_MAX + 1])
{
	int n;

	switch (s->job->kind) {
	case IMPORT_POPA3D:
		return popa3d_id(s->header, len, id);
	case IMPORT_DOVECOT:
		return dovecot_id(s, len, id);
	default:
		n = import_header_value(s->header, len, "X-UIDL", id, IMPORT_ID_MAX + 1);
		return n < 0 ? POP_E_MISSING : 0;
	}
}

static int read_header(struct mbox_source *s, uint64_t offset, uint64_t length, size_t *len)
{
	ssize_t n = fs_pread_full(s->job->fd, s->header,
				  length < HEADER_MAX ? (size_t)length : HEADER_MAX, (off_t)offset);

	if (n < 0)
		return (int)n;
	*len = (size_t)n;
	s->header[n] = '\0';
	return 0;
}

static int take_message(void *ctx, const struct msg *m)
{
	struct mbox_source *s = ctx;
	struct import_entry e = { .octets = m->octets, .has_plain = true };
	char id[IMPORT_ID_MAX + 1] = "";
	struct content c;
	size_t len = 0;
	int err = read_header(s, m->offset, m->header_length, &len);

	s->number++;
	if (!err)
		err = id_of(s, len, id);
	if (err == POP_E_MISSING || (!err && !id[0])) {
		s->without++;
		return owner_say(s->p->o, REC_FINDING, 0,
				 "message %llu of the file tells no id of the other server",
				 (unsigned long long)s->number);
	}
	if (!err)
		err = content_of(s->job->fd, m->offset, m->length, &c);
	if (err)
		return err;
	memcpy(e.plain, c.plain, sizeof(e.plain));
	e.id = id;
	e.line = (unsigned long)s->number;
	return import_plan_entry(s->p, &e);
}

/* The first header section holds "X-IMAPbase: UIDVALIDITY LASTUID" (X-IMAP in a pseudo message). */
static int find_uidvalidity(struct mbox_source *s, uint64_t size)
{
	char text[256];
	const char *nl;
	size_t len = 0;
	uint64_t value;
	int n, err = read_header(s, 0, size, &len);

	if (err)
		return err;
	nl = memchr(s->header, '\n', len);
	if (nl) {
		size_t skip = (size_t)(nl + 1 - s->header);

		n = import_header_value(s->header + skip, len - skip, "X-IMAPbase", text,
					sizeof(text));
		if (n < 0)
			n = import_header_value(s->header + skip, len - skip, "X-IMAP", text,
						sizeof(text));
		if (n > 0 && num_parse(text, strcspn(text, " "), UINT32_MAX, &value) == 0) {
			s->uidvalidity = (uint32_t)value;
			return 0;
		}
	}
	if (!strstr(s->job->format, "v"))
		return 0;
	return pop_why(s->why, POP_E_SYNTAX,
		       "the first message has neither X-IMAPbase nor X-IMAP, so the uidvalidity is "
		       "not known; was this mailbox opened by Dovecot?");
}

static int read_mbox(struct import_plan *p, const struct import_job *job, struct pop_why *why)
{
	struct mbox_source s = { .p = p, .job = job, .why = why };
	struct mbox_scan scan = { .fd = job->fd, .each = take_message, .ctx = &s };
	struct stat st;
	int err = 0;

	if (fstat(job->fd, &st) < 0)
		return pop_why_errno(why, "the file");
	s.header = malloc(HEADER_MAX + 1);
	if (!s.header)
		return POP_E_MEMORY;
	if (job->kind == IMPORT_DOVECOT)
		err = find_uidvalidity(&s, (uint64_t)st.st_size);
	scan.end = (uint64_t)st.st_size;
	if (!err)
		err = mbox_scan(&scan);
	free(s.header);
	return err;
}

static int plan_entry(void *ctx, const struct import_entry *e)
{
	return import_plan_entry(ctx, e);
}

static int read_list(struct import_plan *p, const struct import_job *job, struct pop_why *why)
{
	char *text = NULL;
	size_t len = 0;
	int err = fs_read_file(job->fd, LIST_MAX, &text, &len);

	if (err == 0 && job->kind == IMPORT_DOVECOT)
		err = import_dovecot(text, len, job->format, plan_entry, p, why);
	else if (err == 0 && job->kind == IMPORT_COURIER)
		err = import_courier(text, len, plan_entry, p, why);
	else if (err == 0 && job->kind == IMPORT_CYRUS)
		err = import_cyrus(text, len, plan_entry, p, why);
	else if (err == 0)
		err = import_transcript(text, len, plan_entry, p, why);
	free(text);
	return err;
}

int import_open(struct import_job *job, enum fs_links links, struct pop_why *why)
{
	struct stat st;
	int fd = fs_open_at(AT_FDCWD, job->file, links, O_RDONLY, 0), err = 0;

	if (fd < 0)
		return errno == ELOOP ? pop_why(why, POP_E_UNSAFE,
						"%s: a symbolic link is on the way", job->file)
				      : pop_why_errno(why, "%s", job->file);
	if (fstat(fd, &st) < 0)
		err = pop_why_errno(why, "%s", job->file);
	else if (!S_ISREG(st.st_mode))
		err = pop_why(why, POP_E_SYNTAX, "%s: is no regular file", job->file);
	else if (links == FS_LINKS_NONE && st.st_nlink > 1)
		err = pop_why(why, POP_E_UNSAFE, "%s: has more than one name", job->file);
	if (err)
		close(fd);
	else
		job->fd = fd;
	return err;
}

int import_read_source(struct import_plan *p, const struct import_job *job, struct pop_why *why)
{
	char begin[5] = "";
	bool is_mbox = job->kind == IMPORT_XUIDL || job->kind == IMPORT_POPA3D;

	/* Dovecot's ids stand in a list beside a Maildir, but in the messages of an mbox */
	if (job->kind == IMPORT_DOVECOT && fs_pread_full(job->fd, begin, 5, 0) == 5)
		is_mbox = memcmp(begin, "From ", 5) == 0;
	return is_mbox ? read_mbox(p, job, why) : read_list(p, job, why);
}
