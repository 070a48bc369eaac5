"""What all whole-program tests share: a temporary site, a client, a runner.

A Site is a configuration, a users file, maildrops and directories below one
temporary directory.  Site.start() runs pop3d over it with a socket, pipes or a
terminal on descriptors 0 and 1, as inetd would, and gives a Session to talk to.
Every wait is bounded.  Site.close() fails where a process or a lock is left.

As root the roles get real uids that need no accounts (UID_*); as an ordinary
user everything runs under the caller's.  Only Python's standard library.
"""
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest

import loglines

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("POP3D_BUILD", ROOT / "build")).resolve()
POP3D = BUILD / "pop3d/pop3d"
ADMIN = BUILD / "pop3admin/pop3admin"
AS_ROOT = os.geteuid() == 0
SANITIZED = BUILD.name.endswith("san")
WAIT = 40.0 if SANITIZED else 20.0  # seconds until a missing answer is a failure

UID_FIRST = 61001  # the first mailbox owner's; the next user gets the next
UID_SESSION = 61010 if AS_ROOT else os.geteuid()
UID_KEEPER = 61011 if AS_ROOT else os.geteuid()

HOSTNAME = "pop.example.org"
PASSWORD = "correct horse"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us and are seen


# ---- messages as the protocol defines them ---------------------------------

def wire(stored):
    """The octets of a message as sent, without byte-stuffing (design section 7)."""
    sent = re.sub(rb"\r?\n", b"\r\n", stored)
    return sent if not sent or sent.endswith(b"\r\n") else sent + b"\r\n"


def stuffed(octets):
    """What follows the +OK line of RETR: dots doubled, the final dot."""
    return re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n" if octets else b".\r\n"


def unstuffed(raw):
    """The octets of a multi-line answer that came with its final dot."""
    assert raw.endswith(b".\r\n")
    return re.sub(rb"(\A|\r\n)\.", rb"\1", raw[:-3])


def top(octets, lines):
    """The octets TOP sends: header section, empty line, the first lines of the body."""
    head, sep, body = octets.partition(b"\r\n\r\n")
    if octets.startswith(b"\r\n"):
        head, sep, body = b"", b"\r\n", octets[2:]
    if not sep:
        return octets
    kept = body.split(b"\r\n")[:lines]
    cut = b"".join(line + b"\r\n" for line in kept)
    return head + sep + (body if len(cut) >= len(body) else cut)


FROM_LINE = b"From sender@example.net Fri Nov 20 10:54:00 2026\n"


def mbox(messages, finish=True):
    """An mbox file of these stored messages; each is ended as a deliverer would."""
    out = b""
    for number, stored in enumerate(messages):
        out += FROM_LINE + stored
        if not finish and number == len(messages) - 1:
            break
        if stored and not stored.endswith(b"\n"):
            out += b"\n"
        out += b"\n"
    return out


def version_of(*argv):
    """What a program says of itself: the first number with a dot, or a date."""
    said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WAIT,
                          stdin=subprocess.DEVNULL)
    return re.search(r"\d+(\.\d+)+|\b\d{8}\b", said.stdout + said.stderr)[0]


def note_client(client, version, what):
    """Something held with a real client: a line for the table that tests/interop makes."""
    path = os.environ.get("POP3D_INTEROP")
    if path:
        with open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps([client, version, what]) + "\n")


