/*
 * mon_brake.c - the table of failed logins and broken handshakes: this process
 * alone maps it.
 *
 * Runs in:  monitor.
 * Trusts:   of auth's questions the order; the hashes are whatever auth says.
 */
#include <inttypes.h>
#include <string.h>
#include <syslog.h>
#include "mon.h"
#include "networks.h"

static struct penalty_rules rules_of(const struct conf *conf)
{
	return (struct penalty_rules){ conf->penalty_after, conf->penalty_step_ms,
				       conf->penalty_max_ms, conf->penalty_user_max_ms };
}

/* Most sessions have nothing to do with it: one open() of a file that is not there. */
int mon_tell_brake(struct monitor *mon)
{
	uint8_t key[PENALTY_KEY_LEN];
	struct pop_why why;
	struct ipc_msg m;

	if (mon->conf->penalty_step_ms == 0)
		return 0;
	if (!mon->penalty.table && penalty_open(&mon->penalty, mon->conf->run_dir, false, &why) < 0)
		return 0;
	if (!penalty_live(&mon->penalty, penalty_now_ms()))
		return 0;
	mon->told_brake = true;
	penalty_key(&mon->penalty, key);
	ipc_start(&m, IPC_BRAKE_KEY);
	ipc_put_raw(&m, key, sizeof(key));
	return ipc_send(&mon->auth, &m);
}

/* Where there is no table and none can be made logins work all the same. */
static bool ready(struct monitor *mon)
{
	struct pop_why why = { "" };

	if (mon->penalty.table)
		return true;
	if (penalty_open(&mon->penalty, mon->conf->run_dir, true, &why) == 0)
		return true;
	mon_log_error(mon, "failed logins cannot be remembered: %s", why.text);
	return false;
}

static uint32_t act(struct monitor *mon, uint8_t op, uint64_t address, uint64_t user)
{
	struct penalty_rules rules = rules_of(mon->conf);
	uint64_t now_ms = penalty_now_ms();
	uint32_t wait_ms = 0;

	if (networks_hold(mon->conf->penalty_exempt, mon->address))
		address = 0;
	switch (op) {
	case BRAKE_LOOK:
		wait_ms = penalty_look(&mon->penalty, &rules, address, user, now_ms, &mon->taken);
		break;
	case BRAKE_FAILED:
		penalty_failed(&mon->penalty, &rules, address, mon->address, user, now_ms,
			       mon->taken);
		mon->taken = false;
		break;
	case BRAKE_PASSED:
		if (mon->taken)
			penalty_passed(&mon->penalty, &rules, address, now_ms);
		mon->taken = false;
		break;
	default:
		mon->told_brake = true;
	}
	return wait_ms;
}

int mon_answer_brake(struct monitor *mon, struct ipc_msg *ask)
{
	uint8_t op = ipc_get_u8(ask), key[PENALTY_KEY_LEN] = { 0 };
	uint64_t address = ipc_get_u64(ask), user = ipc_get_u64(ask);
	uint32_t wait_ms = 0;
	bool usable;

	if (ipc_end(ask) < 0 || op < BRAKE_OPEN || op > BRAKE_PASSED)
		return POP_E_CORRUPT;
	usable = mon->conf->penalty_step_ms > 0 && ready(mon);
	if (usable) {
		wait_ms = act(mon, op, address, user);
		penalty_key(&mon->penalty, key);
	}
	ipc_start(ask, IPC_BRAKE_ANSWER);
	ipc_put_u8(ask, usable);
	ipc_put_u32(ask, wait_ms);
	ipc_put_raw(ask, key, sizeof(key));
	return ipc_send(&mon->auth, ask);
}

static struct penalty_rules rules_of_tls(const struct conf *conf)
{
	return (struct penalty_rules){ .after = conf->penalty_tls_after,
				       .step_ms = conf->penalty_tls_step_ms,
				       .max_ms = conf->penalty_tls_max_ms };
}

/* The client's entry; 0: it has no address. */
static uint64_t handshake_hash(const struct monitor *mon)
{
	uint8_t key[PENALTY_KEY_LEN];

	penalty_key(&mon->penalty, key);
	return penalty_hash_handshake(key, mon->address);
}

uint32_t mon_handshake_wait(struct monitor *mon)
{
	struct penalty_rules rules = rules_of_tls(mon->conf);
	struct pop_why why;
	uint32_t wait_ms;

	if (rules.step_ms == 0 || rules.max_ms == 0 ||
	    networks_hold(mon->conf->penalty_exempt, mon->address))
		return 0;
	if (!mon->penalty.table && penalty_open(&mon->penalty, mon->conf->run_dir, false, &why) < 0)
		return 0;
	wait_ms = penalty_handshake(&mon->penalty, &rules, handshake_hash(mon), penalty_now_ms());
	if (wait_ms > 0) {
		pop_why(&why, 0, "TLS handshake waits %" PRIu32 " ms: many were broken off",
			wait_ms);
		mon_log_drop(mon, LOG_INFO, why.text);
	}
	return wait_ms;
}

void mon_handshake_broken(struct monitor *mon)
{
	struct penalty_rules rules = rules_of_tls(mon->conf);

	if (rules.step_ms == 0 || mon->address[0] == '\0' ||
	    networks_hold(mon->conf->penalty_exempt, mon->address) || !ready(mon))
		return;
	penalty_handshake_broken(&mon->penalty, &rules, handshake_hash(mon), mon->address,
				 penalty_now_ms());
}
