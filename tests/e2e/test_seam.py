#!/usr/bin/env python3
"""Every message of whole sessions, said wrongly once: the other side ends the session.

The scenarios are run with the real roles; tests/hooked/wrong_ipc.c says the Nth message
from one role to another with a defect, made from the rule table.  So each message is said
wrongly in each direction and in the state in which it comes; what no scenario has is named.

Some of the defects for each message, in turn; POP3D_SEAM=all: every one.
"""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import shutil
import signal
import socket
import time

import common
import hooked
from common import AS_ROOT, PASSWORD, simple_message
from hooked import NUMBER, ROLES
from test_tls import Authority, context

ALL = os.environ.get("POP3D_SEAM") == "all"
MAIL = [simple_message(number, 300 * number) for number in range(1, 4)]
RULES = hooked.rules()

DEFECTS = ("TYPE", "SHORT", "LONG", "LENGTH", "LENGTH_HUGE", "NO_HEADER", "NOTHING", "ABOVE_4K",
           "FDS_MORE", "FDS_LESS", "FDS_FLOOD", "VERSION", "TWICE", "USES", "ENDLESS", "TAIL",
           "CUT", "OCTETS", "OCTET", "FD_KIND")


# What whole runs found, and the sampled ones are never to leave out.
ALWAYS = {("LIST_ANSWER", "VERSION"), ("LIST_ANSWER", "NOTHING"), ("MESSAGE_ANSWER", "VERSION"),
          ("LOGIN_ANSWER", "TWICE"), ("MECHS_ANSWER", "TWICE"), ("TLS_OFFER_ANSWER", "TWICE"),
          ("TLS_ANSWER", "TWICE")}


def defects(rule):
    """What can be wrong with this message: (name, arg, does it break the table's rules?).
    Where it does not the receiver judges the values, and may take them."""
    yield "TYPE", 0, True
    yield "TYPE", len(RULES) + 1, True
    for other in RULES.values():
        if (other.sender, other.receiver) != (rule.sender, rule.receiver):
            yield "TYPE", other.number, True
        elif other.number != rule.number:
            yield "TYPE", other.number, False  # it may be in order there
    if rule.least > 0:
        yield "SHORT", 0, True
    for name in ("LONG", "LENGTH", "LENGTH_HUGE", "NO_HEADER", "ABOVE_4K", "FDS_FLOOD", "VERSION",
                 "FDS_MORE"):
        yield name, 0, True
    if rule.fds_least > 0:
        yield "FDS_LESS", 0, True
    yield "NOTHING", 0, True
    yield "TWICE", 0, rule.is_answer
    if rule.uses and rule.uses < 40 and not rule.is_request:
        yield "USES", 0, True
    yield "ENDLESS", 0, False
    for value in (0x00, 0x7F, 0xFF):
        yield "OCTETS", value, False
    for at in range(min(rule.least, 8)):
        yield "OCTET", at << 8 | 0xFF, False
    yield "TAIL", 0, False
    if rule.most > rule.least:
        yield "CUT", 0, False
    if rule.fds_most > 0:
        yield "FD_KIND", 0, False


class Gone(Exception):
    """The server has closed, or said something else."""


class Client:
    """A client that stops at the first thing that is not as it should be."""

    def __init__(self, session, stream, lenient):
        self.session = session
        self.stream = stream
        self.lenient = lenient
        self.stream.settimeout(1.0 if lenient else common.WAIT)
        self.buffer = b""
        self.said = []

    def line(self):
        while b"\n" not in self.buffer:
            try:
                got = self.stream.recv(65536)
            except TimeoutError:
                if not self.lenient:
                    self.session.fail("neither an answer nor an end")
                got = b""  # in order, but not what was asked for: auth_timeout would end it
            except OSError:
                got = b""
            if not got:
                raise Gone
            self.buffer += got
        line, _, self.buffer = self.buffer.partition(b"\n")
        self.said.append(line)
        return line

    def ask(self, text, multi=False):
        if text is not None:
            try:
                self.stream.sendall(text.encode() + b"\r\n")
            except OSError:
                raise Gone from None
        line = self.line()
        if not line.startswith((b"+OK", b"+ ")):
            raise Gone
        while multi and self.line() != b".\r":
            pass
        return line

    def start_tls(self, made, ticket=None):
        try:
            self.stream = made.wrap_socket(self.stream, server_hostname=common.HOSTNAME,
                                           session=ticket, suppress_ragged_eofs=False)
        except OSError:
            raise Gone from None
        self.session.keep = [self.stream]

    def rest(self):
        """Until the server closes."""
        with contextlib.suppress(Gone):
            while True:
                self.line()


