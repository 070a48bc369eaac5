"""An expunge of an mbox is cut off everywhere, and nothing that was kept is lost.

Three ways, each for several patterns of deleted messages:

    kill      strace kills the program at each system call
    error     strace lets each system call fail (ENOSPC, EIO, EDQUOT)
    power     what it wrote and synced is recorded; after each step of that the power
              goes, with what was not synced there, missing, torn or in another order

Then the mailbox is opened, which recovers it: by a program that may be killed or cut
off once more, and with mail appended before.  In the end the mailbox must hold, octet
by octet, all that was kept and delivered, and either all deleted messages or none;
none where the expunge had said that it was done.

CRASH_SECONDS (30 for each way) bounds the time; what is tried is drawn at random from
CRASH_SEED, so that many short runs cover what one long run does.
"""
import fcntl
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import common

DRIVER = common.BUILD / "tests/e2e/mbox_driver"
RECORDER = common.BUILD / "tests/e2e/recorder.so"
SECONDS = float(os.environ.get("CRASH_SECONDS", "30"))
SEED = int(os.environ.get("CRASH_SEED", str(int(time.time()))))

SECTOR = 512
MAIL = b"From new@example.org Thu Nov 12 11:00:00 2026\nSubject: new %d\n\nThis came meanwhile.\n\n"


def message(number, size):
    head = (b"From joe@example.org Thu Nov 12 10:32:04 2026\nSubject: message %d\n"
            b"Message-ID: <%d@example.org>\n\n" % (number, number))
    line = b"%d " % number + b"0123456789abcdefghijklmnopqrstuvwxyz" * 2 + b"\n"
    return head + line * max(1, (size - len(head)) // len(line)) + b"\n"


MESSAGES = [message(n, size) for n, size in enumerate(
    [3000, 60000, 200, 45000, 90000, 500, 30000, 20000, 4000, 25000])]
LAST = len(MESSAGES) - 1
PATTERNS = {
    "first": {0},
    "middle": {LAST // 2},
    "every second": set(range(0, LAST + 1, 2)),
    "all but last": set(range(LAST)),
    "all": set(range(LAST + 1)),
    "a large one": {1},
    "a small one": {2},
    "the first four": {0, 1, 2, 3},
    "two": {4, 8},
    "last": {LAST},
}


def numbers(pattern):
    return ",".join(str(n) for n in sorted(PATTERNS[pattern]))


def kept(pattern):
    return b"".join(m for n, m in enumerate(MESSAGES) if n not in PATTERNS[pattern])


WHOLE = b"".join(MESSAGES)


# A limit on the size of files makes slots small, so that a small mailbox takes many steps.
FILE_LIMIT = len(WHOLE) + 4000


def limits():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, resource.RLIM_INFINITY))


