/*
 * check_conf.c - the configuration: every key, every way to get it wrong, and
 * that manual page and sample say what the table says.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "conf.h"
#include "user_domain.h"
#include "scratch.h"

static const struct conf_key *key_of(const char *name)
{
	for (size_t i = 0; i < conf_n_keys; i++) {
		if (strcmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	}
	ck_abort_msg("no key %s", name);
	return NULL;
}

static const struct good_row {
	const char *key, *value, *shown;
} good_rows[] = {
	{ "hostname", "mail.example.org", "mail.example.org" },
	{ "hostname", "a_b-1", "a_b-1" },
	{ "users", "/x/users", "/x/users" },
	{ "users", "system", "system" },
	{ "users", "checkpassword:/bin/cp a b", "checkpassword:/bin/cp a b" },
	{ "secrets", "/x y/s", "/x y/s" },
	{ "default_domain", "example.org", "example.org" },
	{ "default_domain", "none", "none" },
	{ "user_separators", "@+%", "@+%" },
	{ "user_separators", "@#", "@#" },
	{ "maildrop", "maildir:~/Maildir", "maildir:~/Maildir" },
	{ "maildrop", "maildir:/srv/%d/%n", "maildir:/srv/%d/%n" },
	{ "state_dir", "/s", "/s" },
	{ "unprivileged_user", "nobody", "nobody" },
	{ "unprivileged_user", "65534", "65534" },
	{ "keeper_user", "4294967294", "4294967294" },
	{ "tls_certificate", "credential:cert", "credential:cert" },
	{ "tls_key", "/k.pem", "/k.pem" },
	{ "tls_key", "none", "none" },
	{ "tls_min_version", "1.3", "1.3" },
	{ "cleartext_login", "yes", "yes" },
	{ "cleartext_login", "NO", "no" },
	{ "auth_mechanisms", "external", "EXTERNAL" },
	{ "auth_mechanisms", "SCRAM-SHA-256-PLUS  plain", "PLAIN SCRAM-SHA-256-PLUS" },
	{ "auth_mechanisms", "PLAIN PLAIN", "PLAIN" },
	{ "apop", "yes", "yes" },
	{ "idle_timeout", "1", "1" },
	{ "idle_timeout", "86400", "86400" },
	{ "auth_timeout", "0060", "60" },
	{ "expire", "0", "0" },
	{ "expire", "36500", "36500" },
	{ "expire", "Never", "never" },
	{ "auth_failure_delay", "0", "0" },
	{ "auth_failure_delay", "0.25", "0.25" },
	{ "auth_failure_delay", "1.500", "1.5" },
	{ "auth_failure_delay", "60", "60" },
	{ "lock_timeout", "0", "0" },
	{ "mbox_locks", "flock", "flock" },
	{ "mbox_locks", "flock\tfcntl dotlock", "dotlock fcntl flock" },
	{ "proxy_protocol", "192.0.2.0/24 ::1", "192.0.2.0/24 ::1" },
	{ "proxy_protocol", "2001:db8::/128", "2001:db8::/128" },
	{ "proxy_protocol", "no", "no" },
	{ "penalty_exempt", "no", "no" },
	{ "penalty_exempt", "192.0.2.0/24", "192.0.2.0/24" },
	{ "penalty_step", "0.5", "0.5" },
	{ "log_facility", "LOCAL3", "local3" },
};

/* By a file and by an option, the same. */
START_TEST(good_values)
{
	const struct good_row *r = &good_rows[_i];
	char text[256], shown[256];
	const char *option = text;
	struct conf conf;
	struct pop_why why = { "" };

	snprintf(text, sizeof(text), "  %s  =\t%s \t\r\n", r->key, r->value);
	scratch_text("conf", text);
	ck_assert_msg(conf_load(&conf, "conf", true, NULL, 0, &why) == 0, "%s", why.text);
	ck_assert_int_eq(conf_format(&conf, key_of(r->key), shown, sizeof(shown)),
			 (int)strlen(r->shown));
	ck_assert_str_eq(shown, r->shown);
	ck_assert_int_lt(conf_format(&conf, key_of(r->key), shown, strlen(r->shown)), 0);
	conf_release(&conf);

	snprintf(text, sizeof(text), "%s=%s", r->key, r->value);
	ck_assert_msg(conf_load(&conf, "missing", false, &option, 1, &why) == 0, "%s", why.text);
	conf_format(&conf, key_of(r->key), shown, sizeof(shown));
	ck_assert_str_eq(shown, r->shown);
	conf_release(&conf);
}
END_TEST

