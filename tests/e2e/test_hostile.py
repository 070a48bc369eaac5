#!/usr/bin/env python3
"""Clients that mean no good, odd descriptors, clocks that jump, and very many sessions.

POP3D_SESSIONS: how many sessions at once (500 on a machine with nothing else to do).
"""
import contextlib
import os
import resource
import signal
import socket
import struct
import subprocess
import time

import common
import hooked
from common import AS_ROOT, PASSWORD, poll, simple_message

MAIL = [simple_message(number, 200 * number) for number in range(1, 4)]
SESSIONS = int(os.environ.get("POP3D_SESSIONS", "40"))
MIB = 1 << 20


def peak_kib(pid):
    """The most memory that a process ever had; 0: it has ended."""
    with contextlib.suppress(OSError):
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM"):
                    return int(line.split()[1])
    return 0


class Case(common.Case):
    def open(self, kind="mbox", messages=None, **options):
        site = self.site(**options)
        site.add_user("alice", kind, MAIL if messages is None else messages)
        return site

    def whole(self, site, session, seconds=10):
        """It is over: no process, no lock, and a new session is as good as ever."""
        session.close()
        session.wait(None, seconds)
        poll("no process is left", site._reaped, seconds)
        self.assertTrue(common.lock_is_free(site.lock_path()))
        self.assertEqual(list((site.top / "mail").rglob("*.lock")), [])
        site.login().quit()


