/*
 * sandbox.c - enter the sandbox of a role.
 *
 * The rows of sandbox_calls.h become a program of the kernel's classic BPF: a
 * binary search over ranges of numbers that end alike, six or seven steps deep,
 * and behind it one block for each check of arguments.  When it is installed the
 * kernel tries every number that there is, and remembers which are allowed
 * whatever their arguments: so a search instead of a list of comparisons saves
 * the start of a process half of what its filter costs, and most calls pass
 * without running the program at all.
 *
 * Runs in:  every role, as the last step of giving its rights up; the monitor.
 * Trusts:   its caller.
 */
#include "sandbox.h"

#include <stddef.h>
#include "err.h"

#if defined(__x86_64__) && defined(__LP64__)
#define SANDBOX_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__) && defined(__LP64__)
#define SANDBOX_ARCH AUDIT_ARCH_AARCH64
#endif

const char *sandbox_names(bool calls, bool files)
{
	return calls ? files ? "seccomp,landlock" : "seccomp" : files ? "landlock" : "none";
}

#if !defined(SANDBOX_OFF) && defined(__linux__) && defined(SANDBOX_ARCH)

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <unistd.h>
#include "sandbox_calls.h"

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

#define N_ELEMS(a)  (sizeof(a) / sizeof((a)[0]))
#define PROGRAM_MAX 256 /* instructions: every jump then fits into its eight bits */
#define X32_BIT	    0x40000000U

/* Where a comparison leads: to an instruction, by its place, or to one of these. */
enum {
	ALLOW = -1,
	KILL = -2,
	REFUSE = -3,
	ABSENT = -4,
	BLOCK = -5 /* of check 0; lower ones of the others */
};

struct program {
	struct sock_filter code[PROGRAM_MAX];
	int16_t yes[PROGRAM_MAX], no[PROGRAM_MAX]; /* where its comparisons lead */
	int16_t ends[-BLOCK + CHECK_N];		   /* where ALLOW and so on came to stand */
	size_t n;
	bool full;
};

/* The numbers from this one up to the next range's. */
struct range {
	uint32_t from;
	int to;
};

static bool active;

static int put(struct program *p, unsigned code, uint32_t k, int yes, int no)
{
	size_t at = p->n;

	if (at == PROGRAM_MAX) {
		p->full = true;
		return 0;
	}
	p->code[at] = (struct sock_filter){ .code = (uint16_t)code, .k = k };
	p->yes[at] = (int16_t)yes;
	p->no[at] = (int16_t)no;
	p->n++;
	return (int)at;
}

static void load(struct program *p, size_t offset)
{
	put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* Where the search for a number begins: ranges[0] holds all that are lower. */
static int put_search(struct program *p, const struct range *ranges, size_t n)
{
	size_t half = n / 2;
	int at;

	if (n == 1)
		return ranges[0].to;
	at = put(p, BPF_JMP | BPF_JGE | BPF_K, ranges[half].from, 0, 0);
	p->no[at] = (int16_t)put_search(p, ranges, half);
	p->yes[at] = (int16_t)put_search(p, ranges + half, n - half);
	return at;
}

/* One test; where it holds, the program goes to `then`, or on (then < 0 is ALLOW). */
static void put_test(struct program *p, const struct test *t, bool last)
{
	int next = (int)p->n + 1;

	load(p, offsetof(struct seccomp_data, args) + 8UL * t->arg);
	switch (t->op) {
	case NO_TEST:
		break;
	case ONE_OF:
		for (int i = 0; i < t->n; i++)
			put(p, BPF_JMP | BPF_JEQ | BPF_K, t->value[i], last ? ALLOW : next + t->n,
			    i + 1 < t->n ? next + i + 1 : KILL);
		break;
	case NONE_OF_BITS:
		put(p, BPF_JMP | BPF_JSET | BPF_K, t->value[0], KILL, last ? ALLOW : next + 1);
		break;
	case NOT_ALL_BITS:
		put(p, BPF_ALU | BPF_AND | BPF_K, t->value[0], 0, 0);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, t->value[0], KILL, last ? ALLOW : next + 2);
		break;
	case POSITIVE:
		put(p, BPF_JMP | BPF_JGE | BPF_K, 1U << 31, KILL, next + 1);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, KILL, last ? ALLOW : next + 2);
		break;
	}
}

/* The blocks of the checks that the ranges lead to, each once. */
static void put_checks(struct program *p, const struct range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct test *t;
		int to = ranges[i].to;

		if (to > BLOCK || p->ends[-to] > 0)
			continue;
		t = tests[BLOCK - to];
		p->ends[-to] = (int16_t)p->n;
		put_test(p, &t[0], t[1].op == NO_TEST);
		if (t[1].op != NO_TEST)
			put_test(p, &t[1], true);
	}
}

static void put_end(struct program *p, int end, uint32_t answer)
{
	p->ends[-end] = (int16_t)put(p, BPF_RET | BPF_K, answer, 0, 0);
}

