#!/usr/bin/env python3
"""Memory, processes and descriptors that are not to be had, at every moment of a session.

Each role's calls are counted in a whole session; then the session is run again for every
one of them, and this one fails.  POP3D_FAULTS=all: and once more with every later one
failing too.  Under sanitizers it is every third.
"""
import contextlib
import hashlib
import os
import re
import resource
import time

import common
import hooked
from common import HOSTNAME, PASSWORD, simple_message
from hooked import FILES, FORK, MEMORY, NUMBER
from test_tls import Authority, context

ALL = os.environ.get("POP3D_FAULTS") == "all"
STEP = 3 if common.SANITIZED and not ALL else 1
MAIL = [simple_message(number, 300 * number) for number in range(1, 4)]
KEPT = [MAIL[0], MAIL[2]]
LOGIN = ["USER alice", "PASS " + PASSWORD]
WORK = ["STAT", "LIST", "RETR 1", "UIDL", "TOP 3 1", "DELE 2", "QUIT"]
MULTI = {"LIST", "UIDL", "RETR 1", "TOP 3 1"}
LONGEST = 15.0  # seconds: the deadline of a session in which something is missing


def answers(raw, login):
    """What came, parted: {command: first line}; "greeting" is a command too."""
    found = {}
    for command in ["greeting"] + login + WORK:
        line, end, raw = raw.partition(b"\r\n")
        if not end:
            break
        found[command] = line
        if command in MULTI and line.startswith(b"+OK"):
            _, end, raw = (b"\r\n" + raw).partition(b"\r\n.\r\n")
            if not end:
                break
    return found


class Plain:
    """How a client comes to its mail: on the socket as it is, by USER and PASS."""
    name, options, roles = "", {}, ()

    def prepare(self, site):
        """Before the first session."""

    def begin(self, site, **options):
        """A session, and its login: commands that can all be sent at once."""
        return site.start(**options), LOGIN

    def send(self, session, data):
        session.send(data)

    def receive(self, session):
        """What has come until the server closed; None: not all yet."""
        if not session.at_end:
            session._fill(1)
        return session.buffer if session.at_end else None


class Apop(Plain):
    """By pop3d-auth, which works with secrets and OpenSSL's digests."""
    name, options = "APOP, ", {"apop": "yes"}

    def prepare(self, site):
        site.admin("user", "passwd", "--apop", "alice", stdin=PASSWORD.encode() + b"\n")

    def begin(self, site, **options):
        session = site.start(**options)
        while b"\n" not in session.buffer and not session.at_end:
            session._fill(1)
        stamp = re.search(rb"<.*>", session.buffer)
        digest = hashlib.md5((stamp[0] if stamp else b"") + PASSWORD.encode()).hexdigest()
        return session, ["APOP alice " + digest]


class Tls(Plain):
    """TLS from the first octet; the tls role and the keeper belong to it."""
    name, roles = "TLS, ", ("tls", "keeper")

    def prepare(self, site):
        where = site.top / "tls"
        where.mkdir(mode=0o700)
        site.authority = Authority(where)
        chain, key = site.authority.issue("server")
        site.configure(tls_certificate=chain, tls_key=key)

    def begin(self, site, **options):
        session = site.start("-s", transport="tcp", **options)
        session.keep[0].settimeout(LONGEST)
        session.tls = None
        with contextlib.suppress(OSError):
            session.tls = context(site).wrap_socket(session.keep[0], server_hostname=HOSTNAME,
                                                    suppress_ragged_eofs=False)
            session.keep = [session.tls]
        return session, LOGIN

    def send(self, session, data):
        with contextlib.suppress(OSError):
            if session.tls:
                session.tls.sendall(data.encode())

    def receive(self, session):
        try:
            got = session.tls.recv(65536) if session.tls else b""
        except TimeoutError:
            session.fail("no end")
        except OSError:
            got = b""
        session.buffer += got
        return None if got else session.buffer


