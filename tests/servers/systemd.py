"""A real systemd, as process 1 of namespaces of its own: what it does to units, the machine's own one never sees.

It has its own processes, cgroup, ``/run``, and no units but those that a test writes. Files elsewhere are the
machine's. It is killed in the end, and every process of its units with it. Root may start one, wherever systemd is
installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PROGRAM = Path("/lib/systemd/systemd")
_TARGETS = ("basic", "boot", "multi-user", "network", "network-online", "shutdown", "sysinit", "timers")
"""What units wait for or belong to by default; all of it is there at once."""

_ENTER_CGROUP = """
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
( echo 0 >"/sys/fs/cgroup/$1/cgroup.procs"
  exec unshare --pid --fork --kill-child --mount --mount-proc --cgroup --uts --ipc sh -c "$2" boot "$3" ) || true
for attempt in 1 2 3 4 5 6 7 8 9 10; do  # what was killed is gone in a moment
  find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} + && exit
  sleep 0.2
done
"""
_BOOT = """
set -e
mount --make-rshared /  # among its own only: units get their credentials by mounts
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for place in /run /var/cache /var/lib/systemd; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
exec env -i PATH="$PATH" container=holdfast SYSTEMD_UNIT_PATH="$1" \
  /lib/systemd/systemd --system --unit=boot.target --log-target=null --show-status=no
"""
_BOOTED_WITHIN_S = 60


@dataclass(frozen=True)
class Systemd:
    """A running systemd; ``process`` is its id out here, ``units`` where its units lie."""

    process: int
    units: Path

    @property
    def entering(self) -> tuple[str, ...]:
        """What goes before a command line for it to run in there."""
        return ("nsenter", "--target", str(self.process), "--mount", "--pid", "--cgroup", "--uts", "--ipc")

    def write_unit(self, name: str, text: str) -> None:
        """Write a unit, or what ``NAME.d/FILE`` adds to one, and let systemd read it."""
        path = self.units / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.systemctl("daemon-reload")

    def systemctl(self, *arguments: str) -> str:
        """Call systemctl, which must succeed; return what it prints."""
        answer = self.run("systemctl", *arguments)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout.strip()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there, however it ends."""
        return subprocess.run([*self.entering, *command], capture_output=True, text=True, check=False)

    def state(self, unit: str) -> str:
        """Return what systemd says of a unit: active, failed, …."""
        return self.systemctl("show", "--property=ActiveState", "--value", unit)


@contextmanager
def booted_systemd() -> Iterator[Systemd]:
    """Start a systemd; it is killed, with all of its processes, when the context ends. RuntimeError says why not."""
    if os.geteuid() != 0 or not _PROGRAM.exists():
        raise RuntimeError(f"this test needs to be root, and {_PROGRAM} (Debian: apt-get install systemd)")
    units = Path(tempfile.mkdtemp(prefix="holdfast-units-", dir="/tmp"))
    units.chmod(0o755)
    for target in _TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    with (units / "boot.log").open("wb") as log:
        scripts = [_ENTER_CGROUP, "cgroup", units.name, _BOOT, str(units)]
        outer = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", *scripts], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    process = None
    try:
        process = _awaited(outer, units / "boot.log")
        systemd = Systemd(process, units)
        _await_running(systemd)
        yield systemd
    finally:
        if process is None:
            outer.kill()
        else:
            os.kill(process, 9)
        outer.wait()
        shutil.rmtree(units)


def _awaited(outer: subprocess.Popen[bytes], log: Path) -> int:
    """Return the id of the systemd below a process, as soon as it runs."""
    deadline = clock.monotonic() + _BOOTED_WITHIN_S
    while clock.monotonic() < deadline and outer.poll() is None:
        found = [each for each in _descendants(outer.pid) if _command(each) == "systemd"]
        if found:
            return found[0]
        clock.sleep(0.02)
    raise RuntimeError(f"systemd was not started: {log.read_text()}")


def _await_running(systemd: Systemd) -> None:
    deadline = clock.monotonic() + _BOOTED_WITHIN_S
    while systemd.run("systemctl", "is-system-running").stdout.strip() not in {"running", "degraded"}:
        if clock.monotonic() > deadline:
            raise RuntimeError(f"systemd did not come up: {(systemd.units / 'boot.log').read_text()}")
        clock.sleep(0.05)


def _descendants(process: int) -> Sequence[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return ()
    return [each for child in map(int, children) for each in (child, *_descendants(child))]


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""
