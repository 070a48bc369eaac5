#!/usr/bin/env python3
"""SASL inside TLS: channel bindings, client certificates, real clients on both ports."""
import base64
import os
import re
import shutil
import ssl
import subprocess
import unittest

import common
import test_sasl
import test_tls
from common import HOSTNAME, PASSWORD, WAIT
from test_sasl import Scram, b64
from test_tls import Client, context

MECHS = test_sasl.ALL + " EXTERNAL"


class Case(test_tls.TlsCase):
    def open(self, **options):
        site = super().open(auth_mechanisms=MECHS, apop="yes", **options)
        site.admin("user", "passwd", "alice", "--scram", "--cram", "--apop",
                   stdin=PASSWORD.encode())
        return site


class SClient(Client):
    """`openssl s_client`, which tells the exporter's octets that Python's ssl does not."""

    def __init__(self, case, site, *args):
        self.session = site.start("-s", transport="tcp")
        raw = self.session.keep[0]
        os.set_blocking(raw.fileno(), True)
        # s_client connects by itself: give it the other end through a relay
        import socket
        import threading
        listener = socket.create_server(("127.0.0.1", 0))
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", "127.0.0.1:%d" % listener.getsockname()[1],
             "-ign_eof", "-servername", HOSTNAME, "-CAfile", str(site.authority.root),
             "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"] + list(args),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.relay, _ = listener.accept()
        listener.close()

        def copy(source, target):
            try:
                while True:
                    data = source.recv(65536)
                    if not data:
                        break
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.threads = [threading.Thread(target=copy, args=pair, daemon=True)
                        for pair in ((self.relay, raw), (raw, self.relay))]
        for thread in self.threads:
            thread.start()
        self.buffer = b""
        self.exporter = None
        while True:
            line = Client.line(self)
            found = re.search(rb"Keying material: ([0-9A-F]{64})", line)
            if found:
                self.exporter = bytes.fromhex(found[1].decode())
            if line.startswith(b"+OK"):
                break
        case.assertIsNotNone(self.exporter)
        case.addCleanup(self.close)

    class _Socket:
        def __init__(self, process):
            self.process = process

        def recv(self, n):
            return self.process.stdout.read(n)

    @property
    def socket(self):
        return self._Socket(self.process)

    def line(self):
        """Of the server, not of s_client's own talk about tickets."""
        while True:
            line = Client.line(self)
            if line.startswith((b"+", b"-")) or line.endswith(b"\r\n"):
                return line

    def send(self, data):
        self.process.stdin.write(data)

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait(WAIT)
        self.process.stdout.close()
        self.relay.close()
        self.session.close()


def scram(client, mech, gs2, binding, password=PASSWORD, **options):
    made = Scram(test_sasl.HASHES[mech], "alice", password, gs2=gs2, binding=binding, **options)
    answer = client.ask("AUTH %s %s" % (mech, b64(made.first())))
    if not answer.startswith(b"+ "):
        return answer
    answer = client.ask(b64(made.final(base64.b64decode(answer[2:-2]).decode())))
    if not answer.startswith(b"+ "):
        return answer
    assert base64.b64decode(answer[2:-2]).decode() == made.wanted
    return client.ask("")


