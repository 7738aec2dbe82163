"""Which objects a check reads when it reads only a part of them.

A sample is the part whose ids lie in today's window. The window moves on by its own width every day, so daily checks of
10 percent have seen everything after ten days, without a memory of what was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

_ID_SPACE = 1 << 128
_UNIX_EPOCH_ORDINAL = 719163


def choose(ids: Iterable[str], percent: int, today: date) -> set[str]:
    """Return the ids (32 hex digits) in today's window of ``percent``; at least one, where there is one."""
    every = sorted(ids)
    if percent >= 100 or not every:
        return set(every) if percent else set()
    width = _ID_SPACE * percent // 100
    start = (today.toordinal() - _UNIX_EPOCH_ORDINAL) * width % _ID_SPACE
    distances = {each: (int(each, 16) - start) % _ID_SPACE for each in every}
    chosen = {each for each, distance in distances.items() if distance < width}
    return chosen or {min(every, key=distances.__getitem__)} if percent else set()