def read_all(client):
    client.ask("STAT")
    client.ask("LIST", True)
    client.ask("RETR 1", True)
    client.ask("UIDL", True)
    client.ask("DELE 2")
    client.ask("QUIT")


def plain(client, site):
    client.ask(None)
    client.ask("CAPA", True)
    client.ask("USER alice")
    client.ask("PASS " + PASSWORD)
    read_all(client)


def cram(client, site):
    """A failure first: the brake is asked, and pop3d-auth told."""
    client.ask(None)
    with contextlib.suppress(Gone):
        client.ask("USER alice")
        client.ask("PASS wrong")
    if not client.said[-1].startswith(b"-ERR [AUTH]"):
        raise Gone
    answer_cram(client)


def cram_alone(client, site):
    client.ask(None)
    answer_cram(client)


def answer_cram(client):
    asked = base64.b64decode(client.ask("AUTH CRAM-MD5")[2:])
    digest = hmac.new(PASSWORD.encode(), asked, hashlib.md5).hexdigest()
    client.ask(base64.b64encode(b"alice " + digest.encode()).decode())
    client.ask("QUIT")


def stls(client, site):
    client.ask(None)
    client.ask("CAPA", True)
    client.ask("STLS")
    client.start_tls(context(site))
    client.ask("CAPA", True)
    client.ask("AUTH PLAIN " + base64.b64encode(b"\0alice\0" + PASSWORD.encode()).decode())
    client.ask("QUIT")


def resumed(client, site):
    """By the ticket of an earlier connection."""
    client.ask(None)
    client.ask("STLS")
    client.start_tls(site.made, site.ticket)
    if not client.stream.session_reused and not client.lenient:
        client.said.append(b"a full handshake")
    client.ask("QUIT")


def proxied(client, site):
    client.stream.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\r\n")
    client.ask(None)
    client.ask("USER alice")
    client.ask("PASS " + PASSWORD)
    client.ask("QUIT")


def utf8(client, site):
    client.ask(None)
    client.ask("UTF8")
    client.ask("USER alice")
    client.ask("PASS " + PASSWORD)
    client.ask("RETR 1", True)
    client.ask("QUIT")


def leaves(client, site):
    """Without QUIT, so what was retrieved is told by itself."""
    client.ask(None)
    client.ask("USER alice")
    client.ask("PASS " + PASSWORD)
    client.ask("RETR 1", True)
    client.ask("NOOP")  # which says that it has it
    client.stream.shutdown(socket.SHUT_WR)
    client.rest()


def no_tls(client, site):
    client.ask(None)
    client.ask("STLS")
    client.ask("this is not a handshake at all")


