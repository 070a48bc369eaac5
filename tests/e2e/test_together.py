#!/usr/bin/env python3
"""Everything at once: deliverers with real locks, sessions that delete at random,
kills at random, on one mbox and one Maildir.

Every delivered message is, at the end, either retrieved byte-exactly and deleted by
a QUIT, or still there, byte-exact and once.  A session that was killed behind its
QUIT may have deleted or not, but nothing in between.

POP3D_TOGETHER_S: seconds for one maildrop (default 6).
"""
import contextlib
import fcntl
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import unittest

import common

SECONDS = float(os.environ.get("POP3D_TOGETHER_S", "6"))
DELIVERERS, SESSIONS, KILLERS = 14, 8, 2
STEPS = 40  # messages that one session looks at


class Lost(Exception):
    """The session ended under us: killed, or the server's own word."""


class Ledger:
    """What became of each message; ids are numbers in the header X-Test-Id."""

    def __init__(self):
        self.lock = threading.Lock()
        self.wire = {}  # id: octets as they must come
        self.delivered = set()
        self.deleted = {}  # id: when a QUIT that deleted it was answered +OK
        self.maybe = set()  # a QUIT that deletes it was sent, and no answer came
        self.uidl = {}  # id: the unique id it had first
        self.wrong = []
        self.counts = dict.fromkeys(("sessions", "in use", "lost", "quit", "kills"), 0)

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)


def make_message(number, rng):
    lines = [b"From: sender@example.net", b"X-Test-Id: %d" % number,
             b"Subject: number %d" % number, b""]
    for _ in range(rng.choice((0, 1, 5, 40, 200))):
        lines.append(rng.choice((b".", b"..two", b"", b">From here", b"text " * 12, b"\xe4\x00x")))
    lines.append(b"end")  # procmail does not keep how many empty lines a message ends with
    return b"\n".join(lines) + b"\n"


def id_of(octets):
    for line in octets.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        if line.startswith(b"X-Test-Id: "):
            return int(line[11:])
    return None


def deliver_mbox(site, user, stored):
    """As most deliverers do: a dotlock, then a record lock, then append without looking."""
    lock = user.path.with_name(user.path.name + ".lock")
    end = time.monotonic() + 30
    while True:
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > end:
                raise
            time.sleep(random.uniform(0.002, 0.02))
    try:
        with open(user.path, "ab") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            file.write(common.FROM_LINE + stored + b"\n")
    finally:
        os.unlink(lock)


def deliver_procmail(site, user, stored):
    """The real thing, where it is installed."""
    argv = ["procmail", "DEFAULT=%s" % user.path, "LOGFILE=/dev/null", "/dev/null"]
    if common.AS_ROOT:
        argv = ["setpriv", "--reuid=%d" % user.uid, "--regid=%d" % user.uid,
                "--clear-groups"] + argv
    done = subprocess.run(argv, input=common.FROM_LINE + stored, capture_output=True,
                          timeout=60, check=False, cwd="/")
    if done.returncode:
        raise OSError("procmail: %r" % done.stderr)


def deliver_maildir(site, user, stored):
    name = "%d.M%dP%d.host" % (time.time(), time.time_ns() // 1000 % 1000000,
                               random.randrange(1 << 40))
    path = user.path / "tmp" / name
    path.write_bytes(stored)
    site.own(path, user, 0o600)
    os.rename(path, user.path / "new" / name)


