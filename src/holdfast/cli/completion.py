"""What the shell offers when Tab is pressed: names from the stack file, and ids from the repository.

Each function here is named in a command's signature (``autocompletion=service_names``). Pressing Tab must never
print an error into the line being typed: what cannot be found out is not offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from holdfast.cli.invocation import Invocation

Offer = list[tuple[str, str]]
"""What may follow, each with its line of help."""


def offer(ctx: typer.Context, incomplete: str, find: Callable[[Invocation], Iterable[tuple[str, str]]]) -> Offer:
    """Return what ``find`` gives and the typed text begins; nothing, when it fails for a reason that is understood."""
    from holdfast.cli.invocation import Invocation

    try:
        return [(value, words) for value, words in find(Invocation.of(ctx)) if value.startswith(incomplete)]
    except HoldfastError:
        return []


def service_names(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the services of the stack file."""
    return offer(ctx, incomplete, lambda run: ((name, each.kind) for name, each in run.stack().services.items()))


def repository_names(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the repositories of the stack file."""
    return offer(ctx, incomplete, lambda run: ((name, each.url) for name, each in run.stack().repositories.items()))


def snapshot_ids(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the snapshots of the repository, newest first, by the digits that tables show."""
    return offer(ctx, incomplete, _snapshots)


def _snapshots(run: Invocation) -> Iterable[tuple[str, str]]:
    from holdfast.operations.snapshots import SnapshotFilter, list_snapshots

    found = list_snapshots(run.stack(), run.repository, SnapshotFilter())
    return [
        ("latest", "the newest one"),
        *((each.short_id, f"{each.service} {each.started}") for each in found.snapshots[::-1]),
    ]


def key_slot_ids(ctx: typer.Context, incomplete: str) -> Offer:
    """Offer the key slots of the repository."""
    return offer(ctx, incomplete, _key_slots)


def _key_slots(run: Invocation) -> Iterable[tuple[str, str]]:
    from holdfast.operations.keys import list_keys

    return [(slot.id[:8], f"{slot.kind} {slot.label}") for slot in list_keys(run.stack(), run.repository)]
