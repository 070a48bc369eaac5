#!/usr/bin/env python3
"""SASL and APOP: every mechanism, its exchange step by step, what is refused."""
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import time
import unittest

import common
from common import PASSWORD

MAIL = [common.simple_message(1)]


def b64(octets):
    return base64.b64encode(octets if isinstance(octets, bytes) else octets.encode()).decode()


def plain(user="alice", password=PASSWORD, authzid=""):
    return b64("%s\0%s\0%s" % (authzid, user, password))


class Scram:
    """A client, RFC 5802 section 5."""

    def __init__(self, hash_name, user, password, gs2="n,,", binding=b"", authzid=None):
        self.hash = hash_name
        self.password = password.encode()
        self.gs2 = gs2 if authzid is None else gs2[:-1] + "a=%s," % authzid
        self.binding = binding
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), self.nonce)

    def mac(self, key, text):
        return hmac.new(key, text, self.hash).digest()

    def first(self):
        return self.gs2 + self.bare

    def final(self, server_first):
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce) + 10
        self.salt, self.iterations = fields["s"], int(fields["i"])
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, base64.b64decode(self.salt),
                                     self.iterations)
        without = "c=%s,r=%s" % (b64(self.gs2.encode() + self.binding), fields["r"])
        text = ",".join((self.bare, server_first, without)).encode()
        key = self.mac(salted, b"Client Key")
        signature = self.mac(hashlib.new(self.hash, key).digest(), text)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        self.wanted = "v=" + b64(self.mac(self.mac(salted, b"Server Key"), text))
        return "%s,p=%s" % (without, b64(proof))


HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1-PLUS": "sha1",
          "SCRAM-SHA-256-PLUS": "sha256"}


def challenge(session, line):
    if not line.startswith(b"+ "):
        session.fail("no challenge: %r" % line)
    return base64.b64decode(line[2:-2], validate=True).decode("latin-1")


def scram(session, mech="SCRAM-SHA-256", user="alice", password=PASSWORD, initial=True, **options):
    """Log in; the last line of the server, which comes when one is refused or all is said."""
    client = Scram(HASHES[mech], user, password, **options)
    if initial:
        answer = session.ask("AUTH %s %s" % (mech, b64(client.first())))
    else:
        session.expect("AUTH " + mech, "+ ")
        answer = session.ask(b64(client.first()))
    if not answer.startswith(b"+ "):
        return answer
    answer = session.ask(b64(client.final(challenge(session, answer))))
    if not answer.startswith(b"+ "):
        return answer
    got = challenge(session, answer)
    if got != client.wanted:
        session.fail("the server does not know the password: %r" % got)
    return session.ask("")


def cram(session, user="alice", password=PASSWORD):
    text = challenge(session, session.ask("AUTH CRAM-MD5"))
    if not re.fullmatch(r"<[0-9a-f]{32}\.\d+@%s>" % re.escape(common.HOSTNAME), text):
        session.fail("a strange challenge: %r" % text)
    digest = hmac.new(password.encode(), text.encode(), "md5").hexdigest()
    return session.ask(b64("%s %s" % (user, digest)))


def apop(session, greeting, user="alice", password=PASSWORD):
    stamp = re.search(rb"<[\x21-\x7e]+@[\x21-\x7e]+>", greeting)[0]
    return session.ask("APOP %s %s" % (user, hashlib.md5(stamp + password.encode()).hexdigest()))


ALL = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS"


class Case(common.Case):
    def secrets(self, **options):
        """A site whose user alice has a secret of every kind."""
        site = self.open(auth_mechanisms=ALL, apop="yes", **options)
        site.admin("user", "passwd", "alice", "--scram", "--cram", "--apop",
                   stdin=PASSWORD.encode() + b"\n")
        return site

    def open(self, **options):
        site = self.site(**options)
        site.add_user(messages=MAIL)
        return site

    def start(self, site, **options):
        session = site.start(**options)
        session.greeting()
        return session

    def sasl_line(self, session):
        words = [line.split()[1:] for line in session.lines("CAPA") if line.startswith("SASL")]
        self.assertLess(len(words), 2)
        return words[0] if words else []


