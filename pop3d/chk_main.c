/*
 * chk_main.c - pop3d-checked: what a checkpassword program executes as the user
 * whose password was right.  It says where it has arrived, and that is all.
 *
 * Runs in:  a process of the user's uid, gid and home that the checkpassword
 *           program made; the kernel puts uid and gid beside the message.
 * Trusts:   nothing.  The environment is the checkpassword program's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>
#include "chk.h"
#include "sandbox.h"

/* Append a string with its NUL; -1 where it does not fit. */
static int put(char *out, size_t *used, const char *a, const char *b, const char *c)
{
	int n = snprintf(out + *used, CHK_REPORT_MAX - *used, "%s%s%s", a, b, c);

	if (n < 0 || (size_t)n >= CHK_REPORT_MAX - *used)
		return -1;
	*used += (size_t)n + 1;
	return 0;
}

/* MAILDROP is in the notation of pop3d.conf(5); MAILDIR is what other servers' programs set. */
static int put_maildrop(char *out, size_t *used, const char *home)
{
	const char *maildrop = getenv("MAILDROP"), *maildir = getenv("MAILDIR");

	if (maildrop &&
	    (strncmp(maildrop, "mbox:", 5) == 0 || strncmp(maildrop, "maildir:", 8) == 0))
		return put(out, used, maildrop, "", "");
	if (!maildir || !maildir[0])
		return put(out, used, "", "", "");
	if (maildir[0] == '/')
		return put(out, used, "maildir:", maildir, "");
	if (put(out, used, "maildir:", home, "/") < 0)
		return -1;
	(*used)--; /* the NUL between them */
	return put(out, used, strncmp(maildir, "./", 2) == 0 ? maildir + 2 : maildir, "", "");
}

int main(void)
{
	const char *user = getenv("USER"), *home = getenv("HOME");
	char report[CHK_REPORT_MAX];
	size_t used = 0;

	/* what the program left us with is its own matter: where this fails, so be it */
	(void)sandbox_enter(SANDBOX_CHECKED);
	alarm(10); /* nobody else may be able to end a process of this user */
	if (!home)
		home = "";
	if (put(report, &used, user ? user : "", "", "") < 0 ||
	    put(report, &used, home, "", "") < 0 || put_maildrop(report, &used, home) < 0)
		return 111;
	return send(CHK_REPORT_FD, report, used, MSG_NOSIGNAL) == (ssize_t)used ? EX_OK : 111;
}
