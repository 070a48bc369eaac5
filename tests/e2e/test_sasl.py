#!/usr/bin/env python3
"""SASL and APOP: every mechanism, its exchange step by step, what is refused."""
import base64
import time

import common
from common import PASSWORD

MAIL = [common.simple_message(1)]


def b64(octets):
    return base64.b64encode(octets if isinstance(octets, bytes) else octets.encode()).decode()


def plain(user="alice", password=PASSWORD, authzid=""):
    return b64("%s\0%s\0%s" % (authzid, user, password))


class Case(common.Case):
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
        session.expect("AUTH PLAIN " + "A" * 300, "-ERR line too long...")
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