class Bindings(Case):
    def sasl_line(self, client):
        return [line for line in client.lines("CAPA") if line.startswith("SASL")][0].split()[1:]

    def test_exporter(self):
        """RFC 9266 on both versions; another channel's octets, and lies about it, are refused."""
        site = self.open(max_auth_failures=20)
        for version in ("-tls1_3", "-tls1_2"):
            for mech in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
                with self.subTest(version=version, mech=mech):
                    client = SClient(self, site, version)
                    self.assertIn(mech, self.sasl_line(client))
                    for gs2, binding in (("p=tls-exporter,,", os.urandom(32)),
                                         ("p=tls-exporter,,", b""), ("n,,", b""), ("y,,", b""),
                                         ("p=tls-server-end-point,,", client.exporter)):
                        answer = scram(client, mech, gs2, binding)
                        self.assertTrue(answer.startswith(b"-ERR [AUTH]"), (gs2, answer))
                    answer = scram(client, mech, "p=tls-exporter,,", client.exporter, "wrong")
                    self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
                    # y: "I saw no -PLUS": somebody took it off the list
                    answer = scram(client, mech[:-5], "y,,", b"")
                    self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
                    answer = scram(client, mech, "p=tls-exporter,,", client.exporter)
                    self.assertTrue(answer.startswith(b"+OK"), answer)
                    client.send(b"QUIT\r\n")
                    self.assertTrue(client.line().startswith(b"+OK"))
                    client.close()
        site.logged("mech=SCRAM-SHA-256-PLUS")

    def test_unique(self):
        """RFC 5929 on TLS 1.2, by full and resumed handshakes, on both ports."""
        site = self.open(max_auth_failures=20)
        made = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
        resume = None
        for stls in (False, False, True):
            client = self.stls(site, made, resume=resume) if stls else \
                self.connect(site, made, resume=resume)
            if not stls:
                client.expect(None)
            self.assertEqual(client.socket.session_reused, resume is not None)
            unique = client.socket.get_channel_binding("tls-unique")
            self.assertTrue(scram(client, "SCRAM-SHA-256-PLUS", "p=tls-unique,,", b"\0" * 12)
                            .startswith(b"-ERR [AUTH]"))
            self.assertTrue(scram(client, "SCRAM-SHA-256-PLUS", "p=tls-unique,,", unique)
                            .startswith(b"+OK"))
            resume = client.socket.session
            client.quit()

    def test_no_unique_on_13(self):
        site = self.open()
        client = self.connect(site)
        client.expect(None)
        self.assertTrue(scram(client, "SCRAM-SHA-256-PLUS", "p=tls-unique,,", b"\0" * 12)
                        .startswith(b"-ERR [AUTH]"))
        self.assertTrue(scram(client, "SCRAM-SHA-256", "n,,", b"").startswith(b"+OK"))
        client.quit()

    def test_offer_changes_with_stls(self):
        site = self.open(cleartext_login="no")
        session = site.start(transport="tcp")
        session.greeting()
        sasl = [line for line in session.lines("CAPA") if line.startswith("SASL")]
        self.assertEqual(sasl, ["SASL CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"])
        # a role that was started before the handshake knows the binding afterwards
        self.assertTrue(test_sasl.scram(session, password="x").startswith(b"-ERR [AUTH]"))
        session.expect("STLS", "+OK...")
        client = Client(session, context(site, maximum_version=ssl.TLSVersion.TLSv1_2))
        self.assertEqual(self.sasl_line(client), test_sasl.ALL.split())
        unique = client.socket.get_channel_binding("tls-unique")
        self.assertTrue(scram(client, "SCRAM-SHA-1-PLUS", "p=tls-unique,,", unique)
                        .startswith(b"+OK"))
        client.quit()