class Place:
    """A mailbox and its state directory, below a directory of their own."""

    def __init__(self, directory):
        self.root = pathlib.Path(directory)
        self.mail = self.root / "mail"
        self.state = self.root / "state"
        self.box = self.mail / "box"

    def fill(self, content=WHOLE, state=()):
        shutil.rmtree(self.mail, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        self.mail.mkdir()
        self.state.mkdir(mode=0o700)
        self.box.write_bytes(content)
        self.box.chmod(0o600)
        for name, data in state:
            path = self.state / name
            path.write_bytes(data)
            path.chmod(0o600)

    def command(self, *words):
        return [str(DRIVER), words[0], str(self.box), str(self.state), *words[1:]]

    def run(self, *words, prefix=(), **options):
        return subprocess.run([*prefix, *self.command(*words)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                              preexec_fn=limits, check=False, **options)

    def deliver(self, number):
        with open(self.box, "ab") as box:
            fcntl.lockf(box, fcntl.LOCK_EX)
            box.write(MAIL % number)

    def verify(self, pattern, mails, done, what):
        """Recover, and compare; done: the expunge had said so."""
        result = self.run("open")
        if result.returncode != 0:
            raise AssertionError("%s: not recovered: %r" % (what, result.stderr))
        tail = b"".join(MAIL % n for n in range(mails))
        have = self.box.read_bytes()
        allowed = [kept(pattern) + tail] + ([] if done else [WHOLE + tail])
        if have not in allowed:
            raise AssertionError("%s: the mailbox is wrong (%d octets), %r" % (
                what, len(have), result.stderr))
        if (self.state / "journal").exists():
            raise AssertionError("%s: the journal is still there" % what)
        if result.stdout.splitlines()[:1] != [b"count %d" % self._count(have)]:
            raise AssertionError("%s: %r" % (what, result.stdout))

    @staticmethod
    def _count(content):
        return (b"\n" + content).count(b"\nFrom ")


# ---- power ------------------------------------------------------------------

OPS = {1: "create", 2: "write", 3: "truncate", 4: "allocate", 5: "sync", 6: "rename",
       7: "link", 8: "unlink"}


def record(place, *words):
    """Run with the recorder: (process result, list of (op, path, extra, a, b, data))."""
    read_fd, write_fd = os.pipe()
    pieces = []

    def drain():
        with os.fdopen(read_fd, "rb") as stream:
            pieces.append(stream.read())

    reader = threading.Thread(target=drain)
    reader.start()
    env = dict(os.environ, LD_PRELOAD=str(RECORDER), RECORD_FD=str(write_fd),
               RECORD_ROOT=str(place.root))
    try:
        result = place.run(*words, env=env, pass_fds=(write_fd,))
    finally:
        os.close(write_fd)
        reader.join()
    ops, at, stream = [], 0, pieces[0]
    while at < len(stream):
        op, length, path, extra, a, b = struct.unpack_from("=IIIIQQ", stream, at)
        at += 32
        ops.append((OPS[op], stream[at:at + path].decode(),
                    stream[at + path:at + path + extra].decode(), a, b,
                    stream[at + path + extra:at + path + extra + length]))
        at += path + extra + length
    return result, ops


class File:
    """What is certainly on disk of one file, and what may be."""

    def __init__(self, content=b""):
        self.content = bytearray(content)
        self.pending = []  # ("write", at, data) or ("size", n)


def apply(content, op):
    if op[0] == "size":
        if op[1] < len(content):
            del content[op[1]:]
        else:
            content.extend(bytes(op[1] - len(content)))
    else:
        _, at, data = op
        if at > len(content):
            content.extend(bytes(at - len(content)))
        content[at:at + len(data)] = data


class Disk:
    """A model of a file system that promises what fsync promises, and nothing else."""

    def __init__(self, files):
        self.files = {path: File(content) for path, content in files.items()}
        self.names = dict(self.files)  # what the directories on disk say
        self.pending_names = []	       # (directory, path, File or None)

    def _name(self, path, file):
        if file is None:
            self.files.pop(path, None)
        else:
            self.files[path] = file
        self.pending_names.append((os.path.dirname(path), path, file))

    def step(self, op):
        kind, path, extra, a, b, data = op
        file = self.files.get(path)
        if kind == "create":
            self._name(path, File())
        elif kind == "rename":
            self._name(extra, file)
            self._name(path, None)
        elif kind == "link":
            self._name(extra, file)
        elif kind == "unlink":
            self._name(path, None)
        elif kind == "write":
            if file is not None:
                file.pending.append(("write", a, data))
        elif kind == "truncate":
            if file is not None:
                file.pending.append(("size", a))
        elif kind == "allocate":
            if file is not None and self.size(file) < a + b:
                file.pending.append(("size", a + b))
        elif kind == "sync":
            if file is not None:
                for change in file.pending:
                    apply(file.content, change)
                file.pending = []
            else:  # a directory
                still = []
                for change in self.pending_names:
                    if change[0] == path:
                        self._commit_name(self.names, change)
                    else:
                        still.append(change)
                self.pending_names = still

    @staticmethod
    def size(file):
        size = len(file.content)
        for change in file.pending:
            size = change[1] if change[0] == "size" else max(size, change[1] + len(change[2]))
        return size

    @staticmethod
    def _commit_name(names, change):
        if change[2] is None:
            names.pop(change[1], None)
        else:
            names[change[1]] = change[2]

    def after_power_cut(self, rng):
        """One of the states that may be found: {path: content}."""
        names = dict(self.names)
        keep_names = rng.choice(["none", "all", "some"])
        for change in self.pending_names:
            if keep_names == "all" or (keep_names == "some" and rng.random() < 0.5):
                self._commit_name(names, change)
        return {path: self._survivor(file, rng) for path, file in names.items()}

    @staticmethod
    def _survivor(file, rng):
        content = bytearray(file.content)
        changes = list(file.pending)
        how = rng.choice(["none", "all", "some", "torn", "torn", "prefix"])
        if how == "none":
            return bytes(content)
        if how == "prefix":
            changes = changes[:rng.randrange(len(changes) + 1)]
        elif how == "some":
            changes = [change for change in changes if rng.random() < 0.5]
        for change in changes:
            if how != "torn" or change[0] == "size":
                apply(content, change)
                continue
            _, at, data = change
            share = rng.choice([0.1, 0.5, 0.9])
            end = at + len(data)
            while at < end:  # each sector by itself
                to = min(end, at // SECTOR * SECTOR + SECTOR)
                if rng.random() < share:
                    apply(content, ("write", at, data[at - (end - len(data)):to - (end - len(data))]))
                at = to
        return bytes(content)


class Deliverer(threading.Thread):
    """Appends mail under the mailbox's fcntl lock while something else goes on."""

    def __init__(self, place, most, pause):
        super().__init__(daemon=True)
        self.place, self.most, self.pause = place, most, pause
        self.came, self.stopped = 0, False
        self.start()

    def run(self):
        while self.came < self.most and not self.stopped:
            time.sleep(self.pause)
            self.place.deliver(self.came)
            self.came += 1

    def end(self):
        self.stopped = True
        self.join(60)
        if self.is_alive():
            raise AssertionError("the mailbox stays locked")
        return self.came


class Crash(unittest.TestCase):
    def setUp(self):
        if not DRIVER.exists():
            self.skipTest("there is no %s" % DRIVER)
        # In memory, where there is room: a crash is a model here, and syncs cost time.
        shm = "/dev/shm"
        room = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 100 << 20
        self.directory = tempfile.mkdtemp(prefix="pop3d-crash.", dir=shm if room else None)
        self.place = Place(self.directory)
        self.rng = random.Random(SEED)
        self.until = time.monotonic() + SECONDS

    def tearDown(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def over(self):
        return time.monotonic() > self.until

    # ---- strace ---------------------------------------------------------------

    CALLS = ["openat", "pread64", "pwrite64", "write", "fallocate", "fsync", "fdatasync",
             "sync_file_range", "ftruncate", "linkat", "unlinkat", "renameat", "close", "fcntl",
             "fstat", "newfstatat", "mmap", "munmap"]

    def counts(self, pattern):
        """How often each call is made, and how often before the mailbox may be touched."""
        self.place.fill()
        log = self.place.root / "log"
        result = subprocess.run(
            ["strace", "-f", "-qq", "-o", str(log), *self.place.command("expunge", numbers(pattern))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=limits, check=False, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        total, before = {}, {}
        touched = False
        for line in log.read_text(errors="replace").splitlines():
            call = line.split(None, 1)[1].split("(")[0]
            touched = touched or "journal" in line or "ftruncate" in line
            total[call] = total.get(call, 0) + 1
            if not touched:
                before[call] = total[call]
        log.unlink()
        return {call: (before.get(call, 0) + 1, total[call])
                for call in self.CALLS if total.get(call, 0) > before.get(call, 0)}

    def inject(self, pattern, call, when, how, mails):
        """
        One run that is cut off, beside a deliverer where mails is above 0; then
        recovery, cut off now and then, and comparison.
        """
        place = self.place
        place.fill()
        what = "%s, %s of %s %d, %d mails" % (pattern, how, call, when, mails)
        prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
                  "-e", "inject=%s:%s:when=%d" % (call, how, when)]
        deliverer = Deliverer(place, mails, self.rng.random() * 0.02)
        result = place.run("expunge", numbers(pattern), prefix=prefix)
        done = result.returncode == 0
        came = deliverer.end()
        while self.rng.random() < 0.4:
            if self.rng.random() < 0.5:
                place.deliver(came)
                came += 1
            again = self.rng.choice(["pwrite64", "fdatasync", "fsync", "unlinkat", "ftruncate"])
            place.run("open", prefix=[
                "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + again, "-e",
                "inject=%s:signal=KILL:when=%d" % (again, self.rng.randrange(1, 9))])
        place.verify(pattern, came, done, what)

    def strace_all(self, kinds):
        if not shutil.which("strace"):
            self.skipTest("there is no strace")
        if common.SANITIZED:
            self.skipTest("the sanitizer does not run under strace")
        work = []
        for pattern in PATTERNS:
            for call, (first, last) in self.counts(pattern).items():
                for kind in kinds:
                    work += [(pattern, call, when, kind) for when in range(first, last + 1)]
        self.rng.shuffle(work)
        tried = 0
        for pattern, call, when, kind in work:
            if self.over():
                break
            self.inject(pattern, call, when, kind, self.rng.choice([0, 0, 1, 4]))
            tried += 1
        print("%d of %d injections tried, seed %d: lost nothing" % (tried, len(work), SEED))

    def test_kill(self):
        self.strace_all(["signal=KILL"])

    def test_error(self):
        self.strace_all(["error=ENOSPC", "error=EIO", "error=EDQUOT"])

    # ---- power ------------------------------------------------------------------

    def test_power(self):
        if common.SANITIZED:
            self.skipTest("the sanitizer cannot be preloaded beside")
        place, rng, tried, twice = self.place, self.rng, 0, 0
        recorded = {}
        for pattern in PATTERNS:
            place.fill()
            result, ops = record(place, "expunge", numbers(pattern))
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(place.box.read_bytes(), kept(pattern))
            recorded[pattern] = ops
        self.assertGreater(sum(op[:2] == ("write", "/mail/box") for op in recorded["first"]), 3)
        while not self.over():
            pattern = rng.choice(sorted(PATTERNS))
            ops = recorded[pattern]
            steps = self.moment(ops)
            what = "%s, power cut after %d of %d" % (pattern, steps, len(ops))
            state = self.cut_power({"/mail/box": WHOLE}, ops[:steps])
            done = steps == len(ops)
            mails = 0
            for _ in range(rng.choice([0, 1, 1, 2])):
                self.lay(state)
                for _ in range(rng.choice([0, 0, 1, 4])):
                    place.deliver(mails)
                    mails += 1
                state["/mail/box"] = place.box.read_bytes()
                result, again = record(place, "open")
                self.assertEqual(result.returncode, 0, (what, result.stderr))
                if not again:
                    break
                cut = self.moment(again)
                what += ", again after %d of %d" % (cut, len(again))
                state = self.cut_power(state, again[:cut])
                twice += 1
            self.lay(state)
            place.verify(pattern, mails, done, what)
            tried += 1
        print("%d power cuts tried, %d of them in a recovery, seed %d: lost nothing" % (
            tried + twice, twice, SEED))

    def moment(self, ops):
        """After how many of them the power goes; mostly while there is a journal."""
        busy = [n for n, op in enumerate(ops) if op[1] in ("/state/journal", "/mail/box")]
        if busy and self.rng.random() < 0.8:
            return self.rng.randrange(busy[0], busy[-1] + 2)
        return self.rng.randrange(len(ops) + 1)

    def cut_power(self, files, ops):
        disk = Disk(files)
        for op in ops:
            disk.step(op)
        return disk.after_power_cut(self.rng)

    def lay(self, state):
        # A dotlock of the dead is as it may be, too: taken over or gone.
        self.place.fill(state["/mail/box"], [(path[7:], data) for path, data in state.items()
                                             if path.startswith("/state/")])


if __name__ == "__main__":
    common.main()
