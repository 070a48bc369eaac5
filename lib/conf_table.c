/*
 * conf_table.c - the keys of pop3d.conf(5): name, type, default, range, meaning.
 *
 * Runs in:  monitor at start, pop3admin.
 * Trusts:   nothing; a value is what an administrator typed.
 */
#include <ctype.h>
#include <string.h>

#include "conf.h"
#include "networks.h"
#include "num.h"
#include "spec.h"

#define HOST_NAME_OCTETS 255

static bool is_host_name(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > HOST_NAME_OCTETS || s[0] == '.' || s[0] == '-')
		return false;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

static int check_host(const char *value, struct pop_why *why)
{
	if (is_host_name(value))
		return 0;
	return pop_why(why, POP_E_SYNTAX, "a host name: letters, digits, '.', '-', '_'");
}

static int check_domain(const char *value, struct pop_why *why)
{
	if (is_host_name(value))
		return 0;
	return pop_why(why, POP_E_SYNTAX, "a domain without '@', or none");
}

static int check_users(const char *value, struct pop_why *why)
{
	static const char prefix[] = "checkpassword:";

	if (value[0] == '/' || strcmp(value, "system") == 0)
		return 0;
	if (strncmp(value, prefix, sizeof(prefix) - 1) == 0 && value[sizeof(prefix) - 1] == '/')
		return 0;
	return pop_why(why, POP_E_SYNTAX,
		       "an absolute path, system, or checkpassword:/PROGRAM ARGS");
}

static int check_command(const char *value, struct pop_why *why)
{
	if (value[0] == '/' || strcmp(value, "none") == 0)
		return 0;
	return pop_why(why, POP_E_SYNTAX, "/PROGRAM ARGS, or none");
}

/* Letters, digits, '.', '-' and '_' are parts of names and domains. */
static int check_separators(const char *value, struct pop_why *why)
{
	for (const char *p = value; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c <= 0x20 || c >= 0x7f || c == ':' || c == '/' || c == '.' || c == '-' ||
		    c == '_' || isalnum(c))
			return pop_why(why, POP_E_SYNTAX,
				       "characters such as @ + %% =, without blanks between");
	}
	return 0;
}

static int check_networks(const char *value, struct pop_why *why)
{
	if (strcmp(value, "no") == 0)
		return 0;
	for (const char *p = value; *p;) {
		size_t len;

		p += strspn(p, " \t");
		len = strcspn(p, " \t");
		if (len && !network_ok(p, len))
			return pop_why(why, POP_E_SYNTAX,
				       "no, or networks such as 192.0.2.0/24 2001:db8::/32");
		p += len;
	}
	return 0;
}

static bool is_path_or_credential(const char *word, size_t len)
{
	static const char prefix[] = "credential:";
	const size_t n = sizeof(prefix) - 1;

	if (word[0] == '/')
		return true;
	return len > n && strncmp(word, prefix, n) == 0 && word[n] != '.' &&
	       !memchr(word, '/', len);
}

/* Several, parted by blanks: an RSA and an ECDSA certificate at once. */
static int check_credential(const char *value, struct pop_why *why)
{
	size_t len;

	for (value += strspn(value, " \t"); *value; value += len + strspn(value + len, " \t")) {
		len = strcspn(value, " \t");
		if (!is_path_or_credential(value, len))
			return pop_why(why, POP_E_SYNTAX,
				       "an absolute path, credential:NAME, or none");
	}
	return 0;
}

/* Host names with blanks between them. */
static int check_hosts(const char *value, struct pop_why *why)
{
	char host[HOST_NAME_OCTETS + 1];
	size_t len;

	for (value += strspn(value, " \t"); *value; value += len + strspn(value + len, " \t")) {
		len = strcspn(value, " \t");
		if (len < sizeof(host)) {
			memcpy(host, value, len);
			host[len] = '\0';
		}
		if (len >= sizeof(host) || !is_host_name(host))
			return pop_why(why, POP_E_SYNTAX, "server names, or none");
	}
	return 0;
}

static int check_one_credential(const char *value, struct pop_why *why)
{
	if (strcmp(value, "none") == 0 ||
	    (!strpbrk(value, " \t") && is_path_or_credential(value, strlen(value))))
		return 0;
	return pop_why(why, POP_E_SYNTAX, "an absolute path, credential:NAME, or none");
}

static int check_account(const char *value, struct pop_why *why)
{
	uint64_t id;
	size_t len = strlen(value);

	if (value[0] >= '0' && value[0] <= '9' && num_parse(value, len, UINT32_MAX - 1, &id) < 0)
		return pop_why(why, POP_E_SYNTAX, "a user name or number");
	if (value[0] == '-' || value[0] == '+' || strpbrk(value, " \t:/"))
		return pop_why(why, POP_E_SYNTAX, "a user name or number");
	return 0;
}

#define AT(field) offsetof(struct conf, field)
#define FACILITIES \
	"mail daemon auth authpriv user local0 local1 local2 local3 local4 local5 local6 local7"

