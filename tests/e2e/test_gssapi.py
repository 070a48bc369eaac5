#!/usr/bin/env python3
"""GSSAPI against a real KDC on loopback, with curl and fetchmail."""
import base64
import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest

import common
import gss_client
import test_sasl_tls
import test_tls
from common import AS_ROOT, PASSWORD

MAIL = [common.simple_message(1)]
GSSAPI = common.BUILD / "pop3d/pop3d-gssapi"
REALM = "POP3D.TEST"
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin:/usr/lib/mit/sbin:/usr/lib/mit/bin"


def program(name):
    return shutil.which(name, path=PATH)


class Kdc:
    """An MIT KDC with a database of its own, on a free port of loopback."""

    def __init__(self):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="pop3d-kdc."))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (self.top / "krb5.conf").write_text("""[libdefaults]
 default_realm = %s
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 %s = {
  kdc = 127.0.0.1:%d
 }
[domain_realm]
 localhost = %s
""" % (REALM, REALM, port, REALM))
        (self.top / "kdc.conf").write_text("""[kdcdefaults]
 kdc_listen = 127.0.0.1:%d
 kdc_tcp_listen = 127.0.0.1:%d
[realms]
 %s = {
  database_name = %s/principal
  key_stash_file = %s/stash
  acl_file = %s/acl
 }
[logging]
 kdc = FILE:%s/log
""" % (port, port, REALM, self.top, self.top, self.top, self.top))
        self.env = dict(os.environ, PATH=PATH, KRB5_CONFIG=str(self.top / "krb5.conf"),
                        KRB5_KDC_PROFILE=str(self.top / "kdc.conf"),
                        KRB5RCACHEDIR=str(self.top))
        self.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
        self.keytab("keytab", "pop/localhost")
        self.keytab("other", "imap/localhost")
        for name in ("alice", "bob", "alice/admin", "nobody", "carol"):
            self.admin("addprinc -pw %s %s" % (PASSWORD.replace(" ", "-"), name))
        with open(self.top / "out", "wb") as out:
            self.process = subprocess.Popen([program("krb5kdc"), "-n", "-r", REALM],
                                            env=self.env, stdout=out, stderr=out)
        common.poll("the KDC answers: %s" % (self.top / "out").read_text(),
                    lambda: self.process.poll() is None and self.reachable(port))

    @staticmethod
    def reachable(port):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    def run(self, *args, **options):
        done = subprocess.run([program(args[0])] + list(args[1:]), env=self.env, check=False,
                              capture_output=True, timeout=common.WAIT * 3, **options)
        if done.returncode:
            raise AssertionError("%s: %s" % (args, done))
        return done.stdout

    def admin(self, command):
        return self.run("kadmin.local", "-r", REALM, "-q", command)

    def keytab(self, name, service):
        self.admin("addprinc -randkey " + service)
        self.admin("ktadd -k %s/%s %s" % (self.top, name, service))

    def ticket(self, name):
        """The environment of a client with a ticket."""
        cache = "FILE:%s/cache-%s" % (self.top, name.replace("/", "-"))
        env = dict(self.env, KRB5CCNAME=cache)
        subprocess.run([program("kinit"), name], env=env, check=True, capture_output=True,
                       timeout=common.WAIT, input=PASSWORD.replace(" ", "-").encode() + b"\n")
        return env

    def close(self):
        self.process.terminate()
        self.process.wait(common.WAIT)
        shutil.rmtree(self.top)


