"""Writing down what is done in place: beside the service before and after, and in the repository when it is over.

The repository may be away when something is undone at night; then the deed waits beside the service, and the next one
takes it along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from holdfast.errors import HoldfastError
from holdfast.operations.wiring import open_stack_repository
from holdfast.repository.journal import store_entry, stored_entry_ids
from holdfast.restore.journal import append, ended, read_journal
from holdfast.restore.swap import SwapPutBackError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from holdfast.config.models import Stack
    from holdfast.progress import Reporter
    from holdfast.repository.journal import JournalEntry
    from holdfast.repository.repository import Repository
    from holdfast.restore.state import StateDirectory


class Deed:
    """A deed being done, for the time of a ``with`` block; how it ended is told by what the block raises."""

    def __init__(
        self, state: StateDirectory, entry: JournalEntry, reporter: Reporter, open_repository: Callable[[], Repository]
    ) -> None:
        """Only remember. ``open_repository`` is called at the end; where it fails, the next deed takes this along."""
        self._state, self._entry, self._reporter, self._open = state, entry, reporter, open_repository
        self._outage_s: float | None = None
        self._result = "done"

    def __enter__(self) -> Self:
        """Write down that it has begun."""
        append(self._state, self._entry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write down how it ended, and take it to the repository.

        An interruption ends that, and not the deed: to repeat an undo, as an interrupted command says, takes it back.
        """
        if isinstance(error, SwapPutBackError):
            entry = ended(self._entry, "put back", reason=error.message, outage_s=error.outage_s)
        elif error is not None:
            reason = error.message if isinstance(error, HoldfastError) else type(error).__name__
            entry = ended(self._entry, "failed", reason=reason)
        else:
            entry = ended(self._entry, self._result, outage_s=self._outage_s)
        try:
            self._write_down(entry)
            self._carry()
        except KeyboardInterrupt:  # by who does not want to wait for a repository that is away: the deed is done
            self._write_down(entry)  # it may have come before; the same line twice says the same
            self._tell_that_it_waits("interrupted")

    def became(self, description: str, identity: str) -> None:
        """Say what came, or is to come, into service."""
        self._entry = msgspec.structs.replace(self._entry, became=description, identity_became=identity)

    def outage(self, seconds: float | None) -> None:
        """Say how long the service was out."""
        self._outage_s = seconds

    def put_back(self) -> None:
        """Say that the deed is turned back, and not done."""
        self._result = "put back"

    def _write_down(self, entry: JournalEntry) -> None:
        try:
            append(self._state, entry)
        except HoldfastError as failure:  # a full disk, perhaps: what was done is done, and how it ended must be told
            self._reporter.warning(f"the journal lacks the end of this: {failure.message}")

    def _carry(self) -> None:
        """Store every deed that has its end and is not in the repository yet; a warning where that fails."""
        self._reporter.phase("taking the journal to the repository")
        try:
            repository = self._open()
            stored = stored_entry_ids(repository.storage)
            for entry in read_journal(self._state):
                if entry.ended and entry.id not in stored:
                    store_entry(repository.storage, repository.keys, entry)
        except HoldfastError as error:
            self._tell_that_it_waits(error.message)

    def _tell_that_it_waits(self, reason: str) -> None:
        self._reporter.warning(
            f"the journal in {self._state.path} is not in the repository yet, and will be with the next deed: {reason}"
        )


def repository_of(stack: Stack, service: str) -> Callable[[], Repository]:
    """Return what opens the repository of a service."""
    return lambda: open_stack_repository(stack, service=service)