/* clang-format off */
const struct conf_key conf_keys[] = {
	{ "hostname", CONF_STRING, AT(hostname), NULL, 0, 0, "a host name",
	  "name in the greeting and in challenges", check_host },
	{ "users", CONF_STRING, AT(users), SYSCONFDIR "/pop3d/users", 0, 0,
	  "an absolute path, system, or checkpassword:/PROGRAM ARGS", "the user database",
	  check_users },
	{ "secrets", CONF_PATH, AT(secrets), SYSCONFDIR "/pop3d/secrets", 0, 0,
	  "an absolute path", "secrets of the challenge-response mechanisms", NULL },
	{ "default_domain", CONF_STRING, AT(default_domain), "none", 0, 0, "a domain, or none",
	  "domain that a login without one is tried with", check_domain },
	{ "user_separators", CONF_STRING, AT(user_separators), "@", 0, 0, "characters such as @+%",
	  "characters that are read as @ in a login", check_separators },
	{ "domain.NAME.maildrop", CONF_DOMAIN, offsetof(struct conf_domain, maildrop), "none", 0, 0,
	  "mbox:PATH or maildir:PATH, or none", "where the mail of one domain's users is",
	  spec_check },
	{ "domain.NAME.uid", CONF_DOMAIN_ID, offsetof(struct conf_domain, uid), "none", 1,
	  UINT32_MAX - 1, NULL, "owner of their mail, where the users entry names none", NULL },
	{ "domain.NAME.gid", CONF_DOMAIN_ID, offsetof(struct conf_domain, gid), "none", 1,
	  UINT32_MAX - 1, NULL, "its group, where the users entry names none", NULL },
	{ "domain.NAME.tls_name", CONF_DOMAIN, offsetof(struct conf_domain, tls_name), "none", 0, 0,
	  "server names, or none", "TLS server names under which logins are of this domain",
	  check_hosts },
	{ "maildrop", CONF_STRING, AT(maildrop), "mbox:/var/mail/%u", 0, 0,
	  "mbox:PATH or maildir:PATH", "where the mail is", spec_check },
	{ "state_dir", CONF_PATH, AT(state_dir), "/var/lib/pop3d", 0, 0, "an absolute path",
	  "per-user state: lock, index, journal", NULL },
	{ "run_dir", CONF_PATH, AT(run_dir), "/run/pop3d", 0, 0, "an absolute path",
	  "what may vanish at a reboot: penalties, ticket keys", NULL },
	{ "helper_dir", CONF_PATH, AT(helper_dir), LIBEXECDIR "/pop3d", 0, 0, "an absolute path",
	  "where the helper programs are", NULL },
	{ "unprivileged_user", CONF_STRING, AT(unprivileged_user), "pop3d", 0, 0,
	  "a user name or number", "account of the session, auth and tls roles", check_account },
	{ "keeper_user", CONF_STRING, AT(keeper_user), "pop3dkey", 0, 0, "a user name or number",
	  "account of the role that holds the private key", check_account },
	{ "tls_certificate", CONF_STRING, AT(tls_certificate), "none", 0, 0,
	  "an absolute path, credential:NAME, or none", "certificate chain, PEM",
	  check_credential },
	{ "tls_key", CONF_STRING, AT(tls_key), "none", 0, 0,
	  "an absolute path, credential:NAME, or none", "private key, PEM", check_credential },
	{ "tls_certificate.NAME", CONF_NAMED, offsetof(struct conf_pair, certificate), "none", 0, 0,
	  "an absolute path, credential:NAME, or none", "certificate chain for one server name",
	  check_credential },
	{ "tls_key.NAME", CONF_NAMED, offsetof(struct conf_pair, key), "none", 0, 0,
	  "an absolute path, credential:NAME, or none", "private key for one server name",
	  check_credential },
	{ "tls_client_ca", CONF_STRING, AT(tls_client_ca), "none", 0, 0,
	  "an absolute path, credential:NAME, or none", "authorities of client certificates, PEM",
	  check_credential },
	{ "tls_min_version", CONF_CHOICE, AT(tls_min_version), "1.2", 0x0303, 0x0304, "1.2 1.3",
	  "oldest TLS version to accept", NULL },
	{ "cleartext_login", CONF_CHOICE, AT(cleartext_login), "local", CLEARTEXT_YES,
	  CLEARTEXT_LOCAL, "yes no local", "where a password may come without TLS", NULL },
	{ "auth_mechanisms", CONF_SET, AT(auth_mechanisms), "PLAIN LOGIN SCRAM-SHA-256", 0, 0,
	  "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS "
	  "EXTERNAL OAUTHBEARER XOAUTH2 GSSAPI",
	  "mechanisms offered; PLAIN also governs USER and PASS", NULL },
	{ "oauth_verifier", CONF_STRING, AT(oauth_verifier), "none", 0, 0,
	  "/PROGRAM ARGS, or none", "program that verifies OAuth tokens", check_command },
	{ "oauth_user", CONF_STRING, AT(oauth_user), "pop3doauth", 0, 0, "a user name or number",
	  "account that oauth_verifier runs under", check_account },
	{ "gssapi_keytab", CONF_STRING, AT(gssapi_keytab), "none", 0, 0,
	  "an absolute path, credential:NAME, or none", "keys of the Kerberos service pop",
	  check_one_credential },
	{ "apop", CONF_BOOL, AT(apop), "no", 0, 0, "yes no", "offer APOP", NULL },
	{ "idle_timeout", CONF_NUMBER, AT(idle_timeout), "600", 1, 86400, NULL,
	  "seconds without a command before autologout", NULL },
	{ "auth_timeout", CONF_NUMBER, AT(auth_timeout), "180", 1, 3600, NULL,
	  "seconds from connect to login", NULL },
	{ "login_delay", CONF_NUMBER, AT(login_delay), "0", 0, 604800, NULL,
	  "seconds between two logins of one user", NULL },
	{ "login_delay_max", CONF_NUMBER, AT(login_delay_max), "0", 0, 604800, NULL,
	  "the longest delay of users' own options; 0: they do not count", NULL },
	{ "expire", CONF_DAYS, AT(expire), "never", 0, 36500, NULL,
	  "days that a message is kept after its first retrieval", NULL },
	{ "expire_min", CONF_DAYS, AT(expire_min), "never", 0, 36500, NULL,
	  "the shortest time of users' own options; never: they do not count", NULL },
	{ "expire_unread", CONF_DAYS, AT(expire_unread), "never", 1, 36500, NULL,
	  "days that a message is kept that nobody retrieves", NULL },
	{ "trash_days", CONF_NUMBER, AT(trash_days), "0", 0, 36500, NULL,
	  "days that a removed message can be restored; 0: not at all", NULL },
	{ "max_auth_failures", CONF_NUMBER, AT(max_auth_failures), "3", 1, 100, NULL,
	  "wrong credentials before the connection is closed", NULL },
	{ "auth_failure_delay", CONF_SECONDS_MS, AT(auth_failure_delay_ms), "2", 0, 60000, NULL,
	  "seconds after which a failed login is answered", NULL },
	{ "penalty_after", CONF_NUMBER, AT(penalty_after), "5", 0, 1000, NULL,
	  "failed logins of an address or a user that cost nothing", NULL },
	{ "penalty_step", CONF_SECONDS_MS, AT(penalty_step_ms), "10", 0, 3600000, NULL,
	  "seconds that each further one adds, and after which it is forgotten", NULL },
	{ "penalty_max", CONF_SECONDS_MS, AT(penalty_max_ms), "30", 0, 120000, NULL,
	  "seconds that an address waits at most; then it is refused", NULL },
	{ "penalty_user_max", CONF_SECONDS_MS, AT(penalty_user_max_ms), "5", 0, 60000, NULL,
	  "seconds that a user waits at most, from wherever", NULL },
	{ "penalty_tls_after", CONF_NUMBER, AT(penalty_tls_after), "20", 0, 1000, NULL,
	  "broken TLS handshakes of an address that cost nothing", NULL },
	{ "penalty_tls_step", CONF_SECONDS_MS, AT(penalty_tls_step_ms), "1", 0, 60000, NULL,
	  "seconds that each further one adds, and after which it is forgotten", NULL },
	{ "penalty_tls_max", CONF_SECONDS_MS, AT(penalty_tls_max_ms), "3", 0, 30000, NULL,
	  "seconds that a handshake waits at most", NULL },
	{ "penalty_exempt", CONF_STRING, AT(penalty_exempt), "127.0.0.0/8 ::1", 0, 0,
	  "no, or networks", "networks whose addresses are not braked", check_networks },
	{ "lock_timeout", CONF_NUMBER, AT(lock_timeout), "5", 0, 300, NULL,
	  "seconds to wait for a lock", NULL },
	{ "mbox_locks", CONF_SET, AT(mbox_locks), "dotlock fcntl", 0, 0, "dotlock fcntl flock",
	  "locks taken on an mbox", NULL },
	{ "password_upgrade", CONF_BOOL, AT(password_upgrade), "no", 0, 0, "yes no",
	  "replace a weak hash at the next login", NULL },
	{ "mark_seen", CONF_BOOL, AT(mark_seen), "no", 0, 0, "yes no",
	  "Maildir: mark retrieved messages as seen", NULL },
	{ "utf8_user", CONF_BOOL, AT(utf8_user), "yes", 0, 0, "yes no",
	  "names and passwords of USER and PASS are UTF-8", NULL },
	{ "utf8_fallback", CONF_CHOICE, AT(utf8_fallback), "passthrough", FALLBACK_PASSTHROUGH,
	  FALLBACK_REFUSE, "passthrough surrogate refuse",
	  "messages with UTF-8 in the header for clients without UTF8", NULL },
	{ "proxy_protocol", CONF_STRING, AT(proxy_protocol), "no", 0, 0, "no, or networks",
	  "networks that send a PROXY header", check_networks },
	{ "log_facility", CONF_FACILITY, AT(log_facility), "mail", 0, 0, FACILITIES,
	  "syslog facility", NULL },
};
/* clang-format on */
const size_t conf_n_keys = sizeof(conf_keys) / sizeof(conf_keys[0]);
