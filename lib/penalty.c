/*
 * penalty.c - the table of failed logins.
 *
 * Runs in:  monitor, pop3admin.
 * Trusts:   that run_dir is root's.  Not the table's content: any octets in it
 *           are at worst wrong times, which are bounded.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "hash.h"
#include "penalty.h"
#include "run_table.h"

#define MAGIC                                          \
	{                                              \
		'p', 'o', 'p', '3', 'd', 'p', 'n', '2' \
	}
#define WAYS	8 /* entries that a hash may stand in */
#define SETS	2048
#define TRIES	16 /* of a swap that others were faster at */
#define ENTRIES (WAYS * SETS)

#define KIND_MASK 3

struct entry {
	uint64_t hash; /* 0: free; its lowest bits say of what, enum penalty_kind */
	uint64_t until_ms;
	uint64_t address[2]; /* in network order, IPv4 mapped */
};
struct penalty_table {
	char magic[8];
	uint8_t key[PENALTY_KEY_LEN];
	uint64_t latest_ms; /* no entry lasts longer than this */
	uint8_t reserved[32];
	struct entry entries[ENTRIES];
};
_Static_assert(sizeof(struct entry) == 32, "the file's layout");
_Static_assert(sizeof(struct penalty_table) == 64 + 32 * (size_t)ENTRIES, "the file's layout");

uint64_t penalty_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int fill(void *head)
{
	struct penalty_table *t = head;

	return getrandom(t->key, sizeof(t->key), 0) == (ssize_t)sizeof(t->key) ? 0 : POP_E_SYS;
}

static const struct run_table file = {
	.file = PENALTY_FILE,
	.magic = MAGIC,
	.size = sizeof(struct penalty_table),
	.head_size = offsetof(struct penalty_table, entries),
	.fill = fill,
};

int penalty_open(struct penalty *p, const char *run_dir, bool create, struct pop_why *why)
{
	struct run_map map;
	int err = run_table_open(&file, run_dir, create, &map, why);

	p->table = map.at;
	return err;
}

void penalty_close(struct penalty *p)
{
	run_table_close(&file, &(struct run_map){ .at = p->table });
	p->table = NULL;
}

void penalty_key(const struct penalty *p, uint8_t key[PENALTY_KEY_LEN])
{
	memcpy(key, p->table->key, PENALTY_KEY_LEN);
}

static uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void store(uint64_t *at, uint64_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELAXED);
}