static const struct bad_row {
	const char *key, *value;
	int want;
	const char *allowed;
} bad_rows[] = {
	{ "nonsense", "1", POP_E_SYNTAX, "no such key" },
	{ "Hostname", "x", POP_E_SYNTAX, "no such key" },
	{ "idle_timeout.x", "1", POP_E_SYNTAX, "no such key" },
	{ "tls_key.", "/x", POP_E_SYNTAX, "no such key" },
	{ "", "1", POP_E_SYNTAX, "no such key" },
	{ "hostname", "", POP_E_SYNTAX, "a host name" },
	{ "hostname", "a b", POP_E_SYNTAX, "a host name" },
	{ "hostname", "a@b", POP_E_SYNTAX, "a host name" },
	{ "hostname", "<x>", POP_E_SYNTAX, "a host name" },
	{ "hostname", "-x", POP_E_SYNTAX, "a host name" },
	{ "users", "users", POP_E_SYNTAX, "an absolute path, system, or checkpassword" },
	{ "users", "checkpassword:cp", POP_E_SYNTAX, "an absolute path" },
	{ "secrets", "etc/secrets", POP_E_SYNTAX, "an absolute path" },
	{ "default_domain", "@example.org", POP_E_SYNTAX, "a domain without" },
	{ "user_separators", "@ +", POP_E_SYNTAX, "characters such as" },
	{ "user_separators", "x", POP_E_SYNTAX, "characters such as" },
	{ "user_separators", "@.", POP_E_SYNTAX, "characters such as" },
	{ "user_separators", ":", POP_E_SYNTAX, "characters such as" },
	{ "maildrop", "/var/mail/%u", POP_E_SYNTAX, "mbox:PATH or maildir:PATH" },
	{ "maildrop", "mbox:/var/mail/%x", POP_E_SYNTAX, "only %u" },
	{ "maildrop", "mbox:/a/../b", POP_E_SYNTAX, ".." },
	{ "state_dir", "state", POP_E_SYNTAX, "an absolute path" },
	{ "helper_dir", "./x", POP_E_SYNTAX, "an absolute path" },
	{ "unprivileged_user", "-1", POP_E_SYNTAX, "a user name or number" },
	{ "unprivileged_user", "1x", POP_E_SYNTAX, "a user name or number" },
	{ "unprivileged_user", "4294967295", POP_E_SYNTAX, "a user name or number" },
	{ "keeper_user", "a:b", POP_E_SYNTAX, "a user name or number" },
	{ "tls_key", "key.pem", POP_E_SYNTAX, "credential:NAME" },
	{ "tls_key", "credential:", POP_E_SYNTAX, "credential:NAME" },
	{ "tls_key", "credential:../x", POP_E_SYNTAX, "credential:NAME" },
	{ "tls_key.a/b", "/x", POP_E_SYNTAX, "name of a server" },
	{ "domain.a/b.uid", "5", POP_E_SYNTAX, "name of a domain" },
	{ "domain..uid", "5", POP_E_SYNTAX, "no such key" },
	{ "domain.a.b", "5", POP_E_SYNTAX, "no such key" },
	{ "domain.a.uid", "0", POP_E_RANGE, "a number from 1 to 4294967294" },
	{ "domain.a.uid", "vmail", POP_E_SYNTAX, "a number from 1 to 4294967294" },
	{ "domain.a.maildrop", "/var/mail", POP_E_SYNTAX, "mbox:PATH" },
	{ "domain.a.tls_name", "pop.a.b -x", POP_E_SYNTAX, "server names, or none" },
	{ "tls_key.-a", "/x", POP_E_SYNTAX, "name of a server" },
	{ "tls_min_version", "1.1", POP_E_SYNTAX, "one of: 1.2 1.3" },
	{ "cleartext_login", "maybe", POP_E_SYNTAX, "one of: yes no local" },
	{ "auth_mechanisms", "PLAIN DIGEST-MD5", POP_E_SYNTAX, "one or more of: PLAIN LOGIN" },
	{ "auth_mechanisms", "", POP_E_SYNTAX, "one or more of: PLAIN LOGIN" },
	{ "auth_mechanisms", "PLAI", POP_E_SYNTAX, "one or more of: PLAIN LOGIN" },
	{ "apop", "true", POP_E_SYNTAX, "one of: yes no" },
	{ "apop", "1", POP_E_SYNTAX, "one of: yes no" },
	{ "apop", "", POP_E_SYNTAX, "one of: yes no" },
	{ "idle_timeout", "0", POP_E_RANGE, "a number from 1 to 86400" },
	{ "idle_timeout", "86401", POP_E_RANGE, "a number from 1 to 86400" },
	{ "idle_timeout", "-1", POP_E_SYNTAX, "a number from 1 to 86400" },
	{ "idle_timeout", "+1", POP_E_SYNTAX, "a number from 1 to 86400" },
	{ "idle_timeout", "1x", POP_E_SYNTAX, "a number from 1 to 86400" },
	{ "idle_timeout", "10 20", POP_E_SYNTAX, "a number from 1 to 86400" },
	{ "idle_timeout", "4294967297", POP_E_RANGE, "a number from 1 to 86400" },
	{ "idle_timeout", "18446744073709551617", POP_E_RANGE, "a number from 1 to 86400" },
	{ "auth_failure_delay", "60.001", POP_E_RANGE, "seconds from 0 to 60" },
	{ "auth_failure_delay", "2.", POP_E_SYNTAX, "seconds from 0 to 60" },
	{ "auth_failure_delay", "0.0001", POP_E_SYNTAX, "seconds from 0 to 60" },
	{ "expire", "36501", POP_E_RANGE, "days from 0 to 36500, or never" },
	{ "expire", "sometimes", POP_E_SYNTAX, "days from 0 to 36500, or never" },
	{ "mbox_locks", "lockf", POP_E_SYNTAX, "one or more of: dotlock fcntl flock" },
	{ "mbox_locks", "none", POP_E_SYNTAX, "one or more of: dotlock fcntl flock" },
	{ "proxy_protocol", "yes", POP_E_SYNTAX, "networks such as" },
	{ "proxy_protocol", "192.0.2.0/33", POP_E_SYNTAX, "networks such as" },
	{ "proxy_protocol", "192.0.2.0/", POP_E_SYNTAX, "networks such as" },
	{ "proxy_protocol", "::1/129", POP_E_SYNTAX, "networks such as" },
	{ "proxy_protocol", "192.0.2/24", POP_E_SYNTAX, "networks such as" },
	{ "log_facility", "kern", POP_E_SYNTAX, "one of: mail daemon" },
};

