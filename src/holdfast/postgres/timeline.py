"""Timelines and their history files: which WAL belongs to which past.

A promotion or a point-in-time recovery begins a new timeline; ``<timeline>.history`` lists its ancestors and where
each one was left (manual, section 26.3.6; ``src/backend/access/transam/timeline.c``). Timelines are written in
hexadecimal in file names and in decimal everywhere else: mixing the two is how timelines above 9 got lost elsewhere.
"""

from __future__ import annotations

import re
from typing import Self

import msgspec

from holdfast.errors import VerificationError
from holdfast.postgres.lsn import NO_LSN, Lsn

MAX_TIMELINE = 2**32 - 1

_HEX = re.compile(r"[0-9A-F]{8}")
_DECIMAL = re.compile(r"[0-9]{1,10}")
_ENTRY = re.compile(r"\s*([0-9]{1,10})\s+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?:\s+(.*))?")


class Timeline(int):
    """The number of a timeline: 1 to 2**32 - 1. ``str`` gives decimal, ``hex`` gives the form of file names."""

    __slots__ = ()

    def __new__(cls, number: int) -> Self:
        """Return the timeline of a number; ValueError when it is none."""
        if not 1 <= number <= MAX_TIMELINE:
            raise ValueError(f"not a timeline: {number:d}")
        return super().__new__(cls, number)

    @classmethod
    def parse_hex(cls, text: str) -> Self:
        """Return the timeline of eight hexadecimal digits, as in file names; VerificationError if it is none."""
        if not _HEX.fullmatch(text) or text == "00000000":
            raise VerificationError(f"not a timeline of a WAL file name: {text!r}")
        return cls(int(text, 16))

    @classmethod
    def parse_decimal(cls, text: str) -> Self:
        """Return the timeline that a server writes as a number; VerificationError if it is none."""
        if not _DECIMAL.fullmatch(text) or not 1 <= int(text) <= MAX_TIMELINE:
            raise VerificationError(f"not a timeline: {text!r}")
        return cls(int(text))

    @property
    def hex(self) -> str:
        """The eight hexadecimal digits that begin WAL file names."""
        return f"{self:08X}"


class HistoryEntry(msgspec.Struct, frozen=True):
    """One timeline's part of a history: from ``begin`` (included) to ``end`` (excluded; None: still open)."""

    timeline: Timeline
    begin: Lsn
    end: Lsn | None
    reason: str = ""


class TimelineHistory(msgspec.Struct, frozen=True):
    """The past of one timeline, oldest entry first; the last entry is the timeline itself."""

    entries: tuple[HistoryEntry, ...]

    @property
    def timeline(self) -> Timeline:
        """The timeline whose past this is."""
        return self.entries[-1].timeline

    def timeline_at(self, lsn: Lsn) -> Timeline:
        """Return the timeline that holds the byte at ``lsn`` (``tliOfPointInHistory``)."""
        for entry in reversed(self.entries):
            if lsn >= entry.begin and (entry.end is None or lsn < entry.end):
                return entry.timeline
        raise VerificationError(f"the history of timeline {self.timeline} does not cover {lsn}")

    def has_point(self, timeline: Timeline, lsn: Lsn) -> bool:
        """Whether a state reached at ``lsn`` on ``timeline`` lies in this past.

        The end itself counts: a backup that stops exactly where its timeline was left is usable.
        """
        for entry in self.entries:
            if entry.timeline == timeline:
                return entry.begin <= lsn and (entry.end is None or lsn <= entry.end)
        return False


def first_history() -> TimelineHistory:
    """Return the history of timeline 1, which has no file."""
    return TimelineHistory((HistoryEntry(Timeline(1), NO_LSN, None),))


def parse_history(timeline: Timeline, content: str) -> TimelineHistory:
    """Parse the content of ``<timeline>.history``.

    Each line is the parent timeline in decimal, the position where it was left, and a reason, separated by tabs;
    ``#`` begins a comment (``readTimeLineHistory`` in ``timeline.c``). Raises VerificationError when a line cannot be
    read, or timelines do not ascend, or positions go back.
    """
    entries: list[HistoryEntry] = []
    begin = NO_LSN
    for line in content.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry = _parse_entry(timeline, line, begin)
        if entries and entry.timeline <= entries[-1].timeline:
            raise VerificationError(f"the history of timeline {timeline} does not ascend: {line!r}")
        entries.append(entry)
        begin = entry.end or NO_LSN
    if entries and entries[-1].timeline >= timeline:
        raise VerificationError(f"the history of timeline {timeline} names itself or a later timeline as its ancestor")
    return TimelineHistory((*entries, HistoryEntry(timeline, begin, None)))


def _parse_entry(timeline: Timeline, line: str, begin: Lsn) -> HistoryEntry:
    match = _ENTRY.fullmatch(line)
    if match is None or not 1 <= int(match[1]) <= MAX_TIMELINE:
        raise VerificationError(f"the history of timeline {timeline} has a line that cannot be read: {line!r}")
    end = Lsn.parse(match[2])
    if end < begin:
        raise VerificationError(f"the history of timeline {timeline} goes back to {end} from {begin}")
    return HistoryEntry(Timeline(int(match[1])), begin, end, match[3] or "")
