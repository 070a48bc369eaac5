/*
 * launch.c - start one program for each TCP connection, and count what it costs.
 *
 * Runs in:  the benchmark alone, on loopback, the same for every server measured.
 * Trusts:   its command line.
 * Prints:   "port N" when it listens; one JSON object with the totals when it ends
 *           (SIGTERM, SIGINT, -n sessions served, or -t seconds gone).
 *
 * The CPU time is the kernel's for the started process and every descendant it waited for.
 * Descendants that outlive their parent are inherited here and counted too.  What escapes is the
 * child of a process that ignores SIGCHLD; -a counts it by an inherited perf event, which costs
 * every fork a little.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX 100000 /* sessions whose own figures are kept */
#define LIVE_MAX    4096   /* sessions at once */

struct totals {
	uint64_t sessions, failed, orphans;
	uint64_t cpu_us, minflt, majflt, nvcsw, nivcsw;
	long maxrss_kib;
	size_t n_samples;
	uint32_t sample_us[SAMPLES_MAX];
};

static struct totals totals;
static pid_t live[LIVE_MAX];
static size_t n_live;

static uint64_t tv_us(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

static bool forget(pid_t pid)
{
	for (size_t i = 0; i < n_live; i++) {
		if (live[i] == pid) {
			live[i] = live[--n_live];
			return true;
		}
	}
	return false;
}

/* True where there may be more to come. */
static bool reap(int flags)
{
	struct rusage ru;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, flags, &ru)) > 0) {
		uint64_t us = tv_us(&ru.ru_utime) + tv_us(&ru.ru_stime);

		totals.cpu_us += us;
		totals.minflt += (uint64_t)ru.ru_minflt;
		totals.majflt += (uint64_t)ru.ru_majflt;
		totals.nvcsw += (uint64_t)ru.ru_nvcsw;
		totals.nivcsw += (uint64_t)ru.ru_nivcsw;
		if (ru.ru_maxrss > totals.maxrss_kib)
			totals.maxrss_kib = ru.ru_maxrss;
		if (!forget(pid)) {
			totals.orphans++;
			continue;
		}
		totals.sessions++;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			totals.failed++;
		if (totals.n_samples < SAMPLES_MAX)
			totals.sample_us[totals.n_samples++] = (uint32_t)us;
	}
	return pid == 0 || errno != ECHILD;
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t len = sizeof(sin);
	int one = 1;
	int fd;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&sin, len) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0) {
		perror("launch: listen");
		exit(71);
	}
	printf("port %u\n", ntohs(sin.sin_port));
	fflush(stdout);
	return fd;
}

static void start(int listen_fd, int log_fd, char **argv)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	sigset_t none;
	pid_t pid;

	if (fd < 0)
		return;
	pid = fork();
	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(log_fd, 2) < 0)
			_exit(71);
		execv(argv[0], argv);
		_exit(72);
	}
	close(fd);
	if (pid > 0)
		live[n_live++] = pid;
	else
		totals.failed++;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* A count of the CPU nanoseconds of this process and all that it starts from now on. */
static int perf_open(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_TASK_CLOCK,
		.size = sizeof(attr),
		.inherit = 1,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0) {
		perror("launch: perf_event_open");
		exit(71);
	}
	return fd;
}

/* In place of what wait4 said; the launcher's own time is not the server's. */
static void perf_total(int fd)
{
	struct rusage own;
	uint64_t ns, own_us;

	if (fd < 0 || read(fd, &ns, sizeof(ns)) != sizeof(ns) || getrusage(RUSAGE_SELF, &own) < 0)
		return;
	own_us = tv_us(&own.ru_utime) + tv_us(&own.ru_stime);
	totals.cpu_us = ns / 1000 > own_us ? ns / 1000 - own_us : 0;
}

