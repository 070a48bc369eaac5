"""servers.py - start, feed, measure and stop each server of the benchmark.

A server here has a name, the kinds of maildrop it can serve ("m" mbox, "d" Maildir), and:
    tls             whether it speaks TLS, from the first octet; plain and TLS are two servers
    start()         ready to be connected to; self.port
    stop()          a dict with cpu_us (all its processes since start) and, where known, maxrss_kib
    tree()          the pids of its processes
    place(corpus)   where it looks for the maildrop of the user of that name
    forget(corpus)  remove whatever it remembers of that maildrop
Every server has its own copies of the maildrops, owned by one unprivileged uid.
"""

import glob
import os
import shutil
import signal
import subprocess
import time

import corpus as corpora

HERE = os.path.dirname(os.path.abspath(__file__))
UID = 61110
GID_MAIL = 8
IDLE = 100
TICKS = os.sysconf("SC_CLK_TCK")


def stat_fields(pid):
    with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
        return f.read().rpartition(")")[2].split()


def tree(root):
    """The pids of root and all that descend from it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(stat_fields(entry)[1]), []).append(int(entry))
            except (OSError, IndexError):
                pass
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def pss_kib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(x.split()[1]) for x in f if x.startswith("Pss:"))
        except (OSError, ValueError):
            pass
    return total


class Server:
    """What the servers share: the places of their maildrops."""

    kinds = "m"
    tls = False
    mail_of = None  # another server, whose maildrops it serves

    def __init__(self, work, build):
        self.work, self.build = work, build
        self.home = f"{work}/{self.mail_of or self.name}"
        self.port = None
        for sub in ("mail", "maildir"):
            os.makedirs(f"{self.home}/{sub}", exist_ok=True)
        # As Debian's /var/mail is.
        os.chown(f"{self.home}/mail", 0, GID_MAIL)
        os.chmod(f"{self.home}/mail", 0o2775)
        os.chown(f"{self.home}/maildir", UID, UID)

    def place(self, corpus):
        return f"{self.home}/{'maildir' if corpus[0] == 'd' else 'mail'}/{corpus}"

    def provide(self, corpus, again=False):
        """A copy of the corpus in its place; with again a new one even where there is one."""
        to = self.place(corpus)
        if os.path.lexists(to) and not again:
            return
        source = corpora.ensure(f"{self.work}/corpus", "m10" if "idle" in corpus else corpus)
        if corpus[0] == "d":
            shutil.rmtree(to, ignore_errors=True)
            subprocess.run(["cp", "-r", source, to], check=True)
            subprocess.run(["chown", "-R", f"{UID}:{UID}", to], check=True)
        else:
            for left in glob.glob(glob.escape(to) + ".lock"):
                os.unlink(left)
            shutil.copyfile(source, to)
            os.chown(to, UID, GID_MAIL)
            os.chmod(to, 0o660)

    def deliver(self, corpus, serial):
        """One more message, as a deliverer would put it there."""
        msg = corpora.Writer().message(900000 + serial)
        to = self.place(corpus)
        if corpus[0] == "d":
            path = f"new/1700000000.V801I{serial:x}M{serial}.mail"
            with open(f"{to}/tmp/one", "wb") as f:
                f.write(msg)
            os.chown(f"{to}/tmp/one", UID, UID)
            os.rename(f"{to}/tmp/one", f"{to}/{path}")
        else:
            with open(to, "ab") as f:
                f.write(f"From x@example.com {corpora.date_of(serial)[0]}\n".encode() + msg + b"\n")

    def forget(self, corpus):
        pass

    def tree(self):
        return []


class Launched(Server):
    """A server that inetd would start: one process a connection, by the common launcher."""

    wrapper = ()
    launch_options = ()

    def command(self):
        raise NotImplementedError

    def start(self):
        args = [*self.wrapper, f"{self.build}/tests/bench/launch", *self.launch_options,
                "-t", "600", "-l", f"{self.home}/log", *self.command()]
        self.proc = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        word, _, port = self.proc.stdout.readline().partition(" ")
        if word != "port":
            raise RuntimeError(f"{self.name}: the launcher did not start")
        self.port = int(port)

    def launcher(self):
        return self.proc.pid

    def stop(self):
        import json
        os.kill(self.launcher(), signal.SIGTERM)
        out, _ = self.proc.communicate(timeout=30)
        figures = json.loads(out)
        figures["cpu_us"] = figures.pop("cpu_us_total")
        return figures

    def tree(self):
        return tree(self.proc.pid)[1:]


class Pop3d(Launched):
    name = "pop3d"
    kinds = "md"
    config = "pop3d.conf"
    options, settings = (), ""

    def __init__(self, work, build):
        super().__init__(work, build)
        h = self.home
        os.makedirs(f"{h}/state", exist_ok=True)
        # The helpers and the empty root stand where only root writes, as installed ones do.
        os.makedirs(f"{h}/helpers/empty", exist_ok=True)
        for helper in glob.glob(f"{glob.escape(build)}/pop3d/pop3d-*[a-z]"):
            shutil.copy(helper, f"{h}/helpers/")
        with open(f"{work}/hash", encoding="ascii") as f:
            pw = f.read().strip()
        with open(f"{h}/users", "w", encoding="ascii") as f:
            for user in sorted(all_users()):
                spec = "maildir" if user[0] == "d" else "mbox"
                f.write(f"{user}:{pw}:{UID}:{UID}::/nonexistent::"
                        f"maildrop={spec}:{self.place(user)}\n")
        os.chmod(f"{h}/users", 0o600)
        with open(f"{h}/{self.config}", "w", encoding="ascii") as f:
            f.write(f"users = {h}/users\nstate_dir = {h}/state\nrun_dir = {h}/run\n"
                    f"helper_dir = {h}/helpers\nunprivileged_user = 61111\n"
                    f"keeper_user = 61112\nhostname = bench.example.org\n"
                    f"cleartext_login = yes\n" + self.settings.format(work=work))
        # Its roles run from where an ordinary uid may not look: it must still be root's.
        os.chmod(h, 0o755)

    def command(self):
        return [f"{self.build}/pop3d/pop3d", *self.options, "-c", f"{self.home}/{self.config}"]

    def forget(self, corpus):
        shutil.rmtree(f"{self.home}/state/{corpus}", ignore_errors=True)
        for link in glob.glob(f"{self.home}/state/.maildrops/*"):
            if not os.path.exists(link):
                os.unlink(link)


class Pop3dTls(Pop3d):
    tls = True
    config = "pop3d-tls.conf"
    options = ("-s",)
    settings = "tls_certificate = {work}/tls.crt\ntls_key = {work}/tls.key\n"


class Popa3d(Launched):
    name = "popa3d"

    def command(self):
        return [f"{self.work}/root/usr/sbin/popa3d"]

    @property
    def wrapper(self):
        return (f"{HERE}/peers.sh", "run", self.work)


class Other(Launched):
    """One more that inetd starts, with its own libraries and maildrops."""

    program, options = "", ()

    def command(self):
        return [f"{self.work}/others/usr/sbin/{self.program}", *self.options]

    @property
    def wrapper(self):
        libs = glob.glob(f"{glob.escape(self.work)}/others/usr/lib/*-linux-gnu*")
        return ("env", f"PEER_MAIL={self.home}/mail", f"LD_LIBRARY_PATH={':'.join(libs)}",
                f"{HERE}/peers.sh", "run", self.work)


class Mailutils(Other):
    name = "mailutils"
    program, options = "pop3d", ("--inetd",)


class SolidPop3d(Other):
    name = "solid-pop3d"
    program = "solid-pop3d"

    def __init__(self, work, build):
        super().__init__(work, build)
        # Its dotlocks are made by a program with group mail, which is not installed here.
        os.chmod(f"{self.home}/mail", 0o1777)


class Courier(Launched):
    """Its resident authdaemond, which has the passwords, is in nobody's account."""

    name = "courier"
    kinds = "d"

    def place(self, corpus):
        os.makedirs(f"{self.home}/home/{corpus}", exist_ok=True)
        return f"{self.home}/home/{corpus}/Maildir"

    def command(self):
        programs = "/usr/lib/courier/courier"
        return [f"{programs}/courierpop3login", f"{programs}/courierpop3d", "Maildir"]

    @property
    def wrapper(self):
        return (f"{HERE}/peers.sh", "courier", self.work)

    def launcher(self):
        return tree(self.proc.pid)[1]  # unshare, which waits for it, takes no signal


