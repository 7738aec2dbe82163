"""Requests that are on their way side by side: from far away each takes a round trip, however little it asks for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_AT_ONCE = 8
_Wanted = TypeVar("_Wanted")
_Fetched = TypeVar("_Fetched")


def side_by_side(fetch: Callable[[_Wanted], _Fetched], wanted: Sequence[_Wanted]) -> Iterator[_Fetched]:
    """Yield what ``fetch`` makes of each, in their order; several are on their way at once."""
    if len(wanted) == 1:
        yield fetch(wanted[0])
        return
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
        yield from pool.map(fetch, wanted)
