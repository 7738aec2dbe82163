"""``holdfast key``: who can open the repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from holdfast.cli import text
from holdfast.cli.completion import key_slot_ids
from holdfast.cli.invocation import Invocation
from holdfast.cli.output import Column
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.repository.key_slot import KeySlot

_SHOWN_ONCE = {
    "recovery": "Recovery identity: print this line and lock it away. It opens the repository alone,",
    "writer": "Writer credential: put this line into a file on the host that backs up. It writes backups, reads none,",
}


def list_(ctx: typer.Context) -> None:
    """List the key slots of a repository, oldest first."""
    from holdfast.operations.keys import list_keys

    run = Invocation.of(ctx)
    slots = list_keys(run.stack(), run.repository)
    run.output.table("key_slot", slots, _columns(), slot_message)


def add(
    ctx: typer.Context,
    passphrase_file: Path | None = typer.Option(
        None, "--passphrase-file", metavar="FILE", help="Add the passphrase in this file (mode 0600)."
    ),
    recovery: bool = typer.Option(False, "--recovery", help="Add a new recovery identity, and print it once."),
    writer: bool = typer.Option(
        False, "--writer", help="Add a new writer credential, and print it once: it writes backups and reads none."
    ),
    label: str = typer.Option("", "--label", metavar="WORDS", help="What 'key list' shows beside it."),
) -> None:
    """Add a key slot: one more passphrase, recovery identity or writer credential. Needs an owner's key."""
    run = Invocation.of(ctx)
    if sum([passphrase_file is not None, recovery, writer]) != 1:
        raise UsageError("say which kind of key to add", hint="one of --passphrase-file FILE, --recovery, --writer")
    if not label.isprintable():
        raise UsageError(f"not a label: {label!a}", hint="a label is a few words, on one line")
    if passphrase_file is not None:
        slot, identity = _add_passphrase(run, passphrase_file, label), None
    else:
        slot, identity = _add_identity(run, "recovery" if recovery else "writer", label)
    message = {**slot_message(slot), "identity": identity}
    run.output.emit("key_added", message, lambda: _added_words(slot, identity))


def remove(
    ctx: typer.Context,
    slot_id: str = typer.Argument(metavar="ID", help="The slot, by its first digits.", autocompletion=key_slot_ids),
) -> None:
    """Remove a key slot. Whoever opened the repository with it before may still know the keys inside."""
    from holdfast.operations.keys import remove_key

    run = Invocation.of(ctx)
    slot = remove_key(run.stack(), run.repository, slot_id)
    run.output.emit("key_removed", slot_message(slot), lambda: f"removed key slot {slot.id[:8]} ({slot.kind})")


def slot_message(slot: KeySlot) -> dict[str, object]:
    """Return a key slot as JSON messages show it: nothing of what it wraps."""
    return {
        "id": slot.id,
        "kind": slot.kind,
        "label": slot.label,
        "created": slot.created,
        "opens_data": slot.opens_data,
    }


def _add_passphrase(run: Invocation, file: Path, label: str) -> KeySlot:
    from holdfast.config.secrets import SecretSource
    from holdfast.operations.keys import add_passphrase

    source = SecretSource(file=file.absolute())
    return add_passphrase(run.stack(), run.repository, source, label)


def _add_identity(run: Invocation, kind: str, label: str) -> tuple[KeySlot, str]:
    from holdfast.operations.keys import add_identity
    from holdfast.repository.key_slot import SlotKind

    return add_identity(run.stack(), run.repository, SlotKind(kind), label)


def _added_words(slot: KeySlot, identity: str | None) -> str:
    line = f"added key slot {slot.id[:8]} ({slot.kind})"
    if identity is None:
        return line
    return "\n".join([line, "", _SHOWN_ONCE[slot.kind], "and it is not shown again:", "", f"  {identity}"])


def _columns() -> list[Column[KeySlot]]:
    return [
        Column("id", lambda slot: slot.id[:8]),
        Column("kind", lambda slot: slot.kind),
        Column("created", lambda slot: text.local(slot.created)),
        Column("opens data", lambda slot: "yes" if slot.opens_data else "no"),
        Column("label", lambda slot: slot.label),
    ]
