#!/usr/bin/python3
"""corpus.py - make maildrops to measure with.

    corpus.py DIR NAME...

Makes DIR/mbox/NAME or DIR/maildir/NAME for each NAME, the same bytes every time; what is there is
left alone.  NAME is m or d (mbox or Maildir) and a size: 10, 1k, 10k, 100k (messages of 4 to 8 KB,
about 6), 1m (a million small ones), big (one message of 500 MB).
"""

import os
import random
import sys
import time
from email.utils import formatdate

SIZES = {"10": 10, "1k": 1000, "10k": 10000, "100k": 100000, "1m": 1000000, "big": 1}
BIG_OCTETS = 500 * 1000 * 1000
WORDS = """the of and to in is that for it as was with be by on not he his but at are this have from
or had an they which one you were all her she there would their we him been has when who will no
more if out so up said what its about than into them can only other time new some could these two
may first then do any like my now over such our man me even most made after also well must before
years where much your way down should because long each just state those people too mister good
meeting budget server invoice release quarter customer delivery schedule project review draft""".split()

HEADER = """\
Return-Path: <{user}@example.{tld}>
Received: from mx{k}.example.{tld} (mx{k}.example.{tld} [192.0.2.{k}])
	by mail.example.org (Postfix) with ESMTPS id {qid}
	for <bench@example.org>; {date}
Received: from localhost (localhost [127.0.0.1])
	by mx{k}.example.{tld} (Postfix) with ESMTP id {qid2}
	for <bench@example.org>; {date}
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.{tld};
	s=mail; t=17{n:08d}; bh={bh}=;
	h=Date:From:To:Subject:From;
	b={sig}
Date: {date}
From: "{name}" <{user}@example.{tld}>
To: Bench User <bench@example.org>
Message-ID: <{qid2}.{n}@mx{k}.example.{tld}>
Subject: {subject}
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
X-Spam-Status: No, score=-1.{k} required=5.0 tests=BAYES_00,DKIM_VALID
"""


class Writer:
    """Messages from a fixed seed; lines come from a pool made once, for speed."""

    def __init__(self):
        self.rnd = random.Random(1939)
        self.pool = [self._line() for _ in range(4000)]

    def _line(self):
        dice = self.rnd.random()
        if dice < 0.06:
            return ""
        if dice < 0.07:
            return "." + " ".join(self.rnd.choices(WORDS, k=4))
        if dice < 0.20:
            return "> " + " ".join(self.rnd.choices(WORDS, k=11))
        return " ".join(self.rnd.choices(WORDS, k=self.rnd.randint(6, 14)))

    def message(self, n):
        """One message with LF line ends, 4 to 8 KB."""
        rnd = self.rnd
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        words = rnd.choices(WORDS, k=8)
        head = HEADER.format(
            n=n, k=n % 250 + 1, tld=("com", "net", "org")[n % 3], user=words[0] + words[1],
            name=words[0].title() + " " + words[1].title(), subject=" ".join(words[2:]),
            qid="%010X" % rnd.getrandbits(40), qid2="%010X" % rnd.getrandbits(40),
            bh="".join(rnd.choices(alphabet, k=43)), sig="".join(rnd.choices(alphabet, k=172)),
            date=date_of(n)[1])
        want = rnd.randint(4000, 8000) - len(head)
        lines, have = [], 0
        while have < want:
            line = self.pool[rnd.randrange(4000)]
            lines.append(line)
            have += len(line) + 1
        lines.append("--" if n % 2 else "-- ")
        return (head + "\n" + "\n".join(lines) + "\n").encode()

    @staticmethod
    def small(n):
        """One message of about 250 octets."""
        return (f"From: user{n}@example.com\nTo: bench@example.org\nDate: {date_of(n)[1]}\n"
                f"Message-ID: <{n}.small@example.com>\nSubject: note {n}\n\n"
                f"This is note number {n}.\nNothing more.\n").encode()


def date_of(n):
    """The date of message n as in a From_ line, and as in a Date field."""
    when = 1577836800 + n * 60
    return time.asctime(time.gmtime(when)), formatdate(when)


def big_message():
    """One message of BIG_OCTETS, in pieces: base64-like lines, now and then one with a dot."""
    rnd = random.Random(500)
    yield (b"From: sender@example.com\nTo: bench@example.org\nSubject: a large attachment\n"
           b"Date: Mon, 5 Jan 2026 10:00:00 +0000\nMessage-ID: <big@example.com>\n\n")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    lines = [bytes(rnd.choices(alphabet, k=76)) for _ in range(13000)]
    lines[777] = b".hidden " + lines[777][8:]
    block = b"\n".join(lines) + b"\n"
    for _ in range(BIG_OCTETS // len(block)):
        yield block


def messages(size):
    if size == "big":
        return
    writer = Writer()
    make = writer.small if size == "1m" else writer.message
    for n in range(SIZES[size]):
        yield make(n)


def mbox(path, size):
    with open(path + ".tmp", "wb", buffering=1 << 20) as out:
        if size == "big":
            out.write(b"From sender@example.com Mon Jan  5 10:00:00 2026\n")
            for block in big_message():
                out.write(block)
            out.write(b"\n")
        for n, msg in enumerate(messages(size)):
            out.write(f"From sender@example.com {date_of(n)[0]}\n".encode() + msg + b"\n")
    os.rename(path + ".tmp", path)


def maildir(path, size):
    tmp = path + ".tmp"
    for sub in ("cur", "new", "tmp"):
        os.makedirs(f"{tmp}/{sub}", exist_ok=True)
    if size == "big":
        with open(f"{tmp}/cur/1767607200.V801I1M1.mail:2,", "wb") as out:
            for block in big_message():
                out.write(block)
    for n, msg in enumerate(messages(size)):
        name = f"{1600000000 + n * 60}.V801I{n + 100000:x}M{n * 7919 % 1000000}.mail"
        flags = ("", "S", "RS")[n % 3]
        with open(f"{tmp}/cur/{name}:2,{flags}", "wb", buffering=0) as out:
            out.write(msg)
    os.rename(tmp, path)


def ensure(base, name):
    """Make the corpus called name below base unless it is there; its path."""
    kind, make = {"m": ("mbox", mbox), "d": ("maildir", maildir)}[name[0]]
    path = f"{base}/{kind}/{name}"
    if name[1:] not in SIZES:
        sys.exit(f"corpus.py: {name}: m or d and one of {' '.join(SIZES)}")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        make(path, name[1:])
    return path


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for one in sys.argv[2:]:
        print(ensure(sys.argv[1], one))
