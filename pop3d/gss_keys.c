/*
 * gss_keys.c - from an open keytab to keys in memory.
 *
 * Runs in:  pop3d-gssapi, before it has given its rights up: Kerberos opens files
 *           by their names.
 * Trusts:   the keytab, which is root's.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "gss.h"

#define MEMORY "MEMORY:pop3d"

static int failed(krb5_context ctx, krb5_error_code code, const char *what, struct pop_why *why)
{
	const char *text = krb5_get_error_message(ctx, code);

	pop_why(why, POP_E_SYS, "%s: %.200s", what, text);
	krb5_free_error_message(ctx, text);
	return POP_E_SYS;
}

static bool is_ours(const krb5_keytab_entry *entry)
{
	const krb5_data *first;

	if (krb5_princ_size(NULL, entry->principal) < 2)
		return false;
	first = krb5_princ_component(NULL, entry->principal, 0);
	return first->length == strlen(GSS_SERVICE) &&
	       memcmp(first->data, GSS_SERVICE, first->length) == 0;
}

/* Every key of our service, on whatever host name, into the other; how many, or -1 with *code. */
static int copy_keys(krb5_context ctx, krb5_keytab from, krb5_keytab to, krb5_error_code *code)
{
	krb5_kt_cursor cursor;
	krb5_keytab_entry entry;
	int n = 0;

	*code = krb5_kt_start_seq_get(ctx, from, &cursor);
	if (*code)
		return -1;
	while (n >= 0 && (*code = krb5_kt_next_entry(ctx, from, &entry, &cursor)) == 0) {
		bool ours = is_ours(&entry);

		if (ours)
			*code = krb5_kt_add_entry(ctx, to, &entry);
		krb5_free_keytab_entry_contents(ctx, &entry);
		n = *code ? -1 : n + ours;
	}
	krb5_kt_end_seq_get(ctx, from, &cursor);
	return n >= 0 && *code != KRB5_KT_END ? -1 : n;
}

/* What the library makes ready at its first call it makes ready now. */
static void touch_library(void)
{
	gss_OID_set mechs = GSS_C_NO_OID_SET;
	OM_uint32 minor;

	gss_indicate_mechs(&minor, &mechs);
	gss_release_oid_set(&minor, &mechs);
}

int gss_prepare(int keytab_fd, struct pop_why *why)
{
	/* both live as long as the process: the keys go with the last handle */
	static krb5_context ctx;
	static krb5_keytab memory;
	krb5_keytab file = NULL;
	krb5_error_code code;
	char path[64];
	int n;

	/*
	 * The library looks for krb5.conf with every context that it makes, and is content to
	 * find none: a key says all that a service has to know.  No cache of replays: the last
	 * word of an exchange needs the key of its session.
	 */
	if (setenv("KRB5_CONFIG", "/nonexistent/krb5.conf", 1) < 0 ||
	    setenv("KRB5RCACHENAME", "none:", 1) < 0 || setenv("KRB5RCACHETYPE", "none", 1) < 0)
		return pop_why_errno(why, "setenv");
	code = krb5_init_context(&ctx);
	if (code)
		return pop_why(why, POP_E_SYS, "Kerberos: error %ld", (long)code);
	snprintf(path, sizeof(path), "FILE:/proc/self/fd/%d", keytab_fd);
	code = krb5_kt_resolve(ctx, path, &file);
	if (!code)
		code = krb5_kt_resolve(ctx, MEMORY, &memory);
	n = code ? -1 : copy_keys(ctx, file, memory, &code);
	if (file)
		krb5_kt_close(ctx, file);
	if (n < 0)
		return failed(ctx, code, "gssapi_keytab", why);
	if (n == 0)
		return pop_why(why, POP_E_SYS,
			       "gssapi_keytab: it has no key for the service " GSS_SERVICE);
	if (krb5_gss_register_acceptor_identity(MEMORY) != GSS_S_COMPLETE)
		return pop_why(why, POP_E_SYS, "gssapi_keytab: not taken by the library");
	touch_library();
	return 0;
}
