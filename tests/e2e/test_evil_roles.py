#!/usr/bin/env python3
"""The auth, maildrop, tls and keeper roles, taken over: what the others believe of them.

As test_evil_session.py: a puppet is the role, and each attempt is printed with what
became of it.
"""
import os
import socket
import ssl
import struct
import time

import common
from common import AS_ROOT, PASSWORD, UID_KEEPER, UID_SESSION
from evil import AUTH, MAIL, MBOX, OK, RULES, TEMP, TYPE, Evil, dummy, sealed, text
from test_tls import Authority, context


class EvilAuth(Evil):
    """It may let in whom it likes, but for root and pop3d's own users."""

    ROLE = "auth"

    def yes(self, site, name="alice", uid=None, gid=None, kind=MBOX, path=None, note=""):
        alice = site.users["alice"]
        uid = alice.uid if uid is None else uid
        gid = (alice.uid if AS_ROOT else os.getegid()) if gid is None else gid
        head = struct.pack("=BBIIB", OK, 0, uid, gid, kind)
        strings = [name, "/nowhere", str(alice.path) if path is None else path, "", note]
        rest = RULES[TYPE["AUTH_ANSWER"]].least - len(head) - 2 * len(strings)
        return head + bytes(rest) + b"".join(text(item) for item in strings)

    def asked(self, site):
        """A client has given its password."""
        session, puppet = self.start(site)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.send("PASS %s\r\n" % PASSWORD)
        self.assertEqual(puppet.monitor.hear()[0], TYPE["AUTH_ASK"])
        return session, puppet

    def let_in_nobody(self, site, attempt, answer):
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["AUTH_ANSWER"], answer)
        self.assertTrue(session.line().startswith(b"-ERR"), attempt)
        self.finish(site, session, puppet, attempt)

    def test_yes(self):
        """This is what a yes looks like: the attempts below differ in one thing."""
        site = self.stage()
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["AUTH_ANSWER"], self.yes(site))
        session.expect(None, "+OK...")
        session.expect("STAT", "+OK %d..." % len(MAIL))
        puppet.end()
        session.quit()

    def test_whose_mail(self):
        site = self.stage()
        alice = site.users["alice"].uid
        for uid, gid in ((0, alice), (alice, 0), (0, 0), (2 ** 32 - 1, alice),
                         (alice, 2 ** 32 - 1)):
            self.let_in_nobody(site, "lets in uid %d, gid %d" % (uid, gid),
                               self.yes(site, uid=uid, gid=gid))
        if AS_ROOT:
            for uid, gid in ((UID_SESSION, alice), (alice, UID_SESSION), (UID_KEEPER, alice),
                             (alice, UID_KEEPER)):
                self.let_in_nobody(site, "lets in pop3d's own uid %d, gid %d" % (uid, gid),
                                   self.yes(site, uid=uid, gid=gid))
            bob = site.users["bob"]
            self.let_in_nobody(site, "opens bob's maildrop as alice",
                               self.yes(site, path=str(bob.path)))
            self.let_in_nobody(site, "opens root's file as alice", self.yes(site, path="/etc/shadow"))
            self.let_in_nobody(site, "opens alice's maildrop as bob", self.yes(
                site, uid=bob.uid, gid=bob.uid, name="bob"))
        else:
            self.let_in_nobody(site, "lets in another uid", self.yes(site, uid=alice + 1))

    def test_names_and_paths(self):
        site = self.stage()
        before = sorted(os.listdir(site.top))
        for path in ("", "mail/alice", "./x", "~/mail"):
            self.let_in_nobody(site, "a maildrop at %r" % path, self.yes(site, path=path))
        for name in ("../../etc", "..", ".", "a/b", "/etc", "x\ny", "\x01", "x" * 255):
            session, puppet = self.asked(site)
            puppet.monitor.say(TYPE["AUTH_ANSWER"], self.yes(site, name=name))
            answer = session.line()
            self.assertFalse({"etc", "b"} & set(os.listdir(site.top / "state")), name)
            self.finish(site, session, puppet, "a user named %r" % name,
                        logged_in=answer.startswith(b"+OK"))
        self.assertEqual(sorted(os.listdir(site.top)), before)

    def test_malformed(self):
        site = self.stage()
        right = self.yes(site)
        rows = [("verdict 200", b"\xc8" + right[1:]),
                ("a maildrop of no kind", self.yes(site, kind=0)),
                ("a maildrop of kind 7", self.yes(site, kind=7)),
                ("a name with a NUL", self.yes(site, name=b"alice\0x")),
                ("a name that is too long", self.yes(site, name="x" * 300)),
                ("an octet too many", right + b"\0"), ("an octet too few", right[:-1]),
                ("a string behind the end", right[:-2] + b"\xff\xff")]
        for attempt, answer in rows:
            session, puppet = self.asked(site)
            puppet.monitor.say(TYPE["AUTH_ANSWER"], answer)
            session.expect(None, "-ERR [SYS/TEMP]...")
            self.broken(site, puppet.monitor, session, puppet, attempt)

    def test_says_what_others_say(self):
        site = self.stage()
        for rule in self.foreign("monitor"):
            session, puppet = self.start(site)
            session.greeting()
            payload, fds = dummy(rule)
            puppet.monitor.say(rule.number, payload, fds)
            self.broken(site, puppet.monitor, session, puppet, "says " + rule.name)

    def test_order(self):
        """A yes that nobody asked for, two of them, one to another question."""
        site = self.stage()
        sasl = b"\3" + self.yes(site)
        for name, payload in (("AUTH_ANSWER", self.yes(site)), ("AUTH_SASL_ANSWER", sasl)):
            session, puppet = self.start(site)
            session.greeting()
            puppet.monitor.say(TYPE[name], payload)
            self.broken(site, puppet.monitor, session, puppet, name + " without a question")
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["AUTH_SASL_ANSWER"], sasl)
        self.broken(site, puppet.monitor, session, puppet, "answers another question")
        session, puppet = self.asked(site)
        no = bytes([AUTH]) + self.yes(site)[1:]
        puppet.monitor.say(TYPE["AUTH_ANSWER"], no)
        puppet.monitor.say(TYPE["AUTH_ANSWER"], self.yes(site))
        self.broken(site, puppet.monitor, session, puppet, "no, and yes")

    def test_upgrade(self):
        """A hash is replaced where password_upgrade says so, once, for whom it let in."""
        site = self.stage()
        users = (site.top / "etc/users").read_bytes()
        old = site.lines["alice"].split(":")[1]
        note = text("alice") + text(old) + text("$5$rounds=1000$evil$x")
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["UPGRADE"], note)
        self.broken(site, puppet.monitor, session, puppet, "changes a hash before the login")
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["AUTH_ANSWER"], self.yes(site))
        puppet.monitor.say(TYPE["UPGRADE"], note)
        session.line()
        self.assertTrue(puppet.monitor.ended(8))
        puppet.end()
        session.close()
        session.wait(None)
        print("refused: auth: changes a hash without password_upgrade")
        self.assertEqual((site.top / "etc/users").read_bytes(), users)
        site.configure(password_upgrade="yes")
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["AUTH_ANSWER"], self.yes(site))
        puppet.monitor.say(TYPE["UPGRADE"], text("bob") + text(
            site.lines["bob"].split(":")[1]) + text("$5$rounds=1000$evil$x"))
        session.line()
        self.assertTrue(puppet.monitor.ended(8))
        puppet.end()
        session.quit()
        common.poll("no process is left", site._reaped)
        self.assertEqual((site.top / "etc/users").read_bytes(), users)
        print("refused: auth: changes another user's hash")

    def test_questions(self):
        site = self.stage()
        for operation in (0, 5, 255):
            session, puppet = self.start(site)
            session.greeting()
            puppet.monitor.say(TYPE["BRAKE_ASK"], bytes([operation]) + bytes(16))
            self.broken(site, puppet.monitor, session, puppet, "brake operation %d" % operation)
        session, puppet = self.start(site)
        session.greeting()
        _, payload, fds = puppet.monitor.ask(TYPE["SECRETS_ASK"], b"\0")
        self.assertEqual((payload, fds), (bytes([AUTH]), []))
        puppet.monitor.say(TYPE["SECRETS_ASK"], b"\0")
        puppet.monitor.say(TYPE["SECRETS_ASK"], b"\0")
        puppet.monitor.raw(b"\0")
        self.broken(site, puppet.monitor, session, puppet, "questions about secrets")

    def test_writes_the_log(self):
        site = self.stage()
        session, puppet = self.asked(site)
        puppet.monitor.say(TYPE["AUTH_ANSWER"], bytes([TEMP]) + self.yes(
            site, note="x\nlogin user=root\x1b[2J")[1:])
        session.expect(None, "-ERR [SYS/TEMP]...")
        self.finish(site, session, puppet, "forges the log")
        self.assertFalse([line for line in self.log(site) if "\x1b" in line])


