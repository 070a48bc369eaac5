#!/usr/bin/env python3
"""What each process may and holds, and what it is started with."""
import os
import signal
import subprocess
import unittest

import common
from common import AS_ROOT, PASSWORD

MAIL = [common.simple_message(number) for number in range(1, 4)]
CAPABILITIES = 1 << 0 | 1 << 6 | 1 << 7 | 1 << 18  # CHOWN, SETGID, SETUID, SYS_CHROOT


class Roles(common.Case):
    DATA = {"pop3d-session": 64 << 20, "pop3d-maildrop": 4 << 30}  # RLIMIT_DATA

    def open(self, **options):
        site = self.site(**options)
        site.add_user("alice", "mbox", MAIL)
        site.add_user("bob", "maildir", MAIL)
        return site

    @unittest.skipUnless(AS_ROOT, "uids are the caller's")
    def test_rights(self):
        """Session in an empty root as the unprivileged user, maildrop as the owner."""
        site = self.open()
        for name in ("alice", "bob"):
            session = site.login(name)
            owner = site.users[name].uid
            roles = session.settled_roles()
            monitor, others = roles[0], roles[1:]
            self.assertEqual(monitor.uids, [0] * 4)
            self.assertEqual(monitor.capabilities & ~CAPABILITIES, 0,
                             "monitor: %#x" % monitor.capabilities)
            drops = [role for role in others if role.uids == [owner] * 4]
            nets = [role for role in others if role.uids == [common.UID_SESSION] * 4]
            self.assertEqual(len(drops), 1, roles)
            self.assertGreaterEqual(len(nets), 1, roles)
            self.assertEqual(len(others), len(drops) + len(nets), roles)
            self.assertEqual(drops[0].gids, [owner] * 4)
            for role in others:
                self.assertEqual(role.groups, [], role)
                self.assertEqual(role.capabilities, 0, role)
                self.assertTrue(role.no_new_privs, role)
                self.assertEqual(role.status["CapPrm"], "0" * 16, role)
            self.assertTrue(monitor.no_new_privs)
            empty = str(site.top / "libexec/empty")
            for role in nets:
                self.assertEqual(role.link("root"), empty, role)
                # no descriptor of a mailbox or of its directory
                for number, target in role.descriptors().items():
                    if str(site.top / "mail") in target:
                        flags = self.flags(role, number)
                        self.assertEqual(flags & os.O_ACCMODE, os.O_RDONLY, (role, target))
            session.quit()

    def flags(self, role, number):
        with open("/proc/%d/fdinfo/%d" % (role.pid, number), encoding="ascii") as file:
            for line in file:
                if line.startswith("flags:"):
                    return int(line.split()[1], 8)
        return 0

    @unittest.skipUnless(AS_ROOT, "uids are the caller's")
    def test_others_cannot_open_the_mail(self):
        """Only the maildrop role has the uid, root directory or rights to reach it."""
        site = self.open()
        session = site.login()
        owner = site.users["alice"].uid
        for role in session.settled_roles():
            if role.uids[0] == owner:
                continue
            self.assertEqual(role.capabilities & (1 << 1 | 1 << 2 | 1 << 3), 0,
                             "%s may override file permissions" % role)
        session.quit()

    @unittest.skipUnless(AS_ROOT, "only root sees descriptors of the roles")
    def test_before_login(self):
        """Nobody holds mail before a login; every role is there with the greeting."""
        site = self.open()
        session = site.start()
        session.greeting()
        for role in session.roles():
            for target in role.descriptors().values():
                self.assertNotIn(str(site.top / "mail"), target)
        session.quit()

    def test_not_dumpable(self):
        """The processes are not dumpable: their memory is root's even for their uid."""
        if not AS_ROOT:
            self.skipTest("seen by the owner of /proc files")
        session = self.open().login()
        for role in session.settled_roles():
            self.assertEqual(os.stat("/proc/%d/mem" % role.pid).st_uid, 0, role)
        session.quit()

    @unittest.skipUnless(AS_ROOT, "only root sees what the roles have mapped")
    def test_no_openssl(self):
        """No process of a plain session has libssl or libcrypto mapped."""
        session = self.open().login()
        session.expect("RETR 1", "+OK...")
        session.body()
        for role in session.settled_roles():
            maps = role.maps()
            self.assertNotIn("libcrypto", maps, role)
            self.assertNotIn("libssl", maps, role)
        session.quit()

    def limits(self, role):
        with open("/proc/%d/limits" % role.pid, encoding="ascii") as file:
            return {line[:26].strip(): line[26:].split()[0] for line in file}

    def test_limits(self):
        session = self.open().start()
        session.greeting()
        common.poll("auth may write no file", lambda: [
            role for role in session.roles()
            if role.name == "pop3d-auth" and self.limits(role)["Max file size"] == "0"])
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        for role in session.settled_roles():
            limits = self.limits(role)
            self.assertEqual(limits["Max core file size"], "0", role)
            if role.pid != session.process.pid:
                self.assertEqual(limits["Max processes"], "0", role)
            if role.name in self.DATA and not common.SANITIZED:
                self.assertEqual(limits["Max data size"], str(self.DATA[role.name]), role)
        session.quit()

    @unittest.skipUnless(AS_ROOT, "only root sees descriptors of the roles")
    def test_foreign_descriptors(self):
        """What the caller left open is closed in every role."""
        site = self.open()
        leak = os.open("/etc/hostname" if os.path.exists("/etc/hostname") else "/etc/passwd",
                       os.O_RDONLY)

        def leave_open():
            for number in (3, 9, 57, 200):
                os.dup2(leak, number)
        session = site.start(preexec=leave_open)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        for role in session.settled_roles():
            for target in role.descriptors().values():
                self.assertNotIn(os.readlink("/proc/self/fd/%d" % leak), target, role)
        os.close(leak)
        session.quit()

    def test_signals_come_in_odd(self):
        """Ignored and blocked signals, a strange umask and directory."""
        def odd():
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGTERM, signal.SIGALRM):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            os.umask(0)
        site = self.open()
        session = site.start(preexec=odd)
        session.login()
        session.expect("DELE 1", "+OK...")
        for role in session.settled_roles():
            self.assertEqual(role.link("cwd"), role.link("root"), role)
        session.process.send_signal(signal.SIGTERM)
        session.wait(None)
        session = site.start(preexec=odd)
        session.login()
        session.expect("DELE 1", "+OK...")
        session.quit()

    def test_environment(self):
        """Nothing of the caller's environment decides anything."""
        site = self.open()
        session = site.start(env={"LD_DEBUG": "all", "MALLOC_TRACE": "/tmp/x", "HOME": "/root",
                                  "IFS": "x", "EVIL": "yes"} if not common.SANITIZED else {})
        session.login()
        session.quit()

    def test_no_descriptor_two(self):
        """Started without descriptor 2, or with only 0: nothing goes wrong."""
        site = self.open()
        for closed in ((2,), (1, 2)):
            def close(closed=closed):
                for number in closed:
                    os.close(number)
            session = site.start(preexec=close, log=False)
            if closed == (2,):
                session.login()
                session.quit()
            else:
                session.close()
                session.wait(None)

    def test_transports(self):
        for transport in ("socket", "tcp", "pipes", "pty"):
            with self.subTest(transport=transport):
                site = self.open()
                session = site.start(transport=transport)
                session.login()
                session.expect("STAT", "+OK 3...")
                session.expect("DELE 1", "+OK...")
                session.expect("QUIT", "+OK...")
                session.end_of_file()
                session.close()
                session.wait()
                session = site.start(transport=transport)
                session.login()
                session.expect("STAT", "+OK 2...")
                session.close()
                session.wait(None)

    def test_answer_to_quit_arrives(self):
        """Unread input at the end does not reset the connection: +OK is seen."""
        site = self.open()
        for _ in range(10):
            session = site.start(transport="tcp")
            session.login()
            session.send("QUIT\r\n" + "NOOP\r\n" * 2000)
            session.expect(None, "+OK...")
            session.ended()

    def test_client_as_descriptor_two(self):
        """inetd: 0, 1 and 2 are the client; nothing is written there but answers."""
        site = self.open()
        session = site.start(log=False, stderr="client")
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH]...")
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        session.expect("STAT", "+OK 3...")
        session.quit()
        site.configure(no_such_key="x")
        session = site.start(log=False, stderr="client")
        session.expect(None, "-ERR [SYS/PERM]...")
        session.ended(78)
        site.configure(no_such_key=None)
        os.chmod(site.top / "mail/alice", 0)
        session = site.start(log=False, stderr="client")
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "-ERR [SYS/PERM]...")
        session.close()
        session.wait(None)
        os.chmod(site.top / "mail/alice", 0o600)

    def test_idle_memory(self):
        """A session that waits costs at most 350 KiB PSS."""
        if not AS_ROOT or common.SANITIZED:
            self.skipTest("needs root to see it, and no sanitizer")
        site = self.site()
        sessions = []
        for number in range(8):
            name = "user%d" % number
            site.add_user(name, messages=MAIL)
            sessions.append(site.login(name))
        total = 0
        for session in sessions:
            for role in session.settled_roles():
                try:  # the auth role may be ending just now
                    with open("/proc/%d/smaps_rollup" % role.pid, encoding="ascii") as file:
                        total += next(int(line.split()[1]) for line in file
                                      if line.startswith("Pss:"))
                except (ProcessLookupError, FileNotFoundError):
                    pass
        for session in sessions:
            session.quit()
        self.assertLessEqual(total / len(sessions), 350 * 1.5)  # few share less than 100

    def test_traced_by_nobody(self):
        """A role's uid may not trace the other roles."""
        if not AS_ROOT:
            self.skipTest("needs root")
        site = self.open()
        session = site.login()
        for role in session.settled_roles()[1:]:
            status = subprocess.run(
                ["setpriv", "--reuid", str(role.uids[0]), "--regid", str(role.gids[0]),
                 "--clear-groups", "cat", "/proc/%d/environ" % role.pid],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
            self.assertNotEqual(status, 0, role)
        session.quit()


if __name__ == "__main__":
    common.main()
