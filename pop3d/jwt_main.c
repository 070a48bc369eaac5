/*
 * jwt_main.c - pop3d-jwt: a verifier of OAuth tokens for oauth_verifier.
 *
 * Runs in:  a process of its own that the monitor starts as oauth_user.
 * Trusts:   its command line and the key file.  Not the token.
 *
 * Reads "token NUL name NUL mechanism NUL" on descriptor 0 and writes one line: `+`
 * and the user, `-` and why the token is refused, `!` and why that cannot be told now.
 */
#include <getopt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "jwt.h"
#include "num.h"
#include "users.h"

#define LEEWAY_MOST 3600

static const char usage[] =
	"usage: pop3d-jwt --keys FILE --issuer ISS --audience AUD [--claim NAME] [--leeway "
	"SECONDS]\n"
	"Verifies a signed JWT (RS256, ES256, EdDSA) for oauth_verifier of pop3d.conf(5).\n"
	"  --keys FILE        the issuer's keys, a JWK set\n"
	"  --issuer ISS       what iss must be\n"
	"  --audience AUD     what aud must be or hold\n"
	"  --claim NAME       the claim that names the user (sub)\n"
	"  --leeway SECONDS   how far clocks may differ, 0 to 3600 (60)\n";

/* 0, or the exit status with everything said. */
static int parse_options(int argc, char **argv, struct jwt_rules *r)
{
	static const struct option longs[] = {
		{ "keys", required_argument, NULL, 'k' },
		{ "issuer", required_argument, NULL, 'i' },
		{ "audience", required_argument, NULL, 'a' },
		{ "claim", required_argument, NULL, 'c' },
		{ "leeway", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t seconds;
	int c;

	while ((c = getopt_long(argc, argv, "+k:i:a:c:l:h", longs, NULL)) >= 0) {
		switch (c) {
		case 'k':
			r->keys = optarg;
			break;
		case 'i':
			r->issuer = optarg;
			break;
		case 'a':
			r->audience = optarg;
			break;
		case 'c':
			r->claim = optarg;
			break;
		case 'l':
			if (num_parse(optarg, strlen(optarg), LEEWAY_MOST, &seconds) < 0) {
				puts("!pop3d-jwt: --leeway takes seconds, 0 to 3600");
				return EX_USAGE;
			}
			r->leeway_s = (int64_t)seconds;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			puts("!pop3d-jwt: a wrong option; see pop3d-jwt --help");
			return EX_USAGE;
		}
	}
	if (optind < argc || !r->keys || !r->issuer || !r->audience) {
		puts("!pop3d-jwt: --keys, --issuer and --audience are needed; see pop3d-jwt "
		     "--help");
		return EX_USAGE;
	}
	return 0;
}

/* The token, up to its NUL; what follows is not of use here. */
static int read_token(char *text, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while (used < size && (n = read(0, text + used, size - used)) > 0)
		used += (size_t)n;
	return memchr(text, '\0', used) ? 0 : POP_E_LONG;
}

/* One line, whatever the text holds. */
static int say(char word, const char *text)
{
	putchar(word);
	for (; *text; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
	putchar('\n');
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int main(int argc, char **argv)
{
	static char text[JWT_TOKEN_MAX + USER_NAME_MAX + 64];
	struct jwt_rules rules = { .claim = "sub", .leeway_s = 60, .now = time(NULL) };
	char name[USER_NAME_MAX + 1] = "";
	struct pop_why why = { "" };
	int err = parse_options(argc, argv, &rules);

	if (err)
		return err < 0 ? EX_OK : err;
	prctl(PR_SET_DUMPABLE, 0);
	/* no openssl.cnf is read */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	if (read_token(text, sizeof(text)) < 0)
		return say('!', "pop3d-jwt: no token on descriptor 0");
	err = jwt_check(&rules, text, name, sizeof(name), &why);
	explicit_bzero(text, sizeof(text));
	if (err == 0)
		return say('+', name);
	return say(err == POP_E_DENIED ? '-' : '!', why.text);
}