/* The message names file and line, or the option; the key; and what is allowed. */
START_TEST(bad_values)
{
	const struct bad_row *r = &bad_rows[_i];
	char text[256];
	const char *option = text;
	struct conf conf;
	struct pop_why why = { "" };

	snprintf(text, sizeof(text), "# comment\n\n%s = %s\napop = yes\n", r->key, r->value);
	scratch_text("conf", text);
	ck_assert_msg(conf_load(&conf, "conf", true, NULL, 0, &why) == r->want, "%s=%s: %s", r->key,
		      r->value, why.text);
	snprintf(text, sizeof(text), "conf:3: %s: ", r->key);
	ck_assert_msg(strncmp(why.text, text, strlen(text)) == 0, "%s", why.text);
	ck_assert_msg(strstr(why.text, r->allowed), "%s", why.text);
	ck_assert_str_eq(conf.state_dir, "/var/lib/pop3d"); /* defaults are there all the same */
	ck_assert_uint_eq(conf.idle_timeout, 600);
	conf_release(&conf);

	snprintf(text, sizeof(text), "%s=%s", r->key, r->value);
	ck_assert_int_eq(conf_load(&conf, "missing", false, &option, 1, &why), r->want);
	snprintf(text, sizeof(text), "-o %s=%s: ", r->key, r->value);
	ck_assert_msg(strncmp(why.text, text, strlen(text)) == 0, "%s", why.text);
	ck_assert_msg(strstr(why.text, r->allowed), "%s", why.text);
	conf_release(&conf);
	snprintf(text, sizeof(text), "%s=%s", r->key, r->value);
	ck_assert_int_eq(conf_load(&conf, "missing", false, &option, 1, NULL), r->want);
	conf_release(&conf);
}
END_TEST

