#!/usr/bin/env python3
"""The sandbox of every role of a live session, as /proc shows it."""
import os
import shutil
import signal
import subprocess
import unittest

import common
import test_sasl
import test_tls
from common import AS_ROOT, PASSWORD

MAIL = [common.simple_message(number) for number in range(1, 4)]


def compiled():
    said = subprocess.run([common.POP3D, "-V"], capture_output=True, check=False).stdout.decode()
    return said.partition("sandbox: ")[2].split()[0].split(",")


def has_filters():
    with open("/proc/self/status", encoding="ascii") as file:
        return "seccomp" in compiled() and "Seccomp:" in file.read()


def landlock():
    """The kernel's version of it, 0: none, or the build has none."""
    found = common._libc.syscall(444, None, 0, 1)
    return max(found, 0) if "landlock" in compiled() else 0


needs_filters = unittest.skipUnless(has_filters(), "no filters of system calls here")


class Sandbox(test_tls.TlsCase):
    def plain(self, **options):
        site = self.site(**options)
        site.add_user("alice", "mbox", MAIL)
        return site

    # What is started after the monitor's filter has that, and one of its own.
    FILTERS = {"pop3d-maildrop": 2, "pop3d-digest": 2}
    EMPTY = ("pop3d-session", "pop3d-auth", "pop3d-digest", "pop3d-tls", "pop3d-keeper")

    def is_confined(self, role, empty):
        number = int(role.status.get("Seccomp_filters", "9"))  # not told before Linux 5.9
        if role.status["Seccomp"] != "2" or number < self.FILTERS.get(role.name, 1):
            return False
        if not AS_ROOT or role.name not in empty:
            return True
        return role.link("root").endswith("/libexec/empty") and role.capabilities == 0

    def confined(self, session, *names, empty=EMPTY):
        """Wait until these roles are there and each is where it has to be; by their names."""
        def ready():
            found = session.roles()
            return {role.name for role in found} >= set(names) and all(
                self.is_confined(role, empty) for role in found) and found
        roles = common.poll("%s in their sandboxes" % (names,), ready)
        for role in roles:
            self.assertTrue(role.no_new_privs, role)
        return {role.name: role for role in roles}

    # -- who there is

    @needs_filters
    def test_plain(self):
        """Before a login, after it, and when ids are asked for that no index has."""
        site = self.plain()
        session = site.start()
        session.greeting()
        self.confined(session, "pop3d", "pop3d-session", "pop3d-auth")
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        session.settled_roles()
        roles = self.confined(session, "pop3d", "pop3d-session", "pop3d-maildrop")
        if AS_ROOT:
            self.assertEqual(roles["pop3d-maildrop"].uids, [site.users["alice"].uid] * 4)
        session.lines("UIDL")
        self.confined(session, "pop3d-digest")
        session.expect("DELE 1", "+OK...")
        session.quit()
        self.assertIn(" sandbox=seccomp", site.log_text())

    @needs_filters
    def test_digests(self):
        """pop3d-auth, the program, takes the place of the built-in role."""
        site = self.plain(auth_mechanisms="PLAIN SCRAM-SHA-256")
        site.admin("user", "passwd", "alice", "--scram", stdin=PASSWORD.encode())
        session = site.start()
        session.greeting()
        client = test_sasl.Scram("sha256", "alice", PASSWORD)
        answer = session.ask("AUTH SCRAM-SHA-256 " + test_sasl.b64(client.first()))
        final = test_sasl.b64(client.final(test_sasl.challenge(session, answer)))
        common.poll("the built-in role has ended", lambda: [
            role.name for role in session.roles()].count("pop3d-auth") == 1)
        roles = self.confined(session, "pop3d", "pop3d-session", "pop3d-auth")
        if AS_ROOT:
            self.assertIn("libcrypto", roles["pop3d-auth"].maps())
        session.expect(final, "+ ...")
        session.expect("", "+OK...")
        session.quit()

    @needs_filters
    def test_tls(self):
        """Before the handshake tls and keeper, each alone; then tls with the session."""
        site = self.open()
        for args in (["-s"], []):
            session = site.start(*args, transport="tcp")
            if not args:
                session.greeting()
                session.expect("STLS", "+OK...")
            roles = self.confined(session, "pop3d", "pop3d-session", "pop3d-tls", "pop3d-keeper")
            if AS_ROOT:
                self.assertEqual(roles["pop3d-keeper"].uids, [common.UID_KEEPER] * 4)
                self.assertEqual(roles["pop3d-tls"].uids, [common.UID_SESSION] * 4)
            client = test_tls.Client(session, test_tls.context(site), common.HOSTNAME, None)
            client.login(greeting=bool(args))
            session.settled_roles()
            self.confined(session, "pop3d", "pop3d-session", "pop3d-tls", "pop3d-maildrop")
            client.quit()

    @unittest.skipUnless(AS_ROOT, "only root's program becomes a user")
    @needs_filters
    def test_checkpassword(self):
        """The role that runs a checkpassword program is filtered, and with it the program."""
        site = self.plain()
        program = site.top / "check"
        program.write_text("#!/bin/sh\ngrep Seccomp: /proc/self/status > %s/seen\nexit 1\n"
                           % (site.top / "run"))
        program.chmod(0o755)
        site.configure(users="checkpassword:%s" % program)
        session = site.start()
        session.greeting()
        roles = self.confined(session, "pop3d", "pop3d-session", "pop3d-auth",
                              empty=("pop3d-session",))
        self.assertEqual(roles["pop3d-auth"].uids, [0] * 4)
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH]...")
        self.assertEqual((site.top / "run/seen").read_text().split(), ["Seccomp:", "2"])
        session.quit()

    @unittest.skipUnless(landlock() >= 2, "no Landlock here")
    def test_maildrop_stays_in_its_places(self):
        """A mailbox's directory that was put there meanwhile is none of the session's places."""
        site = self.site()
        home = site.top / "mail/alice"
        for answer in ("+OK...", "-ERR [SYS/TEMP]..."):
            home.mkdir()
            site.add_user("alice", "mbox", path=home / "box")
            alice = site.users["alice"]
            site.own(home, alice, 0o700)
            site.fill(alice, MAIL)
            session = site.login()
            session.expect("DELE 1", "+OK...")
            if answer.startswith("-"):
                home.rename(site.top / "mail/away")
                home.mkdir()
                site.own(home, alice, 0o700)
                site.fill(alice, MAIL)
            session.quit(answer)
            left = alice.path.read_bytes()
            self.assertEqual(left, common.mbox(MAIL[1:] if answer == "+OK..." else MAIL))
            shutil.rmtree(home)

    # -- root's rights

    @unittest.skipUnless(AS_ROOT, "only root has capabilities")
    def test_monitor_sheds(self):
        """A capability goes when no phase to come needs it."""
        chown, setgid, setuid, chroot = (1 << number for number in (0, 6, 7, 18))
        site = self.plain()
        session = site.start()
        session.greeting()

        def held():
            return session.roles()[0].capabilities
        self.assertEqual(held(), chown | setgid | setuid | chroot)
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        common.poll("CHOWN is gone: %#x" % held(), lambda: held() == setgid | setuid | chroot)
        session.lines("UIDL")  # the digest helper is started as root all the same
        session.expect("DELE 1", "+OK...")
        session.quit()

    # -- what is left alone, and what is said

    @needs_filters
    def test_stopped_roles_go_on(self):
        """SIGSTOP and SIGCONT: the kernel restarts a wait by a call of its own."""
        site = self.plain()
        session = site.login()
        roles = session.settled_roles()
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for role in roles:
                os.kill(role.pid, number)
            if number == signal.SIGSTOP:
                common.poll("all are stopped", lambda: all(
                    common.Role(role.pid).status["State"].startswith("T") for role in roles))
        session.expect("STAT", "+OK 3...")
        session.lines("UIDL")
        session.quit()

    def test_death_is_told(self):
        """One line for a role that its filter has killed."""
        site = self.plain()
        site.filters_kill = True
        session = site.start()
        session.greeting()
        roles = {role.name: role for role in session.roles()}
        os.kill(roles["pop3d-session"].pid, signal.SIGSYS)
        session.close()
        session.wait(None)
        lines = [line for line in site.log_text().splitlines() if "killed by signal" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("the session role was killed by signal %d: it made a system call that its "
                      "filter refuses" % signal.SIGSYS, lines[0])

    def test_said_at_connect(self):
        """What is in force stands in the line of a connection."""
        site = self.plain()
        site.login().quit()
        wanted = ",".join((["seccomp"] if has_filters() else []) +
                          (["landlock"] if landlock() else [])) or "none"
        connect = [line for line in site.log_text().splitlines() if line.startswith("connect")]
        self.assertEqual(len(connect), 1)
        self.assertRegex(connect[0], r" sandbox=%s\b" % wanted)


if __name__ == "__main__":
    common.main()
