"""Putting regions of files together where they lie in several pieces: one long write instead of many.

Pages that changed since a first backup lie in chunks of later ones, so a region of a file may come from as many places
as it has pages. Written piece by piece, past the page cache, each would be a wait for the disk. So the chunks of a
group (``assembly_plan.py``) share one piece of memory, and whoever opens the last one writes the regions, each by one
call that gathers its pieces from there: nothing is copied. A new group waits until fewer than GROUPS_AT_ONCE are under
way, which bounds the memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.repository.buffers import large_buffer
from holdfast.restore.assembly_plan import ROOM_BYTES

if TYPE_CHECKING:
    from holdfast.restore.assembly_plan import AssemblyPlan

GROUPS_AT_ONCE = 2
"""One is written while the other is opened: a third took 45 MiB more, and no less time."""


@dataclass
class _Room:
    """The memory of a group, and how many of its chunks are still to come."""

    memory: memoryview
    left: int


class Assembly:
    """The groups that are being put together; used by many threads. Memory is used again."""

    def __init__(self, plan: AssemblyPlan) -> None:
        self._placed = plan.placed()
        self._open: dict[int, _Room] = {}
        self._free: list[memoryview] = []
        self._state = threading.Condition()
        self._is_closed = False

    def admit(self, group: int) -> None:
        """Wait until there is room for a group. All of its chunks must be handed out before those of the next."""
        left = self._placed.get(group)
        if left is not None:
            with self._state:
                self._state.wait_for(lambda: self._is_closed or len(self._open) < GROUPS_AT_ONCE)
                memory = self._free.pop() if self._free else memoryview(large_buffer(ROOM_BYTES))
                self._open[group] = _Room(memory, left)

    def memory(self, group: int) -> memoryview:
        """Return the memory of a group, in which its chunks have their places."""
        return self._open[group].memory

    def bring(self, group: int, chunks: int) -> bool:
        """Count chunks as opened in their places; return whether the group is whole now: who brought them writes it."""
        with self._state:
            room = self._open[group]
            room.left -= chunks
            return room.left == 0

    def release(self, group: int) -> None:
        """Let go of a group that is written."""
        with self._state:
            self._free.append(self._open.pop(group).memory)
            self._state.notify()

    def close(self) -> None:
        """Let nobody wait any more: a thread has ended, and with it perhaps what it had of a group."""
        with self._state:
            self._is_closed = True
            self._state.notify_all()
