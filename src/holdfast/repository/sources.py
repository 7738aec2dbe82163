"""What the pipeline reads: files as the scanner found them, and how their content may be looked at on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from holdfast.repository.compression import ContentClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.manifest import Entry


@dataclass(frozen=True, slots=True)
class FileSource:
    """One file to read: its entry as scanned (without extents), where it is opened, and what it holds."""

    entry: Entry
    path: bytes
    content_class: ContentClass = ContentClass.FILE


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a file inside a buffer: ``length`` bytes from ``file_offset`` lie at ``buffer_offset``."""

    source: FileSource
    file_offset: int
    buffer_offset: int
    length: int


class Inspector(Protocol):
    """Looks at content while it is read; called by many threads."""

    def inspect(self, buffer: memoryview, pieces: Sequence[Piece]) -> None:
        """Look at pieces that lie back to back in ``buffer``; findings are the inspector's own to keep."""
        ...

    def inspect_pages(self, buffer: memoryview, source: FileSource, offsets: np.ndarray) -> np.ndarray:
        """Look at pages of one file, from ``offsets`` of it; return the numbers of those that are not sound."""
        ...


class NoInspection:
    """The Inspector that does not look."""

    def inspect(self, buffer: memoryview, pieces: Sequence[Piece]) -> None:
        """Do nothing."""

    def inspect_pages(self, buffer: memoryview, source: FileSource, offsets: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """Find nothing."""
        return np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, and why."""

    path: bytes
    reason: str


@dataclass
class Capture:
    """What a run of the pipeline brought home; ``entries`` are in no order."""

    entries: list[Entry] = field(default_factory=list)
    vanished: list[bytes] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    bytes_read: int = 0