class StunnelEach(Popa3d):
    """stunnel started for each connection, which starts popa3d."""

    name = "stunnel-i"
    mail_of = "popa3d"
    tls = True
    launch_options = ("-a",)  # it ignores SIGCHLD: popa3d's time is in nobody's account

    def command(self):
        return [f"{self.work}/root/usr/bin/stunnel4", f"{self.work}/stunnel-i.conf"]


class Floor(Launched):
    """Not a server: the cost of a greeting by three bare processes."""

    name = "floor"
    kinds = "md"

    def command(self):
        return [f"{self.build}/tests/bench/floor", "2"]


class Resident(Server):
    """A server that is started once and measured by its processes' times."""

    port_after = 0  # of $DOVECOT_PORT
    proc = None

    def command(self):
        raise NotImplementedError

    def start(self):
        self.port = int(os.environ.get("DOVECOT_PORT", "1510")) + self.port_after
        if self.proc is None:
            self.proc = subprocess.Popen([f"{HERE}/peers.sh", "run", self.work, *self.command()])
            time.sleep(1.5)
            if self.proc.poll() is not None:
                raise RuntimeError(f"{self.name} did not start")
        self.before = self.cpu_us()

    def cpu_us(self):
        total = 0
        for pid in tree(self.proc.pid):
            try:
                total += sum(int(x) for x in stat_fields(pid)[11:15])
            except (OSError, IndexError):
                pass
        return total * 1000000 // TICKS

    def stop(self):
        time.sleep(0.1)
        return {"cpu_us": self.cpu_us() - self.before}

    def end(self):
        if self.proc:
            self.proc.terminate()
            self.proc.wait(timeout=30)

    def tree(self):
        return tree(self.proc.pid)