class External(Case):
    def open(self, **options):
        site = super().open(**options)
        where = site.authority.where
        site.configure(tls_client_ca=site.authority.root)
        shutil.copy(site.authority.middle, where / "middle-ca.crt")
        for name, names, subject in (("mail", "email:alice", "/CN=somebody"),
                                     ("common", "DNS:host.example.net", "/CN=alice"),
                                     ("other", "email:nobody@example.org", "/CN=alice")):
            key, cert, ext = (where / (name + suffix) for suffix in (".k", ".c", ".e"))
            ext.write_text("subjectAltName=%s\nextendedKeyUsage=clientAuth\n" % names)
            test_tls.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                             "-nodes", "-subj", subject, "-keyout", key, "-out", where / "csr")
            test_tls.openssl("x509", "-req", "-in", where / "csr", "-days", 9, "-extfile", ext,
                             "-CA", where / "root.crt", "-CAkey", where / "root.key",
                             "-CAcreateserial", "-out", cert)
        return site

    def client(self, site, name, resume=None, made=None, **options):
        if not made:
            made = context(site, **options)
            if name:
                made.load_cert_chain(str(site.authority.where / (name + ".c")),
                                     str(site.authority.where / (name + ".k")))
        client = self.connect(site, made, resume=resume)
        client.expect(None)
        return client

    def offers(self, client):
        return any("EXTERNAL" in line for line in client.lines("CAPA"))

    def test_external(self):
        site = self.open()
        for name in ("mail", "common"):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                for text in ("AUTH EXTERNAL =", "AUTH EXTERNAL " + b64("alice")):
                    client = self.client(site, name, maximum_version=version)
                    self.assertTrue(self.offers(client))
                    client.expect(text)
                    client.quit()
        client = self.client(site, "mail")
        client.expect("AUTH EXTERNAL", "+ ")
        client.expect("")
        client.quit()
        site.logged("mech=EXTERNAL")

    def test_refused(self):
        site = self.open()
        client = self.client(site, "mail")
        client.expect("AUTH EXTERNAL " + b64("bob"), "-ERR [AUTH]")
        client.expect("AUTH EXTERNAL " + b64("a\0b"), "-ERR not")
        client.quit()
        client = self.client(site, "other")
        self.assertTrue(self.offers(client))
        client.expect("AUTH EXTERNAL =", "-ERR [AUTH]")
        client.quit()
        site.admin("user", "lock", "alice")
        client = self.client(site, "mail")
        client.expect("AUTH EXTERNAL =", "-ERR [AUTH]")
        client.quit()

    def test_without_certificate(self):
        site = self.open()
        client = self.client(site, None)
        self.assertFalse(self.offers(client))
        client.expect("AUTH EXTERNAL =", "-ERR")
        client.expect("AUTH PLAIN " + test_sasl.plain())
        client.quit()

    def test_foreign_certificate(self):
        """A certificate of another authority ends the handshake."""
        site = self.open()
        self_signed = site.authority.where
        test_tls.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                         "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=alice", "-days", 9,
                         "-keyout", self_signed / "self.k", "-out", self_signed / "self.c")
        made = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
        made.load_cert_chain(str(self_signed / "self.c"), str(self_signed / "self.k"))
        self.refused(site, made, reason="not accepted")

    def test_not_asked(self):
        """Without tls_client_ca nobody is asked for a certificate."""
        site = self.open()
        site.configure(tls_client_ca=None)
        client = self.client(site, "mail")
        self.assertFalse(self.offers(client))
        client.quit()

    def test_no_authorities(self):
        site = self.open()
        site.configure(tls_client_ca=site.top / "nowhere.pem")
        client = self.client(site, "mail")
        self.assertFalse(self.offers(client))
        client.expect("AUTH PLAIN " + test_sasl.plain())
        client.quit()
        site.logged("tls_client_ca")

    def test_resumed(self):
        """The identity outlives a resumption, in another process."""
        site = self.open()
        made = context(site)
        made.load_cert_chain(str(site.authority.where / "mail.c"),
                             str(site.authority.where / "mail.k"))
        client = self.client(site, "mail", made=made)
        client.expect("AUTH EXTERNAL =")
        resume = client.socket.session
        client.quit()
        client = self.client(site, "mail", resume=resume, made=made)
        self.assertTrue(client.socket.session_reused)
        client.expect("AUTH EXTERNAL =")
        client.quit()


