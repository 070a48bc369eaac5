/*
 * fuzz.h - what the fuzz harnesses share.
 *
 * A harness is one file fuzz_NAME.c with LLVMFuzzerTestOneInput() and perhaps
 * fuzz_begin().  It is linked twice: with libFuzzer (`make fuzz`), and with
 * replay.c, which runs the inputs of corpus/NAME once (`make check`).
 *
 * A harness says what must hold of an answer, not only that there is one:
 * MUST() ends the process where it does not.
 */
#ifndef POP3D_FUZZ_H
#define POP3D_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void fuzz_failed(const char *file, int line, const char *what) __attribute__((noreturn));
#define MUST(what) ((what) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #what))

/*
 * A file in memory with this content, 0600.  n tells which of FUZZ_FILES: the
 * descriptor is kept and filled anew the next time.  Borrowed.
 */
#define FUZZ_FILES 4
int fuzz_file(unsigned n, const void *data, size_t size);

/* A directory of this process, removed at its end; borrowed.  fuzz_dir_path() names it. */
int fuzz_dir(void);
const char *fuzz_dir_path(void);
/* Write a file of it as a whole, 0600. */
void fuzz_dir_put(const char *name, const void *data, size_t size);
/* Remove all that is in it. */
void fuzz_dir_clear(void);

/* What is left of an input that is read piece by piece; what is not there is 0. */
struct fuzz_in {
	const uint8_t *p, *end;
};
uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in);
uint32_t fuzz_u32(struct fuzz_in *in);
uint64_t fuzz_u64(struct fuzz_in *in);
/* At most n bytes of it, borrowed; how many. */
size_t fuzz_bytes(struct fuzz_in *in, size_t n, const uint8_t **data);
/* All up to the next NUL or the end, borrowed and not terminated; its length. */
size_t fuzz_text(struct fuzz_in *in, const char **text);

/* A copy with a NUL behind it; the caller frees. */
char *fuzz_string(const void *data, size_t size);

#endif