class Dovecot(Resident):
    """As its users run it; every connection has a fresh login process."""

    name = "dovecot"
    kinds = "md"
    config = "dovecot.conf"

    def command(self):
        # As dovecot starts doveconf, which lies elsewhere here, to start it with its settings.
        root, conf = f"{self.work}/root/usr", f"{self.work}/{self.config}"
        return [f"{root}/bin/doveconf", "-f", "service=master", "-c", conf, "-m", "master", "-e",
                f"{root}/sbin/dovecot", "-F", "-c", conf]

    def forget(self, corpus):
        shutil.rmtree(f"{self.home}/home/{corpus}", ignore_errors=True)
        if corpus[0] == "d":
            for f in glob.glob(f"{self.place(corpus)}/dovecot*"):
                os.unlink(f)


class DovecotTls(Dovecot):
    tls = True
    config = "dovecot-tls.conf"
    port_after = 1


class Stunnel(Resident):
    """A resident stunnel, which starts popa3d for each connection."""

    name = "stunnel"
    mail_of = "popa3d"
    tls = True
    port_after = 2

    def command(self):
        return [f"{self.work}/root/usr/bin/stunnel4", f"{self.work}/stunnel.conf"]


def all_users():
    sizes = [k + s for k in "md" for s in corpora.SIZES]
    return sizes + [f"midle{i}" for i in range(1, IDLE + 1)]


def prepare_peers(work):
    """Fetch and configure the peers; True when they are there."""
    os.makedirs(work, exist_ok=True)
    with open(f"{work}/userlist", "w", encoding="ascii") as f:
        for user in all_users():
            f.write(f"{user} {'maildir' if user[0] == 'd' else 'mbox'}\n")
    for verb in (["fetch", work], ["conf", work, f"{work}/userlist"]):
        subprocess.run([f"{HERE}/peers.sh", *verb], check=True)


ALL = (Pop3d, Popa3d, Dovecot, Mailutils, SolidPop3d, Courier,
       Floor, Pop3dTls, StunnelEach, DovecotTls, Stunnel)
