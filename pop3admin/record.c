/*
 * record.c - put and get the records between the owner's process and ours.
 *
 * Runs in:  both.
 * Trusts:   nothing it gets: the other end may have been misled by the mail.
 */
#include "record.h"

#include <string.h>

void record_begin(struct record *r, enum record_type type)
{
	r->type = (uint16_t)type;
	r->len = r->pos = 0;
	r->bad = false;
}

void record_put_u64(struct record *r, uint64_t value)
{
	if (r->len > RECORD_MAX - sizeof(value)) {
		r->bad = true;
		return;
	}
	memcpy(r->data + r->len, &value, sizeof(value));
	r->len = (uint16_t)(r->len + sizeof(value));
}

void record_put_str(struct record *r, const char *s)
{
	size_t n = strlen(s), room;
	uint16_t len;

	if (r->len > RECORD_MAX - sizeof(len)) {
		r->bad = true;
		return;
	}
	room = RECORD_MAX - sizeof(len) - r->len;
	len = (uint16_t)(n < room ? n : room);
	memcpy(r->data + r->len, &len, sizeof(len));
	memcpy(r->data + r->len + sizeof(len), s, len);
	r->len = (uint16_t)(r->len + sizeof(len) + len);
}

uint64_t record_get_u64(struct record *r)
{
	uint64_t value = 0;

	if (r->bad || r->len - r->pos < (int)sizeof(value)) {
		r->bad = true;
		return 0;
	}
	memcpy(&value, r->data + r->pos, sizeof(value));
	r->pos = (uint16_t)(r->pos + sizeof(value));
	return value;
}

void record_get_str(struct record *r, char *out, size_t size)
{
	uint16_t len = 0;

	out[0] = '\0';
	if (!r->bad && r->len - r->pos >= (int)sizeof(len)) {
		memcpy(&len, r->data + r->pos, sizeof(len));
		r->pos = (uint16_t)(r->pos + sizeof(len));
	} else {
		r->bad = true;
	}
	if (r->bad || len > r->len - r->pos || len >= size || memchr(r->data + r->pos, '\0', len)) {
		r->bad = true;
		return;
	}
	memcpy(out, r->data + r->pos, len);
	out[len] = '\0';
	r->pos = (uint16_t)(r->pos + len);
}

bool record_complete(const struct record *r)
{
	return !r->bad && r->pos == r->len;
}