class EvilMaildrop(Evil):
    """It is the mailbox's owner; the session and the monitor believe what they can check."""

    ROLE = "maildrop"

    def opening(self, site):
        """A client has given its password; the maildrop role begins."""
        session, stage = self.begin(site)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.send("PASS %s\r\n" % PASSWORD)
        return session, stage.puppet()

    def ready(self, verdict=OK, count=3, octets=300, why=""):
        return struct.pack("=BBQQ", verdict, 0, count, octets) + text(why)

    def opened(self, site, **options):
        session, puppet = self.opening(site)
        puppet.monitor.say(TYPE["DROP_READY"], self.ready(**options))
        session.expect(None, "+OK...")
        return session, puppet, puppet.pair(1)

    def test_says_what_others_say(self):
        site = self.stage()
        for rule in self.foreign("monitor"):
            session, puppet = self.opening(site)
            payload, fds = dummy(rule)
            puppet.monitor.say(rule.number, payload, fds)
            session.expect(None, "-ERR [SYS/TEMP]...")
            self.broken(site, puppet.monitor, session, puppet, "says " + rule.name)

    def test_ready(self):
        site = self.stage()
        for attempt, note in (("verdict 200", self.ready(verdict=200)),
                              ("an octet too many", self.ready() + b"\0"),
                              ("a NUL in its reason", self.ready(verdict=TEMP, why=b"x\0y"))):
            session, puppet = self.opening(site)
            puppet.monitor.say(TYPE["DROP_READY"], note)
            session.expect(None, "-ERR [SYS/TEMP]...")
            self.broken(site, puppet.monitor, session, puppet, attempt)
        session, puppet, _ = self.opened(site)
        puppet.monitor.say(TYPE["DROP_READY"], self.ready())
        self.broken(site, puppet.monitor, session, puppet, "is ready twice", logged_in=True)
        for count in (2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1):
            session, puppet = self.opening(site)
            puppet.monitor.say(TYPE["DROP_READY"], self.ready(count=count))
            session.end_of_file()
            self.finish(site, session, puppet, "%d messages" % count, "reason=failed",
                        logged_in=True)

    def test_asks_the_monitor(self):
        site = self.stage()
        for operation in (0, 4, 255):
            session, puppet = self.opening(site)
            puppet.monitor.say(TYPE["DOTLOCK_ASK"], bytes([operation]))
            self.broken(site, puppet.monitor, session, puppet, "dotlock operation %d" % operation)
        session, puppet = self.opening(site)
        for _ in range(RULES[TYPE["DIGESTER_ASK"]].uses):
            self.assertEqual(puppet.monitor.ask(TYPE["DIGESTER_ASK"], b"\0")[0],
                             TYPE["DIGESTER_ANSWER"])
        puppet.monitor.say(TYPE["DIGESTER_ASK"], b"\0")
        puppet.monitor.forget()
        self.broken(site, puppet.monitor, session, puppet, "starts helpers on and on")
        # the owner may write there: a dotlock of the monitor's is not for that place
        session, puppet = self.opening(site)
        answer = puppet.monitor.ask(TYPE["DOTLOCK_ASK"], b"\1")
        self.assertNotEqual(answer[1][0], 0, answer)
        self.finish(site, session, puppet, "has the monitor write where others may")
        self.assertEqual(list((site.top / "mail").glob("*.lock")), [])

    def test_notes(self):
        site = self.stage()
        session, puppet, _ = self.opened(site)
        note = bytes([0]) + text("x\nlogin user=root\x1b[2J")
        for _ in range(RULES[TYPE["DROP_NOTE"]].uses + 1):
            puppet.monitor.say(TYPE["DROP_NOTE"], note)
        self.broken(site, puppet.monitor, session, puppet, "fills the log", logged_in=True)
        self.assertFalse([line for line in self.log(site) if "\x1b" in line])

    def wrong_answer(self, site, attempt, command, answer, payload, fds=()):
        """The session closes: its client never sees more than the message that fits."""
        session, puppet, pair = self.opened(site)
        session.send(command + "\r\n")
        self.assertIsNotNone(pair.hear())
        pair.say(TYPE[answer], payload, fds)
        end = time.monotonic() + 8
        while not session.at_end and b"\r\n" not in session.buffer:
            self.assertLess(time.monotonic(), end, "no answer: " + attempt)
            session._fill(1)
        self.assertFalse(session.buffer.startswith(b"+OK"), (attempt, session.buffer[:100]))
        self.finish(site, session, puppet, attempt, logged_in=True)

    def test_lists(self):
        site = self.stage()
        good = struct.pack("=3Q", 100, 100, 100)
        pipe = os.pipe()
        for attempt, size, fd in (
                ("a list of another size", 24, sealed(good + good)),
                ("a list of too few", 16, sealed(good[:16])),
                ("a list of too many", 32, sealed(good + good[:8])),
                ("a list that may shrink", 24, sealed(good, 1 | 4 | 8)),
                ("a list that may be written", 24, sealed(good, 1 | 2 | 4)),
                ("a list of 2^64 - 1 bytes", 2 ** 64 - 1, sealed(good)),
                ("an empty list", 0, sealed(b"")),
                ("a pipe", 24, pipe[0])):
            self.wrong_answer(site, attempt, "LIST", "LIST_ANSWER",
                              struct.pack("=BQ", OK, size), [fd])
            if fd != pipe[0]:
                os.close(fd)
        self.wrong_answer(site, "no list", "LIST", "LIST_ANSWER", struct.pack("=BQ", OK, 24))
        for fd in pipe:
            os.close(fd)

    def test_messages(self):
        """Records: offset, length, octets, flags, inode, size, mtime, ctime."""
        site = self.stage()
        fd = os.open(site.users["alice"].path, os.O_RDONLY)
        top, pipe = os.open("/", os.O_RDONLY), os.pipe()

        def record(offset=0, length=10, octets=10):
            return struct.pack("=QQQIQQqq", offset, length, octets, 0, 1, 2, 3, 4)
        rows = [("more records than asked for", 2, 1, record() * 2, [fd]),
                ("255 records", 255, 1, record() * 30, [fd]),
                ("no descriptor", 1, 1, record(), []),
                ("two descriptors for one", 1, 1, record(), [fd, fd]),
                ("a record too few", 1, 0, b"", [fd]),
                ("an octet too many", 1, 1, record() + b"\0", [fd]),
                ("an offset behind the end", 1, 1, record(offset=2 ** 40), [fd]),
                ("an offset of 2^64 - 1", 1, 1, record(offset=2 ** 64 - 1), [fd]),
                ("a directory", 1, 1, record(), [top]),
                ("a pipe", 1, 1, record(), [pipe[0]])]
        for attempt, count, shared, records, fds in rows:
            self.wrong_answer(site, "a message with " + attempt, "RETR 1", "MESSAGE_ANSWER",
                              bytes([OK, count, shared]) + records, fds)
        for item in (fd, top, *pipe):
            os.close(item)

    def test_says_what_others_say_to_the_session(self):
        site = self.stage()
        for rule in self.foreign("session"):
            payload, fds = dummy(rule)
            self.wrong_answer(site, "says %s to the session" % rule.name, "RETR 1", rule.name,
                              payload, fds)