class RealClients(Case):
    def need(self, program):
        if not shutil.which(program):
            self.skipTest("%s is not installed" % program)

    def run_client(self, argv, site, good=True):
        home = site.top / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False,
                              env=dict(os.environ, HOME=str(home), LC_ALL="C.UTF-8"))
        if (done.returncode == 0) != good:
            self.fail("%s: status %d\n%s%s\n%s" % (argv, done.returncode, done.stdout[-1500:],
                                                   done.stderr[-1500:], site.log_text()[-1500:]))
        return done.stdout

    def test_curl(self):
        """Each mechanism that curl has, with and without initial response, on both ports."""
        self.need("curl")
        site = self.open()
        plain, tls = site.listen().port, site.listen("-s").port
        for mech in ("PLAIN", "LOGIN", "CRAM-MD5", "+APOP"):
            for url, more in (("pop3://%s:%d/1" % (HOSTNAME, plain), ["--ssl-reqd"]),
                              ("pop3s://%s:%d/1" % (HOSTNAME, tls), [])):
                for initial in ([], ["--sasl-ir"]):
                    if mech == "+APOP" and initial:
                        continue
                    got = self.run_client(
                        ["curl", "-sS", "--cacert", str(site.authority.root), "--resolve",
                         "%s:%d:127.0.0.1" % (HOSTNAME, plain), "--resolve",
                         "%s:%d:127.0.0.1" % (HOSTNAME, tls), "--login-options", "AUTH=" + mech,
                         "-u", "alice:" + PASSWORD, url] + more + initial, site)
                    self.assertEqual(got, common.wire(test_tls.MAIL[0]))
        log = site.log_text()
        for mech in ("PLAIN", "LOGIN", "CRAM-MD5", "APOP"):
            self.assertRegex(log, r"(?m)^login .* mech=%s " % re.escape(mech))

    def test_mpop(self):
        """By libgsasl, but for APOP."""
        self.need("mpop")
        site = self.open()
        ports = {"on": site.listen().port, "off": site.listen("-s").port}
        for auth in ("plain", "cram-md5", "scram-sha-1", "scram-sha-256", "apop", "login",
                     "on"):
            for starttls, port in ports.items():
                with self.subTest(auth=auth, starttls=starttls):
                    config = site.top / "mpoprc"
                    config.write_text(
                        "account default\nhost %s\nport %d\nuser alice\npassword %s\nauth %s\n"
                        "tls on\ntls_starttls %s\ntls_trust_file %s\nkeep on\n"
                        "tls_host_override %s\ndelivery exchange /dev/null\n" % (
                            "127.0.0.1", port, PASSWORD, auth, starttls, site.authority.root,
                            HOSTNAME))
                    config.chmod(0o600)
                    self.run_client(["mpop", "-C", str(config), "--auth-only"], site)

    # What Thunderbird says, and how the answer begins; "...": lines up to the dot.
    PROBES = {"since 102": ["CAPA"], "before": ["AUTH", "CAPA"]}
    LOGINS = {
        "PLAIN": [("AUTH PLAIN", "+ "), (test_sasl.plain(), "+OK")],
        "LOGIN": [("AUTH LOGIN", "+ "), (b64("alice"), "+ "), (b64(PASSWORD), "+OK")],
        "USER": [("USER alice", "+OK"), ("PASS " + PASSWORD, "+OK")],
        # a method that fails is followed by the next one on the same connection
        "PLAIN, then LOGIN": [("AUTH PLAIN", "+ "), (test_sasl.plain(password="old"), "-ERR"),
                              ("AUTH LOGIN", "+ "), (b64("alice"), "+ "), (b64(PASSWORD), "+OK")],
        # one that is not there
        "GSSAPI, then PLAIN": [("AUTH GSSAPI", "-ERR"), ("AUTH PLAIN", "+ "),
                               (test_sasl.plain(), "+OK")],
    }
    MAIL = [("STAT", "+OK 3 "), ("LIST", "..."), ("UIDL", "..."), ("NOOP", "+OK"),
            ("RETR 1", "..."), ("TOP 2 20", "..."), ("XTND XLST Message-Id", "-ERR"),
            ("DELE 1", "+OK"), ("RSET", "+OK"), ("QUIT", "+OK")]

    def play(self, client, rows):
        for said, want in rows:
            if want == "...":
                client.lines(said)
            else:
                client.expect(said, want)

    def test_thunderbird(self):
        """Its probes, its ways to log in and what follows, replayed on both ports."""
        site = self.open(auth_failure_delay=0)
        for version, probes in self.PROBES.items():
            for how, rows in self.LOGINS.items():
                for stls in (False, True):
                    with self.subTest(version=version, how=how, stls=stls):
                        client = self.probed(site, probes, stls)
                        for probe in probes:
                            listed = client.lines(probe)
                        self.assertNotIn("STLS", listed)
                        self.assertIn("SASL", " ".join(listed))
                        self.play(client, rows + self.MAIL)
                        self.assertEqual(client.rest(), b"")
                        client.session.close()
                        client.session.wait()

    def probed(self, site, probes, stls):
        """The client behind its handshake; before STLS it probes in clear as well."""
        if not stls:
            client = self.connect(site)
            client.expect(None)
            return client
        session = site.start(transport="tcp")
        session.greeting()
        for probe in probes:
            listed = session.lines(probe)
        self.assertIn("STLS", listed)
        session.expect("STLS", "+OK...")
        return Client(session, context(site))

    def test_poplib(self):
        import poplib
        site = self.open()
        port = site.listen().port
        client = poplib.POP3("127.0.0.1", port, WAIT)
        client.apop("alice", PASSWORD)
        self.assertEqual(client.stat()[0], 3)
        client.quit()


if __name__ == "__main__":
    common.main()
