/*
 * check_tls.c - tls check: what is wrong with certificates and keys, exactly.
 *
 * Runs in:  pop3admin, as whoever called it: root, where the keys are root's.
 * Trusts:   nothing in the files that it looks at.
 */
#include "admin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "certs.h"
#include "credential.h"
#include "doctor.h"
#include "fsutil.h"

#define FILES_MAX    4
#define FINDINGS_MAX 16
#define SOON_DAYS    14
#define LEAST_BITS   112 /* of security: RSA of 2048 bits; OpenSSL uses nothing weaker */
#define DAY_S	     86400

/* One certificate file, with what was found in it. */
struct look {
	const char *server_name; /* "": the first pair */
	char file[PATH_MAX];
	struct cert_chain chain;
	char *errors[FINDINGS_MAX], *warnings[FINDINGS_MAX];
	size_t n_errors, n_warnings;
};

/* The private keys of a pair; kept as public keys. */
struct keys {
	EVP_PKEY *keys[FILES_MAX];
	char files[FILES_MAX][PATH_MAX];
	unsigned n;
};

__attribute__((format(printf, 3, 0))) static void add(char **list, size_t *n, const char *fmt,
						      va_list ap)
{
	struct pop_why text;

	if (vsnprintf(text.text, sizeof(text.text), fmt, ap) < 0)
		return;
	if (*n < FINDINGS_MAX && (list[*n] = strdup(text.text)) != NULL)
		(*n)++;
}

__attribute__((format(printf, 2, 3))) static void error(struct look *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(l->errors, &l->n_errors, fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void warning(struct look *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(l->warnings, &l->n_warnings, fmt, ap);
	va_end(ap);
}

static void release(struct look *l)
{
	cert_chain_release(&l->chain);
	while (l->n_errors > 0)
		free(l->errors[--l->n_errors]);
	while (l->n_warnings > 0)
		free(l->warnings[--l->n_warnings]);
}

static int no_password(char *buf, int size, int rwflag, void *asked)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	*(bool *)asked = true;
	return -1;
}

static EVP_PKEY *read_key(int fd, struct pop_why *why)
{
	bool encrypted = false;
	EVP_PKEY *key = NULL;
	char *text;
	size_t len;
	BIO *bio;

	if (fs_read_file(fd, CERT_FILE_MAX, &text, &len) < 0) {
		pop_why_errno(why, "cannot be read");
		return NULL;
	}
	bio = BIO_new_mem_buf(text, (int)len);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &encrypted);
	BIO_free(bio);
	explicit_bzero(text, len);
	free(text);
	ERR_clear_error();
	if (!key)
		pop_why(why, POP_E_SYNTAX, "%s",
			encrypted ? "is encrypted; pop3d needs it without a password"
				  : "holds no private key in PEM that can be used");
	return key;
}

static void load_keys(struct keys *k, const char *list, struct look *first)
{
	struct pop_why why;
	size_t len;

	while ((list = credential_next(list, &len)) && k->n < FILES_MAX) {
		char *file = k->files[k->n];
		int fd = credential_path(list, len, file, &why);

		if (fd == 0)
			fd = credential_open(list, len, true, &why);
		list += len;
		if (fd < 0) {
			error(first, "tls_key: %s", why.text);
			continue;
		}
		k->keys[k->n] = read_key(fd, &why);
		close(fd);
		if (k->keys[k->n])
			k->n++;
		else
			error(first, "tls_key: %s %s", file, why.text);
	}
}

static const char *key_words(EVP_PKEY *pub, char *out, size_t size)
{
	char group[64] = "";
	size_t n;

	if (EVP_PKEY_is_a(pub, "RSA")) {
		snprintf(out, size, "RSA %d", EVP_PKEY_get_bits(pub));
	} else if (EVP_PKEY_is_a(pub, "EC")) {
		EVP_PKEY_get_group_name(pub, group, sizeof(group), &n);
		snprintf(out, size, "ECDSA %s", strcmp(group, "prime256v1") == 0 ? "P-256" : group);
	} else if (EVP_PKEY_is_a(pub, "ED25519")) {
		snprintf(out, size, "Ed25519");
	} else {
		snprintf(out, size, "unknown");
	}
	return out;
}

static void subject_of(X509 *cert, char *out, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int n = 0;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_read(bio, out, (int)size - 1);
	out[n > 0 ? n : 0] = '\0';
	BIO_free(bio);
}

