#!/usr/bin/env python3
"""The PROXY protocol: raw headers, and the real programs that send them.

A client comes from 127.0.0.5, a proxy from 127.0.0.1, so the log tells them apart.
"""
import contextlib
import http.server
import json
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

import common
import test_tls
from common import HOSTNAME, PASSWORD, WAIT, poll

MAIL = [common.simple_message(number) for number in range(1, 4)]
CLIENT = "127.0.0.5"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 110\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def log_of(site):
    """The log without the sessions' ids, which are no matter here."""
    return re.sub(r" session=\S+", "", site.log_text())


def logged(site, word):
    poll("%r in the log:\n%s" % (word, log_of(site)), lambda: word in log_of(site))


def v2(command=1, family=0x11, rest=b"", version=2):
    return SIGNATURE + bytes([version << 4 | command, family]) + len(rest).to_bytes(2, "big") + rest


def v2_client(source="192.0.2.7", port=4711, tlvs=b""):
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    target = "2001:db8::9" if ":" in source else "198.51.100.9"
    return v2(1, 0x21 if ":" in source else 0x11,
              socket.inet_pton(kind, source) + socket.inet_pton(kind, target) +
              port.to_bytes(2, "big") + (110).to_bytes(2, "big") + tlvs)


GOOD = {
    "v1": (V1, "192.0.2.7", 4711),
    "v1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::9 1 995\r\n", "2001:db8::7", 1),
    "v2": (v2_client(), "192.0.2.7", 4711),
    "v2, IPv6": (v2_client("2001:db8::7"), "2001:db8::7", 4711),
    "v2, mapped": (v2_client("::ffff:192.0.2.7"), "192.0.2.7", 4711),
    "v2, TLVs": (v2_client(tlvs=b"\x04\0\3abc\x20\0\5\1\0\0\0\0\xea\0\1x"), "192.0.2.7", 4711),
    "v2, many TLVs": (v2_client(tlvs=b"\xee\x0f\xa0" + bytes(4000)), "192.0.2.7", 4711),
}
UNKNOWN = {
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN, longest": b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n",
    "v2 UNSPEC": v2(1, 0, b""),
    "v2 UNIX": v2(1, 0x31, bytes(216)),
}
BAD = {
    "a command": b"CAPA\r\n",
    "TLS": b"\x16\x03\x01\x02\0\x01",
    "v1 too long": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v1 endless": b"PROXY TCP4 " + b"1" * 4000,
    "v1 of another family": b"PROXY TCP5 192.0.2.7 198.51.100.9 4711 110\r\n",
    "v1 bare LF": V1.replace(b"\r", b""),
    "v2 bad signature": SIGNATURE[:-1] + b"\r" + v2_client()[12:],
    "v2 of version 3": v2(1, 0x11, bytes(12), version=3),
    "v2 too short": v2(1, 0x11, bytes(11)),
    "v2 another command": v2(2, 0x11, bytes(12)),
}


