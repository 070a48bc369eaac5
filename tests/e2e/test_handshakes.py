#!/usr/bin/env python3
"""TLS handshakes that are broken off: what is left of them, and what they cost their address."""
import contextlib
import json
import os
import random
import signal
import socket
import ssl
import struct
import time

import common
import test_tls
from common import AS_ROOT, HOSTNAME, WAIT

# The long run: POP3D_HANDSHAKES=1000
HANDSHAKES = int(os.environ.get("POP3D_HANDSHAKES", "120"))
AT_ONCE = min(200, HANDSHAKES // 5)


class Brake(test_tls.TlsCase):
    RULES = {"penalty_tls_after": 2, "penalty_tls_step": 25, "penalty_tls_max": "1.2",
             "penalty_exempt": "no"}

    def break_off(self, site, times=1):
        """Connections like a health check's: they say nothing, or what is no TLS."""
        for number in range(times):
            session = site.start("-s", transport="tcp")
            if number % 2:
                session.send(b"GET / HTTP/1.0\r\n\r\n")
            session.close()
            session.wait(None)

    def entries(self, site):
        return [(row["kind"], row["name"], row["failures"], row["wait_ms"], row["refused"])
                for row in json.loads(site.admin("--json", "penalty", "list"))]

    def waits(self, site):
        return site.log_text().count("TLS handshake waits")

    def test_both_ports(self):
        """After the free ones the next handshake waits, whichever way it comes; logins do not."""
        site = self.open(**self.RULES)
        self.break_off(site, 2)
        self.connect(site).login().quit()
        self.assertEqual(self.waits(site), 0)
        self.break_off(site)
        self.assertEqual(self.entries(site), [("handshake", "127.0.0.1", 3, 1200, False)])
        for way in (self.connect, self.stls):
            began = time.monotonic()
            way(site).login(greeting=way == self.connect).quit()
            self.assertGreater(time.monotonic() - began, 1.1)
        self.assertEqual(self.waits(site), 2)
        site.login(transport="tcp").quit()  # plain: nothing stands in its way
        site.admin("penalty", "clear", "127.0.0.1")
        self.assertEqual(self.entries(site), [])
        self.connect(site).login().quit()
        self.assertEqual(self.waits(site), 2)

    def test_nobody_is_locked_out(self):
        """However many there were: the wait has its bound, and no handshake is refused."""
        site = self.open(**dict(self.RULES, penalty_tls_max="0.3"))
        self.break_off(site, 12)
        (kind, _, failures, wait_ms, refused), = self.entries(site)
        self.assertEqual((kind, refused), ("handshake", False))
        self.assertLessEqual(failures, 5)  # a minute and the free ones, in steps
        self.assertEqual(wait_ms, 300)
        self.connect(site).login().quit()

    def test_failed_stls_counts(self):
        site = self.open(**self.RULES)
        session = site.start(transport="tcp")
        session.greeting()
        session.expect("STLS", "+OK...")
        session.send(b"QUIT\r\n" * 10)
        session.close()
        session.wait(None)
        self.assertEqual([entry[:3] for entry in self.entries(site)],
                         [("handshake", "127.0.0.1", 1)])

    def test_wait_is_broken_off(self):
        """A client that goes while it waits, and SIGTERM: all ends at once, nothing is left."""
        site = self.open(**dict(self.RULES, penalty_tls_after=0, penalty_tls_max=30))
        self.break_off(site)
        for implicit in (True, False):
            session = self.waiting(site, implicit)
            session.process.send_signal(signal.SIGTERM)
            session.wait(None, 20)
        session = self.waiting(site, implicit=True)
        session.close()
        session.wait(None, 20)

    def waiting(self, site, implicit):
        before = self.waits(site)
        session = site.start(*["-s"] * implicit, transport="tcp")
        if not implicit:
            session.greeting()
            session.send(b"STLS\r\n")
        common.poll("it waits", lambda: self.waits(site) > before)
        return session

    def test_exempt_and_off(self):
        """Loopback is exempt by default; with penalty_tls_step = 0 nothing is counted."""
        for options in ({"penalty_tls_after": 0}, dict(self.RULES, penalty_tls_step=0)):
            site = self.open(**options)
            self.break_off(site, 3)
            self.connect(site).login().quit()
            self.assertEqual(self.waits(site), 0)
            self.assertFalse((site.top / "run/penalty").exists())

    def test_good_ones_cost_nothing(self):
        site = self.open(**self.RULES)
        for _ in range(4):
            self.connect(site).login().quit()
        self.assertFalse((site.top / "run/penalty").exists())


class Storm(test_tls.TlsCase):
    def flights(self, made):
        """What the client says first, and a function from the server's answer to the rest."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = made.wrap_bio(incoming, outgoing, server_hostname=HOSTNAME)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()

        def rest(answer):
            incoming.write(answer)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            return outgoing.read()
        return hello, rest

    def start(self, port, stls):
        end = socket.create_connection(("127.0.0.1", port))
        end.settimeout(WAIT)
        if stls:
            end.recv(4096)
            end.sendall(b"STLS\r\n")
            end.recv(4096)
        return end

    def break_off(self, end, made, chosen):
        """Inside the first flight or the second one; a second one may need more to answer to."""
        hello, rest = self.flights(made)
        if chosen.random() < 0.6:
            end.sendall(hello[:chosen.randrange(len(hello) + 1)])
            return
        end.sendall(hello)
        data = b""
        while not data:
            data = rest(end.recv(65536))
        end.sendall(data[:chosen.randrange(len(data))])

    def settled(self, wanted):
        """All processes of the server: as many as wanted, or as soon as no further one comes."""
        if wanted:
            return common.poll("%d processes: %s" % (wanted, self.living()), lambda: len(
                self.living()) == wanted and self.living())
        quiet = 0
        found = self.living()
        while quiet < 10:
            time.sleep(0.05)
            before, found = found, self.living()
            quiet = quiet + 1 if found == before else 0
        return found

    @staticmethod
    def living():
        return [pid for pid in common.descendants_of(os.getpid()) if common.alive(pid)]

    @staticmethod
    def pss_kib(pids):
        total = 0
        for pid in pids:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        return total

    def test_broken_off_anywhere(self):
        """At random points, many at once, half by a reset: nothing is left, nothing grows."""
        site = self.open()
        listeners = [(site.listen("-s").port, False), (site.listen().port, True)]
        made = test_tls.context(site)
        chosen = random.Random(17)
        self.stls(site).login(greeting=False).quit()
        kept = {path.name: path.stat().st_size for path in (site.top / "run").iterdir()}
        sampled, processes = [], 0
        for _ in range(HANDSHAKES // AT_ONCE):
            ends = [self.start(*listeners[number % 2]) for number in range(AT_ONCE)]
            for end in ends:
                self.break_off(end, made, chosen)
            if AS_ROOT:
                now = self.settled(processes)
                processes = len(now)
                sampled.append(self.pss_kib(now))
            for end in ends:
                if chosen.random() < 0.5:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()
        if os.environ.get("POP3D_HANDSHAKES"):
            print("%d at once, %d processes, KiB of PSS in each round: %s" % (
                AT_ONCE, processes, sampled), flush=True)
        # the last round costs what the first one did; a tenth is for where they were broken off
        self.assertTrue(all(0 < total < sampled[0] * 1.1 for total in sampled), sampled)
        self.connect(site).login().quit()
        site.check_quiet()  # no process, no lock
        self.assertEqual(common.children_of(os.getpid()), [])
        self.assertEqual(kept, {path.name: path.stat().st_size
                                for path in (site.top / "run").iterdir()})


if __name__ == "__main__":
    common.main()
