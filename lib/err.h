/*
 * err.h - the error codes of lib/, and one sentence beside them.
 *
 * Every function of lib/ that can fail returns 0 (or a count) or one of these
 * negative codes; it never exits, logs or prints.  Test with `err < 0`.
 */
#ifndef POP_ERR_H
#define POP_ERR_H

enum pop_err {
	POP_OK = 0,
	POP_E_SYS = -1,	     /* a system call failed; errno says which way */
	POP_E_MEMORY = -2,   /* out of memory */
	POP_E_LONG = -3,     /* longer than its bound */
	POP_E_SYNTAX = -4,   /* not of the form it must have */
	POP_E_RANGE = -5,    /* a number outside its range */
	POP_E_MISSING = -6,  /* no such user, message, file, key */
	POP_E_EXISTS = -7,   /* there already */
	POP_E_BUSY = -8,     /* locked by another until the time was over */
	POP_E_UNSAFE = -9,   /* owner, mode or type is not what it must be */
	POP_E_CHANGED = -10, /* another program changed it meanwhile */
	POP_E_CORRUPT = -11, /* damaged or foreign content */
	POP_E_DENIED = -12,  /* wrong credential, or not permitted */
	POP_E_TIME = -13,    /* a deadline passed */
	POP_E_EOF = -14,     /* the other end is gone */
	POP_E_VERSION = -15, /* made by another version */
};

/* The code in words, without errno; a constant string. */
const char *pop_strerror(int err);

/* One sentence for a human: what is wrong, where, and what to do. */
#define POP_WHY_MAX 512
struct pop_why {
	char text[POP_WHY_MAX];
};

/*
 * Set the sentence (cut at its bound, always terminated) and return err, so
 * that a function can end in `return pop_why(why, POP_E_SYNTAX, "...")`.
 * why may be NULL.  errno is kept.
 */
int pop_why(struct pop_why *why, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and strerror(errno) appended; returns POP_E_SYS. */
int pop_why_errno(struct pop_why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
