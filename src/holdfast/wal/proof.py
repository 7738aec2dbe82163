"""The proof, by listing, that every WAL file on the way from a snapshot to a target is in the archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.errors import TargetNotReachableError
from holdfast.postgres.segment import Segment
from holdfast.wal.reach import Path, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.postgres.lsn import Lsn
    from holdfast.postgres.timeline import Timeline, TimelineHistory
    from holdfast.wal.holdings import TimelineHoldings
    from holdfast.wal.reach import SnapshotPoint
    from holdfast.wal.windows import Window

_NO_WINDOW = "take a backup; WAL alone recovers nothing"


@dataclass(frozen=True, slots=True)
class Needed:
    """One step of the way: ``files`` of the archive, in the order in which recovery asks for them."""

    step: Step
    segments: int
    stored_bytes: int
    part_files: tuple[str, ...]
    segment_size: int

    def files(self) -> Iterator[str]:
        """Yield the names of the files."""
        if self.part_files:
            yield from self.part_files
        else:
            for number in range(self.step.first, self.step.last + 1):
                yield Segment(self.step.timeline, number, self.segment_size).name


@dataclass(frozen=True, slots=True)
class Proof:
    """What recovery from a snapshot to a target takes from the archive. ``end``: up to here every byte is there."""

    needed: tuple[Needed, ...]
    end: Lsn

    @property
    def segments(self) -> int:
        """How many segments are fetched, whole or in part."""
        return sum(each.segments for each in self.needed)

    @property
    def stored_bytes(self) -> int:
        """What they occupy in the archive, in bytes."""
        return sum(each.stored_bytes for each in self.needed)

    def files(self) -> Iterator[str]:
        """Yield the names of the files in the order of the WAL."""
        for each in self.needed:
            yield from each.files()


def prove(
    point: SnapshotPoint,
    target: Lsn | None,
    history: TimelineHistory,
    holdings: Mapping[Timeline, TimelineHoldings],
    size: int,
) -> Proof:
    """Prove that recovery from a snapshot gets to ``target`` (None: as far as there is WAL) along a history.

    A target position is reached by reading the record that begins there or after it, so its byte must be there. Raises
    TargetNotReachableError, without naming windows: ``explained`` adds them with the hint.
    """
    if not history.has_point(point.timeline, point.stop):
        raise TargetNotReachableError(
            f"snapshot {point.id[:8]} (timeline {point.timeline}, {point.stop}) is not in the past of timeline "
            f"{history.timeline}"
        )
    if target is not None and target < point.stop:
        raise TargetNotReachableError(f"{target} lies before the end of snapshot {point.id[:8]} at {point.stop}")
    path = Path(history, holdings, size)
    steps, end = _steps_to(path, point, target)
    if target is not None and target >= end and target != point.stop:
        raise TargetNotReachableError(
            f"from snapshot {point.id[:8]} on, the WAL of the archive ends at {end}, before {target}"
        )
    return Proof(tuple(_needed(steps, point, holdings, size)), end)


def explained(error: TargetNotReachableError, windows: Iterable[Window]) -> TargetNotReachableError:
    """Return the error with the usable windows as its details, and the last of them in the hint."""
    usable = tuple(_words(window) for window in windows)
    hint = f"usable: {usable[-1]}" if usable else _NO_WINDOW
    return TargetNotReachableError(error.message, hint=hint, details=usable)


def _steps_to(path: Path, point: SnapshotPoint, target: Lsn | None) -> tuple[list[Step], Lsn]:
    """Return the steps up to the one that holds the target, cut at its segment, and where they end."""
    steps: list[Step] = []
    end = point.stop
    for step in path.steps(point):
        steps.append(step)
        end = max(end, path.end_of(step))
        if target is not None and target < end:
            wanted = target // path.segment_size
            steps[-1] = replace(step, last=max(step.first, min(step.last, wanted)))
            return steps, max(point.stop, path.end_of(steps[-1]))
    return steps, end


def _needed(
    steps: Iterable[Step], point: SnapshotPoint, holdings: Mapping[Timeline, TimelineHoldings], size: int
) -> Iterator[Needed]:
    """Yield what each step takes from the archive: what the snapshot itself carries is not asked for."""
    for step in steps:
        is_own = step.timeline == point.timeline
        own = replace(step, first=max(step.first, point.next_number(size))) if is_own else step
        held = holdings.get(step.timeline)
        if own.first > own.last or held is None:
            continue
        part = held.parts.get(own.first) if own.end is not None else None
        if part is None:
            stored = held.stored_between(own.first, own.last)
            yield Needed(own, own.last - own.first + 1, stored, (), size)
        else:
            yield Needed(own, 1, part.stored_bytes, tuple(file.name for file in part.files), size)


def _words(window: Window) -> str:
    times = (
        f", {window.start_time:%Y-%m-%d %H:%M:%S} to {window.end_time:%Y-%m-%d %H:%M:%S} UTC"
        if window.start_time and window.end_time
        else ""
    )
    return f"timeline {window.timeline} from {window.start} to {window.end}{times}"
