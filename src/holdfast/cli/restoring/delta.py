"""``holdfast restore SERVICE --target DIR --delta``: bring a stopped copy up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore


def restore_delta(asked: AskedRestore) -> None:
    """Refuse: this way of restoring is being built."""
    raise UsageError("a delta restore is not built yet", hint="restore to a new directory: --target DIR")
