"""The start of a cold ``wal push``: the file is read and compressed while the rest of Holdfast is imported.

Until that has begun, nothing is imported that can wait.
"""

from __future__ import annotations

import sys

from holdfast.wal.early import EarlyRead

TYPE_CHECKING = False  # see holdfast.wal.early
if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.wal.push import PushResult
    from holdfast.wal.reading import WalFile


def run_short(service: str, operands: tuple[str, ...], settings_file: str) -> None:
    """Carry out ``wal push SERVICE PATH --settings FILE``; nothing is said but warnings."""
    if len(operands) != 1:
        from holdfast.errors import UsageError

        raise UsageError("wal push takes a service and a path", hint="holdfast wal push SERVICE %p --settings FILE")
    (path,) = operands
    early = EarlyRead(path)
    push, reader = _imported()
    for warning in push(service, path, settings_file, reader(early)).warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201 - the server's log is where it is read


def _imported() -> tuple[
    Callable[[str, str, str, Callable[[str, int], WalFile]], PushResult],
    Callable[[EarlyRead], Callable[[str, int], WalFile]],
]:
    """Import the rest, as long as the other core compresses; what compresses comes first.

    msgspec does without ``typing_extensions``, which brings ``inspect`` with it: so for now it looks as if it were not
    there, for which the import system takes None.
    """
    import holdfast.repository.walframes  # noqa: F401

    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        import cryptography.hazmat.backends.openssl.backend  # noqa: F401 - the first X25519 key waits for it

        from holdfast.operations.wal.push import push
        from holdfast.wal.reading import reader
    finally:
        del sys.modules["typing_extensions"]
    return push, reader
