/*
 * mon_log.c - the lines of the log.
 *
 * Runs in:  monitor.
 * Trusts:   nothing it logs: log.c escapes every value.
 */
#include <stdarg.h>
#include <stdio.h>
#include "fsutil.h"
#include "log.h"
#include "mon.h"
#include "sandbox.h"

static void begin(const struct monitor *mon, struct log_line *l, const char *event)
{
	log_begin(l, event);
	if (mon->address[0])
		log_str(l, "addr", mon->address);
}

static void add_tls(const struct monitor *mon, struct log_line *l)
{
	const struct mon_tls *i = &mon->tls;

	if (i->stage != TLS_ON)
		return;
	log_str(l, "tls", i->version == 0x0304 ? "TLSv1.3" : "TLSv1.2");
	log_str(l, "cipher", i->cipher);
	log_str(l, "resumed", i->resumed ? "yes" : "no");
}

void mon_log_connect(const struct monitor *mon)
{
	struct log_line l;

	begin(mon, &l, "connect");
	if (mon->port[0])
		log_str(&l, "port", mon->port);
	add_tls(mon, &l);
	log_str(&l, "sandbox", sandbox_names(sandbox_active(), sandbox_files_abi() > 0));
	log_end(&l, LOG_INFO);
}

void mon_log_login(const struct monitor *mon, uint64_t count, uint64_t octets)
{
	struct log_line l;

	begin(mon, &l, "login");
	log_str(&l, "user", mon->login.name);
	log_str(&l, "mech", mech_name(mon->mechanism));
	if (mon->login.app[0])
		log_str(&l, "app", mon->login.app);
	log_u64(&l, "messages", count);
	log_u64(&l, "octets", octets);
	add_tls(mon, &l);
	log_end(&l, LOG_INFO);
}

void mon_log_failed(const struct monitor *mon, const char *user, const char *reason)
{
	struct log_line l;

	begin(mon, &l, "login-failed");
	log_str(&l, "user", user);
	log_str(&l, "mech", mech_name(mon->mechanism));
	log_str(&l, "reason", reason);
	log_end(&l, LOG_NOTICE);
}

void mon_log_logout(const struct monitor *mon, struct ipc_msg *note)
{
	static const char *const reasons[END_N] = { "quit",    "lost",	   "idle",  "stalled",
						    "refused", "shutdown", "failed" };
	static const char *const counts[] = { "retr", "top", "dele", "octets", "removed" };
	struct log_line l;
	uint8_t reason = ipc_get_u8(note);

	begin(mon, &l, "logout");
	if (mon->login.name[0]) {
		log_str(&l, "user", mon->login.name);
		log_str(&l, "mech", mech_name(mon->mechanism));
	}
	log_str(&l, "reason", reason < END_N ? reasons[reason] : "unknown");
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		log_u64(&l, counts[i], ipc_get_u64(note));
	log_u64(&l, "seconds", (uint64_t)(fs_now_ms() - mon->began_ms) / 1000);
	add_tls(mon, &l);
	log_end(&l, LOG_INFO);
}

static void log_text(const struct monitor *mon, int level, const char *text)
{
	struct log_line l;

	begin(mon, &l, "error");
	if (mon->login.name[0])
		log_str(&l, "user", mon->login.name);
	log_str(&l, "text", text);
	log_end(&l, level);
}

void mon_log_error(const struct monitor *mon, const char *fmt, ...)
{
	struct pop_why text;
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text.text, sizeof(text.text), fmt, ap) < 0)
		text.text[0] = '\0';
	va_end(ap);
	log_text(mon, LOG_ERR, text.text);
}

void mon_log_drop(const struct monitor *mon, int level, const char *text)
{
	log_text(mon, level >= LOG_ERR && level <= LOG_DEBUG ? level : LOG_ERR, text);
}
