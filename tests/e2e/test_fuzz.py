#!/usr/bin/env python3
"""The fuzz harnesses, each once on every input of its corpus (tests/fuzz)."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import common

FUZZ = common.ROOT / "tests/fuzz"


class Corpus(unittest.TestCase):
    def test_every_harness(self):
        names = sorted(path.stem[5:] for path in FUZZ.glob("fuzz_*.c"))
        self.assertTrue(names)
        for name in names:
            with tempfile.TemporaryDirectory() as scratch:
                corpus = FUZZ / "corpus" / name
                done = subprocess.run(
                    [common.BUILD / "tests/fuzz" / ("fuzz_" + name), corpus],
                    env=dict(os.environ, TMPDIR=scratch), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
                text = done.stdout.decode("utf-8", "replace")
                self.assertEqual(done.returncode, 0, "%s: %s" % (name, text[-2000:]))
                inputs = re.fullmatch(r"(\d+) inputs\n", text)
                lines = corpus.read_bytes().splitlines()
                self.assertEqual(int(inputs[1]),
                                 len([line for line in lines if not line.startswith(b"#")]), name)
                self.assertEqual(list(pathlib.Path(scratch).iterdir()), [], name)

    def test_no_corpus_without_harness(self):
        for path in [*(FUZZ / "corpus").iterdir(), *(FUZZ / "dict").iterdir()]:
            self.assertTrue((FUZZ / ("fuzz_%s.c" % path.name)).exists(), path)


if __name__ == "__main__":
    common.main()
