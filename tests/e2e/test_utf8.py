#!/usr/bin/env python3
"""UTF8 and LANG (RFC 6856), and what clients get that do not know UTF-8 headers (RFC 6857)."""
import email
import email.header
import email.policy
import json

import common
from common import PASSWORD, wire

NAME = "jörg"
GREEK = "κωδικός"
PLAIN = b"From: a@example.org\nSubject: plain\n\nbody\n"
UTF8 = ("From: Jörg Müller <j@example.org>\nTo: wörld@example.org, b@example.org\n"
        "Subject: Grüße aus Köln\nMessage-ID: <ä@x>\n"
        "Content-Type: text/plain; name=\"Übung.txt\"\n\n.body ä\n").encode()
LATIN = b"Subject: caf\xe9\n\n" + b"line\n.dot\n" * 30000  # more than one block
NO_BODY = "Subject: ä".encode()
MESSAGES = [PLAIN, UTF8, LATIN, NO_BODY, PLAIN]


def header_of(stored):
    return stored.partition(b"\r\n\r\n")[0]


class Case(common.Case):
    def open(self, kind="mbox", messages=MESSAGES, **keys):
        site = self.site(**keys)
        site.add_user("alice", kind, messages)
        site.add_user(NAME, kind, messages[:1], password=GREEK)
        return site

    def login(self, site, utf8=False, user="alice", password=PASSWORD):
        session = site.start()
        session.greeting()
        if utf8:
            session.expect("UTF8", "+OK...")
        session.expect(("USER " + user).encode(), "+OK...")
        session.expect(("PASS " + password).encode(), "+OK...")
        return session


class Utf8(Case):
    def test_states(self):
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("UTF8 now", "-ERR UTF8 takes at most 0 arguments")
        session.expect("UTF8", "+OK...")
        session.expect("utf8", "+OK...")
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        session.expect("UTF8", "-ERR logged in already")
        session.quit()

    def test_names(self):
        """UTF8 USER: prepared names and passwords, with and without the command."""
        site = self.open()
        for utf8 in False, True:
            self.login(site, utf8, NAME, GREEK).quit()
            # soft hyphens vanish, wide blanks are blanks
            self.login(site, utf8, "jö\u00adrg", "κω\u00adδικός").quit()

    BAD = (b"j\xf6rg", b"\xc3", b"j\xc0\xb6rg", b"\xed\xa0\x80", b"a\xe2\x80\x8eb", b"\xee\x80\x80x",
           b"a\xc2\x85b", b"\xf4\x90\x80\x80")

    def test_bad_names(self):
        site = self.open()
        session = site.start()
        session.greeting()
        for bad in self.BAD:
            with self.subTest(bad=bad):
                session.expect(b"USER " + bad, "-ERR the user name is no UTF-8...")
                session.expect("PASS x", "-ERR give USER first")
                session.expect("NOOP", "-ERR log in first")
                session.expect("CAPA", "+OK...")  # no 20 refusals in a row
                session.body()
                # whether there is such a user makes no difference
                for user in "alice", "nobody":
                    session.expect("USER " + user, "+OK...")
                    session.expect(b"PASS " + bad, "-ERR the password is no UTF-8...")
        session.quit()
        self.assertNotIn("login-failed", site.log_text())

    def test_any_octets(self):
        """utf8_user = no: a password in another character set works as ever."""
        site = self.open(utf8_user="no")
        site.lines["latin"] = site.lines["alice"].replace("alice:", "latin:", 1).replace(
            site.lines["alice"].split(":")[1], common.make_hash("café"))
        site.write_users()
        session = self.login(site, user="latin", password="café")
        self.assertIn("UTF8", session.lines("CAPA"))
        session.quit()
        session = site.start()
        session.greeting()
        session.expect(b"USER \xff", "+OK...")
        session.expect(b"PASS \xff", "-ERR [AUTH]...")
        session.quit()


