#!/usr/bin/env python3
"""A real systemd, booted in namespaces of its own over a throw-away copy of this machine's root.

    with Box() as box:
        box.run("systemctl", "status")

PID 1 inside is systemd, journald runs, the network is an empty namespace with
loopback only, and every write goes to an overlay that is dropped at the end: units
can be installed, users made and ports 110 and 995 bound without touching the
machine.  As a program it boots one and runs a command in it:

    tests/e2e/systemd_box.py COMMAND [ARG...]

Needs root, overlayfs, cgroup2, util-linux, iproute2 and systemd; unittest.SkipTest
says which one is missing.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import common

SYSTEMD = pathlib.Path("/lib/systemd/systemd")

# Runs as PID 1 of the new namespaces, until systemd takes its place.
ENTER = r"""
set -e
work=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
root=$work/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
for dir in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$dir"; done
chmod 1777 "$root/tmp"
for node in null zero full random urandom tty; do
	: > "$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --make-rshared "$root"  # LoadCredential= wants it
ip link set lo up
: > "$root/etc/machine-id"
units=$root/etc/systemd/system
mkdir -p "$units"
# What would reach past the box: kernel settings, devices, the clock.
for unit in systemd-sysctl.service systemd-binfmt.service systemd-modules-load.service \
	systemd-remount-fs.service systemd-firstboot.service systemd-udevd.service \
	systemd-timesyncd.service proc-sys-fs-binfmt_misc.automount; do
	ln -sf /dev/null "$units/$unit"
done
printf '%s\n' '[Unit]' 'Requires=sysinit.target dbus.socket' 'After=sysinit.target dbus.socket' \
	AllowIsolate=yes > "$units/box.target"
container=pop3d-test exec chroot "$root" /lib/systemd/systemd --system --log-target=journal \
	--show-status=no --unit=box.target </dev/null >/dev/null 2>&1
"""


def _cgroup2():
    with open("/proc/mounts", encoding="ascii", errors="replace") as mounts:
        for line in mounts:
            words = line.split()
            if words[2] == "cgroup2":
                return pathlib.Path(words[1])
    return None


def _why_not():
    """What is missing here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if "\toverlay\n" not in pathlib.Path("/proc/filesystems").read_text(encoding="ascii"):
        return "no overlayfs"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    for program in ("unshare", "nsenter", "ip", "dbus-daemon"):
        if not shutil.which(program):
            return "no " + program
    if _cgroup2() is None:
        return "no cgroup2"
    return None


class Box:
    """systemd, booted; pid is its PID 1 as seen from here, root its root directory."""

    def __init__(self):
        why = _why_not()
        if why:
            raise unittest.SkipTest("systemd cannot be booted: " + why)
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="pop3d-box."))
        self.cgroup = _cgroup2() / self.work.name
        self.outer = None
        try:
            self.cgroup.mkdir()
            self._boot()
        except OSError as error:
            self.close()
            raise unittest.SkipTest("systemd cannot be booted: %s" % error)
        except BaseException:
            self.close()
            raise

    def _boot(self):
        # Only the child moves into the control group.
        self.outer = subprocess.Popen(
            ["sh", "-c", 'echo $$ > "$1/cgroup.procs" && exec unshare --mount --pid --fork --ipc '
             '--uts --net --cgroup --kill-child sh -c "$2" enter "$3"', "box", str(self.cgroup),
             ENTER, str(self.work)], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        state = ""
        while state not in ("running", "degraded"):
            if self.outer.poll() is not None:
                raise unittest.SkipTest("systemd cannot be booted: the namespaces are refused")
            if time.monotonic() > end:
                raise AssertionError("systemd does not come up: %r" % state)
            time.sleep(0.05)
            self.pid = self._init()
            if self.pid:
                state = self.run("systemctl", "is-system-running", status=None)[1].strip()
        self.root = pathlib.Path("/proc/%d/root" % self.pid)

    def _init(self):
        """The pid of systemd: the one child of unshare, when it is no shell any more."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            path = "/proc/%d/task/%d/children" % (self.outer.pid, self.outer.pid)
            child = int(pathlib.Path(path).read_text(encoding="ascii").split()[0])
            if os.readlink("/proc/%d/exe" % child).endswith("systemd"):
                return child
        return 0

    def argv(self, *args):
        return ["nsenter", "-t", str(self.pid), "-a", "-r", "-w"] + [str(arg) for arg in args]

    def run(self, *args, status=0, stdin="", timeout=60):
        """Run a command inside; (status, what it wrote to both outputs)."""
        done = subprocess.run(self.argv(*args), input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False,
                              encoding="utf-8", errors="backslashreplace")
        if status is not None and done.returncode != status:
            raise AssertionError("%s: status %d, not %d:\n%s" % (
                args, done.returncode, status, done.stdout))
        return done.returncode, done.stdout

    def write(self, path, text, mode=0o644):
        """Make a file inside, and the directories above it."""
        inside = self.root / path.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text)
        inside.chmod(mode)

    def make(self, target, *words):
        """Run the project's make, with the root inside as DESTDIR."""
        done = subprocess.run(
            ["make", "-s", "-C", str(common.ROOT), target, "BUILD=" + str(common.BUILD),
             "DESTDIR=" + str(self.root), "NOBUILD=1", *words], capture_output=True, timeout=300,
            check=False, encoding="utf-8")
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)

    def close(self):
        if self.outer and self.outer.poll() is None:
            self.outer.kill()  # --kill-child takes PID 1 along, and it all the others
            self.outer.wait()
        for _ in range(100):
            for path in sorted(self.cgroup.rglob("*"), reverse=True):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
            with contextlib.suppress(OSError):
                self.cgroup.rmdir()
            if not self.cgroup.exists():
                break
            time.sleep(0.05)
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: systemd_box.py COMMAND [ARG...]")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with Box() as box:
            argv = box.argv("sh", "-c", 'cd "$1" && shift && exec "$@"', "box", os.getcwd(),
                            *sys.argv[1:])
            sys.exit(subprocess.run(argv, check=False).returncode)
    except unittest.SkipTest as reason:
        sys.exit("systemd_box.py: %s" % reason)


if __name__ == "__main__":
    main()
