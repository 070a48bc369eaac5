#!/usr/bin/env python3
"""TLS on its own port and after STLS, its certificates, tickets and ends."""
import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
import unittest

import common
from common import AS_ROOT, HOSTNAME, PASSWORD, WAIT, poll

MAIL = [common.simple_message(number) for number in range(1, 4)]
OLD = "20200101000000Z"


def openssl(*args, stdin=b""):
    done = subprocess.run(["openssl"] + [str(word) for word in args], input=stdin,
                          capture_output=True, check=False, timeout=WAIT)
    if done.returncode:
        raise AssertionError("openssl %s: %s" % (args, done.stderr.decode()))
    return done.stdout


class Authority:
    """A root and an intermediate below it, which issue certificates."""

    KINDS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
             "rsa": ["rsa:2048"], "ed25519": ["ed25519"]}

    def __init__(self, where):
        self.where = where
        self.root = self._make("root", "/CN=Test Root", ca=True)
        self.middle = self._make("middle", "/CN=Test Intermediate", ca=True, issuer="root")

    def _make(self, name, subject, kind="ec", ca=False, issuer=None, names=(), days=30,
              end=None):
        key, cert = self.where / (name + ".key"), self.where / (name + ".crt")
        text = "basicConstraints=critical,CA:%s\n" % ("TRUE" if ca else "FALSE")
        if names:
            text += "subjectAltName=%s\n" % ",".join("DNS:" + item for item in names)
        ext = self.where / (name + ".ext")
        ext.write_text(text)
        openssl("req", "-newkey", *self.KINDS[kind], "-nodes", "-subj", subject, "-keyout", key,
                "-out", self.where / (name + ".csr"))
        signer = ["-CA", self.where / (issuer + ".crt"), "-CAkey", self.where / (issuer + ".key"),
                  "-CAcreateserial"] if issuer else ["-signkey", key]
        if end:  # x509 knows no end date in 3.0: ca does
            self._sign_by_ca(name, issuer, end, ext)
        else:
            openssl("x509", "-req", "-in", self.where / (name + ".csr"), "-days", days,
                    "-extfile", ext, "-out", cert, *signer)
        key.chmod(0o600)
        return cert

    def _sign_by_ca(self, name, issuer, end, ext):
        (self.where / "index").write_text("")
        (self.where / "serial").write_text("%016X\n" % random.getrandbits(60))
        (self.where / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\n"
            "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n" % (
                self.where / "index", self.where / "serial", self.where))
        openssl("ca", "-batch", "-config", self.where / "ca.cnf", "-in",
                self.where / (name + ".csr"), "-cert", self.where / (issuer + ".crt"),
                "-keyfile", self.where / (issuer + ".key"), "-startdate", "20190101000000Z",
                "-enddate", end, "-extfile", ext, "-out", self.where / (name + ".crt"), "-notext")

    def issue(self, name, kind="ec", names=(HOSTNAME,), **options):
        """A chain file and its key."""
        cert = self._make(name, "/CN=" + names[0], kind, issuer="middle", names=names, **options)
        chain = self.where / (name + ".pem")
        chain.write_bytes(cert.read_bytes() + self.middle.read_bytes())
        return chain, self.where / (name + ".key")


def context(site, **options):
    """A client that trusts the site's authority."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(str(site.authority.root))
    for key, value in options.items():
        setattr(made, key, value)
    return made


class Client:
    """The TLS client's end of a session."""

    def __init__(self, session, made, name=HOSTNAME, resume=None):
        self.session = session
        raw = session.keep[0]
        raw.settimeout(WAIT)
        self.socket = made.wrap_socket(raw, server_hostname=name, session=resume,
                                       suppress_ragged_eofs=False)
        session.keep = [self.socket]
        self.buffer = b""

    def line(self):
        while b"\n" not in self.buffer:
            got = self.socket.recv(65536)
            if not got:
                self.session.fail("the server closed")
            self.buffer += got
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, command):
        self.send(command.encode() + b"\r\n")
        return self.line()

    def expect(self, command, start="+OK"):
        line = self.line() if command is None else self.ask(command)
        if not line.startswith(start.encode()):
            self.session.fail("%r: wanted %s, got %r" % (command, start, line))
        return line

    def lines(self, command):
        self.expect(command)
        found = []
        while True:
            line = self.line()
            if line == b".\r\n":
                return found
            found.append(line[:-2].decode())

    def login(self, user="alice", greeting=True):
        if greeting:
            self.expect(None)
        self.expect("USER " + user)
        self.expect("PASS " + PASSWORD)
        return self

    def rest(self):
        """All octets up to close_notify; without one this raises."""
        while True:
            got = self.socket.recv(65536)
            if not got:
                return self.buffer
            self.buffer += got

    def quit(self):
        self.expect("QUIT")
        if self.rest():
            self.session.fail("octets after the answer to QUIT: %r" % self.buffer)
        self.session.close()
        self.session.wait()


