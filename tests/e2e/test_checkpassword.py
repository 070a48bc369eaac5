#!/usr/bin/env python3
"""users = checkpassword:PROGRAM, the interface of qmail's servers; users = system."""
import hashlib
import os
import re
import signal
import sys
import unittest

import common
from common import AS_ROOT, PASSWORD, UID_FIRST

MAIL = [common.simple_message(1)]
UID = UID_FIRST if AS_ROOT else os.geteuid()
GID = UID_FIRST if AS_ROOT else os.getegid()

# What a checkpassword program is: %s stand for what a test wants of it.
PROGRAM = """#!%(python)s
import hashlib, os, sys, time
record = b""
with os.fdopen(3, "rb") as pipe:
    record = pipe.read(1024)
name, password, stamp, rest = record.split(b"\\0")
with open("%(trace)s", "a") as trace:
    print(name, len(password), stamp, rest, sys.argv[1:-1], sorted(os.environ), os.getcwd(),
          sorted(os.listdir("/proc/self/fd")), file=trace)
%(before)s
good = {"alice": "%(password)s", "bob@example.org": "%(password)s"}
secret = good.get(name.decode())
if stamp and secret and hashlib.md5(stamp + secret.encode()).hexdigest() == password.decode():
    pass
elif stamp or secret is None or secret != password.decode():
    sys.exit(1)
os.environ.update(USER=name.decode(), HOME="%(home)s", SHELL="/bin/sh", %(environment)s)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(%(gid)d)
    os.setuid(%(uid)d)
os.chdir("%(home)s")
%(after)s
os.execv(sys.argv[1 + %(skip)d], sys.argv[1 + %(skip)d:])
"""


class Case(common.Case):
    def program(self, site, before="", after="", environment="", uid=UID, gid=GID, skip=2):
        path = site.top / "etc/checkpassword"
        trace = site.top / "trace"
        path.write_text(PROGRAM % {
            "python": sys.executable, "trace": trace, "password": PASSWORD,
            "home": site.top / "mail", "before": before, "after": after, "skip": skip,
            "environment": environment, "uid": uid, "gid": gid})
        path.chmod(0o755)

    def open(self, **options):
        site = self.site(**options)
        site.configure(users="checkpassword:%s/etc/checkpassword some args" % site.top)
        (site.top / "etc/users").unlink()
        user = common.User("alice", UID, "mbox", site.top / "mail/alice")
        site.users["alice"] = user
        site.fill(user, MAIL)
        self.program(site)
        return site

    def attempt(self, site, user="alice", password=PASSWORD, timeout=None):
        session = site.start()
        session.greeting()
        session.expect("USER " + user, "+OK...")
        answer = session.ask("PASS " + password, timeout)
        session.close()
        session.wait(None)
        return answer.decode()

    def wants(self, site, pattern, *args, **options):
        answer = self.attempt(site, *args, **options)
        self.assertRegex(answer, pattern, site.log_text())


