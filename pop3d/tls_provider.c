/*
 * tls_provider.c - an OpenSSL provider whose private keys are in the keeper.
 *
 * A key here is a certificate, whose public half it has; a signature is a
 * question to the keeper, with the whole content, so that the keeper can see
 * what it signs.  The provider lives in a library context of its own: nothing
 * of the default one is ever chosen from it, or the other way round.
 *
 * Runs in:  tls.
 * Trusts:   the keeper's answers as far as OpenSSL does.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include "tls.h"

#define CERTIFICATE "pop3d-certificate" /* octet_ptr: an X509 */

static OSSL_LIB_CTX *library;
static OSSL_PROVIDER *provider_handle;
static struct ipc *keeper;
static bool refused;

struct handle {
	X509 *cert;
	EVP_PKEY *pub; /* the certificate's */
};

struct signing {
	EVP_PKEY *pub; /* borrowed: the handle outlives the operation */
	X509 *cert;
	char digest[16];
	int padding;
};

static void *handle_new(void *provider)
{
	(void)provider;
	return calloc(1, sizeof(struct handle));
}

static void handle_free(void *data)
{
	struct handle *h = data;

	if (h)
		X509_free(h->cert);
	free(h);
}

static int handle_has(const void *data, int selection)
{
	(void)data;
	(void)selection;
	return 1;
}

static int handle_match(const void *a, const void *b, int selection)
{
	(void)selection;
	return EVP_PKEY_eq(((const struct handle *)a)->pub, ((const struct handle *)b)->pub) == 1;
}

static int handle_import(void *data, int selection, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, CERTIFICATE);
	struct handle *h = data;
	const void *cert;
	size_t used;

	(void)selection;
	if (!p || OSSL_PARAM_get_octet_ptr(p, &cert, &used) != 1)
		return 0;
	h->cert = (X509 *)(uintptr_t)cert;
	h->pub = X509_get0_pubkey(h->cert);
	return X509_up_ref(h->cert);
}

static const OSSL_PARAM *handle_import_types(int selection)
{
	static const OSSL_PARAM types[] = { OSSL_PARAM_octet_ptr(CERTIFICATE, NULL, 0),
					    OSSL_PARAM_END };

	(void)selection;
	return types;
}

/* The public half alone: whoever could have the private one would move the key away from here. */
static int handle_export(void *data, int selection, OSSL_CALLBACK *done, void *arg)
{
	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
		return 0;
	return EVP_PKEY_export(((struct handle *)data)->pub, EVP_PKEY_PUBLIC_KEY, done, arg);
}

static const OSSL_PARAM *handle_export_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END
	};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

static int handle_get_params(void *data, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((struct handle *)data)->pub, params);
}

static const OSSL_PARAM *handle_gettable(void *provider)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
		OSSL_PARAM_END
	};

	(void)provider;
	return params;
}

/* Names of our own: no choice between two kinds of ECDSA is left. */
static const char *name_ec(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "KEEPER-ECDSA" : NULL;
}

static const char *name_rsa(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "KEEPER-RSA" : NULL;
}

static const char *name_ed25519(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "KEEPER-ED25519" : NULL;
}

static void *signing_new(void *provider, const char *properties)
{
	(void)provider;
	(void)properties;
	return calloc(1, sizeof(struct signing));
}

static void signing_free(void *ctx)
{
	free(ctx);
}

static int signing_set(void *ctx, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p;
	struct signing *s = ctx;

	if (!params)
		return 1;
	p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	/* the salt's length follows from the scheme: it is as long as the digest */
	return !p || OSSL_PARAM_get_int(p, &s->padding) == 1;
}

static const OSSL_PARAM *signing_settable(void *ctx, void *provider)
{
	static const OSSL_PARAM params[] = { OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL),
					     OSSL_PARAM_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL),
					     OSSL_PARAM_END };

	(void)ctx;
	(void)provider;
	return params;
}

