"""EXPIRE is enforced as announced: what was retrieved, when, and what goes."""
import json
import os
import time
import unittest

import common

MAIL = [common.simple_message(number, 300) for number in range(6)]
HEAD = "pop3d-seen 1\n"
KINDS = ("mbox", "maildir")


def today():
    return int(time.time()) // 86400


class Expire(common.Case):
    def seen(self, site):
        path = site.top / "state/alice/seen"
        return path.read_text().splitlines()[1:] if path.exists() else None

    def ids(self, site):
        session = site.login()
        lines = session.lines("UIDL")
        session.quit()
        return [line.split()[1] for line in lines]

    def write_seen(self, site, lines, user=None):
        path = site.top / "state/alice/seen"
        path.write_text(HEAD + "".join(line + "\n" for line in lines))
        site.own(path, user or site.users["alice"], 0o600)

    def expire(self, site, *args, status=0):
        text = site.admin("--json", "maildrop", "expire", *args, status=status)
        return json.loads(text) if text else None

    def settled(self, site):
        """All that belongs to the sessions has ended: what they save is saved."""
        common.poll("sessions end", lambda: common.lock_is_free(site.lock_path()))

    # ---- what is announced

    def test_announced(self):
        for options, announced in (
                ({}, "NEVER"), ({"expire": 0}, "0"), ({"expire": 30}, "30"),
                ({"expire_unread": 60}, "60"), ({"expire": 30, "expire_unread": 60}, "30"),
                ({"expire": 90, "expire_unread": 60}, "60")):
            with self.subTest(**options):
                site = self.site(**options)
                site.add_user(messages=MAIL[:1])
                session = site.start()
                session.greeting()
                self.assertIn("EXPIRE " + announced, session.lines("CAPA"))
                session.expect("USER alice", "+OK...")
                session.expect("PASS " + common.PASSWORD, "+OK...")
                self.assertIn("EXPIRE " + announced, session.lines("CAPA"))
                session.quit()

    def test_announced_to_each(self):
        """The user's own time is announced to him, kept, and held to; before, the least of all."""
        site = self.site(expire=30, expire_min=5, expire_unread=20)
        site.add_user(messages=MAIL)
        ids = self.ids(site)
        for own, before, after, gone in (("10", "5 USER", "10", 2), ("5", "5 USER", "5", 3),
                                         ("never", "5 USER", "20", 0), ("", "5 USER", "20", 1)):
            with self.subTest(own):
                site.admin("user", "set", "alice", "expire=" + own)
                session = site.start()
                session.greeting()
                self.assertIn("EXPIRE " + before, session.lines("CAPA"))
                session.expect("USER alice", "+OK...")
                session.expect("PASS " + common.PASSWORD, "+OK...")
                self.assertIn("EXPIRE " + after, session.lines("CAPA"))
                session.quit()
                self.write_seen(site, ["%d %s" % (today() - days, one) for days, one in
                                       zip((40, 15, 8, 3), ids)])
                self.assertEqual(self.expire(site, "alice", "--dry-run")["expired"], gone)

    # ---- what is a retrieval

    def test_what_counts(self):
        rows = (  # commands, in one write each; how it ends; messages that count
            ("spoke again", ["RETR 1", "NOOP"], "close", {0}),
            ("did not speak again", ["NOOP", "RETR 1"], "close", set()),
            ("only the top", ["TOP 1 1000", "NOOP"], "close", set()),
            ("QUIT", ["RETR 2"], "quit", {1}),
            ("all at once, QUIT too", ["RETR 1\r\nRETR 3\r\nQUIT"], "ended", {0, 2}),
            ("two at once", ["RETR 1\r\nRETR 3"], "close", set()),
            ("two at once, and more", ["RETR 1\r\nRETR 3", "STAT"], "close", {0, 2}),
            ("twice", ["RETR 4", "RETR 4", "NOOP"], "close", {3}),
            ("reset", ["RETR 4", "DELE 4", "RSET"], "quit", {3}),
            ("deleted", ["RETR 4", "DELE 4", "RETR 1"], "quit", {0}),
            ("not there", ["RETR 9", "NOOP"], "close", set()),
        )
        for kind in KINDS:
            site = self.site(expire=7)
            for name, writes, end, counted in rows:
                with self.subTest(name, kind=kind):
                    self._retrieve(site, kind, writes, end, counted)

    def _retrieve(self, site, kind, writes, end, counted):
        user = site.users.get("alice") or site.add_user(kind=kind)
        site.fill(user, MAIL)
        (site.top / "state/alice/seen").unlink(missing_ok=True)
        ids = self.ids(site)
        session = site.login()
        for text in writes:
            session.send(text + "\r\n")
            for command in text.split("\r\n"):
                answer = session.line()
                if command.startswith(("RETR", "TOP")) and answer.startswith(b"+OK"):
                    session.body()
        if end == "quit":
            session.quit()
        session.close()
        session.wait(None)
        self.settled(site)
        lines = self.seen(site) or []
        self.assertEqual({line.split()[1] for line in lines}, {ids[n] for n in counted})
        for line in lines:
            self.assertIn(int(line.split()[0]), (today() - 1, today()))

    def test_off(self):
        site = self.site()
        site.add_user(messages=MAIL)
        session = site.login()
        session.multi("RETR 1")
        session.quit()
        self.settled(site)
        self.assertIsNone(self.seen(site))
        site.admin("maildrop", "expire", "alice", status=78)

    def test_mark_seen(self):
        """The other use of what was retrieved: with and without expire."""
        for options in ({}, {"expire": 7}):
            with self.subTest(**options):
                site = self.site(mark_seen="yes", **options)
                alice = site.add_user(kind="maildir", messages=MAIL)
                session = site.login()
                session.multi("RETR 1")
                session.ask("DELE 2")
                session.quit()
                self.settled(site)
                self.assertEqual(sorted(path.name.partition(":")[2]
                                        for path in (alice.path / "cur").iterdir()),
                                 ["2,S", "2,S", "2,S"])
                self.assertEqual(self.seen(site) is not None, bool(options))

    # ---- what goes

    def test_removed(self):
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site(expire=7)
                alice = site.add_user(kind=kind, messages=MAIL)
                ids, before = self.ids(site), site.content(alice)
                days = [today() - 400, today() - 8, today() - 6, today() + 300]
                lines = ["%d %s" % pair for pair in zip(days, ids)]
                self.write_seen(site, lines + ["%d of-no-message" % days[0]])
                told = self.expire(site, "alice", "--dry-run")
                self.assertEqual(told, {
                    "user": "alice", "messages": 6, "expired": 2, "unretrieved": 0,
                    "octets": sum(len(common.wire(m)) for m in MAIL[:2]), "purged": 0,
                    "dry_run": True, "uidls": ids[:2]})
                self.assertEqual(site.content(alice), before)
                told = self.expire(site, "alice")
                self.assertEqual((told["messages"], told["expired"], told["uidls"]),
                                 (4, 2, ids[:2]))
                self.assertEqual(self.ids(site), ids[2:])
                # what is of no message is gone, a day to come is no more than today
                left = dict(reversed(line.split()) for line in self.seen(site))
                self.assertEqual(set(left), set(ids[2:4]))
                self.assertEqual(int(left[ids[2]]), days[2])
                self.assertLessEqual(int(left[ids[3]]), today())
                self.assertEqual(self.expire(site, "alice")["expired"], 0)
                site.admin("uidl", "check", "alice")

    def test_at_once(self):
        site = self.site(expire=0)
        site.add_user(messages=MAIL)
        session = site.login()
        session.multi("RETR 2")
        session.quit()
        self.settled(site)
        self.assertEqual(self.expire(site, "alice")["expired"], 1)
        self.assertEqual(len(self.ids(site)), len(MAIL) - 1)

    def test_an_id_that_comes_again(self):
        """A message that was deleted is no longer retrieved, if its like comes again."""
        site = self.site(expire=7)
        alice = site.add_user(messages=MAIL)
        ids = self.ids(site)
        self.write_seen(site, ["%d %s" % (today() - 400, one) for one in ids])
        session = site.login()
        session.ask("DELE 6")
        session.quit()
        self.settled(site)
        site.deliver(alice, MAIL[5])
        self.assertEqual(self.ids(site), ids)
        self.assertEqual(self.expire(site, "alice")["uidls"], ids[:5])
        self.assertEqual(self.ids(site), ids[5:])

    def test_unretrieved(self):
        site = self.site(expire=7, expire_unread=30)
        alice = site.add_user(messages=MAIL)
        site.add_user("bob", messages=MAIL[:2])
        ids = self.ids(site)
        self.assertEqual([one["expired"] for one in self.expire(site, "--all")], [0, 0])
        lines = self.seen(site)
        self.assertEqual([line.split()[::2] for line in lines], [["met", one] for one in ids])
        self.write_seen(site, ["met %d %s" % (today() - 40, one) for one in ids[:4]])
        session = site.login()
        session.multi("RETR 2")
        session.quit()
        self.settled(site)
        told = self.expire(site, "alice")
        self.assertEqual((told["expired"], told["unretrieved"]), (3, 3))
        self.assertEqual(self.ids(site), [ids[1], ids[4], ids[5]])
        del alice

    def test_in_use(self):
        site = self.site(expire=7, lock_timeout=0)
        site.add_user(messages=MAIL)
        site.add_user("bob", messages=MAIL)
        ids = self.ids(site)
        self.write_seen(site, ["%d %s" % (today() - 400, ids[0])])
        session = site.login()
        told = self.expire(site, "--all", status=75)
        self.assertEqual([one["user"] for one in told], ["bob"])
        self.assertEqual(len(session.lines("LIST")), len(MAIL))
        session.quit()
        self.settled(site)
        self.assertEqual(self.expire(site, "alice")["expired"], 1)

    def test_read_only(self):
        if not common.AS_ROOT:
            self.skipTest("needs root")
        site = self.site(expire=7)
        alice = site.add_user(messages=MAIL)
        ids = self.ids(site)
        self.write_seen(site, ["%d %s" % (today() - 400, ids[0])])
        alice.path.chmod(0o400)
        site.admin("maildrop", "expire", "alice", status=77)
        self.assertEqual(alice.path.read_bytes(), common.mbox(MAIL))

    # ---- a file that is not as it should be

    def test_hostile_file(self):
        site = self.site(expire=7)
        alice = site.add_user(messages=MAIL)
        ids = self.ids(site)
        path = site.top / "state/alice/seen"
        old, line = today() - 400, "%d %s\n" % (today() - 400, ids[5])
        elsewhere = site.top / "mail/elsewhere"
        elsewhere.write_text(HEAD + line)
        site.own(elsewhere, alice)
        rows = (
            ("empty", b"", 0), ("other head", b"pop3d-seen 2\n" + line.encode(), 0),
            ("binary", os.urandom(5000), 0), ("line cut off", (HEAD + line[:-1]).encode(), 0),
            ("a block of zeros", HEAD.encode() + bytes(4096) + line.encode(), 0),
            ("zeros, then a line", HEAD.encode() + bytes(4096) + b"\n" + line.encode(), 1),
            ("a very long line", HEAD.encode() + b"1" * 100000 + line.encode(), 0),
            ("a long line, then one", HEAD.encode() + b"1" * 100000 + b"\n" + line.encode(), 1),
            ("bad days", (HEAD + "+%d %s\n-1 %s\n99999999999 %s\n %s\n" % (
                old, ids[0], ids[1], ids[2], ids[3]) + line).encode(), 1),
            ("a symbolic link", elsewhere, 0), ("a FIFO", None, 0), ("a directory", ..., 0),
        )
        for name, content, expired in rows:
            with self.subTest(name):
                site.fill(alice, MAIL)
                path.unlink(missing_ok=True)
                if content is None:
                    os.mkfifo(path)
                elif content is ...:
                    path.mkdir()
                elif isinstance(content, bytes):
                    path.write_bytes(content)
                else:
                    path.symlink_to(content)
                site.own(path, alice)
                session = site.login()
                session.multi("RETR 1")
                session.quit()
                self.settled(site)
                told = json.loads(site.admin("--json", "maildrop", "expire", "alice", "--dry-run"))
                self.assertEqual(told["expired"], expired)
                if path.is_dir():
                    path.rmdir()
        self.assertEqual(elsewhere.read_text(), HEAD + line)

    def test_no_room(self):
        """What cannot be kept fails nobody."""
        site = self.site(expire=7)
        site.add_user(messages=MAIL)
        self.ids(site)
        state = site.top / "state/alice"
        path = state / "seen"
        path.mkdir()
        session = site.login()
        session.multi("RETR 1")
        session.ask("DELE 2")
        session.quit()
        site.logged("what was retrieved cannot be kept")
        self.assertEqual(len(self.ids(site)), len(MAIL) - 1)
        path.rmdir()

    def test_growth(self):
        site = self.site(expire=7)
        site.add_user(messages=MAIL)
        ids = self.ids(site)
        self.write_seen(site, ["%d %s" % (today() - 3, "gone%d" % n) for n in range(8000)] +
                        ["%d %s" % (today() - 3, ids[2])])
        session = site.login()
        session.multi("RETR 3")
        session.quit()
        self.settled(site)
        self.assertEqual(self.seen(site), ["%d %s" % (today() - 3, ids[2])])


if __name__ == "__main__":
    common.main()
