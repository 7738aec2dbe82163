"""What a snapshot of a cluster records beside its files: enough to plan a restore without opening any content."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from holdfast import clock
from holdfast.errors import DamageError, VerificationError
from holdfast.postgres.segment import require_segment_size
from holdfast.postgres.timeline import MAX_TIMELINE

_Position = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}\Z")]
_Identifier = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}\Z")]
_SegmentName = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-F]{24}\Z")]
_Path = Annotated[str, msgspec.Meta(pattern=r"^[^\0]*\Z")]
_Oid = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class TablespaceFact(msgspec.Struct, frozen=True):
    """A tablespace as it was; ``location`` is absolute, or relative to the data directory when in place."""

    oid: _Oid
    name: str
    location: _Path
    is_in_place: bool


class CorruptPage(msgspec.Struct, frozen=True):
    """A page whose checksum did not match twice: block within the relation's fork, LSN as the page says."""

    path: str
    block: _Count
    lsn: str


class ChangedPages(msgspec.Struct, frozen=True):
    """How many pages of one fork of a relation changed; ``path`` is the main fork's first file.

    ``fork`` is empty for the main one, else "fsm" or "vm". ``database`` is empty for shared relations; ``relation`` is
    empty when the server did not tell.
    """

    path: str
    pages: _Count
    fork: str = ""
    database: str = ""
    relation: str = ""


class MissedPage(msgspec.Struct, frozen=True):
    """A page that changed though WAL summaries did not name it; ``path`` is the main fork's first file.

    ``block`` counts within the relation; names as in ChangedPages.
    """

    path: str
    block: _Count
    database: str = ""
    relation: str = ""


class PostgresFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one snapshot. LSNs as PostgreSQL writes them; WAL from ``start_lsn`` to ``stop_lsn`` is inside.

    ``database_numbers``: each database's number (OID), which its directories are named by; empty in older snapshots.
    ``changed_page_count``: pages that differ from the parent's, of files above 256 KiB; None where they were not
    compared. ``changed_pages``: of which relations, those with most pages first.
    ``stop_time``: the server's clock when the backup had stopped (ISO 8601, UTC); empty in snapshots of older versions.
    ``archive_mode``: the server's setting then; empty where it is not known.
    ``server_started``: when the server was started, in its own words; empty where it is not known.
    ``wal_summaries``: what became of them as a hint, in words; empty where nobody asked for it. ``missed_page_count``:
    pages that they should have named, found when all were read; None where they were not put to the test.
    ``missed_pages`` are the first of them. ``followed_since`` is when they were first followed since all pages had been
    read (ISO 8601, UTC), here or before; a test, which reads all, still says it.
    """

    version: str
    major: Annotated[int, msgspec.Meta(ge=1)]
    system_identifier: _Identifier
    timeline: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMELINE)]
    start_lsn: _Position
    stop_lsn: _Position
    is_standby: bool
    block_size: Annotated[int, msgspec.Meta(ge=1)]
    wal_segment_size: int
    has_data_checksums: bool
    data_directory: _Path
    wal_level: str
    encoding: str
    archive_mode: str = ""
    stop_time: str = ""
    tablespaces: tuple[TablespaceFact, ...] = ()
    databases: tuple[str, ...] = ()
    database_numbers: dict[str, _Oid] = {}
    recovery_settings: dict[str, str] = {}
    wal_segments: tuple[_SegmentName, ...] = ()
    corrupt_pages: tuple[CorruptPage, ...] = ()
    changed_page_count: _Count | None = None
    changed_pages: tuple[ChangedPages, ...] = ()
    server_started: str = ""
    wal_summaries: str = ""
    followed_since: str = ""
    missed_page_count: _Count | None = None
    missed_pages: tuple[MissedPage, ...] = ()


def to_facts(facts: PostgresFacts) -> dict[str, Any]:
    """Return the facts in the form that a snapshot stores."""
    built: dict[str, Any] = msgspec.to_builtins(facts)
    return built


def from_facts(stored: dict[str, Any], snapshot_name: str) -> PostgresFacts:
    """Return the facts of a stored snapshot; DamageError where they cannot be read."""
    try:
        facts = msgspec.convert(stored, PostgresFacts)
        require_segment_size(facts.wal_segment_size)
        for instant in filter(None, (facts.stop_time, facts.followed_since)):
            clock.parse_instant(instant)
    except (msgspec.ValidationError, VerificationError, ValueError) as error:
        raise DamageError(snapshot_name, f"its facts cannot be read ({error})") from error
    return facts
