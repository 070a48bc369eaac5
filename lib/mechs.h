/*
 * mechs.h - the ways to log in: numbers for messages and counters, names for people.
 */
#ifndef POP_MECHS_H
#define POP_MECHS_H

/* Beside USER and APOP the SASL mechanisms, in the order of enum conf_mech's bits. */
enum mechanism {
	LOGIN_USERPASS = 1,
	LOGIN_APOP,
	SASL_PLAIN,
	SASL_LOGIN,
	SASL_CRAM_MD5,
	SASL_SCRAM_SHA_1,
	SASL_SCRAM_SHA_256,
	SASL_SCRAM_SHA_1_PLUS,
	SASL_SCRAM_SHA_256_PLUS,
	SASL_EXTERNAL,
	SASL_OAUTHBEARER,
	SASL_XOAUTH2,
	SASL_GSSAPI,
	MECHANISM_N
};
#define MECHANISM_BIT(m) (1U << ((m)-SASL_PLAIN)) /* of a SASL mechanism, in enum conf_mech */

/* As clients and the log write it: "USER", "SCRAM-SHA-256"; "unknown" for any other number. */
const char *mech_name(unsigned mechanism);

#endif
