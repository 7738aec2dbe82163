"""Where the entries of a snapshot go, and what makes the result whole: the part that a kind of service decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.repository.manifest import Entry


class Layout(Protocol):
    """How one snapshot becomes files on this machine."""

    @property
    def target(self) -> Path:
        """The main directory of the restore."""
        ...

    @property
    def roots(self) -> Sequence[Path]:
        """Every directory that the restore fills, the target first; each must be absent or empty."""
        ...

    @property
    def last(self) -> bytes:
        """The path of the file without which the result cannot start; it gets its name after all else is durable."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the operator should know before the restore begins, a line each."""
        ...

    def destination(self, entry: Entry) -> Path | None:
        """Return where an entry goes, None when it is not restored."""
        ...

    def is_filled(self, entry: Entry) -> bool:
        """Return whether a file gets its content; if not, it is made with its length, and reads as zeros."""
        ...

    def link(self, entry: Entry) -> bytes:
        """Return what a symbolic link points to here."""
        ...

    def finish(self, last: Path) -> None:
        """Write what the result needs beside the snapshot's own files; ``last`` is where the last one lies by now."""
        ...
