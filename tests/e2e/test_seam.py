#!/usr/bin/env python3
"""Every message of whole sessions, said wrongly once: the other side ends the session.

The scenarios are run with the real roles; tests/hooked/wrong_ipc.c says the Nth message
from one role to another with a defect, made from the rule table.  So each message is said
wrongly in each direction and in the state in which it comes; what a scenario lacks is
reported, and a new row of the table is tested the day it is written.

Some of the defects for each message, in turn; POP3D_SEAM=all: every one.
"""
import hashlib
import hmac
import base64
import contextlib
import os
import re
import ssl
import time

import common
import hooked
from common import AS_ROOT, PASSWORD, simple_message
from hooked import NUMBER, ROLES
from test_tls import Authority, context

ALL = os.environ.get("POP3D_SEAM") == "all"
MAIL = [simple_message(number, 300 * number) for number in range(1, 4)]
RULES = hooked.rules()
PH_TRANS = 4

DEFECTS = ("TYPE", "SHORT", "LONG", "LENGTH", "LENGTH_HUGE", "NO_HEADER", "NOTHING", "ABOVE_4K",
           "FDS_MORE", "FDS_LESS", "FDS_FLOOD", "VERSION", "TWICE", "USES", "ENDLESS", "TAIL",
           "CUT", "OCTETS", "OCTET", "FD_KIND")
# These break no rule of the table: the receiver judges the values, and may take them.
VALUES = {"TAIL", "CUT", "OCTETS", "OCTET", "FD_KIND"}

# Said only when something fails that no scenario makes fail.
RARE = {"TLS_NOTE", "KEEPER_NOTE", "DROP_NOTE"}


def defects(rule):
    """What can be wrong with this message: (name, arg, does it break the table's rules?)."""
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

    def __init__(self, session, stream):
        self.session = session
        self.stream = stream
        self.stream.settimeout(common.WAIT)
        self.buffer = b""
        self.said = []

    def line(self):
        while b"\n" not in self.buffer:
            try:
                got = self.stream.recv(65536)
            except TimeoutError:
                self.session.fail("neither an answer nor an end")
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

    def start_tls(self, made):
        try:
            self.stream = made.wrap_socket(self.stream, server_hostname=common.HOSTNAME,
                                           suppress_ragged_eofs=False)
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


def no_tls(client, site):
    client.ask(None)
    client.ask("STLS")
    client.ask("this is not a handshake at all")


class Seam(common.Case):
    seen = set()

    def stage(self, **options):
        site = hooked.HookedSite(auth_failure_delay="0", **options)
        self.addCleanup(self._end_site, site)
        site.add_user("alice", "mbox", MAIL)
        return site

    def run_once(self, site, scenario, check=True):
        """One session; its client, the log, the seconds from its last answer to its end."""
        alice = site.users["alice"]
        mark = site.log.stat().st_size
        session = site.start()
        client = Client(session, session.keep[0])
        with contextlib.suppress(Gone):
            scenario(client, site)
        began = time.monotonic()
        client.rest()
        took = time.monotonic() - began
        session.close()
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
        again = again or (lambda: None)
        again()
        site.page.want()
        client, log, _, quit_done = self.run_once(site, scenario)
        sent = [item for item in site.page.sent()]
        self.seen |= {number for _, _, number in sent}
        count = {}
        refused = taken = 0
        turn = 0
        for sender, receiver, number in sent:
            nth = count[sender, receiver] = count.get((sender, receiver), 0) + 1
            rule = RULES[number]
            for position, (defect, arg, breaks) in enumerate(defects(rule)):
                turn += 1
                if not ALL and (turn * 7 + position) % (61 if common.SANITIZED else 17):
                    continue
                again()
                site.page.want(wrong=(sender, receiver, nth, DEFECTS.index(defect), arg))
                with self.subTest(scenario=name, message=rule.name, nth=nth, defect=defect,
                                  arg=arg):
                    client, log, took, done = self.run_once(site, scenario)
                    if not site.page.said_wrong:
                        continue  # this session went another way
                    self.assertLess(took, 4, log)
                    if breaks:
                        self.is_refused(rule, defect, client, log, done)
                        refused += 1
                    else:
                        taken += 1
        again()
        site.page.want()
        _, log, _, done = self.run_once(site, scenario)
        self.assertEqual(done, quit_done, log)
        print("%s: %d messages, %d of %d broken rules ended the session, %d odd values did no "
              "harm" % (name, len(sent), refused, refused, taken))

    def is_refused(self, rule, defect, client, log, done):
        """The session is over; the log says it in one line, unless it was over already."""
        last = rule.name in ("SESSION_END", "QUIT_ANSWER", "UPGRADE")
        if ROLES[rule.sender] in ("tls", "keeper") or ROLES[rule.receiver] in ("tls", "keeper") \
                or ROLES[rule.sender] == "digest" or ROLES[rule.receiver] == "digest":
            last = True  # a handshake, or a list, that fails: what follows is the client's
        if not last:
            self.assertFalse(done, "it went on: %s %s" % (client.said, log))
        lines = [line for line in log if line.startswith(("error", "login-failed", "logout"))
                 and "not started as root" not in line]
        self.assertGreaterEqual(len(lines), 1, "nothing is logged")

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
                          penalty_exempt="")
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

    def test_no_tls(self):
        self.every_message("no tls", self.tls_stage(), no_tls)

    def test_zz_all_were_said(self):
        """Runs last: no row of the table was left out."""
        missing = {rule.name for rule in RULES.values()
                   if rule.number not in self.seen} - RARE
        print("said rightly and wrongly: %d of %d messages; only when something fails: %s" % (
            len(self.seen), len(RULES), ", ".join(sorted(RARE))))
        self.assertEqual(missing, set())


if __name__ == "__main__":
    common.main()
