#!/usr/bin/env python3
"""Completion for shells offers what the help lists, and is proper code for its shell."""
import re
import shutil
import subprocess
import tempfile
import unittest

import common

ASK = r"""
source "$1"; shift
_pop3admin_users() { echo alice bob; }
COMP_WORDS=(pop3admin "$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pop3admin
printf '%s\n' "${COMPREPLY[@]}"
"""


def admin(*args):
    return subprocess.run([str(common.ADMIN), *args], capture_output=True, text=True, timeout=30,
                          check=True).stdout


def commands():
    """(group, command) of each row of the help; the command is "" where the group is one."""
    found = []
    for line in admin("--help").splitlines():
        match = re.match(r"  ([a-z]+) {1,10}([a-z]*) ", line)
        if match:
            found.append((match[1], match[2]))
    return found


class Completion(unittest.TestCase):
    def script(self, shell):
        file = tempfile.NamedTemporaryFile("w", prefix="pop3d-completion.")
        self.addCleanup(file.close)
        file.write(admin("completion", shell))
        file.flush()
        return file.name

    def test_bash(self):
        if not shutil.which("bash"):
            self.skipTest("no bash")
        script = self.script("bash")

        def offered(*words):
            done = subprocess.run(["bash", "-c", ASK, "bash", script, *words],
                                  capture_output=True, text=True, timeout=30, check=True)
            self.assertEqual(done.stderr, "")
            return done.stdout.split()

        rows = commands()
        self.assertGreater(len(rows), 25)
        groups = list(dict.fromkeys(group for group, _ in rows))
        self.assertEqual([word for word in offered("") if not word.startswith("-")], groups)
        for group in groups:
            names = [name for other, name in rows if other == group and name]
            if names:
                self.assertEqual(offered(group, ""), names)
        for group, name in rows:
            words = [group] + [name] * bool(name)
            listed = re.findall(r"(?m)^  (--[a-z-]+)", admin(*words, "--help"))
            with self.subTest(" ".join(words)):
                self.assertEqual([word for word in offered(*words, "--")], listed)
        self.assertIn("alice", offered("user", "show", ""))
        self.assertNotIn("alice", offered("user", "add", ""))
        self.assertEqual(offered("-c", "file", "user", "sh"), ["show"])

    def test_syntax(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell):
                if not shutil.which(shell):
                    self.skipTest("no " + shell)
                done = subprocess.run([shell, "-n", self.script(shell)], capture_output=True,
                                      text=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_every_command(self):
        """zsh and fish know every command by its help, too."""
        for shell in ("zsh", "fish"):
            text = open(self.script(shell), encoding="utf-8").read()
            for group, name in commands():
                self.assertRegex(text, r"\b%s\b.*\n?.*%s" % (group, name), shell)

    def test_unknown_shell(self):
        done = subprocess.run([str(common.ADMIN), "completion", "tcsh"], capture_output=True,
                              text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 64)
        self.assertIn("bash, zsh or fish", done.stderr)


if __name__ == "__main__":
    common.main()
