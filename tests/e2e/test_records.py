#!/usr/bin/env python3
"""Session records and counters: session list and end, stats."""
import json
import os
import re
import shutil
import subprocess
import unittest

import common
from common import AS_ROOT, PASSWORD

MAIL = [common.simple_message(number, 300 * number) for number in range(1, 4)]


class Case(common.Case):
    def open(self, **options):
        site = self.site(**options)
        site.add_user("alice", messages=MAIL)
        site.add_user("bob", kind="maildir", messages=MAIL[:1])
        return site

    def list(self, site):
        return json.loads(site.admin("--json", "session", "list"))

    def recorded(self, site, pid, state):
        """The record of a session, once it says this."""
        return common.poll("session %d is in state %s" % (pid, state), lambda: [
            row for row in self.list(site) if row["pid"] == pid and row["state"] == state])[0]

    def stats(self, site):
        rows = json.loads(site.admin("--json", "stats"))
        return {" ".join([row["counter"]] + row["labels"]): row for row in rows}

    def counted(self, site, name, total):
        """The monitor counts after the client was answered."""
        common.poll("%s is %d: %s" % (name, total, self.stats(site)),
                    lambda: self.stats(site).get(name, {}).get("total") == total)


class Sessions(Case):
    def test_list(self):
        site = self.open()
        self.assertEqual(self.list(site), [])  # there is no file yet
        first = site.start(transport="tcp")
        first.greeting()
        row = self.recorded(site, first.process.pid, "login")
        self.assertEqual((row["address"], row["user"], row["mechanism"], row["tls"],
                          row["messages"]), ("127.0.0.1", None, None, None, None))
        self.assertRegex(row["port"], r"^\d+$")
        self.assertRegex(row["since"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        second = site.login("bob")
        row = self.recorded(site, second.process.pid, "mail")
        self.assertEqual((row["address"], row["user"], row["mechanism"], row["messages"]),
                         (None, "bob", "USER", 1))
        self.assertEqual(row["octets"], len(common.wire(MAIL[0])))
        self.assertEqual(len(self.list(site)), 2)
        text = site.admin("session", "list").splitlines()
        self.assertEqual(len(text), 3)
        self.assertRegex(text[0].lower(), r"^pid +user +address")
        for session in (first, second):
            session.quit()
        self.assertEqual(self.list(site), [])

    def test_end(self):
        """By name and by number; in order, so that nothing is deleted."""
        site = self.open()
        alice, bob, nobody = site.login("alice"), site.login("bob"), site.start()
        nobody.greeting()
        alice.expect("DELE 1", "+OK...")
        before = site.content(site.users["alice"])
        self.recorded(site, alice.process.pid, "mail")
        rows = json.loads(site.admin("--json", "session", "end", "alice"))
        self.assertEqual([(row["user"], row["pid"]) for row in rows],
                         [("alice", alice.process.pid)])
        alice.expect(None, "-ERR [SYS/TEMP]...")
        alice.ended()
        self.assertEqual(site.content(site.users["alice"]), before)
        self.recorded(site, nobody.process.pid, "login")
        site.admin("session", "end", str(nobody.process.pid))
        nobody.expect(None, "-ERR [SYS/TEMP]...")
        nobody.ended()
        self.assertEqual([row["user"] for row in self.list(site)], ["bob"])
        bob.quit()

    def test_wrong_use(self):
        site = self.open()
        session = site.login()
        for args, status in ((["end"], 64), (["end", "a", "b"], 64), (["end", "bob"], 1),
                             (["end", str(os.getpid())], 1), (["list", "x"], 64)):
            with self.subTest(args=args):
                site.admin("session", *args, status=status)
        session.quit()

    def test_killed_monitor(self):
        """The record of a monitor that was killed is stale: not shown, and its slot is free."""
        site = self.open()
        session = site.login()
        self.recorded(site, session.process.pid, "mail")
        session.process.kill()
        session.close()
        session.wait(None)
        self.assertEqual(self.list(site), [])
        site.admin("session", "end", "alice", status=1)
        site.admin("session", "end", str(session.process.pid), status=1)
        common.poll("alice's lock is free", lambda: common.lock_is_free(site.lock_path()))
        session = site.login()
        self.recorded(site, session.process.pid, "mail")
        session.quit()

    def test_other_program(self):
        """A record that names another program's process ends nothing."""
        site = self.open()
        session = site.login()
        self.recorded(site, session.process.pid, "mail")
        with subprocess.Popen(["sleep", "60"]) as other:
            table = (site.top / "run/records").read_bytes()
            pid = session.process.pid.to_bytes(8, "little")
            at = table.index(pid, 4096)
            forged = bytearray(table[at:at + 512])
            forged[:8] = other.pid.to_bytes(8, "little")
            forged[104:108] = other.pid.to_bytes(4, "little")
            existed = int.from_bytes(forged[112:120], "little") + 60000
            forged[112:120] = existed.to_bytes(8, "little")
            with open(site.top / "run/records", "r+b") as file:
                file.seek(4096)
                file.write(forged)
            self.assertIn(other.pid, [row["pid"] for row in self.list(site)])
            site.admin("session", "end", str(other.pid), status=77)
            self.assertIsNone(other.poll())
            forged[112:120] = bytes(8)  # a process that began later is another one
            with open(site.top / "run/records", "r+b") as file:
                file.seek(4096)
                file.write(forged)
            site.admin("session", "end", str(other.pid), status=1)
            other.terminate()
        session.quit()

    @unittest.skipUnless(AS_ROOT, "needs root to be somebody else")
    def test_not_permitted(self):
        site = self.open()
        site.login().quit()
        copy = site.top / "pop3admin"
        shutil.copy(common.ADMIN, copy)
        for args in (["session", "list"], ["session", "end", "alice"], ["stats"]):
            done = subprocess.run([str(copy), "-c", str(site.config)] + args, check=False,
                                  capture_output=True, user=common.UID_FIRST, cwd="/")
            self.assertEqual(done.returncode, 77, done)

    @unittest.skipUnless(AS_ROOT, "needs root to look into roles")
    def test_roles_have_no_table(self):
        """Only the monitor maps it."""
        site = self.open()
        session = site.login()
        maps = {role.name: "/run/records" in role.maps() for role in session.settled_roles()}
        self.assertTrue(maps.pop("pop3d"), maps)
        self.assertEqual(set(maps.values()), {False}, maps)
        session.quit()


class Counters(Case):
    def test_counters(self):
        site = self.open(max_auth_failures=9)
        self.assertEqual(self.stats(site), {})
        session = site.login()
        for command in ("RETR 1", "RETR 2", "TOP 1 0"):
            session.multi(command)
        session.expect("DELE 1", "+OK...")
        session.expect("RSET", "+OK...")
        session.expect("DELE 3", "+OK...")
        session.quit()
        session = site.start()
        session.greeting()
        session.expect("USER alice", "+OK...")
        session.expect("PASS wrong", "-ERR [AUTH]...")
        session.expect("AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=", "+OK...")
        session.quit()
        stats = self.stats(site)
        totals = {name: row["total"] for name, row in stats.items()}
        self.assertGreater(totals.pop("sent_octets"), sum(map(len, MAIL[:2])))
        self.assertEqual(totals, {
            "sessions": 2, "sessions_ended quit": 2, "sessions_unrecorded": 0,
            "logins USER none": 1, "logins PLAIN none": 1, "login_failures credentials": 1,
            "tls_failures": 0, "messages_retrieved": 2, "messages_topped": 1,
            "messages_deleted": 1})
        self.assertTrue(all(row["today"] <= row["total"] for row in stats.values()), stats)
        self.assertEqual(len({row["since"] for row in stats.values()}), 1)

    def test_prometheus(self):
        site = self.open()
        self.assertEqual(exposition(site.admin("stats", "--prometheus")),
                         {("pop3d_sessions_open", ()): 0})
        session = site.login()
        self.counted(site, "logins USER none", 1)
        samples = exposition(site.admin("stats", "--prometheus"))
        self.assertEqual(samples["pop3d_sessions_open", ()], 1)
        self.assertEqual(samples["pop3d_sessions_total", ()], 1)
        self.assertEqual(samples["pop3d_logins_total", (("mechanism", "USER"),
                                                        ("tls", "none"))], 1)
        self.assertEqual(samples["pop3d_login_failures_total", (("reason", "in-use"),)], 0)
        session.quit()
        site.admin("--json", "stats", "--prometheus", status=64)
        site.admin("stats", "today", status=64)

    def test_promtool(self):
        if not shutil.which("promtool"):
            self.skipTest("no promtool")
        site = self.open()
        site.login().quit()
        done = subprocess.run(["promtool", "check", "metrics"], capture_output=True, check=False,
                              input=site.admin("stats", "--prometheus").encode())
        self.assertEqual(done.returncode, 0, done)

    def test_damaged(self):
        """Made anew by the next session; until then pop3admin says so."""
        site = self.open()
        site.login().quit()
        table = site.top / "run/records"
        size = table.stat().st_size
        self.assertEqual(table.stat().st_mode & 0o7777, 0o600)
        for content in (b"", b"x" * 100, b"x" * size):
            with self.subTest(octets=len(content)):
                table.write_bytes(content)
                site.admin("stats", status=65)
                site.admin("session", "list", status=65)
                site.login().quit()
                self.assertEqual(self.stats(site)["sessions"]["total"], 1)
        # a good head before anything: nonsense is shown, nothing breaks
        with open(table, "r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        self.assertEqual(self.list(site), [])
        site.login().quit()

    def test_no_run_dir(self):
        """Logins work without; the records are what is missing."""
        site = self.open()
        site.configure(run_dir=site.top / "nowhere/run")
        session = site.login()
        self.assertEqual(self.list(site), [])
        self.assertEqual(self.stats(site), {})
        session.quit()
        self.assertNotIn("nowhere", site.log_text())

    def test_removed_meanwhile(self):
        site = self.open()
        session = site.login()
        shutil.rmtree(site.top / "run")
        session.multi("RETR 1")
        session.quit()
        site.login().quit()
        self.assertEqual(self.stats(site)["sessions"]["total"], 1)

    def test_full(self):
        """No slot is free near its own: the session is served and counted, not listed."""
        site = self.open()
        site.login().quit()
        with open(site.top / "run/records", "r+b") as file:
            for slot in range(4096):
                file.seek(4096 + 512 * slot)
                file.write(os.getpid().to_bytes(8, "little"))
        session = site.login()
        self.counted(site, "sessions_unrecorded", 1)
        self.assertEqual(self.list(site), [])
        session.quit()

    def test_together(self):
        """Many at once: nothing is lost."""
        site = self.open()
        sessions = [site.start() for _ in range(12)]
        for session in sessions:
            session.greeting()
            session.send("USER x\r\nQUIT\r\n")
        for session in sessions:
            session.expect(None, "+OK...")
            session.expect(None, "+OK...")
            session.ended()
        self.assertEqual(self.stats(site)["sessions"]["total"], 12)
        self.assertEqual(self.stats(site)["sessions_ended quit"]["total"], 12)


NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'


def exposition(text):
    """The text format, strictly: HELP, TYPE, samples of that name, each once."""
    assert text.endswith("\n") and "\r" not in text
    samples, seen, current, kind = {}, set(), None, None
    for line in text[:-1].split("\n"):
        head = re.fullmatch(r"# (HELP|TYPE) (%s) (.+)" % NAME, line)
        if head and head[1] == "HELP":
            assert head[2] not in seen, line
            current, kind = head[2], None
            seen.add(current)
        elif head:
            assert head[2] == current and kind is None and head[3] in ("counter", "gauge"), line
            kind = head[3]
            assert (kind == "counter") == current.endswith("_total"), line
        else:
            sample = re.fullmatch(r"(%s)(?:\{(%s(?:,%s)*)\})? (\d+)" % (NAME, LABEL, LABEL), line)
            assert sample and sample[1] == current and kind, line
            labels = tuple((name, value) for name, value in re.findall(LABEL, sample[2] or ""))
            assert len(dict(labels)) == len(labels), line
            assert (current, labels) not in samples, line
            samples[current, labels] = int(line.rpartition(" ")[2])
    return samples


@unittest.skipUnless(shutil.which("openssl"), "no openssl program")
class Tls(Case):
    def test_versions(self):
        import ssl
        site = self.open()
        site.admin("-o", "tls_certificate=%s/etc/c.pem" % site.top,
                   "-o", "tls_key=%s/etc/k.pem" % site.top, "tls", "selfsigned", "localhost")
        site.configure(tls_certificate="%s/etc/c.pem" % site.top,
                       tls_key="%s/etc/k.pem" % site.top, cleartext_login="no")
        listener = site.listen("-s")
        import socket
        for version, word in ((ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = context.maximum_version = version
            raw = socket.create_connection(("127.0.0.1", listener.port), common.WAIT)
            with context.wrap_socket(raw) as client, client.makefile("rwb") as file:
                file.readline()
                for line in ("USER alice", "PASS " + PASSWORD):
                    file.write(line.encode() + b"\r\n")
                    file.flush()
                    self.assertTrue(file.readline().startswith(b"+OK"))
                row = common.poll("the record is there", lambda: [
                    row for row in self.list(site) if row["state"] == "mail"])[0]
                self.assertEqual((row["tls"], row["user"]), (word, "alice"))
                file.write(b"QUIT\r\n")
                file.flush()
                file.readline()
            self.counted(site, "logins USER " + word, 1)
            self.counted(site, "tls_sessions %s no" % word, 1)
        with socket.create_connection(("127.0.0.1", listener.port), common.WAIT) as raw:
            raw.sendall(b"this is no TLS\r\n")
            raw.recv(100)
        self.counted(site, "tls_failures", 1)


if __name__ == "__main__":
    common.main()
