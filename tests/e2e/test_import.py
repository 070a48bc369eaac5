#!/usr/bin/env python3
"""Unique ids taken over from other servers: the listing of the real old server is
that of ours, for each form that it keeps them in; and what must not be believed."""
import hashlib
import re
import socket
import subprocess

import common
import oldservers
from common import simple_message
from test_pop3admin import AdminCase

RECEIVED = b"Received: from a by b;\n\tFri, 20 Nov 2026 10:54:%02d +0000\n"


def messages():
    """Such as every server tells apart."""
    made = []
    for number in range(8):
        made.append(RECEIVED % number + b"Date: Fri, 20 Nov 2026 10:54:%02d +0000\n" % number
                    + b"Message-ID: <%d@example.net>\n" % number + simple_message(number))
    made[3] = b"Message-ID: <three@example.net>\nDelivered-To: alice\n" + simple_message(3, 9000)
    made[4] = made[4].replace(b"\n", b"\r\n")
    made[5] = made[5] + b".\n..\n.x\n"
    made[6] = made[6].replace(b"body", b"b\xc3\xb6dy")
    return made


def bases(user):
    """Of the file names of a Maildir, in the order of its messages."""
    return sorted(path.name.partition(":")[0] for path in user.path.glob("*/*")
                  if path.parent.name in ("new", "cur"))


class ImportCase(AdminCase):
    def take_over(self, site, source, *args, status=0, user="alice"):
        return self.json(site, "uidl", "import", user, str(source), *args, status=status)

    def ours(self, site, user="alice"):
        """As a client sees them."""
        if not common.POP3D.exists():
            return [one["uidl"] for one in self.json(site, "uidl", "list", user)]
        session = site.login(user)
        ids = [line.split()[1] for line in session.lines("UIDL")]
        session.quit()
        self.assertEqual([one["uidl"] for one in self.json(site, "uidl", "list", user)], ids)
        return ids

    def expect_all(self, site, source, wanted, *args, user="alice"):
        """A dry run changes nothing, a run maps all, a second one changes nothing more."""
        before = self.ours(site, user)
        dry = self.take_over(site, source, *args, "--dry-run", user=user)
        self.assertEqual((dry["entries"], dry["mapped"], dry["changed"]), (len(wanted),) * 3)
        self.assertEqual(self.ours(site, user), before)
        done = self.take_over(site, source, *args, user=user)
        self.assertEqual((done["entries"], done["mapped"], done["changed"], done["without"],
                          done["unmapped"]), (len(wanted), len(wanted), len(wanted), 0, []))
        print("# %-44s old %s ...\n# %-44s new %s ..." % (
            self.id().split(".", 1)[1], " ".join(wanted[:2]), "",
            " ".join(self.ours(site, user)[:2])))
        self.assertEqual(self.ours(site, user), wanted)
        again = self.take_over(site, source, *args, user=user)
        self.assertEqual((again["mapped"], again["changed"]), (len(wanted), 0))
        self.admin(site, "uidl", "check", user)
        (site.top / "state" / user / "index").unlink(missing_ok=True)
        self.assertEqual(self.ours(site, user), wanted)


