#!/usr/bin/env python3
"""CAPA is true: in every state, for combinations of the settings, each thing that is announced
is tried, and each thing that is not."""
import hashlib
import itertools
import json
import os
import random
import struct

import common
import test_oauth
import test_tls
from common import AS_ROOT, PASSWORD
from test_tls import Client, context

UTF8 = "From: a@example.org\nSubject: Grüße\n\nbody\n".encode()
MAIL = [common.simple_message(1), common.simple_message(2), UTF8]
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS",
              "SCRAM-SHA-256-PLUS", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "GSSAPI")
KERBEROS = (common.BUILD / "pop3d/pop3d-gssapi").exists()
SETTINGS = {
    "tls": (False, True),
    "auth_mechanisms": ("PLAIN LOGIN SCRAM-SHA-256 XOAUTH2",
                        "CRAM-MD5 SCRAM-SHA-256-PLUS OAUTHBEARER GSSAPI", " ".join(MECHANISMS)),
    "oauth": (False, True),
    "gssapi": (False, True) if KERBEROS else (False,),
    "utf8_fallback": ("passthrough", "surrogate", "refuse"),
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


# A verifier to which every token is alice's
VERIFIER = "#!/bin/sh\ncat >/dev/null\necho +alice\n"


def keytab():
    """A key for pop/localhost, as MIT's kadmin would write it: no KDC is needed to be asked."""
    def counted(octets):
        return struct.pack(">H", len(octets)) + octets
    entry = struct.pack(">H", 2) + b"".join(map(counted, (b"POP3D.TEST", b"pop", b"localhost")))
    entry += struct.pack(">IIBH", 1, 0, 1, 18) + counted(bytes(range(32))) + struct.pack(">I", 1)
    return b"\5\2" + struct.pack(">i", len(entry)) + entry


def every_pair(whole):
    """A part of all combinations in which every pair of two settings' values is."""
    def pairs(values):
        return set(itertools.combinations(enumerate(map(str, values)), 2))
    chosen = random.Random(6856)
    missing = set().union(*map(pairs, whole))
    while missing:
        best = max(chosen.sample(whole, min(len(whole), 60)),
                   key=lambda values: len(missing & pairs(values)))
        if missing & pairs(best):
            missing -= pairs(best)
            yield best


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

    def try_kerberos(self, client, words):
        """The helper is there, with a key: it reads the token, which is none."""
        if "GSSAPI" in words.get("SASL", []):
            self.assertIn(b"[AUTH]", self.no(client, "AUTH GSSAPI " + test_oauth.b64(b"x")))

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
        for attempt in (self.try_user, self.try_mechanisms, self.try_kerberos,
                        self.try_pipelining, self.try_languages, self.try_utf8_names,
                        self.try_codes, self.try_states):
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
        """By what is announced; None: nothing that a password or a token alone can use."""
        offered = words.get("SASL", [])
        if "OAUTHBEARER" in offered:
            return client.ask("AUTH OAUTHBEARER " + test_oauth.bearer("token"))
        if "XOAUTH2" in offered:
            return client.ask("AUTH XOAUTH2 " + test_oauth.xoauth2("token"))
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
        self.assertEqual(len(client.lines("UIDL")), 3)
        client.lines("TOP 1 0")
        self.assertEqual(self.top_utf8(client), {
            "passthrough": "Subject: Grüße", "surrogate": "Subject: =?UTF-8?B?",
            "refuse": "-ERR [UTF8]"}[site.options["utf8_fallback"]])
        client.quit()
        # the delay is kept as announced, and UTF8 does what it is for
        client = self.connect_to(site, how)
        self.yes(client, "UTF8")
        answer = self.log_in(client, words, site)
        self.assertEqual(answer.startswith(b"-ERR [LOGIN-DELAY]"), delay > 0, answer)
        if delay == 0:
            self.assertEqual(self.top_utf8(client), "Subject: Grüße")
        client.quit()

    def top_utf8(self, client):
        """Of the message with UTF-8 in its subject: that line's start, or the refusal."""
        client.send(b"TOP 3 0\r\n")
        line = client.line().decode()
        if line.startswith("-ERR"):
            return line[:len("-ERR [UTF8]")]
        subject = ""
        while line != ".\r\n":
            line = client.line().decode()
            subject = line.strip() if line.startswith("Subject: ") else subject
        return subject.partition("?B?")[0] + ("?B?" if "?B?" in subject else "")

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

    def offers(self, words, setting, how):
        """Tokens as passwords in clear, with a verifier; Kerberos anywhere, with a keytab."""
        named, offered = setting["auth_mechanisms"].split(), words.get("SASL", [])
        clear = how != "plain" or setting["cleartext_login"] == "local"
        for name, there in (("OAUTHBEARER", setting["oauth"] and clear),
                            ("XOAUTH2", setting["oauth"] and clear), ("GSSAPI", setting["gssapi"])):
            self.assertEqual(name in offered, name in named and there, name)

    def combination(self, site, authority, setting):
        delay, delay_max, expire, expire_min, options = setting["limits"]
        chain, key = authority
        site.configure(
            tls_certificate=chain if setting["tls"] else None,
            tls_key=key if setting["tls"] else None, login_delay=delay, login_delay_max=delay_max,
            expire=expire, expire_min=expire_min,
            oauth_verifier=self.verifier if setting["oauth"] else None,
            gssapi_keytab=self.keytab if setting["gssapi"] else None,
            **{name: setting[name] for name in ("auth_mechanisms", "cleartext_login", "apop",
                                                "utf8_user", "utf8_fallback")})
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
                self.offers(words, setting, how)
                self.promise(words, "EXPIRE", shown["expire"], "NEVER")
                self.promise(words, "LOGIN-DELAY", shown["login_delay"], "0")
                self.after(site, how, words, shown["login_delay"], shown["expire"])

    def test_combinations(self):
        site = self.open(auth_failure_delay=0, oauth_user=test_oauth.OAUTH_UID)
        if AS_ROOT:  # the verifier is nobody of ours, and must get at its program
            site.top.chmod(0o755)
        self.verifier, self.keytab = site.top / "etc/verifier", site.top / "etc/keytab"
        self.verifier.write_text(VERIFIER)
        self.verifier.chmod(0o755)
        self.keytab.write_bytes(keytab())
        self.keytab.chmod(0o600)
        site.add_user("alice", messages=MAIL)
        secrets = PASSWORD.encode()
        site.configure(auth_mechanisms=" ".join(MECHANISMS))
        site.admin("user", "passwd", "alice", "--scram", "--cram", "--apop", stdin=secrets)
        self.entry = [line for line in (site.top / "etc/users").read_text().splitlines()
                      if line.startswith("alice:")][0]
        authority = (site.options["tls_certificate"], site.options["tls_key"])
        whole = list(itertools.product(*SETTINGS.values()))
        # The long run: POP3D_CAPA_ALL=1, or another number n for every n-th of them
        step = int(os.environ.get("POP3D_CAPA_ALL", "0"))
        for values in whole[::step] if step else every_pair(whole):
            self.combination(site, authority, dict(zip(SETTINGS, values)))


if __name__ == "__main__":
    common.main()