@unittest.skipIf(AS_ROOT and not os.access(sys.executable, os.X_OK), "no python for users")
class CheckPassword(Case):
    def test_login(self):
        site = self.open()
        session = site.login()
        session.expect("STAT", "+OK 1...")
        session.quit()
        for user, password in (("alice", "x"), ("nobody", PASSWORD), ("ALICE", PASSWORD)):
            self.wants(site, r"^-ERR \[AUTH\]", user, password)
        self.assertTrue((site.top / "state/alice").is_dir())

    def test_interface(self):
        """Descriptor 3, arguments, a clean environment, nothing else open."""
        site = self.open()
        self.attempt(site)
        trace = (site.top / "trace").read_text()
        self.assertIn("b'alice' %d b'' b'' ['some', 'args']" % len(PASSWORD), trace)
        fds = re.search(r"\[([^][]*)\]$", trace.strip())[1]
        # 3 was closed by the program itself, and one of these is the directory's
        self.assertLessEqual(set(re.findall(r"\d+", fds)), {"0", "1", "2", "3", "4", "5"}, trace)
        self.assertNotIn("HOME", trace)

    def test_mechanisms(self):
        site = self.open(apop="yes", auth_mechanisms="PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256")
        session = site.start()
        greeting = session.greeting()
        sasl = [line for line in session.lines("CAPA") if line.startswith("SASL")]
        self.assertEqual(sasl, ["SASL PLAIN LOGIN"])
        stamp = re.search(rb"<.*>", greeting)[0]
        digest = hashlib.md5(stamp + PASSWORD.encode()).hexdigest()
        session.expect("APOP alice " + "0" * 32, "-ERR [AUTH]...")
        session.expect("APOP alice " + digest, "+OK...")
        session.quit()
        import base64
        session = site.start()
        session.greeting()
        session.expect("AUTH PLAIN " + base64.b64encode(
            ("\0alice\0" + PASSWORD).encode()).decode(), "+OK...")
        session.quit()

    def test_default_domain(self):
        site = self.open(default_domain="example.org", maildrop="mbox:%s/alice" % "/nowhere")
        site.configure(maildrop="mbox:%s/mail/%%n" % site.top)
        self.wants(site, r"^\+OK", "bob")
        self.wants(site, r"^\+OK", "alice")
        self.assertTrue((site.top / "state/bob@example.org").is_dir())

    def test_exit_status(self):
        for before, pattern, word in (
                ("sys.exit(1)", r"\[AUTH\]", "wrong credentials"),
                ("sys.exit(111)", r"\[SYS/TEMP\]", "111"),
                ("sys.exit(2)", r"\[SYS/PERM\]", "exit status 2"),
                ("sys.exit(100)", r"\[SYS/PERM\]", "exit status 100"),
                ("sys.exit(0)", r"\[SYS/PERM\]", "has not reported"),
                ("os.kill(os.getpid(), 9)", r"\[SYS/PERM\]", "signal 9")):
            with self.subTest(before=before):
                site = self.open()
                self.program(site, before=before)
                self.wants(site, "^-ERR " + pattern)
                self.assertIn(word, site.log_text())

    def test_not_there(self):
        site = self.open()
        (site.top / "etc/checkpassword").unlink()
        self.wants(site, r"^-ERR \[SYS/PERM\]")
        site.logged("cannot be executed")
        site = self.open()
        (site.top / "libexec/pop3d-checked").unlink()
        self.wants(site, r"^-ERR \[SYS/PERM\]")

    def test_maildrop(self):
        """Home and maildrop are the environment's."""
        for environment, kind, path in (
                ('MAILDROP="mbox:%s/mail/other"', "mbox", "other"),
                ('MAILDIR="./box"', "maildir", "box"),
                ('MAILDIR="%s/mail/box"', "maildir", "box"),
                ('MAILDROP="/etc/passwd"', "mbox", "alice")):
            with self.subTest(environment=environment):
                site = self.open()
                user = common.User("alice", UID, kind, site.top / "mail" / path)
                site.fill(user, MAIL * 3)
                self.program(site, environment=environment.replace("%s", str(site.top)))
                self.wants(site, r"^\+OK maildrop has 3 ")

    @unittest.skipUnless(AS_ROOT, "needs root")
    def test_ids_are_the_kernels_word(self):
        site = self.open()
        session = site.login()
        roles = session.settled_roles()  # auth has ended: its work is done
        drop = [role for role in roles if role.name == "pop3d-maildrop"]
        self.assertEqual((drop[0].uids, drop[0].gids), ([UID] * 4, [GID] * 4))
        session.quit()
        for uid, gid in ((0, 0), (UID, 0), (common.UID_SESSION, GID)):
            with self.subTest(uid=uid, gid=gid):
                self.program(site, uid=uid, gid=gid)
                self.wants(site, r"^-ERR \[SYS/PERM\]")

    @unittest.skipUnless(AS_ROOT, "needs root")
    def test_bounded_root(self):
        site = self.open()
        self.program(site, before="""
with open("/proc/self/status") as file:
    caps = [line.split()[1] for line in file if line.startswith("CapEff")]
with open("%s/caps", "w") as file:
    file.write(caps[0])""" % site.top)
        self.attempt(site)
        caps = int((site.top / "caps").read_text(), 16)
        self.assertEqual(caps & ~(1 << 0 | 1 << 6 | 1 << 7 | 1 << 18), 0, hex(caps))

    @unittest.skipUnless(AS_ROOT, "needs a second uid")
    def test_forged_report(self):
        """Who was not executed as the user cannot say that it was: uid 0 is refused."""
        site = self.open()
        self.program(site, before="""
import socket
socket.socket(fileno=4).send(b"alice\\0%s\\0\\0")
sys.exit(0)""" % site.top)
        self.wants(site, r"^-ERR \[SYS/PERM\]" if AS_ROOT else r"^\+OK")
        self.program(site, before="""
import socket
socket.socket(fileno=4).send(b"alice\\0%s")
sys.exit(0)""" % site.top)
        self.wants(site, r"^-ERR \[SYS/PERM\]")
        self.program(site, before="""
import socket
socket.socket(fileno=4).send(b"alice\\0%s\\0\\0")
sys.exit(1)""" % site.top)
        self.wants(site, r"^-ERR \[AUTH\]")

    def test_shutdown(self):
        """A program that hangs does not outlive its session."""
        site = self.open()
        self.program(site, before='open("%s/pid", "w").write(str(os.getpid())); time.sleep(60)'
                     % site.top)
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.send("PASS x\r\n")
        pid = int(common.poll("the program runs", lambda: (site.top / "pid").exists() and
                              (site.top / "pid").read_text()))
        session.process.send_signal(signal.SIGTERM)
        session.wait(None)
        common.poll("the program is gone", lambda: not common.alive(pid))

    def test_background_child(self):
        """A program that leaves a child behind does not hold the login up for long."""
        site = self.open()
        self.program(site, after="""
if os.fork() == 0:
    time.sleep(3)
    os._exit(0)""")
        self.wants(site, r"^\+OK")

    def test_output_goes_nowhere(self):
        site = self.open()
        self.program(site, before='print("-ERR forged"); sys.stdout.flush(); '
                                  'os.write(2, b"noise to the client\\\\n")')
        session = site.login()
        session.quit()
        self.assertNotIn("noise", site.log_text())

    def test_password_octets(self):
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect(b"PASS " + b"\xff" * 240, "-ERR...")
        session.quit()


