"""What can be recovered: one survey of the archive, and the windows, gaps and proofs that follow from it.

Everything is planned from names, sizes, history files and the positions of snapshots; no segment is opened. Order is by
position and history alone, never by clock or timeline number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import KeyRefusedError, TargetNotReachableError, VerificationError
from holdfast.postgres.segment import parse_segment_name
from holdfast.wal import gaps, proof, windows
from holdfast.wal.lineage import Lineage, trace_lineage
from holdfast.wal.listing import Listing, read_listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from holdfast.errors import HoldfastError
    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline, TimelineHistory
    from holdfast.wal.gaps import Gap
    from holdfast.wal.holdings import TimelineHoldings
    from holdfast.wal.names import ArchivedFile
    from holdfast.wal.proof import Proof
    from holdfast.wal.reach import SnapshotPoint
    from holdfast.wal.windows import Window


class Surveyed(Protocol):
    """What a survey needs of an archive."""

    def list(self) -> Iterable[ArchivedFile]:
        """Yield all files, by name."""
        ...

    def history(self, timeline: Timeline) -> TimelineHistory:
        """Return the past of a timeline, from its history file."""
        ...


@dataclass(frozen=True)  # without slots: cached properties need a dictionary
class Coverage:
    """One survey. ``points`` are the snapshots that can be restored; ``unread`` says which histories did not open.

    ``left`` are timelines that are no longer followed: an undo went back to an earlier one, which goes on.
    """

    listing: Listing
    lineage: Lineage
    points: tuple[SnapshotPoint, ...]
    unread: Mapping[Timeline, HoldfastError]
    left: frozenset[Timeline] = frozenset()

    @property
    def segment_size(self) -> int:
        """The length of a segment in bytes."""
        return self.listing.segment_size

    @cached_property
    def holdings(self) -> Mapping[Timeline, TimelineHoldings]:
        """What there is of each timeline that is known; of some there may be nothing."""
        offsets = self.lineage.switch_offsets(self.segment_size)
        return {each: self.listing.holdings(each, offsets.get(each, {})) for each in sorted(self.lineage.histories)}

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """Every hole, by timeline and position."""
        return tuple(gaps.find_gaps(self.lineage, self.holdings, self.points))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Every window of recoverability, by the timeline that recovery ends on, and position; left ones first."""
        found = windows.find_windows(self.lineage, self.holdings, self.points, self.segment_size)
        return tuple(sorted(found, key=lambda window: window.timeline not in self.left))

    @property
    def latest(self) -> Timeline | None:
        """The newest timeline that was not left; None when no timeline is known."""
        known = self.lineage.histories.keys()
        return max(known - self.left or known, default=None)

    @property
    def missing_histories(self) -> tuple[Timeline, ...]:
        """The timelines whose history file the archive lacks: recovery onto them must be given the file."""
        return tuple(sorted(self.lineage.missing))

    def holds(self, name: str) -> bool:
        """Whether a segment is whole in the archive; one of another segment size is none of this cluster's."""
        try:
            segment = parse_segment_name(name, self.segment_size)
        except VerificationError:
            return True
        held = self.holdings.get(segment.timeline)
        return held is not None and segment.number in held.complete_runs

    def lacks_needed(self, name: str) -> bool:
        """Whether a segment is missing, and a snapshot would have to cross it."""
        if self.holds(name):
            return False
        segment = parse_segment_name(name, self.segment_size)
        history = self.lineage.history(segment.timeline)
        return any(
            point.next_number(self.segment_size) <= segment.number
            for point in self.points
            if history.has_point(point.timeline, point.stop)
        )

    def has_snapshot_after(self, gap: Gap) -> bool:
        """Whether a window begins after a gap, on its timeline or on one that comes from it."""
        return any(
            point.stop >= gap.end and self.lineage.history(point.timeline).has_point(gap.timeline, gap.end)
            for point in self.points
        )

    def prove(self, point: SnapshotPoint, target: Lsn | None, timeline: Timeline) -> Proof:
        """Prove that recovery from a snapshot gets to a position (None: as far as there is WAL) on a timeline.

        Raises TargetNotReachableError with the usable windows.
        """
        history = self.lineage.history(timeline)
        try:
            return proof.prove(point, target, history, self.holdings, self.segment_size)
        except TargetNotReachableError as error:
            raise proof.explained(error, self.windows) from None


def survey(
    archive: Surveyed,
    points: Sequence[SnapshotPoint],
    segment_size: int,
    local_histories: Mapping[Timeline, TimelineHistory] | None = None,
) -> Coverage:
    """List an archive once, read the histories that it needs, and return what can be recovered.

    ``local_histories`` serve where a writer's key opens none of the archive's. A history that does not open otherwise
    is in ``unread``, and its timeline stands alone.
    """
    listing = read_listing(archive.list(), segment_size)
    read, unread = _read_histories(archive, listing, local_histories or {})
    known = listing.timelines | {point.timeline for point in points}
    missing = listing.timelines - listing.histories.keys()
    return Coverage(listing, trace_lineage(read, known, missing), tuple(points), unread)


def _read_histories(
    archive: Surveyed, listing: Listing, local: Mapping[Timeline, TimelineHistory]
) -> tuple[dict[Timeline, TimelineHistory], dict[Timeline, HoldfastError]]:
    """Read histories from the newest timeline down; one that a descendant has told of already is not read."""
    read: dict[Timeline, TimelineHistory] = {}
    unread: dict[Timeline, HoldfastError] = {}
    told: set[Timeline] = set()
    for timeline in sorted(listing.histories, reverse=True):
        if timeline in told:
            continue
        try:
            read[timeline] = _read_history(archive, timeline, local)
        except (KeyRefusedError, VerificationError) as error:
            unread[timeline] = error
        else:
            told.update(entry.timeline for entry in read[timeline].entries)
    return read, unread


def _read_history(archive: Surveyed, timeline: Timeline, local: Mapping[Timeline, TimelineHistory]) -> TimelineHistory:
    try:
        return archive.history(timeline)
    except KeyRefusedError:
        if timeline not in local:
            raise
        return local[timeline]
