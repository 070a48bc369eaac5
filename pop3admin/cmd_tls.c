/*
 * cmd_tls.c - tls selfsigned and tls rotate.
 *
 * Runs in:  pop3admin, as whoever called it: root, where the files are root's.
 * Trusts:   its caller and the configuration.
 */
#include "admin.h"
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "credential.h"
#include "ticket_keys.h"

#define DAYS	     3650
#define DEFAULT_CERT SYSCONFDIR "/pop3d/certificate.pem"
#define DEFAULT_KEY  SYSCONFDIR "/pop3d/key.pem"
#define NAMES_MAX    2048 /* octets of all names */

int cmd_tls_rotate(struct admin *a)
{
	struct ticket_keys keys;
	struct pop_why why = { "" };
	int fd = ticket_keys_open(a->conf.run_dir, &why), err;

	if (fd < 0)
		return fail(status_of(fd), "%s", why.text);
	err = ticket_keys_rotate(fd, (uint64_t)time(NULL), &keys);
	if (err < 0)
		fail(EX_IOERR, "%s/%s: %s", a->conf.run_dir, TICKET_FILE_NAME,
		     err == POP_E_SYS ? strerror(errno) : pop_strerror(err));
	close(fd);
	if (err == 0) {
		out_object_begin(&a->out);
		out_time(&a->out, "rotated", (int64_t)keys.current.made_s);
		out_object_end(&a->out);
	}
	explicit_bzero(&keys, sizeof(keys));
	return err < 0 ? EX_IOERR : EX_OK;
}

/* "DNS:a,DNS:b"; an address is IP:. */
static int join_names(const struct admin *a, char out[NAMES_MAX])
{
	size_t n = a->n_pos ? a->n_pos : 1, used = 0;

	for (size_t i = 0; i < n; i++) {
		const char *name = a->n_pos ? a->pos[i] : a->conf.hostname;
		bool address = strchr(name, ':') || !name[strspn(name, "0123456789.")];
		int put;

		if (!name[0] ||
		    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-:*")])
			return fail(EX_USAGE, "%s: no host name or address", name);
		put = snprintf(out + used, NAMES_MAX - used, "%s%s:%s", i ? "," : "",
			       address ? "IP" : "DNS", name);
		if (put < 0 || (size_t)put >= NAMES_MAX - used)
			return fail(EX_USAGE, "the names are too long");
		used += (size_t)put;
	}
	return EX_OK;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool done;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	done = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return done;
}

/* 159 random bits: no two certificates of one name have the same number. */
static bool set_serial(X509 *cert)
{
	BIGNUM *n = BN_new();
	bool done = n && BN_rand(n, 159, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
		    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));

	BN_free(n);
	return done;
}

static X509 *make_certificate(EVP_PKEY *key, const char *first_name, const char *names)
{
	X509 *cert = X509_new();
	X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;

	/* the common name holds 64 octets at most; clients look at the other names anyway */
	if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), DAYS, 0, NULL) &&
	    X509_set_pubkey(cert, key) == 1 &&
	    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
				       (const unsigned char *)first_name,
				       strlen(first_name) > 64 ? 64 : -1, -1, 0) == 1 &&
	    X509_set_issuer_name(cert, subject) == 1 &&
	    add_extension(cert, NID_subject_alt_name, names) &&
	    add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	    add_extension(cert, NID_subject_key_identifier, "hash") &&
	    X509_sign(cert, key, EVP_sha256()) > 0)
		return cert;
	X509_free(cert);
	return NULL;
}

/* Where to: the first file that the key names, or the default.  It must not be there yet. */
static int find_place(const char *list, const char *deflt, char path[PATH_MAX])
{
	struct pop_why why;
	struct stat st;
	size_t len;
	const char *word = credential_next(list[0] ? list : deflt, &len);

	if (!word || credential_path(word, len, path, &why) < 0)
		return fail(EX_CONFIG, "%s", why.text);
	if (lstat(path, &st) == 0)
		return fail(EX_CANTCREAT, "%s: is there already; remove it first", path);
	return EX_OK;
}

static FILE *create(const char *path, mode_t mode)
{
	int fd = fs_open_at(AT_FDCWD, path, FS_LINKS_DIRS, O_WRONLY | O_CREAT | O_EXCL, mode);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (file && fchmod(fd, mode) == 0)
		return file;
	fail(errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT, "%s: %s", path,
	     strerror(errno));
	if (file)
		fclose(file);
	else if (fd >= 0)
		close(fd);
	return NULL;
}

static int finish(FILE *file, bool written, const char *path)
{
	bool good = written && fflush(file) == 0 && fsync(fileno(file)) == 0;

	if (fclose(file) == 0 && good)
		return EX_OK;
	unlink(path);
	return fail(EX_IOERR, "%s: %s", path, strerror(errno));
}

static int write_both(const char *key_path, EVP_PKEY *key, const char *cert_path, X509 *cert)
{
	FILE *file = create(key_path, 0600);
	int status;

	if (!file)
		return errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT;
	status = finish(file, PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1,
			key_path);
	if (status)
		return status;
	file = create(cert_path, 0644);
	if (file)
		status = finish(file, PEM_write_X509(file, cert) == 1, cert_path);
	else
		status = errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT;
	if (status)
		unlink(key_path);
	return status;
}

int cmd_tls_selfsigned(struct admin *a)
{
	char cert_path[PATH_MAX], key_path[PATH_MAX], names[NAMES_MAX];
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int status = join_names(a, names);

	if (!status)
		status = find_place(a->conf.tls_certificate, DEFAULT_CERT, cert_path);
	if (!status)
		status = find_place(a->conf.tls_key, DEFAULT_KEY, key_path);
	if (status)
		return status;
	key = EVP_EC_gen("P-256");
	if (key)
		cert = make_certificate(key, a->n_pos ? a->pos[0] : a->conf.hostname, names);
	if (!cert)
		status = fail(EX_SOFTWARE, "OpenSSL cannot make a certificate for %s", names);
	else
		status = write_both(key_path, key, cert_path, cert);
	X509_free(cert);
	EVP_PKEY_free(key);
	if (status)
		return status;
	out_object_begin(&a->out);
	out_str(&a->out, "tls_certificate", cert_path);
	out_str(&a->out, "tls_key", key_path);
	out_object_end(&a->out);
	return EX_OK;
}
