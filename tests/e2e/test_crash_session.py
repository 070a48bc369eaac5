"""A session is killed in the middle of its QUIT; another login of the same mailbox goes on.

Whole programs, a mailbox of some megabytes: the kill comes at a random moment while the
journal is there.  What the next session sees is, octet by octet, what was kept and
delivered, and either all of the deleted messages or none.
"""
import os
import random
import signal
import time
import unittest

import common

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "12"))
SEED = int(os.environ.get("CRASH_SEED", str(int(time.time()))))
COUNT = 1500
MAIL = [common.simple_message(number, 4000) for number in range(COUNT)]
PATTERNS = {"first": {0}, "every second": set(range(0, COUNT, 2)),
            "all but last": set(range(COUNT - 1)), "some": set(range(100, 900))}


class CrashSession(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(SEED)

    def killed_at_quit(self, site, user, gone):
        """A session that deletes these and is killed; true where it had said +OK before."""
        session = site.login(user.name)
        role, = [role for role in session.settled_roles() if role.name == "pop3d-maildrop"]
        session.send("".join("DELE %d\r\n" % (number + 1) for number in gone))
        for _ in gone:
            session.line()
        journal = site.top / "state/alice/journal"
        session.send("QUIT\r\n")
        until = time.monotonic() + 5
        while not journal.exists() and common.alive(role.pid) and time.monotonic() < until:
            pass
        time.sleep(self.rng.random() * self.rng.choice([0.002, 0.02, 0.1]))
        roles = [role]
        if self.rng.random() < 0.3:  # sometimes all at once
            roles = session.roles()
        for one in roles:
            try:
                os.kill(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until = time.monotonic() + common.WAIT
        while not session.at_end and time.monotonic() < until:
            session._fill(1.0)
        session.close()
        session.wait(None)
        return session.buffer.startswith(b"+OK"), journal.exists()

    def test_killed_at_quit(self):
        interrupted = 0
        site = common.Site(lock_timeout=5)
        self.addCleanup(site.close)
        alice = site.add_user("alice", messages=MAIL)
        bob = site.add_user("bob", uid=alice.uid, path=alice.path)
        for number in range(ROUNDS):
            name = self.rng.choice(sorted(PATTERNS))
            gone = PATTERNS[name]
            site.fill(alice, MAIL)
            first, second = self.rng.sample([alice, bob], 2)
            done, left = self.killed_at_quit(site, first, gone)
            interrupted += left
            extra = []
            if self.rng.random() < 0.5:
                extra = [common.simple_message(COUNT + number, 300)]
                site.deliver(alice, extra[0])
            kept = [mail for idx, mail in enumerate(MAIL) if idx not in gone] + extra
            session = site.login(second.name)
            count = int(session.ask("STAT").split()[1])
            session.quit()
            self.assertFalse((site.top / "state/alice/journal").exists())
            have = alice.path.read_bytes()
            self.assertIn(count, [len(kept)] + ([] if done else [len(MAIL + extra)]),
                          (name, SEED))
            self.assertEqual(have, common.mbox(kept if count == len(kept) else MAIL + extra),
                             (name, SEED))
        print("%d of %d sessions left a journal, seed %d" % (interrupted, ROUNDS, SEED))


if __name__ == "__main__":
    common.main()