#define T(t) t, sizeof(t) - 1
static const struct file_row {
	const char *name;
	const char *text;
	size_t len;
	int want;
	const char *why;
	uint32_t idle;
} file_rows[] = {
	{ "empty", T(""), 0, "", 600 },
	{ "comments and empty lines", T("#x\n  # y = z\n\n \t\n#"), 0, "", 600 },
	{ "no final line end", T("idle_timeout=7"), 0, "", 7 },
	{ "CRLF", T("# x\r\nidle_timeout = 7\r\n\r\n"), 0, "", 7 },
	{ "comment behind a value", T("idle_timeout = 7 # seconds"), 0, "", 7 },
	{ "comment behind a tab", T("idle_timeout = 7\t#"), 0, "", 7 },
	{ "# inside a value", T("idle_timeout = 7#8"), POP_E_SYNTAX, "\"7#8\"", 600 },
	{ "= in a value", T("maildrop = mbox:/a=b\nidle_timeout=7"), 0, "", 7 },
	{ "no =", T("idle_timeout 7"), POP_E_SYNTAX, "conf:1: not of the form key = value", 600 },
	{ "only =", T("\n="), POP_E_SYNTAX, "conf:2: ", 600 },
	{ "only a comment as value", T("idle_timeout = # 7"), POP_E_SYNTAX, "no value", 600 },
	{ "repeated", T("idle_timeout = 7\n\nidle_timeout = 8\n"), POP_E_SYNTAX,
	  "conf:3: idle_timeout is set already in line 1", 7 },
	{ "repeated, the same", T("idle_timeout = 7\nidle_timeout = 7\n"), POP_E_SYNTAX,
	  "conf:2: idle_timeout is set already in line 1", 7 },
	{ "repeated name", T("tls_key.a.b = /x\ntls_certificate.a.b=/x\ntls_key.A.B = /y\n"),
	  POP_E_SYNTAX, "conf:3: tls_key.A.B is set twice", 600 },
	{ "NUL", T("idle_timeout = 7\0\n"), POP_E_SYNTAX, "conf:1: control character", 600 },
	{ "bare CR", T("idle_timeout = 7\rapop = yes\n"), POP_E_SYNTAX, "conf:1: control character",
	  600 },
	{ "escape in a key", T("a\033[31m = 7\n"), POP_E_SYNTAX, "conf:1: control character", 600 },
	{ "8-bit", T("\303\244 = 7\n"), POP_E_SYNTAX, "no such key", 600 },
	{ "binary", T("\177ELF\002\001"), POP_E_SYNTAX, "conf:1: control character", 600 },
};

START_TEST(files)
{
	const struct file_row *r = &file_rows[_i];
	struct conf conf;
	struct pop_why why = { "" };

	scratch_write("conf", r->text, r->len, 0644);
	ck_assert_msg(conf_load(&conf, "conf", true, NULL, 0, &why) == r->want, "%s: %s", r->name,
		      why.text);
	ck_assert_msg(strstr(why.text, r->why), "%s: %s", r->name, why.text);
	ck_assert_uint_eq(conf.idle_timeout, r->idle);
	conf_release(&conf);
}
END_TEST

