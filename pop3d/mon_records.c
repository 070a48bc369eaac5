/*
 * mon_records.c - this session in the list of sessions, and in the counters.
 *
 * Runs in:  monitor.
 * Trusts:   run_dir.  What the session says that it did is counted as it says.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "mon.h"

_Static_assert(END_N == RECORD_ENDS_N, "records.h has the reasons, too");

static void count(struct monitor *mon, unsigned counter, uint64_t n)
{
	records_add(&mon->records, counter, n, time(NULL));
}

static enum record_state state_of(const struct monitor *mon)
{
	return mon->ending || mon->phase == PH_END ? RECORD_ENDING
	       : mon->phase == PH_TRANS		   ? RECORD_MAIL
	       : mon->phase == PH_OPEN		   ? RECORD_OPENING
						   : RECORD_LOGIN;
}

void mon_record_begin(struct monitor *mon)
{
	struct session_record *s = &mon->record;

	if (records_open(&mon->records, mon->conf->run_dir, true, NULL) < 0)
		return; /* only the list and the counters do without */
	record_self(&mon->records, s);
	snprintf(s->address, sizeof(s->address), "%s", mon->address);
	snprintf(s->port, sizeof(s->port), "%s", mon->port);
	s->state = RECORD_LOGIN;
	count(mon, COUNT_SESSIONS, 1);
	if (!records_take(&mon->records, s))
		count(mon, COUNT_UNRECORDED, 1);
}

void mon_record_change(struct monitor *mon)
{
	struct session_record *s = &mon->record;
	enum record_state state = state_of(mon);
	uint32_t version = mon->tls.stage == TLS_ON ? mon->tls.version : 0;

	if (!mon->records.slot || (s->state == state && s->tls_version == version))
		return;
	s->state = (uint8_t)state;
	s->tls_version = version;
	records_write(&mon->records, s);
}

void mon_record_login(struct monitor *mon, uint64_t messages, uint64_t octets)
{
	struct session_record *s = &mon->record;
	uint32_t version = mon->tls.stage == TLS_ON ? mon->tls.version : 0;

	count(mon, COUNT_LOGINS + mon->mechanism * RECORD_TLS_N + record_tls(version), 1);
	snprintf(s->user, sizeof(s->user), "%s", mon->login.name);
	s->mechanism = (uint8_t)mon->mechanism;
	s->messages = messages;
	s->octets = octets;
	mon_record_change(mon);
}

void mon_record_failure(struct monitor *mon, enum ipc_verdict verdict)
{
	static const uint8_t failures[VERDICT_N] = {
		[VERDICT_AUTH] = FAILURE_CREDENTIALS,  [VERDICT_TEMP] = FAILURE_TEMPORARY,
		[VERDICT_PERM] = FAILURE_PERMANENT,    [VERDICT_IN_USE] = FAILURE_IN_USE,
		[VERDICT_CHANGED] = FAILURE_TEMPORARY, [VERDICT_DELAY] = FAILURE_DELAY,
		[VERDICT_SYNTAX] = FAILURE_MALFORMED,
	};

	count(mon, COUNT_FAILURES + failures[verdict], 1);
}

void mon_record_end(struct monitor *mon, struct ipc_msg *note)
{
	static const unsigned counters[] = { COUNT_RETRIEVED, COUNT_TOP, COUNT_N, COUNT_OCTETS,
					     COUNT_DELETED };
	uint8_t reason = ipc_get_u8(note);

	if (mon->tls.stage == TLS_SHAKING)
		count(mon, COUNT_TLS_FAILED, 1);
	else if (reason < END_N)
		count(mon, COUNT_ENDS + reason, 1);
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		count(mon, counters[i], ipc_get_u64(note));
}

void mon_record_leave(struct monitor *mon)
{
	unsigned tls = mon->tls.stage == TLS_ON ? record_tls(mon->tls.version) : 0;

	if (tls > 0)
		count(mon, COUNT_TLS + (tls - 1) * 2 + mon->tls.resumed, 1);
	records_leave(&mon->records);
	records_close(&mon->records);
}