class Clients(Case):
    def push(self, session, data, times):
        """Send it so often; whatever is answered is dropped.  How many octets were taken."""
        taken = 0
        end = time.monotonic() + common.WAIT
        for _ in range(times):
            rest = memoryview(data)
            while rest and not session.at_end:
                if time.monotonic() > end:
                    session.fail("it takes too long")
                before = len(rest)
                rest = session._fill(1, rest)
                taken += before - len(rest)
                session.buffer = session.buffer[-4096:]
        return taken

    def test_octet_by_octet_before_login(self):
        """auth_timeout does not start anew with each octet."""
        site = self.open(auth_timeout=1)
        session = site.start()
        began = time.monotonic()
        while not session.at_end and time.monotonic() - began < 10:
            session.send("U")
            session._fill(0.1)
        self.assertTrue(session.at_end)
        self.assertLess(time.monotonic() - began, 8)
        self.whole(site, session)

    def test_endless_line(self):
        """100 MB without an end of line: one answer, no memory, the session in step."""
        site = self.open()
        for logged_in in (False, True):
            session = site.login() if logged_in else site.start()
            if not logged_in:
                session.greeting()
            role = next(role for role in session.roles() if role.name == "pop3d-session")
            before = peak_kib(role.pid)
            self.assertEqual(self.push(session, b"x" * MIB, 100), 100 * MIB)
            session.send("\r\n")
            session.expect(None, "-ERR...")
            if not common.SANITIZED:
                self.assertLess(peak_kib(role.pid) - before, 1024)
            session.expect("NOOP" if logged_in else "CAPA", "+OK...")
            self.whole(site, session)

    def test_garbage(self):
        """20 refused lines before a login are enough; after it each is answered."""
        site = self.open()
        before = site.content(site.users["alice"])
        block = os.urandom(MIB)
        session = site.start()
        self.assertLess(self.push(session, block, 100), 4 * MIB)
        poll("the end", lambda: session._fill(0.1) or session.at_end)
        self.whole(site, session)
        session = site.login()
        role = next(role for role in session.roles() if role.name == "pop3d-session")
        self.push(session, block, 10 if common.SANITIZED else 100)
        self.assertFalse(session.at_end)
        session.send("\r\nNOOP\r\n")
        poll("+OK", lambda: session._fill(0.1) or b"+OK nothing done" in session.buffer)
        if not common.SANITIZED:
            self.assertLess(peak_kib(role.pid), 4096)
        self.whole(site, session)
        self.assertEqual(site.content(site.users["alice"]), before)

    def test_cancels(self):
        """10 000 exchanges begun and cancelled cost nothing that stays."""
        site = self.open()
        session = site.start()
        self.push(session, b"AUTH PLAIN\r\n*\r\n" * 10000, 1)
        session.buffer = b""
        poll("the end after 20 refusals in a row",
             lambda: session._fill(0.1) or session.at_end)
        self.whole(site, session)
        times = 1000 if common.SANITIZED else 10000
        session = site.start()
        session.greeting()
        session.expect("AUTH PLAIN", "+ ")
        session.expect("*", "-ERR...")
        peaks = {role: peak_kib(role.pid) for role in session.roles()}
        self.push(session, b"AUTH PLAIN\r\n*\r\nCAPA\r\n" * times, 1)
        self.assertFalse(session.at_end)
        session.send("USER alice\r\nPASS %s\r\nSTAT\r\n" % PASSWORD)
        poll("a login", lambda: session._fill(0.1) or b"+OK 3 " in session.buffer)
        if not common.SANITIZED:
            for role, before in peaks.items():
                self.assertLess(peak_kib(role.pid) - (before or 4096), 512, role)
        self.whole(site, session)

    def test_half_close(self):
        """A client that has said all, QUIT or not, and sends no more, hears all."""
        for last in ("QUIT", "NOOP"):
            for transport in ("tcp", "socket"):
                site = self.open()
                before = site.content(site.users["alice"])
                session = site.start(transport=transport)
                session.send("USER alice\r\nPASS %s\r\nRETR 3\r\nDELE 1\r\n%s\r\n" % (
                    PASSWORD, last))
                session.keep[0].shutdown(socket.SHUT_WR)
                for _ in range(3):
                    session.expect(None, "+OK...")
                session.expect(None, "+OK...")
                session.body()
                session.expect(None, "+OK...")
                session.expect(None, "+OK...")
                session.end_of_file()
                self.whole(site, session)
                now = site.content(site.users["alice"])
                self.assertEqual(now, common.mbox(MAIL[1:]) if last == "QUIT" else before)

    def test_reset_everywhere(self):
        """A reset instead of the next command."""
        big = [simple_message(1, 4 * MIB)] + MAIL[1:]
        steps = ["", "USER alice\r\n", "PASS %s\r\n" % PASSWORD, "LIST\r\n", "UIDL\r\n",
                 "DELE 2\r\n", "RETR 1\r\n", "QU"]
        for kind in ("mbox", "maildir"):
            site = self.open(kind, big)
            before = site.content(site.users["alice"])
            for count in range(1, len(steps) + 1):
                for wait in (False, True):
                    session = site.start(transport="tcp")
                    session.send("".join(steps[:count]))
                    if wait:
                        session.read(80 if count > 2 else 1)
                    session.keep[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                               struct.pack("=ii", 1, 0))
                    self.whole(site, session)
                    self.assertEqual(site.content(site.users["alice"]), before, steps[:count])

    def test_pipe_without_reader(self):
        """Nobody reads the answers, and SIGPIPE is at its default or ignored."""
        for action in (signal.SIG_DFL, signal.SIG_IGN):
            site = self.open()
            before = site.content(site.users["alice"])
            session = site.start(transport="pipes",
                                 preexec=lambda: signal.signal(signal.SIGPIPE, action))
            session.login()
            session.expect("DELE 1", "+OK...")
            session.keep.pop(0).close()  # what it writes to
            with contextlib.suppress(AssertionError):
                os.write(session.write_fd, b"LIST\r\nNOOP\r\n")
            session.wait(None, 10)
            self.whole(site, session)
            self.assertEqual(site.content(site.users["alice"]), before)