START_TEST(file_itself)
{
	struct conf conf;
	struct pop_why why;
	char *big;

	ck_assert_int_eq(conf_load(&conf, "missing", true, NULL, 0, &why), POP_E_MISSING);
	ck_assert_ptr_nonnull(strstr(why.text, "missing"));
	conf_release(&conf);
	ck_assert_int_eq(conf_load(&conf, "missing", false, NULL, 0, &why), 0);
	conf_release(&conf);
	ck_assert_int_eq(conf_load(&conf, ".", true, NULL, 0, &why), POP_E_UNSAFE);
	conf_release(&conf);
	scratch_write("conf", "apop = yes", 10, 0666);
	ck_assert_int_eq(conf_load(&conf, "conf", false, NULL, 0, &why), POP_E_UNSAFE);
	ck_assert(!conf.apop);
	conf_release(&conf);
	big = malloc(2 << 20);
	memset(big, '\n', 2 << 20);
	scratch_write("conf", big, 2 << 20, 0600);
	ck_assert_int_eq(conf_load(&conf, "conf", false, NULL, 0, &why), POP_E_LONG);
	conf_release(&conf);
	memset(big, 'x', 10000);
	memcpy(big, "secrets = /", 11);
	scratch_write("conf", big, 10000, 0600);
	ck_assert_int_eq(conf_load(&conf, "conf", false, NULL, 0, &why), POP_E_SYNTAX);
	ck_assert_ptr_nonnull(strstr(why.text, "value too long"));
	conf_release(&conf);
	free(big);
}
END_TEST

START_TEST(domains)
{
	struct conf conf;
	struct pop_why why;

	scratch_text("conf", "domain.a.org.maildrop = maildir:/srv/%n\ndomain.A.org.uid = 7\n"
			     "domain.uid.gid = 8\ndomain.a.org.tls_name = pop.a.org\tmail.a.org\n");
	ck_assert_msg(conf_load(&conf, "conf", true, NULL, 0, &why) == 0, "%s", why.text);
	ck_assert_uint_eq(conf.n_domains, 2);
	ck_assert_str_eq(conf.domains[0].name, "a.org");
	ck_assert_str_eq(conf.domains[0].maildrop, "maildir:/srv/%n");
	ck_assert_uint_eq(conf.domains[0].uid, 7);
	ck_assert_uint_eq(conf.domains[0].gid, 0);
	ck_assert_str_eq(conf.domains[1].name, "uid");
	ck_assert_uint_eq(conf.domains[1].gid, 8);
	ck_assert_ptr_eq(domain_of_user(&conf, "x@y@A.ORG"), &conf.domains[0]);
	ck_assert_ptr_eq(domain_of_user(&conf, "a.org"), NULL);
	ck_assert_ptr_eq(domain_of_server(&conf, "MAIL.a.org"), &conf.domains[0]);
	ck_assert_ptr_eq(domain_of_server(&conf, "pop.a.or"), NULL);
	ck_assert_ptr_eq(domain_of_server(&conf, ""), NULL);
	conf_release(&conf);
	scratch_text("conf", "domain.a.uid = 7\ndomain.A.uid = 8\n");
	ck_assert_int_eq(conf_load(&conf, "conf", true, NULL, 0, &why), POP_E_SYNTAX);
	ck_assert_msg(strstr(why.text, "twice") != NULL, "%s", why.text);
	conf_release(&conf);
}
END_TEST

START_TEST(options)
{
	static const char *const later_wins[] = { "idle_timeout=8", "idle_timeout = 9",
						  "user_separators=+#", "tls_key.a=/1",
						  "tls_key.A=/2" };
	static const char *const odd[] = { "idle_timeout",	 "a\nb=c",	 "=", "apop=yes\n",
					   "user_separators= #", "hostname=a #b" };
	struct conf conf;
	struct pop_why why;

	scratch_text("conf", "idle_timeout = 7\ntls_key.a = /0\n");
	ck_assert_int_eq(conf_load(&conf, "conf", true, later_wins, N_ELEMS(later_wins), &why), 0);
	ck_assert_uint_eq(conf.idle_timeout, 9);
	ck_assert_str_eq(conf.user_separators, "+#");
	ck_assert_uint_eq(conf.n_tls_names, 1);
	ck_assert_str_eq(conf.tls_names[0].name, "a");
	ck_assert_str_eq(conf.tls_names[0].key, "/2");
	ck_assert_str_eq(conf.tls_names[0].certificate, "");
	conf_release(&conf);
	for (size_t i = 0; i < N_ELEMS(odd); i++) {
		ck_assert_int_eq(conf_load(&conf, "conf", true, &odd[i], 1, &why), POP_E_SYNTAX);
		ck_assert_msg(strncmp(why.text, "-o ", 3) == 0 && !strchr(why.text, '\n'), "%s",
			      why.text);
		conf_release(&conf);
	}
}
END_TEST

