/*
 * records.c - the table of sessions and counters.
 *
 * Runs in:  monitor, pop3admin.
 * Trusts:   that run_dir is root's.  Not the table's content: any octets in it are
 *           at worst wrong figures and names.
 */
#include "records.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "num.h"
#include "proc.h"
#include "run_table.h"

#define DAY_S	   86400
#define PROBES	   64 /* slots that are looked at for a free one */
#define READ_WAITS 64 /* for records that are just being written, in one reading of all */
/* More than one session can do: what goes beyond was made up. */
#define ADD_MAX ((uint64_t)1 << 48)

struct record_slot {
	uint64_t owner;	   /* a pid; 0: free */
	uint32_t sequence; /* odd while it is being written */
	uint8_t reserved[92];
	struct session_record record;
};
struct record_table {
	char magic[8];
	int64_t since;
	int64_t day; /* for which `midnight` was copied, days since the epoch */
	uint8_t reserved[232];
	uint64_t counters[COUNT_N];
	uint64_t midnight[COUNT_N];
	struct record_slot slots[RECORDS_SLOTS];
};
_Static_assert(sizeof(struct record_slot) == 512, "the file's layout");
_Static_assert(sizeof(struct record_table) == 4096 + 512 * (size_t)RECORDS_SLOTS,
	       "the file's layout");
_Static_assert(COUNT_LOGINS + MECHS_ROOM * RECORD_TLS_N <= COUNT_N, "room for all counters");
_Static_assert(MECHANISM_N <= MECHS_ROOM, "room for all mechanisms");

static int fill(void *head)
{
	struct record_table *t = head;

	t->since = time(NULL);
	t->day = t->since / DAY_S;
	return 0;
}

static const struct run_table file = {
	.file = RECORDS_FILE,
	.magic = { 'p', 'o', 'p', '3', 'd', 'r', 'c', '1' },
	.size = sizeof(struct record_table),
	.head_size = offsetof(struct record_table, counters),
	.fill = fill,
};

int records_open(struct records *r, const char *run_dir, bool create, struct pop_why *why)
{
	struct run_map map;
	int err = run_table_open(&file, run_dir, create, &map, why);

	r->table = map.at;
	r->of_this_boot = map.in_memory;
	r->slot = NULL;
	return err;
}

void records_close(struct records *r)
{
	run_table_close(&file, &(struct run_map){ .at = r->table });
	r->table = NULL;
	r->slot = NULL;
}

/* ---- sessions ---- */

static uint64_t boot_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void record_self(const struct records *r, struct session_record *s)
{
	s->pid = getpid();
	s->existed_ms = boot_clock_ms();
	s->since = time(NULL);
	/* asking /proc costs as much as all the rest */
	if (r->of_this_boot)
		s->boot_id[0] = '\0';
	else
		proc_boot_id(s->boot_id);
}

bool record_alive(const struct session_record *s)
{
	char boot_id[PROC_BOOT_ID_LEN + 1], state;
	long ticks = sysconf(_SC_CLK_TCK);
	uint64_t began;

	proc_boot_id(boot_id);
	if (s->boot_id[0] && boot_id[0] && strcmp(s->boot_id, boot_id) != 0)
		return false;
	if (s->pid <= 0 || proc_is_gone(s->pid))
		return false;
	began = proc_start_time(s->pid, &state);
	if (state == 'Z' || state == 'X') /* nobody has waited for it yet */
		return false;
	return ticks <= 0 || began * 1000 / (uint64_t)ticks <= s->existed_ms;
}

static bool swap_owner(struct record_slot *slot, uint64_t *was, uint64_t now)
{
	return __atomic_compare_exchange_n(&slot->owner, was, now, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

/* Only a process that is gone for sure gives its slot to another. */
static bool is_gone(uint64_t owner, uint64_t self)
{
	return owner == self || owner > INT32_MAX || proc_is_gone((pid_t)owner);
}

bool records_take(struct records *r, const struct session_record *s)
{
	uint64_t self = (uint64_t)s->pid;

	for (unsigned i = 0; r->table && i < PROBES && !r->slot; i++) {
		struct record_slot *slot = &r->table->slots[(self + i) % RECORDS_SLOTS];
		uint64_t owner = 0;

		if (swap_owner(slot, &owner, self) ||
		    (is_gone(owner, self) && swap_owner(slot, &owner, self)))
			r->slot = slot;
	}
	records_write(r, s);
	return r->slot != NULL;
}

void records_write(struct records *r, const struct session_record *s)
{
	struct record_slot *slot = r->slot;
	uint32_t sequence;

	if (!slot)
		return;
	/* who had it before may have been killed between the two steps */
	sequence = __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) | 1;
	__atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(&slot->record, s, sizeof(*s));
	__atomic_store_n(&slot->sequence, sequence + 1, __ATOMIC_RELEASE);
}

void records_leave(struct records *r)
{
	if (r->slot)
		__atomic_store_n(&r->slot->owner, 0, __ATOMIC_RELEASE);
	r->slot = NULL;
}

/*
 * Copy a record as a whole; false where it is free, or does not stand still.  A writer needs some
 * microseconds; *waits, which all slots share, bounds what a damaged table can cost.
 */
static bool read_slot(const struct record_slot *slot, struct session_record *s, unsigned *waits)
{
	for (;;) {
		uint32_t before = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&slot->owner, __ATOMIC_RELAXED) == 0)
			return false;
		memcpy(s, &slot->record, sizeof(*s));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(before & 1) && before == __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED))
			return (uint64_t)s->pid == __atomic_load_n(&slot->owner, __ATOMIC_RELAXED);
		if (*waits == 0)
			return false;
		(*waits)--;
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
}