static void print_totals(void)
{
	uint32_t median = 0;
	uint64_t n = totals.sessions ? totals.sessions : 1;

	if (totals.n_samples > 0) {
		qsort(totals.sample_us, totals.n_samples, sizeof(uint32_t), by_value);
		median = totals.sample_us[totals.n_samples / 2];
	}
	printf("{\"sessions\": %llu, \"failed\": %llu, \"orphans\": %llu, "
	       "\"cpu_us_total\": %llu, \"cpu_us_mean\": %llu, \"cpu_us_median\": %u, "
	       "\"minflt_mean\": %llu, \"majflt\": %llu, \"nvcsw_mean\": %llu, "
	       "\"nivcsw_mean\": %llu, \"maxrss_kib\": %ld}\n",
	       (unsigned long long)totals.sessions, (unsigned long long)totals.failed,
	       (unsigned long long)totals.orphans, (unsigned long long)totals.cpu_us,
	       (unsigned long long)(totals.cpu_us / n), median,
	       (unsigned long long)(totals.minflt / n), (unsigned long long)totals.majflt,
	       (unsigned long long)(totals.nvcsw / n), (unsigned long long)(totals.nivcsw / n),
	       totals.maxrss_kib);
	fflush(stdout);
}

static void wait_live(int signo)
{
	struct timespec tick = { .tv_nsec = 20 * 1000 * 1000 };

	for (size_t i = 0; signo && i < n_live; i++)
		kill(live[i], signo);
	for (int i = 0; i < 100 && reap(WNOHANG); i++)
		nanosleep(&tick, NULL);
}

/* What is still running may end by itself for two seconds, is then asked to, then killed.  What
 * outlived its session's first process is waited for as well: its cost is part of the session's. */
static void end_live(void)
{
	wait_live(0);
	wait_live(SIGTERM);
	wait_live(SIGKILL);
	reap(WNOHANG);
}

static void serve(int listen_fd, int log_fd, uint64_t max_sessions, int life_s, char **argv)
{
	struct pollfd pfd[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct signalfd_siginfo si;
	struct timespec now, end;
	bool stop = false;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pfd[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += life_s;
	while (!stop && (max_sessions == 0 || totals.sessions < max_sessions)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end.tv_sec)
			break;
		pfd[0].fd = n_live < LIVE_MAX ? listen_fd : -1;
		if (poll(pfd, 2, 1000) < 0 && errno != EINTR)
			break;
		if (pfd[0].revents)
			start(listen_fd, log_fd, argv);
		while (pfd[1].revents && read(pfd[1].fd, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo != SIGCHLD)
				stop = true;
		}
		reap(WNOHANG);
	}
	close(listen_fd);
}

static long number(const char *s, long min, long max)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || end == s || *end || v < min || v > max) {
		fprintf(stderr, "launch: %s: a number from %ld to %ld\n", s, min, max);
		exit(64);
	}
	return v;
}

static void usage(void)
{
	fprintf(stderr, "usage: launch [-a] [-p port] [-n sessions] [-t seconds] [-l logfile] "
			"/path/program [arg...]\n");
	exit(64);
}

int main(int argc, char **argv)
{
	const char *log = "/dev/null";
	uint64_t max_sessions = 0;
	uint16_t port = 0;
	int life_s = 3600;
	int perf_fd = -1;
	int opt, log_fd;

	while ((opt = getopt(argc, argv, "+ap:n:t:l:")) != -1) {
		switch (opt) {
		case 'a':
			perf_fd = perf_open();
			break;
		case 'p':
			port = (uint16_t)number(optarg, 0, 65535);
			break;
		case 'n':
			max_sessions = (uint64_t)number(optarg, 1, 1000000000);
			break;
		case 't':
			life_s = (int)number(optarg, 1, 86400);
			break;
		case 'l':
			log = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind >= argc)
		usage();
	log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (log_fd < 0) {
		perror(log);
		return 73;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* nothing outlives the benchmark */
	serve(listen_on(port), log_fd, max_sessions, life_s, argv + optind);
	end_live();
	perf_total(perf_fd);
	print_totals();
	return 0;
}