class Seam(common.Case):
    seen = set()
    transport = "socket"

    def stage(self, **options):
        site = hooked.HookedSite(auth_failure_delay="0", **options)
        self.addCleanup(self._end_site, site)
        site.add_user("alice", "mbox", MAIL)
        return site

    def run_once(self, site, scenario, must_end=False, lenient=False):
        """One session; its client, the log, the seconds from its last answer to its end."""
        mark = site.log.stat().st_size
        session = site.start(transport=self.transport)
        client = Client(session, session.keep[0], lenient)
        try:
            return self.watch(site, scenario, session, client, must_end, mark)
        except AssertionError:
            for role in reversed(session.roles()):
                with contextlib.suppress(OSError):
                    os.kill(role.pid, signal.SIGKILL)
            session.close()
            session.wait(None)
            if session in site.sessions:
                site.sessions.remove(session)
            site.fill(site.users["alice"], MAIL)
            raise

    def watch(self, site, scenario, session, client, must_end, mark):
        alice = site.users["alice"]
        with contextlib.suppress(Gone):
            scenario(client, site)
        began = time.monotonic()
        if must_end or client.said and client.said[-1].startswith(b"+OK bye"):
            client.rest()
        took = time.monotonic() - began
        session.close()
        if client.lenient:
            session.process.send_signal(signal.SIGTERM)  # it may wait for an answer for ever
        session.wait(None, 15)
        site.sessions.remove(session)
        common.poll("no process is left", site._reaped)
        log = site.log_since(mark)
        for line in log:
            if re.search("killed by signal|runtime error|Sanitizer", line):
                raise AssertionError((client.said, log))
        self.assertTrue(common.lock_is_free(site.lock_path()), log)
        self.assertEqual(list((site.top / "mail").rglob("*.lock")), [], log)
        quit_done = bool(client.said) and client.said[-1].startswith(b"+OK bye")
        if alice.path.read_bytes() != self.before:
            asked = any(b"message 2 deleted" in line for line in client.said)
            self.assertTrue(asked and alice.path.read_bytes() == self.kept, log)
            site.fill(alice, MAIL)
        return client, log, took, quit_done

    def every_message(self, name, site, scenario, again=None):
        """Say each wrongly; again: what makes every session begin alike."""
        self.before = site.content(site.users["alice"])
        self.kept = common.mbox([MAIL[0], MAIL[2]])
        def begin():
            """No index of the session before makes this one another."""
            shutil.rmtree(site.top / "state/alice", ignore_errors=True)
            if again:
                again()
        begin()
        site.page.want()
        client, log, _, quit_done = self.run_once(site, scenario)
        sent = [item for item in site.page.sent()]
        self.seen |= {number for _, _, number in sent}
        count = {}
        refused = taken = 0
        turn = 0
        quitting = False
        for sender, receiver, number in sent:
            nth = count[sender, receiver] = count.get((sender, receiver), 0) + 1
            rule = RULES[number]
            quitting |= rule.name == "QUIT_ASK"
            for position, (defect, arg, breaks) in enumerate(defects(rule)):
                turn += 1
                if not ALL and (rule.name, defect) not in ALWAYS and \
                        (turn * 7 + position) % (601 if common.SANITIZED else 151):
                    continue
                begin()
                site.page.want(wrong=(sender, receiver, nth, DEFECTS.index(defect), arg))
                with self.subTest(scenario=name, message=rule.name, nth=nth, defect=defect,
                                  arg=arg):
                    client, log, took, done = self.run_once(
                        site, scenario, breaks and self.ends_it(rule), not breaks)
                    said = [item for item in site.page.sent() if item[:2] == (sender, receiver)]
                    if not site.page.said_wrong or said[nth - 1][2] != number:
                        continue  # this session went another way
                    self.assertLess(took, 4, log)
                    if breaks:
                        self.is_refused(rule, defect, client, log, done and not quitting)
                        refused += 1
                    else:
                        taken += 1
        begin()
        site.page.want()
        _, log, _, done = self.run_once(site, scenario)
        self.assertEqual(done, quit_done, log)
        print("%s: %d messages, %d of %d broken rules ended the session, %d odd values did no "
              "harm" % (name, len(sent), refused, refused, taken))

    @staticmethod
    def ends_it(rule):
        """The connection is closed.  A helper that is wrong, or finds the one wrong that had it
        started, fails at its work, and the client may ask for something else."""
        three = ("session", "auth", "maildrop")
        return ROLES[rule.sender] in three and ROLES[rule.receiver] in ("monitor", *three) and \
            rule.name not in ("SESSION_END", "UPGRADE")

    def is_refused(self, rule, defect, client, log, done):
        """It did not go on, and the log says so."""
        if rule.name in ("AUTH_ANSWER", "AUTH_SASL_ANSWER") and defect == "TWICE" and done:
            return  # behind a verdict auth is not heard any more
        if rule.name == "DROP_READY" and done and \
                any("broke the message protocol" in line for line in log):
            return  # found as soon as it was read, and the client had given QUIT already
        if self.ends_it(rule):
            self.assertFalse(done, "it went on: %s %s" % (client.said, log))
        if defect == "NOTHING":  # that is the end of a pair, no message
            return
        lines = [line for line in log if line.startswith(("error", "login-failed", "logout"))
                 and "not started as root" not in line]
        self.assertGreaterEqual(len(lines), 1, "nothing is logged: %s" % log)

    def test_plain(self):
        self.every_message("plain", self.stage(), plain)

    def test_dotlock(self):
        """Where root alone may write, the monitor makes the dotlock."""
        if not AS_ROOT:
            self.skipTest("needs root")
        site = self.stage()
        (site.top / "mail").chmod(0o755)
        self.every_message("dotlock", site, plain)

    def test_sasl(self):
        site = self.stage(penalty_step=1, penalty_after=0, auth_mechanisms="PLAIN CRAM-MD5",
                          penalty_exempt="no")
        site.admin("user", "passwd", "--cram", "alice", stdin=PASSWORD.encode() + b"\n")
        self.every_message("sasl", site, cram)

    def test_upgrade(self):
        site = self.stage(password_upgrade="yes")
        line = site.lines["alice"]

        def again():
            site.lines["alice"] = line
            site.write_users()
        self.every_message("upgrade", site, plain, again)

    def tls_stage(self, **options):
        site = self.stage(**options)
        where = site.top / "tls"
        where.mkdir(mode=0o700)
        site.authority = Authority(where)
        chain, key = site.authority.issue("server")
        site.configure(**{"tls_certificate": chain, "tls_key": key,
                          "tls_certificate." + common.HOSTNAME: chain,
                          "tls_key." + common.HOSTNAME: key})
        return site

    def test_tls(self):
        site = self.tls_stage()

        def again():  # the certificate is looked at anew
            (site.top / "run/certificate").unlink(missing_ok=True)
        self.every_message("tls", site, stls, again)

    def test_resumed(self):
        site = self.tls_stage()
        site.made = context(site)
        session = site.start()
        first = Client(session, session.keep[0], False)
        stls(first, site)
        self.assertFalse(first.stream.session_reused)
        first.rest()
        session.close()
        session.wait(None)
        session = site.start()
        first = Client(session, session.keep[0], False)
        first.ask(None)
        first.ask("STLS")
        first.start_tls(site.made)
        first.ask("CAPA", True)
        site.ticket = first.stream.session
        first.ask("QUIT")
        first.rest()
        session.close()
        session.wait(None)
        self.every_message("resumed", site, resumed)

    def test_bad_key(self):
        """The keeper has no key for the name that the client asks for, and notes it."""
        site = self.tls_stage()
        other, _ = site.authority.issue("other")
        site.configure(**{"tls_certificate." + common.HOSTNAME: other})
        self.every_message("bad key", site, stls)

    def test_proxy(self):
        self.transport = "tcp"
        self.every_message("proxy", self.stage(
            proxy_protocol="127.0.0.1", cleartext_login="yes"), proxied)

    def test_utf8(self):
        self.every_message("utf8", self.stage(utf8_fallback="surrogate"), utf8)

    def test_leaves(self):
        self.every_message("leaves", self.stage(expire="30"), leaves)

    def test_domain(self):
        """pop3d-auth hears of the domains."""
        site = self.stage(**{
            "domain.example.org.maildrop": "maildir:/none/%n", "domain.example.org.uid": 1000,
            "domain.example.org.gid": 1000, "auth_mechanisms": "CRAM-MD5"})
        site.admin("user", "passwd", "--cram", "alice", stdin=PASSWORD.encode() + b"\n")
        self.every_message("domain", site, cram_alone)

    def test_note(self):
        """The maildrop role has something to say: the file of imported ids is damaged."""
        site = self.stage()
        alice = site.users["alice"]

        def again():
            site.page.want()
            site.login().quit()
            damaged = site.top / "state/alice/uidl"
            damaged.write_bytes(b"no such file\n")
            site.own(damaged, alice, 0o600)
        self.every_message("note", site, plain, again)

    def test_no_tls(self):
        self.every_message("no tls", self.tls_stage(), no_tls)

    def test_zz_which_were_said(self):
        """Runs last.  Those that only failures or other settings bring are in check_ipc alone."""
        missing = sorted(rule.name for rule in RULES.values() if rule.number not in self.seen)
        print("in the scenarios: %d of %d messages; not in them: %s" % (
            len(self.seen), len(RULES), ", ".join(missing)))
        self.assertGreater(len(self.seen), len(missing))


if __name__ == "__main__":
    common.main()
