#!/usr/bin/env python3
"""Every launcher with the snippet that is shipped for it, in a booted systemd's network.

The programs are those of the machine, or were unpacked by `oldservers.py fetch`.
"""
import os
import shutil
import subprocess
import unittest

import common
import oldservers
import systemd_box

PASSWORD = "correct-horse"
MESSAGE = "Subject: launched\n\nhello\n"
PACKAGING = common.ROOT / "packaging"


class Launchers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("curl"):
            raise unittest.SkipTest("no curl")
        cls.box = systemd_box.Box()
        try:
            cls.box.make("install")
            cls.box.run("systemd-sysusers")
            cls.box.run("systemd-tmpfiles", "--create", "pop3d.conf")
            cls.box.write("/etc/pop3d/pop3d.conf", "tls_certificate = /etc/pop3d/cert.pem\n"
                          "tls_key = /etc/pop3d/key.pem\n")
            cls.box.run("pop3admin", "tls", "selfsigned", "localhost")
            cls.box.run("useradd", "--create-home", "alice")
            cls.box.run("pop3admin", "user", "add", "alice", stdin=PASSWORD + "\n")
            cls.box.write("/var/mail/alice", common.mbox([MESSAGE.encode()]).decode(), 0o600)
            cls.box.run("chown", "alice:mail", "/var/mail/alice")
        except BaseException:
            cls.box.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.box.close()

    def program(self, *paths):
        """The first that is there: on the machine, or unpacked."""
        for path in paths:
            for found in (shutil.which(os.path.basename(path), path="/usr/sbin:/usr/bin:/bin"),
                          oldservers.ROOT / "root" / path):
                if found and os.access(found, os.X_OK) and not str(found).startswith("/tmp/"):
                    return str(found)
        raise unittest.SkipTest("no " + os.path.basename(paths[0]))

    def launch(self, name, *argv):
        """Start it inside, where it will be the process of this name; its output is a file."""
        path = "/run/launcher.log"
        self.box.write(path, "")
        with open(self.box.root / path.lstrip("/"), "ab") as log:
            process = subprocess.Popen(
                self.box.argv("env", "LD_LIBRARY_PATH=" + oldservers.libraries(),
                              "PATH=%s:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" % ":".join(
                                  str(oldservers.ROOT / "root" / name) for name in (
                                      "usr/bin", "usr/sbin", "bin")), *argv),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(self.stop, process, name)
        return self.box.root / path.lstrip("/")

    def stop(self, process, name):
        self.box.run("pkill", "-x", name, status=None)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        common.poll("nothing serves any more", lambda: self.box.run(
            "curl", "-sS", "-m", "5", "pop3://127.0.0.1/", status=None)[0] == 7)

    def fetch(self, url, *options):
        argv = self.box.argv("curl", "-sS", "-m", "30", "-u", "alice:" + PASSWORD, *options, url)
        common.poll("something serves", lambda: self.box.run(
            "curl", "-sS", "-m", "5", url.rstrip("1"), *options, status=None)[0] != 7)
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.stdout.decode(), MESSAGE.replace("\n", "\r\n"), done.stderr)

    def journal(self):
        return self.box.run("journalctl", "--no-pager", "-o", "cat", "-t", "pop3d")[1]

    def logged(self, read):
        """The client's own address, and that it logged in."""
        common.poll("a login in the log", lambda: "user=alice" in read())
        text = read()
        self.assertRegex(text, r"(?m)^(<\d>)?login .*addr=127\.0\.0\.1 ")
        self.assertRegex(text, r"(?m)^(<\d>)?logout .*reason=quit")

    def shipped(self, name, mode=0o644):
        """The file of packaging/, inside, where the sources may not be seen."""
        path = "/run/packaging/" + name
        self.box.write(path, (PACKAGING / name).read_text(), mode)
        return path

    def run_script(self, name, program):
        self.program(program)
        log = self.launch(os.path.basename(program), self.shipped(name + "/run", 0o755))
        self.fetch("pop3://127.0.0.1/1")
        common.poll("the end is in the log", lambda: "reason=quit" in log.read_text())
        self.logged(log.read_text)

    def test_tcpserver(self):
        self.run_script("tcpserver", "usr/bin/tcpserver")

    def test_s6(self):
        self.run_script("s6", "usr/bin/s6-tcpserver")

    def test_tcpsvd(self):
        self.run_script("tcpsvd", "usr/bin/tcpsvd")

    def test_socat(self):
        self.run_script("socat", "usr/bin/socat")

    def super_server(self, name, *argv):
        self.box.run("journalctl", "--rotate", "--vacuum-time=1s")
        self.launch(name, self.program("usr/sbin/" + name), *argv)
        self.fetch("pop3://127.0.0.1/1")
        self.fetch("pop3s://127.0.0.1/1", "-k")
        common.poll("both ends are in the log", lambda: self.journal().count("reason=quit") >= 2)
        self.logged(self.journal)
        self.assertIn("tls=TLSv1.3", self.journal())

    def test_inetd(self):
        self.super_server("inetd", "-i", self.shipped("inetd.conf"))

    def test_xinetd(self):
        self.super_server("xinetd", "-dontfork", "-f", self.shipped("xinetd/pop3d"))


if __name__ == "__main__":
    common.main()
