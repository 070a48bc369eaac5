#!/usr/bin/env python3
"""The log: its grammar, levels and session ids; what fail2ban and logcheck make of it.

Every other test's log is read by the same grammar when its site ends (loglines.py).
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import common
import loglines
import test_tls
from common import PASSWORD

MAIL = [common.simple_message(number) for number in range(1, 4)]
NASTY = ['x" addr=192.0.2.99 reason="wrong credentials', "addr=192.0.2.99", "a b\\", '"', "\\",
         "login-failed session=1.a addr=192.0.2.99 reason=x", "u" * 200, "%s%n", "\u00fc\u202e"]
PACKAGING = common.ROOT / "packaging"


class Log(test_tls.TlsCase):
    def lines(self, site, event=None):
        parsed = [loglines.parse(line) for line in site.log_text().splitlines()]
        return [pairs for name, pairs in parsed if event in (None, name)]

    def fail_as(self, site, user, address, password="wrong"):
        session = site.start(transport="pipes", env={"REMOTE_ADDR": address,
                                                     "REMOTE_PORT": "4711"})
        session.greeting()
        session.send(("USER %s\r\nPASS %s\r\n" % (user, password)).encode())
        session.line()
        session.line()
        session.close()
        session.wait(None)

    def test_table(self):
        """The man page has the table that this reads, and its words are the program's."""
        self.assertEqual(list(loglines.table()),
                         ["connect", "login", "login-failed", "logout", "error"])
        self.assertTrue(all(keys[0] == "session" for _, keys in loglines.table().values()))

    def test_one_session(self):
        """Every line has its session's id; the end tells what was done."""
        site = self.open()
        for _ in range(2):
            client = self.connect(site).login()
            for command in ("RETR 1", "RETR 2", "TOP 3 0"):
                client.lines(command)
            client.expect("DELE 3")
            client.expect("DELE 2")
            client.quit()
            ids = {pairs["session"] for pairs in self.lines(site)[-3:]}
            self.assertEqual(len(ids), 1)
            site.fill(site.users["alice"], MAIL)
        self.assertEqual(len({pairs["session"] for pairs in self.lines(site)}), 2)
        end = self.lines(site, "logout")[0]
        self.assertEqual((end["retr"], end["top"], end["dele"], end["removed"], end["mech"],
                          end["tls"], end["reason"]),
                         ("2", "1", "2", "2", "USER", "TLSv1.3", "quit"))
        self.assertGreater(int(end["octets"]), sum(len(common.wire(one)) for one in MAIL[:2]))
        first = self.lines(site, "login")[0]
        self.assertEqual((first["user"], first["mech"], first["messages"], first["tls"]),
                         ("alice", "USER", "3", "TLSv1.3"))

    def test_levels(self):
        """What the journal sorts by."""
        site = self.site(max_auth_failures=1)
        site.add_user("alice", messages=MAIL)
        with open(site.log, "ab") as log:
            info = os.fstat(log.fileno())
        env = {"JOURNAL_STREAM": "%d:%d" % (info.st_dev, info.st_ino)}
        session = site.start(env=env).login()
        session.quit()
        session = site.start(env=env)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR...")
        session.ended()
        (site.top / "etc/users").chmod(0o666)
        session = site.start(env=env)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "-ERR...")
        session.quit()
        levels = {}
        for line in site.log_text().splitlines():
            event, pairs = loglines.parse(line)
            if "not started as root" not in pairs.get("text", ""):
                levels.setdefault(event, set()).add(line[1])
        self.assertEqual(levels, {"connect": {"6"}, "login": {"6"}, "logout": {"6"},
                                  "login-failed": {"5"}, "error": {"3"}})

    def test_nothing_gets_through(self):
        """Names that look like lines and keys stay values, and what follows them is there."""
        site = self.site(cleartext_login="yes")
        site.add_user("alice", messages=MAIL)
        for name in NASTY:
            self.fail_as(site, name, "192.0.2.7")
        failed = self.lines(site, "login-failed")
        self.assertGreaterEqual(len(failed), 5)
        for pairs in failed:
            self.assertEqual(pairs["addr"], "192.0.2.7")
            self.assertEqual(pairs["reason"], "wrong credentials")

    def syslog(self, site, pid=4711):
        """The log as syslog writes it to a file, in the old and the new form of time."""
        stamps = ("Nov 25 20:00:01 mail", "2026-11-25T20:00:01.123456+00:00 mail")
        return [["%s pop3d[%d]: %s" % (stamp, pid, line)
                 for line in site.log_text().splitlines()] for stamp in stamps]

    def busy_site(self):
        """A log with everything in it; how many wrong credentials came from each address."""
        site = self.open(cleartext_login="yes", max_auth_failures=2)
        wanted = {"192.0.2.7": 3, "2001:db8::7": 2, "192.0.2.8": len(NASTY)}
        for address in ("192.0.2.7", "2001:db8::7"):
            for number in range(wanted[address]):
                self.fail_as(site, ("alice", "nobody", "mallory@x")[number], address)
        for name in NASTY:
            self.fail_as(site, name, "192.0.2.8")
        self.fail_as(site, "alice", "192.0.2.9", PASSWORD)  # a good one
        site.users["alice"].path.unlink()
        site.users["alice"].path.mkdir()
        self.fail_as(site, "alice", "192.0.2.10", PASSWORD)  # not his fault
        site.users["alice"].path.rmdir()
        site.fill(site.users["alice"], MAIL)
        self.connect(site).login().quit()
        site.login().quit()
        counted = {}
        for pairs in self.lines(site, "login-failed"):
            if pairs["reason"] in ("wrong credentials", "too many failed logins"):
                counted[pairs["addr"]] = counted.get(pairs["addr"], 0) + 1
        # a name that is refused before anybody is asked for it is no failed login
        self.assertEqual({key: counted[key] for key in list(wanted)[:2]},
                         {key: wanted[key] for key in list(wanted)[:2]})
        self.assertGreaterEqual(counted["192.0.2.8"], 5)
        return site, counted

    def fail2ban(self, program):
        """A configuration directory of fail2ban with ours in it."""
        found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
        if not found or not os.path.isdir("/etc/fail2ban/filter.d"):
            self.skipTest("no " + program)
        where = pathlib.Path(tempfile.mkdtemp(prefix="pop3d-fail2ban."))
        self.addCleanup(shutil.rmtree, where)
        shutil.copytree("/etc/fail2ban", where, dirs_exist_ok=True,
                        ignore=lambda top, names: [name for name in names
                                                   if top.endswith("jail.d")])
        shutil.copy(PACKAGING / "fail2ban/filter.conf", where / "filter.d/pop3d.conf")
        shutil.copy(PACKAGING / "fail2ban/jail.conf", where / "jail.d/pop3d.conf")
        return found, where

    def test_fail2ban_filter(self):
        program, where = self.fail2ban("fail2ban-regex")
        site, counted = self.busy_site()
        for number, lines in enumerate(self.syslog(site)):
            log = site.top / ("mail%d.log" % number)
            log.write_text("".join(line + "\n" for line in lines))
            done = subprocess.run([program, "-o", "<ip>", str(log),
                                   str(where / "filter.d/pop3d.conf")], capture_output=True,
                                  text=True, check=False, timeout=3 * common.WAIT)
            hosts = done.stdout.split()
            self.assertEqual({host: hosts.count(host) for host in set(hosts)}, counted,
                             done.stdout + done.stderr)
            done = subprocess.run([program, str(log), str(where / "filter.d/pop3d.conf")],
                                  capture_output=True, text=True, check=False,
                                  timeout=3 * common.WAIT)
            self.assertIn("Lines: %d lines, 0 ignored, %d matched, %d missed" % (
                len(lines), sum(counted.values()), len(lines) - sum(counted.values())),
                done.stdout)

    def test_fail2ban_jail(self):
        program, where = self.fail2ban("fail2ban-client")
        done = subprocess.run([program, "-c", str(where), "-d"], capture_output=True, text=True,
                              check=False, timeout=3 * common.WAIT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"'add', 'pop3d', 'systemd'")
        self.assertRegex(done.stdout, r"'pop3d', 'addjournalmatch', 'SYSLOG_IDENTIFIER=pop3d'")
        self.assertIn("login-failed session=", done.stdout)

    @unittest.skipUnless(shutil.which("grep"), "no grep")
    def test_logcheck_rules(self):
        """What is normal is not reported, and everything else is."""
        site, _ = self.busy_site()
        for lines in self.syslog(site):
            rules = str(PACKAGING / "logcheck/pop3d")
            done = subprocess.run(["grep", "-Evf", rules], input="\n".join(lines) + "\n",
                                  capture_output=True, text=True, check=False,
                                  env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]})
            reported = done.stdout.splitlines()
            wanted = [line for line in lines
                      if re.search(r"\]: (login-failed|error) ", line)]
            self.assertEqual(reported, wanted)
            self.assertGreater(len(wanted), 5)


if __name__ == "__main__":
    common.main()
