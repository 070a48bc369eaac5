#!/usr/bin/env python3
"""Who has an account on the machine: what he can put in the way of a session or of pop3admin.

Each attack is made on an mbox and on a Maildir, and met by pop3d and by pop3admin: an
answer comes in time, nobody else's mail is read, nobody else's file is changed.
"""
import contextlib
import os
import pathlib
import shutil
import stat
import subprocess
import threading
import unittest

import common
from common import AS_ROOT, PASSWORD, wire

KINDS = ("mbox", "maildir")
MAIL = [common.simple_message(number, 400) for number in range(1, 4)]
VICTIM = b"From: victim@example.net\nSubject: the victim's own\n\nsecret words\n"
TERABYTE = 1 << 40
STATE_FILES = ("lock", "index", "journal", "login", "seen", "uidl")


def make_socket(path):
    os.mknod(path, 0o600 | stat.S_IFSOCK)


def make_device(path):
    if not AS_ROOT:
        raise unittest.SkipTest("a device needs root")
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero: endless


def make_directory(path):
    path.mkdir()
    (path / ".in-the-way").touch()


def make_sparse(path):
    with open(path, "wb") as file:
        file.truncate(TERABYTE)


THINGS = {
    "link": lambda path, victim: path.symlink_to(victim),
    "link to nothing": lambda path, victim: path.symlink_to(victim.parent / "not-there"),
    "link to itself": lambda path, victim: path.symlink_to(path),
    "second name": lambda path, victim: os.link(victim, path),
    "fifo": lambda path, victim: os.mkfifo(path),
    "socket": lambda path, victim: make_socket(path),
    "device": lambda path, victim: make_device(path),
    "directory": lambda path, victim: make_directory(path),
    "sparse": lambda path, victim: make_sparse(path),
    "cut": lambda path, victim: path.touch(),
}


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Local(common.Case):
    def open(self, kind, messages=tuple(MAIL), **options):
        """alice, who attacks, and the victim, whose files could be read by everybody."""
        site = self.site(**options)
        site.add_user("alice", kind, list(messages))
        victim = site.add_user("victim", kind, [VICTIM])
        for path in [victim.path, *victim.path.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        return site

    def victims_file(self, site):
        victim = site.users["victim"]
        return victim.path if victim.kind == "mbox" else next(victim.path.glob("new/*"))

    def attempt(self, site):
        """A login as alice: the answer to PASS and, where it is +OK, the session."""
        login = site.top / "state/alice/login"
        with contextlib.suppress(OSError):  # so that login_delay does not count
            os.utime(login, (0, 0), follow_symlinks=False)
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        answer = session.ask("PASS " + PASSWORD).decode("latin-1")
        if answer.startswith("+OK"):
            return answer, session
        session.close()
        session.wait(None)
        return answer, None

    def everything(self, session, moving=False):
        """All that a session gives of the maildrop; moving: what it finds changed, it refuses."""
        count = int(session.ask("STAT").split()[1])
        got = []
        for number in range(1, min(count, 10) + 1):
            answer = session.ask("RETR %d" % number)
            if moving and answer.startswith(b"-ERR [SYS/TEMP] this message was changed"):
                continue
            self.assertTrue(answer.startswith(b"+OK"), answer)
            got.append(common.unstuffed(session.body()))
        return got

    def look(self, site, allowed, own=MAIL, moving=False):
        """Log in and read all: refused with one of these codes, or alice's own mail."""
        answer, session = self.attempt(site)
        self.assertNotIn(str(site.top), answer)
        if session is None:
            self.assertTrue(answer.startswith(tuple("-ERR " + code for code in allowed)), answer)
            return answer
        self.assertIn("+OK", allowed, answer)
        for message in self.everything(session, moving):
            self.assertIn(message, [wire(one) for one in own])
        session.quit()
        return answer

    def admin(self, site, *words):
        """pop3admin, whatever it finds; what it says."""
        done = subprocess.run([str(common.ADMIN), "-c", str(site.config), *words],
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=common.WAIT)
        said = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
        self.assertIn(done.returncode, (0, 1, 65, 74, 75, 77, 78), said)
        self.assertNotIn("secret words", said)
        return done.returncode, said

    def each(self, *skip):
        for name, make in THINGS.items():
            if name in skip or (name == "device" and not AS_ROOT):
                continue
            yield name, make


class Mailboxes(Local):
    def test_in_place_of_the_mailbox(self):
        """At the path of the maildrop, or of a directory of it."""
        for kind, name, make in ((k, n, m) for k in KINDS for n, m in self.each("sparse")):
            for part in ("",) if kind == "mbox" else ("", "cur", "new"):
                with self.subTest(kind=kind, name=name, part=part):
                    site = self.open(kind)
                    path = site.users["alice"].path
                    victim = self.victims_file(site)
                    before = victim.read_bytes()
                    path = path / part if part else path
                    remove(path)
                    make(path, victim)
                    site.own(path, site.users["alice"])
                    if name == "second name":
                        site.own(victim, site.users["victim"])
                    good = {"mbox": ("cut",), "maildir": ("directory",)}[kind]
                    self.look(site, ("+OK",) if name in good else ("[SYS/PERM]",))
                    status, said = self.admin(site, "maildrop", "check", "alice")
                    if name not in good:
                        self.assertNotEqual(status, 0, said)
                    self.assertEqual(victim.read_bytes(), before)

    def test_among_the_messages(self):
        """In new and cur: passed over, and the rest is served."""
        site = self.open("maildir")
        alice = site.users["alice"]
        victim = self.victims_file(site)
        before = victim.read_bytes()
        for number, (_, make) in enumerate(self.each("sparse", "cut", "second name")):
            for sub in ("new", "cur"):
                path = alice.path / sub / ("17000000%02d.M1P1.%s" % (number, sub))
                make(path, victim)
                site.own(path, alice)
        session = site.login()
        self.assertEqual(self.everything(session), [wire(message) for message in MAIL])
        session.expect("DELE 1", "+OK...")
        session.quit()
        self.assertIn("skipped", site.log_text())
        self.assertIn("2", site.admin("maildrop", "list", "alice"))
        self.assertEqual(victim.read_bytes(), before)

    def test_replaced_after_the_scan(self):
        """A message that becomes something else while the session is open: never that."""
        for name, make in self.each("sparse"):
            with self.subTest(name=name):
                site = self.open("maildir")
                alice = site.users["alice"]
                victim = self.victims_file(site)
                session = site.login()
                path = sorted(alice.path.glob("new/*"))[0]
                remove(path)
                make(path, victim)
                answer = session.ask("RETR 1")
                if answer.startswith(b"+OK"):
                    session.fail("a message that is no longer there was sent")
                session.close()
                session.wait(None)
                self.assertEqual(victim.read_bytes(), VICTIM)

    def test_links_of_proc(self):
        """A directory of the path that leads into what the process has open."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                site = self.open(kind)
                alice = site.users["alice"]
                way = site.top / "mail/way"
                way.symlink_to("/proc/self/cwd")
                site.add_user("alice", kind, uid=alice.uid,
                              path="%s%s" % (way, alice.path))
                self.look(site, ("[SYS/",))
                self.assertNotEqual(self.admin(site, "maildrop", "check", "alice")[0], 0)

    def test_directories_swapped(self):
        """cur changes place with a link to the victim's all the time; the mbox, too."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                site = self.open(kind)
                alice, victim = site.users["alice"], site.users["victim"]
                name = alice.path / "cur" if kind == "maildir" else alice.path
                target = victim.path / "new" if kind == "maildir" else victim.path
                aside = pathlib.Path("%s.aside" % name)
                done = threading.Event()

                def swap():
                    while not done.is_set():
                        name.rename(aside)
                        name.symlink_to(target)
                        name.unlink()
                        aside.rename(name)

                thread = threading.Thread(target=swap)
                thread.start()
                try:
                    for _ in range(5):
                        answer = self.look(site, ("+OK", "[SYS/", "[IN-USE]"), moving=True)
                        if answer.startswith("+OK"):
                            self.admin(site, "maildrop", "check", "alice")
                finally:
                    done.set()
                    thread.join()
                self.assertEqual(self.victims_file(site).read_bytes().count(b"secret words"), 1)

    def test_mailbox_replaced_by_another_file(self):
        """The mailbox is renamed away, and the victim's words take its place, mid-session."""
        site = self.open("mbox", [common.simple_message(1, 24 << 20), MAIL[1]])
        alice = site.users["alice"]
        session = site.login()
        session.expect("RETR 1", "+OK...")
        session.read(100000)
        other = site.top / "mail/other"
        other.write_bytes(common.mbox([VICTIM * 10000]))
        site.own(other, alice, 0o600)
        other.rename(alice.path)
        with contextlib.suppress(AssertionError):
            session.body()  # the message that was announced, or an end
        self.assertNotIn(b"secret words", session.buffer)
        session.close()
        session.wait(None)
        self.assertEqual(alice.path.read_bytes(), common.mbox([VICTIM * 10000]))

    def test_terabyte(self):
        """A file that is large only on paper: an end in time, in pop3admin, too."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                site = self.open(kind)
                alice = site.users["alice"]
                path = alice.path if kind == "mbox" else next(alice.path.glob("cur/*"))
                try:
                    with open(path, "r+b") as file:
                        file.truncate(TERABYTE)
                except OSError as error:
                    self.skipTest("no such file can be made here: %s" % error)
                session = site.login()
                sizes = [int(line.split()[1]) for line in session.lines("LIST")]
                self.assertGreater(max(sizes), TERABYTE - 4096)
                number = sizes.index(max(sizes)) + 1
                self.assertIn(b"Subject: message", session.multi("TOP %d 0" % number))
                drop = [role for role in session.roles() if role.name == "pop3d-maildrop"]
                self.assertLess(int(drop[0].status["VmHWM"].split()[0]),
                                (512 if common.SANITIZED else 16) << 10)
                session.quit()
                self.assertEqual(self.admin(site, "maildrop", "stat", "alice")[0], 0)
                session = site.login()
                session.expect("DELE %d" % number, "+OK...")
                session.quit()
                self.assertFalse(path.exists() and path.stat().st_size >= TERABYTE)


class State(Local):
    """What the owner of a maildrop may do in his state directory."""

    def in_the_way(self, site, name, make, file):
        victim = self.victims_file(site)
        before = victim.read_bytes()
        path = site.top / "state/alice" / file
        remove(path)
        try:
            make(path, victim)
        except OSError as error:
            if name == "sparse":
                return
            raise error
        site.own(path, site.users["alice"])
        if name == "second name":
            site.own(victim, site.users["victim"])
        self.look(site, ("+OK", "[SYS/"))
        self.admin(site, *(("lock", "show") if file == "lock" else ("maildrop", "check")), "alice")
        if file in ("index", "journal"):  # both can be made anew: the mail is what counts
            self.look(site, ("+OK",))
        self.assertEqual(victim.read_bytes(), before)
        self.assertFalse((victim.parent / "not-there").exists())
        if path.is_symlink():
            path.unlink()  # for the harness, which asks whether the lock is free
        elif not path.is_file():
            remove(path)

    def test_in_place_of_each_file(self):
        for kind in KINDS:
            site = self.open(kind, login_delay=1)
            site.login().quit()
            for name, make in self.each():
                # the others have nothing to do with the kind
                for file in STATE_FILES if kind == "mbox" else ("index", "lock"):
                    with self.subTest(kind=kind, name=name, file=file):
                        self.in_the_way(site, name, make, file)
                        if (site.top / "state/alice" / file).exists():
                            remove(site.top / "state/alice" / file)

    def test_edited_while_a_session_runs(self):
        """index, journal and lock are changed under a session: it harms only its own mail,
        and of that nothing that was not deleted."""
        def spoil(path):
            path.write_bytes(os.urandom(5000))

        def swapped(path):
            remove(path)
            spoil(path)

        edits = {"spoil": spoil, "swapped": swapped, "gone": remove,
                 "fifo": lambda path: (remove(path), os.mkfifo(path))}
        for kind in KINDS:
            for file in ("index", "journal", "lock") if kind == "mbox" else ("index", "lock"):
                for name, edit in edits.items():
                    with self.subTest(kind=kind, file=file, name=name):
                        site = self.open(kind)
                        site.login().quit()
                        session = site.login()
                        path = site.top / "state/alice" / file
                        edit(path)
                        if path.exists():
                            site.own(path, site.users["alice"])
                        self.assertEqual(self.everything(session), [wire(m) for m in MAIL])
                        session.expect("DELE 2", "+OK...")
                        answer = session.ask("QUIT")
                        session.ended(status=None)
                        kept = [wire(MAIL[0]), wire(MAIL[2])]
                        if not path.is_file():
                            remove(path)
                        after = site.login()
                        left = self.everything(after)
                        after.quit()
                        if answer.startswith(b"+OK"):
                            self.assertEqual(left, kept)
                        else:
                            self.assertIn(left, (kept, [wire(m) for m in MAIL]))

    def test_two_sessions_by_a_lock_taken_away(self):
        """Who removes his own lock file has two sessions, and still only what he deletes goes."""
        for kind in KINDS:
            with self.subTest(kind=kind):
                site = self.open(kind)
                first = site.login()
                site.lock_path().unlink()
                second = site.login()
                first.expect("DELE 1", "+OK...")
                second.expect("DELE 3", "+OK...")
                first.ask("QUIT")
                first.ended(status=None)
                second.ask("QUIT")
                second.ended(status=None)
                after = site.login()
                left = self.everything(after)
                after.quit()
                self.assertIn(wire(MAIL[1]), left)
                for message in left:
                    self.assertIn(message, [wire(m) for m in MAIL])


class Modes(Local):
    """What group or others may write is refused, and the reason is said."""

    def refused(self, site, code, reason):
        answer, session = self.attempt(site)
        self.assertIsNone(session, answer)
        self.assertTrue(answer.startswith("-ERR " + code), answer)
        self.assertIn(reason, site.log_text())

    def found(self, site, reason, *words):
        status, said = self.admin(site, *(words or ("config", "check")))
        self.assertNotEqual(status, 0)
        self.assertIn(reason, said)

    def test_users_file(self):
        for mode in (0o660, 0o602, 0o666):
            with self.subTest(mode=oct(mode)):
                site = self.open("mbox")
                (site.top / "etc/users").chmod(mode)
                self.refused(site, "[SYS/PERM]", "try: chmod go-w %s/etc/users" % site.top)
                self.found(site, "written by group or others")
                self.found(site, "chmod go-w", "user", "show", "alice")

    def test_directory_of_the_users_file(self):
        for mode in (0o775, 0o757, 0o777):
            with self.subTest(mode=oct(mode)):
                site = self.open("mbox")
                (site.top / "db").mkdir()
                shutil.copy2(site.top / "etc/users", site.top / "db/users")
                site.configure(users=site.top / "db/users")
                (site.top / "db").chmod(mode)
                self.refused(site, "[SYS/PERM]", "try: chmod go-w %s/db" % site.top)
                self.found(site, "chmod go-w %s/db" % site.top)
                self.found(site, "chmod go-w %s/db" % site.top, "user", "lock", "alice")
                (site.top / "db").chmod(0o1777)
                self.look(site, ("+OK",))

    def test_directory_of_the_configuration(self):
        site = self.open("mbox")
        (site.top / "etc").chmod(0o777)
        session = site.start()
        session.expect(None, "-ERR [SYS/PERM]...")
        session.ended(status=78)
        self.assertIn("chmod go-w %s/etc" % site.top, site.log_text())
        self.found(site, "chmod go-w %s/etc" % site.top)
        (site.top / "etc").chmod(0o755)

    def test_state_dir(self):
        for mode in (0o775, 0o1777, 0o777):
            with self.subTest(mode=oct(mode)):
                site = self.open("mbox")
                (site.top / "state").chmod(mode)
                self.refused(site, "[SYS/PERM]", "try: chmod go-w %s/state" % site.top)
                self.found(site, "written by group or others")
                self.found(site, "chmod go-w %s/state" % site.top, "maildrop", "stat", "alice")
                (site.top / "state").chmod(0o711)

    @unittest.skipUnless(AS_ROOT, "needs a second uid")
    def test_state_dir_of_a_user(self):
        site = self.open("mbox")
        os.chown(site.top / "state", 61060, 61060)
        self.refused(site, "[SYS/PERM]", "owned by uid 61060")
        os.chown(site.top / "state", 0, 0)

    def test_state_directory_of_the_maildrop(self):
        for mode in (0o750, 0o707, 0o755):
            with self.subTest(mode=oct(mode)):
                site = self.open("mbox")
                site.login().quit()
                (site.top / "state/alice").chmod(mode)
                self.refused(site, "[SYS/PERM]", "mend it with: chmod 700 alice")
                self.found(site, "chmod 700 alice", "maildrop", "stat", "alice")

    def test_secrets(self):
        """Without them passwords work, and what needs them is refused."""
        site = self.open("mbox", apop="yes")
        site.admin("user", "passwd", "--apop", "alice", stdin=PASSWORD.encode() + b"\n")
        (site.top / "etc/secrets").chmod(0o644)
        self.look(site, ("+OK",))
        self.found(site, "chmod 0600 %s/etc/secrets" % site.top)
        session = site.start()
        session.greeting()
        session.expect("APOP alice " + "0" * 32, "-ERR [SYS/PERM]...")
        session.close()
        session.wait(None)


@unittest.skipUnless(AS_ROOT, "root's rights are what is abused")
class RootsEyes(Local):
    """Root, told to read a file where a user can put links, reads none but his."""

    def test_import_of_a_planted_link(self):
        site = self.open("maildir")
        alice = site.users["alice"]
        secret = site.top / "etc/secret"
        secret.write_text("/2 1700000000 1\nsecret words\n")
        secret.chmod(0o600)
        home = site.top / "mail/home"
        home.mkdir()
        site.own(home, alice, 0o700)
        (home / "planted").symlink_to(secret)
        (home / "dir").symlink_to(secret.parent)
        os.link(secret, home / "named")
        for file in ("planted", "dir/secret", "named"):
            with self.subTest(file=file):
                status, said = self.admin(site, "uidl", "import", "alice", "--from", "courier",
                                          str(home / file))
                self.assertNotEqual(status, 0)
                self.assertIn("Permission denied", said)

    def test_import_of_the_users_own(self):
        """His own file is read, by a link, too, and root's by none."""
        site = self.open("maildir")
        alice = site.users["alice"]
        name = next(alice.path.glob("new/*")).name
        text = "/2 1700000000 1\n%s 1 UID-7\n" % name
        for place, owner in (("mail", alice), ("etc", None)):
            own = site.top / place / "list"
            own.write_text(text)
            own.chmod(0o600)
            if owner:
                site.own(own, owner)
        (site.top / "mail/link").symlink_to(site.top / "mail/list")
        for path in ("mail/list", "mail/link", "etc/list"):
            with self.subTest(path=path):
                status, said = self.admin(site, "uidl", "import", "alice", "--from", "courier",
                                          "--dry-run", str(site.top / path))
                self.assertNotIn("denied", said)

    def test_dotlock_through_a_link(self):
        """Root makes no dotlock where a link leads."""
        site = self.open("mbox")
        alice = site.users["alice"]
        box = site.top / "spool"
        box.mkdir()
        real = site.top / "real"
        real.mkdir()
        (box / "in").symlink_to(real)
        (real / "alice").write_bytes(common.mbox(MAIL))
        site.own(real / "alice", alice, 0o600)
        site.add_user("alice", path=box / "in/alice", uid=alice.uid)
        stop = threading.Event()
        seen = []

        def watch():
            while not stop.is_set():
                seen.extend(real.glob("*.lock"))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            self.look(site, ("+OK",))
            self.admin(site, "maildrop", "check", "alice")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(seen, [])

    def test_retired_state_directory(self):
        """`user del --purge` empties it as its owner: links in it lead nowhere."""
        site = self.open("mbox")
        site.login().quit()
        keep = site.top / "etc/keep"
        keep.mkdir()
        (keep / "file").touch()
        (site.top / "state/alice/keep").symlink_to(keep)
        (site.top / "state/alice/file").symlink_to(keep / "file")
        site.admin("user", "del", "--purge", "alice")
        self.assertTrue((keep / "file").exists())
        self.assertFalse(list((site.top / "state").glob("*alice*")))


if __name__ == "__main__":
    common.main()
