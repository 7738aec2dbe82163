"""``holdfast restore SERVICE --database D or --table T``: get a part of a cluster back from any instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.cli.restoring.asked import AskedRestore


def restore_part(asked: AskedRestore) -> None:
    """Refuse: this way of restoring is being built."""
    raise UsageError("a restore of a part is not built yet", hint="restore to a new directory: --target DIR")