START_TEST(structure)
{
	char host[256] = "";
	struct conf c;

	ck_assert_int_eq(conf_load(&c, "missing", false, NULL, 0, NULL), 0);
	gethostname(host, sizeof(host) - 1);
	ck_assert_str_eq(c.hostname, host);
	ck_assert_str_eq(c.default_domain, "");
	ck_assert_str_eq(c.tls_certificate, "");
	ck_assert_str_eq(c.tls_key, "");
	ck_assert_str_eq(c.tls_client_ca, "");
	ck_assert_str_eq(c.proxy_protocol, "");
	ck_assert_uint_eq(c.tls_min_version, 0x0303);
	ck_assert_uint_eq(c.cleartext_login, CLEARTEXT_LOCAL);
	ck_assert_uint_eq(c.auth_mechanisms, MECH_PLAIN | MECH_LOGIN | MECH_SCRAM_SHA_256);
	ck_assert_uint_eq(c.expire, CONF_EXPIRE_NEVER);
	ck_assert_uint_eq(c.auth_failure_delay_ms, 2000);
	ck_assert_uint_eq(c.mbox_locks, LOCK_DOTLOCK | LOCK_FCNTL);
	ck_assert_int_eq(c.log_facility, LOG_MAIL);
	ck_assert(!c.apop && !c.mark_seen && !c.password_upgrade);
	ck_assert_uint_eq(c.n_tls_names, 0);
	conf_release(&c);
}
END_TEST

static const struct bits_row {
	const char *option;
	uint32_t mechs, locks;
} bits_rows[] = {
	{ "auth_mechanisms=PLAIN", MECH_PLAIN, 3 },
	{ "auth_mechanisms=LOGIN", MECH_LOGIN, 3 },
	{ "auth_mechanisms=CRAM-MD5", MECH_CRAM_MD5, 3 },
	{ "auth_mechanisms=SCRAM-SHA-1", MECH_SCRAM_SHA_1, 3 },
	{ "auth_mechanisms=SCRAM-SHA-256", MECH_SCRAM_SHA_256, 3 },
	{ "auth_mechanisms=SCRAM-SHA-1-PLUS", MECH_SCRAM_SHA_1_PLUS, 3 },
	{ "auth_mechanisms=SCRAM-SHA-256-PLUS", MECH_SCRAM_SHA_256_PLUS, 3 },
	{ "auth_mechanisms=EXTERNAL", MECH_EXTERNAL, 3 },
	{ "mbox_locks=dotlock", 19, LOCK_DOTLOCK },
	{ "mbox_locks=fcntl", 19, LOCK_FCNTL },
	{ "mbox_locks=flock", 19, LOCK_FLOCK },
};

START_TEST(bits)
{
	const struct bits_row *r = &bits_rows[_i];
	struct conf c;

	ck_assert_int_eq(conf_load(&c, "missing", false, &r->option, 1, NULL), 0);
	ck_assert_uint_eq(c.auth_mechanisms, r->mechs);
	ck_assert_uint_eq(c.mbox_locks, r->locks);
	conf_release(&c);
}
END_TEST

