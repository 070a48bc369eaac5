#!/usr/bin/env python3
"""Every shape of message, in both kinds of maildrop, right to the octet."""
import hashlib
import random
import re

import common
from common import stuffed, top, wire

HEAD = b"From: a@example.net\nSubject: shape\n\n"
VOLATILE = (b"status", b"x-status", b"x-keywords", b"x-uid", b"x-uidl", b"x-imap", b"x-imapbase",
            b"content-length", b"lines", b"x-expire-timestamp", b"x-label", b"x-mozilla-status",
            b"x-mozilla-status2", b"x-mozilla-keys", b"x-evolution")


def at_edge(edge, what, before=0):
    """A message that has `what` begin `before` octets ahead of offset `edge`."""
    fill = edge - before - len(HEAD)
    lines = (b"y" * 79 + b"\n") * (fill // 80)
    return HEAD + lines + b"z" * (fill - len(lines)) + what + b"tail\n"


def shapes():
    rows = {
        "empty": b"",
        "one line end": b"\n",
        "two line ends": b"\n\n",
        "header without end": b"Subject: x\n",
        "header alone": b"Subject: x\n\n",
        "no header": b"\nbody\n",
        "no colon": b"this is no header\nnor this\n\nbody\n",
        "plain": HEAD + b"one\ntwo\nthree\n",
        "crlf": HEAD.replace(b"\n", b"\r\n") + b"one\r\ntwo\r\n",
        "mixed line ends": HEAD + b"one\r\ntwo\nthree\r\n\r\nfour\n",
        "bare cr": HEAD + b"a\rb\r\rc\n\r\r\nd\r\n",
        "cr lines": HEAD + b"\r\r\n\r\r\r\n",
        "nul": HEAD + b"a\0b\n\0\n\0\0\0\n",
        "nul header": b"Subject: \0\n\0: x\n\n\0",
        "eight bit": HEAD + bytes(range(128, 256)) + b"\n",
        "every octet": HEAD + bytes(octet for octet in range(256)) * 3 + b"\n",
        "dots": HEAD + b".\n..\n...\n.x\n. \n.\r\n..\r\n.\r.\nx.\n",
        "dot first": b".dot: x\n.\n\n.\n",
        "only a dot": b".\n",
        "dot last": HEAD + b"x\n.\n",
        "end in the middle": HEAD + b"x\r\n.\r\ny\r\n.\n",
        "empty lines at the end": HEAD + b"x\n\n\n\n\n",
        "blank lines": HEAD + b" \n\t\n \r\n",
        "quoted from": HEAD + b">From me\n>>From you\n",
        "from in text": HEAD + b"From here on\nFrom now to then 12:00\nFrom \nFrom\n",
        "from date without empty line": HEAD + b"From x yesterday at noon\n",
        "folded header": b"Subject: a\n b\n\tc\nX-UID: 7\n 8\nTo: x\n\nbody\n",
        "long line": HEAD + b"x" * 70000 + b"\n",
        "very long line": HEAD + b"x" * (1 << 20) + b".\n.",
        "long dots": HEAD + b"." * 9000 + b"\n" + b".\n" * 9000,
        "long header": b"X: " + b"h" * 100000 + b"\n\nbody\n",
        "many short lines": HEAD + b"\n" * 5000 + b"a\n" * 5000,
        "status fields": b"Status: RO\nX-Status: A\nContent-Length: 4711\nSubject: s\n\nx\n",
    }
    for edge in (4096, 65536, 1 << 20):
        for before in (0, 1, 2):
            for name, what in (("crlf", b"\r\n"), ("dot", b"\n."), ("crlf dot", b"\r\n.\r\n"),
                               ("crs", b"\r\r\n")):
                if edge < 1 << 20 or before == 1:
                    rows["%s %d octets ahead of %d" % (name, before, edge)] = at_edge(
                        edge, what, before)
    chance = random.Random(1939)
    for number in range(12):
        rows["random %d" % number] = HEAD + bytes(
            chance.choice(b"\r\n\n\r..\0ab\xff:F ") for _ in range(chance.randrange(3000))) + b"x\n"
    return rows


def model_uidl(stored):
    """Rule (3) of design section 7 for an mbox message."""
    octets = wire(stored)
    if octets.startswith(b"\r\n"):
        head = b""
    else:
        head, sep, _ = octets.partition(b"\r\n\r\n")
        head += b"\r\n" if sep else b""
    kept, skipping, dropped = b"", False, 0
    for number, line in enumerate(re.findall(rb".*?\r\n", head, re.DOTALL)):
        if not number or line[:1] not in b" \t":
            name = line.partition(b":")[0].rstrip(b" \t").lower()
            skipping = b":" in line and name in VOLATILE
        if skipping:
            dropped += len(line)
        else:
            kept += line
    trailing = 0
    while (b"\r\n" + octets[:len(octets) - trailing]).endswith(b"\r\n\r\n"):
        trailing += 2
    digest = hashlib.sha256(b"pop3d-uidl-1\0" + kept + b"\0" +
                            b"%d" % (len(octets) - dropped - trailing))
    return digest.hexdigest()[:32]


class Messages(common.Case):
    def check_all(self, site, names, messages):
        """STAT, LIST, RETR, TOP agree, octet by octet."""
        session = site.login()
        sizes = [len(wire(stored)) for stored in messages]
        listed = [int(line.split()[1]) for line in session.lines("LIST")]
        for name, size, want in zip(names, listed, sizes):
            if size != want:
                self.fail("%s: %d octets listed, not %d" % (name, size, want))
        self.assertEqual(len(listed), len(messages))
        session.expect("STAT", "+OK %d %d" % (len(messages), sum(sizes)))
        for number, (name, stored) in enumerate(zip(names, messages), 1):
            octets = wire(stored)
            session.expect("LIST %d" % number, "+OK %d %d" % (number, len(octets)))
            session.expect("RETR %d" % number, "+OK...")
            self.same(name + ", RETR", session.body(), stuffed(octets))
            for lines in (0, 1, 3, 1000000):
                session.expect("TOP %d %d" % (number, lines), "+OK...")
                self.same("%s, TOP %d" % (name, lines), session.body(),
                          stuffed(top(octets, lines)))
        session.send("".join("RETR %d\r\n" % (i + 1) for i in range(len(messages))))
        for name, stored in zip(names, messages):
            session.expect(None, "+OK...")
            self.same(name + ", pipelined", session.body(), stuffed(wire(stored)))
        session.quit()

    def same(self, what, got, wanted):
        if got != wanted:
            at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b),
                      min(len(got), len(wanted)))
            self.fail("%s: differs at %d of %d (%d wanted): %r, not %r" % (
                what, at, len(got), len(wanted), got[max(at - 20, 0):at + 40],
                wanted[max(at - 20, 0):at + 40]))

    def test_shapes_maildir(self):
        rows = shapes()
        rows["no line end"] = HEAD + b"unfinished"
        rows["cr at the end"] = HEAD + b"unfinished\r"
        rows["dot at the end"] = HEAD + b"."
        rows["empty header end"] = b"Subject: x\n"
        site = self.site()
        alice = site.add_user("alice", "maildir", list(rows.values()))
        before = site.content(alice)
        self.check_all(site, list(rows), list(rows.values()))
        self.assertEqual(site.content(alice), before)

    def test_shapes_mbox(self):
        rows = shapes()
        site = self.site()
        alice = site.add_user("alice", "mbox", list(rows.values()))
        before = site.content(alice)
        self.check_all(site, list(rows), list(rows.values()))
        self.assertEqual(site.content(alice), before)

    def test_unfinished_mbox(self):
        """A missing last line end is added at login; no octet and no id changes by it."""
        for tail in (b"end", b"end\n", b"end\r\n", b"end\r", b".", b"end\n\n\n", b"end\r\r",
                     b"end\r\n\r", b"end\0", b"\0"):
            with self.subTest(tail=tail):
                messages = [common.simple_message(1), HEAD + b"x\n" + tail]
                site = self.site()
                alice = site.add_user()
                alice.path.write_bytes(common.mbox(messages, finish=False))
                site.own(alice.path, alice, 0o600)
                seen = []
                for _ in range(2):
                    session = site.login()
                    session.expect("RETR 2", "+OK...")
                    body = session.body()
                    seen.append((body, session.lines("LIST"), session.lines("UIDL")))
                    session.quit()
                site.deliver(alice, common.simple_message(3))
                session = site.login()
                session.expect("STAT", "+OK 3...")
                session.expect("RETR 2", "+OK...")
                seen.append((session.body(), session.lines("LIST")[:2],
                             session.lines("UIDL")[:2]))
                session.quit()
                self.assertEqual(seen[0], seen[1])
                self.assertEqual(seen[0], seen[2])
                stored = messages[1]
                if re.search(rb"\n\r?\n\Z", stored):  # its own empty line is the separator
                    stored = re.sub(rb"\r?\n\Z", b"", stored)
                self.same("RETR", seen[0][0], stuffed(wire(stored)))

    def test_no_message(self):
        """A file that holds no message is an empty maildrop and is never touched."""
        for content in (b"", b"\n", b"this is no mbox\n", b"From \n", b"From x\n\n"):
            with self.subTest(content=content):
                site = self.site()
                alice = site.add_user()
                alice.path.write_bytes(content)
                site.own(alice.path, alice, 0o600)
                session = site.login()
                session.expect("STAT", "+OK 0 0")
                session.quit()
                self.assertEqual(alice.path.read_bytes(), content)

    def test_boundaries(self):
        """What begins a message in an mbox, and what does not."""
        good = [b"From a@b Fri Nov 20 10:54:00 2026", b"From a@b Fri Nov 20 10:54 2026",
                b"From - Fri Nov 20 10:54:00 2026", b"From a@b Fri Nov  2 10:54:00 2026",
                b"From a@b Fri Nov 20 10:54:00 UTC 2026",
                b"From a@b Fri Nov 20 10:54:00 2026 +0100",
                b"From a@b Fri Nov 20 10:54:00 2026 remote from host"]
        bad = [b"From a@b Fri Nov 20 25:54:00 2026", b"From a@b Fri Nov 32 10:54:00 2026",
               b"From a@b Xyz Nov 20 10:54:00 2026", b"From a@b Fri Nob 20 10:54:00 2026",
               b"From a@b Fri Nov 20 10:54:00", b"From a@b", b">From a@b Fri Nov 20 10:54:00 2026",
               b" From a@b Fri Nov 20 10:54:00 2026", b"from a@b Fri Nov 20 10:54:00 2026"]
        for line, begins in [(line, True) for line in good] + [(line, False) for line in bad]:
            with self.subTest(line=line):
                site = self.site()
                alice = site.add_user()
                alice.path.write_bytes(common.mbox([common.simple_message(1)]) + line +
                                       b"\nSubject: second\n\nx\n\n")
                site.own(alice.path, alice, 0o600)
                session = site.login()
                session.expect("STAT", "+OK 2..." if begins else "+OK 1...")
                session.quit()

    def test_hidden_message(self):
        """The first message, where it is an IMAP server's internal data, is nobody's mail."""
        hidden = (b"Date: Fri, 20 Nov 2026 10:54:00 +0000\nFrom: Mail System Internal Data <x@y>\n"
                  b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
                  b"X-IMAP: 1234567890 0000000003\nStatus: RO\n\nThis text is part of it.\n")
        site = self.site()
        alice = site.add_user(messages=[hidden, common.simple_message(1)])
        session = site.login()
        session.expect("STAT", "+OK 1 %d" % len(wire(common.simple_message(1))))
        session.expect("RETR 1", "+OK...")
        self.assertEqual(session.body(), stuffed(wire(common.simple_message(1))))
        session.expect("DELE 1", "+OK...")
        session.quit()
        self.assertEqual(alice.path.read_bytes(), common.mbox([hidden]))

    def test_big_message(self):
        """A message of 48 MB passes octet by octet, and no process grows with it."""
        line = b"." + b"0123456789" * 7 + b"\n"
        stored = HEAD + line * ((48 << 20) // len(line)) + b"end"
        octets = wire(stored)
        wanted = stuffed(octets)
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                site.add_user("alice", kind, [stored])
                session = site.login()
                session.expect("LIST 1", "+OK 1 %d" % len(octets))
                session.expect("RETR 1", "+OK %d octets" % len(octets))
                got, digest = 0, hashlib.sha256()
                while got < len(wanted):
                    piece = session.read(min(1 << 20, len(wanted) - got))
                    digest.update(piece)
                    got += len(piece)
                self.assertEqual(digest.digest(), hashlib.sha256(wanted).digest())
                session.expect("NOOP", "+OK...")
                for role in session.roles():
                    if not common.SANITIZED and "VmHWM" in role.status:
                        self.assertLess(int(role.status["VmHWM"].split()[0]), 8 << 10, role)
                session.quit()

    def test_many_messages(self):
        """Thousands of messages: every list is whole, one by one and in one write."""
        for kind, count in (("mbox", 20000), ("maildir", 3000)):
            with self.subTest(kind=kind):
                site = self.site()
                messages = [common.simple_message(number) for number in range(1, count + 1)]
                site.add_user("alice", kind, messages)
                sizes = [len(wire(stored)) for stored in messages]
                session = site.login()
                session.expect("STAT", "+OK %d %d" % (count, sum(sizes)))
                self.assertEqual(session.lines("LIST"),
                                 ["%d %d" % item for item in enumerate(sizes, 1)])
                ids = [line.split()[1] for line in session.lines("UIDL")]
                self.assertEqual(len(set(ids)), count)
                session.send("".join("RETR %d\r\n" % number for number in range(1, count + 1)))
                for stored in messages:
                    session.line()
                    self.same("RETR", session.body(), stuffed(wire(stored)))
                session.send("".join("DELE %d\r\n" % n for n in range(1, count + 1) if n != 7))
                for _ in range(count - 1):
                    session.expect(None, "+OK...")
                session.quit()
                session = site.login()
                session.expect("STAT", "+OK 1 %d" % sizes[6])
                session.expect("UIDL 1", "+OK 1 " + ids[6])
                session.quit()

    def test_uidl_model(self):
        """Ids of mbox messages are what the rule says, and outlive status fields."""
        rows = shapes()
        keep = {name: stored for name, stored in rows.items() if len(stored) < 200000}
        unique = {}
        for name, stored in keep.items():
            unique.setdefault(model_uidl(stored), (name, stored))
        site = self.site()
        site.add_user(messages=[stored for _, stored in unique.values()])
        session = site.login()
        got = [line.split()[1] for line in session.lines("UIDL")]
        for (uidl, (name, _)), have in zip(unique.items(), got):
            if uidl != have:
                self.fail("%s: %s, not %s" % (name, have, uidl))
        session.quit()

    def test_uidl_twins(self):
        """Equal messages have different ids, and keep them."""
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                site.add_user("alice", kind, [common.simple_message(1)] * 4)
                seen = []
                for _ in range(2):
                    session = site.login()
                    seen.append(session.lines("UIDL"))
                    session.quit()
                self.assertEqual(seen[0], seen[1])
                self.assertEqual(len({line.split()[1] for line in seen[0]}), 4)

    def test_uidl_maildir(self):
        """The base name is the id; an odd one is digested; flags change nothing."""
        site = self.site()
        alice = site.add_user("alice", "maildir", [])
        names = {"1.good.host": "1.good.host", "2.flags.host:2,RS": "2.flags.host",
                 "3." + "x" * 68: "3." + "x" * 68}
        long_name = "4." + "x" * 90
        names[long_name] = "h" + hashlib.sha256(long_name.encode()).hexdigest()[:32]
        names["5.with blank"] = "h" + hashlib.sha256(b"5.with blank").hexdigest()[:32]
        for name in names:
            path = alice.path / ("cur" if ":" in name else "new") / name
            path.write_bytes(common.simple_message(1))
            site.own(path, alice)
        session = site.login()
        self.assertEqual([line.split()[1] for line in session.lines("UIDL")],
                         list(names.values()))
        session.quit()


if __name__ == "__main__":
    common.main()
