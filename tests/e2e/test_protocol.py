#!/usr/bin/env python3
"""Every command in every state, every edge of its arguments, lines of any form."""
import time

import common
from common import PASSWORD, stuffed, wire

MAIL = [common.simple_message(1), common.simple_message(2, 500), common.simple_message(3)]
SIZES = [len(wire(stored)) for stored in MAIL]
COMMANDS_AUTH = ["CAPA", "QUIT", "USER alice", "PASS x"]
COMMANDS_TRANS = ["STAT", "LIST", "LIST 1", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 0",
                  "UIDL", "UIDL 1"]
BAD_NUMBERS = ["0", "-1", "+1", "1x", "x1", "4", "4294967295", "4294967296", "4294967297",
               "18446744073709551615", "18446744073709551616", "18446744073709551617",
               "99999999999999999999999999999999", "1.0", "0x1", "1e0", "''", "*", "%d"]


class Protocol(common.Case):
    def open(self, kind="mbox", **options):
        site = self.site(**options)
        site.add_user("alice", kind, MAIL)
        return site

    def test_whole_session(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.open(kind)
                session = site.start()
                session.greeting()
                session.play("""
                    C: USER alice
                    S: +OK...
                    C: PASS correct horse
                    S: +OK...
                    C: STAT
                    S: +OK 3 %d
                    C: LIST
                    S: +OK...
                    M: 1 %d|2 %d|3 %d
                    C: LIST 2
                    S: +OK 2 %d
                    C: DELE 2
                    S: +OK...
                    C: STAT
                    S: +OK 2 %d
                    C: LIST
                    S: +OK...
                    M: 1 %d|3 %d
                    C: LIST 2
                    S: -ERR...
                    C: RETR 2
                    S: -ERR...
                    C: TOP 2 0
                    S: -ERR...
                    C: UIDL 2
                    S: -ERR...
                    C: DELE 2
                    S: -ERR...
                    C: NOOP
                    S: +OK...
                    C: RSET
                    S: +OK...
                    C: STAT
                    S: +OK 3 %d
                    C: DELE 1
                    S: +OK...
                    C: DELE 3
                    S: +OK...
                    C: QUIT
                    S: +OK...
                    E:
                """ % (sum(SIZES), *SIZES, SIZES[1], SIZES[0] + SIZES[2], SIZES[0], SIZES[2],
                       sum(SIZES)))
                again = site.login()
                again.expect("STAT", "+OK 1 %d" % SIZES[1])
                again.expect("RETR 1", "+OK...")
                self.assertEqual(again.body(), stuffed(wire(MAIL[1])))
                again.quit()

    def test_states(self):
        site = self.open()
        session = site.start()
        session.greeting()
        for command in COMMANDS_TRANS:
            session.expect(command, "-ERR...")
        session.expect("PASS " + PASSWORD, "-ERR...")  # no USER yet
        session.expect("USER alice", "+OK...")
        for command in COMMANDS_TRANS:
            session.expect(command, "-ERR...")
            session.expect("CAPA", "+OK...")  # not 20 refused in a row
            session.body()
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        for command in ("USER alice", "PASS " + PASSWORD):
            session.expect(command, "-ERR...")
        session.quit()

    def test_quit_before_login(self):
        site = self.open()
        for words in ([], ["USER alice"], ["CAPA"]):
            session = site.start()
            session.greeting()
            for word in words:
                session.expect(word, "+OK...")
                if word == "CAPA":
                    session.body()
            session.quit()

    def test_letter_case(self):
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("uSeR alice", "+OK...")
        session.expect("pass " + PASSWORD, "+OK...")
        session.expect("stat", "+OK 3 %d" % sum(SIZES))
        session.expect("Dele 1", "+OK...")
        session.expect("rSET", "+OK...")
        session.quit()
        session = site.start()
        session.greeting()
        session.expect("USER Alice", "+OK...")  # names are compared octet by octet
        session.expect("PASS " + PASSWORD, "-ERR [AUTH]...")
        session.quit()

    def test_numbers(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                session = self.open(kind).login()
                for number in BAD_NUMBERS:
                    for command in ("LIST %s", "RETR %s", "DELE %s", "UIDL %s", "TOP %s 0"):
                        session.expect(command % number, "-ERR...")
                for lines in ("-1", "+1", "1x", "", "x", "0x1"):
                    session.expect("TOP 1 " + lines, "-ERR...")
                session.expect("STAT", "+OK 3 %d" % sum(SIZES))
                session.quit()

    def test_arity(self):
        session = self.open().login()
        for command in ("STAT 1", "NOOP 1", "RSET 1", "RETR", "DELE", "TOP", "TOP 1",
                        "LIST 1 2", "RETR 1 2", "DELE 1 2", "UIDL 1 2", "TOP 1 2 3", "QUIT 1"):
            session.expect(command, "-ERR...")
        session.expect("STAT", "+OK 3 %d" % sum(SIZES))
        session.quit()

    def test_unknown_commands(self):
        session = self.open().login()
        for command in (b"", b"X", b"STATUS", b"STA", b"RETR1", b"XTND XMIT", b"\xff\xfe",
                        b"GET / HTTP/1.0", b"%s%n%n", b"A" * 253, b"stat\tstat"):
            session.expect(command, "-ERR...")
            session.expect("NOOP", "+OK...")
        session.quit()

    def test_line_length(self):
        """At most 255 octets with CRLF: 248 octets of password fit, 249 do not."""
        site = self.open()
        site.add_user("fits", password="p" * 248)
        site.add_user("wide", password="p" * 249)
        site.login("fits").quit()
        session = site.start()
        session.greeting()
        session.expect("USER wide", "+OK...")
        answer = session.ask("PASS " + "p" * 249)
        self.assertTrue(answer.startswith(b"-ERR"), answer)
        self.assertNotIn(b"[AUTH]", answer)  # the line was refused, not the password
        session.quit()

    def test_long_lines_stay_in_step(self):
        session = self.open().login()
        for length in (254, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097, 65536, 1 << 20):
            session.expect(b"A" * length, "-ERR...")
            session.expect("NOOP", "+OK...")
        session.send(b"B" * 300 + b"\r\nSTAT\r\n" + b"C" * 9000 + b"\r\nSTAT\r\n")
        for wanted in ("-ERR...", "+OK 3 %d" % sum(SIZES)) * 2:
            session.expect(None, wanted)
        session.quit()

    def test_odd_octets(self):
        session = self.open().login()
        for line in (b"NO\0OP", b"\0", b"NOOP\0", b"STAT\r", b"\rSTAT", b"ST\rAT", b"LIST 1\0",
                     b"LIST 1\r"):
            session.expect(line, "-ERR...")
            session.expect("NOOP", "+OK...")
        session.send(b"NOOP\nSTAT\nLIST 1\r\n")  # a bare LF ends a line
        for wanted in ("+OK...", "+OK 3 %d" % sum(SIZES), "+OK 1 %d" % SIZES[0]):
            session.expect(None, wanted)
        session.quit()

    def test_split_anywhere(self):
        site = self.open()
        script = ("USER alice\r\nPASS %s\r\nSTAT\r\nBAD\r\nLIST 1\r\nRETR 1\r\nQUIT\r\n" %
                  PASSWORD).encode()
        ends = []
        for cut in [0] + list(range(1, len(script), 3)):
            session = site.start()
            session.greeting()
            if cut:  # two pieces
                session.send(script[:cut])
                time.sleep(0.002)
                session.send(script[cut:])
            else:  # octet by octet
                for octet in range(len(script)):
                    session.send(script[octet:octet + 1])
                    time.sleep(0.0005)
            answers = [session.line() for _ in range(6)]
            raw = session.body()
            answers.append(session.line())
            session.ended()
            self.assertEqual(answers[2], b"+OK 3 %d\r\n" % sum(SIZES))
            self.assertEqual(raw, stuffed(wire(MAIL[0])))
            ends.append(answers)
        self.assertEqual(len(set(map(tuple, ends))), 1)

    def test_pipelined(self):
        """20 000 commands in one write are answered in step."""
        session = self.open().login()
        rows = [("NOOP", b"+OK"), ("STAT", b"+OK 3 %d" % sum(SIZES)), ("BAD", b"-ERR"),
                ("LIST 2", b"+OK 2 %d" % SIZES[1]), ("LIST 9", b"-ERR"), ("X" * 300, b"-ERR"),
                ("DELE 9", b"-ERR"), ("RSET", b"+OK")]
        count = 20000
        session.send("".join(rows[i % len(rows)][0] + "\r\n" for i in range(count)))
        for i in range(count):
            answer = session._until(lambda: session.buffer.find(b"\n") + 1 or -1)
            if not answer.startswith(rows[i % len(rows)][1]):
                self.fail("command %d (%s): %r" % (i, rows[i % len(rows)][0], answer))
        session.quit()

    def test_pipelined_login_and_quit(self):
        site = self.open()
        session = site.start()
        session.send("USER alice\r\nPASS %s\r\nDELE 1\r\nRETR 2\r\nQUIT\r\nSTAT\r\n" % PASSWORD)
        session.greeting()
        for _ in range(4):
            session.expect(None, "+OK...")
        self.assertEqual(session.body(), stuffed(wire(MAIL[1])))
        session.expect(None, "+OK...")
        session.ended()  # nothing behind QUIT is answered, and no answer is lost
        site.login().expect("STAT", "+OK 2 %d" % sum(SIZES[1:]))

    def test_refused_before_login(self):
        """20 refused commands in a row before login close; a good one starts anew."""
        site = self.open()
        session = site.start()
        session.greeting()
        for _ in range(19):
            session.expect("BAD", "-ERR...")
        session.expect("CAPA", "+OK...")
        session.body()
        for _ in range(20):
            session.expect("BAD", "-ERR...")
        session.ended(status=None)

    def test_refused_after_login(self):
        session = self.open().login()
        for _ in range(50):
            session.expect("BAD", "-ERR...")
        session.quit()

    def test_capabilities(self):
        site = self.open()
        session = site.start()
        session.greeting()
        before = session.lines("CAPA")
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        self.assertEqual(session.lines("CAPA"), before)
        session.quit()
        words = [line.split()[0] for line in before]
        for word in ("TOP", "UIDL", "USER", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING",
                     "EXPIRE", "IMPLEMENTATION"):
            self.assertIn(word, words)
        self.assertIn("EXPIRE NEVER", before)
        self.assertEqual(len(words), len(set(words)))
        self.assertNotIn("STLS", words)

    def test_cleartext_refused(self):
        site = self.open(cleartext_login="no")
        session = site.start()
        session.greeting()
        self.assertNotIn("USER", session.lines("CAPA"))
        session.expect("USER alice", "-ERR...")
        session.expect("PASS " + PASSWORD, "-ERR...")
        session.quit()

    def test_empty_maildrop(self):
        for kind in ("mbox", "maildir"):
            for messages in (None, []):
                with self.subTest(kind=kind, messages=messages):
                    site = self.site()
                    site.add_user("alice", kind, messages)
                    session = site.login()
                    session.expect("STAT", "+OK 0 0")
                    self.assertEqual(session.lines("LIST"), [])
                    self.assertEqual(session.lines("UIDL"), [])
                    for command in ("LIST 1", "RETR 1", "DELE 1", "UIDL 1", "TOP 1 1"):
                        session.expect(command, "-ERR...")
                    session.quit()

    def test_uidl(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.open(kind)
                session = site.login()
                lines = session.lines("UIDL")
                self.assertEqual([line.split()[0] for line in lines], ["1", "2", "3"])
                ids = [line.split()[1] for line in lines]
                self.assertEqual(len(set(ids)), 3)
                for number, uidl in enumerate(ids, 1):
                    self.assertRegex(uidl, r"\A[\x21-\x7e]{1,70}\Z")
                    session.expect("UIDL %d" % number, "+OK %d %s" % (number, uidl))
                session.expect("DELE 1", "+OK...")
                self.assertEqual(session.lines("UIDL"), lines[1:])
                session.quit()
                session = site.login()
                self.assertEqual(session.lines("UIDL"),
                                 ["%d %s" % item for item in enumerate(ids[1:], 1)])
                session.quit()


if __name__ == "__main__":
    common.main()
