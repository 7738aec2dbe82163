"""``holdfast backup``: back up one service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import Service
from holdfast.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from holdfast.repository.snapshot import Snapshot


def backup(
    ctx: typer.Context,
    service: Service,
    tag: list[str] = typer.Option([], "--tag", metavar="WORD", help="Put a word on the snapshot; may be repeated."),
    rehash: bool = typer.Option(False, "--rehash", help="Read every file again, also those that look unchanged."),
    verify_writes: bool = typer.Option(
        False, "--verify-writes", help="Read back and open everything that is stored, not a sample of it."
    ),
) -> int:
    """Back up one service; what is in the repository already is not stored again."""
    from holdfast.operations.backup import BackupRequest
    from holdfast.operations.backup import backup as operation

    _require_words(tag)
    run = Invocation.of(ctx)
    stack = run.stack()
    request = BackupRequest(service, run.repository, tuple(tag), rehashes=rehash, verifies_all=verify_writes)
    with run.reporter() as reporter:
        snapshot = operation(stack, request, reporter)
    run.output.emit("snapshot_made", snapshot_message(snapshot), lambda: _words(snapshot))
    return ExitCode.DONE if snapshot.is_complete and snapshot.is_clean else ExitCode.PARTIAL


def _require_words(tags: list[str]) -> None:
    """Raise UsageError for a tag that the stack file could not hold either."""
    from holdfast.config.base import NAME_HINT, NAME_PATTERN

    for tag in tags:
        if not re.fullmatch(NAME_PATTERN, tag):
            raise UsageError(f"not a tag: {tag!a}", hint=NAME_HINT)


def snapshot_message(snapshot: Snapshot) -> dict[str, object]:
    """Return a snapshot as JSON messages show it: all but the internal id of its manifest."""
    import msgspec

    message: dict[str, object] = msgspec.to_builtins(snapshot)
    del message["manifest"]
    return message


def _words(snapshot: Snapshot) -> str:
    stats = snapshot.stats
    whole = f"{text.size(stats.size_bytes)} in {text.count(stats.files, 'file')}"
    new = f"read {text.size(stats.bytes_read)}, stored {text.size(stats.stored_bytes)} new"
    seconds = text.duration(stats.seconds["total"])
    lines = [f"snapshot {snapshot.short_id} of {snapshot.service}: {whole}, {new}, in {seconds}"]
    if not snapshot.is_complete:
        lines.append("INCOMPLETE: what follows is missing")
    elif not snapshot.is_clean:
        lines.append("CORRUPT SOURCE: the snapshot is whole, but the service itself is damaged")
    return "\n".join([*lines, *(f"  {warning}" for warning in snapshot.warnings)])
