#!/usr/bin/env python3
"""Real clients fetch all demo mail byte-exactly, leave it, and delete it."""
import os
import pathlib
import poplib
import pwd
import shutil
import subprocess
import unittest

import common
from common import PASSWORD, mbox, wire

DEMO = pathlib.Path(__file__).resolve().parent.parent / "demo/mail"
MAIL = [path.read_bytes() for path in sorted(DEMO.glob("*.eml"))]
UID_CLIENT = 65534  # nobody
KINDS = {"alice": "mbox", "bob": "maildir"}


def as_lines(stored):
    """What a client that stores LF line ends should have."""
    return wire(stored).replace(b"\r\n", b"\n")


class Clients(common.Case):
    def open(self):
        if not MAIL:
            self.fail("no demo mail in %s" % DEMO)
        site = self.site(auth_failure_delay="0.1")
        for name, kind in KINDS.items():
            site.add_user(name, kind, MAIL)
        return site

    def need(self, program):
        if not shutil.which(program):
            self.skipTest("%s is not installed" % program)

    def need_account(self, program):
        try:
            pwd.getpwuid(UID_CLIENT if common.AS_ROOT else os.getuid())
        except KeyError:
            self.skipTest("%s needs an account for its uid" % program)

    def run_client(self, argv, site, stdin=b"", good=(0,), timeout=120):
        env = dict(os.environ, HOME=str(site.top / "home"), LC_ALL="C.UTF-8",
                   FETCHMAILHOME=str(site.top / "home"))
        (site.top / "home").mkdir(exist_ok=True)
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, env=env,
                              check=False)
        if done.returncode not in good:
            self.fail("%s: status %d\n%s\n%s\nlog:\n%s" % (
                argv, done.returncode, done.stdout[-2000:], done.stderr[-2000:],
                site.log_text()[-2000:]))
        return done.stdout

    def compare(self, got, wanted, what):
        self.assertEqual(len(got), len(wanted), what)
        for number, (have, want) in enumerate(zip(got, wanted), 1):
            if have != want:
                at = len(os.path.commonprefix([have, want]))
                self.fail("%s, message %d differs at %d: %r, not %r" % (
                    what, number, at, have[at:at + 60], want[at:at + 60]))

    def gone(self, site):
        for name in KINDS:
            session = site.login(name)
            session.expect("STAT", "+OK 0 0")
            session.quit()

    def unchanged(self, site):
        for name in KINDS:
            user = site.users[name]
            content = site.content(user)
            if user.kind == "mbox":
                self.assertEqual(content, mbox(MAIL))
            else:
                self.assertEqual(sorted(content.values()), sorted(MAIL))

    # -- the clients

    def test_poplib(self):
        site = self.open()
        port = site.listen().port
        for name in KINDS:
            client = poplib.POP3("127.0.0.1", port, timeout=30)
            client.user(name)
            client.pass_(PASSWORD)
            self.assertEqual(client.stat(), (len(MAIL), sum(len(wire(m)) for m in MAIL)))
            self.assertEqual(len(client.list()[1]), len(MAIL))
            self.assertEqual(len(client.uidl()[1]), len(MAIL))
            self.assertIn("UIDL", client.capa())
            got = []
            for number in range(1, len(MAIL) + 1):
                _, lines, octets = client.retr(number)
                got.append(b"".join(line + b"\r\n" for line in lines))
                self.assertEqual(octets, len(got[-1]))
                client.top(number, 2)
            self.compare(got, [wire(stored) for stored in MAIL], "poplib " + name)
            client.quit()
        self.unchanged(site)
        for name in KINDS:
            client = poplib.POP3("127.0.0.1", port, timeout=30)
            client.user(name)
            client.pass_(PASSWORD)
            for number in range(1, len(MAIL) + 1):
                client.dele(number)
            client.quit()
        self.gone(site)

    def test_curl(self):
        self.need("curl")
        site = self.open()
        base = "pop3://127.0.0.1:%d/" % site.listen().port
        for name in KINDS:
            user = ["curl", "-sS", "-u", name + ":" + PASSWORD]
            got = [self.run_client(user + [base + str(number)], site)
                   for number in range(1, len(MAIL) + 1)]
            self.compare(got, [wire(stored) for stored in MAIL], "curl " + name)
            sizes = self.run_client(user + [base], site).split()
            self.assertEqual([int(word) for word in sizes[1::2]],
                             [len(wire(stored)) for stored in MAIL])
            uidl = self.run_client(user + [base, "-X", "UIDL"], site)
            self.assertEqual(len(uidl.splitlines()), len(MAIL))
            head = self.run_client(user + [base, "-X", "TOP 1 0"], site)
            self.assertTrue(wire(MAIL[0]).startswith(head))
        self.unchanged(site)
        for name in KINDS:
            for _ in MAIL:  # one session each: message 1 is deleted every time
                self.run_client(["curl", "-sS", "-l", "-u", name + ":" + PASSWORD, base + "1",
                                 "-X", "DELE"], site)
        self.gone(site)

    PERL = r"""
        use strict; use warnings; use Net::POP3;
        my ($port, $user, $password, $delete) = @ARGV;
        binmode STDOUT;
        my $pop = Net::POP3->new('127.0.0.1', Port => $port, Timeout => 30) or die "no $port";
        my $count = $pop->login($user, $password);
        die "login" unless defined $count;
        my $uidl = $pop->uidl; my $list = $pop->list;
        die "uidl" unless keys %$uidl == $count && keys %$list == $count;
        for my $number (sort { $a <=> $b } keys %$list) {
            my $text = join '', @{$pop->get($number)};
            print length($text), "\n", $text;
            $pop->delete($number) or die "delete" if $delete;
        }
        $pop->quit or die "quit";
    """

    def test_net_pop3(self):
        self.need("perl")
        if subprocess.run(["perl", "-MNet::POP3", "-e1"], capture_output=True,
                          check=False).returncode:
            self.skipTest("Net::POP3 is not installed")
        site = self.open()
        port = str(site.listen().port)
        for delete in ("", "1"):
            for name in KINDS:
                out = self.run_client(["perl", "-e", self.PERL, port, name, PASSWORD, delete],
                                      site)
                got = []
                while out:
                    size, _, out = out.partition(b"\n")
                    got.append(out[:int(size)])
                    out = out[int(size):]
                self.compare(got, [as_lines(stored) for stored in MAIL], "Net::POP3 " + name)
            if not delete:
                self.unchanged(site)
        self.gone(site)

    def test_fetchmail(self):
        self.need("fetchmail")
        self.need_account("fetchmail")
        site = self.open()
        port = site.listen().port
        inbox = site.top / "inbox"
        inbox.mkdir()
        # The delivery agent numbers what it gets.
        agent = site.top / "agent"
        agent.write_text("#!/bin/sh\nn=$(ls %s | wc -l)\ncat > %s/$(printf %%03d $n)\n" % (
            inbox, inbox))
        agent.chmod(0o755)
        for name in KINDS:
            for keep, first in (("keep", True), ("keep", False), ("nokeep", False)):
                config = site.top / "fetchmailrc"
                config.write_text(
                    'set invisible\nset no bouncemail\nset no spambounce\n'
                    'poll 127.0.0.1 protocol POP3 port %d uidl no envelope:\n'
                    'user "%s" password "%s" %s norewrite nomimedecode pass8bits\n'
                    'stripcr noforcecr sslproto "" mda "%s"%s\n' % (
                        port, name, PASSWORD, keep, agent,
                        " fetchall" if keep == "nokeep" else ""))
                config.chmod(0o600)
                for path in inbox.iterdir():
                    path.unlink()
                # 1: there was no new mail
                self.run_client(["fetchmail", "-f", str(config), "--nosyslog", "--nodetach",
                                 "--pidfile", str(site.top / "home/fetchmail.pid"),
                                 "-i", str(site.top / ("ids-" + name))], site, good=(0, 1))
                got = [path.read_bytes() for path in sorted(inbox.iterdir())]
                if keep == "keep" and not first:
                    self.assertEqual(got, [])
                else:
                    self.compare(got, [as_lines(stored) for stored in MAIL], "fetchmail " + name)
                if keep == "keep":
                    self.unchanged_user(site, name)
        self.gone(site)

    def unchanged_user(self, site, name):
        session = site.login(name)
        session.expect("STAT", "+OK %d %d" % (len(MAIL), sum(len(wire(m)) for m in MAIL)))
        session.quit()

    @staticmethod
    def maildir(path):
        for name in ("tmp", "new", "cur"):
            (path / name).mkdir(parents=True)
        return path

    @staticmethod
    def in_order(paths, wanted):
        """Messages of a client's Maildir, in the order of the demo mail."""
        got = [path.read_bytes() for path in paths]
        return sorted(got, key=lambda text: wanted.index(text) if text in wanted else -1)

    def test_mpop(self):
        self.need("mpop")
        site = self.open()
        port = site.listen().port
        for name in KINDS:
            for keep, first in (("on", True), ("on", False), ("off", False)):
                inbox = self.maildir(site.top / ("mpop-%s-%s-%s" % (name, keep, first)))
                config = site.top / "mpoprc"
                config.write_text(
                    "account default\nhost 127.0.0.1\nport %d\nuser %s\npassword %s\n"
                    "auth user\ntls off\nkeep %s\ndelivery maildir %s\nreceived_header off\n"
                    "uidls_file %s\n" % (port, name, PASSWORD, keep, inbox,
                                         site.top / ("uidls-" + name)))
                config.chmod(0o600)
                if keep == "off":
                    (site.top / ("uidls-" + name)).unlink()
                self.run_client(["mpop", "-q", "-C", str(config)], site)
                wanted = [as_lines(stored) for stored in MAIL]
                if keep == "on" and not first:
                    wanted = []
                self.compare(self.in_order(inbox.glob("new/*"), wanted), wanted, "mpop " + name)
                if keep == "on":
                    self.unchanged_user(site, name)
        self.gone(site)

    def run_getmail(self, argv, site, name, inbox):
        """It waits for ever, at times, for a child of its own that has ended (seen with 6.18: a
        zombie below it, and pop3d waiting for its next command): then again, from the start."""
        for _ in range(5):
            try:
                return self.run_client(argv, site, timeout=30)
            except subprocess.TimeoutExpired:
                common.poll("its session ends", lambda: common.lock_is_free(site.lock_path(name)))
                for path in inbox.glob("*/*"):
                    path.unlink()
        return self.fail("getmail does not end")

    def test_getmail(self):
        self.need("getmail")
        self.need_account("getmail")
        site = self.open()
        port = site.listen().port
        for name in KINDS:
            for keep, first in ((True, True), (True, False), (False, False)):
                inbox = self.maildir(site.top / ("getmail-%s-%s-%s" % (name, keep, first)))
                home = site.top / ("getmaildir-%s-%s" % (name, keep))
                home.mkdir(exist_ok=True)
                (home / "rc").write_text(
                    "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = %d\n"
                    "username = %s\npassword = %s\n[destination]\ntype = Maildir\npath = %s/\n"
                    "[options]\nread_all = false\ndelete = %s\nreceived = false\n"
                    "delivered_to = false\nverbose = 0\n" % (
                        port, name, PASSWORD, inbox, not keep))
                argv = ["getmail", "--getmaildir", str(home), "--rcfile", "rc"]
                if common.AS_ROOT:  # it delivers nothing as root
                    for path in [inbox, home, *inbox.iterdir(), *home.iterdir()]:
                        os.chown(path, UID_CLIENT, UID_CLIENT)
                    argv = ["setpriv", "--reuid", str(UID_CLIENT), "--regid", str(UID_CLIENT),
                            "--clear-groups"] + argv
                self.run_getmail(argv, site, name, inbox)
                wanted = self.by_getmail() if first or not keep else []
                self.compare(self.in_order(inbox.glob("new/*"), wanted), wanted,
                             "getmail " + name)
                if keep:
                    self.unchanged_user(site, name)
        self.gone(site)
        for what in ("clear", "leave", "delete"):
            common.note_client("getmail6", common.version_of("getmail", "--version"), what)

    @staticmethod
    def by_getmail():
        """It adds a Return-Path field where there is none."""
        texts = [as_lines(stored) for stored in MAIL]
        return [text if text.startswith(b"Return-Path:") else
                b"Return-Path: <unknown>\n" + text for text in texts]


if __name__ == "__main__":
    common.main()