class Descriptors(Case):
    """What is not the client's socket as 0 and 1."""

    def run_on(self, site, preexec):
        session = site.start(preexec=preexec)
        session.close()
        got = session.wait(None, 10)
        site.sessions.remove(session)
        self.assertGreaterEqual(got, 0, "it was killed")
        poll("no process is left", site._reaped)

    def test_closed(self):
        site = self.open()
        for closed in ((0,), (1,), (0, 1), (0, 1, 2)):
            def close(closed=closed):
                for number in closed:
                    os.close(number)
            self.run_on(site, close)
        site.login().quit()

    def test_others(self):
        """Directories, devices, listening and datagram sockets, the wrong end of a pipe."""
        site = self.open(auth_timeout=1)  # who reads zeros without end is a client, too
        path = site.top / "etc/empty"
        path.touch()
        openers = {
            "/dev/null": lambda: os.open("/dev/null", os.O_RDWR),
            "/dev/zero": lambda: os.open("/dev/zero", os.O_RDWR),
            "/dev/full": lambda: os.open("/dev/full", os.O_RDWR),
            "a directory": lambda: os.open("/", os.O_RDONLY),
            "a path": lambda: os.open("/", os.O_PATH),
            "an empty file": lambda: os.open(path, os.O_RDWR),
            "a file that cannot be written": lambda: os.open(path, os.O_RDONLY),
            "a file that cannot be read": lambda: os.open(path, os.O_WRONLY),
            "a listening socket": lambda: socket.create_server(("127.0.0.1", 0)).detach(),
            "a socket without a peer": lambda: socket.socket().detach(),
            "a datagram socket": lambda: socket.socket(type=socket.SOCK_DGRAM).detach(),
            "the reading end of a pipe": lambda: os.pipe()[0],
            "the writing end of a pipe": lambda: os.pipe()[1],
            "an event counter": lambda: os.eventfd(0) if hasattr(os, "eventfd") else os.pipe()[0],
        }
        for name, opener in openers.items():
            def use():
                fd = opener()
                os.dup2(fd, 0)
                os.dup2(fd, 1)
            with self.subTest(name=name):
                self.run_on(site, use)
        site.login().quit()

    def test_files(self):
        """Commands from a file, answers to a file: a session as any other."""
        site = self.open()
        commands, answers = site.top / "etc/in", site.top / "etc/out"
        commands.write_bytes(b"USER alice\r\nPASS %s\r\nSTAT\r\nRETR 3\r\nDELE 1\r\nQUIT\r\n" %
                             PASSWORD.encode())

        def use():
            os.dup2(os.open(commands, os.O_RDONLY), 0)
            os.dup2(os.open(answers, os.O_WRONLY | os.O_CREAT, 0o600), 1)
        self.run_on(site, use)
        text = answers.read_bytes()
        self.assertIn(common.stuffed(common.wire(MAIL[2])), text)
        self.assertTrue(text.endswith(b"+OK bye\r\n"), text[-100:])
        self.assertEqual(site.content(site.users["alice"]), common.mbox(MAIL[1:]))


class Clock(Case):
    def test_jumps(self):
        """The wall clock goes ten years forth and back in the middle of a session."""
        for kind in ("mbox", "maildir"):
            site = hooked.HookedSite(auth_failure_delay="0.3", login_delay=60)
            self.addCleanup(self._end_site, site)
            site.add_user("alice", kind, MAIL)
            for years in (10, -10):
                jump = years * 365 * 86400
                site.page.want()
                session = site.start()
                session.greeting()
                site.page.jump(jump)
                began = time.monotonic()
                session.expect("USER alice", "+OK...")
                session.send("PASS wrong\r\n")
                site.page.jump(-jump)
                session.expect(None, "-ERR [AUTH]...")
                self.assertGreaterEqual(time.monotonic() - began, 0.29)
                self.assertLess(time.monotonic() - began, 10)
                session.expect("USER alice", "+OK...")
                session.expect("PASS " + PASSWORD, "+OK...")
                for back in (jump, 0, -jump, 0):
                    site.page.jump(back)
                    session.expect("NOOP", "+OK...")
                    session.expect("RETR 1", "+OK...")
                    self.assertEqual(session.body(), common.stuffed(common.wire(MAIL[0])))
                site.page.jump(jump)
                session.expect("DELE 2", "+OK...")
                session.quit()
                (site.top / "state/alice/login").unlink()
                site.fill(site.users["alice"], MAIL)

    def test_login_from_the_future(self):
        """The time of the last login, noted before the clock was set back, locks nobody out."""
        site = hooked.HookedSite(login_delay=3600)
        self.addCleanup(self._end_site, site)
        site.add_user("alice", "mbox", MAIL)
        session = site.login()
        session.quit()
        site.page.want(jump_s=-7200)
        os.utime(site.top / "state/alice/login", (time.time(), time.time()))
        site.login().quit()


