#!/usr/bin/env python3
"""The brake on guessing, login_delay, and upgraded hashes."""
import base64
import hashlib
import json
import os
import threading
import time

import common
from common import PASSWORD

MAIL = [common.simple_message(1)]


class Case(common.Case):
    def open(self, **options):
        site = self.site(auth_failure_delay=0, **options)
        site.add_user(messages=MAIL)
        return site

    def attempt(self, site, user="alice", password="wrong", address=None, transport="socket"):
        """One login in a session of its own; its answer and how long it took."""
        env = {"REMOTE_ADDR": address, "REMOTE_PORT": "4711"} if address else None
        session = site.start(env=env, transport="pipes" if address else transport)
        session.greeting()
        session.expect("USER " + user, "+OK...")
        began = time.monotonic()
        answer = session.ask("PASS " + password)
        took = time.monotonic() - began
        session.close()
        session.wait(None)
        return answer, took


class Brake(Case):
    RULES = {"penalty_after": 2, "penalty_step": "0.6", "penalty_max": "2",
             "penalty_user_max": "0.3", "cleartext_login": "yes"}

    def test_address(self):
        """Grows with failures, refuses, fades; another address is not concerned."""
        site = self.open(**self.RULES)
        for user in ("a", "b"):
            self.assertLess(self.attempt(site, user, address="192.0.2.7")[1], 0.5)
        seen = []
        for user in "cdefgh":
            answer, took = self.attempt(site, user, address="192.0.2.7")
            seen.append((took, answer))
        self.assertTrue(all(answer.startswith(b"-ERR [AUTH]") for _, answer in seen), seen)
        self.assertGreater(sum(took for took, _ in seen[1:]), 1.5, seen)
        answer, took = self.attempt(site, "alice", PASSWORD, address="192.0.2.8")
        self.assertTrue(answer.startswith(b"+OK"), answer)
        self.assertLess(took, 0.5)
        listed = json.loads(site.admin("--json", "penalty", "list"))
        rows = {row["name"]: row for row in listed if row["kind"] == "address"}
        self.assertEqual(list(rows), ["192.0.2.7"])
        self.assertGreaterEqual(rows["192.0.2.7"]["failures"], 2)
        site.admin("penalty", "clear", "192.0.2.7")
        self.assertLess(self.attempt(site, "z", address="192.0.2.7")[1], 0.5)

    def test_refused(self):
        """What would wait too long is answered at once, and the password is not looked at."""
        site = self.open(**dict(self.RULES, penalty_step=30))
        for user in "abc":
            self.attempt(site, user, address="2001:db8:1:2::1")
        answer, took = self.attempt(site, "alice", PASSWORD, address="2001:db8:1:2:ffff::9")
        self.assertTrue(answer.startswith(b"-ERR [SYS/TEMP]"), answer)
        self.assertLess(took, 0.5)
        site.logged("too many failed logins")
        answer, _ = self.attempt(site, "alice", PASSWORD, address="2001:db8:1:3::1")
        self.assertTrue(answer.startswith(b"+OK"), answer)
        names = [row["name"] for row in json.loads(site.admin("--json", "penalty", "list"))
                 if row["refused"]]
        self.assertEqual(names, ["2001:db8:1:2::/64"])
        site.admin("penalty", "clear")
        answer, _ = self.attempt(site, "alice", PASSWORD, address="2001:db8:1:2::1")
        self.assertTrue(answer.startswith(b"+OK"), answer)

    def test_user(self):
        """Guesses from everywhere slow the user's logins, but lock nobody out."""
        site = self.open(**dict(self.RULES, penalty_step=30, penalty_user_max="0.7"))
        for number in range(4):
            self.attempt(site, address="192.0.2.%d" % number)
        answer, took = self.attempt(site, "alice", PASSWORD, address="198.51.100.1")
        self.assertTrue(answer.startswith(b"+OK"), answer)
        self.assertGreater(took, 0.6)
        self.assertLess(took, 2)
        listed = json.loads(site.admin("--json", "penalty", "list"))
        self.assertEqual([row["name"] for row in listed if row["kind"] == "user"], ["alice"])
        site.admin("penalty", "clear", "alice")
        self.assertLess(self.attempt(site, "alice", PASSWORD, address="198.51.100.1")[1], 0.5)

    def test_users_unknown_too(self):
        site = self.open(**dict(self.RULES, penalty_step=30, penalty_user_max="0.7"))
        for number in range(3):
            self.attempt(site, "nobody", address="192.0.2.%d" % number)
        self.assertGreater(self.attempt(site, "nobody", address="198.51.100.1")[1], 0.6)

    def test_many_at_once(self):
        """50 processes that guess get one credential a step; a login from elsewhere works."""
        site = self.open(**dict(self.RULES, penalty_step="0.5", penalty_max="3"))
        # at once, so that what they are braked for lasts until the others have started
        first = [threading.Thread(target=self.attempt, args=(site, user),
                                  kwargs={"address": "192.0.2.7"}) for user in "abcdefgh"]
        for thread in first:
            thread.start()
        for thread in first:
            thread.join()
        began = time.monotonic()
        stop = began + 6
        judged, refused = [], []

        def guess(number):
            while time.monotonic() < stop:
                answer, _ = self.attempt(site, "user%d" % number, address="192.0.2.7")
                (judged if b"[AUTH]" in answer else refused).append(time.monotonic())
                time.sleep(0.5)

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        answer, took = self.attempt(site, "alice", PASSWORD, address="192.0.2.99")
        for thread in threads:
            thread.join()
        self.assertTrue(answer.startswith(b"+OK"), answer)
        self.assertLess(took, 3)
        self.assertTrue(refused)
        # one in 0.5 s, however long the machine took; some slack for the start
        lasted = max(judged) - began
        self.assertLess(len(judged), lasted / 0.5 + 10, (lasted, len(judged), len(refused)))
        self.assertGreater(len(judged), 4)

    def test_right_ones_cost_nothing(self):
        """A right credential in between gives back what it took, and adds nothing."""
        site = self.open(**dict(self.RULES, penalty_step="0.4"))
        for user in "abc":
            self.attempt(site, user, address="192.0.2.7")
        for _ in range(4):
            answer, took = self.attempt(site, "alice", PASSWORD, address="192.0.2.7")
            self.assertTrue(answer.startswith(b"+OK"), answer)
        self.assertLess(took, 0.4)

    def test_exempt(self):
        site = self.open(**dict(self.RULES, penalty_step=30, penalty_exempt="192.0.2.0/28 ::1"))
        for user in "abcdef":
            self.assertLess(self.attempt(site, user, address="192.0.2.15")[1], 0.5)
        for user in "ghi":
            self.attempt(site, user, address="192.0.2.16")
        self.assertIn(b"[SYS/TEMP]", self.attempt(site, address="192.0.2.16")[0])

    def test_loopback_is_exempt(self):
        site = self.open(**dict(self.RULES, penalty_step=30))
        for user in "abcdef":
            self.assertLess(self.attempt(site, user, transport="tcp")[1], 0.5)

    def test_other_mechanisms(self):
        """SCRAM is braked as well, before its proof is looked at."""
        import test_sasl
        site = self.open(**dict(self.RULES, penalty_step=30, penalty_user_max="0.8",
                                auth_mechanisms=test_sasl.ALL))
        site.admin("user", "passwd", "alice", "--scram", "--cram", stdin=PASSWORD.encode())
        for _ in range(3):
            self.attempt(site)
        for login in (test_sasl.scram, test_sasl.cram):
            session = site.start()
            session.greeting()
            began = time.monotonic()
            self.assertTrue(login(session).startswith(b"+OK"))
            self.assertGreater(time.monotonic() - began, 0.7)
            session.quit()

    def test_damaged(self):
        """Whatever stands in the file, logins work, and it is made anew."""
        site = self.open(**dict(self.RULES, penalty_step=30))
        path = site.top / "run/penalty"
        self.attempt(site)
        size = path.stat().st_size
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        for content in (b"", b"x", os.urandom(size), path.read_bytes()[:64] + os.urandom(size - 64),
                        path.read_bytes()[:-1], b"\xff" * size):
            path.write_bytes(content)
            answer, _ = self.attempt(site, "alice", PASSWORD)
            self.assertTrue(answer.startswith(b"+OK"), answer)
            self.assertTrue(self.attempt(site, "bob")[0].startswith(b"-ERR [AUTH]"))
            self.assertEqual(path.stat().st_size, size)
            site.admin("penalty", "list")
        path.unlink()
        path.mkdir()
        self.assertTrue(self.attempt(site, "bob")[0].startswith(b"-ERR [AUTH]"))
        answer, _ = self.attempt(site, "alice", PASSWORD)
        self.assertTrue(answer.startswith(b"+OK"), answer)
        site.logged("cannot be remembered")

    def test_no_run_dir(self):
        site = self.open(**dict(self.RULES, run_dir="/dev/null/none"))
        self.assertTrue(self.attempt(site)[0].startswith(b"-ERR [AUTH]"))
        answer, _ = self.attempt(site, "alice", PASSWORD)
        self.assertTrue(answer.startswith(b"+OK"), answer)
        site = self.open(**dict(self.RULES, run_dir=site.top / "new"))
        self.attempt(site)
        self.assertTrue(os.path.exists(site.options["run_dir"] / "penalty"))

    def test_off(self):
        site = self.open(penalty_step=0)
        for _ in range(8):
            self.assertLess(self.attempt(site)[1], 1)
        self.assertFalse((site.top / "run/penalty").exists())


