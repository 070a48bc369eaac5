/*
 * net.h - the session role: what its files share.
 *
 * The session is the only role that reads the client.  It runs as
 * unprivileged_user in the empty root and can only ask.
 */
#ifndef POP3D_NET_H
#define POP3D_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "ipc.h"
#include "maildrop.h"
#include "role.h"

#define NET_LINE_MAX	 255   /* octets of a command line with CRLF, RFC 2449 section 4 */
#define NET_RESPONSE_MAX 12288 /* octets of a response line of AUTH, RFC 5034 section 4 */
#define NET_ERRS_MAX	 20    /* refused commands in a row before login */
#define NET_BLOCK	 65536 /* octets read of a message at once; one write where an answer fits */
#define NET_OUT_SIZE	 (NET_BLOCK * 3 + 16)
#define NET_IN_SIZE	 65536

/* What a handler says to the command loop. */
enum reply {
	REPLY_OK,   /* answered +OK */
	REPLY_ERR,  /* answered -ERR */
	REPLY_END,  /* answered; the session is over: see net.reason */
	REPLY_FAIL, /* cannot go on, nothing more is to be written: see net.reason */
};

/* The client's connection and its buffers. */
struct net_io {
	int in, out;
	bool socket;	/* out is one: send() can be told not to wait */
	int wait_ms;	/* idle_timeout */
	int watch[2];	/* pairs whose end ends the session; -1: none */
	bool skipping;	/* the rest of a too long line is being dropped */
	bool cut;	/* an answer was not sent whole: nothing may follow it */
	uint64_t reads; /* how often the client was heard, each time after it had its answers */
	size_t in_start, in_end;
	size_t out_len;
	uint64_t sent; /* octets */
	uint8_t in_buf[NET_IN_SIZE];
	uint8_t out_buf[NET_OUT_SIZE];
};

/* A list from the maildrop role, mapped: sealed, so it cannot shrink under us. */
struct net_list {
	const void *data;
	size_t size;
};

/* Where messages are that the maildrop role has verified. */
struct net_window {
	uint64_t first; /* idx of the first record */
	unsigned n, next_n;
	bool shared; /* one descriptor for all */
	int fds[IPC_BATCH_MAX];
	int head_fd; /* of the only record, where it has another header section */
	struct maildrop_message records[IPC_BATCH_MAX];
};

struct net {
	const struct net_start *start;
	const struct conf *conf;
	struct ipc monitor, drop;
	enum ipc_phase phase;
	enum ipc_reason reason;
	unsigned errs; /* refused commands in a row */
	char login[NET_LINE_MAX + 1];
	bool has_login;	 /* USER was given */
	bool utf8;	 /* UTF8 was given */
	size_t language; /* place in languages (net_text.h) */
	bool mechs_known;
	uint32_t mechs; /* enum conf_mech bits; net_mechs() */
	enum { STLS_NO, STLS_UNKNOWN, STLS_OFFERED, STLS_DONE } stls;
	bool read_only;
	uint32_t login_delay, expire; /* of whoever is logged in; before, of the configuration */
	uint64_t count, octets;	      /* as opened */
	uint64_t deleted, deleted_octets;
	bool keeps_seen; /* retrieved messages are told to the maildrop role */
	uint64_t seen;	 /* messages retrieved */
	/*
	 * Bitmaps of count bits: deleted, retrieved and, where keeps_seen, what was sent but
	 * maybe not yet taken; the client has it once it was heard again (io.reads).
	 */
	uint8_t *maps;
	size_t map_size;	   /* bytes of one */
	size_t sent_from, sent_to; /* bytes of the third with bits set: [from, to) */
	uint64_t sent_reads;	   /* io.reads when the last of them was answered */
	struct net_list list, uidls;
	unsigned lists_asked; /* how often, for both */
	struct net_window window;
	uint64_t n_retr, n_top, n_dele, n_removed;
	struct net_io io;
};

/* net_io.c */
void net_io_init(struct net_io *io, int in, int out, int wait_ms, int watch);
/*
 * Read one command line.
 *
 *   line   out, line[NET_RESPONSE_MAX]: without its line end, NUL-terminated;
 *          written only on success
 *
 * What waits to be sent is sent before this waits for the client.  Returns the
 * length, or POP_E_LONG (over 255 octets, for AUTH over 12 288; read to its end), POP_E_SYNTAX (NUL
 * or bare CR inside), POP_E_EOF (the client is gone), POP_E_TIME (idle_timeout without a whole
 * line), POP_E_DENIED (a watched pair ended). Source: RFC 1939 section 3, RFC 2449 section 4.  A
 * bare LF ends a line too.  RFC 5034 wants a long initial response to be sent alone; many clients
 * put it into the line of AUTH.
 */