class Stopped(Case):
    def test_every_role(self):
        """SIGSTOP of one role: the session ends all the same when it is told to."""
        site = hooked.HookedSite()
        self.addCleanup(self._end_site, site)
        site.add_user("alice", "mbox", MAIL)
        before = site.content(site.users["alice"])
        for name in ("pop3d-auth", "pop3d-session", "pop3d-maildrop"):
            site.page.want()
            session = site.start()
            session.greeting()
            if name != "pop3d-auth":
                session.expect("USER alice", "+OK...")
                session.expect("PASS " + PASSWORD, "+OK...")
                session.expect("DELE 1", "+OK...")
            role, = poll(name, lambda: [
                role for role in session.roles() if role.name == name and role.no_new_privs])
            os.kill(role.pid, signal.SIGSTOP)
            if name != "pop3d-auth":
                session.send("RETR 2\r\n")
            for seconds in range(0, 120, 3):  # nobody waits for the deadlines themselves
                session.process.send_signal(signal.SIGTERM)
                site.page.pass_time(seconds)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    session.process.wait(0.1)
                    break
            self.whole(site, session)
            self.assertEqual(site.content(site.users["alice"]), before)


class Load(common.Case):
    def pss_kib(self, session):
        total = 0
        for role in session.roles():
            with contextlib.suppress(OSError, StopIteration):
                with open("/proc/%d/smaps_rollup" % role.pid, encoding="ascii") as file:
                    total += next(int(line.split()[1]) for line in file
                                  if line.startswith("Pss:"))
        return total

    def test_many_sessions(self):
        """All connected at once; every one logs in, as many at a time as there are maildrops."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 2 * SESSIONS + 100:
            self.skipTest("too few descriptors here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * SESSIONS + 100), hard))
        site = self.site(auth_timeout=1800)
        names = ["user%d" % number for number in range(max(SESSIONS // 5, 1))]
        for number, name in enumerate(names):
            site.add_user(name, ("mbox", "maildir")[number % 2],
                          [simple_message(n) for n in range(5)],
                          uid=62000 + number if AS_ROOT else None)
        began = time.monotonic()
        sessions = [site.start() for _ in range(SESSIONS)]
        for session in sessions:
            session.greeting()
        peak = idle = 0
        if AS_ROOT:
            idle = sum(self.pss_kib(session) for session in sessions) / SESSIONS
        for first in range(0, SESSIONS, len(names)):
            now = list(zip(sessions[first:first + len(names)], names))
            for session, name in now:
                session.send("USER %s\r\nPASS %s\r\n" % (name, PASSWORD))
            for session, name in now:
                session.expect(None, "+OK...")
                session.expect(None, "+OK maildrop has...")
                session.expect("RETR 1", "+OK...")
                session.body()
                session.expect("UIDL 1", "+OK...")
            if AS_ROOT:
                peak = max(peak, sum(self.pss_kib(session) for session, _ in now) / len(now))
            for session, name in now:
                session.expect("DELE 1", "+OK...")
            for session, name in now:
                session.quit()
        poll("no process is left", site._reaped)
        for name in names:
            self.assertTrue(common.lock_is_free(site.lock_path(name)))
        rounds = (SESSIONS + len(names) - 1) // len(names)
        for number, name in enumerate(names):
            done = rounds if number < SESSIONS - (rounds - 1) * len(names) else rounds - 1
            session = site.login(name)
            session.expect("STAT", "+OK %d..." % (5 - done))
            session.quit()
        bad = [line for line in site.log_text().splitlines()
               if line.startswith("error") and "not started as root" not in line]
        self.assertEqual(bad, [])
        print("%d sessions at once on %d maildrops: %.0f KiB PSS a session before the login, at "
              "most %.0f KiB in a round of logins, %.1f s" % (
                  SESSIONS, len(names), idle, peak, time.monotonic() - began))


if __name__ == "__main__":
    common.main()
