#!/usr/bin/env python3
"""A session role that was taken over: what it tries, and that it is refused.

A puppet (tests/hooked/puppet.c) is the role; what it says comes from here.  It has that
role's pairs and rights, and nothing of the code that keeps the rules.  Each attempt is
printed with what became of it.
"""
import fcntl
import os
import signal
import stat
import struct
import time

import common
import hooked
from common import AS_ROOT, PASSWORD
from evil import (APOP, AUTH, BEGINS, CRAM, EXTERNAL, FUTURE_WRITE, MAIL, OK, PLAIN, RULES,
                  SCRAM_PLUS, TEMP, TYPE, USERPASS, Evil, dummy, login_ask, sealed, verdict)


class EvilSession(Evil):
    """Before the login: the monitor's pair is all there is."""

    def log_in(self, puppet, user="alice"):
        code, _, count, fds = verdict(
            puppet.monitor.ask(TYPE["LOGIN_ASK"], login_ask(user)))
        self.assertEqual((code, len(fds)), (OK, 1))
        self.assertEqual(count, len(MAIL))
        puppet.ends.append(hooked.socket.socket(fileno=fds[0]))
        puppet.monitor.got_fds.clear()
        return hooked.Pair(puppet.ends[-1])

    def test_says_what_others_say(self):
        """Auth's yes, the maildrop's readiness, the monitor's own answers, and all the rest."""
        site = self.stage()
        for rule in self.foreign("monitor"):
            session, puppet = self.start(site)
            payload, fds = dummy(rule)
            puppet.monitor.say(rule.number, payload, fds)
            self.broken(site, puppet.monitor, session, puppet, "says " + rule.name)

    def test_no_password(self):
        site = self.stage(auth_failure_delay="0", max_auth_failures=10)
        hash_ = site.lines["alice"].split(":")[1]
        for what, ask in (("no password", login_ask(secret="")),
                          ("the hash for a password", login_ask(secret=hash_)),
                          ("another's name with the own password",
                           login_ask("bob", PASSWORD + "x")),
                          ("a name with a NUL", login_ask(b"alice\0", PASSWORD)),
                          ("no name", login_ask("", PASSWORD)),
                          ("a length behind the end", b"\x01\x05\x00alice\xff\xff"),
                          ("octets left over", login_ask() + b"\x00\x00\x00\x00")):
            session, puppet = self.start(site)
            answer = puppet.monitor.ask(TYPE["LOGIN_ASK"], ask)
            if answer:
                self.assertIn(verdict(answer)[0], (AUTH, TEMP), what)
                self.assertEqual(verdict(answer)[3], [], what)
            self.finish(site, session, puppet, "logs in with " + what)

    def test_a_second_login(self):
        """A session is one user's, and asks one question at a time."""
        site = self.stage()
        for user in ("alice", "bob"):
            session, puppet = self.start(site)
            self.log_in(puppet)
            puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask(user))
            self.broken(site, puppet.monitor, session, puppet, "logs in again, as " + user,
                        logged_in=True)
        session, puppet = self.start(site)
        puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask("bob", "guess"))
        puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask("bob", "another guess"))
        self.broken(site, puppet.monitor, session, puppet, "guesses twice at once")
        session, puppet = self.start(site)
        puppet.monitor.say(TYPE["SASL_ASK"], bytes([PLAIN, BEGINS]) + b"\0bob\0guess")
        puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask("bob", "another guess"))
        self.broken(site, puppet.monitor, session, puppet, "guesses by two mechanisms at once")

    def test_hurry(self):
        """The delay is auth's: nobody hears sooner."""
        site = self.stage(auth_failure_delay="0.4", max_auth_failures=3)
        session, puppet = self.start(site)
        for _ in range(2):
            began = time.monotonic()
            answer = puppet.monitor.ask(TYPE["LOGIN_ASK"], login_ask(secret="guess"))
            self.assertEqual(verdict(answer)[0], AUTH)
            self.assertGreaterEqual(time.monotonic() - began, 0.39)
        self.finish(site, session, puppet, "skips the delay of failed logins")

    def test_goes_on_guessing(self):
        """After max_auth_failures no credential is looked at, whatever the session does."""
        site = self.stage(auth_failure_delay="0", max_auth_failures=3)
        plain = bytes([PLAIN, BEGINS]) + b"\0alice\0"
        for what, number, right, wrong in (
                ("USER", TYPE["LOGIN_ASK"], login_ask(), login_ask(secret="guess")),
                ("AUTH", TYPE["SASL_ASK"], plain + PASSWORD.encode(), plain + b"guess")):
            session, puppet = self.start(site)
            for turn in range(3):
                _, payload, _ = puppet.monitor.ask(number, wrong)
                if number == TYPE["SASL_ASK"]:
                    payload = payload[1:]
                self.assertEqual(tuple(payload[:2]), (AUTH, turn == 2))
            puppet.monitor.say(number, right)
            self.broken(site, puppet.monitor, session, puppet,
                        "goes on guessing by %s after the third failure" % what)
        session, puppet = self.start(site)
        for _ in range(3):
            puppet.monitor.ask(TYPE["LOGIN_ASK"], login_ask(secret="guess"))
        puppet.monitor.say(TYPE["SASL_ASK"], plain + PASSWORD.encode())
        self.broken(site, puppet.monitor, session, puppet, "goes on with another mechanism")

    def test_mechanisms_not_offered(self):
        site = self.stage()
        for mechanism in (0, APOP, PLAIN, EXTERNAL, 200, 255):
            session, puppet = self.start(site)
            puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask(mechanism=mechanism))
            self.broken(site, puppet.monitor, session, puppet,
                        "LOGIN_ASK by mechanism %d" % mechanism)
        for mechanism in (0, USERPASS, APOP, CRAM, SCRAM_PLUS, EXTERNAL, 200, 255):
            session, puppet = self.start(site)
            puppet.monitor.say(TYPE["SASL_ASK"], bytes([mechanism, BEGINS]) + b"\0alice\0x")
            self.broken(site, puppet.monitor, session, puppet,
                        "AUTH by mechanism %d" % mechanism)
        site.configure(cleartext_login="no")
        for number, ask in ((TYPE["LOGIN_ASK"], login_ask()),
                            (TYPE["SASL_ASK"],
                             bytes([PLAIN, BEGINS]) + b"\0alice\0" + PASSWORD.encode())):
            session, puppet = self.start(site)
            puppet.monitor.say(number, ask)
            self.broken(site, puppet.monitor, session, puppet,
                        "a password in the clear where none is taken (%s)" % RULES[number].name)

    def test_asks_too_often(self):
        site = self.stage()
        session, puppet = self.start(site)
        for _ in range(RULES[TYPE["MECHS_ASK"]].uses):
            self.assertEqual(puppet.monitor.ask(TYPE["MECHS_ASK"], b"\0")[0],
                             TYPE["MECHS_ANSWER"])
        puppet.monitor.say(TYPE["MECHS_ASK"], b"\0")
        self.broken(site, puppet.monitor, session, puppet, "asks for the mechanisms on and on")
        for name in ("TLS_OFFER_ASK", "TLS_ASK"):
            session, puppet = self.start(site)
            puppet.monitor.say(TYPE[name], b"\0")
            self.broken(site, puppet.monitor, session, puppet, name + " where TLS is off")

    def test_sends_descriptors(self):
        site = self.stage()
        for count in (1, 2, 32, 33, 253):
            session, puppet = self.start(site)
            puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask(), [2] * count)
            self.broken(site, puppet.monitor, session, puppet, "sends %d descriptors" % count)

    def test_exhausts_the_monitor(self):
        """Questions whose answers are not read; and what they cost."""
        site = self.stage(auth_failure_delay="0")
        ask = bytes([PLAIN, BEGINS | 4]) + b"x" * 3000  # pieces of a response without end
        session, puppet = self.start(site)
        count = 0
        end = time.monotonic() + 10
        while puppet.monitor.say(TYPE["SASL_ASK"], ask):
            count += 1
            self.assertLess(time.monotonic(), end, "it goes on and on")
        self.assertTrue(puppet.monitor.ended(8))
        self.finish(site, session, puppet, "floods the monitor")
        session, puppet = self.start(site)
        monitor = session.process.pid
        for _ in range(300):  # answers are read: as often as it likes, until auth_timeout
            number, payload, _ = puppet.monitor.ask(TYPE["SASL_ASK"], ask)
            self.assertEqual(number, TYPE["SASL_ANSWER"])
        if not common.SANITIZED:
            with open("/proc/%d/status" % monitor, encoding="ascii") as file:
                peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
            self.assertLess(peak, 8192)
            self.assertLess(len(os.listdir("/proc/%d/fd" % monitor)) if AS_ROOT else 0, 16)
        puppet.monitor.raw(b"")
        self.finish(site, session, puppet, "a response without end")

    def test_the_end(self):
        """Whoever has said that it ends has to end, and says nothing more."""
        site = self.stage()
        note = b"\xff" * RULES[TYPE["SESSION_END"]].least
        for what, number, payload in (("logs in", TYPE["LOGIN_ASK"], login_ask()),
                                      ("ends once more", TYPE["SESSION_END"], note)):
            session, puppet = self.start(site)
            puppet.monitor.say(TYPE["SESSION_END"], note)
            puppet.monitor.say(number, payload)
            self.broken(site, puppet.monitor, session, puppet, what + " after its end")
            self.assertIn("reason=unknown", "\n".join(self.log(site)))
        session, puppet = self.start(site)
        puppet.monitor.say(TYPE["SESSION_END"], note)
        site.page.pass_time(6)
        session.process.send_signal(signal.SIGCHLD)  # it looks at the clock
        self.assertTrue(puppet.monitor.ended(12), "it may stay after its end")
        self.finish(site, session, puppet, "stays after its end", lingers=True)

    def test_writes_the_log(self):
        """What it says of a user is one value in one line."""
        site = self.stage(auth_failure_delay="0")
        for name in ("x\nlogin user=bob", "x\r\nlogin", "\x1b[2J", 'x" reason="y', "\x80\xff"):
            session, puppet = self.start(site)
            puppet.monitor.ask(TYPE["LOGIN_ASK"], login_ask(name.encode("latin-1"), "x"))
            self.finish(site, session, puppet, "forges the log with %r" % name)
            for line in self.log(site):
                self.assertIn(line.split(" ")[0],
                              ("connect", "login-failed", "logout", "error"), line)

    # -- after the login: the maildrop's pair, too

    def logged_in(self, site):
        session, puppet = self.start(site)
        drop = self.log_in(puppet)
        return session, puppet, drop

    def drop_refuses(self, site, attempt, say):
        """The maildrop role ends the session, says so, and nothing is deleted."""
        alice = site.users["alice"]
        before = site.content(alice)
        session, puppet, drop = self.logged_in(site)
        say(drop)
        self.assertTrue(drop.ended(8), "not refused: " + attempt)
        self.finish(site, session, puppet, attempt,
                    "the session role broke the message protocol", logged_in=True)
        self.assertEqual(site.content(alice), before, attempt)

    def test_says_what_others_say_to_the_maildrop(self):
        site = self.stage()
        for rule in self.foreign("maildrop"):
            payload, fds = dummy(rule)
            self.drop_refuses(site, "says %s to the maildrop" % rule.name,
                              lambda drop: drop.say(rule.number, payload, fds))

    def test_another_maildrop(self):
        """What it is handed is alice's, to be read, and of a file."""
        for kind in ("mbox", "maildir"):
            site = self.stage(kind)
            session, puppet, drop = self.logged_in(site)
            for number, ask in ((TYPE["MESSAGE_ASK"], struct.pack("=QB", 0, 8)),
                                (TYPE["LIST_ASK"], b"\1"), (TYPE["LIST_ASK"], b"\2")):
                _, payload, fds = drop.ask(number, ask)
                self.assertEqual(payload[0], OK)
                self.assertGreater(len(fds), 0)
                for fd in fds:
                    name = os.readlink("/proc/self/fd/%d" % fd)
                    self.assertTrue(name.startswith((str(site.users["alice"].path),
                                                     "/memfd:")), name)
                    self.assertTrue(stat.S_ISREG(os.fstat(fd).st_mode))
                    if not name.startswith("/memfd:"):
                        self.assertEqual(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE,
                                         os.O_RDONLY)
                    with self.assertRaises(OSError):
                        os.pwrite(fd, b"x", 0)
                    with self.assertRaises(OSError):
                        os.ftruncate(fd, 0)
            drop.close()
            self.finish(site, session, puppet, "writes to what it is handed (%s)" % kind,
                        logged_in=True)
        site = self.stage()
        for index, most in ((len(MAIL), 1), (2 ** 63, 1), (2 ** 64 - 1, 32), (0, 0), (0, 33),
                            (0, 255)):
            self.drop_refuses(site, "message %d, %d of them" % (index, most), lambda drop:
                              drop.say(TYPE["MESSAGE_ASK"], struct.pack("=QB", index, most)))
        for kind in (0, 3, 255):
            self.drop_refuses(site, "list %d" % kind,
                              lambda drop: drop.say(TYPE["LIST_ASK"], bytes([kind])))

        def lists(drop):
            for _ in range(RULES[TYPE["LIST_ASK"]].uses + 1):
                drop.say(TYPE["LIST_ASK"], b"\1")
        self.drop_refuses(site, "lists on and on", lists)
        self.drop_refuses(site, "sends a descriptor with a question", lambda drop: drop.say(
            TYPE["MESSAGE_ASK"], struct.pack("=QB", 0, 1), [2]))

    def test_expunge(self):
        """Both bitmaps, as many bits as are said, of messages that there are, sealed."""
        size = (len(MAIL) + 7) // 8
        one = bytearray(2 * size)
        one[0] = 1
        behind, behind_seen = bytearray(2 * size), bytearray(2 * size)
        behind[size - 1] = behind_seen[-1] = 0x80
        pipe = os.pipe()
        null, top = os.open("/dev/null", os.O_RDWR), os.open("/", os.O_RDONLY)
        path = os.open("/etc/passwd", os.O_PATH)
        rows = [
            ("a message twice: two marks said, one made", 2, sealed(one)),
            ("no mark said, one made", 0, sealed(one)),
            ("2^64 - 1 marks", 2 ** 64 - 1, sealed(one)),
            ("a message that is not there", 1, sealed(behind)),
            ("a message seen that is not there", 1, sealed(behind_seen)),
            ("marks without a list", 1, None),
            ("a list without marks of another size", 0, sealed(bytes(2 * size + 2))),
            ("a list that may change", 1, sealed(one, 0)),
            ("a list that may be written", 1, sealed(one, 1 | 2 | 4 | FUTURE_WRITE)),
            ("a list that may shrink", 1, sealed(one, 1 | 4 | 8)),
            ("a list that is too short", 1, sealed(one[:-1])),
            ("an empty list", 1, sealed(b"")),
            ("a pipe for a list", 1, pipe[0]),
            ("a device for a list", 1, null),
            ("a directory for a list", 1, top),
            ("a path for a list", 1, path),
        ]
        for kind in ("mbox", "maildir"):
            site = self.stage(kind)
            for attempt, marked, fd in rows:
                self.drop_refuses(site, "expunges %s (%s)" % (attempt, kind), lambda drop: drop.say(
                    TYPE["QUIT_ASK"], struct.pack("=Q", marked), [] if fd is None else [fd]))
        for row in rows:
            if row[2] is not None and row[2] not in (pipe[0], null, top, path):
                os.close(row[2])
        for fd in (*pipe, null, top, path):
            os.close(fd)

    def test_expunge_once(self):
        """Once, and then the maildrop role has ended: no second one, no question more."""
        size = (len(MAIL) + 7) // 8
        first = sealed(b"\1" + bytes(2 * size - 1))
        second = sealed(b"\2" + bytes(2 * size - 1))
        quit_ = struct.pack("=Q", 1)
        later = {"expunges twice": (TYPE["QUIT_ASK"], quit_, [second]),
                 "expunges and goes on": (TYPE["MESSAGE_ASK"], struct.pack("=QB", 0, 1), []),
                 "expunges and lists": (TYPE["LIST_ASK"], b"\1", [])}
        for kind in ("mbox", "maildir"):
            for attempt, (number, payload, fds) in later.items():
                for at_once in (False, True):
                    site = self.stage(kind)
                    session, puppet, drop = self.logged_in(site)
                    drop.say(TYPE["QUIT_ASK"], quit_, [first])
                    if at_once:
                        drop.say(number, payload, fds)
                    answer = drop.hear() or drop.hear()  # first that what came after was not read
                    self.assertEqual(answer[1], struct.pack("=BQ", OK, 1))
                    if not at_once:
                        drop.say(number, payload, fds)
                    self.assertIsNone(drop.hear(8))
                    self.finish(site, session, puppet, "%s (%s)" % (attempt, kind),
                                logged_in=True)
                    now = site.content(site.users["alice"])
                    if kind == "mbox":
                        self.assertEqual(now, common.mbox(MAIL[1:]))
                    else:
                        self.assertEqual(sorted(now.values()), sorted(MAIL[1:]))
        os.close(first)
        os.close(second)

    def test_hoards_descriptors(self):
        """It gets as many as its own limit allows; others work on."""
        site = self.stage("maildir")
        session, puppet, drop = self.logged_in(site)
        got = 0
        drop.close()
        puppet.end()
        session.close()
        session.wait(None)
        # the pair stays in the role this time: it is the one that receives
        session, puppet = self.start(site)
        puppet.monitor.say(TYPE["LOGIN_ASK"], login_ask())
        _, _, fds = puppet.monitor.hear()
        puppet.control.send(b"k\0")
        hooked.socket.send_fds(puppet.control, [b"k"], fds)
        drop = hooked.Pair(hooked.socket.socket(fileno=fds[0]))
        flags = 0
        for _ in range(12):
            drop.say(TYPE["MESSAGE_ASK"], struct.pack("=QB", 0, 8))
            octets, count, flags = puppet.receive_there(2)
            self.assertGreater(octets, 0)
            got += count
            if count < 8:
                break
        self.assertTrue(flags & hooked.socket.MSG_CTRUNC)
        self.assertLessEqual(got, 48)
        # who has too many meets its own limit; the maildrop role answers on
        drop.say(TYPE["MESSAGE_ASK"], struct.pack("=QB", 0, 8))
        self.assertEqual(len(drop.hear()[2]), 8)
        site.page.want()
        other = site.login("bob")
        other.expect("RETR 1", "+OK...")
        other.body()
        other.quit()
        drop.close()
        self.finish_hoard(site, session, puppet, got)

    def finish_hoard(self, site, session, puppet, got):
        session.close()
        puppet.end()
        session.wait(None)
        print("refused: session: hoards descriptors: %d, then no more" % got)

    def test_floods_the_maildrop(self):
        """Questions whose answers are not read."""
        site = self.stage()
        session, puppet, drop = self.logged_in(site)
        end = time.monotonic() + 10
        while drop.say(TYPE["MESSAGE_ASK"], struct.pack("=QB", 0, 1)):
            self.assertLess(time.monotonic(), end)
        self.assertTrue(drop.ended(8))
        self.finish(site, session, puppet, "floods the maildrop role", logged_in=True)


if __name__ == "__main__":
    common.main()