@unittest.skipUnless(GSSAPI.exists(), "pop3d-gssapi is not built: no Kerberos")
@unittest.skipIf([name for name in PROGRAMS if not program(name)], "no KDC here (MIT krb5)")
class Gssapi(common.Case):
    @classmethod
    def setUpClass(cls):
        cls.kdc = Kdc()
        cls.addClassCleanup(cls.kdc.close)

    def quiet(self):
        """No process of ours is left but the KDC."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return set(common.children_of(os.getpid())) <= {self.kdc.process.pid}

    def open(self, **options):
        site = self.site(auth_mechanisms="PLAIN GSSAPI", **options)
        site._reaped = self.quiet
        for name in ("alice", "bob", "carol@" + REALM):
            site.add_user(name, messages=MAIL, path=site.top / "mail" / name[:5])
        keytab = site.top / "etc/keytab"
        shutil.copy(self.kdc.top / "keytab", keytab)
        keytab.chmod(0o600)
        site.configure(gssapi_keytab=keytab)
        return site

    def curl(self, site, name, *args, user=None):
        if not shutil.which("curl"):
            self.skipTest("no curl")
        if b"GSS-API" not in subprocess.run(["curl", "-V"], capture_output=True,
                                            check=False).stdout:
            self.skipTest("this curl has no GSS-API")
        listener = site.listen()
        done = subprocess.run(
            ["curl", "-sS", "-u", (user or "") + ":", "--login-options", "AUTH=GSSAPI"] +
            list(args) + ["pop3://localhost:%d/1" % listener.port],
            env=self.kdc.ticket(name), capture_output=True, timeout=common.WAIT, check=False)
        return done

    def test_curl(self):
        site = self.open()
        done = self.curl(site, "alice", user="alice@" + REALM)
        self.assertEqual((done.returncode, done.stdout), (0, common.wire(MAIL[0])),
                         "%s\n%s" % (done, site.log_text()))
        site.logged("user=alice mech=GSSAPI")
        common.note_client("curl", common.version_of("curl", "-V"), "GSSAPI")

    def test_principals(self):
        """Who has no entry, or is somebody else's administrator, is refused."""
        site = self.open()
        for name, good in (("bob", True), ("carol", True), ("nobody", False),
                           ("alice/admin", False)):
            with self.subTest(name=name):
                done = self.curl(site, name)
                self.assertEqual(done.returncode, 0 if good else 67, (done, site.log_text()))
        site.lines["bob"] = site.lines["bob"] + " nologin"
        site.write_users()
        self.assertEqual(self.curl(site, "bob").returncode, 67)
        site.logged("user=alice/admin")

    def test_authzid(self):
        """Nobody acts for another."""
        site = self.open()
        self.assertEqual(self.curl(site, "alice", "--sasl-authzid", "alice").returncode, 0,
                         site.log_text())
        self.assertEqual(self.curl(site, "alice", "--sasl-authzid", "bob").returncode, 67)

    def test_fetchmail(self):
        if not shutil.which("fetchmail"):
            self.skipTest("no fetchmail")
        if "+GSS" not in subprocess.run(["fetchmail", "-V"], capture_output=True, text=True,
                                        check=False, env=dict(os.environ, HOME="/")).stdout:
            self.skipTest("this fetchmail has no GSSAPI")
        site = self.open()
        listener = site.listen()
        home = site.top / "home"
        home.mkdir()
        control = home / "fetchmailrc"
        control.write_text("poll localhost protocol pop3 port %d auth gssapi user alice "
                           "mda \"cat >%s/mail\" keep sslproto ''\n" % (listener.port, home))
        control.chmod(0o600)
        env = dict(self.kdc.ticket("alice"), HOME=str(home), FETCHMAILHOME=str(home))
        done = subprocess.run(["fetchmail", "-f", str(control), "-v", "--nosyslog", "--pidfile",
                               str(home / "fetchmail.pid")], env=env,
                              capture_output=True, timeout=common.WAIT, check=False,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, "%s\n%s" % (done, site.log_text()))
        self.assertIn(b"body 1", (home / "mail").read_bytes())
        site.logged("user=alice mech=GSSAPI")
        common.note_client("fetchmail", common.version_of("fetchmail", "-V"), "GSSAPI")

    def test_tls(self):
        """Inside TLS, where a client may bind its context to the channel."""
        site = self.open()
        site.admin("-o", "tls_certificate=%s/etc/c.pem" % site.top,
                   "-o", "tls_key=%s/etc/k.pem" % site.top, "tls", "selfsigned", "localhost")
        site.configure(tls_certificate="%s/etc/c.pem" % site.top,
                       tls_key="%s/etc/k.pem" % site.top, cleartext_login="no")
        done = self.curl(site, "alice", "--ssl-reqd", "-k")
        self.assertEqual(done.returncode, 0, (done, site.log_text()))

    def bound(self, **options):
        """A site with certificates of an authority that clients trust."""
        if not gss_client.LIB:
            self.skipTest("no libgssapi_krb5.so.2")
        site = self.open(max_auth_failures=20, **options)
        where = site.top / "tls"
        where.mkdir(mode=0o700)
        site.authority = test_tls.Authority(where)
        chain, key = site.authority.issue("server")
        site.configure(tls_certificate=chain, tls_key=key)
        return site

    def test_channel_binding(self):
        """tls-exporter on both versions: another channel is refused, none is accepted."""
        site = self.bound()
        env = self.kdc.ticket("alice")
        for version in ("-tls1_3", "-tls1_2"):
            for good in (True, False):  # by the right binding, by none
                with self.subTest(version=version, good=good):
                    client = test_sasl_tls.SClient(self, site, version)
                    right = b"tls-exporter:" + client.exporter
                    for wrong in () if not good else (
                            b"tls-exporter:" + os.urandom(32), b"tls-exporter:",
                            client.exporter, b"tls-unique:" + client.exporter, right + b"\0",
                            self.end_point(site)):
                        answer = gss_client.login(client.ask, env, wrong)
                        self.assertTrue(answer.startswith(b"-ERR [AUTH]"), (wrong, answer))
                    answer = gss_client.login(client.ask, env, right if good else None)
                    self.assertTrue(answer.startswith(b"+OK"), (answer, site.log_text()))
                    client.send(b"QUIT\r\n")
                    self.assertTrue(client.line().startswith(b"+OK"))
                    client.close()
        site.logged("user=alice mech=GSSAPI")

    @staticmethod
    def end_point(site):
        """RFC 5929 section 4.1, by the first certificate of the chain."""
        first = pathlib.Path(site.options["tls_certificate"]).read_text()
        end = "-----END CERTIFICATE-----\n"
        first = first[first.index("-----BEGIN"):first.index(end)] + end
        return b"tls-server-end-point:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()

    def test_channel_binding_unique(self):
        """tls-unique on TLS 1.2, where a client may know no other."""
        site = self.bound()
        env = self.kdc.ticket("alice")
        raw = site.start("-s", transport="tcp")
        client = test_tls.Client(raw, test_tls.context(
            site, maximum_version=ssl.TLSVersion.TLSv1_2))
        client.expect(None)
        unique = client.socket.get_channel_binding("tls-unique")
        for wrong in (b"tls-unique:" + bytes(len(unique)), b"tls-exporter:" + unique):
            answer = gss_client.login(client.ask, env, wrong)
            self.assertTrue(answer.startswith(b"-ERR [AUTH]"), (wrong, answer))
        answer = gss_client.login(client.ask, env, b"tls-unique:" + unique)
        self.assertTrue(answer.startswith(b"+OK"), (answer, site.log_text()))
        client.quit()

    def test_plain_channel(self):
        """Without TLS there is no channel: nothing is compared; and nobody acts for another."""
        site = self.bound()
        env = self.kdc.ticket("alice")
        for binding in (None, b"tls-exporter:" + bytes(32)):
            session = site.start()
            session.greeting()
            answer = gss_client.login(session.ask, env, binding, b"bob")
            self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
            answer = gss_client.login(session.ask, env, binding)
            self.assertTrue(answer.startswith(b"+OK"), (answer, site.log_text()))
            session.quit()

    def test_malformed(self):
        """What is no token is a failed login, and the session goes on."""
        site = self.open(max_auth_failures=9)
        session = site.start()
        session.greeting()
        for response in (b"x", bytes(100), b"\x60\x82" + bytes(1000), os.urandom(3000)):
            session.expect(b"AUTH GSSAPI " + base64.b64encode(response), "-ERR [AUTH]...")
        session.expect("AUTH GSSAPI =", "-ERR not a response...")
        session.expect("AUTH GSSAPI", "+ ")
        session.expect("", "-ERR not a response...")
        session.expect("AUTH GSSAPI", "+ ")
        session.expect("*", "-ERR cancelled...")
        # another mechanism is there beside it
        session.expect("USER alice", "+OK...")
        session.expect("PASS " + PASSWORD, "+OK...")
        session.quit()

    def test_keytab(self):
        """Missing, of another service, readable by others, no keytab: told in the log."""
        site = self.open()
        keytab = site.top / "etc/keytab"
        token = base64.b64encode(b"x").decode()

        def refused(pattern, word):
            site.log.write_text("")
            session = site.start()
            session.greeting()
            session.expect("AUTH GSSAPI " + token, pattern)
            session.close()
            session.wait(None)
            site.logged(word)
        shutil.copy(self.kdc.top / "other", keytab)
        refused("-ERR [SYS/PERM]...", "no key for the service pop")
        keytab.write_bytes(b"rubbish")
        refused("-ERR [SYS/PERM]...", "gssapi_keytab")
        shutil.copy(self.kdc.top / "keytab", keytab)
        keytab.chmod(0o644)
        refused("-ERR [SYS/...", "gssapi_keytab")
        keytab.unlink()
        refused("-ERR [SYS/TEMP]...", "gssapi_keytab")
        site.configure(gssapi_keytab="none")
        session = site.start()
        session.greeting()
        self.assertNotIn("GSSAPI", " ".join(session.lines("CAPA")))
        session.expect("AUTH GSSAPI " + token, "-ERR this mechanism is not offered here")
        session.quit()

    @unittest.skipUnless(AS_ROOT, "needs root to look into roles")
    def test_rights(self):
        """The keytab is in this process alone, as unprivileged_user, without the descriptor."""
        site = self.open()
        session = site.start()
        session.greeting()
        session.expect("AUTH GSSAPI", "+ ")
        roles = common.poll("it is there", lambda: [
            role for role in session.roles() if role.name == "pop3d-gssapi"])
        self.assertEqual(roles[0].uids, [common.UID_SESSION] * 4)
        self.assertEqual(roles[0].capabilities, 0)
        self.assertTrue(roles[0].link("root").endswith("libexec/empty"), roles[0].link("root"))
        for role in session.roles():
            self.assertNotIn(str(site.top / "etc/keytab"), role.descriptors().values())
            if role.name != "pop3d-gssapi":
                self.assertNotIn("krb5", role.maps())
        session.expect("*", "-ERR cancelled...")
        session.quit()

    def test_config_check(self):
        site = self.open()
        site.configure(gssapi_keytab="none")
        self.assertIn("gssapi_keytab", site.admin("config", "check", status=1))
        site.configure(gssapi_keytab="/nonexistent/keytab")
        self.assertIn("/nonexistent/keytab", site.admin("config", "check", status=1))


if __name__ == "__main__":
    common.main()