class Raw(test_tls.TlsCase):
    def site_for(self, trusted="127.0.0.1/32", **options):
        site = self.site(proxy_protocol=trusted, **options)
        site.add_user("alice", messages=MAIL)
        return site

    def begin(self, site, header, *args, **options):
        session = site.start(*args, **dict({"transport": "tcp"}, **options))
        session.send(header)
        return session

    def test_header(self):
        """With commands right behind it, in one segment; none of them is lost."""
        site = self.site_for(cleartext_login="yes")
        for name, (header, address, port) in GOOD.items():
            with self.subTest(name=name):
                session = self.begin(site, header + b"USER alice\r\nPASS %s\r\nSTAT\r\nQUIT\r\n" %
                                     PASSWORD.encode())
                for _ in range(5):
                    session.expect(None, "+OK...")
                session.ended()
                self.assertRegex(log_of(site), r"(?m)^connect addr=%s port=%d\b" % (address, port))
                self.assertIn("login addr=%s user=alice" % address, log_of(site))
                site.log.write_text("")

    def test_octet_by_octet(self):
        """No greeting before the last octet."""
        site = self.site_for()
        for header in (V1, v2_client(tlvs=b"\xee\0\2xx")):
            session = site.start(transport="tcp")
            session.keep[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in header[:-1]:
                session.send(bytes([octet]))
            self.assertFalse(select.select([session.read_fd], [], [], 0.05)[0])
            session.send(header[-1:])
            session.greeting()
            session.quit()

    def test_pipes(self):
        """Descriptor 0 is no socket, and a launcher told the proxy's address."""
        site = self.site_for("192.0.2.100")
        for name in ("REMOTE_ADDR", "TCPREMOTEIP"):
            session = self.begin(site, V1, transport="pipes", env={name: "192.0.2.100"})
            session.greeting()
            session.quit()
        self.assertEqual(log_of(site).count("connect addr=192.0.2.7 port=4711"), 2)

    def test_environment(self):
        """Without a proxy the launcher's word is the client's address."""
        site = self.site_for("192.0.2.100")
        for names in (("REMOTE_ADDR", "REMOTE_PORT"), ("TCPREMOTEIP", "TCPREMOTEPORT")):
            session = site.start(transport="pipes", env=dict(zip(names, ("192.0.2.9", "4712"))))
            session.greeting()
            session.quit()
        self.assertEqual(log_of(site).count("connect addr=192.0.2.9 port=4712"), 2)

    def test_unknown(self):
        """The proxy's address, and nobody local."""
        site = self.site_for()
        for name, header in UNKNOWN.items():
            with self.subTest(name=name):
                session = self.begin(site, header)
                session.greeting()
                session.expect("USER alice", "-ERR...")
                session.quit()
        self.assertEqual(log_of(site).count("connect addr=127.0.0.1"), len(UNKNOWN))

    def test_local(self):
        """The proxy speaks for itself, from here."""
        site = self.site_for()
        for header in (v2(0, 0, b""), v2(0, 0x11, bytes(12)), v2(0, 0xff, b"abc")):
            session = self.begin(site, header)
            session.login()
            session.quit()
        self.assertEqual(log_of(site).count("connect addr=127.0.0.1"), 3)

    def test_broken(self):
        """Closed without an octet, one line, and no session was there."""
        for args in ((), ("-s",)):
            site = self.open(proxy_protocol="127.0.0.1")
            for name, header in BAD.items():
                with self.subTest(name=name, args=args):
                    session = self.begin(site, header, *args)
                    session.ended(status=None)
                    text = log_of(site)
                    self.assertIn('error addr=127.0.0.1 text="PROXY header: ', text)
                    self.assertNotIn("connect", text)
                    self.assertNotIn("logout", text)
                    site.log.write_text("")

    def test_cut(self):
        """The proxy leaves in the middle; without an octet it is a health check."""
        site = self.site_for()
        for header in (b"", b"P", V1[:-1], SIGNATURE, v2_client()[:-1]):
            session = self.begin(site, header)
            session.keep[0].shutdown(socket.SHUT_WR)
            session.ended(status=None)
            self.assertIn("cut short" if header else "none came", log_of(site))
            self.assertNotIn("logout", log_of(site))
            site.log.write_text("")

    def test_nothing_comes(self):
        site = self.site_for(auth_timeout=1)
        for header in (b"", V1[:-1]):
            self.begin(site, header).ended(status=None)

    def test_untrusted(self):
        """From anybody else a header is no header, and its address nobody's."""
        site = self.site_for("192.0.2.0/24 ::1")
        session = site.start(transport="tcp")
        session.greeting()
        session.send(V1 + b"NOOP\r\n")
        session.expect(None, "-ERR...")
        session.expect(None, "-ERR...")
        session.quit()
        self.assertIn("connect addr=127.0.0.1", log_of(site))
        self.assertNotIn("192.0.2.7", log_of(site))

    def test_local_passwords(self):
        """cleartext_login = local looks at the client's address."""
        site = self.site_for()
        session = self.begin(site, V1)
        session.greeting()
        self.assertNotIn("USER", session.lines("CAPA"))
        session.expect("USER alice", "-ERR...")
        session.quit()
        session = self.begin(site, V1.replace(b"192.0.2.7", b"127.0.0.9"))
        session.login()
        session.quit()
        # a far proxy's loopback is not ours
        site.configure(proxy_protocol="192.0.2.100")
        session = self.begin(site, V1.replace(b"192.0.2.7", b"127.0.0.9"), transport="pipes",
                             env={"REMOTE_ADDR": "192.0.2.100"})
        session.greeting()
        session.expect("USER alice", "-ERR...")
        session.quit()

    def test_brake_and_lock(self):
        """Penalties and the lock's record are the client's, not the proxy's."""
        site = self.site_for(cleartext_login="yes", penalty_step=1, penalty_after=1,
                             penalty_exempt=None)
        session = self.begin(site, V1)
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH]...")
        session.quit()
        self.assertIn("login-failed addr=192.0.2.7 user=alice", log_of(site))
        listed = json.loads(site.admin("--json", "penalty", "list"))
        self.assertEqual([row["name"] for row in listed if row["kind"] == "address"],
                         ["192.0.2.7"])
        session = self.begin(site, V1)
        session.login()
        lock = json.loads(site.admin("--json", "lock", "show", "alice"))
        self.assertEqual(lock["address"], "192.0.2.7")
        session.quit()

    def test_tls(self):
        """-s: the header before the handshake, which nobody but tls reads."""
        site = self.open(proxy_protocol="127.0.0.1")
        for header in (V1, v2_client(tlvs=b"\xee\0\2xx"), b"PROXY UNKNOWN\r\n", v2(0, 0, b"")):
            for together in (False, True):
                with self.subTest(header=header, together=together):
                    client = self.by_tls(site, header, together)
                    client.login()
                    self.assertEqual(len(client.lines("UIDL")), len(MAIL))
                    client.quit()
        text = log_of(site)
        self.assertEqual(text.count("connect addr=192.0.2.7 port=4711 tls=TLSv1.3"), 4)
        self.assertEqual(text.count("connect addr=127.0.0.1"), 4)

    def by_tls(self, site, header, together):
        """A TLS client behind a header, in one segment with its first octets or alone."""
        session = site.start("-s", transport="tcp")
        if not together:
            session.send(header)
            return test_tls.Client(session, test_tls.context(site))
        inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = test_tls.context(site).wrap_bio(inside, outside, server_hostname=HOSTNAME)
        return Memory(session, made, inside, outside, header)

    def test_stls(self):
        site = self.open(proxy_protocol="127.0.0.1")
        session = self.begin(site, V1)
        session.greeting()
        session.expect("STLS", "+OK...")
        client = test_tls.Client(session, test_tls.context(site))
        client.login(greeting=False)
        client.quit()
        self.assertRegex(log_of(site), r"login addr=192\.0\.2\.7 user=alice .*tls=TLSv1\.3")


