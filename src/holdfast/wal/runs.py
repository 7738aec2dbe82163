"""Which segments of one timeline there are, as runs of consecutive numbers: 100,000 of them are one pair of integers.

Everything that coverage asks (how far does it go without a hole, what is missing between two numbers) costs a binary
search over the runs, however many segments they stand for.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Runs:
    """Ascending, disjoint runs that do not touch: ``firsts[i]`` to ``lasts[i]``, both included."""

    firsts: tuple[int, ...] = ()
    lasts: tuple[int, ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Runs:
        """Return the runs of ascending numbers."""
        firsts: list[int] = []
        lasts: list[int] = []
        previous = None
        for number in numbers:
            if previous is None or number != previous + 1:
                if previous is not None:
                    lasts.append(previous)
                firsts.append(number)
            previous = number
        if previous is not None:
            lasts.append(previous)
        return cls(tuple(firsts), tuple(lasts))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (first, last) of each run."""
        return zip(self.firsts, self.lasts, strict=True)

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self.firsts)

    def __contains__(self, number: int) -> bool:
        """Whether a number is in a run."""
        return self.end_of_run(number) is not None

    def end_of_run(self, number: int) -> int | None:
        """Return the last number of the run that holds ``number``; None where none does."""
        at = bisect_right(self.firsts, number) - 1
        return self.lasts[at] if at >= 0 and number <= self.lasts[at] else None

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the holes between two numbers (both included), as (first, last) of each."""
        at = max(bisect_right(self.firsts, first) - 1, 0)
        for begin, end in zip(self.firsts[at:], self.lasts[at:], strict=True):
            if begin > last:
                break
            if begin > first:
                yield first, begin - 1
            first = max(first, end + 1)
        if first <= last:
            yield first, last

    def joined(self, first: int, last: int) -> Runs:
        """Return these runs with the numbers from ``first`` to ``last`` among them."""
        apart = [(begin, end) for begin, end in self if end < first - 1 or begin > last + 1]
        touching = [(begin, end) for begin, end in self if not (end < first - 1 or begin > last + 1)]
        begins = [begin for begin, _ in touching]
        ends = [end for _, end in touching]
        runs = sorted([*apart, (min([first, *begins]), max([last, *ends]))])
        return Runs(tuple(begin for begin, _ in runs), tuple(end for _, end in runs))
