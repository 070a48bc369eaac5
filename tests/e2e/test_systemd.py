#!/usr/bin/env python3
"""The units in a real, booted systemd: installed, started, used, limited, upgraded, stopped."""
import contextlib
import json
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import time
import unittest

import common
import systemd_box

PASSWORD = "correct-horse"
MESSAGE = "Subject: in the box\n\nhello\n"
UNITS = ["pop3d.socket", "pop3ds.socket", "pop3d@1.service", "pop3ds@1.service", "kpop.socket",
         "kpop@1.service", "pop3d.slice"]
DROP_INS = sorted((common.ROOT / "systemd/drop-ins").glob("*.conf"))

# Runs inside, with a client's conversation as its argument: lines to send, one answer each.
CLIENT = r"""
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as connection:
    lines = connection.makefile("rb")
    print(lines.readline().decode().rstrip(), flush=True)
    for line in sys.stdin:
        try:
            connection.sendall(line.rstrip("\n").encode() + b"\r\n")
            print(lines.readline().decode().rstrip(), flush=True)
        except OSError as error:
            print(error, flush=True)
"""


class Client:
    """A conversation with the service inside, line by line."""

    def __init__(self, box, port=110):
        self.process = subprocess.Popen(
            box.argv("python3", "-c", CLIENT, port), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")

    def line(self):
        if not select.select([self.process.stdout], [], [], common.WAIT)[0]:
            raise AssertionError("no answer within the time")
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.line()

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


class Systemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if common.SANITIZED:
            raise unittest.SkipTest("the units' limits on memory do not go with sanitizers")
        if not shutil.which("curl"):
            raise unittest.SkipTest("no curl")
        cls.box = systemd_box.Box()
        try:
            cls.install()
            cls.set_up_site()
        except BaseException:
            cls.box.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.box.close()

    @classmethod
    def install(cls):
        cls.box.make("install")
        cls.box.run("systemd-sysusers")
        cls.box.run("systemd-tmpfiles", "--create", "pop3d.conf")
        cls.box.run("systemctl", "daemon-reload")

    @classmethod
    def set_up_site(cls):
        box = cls.box
        box.write("/etc/pop3d/pop3d.conf", "tls_certificate = /etc/pop3d/cert.pem\n"
                  "tls_key = /etc/pop3d/key.pem\nexpire_min = 7\n")
        box.run("pop3admin", "tls", "selfsigned", "localhost")
        box.run("useradd", "--create-home", "alice")
        box.run("pop3admin", "user", "add", "alice", stdin=PASSWORD + "\n")
        box.write("/var/mail/alice", common.mbox([MESSAGE.encode()]).decode(), 0o600)
        box.run("chown", "alice:mail", "/var/mail/alice")
        box.run("systemctl", "start", "pop3d.socket", "pop3ds.socket")

    def fetch(self, url, *options, status=0):
        return self.box.run("curl", "-sS", "-m", "30", "-u", "alice:" + PASSWORD, *options, url,
                            status=status)[1]

    def journal(self, *options):
        text = self.box.run("journalctl", "--no-pager", "-o", "json", "-t", "pop3d", *options)[1]
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def sessions(self):
        text = self.box.run("systemctl", "list-units", "--all", "--plain", "--no-legend",
                            "pop3d@*", "pop3ds@*", "kpop@*")[1]
        return [line.split() for line in text.splitlines() if "@" in line]

    def client(self, port=110):
        made = Client(self.box, port)
        self.addCleanup(made.close)
        return made

    def login(self):
        made = self.client()
        self.assertRegex(made.line(), r"^\+OK ")
        self.assertRegex(made.ask("USER alice"), r"^\+OK")
        self.assertRegex(made.ask("PASS " + PASSWORD), r"^\+OK")
        return made

    def quiet(self):
        common.poll("no session is left", lambda: not self.sessions())
        self.assertEqual(self.box.run("systemctl", "--failed", "--plain", "--no-legend")[1], "")

    def test_verify(self):
        """systemd-analyze verify finds nothing (but man pages where there is no man)."""
        text = self.box.run("systemd-analyze", "verify", *UNITS)[1]
        self.assertEqual([line for line in text.splitlines() if "Command 'man" not in line], [])

    def exposure(self, unit):
        text = self.box.run("systemd-analyze", "security", "--no-pager", unit)[1]
        return float(re.search(r"Overall exposure level for \S+ (\d+\.\d+)", text)[1])

    def test_exposure(self):
        """Both services at 1.5 or less; each drop-in as it says of itself."""
        for service in ("pop3d", "pop3ds"):
            self.assertLessEqual(self.exposure(service + "@1.service"), 1.5, service)
        directory = "/etc/systemd/system/pop3d@.service.d"
        self.assertTrue(DROP_INS)
        for drop_in in DROP_INS:
            with self.subTest(drop_in.name):
                text = drop_in.read_text()
                self.box.write("%s/%s" % (directory, drop_in.name), text)
                self.box.run("systemctl", "daemon-reload")
                said = float(re.search(r"Exposure by systemd-analyze security: (\d\.\d)", text)[1])
                self.assertEqual(self.exposure("pop3d@1.service"), said)
                (self.box.root / directory.lstrip("/") / drop_in.name).unlink()
        self.box.run("systemctl", "daemon-reload")

    def test_same_rules(self):
        """The services differ in the option and the description alone."""
        plain, tls, kpop = ((common.ROOT / "systemd" / name).read_text().splitlines()
                            for name in ("pop3d@.service", "pop3ds@.service", "kpop@.service"))
        for lines in (tls, kpop):
            self.assertEqual(len(plain), len(lines))
            self.assertEqual([one for one, other in zip(plain, lines) if one != other and
                              not one.startswith(("#", "Description=", "ExecStart="))], [])

    def test_fetch(self):
        """Plain, STLS and TLS, IPv4 and IPv6; every line of the journal is mail's."""
        wanted = MESSAGE.replace("\n", "\r\n")
        for url, options in (("pop3://127.0.0.1/1", ()),
                             ("pop3://[::1]/1", ("-k", "--ssl-reqd")),
                             ("pop3s://127.0.0.1/1", ("-k",)),
                             ("pop3s://[::1]/1", ("-k",))):
            with self.subTest(url):
                got = subprocess.run(
                    self.box.argv("curl", "-sS", "-m", "30", "-u", "alice:" + PASSWORD, *options,
                                  url), capture_output=True, timeout=60, check=False)
                self.assertEqual(got.stdout.decode(), wanted, got.stderr)
        self.quiet()
        lines = self.journal()
        self.assertTrue(lines)
        for line in lines:
            self.assertEqual(line["SYSLOG_FACILITY"], "2", line["MESSAGE"])
            self.assertIn(line["PRIORITY"], "3456", line["MESSAGE"])
            self.assertFalse(line["MESSAGE"].startswith("<"), line["MESSAGE"])
        texts = [line["MESSAGE"] for line in lines]
        for word in ("connect ", "login ", "logout "):
            self.assertTrue([text for text in texts if text.startswith(word)], texts)
        self.assertTrue([text for text in texts if "addr=::1" in text and "tls=" in text], texts)

    def test_roles(self):
        """Six lines of hardening do not keep the roles from taking their own ids."""
        client = self.login()
        unit = common.poll("a session", self.sessions)[0][0]
        group = self.box.run("systemctl", "show", "-P", "ControlGroup", unit)[1].strip()
        self.assertIn("pop3d.slice", group)
        pids = self.box.run("cat", "/sys/fs/cgroup%s/cgroup.procs" % group)[1].split()
        rows = self.box.run("ps", "-o", "comm=,user=", "-p", ",".join(pids))[1]
        users = dict(line.split() for line in rows.splitlines())
        self.assertEqual(users.get("pop3d"), "root", rows)
        self.assertEqual(users.get("pop3d-session"), "pop3d", rows)
        self.assertEqual(users.get("pop3d-maildrop"), "alice", rows)
        self.assertRegex(client.ask("QUIT"), r"^\+OK")
        self.quiet()

    def test_credential(self):
        """A key from the credential store; without one the unit starts all the same."""
        root = self.box.root
        key = (root / "etc/pop3d/key.pem").read_text()
        conf = (root / "etc/pop3d/pop3d.conf").read_text()
        (root / "etc/credstore").mkdir(exist_ok=True)
        (root / "etc/credstore").chmod(0o700)
        self.box.write("/etc/credstore/pop3d.key", key, 0o600)
        self.box.write("/etc/pop3d/pop3d.conf", conf.replace("/etc/pop3d/key.pem",
                                                            "credential:pop3d.key"))
        try:
            (root / "etc/pop3d/key.pem").rename(root / "etc/pop3d/key.pem.away")
            self.fetch("pop3s://127.0.0.1/1", "-k")
        finally:
            (root / "etc/pop3d/key.pem.away").rename(root / "etc/pop3d/key.pem")
            self.box.write("/etc/pop3d/pop3d.conf", conf)
            (root / "etc/credstore/pop3d.key").unlink()
        self.quiet()

    def test_upgrade_and_stop(self):
        """A session goes on while the package is upgraded and its sockets are stopped."""
        client = self.login()
        self.install()
        self.assertRegex(client.ask("STAT"), r"^\+OK 1 ")
        self.box.run("systemctl", "stop", "pop3d.socket", "pop3ds.socket")
        try:
            self.assertRegex(client.ask("LIST 1"), r"^\+OK 1 ")
            self.fetch("pop3://127.0.0.1/1", status=7)
            self.assertRegex(client.ask("QUIT"), r"^\+OK")
            self.quiet()
        finally:
            self.box.run("systemctl", "start", "pop3d.socket", "pop3ds.socket")
        self.fetch("pop3://127.0.0.1/1")

    def test_expire(self):
        """The timer waits for its day; its service removes what was retrieved."""
        box = self.box
        box.run("useradd", "--create-home", "carol")
        box.run("pop3admin", "user", "add", "carol", stdin=PASSWORD + "\n")
        box.run("pop3admin", "user", "set", "carol", "expire=7")
        box.write("/var/mail/carol", common.mbox([MESSAGE.encode()] * 2).decode(), 0o600)
        box.run("chown", "carol:mail", "/var/mail/carol")
        box.run("curl", "-sS", "-m", "30", "-u", "carol:" + PASSWORD, "pop3://127.0.0.1/1")
        self.quiet()
        seen = box.root / "var/lib/pop3d/carol/seen"
        today = int(time.time()) // 86400
        self.assertIn("\n%d " % today, seen.read_text())
        seen.write_text(seen.read_text().replace("\n%d " % today, "\n%d " % (today - 9)))
        box.run("systemctl", "start", "pop3d-expire.timer")
        self.addCleanup(box.run, "systemctl", "stop", "pop3d-expire.timer")
        timers = box.run("systemctl", "list-timers", "--no-legend", "pop3d-expire.timer")[1]
        self.assertIn("pop3d-expire.service", timers)
        box.run("systemctl", "start", "pop3d-expire.service")
        self.assertEqual((box.root / "var/mail/carol").read_bytes(),
                         common.mbox([MESSAGE.encode()]))
        self.quiet()

    def test_kpop(self):
        """Port 1109 takes Kerberos and nothing else: without a keytab nobody comes in."""
        self.box.run("systemctl", "start", "kpop.socket")
        self.addCleanup(self.box.run, "systemctl", "stop", "kpop.socket")
        client = self.client(1109)
        self.assertRegex(client.line(), r"^\+OK ")
        for said in ("USER alice", "AUTH PLAIN", "AUTH GSSAPI"):
            self.assertRegex(client.ask(said), r"^-ERR", said)
        self.assertRegex(client.ask("QUIT"), r"^\+OK")
        self.quiet()

    def test_stop_session(self):
        """Stopping one session ends it in order."""
        client = self.login()
        self.assertRegex(client.ask("DELE 1"), r"^\+OK")
        unit = common.poll("a session", self.sessions)[0][0]
        self.box.run("systemctl", "stop", unit)
        self.assertNotRegex(client.ask("NOOP"), r"^\+OK")
        self.assertTrue([line for line in self.journal("-u", unit)
                         if "reason=shutdown" in line["MESSAGE"]])
        self.assertIn("hello", self.fetch("pop3://127.0.0.1/1"))
        self.quiet()

    def test_aborted(self):
        """200 connections that are reset leave no unit and no process behind."""
        script = ("import socket, struct\n"
                  "for number in range(200):\n"
                  "    with socket.create_connection(('127.0.0.1', (110, 995)[number % 2])) as c:\n"
                  "        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,"
                  " struct.pack('ii', number % 3 > 0, 0))\n"
                  "        if number % 5 == 0: c.sendall(b'USER alice\\r\\n')\n")
        self.box.run("python3", "-c", script)
        common.poll("no session is left", lambda: not self.sessions(), 60)
        self.quiet()
        self.assertEqual(self.box.run("pgrep", "-c", "pop3d", status=None)[1].strip(), "0")
        self.fetch("pop3://127.0.0.1/1")
        self.quiet()

    def test_limit(self):
        """What one client may take is bounded, and it is told so by a closed connection."""
        limit = int(re.search(r"(?m)^MaxConnectionsPerSource=(\d+)",
                              (common.ROOT / "systemd/pop3d.socket").read_text())[1])
        script = ("import socket, sys\n"
                  "held = [socket.create_connection(('127.0.0.1', 110), timeout=30)"
                  " for _ in range(int(sys.argv[1]) + 1)]\n"
                  "print(*(c.makefile('rb').readline()[:3].decode() or '-' for c in held))\n")
        words = self.box.run("python3", "-c", script, str(limit))[1].split()
        self.assertEqual(words, ["+OK"] * limit + ["-"])
        self.quiet()


if __name__ == "__main__":
    common.main()
