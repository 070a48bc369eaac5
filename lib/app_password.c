/*
 * app_password.c - app passwords, made and recognised.
 *
 * Runs in:  pop3admin; auth.
 * Trusts:   the system's random source.
 */
#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "app_password.h"

static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789";

int app_password_make(char out[APP_PASSWORD_TEXT + 1])
{
	uint8_t random[APP_PASSWORD_CHARS];
	char *to = out;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return POP_E_SYS;
	for (size_t i = 0; i < sizeof(random); i++) {
		if (i > 0 && i % 4 == 0)
			*to++ = '-';
		*to++ = alphabet[random[i] % 32];
	}
	*to = '\0';
	explicit_bzero(random, sizeof(random));
	return 0;
}

bool app_password_bare(const char *typed, char out[APP_PASSWORD_CHARS + 1])
{
	size_t n = 0;

	for (; *typed; typed++) {
		char c = (char)tolower((unsigned char)*typed);

		if (c == '-' || c == ' ')
			continue;
		if (n == APP_PASSWORD_CHARS || !strchr(alphabet, c))
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return n == APP_PASSWORD_CHARS;
}
