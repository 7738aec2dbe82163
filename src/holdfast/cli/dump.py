"""``holdfast dump``: one file of a snapshot, byte by byte."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import LatestOf, SnapshotId
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\r\f"))


def dump(
    ctx: typer.Context,
    snapshot: SnapshotId,
    path: str = typer.Argument(help="The file, by its path in the snapshot."),
    output: Path | None = typer.Option(
        None, "-o", "--output", metavar="FILE", help="Write to a new file, not to standard output."
    ),
    service: LatestOf = "",
) -> None:
    """Write one file of a snapshot to standard output, every byte as it was, holes as zeros."""
    from holdfast.operations.dump import dump as content
    from holdfast.operations.dump import file_entry
    from holdfast.operations.listing import SnapshotChoice, open_snapshot
    from holdfast.repository.names import typed

    run = Invocation.of(ctx)
    if run.json and output is None:
        raise UsageError("standard output cannot hold a file's bytes and JSON", hint="add --output FILE")
    stack = run.stack()
    opened = open_snapshot(stack, SnapshotChoice(snapshot, service, run.repository))
    entry = file_entry(opened, typed(path))
    if output is None:
        _write(sys.stdout.buffer, _fit_for(sys.stdout, content(opened, entry)))
        return
    from holdfast.operations.new_file import new_file

    with new_file(output) as file:
        _write(file, content(opened, entry))
    message = {"snapshot": opened.snapshot.id, "path": entry.path, "output": str(output), "size_bytes": entry.size}
    run.output.emit("dumped", message, lambda: f"wrote {output} ({text.size(entry.size)})")


def _write(file: IO[bytes], content: Iterable[bytes]) -> None:
    for part in content:
        file.write(part)
    file.flush()


def _fit_for(target: IO[str], content: Iterable[bytes]) -> Iterator[bytes]:
    """Pass content on; raise UsageError before anything but text reaches a terminal."""
    is_terminal = target.isatty()
    for part in content:
        if is_terminal and not is_text(part):
            raise UsageError("this is not text, and standard output is a terminal", hint="add > FILE, or --output FILE")
        yield part


def is_text(part: bytes) -> bool:
    """Tell whether a terminal may see these bytes: no control characters but those of plain text."""
    return len(part.translate(None, _CONTROLS)) == len(part)
