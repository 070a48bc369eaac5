#!/usr/bin/env python3
"""OAUTHBEARER and XOAUTH2, the interface of verifiers, and pop3d-jwt."""
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

import common
from common import AS_ROOT, PASSWORD

MAIL = [common.simple_message(1)]
JWT = common.BUILD / "pop3d/pop3d-jwt"
OAUTH_UID = 61012 if AS_ROOT else os.geteuid()

def usable_python():
    """A python that the verifier's user may run."""
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            subprocess.run([path, "-c", ""], user=OAUTH_UID if AS_ROOT else None, check=True,
                           stderr=subprocess.DEVNULL, cwd="/", timeout=common.WAIT)
            return path
        except (OSError, subprocess.SubprocessError):
            continue
    return None


PYTHON = usable_python()

# A verifier for the tests: the token says what to do.
VERIFIER = """#!%(python)s
import os, sys, time
record = sys.stdin.buffer.read()
token, name, mechanism, rest = record.split(b"\\0")
token = token.decode()
with open("%(trace)s", "a") as trace:
    print(len(token), name, mechanism, rest, sys.argv[1:], sorted(os.environ), os.getcwd(),
          os.geteuid(), os.getgroups(), sorted(os.listdir("/proc/self/fd")), file=trace)
word, _, value = token.partition("~")
if word == "is":
    print("+" + value)
elif word == "no":
    print("-the token is " + value)
elif word == "later":
    print("!the moon")
elif word == "raw":
    os.write(1, bytes.fromhex(value))
elif word == "hang":
    open("%(trace)s.pid", "w").write(str(os.getpid()))
    if os.fork() == 0:
        open("%(trace)s.child", "w").write(str(os.getpid()))
        time.sleep(60)
    time.sleep(60)
elif word == "die":
    os.kill(os.getpid(), 9)
elif word == "linger":
    sys.stdout.write("+alice\\n")
    sys.stdout.flush()
    os.close(1)
    open("%(trace)s.pid", "w").write(str(os.getpid()))
    time.sleep(60)
"""


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def bearer(token, name="", extra=""):
    return b64("n,%s,\1%sauth=Bearer %s\1\1" % ("a=" + name if name else "", extra, token))


def xoauth2(token, name="alice"):
    return b64("user=%s\1auth=Bearer %s\1\1" % (name, token))


class Case(common.Case):
    def open(self, **options):
        site = self.site(auth_mechanisms="PLAIN OAUTHBEARER XOAUTH2", oauth_user=OAUTH_UID,
                         **options)
        site.add_user("alice", messages=MAIL)
        if AS_ROOT:  # the verifier is nobody of ours, and must get at its program
            os.chmod(site.top, 0o755)
        program = site.top / "etc/verifier"
        self.trace = site.top / "trace"
        self.trace.touch()
        self.trace.chmod(0o666)
        for suffix in (".pid", ".child"):
            path = site.top / ("trace" + suffix)
            path.touch()
            path.chmod(0o666)
        program.write_text(VERIFIER % {"python": PYTHON, "trace": self.trace})
        program.chmod(0o755)
        site.configure(oauth_verifier="%s some args" % program)
        return site

    def attempt(self, site, mechanism, response, *more):
        """One session: a command with its response, further ones; the last answer."""
        session = site.start()
        session.greeting()
        answer = session.ask("AUTH %s %s" % (mechanism, response))
        for line in more:
            answer = session.ask(line)
        session.close()
        session.wait(None)
        return answer.decode()


