/*
 * client.c - a POP3 client that measures a server: one scenario a run.
 *
 * Runs in:  the benchmark, against a server on loopback.
 * Trusts:   nothing the server says (see conn.c).
 * Prints:   one JSON object: what was done, how long it took, how many octets came.
 *
 * Sockets are left as an ordinary client has them (no TCP_NODELAY, no TCP_QUICKACK).  A scenario
 * that runs several sessions at once forks one worker for each; the results are in shared memory.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "conn.h"
#include "tls.h"

#define SESSIONS_MAX 200000

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double part(double *v, size_t n, double share)
{
	qsort(v, n, sizeof(*v), by_value);
	return n ? v[(size_t)((double)(n - 1) * share)] : 0;
}

/* What the handshakes came to, as further members of the object that is being printed. */
static void print_tls(void)
{
	unsigned handshakes, resumed;

	tls_counts(&handshakes, &resumed);
	if (handshakes > 0)
		printf(", \"cipher\": \"%s\", \"resumed_percent\": %.1f", tls_cipher(),
		       100.0 * resumed / handshakes);
}

static void one_rate_session(struct conn *c)
{
	login(c);
	command(c, "STAT\r\n");
	expect_ok(c, "STAT");
	quit(c);
}

/*
 * connect, USER, PASS, STAT, QUIT, end of file: n sessions by conc workers.  More than one are the
 * users USER1 to USERc: two sessions on one maildrop would wait for each other, or be refused.
 */
