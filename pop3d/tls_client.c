/*
 * tls_client.c - client certificates, for EXTERNAL: ask, check, and say whose.
 *
 * With tls_client_ca this role is trusted: what it says here is who logs in.
 *
 * Runs in:  tls.
 * Trusts:   the authorities of its start values.  Of a certificate what they signed.
 */
#include <string.h>
#include <openssl/x509v3.h>
#include "tls.h"

int tls_client_ask(struct tls *t)
{
	X509_STORE *store = SSL_CTX_get_cert_store(t->ctx);
	struct cert_chain authorities = { .n = 0 };
	struct pop_why why;
	int err = cert_chain_load(&authorities, t->start->ca_fd, &why);

	for (unsigned i = 0; i < authorities.n && err == 0; i++)
		if (X509_STORE_add_cert(store, authorities.certs[i]) != 1 ||
		    SSL_CTX_add_client_CA(t->ctx, authorities.certs[i]) != 1)
			err = POP_E_MEMORY;
	cert_chain_release(&authorities);
	if (err < 0) {
		pop_why(&why, err, "tls_client_ca: %s", pop_strerror(err));
		tls_note(t, 3, why.text);
		return 0; /* everybody else may come in */
	}
	/* asked for, not demanded; one that is not good ends the handshake */
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}

/* Without control characters, and not cut: who is it? */
static bool take(const unsigned char *text, int len, char *out, size_t size)
{
	if (len <= 0 || (size_t)len >= size)
		return false;
	for (int i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] == 0x7f)
			return false;
	memcpy(out, text, (size_t)len);
	out[len] = '\0';
	return true;
}

static bool take_mail(X509 *cert, char *out, size_t size)
{
	STACK_OF(OPENSSL_STRING) *mails = X509_get1_email(cert);
	bool found = false;

	for (int i = 0; i < sk_OPENSSL_STRING_num(mails) && !found; i++) {
		const char *mail = sk_OPENSSL_STRING_value(mails, i);

		found = take((const unsigned char *)mail, (int)strlen(mail), out, size);
	}
	X509_email_free(mails);
	return found;
}

static void take_common_name(X509 *cert, char *out, size_t size)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID((X509_NAME *)(uintptr_t)subject, NID_commonName, -1);
	unsigned char *text = NULL;
	int len = 0;

	if (at >= 0)
		len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(
							 X509_NAME_get_entry(subject, at)));
	take(text, len, out, size);
	OPENSSL_free(text);
}

void tls_client_identity(const struct tls *t, char *out, size_t size)
{
	X509 *cert = t->start->ca_fd >= 0 ? SSL_get1_peer_certificate(t->ssl) : NULL;

	out[0] = '\0';
	if (cert && SSL_get_verify_result(t->ssl) == X509_V_OK && !take_mail(cert, out, size))
		take_common_name(cert, out, size);
	X509_free(cert);
}
