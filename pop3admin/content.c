/*
 * content.c - digest messages as they would be sent.
 *
 * Runs in:  pop3admin's child, as the mailbox's owner.
 * Trusts:   nothing in a message.
 */
#include "content.h"
#include "fsutil.h"
#include "header.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SENT, PLAIN, SHA1, N_DIGESTS };

struct digesting {
	EVP_MD_CTX *md[N_DIGESTS];
	struct header_filter filter;
	bool failed;
	bool in_header;
	bool last_cr;	 /* of what was sent */
	bool line_start; /* of what was sent */
	size_t line_len; /* stored bytes of the current header line, a CR not counted */
};

static void update(struct digesting *d, bool plain_too, const void *data, size_t n)
{
	if (!n)
		return;
	if (!EVP_DigestUpdate(d->md[SENT], data, n) || !EVP_DigestUpdate(d->md[SHA1], data, n) ||
	    (plain_too && !EVP_DigestUpdate(d->md[PLAIN], data, n)))
		d->failed = true;
}

static void from_filter(void *ctx, const void *data, size_t n)
{
	struct digesting *d = ctx;

	if (n && !EVP_DigestUpdate(d->md[PLAIN], data, n))
		d->failed = true;
}

/* Stored bytes with CRLF line ends. */
static void send(struct digesting *d, bool plain_too, const uint8_t *data, size_t n)
{
	size_t from = 0, i;

	for (i = 0; i < n; i++) {
		const uint8_t *nl = memchr(data + i, '\n', n - i);

		if (!nl)
			break;
		i = (size_t)(nl - data);
		if (i ? data[i - 1] != '\r' : !d->last_cr) {
			update(d, plain_too, data + from, i - from);
			update(d, plain_too, "\r\n", 2);
			from = i + 1;
		}
	}
	update(d, plain_too, data + from, n - from);
	if (n) {
		d->last_cr = data[n - 1] == '\r';
		d->line_start = data[n - 1] == '\n';
	}
}

/* How many of n bytes belong to the header section, its empty line included. */
static size_t header_part(struct digesting *d, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n' && d->line_len == 0) {
			d->in_header = false;
			return i + 1;
		}
		if (data[i] == '\n')
			d->line_len = 0;
		else if (data[i] != '\r' || d->line_len)
			d->line_len++;
	}
	return n;
}

static void take(struct digesting *d, const uint8_t *data, size_t n)
{
	size_t head;

	if (d->in_header) {
		head = header_part(d, data, n);
		header_filter_add(&d->filter, data, head);
		send(d, false, data, head);
		if (!d->in_header) {
			header_filter_end(&d->filter);
			from_filter(d, "\r\n", 2);
		}
		data += head;
		n -= head;
	}
	send(d, true, data, n);
}

static int begin(struct digesting *d)
{
	const EVP_MD *kind[N_DIGESTS] = { EVP_sha256(), EVP_sha256(), EVP_sha1() };

	memset(d, 0, sizeof(*d));
	d->in_header = d->line_start = true;
	header_filter_init(&d->filter, from_filter, d);
	for (size_t i = 0; i < N_DIGESTS; i++) {
		d->md[i] = EVP_MD_CTX_new();
		if (!d->md[i] || !EVP_DigestInit_ex(d->md[i], kind[i], NULL))
			return POP_E_MEMORY;
	}
	return 0;
}

static int end(struct digesting *d, struct content *out)
{
	uint8_t *to[N_DIGESTS] = { out->sent, out->plain, out->sha1 };

	if (d->in_header)
		header_filter_end(&d->filter);
	if (!d->line_start)
		update(d, !d->in_header, "\r\n", 2);
	for (size_t i = 0; i < N_DIGESTS; i++)
		if (!EVP_DigestFinal_ex(d->md[i], to[i], NULL))
			d->failed = true;
	return d->failed ? POP_E_MEMORY : 0;
}

int content_of(int fd, uint64_t offset, uint64_t length, struct content *out)
{
	static uint8_t block[65536];
	struct digesting d;
	uint64_t at = 0;
	int err = begin(&d);

	while (!err && at < length) {
		size_t want = length - at < sizeof(block) ? (size_t)(length - at) : sizeof(block);
		ssize_t got = fs_pread_full(fd, block, want, (off_t)(offset + at));

		if (got < 0)
			err = (int)got;
		else if ((size_t)got < want)
			err = POP_E_CHANGED;
		else
			take(&d, block, want);
		at += want;
	}
	if (!err)
		err = end(&d, out);
	for (size_t i = 0; i < N_DIGESTS; i++)
		EVP_MD_CTX_free(d.md[i]);
	return err;
}

struct md5 {
	EVP_MD_CTX *ctx;
};

struct md5 *md5_new(void)
{
	struct md5 *m = calloc(1, sizeof(*m));

	if (m)
		m->ctx = EVP_MD_CTX_new();
	if (m && m->ctx && EVP_DigestInit_ex(m->ctx, EVP_md5(), NULL))
		return m;
	if (m)
		EVP_MD_CTX_free(m->ctx);
	free(m);
	return NULL;
}

void md5_piece(void *md5, const void *data, size_t n)
{
	EVP_DigestUpdate(((struct md5 *)md5)->ctx, data, n);
}

void md5_end(struct md5 *md5, uint8_t out[16])
{
	EVP_DigestFinal_ex(md5->ctx, out, NULL);
	EVP_MD_CTX_free(md5->ctx);
	free(md5);
}
