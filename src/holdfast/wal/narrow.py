"""Which part of the WAL an answer can be in, found by halving: a month of WAL is not read for one transaction.

Transactions: the server notes every few seconds which ones are running. None of those ids that come after it was given
out before the note, and none that comes before all of them ends after it (``GetRunningTransactionData`` in
``src/backend/storage/ipc/procarray.c``), so this is exact. Times: commits carry the server's clock, which mostly goes
forward; a clock that was set back by more than ``CLOCK_SLACK`` can hide what ended between.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from holdfast.postgres.walmarks import running
from holdfast.postgres.walxact import transaction_ends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.postgres.segment import Segment
    from holdfast.wal.scan import WalScan

    Verdict = bool | None
    """Whether a segment tells that it lies beyond what is looked for; None: it does not tell."""

CLOCK_SLACK: Final = timedelta(minutes=10)
CLOCK_SLACK_US: Final = CLOCK_SLACK // timedelta(microseconds=1)
_FEWEST: Final = 16
"""Fewer segments are read through: halving would read as many."""
_HALF_OF_XIDS: Final = 2**31


class Narrowing:
    """Halves a list of segments."""

    def __init__(self, scan: WalScan, segments: Sequence[Segment]) -> None:
        self._scan, self._segments = scan, segments

    def of_xid(self, xid: int) -> slice:
        """Return the segments in which a transaction can have ended."""
        first, _ = self._between(lambda segment: self._begins_before(segment, xid))
        _, last = self._between(lambda segment: self._has_passed(segment, xid))
        return slice(first, last + 1)

    def first_of_time(self, time_us: int) -> int:
        """Return the index of a segment before which no transaction ended at this time or later."""
        return self._between(lambda segment: self._reaches(segment, time_us - CLOCK_SLACK_US))[0]

    def _between(self, verdict: Callable[[Segment], Verdict]) -> tuple[int, int]:
        """Return the last segment that is not yet beyond, or the first of all, and the first that is, or the last.

        Both are known to be so: segments that do not tell are passed over.
        """
        low, high, beyond = 0, len(self._segments), len(self._segments)
        if high < _FEWEST:
            return 0, high
        while low < high:
            middle = (low + high) // 2
            at, is_beyond = self._first_that_tells(middle, high, verdict)
            if is_beyond is False:
                low = at + 1
            else:
                high = middle
                beyond = at if is_beyond else beyond
        # One before: a record may begin there and end in the next one.
        return max(low - 1, 0), beyond

    def _first_that_tells(self, first: int, stop: int, verdict: Callable[[Segment], Verdict]) -> tuple[int, Verdict]:
        for index in range(first, stop):
            found = verdict(self._segments[index])
            if found is not None:
                return index, found
        return stop, None

    def _begins_before(self, segment: Segment, xid: int) -> Verdict:
        """Whether a transaction had begun before the end of a segment, as its last note tells."""
        notes = [note for records in self._scan.stretches([segment]) for note in running(records)]
        return _precedes(xid, notes[-1].next) if notes else None

    def _has_passed(self, segment: Segment, xid: int) -> Verdict:
        """Whether a transaction had ended, if ever, before the end of a segment."""
        notes = [note for records in self._scan.stretches([segment]) for note in running(records)]
        return _precedes(xid, notes[-1].oldest) if notes else None

    def _reaches(self, segment: Segment, time_us: int) -> Verdict:
        """Whether a transaction ended in a segment at a time or later."""
        latest = [
            int(ends.times_us.max())
            for records in self._scan.stretches([segment])
            if len(ends := transaction_ends(records))
        ]
        return max(latest) >= time_us if latest else None


def _precedes(xid: int, other: int) -> bool:
    """Whether an id was given out before another: they go round (``TransactionIdPrecedes`` in ``transam.c``)."""
    return (xid - other) % 2**32 >= _HALF_OF_XIDS
