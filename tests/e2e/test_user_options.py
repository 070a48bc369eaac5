#!/usr/bin/env python3
"""Options of one user: what limits a login, what it shows, and how pop3admin sets them."""
import json
import os
import subprocess
import time

from common import ADMIN, Case, PASSWORD, main

MESSAGES = [b"Subject: %d\n\nbody %d\n" % (n, n) for n in range(1, 6)]
DAY = 86400


def dated(days):
    """An mbox of one message for each day since the epoch."""
    return b"".join(b"From a@b %s\nSubject: %d\n\nbody\n\n" % (
        time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(day * DAY)).encode(), day)
        for day in days)


class Options(Case):
    def open(self, kind="maildir", messages=MESSAGES, options="", **keys):
        site = self.site(**keys)
        site.add_user(kind=kind, messages=messages)
        if options:
            site.lines["alice"] += " " + options
            site.write_users()
        return site

    def refused(self, site, code, password=PASSWORD, *args):
        session = site.start(*args)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + password, "-ERR %s..." % code)
        return session

    # -- require_tls

    def test_require_tls(self):
        site = self.open(options="require_tls")
        session = self.refused(site, "[SYS/PERM] this user may log in only over TLS")
        # a wrong password, and a user who does not exist, look as they do elsewhere
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH] wrong user name or password")
        session.expect("USER nobody", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH] wrong user name or password")
        session.quit()
        site.logged("require_tls, and there is no TLS")
        # by SASL, too
        session = site.start()
        session.greeting()
        session.expect("AUTH PLAIN AGFsaWNlAHdyb25n", "-ERR [AUTH]...")
        session.quit()

    # -- readonly

    def test_readonly(self):
        for kind in "maildir", "mbox":
            with self.subTest(kind=kind):
                site = self.open(kind, options="readonly", mark_seen="yes")
                before = site.content(site.users["alice"])
                names = sorted(os.listdir(site.top / "mail/alice.maildir/new")) \
                    if kind == "maildir" else None
                session = site.login()
                session.expect("DELE 1", "-ERR [SYS/PERM]...")
                session.expect("STAT", "+OK 5 ...")
                session.multi("RETR 1")
                session.quit()
                self.assertEqual(site.content(site.users["alice"]), before)
                if names:
                    self.assertEqual(
                        sorted(os.listdir(site.top / "mail/alice.maildir/new")), names)

    def test_mark_seen(self):
        """Without readonly the same session changes both: one deleted, one marked."""
        site = self.open(mark_seen="yes")
        session = site.login()
        session.multi("RETR 1")
        session.multi("RETR 2")
        session.expect("DELE 2", "+OK...")
        session.quit()
        names = os.listdir(site.top / "mail/alice.maildir/cur")
        self.assertEqual(len(names), 2)  # and the one that was there before
        self.assertTrue(all(name.endswith(":2,S") for name in names), names)
        self.assertEqual(len(site.content(site.users["alice"])), 4)

    # -- show_after

    def test_show_after_maildir(self):
        site = self.open(options="show_after=2026-01-10")
        files = sorted((site.top / "mail/alice.maildir").glob("*/*"),
                       key=lambda path: path.name)
        for number, path in enumerate(files):  # 8, 9, 10, 11, 12 January
            os.utime(path, (0, 1767830400 + number * DAY))
        whole = json.loads(site.admin("-j", "maildrop", "list", "alice"))
        self.assertEqual(len(whole), 5)
        for _ in range(2):  # without an index, and with one
            session = site.login()
            octets = sum(message["octets"] for message in whole[2:])
            session.expect("STAT", "+OK 3 %d" % octets)
            self.assertEqual(session.lines("LIST"), [
                "%d %d" % (n + 1, whole[2 + n]["octets"]) for n in range(3)])
            self.assertEqual(session.lines("UIDL"), [
                "%d %s" % (n + 1, whole[2 + n]["uidl"]) for n in range(3)])
            self.assertIn(b"Subject: 3", session.multi("RETR 1"))
            session.expect("RETR 4", "-ERR no such message, there are 3")
            session.quit()
        session = site.login()
        session.expect("DELE 2", "+OK...")
        session.quit()
        left = json.loads(site.admin("-j", "maildrop", "list", "alice"))
        self.assertEqual([message["uidl"] for message in left],
                         [whole[n]["uidl"] for n in (0, 1, 2, 4)])

    def test_show_after_mbox(self):
        site = self.open("mbox", [], options="show_after=2026-01-10")
        user = site.users["alice"]
        first = 1767830400 // DAY  # 8 January
        user.path.write_bytes(dated(range(first, first + 5)))
        for _ in range(2):
            session = site.login()
            session.expect("STAT", "+OK 3 ...")
            self.assertEqual(len(session.lines("UIDL")), 3)
            self.assertIn(b"Subject: %d" % (first + 2), session.multi("RETR 1"))
            session.quit()
        session = site.login()
        session.expect("DELE 1", "+OK...")
        session.expect("DELE 3", "+OK...")
        session.quit()
        self.assertEqual(user.path.read_bytes(),
                         dated([first, first + 1, first + 3]))

    def test_show_after_hides_all(self):
        site = self.open("mbox", [], options="show_after=2030-01-01")
        site.users["alice"].path.write_bytes(dated([20000]))
        session = site.login()
        session.expect("STAT", "+OK 0 0")
        self.assertEqual(session.lines("LIST"), [])
        self.assertEqual(session.lines("UIDL"), [])
        session.quit()

    # -- login_delay, expire: within what CAPA announces

    CAPA = (
        # keys, options, before login, after login
        ({}, "login_delay=9 expire=9", ["EXPIRE NEVER"], ["EXPIRE NEVER"]),
        ({"login_delay": 5, "expire": 30}, "login_delay=9 expire=9",
         ["LOGIN-DELAY 5", "EXPIRE 30"], ["LOGIN-DELAY 5", "EXPIRE 30"]),
        ({"login_delay_max": 60, "expire_min": 7}, "",
         ["LOGIN-DELAY 60 USER", "EXPIRE 7 USER"], ["LOGIN-DELAY 0", "EXPIRE NEVER"]),
        ({"login_delay_max": 60, "expire_min": 7}, "login_delay=9 expire=9",
         ["LOGIN-DELAY 60 USER", "EXPIRE 7 USER"], ["LOGIN-DELAY 9", "EXPIRE 9"]),
        ({"login_delay_max": 60, "expire_min": 7}, "login_delay=99 expire=0",
         ["LOGIN-DELAY 60 USER", "EXPIRE 7 USER"], ["LOGIN-DELAY 60", "EXPIRE 7"]),
        ({"login_delay": 90, "login_delay_max": 60, "expire": 3, "expire_min": 7},
         "login_delay=1 expire=never",
         ["LOGIN-DELAY 90 USER", "EXPIRE 3 USER"], ["LOGIN-DELAY 1", "EXPIRE NEVER"]),
    )

    def test_capa(self):
        def told(lines):
            return [line for line in lines if line.split()[0] in ("LOGIN-DELAY", "EXPIRE")]
        for keys, options, before, after in self.CAPA:
            with self.subTest(keys=keys, options=options):
                site = self.open(options=options, **keys)
                session = site.start()
                session.greeting()
                self.assertEqual(told(session.lines("CAPA")), before)
                session.expect("USER alice", "+OK...")
                session.expect("PASS " + PASSWORD, "+OK...")
                self.assertEqual(told(session.lines("CAPA")), after)
                session.quit()

    def test_login_delay(self):
        site = self.open(options="login_delay=1000", login_delay_max=5000)
        site.add_user("bob", messages=[])
        site.login().quit()
        self.refused(site, "[LOGIN-DELAY] the last login was less than 1000 seconds ago").quit()
        site.login("bob").quit()
        site.login("bob").quit()

    # -- nologin, and a typing mistake

    def test_mistake(self):
        site = self.open(options="readonly=maybe")
        self.refused(site, "[AUTH]").quit()
        site.logged("option readonly: allowed: yes or no")
        self.assertIn("option readonly", site.admin("config", "check", status=1))

    # -- pop3admin

    def test_set(self):
        site = self.open(login_delay_max=100, expire_min=7)
        shown = json.loads(site.admin(
            "-j", "user", "set", "alice", "require_tls=yes", "readonly=yes",
            "show_after=2026-01-31", "login_delay=30", "expire=14", "nologin=yes"))
        wanted = {"require_tls": True, "readonly": True, "nologin": True, "login_delay": 30,
                  "expire": 14, "show_after": "2026-01-31T00:00:00Z"}
        self.assertEqual({key: shown[key] for key in wanted}, wanted)
        self.assertTrue((site.top / "etc/users").read_text().endswith(
            " login_delay=30 expire=14 show_after=2026-01-31 require_tls=yes readonly=yes "
            "nologin\n"))
        shown = json.loads(site.admin(
            "-j", "user", "set", "alice", "require_tls=no", "readonly=", "show_after=",
            "login_delay=", "expire=never", "nologin=no"))
        wanted = {"require_tls": False, "readonly": False, "nologin": False, "login_delay": 0,
                  "expire": None, "show_after": None}
        self.assertEqual({key: shown[key] for key in wanted}, wanted)
        site.login().quit()
        site.admin("user", "add", "bob", "--uid", "5000", "--gid", "5000", "readonly=yes",
                   stdin=b"secret\n")
        self.assertTrue(json.loads(site.admin("-j", "user", "show", "bob"))["readonly"])

    def test_set_wrong(self):
        site = self.open()
        before = (site.top / "etc/users").read_text()
        for args, status, says in (
                (["alice"], 64, "argument is missing"),
                (["alice", "readonly"], 64, "write options as KEY=VALUE"),
                (["alice", "quota=1"], 65, "there are maildrop login_delay expire"),
                (["alice", "readonly=yes", "show_after=soon"], 65, "a day such as 2026-01-31"),
                (["alice", "maildrop=/var/mail/x"], 65, "mbox:PATH or maildir:PATH"),
                (["alice", "login_delay=60"], 65, "login_delay_max in the configuration must"),
                (["alice", "expire=7"], 65, "expire_min in the configuration must be 7 or less"),
                (["nobody", "readonly=yes"], 67, "no such user")):
            with self.subTest(args=args):
                error = self.admin_says(site, status, "user", "set", *args)
                self.assertIn(says, error)
        self.assertEqual((site.top / "etc/users").read_text(), before)
        # what an editor wrote is found
        site.lines["alice"] += " login_delay=60"
        site.write_users()
        self.assertIn("login_delay_max", site.admin("config", "check", status=1))

    def admin_says(self, site, status, *args):
        done = subprocess.run([str(ADMIN), "-c", str(site.config)] + list(args),
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr.decode()


if __name__ == "__main__":
    main()
