/*
 * digest.c - SHA-256 over parts of files, for UIDLs (design section 7).
 *
 * Runs in:  the digest helper, pop3admin.  The only file of lib/ that needs libcrypto.
 * Trusts:   nothing in the file; the items come from the scan of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <openssl/evp.h>
#include "digest.h"
#include "fsutil.h"
#include "header.h"

#define HASHED_MAX (1u << 20) /* octets of a header section that count */
#define PIECE	   16384

struct work {
	EVP_MD_CTX *md;
	uint64_t hashed; /* octets of the header section so far */
	bool failed;
};

/* The filter's output: kept header octets. */
static void hash_header(void *ctx, const void *data, size_t n)
{
	struct work *w = ctx;

	if (n > HASHED_MAX - w->hashed)
		n = (size_t)(HASHED_MAX - w->hashed);
	w->hashed += n;
	if (n && EVP_DigestUpdate(w->md, data, n) != 1)
		w->failed = true;
}

/* Call each for the bytes of an item, in pieces. */
static int read_item(int fd, const struct digest_item *item,
		     void (*each)(void *ctx, const void *data, size_t n), void *ctx)
{
	uint64_t at = item->offset, left = item->length;
	uint8_t piece[PIECE];

	while (left) {
		size_t want = left < sizeof(piece) ? (size_t)left : sizeof(piece);
		ssize_t got = fs_pread_full(fd, piece, want, (off_t)at);

		if (got < 0)
			return POP_E_SYS;
		if ((size_t)got < want)
			return POP_E_CHANGED;
		each(ctx, piece, want);
		at += want;
		left -= want;
	}
	return 0;
}

static void to_filter(void *ctx, const void *data, size_t n)
{
	header_filter_add(ctx, data, n);
}

static void to_digest(void *ctx, const void *data, size_t n)
{
	struct work *w = ctx;

	if (EVP_DigestUpdate(w->md, data, n) != 1)
		w->failed = true;
}

static int hash_message(struct work *w, int fd, const struct digest_item *item)
{
	struct header_filter filter;
	char number[24];
	int err, len;

	header_filter_init(&filter, hash_header, w);
	to_digest(w, "pop3d-uidl-1", 13);
	w->hashed = 0;
	err = read_item(fd, item, to_filter, &filter);
	if (err < 0)
		return err;
	header_filter_end(&filter);
	/* An item that does not belong to the file may say anything; the number then wraps. */
	len = snprintf(number, sizeof(number), "%" PRIu64,
		       item->octets - item->trailing_octets - filter.dropped);
	to_digest(w, "", 1);
	to_digest(w, number, (size_t)len);
	return 0;
}

int digest_items(enum digest_kind kind, int fd, const struct digest_item *items, size_t n,
		 uint8_t (*out)[16])
{
	struct work w = { .md = EVP_MD_CTX_new() };
	uint8_t sum[EVP_MAX_MD_SIZE];
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	int err = w.md && sha256 ? 0 : POP_E_MEMORY;

	for (size_t i = 0; i < n && err == 0; i++) {
		if (EVP_DigestInit_ex2(w.md, sha256, NULL) != 1)
			w.failed = true;
		err = kind == DIGEST_MESSAGE ? hash_message(&w, fd, &items[i])
					     : read_item(fd, &items[i], to_digest, &w);
		if (err == 0 && (w.failed || EVP_DigestFinal_ex(w.md, sum, NULL) != 1))
			err = POP_E_MEMORY;
		if (err == 0)
			memcpy(out[i], sum, 16);
	}
	EVP_MD_free(sha256);
	EVP_MD_CTX_free(w.md);
	return err;
}
