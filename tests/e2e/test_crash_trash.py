"""Removed messages that are kept: an expunge or a restore is cut off everywhere.

As test_crash_mbox.py, of an mbox and of a Maildir, with copies kept: the program is
killed at a system call, or one fails, or the power goes.  Then every message is in the
maildrop or in the trash, and in none twice; those that were not deleted are in the
maildrop, under their old ids, octet by octet; a deleted one may be in neither place only
where the program had said that no copy was kept.  At last all that is in the trash is
restored (this is cut off, too), and everything is in the maildrop again, once.

CRASH_SECONDS (2 here for each test) bounds the time, CRASH_SEED chooses what is tried.
"""
import os
import shutil
import subprocess
import time
import unittest

import common
import test_crash_mbox as crash

SECONDS = float(os.environ.get("CRASH_SECONDS", "2"))
CALLS = crash.Crash.CALLS + ["openat2", "mkdirat", "renameat2", "getdents64", "lseek", "fstatfs"]


class Place(crash.Place):
    """A mailbox or Maildir, its state directory, and what list says of both."""

    def __init__(self, directory, kind):
        super().__init__(directory)
        self.kind = kind

    def fill(self, content=crash.WHOLE, state=()):
        if self.kind == "mbox":
            super().fill(content)
            for name, data in state:
                path = self.state / name
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.write_bytes(data)
                path.chmod(0o600)
            return
        super().fill(b"")
        self.box.unlink()
        for name in ("", "new", "cur", "tmp"):
            (self.box / name).mkdir(mode=0o700)
        for number, text in enumerate(crash.MESSAGES):
            where = "new/%s" if number % 2 else "cur/%s:2,S"
            path = self.box / (where % ("1700000000.M%dP7.host" % number))
            path.write_bytes(text.split(b"\n", 1)[1])

    def command(self, *words):
        spec = ("maildir:" if self.kind == "maildir" else "") + str(self.box)
        return [str(crash.DRIVER), "-k", words[0], spec, str(self.state), *words[1:]]

    def deliver(self, number):
        if self.kind == "mbox":
            super().deliver(number)
        else:
            (self.box / ("new/1800000000.M%dP8.host" % number)).write_bytes(
                crash.MAIL % number)

    def list(self, what):
        """([(id, sum) in the maildrop], [(id, sum) in the trash])"""
        result = self.run("list")
        if result.returncode:
            raise AssertionError("%s: list: %r" % (what, result.stderr))
        rows = [line.split() for line in result.stdout.decode().splitlines()]
        return tuple([tuple(row[1:]) for row in rows if row[0] == where]
                     for where in ("mail", "trash"))

    def verify_kept(self, all_of_it, pattern, done, lost, mails, what):
        """Nothing is lost, nothing is there twice; lost: no copy was kept, as was said."""
        mail, trash = self.list(what)
        deleted = {all_of_it[n] for n in crash.PATTERNS[pattern]}
        kept = [one for one in all_of_it if one not in deleted]
        there = [one for one in mail if one in all_of_it]

        def check(good, text):
            if not good:
                raise AssertionError("%s: %s\n  %s\n  %s" % (what, text, mail, trash))
        check(len(mail) == len(set(mail)) and len(trash) == len(set(trash)), "doubled")
        check(not set(mail) & set(trash), "in both")
        check(not set(kept) - set(mail), "lost of those kept")
        check(not set(trash) - deleted, "in the trash, but not deleted")
        check(lost or not deleted - set(mail) - set(trash), "lost of those deleted")
        check(not done or not set(there) & deleted, "deleted, but there")
        check(len(mail) - len(there) == mails, "of those delivered")
        return mail, trash


