#!/usr/bin/env python3
"""CAPA is true: in every state, for combinations of the settings, each thing that is announced
is tried, and each thing that is not."""
import hashlib
import itertools
import json
import os

import common
import test_tls
from common import PASSWORD
from test_tls import Client, context

MAIL = [common.simple_message(1), common.simple_message(2)]
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS",
              "SCRAM-SHA-256-PLUS", "EXTERNAL")
SETTINGS = {
    "tls": (False, True),
    "auth_mechanisms": ("PLAIN LOGIN SCRAM-SHA-256", "CRAM-MD5 SCRAM-SHA-256-PLUS",
                        " ".join(MECHANISMS)),
    "cleartext_login": ("local", "no"),
    "apop": ("no", "yes"),
    "utf8_user": ("yes", "no"),
    # login_delay, login_delay_max, expire, expire_min, options of the user
    "limits": ((0, 0, "never", "never", "login_delay=60 expire=5"),
               (30, 0, 20, "never", "login_delay=60 expire=5"),
               (0, 100, "never", 3, ""),
               (30, 100, 20, 10, "login_delay=0 expire=never"),
               (0, 100, 20, 3, "login_delay=60 expire=5")),
}


class Plain:
    """A session without TLS, with the calls of test_tls.Client."""

    def __init__(self, session):
        self.session = session
        self.secure = False

    def ask(self, command):
        return self.session.ask(command)

    def lines(self, command):
        return self.session.lines(command)

    def send(self, data):
        self.session.send(data)

    def line(self):
        return self.session.line()

    def quit(self):
        self.session.quit()


class Secure(Client):
    secure = True

    def ask(self, command):
        self.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
        return self.line()


