/*
 * num.c - the one number parser.
 *
 * Runs in:  every program.  Trusts:  nothing; it reads what clients send.
 */
#include <stdbool.h>

#include "err.h"
#include "num.h"

int num_parse(const char *s, size_t len, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	bool over = false;
	size_t i;

	if (len == 0)
		return POP_E_SYNTAX;
	/* Read to the end even above the maximum: "99x" is no number, whatever the maximum. */
	for (i = 0; i < len; i++) {
		unsigned digit = (unsigned)((unsigned char)s[i] - '0');

		if (digit > 9)
			return POP_E_SYNTAX;
		if (value > (UINT64_MAX - digit) / 10)
			over = true;
		else
			value = value * 10 + digit;
	}
	if (over || value > max)
		return POP_E_RANGE;
	*out = value;
	return 0;
}

int num_parse_ms(const char *s, size_t len, uint64_t max_ms, uint64_t *out_ms)
{
	static const unsigned scale[] = { 1, 100, 10, 1 };
	uint64_t seconds, fraction = 0;
	size_t whole, decimals = 0;
	int err;

	for (whole = 0; whole < len && s[whole] != '.'; whole++)
		;
	err = num_parse(s, whole, UINT64_MAX, &seconds);
	if (err == POP_E_SYNTAX)
		return err;
	if (whole < len) {
		decimals = len - whole - 1;
		if (decimals < 1 || decimals > 3)
			return POP_E_SYNTAX;
		if (num_parse(s + whole + 1, decimals, 999, &fraction) < 0)
			return POP_E_SYNTAX;
		fraction *= scale[decimals];
	}
	if (err < 0 || seconds > UINT64_MAX / 1000 - 1 || seconds * 1000 + fraction > max_ms)
		return POP_E_RANGE;
	*out_ms = seconds * 1000 + fraction;
	return 0;
}
