/*
 * ipc.h - the message catalogue: everything that one role can say to another.
 *
 * Roles talk over SOCK_SEQPACKET pairs, strictly request and answer, with one
 * request open on a pair at a time; notes are never answered and few (their
 * uses are bounded), so nobody can block in send.  What a receiver accepts
 * stands in the rule table of ipc.c: who says it to whom, in which phase, how
 * large, with how many descriptors, how often.  A message that breaks its rule
 * ends the session.
 */
#ifndef POP3D_IPC_H
#define POP3D_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"
#include "mechs.h"

/* Changed whenever a message changes; the first message each way carries it. */
#define IPC_VERSION	9
#define IPC_MAX		4096 /* octets of a message, its header included */
#define IPC_HEADER	8    /* u16 type, u16 version or 0, u32 length of the payload */
#define IPC_PAYLOAD_MAX (IPC_MAX - IPC_HEADER)
#define IPC_FDS_MAX	32
#define IPC_BATCH_MAX	32 /* messages in one IPC_MESSAGE_ANSWER */

enum ipc_role {
	ROLE_MONITOR = 1,
	ROLE_SESSION,
	ROLE_AUTH,
	ROLE_MAILDROP,
	ROLE_DIGEST,
	ROLE_TLS,
	ROLE_KEEPER,
	ROLE_WRITER,   /* of upgraded hashes; it has no pair */
	ROLE_VERIFIER, /* of OAuth tokens: it starts a program, which has pipes to auth */
};

/* The phase of a session; the monitor owns it and takes nobody's word for it. */
enum ipc_phase {
	PH_AUTH = 1,  /* nobody is logged in */
	PH_OPEN = 2,  /* auth said yes; the maildrop role is opening */
	PH_TRANS = 4, /* logged in */
	PH_END = 8,   /* the session takes no more commands */
};