class TlsCase(common.Case):
    def open(self, certificate=True, kind="ec", **options):
        site = self.site(**options)
        site.add_user("alice", "mbox", MAIL)
        where = site.top / "tls"
        where.mkdir(mode=0o700)
        site.authority = Authority(where)
        if certificate:
            chain, key = site.authority.issue("server", kind)
            site.configure(tls_certificate=chain, tls_key=key)
        return site

    def connect(self, site, made=None, name=HOSTNAME, resume=None, args=()):
        return Client(site.start("-s", *args, transport="tcp"), made or context(site), name,
                      resume)

    def stls(self, site, made=None, name=HOSTNAME, resume=None):
        session = site.start(transport="tcp")
        session.greeting()
        session.expect("STLS", "+OK...")
        return Client(session, made or context(site), name, resume)

    def both_ports(self, site, *args, **options):
        yield self.connect(site, *args, **options).login()
        yield self.stls(site, *args, **options).login(greeting=False)

    def refused(self, site, made, name=HOSTNAME, reason=""):
        """The handshake fails with an alert (or without a word), one line is logged, all end."""
        session = site.start("-s", transport="tcp")
        before = site.log_text()
        with self.assertRaises((ssl.SSLError, ConnectionError)) as caught:
            Client(session, made, name)
        session.close()
        session.wait(None)
        self.one_line(site, len(before), reason)
        return str(caught.exception)

    def one_line(self, site, before, reason):
        said = [line for line in site.log_text()[before:].splitlines()
                if "not started as root" not in line]
        self.assertEqual(len(said), 1, said)
        self.assertIn(reason, said[0])


class Endings(TlsCase):
    def test_a_role_hangs(self):
        """SIGTERM ends all, also where the tls role or the session does not listen."""
        site = self.open()
        for name in ("pop3d-tls", "pop3d-session"):
            self.connect(site).login()
            session = site.sessions[-1]
            roles = session.roles()
            os.kill(next(role.pid for role in roles if role.name == name), signal.SIGSTOP)
            session.process.send_signal(signal.SIGTERM)
            session.wait(None, 20)
            common.poll("no role is left", lambda roles=roles: not [
                role for role in roles if common.alive(role.pid)], 2)

    def test_capabilities_after_apop(self):
        """CAPA says the same after a login that asked for no mechanism before."""
        site = self.open(apop="yes")
        site.admin("user", "passwd", "alice", "--apop", stdin=PASSWORD.encode() + b"\n")
        client = self.connect(site)
        stamp = re.search(rb"<[^>]*>", client.line())[0]
        digest = hashlib.md5(stamp + PASSWORD.encode()).hexdigest()
        client.expect("APOP alice " + digest)
        words = client.lines("CAPA")
        self.assertTrue([word for word in words if "SASL" in str(word)], words)
        client.expect("STAT")
        client.quit()


