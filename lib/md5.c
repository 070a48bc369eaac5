/*
 * md5.c - MD5, HMAC-MD5 and the key state of CRAM-MD5.
 *
 * Runs in:  pop3d-auth and pop3admin.
 * Trusts:   nothing.
 */
#include <string.h>

#include "err.h"
#include "md5.h"

static uint32_t rotate(uint32_t v, unsigned by)
{
	return v << by | v >> (32 - by);
}

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* RFC 1321 section 3.4: 64 steps, the constants are floor(2^32 * abs(sin(i + 1))). */
static void compress(uint32_t state[4], const uint8_t block[64])
{
	static const uint8_t shifts[4][4] = {
		{ 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 }
	};
	static const uint32_t sines[64] = {
		0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613,
		0xFD469501, 0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193,
		0xA679438E, 0x49B40821, 0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D,
		0x02441453, 0xD8A1E681, 0xE7D3FBC8, 0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED,
		0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A, 0xFFFA3942, 0x8771F681, 0x6D9D6122,
		0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70, 0x289B7EC6, 0xEAA127FA,
		0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665, 0xF4292244,
		0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
		0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB,
		0xEB86D391,
	};
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

	for (unsigned i = 0; i < 64; i++) {
		uint32_t f, next;
		unsigned k;

		switch (i / 16) {
		case 0:
			f = (b & c) | (~b & d);
			k = i;
			break;
		case 1:
			f = (d & b) | (~d & c);
			k = (5 * i + 1) % 16;
			break;
		case 2:
			f = b ^ c ^ d;
			k = (3 * i + 5) % 16;
			break;
		default:
			f = c ^ (b | ~d);
			k = 7 * i % 16;
		}
		f += a + sines[i] + get_le32(block + 4 * k);
		next = b + rotate(f, shifts[i / 16][i % 4]);
		a = d;
		d = c;
		c = b;
		b = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

void md5_init(struct md5 *m)
{
	*m = (struct md5){ .state = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476 } };
}

void md5_update(struct md5 *m, const void *data, size_t n)
{
	const uint8_t *p = data;

	while (n > 0) {
		size_t fill = m->total % 64, take = 64 - fill < n ? 64 - fill : n;

		memcpy(m->block + fill, p, take);
		m->total += take;
		p += take;
		n -= take;
		if (fill + take == 64)
			compress(m->state, m->block);
	}
}

void md5_final(struct md5 *m, uint8_t out[MD5_LEN])
{
	static const uint8_t pad[64] = { 0x80 };
	uint64_t bits = m->total * 8;
	uint8_t length[8];

	put_le32(length, (uint32_t)bits);
	put_le32(length + 4, (uint32_t)(bits >> 32));
	md5_update(m, pad, 1 + (119 - m->total % 64) % 64);
	md5_update(m, length, sizeof(length));
	for (int i = 0; i < 4; i++)
		put_le32(out + 4 * i, m->state[i]);
	explicit_bzero(m, sizeof(*m));
}

/* RFC 2104: the state after one block of the key with a constant over it. */
static void padded(uint32_t state[4], const uint8_t key[64], uint8_t constant)
{
	uint8_t block[64];
	struct md5 m;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = key[i] ^ constant;
	md5_init(&m);
	md5_update(&m, block, sizeof(block));
	memcpy(state, m.state, sizeof(m.state));
	explicit_bzero(block, sizeof(block));
	explicit_bzero(&m, sizeof(m));
}

void hmac_md5_key(struct hmac_md5_key *k, const void *key, size_t n)
{
	uint8_t block[64] = { 0 };
	struct md5 m;

	if (n > sizeof(block)) {
		md5_init(&m);
		md5_update(&m, key, n);
		md5_final(&m, block);
	} else {
		memcpy(block, key, n);
	}
	padded(k->outer, block, 0x5C);
	padded(k->inner, block, 0x36);
	explicit_bzero(block, sizeof(block));
}

static void finish(const uint32_t state[4], const void *data, size_t n, uint8_t out[MD5_LEN])
{
	struct md5 m = { .total = 64 };

	memcpy(m.state, state, sizeof(m.state));
	md5_update(&m, data, n);
	md5_final(&m, out);
}

void hmac_md5(const struct hmac_md5_key *k, const void *data, size_t n, uint8_t out[MD5_LEN])
{
	uint8_t inner[MD5_LEN];

	finish(k->inner, data, n, inner);
	finish(k->outer, inner, sizeof(inner), out);
	explicit_bzero(inner, sizeof(inner));
}

void hex_format(const void *data, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}

void hmac_md5_key_format(const struct hmac_md5_key *k, char out[HMAC_MD5_HEX + 1])
{
	uint8_t octets[HMAC_MD5_HEX / 2];

	for (int i = 0; i < 4; i++) {
		put_le32(octets + 4 * i, k->outer[i]);
		put_le32(octets + 16 + 4 * i, k->inner[i]);
	}
	hex_format(octets, sizeof(octets), out);
	explicit_bzero(octets, sizeof(octets));
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hmac_md5_key_parse(struct hmac_md5_key *k, const char *text, size_t len)
{
	uint8_t octets[HMAC_MD5_HEX / 2];

	if (len != HMAC_MD5_HEX)
		return POP_E_SYNTAX;
	for (size_t i = 0; i < sizeof(octets); i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return POP_E_SYNTAX;
		octets[i] = (uint8_t)(high << 4 | low);
	}
	for (int i = 0; i < 4; i++) {
		k->outer[i] = get_le32(octets + 4 * i);
		k->inner[i] = get_le32(octets + 16 + 4 * i);
	}
	explicit_bzero(octets, sizeof(octets));
	return 0;
}