static int signing_init(void *ctx, const char *digest, void *data, const OSSL_PARAM params[])
{
	struct signing *s = ctx;
	size_t n = digest ? strlen(digest) : 0;

	if (n >= sizeof(s->digest))
		return 0;
	memcpy(s->digest, digest ? digest : "", n + 1);
	s->pub = ((struct handle *)data)->pub;
	s->cert = ((struct handle *)data)->cert;
	s->padding = RSA_PKCS1_PADDING;
	return signing_set(ctx, params);
}

/* The code of RFC 8446 section 4.2.3 for this key, digest and padding; 0: there is none. */
static uint32_t scheme_of(const struct signing *s)
{
	static const char *const digests[][2] = { { "SHA256", "SHA2-256" },
						  { "SHA384", "SHA2-384" },
						  { "SHA512", "SHA2-512" } };

	if (EVP_PKEY_is_a(s->pub, "ED25519"))
		return 0x0807;
	for (uint32_t i = 0; i < 3; i++) {
		if (strcmp(s->digest, digests[i][0]) != 0 && strcmp(s->digest, digests[i][1]) != 0)
			continue;
		if (EVP_PKEY_is_a(s->pub, "EC"))
			return 0x0403 + (i << 8);
		return s->padding == RSA_PKCS1_PSS_PADDING ? 0x0804 + i : 0x0401 + (i << 8);
	}
	return 0;
}

static int ask_keeper(const struct signing *s, const uint8_t *pub, size_t pub_len, uint8_t *sig,
		      size_t *len, size_t room, const uint8_t *content, size_t content_len)
{
	struct ipc_msg m;
	int err;

	ipc_start(&m, IPC_SIGN_ASK);
	ipc_put_u32(&m, scheme_of(s));
	ipc_put_u32(&m, (uint32_t)pub_len);
	ipc_put_raw(&m, pub, pub_len);
	ipc_put_raw(&m, content, content_len);
	err = ipc_call(keeper, &m);
	if (err < 0)
		return err;
	if (ipc_get_u8(&m) != VERDICT_OK)
		return POP_E_DENIED; /* it has said why */
	*len = ipc_left(&m);
	keeper->broken = *len == 0 || *len > room;
	if (keeper->broken)
		return POP_E_CORRUPT;
	memcpy(sig, ipc_get_raw(&m, *len), *len);
	return 0;
}

static int signing_sign(void *ctx, unsigned char *sig, size_t *len, size_t room,
			const unsigned char *content, size_t content_len)
{
	struct signing *s = ctx;
	uint8_t *pub = NULL;
	size_t pub_len;
	int err;

	if (!sig) {
		*len = (size_t)EVP_PKEY_get_size(s->pub);
		return 1;
	}
	/* the certificate's own octets: encoding the key would cost more than all the rest */
	pub_len = cert_public_key(s->cert, &pub);
	if (pub_len == 0)
		return 0;
	err = ask_keeper(s, pub, pub_len, sig, len, room, content, content_len);
	OPENSSL_free(pub);
	refused = err < 0;
	return err == 0;
}

typedef void (*fn)(void);
/* clang-format off */
#define KEY_MANAGEMENT(name) { \
	{ OSSL_FUNC_KEYMGMT_NEW, (fn)handle_new }, \
	{ OSSL_FUNC_KEYMGMT_FREE, (fn)handle_free }, \
	{ OSSL_FUNC_KEYMGMT_HAS, (fn)handle_has }, \
	{ OSSL_FUNC_KEYMGMT_MATCH, (fn)handle_match }, \
	{ OSSL_FUNC_KEYMGMT_IMPORT, (fn)handle_import }, \
	{ OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (fn)handle_import_types }, \
	{ OSSL_FUNC_KEYMGMT_EXPORT, (fn)handle_export }, \
	{ OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (fn)handle_export_types }, \
	{ OSSL_FUNC_KEYMGMT_GET_PARAMS, (fn)handle_get_params }, \
	{ OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (fn)handle_gettable }, \
	{ OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (fn)(name) }, \
	{ 0, NULL } }
