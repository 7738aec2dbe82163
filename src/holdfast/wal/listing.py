"""One listing of an archive, sorted into kinds and timelines: flat arrays for the segments, files for all the rest.

Names alone are believed here: a push verified the bytes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from holdfast.postgres.segment import require_segment_size
from holdfast.postgres.timeline import Timeline
from holdfast.wal.holdings import Part, TimelineHoldings
from holdfast.wal.names import ArchivedFile, WalFileKind, piece_range
from holdfast.wal.pieces import Piece, covering
from holdfast.wal.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Rows = tuple[array[int], array[int], array[float]]
    """Numbers, stored bytes, and seconds since 1970 of segments, ascending by number."""

_COUNTED = frozenset({WalFileKind.SEGMENT, WalFileKind.PARTIAL, WalFileKind.PIECE})
_HEX = 16


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing of an archive, sorted into kinds."""

    segment_size: int
    rows: Mapping[Timeline, Rows]
    pieces: Mapping[Timeline, Mapping[int, Sequence[ArchivedFile]]]
    partials: Mapping[Timeline, Mapping[int, ArchivedFile]]
    histories: Mapping[Timeline, ArchivedFile]
    other_partials: tuple[ArchivedFile, ...]
    conflicts: tuple[ArchivedFile, ...]
    gap_records: tuple[ArchivedFile, ...]

    @property
    def timelines(self) -> frozenset[Timeline]:
        """The timelines that have WAL or a history file here."""
        return frozenset((*self.rows, *self.pieces, *self.partials, *self.histories))

    def holdings(self, timeline: Timeline, switch_offsets: Mapping[int, int]) -> TimelineHoldings:
        """Return what there is of a timeline.

        ``switch_offsets``: how many bytes of a segment belong to this timeline, by number, where it was left in the
        middle of one: so far, and no further, a ``.partial`` of that segment counts.
        """
        numbers, sizes, times = self.rows.get(timeline) or _no_rows()
        runs = Runs.of(numbers)
        parts: dict[int, Part] = {}
        for number, files in self.pieces.get(timeline, {}).items():
            _keep_longer(parts, number, _beginning(files))
        for number, file in self.partials.get(timeline, {}).items():
            _keep_longer(parts, number, Part(switch_offsets.get(number, 0), (file,)))
        parts = {number: part for number, part in parts.items() if number not in runs}
        return TimelineHoldings(timeline, self.segment_size, runs, parts, numbers, array("q", accumulate(sizes)), times)


def read_listing(files: Iterable[ArchivedFile], segment_size: int) -> Listing:
    """Sort a listing into kinds; VerificationError when ``segment_size`` (bytes) is none."""
    sorter = _Sorter(require_segment_size(segment_size))
    for file in files:
        sorter.take(file)
    return sorter.listing()


class _Sorter:
    """Takes the files of a listing one by one."""

    def __init__(self, segment_size: int) -> None:
        self._segment_size = segment_size
        self._per_id = 2**32 // segment_size
        self._rows: dict[str, Rows] = {}
        self._pieces: dict[Timeline, dict[int, list[ArchivedFile]]] = {}
        self._partials: dict[Timeline, dict[int, ArchivedFile]] = {}
        self._others: dict[WalFileKind, list[ArchivedFile]] = {}

    def take(self, file: ArchivedFile) -> None:
        if file.kind in _COUNTED:
            self._take_wal(file)
        else:
            self._others.setdefault(file.kind, []).append(file)

    def _take_wal(self, file: ArchivedFile) -> None:
        low = int(file.name[16:24], _HEX)
        number = int(file.name[8:16], _HEX) * self._per_id + low
        if low >= self._per_id:  # no cluster with segments of this size has such a number
            return
        if file.kind is WalFileKind.SEGMENT:
            rows = self._rows.get(file.name[:8])
            if rows is None:
                rows = self._rows[file.name[:8]] = _no_rows()
            rows[0].append(number)
            rows[1].append(file.size_bytes)
            rows[2].append(file.modified.timestamp())
        elif file.kind is WalFileKind.PIECE:
            self._pieces.setdefault(file.timeline, {}).setdefault(number, []).append(file)
        else:
            self._partials.setdefault(file.timeline, {})[number] = file

    def listing(self) -> Listing:
        return Listing(
            segment_size=self._segment_size,
            rows={Timeline.parse_hex(digits): _ascending(rows) for digits, rows in self._rows.items()},
            pieces=self._pieces,
            partials=self._partials,
            histories={file.timeline: file for file in self._others.get(WalFileKind.HISTORY, ())},
            other_partials=tuple(self._others.get(WalFileKind.OTHER_PARTIAL, ())),
            conflicts=tuple(self._others.get(WalFileKind.CONFLICT, ())),
            gap_records=tuple(self._others.get(WalFileKind.GAP, ())),
        )


def _no_rows() -> Rows:
    return array("q"), array("q"), array("d")


def _ascending(rows: Rows) -> Rows:
    """Return rows in the order of their numbers, which is how storages list; another order is put right."""
    numbers, sizes, times = rows
    if all(numbers[at] < numbers[at + 1] for at in range(len(numbers) - 1)):
        return rows
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return (
        array("q", (numbers[at] for at in order)),
        array("q", (sizes[at] for at in order)),
        array("d", (times[at] for at in order)),
    )


def _beginning(files: Sequence[ArchivedFile]) -> Part:
    """Return how far pieces cover their segment from its first byte on, without a hole, and which of them it takes.

    Recovery opens a segment at its first page whatever it wants of it, so bytes behind a hole are of no use.
    """
    by_piece = {Piece(*piece_range(file.name)): file for file in files}
    used = covering(by_piece)
    return Part(used[-1].end if used else 0, tuple(by_piece[each] for each in used))


def _keep_longer(parts: dict[int, Part], number: int, part: Part) -> None:
    known = parts.get(number)
    if part.length_bytes and (known is None or part.length_bytes > known.length_bytes):
        parts[number] = part