enum ipc_type {
	IPC_NONE,
	/* session and monitor */
	IPC_LOGIN_ASK,	  /* u8 mechanism; str login; str secret */
	IPC_LOGIN_ANSWER, /* u8 verdict; u8 close; u8 read_only; u64 count; u64 octets; u32
			     login_delay; u32 expire; fd: to the maildrop role */
	IPC_SESSION_END,  /* note: u8 reason; u64 retr, top, dele, octets sent, removed */
	IPC_PROXY, /* note, before all else: u8 ipc_proxy; u8 family (4, 6, 0); raw 16: address; u32
		      port; str what is wrong */
	IPC_SASL_ASK,	  /* u8 mechanism; u8 ipc_sasl_part bits; raw octets, decoded */
	IPC_SASL_ANSWER,  /* u8 ipc_sasl_kind; SASL_CHALLENGE: raw octets; SASL_VERDICT: as
			     IPC_LOGIN_ANSWER, and its fd */
	IPC_MECHS_ASK,	  /* u8 reserved: which mechanisms may be offered now? */
	IPC_MECHS_ANSWER, /* u32 enum conf_mech bits */
	/* monitor and auth */
	IPC_AUTH_ASK,	 /* the payload of IPC_LOGIN_ASK; fds: the user database (one, or passwd and
			    shadow; none: checkpassword) */
	IPC_AUTH_ANSWER, /* u8 verdict; u8 ipc_close bits; u32 uid, gid; u8 kind; u8 ipc_user bits;
			    u32 login_delay, expire; u64 show_after; str name, home, path, app, note
			  */
	IPC_AUTH_SASL_ASK,    /* the payload of IPC_SASL_ASK; fds: as IPC_AUTH_ASK */
	IPC_AUTH_SASL_ANSWER, /* u8 ipc_sasl_kind; SASL_CHALLENGE: raw octets; SASL_REFUSED: str
				 login, note, raw octets; SASL_VERDICT: as
				 IPC_AUTH_ANSWER */
	IPC_AUTH_START,	    /* note, to pop3d-auth or pop3d-gssapi: what the built-in auth role has
			       by fork; fd: the keytab */
	IPC_AUTH_DOMAINS,   /* note, to pop3d-auth: the keys domain.NAME.*: u32 how many; u64 bytes;
			       fd: of each name, maildrop, uid and gid, each with a NUL */
	IPC_AUTH_TLS,	    /* note: u8 ipc_binding; raw 32, 12: the bindings; str identity of the
			       client certificate; str domain of the server name */
	IPC_SECRETS_ASK,    /* u8 reserved: open the secrets file */
	IPC_SECRETS_ANSWER, /* u8 verdict (VERDICT_AUTH: there is none); fd */
	IPC_VERIFIER_ASK,   /* u8 reserved: start oauth_verifier */
	IPC_VERIFY, /* note, to the verifier role: u8 reserved; fds: to read the token from, to
		       write the answer to */
	IPC_VERIFIER_ANSWER, /* u8 verdict; fds: to write the token to, to read the answer from */
	IPC_BRAKE_KEY,	  /* note: raw 16: there are penalties; the key that names are hashed by */
	IPC_BRAKE_ASK,	  /* u8 operation; u64 hash of the address, hash of the user */
	IPC_BRAKE_ANSWER, /* u8 usable; u32 milliseconds to wait; raw 16: the key */
	IPC_UPGRADE, /* note, after a yes: str name, old hash, new hash; all empty: nothing to do */
	/* maildrop and monitor */
	IPC_DROP_READY,	     /* note: u8 verdict; u8 read_only; u64 count, octets; str why */
	IPC_DOTLOCK_ASK,     /* u8 operation */
	IPC_DOTLOCK_ANSWER,  /* u8 result; str why */
	IPC_DIGESTER_ASK,    /* u8 reserved */
	IPC_DIGESTER_ANSWER, /* u8 started; fd: to the digest helper */
	IPC_DROP_NOTE,	     /* note: u8 syslog level; str text */
	/* session and maildrop */
	IPC_LIST_ASK,	 /* u8 kind */
	IPC_LIST_ANSWER, /* u8 verdict; u64 bytes; fd: a sealed memfd of that size (maildrop.h) */
	IPC_MESSAGE_ASK, /* u64 idx; u8 at most so many from there on */
	IPC_MESSAGE_ANSWER, /* u8 verdict; u8 n; u8 shared; n records; fds: one (shared) or n */
	IPC_QUIT_ASK,	    /* u64 messages marked; fd where any bit is set: two bitmaps, sealed */
	IPC_QUIT_ANSWER,    /* u8 verdict; u64 removed */
	IPC_RETRIEVED, /* note: u64 messages retrieved; fd: as for QUIT_ASK. The end without QUIT */
	/* maildrop and digest helper */
	IPC_DIGEST_ASK,	   /* u8 kind; u64 n; fds: what to read, the items (sealed) */
	IPC_DIGEST_ANSWER, /* u8 verdict; u64 n; fd: n digests of 16 bytes, sealed */
	/* session and monitor, about TLS */
	IPC_UTF8,	      /* note: u8 1: the client has given UTF8 */
	IPC_TLS_OFFER_ASK,    /* u8 reserved: may STLS be offered? */
	IPC_TLS_OFFER_ANSWER, /* u8 offered */
	IPC_TLS_ASK,	      /* u8 reserved: the client was answered, take its socket over */
	IPC_TLS_ANSWER,	      /* u8 verdict; fd: the plaintext */
	/* tls and monitor */
	IPC_TLS_DONE,	 /* note: u32 version; u8 resumed; u8 ipc_binding; raw 32, 12; str cipher,
			    identity, server name */
	IPC_TLS_BROKEN,	 /* note: str why: the handshake failed by the client's doing */
	IPC_TLS_NOTE,	 /* note: u8 syslog level; str text */
	IPC_TLS_CHECKED, /* note: u8 good; u64 not before, not after, seconds; str why */
	IPC_PAIR_ASK,	 /* str server name: is there a certificate for it? */
	IPC_PAIR_ANSWER, /* u8 there is; fds: its certificates */
	/* keeper and monitor */
	IPC_KEEPER_PAIR, /* note: u8 reserved; fds: the keys for the server name that tls asked for
			  */
	IPC_KEEPER_NOTE, /* note: u8 syslog level; str text */
	/* tls and keeper */
	IPC_KEY_LOAD,	 /* note: u8 reserved: a signature will be asked for */
	IPC_KEY_ASK,	 /* raw public key (DER): is its private half here? */
	IPC_KEY_ANSWER,	 /* u8 verdict; str why */
	IPC_SIGN_ASK,	 /* u32 signature scheme; u32 length, raw public key; raw content */
	IPC_SIGN_ANSWER, /* u8 verdict; raw signature */
	IPC_OPEN_ASK,	 /* raw sealed ticket */
	IPC_OPEN_ANSWER, /* u8 verdict; raw state */
	IPC_SEAL_ASK,	 /* raw state */
	IPC_SEAL_ANSWER, /* u8 verdict; raw sealed ticket, IPC_SEAL_EXTRA octets longer */
	IPC_N_TYPES
};