@unittest.skipUnless(PYTHON, "no python that every user may run")
class Verifier(Case):

    def test_login(self):
        """One line or two, by both mechanisms."""
        site = self.open()
        for mechanism, response in (("OAUTHBEARER", bearer("is~alice")),
                                    ("OAUTHBEARER", bearer("is~alice", "alice")),
                                    ("oauthbearer", bearer("is~alice", "",
                                                           "host=h\1port=110\1x=y\1")),
                                    ("XOAUTH2", xoauth2("is~alice"))):
            with self.subTest(mechanism=mechanism):
                session = site.start()
                session.greeting()
                session.expect("AUTH %s %s" % (mechanism, response), "+OK...")
                session.expect("STAT", "+OK 1...")
                session.quit()
                session = site.start()
                session.greeting()
                session.expect("AUTH " + mechanism, "+ ")
                session.expect(response, "+OK...")
                session.quit()
        self.assertIn("mech=XOAUTH2", site.log_text())

    def test_interface(self):
        site = self.open()
        self.attempt(site, "OAUTHBEARER", bearer("is~alice", "alice"))
        trace = self.trace.read_text()
        self.assertIn("8 b'alice' b'OAUTHBEARER' b'' ['some', 'args']", trace)
        self.assertNotIn("HOME", trace)
        self.assertIn(" / %d " % OAUTH_UID, trace)
        # two are the program's own: its file, and the listing
        self.assertTrue(trace.strip().endswith("['0', '1', '2', '3', '4']"), trace)

    def test_long_tokens(self):
        """A response of 12 288 octets, in pieces; in the line of AUTH or behind it."""
        site = self.open()
        for lead, most in (("", 12286), ("AUTH OAUTHBEARER ", 12286 - 17)):
            for length in (3072, 6144, 9000, most // 4 * 3 - 25):
                token = "is~alice" + "=" * (length - 8)
                response = bearer(token)
                self.assertLessEqual(len(lead) + len(response), 12286)
                session = site.start()
                session.greeting()
                if not lead:
                    session.expect("AUTH OAUTHBEARER", "+ ")
                answer = session.ask(lead + response)
                # the user's name is what the verifier says it is: "alice====..."
                self.assertRegex(answer, rb"^(\+ |-ERR \[SYS/TEMP\])", lead)
                session.close()
                session.wait(None)
                self.assertIn("%d b''" % length, self.trace.read_text())
        session = site.start()
        session.greeting()
        session.expect("AUTH OAUTHBEARER " + "A" * 12288, "-ERR line too long...")
        session.expect("NOOP" + " " * 300, "-ERR line too long...")
        session.expect("AUTH OAUTHBEARER", "+ ")
        session.expect("A" * 12288, "-ERR response too long...")
        session.quit()

    REFUSED = [("no~old", "no~old"), ("is~nobody", "is~nobody"), ("is~locked", "is~locked"),
               ("is~nologin", "is~nologin")]

    def test_refused(self):
        """The error as JSON, the client's word to it, then [AUTH]; and the session goes on."""
        site = self.open(max_auth_failures=9)
        for name, field, options in (("locked", "!$5$x$y", ""), ("nologin", None, " nologin")):
            site.add_user(name, messages=MAIL, field=field)
            site.lines[name] += options
        site.write_users()
        for mechanism, make, word, answer in (
                ("OAUTHBEARER", bearer, {"status": "invalid_token"}, b64("\1")),
                ("XOAUTH2", lambda token: xoauth2(token, ""),
                 {"status": "401", "schemes": "bearer"}, "")):
            session = site.start()
            session.greeting()
            for token in ("no~old", "is~nobody", "is~locked", "is~nologin"):
                line = session.ask("AUTH %s %s" % (mechanism, make(token)))
                self.assertEqual(json.loads(base64.b64decode(line[2:])), word)
                session.expect(answer, "-ERR [AUTH]...")
            session.expect("AUTH %s %s" % (mechanism, make("is~alice")), "+OK...")
            session.quit()
        site.logged("the token is old")
        self.assertEqual(site.log_text().count("login-failed"), 8)

    def test_authzid(self):
        """Nobody acts for another."""
        site = self.open()
        site.add_user("bob", messages=MAIL)
        for mechanism, response in (("OAUTHBEARER", bearer("is~alice", "bob")),
                                    ("XOAUTH2", xoauth2("is~alice", "bob"))):
            self.assertTrue(self.attempt(site, mechanism, response).startswith("+ "))
            self.assertRegex(self.attempt(site, mechanism, response, b64("\1")),
                             r"^-ERR \[AUTH\]")

    def test_domain(self):
        site = self.open(default_domain="example.org", user_separators="@+")
        site.add_user("carol@example.org", messages=MAIL,
                      path=site.top / "mail/carol")
        for name in ("carol", "carol@example.org", "carol+example.org"):
            self.assertTrue(self.attempt(site, "XOAUTH2", xoauth2("is~carol", name)
                                         ).startswith("+OK") or name != "carol")

    def test_failures_count(self):
        """Whoever leaves the answer to an error out is counted all the same."""
        site = self.open(max_auth_failures=2, auth_failure_delay="0.3")
        session = site.start()
        session.greeting()
        for _ in range(2):
            began = time.monotonic()
            self.assertTrue(session.ask("AUTH XOAUTH2 " + xoauth2("no~x")).startswith(b"+ "))
            self.assertGreater(time.monotonic() - began, 0.29)
            session.expect("*", "-ERR cancelled...")
        self.assertEqual(site.log_text().count("login-failed"), 2)
        session.expect("AUTH XOAUTH2 " + xoauth2("is~alice"), "-ERR [AUTH]...")
        session.ended(None)

    def test_verifier_fails(self):
        site = self.open()
        rows = [("later~", "the moon"), ("die~", "without an answer"), ("raw~", "without"),
                ("raw~2b616c696365", "one line"), ("raw~2b616c6963650a0a", "one line"),
                ("raw~2b616c696365000a", "one line"), ("raw~2b0a", "oauth_verifier"),
                ("raw~" + "2b" * 1100 + "0a", "one line"), ("raw~616c6963650a", "alice"),
                ("raw~2b61" + "3a" + "0a", "oauth_verifier")]
        for token, word in rows:
            with self.subTest(token=token[:20]):
                site.log.write_text("")
                self.assertRegex(self.attempt(site, "XOAUTH2", xoauth2(token)),
                                 r"^-ERR \[SYS/TEMP\]")
                site.logged(word)
        site.configure(oauth_verifier="/nonexistent/program")
        self.assertRegex(self.attempt(site, "XOAUTH2", xoauth2("is~alice")),
                         r"^-ERR \[SYS/TEMP\]")
        site.logged("/nonexistent/program: No such file")

    MALFORMED = ["", "n,,", "n,,\1", "\1", "n,,\1\1", "n,,\1auth=Bearer\1\1",
                 "n,,\1auth=Bearer \1\1", "n,,\1auth=Basic x\1\1", "n,,\1auth=Bearer a b\1\1",
                 "n,,\1auth=Bearer x\1", "n,,\1auth=Bearer x", "n,,\1auth=Bearer x\1\1\1",
                 "n,,\1auth=Bearer x\1auth=Bearer x\1\1", "p=tls-exporter,,\1auth=Bearer x\1\1",
                 "n,b=x,\1auth=Bearer x\1\1", "n,a=,\1auth=Bearer x\1\1",
                 "n,a==2,\1auth=Bearer x\1\1", "n,a=\xff,\1auth=Bearer x\1\1",
                 "n,,auth=Bearer x\1\1", "n,,\1auth=Bearer x\0\1\1", "n,,\1auth=Bearer =x\1\1",
                 "n,a=" + "x" * 300 + ",\1auth=Bearer x\1\1"]

    def test_malformed(self):
        """No failed login, and the verifier is not started."""
        site = self.open()
        session = site.start()
        session.greeting()
        for number, text in enumerate(self.MALFORMED):
            if number % 15 == 14:  # too many refused commands in a row end a session
                session.quit()
                session = site.start()
                session.greeting()
            session.expect("AUTH OAUTHBEARER " + (b64(text.encode("latin-1")) or "="),
                           "-ERR not a response...")
        for text in ("", "user=alice", "user=alice\1auth=Bearer x", "auth=Bearer x\1\1"):
            session.expect("AUTH XOAUTH2 " + (b64(text) or "="), "-ERR not a response...")
        session.quit()
        self.assertEqual(self.trace.read_text(), "")

    def test_hangs(self):
        """It and its children end with the session."""
        site = self.open()
        session = site.start()
        session.greeting()
        session.send("AUTH XOAUTH2 " + xoauth2("hang~") + "\r\n")
        pids = [int(common.poll("it runs", (site.top / ("trace" + suffix)).read_text))
                for suffix in (".pid", ".child")]
        session.process.send_signal(signal.SIGTERM)
        session.wait(None)
        for pid in pids:
            common.poll("it is gone", lambda pid=pid: not common.alive(pid))
        session.close()

    def test_lingers(self):
        """One that has answered is ended."""
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("AUTH XOAUTH2 " + xoauth2("linger~"), "+OK...")
        text = (site.top / "trace.pid").read_text()
        if text:
            common.poll("it is gone", lambda: not common.alive(int(text)))
        session.quit()
        self.assertNotIn("killed by signal", site.log_text())

    def test_offered(self):
        """Where a password may travel, and only with a verifier."""
        rows = [({}, "pipes", "PLAIN OAUTHBEARER XOAUTH2"),
                ({"cleartext_login": "no"}, "socket", ""),
                ({"oauth_verifier": "none"}, "socket", "PLAIN"),
                ({"auth_mechanisms": "XOAUTH2"}, "socket", "XOAUTH2")]
        for options, transport, words in rows:
            with self.subTest(options=options):
                site = self.open()
                site.configure(**options)
                session = site.start(transport=transport)
                session.greeting()
                sasl = [line for line in session.lines("CAPA") if line.startswith("SASL")]
                self.assertEqual(sasl, ["SASL " + words] if words else [])
                self.assertEqual(session.lines("AUTH"), words.split())
                for mechanism, response in (("OAUTHBEARER", bearer("is~alice")),
                                            ("XOAUTH2", xoauth2("is~alice"))):
                    if mechanism not in words:
                        session.expect("AUTH %s %s" % (mechanism, response),
                                       "-ERR this mechanism is not offered...")
                session.quit()

    @unittest.skipUnless(AS_ROOT, "needs root")
    def test_user(self):
        """Not root, none of pop3d's own."""
        for name in (0, common.UID_SESSION, common.UID_KEEPER, "no-such-user-here"):
            site = self.open()
            site.configure(oauth_user=name)
            self.assertRegex(self.attempt(site, "XOAUTH2", xoauth2("is~alice")),
                             r"^-ERR \[SYS/TEMP\]")
            site.logged("oauth_user")
            self.assertEqual(self.trace.read_text(), "")

    def test_config_check(self):
        site = self.open()
        for options, word in (({"oauth_verifier": "/nonexistent/x"}, "/nonexistent/x"),
                              ({"oauth_verifier": "none"}, "oauth_verifier")):
            site.configure(**options)
            self.assertIn(word, site.admin("config", "check", status=1))

    def test_curl(self):
        if not shutil.which("curl"):
            self.skipTest("no curl")
        site = self.open()
        listener = site.listen()
        url = "pop3://127.0.0.1:%d/1" % listener.port
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            for token, status in (("is~alice", 0), ("no~x", 67)):
                done = subprocess.run(
                    ["curl", "-sS", "-u", "alice:", "--oauth2-bearer", token, "--login-options",
                     "AUTH=" + mechanism, url], capture_output=True, timeout=common.WAIT,
                    check=False)
                self.assertEqual(done.returncode, status, (mechanism, token, done))
                if status == 0:
                    self.assertEqual(done.stdout, common.wire(MAIL[0]))
                    common.note_client("curl", common.version_of("curl", "-V"), mechanism)


# ---- pop3d-jwt ---------------------------------------------------------------

def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*args, data=None):
    done = subprocess.run(["openssl"] + list(args), input=data, capture_output=True, check=True,
                          timeout=common.WAIT)
    return done.stdout


