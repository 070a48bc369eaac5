/*
 * mon_auth.c - what the auth role needs: the user database and the secrets,
 * opened afresh; and which executable it is.
 *
 * Runs in:  monitor.
 * Trusts:   nothing in the questions: it passes them on unread.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "buf.h"
#include "credential.h"
#include "fsutil.h"
#include "mon.h"

#define DOMAINS_MAX ((size_t)16 << 20) /* bytes of all domain.NAME.* */

#define MECHS_CLEAR  (MECH_PLAIN | MECH_LOGIN)
#define MECHS_PLUS   (MECH_SCRAM_SHA_1_PLUS | MECH_SCRAM_SHA_256_PLUS)
#define MECHS_SECRET (MECH_CRAM_MD5 | MECH_SCRAM_SHA_1 | MECH_SCRAM_SHA_256 | MECHS_PLUS)
#define MECHS_OAUTH  (MECH_OAUTHBEARER | MECH_XOAUTH2)

/* The programs that take the place of the auth role; told apart by their place. */
static const char digest_helper[] = "pop3d-auth", gssapi_helper[] = "pop3d-gssapi";

bool mon_by_program(const struct conf *conf)
{
	return strncmp(conf->users, "checkpassword:", 14) == 0;
}

/* An msg-id that nobody can foretell, RFC 1939 section 7. */
static void make_timestamp(struct monitor *mon)
{
	uint8_t random[16];
	int at = 1;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return; /* no APOP then */
	mon->apop[0] = '<';
	for (size_t i = 0; i < sizeof(random); i++)
		at += snprintf(mon->apop + at, 3, "%02x", random[i]);
	snprintf(mon->apop + at, sizeof(mon->apop) - (size_t)at, "@%s>", mon->conf->hostname);
}

void mon_prepare_auth(struct monitor *mon)
{
	const struct conf *conf = mon->conf;
	bool program = mon_by_program(conf);

	if (!program && (conf->apop || (conf->auth_mechanisms & MECHS_SECRET)))
		mon->has_secrets = access(conf->secrets, F_OK) == 0;
	if (conf->apop && (mon->has_secrets || program))
		make_timestamp(mon);
}

uint32_t mon_mechanisms(const struct monitor *mon)
{
	uint32_t mechs = mon->conf->auth_mechanisms;
	bool clear = mon->secure || mon->conf->cleartext_login == CLEARTEXT_YES ||
		     (mon->conf->cleartext_login == CLEARTEXT_LOCAL && mon->local);

	if (!clear)
		mechs &= ~(uint32_t)(MECHS_CLEAR | MECHS_OAUTH);
	if (mon_by_program(mon->conf))
		return mechs & MECHS_CLEAR;
	if (!mon->has_secrets)
		mechs &= ~(uint32_t)MECHS_SECRET;
	if (!mon->conf->gssapi_keytab[0])
		mechs &= ~(uint32_t)MECH_GSSAPI;
	if (!mon->conf->oauth_verifier[0])
		mechs &= ~(uint32_t)MECHS_OAUTH;
	if (mon->tls.binding_kind == BINDING_NONE)
		mechs &= ~(uint32_t)MECHS_PLUS;
	if (mon->tls.identity[0] == '\0')
		mechs &= ~(uint32_t)MECH_EXTERNAL;
	return mechs;
}

/* A command that came through TLS was sent after tls had reported the handshake: hear that first.
 */
static void hear_tls(struct monitor *mon)
{
	struct pollfd fd = { .fd = mon->tls.pair.fd, .events = POLLIN };

	if (mon->tls.stage == TLS_SHAKING && fd.fd >= 0 && poll(&fd, 1, 0) > 0)
		mon_tls_event(mon);
}

int mon_answer_mechs(struct monitor *mon, struct ipc_msg *ask)
{
	hear_tls(mon);
	ipc_get_u8(ask);
	if (ipc_end(ask) < 0)
		return POP_E_CORRUPT;
	ipc_start(ask, IPC_MECHS_ANSWER);
	ipc_put_u32(ask, mon_mechanisms(mon));
	return ipc_send(&mon->session, ask);
}

