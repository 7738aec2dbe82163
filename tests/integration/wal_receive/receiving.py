"""A receiver as a child process, and the archive as it left it: what the tests of ``wal receive`` stand on."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.backup_restore.clusters import ask
from tests.integration.backup_restore.stack import Run, StackDirectory, kill, wait_until

from holdfast.errors import NotFoundError
from holdfast.postgres.lsn import Lsn
from holdfast.postgres.segment import Segment, parse_segment_name, segment_at
from holdfast.postgres.timeline import Timeline
from holdfast.wal.archive import WalArchive
from holdfast.wal.names import WalFileKind
from holdfast.wal.pieces import assembled
from holdfast.wal.receive_state import Activity, ReceiveState, read_state

if TYPE_CHECKING:
    from holdfast.postgres.local import LocalCluster

SLOT = "holdfast_db"


@dataclass
class Receiving:
    """One stack with the spool of its service, and the receivers that run for it, one at a time."""

    stack: StackDirectory
    spool: Path
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Start a receiver; it is ended with the test."""
        child = self.stack.start("-v", "wal", "receive", "db", *options, **environment)
        self.children.append(child)
        return child

    def start_streaming(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Start a receiver and wait until it streams."""
        child = self.start(*options, **environment)
        wait_until(lambda: child.poll() is not None or self.streams(child))
        assert child.poll() is None, str(kill(child))
        return child

    def streams(self, child: subprocess.Popen[str]) -> bool:
        """Whether this very receiver streams."""
        state = self.state
        return state is not None and state.pid == child.pid and state.activity is Activity.STREAMING

    @property
    def state(self) -> ReceiveState | None:
        """What the receiver last said of itself."""
        return read_state(self.spool)

    def stop(self, child: subprocess.Popen[str]) -> Run:
        """End a receiver in order."""
        return kill(child, signal.SIGTERM)

    def close(self) -> None:
        """Kill what still runs."""
        for child in self.children:
            if child.stdout and not child.stdout.closed:
                child.kill()
                child.communicate()

    @cached_property
    def archive(self) -> WalArchive:
        """The archive, with the owner's keys."""
        repository = self.stack.open()
        (system_identifier,) = [path.name for path in (self.stack.place / "wal").iterdir()]
        return WalArchive(repository.storage, repository.keys, system_identifier)

    def names(self, kind: WalFileKind) -> list[str]:
        """Return the names of the archive's files of a kind."""
        return [file.name for file in self.archive.list() if file.kind is kind]

    def wal(self, segment: Segment) -> bytes | None:
        """Return a segment of the archive, whole or from its pieces."""
        if segment.name in self.names(WalFileKind.SEGMENT):
            return bytes(self.archive.get(segment.name))
        try:
            return b"".join(map(bytes, assembled(self.archive, segment)))
        except NotFoundError:
            return None


def current(cluster: LocalCluster, size_bytes: int = 16 << 20) -> tuple[Segment, Lsn]:
    """Return the segment that a primary writes, and how far its WAL is flushed."""
    name, lsn = ask(cluster, "SELECT pg_walfile_name(l) || ' ' || l FROM pg_current_wal_flush_lsn() AS l").split()
    return segment_at(Lsn.parse(lsn), Timeline.parse_hex(name[:8]), size_bytes), Lsn.parse(lsn)


def flushed(cluster: LocalCluster) -> Lsn:
    """Return how far a primary's WAL is flushed."""
    return Lsn.parse(ask(cluster, "SELECT pg_current_wal_flush_lsn()::text"))


def require_same_wal(
    receiving: Receiving,
    cluster: LocalCluster,
    until: Lsn,
    *,
    size_bytes: int = 16 << 20,
    timeline: Timeline | None = None,
) -> int:
    """Compare every archived segment with the server's own, the last one as far as ``until``; return how many."""
    segments = {
        parse_segment_name(file.name[:24], size_bytes)
        for file in receiving.archive.list(timeline)
        if file.kind in {WalFileKind.SEGMENT, WalFileKind.PIECE}
    }
    compared = 0
    for segment in sorted(segments):
        own = cluster.data_directory / "pg_wal" / segment.name
        if own.exists() and segment.start < until:
            length = min(until - segment.start, size_bytes)
            stored = receiving.wal(segment)
            assert stored is not None
            assert stored[:length] == own.read_bytes()[:length], segment.name
            compared += 1
    return compared


def wait_until_stored(receiving: Receiving, cluster: LocalCluster, timeout_s: float = 90) -> Lsn:
    """Wait until the slot says that all of the server's WAL is in the repository; return the position."""
    position = flushed(cluster)
    query = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND restart_lsn >= '{position}'"
    wait_until(lambda: ask(cluster, query), timeout_s=timeout_s)
    return position