class RealServers(ImportCase):
    """The old server serves the very maildrop; then ours does, with its ids."""

    def maildir_site(self):
        oldservers.need("usr/lib/dovecot/pop3")
        site = self.site()
        user = site.add_user(kind="maildir", messages=messages(),
                             uid=oldservers.ACCOUNT_UID)
        home = site.top / "home"
        home.mkdir()
        site.own(home, user, 0o700)
        return site, user, home

    def dovecot(self, form, saved=False):
        site, user, home = self.maildir_site()
        talk = oldservers.dovecot("maildir:%s" % user.path, user.uid, home,
                                  pop3_uidl_format=form, pop3_save_uidl="yes" if saved else "no")
        old = talk.uidl()
        talk.quit()
        self.expect_all(site, user.path / "dovecot-uidlist", old, "--from", "dovecot",
                        *([] if saved else ["--uidl-format", form]))
        return site, user

    def test_dovecot_default(self):
        self.dovecot("%08Xu%08Xv")

    def test_dovecot_other_formats(self):
        for form in ("%v-%u", "%v.%u", "%u", "%08Xv%08Xu", "%f", "%g", "x%%%u"):
            with self.subTest(form=form):
                self.dovecot(form)

    def test_dovecot_explicit_ids(self):
        self.dovecot("%u-of-%v", saved=True)

    def test_dovecot_maildir_goes_on(self):
        """Mail that comes after the import gets our ids, mail that goes takes its id along."""
        site, user = self.dovecot("%v-%u")
        old = self.ours(site)
        site.deliver(user, simple_message(100))
        session = site.login()
        session.expect("DELE 2", "+OK...")
        session.quit()
        now = self.ours(site)
        self.assertEqual(now[:7], old[:1] + old[2:])
        self.assertEqual(len(now), 8)

    def courier(self, stored=None):
        oldservers.need("usr/lib/courier/courier/courierpop3d")
        site = self.site()
        user = site.add_user(kind="maildir", messages=stored or messages(),
                             uid=oldservers.ACCOUNT_UID)
        talk = oldservers.courier(user.path, user.uid)
        old = talk.uidl()
        talk.quit()
        return site, user, old, user.path / "courierpop3dsizelist"

    def test_courier(self):
        site, user, old, source = self.courier()
        self.assertRegex(source.read_text(), r"\A/3 ")
        self.expect_all(site, source, old, "--from", "courier")

    def test_courier_version_2(self):
        """What Courier itself makes of a list of version 2, as older ones wrote it."""
        site, user, old, source = self.courier()
        text = re.sub(r"(?m):\d$", "", source.read_text().replace("/3 ", "/2 ", 1))
        text = text.replace(" 3:%s" % old[2].split("-")[1], " 3:77")
        source.write_text(text)
        talk = oldservers.courier(user.path, user.uid)
        old = talk.uidl()
        talk.quit()
        self.assertEqual(old[2], "UID3-77")
        source.write_text(text)
        self.expect_all(site, source, old, "--from", "courier")

    def test_courier_without_uids(self):
        """uid 0: the id is the file's name, as in the oldest lists."""
        site, user, old, source = self.courier()
        text = re.sub(r"(?m) \d+:\d+:0$", " 0:0:0", source.read_text())
        source.write_text(text)
        talk = oldservers.courier(user.path, user.uid)
        old = talk.uidl()
        talk.quit()
        self.assertEqual(old, bases(user))
        source.write_text(text)
        self.expect_all(site, source, old, "--from", "courier")

    def mbox_site(self, namespace):
        site = self.site()
        user = site.add_user(kind="mbox", path=namespace.mailbox, uid=oldservers.ACCOUNT_UID)
        return site, user

    def namespace(self):
        namespace = oldservers.Namespace()
        self.addCleanup(namespace.close)
        namespace.fill(common.mbox(messages()))
        return namespace

    def test_popa3d(self):
        oldservers.need("usr/sbin/popa3d")
        namespace = self.namespace()
        talk = oldservers.popa3d(namespace)
        old = talk.uidl()
        talk.quit()
        site, user = self.mbox_site(namespace)
        self.expect_all(site, namespace.mailbox, old, "--from", "popa3d")

    def test_mailutils(self):
        oldservers.need("usr/sbin/pop3d")
        namespace = self.namespace()
        talk = oldservers.mailutils(namespace)
        old = talk.uidl()
        talk.quit()
        site, user = self.mbox_site(namespace)
        self.expect_all(site, namespace.mailbox, old, "--from", "mailutils")

    def test_dovecot_mbox(self):
        oldservers.need("usr/lib/dovecot/pop3")
        for form in ("%08Xu%08Xv", "%v-%u", "%m", "%g"):
            with self.subTest(form=form):
                site = self.site()
                user = site.add_user(kind="mbox", messages=messages(),
                                     uid=oldservers.ACCOUNT_UID)
                home = site.top / "home"
                home.mkdir()
                site.own(home, user, 0o700)
                talk = oldservers.dovecot("mbox:%s:INBOX=%s" % (home, user.path), user.uid, home,
                                          pop3_uidl_format=form)
                old = talk.uidl()
                talk.quit()
                self.expect_all(site, user.path, old, "--from", "dovecot", "--uidl-format", form)

    def test_mbox_to_maildir(self):
        """Ids of an mbox follow the messages into a Maildir."""
        oldservers.need("usr/sbin/popa3d")
        namespace = self.namespace()
        talk = oldservers.popa3d(namespace)
        old = talk.uidl()
        talk.quit()
        site = self.site()
        site.add_user(kind="maildir", messages=messages())
        self.expect_all(site, namespace.mailbox, old, "--from", "popa3d")

    def test_transcript_of_a_server(self):
        """What a client can take from any server: UIDL and RETR."""
        # Courier gives a stored CRLF another CR: what it sends is another message
        site, user, old, _ = self.courier([one for one in messages() if b"\r" not in one])
        talk = oldservers.courier(user.path, user.uid)
        lines = ["+OK\r\n"]
        for number, uidl in enumerate(talk.uidl(), 1):
            sent = talk.retr(number)
            lines.append("%d %s %d %s\r\n" % (number, uidl, len(sent),
                                              hashlib.sha256(sent).hexdigest()))
        talk.quit()
        source = site.top / "transcript"
        source.write_text("".join(lines) + ".\r\n")
        self.expect_all(site, source, old, "--from", "transcript")


