#!/usr/bin/env python3
"""Who may log in: passwords, failures and their delay, the users file."""
import os
import time
import unittest

import common
from common import AS_ROOT, PASSWORD, make_hash

MAIL = [common.simple_message(1)]


class Auth(common.Case):
    def open(self, **options):
        site = self.site(**options)
        site.add_user(messages=MAIL)
        return site

    def attempt(self, session, user, password):
        session.expect("USER " + user, "+OK...")
        return session.ask("PASS " + password)

    def login_answer(self, site, user="alice", password=PASSWORD):
        session = site.start()
        session.greeting()
        answer = self.attempt(session, user, password)
        session.close()
        session.wait(None)
        return answer

    def wants(self, site, code, user="alice", password=PASSWORD):
        answer = self.login_answer(site, user, password).decode("latin-1")
        if not answer.startswith(code):
            self.fail("wanted %s, got %r; log:\n%s" % (code, answer, site.log_text()))

    def test_three_failures_close(self):
        site = self.open()
        for user in ("alice", "nobody-here"):
            session = site.start()
            session.greeting()
            for _ in range(2):
                self.assertTrue(self.attempt(session, user, "wrong").startswith(b"-ERR [AUTH]"))
            session.expect("CAPA", "+OK...")
            session.body()
            self.assertTrue(self.attempt(session, user, "wrong").startswith(b"-ERR [AUTH]"))
            session.ended(status=None)

    def test_right_after_wrong(self):
        session = self.open().start()
        session.greeting()
        for _ in range(2):
            self.assertTrue(self.attempt(session, "alice", "wrong").startswith(b"-ERR [AUTH]"))
        self.assertTrue(self.attempt(session, "alice", PASSWORD).startswith(b"+OK"))
        session.expect("STAT", "+OK 1...")
        session.quit()

    def test_max_auth_failures(self):
        session = self.open(max_auth_failures=1).start()
        session.greeting()
        self.assertTrue(self.attempt(session, "alice", "wrong").startswith(b"-ERR [AUTH]"))
        session.ended(status=None)

    def test_failures_cost_the_same(self):
        """Same answer, same moment: a wrong password, an unknown user, a locked one."""
        site = self.open(auth_failure_delay="0.8")
        site.add_user("locked", field="!" + make_hash(PASSWORD))
        site.add_user("nohash", field="*")
        seen = {}
        for user in ("alice", "nobody-here", "locked", "nohash"):
            session = site.start()
            session.greeting()
            session.expect("USER " + user, "+OK...")
            began = time.monotonic()
            answer = session.ask("PASS wrong")
            seen[user] = (answer, time.monotonic() - began)
            session.close()
            session.wait(None)
        self.assertEqual(len({answer for answer, _ in seen.values()}), 1, seen)
        for user, (_, seconds) in seen.items():
            self.assertGreaterEqual(seconds, 0.79, user)
            self.assertLess(seconds, 1.5 if not common.SANITIZED else 5, user)

    def test_delay_cannot_be_cut_short(self):
        """Octets sent meanwhile do not bring the answer forward."""
        session = self.open(auth_failure_delay="0.8").start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        began = time.monotonic()
        session.send("PASS wrong\r\n" + "NOOP\r\n" * 5)
        answer = session.line()
        self.assertGreaterEqual(time.monotonic() - began, 0.79)
        self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
        for _ in range(5):
            session.expect(None, "-ERR...")
        session.quit()

    def test_hashes(self):
        """Any crypt(3) hash, bare or behind the schemes that Dovecot writes."""
        site = self.site()
        sha512 = make_hash(PASSWORD, "$6$rounds=1000$saltsalt")
        fields = {"bare": make_hash(PASSWORD), "crypt": "{CRYPT}" + make_hash(PASSWORD),
                  "sha256": "{SHA256-CRYPT}" + make_hash(PASSWORD),
                  "sha512": "{SHA512-CRYPT}" + sha512}
        for name, setting, scheme in (("md5", "$1$saltsalt", "{MD5-CRYPT}"),
                                      ("bcrypt", "$2b$04$abcdefghijklmnopqrstuu", "{BLF-CRYPT}"),
                                      ("yescrypt", "$y$j75$saltsaltsalt", "")):
            try:
                fields[name] = scheme + make_hash(PASSWORD, setting)
            except unittest.SkipTest:
                pass
        for name, field in fields.items():
            site.add_user(name, messages=MAIL, field=field)
        for name in fields:
            with self.subTest(name=name):
                self.wants(site, "+OK", name)
                self.wants(site, "-ERR [AUTH]", name, PASSWORD + "x")

    def test_no_way_in(self):
        site = self.open(max_auth_failures=20)
        good = make_hash(PASSWORD)
        for name, field in (("locked", "!" + good), ("locked2", "!{CRYPT}" + good),
                            ("empty", " "), ("star", "*"), ("plain", "{PLAIN}" + PASSWORD),
                            ("clear", PASSWORD), ("short", good[:20])):
            site.add_user(name, messages=MAIL, field=field.strip() or None)
            if not field.strip():
                site.lines[name] = site.lines[name].replace(good, "", 1)
                site.write_users()
            with self.subTest(name=name):
                self.wants(site, "-ERR [AUTH]", name)
        site.add_user("nologin", messages=MAIL)
        site.lines["nologin"] += " nologin"
        site.write_users()
        self.wants(site, "-ERR [AUTH]", "nologin")
        for name in ("ALICE", "alic", "alice:", "alic%65", "alice\x7f", "..", ".", "*"):
            with self.subTest(name=name):
                answer = self.login_answer(site, name).decode("latin-1")
                self.assertRegex(answer, r"^-ERR")

    def test_password_octets(self):
        """Blanks and 8-bit octets in a password count, every one."""
        site = self.site()
        for name, password in (("blanks", " two  blanks "), ("utf8", "p\u00e4ss"),
                               ("colon", "a:b:c"), ("long", "x" * 200)):
            site.add_user(name, messages=MAIL, password=password)
            with self.subTest(name=name):
                for wrong, wanted in (("", "+OK"), ("x", "-ERR [AUTH]")):
                    session = site.start()
                    session.greeting()
                    session.expect("USER " + name, "+OK...")
                    answer = session.ask(b"PASS " + password.encode() + wrong.encode())
                    self.assertTrue(answer.decode("latin-1").startswith(wanted), answer)
                    session.close()
                    session.wait(None)

    def test_domains(self):
        site = self.site(default_domain="example.org", user_separators="@+%")
        site.add_user("alice@example.org", messages=MAIL)
        site.add_user("bare", messages=MAIL)
        for login in ("alice", "alice@example.org", "alice+example.org", "alice%example.org",
                      "bare"):
            with self.subTest(login=login):
                self.wants(site, "+OK", login)
        for login in ("alice@example.net", "alice@", "alice/example.org", "bare@example.org"):
            with self.subTest(login=login):
                self.wants(site, "-ERR [AUTH]", login)

    def test_users_file_missing(self):
        site = self.open()
        os.unlink(site.top / "etc/users")
        self.wants(site, "-ERR [SYS/TEMP]")
        self.wants(site, "-ERR [SYS/TEMP]", "nobody-here")
        self.assertIn(str(site.top / "etc/users"), site.log_text())

    @unittest.skipIf(AS_ROOT, "root may read any file")
    def test_users_file_unreadable(self):
        site = self.open()
        (site.top / "etc/users").chmod(0)
        self.wants(site, "-ERR [SYS/TEMP]")

    def test_users_file_no_file(self):
        for make in (os.mkdir, os.mkfifo):
            with self.subTest(make=make.__name__):
                site = self.open()
                os.unlink(site.top / "etc/users")
                make(site.top / "etc/users")
                answer = self.login_answer(site).decode()
                self.assertRegex(answer, r"^-ERR \[SYS/(TEMP|PERM)\]")

    def test_users_file_writable(self):
        for mode in (0o620, 0o602, 0o666):
            with self.subTest(mode=mode):
                site = self.open()
                (site.top / "etc/users").chmod(mode)
                self.wants(site, "-ERR [SYS/PERM]")
                self.assertIn(str(site.top / "etc/users"), site.log_text())

    def test_malformed_lines(self):
        """A bad line is logged with its number and skipped; the others still log in."""
        site = self.open()
        good = site.lines["alice"]
        path = site.top / "etc/users"
        for text in ("this is no line\n\n# a comment\n%s\n" % good,
                     "%s\nzz:too:few\n" % good,
                     ":x:1:1::/:\n%s\n" % good,
                     "%s\nzoe:x:99999999999:1::/::\n" % good,
                     good,  # no line end
                     "zz:x:1:1::/::\n%s\n" % good):  # not sorted
            with self.subTest(text=text):
                path.write_text(text)
                self.wants(site, "+OK")
        path.write_text("this is no line\n" + good + "\n")
        site.log.write_text("")
        self.wants(site, "-ERR [AUTH]", "nobody-here")
        site.logged("1", 5)

    def test_ids_missing(self):
        """uid and gid are numbers at run time."""
        for uid, gid in (("", ""), ("alice", "mail"), ("61001", ""), ("", "61001")):
            with self.subTest(uid=uid, gid=gid):
                site = self.open()
                words = site.lines["alice"].split(":")
                words[2:4] = [uid, gid]
                site.lines["alice"] = ":".join(words)
                site.write_users()
                self.wants(site, "-ERR [SYS/PERM]")

    @unittest.skipUnless(AS_ROOT, "needs root")
    def test_ids_refused(self):
        """No mailbox of uid 0, gid 0 or the roles' own users is ever opened."""
        for uid, gid in ((0, 61001), (61001, 0), (0, 0), (common.UID_SESSION, 61001),
                         (common.UID_KEEPER, 61001)):
            with self.subTest(uid=uid, gid=gid):
                site = self.open()
                words = site.lines["alice"].split(":")
                words[2:4] = [str(uid), str(gid)]
                site.lines["alice"] = ":".join(words)
                site.write_users()
                os.chown(site.top / "mail/alice", uid, gid)
                self.wants(site, "-ERR [SYS/PERM]")

    def test_many_users(self):
        """A sorted file of 50 000 users; the first, the last, some between, nobody."""
        site = self.site()
        site.add_user("user25000", messages=MAIL)
        line = site.lines["user25000"]
        names = ["user%05d" % number for number in range(50000)]
        (site.top / "etc/users").write_text("".join(
            line.replace("user25000:", name + ":", 1) + "\n" for name in names))
        for name in ("user00000", "user49999", "user25000", "user12345"):
            session = site.start()
            session.greeting()
            self.assertTrue(self.attempt(session, name, PASSWORD).startswith(b"+OK"))
            session.quit()
        self.wants(site, "-ERR [AUTH]", "user50000")
        self.wants(site, "-ERR [AUTH]", "user")

    def test_log(self):
        """One line an event; who, from where, why; never a password, nothing raw."""
        site = self.open(utf8_user="no")
        session = site.start(transport="tcp")
        session.greeting()
        self.attempt(session, "alice", "s3cret-and-wrong")
        session.expect("USER \x1b[31mevil\x9b", "+OK...")
        session.ask("PASS \x1bother-s3cret")
        self.assertTrue(self.attempt(session, "alice", PASSWORD).startswith(b"+OK"))
        session.quit()
        site.logged("logout")
        text = site.log_text()
        for word in ("connect", "login-failed", "login ", "logout", "127.0.0.1", "alice"):
            self.assertIn(word, text)
        for word in ("s3cret", PASSWORD, "\x1b", "\x9b"):
            self.assertNotIn(word, text)


if __name__ == "__main__":
    common.main()