class Handshakes(TlsCase):
    def test_versions(self):
        """1.2 and 1.3 are accepted on both ports; the log says which it was."""
        site = self.open()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            made = context(site, minimum_version=version, maximum_version=version)
            for client in self.both_ports(site, made):
                self.assertEqual(client.socket.version(), version.name.replace("v1_", "v1."))
                self.assertEqual(client.ask("STAT"), b"+OK 3 %d\r\n" % sum(
                    len(common.wire(m)) for m in MAIL))
                client.quit()
        log = site.log_text()
        for text in ("TLSv1.2", "TLSv1.3"):
            self.assertRegex(log, r"(?m)^login .* tls=%s .*resumed=no" % re.escape(text))
        self.assertRegex(log, r"(?m)^connect .* tls=TLSv1.3 ")

    def test_old_versions(self):
        site = self.open()
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            made = context(site)
            made.set_ciphers("ALL:@SECLEVEL=0")
            made.minimum_version = made.maximum_version = version
            said = self.refused(site, made, reason="older than tls_min_version")
            self.assertIn("PROTOCOL_VERSION", said.upper())
        site.configure(tls_min_version="1.3")
        made = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
        self.refused(site, made, reason="older than tls_min_version")
        self.connect(site).login().quit()

    def test_ciphers(self):
        """Only forward secrecy with AEAD."""
        site = self.open()
        for weak in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "AES256-SHA"):
            made = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
            made.set_ciphers(weak + ":@SECLEVEL=0")
            self.refused(site, made, reason="no cipher")
        for good in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                     "ECDHE-ECDSA-CHACHA20-POLY1305"):
            made = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
            made.set_ciphers(good)
            client = self.connect(site, made).login()
            self.assertEqual(client.socket.cipher()[0], good)
            client.quit()

    def test_alpn(self):
        site = self.open()
        made = context(site)
        made.set_alpn_protocols(["imap", "pop3"])
        client = self.connect(site, made).login()
        self.assertEqual(client.socket.selected_alpn_protocol(), "pop3")
        client.quit()
        made = context(site)
        made.set_alpn_protocols(["http/1.1", "ftp"])
        said = self.refused(site, made, reason="ALPN")
        self.assertIn("APPLICATION PROTOCOL", said.upper().replace("_", " "))

    def test_kinds_of_keys(self):
        """RSA (PSS and PKCS#1), ECDSA, Ed25519, on 1.2 and 1.3."""
        for kind in ("rsa", "ec", "ed25519"):
            site = self.open(kind=kind)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(kind=kind, version=version.name):
                    made = context(site, minimum_version=version, maximum_version=version)
                    self.connect(site, made).login().quit()

    def test_rsa_pkcs1(self):
        """A 1.2 client that knows only PKCS#1 signatures."""
        site = self.open(kind="rsa")
        port = site.listen("-s").port
        done = subprocess.run(
            ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-tls1_2", "-sigalgs",
             "RSA+SHA256", "-quiet", "-verify_quiet"], input=b"QUIT\r\n", capture_output=True,
            timeout=WAIT, check=False)
        self.assertIn(b"+OK bye", done.stdout)

    def test_two_certificates(self):
        """RSA and ECDSA at once: each client gets what it can use."""
        site = self.open(certificate=False)
        ec, rsa = site.authority.issue("one"), site.authority.issue("two", "rsa")
        site.configure(tls_certificate="%s %s" % (ec[0], rsa[0]),
                       tls_key="%s %s" % (rsa[1], ec[1]))
        for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
            made = context(site, maximum_version=ssl.TLSVersion.TLSv1_2)
            made.set_ciphers(cipher)
            for client in self.both_ports(site, made):
                self.assertEqual(client.socket.cipher()[0], cipher)
                client.quit()
        self.connect(site).login().quit()

    def test_names(self):
        """SNI: a pair of its own for a name, the first pair for others and for none."""
        site = self.open()
        other = site.authority.issue("other", "rsa", names=("mail.example.net",))
        site.configure(**{"tls_certificate.mail.example.net": other[0],
                          "tls_key.mail.example.net": other[1]})
        for asked, wanted in ((HOSTNAME, HOSTNAME), ("mail.example.net", "mail.example.net"),
                              ("MAIL.example.NET", "mail.example.net"),
                              ("unknown.example", HOSTNAME), (None, HOSTNAME)):
            made = context(site, check_hostname=False)
            for client in self.both_ports(site, made, asked):
                names = [value for _, value in client.socket.getpeercert()["subjectAltName"]]
                self.assertEqual(names, [wanted], asked)
                client.quit()
        # a broken pair: the first one serves, and the log says why
        other[0].write_text("nothing\n")
        made = context(site, check_hostname=False)
        client = self.connect(site, made, "mail.example.net").login()
        names = [value for _, value in client.socket.getpeercert()["subjectAltName"]]
        self.assertEqual(names, [HOSTNAME])
        client.quit()
        site.logged("server name mail.example.net")

    def test_full_chain(self):
        """A client that knows the root alone gets the intermediate."""
        site = self.open()
        self.connect(site).login().quit()
        alone = site.authority.where / "server.crt"
        site.configure(tls_certificate=alone)
        self.refused(site, context(site), reason="authority")

    def test_credential(self):
        site = self.open()
        chain, key = site.options["tls_certificate"], site.options["tls_key"]
        site.configure(tls_certificate="credential:" + chain.name, tls_key="credential:" + key.name)
        env = dict(os.environ, CREDENTIALS_DIRECTORY=str(chain.parent))
        session = site.start("-s", transport="tcp", env=env)
        Client(session, context(site)).login().quit()
        session = site.start("-s", transport="tcp")
        session.end_of_file()
        session.close()
        self.assertNotEqual(session.wait(None), 0)
        site.logged("CREDENTIALS_DIRECTORY")

    def test_pipes(self):
        """Two pipes instead of a socket: s6 and friends."""
        site = self.open()
        session = site.start("-s", transport="pipes")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(site).wrap_bio(incoming, outgoing, server_hostname=HOSTNAME)

        def pump(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    session.send(outgoing.read())
                    session.buffer = b""
                    poll("octets", lambda: (session._fill(0.1), session.buffer)[1])
                    incoming.write(session.buffer)
                    session.buffer = b""
        pump(tls.do_handshake)
        self.assertTrue(pump(lambda: tls.read(4096)).startswith(b"+OK"))
        tls.write(b"QUIT\r\n")
        self.assertTrue(pump(lambda: tls.read(4096)).startswith(b"+OK"))
        session.close()
        session.wait()

    def test_no_renegotiation(self):
        site = self.open()
        port = site.listen("-s").port
        with subprocess.Popen(
                ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-tls1_2",
                 "-verify_quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT) as client:
            said = b""
            os.set_blocking(client.stdout.fileno(), False)

            def has(word):
                nonlocal said
                with contextlib.suppress(BlockingIOError):
                    said += os.read(client.stdout.fileno(), 65536)
                return word in said
            poll("greeting", lambda: has(b"server ready"))
            client.stdin.write(b"R\n")
            client.stdin.flush()
            poll("no renegotiation: %r" % said, lambda: has(b"no renegotiation"))
            client.kill()

    def test_not_tls(self):
        """Plaintext, HTTP and noise on the TLS port: an alert, one line, the end."""
        site = self.open()
        for data, reason in ((b"GET / HTTP/1.0\r\n\r\n", "HTTP"),
                             (b"USER alice\r\nPASS x\r\n", "TLS handshake failed"),
                             (bytes(range(256)) * 8, "TLS handshake failed")):
            before = len(site.log_text())
            session = site.start("-s", transport="tcp")
            session.send(data)
            poll("the end", lambda s=session: (s._fill(0.1), s.at_end)[1])
            self.assertNotIn(b"+OK", session.buffer)
            session.close()
            session.wait()
            self.one_line(site, before, reason)

    def test_nothing_comes(self):
        """A client that goes without a word, and one that the login's time ends."""
        site = self.open(auth_timeout=1)
        session = site.start("-s", transport="tcp")
        session.close()
        session.wait()
        site.logged("the client went away")
        session = site.start("-s", transport="tcp")
        session.end_of_file()
        session.close()
        session.wait()

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_curl(self):
        site = self.open()
        for scheme, args, more in (("pop3s", ["-s"], []), ("pop3", [], ["--ssl-reqd"])):
            port = site.listen(*args).port
            done = subprocess.run(
                ["curl", "-sS", "--cacert", str(site.authority.root), "--connect-to",
                 "%s:%d:127.0.0.1:%d" % (HOSTNAME, port, port), "-u", "alice:" + PASSWORD,
                 "%s://%s:%d/2" % (scheme, HOSTNAME, port)] + more, capture_output=True,
                timeout=WAIT, check=False)
            self.assertEqual(done.stdout, common.wire(MAIL[1]), done.stderr)


class Stls(TlsCase):
    def test_rules(self):
        """CAPA, twice, after login, with arguments, and what USER said before."""
        site = self.open()
        session = site.start(transport="tcp")
        session.greeting()
        self.assertIn("STLS", session.lines("CAPA"))
        session.expect("STLS now", "-ERR...")
        session.expect("USER alice", "+OK...")
        session.expect("STLS", "+OK...")
        client = Client(session, context(site))
        self.assertTrue(client.ask("PASS " + PASSWORD).startswith(b"-ERR"))
        self.assertNotIn("STLS", client.lines("CAPA"))
        self.assertTrue(client.ask("STLS").startswith(b"-ERR"))
        client.login(greeting=False)
        self.assertNotIn("STLS", client.lines("CAPA"))
        self.assertTrue(client.ask("STLS").startswith(b"-ERR"))
        client.quit()
        session = site.login()
        session.expect("STLS", "-ERR...")
        self.assertNotIn("STLS", session.lines("CAPA"))
        session.quit()

    def test_off(self):
        site = self.open(certificate=False)
        session = site.start()
        session.greeting()
        self.assertNotIn("STLS", session.lines("CAPA"))
        session.expect("STLS", "-ERR...")
        session.quit()

    def test_cleartext_login(self):
        """cleartext_login = no: USER is offered inside TLS alone."""
        site = self.open(cleartext_login="no")
        session = site.start(transport="tcp")
        session.greeting()
        self.assertNotIn("USER", session.lines("CAPA"))
        session.expect("USER alice", "-ERR...")
        session.expect("STLS", "+OK...")
        client = Client(session, context(site))
        self.assertIn("USER", client.lines("CAPA"))
        client.login(greeting=False).quit()
        self.connect(site).login().quit()

    def test_injection(self):
        """What comes with STLS is never taken for the client's, wherever the segments part."""
        site = self.open()
        data = b"STLS\r\nUSER mallory\r\nNOOP\r\n"
        for cut in [len(data)] + list(range(1, len(data))):
            session = site.start(transport="tcp")
            session.greeting()
            session.keep[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session.send(data[:cut])
            if cut < len(data):
                if cut < 6:
                    time.sleep(0.002)
                session.send(data[cut:])
            session.expect(None, "+OK begin TLS...")
            # either it was dropped, and the handshake works, or it is no TLS, and it fails
            try:
                client = Client(session, context(site))
            except (ssl.SSLError, ConnectionError):
                session.close()
                session.wait()
                continue
            self.assertTrue(client.ask("PASS " + PASSWORD).startswith(b"-ERR give USER"), cut)
            client.login(greeting=False).quit()
        self.assertNotIn("mallory", site.log_text())

    def test_octets_after_client_hello(self):
        """Plaintext behind the ClientHello fails the handshake; nothing of it is obeyed."""
        site = self.open()
        for stls in (True, False):
            session = site.start(*([] if stls else ["-s"]), transport="tcp")
            if stls:
                session.greeting()
                session.expect("STLS", "+OK...")
            hello = ssl.MemoryBIO()
            tls = context(site).wrap_bio(ssl.MemoryBIO(), hello, server_hostname=HOSTNAME)
            with self.assertRaises(ssl.SSLWantReadError):
                tls.do_handshake()
            session.send(hello.read() + b"USER alice\r\nPASS " + PASSWORD.encode() + b"\r\n")
            poll("the end", lambda s=session: (s._fill(0.1), s.at_end)[1])
            self.assertNotIn(b"+OK", session.buffer)
            session.close()
            session.wait()
        self.assertNotRegex(site.log_text(), "(?m)^login")

    def test_failed_handshake_closes(self):
        site = self.open()
        session = site.start(transport="tcp")
        session.greeting()
        session.expect("STLS", "+OK...")
        session.send(b"QUIT\r\n")
        poll("the end", lambda: (session._fill(0.1), session.at_end)[1])
        self.assertNotIn(b"+OK", session.buffer)
        session.close()
        session.wait()
        site.logged("TLS handshake failed")


class Certificates(TlsCase):
    """What is wrong costs the plain port nothing but STLS, and -s answers nothing."""

    def wrong(self, site, text):
        for _ in range(2):  # found out, then remembered
            before = len(site.log_text())
            session = site.start()
            session.greeting()
            self.assertNotIn("STLS", session.lines("CAPA"))
            session.expect("STLS", "-ERR...")
            session.expect("USER alice", "+OK...")
            session.expect("PASS " + PASSWORD, "+OK...")
            session.quit()
            said = [line for line in site.log_text()[before:].splitlines() if "TLS" in line]
            self.assertIn(text, "\n".join(said))
            self.assertEqual(len(said), 1, said)
        session = site.start("-s", transport="tcp")
        hello = ssl.MemoryBIO()
        tls = context(site).wrap_bio(ssl.MemoryBIO(), hello, server_hostname=HOSTNAME)
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        session.send(hello.read())
        session.end_of_file()  # and not one octet
        session.close()
        session.wait(None)

    def test_missing(self):
        site = self.open()
        site.configure(tls_certificate=site.top / "nowhere.pem")
        self.wrong(site, "nowhere.pem")

    def test_no_pem(self):
        site = self.open()
        site.options["tls_certificate"].write_text("hello\n")
        self.wrong(site, "holds no certificate")

    def test_no_key_in_the_key_file(self):
        site = self.open()
        site.options["tls_key"].write_text("hello\n")
        self.wrong(site, "holds no private key")

    def test_key_open_to_others(self):
        site = self.open()
        site.options["tls_key"].chmod(0o644)
        self.wrong(site, "chmod o=")

    def test_mismatch(self):
        site = self.open()
        site.configure(tls_key=site.authority.issue("another")[1])
        self.wrong(site, "belongs to the certificate")

    def test_expired(self):
        site = self.open(certificate=False)
        chain, key = site.authority.issue("old", end=OLD)
        site.configure(tls_certificate=chain, tls_key=key)
        self.wrong(site, "expired on 2020-01-01")

    def test_renewed(self):
        """The next session serves the new certificate, without any reload."""
        site = self.open()
        first = self.stls(site)
        chain, key = site.authority.issue("new")
        numbers = [first.socket.getpeercert()["serialNumber"]]
        shutil.copy(chain, site.options["tls_certificate"])
        shutil.copy(key, site.options["tls_key"])
        for client in self.both_ports(site):
            numbers.append(client.socket.getpeercert()["serialNumber"])
            client.quit()
        first.login(greeting=False).quit()
        self.assertEqual(len(set(numbers)), 2, numbers)
        self.assertEqual(numbers[1], numbers[2])

    @unittest.skipUnless(AS_ROOT, "one uid for all")
    def test_no_keeper_user(self):
        site = self.open(keeper_user="no-such-user-here")
        self.wrong(site, "keeper_user = no-such-user-here")

    def test_no_helper(self):
        site = self.open()
        (site.top / "libexec/pop3d-tls").unlink()
        self.wrong(site, "pop3d-tls")

    def test_without_run_dir(self):
        """Where run_dir cannot be, TLS works, without tickets."""
        site = self.open()
        (site.top / "file").write_text("")
        site.configure(run_dir=site.top / "file/run")
        for client in self.both_ports(site):
            client.quit()
        site.logged("run_dir" if "run_dir" in site.log_text() else "file/run")


class Tickets(TlsCase):
    def again(self, site, made, client):
        resume = client.socket.session
        client.quit()
        return self.connect(site, made, resume=resume).login()

    def test_resumption(self):
        """At least 95 % of further sessions, each in processes of its own."""
        site = self.open()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            made = context(site, minimum_version=version, maximum_version=version)
            client = self.connect(site, made).login()
            self.assertFalse(client.socket.session_reused)
            resumed = 0
            for _ in range(20):
                client = self.again(site, made, client)
                resumed += client.socket.session_reused
            client.quit()
            self.assertGreaterEqual(resumed, 19, version.name)
        self.assertIn("resumed=yes", site.log_text())

    def test_by_stls_too(self):
        site = self.open()
        made = context(site)
        client = self.connect(site, made).login()
        resume = client.socket.session
        client.quit()
        client = self.stls(site, made, resume=resume).login(greeting=False)
        self.assertTrue(client.socket.session_reused)
        client.quit()

    def test_rotation(self):
        """After one rotation a ticket is still good, after two it is not."""
        site = self.open()
        made = context(site)
        client = self.connect(site, made).login()
        resume = client.socket.session
        client.quit()
        site.admin("tls", "rotate")
        client = self.connect(site, made, resume=resume).login()
        self.assertTrue(client.socket.session_reused)
        client.quit()
        site.admin("tls", "rotate")
        client = self.connect(site, made, resume=resume).login()
        self.assertFalse(client.socket.session_reused)
        client.quit()

    def test_keys_are_nobodys(self):
        site = self.open()
        self.connect(site).login().quit()
        status = (site.top / "run/tickets").stat()
        self.assertEqual(status.st_mode & 0o7777, 0o600)
        self.assertEqual(status.st_uid, os.geteuid())

    def test_damaged_file(self):
        """A damaged key file is made anew: full handshakes, and tickets again."""
        site = self.open()
        made = context(site)
        client = self.connect(site, made).login()
        for damage in (b"", b"x" * 300, (site.top / "run/tickets").read_bytes()[:-1] + b"!"):
            (site.top / "run/tickets").write_bytes(damage)
            client = self.again(site, made, client)
            self.assertFalse(client.socket.session_reused)
            client = self.again(site, made, client)
            self.assertTrue(client.socket.session_reused)
        client.quit()

    def test_many_at_once(self):
        """Thirty sessions make the first key together; every ticket is good afterwards."""
        site = self.open()
        made = context(site)
        sessions = [site.start("-s", transport="tcp") for _ in range(30)]
        clients = [Client(session, made) for session in sessions]
        for client in clients:
            client.expect(None)
        resumes = [client.socket.session for client in clients]
        for client in clients:
            client.quit()
        good = 0
        for resume in resumes[::3]:
            client = self.connect(site, made, resume=resume)
            client.expect(None)
            good += client.socket.session_reused
            client.quit()
        self.assertGreaterEqual(good, 9)

    def test_openssl(self):
        """openssl s_client over separate processes, with a session file."""
        site = self.open()
        port = site.listen("-s").port
        saved = site.top / "session.pem"
        for number in range(3):
            given = ["-sess_in", str(saved)] if number else []
            with subprocess.Popen(
                    ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-ign_eof",
                     "-crlf", "-sess_out", str(saved)] + given, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT) as client:
                said, _ = client.communicate(b"CAPA\nQUIT\n", timeout=WAIT)
            self.assertIn(b"Reused, TLSv1.3" if number else b"New, TLSv1.3", said)


class Ends(TlsCase):
    def test_truncated(self):
        """A connection that is cut, with and without close_notify, deletes nothing."""
        site = self.open()
        before = site.content(site.users["alice"])
        for how in ("cut", "reset", "notify"):
            for client in self.both_ports(site):
                client.expect("DELE 1")
                client.expect("DELE 2")
                if how == "reset":
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                             struct.pack("ii", 1, 0))
                if how == "notify":
                    client.socket.unwrap().close()
                client.session.close()
                client.session.wait()
        self.assertEqual(site.content(site.users["alice"]), before)
        self.assertEqual(site.log_text().count("reason=lost"), 6, site.log_text())

    def test_answer_to_quit(self):
        """It always comes, with close_notify, whatever the client has sent behind it."""
        site = self.open()
        for number in range(10):
            for client in self.both_ports(site):
                client.send(b"STAT\r\nQUIT\r\n" + b"NOOP\r\n" * (200 * number))
                self.assertTrue(client.line().startswith(b"+OK 3"))
                self.assertEqual(client.rest(), b"+OK bye\r\n")
                client.session.close()
                client.session.wait()

    def test_large_answers(self):
        """Forty MB through a slow reader: whole, and neither side is held in memory."""
        site = self.open()
        big = common.simple_message(1, 20 << 20)
        site.fill(site.users["alice"], [big] * 2)
        client = self.connect(site).login()
        client.send(b"RETR 1\r\nRETR 2\r\nQUIT\r\n")
        time.sleep(0.3)
        sent = common.stuffed(common.wire(big))
        for _ in range(2):
            self.assertRegex(client.line(), rb"\+OK")
            while len(client.buffer) < len(sent):
                client.buffer += client.socket.recv(1 << 20)
            self.assertEqual(client.buffer[:len(sent)], sent)
            client.buffer = client.buffer[len(sent):]
        self.assertTrue(client.line().startswith(b"+OK"))
        client.rest()
        client.session.close()
        client.session.wait()

    def test_stalled_client(self):
        """A client that takes nothing is given up after idle_timeout."""
        site = self.open(idle_timeout=1)
        site.fill(site.users["alice"], [common.simple_message(1, 16 << 20)])
        client = self.connect(site).login()
        client.send(b"RETR 1\r\n")
        client.session.wait(None)

    def test_shutdown(self):
        """SIGTERM to the monitor ends all with a last word."""
        site = self.open()
        for client in self.both_ports(site):
            client.session.process.terminate()
            self.assertTrue(client.rest().startswith(b"-ERR [SYS/TEMP]"))
            client.session.close()
            client.session.wait()


class Secrets(TlsCase):
    """Where the private key is, and for how long."""

    def scalars(self, key):
        """The secret numbers of a key, as octets."""
        text = openssl("pkey", "-in", key, "-noout", "-text").decode()
        found = []
        for name in ("priv", "prime1", "prime2", "privateExponent"):
            match = re.search(name + r":\n((?:    [0-9a-f:]+\n)+)", text)
            if match:
                found.append(bytes.fromhex(re.sub(r"[^0-9a-f]", "", match[1])).lstrip(b"\0"))
        assert found, text
        return found

    def holders(self, session, numbers):
        """Names of the processes that have a secret number in memory, in either byte order."""
        holders = set()
        pieces = [piece for n in numbers for piece in (n[:24], n[::-1][:24])]
        for role in session.roles():
            with open("/proc/%d/maps" % role.pid, encoding="utf-8") as maps, \
                    open("/proc/%d/mem" % role.pid, "rb", 0) as memory:
                for line in maps:
                    match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
                    if not match or "[vvar" in line or "[vsyscall" in line:
                        continue
                    start, end = int(match[1], 16), int(match[2], 16)
                    with contextlib.suppress(OSError):
                        memory.seek(start)
                        content = memory.read(end - start)
                        if any(piece in content for piece in pieces):
                            holders.add(role.name)
        return holders

    def half_open(self, site, session):
        """The client stops before its Finished: everything was signed."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(site).wrap_bio(incoming, outgoing, server_hostname=HOSTNAME)
        while True:
            try:
                tls.do_handshake()
                return tls, incoming, outgoing
            except ssl.SSLWantReadError:
                session.send(outgoing.read())
            poll("octets", lambda: (session._fill(0.1), session.buffer)[1])
            incoming.write(session.buffer)
            session.buffer = b""

    @unittest.skipIf(common.SANITIZED, "the sanitizer's own memory has no end")
    @unittest.skipUnless(AS_ROOT, "others' memory is root's to read")
    def test_key_in_the_keeper_alone(self):
        for kind in ("ec", "rsa"):
            site = self.open(kind=kind)
            numbers = self.scalars(site.options["tls_key"])
            session = site.start("-s", transport="tcp")
            tls, incoming, outgoing = self.half_open(site, session)
            poll("the keeper has signed", lambda s=session: self.holders(s, numbers))
            self.assertEqual(self.holders(session, numbers), {"pop3d-keeper"})
            session.send(outgoing.read())
            poll("the keeper is gone", lambda s=session: not [
                role for role in s.roles() if role.name == "pop3d-keeper"])
            poll("greeting", lambda s=session: (s._fill(0.1), s.buffer)[1])
            incoming.write(session.buffer)
            session.buffer = b""
            self.assertTrue(tls.read(4096).startswith(b"+OK"))
            self.assertEqual(self.holders(session, numbers), set())
            session.close()
            session.wait()

    @unittest.skipUnless(AS_ROOT, "one uid for all")
    def test_rights(self):
        """Uids, roots and descriptors of the two roles in the middle of a handshake."""
        site = self.open()
        session = site.start("-s", transport="tcp")
        tls, _, outgoing = self.half_open(site, session)
        roles = {role.name: role for role in session.roles()}
        keeper, relay = roles["pop3d-keeper"], roles["pop3d-tls"]
        self.assertEqual(keeper.uids, [common.UID_KEEPER] * 4)
        self.assertEqual(relay.uids, [common.UID_SESSION] * 4)
        for role in (keeper, relay):
            self.assertEqual(role.groups, [])
            self.assertEqual(role.capabilities, 0)
            self.assertTrue(role.no_new_privs)
            self.assertEqual(role.link("root"), str(site.top / "libexec/empty"))
        holds = {role.name: " ".join(role.descriptors().values()) for role in (keeper, relay)}
        self.assertNotIn(".key", holds["pop3d-tls"])
        self.assertNotIn("tickets", holds["pop3d-tls"])
        self.assertNotIn("server.pem", holds["pop3d-keeper"])
        client = os.readlink("/proc/self/fd/%d" % session.keep[0].fileno())
        self.assertNotIn(client, holds["pop3d-keeper"])
        sockets = {name: role.descriptors() for name, role in roles.items()}
        tcp = sockets["pop3d-tls"][0]
        self.assertNotIn(tcp, sockets["pop3d-session"].values(), "the session holds the client")
        self.assertNotIn(tcp, sockets["pop3d-keeper"].values())
        self.assertNotIn("key", " ".join(sockets["pop3d-session"].values()))
        session.send(outgoing.read())
        session.close()
        session.wait()
        self.assertIsNotNone(tls)


class Admin(TlsCase):
    def check(self, site, status, *words):
        said = site.admin("tls", "check", status=status)
        for word in words:
            self.assertIn(word, said)
        return said

    def test_check(self):
        site = self.open()
        self.check(site, 0, "good", "days left", HOSTNAME)
        site.configure(hostname="pop.example.com")
        self.check(site, 0, "warning", "pop.example.com")
        site.configure(hostname=HOSTNAME)
        site.options["tls_key"].chmod(0o644)
        self.check(site, 1, "chmod o=")
        site.options["tls_key"].chmod(0o600)
        good = site.options["tls_certificate"].read_bytes()
        where = site.authority.where
        site.options["tls_certificate"].write_bytes(
            (where / "middle.crt").read_bytes() + (where / "server.crt").read_bytes())
        self.check(site, 1, "certificate 2 of the file")
        site.options["tls_certificate"].write_bytes(
            (where / "server.crt").read_bytes() + (where / "root.crt").read_bytes())
        self.check(site, 1, "chain order")
        site.options["tls_certificate"].write_bytes((where / "server.crt").read_bytes())
        self.check(site, 0, "issuer's certificate is not in the file")
        site.options["tls_certificate"].write_bytes(good)
        key = site.options["tls_key"]
        site.configure(tls_key=site.authority.issue("another")[1])
        self.check(site, 1, "no private key of tls_key belongs")
        site.configure(tls_key=key)
        chain, key = site.authority.issue("old", end=OLD)
        site.configure(tls_certificate=chain, tls_key=key)
        self.check(site, 1, "expired on 2020-01-01")

    def test_selfsigned(self):
        """TLS in one command and two lines."""
        site = self.open(certificate=False)
        chain, key = site.top / "etc/own.pem", site.top / "etc/own.key"
        site.configure(tls_certificate=chain, tls_key=key)
        site.admin("tls", "selfsigned", HOSTNAME, "alias.example.org")
        self.assertEqual(key.stat().st_mode & 0o7777, 0o600)
        self.check(site, 0, "self-signed", "ECDSA P-256", "alias.example.org")
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.load_verify_locations(str(chain))
        for client in self.both_ports(site, made, "alias.example.org"):
            client.quit()
        site.admin("tls", "selfsigned", status=73)

    def test_json(self):
        import json  # only here
        site = self.open()
        said = json.loads(site.admin("--json", "tls", "check"))
        self.assertEqual(said[0]["names"], [HOSTNAME])
        self.assertEqual(said[0]["errors"], [])
        self.assertIn(said[0]["days_left"], (29, 30))


if __name__ == "__main__":
    common.main()
