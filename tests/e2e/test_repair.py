#!/usr/bin/env python3
"""maildrop check and repair: what an unfinished removal left is found, and mail
that only a journal holds comes back."""
import os
import re
import shutil
import socket
import subprocess

import common
from common import simple_message
from test_pop3admin import AdminCase

MESSAGES = [simple_message(number, 3000) for number in range(1, 9)]


def interrupted(site, call, when):
    """A session that deletes message 1, killed at that system call; False: it was not killed."""
    ours, theirs = socket.socketpair()
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e",
            "inject=%s:signal=KILL:when=%d" % (call, when), str(common.POP3D), "-c",
            str(site.config)]
    with theirs:
        child = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
                                 cwd="/")
    ours.settimeout(common.WAIT)
    with ours, ours.makefile("rb") as file:
        for command in ("", "USER alice", "PASS " + common.PASSWORD, "DELE 1", "QUIT"):
            try:
                if command:
                    ours.sendall(command.encode() + b"\r\n")
                answer = file.readline()
            except ConnectionError:  # killed with the command unread
                answer = b""
            if not answer.startswith(b"+OK"):
                break
    child.wait(common.WAIT)
    return not (command == "QUIT" and answer.startswith(b"+OK"))


class Repair(AdminCase):
    def setUp(self):
        if not common.POP3D.exists():
            self.skipTest("no pop3d")

    def broken_site(self):
        """The mailbox was cut to its first message after a step was journalled: what that step
        moved is nowhere else."""
        if not shutil.which("strace"):
            self.skipTest("no strace")
        for when in range(1, 30):
            site = self.site()
            user = site.add_user(messages=MESSAGES)
            if not interrupted(site, "pwrite64", when):
                self.admin(site, "maildrop", "stat", "alice")
                break
            if not (site.top / "state/alice/journal").exists():
                continue
            user.path.write_bytes(b"")
            self.admin(site, "maildrop", "stat", "alice", says="journal")
            dry = self.json(site, "maildrop", "repair", "alice", "--dry-run")
            if re.search("[1-9] messages", " ".join(dry["repaired"])):
                return site, user, dry
        self.skipTest("strace interrupts nothing here")

    def test_mail_comes_back_from_a_journal(self):
        site, user, dry = self.broken_site()
        self.assertEqual(user.path.read_bytes(), b"", "a dry run changes nothing")
        found = self.json(site, "maildrop", "check", "alice", status=1)
        self.assertRegex(found["findings"][0], r"^journal\.\d+: ")
        done = self.json(site, "maildrop", "repair", "alice")
        self.assertEqual(done["repaired"], dry["repaired"])
        self.assertEqual((done["ok"], done["left"]), (True, []))
        self.assertEqual(user.path.read_bytes(), common.mbox(MESSAGES[1:]))
        self.assertEqual([path.name for path in (site.top / "state/alice").glob("journal*")], [])
        self.assertIs(self.json(site, "maildrop", "check", "alice")["ok"], True)
        again = self.json(site, "maildrop", "repair", "alice")
        self.assertEqual(again["repaired"], [])

    def test_only_what_is_missing_comes_back(self):
        site, user, _ = self.broken_site()
        newer = simple_message(50)
        stored = [newer, MESSAGES[3], b"Status: RO\n" + MESSAGES[5]]
        site.fill(user, stored)
        user.path.write_bytes(user.path.read_bytes().rstrip(b"\n"))
        self.admin(site, "maildrop", "repair", "alice")
        listed = self.json(site, "maildrop", "list", "alice")
        self.assertEqual(len(listed), 3 + 5)
        text = user.path.read_bytes()
        for message in MESSAGES[1:]:
            self.assertEqual(text.count(message), 1)
        self.assertEqual(text.count(newer), 1)

    def test_an_interrupted_removal_that_fits_is_finished(self):
        if not shutil.which("strace"):
            self.skipTest("no strace")
        for when in range(1, 30):
            site = self.site()
            user = site.add_user(messages=MESSAGES)
            killed = interrupted(site, "pwrite64", when)
            self.admin(site, "maildrop", "check", "alice")  # takes the dead one's dotlock away
            if not killed:
                return
            self.assertIn(user.path.read_bytes(), (common.mbox(MESSAGES),
                                                   common.mbox(MESSAGES[1:])))

    def test_damaged_journal(self):
        site = self.site()
        user = site.add_user(messages=MESSAGES)
        self.admin(site, "maildrop", "stat", "alice")
        journal = site.top / "state/alice/journal.17"
        journal.write_bytes(b"x" * 20000)
        site.own(journal, user)
        done = self.json(site, "maildrop", "repair", "alice", status=1)
        self.assertEqual((done["ok"], len(done["left"])), (False, 1))
        self.assertTrue(journal.exists())
        journal.unlink()
        os.mkfifo(journal)
        self.json(site, "maildrop", "repair", "alice", status=1)
        self.assertEqual(user.path.read_bytes(), common.mbox(MESSAGES))

    def test_leftovers_and_directories(self):
        site = self.site()
        user = site.add_user(kind="maildir", messages=MESSAGES)
        self.admin(site, "maildrop", "stat", "alice")
        state = site.top / "state/alice"
        for name in ("index.4711", "uidl.new"):
            (state / name).write_text("x")
            site.own(state / name, user)
        (user.path / "tmp").rmdir()
        dry = self.json(site, "maildrop", "repair", "alice", "--dry-run")
        self.assertEqual(len(dry["repaired"]), 3)
        self.assertTrue((state / "index.4711").exists())
        self.assertFalse((user.path / "tmp").exists())
        done = self.json(site, "maildrop", "repair", "alice")
        self.assertEqual(done["repaired"], dry["repaired"])
        self.assertTrue((user.path / "tmp").is_dir())
        self.assertEqual((user.path / "tmp").stat().st_uid, user.uid)
        self.assertEqual(self.json(site, "maildrop", "repair", "--all"), [
            {"user": "alice", "ok": True, "dry_run": False, "repaired": [], "left": []}])

    def test_nothing_to_repair(self):
        for kind in ("mbox", "maildir"):
            site = self.site()
            user = site.add_user(kind=kind, messages=MESSAGES)
            site.add_user("bob", kind=kind)
            before = site.content(user)
            done = self.json(site, "maildrop", "repair", "alice")
            self.assertEqual((done["repaired"], done["left"]), ([], []))
            self.json(site, "maildrop", "repair", "bob")
            self.assertEqual(site.content(user), before)

    def test_busy(self):
        site = self.site()
        site.add_user(messages=MESSAGES)
        session = site.login()
        self.admin(site, "maildrop", "repair", "alice", status=75)
        session.quit()


if __name__ == "__main__":
    common.main()
