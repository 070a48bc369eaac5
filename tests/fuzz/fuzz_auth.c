/*
 * fuzz_auth.c - the auth role with every mechanism, told things by a monitor
 * that passes on what a hostile client says, or lies itself.
 *
 * Input: octet 0: how; then packets (fed_ipc.h).
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "fed_ipc.h"
#include "../../pop3d/auth_digest.h"
#include "password.h"

/* a hash takes its time on purpose: here the password stands in its place */
static unsigned judged_right;
static int fast_verify(const char *password, const char *hash)
{
	bool right = strcmp(password, "secret") == 0 && hash[0] == '$';

	judged_right += right;
	return right;
}
static int fast_dummy(const char *password)
{
	(void)password;
	return 0;
}
static int fast_hash(const char *password, char *out, size_t size)
{
	(void)password;
	MUST(size > 8);
	memcpy(out, "$y$new", 7);
	return 0;
}
#define password_verify	      fast_verify
#define password_verify_dummy fast_dummy
#define password_hash	      fast_hash
#include "../../pop3d/auth_judge.c"
#include "../../pop3d/auth_app.c"
/* nobody waits */
#define poll(fds, n, ms) ((void)(fds), (void)(ms), 1)
#include "../../pop3d/auth_run.c"

enum { LIAR = 1, SYSTEM = 2, NO_SECRETS = 4, UPGRADE = 8, BRAKE = 16, DOMAIN = 32 };

static const char users[] = "alice:$6$a$b:1000:1000::/home/alice:/bin/sh:\n"
			    "bob@example.org:!$6$a$b:1001:1001::/home/bob:/bin/sh:\n"
			    "carol:$6$a$b:bin:1000::/:/:nologin\n"
			    "dora:$6$a$b:1002:1002:::/:maildrop=maildir:~/M\n";
static const char shadow[] = "alice:$6$a$b:19000::::::\n";
static const char secrets[] =
	"/:KEY:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	"alice:APOP:c2VjcmV0\n"
	"alice:APP:phone,0,$6$x$y\n"
	"alice:CRAM-MD5:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	"alice:SCRAM-SHA-1:4096,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAA="
	"\n"
	"alice:SCRAM-SHA-256:4096,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,"
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

static struct {
	uint8_t how;
	enum ipc_type asked;	   /* by auth, and not answered yet */
	unsigned mechanism;	   /* of the question in hand */
	unsigned answers, refused; /* verdicts so far; wrong ones */
	unsigned right_before;
} world;

/* What the monitor answers where it is honest. */
static bool answer_auth(int fd, struct ipc_msg *m)
{
	(void)fd;
	if (world.asked == IPC_NONE || (world.how & LIAR))
		return false;
	ipc_start(m, world.asked == IPC_SECRETS_ASK ? IPC_SECRETS_ANSWER : IPC_BRAKE_ANSWER);
	if (m->type == IPC_BRAKE_ANSWER) {
		ipc_put_u8(m, 1);
		ipc_put_u32(m, world.refused > 5 ? IPC_BRAKE_REFUSED : 0);
		ipc_put_raw(m, "0123456789abcdef", 16);
	} else {
		ipc_put_u8(m, world.how & NO_SECRETS ? VERDICT_AUTH : VERDICT_OK);
		if (!(world.how & NO_SECRETS))
			ipc_put_fd(m, dup(fuzz_file(1, secrets, sizeof(secrets) - 1)));
	}
	world.asked = IPC_NONE;
	return true;
}

/* The user database comes with every question, whatever the input says. */
static ssize_t hear(struct ipc *c, struct ipc_msg *m)
{
	int err = ipc_recv(c, m);

	if (err < 0 || (m->type != IPC_AUTH_ASK && m->type != IPC_AUTH_SASL_ASK))
		return err;
	close_fds(m);
	m->fds[m->n_fds++] = dup(fuzz_file(0, users, sizeof(users) - 1));
	if (world.how & SYSTEM)
		m->fds[m->n_fds++] = dup(fuzz_file(2, shadow, sizeof(shadow) - 1));
	world.mechanism = m->payload[0];
	world.right_before = judged_right;
	return 0;
}

/* Yes is said to whoever knew a password, and to nobody else. */
static void judge(const uint8_t *p, size_t len)
{
	MUST(len >= 2 && p[0] < VERDICT_N);
	world.answers++;
	world.refused += p[0] == VERDICT_AUTH && !(p[1] & CLOSE_TOLD);
	if (p[0] == VERDICT_OK) {
		uint32_t uid;

		memcpy(&uid, p + 2, 4);
		MUST(uid == 1000 || uid == 1002);
		MUST(world.mechanism == SASL_EXTERNAL || judged_right > world.right_before);
	}
	if (p[0] == VERDICT_AUTH)
		MUST((p[1] & CLOSE_IT) == (world.refused >= 3));
}

static void said(int fd, enum ipc_type type, const uint8_t *payload, size_t len, unsigned n_fds)
{
	(void)fd;
	MUST(n_fds == 0);
	if (type == IPC_SECRETS_ASK || type == IPC_BRAKE_ASK)
		world.asked = type;
	else if (type == IPC_AUTH_ANSWER)
		judge(payload, len);
	else if (type == IPC_AUTH_SASL_ANSWER && payload[0] == SASL_VERDICT)
		judge(payload + 1, len - 1);
	else if (type == IPC_AUTH_SASL_ANSWER && payload[0] == SASL_REFUSED)
		world.refused++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char separators[] = "@+", domain[] = "example.org", none[] = "",
		    maildrop[] = "mbox:/var/mail/%u", path[] = "/etc/pop3d/users";
	static const struct auth_mech digests[] = {
		{ SASL_CRAM_MD5, auth_step_cram },
		{ SASL_SCRAM_SHA_1, auth_step_scram },
		{ SASL_SCRAM_SHA_256, auth_step_scram },
		{ SASL_SCRAM_SHA_1_PLUS, auth_step_scram },
		{ SASL_SCRAM_SHA_256_PLUS, auth_step_scram },
	};
	struct conf conf = { .users = path,
			     .user_separators = separators,
			     .maildrop = maildrop,
			     .hostname = domain,
			     .max_auth_failures = 3,
			     .auth_mechanisms = 255 };
	struct auth_start start = { .conf = &conf,
				    .address = "192.0.2.1",
				    .apop = "<1.2@x>",
				    .digests = digests,
				    .n_digests = sizeof(digests) / sizeof(digests[0]),
				    .apop_step = auth_apop };
	struct auth *a = &auth;
	struct ipc_msg m;
	int err;

	memset(&world, 0, sizeof(world));
	world.how = size ? data[0] : 0;
	fed_begin(data + (size > 0), size - (size > 0));
	fed.said = said;
	fed.answer = answer_auth;
	conf.default_domain = world.how & DOMAIN ? domain : none;
	conf.password_upgrade = world.how & UPGRADE;
	memset(a, 0, sizeof(*a));
	a->start = &start;
	a->conf = &conf;
	a->braked = world.how & BRAKE;
	ipc_init(&a->monitor, fed_fd(), ROLE_AUTH, ROLE_MONITOR, PH_AUTH);
	do { /* as auth_run() does */
		err = (int)hear(&a->monitor, &m);
		if (err == 0)
			err = m.type == IPC_AUTH_TLS	? take_tls(a, &m)
			      : m.type == IPC_BRAKE_KEY ? take_brake(a, &m)
							: answer(a, &m);
	} while (err == 0);
	auth_sasl_end(a);
	ipc_close(&a->monitor);
	return 0;
}
