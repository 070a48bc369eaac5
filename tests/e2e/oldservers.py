#!/usr/bin/env python3
"""Other POP3 servers, to take unique ids over from, and launchers: run where they were
unpacked, never installed.

    tests/e2e/oldservers.py fetch DIR     download them from Debian, unpack below DIR
    POP3D_OLD_SERVERS=DIR tests/run import

Each server is asked once, over pipes or a socket pair, as its inetd would start
it.  popa3d and Mailutils need root and a mount namespace, in which they see
accounts of ours; nothing of the machine is written.
"""
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

import common

PACKAGES = ["dovecot-core", "dovecot-pop3d", "liblua5.4-0", "libexttextcat-2.0-0", "courier-base",
            "courier-pop", "courier-authlib", "libcourier-unicode4", "mailutils-pop3d",
            "mailutils-common", "libmailutils9", "libmu-dbm9", "libkyotocabinet16v5", "libmariadb3",
            "libgdbm6", "libpq5", "libgsasl18", "libntlm0", "libltdl7", "libpython3.11",
            "guile-3.0-libs", "libgc1", "libwrap0", "libnsl2", "liblzo2-2", "popa3d",
            # and what starts a server for each connection (test_launchers.py)
            "openbsd-inetd", "libbsd0", "libmd0", "libevent-2.1-7", "xinetd", "libtirpc3",
            "ucspi-tcp", "ipsvd", "socat"]
ROOT = pathlib.Path(os.environ.get("POP3D_OLD_SERVERS", common.ROOT / "build/oldservers"))
WAIT = 20
ACCOUNT_UID = 61200 if common.AS_ROOT else os.geteuid()


def fetch(where):
    where = pathlib.Path(where)
    deb, root = where / "deb", where / "root"
    deb.mkdir(parents=True, exist_ok=True)
    root.mkdir(exist_ok=True)
    subprocess.run(["apt-get", "download"] + PACKAGES, cwd=deb, check=True)
    for package in deb.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)


def need(path):
    """The program, or the test is skipped by its name."""
    program = ROOT / "root" / path
    if not os.access(program, os.X_OK):
        raise unittest.SkipTest("no %s below %s" % (path, ROOT))
    return program


def libraries():
    found = {os.path.dirname(name) for top in ("usr/lib", "lib")
             for name in glob.glob(str(ROOT / "root" / top / "**/*.so*"), recursive=True)}
    return ":".join(sorted(name for name in found if "modules" not in name))


def environment(**more):
    return dict({"LD_LIBRARY_PATH": libraries(), "PATH": os.environ["PATH"],
                 "TCPREMOTEIP": "127.0.0.1"}, **more)


def become(uid):
    def change():
        if common.AS_ROOT:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
    return change


class Conversation:
    """Commands and answers over one socket."""

    def __init__(self, argv, env, preexec=None):
        with socket.create_server(("127.0.0.1", 0)) as listener:  # Mailutils wants an address
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        with theirs:
            self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs,
                                            stderr=subprocess.PIPE, env=env, cwd="/",
                                            preexec_fn=preexec)
        ours.settimeout(WAIT)
        self.socket, self.file = ours, ours.makefile("rb")

    def line(self):
        line = self.file.readline().rstrip(b"\r\n")
        if not line.startswith(b"+OK"):
            self.socket.close()
            self.file.close()
            raise AssertionError("%r; %s" % (line, self.process.communicate()[1]))
        return line

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.line()

    def multi(self, command):
        self.ask(command)
        lines = []
        while True:
            line = self.file.readline()
            if line == b".\r\n":
                return lines
            assert line, "the server closed"
            lines.append(line[1:] if line.startswith(b".") else line)

    def uidl(self):
        return [line.split()[1].decode() for line in self.multi("UIDL")]

    def retr(self, number):
        return b"".join(self.multi("RETR %d" % number))

    def quit(self):
        self.ask("QUIT")
        self.file.close()
        self.socket.close()
        self.process.wait(WAIT)
        self.process.stderr.close()


def courier(maildir, uid):
    program = need("usr/lib/courier/courier/courierpop3d")
    talk = Conversation([str(program), str(maildir)],
                        environment(AUTHENTICATED="old", AUTHADDR="old", MAILDIR=str(maildir)),
                        become(uid))
    talk.line()
    return talk


