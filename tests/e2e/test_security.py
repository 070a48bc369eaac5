#!/usr/bin/env python3
"""SECURITY.md says what is so: the trust map, and the tests that it names."""
import shutil
import subprocess
import sys
import unittest

import common


class Page(common.Case):
    @unittest.skipUnless(shutil.which("nm"), "there is no nm")
    def test_trust_map_and_names(self):
        done = subprocess.run([sys.executable, str(common.ROOT / "tests/trust"),
                               "--build", str(common.BUILD)], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_classes(self):
        """Every class of faults has a test."""
        text = (common.ROOT / "SECURITY.md").read_text()
        rows = text.partition("## What has gone wrong elsewhere")[2].split("\n| ")[2:]
        self.assertGreater(len(rows), 25)
        for row in rows:
            self.assertRegex(row.split(" | ")[-1], r"`(check|test)_", row)


if __name__ == "__main__":
    common.main()