class Fallback(Case):
    KINDS = ("mbox", "maildir")

    def whole(self, session, messages):
        """STAT, LIST, RETR and TOP agree; the messages as sent."""
        count, octets = session.expect("STAT", "+OK...").split()[1:3]
        sizes = [int(line.split()[1]) for line in session.lines("LIST")]
        self.assertEqual((int(count), int(octets)), (len(sizes), sum(sizes)))
        got = []
        for number, size in enumerate(sizes, 1):
            text = session.multi("RETR %d" % number, "+OK %d octets" % size)
            self.assertEqual(len(text), size)
            self.assertEqual(session.expect("LIST %d" % number, "+OK...").split()[2],
                             b"%d" % size)
            self.assertTrue(text.startswith(session.multi("TOP %d 0" % number)))
            got.append(text)
        self.assertEqual(len(got), len(messages))
        return got

    def test_passthrough(self):
        for kind in self.KINDS:
            site = self.open(kind)
            session = self.login(site)
            self.assertEqual(self.whole(session, MESSAGES), [wire(m) for m in MESSAGES])
            session.quit()

    def test_surrogate(self):
        for kind in self.KINDS:
            with self.subTest(kind=kind):
                site = self.open(kind, utf8_fallback="surrogate")
                session = self.login(site, utf8=True)
                self.assertEqual(self.whole(session, MESSAGES), [wire(m) for m in MESSAGES])
                uidls = session.lines("UIDL")
                session.quit()
                for _ in range(2):  # without an index, and with one
                    session = self.login(site)
                    got = self.whole(session, MESSAGES)
                    self.assertEqual(session.lines("UIDL"), uidls)
                    session.quit()
                for number in 0, 4:
                    self.assertEqual(got[number], wire(MESSAGES[number]))
                for number, text in enumerate(got):
                    header_of(text).decode("ascii")
                    self.assertEqual(text.partition(b"\r\n\r\n")[2],
                                     wire(MESSAGES[number]).partition(b"\r\n\r\n")[2])
                self.check_headers(got)
                # deleted octets are those announced; what is deleted is what was meant
                session = self.login(site)
                before = int(session.expect("STAT", "+OK...").split()[2])
                session.expect("DELE 2", "+OK...")
                session.expect("STAT", "+OK 4 %d" % (before - len(got[1])))
                session.quit()
                session = self.login(site, utf8=True)
                self.assertEqual(self.whole(session, MESSAGES[:1] + MESSAGES[2:]),
                                 [wire(m) for m in MESSAGES[:1] + MESSAGES[2:]])
                session.quit()

    def check_headers(self, got):
        """As another program reads them."""
        parsed = email.message_from_bytes(got[1], policy=email.policy.default)
        self.assertEqual(parsed["Subject"], "Grüße aus Köln")
        sender = parsed["From"].addresses[0]
        self.assertEqual((sender.display_name, sender.addr_spec),
                         ("Jörg Müller", "j@example.org"))
        self.assertEqual([address.addr_spec for address in parsed["To"].addresses],
                         ["b@example.org"])
        self.assertEqual(parsed["To"].groups[0].display_name, "wörld@example.org")
        self.assertEqual(parsed.get_filename(), "Übung.txt")
        self.assertIsNone(parsed["Message-ID"])
        self.assertEqual(str(email.header.make_header(email.header.decode_header(
            parsed["Downgraded-Message-ID"]))), "<ä@x>")
        self.assertEqual(email.message_from_bytes(got[2], policy=email.policy.default)["Subject"],
                         "caf\ufffd")

    def test_surrogate_changed(self):
        """Another program changes a converted message: it is not sent."""
        site = self.open("maildir", [UTF8], utf8_fallback="surrogate")
        session = self.login(site)
        session.expect("STAT", "+OK...")
        path = next((site.top / "mail/alice.maildir").glob("*/*.host*"))
        path.write_bytes(UTF8.replace("Grüße".encode(), b"Hello, "))
        session.expect("RETR 1", "-ERR [SYS/TEMP]...")
        session.close()
        session.wait()

    def test_surrogate_with_show_after(self):
        site = self.open("mbox", utf8_fallback="surrogate")
        site.admin("user", "set", "alice", "show_after=2099-01-01")
        session = self.login(site)
        session.expect("STAT", "+OK 0 0")
        session.quit()

    def test_surrogate_plain(self):
        """Where nothing is to be changed, nothing is: the lists come from the index."""
        site = self.open("maildir", [PLAIN] * 40, utf8_fallback="surrogate")
        for _ in range(2):
            session = self.login(site)
            self.assertEqual(self.whole(session, [PLAIN] * 40), [wire(PLAIN)] * 40)
            session.quit()

    def test_refuse(self):
        for kind in self.KINDS:
            with self.subTest(kind=kind):
                site = self.open(kind, utf8_fallback="refuse")
                session = self.login(site)
                self.assertEqual([int(line.split()[1]) for line in session.lines("LIST")],
                                 [len(wire(m)) for m in MESSAGES])
                for number in 2, 3, 4:
                    session.expect("RETR %d" % number, "-ERR [UTF8]...")
                    session.expect("TOP %d 0" % number, "-ERR [UTF8]...")
                for number in 1, 5:
                    self.assertEqual(session.multi("RETR %d" % number), wire(PLAIN))
                session.expect("DELE 4", "+OK...")
                session.quit()
                session = self.login(site, utf8=True)
                self.assertEqual(session.multi("RETR 2"), wire(UTF8))
                session.expect("STAT", "+OK 4 ...")
                session.quit()

    def test_wrong_value(self):
        site = self.open()
        site.configure(utf8_fallback="sometimes")
        with self.assertRaisesRegex(AssertionError, "passthrough surrogate refuse"):
            site.admin("config", "check", status=0)


