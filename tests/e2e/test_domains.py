#!/usr/bin/env python3
"""Many domains in one users file: what a login becomes, and the defaults of a domain."""
import base64
import hashlib
import json
import os
import subprocess

import common
import test_tls
from common import ADMIN, AS_ROOT, PASSWORD, UID_FIRST

ORG, NET = "example.org", "example.net"


class Domains(test_tls.TlsCase):
    def open(self, tls=False, **keys):
        """john of two domains, without owner and maildrop in the entry, and a john without one."""
        site = super().open(certificate=tls, user_separators="@+%", **keys)
        site.where = {}
        for number, domain in enumerate((ORG, NET)):
            uid = UID_FIRST + 20 + number if AS_ROOT else os.geteuid()
            gid = uid if AS_ROOT else os.getegid()
            name = "john@" + domain
            path = site.top / "mail" / domain / "john"
            user = common.User(name, uid, "maildir", path)
            path.parent.mkdir()
            path.parent.chmod(0o755)
            if AS_ROOT:
                os.chown(path.parent, uid, gid)
            site.users[name] = user
            site.lines[name] = "%s:%s:::::" % (name, common.make_hash(PASSWORD))
            site.configure(**{
                "domain.%s.maildrop" % domain: "maildir:%s/mail/%%d/%%n" % site.top,
                "domain.%s.uid" % domain: uid, "domain.%s.gid" % domain: gid,
                "domain.%s.tls_name" % domain: "pop.%s mail.%s" % (domain, domain)})
            site.fill(user, [common.simple_message(1)] * (number + 1))
        site.add_user("john", messages=[common.simple_message(1)] * 5)
        site.add_user("jane", messages=[])
        return site

    def count(self, site, login, password=PASSWORD):
        session = site.start()
        session.greeting()
        session.expect("USER " + login, "+OK...")
        answer = session.ask("PASS " + password)
        session.quit()
        return int(answer.split()[3]) if answer.startswith(b"+OK") else answer.split()[1].decode()

    def test_logins(self):
        site = self.open()
        for login, wanted in (
                ("john@example.org", 1), ("john+example.org", 1), ("john%example.org", 1),
                ("john@example.net", 2), ("john", 5), ("jane", 0),
                ("john@example.com", "[AUTH]"), ("john+", "[AUTH]"), ("+example.org", "[AUTH]"),
                ("john@Example.org", "[AUTH]"), ("jane@example.org", "[AUTH]")):
            with self.subTest(login=login):
                self.assertEqual(self.count(site, login), wanted)
        site.configure(default_domain=NET)
        del site.lines["john"]
        site.write_users()
        self.assertEqual(self.count(site, "john"), 2)
        self.assertEqual(self.count(site, "john+example.org"), 1)
        # the state is that of the entry, whatever was typed
        self.assertTrue((site.top / "state/john@example.org/lock").exists())
        self.assertFalse((site.top / "state/john+example.org").exists())

    def test_no_default(self):
        """Without the domain's keys the entry has no owner: the server's mistake."""
        site = self.open()
        site.configure(**{"domain.%s.uid" % ORG: None})
        self.assertEqual(self.count(site, "john@example.org"), "[SYS/PERM]")
        site.logged("uid and gid must be numbers")
        self.assertIn("john@example.org: uid or gid is empty",
                      site.admin("config", "check", status=1))

    # -- the TLS server name

    def plain(self, login):
        return base64.b64encode(b"\0%s\0%s" % (login.encode(), PASSWORD.encode())).decode()

    def test_server_name(self):
        site = self.open(tls=True)
        made = test_tls.context(site, check_hostname=False)
        for name, login, wanted in (
                ("pop." + ORG, "john", 1), ("MAIL.example.ORG", "john", 1),
                ("pop." + NET, "john", 2), ("imap." + ORG, "john", 5), (None, "john", 5),
                ("pop." + ORG, "john@example.net", 2), ("pop." + ORG, "jane", None),
                ("pop." + ORG, "john@example.com", None)):
            for how in "USER", "AUTH":
                with self.subTest(name=name, login=login, how=how):
                    client = self.connect(site, made, name)
                    client.expect(None)
                    if how == "USER":
                        client.expect("USER " + login)
                        answer = client.ask("PASS " + PASSWORD)
                    else:
                        answer = client.ask("AUTH PLAIN " + self.plain(login))
                    if wanted is None:
                        self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
                    else:
                        self.assertEqual(int(answer.split()[3]), wanted)
                    client.quit()
        # before STLS nobody asks for a name
        session = site.start(transport="tcp")
        session.greeting()
        session.expect("STLS", "+OK...")
        client = test_tls.Client(session, made, "pop." + NET)
        client.expect("USER john")
        self.assertIn(b" 2 messages", client.ask("PASS " + PASSWORD))
        client.quit()

    def test_digests(self):
        """The mechanisms of pop3d-auth know the domains, too."""
        site = self.open(tls=True, apop="yes", **{
            "domain.d%d.example.uid" % n: 7 for n in range(900)})
        for domain in ORG, NET:
            site.admin("user", "passwd", "john@" + domain, "--apop", stdin=PASSWORD.encode())
        made = test_tls.context(site, check_hostname=False)
        for name, login, wanted in (
                (None, "john+example.org", 1), (None, "john@example.net", 2),
                ("pop." + ORG, "john", 1), ("mail." + NET, "john", 2), (None, "john", None)):
            with self.subTest(name=name, login=login):
                client = self.connect(site, made, name)
                greeting = client.expect(None)
                stamp = greeting[greeting.index(b"<"):].strip()
                answer = client.ask("APOP %s %s" % (
                    login, hashlib.md5(stamp + PASSWORD.encode()).hexdigest()))
                if wanted is None:
                    self.assertTrue(answer.startswith(b"-ERR [AUTH]"), answer)
                else:
                    self.assertEqual(int(answer.split()[3]), wanted)
                client.quit()

    # -- pop3admin

    def which(self, site, *args, status=0):
        done = subprocess.run([str(ADMIN), "-c", str(site.config), "-j", "user", "which"] +
                              list(args), capture_output=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return json.loads(done.stdout) if done.stdout else done.stderr.decode()

    def test_which(self):
        site = self.open(tls=True)
        uid = site.users["john@" + ORG].uid
        got = self.which(site, "john+example.org")
        self.assertEqual(got["name"], "john@example.org")
        self.assertEqual(got["uid"], uid)
        self.assertEqual(got["maildrop"], "maildir:%s/mail/example.org/john" % site.top)
        self.assertEqual(got["why"], [
            "user_separators @+%: read as john@example.org",
            "john@example.org: is in %s/etc/users" % site.top,
            "the keys domain.example.org.* are for it",
            "the maildrop is that of the key domain.NAME.maildrop"])
        got = self.which(site, "john")
        self.assertEqual((got["name"], got["why"][-1]),
                         ("john", "the maildrop is that of the user's option maildrop"))
        got = self.which(site, "john", "--tls-name", "pop.example.net")
        self.assertEqual(got["name"], "john@example.net")
        self.assertIn("domain.example.net.tls_name has the server name", got["why"][0])
        self.assertEqual(self.which(site, "john", "--tls-name", "pop.example.com")["why"][0],
                         "no domain.NAME.tls_name has pop.example.com")
        got = self.which(site, "nobody", status=67)
        self.assertIsNone(got["name"])
        site.configure(default_domain=ORG)
        got = self.which(site, "jim", status=67)
        self.assertEqual(got["why"][0], "it has no domain, and default_domain is set: after "
                                        "jim it is tried as jim@example.org")
        self.assertIn("cannot be a login", self.which(site, "a b", status=65))
        self.assertIn("is locked", site.admin("user", "lock", "john") +
                      "\n".join(self.which(site, "john")["why"]))

    def test_add(self):
        """An entry of such a domain needs no owner, and shows the domain's."""
        site = self.open()
        added = json.loads(site.admin("-j", "user", "add", "mary@example.org", stdin=b"secret\n"))
        self.assertEqual(added["uid"], site.users["john@" + ORG].uid)
        self.assertIn("mary@example.org:", (site.top / "etc/users").read_text())
        line = [line for line in (site.top / "etc/users").read_text().splitlines()
                if line.startswith("mary@")][0]
        self.assertEqual(line.split(":")[2:4], ["", ""])
        shown = json.loads(site.admin("-j", "user", "show", "mary@example.org"))
        self.assertEqual(shown["uid"], site.users["john@" + ORG].uid)
        self.assertEqual(shown["maildrop"], "maildir:%s/mail/example.org/mary" % site.top)
        self.assertEqual(self.count(site, "mary+example.org", "secret"), 0)
        stat = json.loads(site.admin("-j", "maildrop", "stat", "john@example.net"))
        self.assertEqual(stat["messages"], 2)
        with self.assertRaisesRegex(AssertionError, "domain.NAME.uid"):
            site.admin("user", "add", "mary@example.com", stdin=b"secret\n")

    def test_config(self):
        site = self.open(tls=True, **{"domain.example.com.tls_name": "pop.example.org"})
        shown = json.loads(site.admin("-j", "config", "show"))
        self.assertEqual(shown["domain.example.org.tls_name"],
                         "pop.example.org mail.example.org")
        self.assertEqual(shown["domain.example.org.uid"], site.users["john@" + ORG].uid)
        self.assertNotIn("domain.example.com.uid", shown)
        out = site.admin("config", "check", status=1)
        self.assertRegex(out, r"domain\.example\.org\.tls_name: pop\.example\.org is a server "
                              r"name of domain example\.com already")


if __name__ == "__main__":
    common.main()