class Faults(common.Case):
    way = Plain()

    def hooked(self, kind, **options):
        site = hooked.HookedSite(**options, **self.way.options)
        self.addCleanup(self._end_site, site)
        site.add_user("alice", kind, MAIL)
        self.way.prepare(site)
        self.before = site.content(site.users["alice"])
        self.times = [0.0]
        return site

    def session(self, site, **options):
        """The script, all at once; what the server said until it closed."""
        began = time.monotonic()
        mark = site.log.stat().st_size
        session, login = self.way.begin(site, **options)
        self.way.send(session, "".join(command + "\r\n" for command in login + WORK))
        raw = self.way.receive(session)
        while raw is None:
            if time.monotonic() - began > LONGEST:
                session.fail("no end")
            raw = self.way.receive(session)
        session.close()
        session.wait(None, LONGEST)
        site.sessions.remove(session)
        self.times.append(time.monotonic() - began)
        self.commands = ["greeting"] + login + WORK
        return answers(raw, login), site.log_since(mark)

    def judge(self, site, got, log):
        """Nothing is left, nothing was deleted that the client did not delete."""
        alice = site.users["alice"]
        said = {command: line.startswith(b"+OK") for command, line in got.items()}
        now = site.content(alice)
        if alice.kind == "mbox":
            kept = now == common.mbox(KEPT)
        else:
            kept = sorted(now.values()) == sorted(KEPT)
        deleted = said.get("DELE 2") and kept
        self.assertTrue(deleted or now == self.before, "the maildrop is damaged: %s" % log)
        if said.get("QUIT") and said.get("DELE 2"):
            self.assertTrue(deleted, "+OK, and nothing deleted: %s" % log)
        for line in log:
            for word in ("killed by signal", "runtime error", "Sanitizer", "does not end"):
                self.assertNotIn(word, line)
        common.poll("the lock is free", lambda: common.lock_is_free(site.lock_path()), 2)
        self.assertEqual(list((site.top / "mail").rglob("*.lock")), [])
        self.assertEqual(list((site.top / "state").glob("*/journal*")), [])
        if now != self.before:
            site.fill(alice, MAIL)
            self.before = site.content(alice)
        return said

    def whole(self, site, **options):
        """A session without a fault: everything is answered +OK."""
        site.page.want()
        got, log = self.session(site, **options)
        said = self.judge(site, got, log)
        self.assertEqual([c for c in self.commands if not said.get(c)], [], log)

    def sweep(self, site, what, roles, name, on=0):
        """Every time, one after the other."""
        self.whole(site)
        roles += self.way.roles
        counts = {role: site.page.tried(NUMBER[role], what) for role in roles}
        clean = total = 0
        for role, count in counts.items():
            for nth in range(1, count + 1, STEP):
                site.page.want(fail=(NUMBER[role], what, nth, on))
                with self.subTest(kind=site.users["alice"].kind, role=role, nth=nth, on=on):
                    got, log = self.session(site)
                    total += 1
                    self.judge(site, got, log)
                    common.poll("no process is left", site._reaped)
                    clean += 1
        self.whole(site)
        print("%s%s, %s%s: %d of %d ended cleanly (%s), the slowest in %.1f s" % (
            self.way.name, name, site.users["alice"].kind, ", each later one failing too" if on else "",
            clean, total, ", ".join("%s %d" % item for item in counts.items()),
            max(self.times)))
        self.assertGreater(total, 0)

    def both(self, what, roles, name):
        for kind in ("mbox", "maildir"):
            for on in (0, 1) if ALL else (0,):
                self.sweep(self.hooked(kind), what, roles, name, on)

    def test_memory(self):
        """malloc(3) and its like, mmap(2)."""
        self.both(MEMORY, ("monitor", "session", "auth", "maildrop"), "memory")

    def test_fork(self):
        self.both(FORK, ("monitor",), "fork")

    def test_descriptors(self):
        """open(2) and its like, socketpair(2), memfd_create(2)."""
        self.both(FILES, ("monitor", "session", "auth", "maildrop"), "descriptors")

    def by(self, way, kind):
        """All three, of an mbox: what comes after the login is the same."""
        self.way = way
        everyone = ("monitor", "session", "auth", "maildrop")
        for what, roles, name in ((MEMORY, everyone, "memory"), (FORK, ("monitor",), "fork"),
                                  (FILES, everyone, "descriptors")):
            for on in (0, 1) if ALL else (0,):
                self.sweep(self.hooked(kind), what, roles, name, on)

    def test_apop(self):
        self.by(Apop(), "mbox")

    def test_tls(self):
        self.by(Tls(), "mbox")

    def test_few_descriptors(self):
        """Started with room for 3, 4, 5, ... descriptors."""
        for kind in ("mbox", "maildir"):
            site = self.hooked(kind)
            whole = 0
            for limit in range(8 if common.SANITIZED else 3, 25):  # LeakSanitizer needs some
                def few(limit=limit):
                    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
                with self.subTest(kind=kind, limit=limit):
                    got, log = self.session(site, preexec=few)
                    whole += bool(self.judge(site, got, log).get("QUIT"))
            self.assertGreater(whole, 0)
            self.whole(site)


if __name__ == "__main__":
    common.main()