class LoginDelay(Case):
    def test_delay(self):
        """RFC 2449: announced, and kept by the maildrop's owner."""
        site = self.open(login_delay=2)
        session = site.login()
        self.assertIn("LOGIN-DELAY 2", session.lines("CAPA"))
        session.quit()
        answer, _ = self.attempt(site, password=PASSWORD)
        self.assertTrue(answer.startswith(b"-ERR [LOGIN-DELAY]"), answer)
        # a wrong password is told as such, and does not count as a login
        self.assertTrue(self.attempt(site)[0].startswith(b"-ERR [AUTH]"))
        site.logged("the last login was")
        path = site.top / "state/alice/login"
        stamp = path.stat()
        self.assertEqual((stamp.st_uid, stamp.st_mode & 0o777),
                         (site.users["alice"].uid, 0o600))
        os.utime(path, (stamp.st_atime, stamp.st_mtime - 2))
        answer, _ = self.attempt(site, password=PASSWORD)
        self.assertTrue(answer.startswith(b"+OK"), answer)
        answer, _ = self.attempt(site, password=PASSWORD)
        self.assertTrue(answer.startswith(b"-ERR [LOGIN-DELAY]"), answer)

    def test_clock_set_back(self):
        site = self.open(login_delay=1000)
        site.login().quit()
        os.utime(site.top / "state/alice/login", (4e9, 4e9))
        site.login().quit()

    def test_again_in_one_session(self):
        site = self.open(login_delay=1000)
        site.login().quit()
        session = site.start()
        session.greeting()
        for _ in range(3):
            session.expect("USER alice", "+OK...")
            session.expect("PASS " + PASSWORD, "-ERR [LOGIN-DELAY]...")
        session.quit()

    def test_off(self):
        site = self.open()
        site.login().quit()
        self.assertFalse((site.top / "state/alice/login").exists())


