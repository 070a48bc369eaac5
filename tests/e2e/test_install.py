#!/usr/bin/env python3
"""make install puts everything in its place, make uninstall takes it away."""
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import common


class Install(common.Case):
    def make(self, target, stage):
        done = subprocess.run(
            ["make", "-s", "-C", str(common.ROOT), target, "BUILD=" + str(common.BUILD),
             "DESTDIR=" + str(stage), "NOBUILD=1"], capture_output=True, timeout=300, check=False,
            env={key: value for key, value in os.environ.items() if key != "DESTDIR"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_install(self):
        stage = pathlib.Path(tempfile.mkdtemp(prefix="pop3d-stage."))
        self.addCleanup(shutil.rmtree, stage)
        self.make("install", stage)
        base = stage / "usr/local"
        for name, mode in (("sbin/pop3d", 0o755), ("sbin/pop3admin", 0o755),
                           ("libexec/pop3d/pop3d-digest", 0o755), ("libexec/pop3d/empty", 0o755),
                           ("share/man/man8/pop3d.8", 0o644),
                           ("share/man/man7/pop3d-migrate.7", 0o644),
                           ("share/bash-completion/completions/pop3admin", 0o644),
                           ("share/man/man5/pop3d.conf.5", 0o644),
                           ("share/doc/pop3d/pop3d-expire.cron", 0o644),
                           ("lib/systemd/system/pop3d-expire.timer", 0o644),
                           ("lib/systemd/system/pop3d-expire.service", 0o644)):
            self.assertEqual(stat.S_IMODE((base / name).stat().st_mode), mode, name)
        self.assertEqual(list((base / "libexec/pop3d/empty").iterdir()), [])
        for name in ("doc/pop3d/pop3d-expire.cron", "../lib/systemd/system/pop3d-expire.service"):
            self.assertRegex((base / "share" / name).read_text(),
                             r"[ =]/usr/local/sbin/pop3admin maildrop expire --all\b")
        self.make("uninstall", stage)
        self.assertEqual([path for path in stage.rglob("*") if not path.is_dir()], [])
        self.assertFalse((base / "libexec/pop3d").exists())


if __name__ == "__main__":
    common.main()