class Lang(Case):
    def test_listing(self):
        site = self.open()
        session = site.start()
        session.greeting()
        listed = session.multi("LANG").decode()
        self.assertEqual([line.split(" ", 1)[0] for line in listed.splitlines()],
                         ["i-default", "en", "de", "fr", "es", "ru", "zh"])
        self.assertIn("de Deutsch\r\n", listed)
        session.quit()

    ANSWERS = {"de": "-ERR unbekannter Befehl", "fr": "-ERR commande inconnue",
               "es": "-ERR orden desconocida", "ru": "-ERR неизвестная команда",
               "zh": "-ERR 未知命令", "en": "-ERR unknown command", "*": "-ERR unknown command"}

    def test_switch(self):
        site = self.open()
        for after in False, True:
            session = self.login(site) if after else site.start()
            if not after:
                session.greeting()
            for tag, wanted in self.ANSWERS.items():
                answer = session.ask("LANG " + tag).decode()
                self.assertEqual(answer.split()[:2],
                                 ["+OK", "i-default" if tag == "*" else tag])
                self.assertEqual(session.ask("XYZZY").decode().rstrip(), wanted)
                session.expect("CAPA", "+OK...")
                session.body()
            session.ask("LANG de-AT-1996")
            self.assertIn("Sprache", session.ask("LANG sv").decode())
            self.assertEqual(session.ask("LANG en-").decode()[:4], "-ERR")
            self.assertIn("unbekannter", session.ask("XYZZY").decode())
            session.expect("LANG de fr", "-ERR...")
            session.quit()

    def test_session(self):
        """A whole session in another language; codes and numbers stay."""
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("LANG ru", "+OK ru ...")
        session.expect("USER alice", "+OK ...")
        # nobody learns whether there is such a user, in any language
        answers = []
        for user in "alice", "nobody":
            session.ask("USER " + user)
            answers.append(session.ask("PASS wrong"))
        self.assertEqual(answers[0], answers[1])
        self.assertTrue(answers[0].startswith("-ERR [AUTH] неверное".encode()))
        session.ask("USER alice")
        session.expect("PASS " + PASSWORD, "+OK ...")
        session.expect("STAT", "+OK 5 ...")
        session.expect("LIST 1", "+OK 1 %d" % len(wire(PLAIN)))
        self.assertEqual(session.multi("RETR 1", "+OK...").decode(), wire(PLAIN).decode())
        session.expect("RETR 9", "-ERR ...")
        session.expect("DELE 1", "+OK ...")
        session.expect("RETR 1", "-ERR ...")
        self.assertIn("до свидания", session.ask("QUIT").decode())
        session.ended()

    def test_json_untouched(self):
        """Languages are the session's: pop3admin speaks as ever."""
        site = self.open()
        self.assertEqual(json.loads(site.admin("-j", "maildrop", "stat", "alice"))["messages"], 5)


if __name__ == "__main__":
    common.main()