static void check_key(struct look *l, struct keys *k)
{
	EVP_PKEY *pub = X509_get0_pubkey(l->chain.certs[0]);
	char words[80];

	if (!pub || strcmp(key_words(pub, words, sizeof(words)), "unknown") == 0) {
		error(l, "its key is neither RSA nor ECDSA nor Ed25519");
		return;
	}
	if (EVP_PKEY_get_security_bits(pub) < LEAST_BITS)
		error(l, "its key (%s) is too weak; RSA needs 2048 bits", words);
	for (unsigned i = 0; i < k->n; i++)
		if (EVP_PKEY_eq(k->keys[i], pub) == 1)
			return;
	/* whose is it then? */
	for (unsigned c = 1; c < l->chain.n; c++)
		for (unsigned i = 0; i < k->n; i++)
			if (EVP_PKEY_eq(k->keys[i], X509_get0_pubkey(l->chain.certs[c])) == 1) {
				error(l,
				      "the private key belongs to certificate %u of the file; the "
				      "server's own must be the first",
				      c + 1);
				return;
			}
	error(l, "no private key of tls_key belongs to this certificate");
}

static void check_chain(struct look *l)
{
	struct cert_chain *c = &l->chain;
	char subject[256];

	for (unsigned i = 1; i < c->n; i++) {
		if (X509_check_issued(c->certs[i], c->certs[i - 1]) == X509_V_OK)
			continue;
		subject_of(c->certs[i], subject, sizeof(subject));
		error(l,
		      "chain order: certificate %u (%s) has not issued certificate %u; each must "
		      "be "
		      "followed by its issuer's",
		      i + 1, subject, i);
		return;
	}
	if (X509_self_signed(c->certs[0], 0) == 1)
		warning(l, "it is self-signed: every client must be told to trust it");
	else if (c->n == 1)
		warning(l, "the issuer's certificate is not in the file; many clients will not "
			   "find it themselves");
}

static void check_dates(struct look *l, int64_t now)
{
	int64_t from, until;
	struct pop_why why;

	for (unsigned i = 0; i < l->chain.n; i++)
		if (cert_check_dates(l->chain.certs[i], now, &why) < 0)
			error(l, "certificate %u %s", i + 1, why.text);
	if (l->n_errors == 0 && cert_dates(l->chain.certs[0], &from, &until) == 0 &&
	    until - now < SOON_DAYS * DAY_S)
		warning(l, "it expires in %" PRId64 " days", (until - now) / DAY_S);
}

static void check_name(struct look *l, const char *name)
{
	if (X509_check_host(l->chain.certs[0], name, strlen(name), 0, NULL) != 1)
		warning(l, "it does not name %s", name);
}

/* The names as a list; addresses are left out, nobody asks for one by SNI. */
static void print_names(struct out *out, X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char text[256];

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

		if (n->type != GEN_DNS)
			continue;
		snprintf(text, sizeof(text), "%.*s", ASN1_STRING_length(n->d.dNSName),
			 (const char *)ASN1_STRING_get0_data(n->d.dNSName));
		if (out->json)
			out_array_item(out, text);
		else {
			putc(' ', out->file);
			out_visible(out->file, text);
		}
	}
	GENERAL_NAMES_free(names);
}

static void print_json(struct admin *a, const struct look *l, int64_t now)
{
	struct out *o = &a->out;
	char text[256];
	int64_t from, until;

	out_object_begin(o);
	out_str(o, "server_name", l->server_name);
	out_str(o, "certificate", l->file);
	if (l->chain.n > 0) {
		X509 *cert = l->chain.certs[0];

		subject_of(cert, text, sizeof(text));
		out_str(o, "subject", text);
		out_str(o, "key", key_words(X509_get0_pubkey(cert), text, sizeof(text)));
		out_u64(o, "chain", l->chain.n);
		out_array_begin(o, "names");
		print_names(o, cert);
		out_array_end(o);
		if (cert_dates(cert, &from, &until) == 0) {
			out_time(o, "not_before", from);
			out_time(o, "not_after", until);
			snprintf(text, sizeof(text), "%" PRId64, (until - now) / DAY_S);
			out_decimal(o, "days_left", text);
		}
	}
	out_array_begin(o, "errors");
	for (size_t i = 0; i < l->n_errors; i++)
		out_array_item(o, l->errors[i]);
	out_array_end(o);
	out_array_begin(o, "warnings");
	for (size_t i = 0; i < l->n_warnings; i++)
		out_array_item(o, l->warnings[i]);
	out_array_end(o);
	out_object_end(o);
}

static void print_lines(FILE *file, const char *word, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fprintf(file, "  %s: ", word);
		out_visible(file, list[i]);
		putc('\n', file);
	}
}

