/*
 * term.c - read a password.
 *
 * Runs in:  pop3admin, as whoever called it.
 * Trusts:   nobody; what is typed is wiped wherever it was.
 */
#include "term.h"
#include "admin.h"
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
#define N_SIGNALS (sizeof(signals) / sizeof(signals[0]))

enum line_end { LINE_OK, LINE_LONG, LINE_BAD, LINE_EOF, LINE_SIGNAL, LINE_ERROR };

/*
 * One line of descriptor 0, octet by octet: what follows it is somebody else's.
 * Signals come through only while waiting, and only those that mask lets
 * through, so that none can slip in between a look at `caught` and the wait.
 */
static enum line_end read_line(char *out, size_t size, const sigset_t *mask)
{
	enum line_end end = LINE_OK;
	size_t len = 0;
	bool any = false;
	char c = 0;
	ssize_t n;

	for (;;) {
		struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

		n = ppoll(&p, 1, NULL, mask);
		if (caught) {
			end = LINE_SIGNAL;
			break;
		}
		if (n >= 0)
			n = read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			end = LINE_ERROR;
			break;
		}
		if (n == 0) {
			if (!any)
				end = LINE_EOF;
			break;
		}
		any = true;
		if (c == '\n')
			break;
		if (c == '\0' || c == '\r')
			end = LINE_BAD;
		else if (len + 1 >= size)
			end = end == LINE_BAD ? LINE_BAD : LINE_LONG;
		else
			out[len++] = c;
	}
	c = 0;
	out[len] = '\0';
	return end;
}

static void prompt(int tty, const char *text, const char *name)
{
	char line[USER_NAME_MAX + 64];
	int n = snprintf(line, sizeof(line), "%s %s: ", text, name);

	if (n > 0 && write(tty, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1) < 0)
		return; /* a prompt nobody can see changes nothing */
}

/* One line without echo; job control and Ctrl-C find the terminal as it was. */
static enum line_end read_hidden(int tty, const char *text, const char *name, char *out,
				 size_t size)
{
	struct sigaction sa = { .sa_handler = on_signal }, old[N_SIGNALS];
	struct termios was, quiet;
	sigset_t block, mask;
	enum line_end end;
	size_t i;
	int sig;

	do {
		if (tcgetattr(STDIN_FILENO, &was) < 0)
			return LINE_ERROR;
		sigemptyset(&block);
		for (i = 0; i < N_SIGNALS; i++)
			sigaddset(&block, signals[i]);
		sigprocmask(SIG_BLOCK, &block, &mask);
		caught = 0;
		for (i = 0; i < N_SIGNALS; i++)
			sigaction(signals[i], &sa, &old[i]);
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
		if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0) {
			end = LINE_ERROR;
		} else {
			prompt(tty, text, name);
			end = read_line(out, size, &mask);
		}
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		if (write(tty, "\n", 1) < 0 && end == LINE_OK)
			end = LINE_ERROR;
		for (i = 0; i < N_SIGNALS; i++)
			sigaction(signals[i], &old[i], NULL);
		sig = caught;
		if (end == LINE_SIGNAL) {
			explicit_bzero(out, size);
			raise(sig);
		}
		sigprocmask(SIG_SETMASK, &mask, NULL); /* what was raised arrives here */
						       /* only a stop comes back: ask again */
	} while (end == LINE_SIGNAL && sig == SIGTSTP);
	return end;
}

static int line_status(enum line_end end, const char *password)
{
	switch (end) {
	case LINE_LONG:
		return fail(EX_DATAERR, "password: longer than %d octets; choose a shorter one",
			    USER_PASSWORD_MAX);
	case LINE_BAD:
		return fail(EX_DATAERR, "password: has a CR or NUL inside, which no client can "
					"send; give one line that ends in LF alone");
	case LINE_EOF:
		return fail(EX_DATAERR, "password: nothing on standard input; give it as one line");
	case LINE_SIGNAL:
		return fail(EX_TEMPFAIL, "password: interrupted; nothing was changed");
	case LINE_ERROR:
		return fail(EX_IOERR, "password: cannot be read: %s", strerror(errno));
	case LINE_OK:
		break;
	}
	if (!*password)
		return fail(EX_DATAERR,
			    "password: an empty one is refused; give at least one octet");
	return 0;
}

int term_password(const char *name, bool twice, char *out, size_t size)
{
	char again[USER_PASSWORD_MAX + 1];
	size_t room = size < sizeof(again) ? size : sizeof(again);
	int tty, status;

	if (!isatty(STDIN_FILENO)) {
		status = line_status(read_line(out, room, NULL), out);
		goto out;
	}
	tty = open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (tty < 0)
		tty = STDERR_FILENO;
	status = line_status(read_hidden(tty, twice ? "New password for" : "Password for", name,
					 out, room),
			     out);
	if (!status && twice) {
		status = line_status(read_hidden(tty, "Once more, for", name, again, room), again);
		if (!status && strcmp(out, again) != 0)
			status = fail(EX_DATAERR, "password: the two differ; nothing was changed");
		explicit_bzero(again, sizeof(again));
	}
	if (tty != STDERR_FILENO)
		close(tty);
out:
	if (status)
		explicit_bzero(out, size);
	return status;
}