/* What a file that cannot be opened means for the client: never [AUTH]. */
static enum ipc_verdict verdict_of(int err)
{
	return err == POP_E_UNSAFE ? VERDICT_PERM : VERDICT_TEMP;
}

/* Open the user database afresh: what was changed a moment ago counts. */
static int open_users(struct monitor *mon, int fds[2], enum ipc_verdict *verdict)
{
	const char *system[2] = { "/etc/passwd", "/etc/shadow" };
	bool is_system = strcmp(mon->conf->users, "system") == 0;
	struct pop_why why;
	int n = is_system ? 2 : 1;

	if (mon_by_program(mon->conf))
		return 0;
	for (int i = 0; i < n; i++) {
		fds[i] = fs_open_trusted(is_system ? system[i] : mon->conf->users, true, i == 1,
					 &why);
		if (fds[i] < 0) {
			int err = fds[i];

			if (i == 1)
				close(fds[0]);
			*verdict = verdict_of(err);
			mon_log_error(mon, "user database: %s", why.text);
			return err;
		}
	}
	return n;
}

/* The keys domain.NAME.*: there may be many, so they lie in a file. */
static int tell_domains(struct monitor *mon)
{
	const struct conf *conf = mon->conf;
	struct ipc_msg m;
	struct buf b;
	int err = 0, fd = -1;

	if (conf->n_domains == 0)
		return 0;
	buf_init(&b, DOMAINS_MAX);
	for (size_t i = 0; i < conf->n_domains && err == 0; i++) {
		const struct conf_domain *d = &conf->domains[i];

		err = buf_printf(&b, "%s%c%s%c%u%c%u%c", d->name, 0, d->maildrop, 0, d->uid, 0,
				 d->gid, 0);
	}
	if (err == 0)
		err = fd = fs_sealed_memfd("pop3d-domains", buf_data(&b), buf_len(&b));
	if (err >= 0) {
		ipc_start(&m, IPC_AUTH_DOMAINS);
		ipc_put_u32(&m, (uint32_t)conf->n_domains);
		ipc_put_u64(&m, buf_len(&b));
		ipc_put_fd(&m, fd);
		err = ipc_send(&mon->auth, &m);
		close(fd);
	}
	buf_release(&b);
	return err;
}

/* What the built-in auth role has by fork, pop3d-auth is told. */
static int tell_start(struct monitor *mon, int keytab_fd)
{
	const struct conf *conf = mon->conf;
	const char *strings[] = { conf->hostname,
				  conf->users,
				  conf->user_separators,
				  conf->default_domain,
				  conf->maildrop,
				  mon->address,
				  mon->apop };
	struct ipc_msg m;
	int err;

	ipc_start(&m, IPC_AUTH_START);
	ipc_put_u32(&m, mon->failures);
	ipc_put_u32(&m, conf->max_auth_failures);
	ipc_put_u32(&m, conf->auth_failure_delay_ms);
	ipc_put_u8(&m, conf->password_upgrade);
	ipc_put_u8(&m, conf->penalty_step_ms > 0);
	ipc_put_u32(&m, conf->auth_mechanisms);
	ipc_put_u32(&m, conf->login_delay);
	ipc_put_u32(&m, conf->login_delay_max);
	ipc_put_u32(&m, conf->expire);
	ipc_put_u32(&m, conf->expire_min);
	ipc_put_u32(&m, (uint32_t)conf->n_domains);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		ipc_put_str(&m, strings[i], strlen(strings[i]));
	if (keytab_fd >= 0)
		ipc_put_fd(&m, keytab_fd);
	err = ipc_send(&mon->auth, &m);
	return err < 0 ? err : tell_domains(mon);
}

static int open_keytab(struct monitor *mon)
{
	const char *word = mon->conf->gssapi_keytab;
	struct pop_why why;
	int fd = credential_open(word, strlen(word), true, &why);

	if (fd < 0)
		mon_log_error(mon, "gssapi_keytab: %s", why.text);
	return fd;
}

