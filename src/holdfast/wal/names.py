"""What the archive's objects are called: ``wal/<system identifier>/<timeline>/<file>``, and which files there are.

The names of segments, history files, partial segments and backup history files are PostgreSQL's own. Four kinds are
ours: *pieces* (a part of a segment, stored while it still grows), *other partials* (further beginnings of a segment, of
servers that were promoted in the same one), *conflicts* (other bytes under a name that is taken) and *gap* records (WAL
that was given up because somebody configured it so).
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

import msgspec

from holdfast.errors import VerificationError
from holdfast.postgres.timeline import Timeline
from holdfast.repository.walfile import WAL_PREFIX

_SEGMENT_DIGITS = 24
_SYSTEM_IDENTIFIER = re.compile(r"[1-9][0-9]{0,19}")
_FILE = re.compile(
    r"(?P<segment>[0-9A-F]{24})(?:(?P<partial>\.partial)|(?P<other>\.partial-[0-9a-f]{16})"
    r"|(?P<backup>\.[0-9A-F]{8}\.backup)|(?P<gap>\.gap)|\.piece-(?P<begin>[0-9A-F]{8})-(?P<end>[0-9A-F]{8}))?|(?P<history>[0-9A-F]{8}\.history)"
)
_CONFLICT = re.compile(r"(.+)\.conflict-[0-9a-f]{16}")


class WalFileKind(StrEnum):
    """What a file of the archive is."""

    SEGMENT = "segment"
    HISTORY = "history"
    PARTIAL = "partial"
    OTHER_PARTIAL = "other partial"
    BACKUP = "backup"
    PIECE = "piece"
    CONFLICT = "conflict"
    GAP = "gap"


_BY_GROUP = (
    ("partial", WalFileKind.PARTIAL),
    ("other", WalFileKind.OTHER_PARTIAL),
    ("backup", WalFileKind.BACKUP),
    ("gap", WalFileKind.GAP),
    ("begin", WalFileKind.PIECE),
    ("history", WalFileKind.HISTORY),
)


class ArchivedFile(msgspec.Struct, frozen=True):
    """One file as a listing of the archive knows it; ``size_bytes`` is what it occupies there."""

    name: str
    kind: WalFileKind
    size_bytes: int
    modified: datetime

    @property
    def timeline(self) -> Timeline:
        """The timeline that the name begins with."""
        return timeline_of(self.name)

    @property
    def segment_name(self) -> str:
        """The 24 digits of the segment that it is, or is a part of; meaningless for history files."""
        return self.name[:_SEGMENT_DIGITS]


def kind_of(name: str) -> WalFileKind:
    """Return what a file is, by its name; VerificationError when the archive has no such names."""
    if _CONFLICT.fullmatch(name) and _FILE.fullmatch(name.rpartition(".")[0]):
        return WalFileKind.CONFLICT
    match = _FILE.fullmatch(name)
    if match is None or name.startswith("0" * 8):
        raise VerificationError(
            f"not the name of a WAL file: {name!r}",
            hint="archive_command and restore_command give it as %f, such as 000000010000000000000001",
        )
    return next((kind for group, kind in _BY_GROUP if match[group]), WalFileKind.SEGMENT)


def timeline_of(name: str) -> Timeline:
    """Return the timeline that a file's name begins with."""
    return Timeline.parse_hex(name[:8])


def object_name(system_identifier: str, name: str) -> str:
    """Return the name of the object that holds a WAL file; VerificationError where either is none."""
    kind_of(name)
    return f"{archive_prefix(system_identifier)}/{name[:8]}/{name}"


def archive_prefix(system_identifier: str) -> str:
    """Return what all objects of one cluster's archive begin with, without the last slash."""
    if not _SYSTEM_IDENTIFIER.fullmatch(system_identifier):
        raise VerificationError(f"not a system identifier: {system_identifier!r}")
    return f"{WAL_PREFIX}/{system_identifier}"


def piece_name(segment_name: str, begin: int, end: int) -> str:
    """Return the name of the part of a segment from byte ``begin`` (included) to ``end`` (excluded)."""
    return f"{segment_name}.piece-{begin:08X}-{end:08X}"


def piece_range(name: str) -> tuple[int, int]:
    """Return (begin, end) of a piece's name, in bytes within its segment."""
    match = _FILE.fullmatch(name)
    if match is None or match["begin"] is None:
        raise VerificationError(f"not the name of a piece of a WAL segment: {name!r}")
    return int(match["begin"], 16), int(match["end"], 16)


def conflict_name(name: str, digest: bytes) -> str:
    """Return the name under which other bytes of a taken name are kept."""
    return f"{name}.conflict-{digest[:8].hex()}"


def taken_name(name: str) -> str:
    """Return the name under which bytes that are kept apart were pushed; VerificationError when these are none."""
    if kind_of(name) is not WalFileKind.CONFLICT:
        raise VerificationError(f"not bytes that were kept apart: {name}")
    return name.rpartition(".")[0]


def other_partial_name(name: str, digest: bytes) -> str:
    """Return the name under which a further beginning of a segment is kept; ``name`` is that of its ``.partial``."""
    return f"{name}-{digest[:8].hex()}"


def gap_name(segment_name: str) -> str:
    """Return the name of the record that says that a segment was given up."""
    return f"{segment_name}.gap"
