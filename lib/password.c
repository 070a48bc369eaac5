/*
 * password.c - hashes of passwords: make, verify, and the same work for nobody.
 *
 * Runs in:  auth, one credential at a time; pop3admin.
 * Trusts:   libcrypt.  Not the hash: it is a field of a file.
 */
#include <crypt.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "num.h"
#include "password.h"
#include "salted.h"

/*
 * 32 KiB: no stack for it in a role, and no heap block that stays behind unwiped.
 * It lies in .bss, so a process that never verifies never has its pages.
 */
static struct crypt_data work;

static const struct {
	const char *scheme;
	const char *prefix; /* of the hashes it may hold */
} schemes[] = {
	{ "{CRYPT}", "" },	 { "{SHA512-CRYPT}", "$6$" }, { "{SHA256-CRYPT}", "$5$" },
	{ "{BLF-CRYPT}", "$2" }, { "{MD5-CRYPT}", "$1$" },
};
#define N_SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

/* A setting of today's default method and cost; salt NULL: from the system's random source. */
static int default_setting(const char *salt, int salt_len, char *out, int size)
{
	if (crypt_gensalt_rn("$y$", 0, salt, salt_len, out, size))
		return 0;
	return crypt_gensalt_rn(NULL, 0, salt, salt_len, out, size) ? 0 : POP_E_SYS;
}

/* The hash in work.output, borrowed until wipe(); NULL where libcrypt refuses. */
static const char *run_crypt(const char *password, const char *setting)
{
	const char *made;

	work.initialized = 0;
	made = crypt_r(password, setting, &work);
	return made && made[0] != '*' ? made : NULL;
}

static void wipe(void)
{
	explicit_bzero(&work, sizeof(work));
}

static int hash_with(const char *setting, const char *password, char *out, size_t size)
{
	const char *made;
	size_t len;
	int err = 0;

	if (password[0] == '\0' || strpbrk(password, "\r\n"))
		return POP_E_SYNTAX;
	if (strlen(password) >= CRYPT_MAX_PASSPHRASE_SIZE)
		return POP_E_LONG;
	made = run_crypt(password, setting);
	if (!made) {
		err = POP_E_SYS;
		goto out;
	}
	len = strlen(made);
	if (len >= size) {
		err = POP_E_LONG;
		goto out;
	}
	memcpy(out, made, len + 1);
out:
	wipe();
	return err;
}

int password_hash(const char *password, char *out, size_t size)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (default_setting(NULL, 0, setting, sizeof(setting)) < 0)
		return POP_E_SYS;
	return hash_with(setting, password, out, size);
}

int password_hash_random(const char *password, char *out, size_t size)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!crypt_gensalt_rn("$5$", 1000, NULL, 0, setting, sizeof(setting)))
		return POP_E_SYS;
	return hash_with(setting, password, out, size);
}

/* Takes as long whatever the first difference is; the length of a hash is no secret. */
static int equal(const char *a, const char *b)
{
	size_t len = strlen(a);
	volatile unsigned char diff = 0;

	if (strlen(b) != len)
		return 0;
	for (size_t i = 0; i < len; i++)
		diff |= (unsigned char)(a[i] ^ b[i]);
	return diff == 0;
}

int password_verify(const char *password, const char *hash)
{
	const char *made = NULL;
	bool no_memory = false;
	int yes = 0;

	if (salted_is(hash)) {
		/* the work that an unknown account costs, as these are none */
		yes = salted_verify(password, hash);
		password_verify_dummy(password);
		errno = 0;
		return yes;
	}
	if (hash[0] != '\0' && hash[0] != '*') {
		errno = 0;
		made = run_crypt(password, hash);
		no_memory = !made && errno == ENOMEM;
	}
	if (made)
		yes = equal(made, hash);
	wipe();
	if (!made && !no_memory)
		password_verify_dummy(password);
	errno = no_memory ? ENOMEM : 0;
	return yes;
}

int password_verify_dummy(const char *password)
{
	static const char salt[16] = "no such account";
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (default_setting(salt, sizeof(salt), setting, sizeof(setting)) == 0)
		run_crypt(password, setting);
	wipe();
	return 0;
}

/* Place of a digit in the alphabet that crypt(3) counts with. */
static int crypt_digit(char c)
{
	static const char digits[] =
		"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/*
 * Strength of a hash or setting: first the family, then the cost inside it.
 * yescrypt and scrypt: log2 of the work and block size; bcrypt: log2 of the
 * rounds; SHA-2: the rounds.
 */
static void strength(const char *hash, int *family, uint64_t *cost)
{
	const char *rounds;

	*family = 0;
	*cost = 0;
	if (strncmp(hash, "$y$", 3) == 0 || strncmp(hash, "$gy$", 4) == 0) {
		const char *param = hash + (hash[1] == 'y' ? 3 : 4);

		*family = 4;
		if (crypt_digit(param[0]) >= 0 && crypt_digit(param[1]) >= 0 &&
		    crypt_digit(param[2]) >= 0)
			*cost = (unsigned)crypt_digit(param[1]) * 64U +
				(unsigned)crypt_digit(param[2]);
	} else if (strncmp(hash, "$2", 2) == 0 && hash[2] != '\0' && hash[3] == '$') {
		*family = 3;
		if (num_parse(hash + 4, strnlen(hash + 4, 2), 99, cost) < 0)
			*cost = 0;
	} else if (strncmp(hash, "$6$", 3) == 0 || strncmp(hash, "$5$", 3) == 0) {
		*family = hash[1] - '5' + 1;
		*cost = 5000;
		rounds = hash + 3;
		if (strncmp(rounds, "rounds=", 7) == 0 &&
		    num_parse(rounds + 7, strcspn(rounds + 7, "$"), UINT64_MAX, cost) < 0)
			*cost = 0;
	}
}

bool password_is_weak(const char *hash)
{
	static const char salt[16] = "the cost counts";
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	int family, today_family;
	uint64_t cost, today_cost;

	if (default_setting(salt, sizeof(salt), setting, sizeof(setting)) < 0)
		return false;
	strength(hash, &family, &cost);
	strength(setting, &today_family, &today_cost);
	return family < today_family || (family == today_family && cost < today_cost);
}

bool password_scheme_fits(const char *scheme, const char *hash)
{
	if (scheme[0] == '\0')
		return true;
	for (size_t i = 0; i < N_SCHEMES; i++) {
		if (strcasecmp(scheme, schemes[i].scheme) == 0)
			return strncmp(hash, schemes[i].prefix, strlen(schemes[i].prefix)) == 0;
	}
	return false;
}

const char *password_bare_hash(const char *field, bool *locked)
{
	size_t i, len;

	*locked = field[0] == '!';
	if (*locked)
		field++;
	if (field[0] != '{' || salted_is(field))
		return field;
	for (i = 0; i < N_SCHEMES; i++) {
		len = strlen(schemes[i].scheme);
		if (strncasecmp(field, schemes[i].scheme, len) == 0)
			break;
	}
	if (i == N_SCHEMES)
		return NULL;
	field += len;
	if (field[0] == '!' && !*locked) {
		*locked = true;
		field++;
	}
	return field;
}