/* A helper takes the place of the auth role that is there, which ends with its pair. */
static int start_program(struct monitor *mon, const char *name)
{
	bool keys = name == gssapi_helper;
	int keytab = keys ? open_keytab(mon) : -1, fd, err;

	if (keys && keytab < 0)
		return keytab;
	fd = mon_start_helper(mon, name, ROLE_AUTH);
	err = fd < 0 ? fd : 0;
	if (err == 0) {
		ipc_close(&mon->auth);
		ipc_init(&mon->auth, fd, ROLE_MONITOR, ROLE_AUTH, PH_AUTH);
		mon->auth_program = name;
		mon->told_tls = mon->told_brake = false;
		err = tell_start(mon, keytab);
	}
	if (keytab >= 0)
		close(keytab);
	return err;
}

/* The helper that a mechanism needs; NULL: every auth role can do it. */
static const char *program_of(const struct monitor *mon, unsigned mechanism)
{
	if (mechanism == LOGIN_APOP)
		return mon_by_program(mon->conf) ? NULL : digest_helper;
	if (mechanism < SASL_PLAIN)
		return NULL;
	return MECHANISM_BIT(mechanism) & MECHS_SECRET ? digest_helper
	       : mechanism == SASL_GSSAPI	       ? gssapi_helper
						       : NULL;
}

static int tell_tls(struct monitor *mon)
{
	struct ipc_msg m;

	mon->told_tls = true;
	ipc_start(&m, IPC_AUTH_TLS);
	ipc_put_u8(&m, mon->tls.binding_kind);
	ipc_put_raw(&m, mon->tls.binding, sizeof(mon->tls.binding));
	ipc_put_raw(&m, mon->tls.unique, sizeof(mon->tls.unique));
	ipc_put_str(&m, mon->tls.identity, strlen(mon->tls.identity));
	ipc_put_str(&m, mon->tls.domain, strlen(mon->tls.domain));
	return ipc_send(&mon->auth, &m);
}

/* The role that can do this mechanism, knowing what it must. */
static int ready_auth(struct monitor *mon)
{
	unsigned m = mon->mechanism;
	const char *program = program_of(mon, m);
	int err = 0;

	if (mon->auth.fd < 0)
		return POP_E_EOF;
	if (program && program != mon->auth_program)
		err = start_program(mon, program);
	if (err == 0 && (m >= SASL_PLAIN || mon->tls.domain[0]) && mon->secure && !mon->told_tls)
		err = tell_tls(mon);
	if (err == 0 && !mon->told_brake)
		err = mon_tell_brake(mon);
	return err;
}

int mon_ask_auth(struct monitor *mon, struct ipc_msg *ask, enum ipc_verdict *verdict)
{
	unsigned m = mon->mechanism;
	int fds[2], n, err;

	*verdict = VERDICT_TEMP;
	if (m == LOGIN_APOP ? !mon->apop[0]
			    : !(mon_mechanisms(mon) &
				(m == LOGIN_USERPASS ? MECH_PLAIN : MECHANISM_BIT(m))))
		return POP_E_CORRUPT; /* the session knows what is offered */
	err = ready_auth(mon);
	if (err < 0)
		return err == POP_E_CORRUPT ? POP_E_SYS : err;
	n = open_users(mon, fds, verdict);
	if (n < 0)
		return POP_E_SYS;
	for (int i = 0; i < n; i++)
		ipc_put_fd(ask, fds[i]);
	err = ipc_send(&mon->auth, ask);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	/* its end is seen, and logged, by the loop */
	return err == POP_E_EOF ? 0 : err;
}

int mon_answer_secrets(struct monitor *mon, struct ipc_msg *ask)
{
	enum ipc_verdict verdict = VERDICT_OK;
	struct pop_why why;
	int fd, err;

	ipc_get_u8(ask);
	if (ipc_end(ask) < 0)
		return POP_E_CORRUPT;
	fd = mon_by_program(mon->conf) ? POP_E_MISSING
				       : fs_open_trusted(mon->conf->secrets, true, true, &why);
	if (fd == POP_E_MISSING) {
		verdict = VERDICT_AUTH;
	} else if (fd < 0) {
		verdict = verdict_of(fd);
		mon_log_error(mon, "secrets: %s", why.text);
	}
	ipc_start(ask, IPC_SECRETS_ANSWER);
	ipc_put_u8(ask, (uint8_t)verdict);
	if (fd >= 0)
		ipc_put_fd(ask, fd);
	err = ipc_send(&mon->auth, ask);
	if (fd >= 0)
		close(fd);
	return err;
}
