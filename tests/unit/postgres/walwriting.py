"""Writes WAL for tests, record by record, in the plain way: what the reader must find again is known to the byte."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from holdfast.postgres.crc32c import crc32c
from holdfast.postgres.lsn import Lsn

MAGIC = {14: 0xD10D, 15: 0xD110, 16: 0xD113, 17: 0xD116, 18: 0xD118}
SYSTEM_IDENTIFIER = 7_000_000_000_000_000_001
HEADER = struct.Struct("<IIQBBHI")
XLOG, XACT, STANDBY, HEAP = 0, 1, 8, 10
COMMIT, ABORT, COMMIT_PREPARED, ABORT_PREPARED, HAS_INFO = 0x00, 0x20, 0x30, 0x40, 0x80
RUNNING, SWITCH, RESTORE_POINT = 0x10, 0x40, 0x70


@dataclass(frozen=True)
class Written:
    """A record as it was written."""

    start: int
    end: int
    rmid: int
    info: int
    xid: int
    length: int


@dataclass
class WalWriter:
    """Writes from the beginning of a segment on; ``segment(number)`` gives what was written, padded with zeros."""

    segment_size: int = 2**20
    block_size: int = 8192
    major: int = 15
    timeline: int = 1
    first_segment: int = 1
    records: list[Written] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.origin = self.first_segment * self.segment_size
        self.content = bytearray()
        self._page(0, 0)

    @property
    def at(self) -> int:
        """The position where the next byte goes, a header of a page not counted."""
        return self.origin + len(self.content)

    def record(self, rmid: int, info: int = 0, xid: int = 0, main: bytes = b"", *, front: bytes = b"") -> Written:
        """Write a record with main data, and anything in front of it."""
        if len(main) < 256:
            body = front + (bytes([255, len(main)]) if main else b"") + main
        else:
            body = front + bytes([254]) + struct.pack("<I", len(main)) + main
        length = HEADER.size + len(body)
        previous = self.records[-1].start if self.records else 0
        header = HEADER.pack(length, xid, previous, info, rmid, 0, 0)[:20]
        # Of records that are never reported the reader does not verify the CRC, and summing takes long.
        content = header + struct.pack("<I", 0 if rmid == HEAP else crc32c(body + header)) + body
        self._page_if_full(0, 0)
        start = self.at
        self._write(content + bytes(-length % 8), length)
        end = self.at
        if (rmid, info) == (XLOG, SWITCH):
            self.content += bytes(-len(self.content) % self.segment_size)
        written = Written(start, end, rmid, info, xid, length)
        self.records.append(written)
        return written

    def end_transaction(self, xid: int, time_us: int, kind: int = COMMIT, children: tuple[int, ...] = ()) -> Written:
        """Write a commit or an abort."""
        if not children:
            return self.record(XACT, kind, xid, struct.pack("<q", time_us))
        main = struct.pack(f"<qII{len(children)}I", time_us, 2, len(children), *children)
        return self.record(XACT, kind | HAS_INFO, xid, main)

    def running(self, oldest: int, following: int) -> Written:
        """Write which transactions are running."""
        return self.record(STANDBY, RUNNING, 0, struct.pack("<iiiIII", 0, 0, 0, following, oldest, 0))

    def restore_point(self, name: str, time_us: int) -> Written:
        """Write a restore point."""
        return self.record(XLOG, RESTORE_POINT, 0, struct.pack("<q64s", time_us, name.encode()))

    def fill(self, count: int, length: int = 8000) -> None:
        """Write something else."""
        for _ in range(count):
            self.record(HEAP, 0, 0, bytes([len(self.records) % 256]) * length)

    def fill_segment(self) -> None:
        """Write something else until another segment has begun."""
        number = self.at // self.segment_size
        while self.at // self.segment_size == number:
            self.fill(1, 50_000)

    def segment(self, number: int) -> bytes:
        """Return a segment, zeros where nothing was written."""
        begin = (number - self.first_segment) * self.segment_size
        return bytes(self.content[begin : begin + self.segment_size]).ljust(self.segment_size, b"\0")

    @property
    def segments(self) -> range:
        """The numbers of the segments that hold anything."""
        return range(self.first_segment, self.first_segment + -(-len(self.content) // self.segment_size))

    def start_of(self, number: int) -> Lsn:
        """Return where a segment begins."""
        return Lsn(number * self.segment_size)

    def _write(self, content: bytes, length: int) -> None:
        """Write bytes over as many pages as they need; ``length`` is without padding."""
        done = 0
        while done < len(content):
            self._page_if_full(length - done, 1)
            room = self.block_size - len(self.content) % self.block_size
            self.content += content[done : done + room]
            done += min(room, len(content) - done)

    def _page_if_full(self, remaining: int, flags: int) -> None:
        if len(self.content) % self.block_size == 0:
            self._page(remaining, flags if remaining > 0 else 0)

    def _page(self, remaining: int, flags: int) -> None:
        address = self.at
        is_first = address % self.segment_size == 0
        flags |= 2 if is_first else 0
        header = struct.pack("<HHIQI4x", MAGIC[self.major], flags, self.timeline, address, remaining)
        if is_first:
            header += struct.pack("<QII", SYSTEM_IDENTIFIER, self.segment_size, self.block_size)
        self.content += header
