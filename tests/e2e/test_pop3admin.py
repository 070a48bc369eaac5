#!/usr/bin/env python3
"""pop3admin: every command, its JSON, its exit statuses, wrong usage, passwords
from a terminal, edits by many at once, and work as the maildrop's owner."""
import contextlib
import fcntl
import grp
import json
import os
import pathlib
import pty
import pwd
import re
import select
import shutil
import signal
import stat
import subprocess
import termios
import time
import unittest

import common
from common import ADMIN, AS_ROOT, ROOT, Case, simple_message, wire

PASSWORD = common.PASSWORD
USER_KEYS = ["name", "uid", "gid", "home", "maildrop", "locked", "mechanisms"]
SHOW_KEYS = ["nologin", "require_tls", "readonly", "show_after", "login_delay", "expire",
             "app_passwords", "not_usable"]
NEEDS_ROOT = unittest.skipUnless(AS_ROOT, "needs root")
NOT_ROOT = unittest.skipIf(AS_ROOT, "needs an ordinary user")


def run(*args, stdin=b"", **options):
    """pop3admin itself; (status, standard output, standard error)."""
    done = subprocess.run([str(ADMIN)] + [str(arg) for arg in args], input=stdin,
                          capture_output=True, timeout=common.WAIT, check=False, **options)
    return (done.returncode, done.stdout.decode("utf-8", "backslashreplace"),
            done.stderr.decode("utf-8", "backslashreplace"))


class AdminCase(Case):
    def admin(self, site, *args, status=0, stdin=b"", says=None, **options):
        """Run over a site, want this status; standard output."""
        got, out, err = run("-c", site.config, *args, stdin=stdin, **options)
        self.assertEqual(got, status, "%s: %s%s" % (args, out, err))
        if says:
            self.assertRegex(err, says)
        if status:
            self.assertTrue(err or status == 1, "%s says nothing" % (args,))
            for line in err.splitlines():
                self.assertRegex(line, r"^(pop3admin|usage): ")
        return out

    def json(self, site, *args, **options):
        return json.loads(self.admin(site, "-j", *args, **options))

    def users_file(self, site):
        return site.top / "etc/users"

    def ids(self, number=0):
        """A uid and gid that mail may belong to."""
        if AS_ROOT:
            return common.UID_FIRST + number, common.UID_FIRST + number
        return os.geteuid(), os.getegid()

    def add_args(self, number=0):
        uid, gid = self.ids(number)
        return ["--uid", uid, "--gid", gid]


