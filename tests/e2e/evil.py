"""Roles that were taken over: what test_evil_session.py and test_evil_roles.py share."""
import fcntl
import os
import struct
import time

import common
import hooked
from common import PASSWORD, simple_message
from hooked import NUMBER, Stage

MAIL = [simple_message(number, 100 * number) for number in range(1, 12)]
OTHERS = [b"Subject: secret\n\nfor bob's eyes only\n"]
OK, AUTH, TEMP, PERM = 0, 1, 2, 3  # enum ipc_verdict
USERPASS, APOP, PLAIN, LOGIN, CRAM = 1, 2, 3, 4, 5  # enum ipc_mechanism
SCRAM_PLUS, EXTERNAL = 9, 10
BEGINS, NO_RESPONSE = 1, 2
MBOX, MAILDIR = 1, 2  # enum maildrop_kind

SEALS = 1 | 2 | 4 | 8  # SEAL, SHRINK, GROW, WRITE
ADD_SEALS, FUTURE_WRITE = 1033, 16

ALL = os.environ.get("POP3D_SEAM") == "all"
RULES = hooked.rules()
TYPE = {rule.name: rule.number for rule in RULES.values()}


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("=H", len(value)) + value


def login_ask(login="alice", secret=PASSWORD, mechanism=USERPASS):
    return bytes([mechanism]) + text(login) + text(secret)


def sealed(data, seals=SEALS):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    if seals:
        fcntl.fcntl(fd, ADD_SEALS, seals)
    return fd


def dummy(rule):
    """A message of this type, as the table wants it: payload, descriptors."""
    return bytes(rule.least), [2] * rule.fds_least


class Evil(common.Case):
    ROLE = "session"

    def stage(self, kind="mbox", mail=None, **options):
        """A site whose sessions have the puppet; alice has mail, and bob."""
        site = hooked.HookedSite(**options)
        self.addCleanup(self._end_site, site)
        site.add_user("alice", kind, MAIL if mail is None else mail)
        site.add_user("bob", "mbox", OTHERS)
        return site

    def begin(self, site, *args, **options):
        """A session; its puppet comes by stage.puppet()."""
        self.mark = site.log.stat().st_size
        stage = Stage(site, self.ROLE)
        self.addCleanup(stage.close)
        return site.start(*args, **options), stage

    def start(self, site, *args, **options):
        """A session and its puppet, which is there from the start."""
        session, stage = self.begin(site, *args, **options)
        return session, stage.puppet()

    def log(self, site):
        return site.log_since(self.mark)

    def finish(self, site, session, puppet, attempt, word=None, logged_in=False,
               lingers=False):
        """The session is over; one line says why, nobody was let in, nothing was lost."""
        session.close()
        puppet.end()
        session.wait(None, 12)
        site.sessions.remove(session)
        log = self.log(site)
        if word is not None:
            self.assertEqual(len([line for line in log if word in line]), 1, (attempt, log))
        for line in log:
            for bad in ("killed by signal", "runtime error", "Sanitizer", "does not end"):
                self.assertFalse(bad in line and not lingers, (attempt, line))
        names = [line for line in log if line.startswith("login ")]
        self.assertEqual(len(names), 1 if logged_in else 0, (attempt, log))
        common.poll("the lock is free", lambda: common.lock_is_free(site.lock_path()), 2)
        print("refused: %s: %s" % (self.ROLE, attempt))

    def broken(self, site, pair, session, puppet, attempt, role=None, **options):
        """The other side has ended the session at once, and says that this role is to blame."""
        began = time.monotonic()
        self.assertTrue(pair.ended(8), "not refused: " + attempt)
        self.assertLess(time.monotonic() - began, 4, attempt)
        self.finish(site, session, puppet, attempt,
                    "the %s role broke the message protocol" % (role or self.ROLE), **options)

    def foreign(self, receiver):
        """Types that this role may not say to that one: some, or POP3D_SEAM=all of them."""
        all_ = [rule for rule in RULES.values()
                if (rule.sender, rule.receiver) != (NUMBER[self.ROLE], NUMBER[receiver])]
        step = 1 if ALL else 9 if common.SANITIZED else 3
        return all_[NUMBER[self.ROLE] % step::step]


def verdict(message):
    """verdict, close, messages, descriptors of a LOGIN_ANSWER."""
    number, payload, fds = message
    assert number == TYPE["LOGIN_ANSWER"], message
    code, close, _, count = struct.unpack_from("=BBBQ", payload)
    return code, close, count, fds
