/*
 * mechs.c - the names of the ways to log in.
 *
 * Runs in:  every role, pop3admin.
 */
#include "mechs.h"

const char *mech_name(unsigned mechanism)
{
	static const char *const names[MECHANISM_N] = {
		[LOGIN_USERPASS] = "USER",
		[LOGIN_APOP] = "APOP",
		[SASL_PLAIN] = "PLAIN",
		[SASL_LOGIN] = "LOGIN",
		[SASL_CRAM_MD5] = "CRAM-MD5",
		[SASL_SCRAM_SHA_1] = "SCRAM-SHA-1",
		[SASL_SCRAM_SHA_256] = "SCRAM-SHA-256",
		[SASL_SCRAM_SHA_1_PLUS] = "SCRAM-SHA-1-PLUS",
		[SASL_SCRAM_SHA_256_PLUS] = "SCRAM-SHA-256-PLUS",
		[SASL_EXTERNAL] = "EXTERNAL",
		[SASL_OAUTHBEARER] = "OAUTHBEARER",
		[SASL_XOAUTH2] = "XOAUTH2",
		[SASL_GSSAPI] = "GSSAPI",
	};

	return mechanism > 0 && mechanism < MECHANISM_N ? names[mechanism] : "unknown";
}