class Plain(Case):
    def test_initial_response(self):
        session = self.start(self.open())
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.expect("STAT", "+OK 1...")
        session.quit()

    def test_two_steps(self):
        session = self.start(self.open())
        session.expect("AUTH plain", "+ ")
        session.expect(plain(), "+OK...")
        session.quit()

    def test_pipelined(self):
        """A client that knows what comes next may send it at once."""
        session = self.start(self.open())
        session.send("AUTH LOGIN\r\n%s\r\n%s\r\nSTAT\r\nQUIT\r\n" % (b64("alice"), b64(PASSWORD)))
        for wanted in ("+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6", "+OK...", "+OK 1...", "+OK..."):
            session.expect(None, wanted)
        session.ended()

    def test_login(self):
        session = self.start(self.open())
        session.expect("AUTH LOGIN", "+ VXNlcm5hbWU6")
        session.expect(b64("alice"), "+ UGFzc3dvcmQ6")
        session.expect(b64(PASSWORD), "+OK...")
        session.quit()

    def test_login_initial(self):
        session = self.start(self.open())
        session.expect("AUTH LOGIN " + b64("alice"), "+ UGFzc3dvcmQ6")
        session.expect(b64(PASSWORD), "+OK...")
        session.quit()

    def test_wrong(self):
        session = self.start(self.open(max_auth_failures=5))
        session.expect("AUTH PLAIN " + plain(password="x"), "-ERR [AUTH]...")
        session.expect("AUTH PLAIN " + plain(user="nobody"), "-ERR [AUTH]...")
        session.expect("AUTH LOGIN " + b64("alice"), "+ UGFzc3dvcmQ6")
        session.expect(b64("x"), "-ERR [AUTH]...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_failures_are_counted_together(self):
        session = self.start(self.open())
        session.expect("AUTH PLAIN " + plain(password="x"), "-ERR [AUTH]...")
        session.expect("USER alice", "+OK...")
        session.expect("PASS x", "-ERR [AUTH]...")
        session.expect("AUTH PLAIN " + plain(password="x"), "-ERR [AUTH]...")
        session.ended(status=None)

    def test_authzid(self):
        site = self.open(default_domain="example.org")
        site.add_user("bob@example.org", messages=MAIL)
        for user, authzid, good in (("alice", "alice", True), ("alice", "bob", False),
                                    ("bob", "bob@example.org", True), ("bob", "bob", True),
                                    ("alice", "alice@example.org", False)):
            with self.subTest(user=user, authzid=authzid):
                session = self.start(site)
                session.expect("AUTH PLAIN " + plain(user, authzid=authzid),
                               "+OK..." if good else "-ERR [AUTH]...")
                session.quit()

    def test_malformed(self):
        """No failed login: the session goes on."""
        site = self.open(max_auth_failures=1)
        session = self.start(site)
        for text in ("", "alice", "\0alice", "a\0b\0", "\0\0x", "\0alice\0a\0b",
                     "\0alice\0x\x07", "\0" + "a" * 256 + "\0x", "\0alice\0" + "p" * 256):
            with self.subTest(text=text):
                session.expect("AUTH PLAIN", "+ ")
                session.expect(b64(text), "-ERR...")
        session.expect("AUTH PLAIN", "+ ")
        session.expect(base64.b64encode(b"\0alice\0p\xe4ss").decode(), "-ERR...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_not_base64(self):
        session = self.start(self.open(max_auth_failures=1))
        for text in ("A", "====", "AGFsaWNl AHg=", "AGFsaWNlAHg", "AGFsaWNlAHh=", "\x80", "*A=="):
            with self.subTest(text=text):
                session.expect("AUTH PLAIN", "+ ")
                session.expect(text, "-ERR...")
        session.expect("AUTH PLAIN AGFsaWNlAHg", "-ERR...")
        session.expect("CAPA", "+OK...")
        session.body()
        session.expect("AUTH PLAIN", "+ ")
        session.send(b"AGFs\0aWNl\r\n")
        session.expect(None, "-ERR...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_cancel(self):
        session = self.start(self.open(max_auth_failures=1))
        session.expect("AUTH PLAIN", "+ ")
        session.expect("*", "-ERR...")
        session.expect("AUTH LOGIN " + b64("alice"), "+ UGFzc3dvcmQ6")
        session.expect("*", "-ERR...")
        session.expect("AUTH LOGIN", "+ VXNlcm5hbWU6")
        session.expect("*", "-ERR...")
        session.expect("AUTH PLAIN =", "-ERR...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_cancelled_over_and_over(self):
        session = self.start(self.open())
        for _ in range(20):
            session.expect("AUTH PLAIN", "+ ")
            session.expect("*", "-ERR...")
        session.ended(status=None)

    def test_long_lines(self):
        """12 288 octets with CRLF are taken; one more is read to its end and refused."""
        session = self.start(self.open(max_auth_failures=1))
        session.expect("AUTH PLAIN", "+ ")
        session.expect("A" * 12284, "-ERR not a response...")  # the most whole groups of four
        session.expect("AUTH PLAIN", "+ ")
        session.expect("A" * 12286, "-ERR not base64...")
        session.expect("AUTH PLAIN", "+ ")
        session.expect("A" * 12288, "-ERR response too long...")
        session.expect("AUTH PLAIN", "+ ")
        session.expect("A" * 200000, "-ERR response too long...")
        session.expect("AUTH PLAIN " + "A" * 12280, "-ERR line too long...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_every_split(self):
        """A response that comes in two pieces, cut at every place."""
        site = self.open(max_auth_failures=1)
        line = plain() + "\r\n"
        for at in range(1, len(line), 5):
            session = self.start(site)
            session.expect("AUTH PLAIN", "+ ")
            session.send(line[:at])
            time.sleep(0.002)
            session.send(line[at:])
            session.expect(None, "+OK...")
            session.quit()

    def test_utf8(self):
        """Prepared as RFC 4013 says; the password also as it came."""
        site = self.site()
        site.add_user("b\u00f6b", messages=MAIL, password="p\u00e4 ss")
        for password in ("p\u00e4 ss", "p\u00e4\u00a0ss", "p\u00e4 s\u200bs"):
            session = self.start(site)
            session.expect("AUTH PLAIN " + plain("b\u00f6b", password), "+OK...")
            session.quit()
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain("b\u00f6b", "p\u00e4ss"), "-ERR [AUTH]...")
        session.quit()

    def test_client_leaves(self):
        site = self.open()
        for text in ("AUTH PLAIN\r\n", "AUTH LOGIN\r\n%s\r\n" % b64("alice"),
                     "AUTH PLAIN\r\nAGFs", "AUTH PLAIN %s\r\n" % plain(password="x")):
            session = self.start(site)
            session.send(text)
            session.close()
            session.wait(None)

    def test_log(self):
        site = self.open()
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain(password="s3cret"), "-ERR [AUTH]...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()
        site.logged("logout")
        text = site.log_text()
        self.assertRegex(text, r"login-failed .*user=alice mech=PLAIN")
        self.assertRegex(text, r"login .*user=alice mech=PLAIN")
        self.assertNotIn("s3cret", text)
        self.assertNotIn(plain()[:12], text)


class Digests(Case):
    def test_scram(self):
        site = self.secrets()
        for mech in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
            for initial in (True, False):
                with self.subTest(mech=mech, initial=initial):
                    session = self.start(site)
                    answer = scram(session, mech, initial=initial)
                    self.assertTrue(answer.startswith(b"+OK"), answer)
                    session.expect("STAT", "+OK 1...")
                    session.quit()
        site.logged("mech=SCRAM-SHA-256")

    def test_scram_wrong(self):
        site = self.secrets()
        session = self.start(site)
        for user, password in (("alice", "x"), ("nobody", PASSWORD)):
            answer = scram(session, user=user, password=password)
            self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
        answer = scram(session, "SCRAM-SHA-1", password="y")
        self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
        session.ended(status=None)

    def test_right_after_wrong(self):
        """Failures are counted on over all mechanisms, whichever role judges."""
        site = self.secrets(max_auth_failures=4)
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain(password="x"), "-ERR [AUTH]...")
        self.assertTrue(scram(session, password="x").startswith(b"-ERR [AUTH]"))
        session.expect("AUTH PLAIN " + plain(password="x"), "-ERR [AUTH]...")
        self.assertTrue(cram(session, password="x").startswith(b"-ERR [AUTH]"))
        session.ended(status=None)
        session = self.start(site)
        for _ in range(3):
            self.assertTrue(scram(session, password="x").startswith(b"-ERR [AUTH]"))
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_stable_salt(self):
        """Who does not exist, or has no secret, looks like everybody else."""
        site = self.secrets(max_auth_failures=100)
        site.add_user("bob", messages=MAIL)
        seen = {}
        for _ in range(2):
            session = self.start(site)
            for user in ("alice", "bob", "nobody", "carol"):
                client = Scram("sha256", user, PASSWORD)
                answer = session.ask("AUTH SCRAM-SHA-256 " + b64(client.first()))
                client.final(challenge(session, answer))
                session.expect("*", "-ERR...")
                seen.setdefault(user, []).append((client.salt, client.iterations))
            session.quit()
        self.assertEqual(len({pair for pairs in seen.values() for pair in pairs}), 4, seen)
        self.assertEqual(len({pair[1] for pairs in seen.values() for pair in pairs}), 1, seen)
        self.assertEqual(len({len(pair[0]) for pairs in seen.values() for pair in pairs}), 1)

    def test_scram_names(self):
        site = self.secrets(default_domain="example.org")
        for name in ("b=o,b@example.org", "b\u00f6b@example.org"):
            site.add_user(name, messages=MAIL)
            site.admin("user", "passwd", name, "--scram", stdin="p\u00e4ss\n".encode())
            for user in (name, name.partition("@")[0]):
                with self.subTest(user=user):
                    session = self.start(site)
                    answer = scram(session, user=user, password="p\u00e4ss")
                    self.assertTrue(answer.startswith(b"+OK"), answer)
                    session.quit()

    def test_scram_authzid(self):
        site = self.secrets()
        for authzid, good in (("alice", True), ("bob", False)):
            session = self.start(site)
            answer = scram(session, authzid=authzid)
            self.assertTrue(answer.startswith(b"+OK" if good else b"-ERR [AUTH]"), answer)
            session.quit()

    def test_scram_malformed(self):
        site = self.secrets(max_auth_failures=1)
        session = self.start(site)
        for text in ("", "n,,", "n,,n=alice", "n,,n=,r=x", "n,,r=x,n=alice", "x,,n=alice,r=x",
                     "n,,m=1,n=alice,r=x", "n,,n=al=ice,r=x", "n,,n=alice,r=" + "x" * 2000):
            with self.subTest(text=text[:40]):
                session.expect("AUTH SCRAM-SHA-256", "+ ")
                session.expect(b64(text), "-ERR not...")
        for text in ("", "c=biws", "c=biws,r=x", "p=AAAA", "c=biws,r=x,p=AA=="):
            with self.subTest(text=text):
                self.assertTrue(session.ask("AUTH SCRAM-SHA-256 " + b64("n,,n=alice,r=abc"))
                                .startswith(b"+ "))
                session.expect(b64(text), "-ERR not...")
        client = Scram("sha256", "alice", PASSWORD)
        first = challenge(session, session.ask("AUTH SCRAM-SHA-256 " + b64(client.first())))
        self.assertTrue(session.ask(b64(client.final(first))).startswith(b"+ "))
        session.expect(b64("more"), "-ERR not...")
        self.assertTrue(scram(session).startswith(b"+OK"))
        session.quit()

    def test_no_binding(self):
        """Without TLS there is no channel to bind to."""
        site = self.secrets(max_auth_failures=10)
        session = self.start(site)
        self.assertEqual(self.sasl_line(session), ALL.split()[:5])
        session.expect("AUTH SCRAM-SHA-256-PLUS", "-ERR...")
        answer = scram(session, gs2="p=tls-exporter,,", binding=b"x" * 32)
        self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
        self.assertTrue(scram(session, gs2="y,,").startswith(b"+OK"))
        session.quit()

    def test_cram(self):
        site = self.secrets()
        session = self.start(site)
        self.assertTrue(cram(session, password="x").startswith(b"-ERR [AUTH]"))
        self.assertTrue(cram(session, user="nobody").startswith(b"-ERR [AUTH]"))
        self.assertTrue(cram(session).startswith(b"+OK"))
        session.quit()

    def test_cram_malformed(self):
        session = self.start(self.secrets(max_auth_failures=1))
        session.expect("AUTH CRAM-MD5 " + b64("alice " + "0" * 32), "-ERR not...")
        for text in ("", "alice", "alice " + "0" * 31, "alice " + "A" * 32, " " + "0" * 32,
                     "alice" + "0" * 32, "0" * 32, "alice\0 " + "0" * 32):
            challenge(session, session.ask("AUTH CRAM-MD5"))
            session.expect(b64(text), "-ERR not...")
        self.assertTrue(cram(session).startswith(b"+OK"))
        session.quit()

    def test_apop(self):
        site = self.secrets()
        greetings = set()
        for user, password, wanted in (("alice", PASSWORD, b"+OK"), ("alice", "x", b"-ERR [AUTH]"),
                                       ("nobody", PASSWORD, b"-ERR [AUTH]")):
            session = site.start()
            greeting = session.greeting()
            greetings.add(greeting)
            answer = apop(session, greeting, user, password)
            self.assertTrue(answer.startswith(wanted), answer)
            session.quit()
        self.assertEqual(len(greetings), 3)
        session = site.start()
        greeting = session.greeting()
        for text in ("alice", "alice x", "alice " + "0" * 31, "alice " + "A" * 32,
                     "alice " + "0" * 33):
            session.expect("APOP " + text, "-ERR...")
        self.assertTrue(apop(session, greeting).startswith(b"+OK"))
        session.quit()

    def test_apop_only_when_asked(self):
        """A timestamp in the greeting says that APOP is there."""
        for options in ({"apop": "no"}, {"apop": "yes"}):  # with yes: no secrets file
            session = self.open(**options).start()
            self.assertNotIn(b"<", session.greeting())
            session.expect("APOP alice " + "0" * 32, "-ERR...")
            session.quit()

    def test_secrets_file(self):
        """Not there: not offered.  Unsafe: the server's fault, and never a wrong password."""
        site = self.secrets()
        path = site.top / "etc/secrets"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        path.chmod(0o644)
        session = self.start(site)
        self.assertTrue(scram(session).startswith(b"-ERR [SYS/PERM]"))
        self.assertTrue(cram(session).startswith(b"-ERR [SYS/PERM]"))
        session.quit()
        site.logged("others may read it")
        path.chmod(0o600)
        session = self.start(site)
        path.rename(site.top / "etc/away")
        self.assertTrue(scram(session).startswith(b"-ERR [SYS/TEMP]"))
        self.assertEqual(self.sasl_line(session), ALL.split()[:5])
        session.quit()
        session = self.start(site)
        self.assertEqual(self.sasl_line(session), ["PLAIN", "LOGIN"])
        session.expect("AUTH SCRAM-SHA-256", "-ERR...")
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()

    def test_no_helper(self):
        site = self.secrets()
        (site.top / "libexec/pop3d-auth").unlink()
        session = self.start(site)
        self.assertTrue(scram(session).startswith(b"-ERR [SYS/TEMP]"))
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        session.quit()
        site.logged("pop3d-auth")

    @unittest.skipUnless(common.AS_ROOT, "the maps of a role are root's to read")
    def test_helper_only_when_chosen(self):
        site = self.secrets()
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain(password="x"), "-ERR [AUTH]...")
        self.assertFalse([role for role in session.roles()
                          if "libcrypto" in role.maps() or "libssl" in role.maps()])
        self.assertTrue(scram(session, password="x").startswith(b"-ERR [AUTH]"))
        roles = [role for role in session.roles() if "libcrypto" in role.maps()]
        self.assertEqual([role.name for role in roles], ["pop3d-auth"])
        self.assertEqual(roles[0].uids, [common.UID_SESSION] * 4)
        self.assertTrue(roles[0].no_new_privs)
        common.poll("the built-in auth role is gone",
                    lambda: [role.name for role in session.roles()].count("pop3d-auth") == 1)
        self.assertTrue(scram(session).startswith(b"+OK"))
        session.quit()

    def test_locked(self):
        site = self.secrets(max_auth_failures=10)
        site.admin("user", "lock", "alice")
        session = site.start()
        greeting = session.greeting()
        self.assertTrue(scram(session).startswith(b"-ERR [AUTH]"))
        self.assertTrue(cram(session).startswith(b"-ERR [AUTH]"))
        self.assertTrue(apop(session, greeting).startswith(b"-ERR [AUTH]"))
        site.admin("user", "unlock", "alice")
        self.assertTrue(scram(session).startswith(b"+OK"))
        session.quit()


class Secrets(Case):
    def works(self, site, password, user="alice"):
        """The mechanisms by which this password opens the maildrop."""
        good = []
        for mech in ("PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "APOP"):
            session = site.start()
            greeting = session.greeting()
            if mech == "PLAIN":
                answer = session.ask("AUTH PLAIN " + plain(user, password))
            elif mech == "CRAM-MD5":
                answer = cram(session, user, password)
            elif mech == "APOP":
                answer = apop(session, greeting, user, password)
            else:
                answer = scram(session, mech, user, password)
            self.assertRegex(answer, rb"^(\+OK|-ERR \[AUTH\])")
            good += [mech] if answer.startswith(b"+OK") else []
            session.close()
            session.wait(None)
        return good

    ALL = ["PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "APOP"]

    def test_new_password(self):
        """A new password keeps the kinds of secrets, and nothing of the old one."""
        site = self.secrets(auth_failure_delay=0)
        old = (site.top / "etc/secrets").read_text()
        self.assertEqual(self.works(site, PASSWORD), self.ALL)
        site.admin("user", "passwd", "alice", stdin=b"new one\n")
        self.assertEqual(self.works(site, "new one"), self.ALL)
        self.assertEqual(self.works(site, PASSWORD), [])
        text = (site.top / "etc/secrets").read_text()
        self.assertEqual(len(text.splitlines()), 5)
        for line in old.splitlines():
            if line.startswith("alice"):
                self.assertNotIn(line, text)

    def test_hand_edited(self):
        """A hash that another program wrote: the secrets of the old password do not count."""
        site = self.secrets(auth_failure_delay=0)
        site.add_user("alice", messages=MAIL, password="by hand", uid=site.users["alice"].uid)
        self.assertEqual(self.works(site, PASSWORD), [])
        self.assertEqual(self.works(site, "by hand"), ["PLAIN"])
        shown = json.loads(site.admin("--json", "user", "show", "alice"))
        self.assertEqual(shown["mechanisms"], ["PLAIN", "LOGIN"])
        self.assertIn("another password", " ".join(shown["not_usable"]))

    def test_show(self):
        site = self.open(auth_mechanisms=ALL, apop="yes")
        shown = json.loads(site.admin("--json", "user", "show", "alice"))
        self.assertEqual(shown["mechanisms"], ["PLAIN", "LOGIN"])
        self.assertIn("--cram", " ".join(shown["not_usable"]))
        site.admin("user", "passwd", "alice", "--scram", stdin=b"x\n")
        shown = json.loads(site.admin("--json", "user", "show", "alice"))
        self.assertEqual(shown["mechanisms"], ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
        text = " ".join(shown["not_usable"])
        for word in ("CRAM-MD5: no secret", "APOP: no secret", "SCRAM-SHA-256-PLUS: needs TLS"):
            self.assertIn(word, text)
        listed = json.loads(site.admin("--json", "user", "list"))
        self.assertEqual(listed[0]["mechanisms"], shown["mechanisms"])

    def test_add_and_del(self):
        site = self.secrets()
        uid = site.users["alice"].uid
        args = ["--uid", str(uid), "--gid", str(uid if common.AS_ROOT else os.getegid())]
        site.admin("user", "add", "zoe", "--scram", "--apop", *args, stdin=b"secret\n")
        self.assertEqual(self.works(site, "secret", "zoe"),
                         ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "APOP"])
        site.admin("user", "app", "add", "zoe", "phone")
        site.admin("user", "del", "zoe")
        self.assertNotIn("zoe", (site.top / "etc/secrets").read_text())
        site.admin("user", "add", "zoe", *args, stdin=b"secret\n")
        self.assertEqual(self.works(site, "secret", "zoe"), ["PLAIN"])

    def test_app_passwords(self):
        site = self.secrets()
        made = json.loads(site.admin("--json", "user", "app", "add", "alice", "phone"))
        password = made["password"]
        self.assertRegex(password, r"^([a-z2-9]{4}-){4}[a-z2-9]{4}$")
        self.assertNotIn(password, (site.top / "etc/secrets").read_text())
        site.admin("user", "app", "add", "alice", "phone", status=73)
        site.admin("user", "app", "add", "alice", "bad label", status=65)
        site.admin("user", "app", "add", "nobody", "phone", status=67)
        site.admin("user", "app", "add", "alice", "x", "--expires", "2020-01-01", status=65)
        site.admin("user", "app", "add", "alice", "x", "--expires", "2027-02-30", status=65)
        site.admin("user", "app", "add", "alice", "tablet", "--expires", "2099-01-31")
        listed = json.loads(site.admin("--json", "user", "app", "list", "alice"))
        self.assertEqual([(row["label"], row["expires"], row["expired"]) for row in listed],
                         [("phone", None, False), ("tablet", "2099-02-01T00:00:00Z", False)])
        for typed in (password, password.replace("-", ""), password.upper(),
                      password.replace("-", " ")):
            session = self.start(site)
            session.expect("USER alice", "+OK...")
            session.expect("PASS " + typed, "+OK...")
            session.quit()
        site.logged("app=phone")
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain(password=password), "+OK...")
        session.quit()
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain(password=PASSWORD), "+OK...")
        session.quit()
        # a new password leaves them; removed or expired ones fail at once
        site.admin("user", "passwd", "alice", stdin=b"new\n")
        session = self.start(site)
        other = password[:-1] + ("b" if password[-1] == "a" else "a")
        session.expect("AUTH PLAIN " + plain(password=other), "-ERR [AUTH]...")
        site.admin("user", "app", "del", "alice", "phone")
        session.expect("AUTH PLAIN " + plain(password=password), "-ERR [AUTH]...")
        session.quit()
        site.admin("user", "app", "del", "alice", "phone", status=67)
        made = json.loads(site.admin("--json", "user", "app", "add", "alice", "old"))
        path = site.top / "etc/secrets"
        path.write_text(re.sub(r":APP:old,0,", ":APP:old,1000000000,", path.read_text()))
        session = self.start(site)
        session.expect("AUTH PLAIN " + plain(password=made["password"]), "-ERR [AUTH]...")
        session.quit()
        site.logged("expired")

    @unittest.skipIf(common.SANITIZED, "sanitizers and strace do not go together")
    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_killed_anywhere(self):
        """A change of the password, killed at every system call: the old or the new one works,
        by all mechanisms, and the next change mends what was left."""
        calls = ("openat", "write", "fsync", "renameat", "fchmod", "fchown", "unlinkat", "close")
        site = self.secrets(auth_failure_delay=0)
        if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            self.skipTest("tracing is not permitted here")
        old, turn, outcomes = PASSWORD, 0, set()
        for call in calls:
            for number in range(1, 100):
                turn += 1
                new = "password %d" % turn
                done = subprocess.run(
                    ["strace", "-o", "/dev/null", "-e", "trace=%s" % call, "-e",
                     "inject=%s:signal=KILL:when=%d" % (call, number), str(common.ADMIN), "-c",
                     str(site.config), "user", "passwd", "alice"], input=new.encode(),
                    capture_output=True, check=False, timeout=common.WAIT)
                if done.returncode == 0:
                    old = new
                    break
                # only what comes behind the first change of a file is of interest
                if not (site.top / "etc/users.lock").exists() and call in ("openat", "close"):
                    continue
                fits = {password: self.quick(site, password) for password in (old, new)}
                wanted = sorted(fits.values())
                self.assertEqual(wanted, [[False] * 2, [True] * 2], (call, number, fits))
                outcomes.add(fits[new][0])
                old = new if fits[new][0] else old
        self.assertEqual(outcomes, {True, False})
        site.admin("user", "passwd", "alice", stdin=b"last\n")
        self.assertEqual(self.works(site, "last"), self.ALL)
        self.assertEqual(len((site.top / "etc/secrets").read_text().splitlines()), 5)
        self.assertEqual(sorted(path.name for path in (site.top / "etc").iterdir()),
                         ["pop3d.conf", "secrets", "users"])

    @staticmethod
    def quick(site, password):
        """Does it open the maildrop in clear, and by SCRAM?"""
        session = site.start()
        session.greeting()
        good = [scram(session, password=password).startswith(b"+OK")]
        session.close()
        session.wait(None)
        session = site.start()
        session.greeting()
        good.append(session.ask("AUTH PLAIN " + plain(password=password)).startswith(b"+OK"))
        session.close()
        session.wait(None)
        return good

    def test_refused_passwords(self):
        site = self.open()
        site.admin("user", "passwd", "alice", "--scram", stdin=b"p\xe4ss\n", status=65)
        site.admin("user", "passwd", "alice", stdin=b"p\xe4ss\n")


class Offer(Case):
    def test_listed(self):
        session = self.start(self.open())
        self.assertEqual(self.sasl_line(session), ["PLAIN", "LOGIN"])
        self.assertEqual(session.lines("AUTH"), ["PLAIN", "LOGIN"])
        session.expect("AUTH PLAIN " + plain(), "+OK...")
        self.assertEqual(self.sasl_line(session), ["PLAIN", "LOGIN"])
        session.expect("AUTH PLAIN " + plain(), "-ERR...")
        session.quit()

    def test_no_cleartext(self):
        """Refused before any password travels."""
        site = self.open(cleartext_login="no")
        session = self.start(site)
        self.assertEqual(self.sasl_line(session), [])
        self.assertNotIn("USER", session.lines("CAPA"))
        session.expect("USER alice", "-ERR...")
        session.expect("AUTH PLAIN", "-ERR...")
        session.expect("AUTH LOGIN", "-ERR...")
        session.expect("AUTH PLAIN " + plain(), "-ERR...")
        session.quit()

    def test_only_login(self):
        session = self.start(self.open(auth_mechanisms="LOGIN"))
        self.assertEqual(self.sasl_line(session), ["LOGIN"])
        session.expect("USER alice", "-ERR...")
        session.expect("AUTH PLAIN " + plain(), "-ERR...")
        session.expect("AUTH LOGIN " + b64("alice"), "+ UGFzc3dvcmQ6")
        session.expect(b64(PASSWORD), "+OK...")
        session.quit()

    def test_unknown(self):
        session = self.start(self.open())
        for text in ("GSSAPI", "PLAINX", "PLAI", "SCRAM-SHA-256", "EXTERNAL", "EXTERNAL =",
                     "SCRAM-SHA-256-PLUS", "PLAIN a b"):
            session.expect("AUTH " + text, "-ERR...")
        session.expect("APOP alice 0123456789abcdef0123456789abcdef", "-ERR...")
        session.quit()

    def test_user_is_forgotten(self):
        session = self.start(self.open())
        session.expect("USER alice", "+OK...")
        session.expect("AUTH PLAIN", "+ ")
        session.expect("*", "-ERR...")
        session.expect("PASS " + PASSWORD, "-ERR...")
        session.quit()


if __name__ == "__main__":
    common.main()
