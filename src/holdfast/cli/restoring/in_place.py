"""``holdfast restore SERVICE``: put a service back where it runs, keeping what was there as a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore


def restore_in_place(asked: AskedRestore) -> None:
    """Refuse: this way of restoring is being built."""
    raise UsageError("a restore in place is not built yet", hint="restore to a new directory: --target DIR")


def undo(asked: AskedRestore) -> None:
    """Refuse: this is being built."""
    raise UsageError("--undo is not built yet", hint="restore to a new directory: --target DIR")


def drop_checkpoint(asked: AskedRestore) -> None:
    """Refuse: this is being built."""
    raise UsageError("--drop-checkpoint is not built yet", hint="restore to a new directory: --target DIR")
