/*
 * mon_cert.c - open certificates and keys, and remember whether they are good.
 *
 * The monitor opens the files and looks into none of them.  Whether they fit
 * and until when is found out once by the tls role and the keeper, and kept in
 * run_dir/certificate under the identity of the files, so that a plain session
 * which is asked for its capabilities reads 200 bytes and starts nothing.
 *
 * Runs in:  monitor.
 * Trusts:   the configuration, and run_dir, which is root's.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "credential.h"
#include "fsutil.h"
#include "mon_tls.h"
#include "num.h"

#define RECORD_NAME "certificate"
#define RECORD_MAX  4096

static int open_list(const char *list, bool secret, int fds[ROLE_KEYS_MAX], unsigned *n,
		     struct pop_why *why)
{
	size_t len;

	while ((list = credential_next(list, &len))) {
		int fd;

		if (*n == ROLE_KEYS_MAX)
			return pop_why(why, POP_E_LONG, "more than %d files", ROLE_KEYS_MAX);
		fd = credential_open(list, len, secret, why);
		if (fd < 0)
			return fd;
		fds[(*n)++] = fd;
		list += len;
	}
	return *n > 0 ? 0 : pop_why(why, POP_E_MISSING, "none");
}

int mon_pair_open(struct mon_pair *p, const char *certificate, const char *key, struct pop_why *why)
{
	struct pop_why one = { "" };
	int err;

	memset(p, 0, sizeof(*p));
	err = open_list(certificate, false, p->certs, &p->n_certs, &one);
	if (err < 0) {
		pop_why(why, err, "tls_certificate: %s", one.text);
	} else {
		err = open_list(key, true, p->keys, &p->n_keys, &one);
		if (err < 0)
			pop_why(why, err, "tls_key: %s", one.text);
	}
	if (err < 0)
		mon_pair_close(p);
	return err;
}

void mon_pair_close(struct mon_pair *p)
{
	while (p->n_certs > 0)
		close(p->certs[--p->n_certs]);
	while (p->n_keys > 0)
		close(p->keys[--p->n_keys]);
}

static int put_identity(char *out, size_t size, size_t *len, int fd)
{
	struct stat st;
	int n;

	if (fstat(fd, &st) < 0)
		return POP_E_SYS;
	n = snprintf(out + *len, size - *len, "%ju %ju %jd %jd.%09ld %jd.%09ld\n",
		     (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (intmax_t)st.st_size,
		     (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (intmax_t)st.st_ctim.tv_sec,
		     st.st_ctim.tv_nsec);
	if (n < 0 || (size_t)n >= size - *len)
		return POP_E_LONG;
	*len += (size_t)n;
	return 0;
}

/* What these files are: they are the same as long as this text is. */
static int identity_of(const struct mon_pair *p, char *out, size_t size, size_t *len)
{
	int err = 0, n = snprintf(out, size, "pop3d " VERSION " %u %u\n", p->n_certs, p->n_keys);

	*len = (size_t)n;
	for (unsigned i = 0; i < p->n_certs && err == 0; i++)
		err = put_identity(out, size, len, p->certs[i]);
	for (unsigned i = 0; i < p->n_keys && err == 0; i++)
		err = put_identity(out, size, len, p->keys[i]);
	return err;
}

/* "GOOD NOT-BEFORE NOT-AFTER WHY", WHY to the end of the line. */
static int parse_verdict(const char *text, struct mon_verdict *v)
{
	size_t len[3];
	uint64_t numbers[3];

	for (int i = 0; i < 3; i++) {
		len[i] = strcspn(text, " \n");
		if (text[len[i]] != ' ' || num_parse(text, len[i], INT64_MAX, &numbers[i]) < 0)
			return POP_E_CORRUPT;
		text += len[i] + 1;
	}
	v->good = numbers[0] == 1;
	v->not_before_s = (int64_t)numbers[1];
	v->not_after_s = (int64_t)numbers[2];
	pop_why(&v->why, 0, "%.*s", (int)strcspn(text, "\n"), text);
	return 0;
}

int mon_verdict_load(const struct monitor *mon, const struct mon_pair *p, struct mon_verdict *v)
{
	char wanted[RECORD_MAX], *text = NULL;
	size_t wanted_len, len;
	int dir, fd = -1, err = identity_of(p, wanted, sizeof(wanted), &wanted_len);

	if (err < 0)
		return err;
	dir = fs_open_private_dir(mon->conf->run_dir, NULL);
	if (dir < 0)
		return dir;
	fd = fs_open_at(dir, RECORD_NAME, FS_LINKS_NONE, O_RDONLY, 0);
	err = POP_E_MISSING;
	if (fd < 0 || fs_read_file(fd, RECORD_MAX, &text, &len) < 0)
		goto out;
	if (len > wanted_len && memcmp(text, wanted, wanted_len) == 0)
		err = parse_verdict(text + wanted_len, v);
out:
	if (fd >= 0)
		close(fd);
	close(dir);
	free(text);
	return err;
}

void mon_verdict_save(const struct monitor *mon, const struct mon_pair *p,
		      const struct mon_verdict *v)
{
	char text[RECORD_MAX], temp[64];
	size_t len;
	int dir, fd, n;

	if (identity_of(p, text, sizeof(text), &len) < 0)
		return;
	n = snprintf(text + len, sizeof(text) - len, "%d %" PRId64 " %" PRId64 " %s\n", v->good,
		     v->not_before_s, v->not_after_s, v->why.text);
	if (n < 0 || (size_t)n >= sizeof(text) - len)
		return;
	dir = fs_open_private_dir(mon->conf->run_dir, NULL);
	if (dir < 0)
		return;
	snprintf(temp, sizeof(temp), RECORD_NAME ".%d", (int)getpid());
	unlinkat(dir, temp, 0);
	fd = fs_open_at(dir, temp, FS_LINKS_NONE, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd >= 0) {
		/* nothing is lost where it cannot be kept: the next session looks again */
		if (fs_write_all(fd, text, len + (size_t)n) < 0 ||
		    renameat(dir, temp, dir, RECORD_NAME) < 0)
			unlinkat(dir, temp, 0);
		close(fd);
	}
	close(dir);
}