def simple_message(number, size=0):
    text = b"From: a@example.net\nTo: b@example.org\nSubject: message %d\n\nbody %d\n" % (
        number, number)
    return text + (b"x" * 71 + b"\n") * max(0, (size - len(text) + 71) // 72)


# ---- small helpers -----------------------------------------------------------

def make_hash(password, setting="$5$rounds=1000$pop3dtest"):
    """A cheap crypt(3) hash."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", None):
        with contextlib.suppress(OSError, AttributeError):
            crypt = ctypes.CDLL(name).crypt
            crypt.restype = ctypes.c_char_p
            made = crypt(password.encode(), setting.encode())
            if made and made.startswith(b"$"):
                return made.decode()
    raise unittest.SkipTest("no crypt(3) here")


def poll(what, condition, seconds=None):
    """Wait until condition() is true; its value."""
    end = time.monotonic() + (seconds or WAIT)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %.1f s: %s" % (seconds or WAIT, what))
        time.sleep(0.005)


def children_of(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as file:
                found += [int(word) for word in file.read().split()]
    return found


def descendants_of(pid):
    found = []
    for child in children_of(pid):
        found += [child] + descendants_of(child)
    return found


def alive(pid):
    with contextlib.suppress(OSError):
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


def lock_is_free(path):
    """Nobody holds a classic record lock on the file."""
    try:
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


class Role:
    """One process of a session, as /proc shows it."""

    def __init__(self, pid):
        self.pid = pid
        status = {}
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                status[key] = value.strip()
        self.status = status
        self.name = status["Name"]
        self.uids = [int(word) for word in status["Uid"].split()]
        self.gids = [int(word) for word in status["Gid"].split()]
        self.groups = [int(word) for word in status.get("Groups", "").split()]
        self.no_new_privs = status["NoNewPrivs"] == "1"
        self.capabilities = int(status["CapEff"], 16)

    def link(self, name):
        try:
            return os.readlink("/proc/%d/%s" % (self.pid, name))
        except OSError as error:
            return "(%s)" % error.strerror

    def descriptors(self):
        return {int(number): self.link("fd/" + number)
                for number in os.listdir("/proc/%d/fd" % self.pid)}

    def maps(self):
        with open("/proc/%d/maps" % self.pid, encoding="utf-8", errors="replace") as file:
            return file.read()

    def __repr__(self):
        return "%s(%d, uid %d)" % (self.name, self.pid, self.uids[0])


# ---- one session ---------------------------------------------------------------

class Session:
    """A running pop3d and its client's end."""

    def __init__(self, site, process, read_fd, write_fd, keep=()):
        self.site = site
        self.process = process
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.keep = list(keep)  # objects whose descriptors these are
        self.buffer = b""
        self.at_end = False
        self.trace = []
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def fail(self, text):
        lines = ["%s: %.200r" % item for item in self.trace[-12:]]
        raise AssertionError("%s\n  %s\n  pending: %.200r\n  log: %s" % (
            text, "\n  ".join(lines), self.buffer, self.site.log_text()[-1500:]))

    def _fill(self, timeout, data=b""):
        """Read what is there, write what can be written; returns what is left of data."""
        writers = [self.write_fd] if data else []
        readers = [] if self.at_end else [self.read_fd]
        readable, writable, _ = select.select(readers, writers, [], max(timeout, 0))
        if readable:
            try:
                got = os.read(self.read_fd, 1 << 18)
            except BlockingIOError:
                return data
            except OSError as error:  # ECONNRESET, or EIO from a terminal: the end
                self.trace.append(("!", str(error)))
                got = b""
            self.at_end = not got
            self.buffer += got
        if writable:
            try:
                data = data[os.write(self.write_fd, data):]
            except BlockingIOError:
                pass
            except OSError as error:  # the server has closed
                self.trace.append(("!", "write: %s" % error))
                data = b""
        return data

    def send(self, data):
        """Send octets, reading whatever comes meanwhile."""
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.trace.append(("C", data))
        end = time.monotonic() + WAIT
        while data:
            if time.monotonic() > end:
                self.fail("the server does not take what is sent")
            data = self._fill(1.0, memoryview(data) if len(data) > 65536 else data)

    def _until(self, found, timeout=None):
        end = time.monotonic() + (timeout or WAIT)
        while True:
            where = found()
            if where >= 0:
                data, self.buffer = self.buffer[:where], self.buffer[where:]
                return data
            if self.at_end:
                self.fail("the server closed the connection")
            if time.monotonic() > end:
                self.fail("no answer within the time")
            self._fill(end - time.monotonic())

    def read(self, n, timeout=None):
        """Exactly n octets."""
        return self._until(lambda: n if len(self.buffer) >= n else -1, timeout)

    def line(self, timeout=None):
        """One line of the server, with its CRLF."""
        line = self._until(lambda: self.buffer.find(b"\n") + 1 or -1, timeout)
        self.trace.append(("S", line))
        if not line.endswith(b"\r\n") or len(line) > 512:
            self.fail("no proper answer: %r" % line)
        return line

    def body(self, timeout=None):
        """A multi-line answer up to and with its final dot, as it came."""
        def found():
            if self.buffer.startswith(b".\r\n"):
                return 3
            where = self.buffer.find(b"\r\n.\r\n")
            return where + 5 if where >= 0 else -1
        raw = self._until(found, timeout)
        self.trace.append(("S", raw))
        return raw

    def ask(self, command, timeout=None):
        """Send a command; its first line."""
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.line(timeout)

    def expect(self, command, pattern):
        """Ask (None: only read), and want exactly this answer; `...` at its end: any text."""
        answer = self.line() if command is None else self.ask(command)
        self.match(answer, pattern, command)
        return answer

    def match(self, answer, pattern, command=None):
        wanted = pattern.encode("latin-1")
        if wanted.endswith(b"..."):
            good = answer.startswith(wanted[:-3])
        else:
            good = answer == wanted + b"\r\n"
        if not good:
            self.fail("%r: wanted %r, got %r" % (command, pattern, answer))

    def multi(self, command, pattern="+OK..."):
        """Ask for a multi-line answer: its octets, dots undone."""
        self.expect(command, pattern)
        return unstuffed(self.body())

    def lines(self, command, pattern="+OK..."):
        return self.multi(command, pattern).decode("latin-1").splitlines()

    def greeting(self):
        return self.expect(None, "+OK...")

    def login(self, user="alice", password=PASSWORD):
        self.greeting()
        self.expect("USER " + user, "+OK...")
        self.expect("PASS " + password, "+OK...")
        return self

    def play(self, transcript):
        """A transcript: `C: ` what to send, `S: ` the answer wanted (`...`: any end),
        `M: ` a multi-line answer's lines parted by `|`, `E:` the end."""
        for text in transcript.strip().splitlines():
            who, _, rest = text.strip().partition(":")
            rest = rest[1:].encode("latin-1").decode("unicode_escape")
            if who == "C":
                self.send(rest + "\r\n")
            elif who == "S":
                self.match(self.line(), rest, text)
            elif who == "M":
                wanted = "".join(line + "\r\n" for line in rest.split("|") if line)
                got = self.body()
                if got != stuffed(wanted.encode("latin-1")):
                    self.fail("wanted %r, got %r" % (wanted, got))
            elif who == "E":
                self.ended()
            else:
                raise ValueError(text)

    def end_of_file(self, timeout=None):
        """The server closes, and sends nothing more before it."""
        end = time.monotonic() + (timeout or WAIT)
        while not self.at_end:
            if time.monotonic() > end:
                self.fail("the connection stays open")
            self._fill(end - time.monotonic())
        if self.buffer:
            self.fail("octets after the last answer")

    def ended(self, status=0, timeout=None):
        """The server closes, its process ends with this status, nothing runs on."""
        self.end_of_file(timeout)
        self.close()
        return self.wait(status, timeout)

    def wait(self, status=0, timeout=None):
        try:
            got = self.process.wait(timeout or WAIT)
        except subprocess.TimeoutExpired:
            self.fail("the monitor does not end")
        if status is not None and got != status:
            self.fail("exit status %s, not %s" % (got, status))
        return got

    def quit(self, answer="+OK..."):
        self.expect("QUIT", answer)
        return self.ended()

    def close(self):
        """The client goes away."""
        for item in self.keep:
            item.close()
        self.keep = []

    def roles(self):
        """The monitor first, then every process below it (one may be ending: auth does
        after a login, the digest helper after UIDL)."""
        found = []
        for pid in [self.process.pid] + descendants_of(self.process.pid):
            with contextlib.suppress(OSError, KeyError):
                found.append(Role(pid))
        return found

    def settled_roles(self):
        """The roles of a session that is logged in, when the auth role has ended."""
        poll("the auth role has ended: %s" % self.roles(),
             lambda: not [role for role in self.roles() if role.name == "pop3d-auth"])
        return self.roles()


class Listener:
    """A tcpserver for the tests."""

    def __init__(self, site, args, port=0):
        self.site = site
        self.argv = [str(site.program), "-c", str(site.config), "-e"] + list(args)
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.processes = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, open(self.site.log, "ab") as log:
                self.processes.append(subprocess.Popen(
                    self.argv, stdin=connection, stdout=connection, stderr=log, cwd="/"))

    def stop(self):
        if not self.socket._closed:
            self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()
            self.thread.join(WAIT)
        for process in self.processes:
            process.wait(WAIT)


# ---- the site ----------------------------------------------------------------------

class User:
    def __init__(self, name, uid, kind, path):
        self.name = name
        self.uid = uid
        self.kind = kind
        self.path = pathlib.Path(path)
        self.password = PASSWORD


class Site:
    def __init__(self, **options):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="pop3d-site."))
        self.top.chmod(0o711)
        self.program = POP3D
        self.sessions = []
        self.listeners = []
        self.users = {}
        self.lines = {}
        self.mounts = []
        for name, mode in (("etc", 0o755), ("mail", 0o1777 if AS_ROOT else 0o700),
                           ("state", 0o711), ("run", 0o700), ("libexec", 0o755),
                           ("libexec/empty", 0o755)):
            (self.top / name).mkdir()
            (self.top / name).chmod(mode)
        for helper in (BUILD / "pop3d").glob("pop3d-*"):
            if os.access(helper, os.X_OK) and helper.suffix == "":
                shutil.copy(helper, self.top / "libexec")
        self.log = self.top / "log"
        self.log.touch()
        self.generation = 0  # a Maildir name never comes twice
        self.filters_kill = False  # a role's death by SIGSYS is what the test wants
        self.options = {
            "hostname": HOSTNAME,
            "users": self.top / "etc/users",
            "secrets": self.top / "etc/secrets",
            "maildrop": "mbox:%s/mail/%%u" % self.top,
            "state_dir": self.top / "state",
            "run_dir": self.top / "run",
            "helper_dir": self.top / "libexec",
            "unprivileged_user": UID_SESSION,
            "keeper_user": UID_KEEPER,
            "auth_failure_delay": "0.1",
            "penalty_step": 0,
            "lock_timeout": 1,
        }
        self.config = self.top / "etc/pop3d.conf"
        self.configure(**options)
        self.write_users()

    # -- its files

    def configure(self, **options):
        """Change keys (None: leave the key out) and write the file."""
        self.options.update(options)
        text = "".join("%s = %s\n" % item for item in self.options.items()
                       if item[1] is not None)
        self.config.write_text("# made by the tests\n" + text)
        self.config.chmod(0o644)

    def write_users(self):
        path = self.top / "etc/users"
        path.write_text("".join(self.lines[name] + "\n" for name in sorted(self.lines)))
        path.chmod(0o600)

    def add_user(self, name="alice", kind="mbox", messages=None, password=PASSWORD,
                 uid=None, path=None, field=None, home=None):
        """A users entry and its maildrop (messages None: no maildrop yet)."""
        if uid is None:
            uid = UID_FIRST + len(self.users) if AS_ROOT else os.geteuid()
        gid = uid if AS_ROOT else os.getegid()
        path = path or self.top / "mail" / (name if kind == "mbox" else name + ".maildir")
        user = User(name, uid, kind, path)
        user.password = password
        self.users[name] = user
        self.lines[name] = "%s:%s:%d:%d::%s::%s" % (
            name, field or make_hash(password), uid, gid, home or self.top / "home" / name,
            "maildrop=%s:%s" % (kind, path))
        self.write_users()
        if messages is not None:
            self.fill(user, messages)
        return user

    def own(self, path, user, mode=None):
        if AS_ROOT:
            os.chown(path, user.uid, user.uid, follow_symlinks=False)
        if mode is not None:
            os.chmod(path, mode)

    def fill(self, user, messages):
        """(Re)write the maildrop with these stored messages."""
        if user.kind == "mbox":
            user.path.write_bytes(mbox(messages))
            self.own(user.path, user, 0o600)
            return
        shutil.rmtree(user.path, ignore_errors=True)
        self.generation += 1
        for name in ("", "tmp", "new", "cur"):
            (user.path / name).mkdir()
            self.own(user.path / name, user, 0o700)
        for number, stored in enumerate(messages):
            self.deliver(user, stored, number)

    def deliver(self, user, stored, number=None):
        """Deliver one message as another program would."""
        if user.kind == "mbox":
            with open(user.path, "ab") as file:
                file.write(mbox([stored]))
            return user.path
        if number is None:
            number = 1000 + len(list(user.path.glob("*/*")))
        where, flags = ("cur", ":2,S") if number % 3 == 2 else ("new", "")
        path = user.path / where / ("%d.M%dP%d.host%s" % (
            1700000000 + number, number, self.generation, flags))
        path.write_bytes(stored)
        self.own(path, user, 0o600)
        return path

    def content(self, user):
        """All that the maildrop holds, to see that nothing has changed."""
        if user.kind == "mbox":
            return user.path.read_bytes()
        return {path.name.partition(":")[0]: path.read_bytes()
                for path in user.path.glob("*/*") if path.parent.name in ("new", "cur")}

    def mount_tmpfs(self, path, size):
        """A small file system (root only)."""
        status = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d,mode=1777" % size,
                                 "pop3d-test", str(path)], stderr=subprocess.DEVNULL, check=False)
        if status.returncode:
            raise unittest.SkipTest("mount is not permitted here")
        self.mounts.append(path)

    def log_text(self):
        return self.log.read_text(errors="backslashreplace")

    def logged(self, word, seconds=None):
        """Wait until the log has the word."""
        poll("%r in the log:\n%s" % (word, self.log_text()),
             lambda: word in self.log_text(), seconds)

    # -- its programs

    def start(self, *args, transport="socket", log=True, stderr=None, env=None,
              preexec=None, stdin=None):
        """Run pop3d as inetd would; a Session."""
        argv = [str(self.program), "-c", str(self.config)] + (["-e"] if log else []) + list(args)
        keep = []
        if transport == "socket":
            ours, theirs = socket.socketpair()
        elif transport == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                ours = socket.create_connection(listener.getsockname())
                theirs, _ = listener.accept()
        elif transport == "pty":
            master, slave = pty.openpty()
            import tty  # only here
            tty.setraw(slave)
            ours, theirs = os.fdopen(master, "r+b", 0), os.fdopen(slave, "r+b", 0)
        if transport == "pipes":
            to_read, to_write = os.pipe(), os.pipe()
            child_in, child_out = to_write[0], to_read[1]
            read_fd, write_fd = to_read[0], to_write[1]
            keep = [os.fdopen(read_fd, "rb", 0), os.fdopen(write_fd, "wb", 0)]
            theirs = [os.fdopen(child_in, "rb", 0), os.fdopen(child_out, "wb", 0)]
        else:
            child_in = child_out = theirs.fileno()
            read_fd = write_fd = ours.fileno()
            keep, theirs = [ours], [theirs]
        with open(self.log, "ab") as log_file:
            err = child_out if stderr == "client" else stderr or log_file
            process = subprocess.Popen(argv, stdin=child_in if stdin is None else stdin,
                                       stdout=child_out, stderr=err, cwd="/", env=env,
                                       preexec_fn=preexec)
        for item in theirs:
            item.close()
        session = Session(self, process, read_fd, write_fd, keep)
        self.sessions.append(session)
        return session

    def login(self, user="alice", **options):
        return self.start(**options).login(user, self.users[user].password)

    def listen(self, *args, port=0):
        """Serve on a loopback port, one pop3d for each connection, for real clients."""
        listener = Listener(self, args, port)
        self.listeners.append(listener)
        return listener

    def admin(self, *args, status=0, stdin=b""):
        """Run pop3admin over this site; its standard output."""
        done = subprocess.run([str(ADMIN), "-c", str(self.config)] + list(args), input=stdin,
                              capture_output=True, timeout=WAIT, check=False)
        if status is not None and done.returncode != status:
            raise AssertionError("pop3admin %s: status %d, not %d: %s%s" % (
                args, done.returncode, status, done.stdout, done.stderr))
        return done.stdout.decode("utf-8", "backslashreplace")

    # -- its end

    def lock_path(self, name="alice"):
        return self.top / "state" / name / "lock"

    def check_quiet(self):
        """No process and no lock is left, and no sanitizer has spoken."""
        for listener in self.listeners:
            listener.stop()
        for session in self.sessions:
            session.close()
            session.wait(None)
        poll("processes are gone: %s" % descendants_of(os.getpid()), self._reaped)
        for lock in self.top.glob("state/*/lock"):
            if not lock_is_free(lock):
                raise AssertionError("%s is still locked" % lock)
        left = [path for path in (self.top / "mail").rglob("*.lock")]
        if left:
            raise AssertionError("dotlocks are left: %s" % left)
        text = self.log_text()
        if "Sanitizer" in text or "runtime error:" in text:
            raise AssertionError(text)
        loglines.check(text)
        if "killed by signal %d:" % signal.SIGSYS in text and not self.filters_kill:
            raise AssertionError("a filter of system calls is too narrow:\n" + text)

    def _reaped(self):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return not children_of(os.getpid())

    def close(self, check=True):
        try:
            if check:
                self.check_quiet()
        finally:
            for listener in self.listeners:
                listener.stop()
            for session in self.sessions:
                session.close()
                if session.process.poll() is None:
                    for pid in descendants_of(session.process.pid) + [session.process.pid]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    session.process.wait()
            for path in self.mounts:
                subprocess.run(["umount", "-l", str(path)], check=False)
            shutil.rmtree(self.top, onerror=_make_writable)


