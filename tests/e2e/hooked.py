"""Sessions of the test build with hooks: see tests/hooked/hooks.h.

A HookedSite runs that build.  Its page says what is to fail, to be said wrongly or to
be handed over, and afterwards what happened.
"""
import array
import mmap
import os
import select
import shutil
import socket
import struct
import subprocess
import time
import unittest

import common

PROGRAM = common.BUILD / "tests/hooked/pop3d"
HELPERS = ("pop3d-auth", "pop3d-digest", "pop3d-tls")

ROLES = ("starting", "monitor", "session", "auth", "maildrop", "digest", "tls", "keeper",
         "writer")
NUMBER = {name: number for number, name in enumerate(ROLES)}
MEMORY, FORK, FILES = 1, 2, 3

# struct hook_page
_WANT = struct.Struct("=10I2q104s")
_N_ROLES, _N_WHATS, _N_SENT = 16, 4, 2000
_FAILED = _WANT.size
_TRIED = _FAILED + 8
_SAID = _TRIED + 4 * _N_ROLES * _N_WHATS
_SENT = _SAID + 4 * _N_ROLES * _N_ROLES
_SIZE = _SENT + 4 + 4 * _N_SENT


class Rule:
    """A row of the rule table in pop3d/ipc.c."""

    def __init__(self, line):
        words = line.split()
        self.name = words[0]
        (self.number, self.sender, self.receiver, self.kind, self.phases, self.least, self.most,
         self.fds_least, self.fds_most, self.uses, self.answer) = (int(word) for word in words[1:])

    @property
    def is_request(self):
        return self.kind == 0

    @property
    def is_answer(self):
        return self.kind == 1


def rules():
    """The table, as the test build has it: {number: Rule}."""
    text = subprocess.run([str(PROGRAM)], env={"POP3D_HOOK_RULES": "1"}, check=True,
                          stdout=subprocess.PIPE, timeout=common.WAIT).stdout.decode()
    table = [Rule(line) for line in text.splitlines()]
    return {rule.number: rule for rule in table}


class Page:
    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(_SIZE))
        path.chmod(0o600)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), _SIZE)

    def want(self, fail=(0, 0, 0, 0), puppet=0, wrong=(0, 0, 0, 0, 0), jump_s=0,
             control=b""):
        """Forget what happened; fail: role, what, nth, on; wrong: from, to, nth, defect, arg."""
        self.map[:] = bytes(_SIZE)
        self.map[:_WANT.size] = _WANT.pack(*fail, puppet, *wrong, jump_s, 0, control)

    def jump(self, seconds):
        """The wall clock shows so much more."""
        self.map[40:48] = struct.pack("=q", seconds)

    def pass_time(self, seconds):
        """So much more time has passed, for every deadline."""
        self.map[48:56] = struct.pack("=q", seconds)

    def _u32(self, at):
        return struct.unpack_from("=I", self.map, at)[0]

    @property
    def failed(self):
        return self._u32(_FAILED)

    @property
    def said_wrong(self):
        return self._u32(_FAILED + 4)

    def tried(self, role, what):
        return self._u32(_TRIED + 4 * (role * _N_WHATS + what))

    def sent(self):
        """What was said: [(sender, receiver, type)]."""
        count = self._u32(_SENT)
        if count > _N_SENT:
            raise AssertionError("more messages than the page holds: %d" % count)
        return [struct.unpack_from("=BBH", self.map, _SENT + 4 + 4 * number)
                for number in range(count)]


class HookedSite(common.Site):
    def __init__(self, **options):
        if not PROGRAM.exists():
            raise unittest.SkipTest("there is no %s" % PROGRAM)
        super().__init__(**options)
        self.program = PROGRAM
        for helper in HELPERS:
            shutil.copy(PROGRAM.parent / helper, self.top / "libexec")
        self.page = Page(self.top / "etc/page")

    def start(self, *args, **options):
        env = dict(options.pop("env", None) or {}, POP3D_HOOK_PAGE=str(self.page.path))
        return super().start(*args, env=env, **options)

    def log_since(self, mark):
        """The lines of the log behind `mark` octets of it."""
        return self.log.read_bytes()[mark:].decode("utf-8", "backslashreplace").splitlines()


