/*
 * certs.c - certificate chains from PEM files.
 *
 * Runs in:  tls, pop3admin.
 * Trusts:   the file, which is root's; a mistake in it is told, not followed.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "certs.h"
#include "date.h"
#include "fsutil.h"

static int parse_all(struct cert_chain *chain, BIO *bio, struct pop_why *why)
{
	unsigned long e;
	X509 *cert;

	for (;;) {
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (!cert)
			break;
		if (chain->n == CERT_CHAIN_MAX) {
			X509_free(cert);
			return pop_why(why, POP_E_LONG, "holds more than %d certificates",
				       CERT_CHAIN_MAX);
		}
		chain->certs[chain->n++] = cert;
	}
	e = ERR_peek_last_error();
	ERR_clear_error();
	/* the end of the file looks like a missing start line */
	if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
		return pop_why(why, POP_E_SYNTAX, "certificate %u in it cannot be read",
			       chain->n + 1);
	if (chain->n == 0)
		return pop_why(why, POP_E_SYNTAX, "holds no certificate in PEM");
	return 0;
}

int cert_chain_load(struct cert_chain *chain, int fd, struct pop_why *why)
{
	char *text = NULL;
	BIO *bio = NULL;
	size_t len;
	int err;

	memset(chain, 0, sizeof(*chain));
	err = fs_read_file(fd, CERT_FILE_MAX, &text, &len);
	if (err < 0)
		return pop_why(why, err, "cannot be read: %s", pop_strerror(err));
	bio = BIO_new_mem_buf(text, (int)len);
	if (!bio)
		err = pop_why(why, POP_E_MEMORY, "no memory");
	else
		err = parse_all(chain, bio, why);
	BIO_free(bio);
	free(text);
	if (err < 0)
		cert_chain_release(chain);
	return err;
}

void cert_chain_release(struct cert_chain *chain)
{
	while (chain->n > 0)
		X509_free(chain->certs[--chain->n]);
}

static int seconds_of(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return POP_E_CORRUPT;
	*out = date_days(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday) * 86400 + tm.tm_hour * 3600 +
	       tm.tm_min * 60 + tm.tm_sec;
	return 0;
}

int cert_dates(X509 *cert, int64_t *not_before_s, int64_t *not_after_s)
{
	int err = seconds_of(X509_get0_notBefore(cert), not_before_s);

	return err < 0 ? err : seconds_of(X509_get0_notAfter(cert), not_after_s);
}

int cert_check_dates(X509 *cert, int64_t now_s, struct pop_why *why)
{
	int64_t from, until;
	char text[DATE_TIME_LEN + 1];

	if (cert_dates(cert, &from, &until) < 0)
		return pop_why(why, POP_E_TIME, "has dates that cannot be read");
	if (now_s >= from && now_s <= until)
		return 0;
	if (date_time_format(now_s < from ? from : until, text) < 0)
		text[0] = '\0';
	return pop_why(why, POP_E_TIME, now_s < from ? "is not valid before %s" : "expired on %s",
		       text);
}

size_t cert_public_key(X509 *cert, uint8_t **der)
{
	int n;

	*der = NULL;
	n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), der);
	return n > 0 ? (size_t)n : 0;
}
