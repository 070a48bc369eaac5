#!/usr/bin/env python3
"""pop3admin doctor: what it finds in a site that is well, and in one that is not."""
import json
import subprocess

import common


class Doctor(common.Case):
    def open(self, tls=True):
        site = self.site()
        site.add_user("alice", messages=[common.simple_message(1)])
        if tls:
            site.configure(tls_certificate=site.top / "etc/cert.pem",
                           tls_key=site.top / "etc/key.pem")
            site.admin("tls", "selfsigned", common.HOSTNAME)
        return site

    def findings(self, site, *args, password=common.PASSWORD):
        """The findings, but for ports: nothing listens on this machine's own, or may."""
        text = subprocess.run(
            [str(common.ADMIN), "-c", str(site.config), "-j", "doctor", *args],
            input=password.encode() + b"\n", capture_output=True, timeout=60, check=False)
        self.assertIn(text.returncode, (0, 1), text.stderr)
        found = json.loads(text.stdout)
        self.assertEqual(text.returncode, 1 if found else 0)
        for one in found:
            self.assertEqual(sorted(one), ["mend", "text", "where"])
            self.assertTrue(one["mend"])
        return [one for one in found if not one["where"].startswith("port ")]

    def test_well(self):
        """Nothing is found, with TLS and without, with a login and without."""
        for tls in (False, True):
            site = self.open(tls)
            self.assertEqual(self.findings(site), [])
            self.assertEqual(self.findings(site, "alice"), [])
            self.assertTrue(site.lock_path("alice").exists())  # there was a login

    def test_ill(self):
        def wrong_password(site):
            del site
            return ("alice",), "wrong", "PASS is answered by -ERR [AUTH]"

        def no_helper(site):
            (site.top / "libexec/pop3d-tls").unlink()
            return (), "", "STLS is not offered"

        def other_key(site):
            site.configure(tls_key=site.top / "etc/key2.pem", tls_certificate=site.top / "etc/c2")
            site.admin("tls", "selfsigned", common.HOSTNAME)
            site.configure(tls_certificate=site.top / "etc/cert.pem")
            return (), "", "key"

        def bad_line(site):
            site.lines["alice"] += "\nno line of users"
            site.write_users()
            return (), "", "users"

        def no_state(site):
            site.configure(state_dir=site.top / "nowhere")
            return ("alice",), common.PASSWORD, "PASS is answered by -ERR [SYS/TEMP]"

        for change in (wrong_password, no_helper, other_key, bad_line, no_state):
            with self.subTest(change.__name__):
                site = self.open()
                args, password, wanted = change(site)
                found = self.findings(site, *args, password=password)
                self.assertTrue([one for one in found
                                 if wanted in one["text"] or wanted in one["where"]], found)

    def test_text(self):
        """People read headings, notes and what is well."""
        site = self.open()
        site.add_user("bob")
        text = subprocess.run(
            [str(common.ADMIN), "-c", str(site.config), "doctor"], capture_output=True,
            timeout=60, check=False, text=True).stdout
        self.assertIn("\nusers\n  well\n", text)
        self.assertIn("a session\n  well\n", text)
        self.assertRegex(text, r"note: bob: \S+ is not there")
        self.assertRegex(text, r"note: \S+cert.pem: it is self-signed")

    def test_misconfigured(self):
        site = self.open()
        site.configure(idle_timeout="soon")
        site.admin("doctor", status=78)


if __name__ == "__main__":
    common.main()
