/*
 * gss_step.c - GSSAPI, RFC 4752: Kerberos says who the client is.
 *
 * Runs in:  pop3d-gssapi, in the auth role.
 * Trusts:   the keytab's realm for who somebody is.  Not the client.
 *
 * No security layer is offered: TLS is for that.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <stdio.h>
#include <string.h>
#include "gss.h"
#include "saslprep.h"

#define NO_LAYER  1 /* RFC 4752 section 3.3 */
#define BOUND_MAX (sizeof("tls-exporter:") + IPC_BINDING_LEN)

enum stage { STAGE_TOKEN, STAGE_EMPTY, STAGE_LAYER };

/* The exchange that is open; one process has one at a time. */
static struct {
	gss_ctx_id_t context;
	gss_cred_id_t cred;
	enum stage stage;
	char principal[USER_NAME_MAX + 1]; /* the client's, with its realm */
	bool own_realm;
} gss = { .context = GSS_C_NO_CONTEXT, .cred = GSS_C_NO_CREDENTIAL };

static enum ipc_sasl_kind refuse(struct judgement *j, enum ipc_verdict verdict)
{
	j->verdict = verdict;
	return SASL_VERDICT;
}

/* What the library says, for the log. */
static void note(struct judgement *j, const char *what, OM_uint32 major, OM_uint32 minor)
{
	gss_buffer_desc text[2] = { GSS_C_EMPTY_BUFFER, GSS_C_EMPTY_BUFFER };
	OM_uint32 ignored, more = 0;

	gss_display_status(&ignored, major, GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &text[0]);
	more = 0;
	gss_display_status(&ignored, minor, GSS_C_MECH_CODE, (gss_OID)gss_mech_krb5, &more,
			   &text[1]);
	pop_why(&j->note, 0, "GSSAPI: %s: %.*s: %.*s", what, (int)text[0].length,
		(char *)text[0].value, (int)text[1].length, (char *)text[1].value);
	gss_release_buffer(&ignored, &text[0]);
	gss_release_buffer(&ignored, &text[1]);
}

static void end_context(void)
{
	OM_uint32 minor;

	if (gss.context != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&minor, &gss.context, GSS_C_NO_BUFFER);
	gss.context = GSS_C_NO_CONTEXT;
	gss.stage = STAGE_TOKEN;
	gss.principal[0] = '\0';
	gss.own_realm = false;
}

/* All keys that there are: gss_prepare() took only those of our service. */
static int acquire(struct judgement *j)
{
	gss_OID_set_desc krb5 = { 1, (gss_OID)gss_mech_krb5 };
	OM_uint32 major, minor;

	if (gss.cred != GSS_C_NO_CREDENTIAL)
		return 0;
	major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &krb5, GSS_C_ACCEPT,
				 &gss.cred, NULL, NULL);
	if (!GSS_ERROR(major))
		return 0;
	note(j, "no key can be used", major, minor);
	return POP_E_MISSING;
}

/*
 * The TLS connection that we know, by one of its names: a client that has bound its
 * context to a connection must have meant this one.  Libraries that refuse clients
 * without are not asked.
 */
static gss_channel_bindings_t bindings_of(const struct auth *a, unsigned kind,
					  struct gss_channel_bindings_struct *b,
					  char text[BOUND_MAX])
{
#ifdef GSS_C_CHANNEL_BOUND_FLAG
	bool exporter = kind == BINDING_EXPORTER;
	size_t len = exporter ? IPC_BINDING_LEN : IPC_UNIQUE_LEN;
	int n = snprintf(text, BOUND_MAX, "%s", exporter ? "tls-exporter:" : "tls-unique:");

	if (kind == BINDING_NONE)
		return GSS_C_NO_CHANNEL_BINDINGS;
	memcpy(text + n, exporter ? a->tls.binding : a->tls.unique, len);
	memset(b, 0, sizeof(*b));
	b->application_data.value = text;
	b->application_data.length = (size_t)n + len;
	return b;
#else
	(void)a;
	(void)kind;
	(void)b;
	(void)text;
	return GSS_C_NO_CHANNEL_BINDINGS;
#endif
}

