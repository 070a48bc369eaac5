/*
 * credential.c - the files that tls_certificate and tls_key name.
 *
 * Runs in:  monitor, pop3admin.
 * Trusts:   the configuration and $CREDENTIALS_DIRECTORY, which is the service
 *           manager's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "credential.h"
#include "fsutil.h"

int credential_path(const char *word, size_t len, char path[PATH_MAX], struct pop_why *why)
{
	static const char prefix[] = "credential:";
	const size_t n = sizeof(prefix) - 1;
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	int put;

	if (len <= n || strncmp(word, prefix, n) != 0)
		put = snprintf(path, PATH_MAX, "%.*s", (int)len, word);
	else if (dir && dir[0] == '/')
		put = snprintf(path, PATH_MAX, "%s/%.*s", dir, (int)(len - n), word + n);
	else
		return pop_why(why, POP_E_MISSING,
			       "%.*s: $CREDENTIALS_DIRECTORY is not set; see LoadCredential= in "
			       "systemd.exec(5)",
			       (int)len, word);
	if (put < 0 || put >= PATH_MAX)
		return pop_why(why, POP_E_LONG, "%.100s: too long", word);
	return 0;
}

int credential_open(const char *word, size_t len, bool secret, struct pop_why *why)
{
	char path[PATH_MAX];
	int err = credential_path(word, len, path, why);

	return err < 0 ? err : fs_open_trusted(path, true, secret, why);
}

const char *credential_next(const char *list, size_t *len)
{
	list += strspn(list, " \t");
	*len = strcspn(list, " \t");
	return *len > 0 ? list : NULL;
}
