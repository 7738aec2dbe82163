"""A recovering server without the server: WAL segments that are right, and its ``restore_command`` run by a shell."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.postgres.account import Account
from holdfast.postgres.segment import Segment, parse_segment_name
from holdfast.postgres.timeline import Timeline
from holdfast.repository.keys import Keys, new_keyring
from holdfast.wal.restore_command import STOP_EXIT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.wal.archive import WalArchive

SIZE = 1 << 20
SYSTEM = "7123456789012345678"
PAGE = 8192
KEYS = Keys("00" * 16, new_keyring())
STOP, NOT_THERE, DONE = STOP_EXIT, 1, 0
OWN_ACCOUNT = Account(os.geteuid(), os.getegid())
_LONG = struct.Struct("<HHIQI4xQII")
_SHORT = struct.Struct("<HHIQI4x")


def segment_name(number: int, timeline: int = 1) -> str:
    """Return the name of a segment of 1 MiB."""
    return Segment(Timeline(timeline), number, SIZE).name


def make_segment(name: str, *, system: str = SYSTEM, fill: int = 7) -> bytes:
    """Return the bytes of a segment of 1 MiB: right page headers, and ``fill`` for records."""
    segment = parse_segment_name(name, SIZE)
    pages = []
    for offset in range(0, SIZE, PAGE):
        address = segment.start + offset
        if offset:
            header = _SHORT.pack(0xD110, 0, segment.timeline, address, 0)
        else:
            header = _LONG.pack(0xD110, 2, segment.timeline, address, 0, int(system), SIZE, PAGE)
        pages.append(header.ljust(PAGE, bytes([fill])))
    return b"".join(pages)


@dataclass(frozen=True)
class Asked:
    """What a ``restore_command`` gave."""

    code: int
    stderr: str


@dataclass(frozen=True)
class Recovering:
    """A data directory whose server would be recovering."""

    directory: Path

    @property
    def pg_wal(self) -> Path:
        """Where its WAL is."""
        return self.directory / "pg_wal"

    @property
    def restored(self) -> Path:
        """Where PostgreSQL wants a segment."""
        return self.pg_wal / "RECOVERYXLOG"

    def start(self, command: str, name: str) -> subprocess.Popen[str]:
        """Begin to run the command as PostgreSQL does: by the shell, in the data directory."""
        line = command.replace("%f", name).replace("%p", "pg_wal/RECOVERYXLOG").replace("%%", "%")
        return subprocess.Popen(["sh", "-c", line], cwd=self.directory, stderr=subprocess.PIPE, text=True)

    def ask(self, command: str, name: str) -> Asked:
        """Run the command; the file, if it gave one, is in ``restored``."""
        self.restored.unlink(missing_ok=True)
        child = self.start(command, name)
        try:
            _, stderr = child.communicate(timeout=60)
        except BaseException:
            child.kill()
            child.communicate()
            raise
        return Asked(child.returncode, stderr)


def push(archive: WalArchive, *numbers: int, timeline: int = 1) -> None:
    """Archive whole segments; ``fill`` is their number."""
    for number in numbers:
        name = segment_name(number, timeline)
        archive.push(name, make_segment(name, fill=number % 256))


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
