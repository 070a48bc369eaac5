/*
 * maildrop.c - one maildrop over either backend: the table of its messages,
 * and the lists that a session is given.
 *
 * Runs in:  maildrop, pop3admin; as the mailbox's owner, under the session lock.
 * Trusts:   its caller.  The mail is read by the backends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>
#include "conf.h"
#include "maildrop_impl.h"
#include "fsutil.h"
#include "imported.h"
#include "index.h"

#define OUT_SIZE 65536 /* bytes gathered for one write into a memfd */

void maildrop_note(struct maildrop *md, int level, const char *fmt, ...)
{
	char text[POP_WHY_MAX];
	va_list ap;
	int saved = errno;

	if (md->env.note) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		md->env.note(md->env.ctx, level, text);
	}
	errno = saved;
}

static void hex_digest(const uint8_t digest[16], char *out)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < 16; i++) {
		out[2 * i] = hex[digest[i] >> 4];
		out[2 * i + 1] = hex[digest[i] & 15];
	}
}

int msg_uidl(struct maildrop *md, const struct msg *m, char out[UIDL_MAX + 1])
{
	size_t n = 0;

	if (m->flags & MSG_DIGEST && !(m->flags & MSG_UIDL)) {
		if (md->env.spec.kind == MAILDROP_MAILDIR)
			out[n++] = 'h';
		hex_digest(m->digest, out + n);
		n += 32;
	} else {
		const char *s = names_get(md, m->flags & MSG_UIDL ? m->uidl : m->name);

		n = m->flags & MSG_UIDL ? strlen(s) : strcspn(s, ":");
		if (!n || n > UIDL_MAX)
			return POP_E_CORRUPT;
		memcpy(out, s, n);
	}
	out[n] = '\0';
	if (m->suffix) {
		char suffix[12];
		int len = snprintf(suffix, sizeof(suffix), "-%lu", (unsigned long)m->suffix);

		if ((size_t)len > UIDL_MAX - n)
			return POP_E_CORRUPT;
		memcpy(out + n, suffix, (size_t)len + 1);
		n += (size_t)len;
	}
	return (int)n;
}