static const OSSL_DISPATCH manage_ec[] = KEY_MANAGEMENT(name_ec);
static const OSSL_DISPATCH manage_rsa[] = KEY_MANAGEMENT(name_rsa);
static const OSSL_DISPATCH manage_ed25519[] = KEY_MANAGEMENT(name_ed25519);
static const OSSL_DISPATCH sign[] = {
	{ OSSL_FUNC_SIGNATURE_NEWCTX, (fn)signing_new },
	{ OSSL_FUNC_SIGNATURE_FREECTX, (fn)signing_free },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (fn)signing_init },
	{ OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (fn)signing_sign },
	{ OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (fn)signing_set },
	{ OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (fn)signing_settable },
	{ 0, NULL },
};
#define OURS "provider=pop3d-keeper"
/* OpenSSL's own names: libssl finds the certificate's place and the curve by them. */
static const OSSL_ALGORITHM managements[] = {
	{ "EC:id-ecPublicKey:1.2.840.10045.2.1", OURS, manage_ec, NULL },
	{ "RSA:rsaEncryption:1.2.840.113549.1.1.1", OURS, manage_rsa, NULL },
	{ "ED25519:1.3.101.112", OURS, manage_ed25519, NULL },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM signatures[] = {
	{ "KEEPER-ECDSA", OURS, sign, NULL },
	{ "KEEPER-RSA", OURS, sign, NULL },
	{ "KEEPER-ED25519", OURS, sign, NULL },
	{ NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM ciphers[] = {
	{ TLS_TICKET_CIPHER, OURS, tls_ticket_cipher, NULL },
	{ NULL, NULL, NULL, NULL },
};
/* clang-format on */

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT	? managements
	       : operation == OSSL_OP_SIGNATURE ? signatures
	       : operation == OSSL_OP_CIPHER	? ciphers
						: NULL;
}

static int init_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
			 const OSSL_DISPATCH **out, void **provider)
{
	static const OSSL_DISPATCH table[] = { { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (fn)query },
					       { 0, NULL } };

	(void)handle;
	(void)in;
	*out = table;
	*provider = &library;
	return 1;
}

OSSL_LIB_CTX *tls_provider_open(struct ipc *to)
{
	keeper = to;
	library = OSSL_LIB_CTX_new();
	if (!library || OSSL_PROVIDER_add_builtin(library, "pop3d-keeper", init_provider) != 1 ||
	    !(provider_handle = OSSL_PROVIDER_load(library, "pop3d-keeper")))
		return NULL;
	return library;
}

EVP_PKEY *tls_provider_key(X509 *cert)
{
	EVP_PKEY *pub = X509_get0_pubkey(cert);
	const char *type = !pub				   ? NULL
			   : EVP_PKEY_is_a(pub, "EC")	   ? "EC"
			   : EVP_PKEY_is_a(pub, "RSA")	   ? "RSA"
			   : EVP_PKEY_is_a(pub, "ED25519") ? "ED25519"
							   : NULL;
	OSSL_PARAM params[2] = { OSSL_PARAM_octet_ptr(CERTIFICATE, NULL, 0), OSSL_PARAM_END };
	void *half = cert;
	EVP_PKEY_CTX *ctx;
	EVP_PKEY *key = NULL;

	if (!type)
		return NULL;
	params[0] = OSSL_PARAM_construct_octet_ptr(CERTIFICATE, &half, sizeof(half));
	ctx = EVP_PKEY_CTX_new_from_name(library, type, NULL);
	if (ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

void tls_provider_close(void)
{
	OSSL_PROVIDER_unload(provider_handle);
	OSSL_LIB_CTX_free(library);
	provider_handle = NULL;
	library = NULL;
}

bool tls_provider_refused(void)
{
	return refused;
}