class CrashTrash(unittest.TestCase):
    def setUp(self):
        crash.Crash.setUp(self)
        self.until += SECONDS - crash.SECONDS

    tearDown, over = crash.Crash.tearDown, crash.Crash.over

    def use(self, kind):
        self.place = Place(self.directory, kind)
        self.place.fill()
        self.whole, trash = self.place.list("as it is")
        self.assertEqual((len(self.whole), trash), (len(crash.MESSAGES), []))

    def strace(self, call, how, when):
        return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
                "-e", "inject=%s:%s:when=%d" % (call, how, when)]

    def trace(self, *words):
        """The system calls of a run that is not cut off: (name, line)."""
        log = self.place.root / "log"
        result = subprocess.run(
            ["strace", "-f", "-qq", "-o", str(log), *self.place.command(*words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=crash.limits, check=False, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        calls = [(line.split(None, 1)[1].split("(")[0], line)
                 for line in log.read_text(errors="replace").splitlines()]
        log.unlink()
        return calls

    def counts(self, *words):
        """How often each call is made, behind the opening of the maildrop."""
        total, before, touched = {}, {}, False
        for call, line in self.trace(*words):
            touched = touched or "trash" in line or "journal" in line
            total[call] = total.get(call, 0) + 1
            if not touched:
                before[call] = total[call]
        return [(call, when) for call in CALLS
                for when in range(before.get(call, 0) + 1, total.get(call, 0) + 1)]

    def inject(self, pattern, call, when, how, mails):
        place, rng = self.place, self.rng
        place.fill()
        what = "%s: %s, %s of %s %d" % (place.kind, pattern, how, call, when)
        result = place.run("expunge", crash.numbers(pattern), prefix=self.strace(call, how, when))
        lost = b"no copy was kept" in result.stderr
        for number in range(mails):
            place.deliver(number)
        while rng.random() < 0.2:
            again = rng.choice(["pwrite64", "fdatasync", "fsync", "unlinkat", "ftruncate"])
            place.run("open", prefix=self.strace(again, "signal=KILL", rng.randrange(1, 9)))
        mail, trash = place.verify_kept(self.whole, pattern, result.returncode == 0, lost, mails,
                                        what)
        return what, mail, trash, lost

    def restore(self, kinds, what, mail, trash):
        """Cut off now and then, and in the end whole."""
        place, rng, tried = self.place, self.rng, 0
        while rng.random() < 0.4:
            call = rng.choice(["pwrite64", "fsync", "unlinkat", "renameat2", "openat2", "ftruncate",
                               "pread64", "close", "write"])
            how, when = rng.choice(kinds), rng.randrange(1, 14)
            what += ", restore: %s of %s %d" % (how, call, when)
            place.run("restore", prefix=self.strace(call, how, when))
            tried += 1
            now = place.list(what)
            self.assertEqual(sorted(now[0] + now[1]), sorted(mail + trash), what)
        result = place.run("restore")
        self.assertEqual(result.returncode, 0, (what, result.stderr))
        now = place.list(what)
        self.assertEqual((sorted(now[0]), now[1]), (sorted(mail + trash), []), what)
        return tried

    def try_all(self, kind, kinds):
        if not shutil.which("strace"):
            self.skipTest("there is no strace")
        if common.SANITIZED:
            self.skipTest("the sanitizer does not run under strace")
        self.use(kind)
        work = []
        for pattern in crash.PATTERNS:
            self.place.fill()
            work += [(pattern, call, when, how) for how in kinds
                     for call, when in self.counts("expunge", crash.numbers(pattern))]
        self.assertGreater(len(work), 300)
        self.rng.shuffle(work)
        self.until = time.monotonic() + SECONDS
        tried = restores = without = 0
        for pattern, call, when, how in work:
            if self.over():
                break
            what, mail, trash, lost = self.inject(pattern, call, when, how,
                                                  self.rng.choice([0, 0, 2]))
            without += lost
            restores += self.restore(kinds, what, mail, trash)
            tried += 1
        print("%s: %d of %d injections into expunges (%d kept no copy, and said so), %d into "
              "restores, seed %d: lost nothing" % (kind, tried, len(work), without, restores,
                                                   crash.SEED))

    def test_kill_mbox(self):
        self.try_all("mbox", ["signal=KILL"])

    def test_kill_maildir(self):
        self.try_all("maildir", ["signal=KILL"])

    def test_error_mbox(self):
        self.try_all("mbox", ["error=ENOSPC", "error=EIO", "error=EDQUOT"])

    def test_no_room_at_the_end(self):
        """The journal is removed, and only that cannot be synced: the removal is done."""
        if not shutil.which("strace") or common.SANITIZED:
            self.skipTest("there is no strace, or the sanitizer does not run under it")
        self.use("mbox")
        for pattern in ("a large one", "two"):
            self.place.fill()
            calls = self.trace("expunge", crash.numbers(pattern))
            at = max(n for n, (call, line) in enumerate(calls)
                     if call == "unlinkat" and "journal" in line) + 1
            call = calls[at][0]
            self.assertRegex(call, "^openat2?$")
            when = sum(name == call for name, _ in calls[:at + 1])
            what, _, trash, _ = self.inject(pattern, call, when, "error=ENOSPC", 0)
            self.assertEqual(len(trash), len(crash.PATTERNS[pattern]), what)

    def test_unreadable_in_a_restore(self):
        """What cannot be read for a moment is not taken for empty."""
        if not shutil.which("strace") or common.SANITIZED:
            self.skipTest("there is no strace, or the sanitizer does not run under it")
        self.use("mbox")
        place, when, last = self.place, 0, None
        while when != last:
            when += 1
            place.fill()
            self.assertEqual(place.run("expunge", crash.numbers("two")).returncode, 0)
            if last is None:
                mail, trash = place.list("removed")
                calls = self.trace("restore")
                last = sum(call == "pread64" for call, _ in calls)
                continue
            what = "restore: EIO of pread64 %d" % when
            place.run("restore", prefix=self.strace("pread64", "error=EIO", when))
            now = place.list(what)
            self.assertEqual(sorted(now[0] + now[1]), sorted(mail + trash), what)

    def test_error_maildir(self):
        self.try_all("maildir", ["error=ENOSPC", "error=EIO", "error=EDQUOT"])

    def test_power_mbox(self):
        """What was not synced is there, missing or torn, name by name and sector by sector."""
        if common.SANITIZED:
            self.skipTest("the sanitizer cannot be preloaded beside")
        self.use("mbox")
        place, rng, tried, recorded = self.place, self.rng, 0, {}
        for pattern in crash.PATTERNS:
            place.fill()
            result, recorded[pattern] = crash.record(place, "expunge", crash.numbers(pattern))
            self.assertEqual(result.returncode, 0, result.stderr)
        while not self.over():
            pattern = rng.choice(sorted(crash.PATTERNS))
            ops = recorded[pattern]
            steps = rng.randrange(len(ops) + 1)
            what = "%s, power cut after %d of %d" % (pattern, steps, len(ops))
            disk = crash.Disk({"/mail/box": crash.WHOLE})
            for op in ops[:steps]:
                disk.step(op)
            state = disk.after_power_cut(rng)
            place.fill(state["/mail/box"], [(path[7:], data) for path, data in state.items()
                                            if path.startswith("/state/")])
            mail, trash = place.verify_kept(self.whole, pattern, steps == len(ops), False, 0, what)
            self.restore(["signal=KILL"] if shutil.which("strace") else [], what, mail, trash)
            tried += 1
        print("%d power cuts, seed %d: lost nothing" % (tried, crash.SEED))


if __name__ == "__main__":
    common.main()