static void run_rate(void)
{
	const char *user = opt.user;
	double *ms = mmap(NULL, SESSIONS_MAX * sizeof(*ms), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t start, ns;

	if (ms == MAP_FAILED || opt.n > SESSIONS_MAX)
		die("too many sessions");
	start = now_ns();
	for (unsigned w = 0; w < opt.conc; w++) {
		struct conn c = { 0 };

		if (fork() != 0)
			continue;
		if (opt.conc > 1) {
			static char name[64];

			snprintf(name, sizeof(name), "%s%u", user, w + 1);
			opt.user = name;
		}
		for (unsigned i = w; i < opt.n; i += opt.conc) {
			uint64_t t = now_ns();

			one_rate_session(&c);
			ms[i] = (double)(now_ns() - t) / 1e6;
		}
		_exit(0);
	}
	for (int status; wait(&status) > 0;) {
		if (status != 0)
			die("a worker failed");
	}
	ns = now_ns() - start;
	printf("{\"sessions\": %u, \"workers\": %u, \"sessions_per_s\": %.1f, "
	       "\"session_ms\": %.3f, \"session_ms_p95\": %.3f",
	       opt.n, opt.conc, opt.n / ((double)ns / 1e9), part(ms, opt.n, 0.5),
	       part(ms, opt.n, 0.95));
	print_tls();
	printf("}\n");
}

/* From connect() to the first octet of the greeting. */
static void run_greeting(void)
{
	double *us = alloc(opt.n * sizeof(*us));
	struct conn c = { 0 };

	for (unsigned i = 0; i < opt.n; i++) {
		uint64_t t = now_ns();

		conn_open(&c);
		if (!more(&c))
			die("no greeting");
		us[i] = (double)(now_ns() - t) / 1e3;
		c.len = 0;
		quit(&c);
	}
	printf("{\"sessions\": %u, \"greeting_us\": %.1f, \"greeting_us_p95\": %.1f}\n", opt.n,
	       part(us, opt.n, 0.5), part(us, opt.n, 0.95));
	free(us);
}

/*
 * Login and STAT; where whole, LIST and UIDL too.  "open" runs from the first octet of USER to the
 * answer of the last command; with "connect" the time from connect() is in it.
 */
static void open_sessions(bool whole)
{
	double *v = alloc((size_t)opt.n * 5 * sizeof(*v));
	double *open_ms = v, *conn_ms = v + opt.n, *pass_ms = v + 2 * opt.n,
	       *list_ms = v + 3 * opt.n, *uidl_ms = v + 4 * opt.n;
	struct conn c = { 0 };
	uint64_t octets = 0;

	for (unsigned i = 0; i < opt.n; i++) {
		uint64_t t0 = now_ns(), t1, t2, t;

		conn_open(&c);
		expect_ok(&c, "greeting");
		t1 = now_ns();
		command(&c, "USER %s\r\n", opt.user);
		expect_ok(&c, "USER");
		t2 = now_ns();
		command(&c, "PASS %s\r\n", opt.pass);
		expect_ok(&c, "PASS");
		command(&c, "STAT\r\n");
		expect_ok(&c, "STAT");
		t = now_ns();
		pass_ms[i] = (double)(t - t2) / 1e6;
		if (whole) {
			command(&c, "LIST\r\n");
			octets = expect_multi(&c, "LIST");
			list_ms[i] = (double)(now_ns() - t) / 1e6;
			t = now_ns();
			command(&c, "UIDL\r\n");
			octets += expect_multi(&c, "UIDL");
			uidl_ms[i] = (double)(now_ns() - t) / 1e6;
		}
		t = now_ns();
		open_ms[i] = (double)(t - t1) / 1e6;
		conn_ms[i] = (double)(t - t0) / 1e6;
		quit(&c);
	}
	printf("{\"sessions\": %u, \"open_ms\": %.3f, \"with_connect_ms\": %.3f, "
	       "\"pass_stat_ms\": %.3f, \"list_ms\": %.3f, \"uidl_ms\": %.3f, \"octets\": %llu}\n",
	       opt.n, part(open_ms, opt.n, 0.5), part(conn_ms, opt.n, 0.5),
	       part(pass_ms, opt.n, 0.5), part(list_ms, opt.n, 0.5), part(uidl_ms, opt.n, 0.5),
	       (unsigned long long)octets);
	free(v);
}

static void run_open(void)
{
	open_sessions(false);
}

static void run_whole(void)
{
	open_sessions(true);
}

static void print_throughput(uint64_t ns, uint64_t octets)
{
	double s = (double)ns / 1e9;

	printf("{\"messages\": %u, \"octets\": %llu, \"ms\": %.3f, \"messages_per_s\": %.1f, "
	       "\"mb_per_s\": %.1f",
	       opt.n, (unsigned long long)octets, s * 1e3, opt.n / s, (double)octets / 1e6 / s);
	print_tls();
	printf("}\n");
}

/* RETR 1 to n, each asked when the one before has come. */
static void run_retr(void)
{
	struct conn c = { 0 };
	uint64_t octets = 0, start, ns;

	login(&c);
	start = now_ns();
	for (unsigned i = 1; i <= opt.n; i++) {
		command(&c, "RETR %u\r\n", i);
		octets += expect_multi(&c, "RETR");
	}
	ns = now_ns() - start;
	quit(&c);
	print_throughput(ns, octets);
}

/* RETR 1 to n asked at once; the answers are read while the rest is sent. */
static void run_pipelined(void)
{
	char *all = alloc((size_t)opt.n * 24);
	const char *data = all;
	struct conn c = { 0 };
	uint64_t ends = 0, start, ns;
	size_t left = 0;

	for (unsigned i = 1; i <= opt.n; i++)
		left += (size_t)snprintf(all + left, 24, "RETR %u\r\n", i);
	login(&c);
	c.octets = 0;
	c.len = 3;
	memset(c.buf, ' ', 3);
	start = now_ns();
	while (ends < opt.n) {
		if (left > 0) {
			int now = conn_poll(&c, true);

			if (now & POLLOUT)
				conn_send_some(&c, &data, &left);
			if (!(now & POLLIN))
				continue;
		}
		if (!more(&c))
			die("pipelined RETR: connection closed after %llu messages",
			    (unsigned long long)ends);
		ends += count_ends(c.buf, c.len);
		memmove(c.buf, c.buf + c.len - 3, 3);
		c.len = 3;
	}
	ns = now_ns() - start;
	c.len = 0;
	start = c.octets;
	quit(&c);
	print_throughput(ns, start);
	free(all);
}

/* DELE of the first n messages (pipelined in portions), then QUIT alone is timed. */
static void run_dele(void)
{
	char line[32];
	struct conn c = { 0 };
	uint64_t start, quit_ns, eof_ns, dele_ns;

	login(&c);
	command(&c, "STAT\r\n");
	expect_ok(&c, "STAT");
	start = now_ns();
	for (unsigned i = 1; i <= opt.n;) {
		unsigned first = i;
		char block[4096];
		size_t len = 0;

		for (; i <= opt.n && i < first + 100; i++) {
			int k = snprintf(line, sizeof(line), "DELE %u\r\n", i);

			memcpy(block + len, line, (size_t)k);
			len += (size_t)k;
		}
		conn_send(&c, block, len);
		for (unsigned k = first; k < i; k++)
			expect_ok(&c, "DELE");
	}
	dele_ns = now_ns() - start;
	start = now_ns();
	command(&c, "QUIT\r\n");
	expect_ok(&c, "QUIT");
	quit_ns = now_ns() - start;
	expect_eof(&c);
	eof_ns = now_ns() - start;
	printf("{\"deleted\": %u, \"dele_ms\": %.3f, \"quit_ms\": %.3f, \"closed_ms\": %.3f}\n",
	       opt.n, (double)dele_ns / 1e6, (double)quit_ns / 1e6, (double)eof_ns / 1e6);
}

/* n unknown commands after login in one write, each answered by one -ERR. */
static void run_bad(void)
{
	static const char word[] = "XYZZY\r\n";
	size_t left = (size_t)opt.n * (sizeof(word) - 1);
	char *all = alloc(left + 1);
	const char *data = all;
	struct conn c = { 0 };
	uint64_t lines = 0, errors = 0, start, ns;
	bool at_start = true;

	for (unsigned i = 0; i < opt.n; i++)
		memcpy(all + i * (sizeof(word) - 1), word, sizeof(word) - 1);
	login(&c);
	start = now_ns();
	while (lines < opt.n) {
		int now = conn_poll(&c, left > 0);

		if (left > 0 && (now & POLLOUT))
			conn_send_some(&c, &data, &left);
		if (!(now & (POLLIN | POLLHUP)))
			continue;
		c.len = 0;
		if (!more(&c))
			break;
		for (size_t i = 0; i < c.len; i++) {
			errors += at_start && c.buf[i] == '-';
			at_start = c.buf[i] == '\n';
			lines += at_start;
		}
	}
	ns = now_ns() - start;
	c.len = 0;
	if (lines == opt.n)
		quit(&c);
	printf("{\"commands\": %u, \"answers\": %llu, \"errors\": %llu, \"in_step\": %s, "
	       "\"ms\": %.3f, \"commands_per_s\": %.0f}\n",
	       opt.n, (unsigned long long)lines, (unsigned long long)errors,
	       lines == opt.n && errors == opt.n ? "true" : "false", (double)ns / 1e6,
	       (double)lines / ((double)ns / 1e9));
	free(all);
}

/* n sessions, the users USER1 to USERn, logged in and silent until a line comes on descriptor 0. */
static void run_idle(void)
{
	struct conn *c = alloc(opt.n * sizeof(*c));
	const char *user = opt.user;
	static char name[64];
	char go;

	opt.user = name;
	for (unsigned i = 0; i < opt.n; i++) {
		snprintf(name, sizeof(name), "%s%u", user, i + 1);
		login(&c[i]);
		command(&c[i], "STAT\r\n");
		expect_ok(&c[i], "STAT");
		free(c[i].buf);
		c[i].buf = NULL;
	}
	printf("{\"sessions\": %u}\n", opt.n);
	fflush(stdout);
	if (read(0, &go, 1) != 1)
		die("nobody says go on");
	for (unsigned i = 0; i < opt.n; i++) {
		c[i].buf = alloc(BUF_SIZE);
		command(&c[i], "QUIT\r\n");
		expect_ok(&c[i], "QUIT of an idle session");
		conn_close(&c[i]);
		free(c[i].buf);
	}
	free(c);
}

static const struct {
	const char *name, *help;
	void (*run)(void);
} scenarios[] = {
	{ "rate", "n sessions (USER PASS STAT QUIT) by c workers, each a user of its own",
	  run_rate },
	{ "greeting", "n times connect to first octet", run_greeting },
	{ "open", "n times login and STAT", run_open },
	{ "whole", "n times login, STAT, LIST, UIDL", run_whole },
	{ "retr", "RETR 1 to n one by one", run_retr },
	{ "pipelined", "RETR 1 to n asked at once", run_pipelined },
	{ "dele", "DELE 1 to n, then QUIT timed", run_dele },
	{ "bad", "n unknown commands in one write", run_bad },
	{ "idle", "n sessions of USER1 to USERn, held until a line is read", run_idle },
};

#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static void usage(void)
{
	fprintf(stderr, "usage: client -p port [-u user] [-w password] [-n n] [-c workers] [-s "
			"[-r]] SCENARIO\n"
			"  -s         TLS from the first octet; -r: resumed by tickets\n");
	for (size_t i = 0; i < N_SCENARIOS; i++)
		fprintf(stderr, "  %-10s %s\n", scenarios[i].name, scenarios[i].help);
	exit(64);
}

static unsigned number(const char *s, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (end == s || *end || v < 1 || v > max)
		usage();
	return (unsigned)v;
}

int main(int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "p:u:w:n:c:srC:")) != -1) {
		switch (o) {
		case 'p':
			opt.port = (uint16_t)number(optarg, 65535);
			break;
		case 'u':
			opt.user = optarg;
			break;
		case 'w':
			opt.pass = optarg;
			break;
		case 'n':
			opt.n = number(optarg, 2000000);
			break;
		case 'c':
			opt.conc = number(optarg, 256);
			break;
		case 's':
			opt.tls = true;
			break;
		case 'C':
			opt.cipher = optarg;
			break;
		case 'r':
			opt.resume = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1 || !opt.port)
		usage();
	if (opt.tls)
		tls_init();
	for (size_t i = 0; i < N_SCENARIOS; i++) {
		if (strcmp(argv[optind], scenarios[i].name) == 0) {
			scenarios[i].run();
			return 0;
		}
	}
	usage();
}