class EvilTls(Evil):
    """A client that also has the certificate: no key, and no word about who logs in."""

    ROLE = "tls"

    def stage(self, kind="mbox", mail=None, **options):
        site = super().stage(kind, mail, **options)
        where = site.top / "tls"
        where.mkdir(mode=0o700)
        site.authority = Authority(where)
        chain, key = site.authority.issue("server")
        site.configure(tls_certificate=chain, tls_key=key)
        return site

    def done(self, binding=0, identity=""):
        return (struct.pack("=IBB", 0x304, 0, binding) + bytes(44) +
                text("TLS_AES_256_GCM_SHA384") + text(identity) + text(""))

    def test_handshake(self):
        site = self.stage(auth_mechanisms="PLAIN EXTERNAL")
        once = self.done()
        rows = [("names a user where no certificate is asked for", [self.done(identity="alice")]),
                ("a binding of no kind", [self.done(binding=4)]),
                ("a binding of kind 255", [self.done(binding=255)]),
                ("is done twice", [once, once]), ("an octet too many", [once + b"\0"])]
        for attempt, notes in rows:
            session, puppet = self.start(site, "-s")
            for note in notes:
                puppet.monitor.say(TYPE["TLS_DONE"], note)
            self.broken(site, puppet.monitor, session, puppet, attempt)

    def test_says_what_others_say(self):
        site = self.stage()
        for rule in self.foreign("monitor"):
            session, puppet = self.start(site, "-s")
            payload, fds = dummy(rule)
            puppet.monitor.say(rule.number, payload, fds)
            self.broken(site, puppet.monitor, session, puppet, "says " + rule.name)

    def test_server_names(self):
        site = self.stage()
        session, puppet = self.start(site, "-s")
        self.assertEqual(puppet.monitor.ask(TYPE["PAIR_ASK"], text("../../etc/shadow"))[1:],
                         (b"\0", []))
        puppet.monitor.say(TYPE["PAIR_ASK"], text(common.HOSTNAME))
        self.broken(site, puppet.monitor, session, puppet, "asks for server names on and on")
        session, puppet = self.start(site, "-s")
        puppet.monitor.say(TYPE["TLS_CHECKED"], struct.pack("=BQQ", 1, 0, 2 ** 62) + text(""))
        self.broken(site, puppet.monitor, session, puppet, "says that the certificate is good")
        self.assertFalse((site.top / "run/certificate").exists())

    def keeper_refuses(self, site, attempt, messages):
        session, puppet = self.start(site, "-s")
        keeper = puppet.pair(1)
        for number, payload, fds in messages:
            keeper.say(number, payload, fds)
        self.assertTrue(keeper.ended(8), "not refused: " + attempt)
        self.finish(site, session, puppet, attempt,
                    "the tls role broke the message protocol")

    def test_keeper(self):
        """What it signs, and how often, is the keeper's to say."""
        site = self.stage()
        for rule in self.foreign("keeper"):
            self.keeper_refuses(site, "says %s to the keeper" % rule.name,
                                [(rule.number, *dummy(rule))])
        key = bytes(91)
        content = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + bytes(32)
        for attempt, signed in (("a document", b"I owe you a million".ljust(130)),
                                ("another protocol's words", content.replace(b"server", b"client")),
                                ("no hash", content + b"\0")):
            ask = struct.pack("=II", 0x403, len(key)) + key + signed
            self.keeper_refuses(site, "has %s signed" % attempt, [(TYPE["SIGN_ASK"], ask, ())])
        ask = struct.pack("=II", 0x403, 2 ** 32 - 1) + key + content
        self.keeper_refuses(site, "a key longer than the message", [(TYPE["SIGN_ASK"], ask, ())])
        for name in ("SIGN_ASK", "KEY_ASK", "OPEN_ASK", "SEAL_ASK", "KEY_LOAD"):
            rule = RULES[TYPE[name]]
            payload = bytes(rule.least + (64 if rule.is_request else 0))
            if name == "SIGN_ASK":
                payload = struct.pack("=II", 0x403, len(key)) + key + content
            session, puppet = self.start(site, "-s")
            keeper = puppet.pair(1)
            for _ in range(rule.uses):
                keeper.say(rule.number, payload)
                if rule.is_request:
                    self.assertEqual(keeper.hear()[1][0] == OK, name == "SEAL_ASK", name)
            keeper.say(rule.number, payload)
            self.assertTrue(keeper.ended(8), "not refused")
            self.finish(site, session, puppet, "asks the keeper on and on: " + name,
                        "the tls role broke the message protocol")


class EvilKeeper(EvilTls):
    """It has the key, and can fail handshakes."""

    ROLE = "keeper"
    test_handshake = test_server_names = test_keeper = None

    def shaking(self, site):
        session, puppet = self.start(site, "-s")
        client = context(site).wrap_bio(ssl.MemoryBIO(), hello := ssl.MemoryBIO(),
                                        server_hostname=common.HOSTNAME)
        with self.assertRaises(ssl.SSLWantReadError):
            client.do_handshake()
        session.send(hello.read())
        return session, puppet, puppet.pair(1)

    def test_answers(self):
        """The handshake fails, at once."""
        site = self.stage()
        for rule in self.foreign("tls"):
            session, puppet, tls = self.shaking(site)
            payload, fds = dummy(rule)
            tls.say(rule.number, payload, fds)
            while not session.at_end:
                session._fill(8)
            self.finish(site, session, puppet, "says %s to the tls role" % rule.name)


if __name__ == "__main__":
    common.main()