static void print_text(struct admin *a, const struct look *l, int64_t now)
{
	FILE *file = a->out.file;
	char text[256];
	int64_t from, until;

	out_visible(file, l->file);
	if (l->server_name[0])
		fprintf(file, " for %s", l->server_name);
	fputs(l->n_errors ? ": not well\n" : ": good\n", file);
	if (l->chain.n > 0) {
		X509 *cert = l->chain.certs[0];

		subject_of(cert, text, sizeof(text));
		fputs("  ", file);
		out_visible(file, text);
		fprintf(file,
			", %s, names:", key_words(X509_get0_pubkey(cert), text, sizeof(text)));
		print_names(&a->out, cert);
		putc('\n', file);
		if (cert_dates(cert, &from, &until) == 0)
			fprintf(file, "  %" PRId64 " days left\n", (until - now) / DAY_S);
	}
	print_lines(file, "error", l->errors, l->n_errors);
	print_lines(file, "warning", l->warnings, l->n_warnings);
}

static void look_at(struct look *l, const char *word, size_t len)
{
	struct pop_why why;
	int fd;

	snprintf(l->file, sizeof(l->file), "%.*s", (int)len, word);
	if (credential_path(word, len, l->file, &why) < 0) {
		error(l, "%s", why.text);
		return;
	}
	fd = credential_open(word, len, false, &why);
	if (fd < 0) {
		error(l, "%s", why.text);
		return;
	}
	if (cert_chain_load(&l->chain, fd, &why) < 0)
		error(l, "%s", why.text);
	close(fd);
}

/* What is done with each certificate that was looked at. */
typedef void report(void *ctx, struct admin *a, const struct look *l, int64_t now);

/* One pair of lists; 0 where all is well. */
static int check_pair(struct admin *a, const char *server_name, const char *certificates,
		      const char *key_list, report *tell, void *ctx)
{
	const char *name = server_name[0] ? server_name : a->conf.hostname;
	int64_t now = (int64_t)time(NULL);
	struct keys k = { .n = 0 };
	const char *list = certificates;
	struct look *l;
	bool first = true;
	int status = 0;
	size_t len;

	do {
		l = calloc(1, sizeof(*l));
		if (!l)
			return fail(EX_OSERR, "out of memory");
		l->server_name = server_name;
		list = credential_next(list, &len);
		if (list)
			look_at(l, list, len);
		else
			error(l, "tls_certificate is not set");
		if (first && !key_list[0])
			error(l, "tls_key is not set");
		if (first)
			load_keys(&k, key_list, l);
		first = false;
		if (l->chain.n > 0) {
			check_key(l, &k);
			check_chain(l);
			check_dates(l, now);
			check_name(l, name);
		}
		tell(ctx, a, l, now);
		if (l->n_errors > 0)
			status = EX_NOT_WELL;
		release(l);
		free(l);
		list = list ? list + len : "";
	} while (list[strspn(list, " \t")]);
	for (unsigned i = 0; i < k.n; i++)
		EVP_PKEY_free(k.keys[i]);
	return status;
}

/* The first pair, and those of other server names. */
static int check_pairs(struct admin *a, report *tell, void *ctx)
{
	const struct conf *c = &a->conf;
	int status = check_pair(a, "", c->tls_certificate, c->tls_key, tell, ctx);

	for (size_t i = 0; i < c->n_tls_names; i++) {
		const struct conf_pair *p = &c->tls_names[i];
		int one = check_pair(a, p->name, p->certificate, p->key, tell, ctx);

		status = status ? status : one;
	}
	return status;
}

static bool is_off(const struct conf *c)
{
	return !c->tls_certificate[0] && !c->tls_key[0] && c->n_tls_names == 0;
}

static void print(void *ctx, struct admin *a, const struct look *l, int64_t now)
{
	(void)ctx;
	(a->out.json ? print_json : print_text)(a, l, now);
}

int cmd_tls_check(struct admin *a)
{
	int status;

	if (is_off(&a->conf))
		return fail(EX_CONFIG, "TLS is off: tls_certificate and tls_key are not set");
	out_list_begin(&a->out);
	status = check_pairs(a, print, NULL);
	out_list_end(&a->out);
	return status;
}

static void find(void *ctx, struct admin *a, const struct look *l, int64_t now)
{
	(void)a;
	(void)now;
	for (size_t i = 0; i < l->n_errors; i++)
		finding(ctx, l->file, "see pop3admin tls check", "%s", l->errors[i]);
	for (size_t i = 0; i < l->n_warnings; i++)
		note(ctx, "%s: %s", l->file, l->warnings[i]);
}

void check_certificates(struct findings *f)
{
	if (!is_off(&f->a->conf))
		check_pairs(f->a, find, f);
}
