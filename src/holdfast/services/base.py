"""The contract that every kind of service fulfils; the coordinators (``backup``, ``restore``) know nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.progress import Reporter
    from holdfast.repository.manifest import Entry
    from holdfast.repository.parent import Parent
    from holdfast.repository.writer import Writer


@dataclass(frozen=True)
class Captured:
    """What a service gave: entries in any order, facts for the snapshot, and what is missing.

    ``missing`` makes the snapshot incomplete; ``faults`` were found in the source itself, which was captured as it is.
    Both make the exit code 3; ``warnings`` does not. ``remember`` is called with the snapshot's id once it is
    committed: what was learned for the next backup is kept then, and not before.
    """

    entries: Sequence[Entry]
    facts: dict[str, Any]
    files_read: int
    bytes_read: int
    missing: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    remember: Callable[[str], None] = lambda _: None


class Service(Protocol):
    """One service of the stack, as a backup sees it."""

    @property
    def kind(self) -> str:
        """The kind as the stack file writes it."""
        ...

    @property
    def promises(self) -> str:
        """What a snapshot of this service guarantees, in one sentence for the user."""
        ...

    def capture(self, writer: Writer, parent: Parent, reporter: Reporter) -> Captured:
        """Store the service's content and return what is needed to put it back.

        Content that looks unchanged since ``parent`` may be taken from it by reference. Raises rather than
        returning something that could not be restored.
        """
        ...
