#!/usr/bin/env python3
"""The tests' own model of messages on the wire, against hand-made answers."""
import unittest

import common

ROWS = [  # stored, as sent, TOP 0, TOP 1
    (b"", b"", b"", b""),
    (b"\n", b"\r\n", b"\r\n", b"\r\n"),
    (b"a", b"a\r\n", b"a\r\n", b"a\r\n"),
    (b"a\r", b"a\r\r\n", b"a\r\r\n", b"a\r\r\n"),
    (b"a\r\r\n", b"a\r\r\n", b"a\r\r\n", b"a\r\r\n"),
    (b"H: v\n\n.\n..b", b"H: v\r\n\r\n.\r\n..b\r\n", b"H: v\r\n\r\n", b"H: v\r\n\r\n.\r\n"),
    (b"\nx\ny\n", b"\r\nx\r\ny\r\n", b"\r\n", b"\r\nx\r\n"),
]


class Model(unittest.TestCase):
    def test_rows(self):
        for stored, sent, top0, top1 in ROWS:
            with self.subTest(stored=stored):
                self.assertEqual(common.wire(stored), sent)
                self.assertEqual(common.top(sent, 0), top0)
                self.assertEqual(common.top(sent, 1), top1)
                self.assertEqual(common.unstuffed(common.stuffed(sent)), sent)

    def test_stuffing(self):
        self.assertEqual(common.stuffed(b".\r\na\r\n..b\r\n"), b"..\r\na\r\n...b\r\n.\r\n")
        self.assertEqual(common.stuffed(b""), b".\r\n")

    def test_hash(self):
        self.assertTrue(common.make_hash("x").startswith("$5$rounds=1000$pop3dtest$"))


if __name__ == "__main__":
    common.main()