START_TEST(accounts)
{
	uint32_t uid = 1, gid = 1;

	ck_assert_int_eq(conf_user_ids("root", &uid, &gid), 0);
	ck_assert(uid == 0 && gid == 0);
	uid = gid = 1;
	ck_assert_int_eq(conf_user_ids("0", &uid, &gid), 0);
	ck_assert(uid == 0 && gid == 0);
	ck_assert_int_eq(conf_user_ids("4294967294", &uid, &gid), 0);
	ck_assert(uid == 4294967294 && gid == 4294967294);
	ck_assert_int_eq(conf_user_ids("no-such-account-here", &uid, &gid), POP_E_MISSING);
	ck_assert_int_eq(conf_user_ids("4294967296", &uid, &gid), POP_E_MISSING);
	ck_assert_int_eq(conf_user_ids("", &uid, &gid), POP_E_MISSING);
}
END_TEST

/* A file of the source tree, found beside this one. */
static FILE *source(const char *name)
{
	const char *here = __FILE__, *slash = strstr(here, "tests/unit/");
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash - here) : 0, here, name);
	if (path[0] != '/')
		ck_assert_int_eq(fchdir(scratch_back), 0);
	f = fopen(path, "re");
	ck_assert_msg(f != NULL, "%s: %s; run it in the top directory", path, strerror(errno));
	ck_assert_int_eq(chdir(scratch_dir), 0);
	return f;
}

/* Manual pages name the places of an installation without options. */
static const char *documented(const struct conf_key *key)
{
	static const struct {
		const char *built, *shown;
	} places[] = {
		{ SYSCONFDIR "/", "/etc/" },
		{ LIBEXECDIR "/", "/usr/local/libexec/" },
	};
	static char text[256];

	if (!key->deflt)
		return "the host's name";
	snprintf(text, sizeof(text), "%s", key->deflt);
	for (size_t i = 0; i < N_ELEMS(places); i++) {
		size_t len = strlen(places[i].built);

		if (strncmp(key->deflt, places[i].built, len) == 0)
			snprintf(text, sizeof(text), "%s%s", places[i].shown, key->deflt + len);
	}
	return text;
}

/* ".It Ic KEY No = Cm DEFAULT", or "Ar" where the default is a description. */
START_TEST(manual_page)
{
	FILE *f = source("man/pop3d.conf.5");
	bool seen[64] = { false };
	char *line = NULL, want[512];
	size_t n = 0, size = 0;

	ck_assert_uint_le(conf_n_keys, N_ELEMS(seen));
	while (getline(&line, &size, f) > 0) {
		bool matched = false;

		if (strncmp(line, ".It Ic ", 7) != 0)
			continue;
		for (size_t i = 0; i < conf_n_keys && !matched; i++) {
			const struct conf_key *key = &conf_keys[i];
			const char *at = conf_key_is_named(key) ? strstr(key->name, "NAME") : NULL;
			size_t base = at ? (size_t)(at - key->name) : strlen(key->name);

			snprintf(want, sizeof(want), ".It Ic %.*s%s%s%s No = %s %s\n", (int)base,
				 key->name, at ? " Ns Ar NAME" : "", at && at[4] ? " Ns Ic " : "",
				 at ? at + 4 : "", key->deflt ? "Cm" : "Ar", documented(key));
			matched = strcmp(line, want) == 0;
			if (matched) {
				ck_assert_msg(!seen[i], "%s twice", key->name);
				seen[i] = true;
				n++;
			}
		}
		ck_assert_msg(matched, "no such key or another default: %s", line);
	}
	free(line);
	fclose(f);
	for (size_t i = 0; i < conf_n_keys; i++)
		ck_assert_msg(seen[i], "pop3d.conf(5) lacks %s", conf_keys[i].name);
	ck_assert_uint_eq(n, conf_n_keys);
}
END_TEST

/* Every range of the table stands in its key's paragraph. */
START_TEST(manual_ranges)
{
	FILE *f = source("man/pop3d.conf.5");
	static char page[65536];
	size_t n = fread(page, 1, sizeof(page) - 1, f);

	fclose(f);
	page[n] = '\0';
	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct conf_key *key = &conf_keys[i];
		uint64_t unit = key->type == CONF_SECONDS_MS ? 1000 : 1;
		char item[128], range[64], *at, *end;

		if (key->type != CONF_NUMBER && key->type != CONF_SECONDS_MS &&
		    key->type != CONF_DAYS)
			continue;
		snprintf(item, sizeof(item), ".It Ic %s ", key->name);
		snprintf(range, sizeof(range), "%ju to %ju", (uintmax_t)(key->min / unit),
			 (uintmax_t)(key->max / unit));
		at = strstr(page, item);
		ck_assert_msg(at != NULL, "%s", item);
		end = strstr(at + 1, "\n.It ");
		at = strstr(at, range);
		ck_assert_msg(at && (!end || at < end), "%s: %s", key->name, range);
	}
}
END_TEST