class Together(common.Case):
    def deliverer(self, number):
        rng = random.Random(number)
        deliver = deliver_maildir
        if self.user.kind == "mbox":
            real = shutil.which("procmail") and number % 4 == 0
            deliver = deliver_procmail if real else deliver_mbox
        step = number
        while time.monotonic() < self.end:
            stored = make_message(step, rng)
            with self.ledger.lock:
                self.ledger.wire[step] = common.wire(stored)
            deliver(self.site_, self.user, stored)
            with self.ledger.lock:
                self.ledger.delivered.add(step)
            step += DELIVERERS
            time.sleep(rng.uniform(0, 0.08))

    def ask(self, session, command):
        answer = session.ask(command)
        if not answer.endswith(b"\r\n") or answer.endswith(b"the server ends this session\r\n"):
            raise Lost
        return answer

    def look(self, session, number, began):
        """Retrieve one message and compare it; its id, or None where it is not to be had."""
        if not self.ask(session, "RETR %d" % number).startswith(b"+OK"):
            return None
        octets = common.unstuffed(session.body())
        name = id_of(octets)
        with self.ledger.lock:
            if octets != self.ledger.wire.get(name):
                self.ledger.wrong.append("message %s: octets differ: %.300r" % (name, octets))
            elif self.ledger.deleted.get(name, began) < began:
                self.ledger.wrong.append("message %s is back after its deletion" % name)
        return name

    def transaction(self, session, rng, began):
        answer = self.ask(session, "STAT")
        if not answer.startswith(b"+OK"):  # the maildrop role was killed
            raise Lost
        count = int(answer.split()[1])
        marked = set()
        for number in rng.sample(range(1, count + 1), min(count, rng.randrange(STEPS))):
            name = self.look(session, number, began)
            if name is None or rng.random() < 0.3:
                continue
            uidl = self.ask(session, "UIDL %d" % number)
            if uidl.startswith(b"+OK"):
                with self.ledger.lock:
                    known = self.ledger.uidl.setdefault(name, uidl.split()[2])
                    if known != uidl.split()[2]:
                        self.ledger.wrong.append("message %s: id %s was %s" % (
                            name, uidl.split()[2], known))
            if self.ask(session, "DELE %d" % number).startswith(b"+OK"):
                marked.add(name)
        return marked

    def one_session(self, rng):
        session = self.site_.start()
        self.running.append(session)
        sent = marked = set()
        try:
            began = time.monotonic()
            self.ask(session, "NOOP")  # the greeting
            session.line()
            self.ask(session, "USER " + self.user.name)
            if not self.ask(session, "PASS " + common.PASSWORD).startswith(b"+OK"):
                self.ledger.count("in use")
                return
            marked = self.transaction(session, rng, began)
            fate = rng.random()
            if fate < 0.15:
                return  # the connection is lost: nothing is deleted
            if fate < 0.25:
                self.ask(session, "RSET")
                marked = set()
            sent = marked
            answer = self.ask(session, "QUIT")
            with self.ledger.lock:
                if answer.startswith(b"+OK"):
                    self.ledger.deleted.update(dict.fromkeys(marked, time.monotonic()))
                    sent = set()
            self.ledger.count("quit")
        except (AssertionError, Lost, OSError):
            self.ledger.count("lost")
        finally:
            with self.ledger.lock:
                self.ledger.maybe |= sent
                self.ledger.counts["sessions"] += 1
            self.running.remove(session)
            session.close()
            session.wait(None)
            self.site_.sessions.remove(session)

    def sessions(self, number):
        rng = random.Random(1000 + number)
        # A session that was killed last may have left its dotlock: the next login removes it,
        # and deliverers are waiting for that.
        while time.monotonic() < self.end or self.delivering:
            self.one_session(rng)

    def killer(self, number):
        rng = random.Random(2000 + number)
        while time.monotonic() < self.end:
            time.sleep(rng.uniform(0.02, 0.15))
            with contextlib.suppress(IndexError, OSError):
                session = rng.choice(list(self.running))
                pids = [session.process.pid] + common.descendants_of(session.process.pid)
                os.kill(rng.choice(pids), signal.SIGKILL)
                self.ledger.count("kills")

    def worker(self, function, number):
        try:
            function(number)
        except Exception as error:  # pylint: disable=broad-except
            self.ledger.complain("%s %d: %r" % (function.__name__, number, error))
        finally:
            if function == self.deliverer:
                self.delivering.discard(number)

    def settle(self):
        """Whatever is left: each message once, and none that was deleted."""
        ledger = self.ledger
        common.poll("the lock is free",
                    lambda: common.lock_is_free(self.site_.lock_path(self.user.name)))
        session = self.site_.login(self.user.name)
        count = int(session.ask("STAT").split()[1])
        left = []
        for number in range(1, count + 1):
            octets = session.multi("RETR %d" % number)
            name = id_of(octets)
            self.assertEqual(octets, ledger.wire.get(name), "message %s" % name)
            left.append(name)
        session.quit()
        self.assertEqual(len(left), len(set(left)), "a message is there twice")
        self.assertFalse(set(left) & set(ledger.deleted), "deleted messages are there")
        missing = ledger.delivered - set(left) - set(ledger.deleted) - ledger.maybe
        self.assertFalse(missing, "lost messages")
        return left

    def everything(self, kind):
        self.site_ = self.site(lock_timeout=2, auth_failure_delay=0)
        os.chmod(self.site_.top / "mail", 0o1777)
        self.user = self.site_.add_user("alice", kind, [])
        self.ledger = Ledger()
        self.running = []
        self.end = time.monotonic() + SECONDS
        self.delivering = set(range(DELIVERERS))
        crew = [(self.deliverer, n) for n in range(DELIVERERS)]
        crew += [(self.sessions, n) for n in range(SESSIONS)]
        crew += [(self.killer, n) for n in range(KILLERS)]
        threads = [threading.Thread(target=self.worker, args=job) for job in crew]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + 120)
            self.assertFalse(thread.is_alive(), "a worker does not end")
        self.assertFalse(self.ledger.wrong, "\n".join(self.ledger.wrong[:10]))
        left = self.settle()
        print("%s: %d delivered, %d deleted, %d perhaps, %d left; %s" % (
            kind, len(self.ledger.delivered), len(self.ledger.deleted),
            len(self.ledger.maybe), len(left), self.ledger.counts))
        self.assertGreater(len(self.ledger.delivered), 0)
        self.assertGreater(len(self.ledger.deleted), 0)

    def test_mbox(self):
        self.everything("mbox")

    def test_maildir(self):
        self.everything("maildir")


if __name__ == "__main__":
    common.main()