class Keys:
    """Keys made by openssl, and what it signs with them."""

    MAKE = {"RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "EdDSA": ["-algorithm", "ED25519"],
            "small": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            "other": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]}

    def __init__(self, top):
        self.top = top
        self.jwk = {}
        for name, args in self.MAKE.items():
            path = "%s/%s.pem" % (top, name)
            openssl("genpkey", "-out", path, *args)
            der = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
            if name in ("RS256", "small"):
                text = openssl("rsa", "-in", path, "-noout", "-modulus").decode()
                self.jwk[name] = {"kty": "RSA", "e": "AQAB", "n": url64(bytes.fromhex(
                    text.strip().partition("=")[2]))}
            elif name == "EdDSA":
                self.jwk[name] = {"kty": "OKP", "crv": "Ed25519", "x": url64(der[-32:])}
            else:
                self.jwk[name] = {"kty": "EC", "crv": "P-256", "x": url64(der[-64:-32]),
                                  "y": url64(der[-32:])}
            self.jwk[name]["kid"] = "key-" + name

    def sign(self, key, data):
        path = "%s/%s.pem" % (self.top, key)
        if key == "EdDSA":
            with open("%s/data" % self.top, "wb") as file:
                file.write(data)
            return openssl("pkeyutl", "-sign", "-inkey", path, "-rawin", "-in", file.name)
        made = openssl("dgst", "-sha256", "-sign", path, data=data)
        if key in ("RS256", "small"):
            return made
        at, parts = 2, []
        for _ in range(2):  # two INTEGERs
            length = made[at + 1]
            parts.append(made[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0"))
            at += 2 + length
        return b"".join(parts)

    def token(self, key, claims, header=None, alter=None):
        """header and claims are objects, or the JSON itself."""
        header = {"alg": key, "typ": "JWT", "kid": "key-" + key} if header is None else header
        parts = [part if isinstance(part, bytes) else json.dumps(part).encode()
                 for part in (header, claims)]
        content = ".".join(map(url64, parts))
        signature = self.sign(key, content.encode())
        if alter:
            content, signature = alter(content, signature)
        return content + "." + url64(signature)


@unittest.skipUnless(JWT.exists(), "pop3d-jwt is not built: no jansson")
@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Jwt(common.Case):
    ISSUER, AUDIENCE = "https://login.example.org/", "pop3d"

    @classmethod
    def setUpClass(cls):
        import tempfile
        cls.top = tempfile.mkdtemp(prefix="pop3d-jwt.")
        cls.addClassCleanup(shutil.rmtree, cls.top)
        cls.keys = Keys(cls.top)
        cls.set = cls.key_file([cls.keys.jwk[name] for name in ("RS256", "ES256", "EdDSA",
                                                                "small")])

    @classmethod
    def key_file(cls, keys, name="keys.json"):
        path = "%s/%s" % (cls.top, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(keys if isinstance(keys, str) else json.dumps({"keys": keys}))
        os.chmod(path, 0o644)
        return path

    def claims(self, **changes):
        now = int(time.time())
        claims = {"iss": self.ISSUER, "aud": self.AUDIENCE, "sub": "alice", "exp": now + 300,
                  "nbf": now - 10, "iat": now - 10}
        claims.update(changes)
        return {key: value for key, value in claims.items() if value is not None}

    def ask(self, token, *args, keys=None):
        done = subprocess.run(
            [str(JWT), "--keys", keys or self.set, "--issuer", self.ISSUER, "--audience",
             self.AUDIENCE] + list(args), input=token.encode("latin-1") + b"\0alice\0XOAUTH2\0",
            capture_output=True, timeout=common.WAIT, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        self.assertEqual(done.stdout.count(b"\n"), 1)
        return done.stdout.decode().strip()

    def refused(self, token, word, *args, **options):
        answer = self.ask(token, *args, **options)
        self.assertRegex(answer, "^-.*" + re.escape(word), token)

    def test_good(self):
        for key in ("RS256", "ES256", "EdDSA"):
            with self.subTest(key=key):
                self.assertEqual(self.ask(self.keys.token(key, self.claims())), "+alice")
        token = self.keys.token
        for header in ({"alg": "ES256"}, {"alg": "ES256", "typ": "application/at+jwt"}):
            self.assertEqual(self.ask(token("ES256", self.claims(), header)), "+alice")
        for claims in (self.claims(aud=["x", self.AUDIENCE]), self.claims(nbf=None, iat=None),
                       self.claims(exp=time.time() + 1.5)):
            self.assertEqual(self.ask(token("ES256", claims)), "+alice")
        self.assertEqual(self.ask(token("ES256", self.claims(email="bob@example.org")),
                                  "--claim", "email"), "+bob@example.org")

    def test_claims(self):
        now = int(time.time())
        rows = [({"exp": now - 61}, "expired"), ({"exp": None}, "no exp"),
                ({"exp": "never"}, "no time"), ({"exp": -1}, "no time"), ({"exp": 1e300}, "no time"),
                ({"exp": True}, "no time"), ({"nbf": now + 200}, "not valid yet"),
                ({"iat": now + 200}, "not valid yet"), ({"nbf": []}, "no time"),
                ({"iss": None}, "issuer"), ({"iss": self.ISSUER + "x"}, "issuer"),
                ({"iss": [self.ISSUER]}, "issuer"), ({"iss": self.ISSUER + "\0"}, "payload"),
                ({"aud": None}, "audience"), ({"aud": "pop3"}, "audience"),
                ({"aud": ["x", ["pop3d"]]}, "audience"), ({"aud": {"pop3d": 1}}, "audience"),
                ({"sub": None}, "no name"), ({"sub": ""}, "no name"), ({"sub": 7}, "no name"),
                ({"sub": "a\nb"}, "no name"), ({"sub": "x" * 256}, "no name"),
                ({"sub": "a\0b"}, "payload")]
        for changes, word in rows:
            with self.subTest(changes=changes):
                self.refused(self.keys.token("ES256", self.claims(**changes)), word)
        token = self.keys.token("ES256", self.claims(exp=now - 30))
        self.assertEqual(self.ask(token), "+alice")  # the leeway
        self.refused(token, "expired", "--leeway", "0")
        self.refused(self.keys.token("ES256", self.claims(email="a@b", email_verified=False)),
                     "not verified", "--claim", "email")

    def test_json(self):
        """What can be read in two ways is not read at all."""
        good = json.dumps(self.claims()).encode()
        for text, word in ((good[:-1] + b', "sub": "bob"}', "duplicate"),
                           (good[:-1] + b', "x": 99999999999999999999999}', "big"),
                           (good[:-1] + b', "x": 1e999}', "overflow"),
                           (b"[" + good + b"]", "no object"), (good + b"{}", "payload"),
                           (good + b"\0", "payload"), (b"[" * 5000, "payload"), (b"7", "payload"),
                           (good[:-1] + b', "x": "\xff"}', "payload"), (b"{}", "no exp")):
            with self.subTest(text=text[-40:]):
                self.refused(self.keys.token("ES256", text), word)
        self.refused(self.keys.token("ES256", self.claims(),
                                     b'{"alg":"none","alg":"ES256"}'), "duplicate")

    def test_algorithms(self):
        token, claims = self.keys.token, self.claims()
        for alg in ("none", "None", "HS256", "RS512", "PS256", "es256", "ES384", "", None, 5,
                    ["ES256"]):
            with self.subTest(alg=alg):
                self.refused(token("ES256", claims, {"alg": alg}), "alg")
        self.refused(token("ES256", claims, {}), "alg")
        # the signature of one algorithm under the name of another
        self.refused(token("ES256", claims, {"alg": "RS256"}), "signature")
        self.refused(token("ES256", claims, {"alg": "EdDSA"}), "signature")
        self.refused(token("RS256", claims, {"alg": "ES256"}), "signature")
        # nothing signed, and signed by what everybody knows
        content = url64(b'{"alg":"none"}') + "." + url64(json.dumps(claims).encode())
        self.refused(content + ".", "no signed JWT")
        self.refused(content, "no signed JWT")
        import hashlib
        import hmac
        public = openssl("pkey", "-in", self.top + "/RS256.pem", "-pubout")
        content = url64(b'{"alg":"HS256"}') + "." + url64(json.dumps(claims).encode())
        mac = hmac.new(public, content.encode(), hashlib.sha256).digest()
        self.refused(content + "." + url64(mac), "alg HS256")
        for header, word in (({"alg": "ES256", "crit": ["exp"]}, "crit"),
                             ({"alg": "ES256", "typ": "secevent+jwt"}, "typ"),
                             ({"alg": "ES256", "kid": 7}, "kid"),
                             ({"alg": "ES256", "kid": "key-x"}, "no key"),
                             ({"alg": "ES256", "kid": "key-RS256"}, "no key"),
                             ({"alg": "ES256", "jwk": self.keys.jwk["other"],
                               "kid": "key-other"}, "no key")):
            with self.subTest(header=header):
                self.refused(token("ES256", claims, header), word)
        self.refused(token("other", claims, {"alg": "ES256"}), "signature")
        self.refused(token("small", claims, {"alg": "RS256", "kid": "key-small"}), "no key")

    def test_altered(self):
        """Any octet of it."""
        for key in ("RS256", "ES256", "EdDSA"):
            good = self.keys.token(key, self.claims())
            for at in list(range(3, len(good), len(good) // 12)) + [len(good) - 30]:
                if good[at] == ".":
                    continue
                bad = good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1:]
                self.assertTrue(self.ask(bad).startswith("-"), (key, at))
        good = self.keys.token("ES256", self.claims())
        for bad in (good + "=", good + ".x", "." + good, good.replace(".", ".."), good[:-2], "",
                    ".", "..", "a.b.c", good + "A" * 9000, good.replace("_", "/") + "+",
                    good.rpartition(".")[0] + "." + url64(bytes(64)),
                    good.rpartition(".")[0] + "." + url64(b"\xff" * 64),
                    good.rpartition(".")[0] + "." + url64(b"\0" * 10)):
            self.assertTrue(self.ask(bad).startswith("-"), bad)

    def test_key_files(self):
        token = self.keys.token("ES256", self.claims())
        jwk = self.keys.jwk["ES256"]
        rows = [("", "!"), ("[]", "!"), ("{}", "!"), ('{"keys": {}}', "!"), ('{"keys": []}', "-"),
                ('{"keys": [1, null, "x"]}', "-"), ([dict(jwk, use="enc")], "-"),
                ([dict(jwk, use="sig", alg="ES256", key_ops=["verify"])], "+"),
                ([dict(jwk, alg="RS256")], "-"), ([dict(jwk, key_ops=["sign"])], "-"),
                ([dict(jwk, y=url64(bytes(32)))], "-"), ([dict(jwk, x=jwk["x"] + "AA")], "-"),
                ([dict(jwk, crv="P-384")], "-"), ([dict(jwk, kty="RSA")], "-"),
                ([dict(jwk, kid=None)], "-"), ([self.keys.jwk["other"], jwk], "+"),
                ([dict(self.keys.jwk["other"], kid=jwk["kid"]), jwk], "+")]
        for number, (keys, word) in enumerate(rows):
            with self.subTest(number=number):
                path = self.key_file(keys, "other.json")
                self.assertEqual(self.ask(token, keys=path)[:1], word)
        os.chmod(path, 0o666)
        self.assertRegex(self.ask(token, keys=path), "^!.*writ")
        self.assertRegex(self.ask(token, keys="/nonexistent/keys"), "^!/nonexistent/keys")

    def test_usage(self):
        for args in ([], ["--keys", "x"], ["--leeway", "x"], ["--nonsense"], ["a"]):
            done = subprocess.run([str(JWT)] + args, stdin=subprocess.DEVNULL,
                                  capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout[:1]), (64, b"!"), done)
        done = subprocess.run([str(JWT), "--help"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"usage: pop3d-jwt", done.stdout)

    def test_whole(self):
        """pop3d, pop3d-jwt and curl together."""
        site = self.site(auth_mechanisms="OAUTHBEARER XOAUTH2", oauth_user=OAUTH_UID)
        site.add_user("alice", messages=MAIL)
        os.chmod(site.top, 0o755)
        keys = site.top / "etc/keys.json"
        shutil.copy(self.set, keys)
        site.configure(oauth_verifier="%s --keys %s --issuer %s --audience %s" % (
            site.top / "libexec/pop3d-jwt", keys, self.ISSUER, self.AUDIENCE))
        good = self.keys.token("ES256", self.claims())
        late = self.keys.token("ES256", self.claims(exp=int(time.time()) - 1000))
        for token, answer in ((good, "+OK..."), (late, "+ eyJ...")):
            session = site.start()
            session.greeting()
            session.expect("AUTH OAUTHBEARER", "+ ")
            session.expect(bearer(token), answer)
            session.close()
            session.wait(None)
        site.logged("it has expired")
        if shutil.which("curl"):
            listener = site.listen()
            done = subprocess.run(
                ["curl", "-sS", "-u", "alice:", "--oauth2-bearer", good,
                 "pop3://127.0.0.1:%d/1" % listener.port], capture_output=True, check=False,
                timeout=common.WAIT)
            self.assertEqual(done.stdout, common.wire(MAIL[0]), done)


if __name__ == "__main__":
    common.main()