static OM_uint32 accept_by(const struct auth *a, unsigned kind, gss_buffer_t in, gss_buffer_t out,
			   OM_uint32 *minor)
{
	struct gss_channel_bindings_struct bound;
	char text[BOUND_MAX];

	return gss_accept_sec_context(minor, &gss.context, gss.cred, in,
				      bindings_of(a, kind, &bound, text), NULL, NULL, out, NULL,
				      NULL, NULL);
}

/* A token does not say which name of the connection it means: on TLS 1.2 there may be two. */
static OM_uint32 accept_token(const struct auth *a, gss_buffer_t in, gss_buffer_t out,
			      OM_uint32 *minor)
{
	unsigned kinds = a->tls.kinds;
	bool again =
		gss.context == GSS_C_NO_CONTEXT && kinds == (BINDING_EXPORTER | BINDING_UNIQUE);
	OM_uint32 major, ignored;

	major = accept_by(a, kinds & BINDING_EXPORTER ? BINDING_EXPORTER : kinds, in, out, minor);
	if (GSS_ROUTINE_ERROR(major) != GSS_S_BAD_BINDINGS || !again)
		return major;
	gss_release_buffer(&ignored, out);
	if (gss.context != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&ignored, &gss.context, GSS_C_NO_BUFFER);
	return accept_by(a, BINDING_UNIQUE, in, out, minor);
}

/* A name as text, "alice@EXAMPLE.ORG"; false where it is none of ours. */
static bool text_of(gss_name_t name, char *out, size_t size)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	bool good = false;

	if (!GSS_ERROR(gss_display_name(&minor, name, &text, NULL)) && text.length > 0 &&
	    text.length < size && !memchr(text.value, '\0', text.length)) {
		memcpy(out, text.value, text.length);
		out[text.length] = '\0';
		good = true;
	}
	gss_release_buffer(&minor, &text);
	return good;
}

/* Who is it, and is the realm that of the key which proved it? */
static int take_names(struct judgement *j)
{
	char service[USER_NAME_MAX + 64], *realm, *own;
	gss_name_t source = GSS_C_NO_NAME, target = GSS_C_NO_NAME;
	OM_uint32 minor, ignored;
	int err = POP_E_DENIED;

	if (!GSS_ERROR(gss_inquire_context(&minor, gss.context, &source, &target, NULL, NULL, NULL,
					   NULL, NULL)) &&
	    source != GSS_C_NO_NAME && target != GSS_C_NO_NAME &&
	    text_of(source, gss.principal, sizeof(gss.principal)) &&
	    text_of(target, service, sizeof(service)) &&
	    strncmp(service, GSS_SERVICE "/", sizeof(GSS_SERVICE)) == 0) {
		realm = strrchr(gss.principal, '@');
		own = strrchr(service, '@');
		gss.own_realm = realm && own && strcmp(realm, own) == 0;
		err = 0;
	}
	gss_release_name(&ignored, &source);
	gss_release_name(&ignored, &target);
	if (err < 0)
		pop_why(&j->note, 0, "GSSAPI: a client or service name that is not usable");
	return err;
}

/* "No layer, and nothing of any size", RFC 4752 section 3.2. */
static enum ipc_sasl_kind offer_no_layer(struct auth_exchange *x, struct judgement *j)
{
	uint8_t offer[4] = { NO_LAYER, 0, 0, 0 };
	gss_buffer_desc in = { sizeof(offer), offer }, out = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor, ignored;
	bool good;

	major = gss_wrap(&minor, gss.context, 0, GSS_C_QOP_DEFAULT, &in, NULL, &out);
	good = !GSS_ERROR(major) && out.length <= sizeof(x->out);
	if (good) {
		memcpy(x->out, out.value, out.length);
		x->out_len = out.length;
		gss.stage = STAGE_LAYER;
	} else {
		note(j, "wrap", major, minor);
	}
	gss_release_buffer(&ignored, &out);
	return good ? SASL_CHALLENGE : refuse(j, VERDICT_TEMP);
}

