/*
 * algorithms.c - a provider between OpenSSL and its default one, which shows the
 * algorithms that are used here and hides the rest.
 *
 * The default provider is loaded in a library context of its own.  The functions
 * are its own, and so is the context that they are called with.
 *
 * Runs in:  tls and keeper, before they hear from anybody.
 * Trusts:   OpenSSL.
 */
#include <string.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include "algorithms.h"

#define SHOWN_MAX 24

static OSSL_PROVIDER *whole; /* the default provider */
static bool show_all_keys;

/* By the first of the names that OpenSSL has for it. */
static const char *const digests[] = { "SHA1", "SHA2-256", "SHA2-384", "SHA2-512", NULL };
static const char *const ciphers[] = { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", NULL };
static const char *const macs[] = { "HMAC", NULL };
static const char *const kdfs[] = { "HKDF", "TLS13-KDF", "TLS1-PRF", NULL };
static const char *const randoms[] = { "HASH-DRBG", "SEED-SRC", NULL };
static const char *const managements[] = {
	"EC", "X25519", "RSA", "RSA-PSS", "ED25519", "HMAC", NULL
};
static const char *const exchanges[] = { "X25519", "ECDH", NULL };
static const char *const signatures[] = { "ECDSA", "RSA", "ED25519", "HMAC", NULL };

/* What is not in the list is not shown at all. */
static struct kind {
	int operation;
	const char *const *names;
	size_t n;
	OSSL_ALGORITHM shown[SHOWN_MAX + 1];
} kinds[] = {
	{ .operation = OSSL_OP_DIGEST, .names = digests },
	{ .operation = OSSL_OP_CIPHER, .names = ciphers },
	{ .operation = OSSL_OP_MAC, .names = macs },
	{ .operation = OSSL_OP_KDF, .names = kdfs },
	{ .operation = OSSL_OP_RAND, .names = randoms },
	{ .operation = OSSL_OP_KEYMGMT, .names = managements },
	{ .operation = OSSL_OP_KEYEXCH, .names = exchanges },
	{ .operation = OSSL_OP_SIGNATURE, .names = signatures },
	{ .operation = OSSL_OP_DECODER, .names = managements },
};

static bool is_named(const char *const *names, const char *list)
{
	size_t len = strcspn(list, ":");

	for (; *names; names++)
		if (strlen(*names) == len && memcmp(*names, list, len) == 0)
			return true;
	return false;
}

/* Of the decoders the ones for the key in a certificate. */
static bool is_wanted(const struct kind *kind, const OSSL_ALGORITHM *a)
{
	return is_named(kind->names, a->algorithm_names) &&
	       (kind->operation != OSSL_OP_DECODER ||
		strstr(a->property_definition, "structure=SubjectPublicKeyInfo"));
}

static void choose(struct kind *kind)
{
	int no_cache;
	const OSSL_ALGORITHM *a = OSSL_PROVIDER_query_operation(whole, kind->operation, &no_cache);

	for (; a && a->algorithm_names && kind->n < SHOWN_MAX; a++)
		if (is_wanted(kind, a))
			kind->shown[kind->n++] = *a;
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	(void)provider;
	*no_cache = 0;
	if (show_all_keys && (operation == OSSL_OP_DECODER || operation == OSSL_OP_ENCODER))
		return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].operation != operation)
			continue;
		if (kinds[i].n == 0)
			choose(&kinds[i]);
		return kinds[i].shown;
	}
	return NULL;
}

struct listener {
	OSSL_CALLBACK *tell;
	void *arg;
};

/* Of the groups for key exchange the two that are offered; one has two names. */
static int tell_group(const OSSL_PARAM params[], void *listener)
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_CAPABILITY_TLS_GROUP_NAME);
	static const char *const groups[] = { "secp256r1", "P-256", "x25519", NULL };
	const struct listener *l = listener;

	if (p && p->data_type == OSSL_PARAM_UTF8_STRING && !is_named(groups, p->data))
		return 1;
	return l->tell(params, l->arg);
}

static int capabilities(void *provider, const char *name, OSSL_CALLBACK *tell, void *arg)
{
	struct listener l = { tell, arg };

	(void)provider;
	if (strcmp(name, "TLS-GROUP") != 0)
		return 1;
	return OSSL_PROVIDER_get_capabilities(whole, name, tell_group, &l);
}

typedef void (*fn)(void);

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
		void **provider)
{
	static const OSSL_DISPATCH table[] = {
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (fn)query },
		{ OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (fn)capabilities },
		{ 0, NULL },
	};

	(void)handle;
	(void)in;
	*out = table;
	*provider = OSSL_PROVIDER_get0_provider_ctx(whole);
	return 1;
}

/* A generator that needs a digest; the usual one needs a cipher, and all of them are made. */
static bool choose_random(OSSL_LIB_CTX *library)
{
	return RAND_set_DRBG_type(library, "HASH-DRBG", NULL, NULL, "SHA256") == 1;
}

void algorithms_limit(bool all_keys)
{
	OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();

	show_all_keys = all_keys;
	whole = library ? OSSL_PROVIDER_load(library, "default") : NULL;
	if (whole && choose_random(library) && choose_random(NULL) &&
	    OSSL_PROVIDER_add_builtin(NULL, "pop3d", init) == 1)
		OSSL_PROVIDER_load(NULL, "pop3d");
}