static bool swap(uint64_t *at, uint64_t *was, uint64_t v)
{
	return __atomic_compare_exchange_n(at, was, v, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* What lies in the past is forgotten, what lies too far ahead is damaged. */
static uint64_t sane(uint64_t until_ms, uint64_t now_ms)
{
	return until_ms > now_ms && until_ms <= now_ms + PENALTY_KEEP_MS + 60000 ? until_ms
										 : now_ms;
}

bool penalty_live(const struct penalty *p, uint64_t now_ms)
{
	return load(&p->table->latest_ms) > now_ms;
}

/* IPv4 mapped; of IPv6 the first half, which is what one customer has. */
static bool parse_address(const char *text, uint8_t out[16])
{
	memset(out, 0, 16);
	if (inet_pton(AF_INET, text, out + 12) == 1) {
		out[10] = out[11] = 0xFF;
		return true;
	}
	if (inet_pton(AF_INET6, text, out) != 1)
		return false;
	memset(out + 8, 0, 8);
	return true;
}

/* Never 0, whatever the kind. */
static uint64_t mark(uint64_t hash, enum penalty_kind kind)
{
	hash &= ~(uint64_t)KIND_MASK;
	return (hash ? hash : KIND_MASK + 1) | kind;
}

static uint64_t hash_address(const uint8_t *key, const char *address, enum penalty_kind kind)
{
	uint8_t octets[16];

	if (!parse_address(address, octets))
		return 0;
	return mark(siphash64(key, octets, sizeof(octets)), kind);
}

uint64_t penalty_hash_address(const uint8_t key[PENALTY_KEY_LEN], const char *address)
{
	return hash_address(key, address, PENALTY_ADDRESS);
}

uint64_t penalty_hash_handshake(const uint8_t key[PENALTY_KEY_LEN], const char *address)
{
	return hash_address(key, address, PENALTY_HANDSHAKE);
}

uint64_t penalty_hash_user(const uint8_t key[PENALTY_KEY_LEN], const char *name)
{
	return mark(siphash64(key, name, strlen(name)), PENALTY_USER);
}

static struct entry *set_of(const struct penalty *p, uint64_t hash)
{
	return &p->table->entries[hash / (KIND_MASK + 1) % SETS * WAYS];
}

static struct entry *find(const struct penalty *p, uint64_t hash)
{
	struct entry *set = set_of(p, hash);

	for (int i = 0; i < WAYS && hash; i++)
		if (load(&set[i].hash) == hash)
			return &set[i];
	return NULL;
}

/* The entry of a hash, in the place of the one that is forgotten first. */
static struct entry *find_or_take(struct penalty *p, uint64_t hash, uint64_t now_ms)
{
	struct entry *set = set_of(p, hash), *e;

	for (int tries = 0; tries < TRIES; tries++) {
		struct entry *oldest = set;
		uint64_t was;

		e = find(p, hash);
		if (e)
			return e;
		for (int i = 1; i < WAYS; i++)
			if (sane(load(&set[i].until_ms), now_ms) <
			    sane(load(&oldest->until_ms), now_ms))
				oldest = &set[i];
		was = load(&oldest->hash);
		if (swap(&oldest->hash, &was, hash)) {
			store(&oldest->until_ms, 0);
			store(&oldest->address[0], 0);
			store(&oldest->address[1], 0);
			return oldest;
		}
	}
	return NULL;
}

/* One failure more, which is forgotten in keep_ms at the latest.  Returns when it is. */
static uint64_t put_off(struct entry *e, uint32_t step_ms, uint64_t keep_ms, uint64_t now_ms)
{
	uint64_t was = load(&e->until_ms), until = 0;

	for (int tries = 0; tries < TRIES; tries++) {
		until = sane(was, now_ms) + step_ms;
		if (until > now_ms + keep_ms)
			until = now_ms + keep_ms;
		if (swap(&e->until_ms, &was, until))
			break;
	}
	return until;
}

static void charge(struct penalty *p, struct entry *e, uint32_t step_ms, uint64_t now_ms)
{
	uint64_t until = put_off(e, step_ms, PENALTY_KEEP_MS, now_ms);
	uint64_t latest = sane(load(&p->table->latest_ms), now_ms);

	while (latest < until && !swap(&p->table->latest_ms, &latest, until))
		;
}

/* How long an entry would have to wait now. */
static uint64_t wait_of(const struct entry *e, const struct penalty_rules *r, uint64_t now_ms)
{
	uint64_t over = e ? sane(load(&e->until_ms), now_ms) - now_ms : 0;
	uint64_t free_ms = (uint64_t)r->after * r->step_ms;

	return over > free_ms ? over - free_ms : 0;
}

uint32_t penalty_look(struct penalty *p, const struct penalty_rules *r, uint64_t address,
		      uint64_t user, uint64_t now_ms, bool *taken)
{
	struct entry *e = find(p, address);
	uint64_t wait = wait_of(e, r, now_ms), user_wait = wait_of(find(p, user), r, now_ms);

	*taken = false;
	if (user_wait > r->user_max_ms)
		user_wait = r->user_max_ms;
	if (wait > r->max_ms)
		return PENALTY_REFUSED;
	if (wait > 0) {
		charge(p, e, r->step_ms, now_ms);
		*taken = true;
	}
	return (uint32_t)(wait > user_wait ? wait : user_wait);
}

/* The entry of an address, with the address; NULL: it is none. */
static struct entry *take_address(struct penalty *p, uint64_t hash, const char *text,
				  uint64_t now_ms)
{
	struct entry *e = find_or_take(p, hash, now_ms);
	uint8_t octets[16];
	uint64_t halves[2];

	if (!e || !parse_address(text, octets))
		return NULL;
	memcpy(halves, octets, sizeof(halves));
	store(&e->address[0], halves[0]);
	store(&e->address[1], halves[1]);
	return e;
}

void penalty_failed(struct penalty *p, const struct penalty_rules *r, uint64_t address,
		    const char *text, uint64_t user, uint64_t now_ms, bool taken)
{
	struct entry *e = NULL;

	if (address && !taken)
		e = take_address(p, address, text, now_ms);
	if (e)
		charge(p, e, r->step_ms, now_ms);
	e = user ? find_or_take(p, user, now_ms) : NULL;
	if (e)
		charge(p, e, r->step_ms, now_ms);
}

void penalty_passed(struct penalty *p, const struct penalty_rules *r, uint64_t address,
		    uint64_t now_ms)
{
	struct entry *e = find(p, address);
	uint64_t was = e ? load(&e->until_ms) : 0;

	for (int tries = 0; e && tries < TRIES; tries++) {
		uint64_t until = sane(was, now_ms);

		until -= until - now_ms < r->step_ms ? until - now_ms : r->step_ms;
		if (swap(&e->until_ms, &was, until))
			break;
	}
}

uint32_t penalty_handshake(const struct penalty *p, const struct penalty_rules *r, uint64_t hash,
			   uint64_t now_ms)
{
	uint64_t wait = wait_of(find(p, hash), r, now_ms);

	return (uint32_t)(wait < r->max_ms ? wait : r->max_ms);
}

void penalty_handshake_broken(struct penalty *p, const struct penalty_rules *r, uint64_t hash,
			      const char *address, uint64_t now_ms)
{
	uint64_t keep_ms = (uint64_t)r->after * r->step_ms + PENALTY_WAIT_MS;
	struct entry *e = hash ? take_address(p, hash, address, now_ms) : NULL;

	if (e)
		put_off(e, r->step_ms, keep_ms < PENALTY_KEEP_MS ? keep_ms : PENALTY_KEEP_MS,
			now_ms);
}

static void format_address(const struct entry *e, char out[64])
{
	uint8_t octets[16];
	uint64_t halves[2] = { load(&e->address[0]), load(&e->address[1]) };
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

	memcpy(octets, halves, sizeof(octets));
	if (memcmp(octets, mapped, sizeof(mapped)) == 0) {
		inet_ntop(AF_INET, octets + 12, out, 64);
	} else {
		inet_ntop(AF_INET6, octets, out, 60);
		memcpy(out + strlen(out), "/64", 4);
	}
}

int penalty_each(const struct penalty *p, uint64_t now_ms,
		 int (*each)(void *ctx, const struct penalty_entry *e), void *ctx)
{
	int err = 0;

	for (size_t i = 0; i < ENTRIES && err == 0; i++) {
		const struct entry *e = &p->table->entries[i];
		struct penalty_entry out = { .hash = load(&e->hash) };

		out.kind = (enum penalty_kind)(out.hash & KIND_MASK);
		out.until_ms = sane(load(&e->until_ms), now_ms);
		if (!out.hash || out.until_ms == now_ms)
			continue;
		if (out.kind != PENALTY_USER)
			format_address(e, out.address);
		err = each(ctx, &out);
	}
	return err;
}

void penalty_clear(struct penalty *p, uint64_t hash)
{
	for (size_t i = 0; i < ENTRIES; i++) {
		struct entry *e = &p->table->entries[i];

		if (hash == 0 || load(&e->hash) == hash)
			store(&e->until_ms, 0);
	}
}