/* The sample: all keys, all commented out; without the comments all is as by default. */
START_TEST(sample)
{
	FILE *f = source("pop3d/pop3d.conf"), *out = fopen("conf", "we");
	char *line = NULL, have[256], want[256], key[128];
	size_t size = 0;
	bool seen[64] = { false };
	struct conf conf, deflt;
	struct pop_why why = { "" };

	while (getline(&line, &size, f) > 0) {
		ck_assert_msg(line[0] == '#' || line[0] == '\n', "not commented out: %s", line);
		if (line[0] != '#' || line[1] == ' ' || line[1] == '#' || line[1] == '\n')
			continue;
		ck_assert_int_eq(sscanf(line, "#%127[^ ] = ", key), 1);
		for (size_t i = 0; i < conf_n_keys; i++) {
			const char *name = conf_keys[i].name, *at = strstr(name, "NAME");
			size_t base = at ? (size_t)(at - name) : 0, len = strlen(key);
			size_t after = at ? strlen(at + 4) : 0;

			if (at ? strncmp(key, name, base) == 0 && len > base + after &&
					    strcmp(key + len - after, at + 4) == 0
			       : strcmp(key, name) == 0)
				seen[i] = true;
		}
		if (strcmp(key, "helper_dir") == 0) /* depends on how it was built */
			continue;
		fputs(line + 1, out);
	}
	free(line);
	fclose(f);
	fclose(out);
	ck_assert_msg(conf_load(&conf, "conf", true, NULL, 0, &why) == 0, "%s", why.text);
	ck_assert_int_eq(conf_load(&deflt, "missing", false, NULL, 0, NULL), 0);
	for (size_t i = 0; i < conf_n_keys; i++) {
		ck_assert_msg(seen[i], "pop3d.conf lacks %s", conf_keys[i].name);
		if (!conf_keys[i].deflt)
			continue;
		conf_format(&conf, &conf_keys[i], have, sizeof(have));
		conf_format(&deflt, &conf_keys[i], want, sizeof(want));
		ck_assert_msg(strcmp(have, want) == 0 ||
				      strcmp(have, documented(&conf_keys[i])) == 0,
			      "%s = %s", conf_keys[i].name, have);
	}
	ck_assert_uint_eq(conf.n_tls_names, 1);
	ck_assert_uint_eq(conf.n_domains, 1);
	conf_release(&conf);
	conf_release(&deflt);
}
END_TEST

START_TEST(table)
{
	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct conf_key *key = &conf_keys[i];

		ck_assert_msg(key->help && key->help[0], "%s", key->name);
		ck_assert_msg(key->allowed || key->max, "%s", key->name);
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(key->name, conf_keys[j].name);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = tcase_create("conf");

	tcase_add_checked_fixture(tc, scratch_setup, scratch_teardown);
	tcase_add_loop_test(tc, good_values, 0, N_ELEMS(good_rows));
	tcase_add_loop_test(tc, bad_values, 0, N_ELEMS(bad_rows));
	tcase_add_loop_test(tc, files, 0, N_ELEMS(file_rows));
	tcase_add_loop_test(tc, bits, 0, N_ELEMS(bits_rows));
	tcase_add_test(tc, file_itself);
	tcase_add_test(tc, options);
	tcase_add_test(tc, structure);
	tcase_add_test(tc, accounts);
	tcase_add_test(tc, manual_page);
	tcase_add_test(tc, domains);
	tcase_add_test(tc, manual_ranges);
	tcase_add_test(tc, sample);
	tcase_add_test(tc, table);
	suite_add_tcase(s, tc);
	return scratch_run(s);
}