class Upgrade(Case):
    WEAK = "$1$saltsalt"

    def open(self, **options):
        site = super().open(password_upgrade="yes", **options)
        site.add_user("alice", field=common.make_hash(PASSWORD, self.WEAK),
                      uid=site.users["alice"].uid)
        site.add_user("bob", messages=MAIL)
        return site

    def hash_of(self, site, name="alice"):
        for line in (site.top / "etc/users").read_text().splitlines():
            if line.startswith(name + ":"):
                return line.split(":")[1]
        return None

    def test_upgrade(self):
        site = self.open()
        bob = self.hash_of(site, "bob")
        self.assertTrue(self.hash_of(site).startswith("$1$"))
        self.assertTrue(self.attempt(site)[0].startswith(b"-ERR"))
        self.assertTrue(self.hash_of(site).startswith("$1$"))
        before = (site.top / "etc/users").stat()
        site.login().quit()
        self.assertRegex(self.hash_of(site), r"^(\{CRYPT\})?\$(y|gy|2b|6)\$")
        self.assertEqual(self.hash_of(site, "bob"), bob)
        after = (site.top / "etc/users").stat()
        self.assertEqual((before.st_uid, before.st_gid, before.st_mode),
                         (after.st_uid, after.st_gid, after.st_mode))
        site.logged("a stronger hash")
        strong = self.hash_of(site)
        site.login().quit()
        self.assertEqual(self.hash_of(site), strong)
        self.assertEqual(sorted(path.name for path in (site.top / "etc").iterdir()),
                         ["pop3d.conf", "users"])

    def test_client_that_leaves_at_once(self):
        site = self.open()
        session = site.start()
        session.send("USER alice\r\nPASS %s\r\nQUIT\r\n" % PASSWORD)
        for _ in range(4):
            session.expect(None, "+OK...")
        session.ended()
        self.assertFalse(self.hash_of(site).startswith("$1$"))

    def test_from_directories(self):
        """{SSHA} and its kin log in as they are, and are replaced then."""
        site = self.open()
        fields = {}
        for scheme, name, salt in (("SSHA", "sha1", b"salt"), ("SSHA256", "sha256", b"s" * 8),
                                   ("ssha512", "sha512", b"\0\1\2\3"), ("SHA", "sha1", b"")):
            digest = hashlib.new(name, PASSWORD.encode() + salt).digest()
            field = "{%s}%s" % (scheme, base64.b64encode(digest + salt).decode())
            fields[scheme.lower()] = field
            site.add_user(scheme.lower(), messages=MAIL, field=field)
        site.admin("user", "verify", "ssha", stdin=PASSWORD.encode())
        site.admin("user", "lock", "sha")
        for name, field in fields.items():
            self.assertIn(b"[AUTH]", self.attempt(site, name)[0])
            self.assertEqual(self.hash_of(site, name).lstrip("!"), field)
            answer, _ = self.attempt(site, name, PASSWORD)
            if name == "sha":
                self.assertIn(b"[AUTH]", answer)
                self.assertEqual(self.hash_of(site, name), "!" + field)
            else:
                self.assertTrue(answer.startswith(b"+OK"), answer)
                self.assertRegex(self.hash_of(site, name), r"^\$(y|gy|2b|6)\$")

    def test_by_sasl(self):
        import test_sasl
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("AUTH PLAIN " + test_sasl.plain(), "+OK...")
        session.quit()
        self.assertFalse(self.hash_of(site).startswith("$1$"))

    def test_secrets_follow(self):
        """The records of the secrets file count for the new hash as for the old one."""
        import test_sasl
        site = self.open(auth_mechanisms=test_sasl.ALL)
        site.admin("user", "passwd", "alice", "--scram", stdin=PASSWORD.encode())
        made = json.loads(site.admin("--json", "user", "app", "add", "alice", "phone"))
        # as if the hash had been made long ago: weak, and the records are bound to it
        path = site.top / "etc/secrets"
        old = self.hash_of(site)
        site.add_user("alice", field=common.make_hash(PASSWORD, self.WEAK),
                      uid=site.users["alice"].uid)
        text = "".join(line.rpartition(":")[0] + "\n" if ":SCRAM" in line else line + "\n"
                       for line in path.read_text().splitlines())
        path.write_text(text)
        self.assertNotEqual(self.hash_of(site), old)
        site.login().quit()
        self.assertFalse(self.hash_of(site).startswith("$1$"))
        self.assertEqual(len(path.read_text().splitlines()), len(text.splitlines()))
        for login in (test_sasl.scram,):
            session = site.start()
            session.greeting()
            self.assertTrue(login(session).startswith(b"+OK"))
            session.quit()
        self.assertTrue(self.attempt(site, password=made["password"])[0].startswith(b"+OK"))

    def test_apart(self):
        """A secrets file elsewhere could not follow: nothing is changed."""
        site = self.open(secrets="/dev/null")
        site.login().quit()
        self.assertTrue(self.hash_of(site).startswith("$1$"))
        site.logged("must be in one directory")

    def test_read_only(self):
        """A users file that cannot be written is logged; the login has worked."""
        site = self.open()
        (site.top / "etc/users.new").mkdir()
        session = site.login()
        session.expect("STAT", "+OK 1...")
        session.quit()
        site.logged("cannot be written")
        self.assertTrue(self.hash_of(site).startswith("$1$"))

    def test_off(self):
        site = self.open()
        site.configure(password_upgrade="no")
        site.login().quit()
        self.assertTrue(self.hash_of(site).startswith("$1$"))

    def test_many_at_once(self):
        """Seven users log in at one time: the file has every entry, each with a new hash."""
        site = self.open()
        names = ["user%d" % number for number in range(7)]
        for name in names:
            site.add_user(name, messages=MAIL, field=common.make_hash(PASSWORD, self.WEAK))
        sessions = [site.start() for _ in names]
        for name, session in zip(names, sessions):
            session.greeting()
            session.send("USER %s\r\nPASS %s\r\nQUIT\r\n" % (name, PASSWORD))
        for session in sessions:
            for _ in range(3):
                session.expect(None, "+OK...")
            session.ended()
        weak = [name for name in names if self.hash_of(site, name).startswith("$1$")]
        self.assertEqual(weak, [])
        self.assertEqual(len((site.top / "etc/users").read_text().splitlines()), 9)


if __name__ == "__main__":
    common.main()