# ---- puppets ---------------------------------------------------------------------------

class Puppet:
    """A role that was taken over: its pairs are ours."""

    def __init__(self, control, role, pid, fds):
        self.control = control
        self.role = role
        self.pid = pid
        self.ends = [socket.socket(fileno=fd) for fd in fds]
        self.monitor = Pair(self.ends[0])

    def pair(self, number):
        return Pair(self.ends[number])

    def receive_there(self, number):
        """Receive in the role itself and keep what came: octets (or -1), descriptors, flags."""
        self.control.send(b"r" + bytes([number]))
        return struct.unpack("=3i", self.control.recv(12))

    def end(self, status=0):
        for end in self.ends:
            end.close()
        try:
            self.control.send(b"x" + bytes([status]))
        except OSError:
            pass
        self.control.close()


class Pair:
    """A raw end of a pair of roles: anything can be said."""

    def __init__(self, end):
        self.end = end
        self.said = False
        self.got_fds = []
        end.settimeout(common.WAIT)

    def say(self, number, payload=b"", fds=(), version=None, length=None):
        """Say a message; False: nobody hears it any more."""
        from_table = VERSION if not self.said else 0
        head = struct.pack("=HHI", number, from_table if version is None else version,
                           len(payload) if length is None else length)
        return self.raw(head + payload, fds)

    def raw(self, data, fds=()):
        self.said = True
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.end.sendmsg([data], extra, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def hear(self, timeout=None):
        """The next message: (type, payload, descriptors); None: the other side has ended."""
        self.end.settimeout(timeout or common.WAIT)
        try:
            data, extra, _, _ = self.end.recvmsg(8192, socket.CMSG_SPACE(4 * 253))
        except (ConnectionResetError, BrokenPipeError):
            return None
        fds = array.array("i")
        for level, kind, found in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(found[:len(found) - len(found) % 4])
        self.got_fds += fds
        if not data:
            return None
        return struct.unpack("=H", data[:2])[0], data[8:], list(fds)

    def ask(self, number, payload=b"", fds=(), timeout=None):
        return self.hear(timeout) if self.say(number, payload, fds) else None

    def waits(self):
        """Nothing is there to hear, and the pair is open."""
        return not select.select([self.end], [], [], 0)[0]

    def ended(self, timeout=None):
        """The other side has closed; whatever it said before is dropped."""
        end = time.monotonic() + (timeout or common.WAIT)
        while time.monotonic() < end:
            try:
                if self.hear(max(end - time.monotonic(), 0.01)) is None:
                    return True
            except TimeoutError:
                break
        return False

    def forget(self):
        """Close what came along."""
        for fd in self.got_fds:
            os.close(fd)
        self.got_fds = []

    def close(self):
        self.forget()
        self.end.close()


VERSION = 0


def _find_version():
    for line in (common.ROOT / "pop3d/ipc.h").read_text().splitlines():
        if line.startswith("#define IPC_VERSION"):
            return int(line.split()[2])
    raise AssertionError("no IPC_VERSION")


VERSION = _find_version()


class Stage:
    """Waits for the puppet of one role of one session."""

    def __init__(self, site, role, **wants):
        self.path = site.top / "etc/control"
        self.role = NUMBER[role]
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.path))
        self.listener.listen(16)
        self.silent = []
        site.page.want(puppet=self.role, control=bytes(self.path), **wants)

    def puppet(self):
        """The role, as soon as it has been started."""
        end = time.monotonic() + common.WAIT
        while time.monotonic() < end:
            ready = select.select([self.listener] + self.silent, [], [], 1)[0]
            for item in ready:
                if item is self.listener:
                    self.silent.append(item.accept()[0])
                    continue
                self.silent.remove(item)
                try:
                    data, fds, _, _ = socket.recv_fds(item, 64, 8)
                except ConnectionResetError:
                    data = b""
                if not data:
                    item.close()
                    continue
                role, pid, _ = struct.unpack("=Iii", data)
                return Puppet(item, role, pid, fds)
        raise AssertionError("there is no puppet")

    def close(self):
        for item in self.silent + [self.listener]:
            item.close()
