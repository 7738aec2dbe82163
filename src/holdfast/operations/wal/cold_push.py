"""The start of a cold ``wal push``: the file is read and compressed while the rest of Holdfast is imported."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.wal.reading import read_early

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_short(service: str, operands: tuple[str, ...], settings_file: str) -> None:
    """Carry out ``wal push SERVICE PATH --settings FILE``; nothing is said but warnings."""
    if len(operands) != 1:
        raise UsageError("wal push takes a service and a path", hint="holdfast wal push SERVICE %p --settings FILE")
    (path,) = operands
    read = read_early(path)
    with _absent("typing_extensions"):  # msgspec does without it, and it brings "inspect" with it
        from holdfast.operations.wal.push import push  # most of the modules: this is what takes time

    for warning in push(service, path, settings_file, read).warnings:
        print(f"warning: {warning}", file=sys.stderr)  # noqa: T201 - the server's log is where it is read


@contextmanager
def _absent(module: str) -> Iterator[None]:
    """Let a module that others may use where it is there look as if it were not; afterwards it can be imported."""
    sys.modules[module] = None  # type: ignore[assignment]  # the import system takes it for "there is none"
    try:
        yield
    finally:
        del sys.modules[module]