class Listings(ImportCase):
    """Forms without a server at hand, and what must not be believed."""

    def filled(self, kind="maildir", stored=None):
        site = self.site()
        user = site.add_user(kind=kind, messages=stored or messages())
        return site, user

    def source(self, site, text):
        path = site.top / "source"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_qpopper(self):
        stored = [b"X-UIDL: %s\n" % name + text for name, text in zip(
            (b"!#$%&'()*+", b"'`~]|^{}\"", b"a" * 70), messages())]
        site, user = self.filled("mbox", stored)
        self.expect_all(site, user.path, ["!#$%&'()*+", "'`~]|^{}\"", "a" * 70],
                        "--from", "qpopper")

    def test_cyrus(self):
        stored = messages()
        text = ("Mailbox Header Info:\n  UIDValidity: 1234567890  Last UID: 9\n"
                "  Mailbox Options: POP3_NEW_UIDL\n Message Info:\n")
        for number, message in enumerate(stored):
            sent = common.wire(message)
            text += ("%06d> UID:%08d   INT_DATE:1 SENTDATE:1 SAVEDATE:1 SIZE:%-6d\n"
                     "      > HDRSIZE:1      LASTUPD :1 SYSFLAGS:00000000\n"
                     "      > CREATEDMODSEQ:1\n GUID:%s\n" % (
                         number + 1, number + 7, len(sent), hashlib.sha1(sent).hexdigest()))
        wanted = ["1234567890.%d" % (number + 7) for number in range(len(stored))]
        for kind in ("mbox", "maildir"):
            site, _ = self.filled(kind)
            self.expect_all(site, self.source(site, text), wanted, "--from", "cyrus")
        site, _ = self.filled()
        self.expect_all(site, self.source(site, text.replace("POP3_NEW_UIDL", "")),
                        [one.split(".")[1] for one in wanted], "--from", "cyrus")

    def test_export_and_import(self):
        for kind in ("mbox", "maildir"):
            for other in ("mbox", "maildir"):
                with self.subTest(kind=kind, other=other):
                    site, _ = self.filled(kind)
                    twin = messages()[0]
                    site.add_user("bob", kind=other, messages=messages() + [twin, twin])
                    text = self.admin(site, "uidl", "export", "alice")
                    exported = self.json(site, "uidl", "export", "alice")
                    self.assertEqual(list(exported[0]),
                                     ["msgno", "octets", "uidl", "sha256", "plain_sha256"])
                    wanted = self.ours(site)
                    self.assertEqual([one["uidl"] for one in exported], wanted)
                    done = self.take_over(site, self.source(site, text), "--from", "transcript",
                                          user="bob")
                    self.assertEqual((done["mapped"], done["without"]), (8, 2))
                    self.assertEqual(self.ours(site, "bob")[:8], wanted)

    def test_transcript_by_a_client(self):
        """packaging/uidl-transcript over a whole session: the lines of an export."""
        site, user = self.filled("mbox")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(common.WAIT)
            client = subprocess.Popen([str(common.ROOT / "packaging/uidl-transcript"), "--port",
                                       str(listener.getsockname()[1]), "127.0.0.1", "alice"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            client.stdin.write(common.PASSWORD.encode() + b"\n")
            client.stdin.flush()
            theirs, _ = listener.accept()
        with theirs:
            server = subprocess.Popen([str(common.POP3D), "-c", str(site.config)], stdin=theirs,
                                      stdout=theirs, stderr=subprocess.DEVNULL, cwd="/")
        text, _ = client.communicate(timeout=common.WAIT)
        self.assertEqual((client.returncode, server.wait(common.WAIT)), (0, 0))
        exported = [" ".join(line.split()[:4])
                    for line in self.admin(site, "uidl", "export", "alice").splitlines()
                    if not line.startswith("#")]
        self.assertEqual(text.decode().splitlines()[1:], exported)
        done = self.take_over(site, self.source(site, text), "--from", "transcript")
        self.assertEqual((done["mapped"], done["without"]), (8, 0))

    def test_twins_by_order(self):
        site, user = self.filled("mbox", [messages()[0]] * 3)
        lines = self.admin(site, "uidl", "export", "alice").splitlines()
        text = "\n".join(re.sub(r"^(\d+) \S+", r"\1 old-\1", line) for line in lines)
        self.expect_all(site, self.source(site, text), ["old-1", "old-2", "old-3"],
                        "--from", "transcript")

    def test_flags_that_readers_add(self):
        """A Status field that came in between does not lose the mapping."""
        site, user = self.filled("mbox")
        text = self.admin(site, "uidl", "export", "alice")
        text = re.sub(r"(?m)^(\d+) \S+", r"\1 kept-\1", text)
        site.fill(user, [b"Status: RO\nX-Status: A\n" + one if b"\r" not in one
                         else b"Status: RO\r\n" + one for one in messages()])
        self.expect_all(site, self.source(site, text),
                        ["kept-%d" % (number + 1) for number in range(8)], "--from", "transcript")

    def test_what_cannot_be_mapped(self):
        site, user = self.filled()
        name = bases(user)
        text = ("3 V5 N20 Gabc\n1 :%s\n2 Pexplicit :%s:2,S\n3 :gone.host\n4 P%s :%s\n"
                "5 Pexplicit :%s\n6 :%s\n6 :%s\n" % (
                    name[0], name[1], "x" * 71, name[2], name[3],
                    name[4], name[4]))
        done = self.take_over(site, self.source(site, text), "--from", "dovecot",
                              "--uidl-format", "%v-%u")
        self.assertEqual((done["entries"], done["mapped"], done["without"]), (7, 3, 5))
        for line, says, found in zip((4, 5, 6, 8), (
                "is not in the maildrop", "no unique id that clients", "same id",
                "a line before"), done["unmapped"], strict=True):
            self.assertRegex(found, "^line %d: .*%s" % (line, says))
        ids = self.ours(site)
        self.assertEqual([ids[0], ids[1], ids[4]], ["5-1", "explicit", "5-6"])

    BAD = [
        ("dovecot", ""), ("dovecot", "4 V1 N1\n"), ("dovecot", "3 N1\n"), ("dovecot", "3 V0 N1\n"),
        ("dovecot", "3 V1 N1\nx :a\n"), ("dovecot", "3 V1 N1\n1 a\n"), ("dovecot", "3 V1 N1\n1 :\n"),
        ("dovecot", "3 V1 N1\n0 :a\n"), ("dovecot", "3 V4294967296 N1\n"),
        ("dovecot", "3 V1 N1\n4294967296 :a\n"), ("dovecot", "\0\0\0"), ("dovecot", "1 5 6\n7\n"),
        ("courier", "/4 1 1\na 1 1:1:0\n"), ("courier", "/x\n"), ("courier", "/3 1 1\na 1\n"),
        ("courier", "/3 1 1\na x 1:1:0\n"), ("courier", "/3 1 1\na 1 1\n"),
        ("courier", "/2 1 1\n 1 1:1\n"), ("courier", "words of no meaning\n"),
        ("courier", "/3 1 1\na 1 1:99999999999999999999999:0\n"),
        ("cyrus", ""), ("cyrus", "000001> UID:1 SIZE:1\n GUID:00\n"),
        ("transcript", "1 a\n"), ("transcript", "1 a 5\n"), ("transcript", "1 a 5 00\n"),
        ("transcript", "x a 5 " + "0" * 64), ("transcript", "0 a 5 " + "0" * 64),
        ("transcript", "1 a -5 " + "0" * 64), ("transcript", "1 a 5 " + "g" * 64),
        ("transcript", "1 a 5 " + "0" * 64 + " 00"),
        ("transcript", "1 a 5 " + "0" * 64),  # maps nothing
        ("dovecot", "3 V1 N1\n1 :nothing.of.ours\n"),
    ]

    def test_bad_lists(self):
        site, user = self.filled()
        before = self.ours(site)
        for form, text in self.BAD:
            with self.subTest(form=form, text=text):
                self.admin(site, "uidl", "import", "alice", str(self.source(site, text)),
                           "--from", form, status=65)
        self.assertEqual(self.ours(site), before)
        self.assertFalse((site.top / "state/alice/uidl").exists())

    def test_usage(self):
        site, user = self.filled()
        name = bases(user)
        source = self.source(site, "3 V1 N1\n1 :%s\n" % name[0])
        for args, status, says in (
                (["alice", source], 64, "--from is missing"),
                (["alice", source, "--from", "exchange"], 64, "is one of"),
                (["alice", source, "--from", "courier", "--uidl-format", "%u"], 64, "dovecot alone"),
                (["alice"], 64, "argument is missing"),
                (["nobody", source, "--from", "dovecot"], 67, ""),
                (["alice", site.top / "none", "--from", "dovecot"], 74, "none"),
                (["alice", site.top, "--from", "dovecot"], 65, "no regular file"),
                (["alice", source, "--from", "dovecot", "--uidl-format", "%q"], 65, "%q"),
                (["alice", source, "--from", "dovecot", "--uidl-format", "%m"], 65, "%m"),
                (["alice", source, "--from", "dovecot", "--uidl-format", "%"], 65, "")):
            self.admin(site, "uidl", "import", *[str(arg) for arg in args], status=status,
                       says=says)

    def test_forged_headers(self):
        """X-UID that does not rise is not Dovecot's; of equal X-UIDL the first counts."""
        stored = [b"X-IMAPbase: 77 9\nX-UID: 5\n" + messages()[0],
                  b"X-UID: 3\n" + messages()[1], b"X-UID: x\n" + messages()[2],
                  b"X-UID: 6\n" + messages()[3], messages()[5]]
        site, user = self.filled("mbox", stored)
        done = self.take_over(site, user.path, "--from", "dovecot", "--uidl-format", "%v-%u")
        self.assertEqual((done["mapped"], len(done["unmapped"])), (2, 3))
        ids = self.ours(site)
        self.assertEqual([ids[0], ids[3]], ["77-5", "77-6"])
        stored = [b"X-UIDL: same\n" + messages()[0], b"X-UIDL: same\n" + messages()[1],
                  b"X-UIDL: \n" + messages()[2], b"X-UIDL: two words\n" + messages()[3]]
        site, user = self.filled("mbox", stored)
        done = self.take_over(site, user.path, "--from", "qpopper")
        self.assertEqual((done["mapped"], len(done["unmapped"])), (1, 3))

    def test_no_uidvalidity(self):
        site, user = self.filled("mbox")
        self.admin(site, "uidl", "import", "alice", str(user.path), "--from", "dovecot", status=65,
                   says="uidvalidity")

    def test_older_ids_are_kept(self):
        """Two imports add up; the second one counts where both know a message."""
        site, user = self.filled()
        name = bases(user)
        first = "3 V1 N9\n1 :%s\n2 :%s\n" % (name[0], name[1])
        second = "3 V2 N9\n1 :%s\n2 :%s\n" % (name[1], name[2])
        for text in (first, second):
            self.take_over(site, self.source(site, text), "--from", "dovecot", "--uidl-format",
                           "%v-%u")
        self.assertEqual(self.ours(site)[:3], ["1-1", "2-1", "2-2"])
        self.assertEqual(sorted((site.top / "state/alice/uidl").read_text().splitlines())[2:], [
            "base 1-1 " + name[0], "base 2-1 " + name[1], "base 2-2 " + name[2],
            "pop3d-uidl 1"])

    def test_busy(self):
        site, user = self.filled()
        session = site.login()
        self.admin(site, "uidl", "import", "alice", str(self.source(site, "3 V1 N1\n")),
                   "--from", "dovecot", status=75)
        session.quit()

    def test_damaged_file_of_ids(self):
        """No id changes in silence: the file is named, and mail stays where it is."""
        site, user = self.filled()
        name = bases(user)
        self.take_over(site, self.source(site, "3 V1 N9\n1 :%s\n" % name[0]), "--from",
                       "dovecot")
        path = site.top / "state/alice/uidl"
        good = path.read_text()
        path.write_text(good + "rubbish\n")
        self.admin(site, "uidl", "list", "alice", status=65, says="uidl:5")
        path.write_text(good)
        self.admin(site, "uidl", "check", "alice")


class CheckAndRebuild(ImportCase):
    def test_good(self):
        for kind in ("mbox", "maildir"):
            site = self.site()
            site.add_user(kind=kind, messages=messages())
            site.add_user("bob", kind=kind, messages=messages()[:2] + messages()[:2])
            self.assertEqual(self.json(site, "uidl", "check", "alice"),
                             {"user": "alice", "messages": 8, "ok": True, "findings": []})
            self.assertEqual([one["ok"] for one in self.json(site, "uidl", "check", "--all")],
                             [True, True])
            ids = self.ours(site, "bob")
            done = self.json(site, "uidl", "rebuild", "bob", "--dry-run")
            self.assertEqual(done, {"user": "bob", "messages": 4, "changed": 0, "dry_run": True,
                                    "changes": []})
            self.assertEqual([one["changed"]
                              for one in self.json(site, "uidl", "rebuild", "--all")], [0, 0])
            self.assertEqual(self.ours(site, "bob"), ids)

    def test_export_all(self):
        site = self.site()
        site.add_user("alice", messages=messages()[:1])
        site.add_user("bob", kind="maildir", messages=messages()[:2])
        exported = self.json(site, "uidl", "export", "--all")
        self.assertEqual([one["user"] for one in exported], ["alice", "bob", "bob"])
        text = self.admin(site, "uidl", "export", "--all")
        self.assertIn("# user bob\n", text)


if __name__ == "__main__":
    common.main()