@unittest.skipUnless(AS_ROOT, "needs root to read shadow")
class System(common.Case):
    """Accounts of the system, in a mount namespace with files of our own."""

    def test_system(self):
        site = self.site(users="system")
        user = common.User("sysalice", UID_FIRST, "mbox", site.top / "mail/sysalice")
        site.users["sysalice"] = user
        site.fill(user, MAIL)
        (site.top / "passwd").write_text(
            "root:x:0:0::/root:/bin/sh\nsysalice:x:%d:%d::/tmp:/bin/sh\n"
            "locked:x:%d:%d::/tmp:/bin/sh\n" % ((UID_FIRST,) * 4))
        (site.top / "shadow").write_text(
            "root:%s:1::::::\nsysalice:%s:1::::::\nlocked:!%s:1::::::\n" % (
                (common.make_hash(PASSWORD),) * 3))
        (site.top / "shadow").chmod(0o640)
        script = ("mount --make-rprivate / && mount --bind %s/passwd /etc/passwd && "
                  "mount --bind %s/shadow /etc/shadow && exec %s -c %s -e") % (
                      site.top, site.top, common.POP3D, site.config)
        import socket
        import subprocess
        if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
            self.skipTest("no mount namespaces here")
        for name, wanted in (("sysalice", b"+OK"), ("locked", b"-ERR [AUTH]"),
                             ("root", b"-ERR [SYS/PERM]"), ("nobody-here", b"-ERR [AUTH]")):
            ours, theirs = socket.socketpair()
            with open(site.log, "ab") as log:
                process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=theirs,
                                           stdout=theirs, stderr=log)
            theirs.close()
            with ours, ours.makefile("rwb") as file:
                file.readline()
                for line in ("USER " + name, "PASS " + PASSWORD):
                    file.write(line.encode() + b"\r\n")
                    file.flush()
                    answer = file.readline()
            process.wait(common.WAIT)
            self.assertTrue(answer.startswith(wanted), (name, answer, site.log_text()))


if __name__ == "__main__":
    common.main()
