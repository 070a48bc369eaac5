/*
 * auth_brake.c - the brake on guessing, as auth takes part in it: it hashes who
 * asks and waits; the monitor has the table.
 *
 * Runs in:  auth.
 * Trusts:   the monitor.
 */
#include <string.h>
#include "auth.h"
#include "fsutil.h"
#include "penalty.h"

/* The user as the table knows him: with the default domain, whether it was typed or not. */
static uint64_t hash_user(const struct auth *a, const char *login)
{
	char names[2][USER_NAME_MAX + 1];
	int n = auth_names(a, login, names);

	return n > 0 ? penalty_hash_user(a->brake_key, names[n - 1]) : 0;
}

/* False where there is no brake now. */
static bool ask(struct auth *a, enum ipc_brake op, const char *login, uint32_t *wait_ms)
{
	struct ipc_msg m;
	uint8_t usable;
	const uint8_t *key;

	ipc_start(&m, IPC_BRAKE_ASK);
	ipc_put_u8(&m, (uint8_t)op);
	ipc_put_u64(&m, a->braked ? penalty_hash_address(a->brake_key, a->start->address) : 0);
	ipc_put_u64(&m, a->braked && login ? hash_user(a, login) : 0);
	if (ipc_call(&a->monitor, &m) < 0)
		return false;
	usable = ipc_get_u8(&m);
	*wait_ms = ipc_get_u32(&m);
	key = ipc_get_raw(&m, sizeof(a->brake_key));
	if (usable && key && !a->braked) {
		memcpy(a->brake_key, key, sizeof(a->brake_key));
		a->braked = true;
	}
	return ipc_end(&m) == 0 && usable;
}

bool auth_brake(struct auth *a, const char *login, struct judgement *j)
{
	uint32_t wait_ms;

	if (!a->braked || !ask(a, BRAKE_LOOK, login, &wait_ms))
		return true;
	if (wait_ms == IPC_BRAKE_REFUSED) {
		j->verdict = VERDICT_TEMP;
		j->refused = true;
		pop_why(&j->note, 0, "too many failed logins from this address");
		return false;
	}
	a->taken = true;
	if (wait_ms > 0) {
		auth_wait(a, a->came_ms + wait_ms);
		a->came_ms += wait_ms;
	}
	return true;
}

void auth_brake_failed(struct auth *a, const char *login)
{
	uint32_t wait_ms;

	if (a->conf->penalty_step_ms == 0)
		return;
	if (a->braked || ask(a, BRAKE_OPEN, NULL, &wait_ms))
		ask(a, BRAKE_FAILED, login, &wait_ms);
}

void auth_brake_passed(struct auth *a)
{
	uint32_t wait_ms;

	if (a->taken)
		ask(a, BRAKE_PASSED, NULL, &wait_ms);
}