enum ipc_verdict {
	VERDICT_OK,
	VERDICT_AUTH,	 /* [AUTH]: wrong credentials */
	VERDICT_TEMP,	 /* [SYS/TEMP] */
	VERDICT_PERM,	 /* [SYS/PERM] */
	VERDICT_IN_USE,	 /* [IN-USE] */
	VERDICT_CHANGED, /* this message is not what it was: [SYS/TEMP] */
	VERDICT_DELAY,	 /* [LOGIN-DELAY] */
	VERDICT_SYNTAX,	 /* a response that is none of this mechanism's: no failed login */
	VERDICT_UTF8,	 /* [UTF8]: this message is not given without it */
	VERDICT_TLS,	 /* the credentials are right, but this user has to come by TLS */
	VERDICT_N
};
/* What the PROXY header said; proxy.h has the first three. */
enum ipc_proxy {
	REPORT_CLIENT = 1,
	REPORT_UNKNOWN,
	REPORT_LOCAL,
	REPORT_BROKEN,	/* there was none, or no whole one */
	REPORT_NOTHING, /* the peer left without an octet, as a health check does */
	REPORT_N
};
/* Options of the user who logs in. */
enum ipc_user { /* bits */ USER_REQUIRE_TLS = 1, USER_READ_ONLY = 2, USER_BITS = 4 };
/* What of a TLS connection SCRAM can be bound to, RFC 9266 and RFC 5929. */
enum ipc_binding { /* bits */ BINDING_NONE = 0,
		   BINDING_EXPORTER = 1,
		   BINDING_UNIQUE = 2,
		   BINDING_N = 4 };
#define IPC_BINDING_LEN 32 /* tls-exporter */
#define IPC_UNIQUE_LEN	12 /* tls-unique */
#define IPC_SEAL_EXTRA	32
#define IPC_SASL_PIECE	3072 /* octets of a response in one message */
enum ipc_sasl_part {
	SASL_BEGINS = 1,      /* a new exchange */
	SASL_NO_RESPONSE = 2, /* ... without initial response */
	SASL_MORE = 4,	      /* further pieces of this response follow */
};
enum ipc_sasl_kind {
	SASL_GO_ON = 1,
	SASL_CHALLENGE,
	SASL_VERDICT,
	SASL_REFUSED, /* of auth alone: the credential was wrong, and the challenge says so */
};
enum ipc_close { /* bits of what stands behind AUTH's verdict */
		 CLOSE_IT = 1,
		 CLOSE_TOLD = 2, /* the failure was told by SASL_REFUSED */
};
enum ipc_brake {
	BRAKE_OPEN = 1, /* only the key */
	BRAKE_LOOK,	/* before a credential is looked at: how long to wait */
	BRAKE_FAILED,	/* it was wrong */
	BRAKE_PASSED,	/* it was right: what BRAKE_LOOK took is given back */
};
#define IPC_BRAKE_REFUSED UINT32_MAX /* to wait: the credential is not to be looked at */
enum ipc_dotlock {
	DOTLOCK_MAKE = 1,
	DOTLOCK_REMOVE = 2,
	DOTLOCK_TAKE_OVER = 3, /* the mailbox's own locks were free: an old foreign one may go */
};
enum ipc_dotlock_result { DOTLOCK_DONE, DOTLOCK_BUSY, DOTLOCK_DENIED, DOTLOCK_FAILED };
enum ipc_list { LIST_OCTETS = 1, LIST_UIDLS = 2 };
enum ipc_reason { /* why a session ended, for the log */
		  END_QUIT,
		  END_LOST,	/* the client went away */
		  END_IDLE,	/* autologout */
		  END_STALLED,	/* the client did not take an answer */
		  END_REFUSED,	/* too many refused commands or failed logins */
		  END_SHUTDOWN, /* the monitor ended it */
		  END_FAILED,	/* the maildrop failed, or a message could not be finished */
		  END_N
};