class Memory(test_tls.Client):
    """A TLS client over memory: its first octets go out behind what is put before them."""

    def __init__(self, session, made, inside, outside, before):
        self.session, self.buffer = session, b""
        self.socket, self.inside, self.outside, self.before = self, inside, outside, before
        self.raw, self.made = session.keep[0], made
        self.raw.settimeout(WAIT)
        self.drive(made.do_handshake)

    def drive(self, call, *args):
        while True:
            try:
                done = call(*args)
                self.raw.sendall(self.before + self.outside.read())
                self.before = b""
                return done
            except ssl.SSLWantReadError:
                self.raw.sendall(self.before + self.outside.read())
                self.before = b""
                got = self.raw.recv(65536)
                self.inside.write(got) if got else self.inside.write_eof()

    def recv(self, n):
        try:
            return self.drive(self.made.read, n)
        except ssl.SSLZeroReturnError:
            return b""

    def sendall(self, data):
        return self.drive(self.made.write, data)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Programs(test_tls.TlsCase):
    """Real proxies in front."""

    def program(self, *names):
        for name in names:
            found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
            if found:
                return found
        raise unittest.SkipTest("no " + names[0])

    def run_it(self, site, *argv, pass_fds=()):
        with open(site.top / "proxy.log", "ab") as log:
            process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, pass_fds=pass_fds, cwd=site.top)

        def stop():
            process.terminate()
            try:
                process.wait(WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.addCleanup(stop)
        return process

    def connect_from(self, port, source=CLIENT):
        """A client's socket, as soon as somebody listens."""
        def attempt():
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", port), WAIT, (source, 0))
        return poll("port %d is served" % port, attempt)

    def fetch(self, raw):
        """Log in and list over this socket."""
        with raw, raw.makefile("rwb") as file:
            def ask(line=None):
                if line:
                    file.write(line.encode() + b"\r\n")
                    file.flush()
                answer = file.readline()
                self.assertTrue(answer.startswith(b"+OK"), (line, answer))
                return answer
            ask()
            ask("USER alice")
            ask("PASS " + PASSWORD)
            self.assertEqual(ask("STAT").split()[1], b"%d" % len(MAIL))
            ask("QUIT")

    def wrap(self, site, raw):
        return test_tls.context(site).wrap_socket(raw, server_hostname=HOSTNAME)

    def haproxy(self, site, servers, options=""):
        """HAProxy with one listener for each server line; their ports.  The sockets are ours."""
        program = self.program("haproxy")
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in servers]
        text = "defaults\n mode tcp\n timeout connect 20s\n timeout client 60s\n timeout server 60s\n"
        for number, (sock, line) in enumerate(zip(sockets, servers)):
            os.set_inheritable(sock.fileno(), True)
            text += "listen l%d\n bind fd@%d\n%s server s %s\n" % (
                number, sock.fileno(), options, line)
        (site.top / "haproxy.cfg").write_text(text)
        self.run_it(site, program, "-db", "-q", "-f", site.top / "haproxy.cfg",
                    pass_fds=[sock.fileno() for sock in sockets])
        ports = [sock.getsockname()[1] for sock in sockets]
        for sock in sockets:
            sock.close()
        return ports

    def test_haproxy(self):
        site = self.open(proxy_protocol="127.0.0.1")
        plain, tls = site.listen(), site.listen("-s")
        ports = self.haproxy(site, ["127.0.0.1:%d %s" % (listener.port, how)
                                    for listener in (plain, tls)
                                    for how in ("send-proxy", "send-proxy-v2",
                                                "send-proxy-v2 proxy-v2-options unique-id,crc32c")])
        for number, port in enumerate(ports):
            with self.subTest(number=number):
                raw = self.connect_from(port)
                source = raw.getsockname()[1]
                self.fetch(self.wrap(site, raw) if number >= 3 else raw)
                logged(site, "connect addr=%s port=%d" % (CLIENT, source))
                logged(site, "logout addr=" + CLIENT)

    def test_haproxy_health_checks(self):
        """With and without a header, and by what comes in the greeting: the server is up."""
        site = self.open(proxy_protocol="127.0.0.1")
        listener = site.listen()
        ports = self.haproxy(
            site, ["127.0.0.1:%d send-proxy-v2 check inter 100ms fastinter 100ms rise 2 fall 1"
                   % listener.port], " option tcp-check\n tcp-check expect rstring ^\\+OK\n")
        # by LOCAL headers, from the proxy itself
        poll("three checks in the log: " + log_of(site), lambda: len(re.findall(
            r"^connect addr=127\.0\.0\.1 ", log_of(site), re.M)) >= 3)
        self.fetch(self.connect_from(ports[0]))
        logged(site, "login addr=%s user=alice" % CLIENT)
        self.assertNotIn("PROXY header", log_of(site))

    def test_stunnel(self):
        """TLS ends at stunnel, which tells whose it was."""
        program = self.program("stunnel4", "stunnel")
        site = self.open(proxy_protocol="127.0.0.1", cleartext_login="yes")
        listener, port = site.listen(), free_port()
        chain, key = site.authority.issue("stunnel")
        (site.top / "stunnel.conf").write_text(
            "foreground = yes\npid =\nsyslog = no\n[pop3s]\naccept = 127.0.0.1:%d\n"
            "connect = 127.0.0.1:%d\nprotocol = proxy\ncert = %s\nkey = %s\n" % (
                port, listener.port, chain, key))
        self.run_it(site, program, site.top / "stunnel.conf")
        raw = self.connect_from(port)
        source = raw.getsockname()[1]
        self.fetch(self.wrap(site, raw))
        logged(site, "connect addr=%s port=%d" % (CLIENT, source))

    def test_nginx(self):
        """nginx's mail proxy: it asks a web server where to go, and logs in there."""
        program = self.program("nginx")
        module = "/usr/lib/nginx/modules/ngx_mail_module.so"
        flags = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
        if "--with-mail=dynamic" in flags and not os.path.exists(module):
            self.skipTest("no ngx_mail_module.so")
        if "--with-mail" not in flags:
            self.skipTest("nginx without mail")
        site = self.open(proxy_protocol="127.0.0.1", cleartext_login="yes")
        listener, port = site.listen(), free_port()

        class Where(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                for item in ("Auth-Status: OK", "Auth-Server: 127.0.0.1",
                             "Auth-Port: %d" % listener.port):
                    self.send_header(*item.split(": "))
                self.end_headers()

            def log_message(self, *_):
                pass

        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Where)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        (site.top / "nginx.conf").write_text(
            "%sdaemon off;\nmaster_process off;\npid %s/nginx.pid;\nerror_log stderr;\n"
            "events {}\nmail {\n auth_http 127.0.0.1:%d/;\n server {\n"
            "  listen 127.0.0.1:%d;\n  protocol pop3;\n  proxy on;\n  proxy_protocol on;\n"
            " }\n}\n" % ("load_module %s;\n" % module if os.path.exists(module) else "",
                         site.top, web.server_address[1], port))
        self.run_it(site, program, "-e", "stderr", "-p", site.top, "-c", site.top / "nginx.conf")
        raw = self.connect_from(port)
        source = raw.getsockname()[1]
        self.fetch(raw)
        logged(site, "connect addr=%s port=%d" % (CLIENT, source))
        logged(site, "login addr=%s user=alice" % CLIENT)


if __name__ == "__main__":
    common.main()
