"""What is removed is kept for trash_days, and comes back under its old id."""
import json
import os
import pathlib
import shutil
import time
import unittest

import common

MAIL = [common.simple_message(number, 300) for number in range(6)]
KINDS = ("mbox", "maildir")


def today():
    return int(time.time()) // 86400


class Trash(common.Case):
    def ids(self, site):
        session = site.login()
        lines = session.lines("UIDL")
        session.quit()
        return [line.split()[1] for line in lines]

    def texts(self, site):
        """id: message, as a client sees them."""
        session = site.login()
        ids = [line.split()[1] for line in session.lines("UIDL")]
        found = {one: session.multi("RETR %d" % (n + 1)) for n, one in enumerate(ids)}
        session.quit()
        return found

    def delete(self, site, *numbers):
        session = site.login()
        for number in numbers:
            session.expect("DELE %d" % number, "+OK...")
        session.quit()

    def ask(self, site, *args, status=0):
        text = site.admin("--json", "trash", *args, status=status)
        return json.loads(text) if text else None

    def listed(self, site, user="alice"):
        return [one["uidl"] for one in self.ask(site, "list", user)]

    def boxes(self, site, user):
        """The files or directories, one for each day or removal."""
        top = user.path / "pop3d-trash" if user.kind == "maildir" else \
            site.top / "state" / user.name / "trash"
        return sorted(path for path in top.iterdir()) if top.exists() else []

    def age(self, site, user, days):
        for path in self.boxes(site, user):
            day, dot, rest = path.name.partition(".")
            path.rename(path.with_name("%d%s%s" % (int(day) - days, dot, rest)))

    # ---- there and back

    def test_there_and_back(self):
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site(trash_days=7)
                alice = site.add_user(kind=kind, messages=MAIL)
                ids, texts = self.ids(site), self.texts(site)
                self.assertEqual(self.ask(site, "list", "alice"), [])
                self.delete(site, 1, 2, 5)
                self.assertEqual(self.ids(site), [ids[2], ids[3], ids[5]])
                listed = self.ask(site, "list", "alice")
                self.assertEqual({one["uidl"]: one["octets"] for one in listed},
                                 {ids[n]: len(texts[ids[n]]) for n in (0, 1, 4)})
                day = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())
                self.assertEqual({one["deleted"] for one in listed}, {day})
                # shown as it was stored, and its header
                self.assertEqual(site.admin("trash", "show", "alice", ids[1]).encode(), MAIL[1])
                shown = self.ask(site, "show", "alice", ids[1])
                self.assertEqual((shown["uidl"], shown["header"]),
                                 (ids[1], MAIL[1].decode().split("\n\n")[0].splitlines()))
                before = site.content(alice)
                told = self.ask(site, "restore", "alice", ids[1], "--dry-run")
                self.assertEqual(told, {"user": "alice", "restored": 1, "dry_run": True,
                                        "uidls": [ids[1]]})
                self.assertEqual(site.content(alice), before)
                self.assertEqual(self.ask(site, "restore", "alice", ids[1])["uidls"], [ids[1]])
                self.assertEqual(sorted(self.listed(site)), sorted([ids[0], ids[4]]))
                self.assertEqual(self.ask(site, "restore", "alice")["restored"], 2)
                self.assertEqual(self.texts(site), texts)
                self.assertEqual(self.listed(site), [])
                self.assertEqual(self.boxes(site, alice), [])
                site.admin("uidl", "check", "alice")
                site.admin("maildrop", "check", "alice")

    def test_off(self):
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site()
                alice = site.add_user(kind=kind, messages=MAIL)
                self.delete(site, 1)
                self.assertEqual(self.boxes(site, alice), [])
                self.assertEqual(self.ask(site, "list", "alice"), [])

    def test_all_and_again(self):
        """The whole mailbox; and one message that is deleted twice."""
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site(trash_days=7)
                site.add_user(kind=kind, messages=MAIL)
                texts = self.texts(site)
                for _ in range(2):
                    self.delete(site, *range(1, 7))
                    self.assertEqual(self.ids(site), [])
                    self.assertEqual(self.ask(site, "restore", "alice")["restored"], 6)
                    self.assertEqual(self.texts(site), texts)

    def test_flags_stay(self):
        site = self.site(trash_days=7)
        alice = site.add_user(kind="maildir", messages=MAIL)
        names = {path.parent.name + "/" + path.name for path in alice.path.glob("*/*")}
        self.delete(site, *range(1, 7))
        self.assertEqual([path for path in alice.path.glob("*/*")
                          if path.parent.name in ("new", "cur", "tmp")], [])
        self.ask(site, "restore", "alice")
        self.assertEqual({path.parent.name + "/" + path.name for path in alice.path.glob("*/*")
                          if path.is_file()}, names)

    # ---- ids that do not come by themselves

    def test_twins(self):
        """Equal messages of an mbox: -2 comes back as -2, alone or before the first."""
        site = self.site(trash_days=7)
        site.add_user(messages=[MAIL[0]] * 3 + MAIL[1:2])
        ids = self.ids(site)
        self.assertEqual(ids[1:3], [ids[0] + "-2", ids[0] + "-3"])
        self.delete(site, 2)
        self.assertEqual(self.ask(site, "restore", "alice")["uidls"], [ids[1]])
        self.assertEqual(sorted(self.ids(site)), sorted(ids))
        self.delete(site, 1, 2, 3, 4)
        self.assertEqual(self.ask(site, "restore", "alice", ids[2])["uidls"], [ids[2]])
        self.assertEqual(self.ids(site), [ids[2]])
        self.assertEqual(self.ask(site, "restore", "alice")["restored"], 3)
        self.assertEqual(sorted(self.ids(site)), sorted(ids))
        (site.top / "state/alice/index").unlink()
        self.assertEqual(sorted(self.ids(site)), sorted(ids))

    def test_maildir_twins(self):
        """Two files of one base; and bases that are no ids."""
        site = self.site(trash_days=7)
        alice = site.add_user(kind="maildir", messages=MAIL[:1])
        for number, name in enumerate(("new/1.same.host", "cur/1.same.host",
                                       "new/2." + "x" * 80, "new/3.a b\n")):
            path = alice.path / name
            path.write_bytes(MAIL[number + 1])
            site.own(path, alice, 0o600)
        texts = self.texts(site)
        self.assertIn("1.same.host-2", texts)
        self.delete(site, *range(1, len(texts) + 1))
        self.assertEqual(self.ids(site), [])
        self.assertEqual(set(self.listed(site)), set(texts))
        self.assertEqual(self.ask(site, "restore", "alice", "1.same.host-2")["restored"], 1)
        self.assertEqual(self.ids(site), ["1.same.host-2"])
        self.ask(site, "restore", "alice")
        self.assertEqual(self.texts(site), texts)

    def test_imported_ids(self):
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site(trash_days=7)
                site.add_user(kind=kind, messages=MAIL[:3])
                rows = json.loads(site.admin("--json", "uidl", "export", "alice"))
                transcript = "".join("%d old-%d %d %s\n" % (row["msgno"], n, row["octets"],
                                                             row["sha256"])
                                     for n, row in enumerate(rows))
                path = site.top / "transcript"
                path.write_text(transcript)
                site.admin("uidl", "import", "alice", str(path), "--from", "transcript")
                texts = self.texts(site)
                self.assertEqual(sorted(texts), ["old-0", "old-1", "old-2"])
                self.delete(site, 1, 2, 3)
                self.ask(site, "restore", "alice")
                self.assertEqual(self.texts(site), texts)

    # ---- who else removes, and when it goes

    def test_expired_and_purged(self):
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site(trash_days=7, expire=7)
                alice = site.add_user(kind=kind, messages=MAIL)
                ids = self.ids(site)
                seen = site.top / "state/alice/seen"
                seen.write_text("pop3d-seen 1\n%d %s\n" % (today() - 90, ids[3]))
                site.own(seen, alice, 0o600)
                told = json.loads(site.admin("--json", "maildrop", "expire", "alice"))
                self.assertEqual((told["expired"], told["purged"]), (1, 0))
                self.assertEqual(self.listed(site), [ids[3]])
                # back, it counts as not retrieved
                self.ask(site, "restore", "alice")
                told = json.loads(site.admin("--json", "maildrop", "expire", "alice"))
                self.assertEqual(told["expired"], 0)
                self.delete(site, 1)
                self.age(site, alice, 7)
                self.assertEqual(self.ask(site, "purge", "alice")["purged"], 0)
                self.delete(site, 1)
                self.age(site, alice, 1)
                self.assertEqual(self.ask(site, "purge", "--all", "--dry-run")[0]["purged"], 1)
                told = json.loads(site.admin("--json", "maildrop", "expire", "--all"))
                self.assertEqual(told[0]["purged"], 1)
                self.assertEqual(self.listed(site), [ids[1]])
                # nothing is kept any more
                told = json.loads(site.admin("--json", "-o", "trash_days=0", "trash", "purge",
                                             "alice"))
                self.assertEqual(told["purged"], 1)
                self.assertEqual(self.boxes(site, alice), [])

    def test_in_use(self):
        site = self.site(trash_days=7, lock_timeout=0)
        site.add_user(messages=MAIL)
        self.delete(site, 1)
        session = site.login()
        for command in ("list", "restore", "purge"):
            site.admin("trash", command, "alice", status=75)
        session.quit()

    def test_wrong_use(self):
        site = self.site(trash_days=7)
        alice = site.add_user(messages=MAIL)
        site.add_user("bob", messages=None)
        self.delete(site, 1)
        before = site.content(alice)
        for args, status in ((("restore",), 64), (("restore", "alice", "--all"), 64),
                             (("restore", "nobody"), 67), (("restore", "alice", "no-such-id"), 65),
                             (("show", "alice"), 64), (("show", "alice", "no-such-id"), 65),
                             (("list",), 64), (("purge", "alice", "bob"), 64),
                             (("restore", "bob", "x"), 65), (("restore", "bob"), 0)):
            with self.subTest(args=args):
                site.admin("trash", *args, status=status)
        self.assertEqual(site.content(alice), before)
        # the mailbox itself is gone: told, and nothing is lost
        alice.path.unlink()
        site.admin("trash", "restore", "alice", status=67)
        self.assertEqual(len(self.listed(site)), 1)

    # ---- no copy can be kept

    def test_no_copy(self):
        """Deleted all the same, and told."""
        for kind in KINDS:
            with self.subTest(kind):
                site = self.site(trash_days=7)
                alice = site.add_user(kind=kind, messages=MAIL)
                ids = self.ids(site)
                top = alice.path / "pop3d-trash" if kind == "maildir" else \
                    site.top / "state/alice/trash"
                top.write_text("in the way")
                site.own(top, alice)
                self.delete(site, 1, 3)
                site.logged("no copy was kept")
                self.assertEqual(self.ids(site), [ids[1], ids[3], ids[4], ids[5]])

    def test_full_disk(self):
        """The state directory has no room for copies, or for copies and journal."""
        if not common.AS_ROOT:
            self.skipTest("needs root")
        site = self.site(trash_days=7)
        site.mount_tmpfs(site.top / "state", 400 << 10)
        (site.top / "state").chmod(0o711)
        big = [common.simple_message(number, 100000) for number in range(6)]
        alice = site.add_user(messages=big)
        ids = self.ids(site)
        self.delete(site, 1, 2, 3, 4)
        site.logged("no copy was kept")
        self.assertEqual(self.ids(site), ids[4:])
        self.assertEqual(alice.path.read_bytes(), common.mbox(big[4:]))
        self.assertFalse(list((site.top / "state/alice").glob("trash/*")))
        site.log.write_text("")
        self.delete(site, 1)
        self.assertEqual(self.ids(site), ids[5:])
        self.assertEqual(self.listed(site), ids[4:5])

    # ---- what is found is not believed

    def test_hostile(self):
        site = self.site(trash_days=7)
        alice = site.add_user(messages=MAIL)
        ids = self.ids(site)
        self.delete(site, 1)
        good, = self.boxes(site, alice)
        content = good.read_bytes()
        head, _, data = content.partition(b"\n\n")
        line = head.splitlines()[1]
        secret = site.top / "etc/secret"
        secret.write_text("From x Thu Nov 12 10:32:04 2026\n\nroot's\n")
        rows = (
            ("empty", b"", 0), ("head alone", b"pop3d-trash 1\n", 0), ("no data", head + b"\n\n", 0),
            ("another version", content.replace(b"trash 1", b"trash 2"), 0),
            ("cut off", content[:-200], 0),
            ("too long", content.replace(b"k 0 ", b"k 0 9"), 0),
            ("starts elsewhere", content.replace(b"k 0 ", b"k 3 "), 0),
            ("huge", content.replace(b"k 0 ", b"k 18446744073709551615 "), 0),
            ("no state", content.replace(b"\nk ", b"\nx "), 0),
            ("restored", content.replace(b"\nk ", b"\nr "), 0),
            ("no id", head.rpartition(b" ")[0] + b" -\n\n" + data, 1),
            ("bad id", head + b"\xff\n\n" + data, 0),
            ("twice", head + b"\n" + line + b"\n\n" + data, 1),
            ("no end of the head", head + b"\n" + b"k" * 100000, 0),
            ("a link", secret, 0), ("a FIFO", None, 0), ("a directory", ..., 0))
        for name, what, found in rows:
            with self.subTest(name):
                if good.is_dir():
                    good.rmdir()
                good.unlink(missing_ok=True)
                if what is None:
                    os.mkfifo(good)
                elif what is ...:
                    good.mkdir()
                elif isinstance(what, pathlib.Path):
                    good.symlink_to(what)
                else:
                    good.write_bytes(what)
                site.own(good, alice)
                listed = self.ask(site, "list", "alice")
                if name == "starts elsewhere" or found == 0:
                    restored = self.ask(site, "restore", "alice", status=None) \
                        if listed else None
                    self.assertEqual(self.ids(site), ids[1:], restored)
                else:
                    self.assertEqual([one["uidl"] for one in listed], ids[:1])
        shutil.rmtree(good.parent)
        good.parent.symlink_to(site.top / "etc")
        site.admin("trash", "list", "alice", status=None)
        self.delete(site, 1)
        site.logged("no copy was kept")
        good.parent.unlink()

    def test_hostile_maildir(self):
        site = self.site(trash_days=7)
        alice = site.add_user(kind="maildir", messages=MAIL)
        ids = self.ids(site)
        self.delete(site, 1)
        day, = self.boxes(site, alice)
        elsewhere = site.top / "etc/elsewhere"
        elsewhere.write_text("root's")
        (day / "a.link").symlink_to(elsewhere)
        (day / "a.directory").mkdir()
        os.mkfifo(day / "a.fifo")
        (day / ".ids").write_bytes(b"no line\n\xff x\n" + b"y" * 5000 + b"\n")
        with open(day / "1.huge", "wb") as file:
            file.truncate(1 << 40)
        (day.parent / "99999999999").mkdir()
        (day.parent / "link").symlink_to(site.top / "etc")
        (day.parent / str(today() - 1)).symlink_to(site.top / "etc")
        for path in [day.parent, *day.parent.rglob("*")]:
            site.own(path, alice)
        self.assertEqual(set(self.listed(site)), {ids[0], "1.huge"})
        self.assertEqual(self.ask(site, "restore", "alice", ids[0])["restored"], 1)
        self.assertEqual(sorted(self.ids(site)), sorted(ids))
        site.admin("-o", "trash_days=0", "trash", "purge", "alice", status=None)
        self.assertFalse((day / "1.huge").exists())
        self.assertEqual(elsewhere.read_text(), "root's")


if __name__ == "__main__":
    common.main()