/* One message: filled by the putters and sent, or received and read by the getters. */
struct ipc_msg {
	enum ipc_type type;
	size_t len; /* octets of payload */
	size_t pos; /* next to get */
	bool bad;   /* a put did not fit, or a get went past the end */
	int fds[IPC_FDS_MAX];
	unsigned n_fds; /* owned by the message until taken or sent */
	uint8_t payload[IPC_PAYLOAD_MAX];
};

void ipc_start(struct ipc_msg *m, enum ipc_type type);
void ipc_put_u8(struct ipc_msg *m, uint8_t v);
void ipc_put_u32(struct ipc_msg *m, uint32_t v);
void ipc_put_u64(struct ipc_msg *m, uint64_t v);
/* A string of at most 4 000 octets, with its length. */
void ipc_put_str(struct ipc_msg *m, const char *s, size_t len);
void ipc_put_raw(struct ipc_msg *m, const void *data, size_t len);
/* Attach a descriptor; it stays the caller's, who closes it after sending. */
void ipc_put_fd(struct ipc_msg *m, int fd);

/* Getters return 0 or "" and set m->bad where the message is too short. */
uint8_t ipc_get_u8(struct ipc_msg *m);
uint32_t ipc_get_u32(struct ipc_msg *m);
uint64_t ipc_get_u64(struct ipc_msg *m);
/* Into out[size], NUL-terminated; a string with a NUL inside or above size - 1 is bad. */
size_t ipc_get_str(struct ipc_msg *m, char *out, size_t size);
/* The next len octets, borrowed from the message; NULL (and bad) where there are fewer. */
const uint8_t *ipc_get_raw(struct ipc_msg *m, size_t len);
/* Octets not yet got. */
size_t ipc_left(const struct ipc_msg *m);
/* Take the next descriptor; the caller closes it.  -1 (and bad) where there is none. */
int ipc_take_fd(struct ipc_msg *m);
/* 0 where all was read and nothing was bad, else POP_E_CORRUPT; untaken descriptors are closed. */
int ipc_end(struct ipc_msg *m);
/* Close untaken descriptors and wipe the payload. */
void ipc_wipe(struct ipc_msg *m);

/* One end of a pair. */
struct ipc {
	int fd; /* -1: closed */
	enum ipc_role self, peer;
	enum ipc_phase phase;	    /* kept by the owner of this end */
	enum ipc_type awaited;	    /* the answer to my open request, or IPC_NONE */
	enum ipc_type owed;	    /* the answer I have to give, or IPC_NONE */
	bool sent_one, got_one;	    /* the version has passed */
	bool broken;		    /* the peer has broken a rule, or sent nonsense */
	uint32_t uses[IPC_N_TYPES]; /* received so far */
};
void ipc_init(struct ipc *c, int fd, enum ipc_role self, enum ipc_role peer, enum ipc_phase phase);
void ipc_close(struct ipc *c);
/* A new pair, both ends CLOEXEC.  0 or POP_E_SYS. */
int ipc_pair(int ends[2]);

/*
 * Send, without ever waiting for room: only a peer that breaks the order of request
 * and answer leaves none.  0, POP_E_EOF (the peer is gone), POP_E_CORRUPT (we are about
 * to break a rule ourselves: wrong order, or something did not fit), POP_E_SYS.  Secrets
 * in the payload are the caller's to wipe.
 */
int ipc_send(struct ipc *c, struct ipc_msg *m);

/*
 * Wait for one message and check it against its rule.  0, POP_E_EOF (orderly
 * end), POP_E_VERSION, POP_E_CORRUPT (a broken rule), POP_E_SYS.
 */
int ipc_recv(struct ipc *c, struct ipc_msg *m);

/* Send a request and wait for its answer. */
int ipc_call(struct ipc *c, struct ipc_msg *m);

/* For logs: "LOGIN_ASK", "session". */
const char *ipc_type_name(enum ipc_type type);
const char *ipc_role_name(enum ipc_role role);

#endif