class Truth(test_tls.TlsCase):
    def capabilities(self, client):
        lines = client.lines("CAPA")
        words = {line.split()[0]: line.split()[1:] for line in lines}
        self.assertEqual(len(words), len(lines), "one is there twice: %s" % lines)
        return words

    def yes(self, client, command):
        answer = client.ask(command)
        self.assertTrue(answer.startswith(b"+"), (command, answer))
        return answer

    def no(self, client, command):
        answer = client.ask(command)
        self.assertTrue(answer.startswith(b"-ERR"), (command, answer))
        return answer

    def connect_to(self, site, how):
        """A client in one of the states before a login."""
        if how == "tls":
            client = Secure(site.start("-s", transport="tcp"), context(site))
            client.expect(None)
            return client
        session = site.start(transport="tcp")
        self.greeting = session.greeting()
        if how != "stls":
            return Plain(session)
        session.expect("STLS", "+OK...")
        return Secure(session, context(site))

    # -- each thing, announced or not, before a login

    def try_user(self, client, words):
        (self.yes if "USER" in words else self.no)(client, "USER alice")

    def try_mechanisms(self, client, words):
        offered = words.get("SASL", [])
        listed = client.lines("AUTH")
        self.assertEqual(sorted(listed), sorted(offered))
        for name in MECHANISMS:
            if name in offered:
                self.yes(client, "AUTH " + name)
                self.no(client, "*")
            else:
                self.no(client, "AUTH " + name)

    def try_pipelining(self, client, words):
        self.assertIn("PIPELINING", words)
        client.send(b"LANG en\r\nNOSUCH\r\nLANG *\r\n")
        self.assertEqual([client.line()[:3] for _ in range(3)], [b"+OK", b"-ER", b"+OK"])

    def try_languages(self, client, words):
        self.assertEqual(words["LANG"], [])
        self.assertEqual(self.yes(client, "LANG *").split()[1], b"i-default")
        self.assertGreater(len(client.lines("LANG")), 5)

    def try_utf8_names(self, client, words):
        if "USER" not in words:
            return
        if words["UTF8"] == ["USER"]:
            self.no(client, b"USER \xff")
        else:
            self.assertEqual(words["UTF8"], [])
            self.yes(client, b"USER \xff")
        self.yes(client, "USER jörg".encode())

    def try_codes(self, client, words):
        self.assertIn("RESP-CODES", words)
        self.assertIn("AUTH-RESP-CODE", words)
        if "USER" in words:
            self.yes(client, "USER alice")
            self.assertIn(b"[AUTH]", self.no(client, "PASS wrong"))

    def try_states(self, client, words):
        for command in "TOP 1 0", "UIDL", "STAT", "NOOP", "DELE 1":
            self.no(client, command)
        self.assertEqual(len(words["IMPLEMENTATION"]), 1)

    def try_stls(self, site, client, words, how):
        """STLS last: it changes the state."""
        if "STLS" not in words:
            self.no(client, "STLS")
            client.quit()
            return
        self.assertEqual(how, "plain")
        self.yes(client, "STLS")
        inside = Secure(client.session, context(site))
        self.assertNotIn("STLS", self.capabilities(inside))
        inside.quit()

    def before(self, site, how):
        client = self.connect_to(site, how)
        words = self.capabilities(client)
        for attempt in (self.try_user, self.try_mechanisms, self.try_pipelining,
                        self.try_languages, self.try_utf8_names, self.try_codes, self.try_states):
            attempt(client, words)
        self.assertEqual(self.capabilities(client), words)
        self.try_stls(site, client, words, how)
        # UTF8 is announced, works, and takes STLS away, from CAPA too
        client = self.connect_to(site, how)
        self.yes(client, "UTF8")
        self.no(client, "STLS")
        with_utf8 = self.capabilities(client)
        self.assertEqual(with_utf8, {key: value for key, value in words.items() if key != "STLS"})
        client.quit()
        return words

    # -- after it

    def log_in(self, client, words, site):
        """By what is announced; None: nothing that a password alone can use."""
        if "USER" in words:
            client.ask("USER alice")
            return client.ask("PASS " + PASSWORD)
        if site.options["apop"] == "yes" and b"<" in self.greeting and not client.secure:
            stamp = self.greeting[self.greeting.index(b"<"):].strip()
            digest = hashlib.md5(stamp + PASSWORD.encode()).hexdigest()
            return client.ask("APOP alice " + digest)
        return None

    def after(self, site, how, words, delay, expire):
        client = self.connect_to(site, how)
        answer = self.log_in(client, words, site)
        if answer is None:
            client.quit()
            return
        self.assertTrue(answer.startswith(b"+OK"), answer)
        now = self.capabilities(client)
        changing = ("STLS", "EXPIRE", "LOGIN-DELAY")
        self.assertEqual({key: value for key, value in now.items() if key not in changing},
                         {key: value for key, value in words.items() if key not in changing})
        self.assertNotIn("STLS", now)
        self.assertEqual(now["EXPIRE"], ["NEVER" if expire is None else str(expire)])
        if "LOGIN-DELAY" in now or delay:
            self.assertEqual(now["LOGIN-DELAY"], [str(delay)])
        for command in "USER alice", "AUTH PLAIN", "UTF8", "STLS", "APOP a b":
            self.no(client, command)
        self.yes(client, "LANG en")
        self.assertEqual(len(client.lines("UIDL")), 2)
        client.lines("TOP 1 0")
        client.quit()
        # the delay is kept as announced
        client = self.connect_to(site, how)
        answer = self.log_in(client, words, site)
        self.assertEqual(answer.startswith(b"-ERR [LOGIN-DELAY]"), delay > 0, answer)
        client.quit()

    def promise(self, words, name, own, none):
        """Before a login: what holds for everybody, with USER where users differ."""
        got = words.get(name, [none])
        value = int(got[0]) if got[0].isdigit() else None
        if got[1:] == ["USER"]:
            if name == "EXPIRE":
                self.assertTrue(own is None or own >= value, (got, own))
            else:
                self.assertLessEqual(own, value)
        else:
            self.assertEqual(got[1:], [])
            self.assertEqual(value, own)

    def combination(self, site, authority, setting):
        delay, delay_max, expire, expire_min, options = setting["limits"]
        chain, key = authority
        site.configure(
            tls_certificate=chain if setting["tls"] else None,
            tls_key=key if setting["tls"] else None, login_delay=delay, login_delay_max=delay_max,
            expire=expire, expire_min=expire_min,
            **{name: setting[name] for name in ("auth_mechanisms", "cleartext_login", "apop",
                                                "utf8_user")})
        site.lines["alice"] = self.entry + " " + options
        site.write_users()
        shown = json.loads(site.admin("-j", "user", "show", "alice"))
        for how in ("plain", "stls", "tls") if setting["tls"] else ("plain",):
            with self.subTest(how=how, **setting):
                login = site.top / "state/alice/login"
                if login.exists():
                    login.unlink()
                words = self.before(site, how)
                self.assertEqual("STLS" in words, setting["tls"] and how == "plain")
                self.promise(words, "EXPIRE", shown["expire"], "NEVER")
                self.promise(words, "LOGIN-DELAY", shown["login_delay"], "0")
                self.after(site, how, words, shown["login_delay"], shown["expire"])

    def test_combinations(self):
        site = self.open(auth_failure_delay=0)
        site.add_user("alice", messages=MAIL)
        secrets = PASSWORD.encode()
        site.configure(auth_mechanisms=" ".join(MECHANISMS))
        site.admin("user", "passwd", "alice", "--scram", "--cram", "--apop", stdin=secrets)
        self.entry = [line for line in (site.top / "etc/users").read_text().splitlines()
                      if line.startswith("alice:")][0]
        authority = (site.options["tls_certificate"], site.options["tls_key"])
        whole = list(itertools.product(*SETTINGS.values()))
        # a part of them that has nearly every pair of values
        step = 1 if os.environ.get("POP3D_CAPA_ALL") else 17
        for values in whole[::step]:
            self.combination(site, authority, dict(zip(SETTINGS, values)))


if __name__ == "__main__":
    common.main()