def _make_writable(function, path, _):
    os.chmod(os.path.dirname(path), stat.S_IRWXU)
    os.chmod(path, stat.S_IRWXU)
    function(path)


class Case(unittest.TestCase):
    """A test with sites of its own."""

    def site(self, **options):
        site = Site(**options)
        self.addCleanup(self._end_site, site)
        return site

    def _end_site(self, site):
        # A test that failed left its sessions open: they are ended, not complained of.
        failed = self._outcome is not None and getattr(self._outcome.result, "bad", False)
        site.close(check=not failed)


# ---- the runner ------------------------------------------------------------------------

class Lines(unittest.TestResult):
    """`ok NAME`, `FAIL NAME` behind its report, `skip NAME: REASON`; see tests/run."""

    def startTest(self, test):
        super().startTest(test)
        self.bad = False

    def _fail(self, test, err):
        self.bad = True
        print("".join(traceback.format_exception(*err)).rstrip())
        print("FAIL " + _name(test), flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        self._fail(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(subtest, err)

    def addSuccess(self, test):
        if not self.bad:
            print("ok " + _name(test), flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print("skip %s: %s" % (_name(test), reason), flush=True)


def _name(test):
    return " ".join(str(part) for part in test.id().split(".", 1)[1:]) or str(test)


def main():
    """Run the tests of the calling file; words on the command line choose by name."""
    suite = unittest.TestSuite()
    words = sys.argv[1:]

    def add(tests):
        for test in tests:
            if isinstance(test, unittest.TestSuite):
                add(test)
            elif not words or any(word in test.id() for word in words):
                suite.addTest(test)

    add(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    result = Lines()
    if not POP3D.exists() and pathlib.Path(sys.argv[0]).name != "test_model.py":
        print("skip all: there is no %s" % POP3D)
    else:
        suite.run(result)
    print("done")
    sys.exit(0 if result.wasSuccessful() else 1)
