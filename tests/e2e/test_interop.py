#!/usr/bin/env python3
"""Real clients against each way in: what the table of README.md is made of.

Each client fetches all mail byte-exactly in clear, by STLS and on the TLS port, and logs in
by each mechanism that it has; what held is written as JSON lines to $POP3D_INTEROP.
"""
import json
import os
import poplib
import pwd
import re
import shutil
import ssl
import subprocess

import common
from common import PASSWORD, wire
from test_sasl import ALL
from test_tls import MAIL, Authority

HOST = "localhost"
CLEAR, STLS, TLS = WAYS = "clear", "STLS", "port 995"
LF = [wire(text).replace(b"\r\n", b"\n") for text in MAIL]


class Interop(common.Case):
    def open(self):
        site = self.site(auth_mechanisms=ALL, apop="yes", auth_failure_delay="0")
        site.add_user("alice", "mbox", MAIL)
        where = site.top / "tls"
        where.mkdir(mode=0o700)
        site.authority = Authority(where)
        chain, key = site.authority.issue("server", names=(HOST,))
        site.configure(tls_certificate=chain, tls_key=key)
        site.admin("user", "passwd", "alice", "--scram", "--cram", "--apop",
                   stdin=PASSWORD.encode())
        plain = site.listen().port
        self.ports = {CLEAR: plain, STLS: plain, TLS: site.listen("-s").port}
        self.home = site.top / "home"
        self.home.mkdir()
        self.serial = 0
        return site

    def need(self, program):
        if not shutil.which(program):
            self.skipTest("%s is not installed" % program)

    def run_client(self, site, argv, good=(0,), **env):
        done = subprocess.run([str(word) for word in argv], capture_output=True, timeout=60,
                              check=False, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, HOME=str(self.home), LC_ALL="C.UTF-8",
                                       TERM="xterm", FETCHMAILHOME=str(self.home), **env))
        if done.returncode not in good:
            self.fail("%s: status %d\n%s%s\n%s" % (argv, done.returncode, done.stdout[-1500:],
                                                   done.stderr[-1500:], site.log_text()[-1500:]))
        return done.stdout

    def config(self, name, text):
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def inbox(self):
        self.serial += 1
        path = self.home / ("inbox%d" % self.serial)
        for name in ("tmp", "new", "cur"):
            (path / name).mkdir(parents=True)
        return path

    @staticmethod
    def sized(out):
        """Messages, each behind a line with its size."""
        got = []
        while out:
            size, _, out = out.partition(b"\n")
            got.append(out[:int(size)].replace(b"\r\n", b"\n"))
            out = out[int(size):]
        return got

    @staticmethod
    def settled(site):
        """The log as soon as every session that it tells of has ended in it: a line is written
        when the client has its answer, and clients begin another session for each message."""
        def is_settled():
            text = site.log_text()
            return len(re.findall("(?m)^connect ", text)) == len(re.findall("(?m)^logout ", text))
        common.poll("every session has ended in the log", is_settled)
        return site.log_text()

    def logins(self, site, mark):
        """The lines of the log since."""
        return re.findall("(?m)^login .*", self.settled(site)[mark:])

    def each(self, client, version, site, fetch, ways=WAYS, mechanisms=()):
        """fetch(way, mechanism): the messages; the mechanism "" is USER and PASS."""
        for way in ways:
            mark = len(self.settled(site))
            self.assertEqual(fetch(way, ""), LF, "%s, %s" % (client, way))
            logins = self.logins(site, mark)
            self.assertEqual({" tls=TLSv1." in line for line in logins}, {way != CLEAR}, logins)
            common.note_client(client, version, way)
        for mechanism in mechanisms:
            with self.subTest(mechanism=mechanism):
                mark = len(self.settled(site))
                self.assertEqual(fetch(CLEAR, mechanism), LF, "%s, %s" % (client, mechanism))
                logins = self.logins(site, mark)
                self.assertEqual({" mech=%s " % mechanism in line for line in logins}, {True},
                                 logins)
                common.note_client(client, version, mechanism)
        self.assertEqual(site.content(site.users["alice"]), common.mbox(MAIL))
        common.note_client(client, version, "leave")

    def deleted(self, client, version, site):
        session = site.login("alice")
        session.expect("STAT", "+OK 0 0")
        session.quit()
        common.note_client(client, version, "delete")

    def test_curl(self):
        self.need("curl")
        site = self.open()

        def fetch(way, mechanism):
            url = "%s://%s:%d/" % ("pop3s" if way == TLS else "pop3", HOST, self.ports[way])
            argv = ["curl", "-sS", "--cacert", site.authority.root, "-u", "alice:" + PASSWORD]
            argv += ["--ssl-reqd"] if way == STLS else []
            name = "+APOP" if mechanism == "APOP" else mechanism
            argv += ["--login-options", "AUTH=" + name] if name else []
            return [self.run_client(site, argv + [url + str(number)]).replace(b"\r\n", b"\n")
                    for number in (1, 2, 3)]
        version = common.version_of("curl", "-V")
        self.each("curl", version, site, fetch,
                  mechanisms=("PLAIN", "LOGIN", "CRAM-MD5", "APOP"))
        for _ in MAIL:
            self.run_client(site, ["curl", "-sS", "-l", "-u", "alice:" + PASSWORD, "-X", "DELE",
                                   "pop3://%s:%d/1" % (HOST, self.ports[CLEAR])])
        self.deleted("curl", version, site)

    def test_fetchmail(self):
        self.need("fetchmail")
        try:
            pwd.getpwuid(os.getuid())
        except KeyError:
            self.skipTest("fetchmail needs an account for its uid")
        site = self.open()

        def fetch(way, mechanism, keep="keep"):
            inbox = self.inbox()
            agent = self.config("agent", "#!/bin/sh\ncat >%s/new/$(ls %s/new | wc -l)\n" % (
                inbox, inbox))
            agent.chmod(0o755)
            tls = 'sslproto ""' if way == CLEAR else '%s sslcertck sslcertfile "%s"' % (
                "ssl" if way == TLS else 'sslproto "TLS1.2+"', site.authority.root)
            auth = {"CRAM-MD5": "auth cram-md5", "": "auth password"}.get(mechanism, "")
            config = self.config(
                "fetchmailrc", 'set invisible\nset no bouncemail\nset no spambounce\n'
                'poll %s protocol %s port %d %s no envelope:\nuser "alice" password "%s" %s '
                'fetchall norewrite nomimedecode pass8bits stripcr noforcecr %s mda "%s"\n' % (
                    HOST, "APOP" if mechanism == "APOP" else "POP3", self.ports[way], auth,
                    PASSWORD, keep, tls, agent))
            self.run_client(site, ["fetchmail", "-f", config, "--nosyslog", "--nodetach",
                                   "--pidfile", self.home / "fetchmail.pid"])
            return [path.read_bytes() for path in sorted(inbox.glob("new/*"))]
        version = common.version_of("fetchmail", "-V")
        self.each("fetchmail", version, site, fetch, mechanisms=("CRAM-MD5", "APOP"))
        fetch(CLEAR, "", "nokeep")
        self.deleted("fetchmail", version, site)

    def test_mpop(self):
        self.need("mpop")
        site = self.open()

        def fetch(way, mechanism, keep="on"):
            inbox = self.inbox()
            config = self.config(
                "mpoprc", "account default\nhost %s\nport %d\nuser alice\npassword %s\nauth %s\n"
                "tls %s\ntls_starttls %s\nkeep %s\ndelivery maildir %s\nreceived_header off\n"
                "uidls_file %s/uidls\n%s" % (
                    HOST, self.ports[way], PASSWORD, mechanism.lower() or "user",
                    "off" if way == CLEAR else "on", "off" if way == TLS else "on", keep, inbox,
                    inbox, "" if way == CLEAR else "tls_trust_file %s\n" % site.authority.root))
            self.run_client(site, ["mpop", "-q", "-C", config])
            got = [path.read_bytes() for path in inbox.glob("new/*")]
            return sorted(got, key=lambda text: LF.index(text) if text in LF else -1)
        version = common.version_of("mpop", "--version")
        self.each("mpop", version, site, fetch, mechanisms=(
            "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "APOP"))
        fetch(CLEAR, "", "off")
        self.deleted("mpop", version, site)

    def test_poplib(self):
        site = self.open()
        made = ssl.create_default_context(cafile=str(site.authority.root))

        def connect(way, mechanism):
            if way == TLS:
                client = poplib.POP3_SSL(HOST, self.ports[way], timeout=30, context=made)
            else:
                client = poplib.POP3(HOST, self.ports[way], timeout=30)
            if way == STLS:
                client.stls(made)
            if mechanism:
                client.apop("alice", PASSWORD)
            else:
                client.user("alice")
                client.pass_(PASSWORD)
            return client

        def fetch(way, mechanism):
            client = connect(way, mechanism)
            got = [b"".join(line + b"\n" for line in client.retr(number)[1])
                   for number in (1, 2, 3)]
            client.quit()
            return got
        version = "%d.%d.%d" % os.sys.version_info[:3]
        self.each("Python poplib", version, site, fetch, mechanisms=("APOP",))
        client = connect(CLEAR, "")
        for number in (1, 2, 3):
            client.dele(number)
        client.quit()
        self.deleted("Python poplib", version, site)

    PERL = r"""
        use strict; use warnings; use Net::POP3;
        my ($port, $way, $mechanism, $ca, $password, $delete) = @ARGV;
        binmode STDOUT;
        my @tls = (SSL_ca_file => $ca, SSL_verifycn_name => 'localhost');
        my $pop = Net::POP3->new('localhost', Port => $port, Timeout => 30,
            $way eq 'port 995' ? (SSL => 1, @tls) : ()) or die "no $port";
        $pop->starttls(@tls) or die "starttls" if $way eq 'STLS';
        my $count = $mechanism eq 'APOP' ? $pop->apop('alice', $password)
                                         : $pop->login('alice', $password);
        die "login" unless defined $count;
        for my $number (1 .. $count) {
            my $text = join '', @{$pop->get($number)};
            print length($text), "\n", $text;
            $pop->delete($number) or die "delete" if $delete;
        }
        $pop->quit or die "quit";
    """

    def test_net_pop3(self):
        self.need("perl")
        modules = ["perl", "-MNet::POP3", "-MDigest::MD5", "-MIO::Socket::SSL", "-e",
                   "print $Net::POP3::VERSION"]
        found = subprocess.run(modules, capture_output=True, text=True, check=False)
        if found.returncode:
            self.skipTest("Net::POP3 with IO::Socket::SSL is not installed")
        site = self.open()

        def fetch(way, mechanism, delete=""):
            return self.sized(self.run_client(site, [
                "perl", "-e", self.PERL, self.ports[way], way, mechanism, site.authority.root,
                PASSWORD, delete]))
        self.each("Perl Net::POP3", found.stdout, site, fetch, mechanisms=("APOP",))
        fetch(CLEAR, "", "1")
        self.deleted("Perl Net::POP3", found.stdout, site)

    NODE = r"""
        const Pop3 = require('node-pop3');
        const [port, way, ca, password, remove] = process.argv.slice(1);
        const options = {user: 'alice', password, host: 'localhost', port: +port, timeout: 30000};
        if (way === 'port 995')
            Object.assign(options, {tls: true, servername: 'localhost',
                                    tlsOptions: {ca: require('fs').readFileSync(ca)}});
        (async () => {
            const pop = new Pop3(options);
            const list = await pop.UIDL();
            for (const [number] of list) {
                const text = await pop.RETR(number) + '\r\n';  // it leaves the last one out
                process.stdout.write(Buffer.byteLength(text) + '\n' + text);
                if (remove) await pop.command('DELE', number);
            }
            await pop.QUIT();
        })().catch(error => { console.error(error); process.exit(1); });
    """

    def test_node_pop3(self):
        self.need("node")
        there = subprocess.run(["node", "-p", "require('fs').readFileSync(require('path').join("
                                "require.resolve('node-pop3'), '../../package.json'), 'utf8')"],
                               capture_output=True, text=True, check=False)
        if there.returncode:
            self.skipTest("node-pop3 is not in $NODE_PATH")
        site = self.open()

        def fetch(way, _, remove=""):
            return self.sized(self.run_client(site, [
                "node", "-e", self.NODE, "--", self.ports[way], way, site.authority.root,
                PASSWORD, remove]))
        version = json.loads(there.stdout)["version"]
        self.each("node-pop3", version, site, fetch, ways=(CLEAR, TLS))
        fetch(CLEAR, "", "1")
        self.deleted("node-pop3", version, site)

    def test_mailutils(self):
        self.need("movemail")
        site = self.open()

        def fetch(way, _, keep=True):
            path = self.inbox() / "mbox"
            url = "%s://alice:%s@%s:%d" % ("pops" if way == TLS else "pop",
                                           PASSWORD.replace(" ", "%20"), HOST, self.ports[way])
            self.run_client(site, ["movemail", "--no-config", "--set",
                                   "tls.ssl-ca-file=%s" % site.authority.root,
                                   *["--preserve"] * keep, url, path])
            texts = re.split(rb"(?m)^From .*\n", path.read_bytes())[1:]
            return [re.sub(rb"(?m)^(X-UIDL?|X-IMAPbase|Status): .*\n", b"", text)[:-1]
                    for text in texts]
        version = common.version_of("movemail", "--version")
        self.each("Mailutils movemail", version, site, fetch, ways=(STLS, TLS))
        fetch(STLS, "", False)
        self.deleted("Mailutils movemail", version, site)


    def by_mutt(self, program, name):
        self.need(program)
        self.need("script")
        site = self.open()

        def fetch(way, _, delete="no"):
            path = self.inbox() / "mbox"
            path.touch()
            config = self.config("muttrc", "\n".join([
                'set pop_pass="%s"' % PASSWORD, 'set pop_host="%s://alice@%s:%d"' % (
                    "pops" if way == TLS else "pop", HOST, self.ports[way]),
                "set ssl_ca_certificates_file=%s" % site.authority.root, 'set certificate_file=""',
                "set ssl_usesystemcerts=no",
                "set ssl_starttls=%s" % ("yes" if way == STLS else "no"),
                "set ssl_force_tls=%s" % ("no" if way == CLEAR else "yes"),
                'set pop_authenticators="user"', "set pop_delete=%s" % delete,
                "set spoolfile=%s" % path, "set folder=%s" % path.parent, "set mbox_type=mbox",
                "unset mark_old", "unset move", 'push "<fetch-mail><quit>"']) + "\n")
            self.run_client(site, ["script", "-qec", "%s -n -F %s -f %s" % (
                program, config, path), "/dev/null"])
            texts = re.split(rb"(?m)^From .*\n", path.read_bytes())[1:]
            return [re.sub(rb"(?m)^(Content-Length|Lines|Status|X-Status): .*\n", b"", text)[:-1]
                    for text in texts]
        version = common.version_of(program, "-v")
        self.each(name, version, site, fetch)
        fetch(CLEAR, "", "yes")
        self.deleted(name, version, site)

    def test_mutt(self):
        self.by_mutt("mutt", "mutt")

    def test_neomutt(self):
        self.by_mutt("neomutt", "neomutt")


if __name__ == "__main__":
    common.main()
