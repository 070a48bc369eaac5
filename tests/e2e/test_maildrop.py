#!/usr/bin/env python3
"""Maildrops that must not be opened, full disks, locks that only root can make."""
import os
import pathlib
import socket
import stat
import subprocess
import time
import unittest

import common
from common import AS_ROOT, PASSWORD, stuffed, wire

MAIL = [common.simple_message(number, 400) for number in range(1, 4)]


class Maildrops(common.Case):
    def refused(self, site, code, path=None):
        """PASS is answered with this code, and the log names the path."""
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        answer = session.ask("PASS " + PASSWORD).decode("latin-1")
        if not answer.startswith("-ERR " + code):
            session.fail("wanted %s, got %r" % (code, answer))
        session.close()
        session.wait(None)
        self.assertIn(str(path or site.users["alice"].path), site.log_text())
        self.assertNotIn(str(site.top), answer)  # the client learns no paths

    def test_symlink(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                bob = site.add_user("bob", kind, MAIL)
                alice = site.add_user("alice", kind)
                alice.path.symlink_to(bob.path)
                self.refused(site, "[SYS/PERM]")
                self.assertEqual(len(site.content(bob)) > 0, True)

    def test_dangling_symlink(self):
        site = self.site()
        alice = site.add_user("alice")
        alice.path.symlink_to(site.top / "mail/not-there")
        self.refused(site, "[SYS/PERM]")
        self.assertFalse((site.top / "mail/not-there").exists())

    def test_symlinked_subdirectory(self):
        for name in ("new", "cur"):
            with self.subTest(name=name):
                site = self.site()
                bob = site.add_user("bob", "maildir", MAIL)
                alice = site.add_user("alice", "maildir", [])
                (alice.path / name).rmdir()
                (alice.path / name).symlink_to(bob.path / name)
                self.refused(site, "[SYS/PERM]")

    def test_no_mailbox_file(self):
        def make_socket(path):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
        for make in (os.mkfifo, os.mkdir, make_socket):
            with self.subTest(make=make.__name__):
                site = self.site()
                alice = site.add_user("alice")
                make(alice.path)
                site.own(alice.path, alice)
                self.refused(site, "[SYS/PERM]")

    def test_no_maildir(self):
        for make in (os.mkfifo, lambda path: path.write_text("x")):
            site = self.site()
            alice = site.add_user("alice", "maildir")
            make(alice.path)
            site.own(alice.path, alice)
            self.refused(site, "[SYS/PERM]")

    def test_maildir_oddities(self):
        """In a Maildir: links, FIFOs, directories and dot files are no messages."""
        site = self.site()
        alice = site.add_user("alice", "maildir", MAIL)
        new = alice.path / "new"
        (new / "9.link").symlink_to("/etc/passwd")
        os.mkfifo(new / "8.fifo")
        (new / "7.directory").mkdir()
        (new / ".hidden").write_text("x")
        (alice.path / "tmp/6.unfinished").write_text("x")
        (alice.path / ".Folder").mkdir()
        session = site.login()
        session.expect("STAT", "+OK 3 %d" % sum(len(wire(stored)) for stored in MAIL))
        for number in (1, 2, 3):
            session.expect("DELE %d" % number, "+OK...")
        session.quit()
        self.assertEqual(sorted(path.name for path in new.iterdir()),
                         [".hidden", "7.directory", "8.fifo", "9.link"])

    @unittest.skipUnless(AS_ROOT, "needs a second uid")
    def test_foreign_owner(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                alice = site.add_user("alice", kind, MAIL)
                os.chown(alice.path, 61050, alice.uid)
                os.chmod(alice.path, 0o666 if kind == "mbox" else 0o777)
                self.refused(site, "[SYS/PERM]")

    @unittest.skipUnless(AS_ROOT, "needs a second uid")
    def test_foreign_message(self):
        """Somebody else's file in the Maildir is not handed out as the user's mail,
        or it is a message the user may read; never a way to another's secrets."""
        site = self.site()
        alice = site.add_user("alice", "maildir", MAIL)
        secret = alice.path / "new/5.secret"
        secret.write_bytes(b"Subject: secret\n\nroot's\n")
        secret.chmod(0o600)
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        if session.ask("PASS " + PASSWORD).startswith(b"+OK"):
            for number in range(1, 5):
                if session.ask("RETR %d" % number).startswith(b"+OK"):
                    self.assertNotIn(b"root's", session.body())
        session.close()
        session.wait(None)

    def test_unreadable(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                alice = site.add_user("alice", kind, MAIL)
                os.chmod(alice.path, 0)
                self.refused(site, "[SYS/PERM]")
                os.chmod(alice.path, 0o700)

    def test_hard_link(self):
        site = self.site()
        alice = site.add_user("alice", messages=MAIL)
        os.link(alice.path, site.top / "mail/second")
        self.refused(site, "[SYS/PERM]")

    def test_read_only_mbox(self):
        """Mail that cannot be changed can be read; QUIT tells that nothing was deleted."""
        site = self.site()
        alice = site.add_user("alice", messages=MAIL)
        os.chmod(alice.path, 0o400)
        before = site.content(alice)
        session = site.login()
        session.expect("RETR 1", "+OK...")
        self.assertEqual(session.body(), stuffed(wire(MAIL[0])))
        session.quit()
        session = site.login()
        if session.ask("DELE 1").startswith(b"+OK"):
            session.expect("QUIT", "-ERR [SYS/...")
        else:
            session.expect("QUIT", "+OK...")
        session.ended(status=None)
        self.assertEqual(site.content(alice), before)

    # -- full disks

    @unittest.skipUnless(AS_ROOT, "needs root to mount")
    def test_full_disk(self):
        """No block is free: whatever is answered, no mail that was kept is lost."""
        for kind in ("mbox", "maildir"):
            for what in ("mail", "state", "both"):
                with self.subTest(kind=kind, what=what):
                    self.full_disk(kind, what)

    def full_disk(self, kind, what):
        site = self.site()
        if what in ("mail", "both"):
            site.mount_tmpfs(site.top / "mail", 256 << 10)
        if what in ("state", "both"):
            site.mount_tmpfs(site.top / "state", 256 << 10)
            os.chmod(site.top / "state", 0o711)
        alice = site.add_user("alice", kind, MAIL)
        site.login().quit()  # the state directory is there
        for name in ("mail", "state"):
            if what in (name, "both"):
                with open(site.top / name / "filler", "wb", buffering=0) as file:
                    try:
                        while True:
                            file.write(b"\0" * 4096)
                    except OSError:
                        pass
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        answer = session.ask("PASS " + PASSWORD).decode()
        if answer.startswith("+OK"):
            session.expect("RETR 1", "+OK...")
            self.assertEqual(session.body(), stuffed(wire(MAIL[0])))
            session.expect("DELE 1", "+OK...")
            answer = session.ask("QUIT").decode()
        session.close()
        session.wait(None)
        left = MAIL[1:] if answer.startswith("+OK") else MAIL
        if not answer.startswith("+OK"):
            self.assertTrue(answer.startswith("-ERR [SYS/TEMP]"), answer)
        if kind == "mbox":
            self.assertEqual(alice.path.read_bytes(), common.mbox(left))
        else:
            self.assertEqual(sorted(site.content(alice).values()), sorted(left))
        for name in ("mail", "state"):  # room again: all is well
            if (site.top / name / "filler").exists():
                (site.top / name / "filler").unlink()
        session = site.login()
        session.expect("STAT", "+OK %d..." % len(left))
        session.quit()

    # -- dotlocks

    @unittest.skipUnless(AS_ROOT, "needs root")
    def test_dotlock_by_the_monitor(self):
        """The mail directory is root's alone: the monitor makes the dotlock."""
        site = self.site()
        os.chmod(site.top / "mail", 0o755)
        alice = site.add_user("alice", messages=MAIL)
        session = site.login()
        session.expect("DELE 2", "+OK...")
        session.quit()
        self.assertEqual(alice.path.read_bytes(), common.mbox([MAIL[0], MAIL[2]]))
        lock = site.top / "mail/alice.lock"
        with alice.path.open("ab") as file:  # what is not new needs no lock
            file.write(common.mbox(MAIL[:1]))
        lock.write_text("")
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "-ERR [IN-USE]...")
        session.close()
        session.wait(None)
        self.assertTrue(lock.exists())
        lock.unlink()
        self.assertEqual(sorted(path.name for path in (site.top / "mail").iterdir()), ["alice"])

    @unittest.skipUnless(AS_ROOT, "needs root")
    def test_group_mail_directory(self):
        """A directory of root and group mail, mode 2775: no role gets the group."""
        site = self.site()
        os.chown(site.top / "mail", 0, 8)
        os.chmod(site.top / "mail", 0o2775)
        alice = site.add_user("alice", messages=MAIL)
        session = site.login()
        for role in session.settled_roles():
            self.assertNotIn(8, role.gids + role.groups, role)
        session.expect("DELE 1", "+OK...")
        session.quit()
        self.assertEqual(alice.path.read_bytes(), common.mbox(MAIL[1:]))

    @unittest.skipUnless(AS_ROOT, "only root may trace the roles")
    def test_locks_are_seen_by_deliverers(self):
        """During the expunge a dotlock and a record lock are held; afterwards none."""
        strace = subprocess.run(["which", "strace"], capture_output=True, check=False)
        if strace.returncode:
            self.skipTest("no strace")
        if common.SANITIZED:
            self.skipTest("the leak check does not work under strace")
        site = self.site()
        site.add_user("alice", messages=MAIL)
        session = site.login()
        trace = site.top / "trace"
        pids = [word for role in session.settled_roles() for word in ("-p", str(role.pid))]
        tracer = subprocess.Popen(["strace", "-f", "-o", str(trace), "-e",
                                   "trace=link,linkat,unlink,unlinkat,fcntl,pwrite64,ftruncate"] +
                                  pids, stderr=subprocess.PIPE)
        for _ in range(len(pids) // 2):
            tracer.stderr.readline()  # "Process N attached"
        try:
            session.expect("DELE 1", "+OK...")
            session.quit()
        finally:
            tracer.terminate()
            tracer.wait()
        text = trace.read_text()
        link = text.index("alice.lock")
        lock = text.index("F_OFD_SETLK", link)
        cut = text.index("ftruncate", lock)
        self.assertIn("alice.lock", text[cut:])

    # -- state directories

    def test_state_directory(self):
        """state_dir/USER: the owner's, 0700; odd names are encoded."""
        site = self.site()
        names = {"alice": "alice", "a.b@c": "a.b@c", ".dot": "%2Edot", "sp'ace": "sp%27ace"}
        for name in names:
            site.add_user(name, messages=MAIL, path=site.top / "mail" / ("m-" + name))
            site.login(name).quit()
        for name, directory in names.items():
            info = (site.top / "state" / directory).stat()
            self.assertEqual(stat.S_IMODE(info.st_mode), 0o700, name)
            self.assertEqual(info.st_uid, site.users[name].uid, name)
        links = list((site.top / "state/.maildrops").iterdir())
        self.assertEqual(len(links), len(names))
        for link in links:
            self.assertTrue(link.is_symlink())

    def test_state_can_be_deleted(self):
        site = self.site()
        alice = site.add_user("alice", messages=MAIL)
        session = site.login()
        ids = session.lines("UIDL")
        session.quit()
        for path in (site.top / "state").glob("alice/*"):
            path.unlink()
        session = site.login()
        self.assertEqual(session.lines("UIDL"), ids)
        session.quit()
        self.assertTrue(alice.path.exists())

    @unittest.skipUnless(AS_ROOT, "needs a second uid")
    def test_state_of_another(self):
        """One that the login's uid does not own is set aside, and logged."""
        site = self.site()
        site.add_user("alice", messages=MAIL)
        site.login().quit()
        directory = site.top / "state/alice"
        (directory / "secret").write_text("the former alice's")
        os.chown(directory, 61050, 61050)
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        answer = session.ask("PASS " + PASSWORD).decode()
        session.close()
        session.wait(None)
        self.assertRegex(answer, r"^(\+OK|-ERR \[SYS/PERM\])")
        self.assertIn("alice", site.log_text())
        if answer.startswith("+OK"):
            old = list((site.top / "state").glob(".old-alice-*"))
            self.assertEqual(len(old), 1)
            self.assertTrue((old[0] / "secret").exists())
            self.assertFalse((directory / "secret").exists())

    @unittest.skipUnless(AS_ROOT, "needs a second uid")
    def test_shared_under_two_uids(self):
        site = self.site()
        alice = site.add_user("alice", messages=MAIL)
        site.add_user("sales", uid=61051, path=alice.path)
        site.login().quit()
        session = site.start()
        session.greeting()
        session.expect("USER sales", "+OK...")
        session.expect("PASS " + PASSWORD, "-ERR [SYS/PERM]...")
        session.close()
        session.wait(None)

    def test_state_dir_missing(self):
        site = self.site(state_dir="/nonexistent/pop3d")
        site.add_user("alice", messages=MAIL)
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        answer = session.ask("PASS " + PASSWORD).decode()
        self.assertRegex(answer, r"^-ERR \[SYS/(TEMP|PERM)\]")
        self.assertIn("/nonexistent/pop3d", site.log_text())
        session.close()
        session.wait(None)

    def test_run_dir_missing(self):
        """Made where it can be; else logins still work."""
        site = self.site()
        site.configure(run_dir=site.top / "run2")
        site.add_user("alice", messages=MAIL)
        site.login().quit()
        if (site.top / "run2").exists():
            self.assertEqual(stat.S_IMODE((site.top / "run2").stat().st_mode), 0o700)
        site.configure(run_dir="/proc/nowhere/run")
        site.login().quit()

    def test_spec_expansion(self):
        """%u, %n, %d, %h and ~ in the configuration's maildrop."""
        site = self.site()
        home = site.top / "mail"
        for spec, where in (("mbox:%s/%%u" % home, "ann@example.org"),
                            ("mbox:%s/%%n-%%d" % home, "ann-example.org"),
                            ("mbox:%h/in", "in"), ("mbox:~/in", "in"),
                            ("mbox:%s/100%%%%" % home, "100%")):
            with self.subTest(spec=spec):
                site.configure(maildrop=spec)
                path = pathlib.Path(home, where)
                user = site.add_user("ann@example.org", messages=MAIL, path=path,
                                     home=home,
                                     uid=common.UID_FIRST if AS_ROOT else None)
                words = site.lines[user.name].split(":")
                site.lines[user.name] = ":".join(words[:7]) + ":"
                site.write_users()
                session = site.login(user.name)
                session.expect("STAT", "+OK 3...")
                session.quit()
                path.unlink()


class Index(common.Case):
    def index(self, site):
        return site.top / "state/alice/index"

    def test_used_again(self):
        """What a session found out, ids too, is kept where it removes nothing."""
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                site.add_user("alice", kind, MAIL)
                time.sleep(0.1)  # for the stamps of the mailbox to be clean
                listings, inodes = [], []
                for number in range(4):
                    session = site.login()
                    if number:
                        listings.append(session.lines("UIDL"))
                    session.quit()
                    session.ended()
                    inodes.append(self.index(site).stat().st_ino)
                self.assertEqual(listings[0], listings[1])
                self.assertEqual(listings[0], listings[2])
                # the first session with ids writes the index anew, the next ones do not
                self.assertNotEqual(inodes[0], inodes[1])
                self.assertEqual(inodes[1], inodes[2])
                self.assertEqual(inodes[1], inodes[3])

    def test_damaged(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                site.add_user("alice", kind, MAIL)
                time.sleep(0.1)
                session = site.login()
                before = session.lines("UIDL")
                session.quit()
                session.ended()
                octets = bytearray(self.index(site).read_bytes())
                octets[len(octets) // 2] ^= 1
                with open(self.index(site), "r+b") as file:
                    file.write(octets)
                session = site.login()
                self.assertEqual(before, session.lines("UIDL"))
                session.expect("RETR 1", "+OK...")
                session.body()
                session.quit()


if __name__ == "__main__":
    common.main()