def dovecot(location, uid, home, **settings):
    program, conf = need("usr/lib/dovecot/pop3"), need("usr/bin/doveconf")
    gid = uid if common.AS_ROOT else os.getegid()
    lines = dict({"protocols": "pop3", "ssl": "no", "mail_location": location, "mail_uid": uid,
                  "mail_gid": gid, "first_valid_uid": 1, "first_valid_gid": 1,
                  "base_dir": home, "state_dir": home, "log_path": "/dev/stderr",
                  "default_login_user": "nobody", "default_internal_user": "nobody",
                  "default_internal_group": "nogroup", "mbox_write_locks": "fcntl",
                  "mbox_lazy_writes": "no"}, **settings)
    path = pathlib.Path(home) / "dovecot.conf"
    path.write_text("".join("%s = %s\n" % item for item in lines.items()))
    path.chmod(0o644)
    # as dovecot starts doveconf, to start it with its settings; it is logged in, and says nothing
    return Conversation([str(conf), "-f", "service=pop3", "-m", "pop3", "-c", str(path), "-e",
                         str(program)], environment(USER="old", HOME=str(home)), become(uid))


class Namespace:
    """A mount namespace with the account `old` and its mailbox /var/mail/old."""

    SCRIPT = """
        mount --bind "$top/passwd" /etc/passwd
        mount --bind "$top/group" /etc/group
        mount --bind "$top/shadow" /etc/shadow
        mount --bind "$top/pam.d" /etc/pam.d
        mount --bind "$top/mail" /var/mail
        mount --bind "$top/lib" /var/lib
        cd /
        exec "$@" """

    def __init__(self):
        if not common.AS_ROOT:
            raise unittest.SkipTest("needs root")
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL,
                          check=False).returncode:
            raise unittest.SkipTest("no mount namespaces here")
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="pop3d-old."))
        for name in ("mail", "pam.d", "lib", "lib/popa3d"):
            (self.top / name).mkdir()
        self.top.chmod(0o755)
        (self.top / "mail").chmod(0o1777)
        self.mailbox = self.top / "mail/old"
        for name in ("popa3d", "mailutils-pop3d", "other", "pop3d"):
            (self.top / "pam.d" / name).write_text("auth required pam_unix.so\n"
                                                   "account required pam_unix.so\n")
        accounts = {"old": ACCOUNT_UID, "popa3d": 61113}
        for file, form in (("passwd", "%s:x:%d:%d::/nonexistent:/bin/sh\n"),
                           ("group", "%s:x:%d:\n")):
            text = pathlib.Path("/etc", file).read_text()
            keep = [line for line in text.splitlines(True)
                    if line.split(":")[0] not in accounts]
            for name, uid in accounts.items():
                keep.append(form % ((name, uid, uid) if file == "passwd" else (name, uid)))
            (self.top / file).write_text("".join(keep))
        (self.top / "shadow").write_text("old:%s:19000:0:99999:7:::\n" % common.make_hash("pw"))

    def fill(self, content):
        self.mailbox.write_bytes(content)
        os.chown(self.mailbox, ACCOUNT_UID, ACCOUNT_UID)
        self.mailbox.chmod(0o600)

    def talk(self, *argv):
        talk = Conversation(["unshare", "-m", "--propagation", "private", "sh", "-euc",
                             self.SCRIPT, "sh"] + [str(arg) for arg in argv],
                            environment(top=str(self.top)))
        talk.line()
        talk.ask("USER old")
        talk.ask("PASS pw")
        return talk

    def close(self):
        shutil.rmtree(self.top)


def popa3d(namespace):
    return namespace.talk(need("usr/sbin/popa3d"))


def mailutils(namespace):
    program = need("usr/sbin/pop3d")
    config = namespace.top / "mailutils.conf"
    config.write_text("logging { syslog no; };\nserver \"127.0.0.1\" { tls-mode no; };\n")
    return namespace.talk(program, "--config-file=%s" % config, "--inetd")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "fetch":
        sys.exit(__doc__.split("\n\n")[1])
    fetch(sys.argv[2])