int net_read_line(struct net_io *io, char *line);
/* The same for a response of AUTH: line[NET_RESPONSE_MAX], at most 12 288 octets with CRLF. */
int net_read_response(struct net_io *io, char *line);
/* Room for n octets (at most NET_OUT_SIZE), after sending what is in the way.  NULL: as
 * net_flush(). */
uint8_t *net_out_room(struct net_io *io, size_t n, int *err);
/* Send all.  0, POP_E_EOF, POP_E_TIME (the client took nothing for idle_timeout), POP_E_DENIED. */
int net_flush(struct net_io *io);
/* Wait until the client has sent something.  0, POP_E_TIME, POP_E_DENIED, POP_E_SYS. */
int net_wait_input(struct net_io *io, int64_t until_ms);
/* Shut for writing, then read and drop until the client closes (64 KB or 2 s). */
void net_drain(struct net_io *io);

/* net_reply.c: status lines.  They return REPLY_OK, REPLY_ERR or REPLY_FAIL. */
enum reply net_ok(struct net *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum reply net_err(struct net *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Text as it is; REPLY_OK or REPLY_FAIL. */
enum reply net_put(struct net *n, const void *data, size_t len);
/* The decimal digits of v into out[20]; how many. */
size_t net_digits(uint64_t v, uint8_t *out);
/* The connection or a pair failed with err: set the reason. */
enum reply net_fail(struct net *n, int err);
/* The maildrop role or the monitor is gone: say so, and end; silently behind half an answer. */
enum reply net_gone(struct net *n);
/*
 * Ask the maildrop role and wait for its answer.  0, POP_E_EOF, POP_E_CORRUPT (it broke a
 * rule, its version among them), POP_E_SYS.
 */
int net_ask_drop(struct net *n, struct ipc_msg *m);

/* net_proxy.c: read the PROXY header and report it.  0, or as net_read_line(). */
int net_proxy(struct net *n);

/* net_stls.c: from here on the client is behind the tls role.  0, or a negative code. */
int net_enter_tls(struct net *n);

/* net_run.c: the connection ended with err while a line of the client was awaited. */
enum reply net_no_line(struct net *n, int err);

/* net_cmd.c: the verbs.  A line may have been refused already (err < 0). */
enum reply net_command(struct net *n, char *line, int err);

/* What a handler gets: the words behind the verb, not yet judged. */
struct net_args {
	char *word[2];
	size_t len[2];
	int n;
};
typedef enum reply net_handler(struct net *n, const struct net_args *args);

/* net_auth.c: AUTHORIZATION. */
net_handler cmd_user, cmd_pass, cmd_apop, cmd_capa;
/* Which mechanisms are offered now (enum conf_mech bits); asks the monitor where it may differ. */
uint32_t net_mechs(struct net *n);
/* The verdict on a login, as IPC_LOGIN_ANSWER has it, is next in m: answer the client. */
enum reply net_finish_login(struct net *n, struct ipc_msg *m);
/* net_lang.c: UTF8 and LANG. */
net_handler cmd_utf8, cmd_lang;
/*
 * A name or password of USER, PASS or APOP as RFC 6856 section 2.2 wants it: one with
 * 8-bit octets is prepared, into out.  False: it is to be refused.
 */
bool net_prepare(const struct net *n, const char *text, size_t len, char *out, size_t size);
/* net_sasl.c: AUTH. */
net_handler cmd_auth;
/* The names of mechs with a blank before each, into out; its length. */
size_t net_mech_words(uint32_t mechs, const char *before, char *out, size_t size);
/* net_stls.c: STLS.  May it be used now?  Asks the monitor once. */
bool net_stls_offered(struct net *n);
net_handler cmd_stls;
/* net_trans.c: TRANSACTION. */
net_handler cmd_stat, cmd_dele, cmd_noop, cmd_rset, cmd_quit;
/* net_list.c */
net_handler cmd_list, cmd_uidl;
/* net_retr.c */
net_handler cmd_retr, cmd_top;

/* net_trans.c: a message number of an undeleted message; 0, or answered -ERR (*reply). */
int net_msgno(struct net *n, const char *word, size_t len, uint64_t *idx, enum reply *reply);
bool net_is_deleted(const struct net *n, uint64_t idx);
/* A message was answered whole; it is retrieved once the client was heard again. */
void net_mark_sent(struct net *n, uint64_t idx);
/* A line of the client's has come: what was sent before it was heard is retrieved. */
void net_confirm_sent(struct net *n);
/* The session ends without QUIT: tell the maildrop role what was retrieved. */
void net_tell_retrieved(struct net *n);
/* net_list.c: octets of a message; 0 or a negative code. */
int net_octets(struct net *n, uint64_t idx, uint64_t *octets);

#endif