/* How the file of imported ids looks, all zero where there is none. */
static void stamp_imports(struct maildrop *md)
{
	struct stat st;

	if (md->env.state_fd >= 0 &&
	    fstatat(md->env.state_fd, IMPORTED_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0)
		file_stamp_of(&st, &md->imports);
}

int maildrop_open(struct maildrop **out, const struct maildrop_env *env, struct pop_why *why)
{
	struct maildrop *md = calloc(1, sizeof(*md));
	int err;

	*out = NULL;
	if (!md)
		return pop_why(why, POP_E_MEMORY, "out of memory");
	md->env = *env;
	md->backend = env->spec.kind == MAILDROP_MBOX ? &mbox_backend : &maildir_backend;
	stamp_imports(md);
	err = md->backend->open(md, why);
	if (env->read_only)
		md->read_only = true;
	if (!err)
		err = view_make(md);
	if (err < 0) {
		int saved = errno;

		maildrop_close(md);
		errno = saved;
		return err;
	}
	*out = md;
	return 0;
}

void maildrop_close(struct maildrop *md)
{
	if (!md)
		return;
	md->backend->close(md);
	msg_table_release(md);
	free(md->view);
	free(md);
}

size_t maildrop_count(const struct maildrop *md)
{
	return md->viewed ? md->view_count : md->count;
}

uint64_t maildrop_octets(const struct maildrop *md)
{
	return md->viewed ? md->view_octets : md->octets;
}

bool maildrop_read_only(const struct maildrop *md)
{
	return md->read_only;
}

int maildrop_message_octets(struct maildrop *md, size_t idx, uint64_t *octets)
{
	struct msg m;
	int err;

	if (idx >= maildrop_count(md))
		return POP_E_RANGE;
	if (md->viewed) {
		*octets = md->view[idx].octets;
		return 0;
	}
	err = msg_get(md, idx, &m);
	if (!err)
		*octets = m.octets;
	return err;
}

void maildrop_trust_ids(struct maildrop *md)
{
	const struct index_head *head = index_head(md->index);

	md->imports_new = memcmp(&md->imports, &head->imported, sizeof(md->imports)) != 0;
	md->index_ids = md->indexed && !md->imports_new && head->bits & INDEX_UIDLS;
	md->uidls_known = md->index_ids && md->indexed == md->count;
}

struct file_stamp maildrop_imports(const struct maildrop *md)
{
	/* not yet given to messages that the old index knew: the next session shall see it */
	if (md->imports_new && !md->uidls_known)
		return index_head(md->index)->imported;
	return md->imports;
}

static int know_uidls(struct maildrop *md)
{
	int err;

	if (md->uidls_known)
		return 0;
	err = md->backend->uidls(md);
	if (!err)
		md->uidls_known = md->changed = true;
	return err;
}

int maildrop_uidl(struct maildrop *md, size_t idx, char uidl[UIDL_MAX + 1])
{
	struct msg m;
	int err = idx < maildrop_count(md) ? know_uidls(md) : POP_E_RANGE;

	if (!err)
		err = msg_get(md, view_place(md, idx), &m);
	if (!err)
		err = msg_uidl(md, &m, uidl);
	return err < 0 ? err : 0;
}

/* Writes to one place of a file after the other, gathered. */
struct out {
	int fd;
	off_t at; /* where the gathered bytes go */
	size_t fill;
	uint8_t *bytes; /* OUT_SIZE of them */
};

static int out_flush(struct out *o)
{
	int err = fs_pwrite_all(o->fd, o->bytes, o->fill, o->at);

	o->at += (off_t)o->fill;
	o->fill = 0;
	return err;
}

static int out_put(struct out *o, const void *data, size_t n)
{
	int err = 0;

	if (OUT_SIZE - o->fill < n)
		err = out_flush(o);
	memcpy(o->bytes + o->fill, data, n);
	o->fill += n;
	return err;
}

/* An empty memfd to be sealed, and the gathering of bytes for it. */
static int out_begin(struct out *o, const char *name)
{
	*o = (struct out){ .fd = -1 };
	o->bytes = malloc(OUT_SIZE);
	if (!o->bytes)
		return POP_E_MEMORY;
	o->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return o->fd < 0 ? POP_E_SYS : 0;
}

/* Seal and hand over the descriptor, or give it up where err says so. */
static int out_end(struct out *o, int err)
{
	int saved;

	if (!err)
		err = out_flush(o);
	if (!err &&
	    fcntl(o->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		err = POP_E_SYS;
	saved = errno;
	free(o->bytes);
	if (err < 0 && o->fd >= 0)
		close(o->fd);
	errno = saved;
	return err < 0 ? err : o->fd;
}

/* Skip the first `records` records of `each` bytes behind a head: a column of the index went there.
 */
static void out_skip(struct out *o, size_t head, size_t records, size_t each)
{
	o->at = (off_t)(head + records * each);
}

int maildrop_list_fd(struct maildrop *md)
{
	struct out o;
	int err = out_begin(&o, "pop3d-list");
	size_t indexed = md->viewed ? 0 : md->indexed;

	if (!err && indexed) {
		err = index_copy_octets(md->index, o.fd, 0);
		out_skip(&o, 0, indexed, sizeof(uint64_t));
	}
	for (size_t idx = indexed; !err && idx < maildrop_count(md); idx++) {
		uint64_t octets;

		err = maildrop_message_octets(md, idx, &octets);
		if (!err)
			err = out_put(&o, &octets, sizeof(octets));
	}
	for (size_t i = 0, idx; !err && indexed && msg_changed(md, &i, &idx);) {
		struct msg m;

		err = msg_get(md, idx, &m);
		if (!err)
			err = fs_pwrite_all(o.fd, &m.octets, sizeof(m.octets),
					    (off_t)(idx * sizeof(m.octets)));
	}
	return out_end(&o, err);
}

/* May the ids of the indexed be copied as a column? */
static bool column_of_ids(const struct maildrop *md)
{
	if (!md->indexed || !md->index_ids || md->viewed)
		return false;
	return md->env.spec.kind == MAILDROP_MAILDIR ||
	       !(index_head(md->index)->bits & INDEX_OWN_IDS);
}

/* Is every id a digest as it is, so that no strings are needed? */
static int all_digests(struct maildrop *md, bool *all)
{
	struct msg m;

	*all = md->env.spec.kind == MAILDROP_MBOX && !md->viewed;
	for (size_t idx = column_of_ids(md) ? md->indexed : 0; *all && idx < md->count; idx++) {
		int err = msg_get(md, idx, &m);

		if (err < 0)
			return err;
		*all = (m.flags & (MSG_DIGEST | MSG_UIDL)) == MSG_DIGEST;
	}
	return 0;
}

static int digest_ref(struct maildrop *md, size_t idx, struct uidl_digest_ref *ref)
{
	struct msg m;
	int err = msg_get(md, idx, &m);

	if (err < 0)
		return err;
	memcpy(ref->digest, m.digest, sizeof(ref->digest));
	ref->suffix = m.suffix;
	return 0;
}

static int put_digests(struct maildrop *md, struct out *o)
{
	const struct uidl_list_head head = { .count = md->count, .digests = 1 };
	size_t indexed = column_of_ids(md) ? md->indexed : 0;
	struct uidl_digest_ref ref;
	uint64_t none;
	int err = fs_pwrite_all(o->fd, &head, sizeof(head), 0);

	if (!err && indexed)
		err = index_copy_ids(md->index, o->fd, sizeof(head), 0, &none);
	out_skip(o, sizeof(head), indexed, sizeof(ref));
	for (size_t idx = indexed; !err && idx < md->count; idx++) {
		err = digest_ref(md, idx, &ref);
		if (!err)
			err = out_put(o, &ref, sizeof(ref));
	}
	for (size_t i = 0, idx; !err && indexed && msg_changed(md, &i, &idx);) {
		err = digest_ref(md, idx, &ref);
		if (!err)
			err = fs_pwrite_all(o->fd, &ref, sizeof(ref),
					    (off_t)(sizeof(head) + idx * sizeof(ref)));
	}
	return err;
}

static int put_string(struct maildrop *md, struct out *refs, struct out *strings,
		      struct uidl_list_head *head, size_t idx)
{
	struct uidl_string_ref ref = { .offset = (uint32_t)head->string_bytes };
	char uidl[UIDL_MAX + 1];
	struct msg m;
	int err, len;

	if (head->string_bytes > UINT32_MAX - UIDL_MAX)
		return POP_E_LONG;
	err = msg_get(md, idx, &m);
	if (err < 0)
		return err;
	len = msg_uidl(md, &m, uidl);
	if (len < 0)
		return len;
	head->string_bytes += (uint64_t)len;
	err = out_put(refs, &ref, sizeof(ref));
	return err < 0 ? err : out_put(strings, uidl, (size_t)len);
}

/*
 * References and strings grow side by side, each at its own place of the file.
 * The first are those of the index, where there is one: changes beside it are
 * renames, which change no id.
 */
static int put_strings(struct maildrop *md, struct out *refs)
{
	struct uidl_list_head head = { .count = maildrop_count(md) };
	const size_t each = sizeof(struct uidl_string_ref);
	bool column = md->env.spec.kind == MAILDROP_MAILDIR && column_of_ids(md);
	size_t indexed = column ? md->indexed : 0;
	struct out strings = { .fd = refs->fd };
	int err = 0;

	strings.at = (off_t)(sizeof(head) + head.count * each);
	if (indexed)
		err = index_copy_ids(md->index, refs->fd, sizeof(head), strings.at,
				     &head.string_bytes);
	strings.at += (off_t)head.string_bytes;
	out_skip(refs, sizeof(head), indexed, each);
	strings.bytes = malloc(OUT_SIZE);
	if (!strings.bytes)
		err = POP_E_MEMORY;
	for (size_t idx = indexed; !err && idx < head.count; idx++)
		err = put_string(md, refs, &strings, &head, view_place(md, idx));
	if (!err)
		err = out_flush(&strings);
	if (!err)
		err = out_flush(refs);
	if (!err)
		err = fs_pwrite_all(refs->fd, &head, sizeof(head), 0);
	free(strings.bytes);
	return err;
}

int maildrop_uidl_fd(struct maildrop *md)
{
	bool digests = false;
	struct out o;
	int err = know_uidls(md);

	if (!err)
		err = all_digests(md, &digests);
	if (err < 0)
		return err;
	err = out_begin(&o, "pop3d-uidl");
	if (!err && digests)
		err = put_digests(md, &o);
	else if (!err)
		err = put_strings(md, &o);
	return out_end(&o, err);
}

int maildrop_message(struct maildrop *md, size_t idx, struct maildrop_message *out)
{
	int err;

	if (idx >= maildrop_count(md))
		return POP_E_RANGE;
	err = md->backend->message(md, view_place(md, idx), out);
	if (err < 0)
		return err;
	out->head_length = 0;
	out->head_fd = -1;
	return md->env.utf8_fallback == FALLBACK_PASSTHROUGH ? 0 : utf8_apply(md, idx, out);
}

static bool any_bit(const uint8_t *bits, size_t count)
{
	for (size_t i = 0; bits && i < (count + 7) / 8; i++)
		if (bits[i])
			return true;
	return false;
}

int maildrop_expunge(struct maildrop *md, const uint8_t *deleted, const uint8_t *retrieved,
		     size_t *removed, struct pop_why *why)
{
	size_t count = maildrop_count(md);
	bool any = any_bit(deleted, count);
	uint8_t *all_deleted, *all_retrieved;
	int err = POP_E_MEMORY;

	*removed = 0;
	if (!any && !any_bit(retrieved, count))
		return 0;
	if (any && md->read_only)
		return pop_why(why, POP_E_DENIED, "%s: cannot be written", md->env.spec.path);
	/* so that they can come back under their ids; without them it still goes on */
	if (any && md->env.trash && know_uidls(md) < 0)
		maildrop_note(md, LOG_WARNING, "the unique ids of removed messages are not kept");
	if (!md->viewed)
		return md->backend->expunge(md, deleted, retrieved, removed, why);
	all_deleted = view_bits(md, deleted);
	all_retrieved = retrieved ? view_bits(md, retrieved) : NULL;
	if (all_deleted && !retrieved == !all_retrieved)
		err = md->backend->expunge(md, all_deleted, all_retrieved, removed, why);
	free(all_deleted);
	free(all_retrieved);
	return err;
}

void maildrop_save(struct maildrop *md)
{
	if (md->changed && md->env.state_fd >= 0)
		md->backend->save(md);
}
