#!/usr/bin/env python3
"""Mistakes in the configuration and on the command line."""
import os
import subprocess
import unittest

import common
from common import POP3D

MISTAKES = [  # lines appended, what the log must name
    ("no_such_key = 1", "no_such_key"),
    ("hostname = again", "hostname"),
    ("idle_timeout = soon", "idle_timeout"),
    ("expire = -1", "expire"),
    ("login_delay = 99999999999999999999", "login_delay"),
    ("mbox_locks = padlock", "mbox_locks"),
    ("apop = perhaps", "apop"),
    ("tls_min_version = 1.1", "tls_min_version"),
    ("auth_mechanisms = PLAIN TELEPATHY", "auth_mechanisms"),
    ("this is no line", None),
    ("= 1", None),
]


class Configuration(common.Case):
    def test_mistakes(self):
        """-ERR, one log line with file:line and key, exit 78."""
        for line, key in MISTAKES:
            with self.subTest(line=line):
                site = self.site()
                with open(site.config, "a", encoding="ascii") as file:
                    file.write(line + "\n")
                number = len(site.config.read_text().splitlines())
                session = site.start()
                session.expect(None, "-ERR [SYS/PERM] server misconfigured")
                session.ended(78)
                text = site.log_text()
                self.assertIn("%s:%d" % (site.config, number), text)
                self.assertIn(key or "", text)
                self.assertEqual(len(text.splitlines()), 1, text)

    def test_bad_override(self):
        site = self.site()
        for option in ("no_such_key=1", "idle_timeout=x", "idle_timeout", "=1", ""):
            with self.subTest(option=option):
                session = site.start("-o", option)
                session.expect(None, "-ERR [SYS/PERM] server misconfigured")
                session.ended(78)

    def test_overrides(self):
        """-o beats the file, the last one counts."""
        site = self.site(max_auth_failures=5)
        site.add_user(messages=[])
        session = site.start("-o", "max_auth_failures=3", "--option", "max_auth_failures=1")
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH]...")
        session.ended(status=None)

    def test_config_file(self):
        site = self.site()
        missing = site.start()
        missing.greeting()
        missing.quit()
        os.rename(site.config, site.top / "etc/other")
        session = site.start()
        session.expect(None, "-ERR [SYS/PERM] server misconfigured")
        session.ended(78)
        self.assertIn(str(site.config), site.log_text())
        session = site.start("--config", str(site.top / "etc/other"))
        session.greeting()
        session.quit()

    def test_writable_config(self):
        site = self.site()
        os.chmod(site.config, 0o666)
        session = site.start()
        session.expect(None, "-ERR [SYS/PERM] server misconfigured")
        session.ended(78)
        self.assertIn(str(site.config), site.log_text())

    def test_hostname(self):
        site = self.site(hostname="mail.example.net")
        session = site.start()
        self.assertIn(b"mail.example.net", session.greeting())
        session.quit()

    @unittest.skipUnless(common.AS_ROOT, "needs root")
    def test_unprivileged_user(self):
        """A role's user that does not exist is a configuration error."""
        site = self.site(unprivileged_user="no-such-user-here")
        session = site.start()
        session.expect(None, "-ERR [SYS/PERM] server misconfigured")
        session.ended(78)
        self.assertIn("no-such-user-here", site.log_text())

    def test_command_line(self):
        def run(*args):
            return subprocess.run([str(POP3D), *args], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=common.WAIT, check=False)
        for flag in ("-h", "--help"):
            done = run(flag)
            self.assertEqual((done.returncode, done.stderr), (0, b""), done)
            for word in (b"--config", b"--option", b"--log-stderr"):
                self.assertIn(word, done.stdout)
        for flag in ("-V", "--version"):
            done = run(flag)
            self.assertEqual((done.returncode, done.stderr), (0, b""), done)
            self.assertRegex(done.stdout, rb"^pop3d [0-9.]+")
        for args in (["-x"], ["--nonsense"], ["-c"], ["operand"], ["-h", "-x"], ["-o"]):
            with self.subTest(args=args):
                done = run(*args)
                if args[0] != "-h":
                    self.assertEqual(done.returncode, 64, done)
                    self.assertNotEqual(done.stderr, b"")


if __name__ == "__main__":
    common.main()
