#!/usr/bin/env python3
"""How sessions end, share a maildrop with others, and lose nothing."""
import os
import signal
import time

import common
from common import stuffed, wire

MAIL = [common.simple_message(number, 200 * number) for number in range(1, 6)]


class Sessions(common.Case):
    def open(self, kind="mbox", messages=None, **options):
        site = self.site(**options)
        site.add_user("alice", kind, MAIL if messages is None else messages)
        return site

    def kept(self, site, numbers, extra=()):
        """Only these messages are in the maildrop, each whole, in order."""
        session = site.login()
        wanted = [MAIL[number - 1] for number in numbers] + list(extra)
        session.expect("STAT", "+OK %d %d" % (len(wanted), sum(len(wire(m)) for m in wanted)))
        for number, stored in enumerate(wanted, 1):
            session.expect("RETR %d" % number, "+OK...")
            self.assertEqual(session.body(), stuffed(wire(stored)))
        session.quit()

    def both(self, **options):
        """A site of each kind."""
        for kind in ("mbox", "maildir"):
            yield self.open(kind, **options)

    # -- deleting

    def test_every_set_of_deletions(self):
        """DELE and QUIT for all 32 sets of five messages."""
        for kind in ("mbox", "maildir"):
            site = self.open(kind)
            alice = site.users["alice"]
            for bits in range(32):
                with self.subTest(kind=kind, bits=bits):
                    site.fill(alice, MAIL)
                    session = site.login()
                    gone = [number for number in range(1, 6) if bits >> (number - 1) & 1]
                    for number in gone:
                        session.expect("DELE %d" % number, "+OK...")
                    session.quit()
                    left = [stored for number, stored in enumerate(MAIL, 1) if number not in gone]
                    if kind == "mbox":
                        self.assertEqual(alice.path.read_bytes(), common.mbox(left))
                    else:
                        self.assertEqual(sorted(site.content(alice).values()), sorted(left))

    def test_nothing_deleted_without_quit(self):
        for site in self.both():
            alice = site.users["alice"]
            before = site.content(alice)
            for how in ("close", "SIGTERM", "SIGKILL"):
                session = site.login()
                session.expect("DELE 1", "+OK...")
                session.expect("DELE 3", "+OK...")
                if how == "close":
                    session.close()
                else:
                    session.process.send_signal(getattr(signal, how))
                session.wait(None)
                common.poll("the lock is free", lambda: common.lock_is_free(site.lock_path()), 2)
                self.assertEqual(site.content(alice), before)
            self.kept(site, range(1, 6))

    def test_half_a_command(self):
        """A connection lost in the middle of QUIT deletes nothing."""
        for site in self.both():
            alice = site.users["alice"]
            before = site.content(alice)
            session = site.login()
            session.expect("DELE 1", "+OK...")
            session.send("QUIT")
            session.close()
            session.wait(None)
            self.assertEqual(site.content(alice), before)

    def test_inode_of_mbox_is_kept(self):
        """Deliverers hold the file: it is edited in place."""
        site = self.open()
        path = site.users["alice"].path
        inode = path.stat().st_ino
        session = site.login()
        session.expect("DELE 2", "+OK...")
        session.quit()
        self.assertEqual(path.stat().st_ino, inode)
        self.assertEqual(path.stat().st_mode & 0o7777, 0o600)

    # -- the end of a session

    def test_sigterm(self):
        for site in self.both():
            for phase in ("before login", "after login"):
                session = site.start()
                if phase == "before login":
                    session.greeting()
                else:
                    session.login()
                    session.expect("DELE 1", "+OK...")
                began = time.monotonic()
                session.process.send_signal(signal.SIGTERM)
                session.wait(None)
                self.assertLess(time.monotonic() - began, 5)
                if phase != "before login":
                    self.assertIn("reason=shutdown", site.log_text())
            self.kept(site, range(1, 6))

    def test_kill_each_role(self):
        """kill -9 of any process: the session ends, the lock is free, nothing is deleted."""
        for site in self.both():
            alice = site.users["alice"]
            before = site.content(alice)
            for logged_in in (False, True):
                number = 0
                while True:
                    session = site.start()
                    session.greeting()
                    if logged_in:
                        session.expect("USER alice", "+OK...")
                        session.expect("PASS " + alice.password, "+OK...")
                        session.expect("DELE 1", "+OK...")
                    roles = session.settled_roles() if logged_in else session.roles()
                    if number >= len(roles):
                        session.quit()
                        site.fill(alice, MAIL)
                        before = site.content(alice)
                        break
                    self.assertGreaterEqual(len(roles), 2, roles)
                    os.kill(roles[number].pid, signal.SIGKILL)
                    # The client may have to ask to see it.
                    session.send("NOOP\r\nNOOP\r\n")
                    common.poll("%s killed, the session ends" % roles[number],
                                lambda: not [role for role in roles if common.alive(role.pid)], 5)
                    common.poll("the lock is free",
                                lambda: common.lock_is_free(site.lock_path()), 1)
                    session.close()
                    session.wait(None)
                    self.assertEqual(site.content(alice), before)
                    number += 1
            self.assertEqual(len(site.content(alice)) > 0, True)

    def test_kill_maildrop_is_temporary(self):
        """The client of a session whose maildrop role died hears [SYS/TEMP]."""
        site = self.open()
        session = site.login()
        role, = [role for role in session.roles()
                 if role.name == "pop3d-maildrop"]
        os.kill(role.pid, signal.SIGKILL)
        session.send("RETR 1\r\n")
        answer = session.line()
        self.assertTrue(answer.startswith(b"-ERR [SYS/TEMP]"), answer)
        session.end_of_file()
        session.close()
        session.wait(None)

    def test_idle_timeout(self):
        for site in self.both(idle_timeout=1):
            session = site.login()
            session.expect("DELE 1", "+OK...")
            began = time.monotonic()
            while not session.at_end and time.monotonic() - began < 10:
                session._fill(0.2)
            self.assertTrue(session.at_end)
            self.assertGreaterEqual(time.monotonic() - began, 0.9)
            session.close()
            session.wait(None)
            self.kept(site, range(1, 6))

    def test_idle_timeout_wants_whole_commands(self):
        """Octets that never make a command do not keep a session alive."""
        site = self.open(idle_timeout=1)
        session = site.login()
        began = time.monotonic()
        while not session.at_end and time.monotonic() - began < 10:
            session.send("N")
            session._fill(0.2)
        self.assertLess(time.monotonic() - began, 5)
        session.close()
        session.wait(None)

    def test_busy_session_goes_on(self):
        site = self.open(idle_timeout=1)
        session = site.login()
        for _ in range(6):
            time.sleep(0.4)
            session.expect("NOOP", "+OK...")
        session.quit()

    def test_client_that_does_not_read(self):
        """A stalled write ends the session as silence does."""
        site = self.open(messages=[common.simple_message(1, 20 << 20)], idle_timeout=1)
        session = site.login()
        session.send("RETR 1\r\n")
        began = time.monotonic()
        session.wait(None)
        self.assertLess(time.monotonic() - began, 10)
        self.assertTrue(common.lock_is_free(site.lock_path()))

    def test_auth_timeout(self):
        site = self.open(auth_timeout=1)
        for chatter in (False, True):
            session = site.start()
            session.greeting()
            began = time.monotonic()
            while not session.at_end and time.monotonic() - began < 10:
                if chatter:
                    session.send("CAPA\r\n")
                session._fill(0.2)
                time.sleep(0.05)
            self.assertGreaterEqual(time.monotonic() - began, 0.9)
            self.assertLess(time.monotonic() - began, 6)
            session.close()
            session.wait(None)
        session = site.login()
        time.sleep(1.5)  # it ends with the login
        session.expect("NOOP", "+OK...")
        session.quit()

    # -- other sessions and programs

    def test_in_use(self):
        for site in self.both(lock_timeout=1):
            first = site.login()
            first.expect("DELE 1", "+OK...")
            second = site.start()
            second.greeting()
            second.expect("USER alice", "+OK...")
            second.expect("PASS " + common.PASSWORD, "-ERR [IN-USE]...")
            second.close()
            second.wait(None)
            first.expect("RETR 2", "+OK...")
            self.assertEqual(first.body(), stuffed(wire(MAIL[1])))
            first.quit()
            self.kept(site, range(2, 6))

    def test_lock_is_waited_for(self):
        site = self.open(lock_timeout=10)
        first = site.login()
        second = site.start()
        second.greeting()
        second.expect("USER alice", "+OK...")
        second.send("PASS %s\r\n" % common.PASSWORD)
        time.sleep(0.3)
        first.quit()
        second.expect(None, "+OK...")
        second.quit()

    def test_shared_maildrop_shares_the_lock(self):
        """Two logins of one maildrop are one maildrop."""
        site = self.open()
        alice = site.users["alice"]
        site.add_user("sales", uid=alice.uid, path=alice.path)
        first = site.login()
        second = site.start()
        second.greeting()
        second.expect("USER sales", "+OK...")
        second.expect("PASS " + common.PASSWORD, "-ERR [IN-USE]...")
        second.close()
        second.wait(None)
        first.quit()
        site.login("sales").quit()

    def test_delivery_during_a_session(self):
        new = common.simple_message(9, 300)
        for site in self.both():
            alice = site.users["alice"]
            session = site.login()
            session.expect("DELE 1", "+OK...")
            session.expect("DELE 4", "+OK...")
            site.deliver(alice, new)
            session.expect("STAT", "+OK 3...")  # the messages are fixed
            session.expect("RETR 6", "-ERR...")
            session.quit()
            if alice.kind == "mbox":
                self.assertEqual(alice.path.read_bytes(),
                                 common.mbox([MAIL[1], MAIL[2], MAIL[4], new]))
            self.kept(site, (2, 3, 5), [new])

    def test_delivery_and_all_deleted(self):
        new = common.simple_message(9, 300)
        for site in self.both():
            session = site.login()
            for number in range(1, 6):
                session.expect("DELE %d" % number, "+OK...")
            site.deliver(site.users["alice"], new)
            session.quit()
            self.kept(site, (), [new])

    def test_message_changed(self):
        """Never another message's octets: [SYS/TEMP], or the message as it was."""
        for site in self.both():
            alice = site.users["alice"]
            session = site.login()
            if alice.kind == "mbox":
                content = alice.path.read_bytes()
                at = content.index(b"message 3")
                with open(alice.path, "r+b") as file:
                    file.seek(at)
                    file.write(b"MESSAGE 3")
            else:
                path = next(alice.path.glob("*/*M2P*"))
                path.write_bytes(path.read_bytes() + b"more\n")
            session.expect("RETR 3", "-ERR [SYS/TEMP]...")
            session.expect("RETR 2", "+OK...")
            self.assertEqual(session.body(), stuffed(wire(MAIL[1])))
            session.close()
            session.wait(None)

    def test_message_removed(self):
        site = self.open("maildir")
        alice = site.users["alice"]
        session = site.login()
        next(alice.path.glob("*/*M1P*")).unlink()
        session.expect("RETR 2", "-ERR [SYS/TEMP]...")
        session.expect("TOP 2 0", "-ERR [SYS/TEMP]...")
        session.expect("RETR 1", "+OK...")
        self.assertEqual(session.body(), stuffed(wire(MAIL[0])))
        session.expect("DELE 2", "+OK...")
        session.quit()  # it is gone: nothing more was wanted
        self.kept(site, (1, 3, 4, 5))

    def test_message_renamed(self):
        """Another program sets flags: the message is followed by its base name."""
        site = self.open("maildir")
        alice = site.users["alice"]
        session = site.login()
        for number in (0, 1):
            old = next(alice.path.glob("new/*M%dP*" % number))
            old.rename(alice.path / "cur" / (old.name + ":2,RS"))
        session.expect("RETR 1", "+OK...")
        self.assertEqual(session.body(), stuffed(wire(MAIL[0])))
        session.expect("DELE 2", "+OK...")
        session.quit()
        self.kept(site, (1, 3, 4, 5))

    def test_mbox_cut(self):
        """The file is cut to nothing: no message of it, and nothing put back."""
        site = self.open()
        path = site.users["alice"].path
        session = site.login()
        session.expect("RETR 1", "+OK...")
        session.body()
        os.truncate(path, 0)
        session.expect("RETR 2", "-ERR [SYS/TEMP]...")
        session.expect("DELE 3", "+OK...")
        session.ask("QUIT")
        session.ended(status=None)
        self.assertEqual(path.read_bytes(), b"")

    def test_mbox_replaced(self):
        """Another program wrote a new file: what is deleted is found there again."""
        site = self.open()
        alice = site.users["alice"]
        new = common.simple_message(8)
        session = site.login()
        session.expect("DELE 2", "+OK...")
        other = alice.path.with_name("other")
        other.write_bytes(common.mbox([new] + MAIL[1:]))
        site.own(other, alice, 0o600)
        other.rename(alice.path)
        session.send("RETR 1\r\n")
        answer = session.line()
        if answer.startswith(b"+OK"):
            self.assertEqual(session.body(), stuffed(wire(MAIL[0])))
        else:
            self.assertTrue(answer.startswith(b"-ERR [SYS/TEMP]"), answer)
        session.ask("QUIT")
        session.ended(status=None)
        self.assertIn(alice.path.read_bytes(),
                      (common.mbox([new] + MAIL[2:]), common.mbox([new] + MAIL[1:])))

    def test_mbox_expunged_by_another(self):
        """Another program removed message 1: deleting 2 removes 2 and nothing else."""
        site = self.open()
        alice = site.users["alice"]
        session = site.login()
        session.expect("DELE 2", "+OK...")
        content = common.mbox(MAIL[1:])
        with open(alice.path, "r+b") as file:
            file.write(content)
            file.truncate()
        session.ask("QUIT")
        session.ended(status=None)
        self.assertIn(alice.path.read_bytes(), (common.mbox(MAIL[2:]), content))

    def test_cut_while_sending(self):
        """A message that shrinks under RETR: closed, without the final dot."""
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.open(kind, messages=[common.simple_message(1, 24 << 20)])
                alice = site.users["alice"]
                session = site.login()
                session.expect("RETR 1", "+OK...")
                session.read(100000)
                path = alice.path if kind == "mbox" else next(alice.path.glob("new/*"))
                os.truncate(path, 12 << 20)
                end = time.monotonic() + common.WAIT
                while not session.at_end and time.monotonic() < end:
                    session._fill(1)
                self.assertTrue(session.at_end)
                self.assertNotIn(b"\r\n.\r\n", session.buffer[-5:])
                session.close()
                session.wait(None)

    def test_foreign_dotlock(self):
        """A live dotlock of another program is waited for, then [IN-USE]."""
        site = self.open(lock_timeout=1)
        alice = site.users["alice"]
        lock = alice.path.with_name("alice.lock")
        lock.write_text("")
        site.own(lock, alice)
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        began = time.monotonic()
        answer = session.ask("PASS " + common.PASSWORD)
        self.assertTrue(answer.startswith(b"-ERR [IN-USE]"), answer)
        self.assertGreater(time.monotonic() - began, 0.8)
        session.close()
        session.wait(None)
        self.assertTrue(lock.exists())
        lock.unlink()
        site.login().quit()

    def test_dotlock_of_a_killed_role(self):
        """The maildrop role is killed while its dotlock is there: the others remove it."""
        site = self.open()
        os.chmod(site.top / "mail", 0o1777)
        alice = site.users["alice"]
        lock = alice.path.with_name("alice.lock")
        session = site.login()
        drop = [role for role in session.roles() if role.name == "pop3d-maildrop"][0]
        # a dotlock holds the same record as the session lock, behind the pid
        record = site.lock_path().read_bytes()
        self.assertIn(b"pid=%d " % drop.pid, record)
        lock.write_bytes(b"%d\n" % drop.pid + record)
        site.own(lock, alice)
        os.kill(drop.pid, signal.SIGKILL)
        session.wait(None)
        self.assertFalse(lock.exists())

    def test_stale_dotlock(self):
        """One that is ten minutes old and whose mailbox nobody has locked is taken."""
        site = self.open(lock_timeout=2)
        alice = site.users["alice"]
        lock = alice.path.with_name("alice.lock")
        lock.write_text("")
        site.own(lock, alice)
        old = time.time() - 3600
        os.utime(lock, (old, old))
        site.login().quit()
        self.assertFalse(lock.exists())


if __name__ == "__main__":
    common.main()