/* Places become distances. */
static void resolve(struct program *p)
{
	for (size_t i = 0; i < p->n; i++) {
		int yes = p->yes[i], no = p->no[i];

		if (BPF_CLASS(p->code[i].code) != BPF_JMP)
			continue;
		p->code[i].jt = (uint8_t)((yes < 0 ? p->ends[-yes] : yes) - (int)i - 1);
		p->code[i].jf = (uint8_t)((no < 0 ? p->ends[-no] : no) - (int)i - 1);
	}
}

/* Sorted as they come: they are few, and mostly in order. */
static void add_call(struct range *found, size_t *n, uint32_t number, int to)
{
	size_t at = *n;

	while (at > 0 && found[at - 1].from > number) {
		found[at] = found[at - 1];
		at--;
	}
	found[at] = (struct range){ number, to };
	++*n;
}

static size_t find_calls(enum sandbox who, struct range *found)
{
	size_t n = 0;

	if (who == SANDBOX_PROGRAM) {
		for (size_t i = 0; i < N_ELEMS(refused_programs); i++)
			add_call(found, &n, refused_programs[i], REFUSE);
		add_call(found, &n, X32_BIT, KILL);
		return n;
	}
	for (size_t i = 0; i < N_ELEMS(calls); i++) {
		const struct call *c = &calls[i];

		if (c->roles >> who & 1)
			add_call(found, &n, c->number,
				 c->check == ANY	     ? ALLOW
				 : c->check == NOT_PERMITTED ? REFUSE
				 : c->check == NOT_THERE     ? ABSENT
							     : BLOCK - (int)c->check);
	}
	return n;
}

/* Single numbers become ranges, with `other` for what lies between and behind them. */
static size_t make_ranges(const struct range *found, size_t n_found, int other,
			  struct range *ranges)
{
	uint32_t next = 0;
	size_t n = 0;

	ranges[n++] = (struct range){ 0, other };
	for (size_t i = 0; i < n_found; i++) {
		if (found[i].from > next && ranges[n - 1].to != other)
			ranges[n++] = (struct range){ next, other };
		if (ranges[n - 1].to != found[i].to)
			ranges[n++] = found[i];
		next = found[i].from + 1;
	}
	/* nothing is behind x32's first number that would not be x32 */
	if (ranges[n - 1].to != other && ranges[n - 1].from != X32_BIT)
		ranges[n++] = (struct range){ next, other };
	return n;
}

static void make_program(struct program *p, enum sandbox who)
{
	struct range found[N_ELEMS(calls) + N_ELEMS(refused_programs)];
	struct range ranges[2 * N_ELEMS(found) + 2];
	size_t n;

	n = find_calls(who, found);
	n = make_ranges(found, n, who == SANDBOX_PROGRAM ? ALLOW : KILL, ranges);
	load(p, offsetof(struct seccomp_data, arch));
	put(p, BPF_JMP | BPF_JEQ | BPF_K, SANDBOX_ARCH, (int)p->n + 1, KILL);
	load(p, offsetof(struct seccomp_data, nr));
	put_search(p, ranges, n);
	put_checks(p, ranges, n);
	put_end(p, ALLOW, SECCOMP_RET_ALLOW);
	put_end(p, KILL, SECCOMP_RET_KILL_PROCESS);
	put_end(p, REFUSE, SECCOMP_RET_ERRNO | EPERM);
	put_end(p, ABSENT, SECCOMP_RET_ERRNO | ENOSYS);
	resolve(p);
}

static int filter_calls(enum sandbox who)
{
	/* kernels before 5.16 slow a process with a filter down, for fear of foreign code in it */
	static const unsigned long flags[] = { SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0 };
	struct program p = { .n = 0 };
	struct sock_fprog prog;

	make_program(&p, who);
	if (p.full)
		return POP_E_RANGE;
	prog = (struct sock_fprog){ (unsigned short)p.n, p.code };
	for (size_t i = 0; i < N_ELEMS(flags); i++) {
		if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags[i], &prog) == 0) {
			active = true;
			return 0;
		}
		if (errno != EINVAL)
			break;
	}
	/* a kernel without filters, or a sandbox around us that lets nobody make one */
	return errno == EINVAL || errno == ENOSYS || errno == EPERM ? 0 : POP_E_SYS;
}

int sandbox_enter(enum sandbox who)
{
	if (who <= SANDBOX_NOBODY || who >= SANDBOX_N)
		return POP_E_RANGE;
	return filter_calls(who);
}

bool sandbox_active(void)
{
	return active;
}

bool sandbox_has_calls(void)
{
	return true;
}

#else

int sandbox_enter(enum sandbox who)
{
	(void)who;
	return 0;
}

bool sandbox_active(void)
{
	return false;
}

bool sandbox_has_calls(void)
{
	return false;
}

#endif