/* Any octets may stand there. */
static bool make_sane(struct session_record *s)
{
	s->boot_id[sizeof(s->boot_id) - 1] = '\0';
	s->address[sizeof(s->address) - 1] = '\0';
	s->port[sizeof(s->port) - 1] = '\0';
	s->user[sizeof(s->user) - 1] = '\0';
	return s->pid > 0 && s->state >= RECORD_LOGIN && s->state < RECORD_STATE_N;
}

int records_each(const struct records *r, int (*each)(void *ctx, const struct session_record *s),
		 void *ctx)
{
	unsigned waits = READ_WAITS;
	int err = 0;

	for (size_t i = 0; i < RECORDS_SLOTS && err == 0; i++) {
		struct session_record s;

		if (read_slot(&r->table->slots[i], &s, &waits) && make_sane(&s))
			err = each(ctx, &s);
	}
	return err;
}

/* ---- counters ---- */

unsigned record_tls(uint32_t version)
{
	return version == 0x0303 ? 1 : version == 0x0304 ? 2 : 0;
}

static const char *tls_word(unsigned i)
{
	static const char *const words[RECORD_TLS_N] = { "none", "1.2", "1.3" };

	return i < RECORD_TLS_N ? words[i] : "unknown";
}

static const char *tls_on_word(unsigned i)
{
	return tls_word(i + 1);
}

static const char *resumed_word(unsigned i)
{
	return i ? "yes" : "no";
}

static const char *failure_word(unsigned i)
{
	static const char *const words[FAILURE_N] = { "credentials", "temporary", "permanent",
						      "in-use",	     "delay",	  "malformed" };

	return i < FAILURE_N ? words[i] : "unknown";
}

static const char *end_word(unsigned i)
{
	static const char *const words[RECORD_ENDS_N] = { "quit",    "lost",	 "idle",  "stalled",
							  "refused", "shutdown", "failed" };

	return i < RECORD_ENDS_N ? words[i] : "unknown";
}

const struct record_row record_rows[] = {
	{ .name = "sessions", .help = "Sessions started.", .first = COUNT_SESSIONS },
	{ .name = "sessions_ended",
	  .help = "Sessions ended, by the reason.",
	  .label = "reason",
	  .first = COUNT_ENDS,
	  .n = RECORD_ENDS_N,
	  .value = end_word },
	{ .name = "sessions_unrecorded",
	  .help = "Sessions that found no room in the list of sessions.",
	  .first = COUNT_UNRECORDED },
	{ .name = "logins",
	  .help = "Logins, by mechanism and TLS version.",
	  .label = "mechanism",
	  .label2 = "tls",
	  .first = COUNT_LOGINS,
	  .n = MECHANISM_N,
	  .n2 = RECORD_TLS_N,
	  .value = mech_name,
	  .value2 = tls_word },
	{ .name = "login_failures",
	  .help = "Logins that failed, by the reason.",
	  .label = "reason",
	  .first = COUNT_FAILURES,
	  .n = FAILURE_N,
	  .value = failure_word },
	{ .name = "tls_sessions",
	  .help = "Sessions with TLS, by its version and resumption.",
	  .label = "tls",
	  .label2 = "resumed",
	  .first = COUNT_TLS,
	  .n = RECORD_TLS_N - 1,
	  .n2 = 2,
	  .value = tls_on_word,
	  .value2 = resumed_word },
	{ .name = "tls_failures",
	  .help = "TLS handshakes that failed.",
	  .first = COUNT_TLS_FAILED },
	{ .name = "messages_retrieved",
	  .help = "Messages retrieved by RETR.",
	  .first = COUNT_RETRIEVED },
	{ .name = "messages_topped",
	  .help = "Beginnings of messages retrieved by TOP.",
	  .first = COUNT_TOP },
	{ .name = "messages_deleted",
	  .help = "Messages removed from maildrops at QUIT.",
	  .first = COUNT_DELETED },
	{ .name = "sent_octets",
	  .help = "Octets sent to clients, without those of TLS.",
	  .first = COUNT_OCTETS },
};
const size_t record_n_rows = sizeof(record_rows) / sizeof(record_rows[0]);

/* Who comes first on a new day keeps what was counted until then. */
static void turn_day(struct record_table *t, int64_t now)
{
	int64_t was = __atomic_load_n(&t->day, __ATOMIC_RELAXED), today = now / DAY_S;

	if (was == today || !__atomic_compare_exchange_n(&t->day, &was, today, false,
							 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	for (unsigned i = 0; i < COUNT_N; i++)
		__atomic_store_n(&t->midnight[i],
				 __atomic_load_n(&t->counters[i], __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
}

void records_add(struct records *r, unsigned counter, uint64_t n, int64_t now)
{
	if (!r->table || n == 0 || counter >= COUNT_N)
		return;
	turn_day(r->table, now);
	__atomic_fetch_add(&r->table->counters[counter], n < ADD_MAX ? n : ADD_MAX,
			   __ATOMIC_RELAXED);
}

uint64_t records_total(const struct records *r, unsigned counter)
{
	return __atomic_load_n(&r->table->counters[counter], __ATOMIC_RELAXED);
}

uint64_t records_today(const struct records *r, unsigned counter, int64_t now)
{
	uint64_t total = records_total(r, counter), before;

	if (__atomic_load_n(&r->table->day, __ATOMIC_RELAXED) != now / DAY_S)
		return 0;
	before = __atomic_load_n(&r->table->midnight[counter], __ATOMIC_RELAXED);
	return before < total ? total - before : 0;
}

int64_t records_since(const struct records *r)
{
	return r->table->since;
}