static enum ipc_sasl_kind take_token(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	gss_buffer_desc in = { x->in_len, x->in }, out = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor, ignored;
	bool fits;

	major = accept_token(a, &in, &out, &minor);
	fits = out.length <= sizeof(x->out);
	x->out_len = fits ? out.length : 0;
	if (x->out_len)
		memcpy(x->out, out.value, x->out_len);
	gss_release_buffer(&ignored, &out);
	if (GSS_ERROR(major)) {
		note(j, "the client's token", major, minor);
		return refuse(j, VERDICT_AUTH);
	}
	if (!fits)
		return refuse(j, VERDICT_TEMP);
	if (major & GSS_S_CONTINUE_NEEDED)
		return SASL_CHALLENGE;
	if (take_names(j) < 0)
		return refuse(j, VERDICT_AUTH);
	gss.stage = STAGE_EMPTY;
	return x->out_len ? SASL_CHALLENGE : offer_no_layer(x, j);
}

/* The entry of a principal: under its whole name; or, of our own realm, under its first part. */
static int find_entry(struct auth *a, char login[USER_NAME_MAX + 1], struct judgement *j)
{
	int err = auth_find(a, gss.principal, j);
	char *at;

	snprintf(login, USER_NAME_MAX + 1, "%s", gss.principal);
	at = strrchr(login, '@');
	if (err != POP_E_MISSING || !gss.own_realm || !at)
		return err;
	*at = '\0';
	return auth_find(a, login, j);
}

static void accept_client(struct auth *a, struct auth_exchange *x, const char *authzid,
			  struct judgement *j)
{
	int err = find_entry(a, x->login, j);

	j->verdict = VERDICT_AUTH;
	if (err == POP_E_SYS || err == POP_E_MEMORY)
		j->verdict = VERDICT_TEMP;
	else if (err == 0 && !j->user.locked && !j->user.nologin &&
		 (auth_authzid_ok(j, authzid, x->login) || strcmp(authzid, gss.principal) == 0))
		auth_accept(a, j);
}

/* One octet of a layer, three of a size that must be 0, and for whom. */
static enum ipc_sasl_kind take_layer(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	static const uint8_t wanted[4] = { NO_LAYER, 0, 0, 0 };
	gss_buffer_desc in = { x->in_len, x->in }, out = GSS_C_EMPTY_BUFFER;
	char authzid[USER_NAME_MAX + 1];
	OM_uint32 major, minor, ignored;
	bool good;

	major = gss_unwrap(&minor, gss.context, &in, &out, NULL, NULL);
	if (GSS_ERROR(major)) {
		note(j, "the client's choice of a layer", major, minor);
		return refuse(j, VERDICT_AUTH);
	}
	good = out.length >= sizeof(wanted) && memcmp(out.value, wanted, sizeof(wanted)) == 0 &&
	       saslprep((char *)out.value + 4, out.length - 4, authzid, sizeof(authzid)) >= 0;
	gss_release_buffer(&ignored, &out);
	if (!good) /* a layer that was not offered */
		return refuse(j, VERDICT_SYNTAX);
	accept_client(a, x, authzid, j);
	return SASL_VERDICT;
}

enum ipc_sasl_kind gss_step(struct auth *a, struct auth_exchange *x, struct judgement *j)
{
	enum ipc_sasl_kind kind;

	if (x->step == 0) {
		end_context();
		if (a->start->failed) {
			pop_why(&j->note, 0, "%s", a->start->failed);
			return refuse(j, VERDICT_PERM);
		}
		if (acquire(j) < 0)
			return refuse(j, VERDICT_PERM);
		if (!auth_brake(a, "", j))
			return SASL_VERDICT;
		if (x->no_response) {
			x->out_len = 0;
			return SASL_CHALLENGE;
		}
	}
	if (gss.stage == STAGE_EMPTY)
		kind = x->in_len > 0 ? refuse(j, VERDICT_SYNTAX) : offer_no_layer(x, j);
	else if (x->in_len == 0)
		kind = refuse(j, VERDICT_SYNTAX);
	else
		kind = gss.stage == STAGE_TOKEN ? take_token(a, x, j) : take_layer(a, x, j);
	if (kind == SASL_VERDICT) {
		if (!x->login[0])
			memcpy(x->login, gss.principal, sizeof(x->login));
		end_context();
	}
	return kind;
}
