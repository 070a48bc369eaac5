#!/usr/bin/env python3
"""Unique ids that outlive everything but the message: a lost index, a copied mailbox,
what mail readers write into it, deletions, and real deliveries meanwhile."""
import os
import shutil
import subprocess
import unittest

import common

COUNT = 12


def messages():
    found = []
    for number in range(COUNT):
        found.append(b"Received: from a by b; Fri, 20 Nov 2026 10:%02d:00 +0000\n" % number +
                     common.simple_message(number, 300 * number))
    return found


def become(user):
    """Run as the mailbox's owner; programs of users need no more."""
    def change():
        if common.AS_ROOT:
            os.setgroups([])
            os.setgid(user.uid)
            os.setuid(user.uid)
    return change


class StableIds(common.Case):
    def open(self, kind):
        site = self.site()
        os.chmod(site.top / "mail", 0o1777)
        user = site.add_user("alice", kind, messages())
        return site, user

    def ids(self, site, name="alice"):
        session = site.login(name)
        found = [line.split()[1] for line in session.lines("UIDL")]
        session.quit()
        return found

    def home(self, site, user):
        home = site.top / "home-of-alice"
        home.mkdir(exist_ok=True)
        site.own(home, user, 0o700)
        return home

    def test_index_deleted(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site, _ = self.open(kind)
                before = self.ids(site)
                for path in (site.top / "state/alice").iterdir():
                    path.unlink()
                self.assertEqual(self.ids(site), before)

    def test_copied(self):
        """To another user, another path, new inodes and new times."""
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site, user = self.open(kind)
                before = self.ids(site)
                other = site.add_user("bob", kind)
                if kind == "mbox":
                    shutil.copyfile(user.path, other.path)
                else:
                    shutil.copytree(user.path, other.path)
                for top, directories, files in os.walk(other.path):
                    for name in [""] + directories + files:
                        site.own(os.path.join(top, name), other)
                site.own(other.path, other)
                self.assertEqual(self.ids(site, "bob"), before)

    def test_maildir_flags(self):
        """A Maildir program moves new mail to cur and sets flags."""
        site, user = self.open("maildir")
        before = self.ids(site)
        for path in list((user.path / "new").iterdir()):
            os.rename(path, user.path / "cur" / (path.name + ":2,"))
        self.assertEqual(self.ids(site), before)
        for path in list((user.path / "cur").iterdir()):
            os.rename(path, path.with_name(path.name.partition(":")[0] + ":2,FRS"))
        self.assertEqual(self.ids(site), before)

    def test_half_deleted(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site, _ = self.open(kind)
                before = self.ids(site)
                session = site.login()
                for number in range(1, COUNT + 1, 2):
                    session.expect("DELE %d" % number, "+OK...")
                session.quit()
                self.assertEqual(self.ids(site), before[1::2])

    def read_by_mail(self, site, user):
        program = shutil.which("bsd-mailx")
        if not program:
            self.skipTest("no bsd-mailx")
        subprocess.run([program, "-N", "-f", str(user.path)], input=b"type 1-4\nquit\n",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
                       env={"HOME": str(self.home(site, user)), "PATH": os.environ["PATH"],
                            "MAILRC": "/dev/null", "USER": "alice"},
                       preexec_fn=become(user), cwd="/", check=False)

    def check_reader(self, read):
        """A reader marks messages in the mbox; octets change, ids do not."""
        site, user = self.open("mbox")
        before = self.ids(site)
        content = user.path.read_bytes()
        read(site, user)
        self.assertIn(b"\nStatus: ", user.path.read_bytes())
        self.assertNotEqual(user.path.read_bytes(), content)
        self.assertEqual(self.ids(site), before)
        for path in (site.top / "state/alice").iterdir():
            path.unlink()
        self.assertEqual(self.ids(site), before)

    def test_status_by_mail(self):
        self.check_reader(self.read_by_mail)

    def test_deliveries(self):
        """A hundred (POP3D_DELIVERIES: more) from a real deliverer while sessions run."""
        procmail = shutil.which("procmail")
        if not procmail:
            self.skipTest("no procmail")
        count = int(os.environ.get("POP3D_DELIVERIES", "100"))
        site, user = self.open("mbox")
        site.configure(lock_timeout=20)
        before = self.ids(site)
        script = (
            "n=0; while [ $n -lt %d ]; do n=$((n+1)); "
            "printf 'From p@example.net Fri Nov 20 10:54:00 2026\\nFrom: p@example.net\\n"
            "Subject: new %%d\\n\\ntext\\n' $n | "
            "%s LOCKSLEEP=1 DEFAULT=%s LOGFILE=/dev/null /dev/null || exit 1; "
            "sleep 0.01; done" % (count, procmail, user.path))
        with subprocess.Popen(["/bin/sh", "-c", script], preexec_fn=become(user),
                              cwd="/") as deliverer:
            seen = before
            sessions = 0
            while deliverer.poll() is None:
                session = site.start().login()
                now = [line.split()[1] for line in session.lines("UIDL")]
                session.quit()
                self.assertEqual(now[:len(seen)], seen)
                seen = now
                sessions += 1
            self.assertEqual(deliverer.returncode, 0)
        last = self.ids(site)
        self.assertEqual(last[:len(seen)], seen)
        self.assertEqual(len(last), COUNT + count)
        self.assertEqual(len(set(last)), COUNT + count)
        print("%d deliveries, %d sessions meanwhile" % (count, sessions))


if __name__ == "__main__":
    common.main()
