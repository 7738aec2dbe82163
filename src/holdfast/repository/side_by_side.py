"""Requests that are on their way side by side: from far away each takes a round trip, however little it asks for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

from holdfast.repository.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_AT_ONCE = 8
_Wanted = TypeVar("_Wanted")
_Fetched = TypeVar("_Fetched")


def side_by_side(fetch: Callable[[_Wanted], _Fetched], wanted: Sequence[_Wanted]) -> list[_Fetched]:
    """Return what ``fetch`` makes of each, in their order; several are on their way at once."""
    if len(wanted) == 1:
        return [fetch(wanted[0])]
    fetched: dict[int, _Fetched] = {}

    def do(number: int) -> None:
        fetched[number] = fetch(wanted[number])

    Crew("fetch", min(_AT_ONCE, len(wanted)), lambda: nullcontext(do)).work_off(iter(range(len(wanted))))
    return [fetched[number] for number in range(len(wanted))]
