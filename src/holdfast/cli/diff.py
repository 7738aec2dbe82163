"""``holdfast diff``: what changed from one snapshot to another."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import typer

from holdfast.cli import text
from holdfast.cli.completion import snapshot_ids
from holdfast.cli.invocation import Invocation
from holdfast.cli.parameters import LatestOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.operations.diff import SnapshotDiff
    from holdfast.repository.compare import Difference
    from holdfast.services.postgres.facts import ChangedPages
    from holdfast.services.postgres.recorded_names import RelationName

_PAGE_BYTES = 8192
_RELATIONS_SHOWN = 15
_SIGNS = {"added": "+", "removed": "-", "content": "M", "attributes": "U"}


def diff(
    ctx: typer.Context,
    before: str = typer.Argument(
        "latest",
        help="The first snapshot, by its first digits, or latest; named alone, it is compared with the one before it.",
        autocompletion=snapshot_ids,
    ),
    after: str | None = typer.Argument(None, help="The second snapshot.", autocompletion=snapshot_ids),
    service: LatestOf = "",
) -> None:
    """Show what differs between two snapshots: + added, - removed, M other content, U other owner or mode.

    One snapshot alone is compared with the one before it of the same service: what changed up to that backup.
    """
    from holdfast.operations.diff import DiffRequest
    from holdfast.operations.diff import diff as operation

    run = Invocation.of(ctx)
    request = DiffRequest(before, after, service, run.repository)
    found = operation(run.stack(), request)
    totals = _Totals()
    for difference in found.differences:
        totals.add(difference)
        names = _Names.of(found, difference)
        run.output.emit("difference", _message(difference, names), partial(_words, difference, names))
    changed = found.after.name(found.before.name(totals.changed()))
    compared = {"before": found.old.id, "after": found.new.id}
    run.output.emit("differences", {**compared, **totals.message(changed)}, lambda: _summary(found, totals, changed))


def _summary(found: SnapshotDiff, totals: _Totals, changed: tuple[ChangedPages, ...]) -> str:
    old, new = (
        f"{each.stack}/{each.service} {each.short_id} ({text.when(each.started)})" for each in (found.old, found.new)
    )
    return f"from {old}\nto   {new}:\n{totals.words(changed)}"


class _Names(NamedTuple):
    """The relation that a file belonged to at either snapshot, as far as they know."""

    before: RelationName | None
    after: RelationName | None

    @staticmethod
    def of(found: SnapshotDiff, difference: Difference) -> _Names:
        return _Names(
            found.before.of(difference.path) if difference.before else None,
            found.after.of(difference.path) if difference.after else None,
        )

    def words(self) -> str:
        """Return the name, or both where it is another one now."""
        return " -> ".join(dict.fromkeys(str(name) for name in self if name is not None))


class _Totals:
    """Counts paths by what became of them, bytes of files on either side, and changed pages by file."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._pages: dict[bytes, int] = {}
        self._before_bytes = self._after_bytes = 0

    def add(self, difference: Difference) -> None:
        self._counts[difference.change] += 1
        self._before_bytes += difference.before.size if difference.before else 0
        self._after_bytes += difference.after.size if difference.after else 0
        self._pages[difference.path] = _pages(difference.changed_bytes) or 0

    def changed(self) -> tuple[ChangedPages, ...]:
        """Return the relations of which most pages changed, without their names."""
        from holdfast.services.postgres.activity import most_changed

        return most_changed(self._pages)

    def message(self, changed: tuple[ChangedPages, ...]) -> dict[str, object]:
        from msgspec.structs import asdict

        counts = {change: self._counts[change] for change in _SIGNS}
        sizes = {"before_bytes": self._before_bytes, "after_bytes": self._after_bytes}
        return {**counts, **sizes, "changed_relations": [asdict(each) for each in changed]}

    def words(self, changed: tuple[ChangedPages, ...]) -> str:
        return "\n".join([self._paths(), *_relation_lines(changed)])

    def _paths(self) -> str:
        counts = ", ".join(f"{self._counts[change]:,} {change}" for change in ("added", "removed"))
        changed = (
            f"{self._counts['content']:,} with other content, {self._counts['attributes']:,} with other attributes"
        )
        sizes = f"these paths had {text.size(self._before_bytes)}, and have {text.size(self._after_bytes)}"
        return f"{counts}, {changed}; {sizes}"


def _relation_lines(changed: tuple[ChangedPages, ...]) -> Iterator[str]:
    from holdfast.repository.names import shown
    from holdfast.services.postgres.activity import name_in_words

    for each in changed[:_RELATIONS_SHOWN]:
        yield f"{text.count(each.pages, 'page')} changed of {shown(os.fsencode(name_in_words(each)))}"
    if len(changed) > _RELATIONS_SHOWN:
        yield f"and pages of {len(changed) - _RELATIONS_SHOWN} more relations (--json names up to 100)"


def _message(difference: Difference, names: _Names) -> dict[str, object]:
    entry = difference.after or difference.before
    assert entry is not None
    return {
        "path": difference.path,
        "kind": entry.kind.name.lower(),
        "change": difference.change,
        "before_bytes": difference.before.size if difference.before else None,
        "after_bytes": difference.after.size if difference.after else None,
        "changed_bytes": difference.changed_bytes,
        "changed_pages": _pages(difference.changed_bytes),
        "before_relation": names.before and names.before._asdict(),
        "after_relation": names.after and names.after._asdict(),
    }


def _pages(changed_bytes: int | None) -> int | None:
    """Return in how many pages of 8 KiB so many bytes lie, None for None."""
    return None if changed_bytes is None else -(-changed_bytes // _PAGE_BYTES)


def _words(difference: Difference, names: _Names) -> str:
    from holdfast.repository.names import shown

    sizes = [text.size(entry.size) for entry in (difference.before, difference.after) if entry is not None]
    if len(set(sizes)) == 1:
        sizes = sizes[:1]
    pages = _pages(difference.changed_bytes)
    changed = f", {text.count(pages, 'page')} changed" if pages else ""
    relation = f"  {shown(os.fsencode(names.words()))}" if any(names) else ""
    return f"{_SIGNS[difference.change]} {shown(difference.path)}  ({' -> '.join(sizes)}{changed}){relation}"