class Usage(AdminCase):
    ROWS = [
        # arguments, what is said
        ([], "no command given"),
        (["user"], "user: which command\\?"),
        (["usr", "add"], "did you mean user\\?"),
        (["user", "ad", "x"], "did you mean user add\\?"),
        (["user", "vrify", "x"], "did you mean user verify\\?"),
        (["maildorp", "stat"], "did you mean maildrop\\?"),
        (["nonsense"], "--help lists them"),
        (["user", "nonsense"], "--help lists them"),
        (["user", "add"], "an argument is missing \\(NAME "),
        (["user", "add", "a", "b"], ".b.: behind the name write options as KEY=VALUE"),
        (["user", "list", "a"], "one argument too many"),
        (["user", "add", "a", "--ui", "5"], "did you mean --uid\\?"),
        (["user", "add", "a", "--scramble"], "--scramble: no such option"),
        (["user", "app", "make", "a", "b"], "give add, list or del"),
        (["user", "app", "add", "a"], "needs a NAME and a LABEL"),
        (["user", "app", "list", "a", "b"], "takes no label"),
        (["user", "add", "a", "--uid"], "its argument U is missing"),
        (["user", "add", "a", "--uid", "5", "--uid=6"], "given twice"),
        (["user", "del", "a", "--purge=x"], "takes no argument"),
        (["user", "list", "--uid", "5"], "--uid: no such option here"),
        (["--jsn", "user", "list"], "did you mean --json\\?"),
        (["-x"], "-x: no such option"),
        (["-c"], "its argument is missing"),
        (["user", "list", "--config"], "its argument is missing"),
        (["maildrop", "stat"], "one USER, or --all"),
        (["maildrop", "stat", "--all", "a"], "one USER, or --all"),
        (["uidl", "list"], "one USER, or --all"),
    ]

    def test_wrong_usage(self):
        site = self.site()
        for args, says in self.ROWS:
            with self.subTest(args=args):
                out = self.admin(site, *args, status=64, says=says)
                self.assertEqual(out, "")

    def test_help(self):
        status, out, err = run("--help")
        self.assertEqual((status, err), (0, ""))
        for group, command in commands():
            self.assertRegex(out, r"(?m)^  %s +%s " % (group, command))
            words = [word for word in (group, command) if word]
            status, one, err = run(*words, "--help")
            self.assertEqual((status, err), (0, ""))
            self.assertIn("usage: pop3admin " + " ".join(words), one)
            self.assertRegex(one, r"Example: pop3admin .*\b%s\b" % " ".join(words))

    def test_group_help(self):
        status, out, _ = run("lock", "-h")
        self.assertEqual(status, 0)
        self.assertIn("break", out)
        self.assertNotIn("passwd", out)

    def test_version(self):
        for option in ("-V", "--version"):
            status, out, _ = run(option)
            self.assertEqual(status, 0)
            self.assertRegex(out, r"^pop3admin \d")

    def test_dash_dash_ends_options(self):
        site = self.site()
        self.admin(site, "user", "add", *self.add_args(), "--", "-odd-", stdin=b"secret\n")
        self.assertEqual(self.json(site, "user", "show", "--", "-odd-")["name"], "-odd-")

    def test_full_device(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        site = self.site()
        site.add_user()
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([str(ADMIN), "-c", str(site.config), "user", "list"],
                                  stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 74)
        self.assertIn(b"standard output", done.stderr)

    def test_configuration_mistakes(self):
        site = self.site()
        self.admin(site, "-o", "idle_timout=5", "user", "list", status=78, says="idle_timout")
        self.admin(site, "-o", "idle_timeout=x", "user", "list", status=78, says="idle_timeout")
        self.admin(site, "-o", "nothing", "user", "list", status=78, says="KEY=VALUE")
        self.assertEqual(run("-c", site.top / "none", "user", "list")[0], 78)
        with open(site.config, "a", encoding="ascii") as file:
            file.write("colour = red\n")
        lines = len(site.config.read_text().splitlines())
        self.admin(site, "user", "list", status=78,
                   says=r"%s:%d\b.*colour" % (re.escape(str(site.config)), lines))

    def test_other_sources_of_users(self):
        site = self.site(users="system")
        self.admin(site, "user", "add", "zz", status=78, says="useradd")
        site.configure(users="checkpassword:/bin/true")
        self.admin(site, "user", "add", "zz", status=78, says="checkpassword")
        self.admin(site, "user", "list", status=78, says="checkpassword")


class Users(AdminCase):
    def test_add_show_list(self):
        site = self.site()
        uid, gid = self.ids()
        shown = self.json(site, "user", "add", "bob", "--uid", uid, "--gid", gid,
                          "--home", "/home/bob", stdin=b"secret\n")
        self.assertEqual(list(shown), USER_KEYS)
        self.assertEqual(shown, {
            "name": "bob", "uid": uid, "gid": gid, "home": "/home/bob",
            "maildrop": "mbox:%s/mail/bob" % site.top, "locked": False,
            "mechanisms": ["PLAIN", "LOGIN"]})
        whole = self.json(site, "user", "show", "bob")
        self.assertEqual(list(whole), USER_KEYS + SHOW_KEYS)
        self.assertEqual({key: whole[key] for key in USER_KEYS}, shown)
        self.admin(site, "user", "add", "alice", *self.add_args(1),
                   "--maildrop", "maildir:/srv/%u", stdin=b"other\n")
        listed = self.json(site, "user", "list")
        self.assertEqual([user["name"] for user in listed], ["alice", "bob"])
        self.assertEqual(listed[0]["maildrop"], "maildir:/srv/alice")
        self.assertEqual(listed[1], shown)
        text = self.admin(site, "user", "list").splitlines()
        self.assertEqual(text[0].split(), [key.upper() for key in USER_KEYS])
        self.assertEqual(len(text), 3)
        mode = stat.S_IMODE(self.users_file(site).stat().st_mode)
        self.assertEqual(mode, 0o600)

    def test_mechanisms_are_those_offered(self):
        site = self.site(auth_mechanisms="LOGIN")
        site.add_user()
        self.assertEqual(self.json(site, "user", "show", "alice")["mechanisms"], ["LOGIN"])

    def test_empty_list(self):
        site = self.site()
        self.assertEqual(self.json(site, "user", "list"), [])
        self.assertEqual(self.admin(site, "user", "list"), "")

    def test_first_user_makes_the_file(self):
        site = self.site()
        self.users_file(site).unlink()
        self.admin(site, "user", "list", status=74, says="no such file")
        self.admin(site, "user", "add", "bob", *self.add_args(), stdin=b"secret\n")
        self.assertEqual(self.users_file(site).stat().st_mode & 0o777, 0o600)
        self.admin(site, "user", "verify", "bob", stdin=b"secret\n")

    def test_directory_is_missing(self):
        site = self.site()
        site.configure(users=site.top / "none/users")
        self.admin(site, "user", "add", "bob", *self.add_args(), stdin=b"secret\n", status=73)

    def test_add_twice(self):
        site = self.site()
        site.add_user("bob")
        before = self.users_file(site).read_bytes()
        self.admin(site, "user", "add", "bob", *self.add_args(), stdin=b"x\n", status=73,
                   says="user passwd bob")
        self.assertEqual(self.users_file(site).read_bytes(), before)

    BAD_ADDS = [
        (["no:colon"], 65, ""), (["bad\nname"], 65, ""), ([""], 65, ""), (["."], 65, ""),
        (["x" * 256], 65, ""), (["has blank"], 65, ""),
        (["zz-no-such-account"], 67, "--uid and --gid"),
        (["z", "--uid", "zz-no-such"], 67, "zz-no-such"),
        (["z", "--uid", "61001", "--gid", "zz-no-such"], 67, "zz-no-such"),
        (["z", "--uid", "61999"], 67, "give --gid"),
        (["z", "--uid", "0", "--gid", "5"], 65, "root"),
        (["z", "--uid", "5", "--gid", "0"], 65, "root"),
        (["z", "--uid", "root"], 65, "root"),
        (["z", "--uid", "5", "--gid", "5", "--maildrop", "spool:/x"], 65, ""),
        (["z", "--uid", "5", "--gid", "5", "--maildrop", "mbox:relative"], 65, ""),
        (["z", "--uid", "5", "--gid", "5", "--maildrop", "mbox:/a b"], 65, ""),
        (["z", "--uid", "5", "--gid", "5", "--home", "relative"], 65, "absolute"),
        (["z", "--uid", "5", "--gid", "5", "--home", "/x:y"], 65, ""),
        (["z", "--uid", "4294967296", "--gid", "5"], 65, ""),
        (["z", "--uid", "-1", "--gid", "5"], 65, ""),
    ]

    def test_bad_adds(self):
        site = self.site()
        before = self.users_file(site).read_bytes()
        for args, status, says in self.BAD_ADDS:
            with self.subTest(args=args):
                self.admin(site, "user", "add", *args, stdin=b"secret\n", status=status,
                           says=says)
                self.assertEqual(self.users_file(site).read_bytes(), before)

    def test_system_account(self):
        site = self.site()
        for account in pwd.getpwall():
            if account.pw_uid and account.pw_gid and re.fullmatch("[a-z]+", account.pw_name):
                break
        else:
            self.skipTest("no account but root")
        shown = self.json(site, "user", "add", account.pw_name, stdin=b"secret\n")
        self.assertEqual((shown["uid"], shown["gid"], shown["home"]),
                         (account.pw_uid, account.pw_gid, account.pw_dir))
        shown = self.json(site, "user", "add", "other", "--uid", account.pw_name,
                          stdin=b"secret\n")
        self.assertEqual((shown["uid"], shown["gid"], shown["home"]),
                         (account.pw_uid, account.pw_gid, ""))

    def test_passwd_and_verify(self):
        site = self.site()
        site.add_user()
        self.admin(site, "user", "verify", "alice", stdin=PASSWORD.encode() + b"\n")
        self.assertEqual(self.json(site, "user", "verify", "alice", stdin=b"no\n", status=1),
                         {"name": "alice", "verified": False})
        self.admin(site, "user", "passwd", "alice", stdin=b"n\xc3\xa9w: \xff\n")
        self.assertEqual(self.json(site, "user", "verify", "alice",
                                   stdin=b"n\xc3\xa9w: \xff\n"),
                         {"name": "alice", "verified": True})
        self.admin(site, "user", "verify", "alice", stdin=PASSWORD.encode(), status=1,
                   says="wrong password")
        self.admin(site, "user", "passwd", "nobody-here", stdin=b"x\n", status=67)
        self.admin(site, "user", "verify", "nobody-here", stdin=b"x\n", status=67)
        self.admin(site, "user", "show", "nobody-here", status=67, says="user list")

    def test_hash_is_a_strong_one(self):
        site = self.site()
        self.admin(site, "user", "add", "bob", *self.add_args(), stdin=b"secret\n")
        field = self.users_file(site).read_text().split(":")[1]
        self.assertRegex(field, r"^(\{CRYPT\})?\$(y|7|gy|2b|6)\$")
        self.assertNotIn("secret", self.users_file(site).read_text())

    BAD_PASSWORDS = [(b"", 65, "nothing on standard input"), (b"\n", 65, "empty"),
                     (b"a\rb\n", 65, "CR"), (b"a\r\n", 65, "CR"), (b"a\0b\n", 65, "NUL"),
                     (b"x" * 256 + b"\n", 65, "longer")]

    def test_bad_passwords(self):
        site = self.site()
        site.add_user()
        before = self.users_file(site).read_bytes()
        for text, status, says in self.BAD_PASSWORDS:
            with self.subTest(text=text[:10]):
                self.admin(site, "user", "passwd", "alice", stdin=text, status=status, says=says)
                self.assertEqual(self.users_file(site).read_bytes(), before)
        self.admin(site, "user", "passwd", "alice", stdin=b"x" * 255)
        self.admin(site, "user", "verify", "alice", stdin=b"x" * 255 + b"\nmore\n")

    def test_lock_and_unlock(self):
        site = self.site()
        site.add_user()
        for _ in range(2):
            self.assertTrue(self.json(site, "user", "lock", "alice")["locked"])
            self.admin(site, "user", "verify", "alice", stdin=PASSWORD.encode(), status=1,
                       says="locked")
        self.assertIn(":!", self.users_file(site).read_text())
        self.admin(site, "user", "passwd", "alice", stdin=b"later\n", says="still locked")
        self.assertFalse(self.json(site, "user", "unlock", "alice")["locked"])
        self.admin(site, "user", "verify", "alice", stdin=b"later\n")
        self.admin(site, "user", "lock", "zz", status=67)
        self.admin(site, "user", "unlock", "zz", status=67)

    def test_del(self):
        site = self.site()
        site.add_user("alice", messages=[simple_message(1)])
        site.add_user("bob", messages=[])
        self.admin(site, "maildrop", "stat", "--all")
        self.assertTrue((site.top / "state/alice").is_dir())
        self.assertEqual(list(self.json(site, "user", "del", "alice")), USER_KEYS)
        self.admin(site, "user", "del", "alice", status=67)
        self.assertTrue(site.users["alice"].path.exists(), "the mail stays")
        left = sorted(path.name for path in (site.top / "state").iterdir())
        self.assertTrue([name for name in left if re.fullmatch(r"\.old-alice-\d+", name)], left)
        self.assertNotIn("alice", left)
        self.admin(site, "user", "del", "bob", "--purge")
        left = sorted(path.name for path in (site.top / "state").iterdir())
        self.assertFalse([name for name in left if "bob" in name], left)

    def test_del_leaves_what_is_shared(self):
        site = self.site()
        first = site.add_user("alice", messages=[simple_message(1)])
        site.add_user("bob", uid=first.uid, path=first.path)
        self.admin(site, "maildrop", "stat", "alice")
        self.admin(site, "user", "del", "alice", says="bob has the same maildrop")
        self.assertTrue((site.top / "state/alice").is_dir())
        self.assertEqual(self.json(site, "maildrop", "stat", "bob")["messages"], 1)

    def test_owner_mode_and_comments_are_kept(self):
        site = self.site()
        site.add_user("mallory")
        path = self.users_file(site)
        path.write_text("# by hand\nbroken line\n" + path.read_text())
        path.chmod(0o640)
        if AS_ROOT:
            os.chown(path, 0, 61050)
        before = path.stat()
        self.admin(site, "user", "add", "bob", *self.add_args(), stdin=b"secret\n")
        after = path.stat()
        self.assertNotEqual(before.st_ino, after.st_ino)
        self.assertEqual((before.st_uid, before.st_gid, before.st_mode),
                         (after.st_uid, after.st_gid, after.st_mode))
        lines = path.read_text().splitlines()
        self.assertIn("# by hand", lines)
        self.assertIn("broken line", lines)
        names = [line.split(":")[0] for line in lines if line.count(":") >= 6]
        self.assertEqual(names, ["bob", "mallory"])
        left = [p.name for p in path.parent.iterdir()
                if p.name not in ("users", "users.lock", "pop3d.conf")]
        self.assertEqual(left, [])

    def test_many_writers(self):
        site = self.site()
        site.add_user("zoe")
        names = ["u%02d" % number for number in range(12)]
        running = []
        for name in names:
            argv = [str(ADMIN), "-c", str(site.config), "user", "add", name]
            argv += [str(arg) for arg in self.add_args()]
            child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            child.stdin.write(b"secret\n")
            child.stdin.close()
            running.append(child)
        while any(child.poll() is None for child in running):
            # whoever reads meanwhile always sees a whole file
            seen = self.json(site, "user", "list")
            self.assertIn("zoe", [user["name"] for user in seen])
        self.assertEqual([child.wait() for child in running], [0] * len(names))
        self.assertEqual([user["name"] for user in self.json(site, "user", "list")],
                         names + ["zoe"])

    def test_file_that_others_may_write(self):
        site = self.site()
        site.add_user()
        self.users_file(site).chmod(0o660)
        self.admin(site, "user", "show", "alice", status=77)
        self.admin(site, "user", "lock", "alice", status=77)

    def test_json_of_odd_octets(self):
        site = self.site()
        path = self.users_file(site)
        uid, gid = self.ids()
        path.write_bytes(b"j\xf6rg\\\"x:$5$x$y:%d:%d::/h\xc3\xb6me::\n" % (uid, gid))
        done = subprocess.run([str(ADMIN), "-c", str(site.config), "-j", "user", "list"],
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        user = json.loads(done.stdout.decode("utf-8"))[0]
        self.assertEqual(user["name"], "j\ufffdrg\\\"x")
        self.assertEqual(user["home"], "/h\u00f6me")
        text = self.admin(site, "user", "list")
        self.assertIn("j?rg", text)

    def test_bad_lines_are_told(self):
        site = self.site()
        site.add_user()
        path = self.users_file(site)
        path.write_text(path.read_text() + "rubbish\n")
        self.admin(site, "user", "list", says=r"users:2: ")

    @NOT_ROOT
    def test_not_permitted(self):
        site = self.site()
        site.configure(users="/etc/passwd")
        self.admin(site, "user", "lock", "daemon", status=77)


class Import(AdminCase):
    def import_text(self, site, text, **options):
        path = site.top / "new-users"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.admin(site, "-j", "user", "import", path, **options)

    def test_import(self):
        site = self.site()
        site.add_user("mike")
        uid, gid = self.ids()
        secret = common.make_hash("secret")
        text = ("# old server\n\nzack:{SHA256-CRYPT}%s:%d:%d::/home/z::\r\n"
                "anna:%s:%d:%d:Anna:/home/a:/bin/sh:maildrop=maildir:/srv/anna\n"
                "lock:!%s:%d:%d::::" % (secret, uid, gid, secret, uid, gid, secret, uid, gid))
        self.assertEqual(json.loads(self.import_text(site, text)), {"imported": 3})
        users = {user["name"]: user for user in self.json(site, "user", "list")}
        self.assertEqual(list(users), ["anna", "lock", "mike", "zack"])
        self.assertEqual(users["anna"]["maildrop"], "maildir:/srv/anna")
        self.assertTrue(users["lock"]["locked"])
        self.admin(site, "user", "verify", "zack", stdin=b"secret\n")

    def test_names_become_numbers(self):
        site = self.site()
        account = [one for one in pwd.getpwall() if one.pw_uid and one.pw_gid][0]
        group = [one for one in grp.getgrall() if one.gr_gid][0]
        self.import_text(site, "a:x:%s:%s::::\n%s:x::::::\n" % (
            account.pw_name, group.gr_name, account.pw_name))
        users = {user["name"]: user for user in self.json(site, "user", "list")}
        self.assertEqual((users["a"]["uid"], users["a"]["gid"]),
                         (account.pw_uid, group.gr_gid))
        self.assertEqual(users[account.pw_name]["uid"], account.pw_uid)

    def test_all_or_none(self):
        site = self.site()
        site.add_user("mike")
        before = self.users_file(site).read_bytes()
        for bad, says in (("rubbish", r"new-users:3: "), ("x:y:0:0::::", r":3: .*root"),
                          ("mike:x:5:5::::", r":3: .*already"),
                          ("good:x:5:5::::", r":3: .*twice"),
                          ("w:x:zz-none:5::::", r":3: .*zz-none"),
                          ("w:x:5:5:::: maildrop=tape:/x", r":3: "),
                          ("zz-none:x::::::", r":3: ")):
            with self.subTest(bad=bad):
                self.import_text(site, "good:x:5:5::::\n\n%s\n" % bad, status=65, says=says)
                self.assertEqual(self.users_file(site).read_bytes(), before)

    def test_names_that_begin_alike(self):
        site = self.site()
        names = ["ab", "a", "a-b", "a.b", "ab0", "a@b", "A", "a~"]
        self.import_text(site, "".join("%s:x:5:5::::\n" % name for name in names))
        listed = [user["name"] for user in self.json(site, "user", "list")]
        self.assertEqual(sorted(listed), sorted(names))
        for name in names:
            self.import_text(site, "b:x:5:5::::\n%s:x:5:5::::\n" % name, status=65,
                             says=":2: %s: is among the users already" % re.escape(name))

    def test_no_file(self):
        site = self.site()
        self.admin(site, "user", "import", site.top / "none", status=74, says="none")
        self.admin(site, "user", "import", site.top, status=65)

    def test_empty_file(self):
        site = self.site()
        self.assertEqual(json.loads(self.import_text(site, "")), {"imported": 0})


class Terminal(AdminCase):
    """The password on a terminal of its own."""

    def start(self, site, *args):
        master, slave = pty.openpty()
        child = subprocess.Popen([str(ADMIN), "-c", str(site.config)] + list(args), stdin=slave,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 preexec_fn=lambda: self.take(slave), start_new_session=True)
        os.close(slave)
        self.addCleanup(self.end, child, master)
        return child, master

    @staticmethod
    def take(slave):
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    @staticmethod
    def end(child, master):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        child.stderr.close()
        os.close(master)

    def read_until(self, master, text):
        seen = b""
        end = time.monotonic() + common.WAIT
        while text not in seen:
            ready = select.select([master], [], [], max(end - time.monotonic(), 0))[0]
            self.assertTrue(ready, "no %r on the terminal, only %r" % (text, seen))
            try:
                seen += os.read(master, 1024)
            except OSError:  # the last one closed it
                self.fail("no %r on the terminal, only %r" % (text, seen))
        return seen

    def echo(self, master):
        return bool(termios.tcgetattr(master)[3] & termios.ECHO)

    def test_twice_and_without_echo(self):
        site = self.site()
        site.add_user()
        child, master = self.start(site, "user", "passwd", "alice")
        seen = self.read_until(master, b"New password for alice: ")
        self.assertFalse(self.echo(master))
        os.write(master, b"opensesame\n")
        seen += self.read_until(master, b"Once more, for alice: ")
        os.write(master, b"opensesame\n")
        self.assertEqual(child.wait(common.WAIT), 0)
        with contextlib.suppress(OSError):
            seen += os.read(master, 1024)
        self.assertNotIn(b"opensesame", seen)
        self.assertTrue(self.echo(master))
        self.admin(site, "user", "verify", "alice", stdin=b"opensesame\n")

    def test_two_that_differ(self):
        site = self.site()
        site.add_user()
        before = self.users_file(site).read_bytes()
        child, master = self.start(site, "user", "passwd", "alice")
        self.read_until(master, b"alice: ")
        os.write(master, b"one\n")
        self.read_until(master, b"alice: ")
        os.write(master, b"two\n")
        self.assertEqual(child.wait(common.WAIT), 65)
        self.assertIn(b"differ", child.stderr.read())
        self.assertEqual(self.users_file(site).read_bytes(), before)

    def test_verify_asks_once(self):
        site = self.site()
        site.add_user()
        child, master = self.start(site, "user", "verify", "alice")
        self.read_until(master, b"Password for alice: ")
        os.write(master, PASSWORD.encode() + b"\n")
        self.assertEqual(child.wait(common.WAIT), 0)

    def test_interrupt_restores_the_terminal(self):
        site = self.site()
        site.add_user()
        before = self.users_file(site).read_bytes()
        for number in (signal.SIGINT, signal.SIGTERM):
            child, master = self.start(site, "user", "passwd", "alice")
            self.read_until(master, b"alice: ")
            self.assertFalse(self.echo(master))
            if number == signal.SIGINT:
                os.write(master, b"\x03")  # Ctrl-C
            else:
                child.send_signal(number)
            self.assertEqual(child.wait(common.WAIT), -number)
            self.assertTrue(self.echo(master))
        self.assertEqual(self.users_file(site).read_bytes(), before)

    def test_progress_only_on_a_terminal(self):
        site = self.site()
        site.add_user(messages=[simple_message(1)])
        master, slave = pty.openpty()
        done = subprocess.run([str(ADMIN), "-c", str(site.config), "maildrop", "stat", "--all"],
                              stdout=subprocess.PIPE, stderr=slave, check=False,
                              timeout=common.WAIT)
        os.close(slave)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"1 users done", os.read(master, 4096))
        os.close(master)
        self.assertEqual(run("-c", site.config, "maildrop", "stat", "--all")[2], "")


class Maildrops(AdminCase):
    MESSAGES = [simple_message(1), simple_message(2, 5000), b"Subject: dots\n\n.\n..x\nend",
                b"Subject: crlf\r\n\r\nbody\r\n"]

    def octets(self):
        return [len(wire(message)) for message in self.MESSAGES]

    def test_stat_and_list(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                site.add_user(kind=kind, messages=self.MESSAGES)
                self.assertEqual(self.json(site, "maildrop", "stat", "alice"),
                                 {"user": "alice", "messages": 4, "octets": sum(self.octets())})
                listed = self.json(site, "maildrop", "list", "alice")
                self.assertEqual([list(one) for one in listed], [["msgno", "octets", "uidl"]] * 4)
                self.assertEqual([one["octets"] for one in listed], self.octets())
                self.assertEqual([one["msgno"] for one in listed], [1, 2, 3, 4])
                self.assertEqual(len({one["uidl"] for one in listed}), 4)
                self.assertEqual(self.json(site, "uidl", "list", "alice"), listed)
                text = self.admin(site, "uidl", "list", "alice").splitlines()
                self.assertEqual(text[0].split(), ["MSGNO", "OCTETS", "UIDL"])
                self.assertEqual(text[1].split()[2], listed[0]["uidl"])

    def test_all(self):
        site = self.site()
        site.add_user("alice", messages=self.MESSAGES)
        site.add_user("bob", kind="maildir", messages=self.MESSAGES[:2])
        site.add_user("carol")
        self.assertEqual([(one["user"], one["messages"])
                          for one in self.json(site, "maildrop", "stat", "--all")],
                         [("alice", 4), ("bob", 2), ("carol", 0)])
        listed = self.json(site, "maildrop", "list", "--all")
        self.assertEqual([list(one) for one in listed],
                         [["user", "msgno", "octets", "uidl"]] * 6)
        self.assertEqual([one["user"] for one in self.json(site, "uidl", "list", "--all")],
                         ["alice"] * 4 + ["bob"] * 2)
        self.assertEqual([(one["user"], one["ok"], one["findings"])
                          for one in self.json(site, "maildrop", "check", "--all")],
                         [("alice", True, []), ("bob", True, []), ("carol", True, [])])

    def test_all_goes_on(self):
        site = self.site()
        site.add_user("alice", messages=self.MESSAGES)
        site.add_user("bob", path="/dev/null")
        site.add_user("carol", messages=self.MESSAGES)
        status, out, err = run("-c", site.config, "-j", "maildrop", "stat", "--all")
        self.assertEqual(status, 77)
        self.assertEqual([one["user"] for one in json.loads(out)], ["alice", "carol"])
        self.assertIn("bob: ", err)
        status, out, err = run("-c", site.config, "-j", "maildrop", "check", "--all")
        self.assertEqual(status, 1)
        self.assertEqual([one["ok"] for one in json.loads(out)], [True, False, True])

    def test_check_changes_nothing(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                user = site.add_user(kind=kind, messages=self.MESSAGES)
                before = site.content(user)
                self.assertIs(self.json(site, "maildrop", "check", "alice")["ok"], True)
                self.assertEqual(site.content(user), before)

    def test_check_of_what_is_broken(self):
        site = self.site()
        user = site.add_user(messages=self.MESSAGES)
        for make in (lambda path: os.mkfifo(path), lambda path: path.mkdir(),
                     lambda path: path.symlink_to("/etc/hostname")):
            with contextlib.suppress(IsADirectoryError):
                user.path.unlink()
            make(user.path)
            found = self.json(site, "maildrop", "check", "alice", status=1)
            self.assertIs(found["ok"], False)
            self.assertIn(str(user.path), found["findings"][0])
            self.admin(site, "maildrop", "stat", "alice", status=77, says=re.escape(str(user.path)))
            user.path.rmdir() if user.path.is_dir() and not user.path.is_symlink() else None
            if not user.path.exists() and not user.path.is_symlink():
                user.path.touch()

    def test_wrong_users(self):
        site = self.site()
        self.admin(site, "maildrop", "stat", "nobody", status=67)
        site.lines["rooty"] = "rooty:x:0:0::::"
        site.lines["empty"] = "empty:x::::::"
        site.write_users()
        self.admin(site, "maildrop", "stat", "rooty", status=77, says="root")
        self.admin(site, "maildrop", "stat", "empty", status=78, says="numbers")
        site.add_user(messages=[])
        site.configure(state_dir=site.top / "none")
        self.admin(site, "maildrop", "stat", "alice", status=78, says="install -d")

    @NEEDS_ROOT
    def test_server_uid_is_refused(self):
        site = self.site()
        site.add_user(uid=common.UID_SESSION, messages=[])
        self.admin(site, "maildrop", "stat", "alice", status=77, says="server's own")

    @NOT_ROOT
    def test_foreign_owner(self):
        site = self.site()
        site.add_user(uid=os.geteuid() + 1)
        self.admin(site, "maildrop", "stat", "alice", status=77, says="run this as root")

    def test_busy(self):
        site = self.site()
        site.add_user(messages=self.MESSAGES)
        self.admin(site, "maildrop", "stat", "alice")
        holder = Holder(site)
        self.addCleanup(holder.close)
        for args in (["maildrop", "stat"], ["maildrop", "check"], ["uidl", "list"]):
            self.admin(site, *args, "alice", status=75, says="lock show alice")
        self.admin(site, "user", "del", "alice", status=75, says="lock break alice")
        holder.close()
        self.admin(site, "maildrop", "stat", "alice")

    @NEEDS_ROOT
    def test_work_is_done_as_the_owner(self):
        """Root's capabilities are gone: a directory that is only the owner's can be read on a
        file system that squashes root no worse, and a mailbox the owner may not read cannot."""
        site = self.site()
        user = site.add_user(messages=self.MESSAGES)
        self.admin(site, "maildrop", "stat", "alice")
        (site.top / "mail").chmod(0o755)
        user.path.chmod(0o000)
        self.admin(site, "maildrop", "stat", "alice", status=77)
        user.path.chmod(0o600)
        private = site.top / "mail/private"
        private.mkdir(mode=0o700)
        site.own(private, user, 0o700)
        bob = site.add_user("bob", uid=user.uid, path=private / "box", messages=self.MESSAGES)
        self.assertEqual(self.json(site, "maildrop", "stat", "bob")["messages"], 4)
        site.own(private, site.add_user("carol"), 0o700)
        self.admin(site, "maildrop", "stat", "bob", status=77)
        self.assertTrue(bob.path.exists())

    @NEEDS_ROOT
    def test_who_opens_the_mail(self):
        """No process with root's uid ever opens the mailbox."""
        if not shutil.which("strace"):
            self.skipTest("no strace")
        if common.SANITIZED:
            self.skipTest("the leak check does not work under strace")
        site = self.site()
        user = site.add_user(messages=self.MESSAGES)
        trace = site.top / "trace"
        subprocess.run(["strace", "-f", "-o", str(trace), "-e",
                        "trace=open,openat,openat2,setresuid,setuid,setgroups,setresgid",
                        str(ADMIN), "-c", str(site.config), "maildrop", "check", "alice"],
                       stdout=subprocess.DEVNULL, check=True, timeout=common.WAIT)
        dropped, opened = set(), 0
        for line in trace.read_text().splitlines():
            pid, _, call = line.partition(" ")
            if re.match(r" *setresuid\(%d, %d, %d\) += 0" % ((user.uid,) * 3), call):
                dropped.add(pid)
            if '"%s"' % user.path in call:
                self.assertIn(pid, dropped, line)
                opened += 1
        self.assertGreater(opened, 0)
        self.assertIn("setgroups(0, ", trace.read_text())

    @NEEDS_ROOT
    def test_dotlock_in_a_directory_of_root(self):
        """Where the owner may not write, the parent makes the dotlock and removes it."""
        site = self.site()
        parent = pathlib.Path("/var/mail")
        if not parent.is_dir() or parent.is_symlink() or parent.stat().st_uid != 0:
            self.skipTest("no /var/mail that is root's")
        path = parent / ("pop3d-test-%d" % os.getpid())
        user = site.add_user(path=path)
        self.addCleanup(path.unlink)
        site.fill(user, self.MESSAGES)
        lock = path.with_name(path.name + ".lock")
        self.assertEqual(self.json(site, "maildrop", "stat", "alice")["messages"], 4)
        self.assertFalse(lock.exists())
        lock.touch()
        self.addCleanup(lambda: lock.exists() and lock.unlink())
        if not shutil.which("strace"):
            return
        self.admin(site, "maildrop", "stat", "alice", status=75)
        self.assertTrue(lock.exists())


class Holder:
    """Another process that holds the session lock as its owner, and is not pop3d."""

    def __init__(self, site, name="alice"):
        user = site.users[name]
        self.to_child, to_us = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.to_child[1])
                if AS_ROOT:
                    os.setgroups([])
                    os.setresgid(user.uid, user.uid, user.uid)
                    os.setresuid(user.uid, user.uid, user.uid)
                fd = os.open(site.lock_path(name), os.O_RDWR)
                fcntl.lockf(fd, fcntl.LOCK_EX)
                os.write(to_us[1], b"held")
                os.read(self.to_child[0], 1)
            finally:
                os._exit(0)
        os.close(to_us[1])
        os.close(self.to_child[0])
        assert os.read(to_us[0], 4) == b"held"
        os.close(to_us[0])

    def close(self):
        if self.pid:
            os.close(self.to_child[1])
            os.waitpid(self.pid, 0)
        self.pid = 0


class Locks(AdminCase):
    def test_free(self):
        site = self.site()
        site.add_user(messages=[])
        nothing = {"user": "alice", "held": False, "pid": None, "since": None, "address": None}
        self.assertEqual(self.json(site, "lock", "show", "alice"), nothing)
        self.admin(site, "lock", "break", "alice", status=1, says="nothing to break")
        self.admin(site, "maildrop", "stat", "alice")
        self.assertEqual(self.json(site, "lock", "show", "alice"), nothing)
        self.admin(site, "lock", "break", "alice", status=1)
        self.admin(site, "lock", "show", "nobody", status=67)
        self.admin(site, "lock", "break", "nobody", status=67)

    def test_not_pop3d(self):
        site = self.site()
        site.add_user(messages=[])
        self.admin(site, "maildrop", "stat", "alice")
        holder = Holder(site)
        self.addCleanup(holder.close)
        shown = self.json(site, "lock", "show", "alice")
        self.assertEqual((shown["held"], shown["pid"]), (True, holder.pid))
        self.admin(site, "lock", "break", "alice", status=77, says="is not pop3d")
        self.assertTrue(common.alive(holder.pid))

    def test_hostile_record(self):
        """What the lock file says is its owner's word: shown with care, never obeyed."""
        site = self.site()
        site.add_user(messages=[])
        self.admin(site, "maildrop", "stat", "alice")
        for text in (b"\x1b[2J\xff" * 100, b"", b"\0" * 10, b"x" * 100000,
                     b"pid=1 start=1 boot=x host=\x1b[31m address=\x1b[0m since=1\n"):
            site.lock_path().write_bytes(text)
            holder = Holder(site)
            try:
                status, out, _ = run("-c", site.config, "lock", "show", "alice")
                self.assertEqual(status, 0)
                self.assertNotIn("\x1b", out)
                shown = self.json(site, "lock", "show", "alice")
                self.assertEqual(shown["pid"], holder.pid)
            finally:
                holder.close()

    def session(self, site):
        if not common.POP3D.exists():
            self.skipTest("no pop3d")
        return site.login()

    def test_show_and_break_a_session(self):
        for kind in ("mbox", "maildir"):
            with self.subTest(kind=kind):
                site = self.site()
                user = site.add_user(kind=kind, messages=[simple_message(1), simple_message(2)])
                before = site.content(user)
                session = self.session(site)
                session.expect("DELE 1", "+OK...")
                shown = self.json(site, "lock", "show", "alice")
                self.assertEqual(list(shown), ["user", "held", "pid", "since", "address"])
                self.assertIs(shown["held"], True)
                self.assertIn(shown["pid"], [role.pid for role in session.roles()])
                self.assertRegex(shown["since"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
                broken = self.json(site, "lock", "break", "alice")
                self.assertEqual((broken["held"], broken["pid"]), (False, shown["pid"]))
                common.poll("the session ends", lambda: session.process.poll() is not None)
                self.assertEqual(site.content(user), before)
                self.admin(site, "lock", "break", "alice", status=1)
                self.assertEqual(self.json(site, "maildrop", "stat", "alice")["messages"], 2)

    def test_del_during_a_session(self):
        site = self.site()
        site.add_user(messages=[])
        session = self.session(site)
        self.admin(site, "user", "del", "alice", status=75, says="lock break alice")
        session.quit()
        self.admin(site, "user", "del", "alice")


class Configuration(AdminCase):
    def test_good(self):
        site = self.site()
        site.add_user()
        self.assertEqual(self.json(site, "config", "check"), [])
        self.assertEqual(self.admin(site, "config", "check"), "")

    def test_mistake(self):
        site = self.site()
        found = json.loads(run("-c", site.config, "-j", "-o", "apop=perhaps", "config",
                               "check")[1])
        self.assertIn("apop", found[0]["text"])
        self.admin(site, "-o", "apop=perhaps", "config", "check", status=78, says="apop")
        self.admin(site, "-o", "colour=red", "config", "check", status=78, says="colour")

    def findings(self, site, *args):
        found = self.json(site, *args, "config", "check", status=1)
        for one in found:
            self.assertEqual(list(one), ["where", "text", "mend"])
            self.assertTrue(one["mend"])
        lines = self.admin(site, *args, "config", "check", status=1).splitlines()
        self.assertEqual(len(lines), len(found))
        return found

    def expect_finding(self, site, where, pattern, *args):
        found = self.findings(site, *args)
        self.assertEqual(len(found), 1, found)
        self.assertEqual(found[0]["where"], str(where))
        self.assertRegex(found[0]["text"], pattern)

    def test_values(self):
        site = self.site()
        self.expect_finding(site, "idle_timeout", "600", "-o", "idle_timeout=599")
        self.expect_finding(site, "mbox_locks", "dotlock", "-o", "mbox_locks=fcntl")
        self.admin(site, "-o", "idle_timeout=600", "config", "check")

    def test_state_dir(self):
        site = self.site()
        self.expect_finding(site, "state_dir", "No such file",
                            "-o", "state_dir=%s/none" % site.top)
        self.expect_finding(site, "state_dir", "no directory",
                            "-o", "state_dir=%s" % self.users_file(site))
        (site.top / "state").chmod(0o777)
        self.expect_finding(site, "state_dir", "written by group or others")

    def test_helper_dir(self):
        site = self.site()
        self.expect_finding(site, "helper_dir", "pop3d-digest", "-o", "helper_dir=/nonexistent")

    def test_login(self):
        """What the ways to log in need is there."""
        site = self.site()
        self.expect_finding(site, "users", "/nonexistent", "-o", "users=checkpassword:/nonexistent x")
        self.expect_finding(site, "auth_mechanisms", "EXTERNAL", "-o",
                            "auth_mechanisms=PLAIN EXTERNAL")
        away = site.top / "secrets"
        away.touch(0o600)
        self.expect_finding(site, "password_upgrade", "two directories", "-o",
                            "password_upgrade=yes", "-o", "secrets=%s" % away)
        (site.top / "etc/secrets").touch(0o600)
        (site.top / "libexec/pop3d-auth").unlink()
        self.expect_finding(site, "helper_dir", "pop3d-auth")

    @NEEDS_ROOT
    def test_accounts(self):
        site = self.site()
        self.expect_finding(site, "unprivileged_user", "zz-none", "-o",
                            "unprivileged_user=zz-none")
        self.expect_finding(site, "unprivileged_user", "root", "-o", "unprivileged_user=root")

    def test_users_file(self):
        site = self.site()
        path = self.users_file(site)
        path.chmod(0o620)
        self.expect_finding(site, "users", "group or others")
        path.chmod(0o644)
        self.expect_finding(site, "users", "hashes")
        path.unlink()
        self.expect_finding(site, "users", "No such file")
        path.mkdir()
        self.expect_finding(site, "users", "no regular file")
        path.rmdir()

    ENTRIES = [("u:$5$a$b:5:5::::", None), ("u:$5$a$b:::::", "no login works"),
               ("u:$5$a$b:mail:mail::::", "no login works"), ("u:$5$a$b:0:5::::", "root"),
               ("u:$5$a$b:5:0::::", "root"), ("u::5:5::::", "no password"),
               ("u:!:5:5::::", None), ("u::5:5:::: nologin", None),
               ("u:$5$a$b:5:5::::maildrop=mbox:%h/x", "home")]

    def test_entries(self):
        for line, pattern in self.ENTRIES:
            with self.subTest(line=line):
                site = self.site()
                site.lines["u"] = line
                site.write_users()
                if pattern:
                    self.expect_finding(site, self.users_file(site), pattern)
                else:
                    self.admin(site, "config", "check")

    def test_malformed_line(self):
        site = self.site()
        site.lines["u"] = "rubbish"
        site.write_users()
        self.expect_finding(site, "%s:1" % self.users_file(site), ".")

    def test_twice(self):
        site = self.site()
        path = self.users_file(site)
        path.write_text("u:$5$a$b:5:5::::\nu:$5$a$b:5:5::::\n")
        self.expect_finding(site, path, "twice")

    def test_shared_maildrops(self):
        site = self.site()
        path = self.users_file(site)
        path.write_text("a:$5$a$b:5:5::::maildrop=mbox:/x/y\n"
                        "b:$5$a$b:5:5::::maildrop=mbox:/x//y\n")
        self.admin(site, "config", "check")
        path.write_text("a:$5$a$b:5:5::::maildrop=mbox:/x/y\n"
                        "b:$5$a$b:6:5::::maildrop=mbox:/x/./y\n")
        self.expect_finding(site, path, "another uid")

    def test_show(self):
        site = self.site(idle_timeout=700, auth_failure_delay="0.25")
        shown = self.json(site, "config", "show")
        self.assertEqual(shown["idle_timeout"], 700)
        self.assertEqual(shown["auth_failure_delay"], 0.25)
        self.assertIs(shown["apop"], False)
        self.assertEqual(shown["mbox_locks"], ["dotlock", "fcntl"])
        self.assertEqual(shown["users"], str(self.users_file(site)))
        text = self.admin(site, "-o", "apop=yes", "config", "show")
        self.assertIn("\napop = yes\n", text)
        copy = site.top / "copy.conf"
        copy.write_text(text)
        self.assertEqual(json.loads(run("-c", copy, "-j", "config", "show")[1]),
                         dict(shown, apop=True))


def commands():
    """The table in the program's source."""
    text = (ROOT / "pop3admin/main.c").read_text()
    table = text[text.index("const struct command commands[]"):text.index("n_commands")]
    return re.findall(r'\{ "(\w+)", "(\w*)"', table)


class ManPage(unittest.TestCase):
    PAGE = (ROOT / "man/pop3admin.8").read_text()

    def test_every_command_is_there(self):
        found = re.findall(r"(?m)^\.It Cm (\w+) ?([a-z-]*)", self.PAGE)
        found = [pair for pair in found if pair[1] or pair in commands()]
        self.assertEqual(sorted(found), sorted(commands()))
        self.assertGreaterEqual(len(found), 17)

    def test_every_option_is_there(self):
        text = (ROOT / "pop3admin/main.c").read_text()
        names = re.findall(r'\[OPT_\w+\] = \{ "([\w-]+)"', text)
        self.assertTrue(names)
        for name in names:
            self.assertIn("Fl -%s" % name, self.PAGE)

    def test_every_command_has_an_example(self):
        examples = self.PAGE[self.PAGE.index(".Sh EXAMPLES"):]
        for group, command in commands():
            self.assertRegex(examples, r"pop3admin .*\b%s\b" % " ".join(
                [group, command]).strip())

    def test_lint(self):
        if not shutil.which("mandoc"):
            self.skipTest("no mandoc")
        done = subprocess.run(["mandoc", "-Tlint", "-W", "warning",
                               str(ROOT / "man/pop3admin.8")], capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, b""), done.stdout.decode())


if __name__ == "__main__":
    common.main()
