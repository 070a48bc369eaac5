#!/usr/bin/env python3
"""Ends at bad moments: roles that hang, clients that stall, answers half sent."""
import os
import signal
import socket
import time
import unittest

import common
from common import AS_ROOT

MAIL = [common.simple_message(number, 200 * number) for number in range(1, 4)]


def little_room():
    """The server's socket holds little of what the client has not taken."""
    client = socket.socket(fileno=os.dup(1))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.close()


def role(session, name):
    """That role of a session, when it is what it will be."""
    return common.poll("there is a %s" % name, lambda: [
        role for role in session.roles() if role.name == name and role.no_new_privs])[0]


class Endings(common.Case):
    def open(self, messages=None, **options):
        site = self.site(**options)
        site.add_user("alice", messages=MAIL if messages is None else messages)
        return site

    def gone(self, session, seconds):
        """Everything ends by itself, the client doing nothing."""
        roles = session.roles()
        session.wait(None, seconds)
        common.poll("no role is left", lambda: not [
            role for role in roles if common.alive(role.pid)], 2)

    def test_session_hangs_before_login(self):
        """auth_timeout ends a session role that does not listen."""
        site = self.open(auth_timeout=1)
        session = site.start()
        session.greeting()
        os.kill(role(session, "pop3d-session").pid, signal.SIGSTOP)
        self.gone(session, 20)

    def test_session_hangs_after_login(self):
        """SIGTERM ends one that does not listen, and frees the maildrop."""
        site = self.open()
        before = site.content(site.users["alice"])
        session = site.login()
        session.expect("DELE 1", "+OK...")
        os.kill(role(session, "pop3d-session").pid, signal.SIGSTOP)
        session.process.send_signal(signal.SIGTERM)
        self.gone(session, 20)
        self.assertTrue(common.lock_is_free(site.lock_path()))
        self.assertEqual(site.content(site.users["alice"]), before)
        site.login().quit()

    def test_every_role_hangs(self):
        """No role that hangs keeps the others, or itself, after SIGTERM."""
        for name in ("pop3d-auth", "pop3d-session"):
            site = self.open()
            session = site.start()
            session.greeting()
            os.kill(role(session, name).pid, signal.SIGSTOP)
            session.process.send_signal(signal.SIGTERM)
            self.gone(session, 20)

    def cut_off(self, site, command):
        """SIGTERM while the client takes nothing; what it takes then."""
        session = site.start(preexec=little_room)
        session.login()
        session.send(command + "\r\n")
        session.read(1000)
        time.sleep(0.3)  # the session waits for the client to take more
        session.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        end = time.monotonic() + common.WAIT
        while not session.at_end and time.monotonic() < end:
            session._fill(1)
        self.assertTrue(session.at_end)
        got = session.buffer
        session.close()
        session.wait(None)
        return got

    def test_half_an_answer_is_the_last(self):
        """What follows an answer that was not sent whole would be taken for a part of it."""
        body = b"Subject: long\n\n" + b"a line of the message\n" * 2000
        site = self.open([body] * 3 + [b"Subject: %d\n\n" % number for number in range(5000)])
        for command in ("RETR 1", "RETR 1\r\nRETR 2\r\nRETR 3", "LIST"):
            got = self.cut_off(site, command)
            self.assertFalse(got.endswith(b".\r\n"), got[-60:])
            self.assertFalse(b"-ERR" in got, got[-60:])

    def test_idle_time_counts_from_the_answer(self):
        """Who takes an answer slowly is not idle when he has it at last."""
        body = b"Subject: long\n\n" + b"a line of the message\n" * 2500
        site = self.open([body], idle_timeout=1)
        session = site.start(preexec=little_room)
        session.login()
        session.send("RETR 1\r\n")
        while not session.buffer.endswith(b"\r\n.\r\n"):
            if session.at_end:
                session.fail("closed")
            session._fill(common.WAIT)
            time.sleep(0.3)
        session.buffer = b""
        session.expect("NOOP", "+OK...")
        session.quit()

    def test_ended_while_logging_in(self):
        """A client that waits for the answer to PASS hears that there is none."""
        site = self.open(lock_timeout=10)
        first = site.login()
        second = site.start()
        second.greeting()
        second.expect("USER alice", "+OK...")
        second.send("PASS %s\r\n" % common.PASSWORD)
        common.poll("it waits for the lock", lambda: [
            role for role in second.roles() if role.name == "pop3d-maildrop"])
        second.process.send_signal(signal.SIGTERM)
        second.expect(None, "-ERR [SYS/TEMP]...")
        second.end_of_file()
        second.close()
        second.wait(None)
        first.quit()

    def test_lists_that_cannot_be_made(self):
        """Asking for them again and again ends nothing."""
        site = self.open()
        helper = site.top / "libexec/pop3d-digest"
        helper.unlink()
        helper.write_text("#!/bin/false\n")
        session = site.login()
        for _ in range(12):
            session.expect("UIDL", "-ERR [SYS/TEMP]...")
        session.expect("STAT", "+OK 3...")
        session.expect("RETR 1", "+OK...")
        session.body()
        session.quit()

    @unittest.skipUnless(AS_ROOT, "only root sees descriptors of the roles")
    def test_the_log_is_the_monitors(self):
        """No other role holds descriptor 2 as it came in."""
        site = self.open()
        session = site.login()
        for process in session.settled_roles()[1:]:
            self.assertEqual(process.descriptors()[2], "/dev/null", process)
        session.quit()


if __name__ == "__main__":
    common.main()
